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

from lab.arch.record import Arch
from lab.build import debian, step, toolchain
from lab.build.toolchain import Toolchain
from lab.core import paths
from lab.core.cache import Cache, digest, file_digest
from lab.core.errors import BuildError
from lab.core.progress import Progress, silent
from lab.core.ssh_keys import dropbear_host_key
from lab.formats import cpio

ENTRY = "rootfs"
SOURCES = ("busybox", "dropbear")
BUILD_S = 900.0
"""Seconds for the build of one program; a minute where both cores are free."""
COMPILED = ("busybox.config", "localoptions.h", "wake.c")
"""Files of the recipe that the programs are compiled from; the others are only packed."""
STEPS = "3"
"""Raise this when `_busybox` or `_dropbear` change what they do: their text is not part of the key."""
PACKING = (Path(__file__), Path(cpio.__file__))
"""Modules whose text decides the content of the archive."""
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
"""Arguments of dropbear's configure."""

HOST_KEY = "etc/dropbear/host_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rootfs:
    """A built userland. `host_key` is its sshd's public key, as in `ssh-ed25519 AAAA...`."""

    initrd: Path
    host_key: str
    key: str
    notes: tuple[str, ...] = ()
    """Optional changes to the source packages that did not apply; the userland works without them."""


def build(arch: Arch, *, cache: Cache, progress: Progress = silent, recipe: Path | None = None) -> Rootfs:
    """Return an architecture's userland, from the cache or built in a minute; BuildError with the compiler's messages.

    Programs and archive are separate cache entries: after a change of `init` nothing is compiled.
    """
    recipe = recipe or paths.images() / "rootfs"
    chain = toolchain.find(arch)
    versions = _versions(cache, progress)
    compiled = digest(arch.name, chain.key, *versions, STEPS, *CONFIGURE, *_hashes(recipe / name for name in COMPILED))
    key = digest(compiled, *_hashes(_files(recipe)), *_hashes(PACKING))

    def compile_programs(entry: Path) -> None:
        chain.require(f"userland for {arch.name} ({compiled})")
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
        (entry / "notes").write_bytes((programs / "notes").read_bytes())

    built = _load(cache.entry(ENTRY, key, pack))
    for note in built.notes:
        progress(note)
    return built


def recorded(key: str, cache: Cache) -> Rootfs | None:
    """Return the userland of a key; None if the cache does not have it."""
    if not key.isalnum() or not cache.has(ENTRY, key):
        return None
    return _load(cache.path(ENTRY, key))


def _load(entry: Path) -> Rootfs:
    host_key = (entry / "host_key.pub").read_text().strip()
    notes = tuple((entry / "notes").read_text().splitlines())
    return Rootfs(initrd=entry / "initrd", host_key=host_key, key=entry.name, notes=notes)


def _versions(cache: Cache, progress: Progress) -> list[str]:
    """Return the name and version of each source package."""
    packages = [debian.find_source(name, cache, progress=progress) for name in SOURCES]
    return [f"{package.package} {package.version}" for package in packages]


def overlay(files: Mapping[str, tuple[int, bytes]]) -> bytes:
    """Return an archive to append to an initrd. `files`: relative path in the guest -> permissions, content."""
    return cpio.archive(cpio.file(name, content, permissions) for name, (permissions, content) in files.items())


def with_new_host_key(initrd: Path) -> bytes:
    """Return the userland with a new host key, for a copy that leaves this host."""
    private, _ = dropbear_host_key()
    nodes = cpio.read(initrd.read_bytes())
    return cpio.archive(replace(node, data=private) if node.name == HOST_KEY else node for node in nodes)


def _files(recipe: Path) -> list[Path]:
    return sorted(path for path in recipe.rglob("*") if path.is_file())


def _hashes(files: Iterable[Path]) -> list[str]:
    """Return the name and hash of each file."""
    return [f"{path.name} {file_digest(path)}" for path in files]


def _nodes(recipe: Path, programs: Path, host_key: bytes) -> list[cpio.CpioNode]:
    """Return the files of the userland. `links`, made by busybox, names the path of an applet on each line."""
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
        # The kernel opens it for init before devtmpfs is mounted.
        cpio.character_device("dev/console", 5, 1),
        cpio.character_device("dev/null", 1, 3, 0o666),
    ]


# ---- Compiling ------------------------------------------------------------------------------------------------------


