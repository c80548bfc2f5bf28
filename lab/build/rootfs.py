# SPDX-License-Identifier: GPL-2.0-or-later
"""The guest's userland: busybox and dropbear, built static from the distribution's source packages, in an initramfs.

The recipe is `images/rootfs`: `init`, `etc/`, `busybox.config`, `wake.c`, an applet of our own, and `localoptions.h`,
dropbear's options.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from lab.arch import Arch
from lab.build import debian, toolchain
from lab.build.toolchain import Toolchain
from lab.core import paths as data
from lab.core import proc
from lab.core.cache import Cache, digest, file_digest
from lab.core.errors import BuildError
from lab.core.progress import Progress, silent
from lab.core.ssh_keys import dropbear_host_key
from lab.formats import build_log, cpio

SOURCES = ("busybox", "dropbear")
BUILD_S = 900.0
"""Seconds for the build of one program; a minute where both cores are free."""
COMPILED = ("busybox.config", "localoptions.h", "wake.c")
"""Files of the recipe that the programs are compiled from; the others are only packed."""
STEPS = "2"
"""To be raised when `_busybox` or `_dropbear` do something else: their text is not a part of the key."""
PACKING = (Path(__file__), Path(cpio.__file__))
"""Modules whose text decides what the archive looks like."""
CONFIGURE = (
    # Not -Os, dropbear's default: the arithmetic of its key exchange is what a login waits for.
    "CFLAGS=-O2 -ffunction-sections -fdata-sections",
    "LDFLAGS=-Wl,--gc-sections",
    "--enable-static",
    "--enable-bundled-libtom",
    # PIE, stack protector and retpolines: relocations and detours that an emulator pays for, in a throw-away guest.
    "--disable-harden",
    *(f"--disable-{name}" for name in ("zlib", "syslog", "shadow", "lastlog", "utmp", "utmpx", "wtmp", "wtmpx")),
    *(f"--disable-{name}" for name in ("loginfunc", "pututline", "pututxline")),
)
"""What dropbear is configured with."""

HOST_KEY = "etc/dropbear/host_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rootfs:
    """A built userland. `host_key` is its sshd's public key, as in `ssh-ed25519 AAAA...`."""

    initrd: Path
    host_key: str
    key: str


def build(arch: Arch, *, cache: Cache, progress: Progress = silent, recipe: Path | None = None) -> Rootfs:
    """The userland of an architecture, from the cache or built in a minute; BuildError with the compiler's words.

    Programs and archive are cached apart: a change of `init` compiles nothing.
    """
    recipe = recipe or data.images() / "rootfs"
    chain = toolchain.find(arch)
    found = [debian.find_source(name, cache, progress=progress) for name in SOURCES]
    versions = [f"{one.package} {one.version}" for one in found]
    compiled = digest(arch.name, chain.key, *versions, STEPS, *CONFIGURE, *_hashes(recipe / name for name in COMPILED))
    key = digest(compiled, *_hashes(_files(recipe)), *_hashes(PACKING))

    def compile_programs(entry: Path) -> None:
        progress(f"userland of {arch.name}")
        with cache.scratch("userland") as scratch:
            for name, content in _compile(chain, recipe, scratch, cache, progress).items():
                (entry / name).write_bytes(content)
        (entry / "versions").write_text("\n".join([*versions, chain.version]) + "\n")

    def pack(entry: Path) -> None:
        programs = cache.entry("userland", compiled, compile_programs)
        private, public = dropbear_host_key()
        (entry / "initrd").write_bytes(cpio.archive(_nodes(recipe, programs, private)))
        (entry / "host_key.pub").write_text(public + "\n")

    entry = cache.entry("rootfs", key, pack)
    return Rootfs(initrd=entry / "initrd", host_key=(entry / "host_key.pub").read_text().strip(), key=key)


