# SPDX-License-Identifier: GPL-2.0-or-later
"""The checks of `lab doctor`: what this host can do, and the command that fixes each problem."""

from __future__ import annotations

import importlib.util
import os
import platform
import pwd
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from lab.arch.record import Arch
from lab.build import toolchain
from lab.core import proc, qemu_version, this_host
from lab.core.cache import Cache, default_root
from lab.core.errors import UsageError
from lab.core.sizes import GIB, MIB
from lab.guests import accelerator
from lab.host import emulator
from lab.specs import environment
from lab.specs.arches import ARCHES
from lab.specs.library import Library
from lab.specs.model import Topology, format_size

PACKAGES = Path(__file__).parents[1] / "packages.txt"
PYTHON = (3, 11)
CHECKOUT = Path(__file__).parents[2].joinpath("Makefile").is_file()
SETUP = "make setup" if CHECKOUT else "pipx reinstall pagelab"
"""The command that installs the lab's own libraries: in a checkout, or of an installed wheel."""
DISK, DISK_LEAST = 8 * GIB, 3 * GIB
"""Two unpacked kernel trees with their objects, per architecture about 1.5 GiB; below the second nothing builds."""
MEMORY, MEMORY_LEAST = 4 * GIB, 2 * GIB
TMP_LEAST = 64 * MIB
LIBVIRT_USER = "libvirt-qemu"
PROGRAMS = ("make", "gcc", "flex", "bison", "bc", "patch", "xz", "git", "dpkg-source", "apt-get")
HEADERS = ("gelf.h", "openssl/ssl.h", "libvirt/libvirt.h")
MODULES = ("debian", "libvirt", "paramiko", "yaml", "pydantic", "click", "rich", "jinja2", "junitparser")


