# SPDX-License-Identifier: GPL-2.0-or-later
"""Find what a program needs to start: its interpreter and its libraries, in directories of this host.

What the program opens by itself later (plug-ins, locales, name services) is not known from its headers.
"""

from __future__ import annotations

import errno
import os
import posixpath
import re
import shlex
import stat
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from lab.arch.record import Arch
from lab.core.errors import UsageError
from lab.core.paths import is_directory, is_file
from lab.core.this_host import as_root, install_command
from lab.formats import elf, elf_program
from lab.formats.elf_program import ElfProgram

MAX_FILES = 1000
MAX_CONF = 64 << 10
MAX_FILE = 1 << 30
MAX_SCRIPT = 256
"""Bytes of a script's first line, as in Linux (BINPRM_BUF_SIZE)."""
MAX_SCRIPTS = 4
"""Interpreters of interpreters that Linux follows."""
PROGRAM_DIRECTORY = "/lab"
_SPLIT = re.compile(r"(?:-v?S|--split-string(?:=|\s))\s*")
_SPLITS = re.compile(rb"#![ \t]*\S*/env[ \t]+(?:-v?S|--split-string)")
MAX_BESIDE = 100
"""Directories beside a program that are looked into for its libraries."""
COMMANDS = ("/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A file that a program needs and nothing here has."""

    name: str
    wanted_by: str
    """The file that names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """A program with all that it needs to start."""

    guest_path: str
    """Where the program is in the guest."""
    files: Mapping[str, Path]
    """Path in the guest -> file of this host; the program is among them."""
    programs: Mapping[str, ElfProgram]
    """Path in the guest -> headers, of those files that are ELF files."""
    links: Mapping[str, str]
    """Path in the guest -> the command of the guest that it is a link to."""
    missing: tuple[Missing, ...] = ()

    @property
    def machine(self) -> tuple[int, int, int] | None:
        """Width, byte order and number of the machine; None for a script of the guest's own shell."""
        for program in self.programs.values():
            return program.machine
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPlaces:
    """Where a file for the guest is looked for: a directory of this host per directory of the guest."""

    roots: tuple[Path, ...]
    """Trees that are laid out like the guest's `/`."""
    libraries: tuple[tuple[Path, str], ...]
    """Directories of libraries on this host -> the guest's directory for them."""
    own: tuple[Path, ...] = ()
    """Directories of $LD_LIBRARY_PATH: what is there is brought to where the guest's loader looks by itself."""

    def file(self, path: str) -> Path | None:
        """Return the file of this host for an absolute path in the guest; None if there is none."""
        for root in self.roots:
            if (found := inside(root, path)) is not None:
                return found
        directory, name = posixpath.split(path)
        for here, there in self.libraries:
            if there == directory and (here / name).is_file():
                return here / name
        return None

    def default_directories(self, arch: Arch) -> tuple[str, ...]:
        """Return the directories of the guest in which its loader looks without being told."""
        triplets = triplets_of(arch)
        names = [f"{base}/{triplet}" for base in ("/lib", "/usr/lib") for triplet in triplets]
        wide = ["/lib64", "/usr/lib64"] if arch.bits == 64 else ["/lib32", "/usr/lib32"]
        return (*names, *wide, "/lib", "/usr/lib", "/usr/local/lib")

    def configured_directories(self) -> Iterator[str]:
        """Yield the directories that /etc/ld.so.conf of a tree names, for the cache of its loader."""
        for root in self.roots:
            for path in ("/etc/ld.so.conf", *_in(root, "/etc/ld.so.conf.d")):
                if (file := inside(root, path)) is None:
                    continue
                for line in read_regular(file)[:MAX_CONF].decode("utf-8", "replace").splitlines():
                    word = line.partition("#")[0].strip()
                    if word.startswith("/"):
                        yield posixpath.normpath(word)


def triplets_of(arch: Arch) -> tuple[str, ...]:
    """Return the names that multiarch directories of an architecture have."""
    cross = arch.cross.removesuffix("-")
    rest = cross.partition("-")[2]
    return tuple(dict.fromkeys([cross, f"{arch.name}-{rest}", f"{arch.uname}-{rest}"]))


def places(arch: Arch, sysroot: Path | None) -> SearchPlaces:
    """Return where to look: in `sysroot` alone if one is given, else in this host's libraries of the architecture."""
    if sysroot is not None:
        if not is_directory(sysroot):
            raise UsageError(f"--sysroot: {sysroot} is no directory")
        if not os.access(sysroot, os.R_OK | os.X_OK):
            raise UsageError(f"--sysroot: {sysroot}: {os.strerror(errno.EACCES)}")
        return SearchPlaces(roots=(sysroot.resolve(),), libraries=())
    libraries = []
    for triplet in triplets_of(arch):
        for base in ("/lib", "/usr/lib"):
            libraries.append((Path(base, triplet), f"{base}/{triplet}"))
        cross = Path("/usr", triplet)
        for name in ("lib", "lib64", "lib32"):
            libraries.append((cross / name, f"/{name}"))
    own = tuple(Path(word) for word in os.environ.get("LD_LIBRARY_PATH", "").split(":") if word)
    return SearchPlaces(roots=(), libraries=tuple(libraries), own=own)


def inside(root: Path, path: str) -> Path | None:
    """Return the file that an absolute path names with `root` as `/`, links followed within it; None if none is.

    What is below a directory without permission is not there.
    """
    try:
        return _inside(root, path)
    except OSError:
        return None


def _inside(root: Path, path: str) -> Path | None:
    todo, at, links = deque(PurePosixPath(path).parts[1:]), PurePosixPath("/"), 0
    while todo:
        part = todo.popleft()
        if part == "..":
            at = at.parent
            continue
        found = root / str(at / part).lstrip("/")
        if found.is_symlink():
            links += 1
            if links > 40:
                return None
            target = PurePosixPath(found.readlink())
            if target.is_absolute():
                at = PurePosixPath("/")
            todo.extendleft(reversed([word for word in target.parts if word != "/"]))
            continue
        at = at / part
    final = root / str(at).lstrip("/")
    return final if final.is_file() else None


def _in(root: Path, directory: str) -> list[str]:
    """Return the paths of the *.conf files in a directory of a tree; none if it is a link, or not there."""
    place = root / directory.lstrip("/")
    if place.is_symlink() or not place.is_dir():
        return []
    return [f"{directory}/{file.name}" for file in sorted(place.glob("*.conf"))]


# ---- Following a program --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchDirectory:
    """A directory that a program names for its libraries."""

    guest: str
    here: Path
    """The same directory on this host, where it is not one of a root's."""


def needs(
    program: Path, arch: Arch, searched: SearchPlaces, *, commands: Mapping[str, str], guest_path: str = ""
) -> Needs:
    """Return what a program or script of this host needs to start in a guest, and which of it is missing.

    `commands`: name -> path of the guest's own commands, which scripts may use. UsageError for damaged files.
    """
    guest = guest_path or f"{PROGRAM_DIRECTORY}/{program.name}"
    search = _Search(arch=arch, places=searched, commands=commands)
    search.add(guest, program, ())
    return Needs(
        guest_path=guest,
        files=search.files,
        programs=search.programs,
        links=search.links,
        missing=tuple(search.missing.values()),
    )


@dataclass(slots=True, kw_only=True)
class _Search:
    """The files that were found so far, and those that were not."""

    arch: Arch
    places: SearchPlaces
    commands: Mapping[str, str]
    files: dict[str, Path] = field(default_factory=dict)
    programs: dict[str, ElfProgram] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    missing: dict[str, Missing] = field(default_factory=dict)
    found: set[str] = field(default_factory=set)
    """Names of libraries that were found: a loader loads each once."""
    scripts: int = 0

    def add(self, guest: str, here: Path, inherited: tuple[SearchDirectory, ...]) -> None:
        """Add a file and all that it needs. `inherited`: the RPATH of the file that loads it."""
        self.files[guest] = here
        if len(self.files) > MAX_FILES:
            raise UsageError(f"{here} needs more than {MAX_FILES} files")
        data = read_regular(here)
        if data.startswith(b"#!"):
            self._script(data, here)
        if not elf_program.is_elf(data):
            return
        try:
            program = elf_program.parse(data)
        except ValueError as error:
            raise UsageError(f"{here} cannot be run: {error}") from None
        self.programs[guest] = program
        self._loaded(program, guest, here, inherited)

    def _loaded(self, program: ElfProgram, guest: str, here: Path, inherited: tuple[SearchDirectory, ...]) -> None:
        """Add what an ELF file is loaded with: its interpreter and its libraries."""
        if program.interpreter:
            self._interpreter(program.interpreter, here)
        run_path = self._directories(program.runpath, guest, here)
        rpath = inherited
        if not run_path:
            rpath = (*self._directories(program.rpath, guest, here), *inherited)
        for name in program.needed:
            self._library(name, (*rpath, *run_path), here, rpath)

    def _script(self, data: bytes, here: Path) -> None:
        """Add the interpreter that a script names in its first line."""
        commands = _commands_of(data, str(here))
        if not commands:
            return
        self.scripts += 1
        if self.scripts > MAX_SCRIPTS:
            raise UsageError(f"{here} is a script of a script of a script: Linux follows {MAX_SCRIPTS}")
        for command in commands:
            self._command(command, here)
        if _SPLITS.match(data) and not self.missing and not self.places.file(commands[0]):
            self.missing["env -S"] = Missing(name="env -S", wanted_by=here.name)  # busybox's env has no -S

    def _command(self, word: str, wanted_by: Path) -> None:
        """Add a program by its path or its name; a command that the guest has gets a link where it is looked for."""
        candidates = [posixpath.normpath(word)]
        if "/" not in word:
            candidates = [f"{directory}/{word}" for directory in COMMANDS]
        for guest in candidates:
            if guest in self.files:
                return
            if here := self.places.file(guest):
                self.add(guest, here, ())
                return
        name = posixpath.basename(word)
        if name not in self.commands:
            self.missing[word] = Missing(name=word, wanted_by=wanted_by.name)
        elif candidates[0] != self.commands[name]:
            self.links[candidates[0]] = self.commands[name]

    def _interpreter(self, path: str, wanted_by: Path) -> None:
        guest = posixpath.normpath(path)
        name = posixpath.basename(guest)
        self.found.add(name)
        if guest in self.files or guest in self.missing:
            return
        here = self.places.file(guest) or self._anywhere(name)
        if here is None:
            self.missing[guest] = Missing(name=guest, wanted_by=wanted_by.name)
            return
        self.add(guest, here, ())

    def _anywhere(self, name: str) -> Path | None:
        """Return a library by its name alone: cross libraries are in another directory than a guest's."""
        for here, _ in self.places.libraries:
            if (here / name).is_file():
                return here / name
        return None

    def _library(
        self, name: str, own: Sequence[SearchDirectory], wanted_by: Path, rpath: tuple[SearchDirectory, ...]
    ) -> None:
        if name in self.found or name in self.missing:
            return
        if "/" in name and not name.startswith("/"):
            self.missing[name] = Missing(name=name, wanted_by=wanted_by.name)
            return
        machine = next(iter(self.programs.values())).machine
        for guest, here in self._candidates(name, own):
            if elf.machine(read_head(here)) == machine:
                self.found.add(name)
                self.add(guest, here, rpath)
                return
        self.missing[name] = Missing(name=name, wanted_by=wanted_by.name)

    def _candidates(self, name: str, own: Sequence[SearchDirectory]) -> Iterator[tuple[str, Path]]:
        """Yield the places of a library, in the loader's order."""
        for directory in own:
            guest = posixpath.normpath(posixpath.join(directory.guest, name))
            here = self.places.file(guest)
            own_place = directory.guest != str(directory.here) or not self.places.roots
            if here is None and own_place and (directory.here / name).is_file():
                here = directory.here / name
            if here is not None:
                yield guest, here
        for place in self.places.own:
            if is_file(place / name):
                yield posixpath.join(self.places.default_directories(self.arch)[0], name), place / name
        for default in self.places.default_directories(self.arch):
            guest = posixpath.normpath(posixpath.join(default, name))
            if here := self.places.file(guest):
                yield guest, here
        for configured in self.places.configured_directories():
            if here := self.places.file(posixpath.join(configured, name)):
                # The guest's loader has no cache: the library is brought to where it looks by itself.
                yield posixpath.join(self.places.default_directories(self.arch)[0], name), here

    def _directories(self, paths: Sequence[str], guest: str, here: Path) -> tuple[SearchDirectory, ...]:
        """Return the directories of an RPATH or RUNPATH of a file, $ORIGIN replaced by the file's own directory."""
        directories = []
        for path in paths:
            inside_guest, outside = self._expanded(path, guest, here)
            if inside_guest.startswith("/"):
                directories.append(SearchDirectory(guest=posixpath.normpath(inside_guest), here=Path(outside)))
        return tuple(directories)

    def _expanded(self, path: str, guest: str, here: Path) -> tuple[str, str]:
        """Return a path of an RPATH in the guest and on this host."""
        wide = "lib64" if self.arch.bits == 64 else "lib"
        for word, value in {"LIB": wide, "PLATFORM": self.arch.uname}.items():
            path = path.replace(f"${{{word}}}", value).replace(f"${word}", value)
        both = []
        for origin in (posixpath.dirname(guest), str(here.resolve().parent)):
            both.append(path.replace("${ORIGIN}", origin).replace("$ORIGIN", origin))
        return both[0], both[1]


def started_by(program: Path, arch: Arch, name: str) -> tuple[str, ...]:
    """Return what starts a program: the interpreter in its header, or the commands in the first line of a script.

    UsageError, which calls it `name`, for a damaged program and for one of another architecture.
    """
    data = read_regular(program)
    if data.startswith(b"#!"):
        return _commands_of(data, name)
    if not elf_program.is_elf(data):
        return ()
    try:
        found = elf_program.parse(data)
    except ValueError as error:
        raise UsageError(f"{name} cannot be run: {error}") from None
    if found.machine != arch.elf_header:
        raise UsageError(f"{name} is a program for another processor, not for {arch.name}")
    return (found.interpreter,) if found.interpreter else ()


def _commands_of(script: bytes, name: str) -> tuple[str, ...]:
    """Return the commands that the first line of a script names: the interpreter, and what `env` starts.

    UsageError, which calls the script `name`, for a line that Linux reads otherwise than its author meant.
    """
    line = script[2:MAX_SCRIPT].partition(b"\n")[0].decode("utf-8", "replace").strip(" \t")
    interpreter, *others = re.split(r"[ \t]+", line, maxsplit=1)
    is_env = posixpath.basename(interpreter) == "env"
    if line.endswith("\r") and (is_env or not others):
        raise UsageError(f"{name}: its lines end in CR LF: Linux looks for {line!r}", hint=r"sed -i 's/\r$//' mends it")
    if interpreter and not interpreter.startswith("/"):
        raise UsageError(f"{name}: its first line names {interpreter!r}: expected an absolute path, such as /bin/sh")
    if not is_env or not others:
        return (interpreter,) if interpreter else ()
    return (interpreter, *_started_by_env(others[0]))


def _started_by_env(argument: str) -> tuple[str, ...]:
    """Return the command that `env` starts. Linux passes on all that follows it as one argument, which -S divides."""
    if not _SPLIT.match(argument):
        return (argument,)
    divided = _SPLIT.sub("", argument, count=1)
    try:
        words = deque(shlex.split(divided))
    except ValueError:  # a quote without its other one, at which env stops
        words = deque(divided.split())
    while words:
        word = words.popleft()
        if word in ("-u", "--unset", "-C", "--chdir") and words:
            words.popleft()
        elif not word.startswith("-") and "=" not in word:
            return (word,)
    return ()


def read_regular(path: Path) -> bytes:
    """Return the bytes of a regular file; UsageError for anything else, and for a file that is too large."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise UsageError(f"{path} is no regular file")
            if info.st_size > MAX_FILE:
                raise UsageError(f"{path} is larger than {MAX_FILE >> 30} GiB")
            return file.read(MAX_FILE)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file, as many as an ELF header has; UsageError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


# ---- What to do about it --------------------------------------------------------------------------------------------

CROSS_PACKAGES = (
    (r"ld-linux.*|ld64.*|ld\.so\.1|lib(c|m|dl|rt|pthread|resolv|util|nsl)\.so\.\S+", "libc6"),
    (r"libstdc\+\+\.so\.6", "libstdc++6"),
    (r"libgcc_s\.so\.1", "libgcc-s1"),
    (r"libatomic\.so\.1", "libatomic1"),
    (r"libgomp\.so\.1", "libgomp1"),
)
"""Libraries that Debian has as packages for cross compilers: name -> beginning of the package's name."""


HINTS = (
    (r".*/?ld-musl-\S+", "it is linked with musl: --root takes an image of Alpine, or link it statically"),
    (r"/system/bin/linker\S*", "it is a program of Android: no guest has its loader"),
    (
        r"(?!/)\S+/\S*",
        "its name in the program is a path from the current directory: link the library with -Wl,-soname,NAME",
    ),
    (r"[^/\s]\S*\s.*", "Linux passes all that follows env as one argument: `#!/usr/bin/env -S` divides it"),
)
"""Name of what is missing -> what to do about it, where no package and no other directory has it."""


def hint(missing: Sequence[Missing]) -> str:
    """Return what to do about a file that no package has; empty if its name says nothing."""
    for library in missing:
        for pattern, words in HINTS:
            if re.fullmatch(pattern, library.name) and library.name != "env -S":
                return words
    return ""


def beside(program: Path, missing: Sequence[Missing], arch: Arch) -> str:
    """Return the directory beside a program that has all libraries it lacks; empty if none has."""
    here = program.parent
    near = [here, here.parent / "lib", *sorted(path for path in here.glob("*") if is_directory(path))[:MAX_BESIDE]]
    for directory in near:
        found = [directory / library.name for library in missing]
        if all(is_file(path) and elf.machine(read_head(path)) == arch.elf_header for path in found):
            return str(directory)
    return ""


def install_hint(missing: Sequence[Missing], arch: Arch, *, native: bool) -> str:
    """Return the commands that install what is missing, as far as names of files say which packages have it."""
    cross: list[str] = []
    foreign: list[str] = []
    for library in missing:
        name = posixpath.basename(library.name)
        stem = cross_package(name)
        if stem and native:
            foreign.append(stem)
        elif stem:
            cross.append(f"{stem}-{arch.debian}-cross")
        elif package := library_package(name):
            foreign.append(package if native else f"{package}:{arch.debian}")
    commands = []
    if cross:
        commands.append(install_command(cross))
    if foreign:
        if not native:
            commands += [as_root(["dpkg", "--add-architecture", arch.debian]), as_root(["apt-get", "update"])]
        commands.append(install_command(foreign))
    return " && ".join(commands)


def cross_package(name: str) -> str:
    """Return the beginning of the name of the package for cross compilers that has a library; empty if none has."""
    for pattern, package in CROSS_PACKAGES:
        if re.fullmatch(pattern, name):
            return package
    return ""


def library_package(name: str) -> str:
    """Return the name that Debian's policy gives the package of a library: libssl.so.3 -> libssl3; empty if none."""
    match = re.fullmatch(r"(lib[\w+.-]*?)(-[\d.]+)?\.so\.(\d+)(?:\.[\d.]+)?", name)
    if not match:
        return ""
    stem, version = f"{match[1]}{match[2] or ''}".lower().replace("_", "-"), match[3]
    between = "-" if stem[-1].isdigit() else ""
    return f"{stem}{between}{version}"