def overlay(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """An archive to append to an initrd: path in the guest (relative) -> permissions and content. Owner is root."""
    return cpio.archive(cpio.file(name, content, permissions) for name, (permissions, content) in files.items())


def with_new_host_key(initrd: Path) -> bytes:
    """The same userland with another host key: what leaves this host must not open what its lab trusts."""
    private, _ = dropbear_host_key()
    nodes = cpio.read(initrd.read_bytes())
    return cpio.archive(replace(node, data=private) if node.name == HOST_KEY else node for node in nodes)


def _files(recipe: Path) -> list[Path]:
    return sorted(path for path in recipe.rglob("*") if path.is_file())


def _hashes(paths: Iterable[Path]) -> list[str]:
    """Name and hash of each file."""
    return [f"{path.name} {file_digest(path)}" for path in paths]


def _nodes(recipe: Path, programs: Path, host_key: bytes) -> list[cpio.CpioNode]:
    """The whole userland. busybox tells its applets' names itself: `links` has a path per line."""
    links = [line.lstrip("/") for line in (programs / "links").read_text().split()]
    return [
        cpio.file("init", (recipe / "init").read_bytes(), 0o755),
        *(cpio.file(f"etc/{path.name}", path.read_bytes()) for path in _files(recipe / "etc")),
        cpio.file(HOST_KEY, host_key, 0o600),
        cpio.file("bin/busybox", (programs / "busybox").read_bytes(), 0o755),
        cpio.file("sbin/dropbear", (programs / "dropbear").read_bytes(), 0o755),
        *(cpio.symlink(link, "/bin/busybox") for link in links if link != "bin/busybox"),
        *(cpio.directory(name) for name in ("dev", "lab", "mnt", "proc", "run", "sys")),
        cpio.directory("root", 0o700),
        cpio.directory("tmp", 0o1777),
        # The kernel opens it for init before anybody can mount devtmpfs.
        cpio.character_device("dev/console", 5, 1),
        cpio.character_device("dev/null", 1, 3, 0o666),
    ]


# ---- Compiling ------------------------------------------------------------------------------------------------------


def _compile(chain: Toolchain, recipe: Path, scratch: Path, cache: Cache, progress: Progress) -> Mapping[str, bytes]:
    """The contents of `busybox`, `dropbear` and `links`. The two are built side by side: configure uses one core."""
    trees = {name: debian.fetch_source(name, scratch, cache=cache, progress=progress) for name in SOURCES}
    with ThreadPoolExecutor(2) as pool:
        busybox = pool.submit(_busybox, chain, recipe, trees["busybox"], progress)
        dropbear = pool.submit(_dropbear, chain, recipe, trees["dropbear"], progress)
        busybox.result(), dropbear.result()
    return {
        "busybox": (trees["busybox"] / "busybox").read_bytes(),
        "links": (trees["busybox"] / "busybox.links").read_bytes(),
        "dropbear": (trees["dropbear"] / "dropbear").read_bytes(),
    }


def _busybox(chain: Toolchain, recipe: Path, tree: Path, progress: Progress) -> None:
    wanted = read_config((recipe / "busybox.config").read_text())
    (tree / "miscutils" / "wake.c").write_bytes((recipe / "wake.c").read_bytes())
    config = tree / ".config"
    make = ["make", f"CROSS_COMPILE={chain.prefix}", f"CC={chain.program_cc}"]
    _run([*make, "allnoconfig"], tree, "busybox", progress)
    kept = [line for line in config.read_text().splitlines() if _symbol(line) not in wanted]
    config.write_text("\n".join([*kept, *(f"{name}={value}" for name, value in wanted.items())]) + "\n")
    # What became visible is asked for: take the defaults.
    _run([*make, "oldconfig"], tree, "busybox", progress, answers=b"\n" * 10000)
    final = read_config(config.read_text())
    if lost := [name for name, value in wanted.items() if final.get(name) != value]:
        raise BuildError(f"busybox has no such options: {', '.join(lost)}", hint=f"see {recipe / 'busybox.config'}")
    _run([*make, f"-j{toolchain.jobs()}", "busybox", "busybox.links"], tree, "busybox", progress)


def read_config(text: str) -> Mapping[str, str]:
    """CONFIG_X -> value of every line that sets one."""
    pairs = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
    return {name: value for name, _, value in pairs}


def _symbol(line: str) -> str:
    found = re.match(r"(?:# )?(CONFIG_\w+)", line)
    return found[1] if found else ""


GATHERING = """#ifdef __linux__
	/* Seems to be a reasonable source of entropy from timers."""
"""Where dropbear, which has asked getrandom(), goes on to hash nine files of /proc, for every connection and every
command anew. Among them is /proc/timer_list, which an emulated CPU prints slowly."""


def _dropbear(chain: Toolchain, recipe: Path, tree: Path, progress: Progress) -> None:
    (tree / "localoptions.h").write_bytes((recipe / "localoptions.h").read_bytes())
    source = (tree / "dbrandom.c").read_text()
    if GATHERING not in source:
        raise BuildError("dropbear: dbrandom.c gathers its random bytes in another way", hint=f"see {Path(__file__)}")
    (tree / "dbrandom.c").write_text(source.replace(GATHERING, GATHERING.replace("#ifdef __linux__", "#if 0")))
    configure = [
        "sh",
        "configure",
        *([f"--host={chain.target}"] if chain.target else []),
        f"CC={chain.program_cc}",
        *CONFIGURE,
    ]
    _run(configure, tree, "dropbear", progress)
    _run(["make", f"-j{toolchain.jobs()}", "PROGRAMS=dropbear"], tree, "dropbear", progress)
    _run([f"{chain.prefix}strip", "dropbear"], tree, "dropbear", progress)


def _run(argv: list[str], tree: Path, what: str, progress: Progress, answers: bytes | None = None) -> None:
    """One step of a build; BuildError with the lines that say what went wrong."""

    def tell(line: str) -> None:
        if line.startswith("  "):  # kbuild's short form: `  CC      libbb/appletlib.o`
            progress(f"{what}: {line.rsplit(maxsplit=1)[-1]}")

    progress(f"{what}: {argv[0]}")
    try:
        proc.run(
            argv,
            cwd=tree,
            env=toolchain.ccache_environment(tree),
            input=answers,
            timeout_s=BUILD_S,
            on_line=tell,
            whole=True,
        )
    except proc.ProcError as error:
        words = build_log.excerpt(error.output.splitlines()) or error.message
        raise BuildError(f"{what} did not build", excerpt=words) from error