class Status(StrEnum):
    """`warn`: works, with a limit that the detail names. `fail`: something the lab does will not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check. `fix` is a command to paste; empty if there is none."""

    name: str
    status: Status
    detail: str
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Return whether the lab can work with this result."""
        return self.status is not Status.FAIL

    def line(self) -> str:
        """Return the check as `lab doctor` prints it; the fix is on a line of its own, ready to paste."""
        shown = f"{self.status:<5}{self.name}: {self.detail}"
        if self.fix:
            return f"{shown}\n     fix: {self.fix}"
        return shown


def _installed(packages: Sequence[str]) -> frozenset[str] | None:
    """Return which of the packages are installed; None if there is no dpkg."""
    if proc.which("dpkg-query") is None:
        return None
    query = ["dpkg-query", "-W", "-f=${Package} ${db:Status-Status}\\n", *packages]
    lines = proc.run(query, check=False, whole=True, timeout_s=60).output.splitlines()
    installed = set()
    for line in lines:
        name, _, state = line.partition(" ")
        if state == "installed":
            installed.add(name)
    return frozenset(installed)


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _free(path: Path) -> int:
    """Return the bytes that an ordinary process can still write where `path` is, or would be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _header(root: Path, name: str) -> Path | None:
    return _first_existing(root, f"usr/include/{name}", f"usr/include/*/{name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine that the lab runs on; tests replace its fields."""

    root: Path = Path("/")
    machine: str = field(default_factory=platform.machine)
    uid: int = field(default_factory=os.getuid)
    python: tuple[int, ...] = sys.version_info[:3]
    which: Callable[[str], str | None] = proc.which
    installed: Callable[[Sequence[str]], frozenset[str] | None] = _installed
    has_user: Callable[[str], bool] = _has_user
    has_module: Callable[[str], bool] = lambda name: importlib.util.find_spec(name) is not None
    header: Callable[[Path, str], Path | None] = _header
    """Find the header of a library below a root; None if it is not installed."""
    qemu_version: Callable[[str], str] = qemu_version.installed
    """Return the version of an emulator; empty if it is not known."""
    free: Callable[[Path], int] = _free
    accessible: Callable[[Path, int], bool] = os.access

    def packages_of(self, arch: Arch) -> tuple[str, ...]:
        """Return the Debian packages that build for and emulate an architecture here."""
        return arch.packages_on(self.machine)

    @property
    def debian(self) -> int | None:
        """The number of the host's Debian release; None if the host is no Debian or a testing one."""
        release = self.root / "etc/os-release"
        values = dict(line.partition("=")[::2] for line in _lines(release))
        number = values.get("VERSION_ID", "").strip('"')
        if values.get("ID") != "debian" or not number.isdecimal():
            return None
        return int(number)

    def older_than(self, arch: Arch) -> bool:
        """Return whether the host's release of Debian has no packages for an architecture yet."""
        return self.debian is not None and self.debian < arch.debian_since

    def arch_fix(self, arch: Arch) -> str:
        """Return what installs compiler and emulator of an architecture; why nothing does, where it has no packages."""
        if self.older_than(arch):
            return f"none on Debian {self.debian}: Debian {arch.debian_since} is the first with packages for it"
        return self.install_command(self.packages_of(arch))

    def as_root(self, command: Sequence[str]) -> str:
        """Return a command that needs root as this user has to type it."""
        return this_host.as_root(command, uid=self.uid)

    def install_command(self, packages: Iterable[str]) -> str:
        """Return the command that installs packages."""
        return this_host.install_command(packages, uid=self.uid)


def base_packages() -> tuple[str, ...]:
    """Return the packages that every host needs: the list that lab/bootstrap.sh reads."""
    packages = []
    for line in PACKAGES.read_text("utf-8").splitlines():
        package = line.partition("#")[0].strip()
        if package:
            packages.append(package)
    return tuple(packages)


def arch_packages(campaigns: Iterable[str], host: Host | None = None, *, compilers: bool = True) -> tuple[str, ...]:
    """Return the packages of the architectures of campaigns; UsageError for an unknown campaign.

    Without `compilers` only the emulators.
    """
    host, library = host or Host(), Library.shipped()
    names: list[str] = []
    for word in campaigns:
        names += library.plan(word).arches
    found = dict.fromkeys(_packages_of_arches(dict.fromkeys(names), host))
    return tuple(name for name in found if compilers or name.startswith(toolchain.EMULATOR))


def _packages_of_arches(arches: Iterable[str], host: Host) -> list[str]:
    """Return the packages of each architecture that the host's release has; one that several need is repeated."""
    packages: list[str] = []
    for name in arches:
        if not host.older_than(ARCHES[name]):
            packages += host.packages_of(ARCHES[name])
    return packages


def _lines(path: Path) -> list[str]:
    """Return the lines of a text file; none if it cannot be read."""
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def _missing_programs(names: Iterable[str], host: Host) -> list[str]:
    """Return the programs that are not on the host's PATH."""
    return [name for name in names if host.which(name) is None]


def lacking(arch: Arch, host: Host | None = None) -> str:
    """Return which programs for an architecture are missing, and what to install; empty if none is."""
    host = host or Host()
    compiler = f"{arch.cross}gcc"
    if host.machine == arch.uname:
        compiler = "gcc"
    wanted = (arch.qemu,) if toolchain.adopted(arch) else (compiler, arch.qemu)
    missing = _missing_programs(wanted, host)
    if not missing:
        return ""
    return f"no {', no '.join(missing)} ({host.arch_fix(arch)})"


def lacking_for(topology: Topology, host: Host | None = None) -> str:
    """Return what this host lacks for a machine: programs, or a later release of QEMU; empty if nothing."""
    arch = topology.architecture
    if why := lacking(arch, host):
        return why
    if not topology.qemu:
        return ""
    return emulator.too_old(topology, qemu_version.installed(arch.qemu))


CAPTURE_SCRIPT = Path(__file__).parents[1] / "capture.sh"


def description() -> str:
    """Return the description of this machine by the script that reporters run."""
    return proc.run(["sh", str(CAPTURE_SCRIPT)], timeout_s=60, whole=True).output


def available_memory() -> int:
    """Return the bytes of memory that are available without swapping."""
    return _meminfo_bytes(Path("/proc/meminfo").read_text().splitlines(), "MemAvailable:")


def _meminfo_bytes(lines: Iterable[str], label: str) -> int:
    """Return the value of a line of /proc/meminfo in bytes; 0 if there is no such line."""
    for line in lines:
        if line.startswith(label):
            return int(line.split()[1]) * 1024
    return 0


def missing_packages(arches: Iterable[str], host: Host | None = None) -> list[str]:
    """Return the missing packages for building for and emulating these architectures."""
    host = host or Host()
    wanted = [*base_packages(), *_packages_of_arches(arches, host)]
    present = host.installed(wanted)
    if present is None:
        return []
    return [name for name in dict.fromkeys(wanted) if name not in present]


def install(arches: Iterable[str], host: Host | None = None) -> int:
    """Install the missing packages for these architectures, with apt on the terminal; return its exit status.

    The lab cannot ask for a password: if sudo needs one, UsageError shows the command to type.
    """
    host = host or Host()
    missing = missing_packages(arches, host)
    if not missing:
        return 0
    prefix: list[str] = []
    if host.uid != 0:
        prefix = ["sudo", "--non-interactive"]
    if prefix and (host.which("sudo") is None or proc.run([*prefix, "true"], check=False, timeout_s=30).status):
        raise UsageError("only root can install packages", hint=f"run: {host.install_command(missing)}")
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    return proc.start([*prefix, "env", "DEBIAN_FRONTEND=noninteractive", *install]).wait()


def checks(arches: Iterable[str], *, cache_root: Path | None = None, host: Host | None = None) -> list[Check]:
    """Check everything about this host that the lab depends on, for some architectures by name."""
    host = host or Host()
    wanted = [ARCHES[name] for name in arches]
    cache = cache_root or default_root()
    per_arch: list[Check] = []
    for arch in wanted:
        per_arch += [_compiler(host, arch), _emulator(host, arch)]
    only_root: list[Check] = []
    if host.uid == 0:
        only_root.append(_libvirt_user(host))
    return [
        _python(host),
        _packages(host),
        _programs(host),
        _headers(host),
        _modules(host),
        *per_arch,
        _libvirt_driver(host),
        *only_root,
        _ccache(host),
        _kvm(host, wanted, cache),
        _disk(host, cache),
        _memory(host),
        _tmp(host),
        _apt_sources(host),
        *(Check(name="environment", status=Status.OK, detail=remark) for remark in environment.remarks()),
    ]


def _check(name: str, good: bool, detail: str, problem: str, fix: str = "", *, bad: Status = Status.FAIL) -> Check:
    """Return a check that is ok, or has a problem and its fix."""
    if good:
        return Check(name=name, status=Status.OK, detail=detail)
    return Check(name=name, status=bad, detail=problem, fix=fix)


def _python(host: Host) -> Check:
    version, least = ".".join(map(str, host.python)), ".".join(map(str, PYTHON))
    fix = SETUP
    if CHECKOUT:
        fix = f"rm -rf .venv && {SETUP}"
    return _check("python", host.python >= PYTHON, version, f"{version} is older than {least}", fix)


def _packages(host: Host) -> Check:
    if host.installed(["dpkg"]) is None:
        return Check(name="packages", status=Status.WARN, detail="no dpkg: not Debian; programs are checked instead")
    missing = missing_packages([], host)
    return _check(
        "packages", not missing, "all installed", f"missing: {' '.join(missing)}", host.install_command(missing)
    )


def _programs(host: Host) -> Check:
    missing = _missing_programs(PROGRAMS, host)
    return _check("programs", not missing, " ".join(PROGRAMS), f"missing: {' '.join(missing)}", _fix_base(host))


def _headers(host: Host) -> Check:
    missing = [name for name in HEADERS if not host.header(host.root, name)]
    return _check("headers", not missing, " ".join(HEADERS), f"missing: {' '.join(missing)}", _fix_base(host))


def _modules(host: Host) -> Check:
    missing = [name for name in MODULES if not host.has_module(name)]
    return _check("libraries", not missing, " ".join(MODULES), f"missing: {' '.join(missing)}", SETUP)


def _compiler(host: Host, arch: Arch) -> Check:
    name = f"{arch.cross}gcc"
    program = host.which(name)
    fix = host.arch_fix(arch)
    problem, bad = f"no {name}", Status.FAIL
    if toolchain.adopted(arch):
        problem, bad = f"no {name}: only what `lab cache pull` fetched can be used", Status.WARN
    return _check(f"{arch.name} compiler", program is not None, program or "", problem, fix, bad=bad)


def _emulator(host: Host, arch: Arch) -> Check:
    program = host.which(arch.qemu)
    fix = host.arch_fix(arch)
    detail = program or ""
    if program:
        detail = f"{program}{_limits(arch, host.qemu_version(program))}"
    return _check(f"{arch.name} emulator", program is not None, detail, f"no {arch.qemu}", fix)


def _limits(arch: Arch, version: str) -> str:
    """Return what an emulator of this version cannot do, behind its version; empty if neither is known."""
    said = f", QEMU {version}" if version else ""
    for limit in arch.limits_of(version):
        said += f"; {limit.name}: {limit}"
    return said


def _libvirt_driver(host: Host) -> Check:
    driver = "libvirt/connection-driver/libvirt_driver_qemu.so"
    driver_path = _first_existing(host.root, f"usr/lib/*/{driver}", f"usr/lib/{driver}", f"usr/lib64/{driver}")
    fix = host.install_command(["libvirt-daemon", "libvirt-daemon-driver-qemu"])
    return _check("libvirt", driver_path is not None, str(driver_path), "its QEMU driver is not installed", fix)


def _libvirt_user(host: Host) -> Check:
    """Check for the user without whom libvirt's driver does not start as root, whatever its configuration says."""
    fix = host.as_root(["useradd", "--system", "--user-group", "--no-create-home", LIBVIRT_USER])
    return _check("libvirt user", host.has_user(LIBVIRT_USER), LIBVIRT_USER, f"no user {LIBVIRT_USER}", fix)


def _ccache(host: Host) -> Check:
    program = host.which("ccache")
    problem = "not installed: kernels that were built before are compiled again"
    return _check(
        "ccache", program is not None, program or "", problem, host.install_command(["ccache"]), bad=Status.WARN
    )


def _kvm(host: Host, arches: Sequence[Arch], cache: Path) -> Check:
    """Check whether /dev/kvm opens and, if a guest was booted with it since the host's boot, whether it works."""
    device = host.root / "dev/kvm"
    if not device.exists():
        return Check(name="kvm", status=Status.WARN, detail="no /dev/kvm: guests are emulated, which is slower")
    if not host.accessible(device, os.R_OK | os.W_OK):
        user = pwd.getpwuid(os.getuid()).pw_name
        fix = f"{host.as_root(['usermod', '--append', '--groups', 'kvm', user])}  # and log in again"
        return Check(name="kvm", status=Status.WARN, detail="no permission for /dev/kvm", fix=fix)
    for arch in arches:
        if known := accelerator.known(arch, Cache(cache)):
            works, detail = known
            return _check("kvm", works, detail, detail, bad=Status.WARN)
    return Check(name="kvm", status=Status.OK, detail="/dev/kvm opens; the first guest will show whether it works")


def _disk(host: Host, cache: Path) -> Check:
    free = host.free(cache)
    detail = f"{free / GIB:.0f} GiB free for {cache}"
    problem = f"{detail}; kernels of two architectures need {format_size(DISK)}"
    bad = Status.FAIL if free < DISK_LEAST else Status.WARN
    fix = "lab clean, or PAGELAB_CACHE=/on/a/larger/disk"
    return _check("disk", free >= DISK, detail, problem, fix, bad=bad)


def _memory(host: Host) -> Check:
    total = _total_memory(host)
    detail = f"{total / GIB:.1f} GiB"
    problem = f"{detail}; guests and compilers together need {format_size(MEMORY)}"
    bad = Status.FAIL if total < MEMORY_LEAST else Status.WARN
    return _check("memory", total >= MEMORY, detail, problem, "lab run -j 1", bad=bad)


def _tmp(host: Host) -> Check:
    """Check whether /tmp can hold libvirt's directory, which lies there because socket names must be short."""
    tmp = host.root / "tmp"
    good = tmp.is_dir() and host.accessible(tmp, os.W_OK | os.X_OK) and host.free(tmp) >= TMP_LEAST
    problem = f"not writable, or less than {format_size(TMP_LEAST)} free"
    return _check("/tmp", good, "writable", problem, host.as_root(["chmod", "1777", "/tmp"]))


def _apt_sources(host: Host) -> Check:
    """Check for a Debian archive, from which the sources of kernels and of the guests' userland are fetched."""
    apt = host.root / "etc/apt"
    files = [
        apt / "sources.list",
        *sorted((apt / "sources.list.d").glob("*.list")),
        *sorted((apt / "sources.list.d").glob("*.sources")),
    ]
    good = any(_names_archive(path) for path in files if path.is_file())
    return _check("apt sources", good, str(apt), "no Debian archive configured: kernels need `source: path:` or `git:`")


def _names_archive(path: Path) -> bool:
    """Return whether a file of apt's configuration has an entry that is not commented out."""
    words = ("deb ", "deb\t", "deb-src ", "types:")
    return any(line.strip().lower().startswith(words) for line in path.read_text("utf-8", "replace").splitlines())


def _total_memory(host: Host) -> int:
    """Return the bytes of RAM; 0 if the kernel does not report them."""
    return _meminfo_bytes(_lines(host.root / "proc/meminfo"), "MemTotal:")


def _fix_base(host: Host) -> str:
    return host.install_command(missing_packages([], host) or base_packages())


def _first_existing(root: Path, *patterns: str) -> Path | None:
    """Return the first file below the root that one of the patterns names; None if there is none."""
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            return path
    return None