def _compile(chain: Toolchain, recipe: Path, scratch: Path, cache: Cache, progress: Progress) -> Mapping[str, bytes]:
    """Build both programs in parallel (configure uses one core); return the files of the cache entry."""
    trees = {name: debian.fetch_source(name, scratch, cache=cache, progress=progress) for name in SOURCES}
    with ThreadPoolExecutor(2) as pool:
        busybox = pool.submit(_busybox, chain, recipe, trees["busybox"], progress)
        dropbear = pool.submit(_dropbear, chain, recipe, trees["dropbear"], progress)
        busybox.result()
        note = dropbear.result()
    return {
        "busybox": (trees["busybox"] / "busybox").read_bytes(),
        "links": (trees["busybox"] / "busybox.links").read_bytes(),
        "dropbear": (trees["dropbear"] / "dropbear").read_bytes(),
        "notes": note.encode(),
    }


def _busybox(chain: Toolchain, recipe: Path, tree: Path, progress: Progress) -> None:
    requested = read_config((recipe / "busybox.config").read_text())
    (tree / "miscutils" / "wake.c").write_bytes((recipe / "wake.c").read_bytes())
    config = tree / ".config"
    make = ["make", f"CROSS_COMPILE={chain.prefix}", f"CC={chain.program_cc}"]
    _run([*make, "allnoconfig"], tree, "busybox", progress)
    lines = [line for line in config.read_text().splitlines() if _symbol(line) not in requested]
    lines += [f"{name}={value}" for name, value in requested.items()]
    config.write_text("\n".join(lines) + "\n")
    # oldconfig asks about options that became visible: accept its defaults.
    _run([*make, "oldconfig"], tree, "busybox", progress, answers=b"\n" * 10000)
    final = read_config(config.read_text())
    if lost := [name for name, value in requested.items() if final.get(name) != value]:
        raise BuildError(f"busybox has no such options: {', '.join(lost)}", hint=f"see {recipe / 'busybox.config'}")
    _run([*make, f"-j{toolchain.jobs()}", "busybox", "busybox.links"], tree, "busybox", progress)


def read_config(text: str) -> Mapping[str, str]:
    """Return CONFIG_X -> value for every line that sets one."""
    pairs = (line.partition("=") for line in text.splitlines() if line.startswith("CONFIG_"))
    return {name: value for name, _, value in pairs}


def _symbol(line: str) -> str:
    match = re.match(r"(?:# )?(CONFIG_\w+)", line)
    return match[1] if match else ""


_LINUX_BLOCK = re.compile(r"^#ifdef __linux__\n((?:[^#\n].*\n|\n)*)#endif", re.MULTILINE)
"""A block of C for Linux alone, without a directive inside."""


def without_proc_seeding(source: str) -> str | None:
    """Return dropbear's dbrandom.c without the block that hashes files of /proc; None if no such block is found.

    dropbear has asked getrandom() before. It reads these files for every connection and every command, and an
    emulated CPU prints some of them slowly: /proc/timer_list, /proc/interrupts.
    """
    for block in _LINUX_BLOCK.finditer(source):
        if re.search(r'\bprocess_file\(.*"/proc/', block[1]):
            return source[: block.start()] + block[0].replace("#ifdef __linux__", "#if 0", 1) + source[block.end() :]
    return None


def _skip_proc_seeding(tree: Path, progress: Progress) -> str:
    """Make dropbear's logins faster; the reason if its source is not as expected, which only costs time."""
    for path in (tree / "src" / "dbrandom.c", tree / "dbrandom.c"):  # from 2024.84 on, and before
        if path.is_file():
            changed = without_proc_seeding(path.read_text(errors="surrogateescape"))
            if changed is not None:
                path.write_text(changed, errors="surrogateescape")
                return ""
    note = "dropbear: built without the change that makes logins faster: dbrandom.c reads no files of /proc as expected"
    progress(note)
    return note


def _dropbear(chain: Toolchain, recipe: Path, tree: Path, progress: Progress) -> str:
    """Build dropbear and return a note about an optional change that did not apply; empty if all did."""
    (tree / "localoptions.h").write_bytes((recipe / "localoptions.h").read_bytes())
    note = _skip_proc_seeding(tree, progress)
    host = [f"--host={chain.target}"] if chain.target else []
    _run(["sh", "configure", *host, f"CC={chain.program_cc}", *CONFIGURE], tree, "dropbear", progress)
    _run(["make", f"-j{toolchain.jobs()}", "PROGRAMS=dropbear"], tree, "dropbear", progress)
    _run([f"{chain.prefix}strip", "dropbear"], tree, "dropbear", progress)
    return note


def _run(argv: list[str], tree: Path, program: str, progress: Progress, answers: bytes | None = None) -> None:
    failure = f"{program} did not build"
    step.run(argv, cwd=tree, failure=failure, timeout_s=BUILD_S, label=program, progress=progress, answers=answers)
