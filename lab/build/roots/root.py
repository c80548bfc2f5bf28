# SPDX-License-Identifier: GPL-2.0-or-later
"""`--root`: what a user names as the root of a guest's programs, as a read-only image in the cache.

debian:SUITE[+PACKAGE...]   packages with all that they depend on; no maintainer script runs
DIR                         a directory that is laid out like `/`
FILE                        a tar in any packing, a saved image of docker, or an OCI archive
the directory of an image   an OCI layout, or what a saved image was unpacked to
"""

from __future__ import annotations

import io
import json
import os
import posixpath
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from debian.arfile import ArError
from debian.debfile import DebError, DebFile

from lab.arch.record import Arch
from lab.build.roots import apt, debian_links, image, images, needed, packed, tar
from lab.build.roots.tree import MAX_BYTES, MAX_LAYERS, RootTree
from lab.core import paths
from lab.core.cache import Cache, digest, file_digest
from lab.core.errors import InfraError, UsageError
from lab.core.paths import is_directory, is_file, no_file, user_path
from lab.core.progress import Progress, silent
from lab.formats import cpio, file_kinds

DEBIAN = "debian:"
ALWAYS = ("base-files", "base-passwd", "bash", "coreutils", "dash", "grep", "libc-bin", "sed")
"""Packages that every program expects and no package depends on."""
MOUNTED = {"dev": 0o755, "proc": 0o755, "sys": 0o755, "run": 0o755, "lab": 0o755, "tmp": 0o1777}
"""Directories on which a guest mounts something (images/probes/enter.c), and their modes."""
HIDDEN = frozenset({"dev", "proc", "sys"})
"""Directories that a guest mounts, and in which no copy of a file of this host can be."""
IMAGE = "root.squashfs"
SCRIPTS = ("preinst", "postinst")
MAX_SCRIPT = 1 << 20
REGISTRY = re.compile(
    r"(?:docker|oci|docker-daemon|containers-storage)?(?::(?://)?)?([a-z0-9][a-z0-9._/-]*(?::[\w.-]+)?)"
)
"""What people call an image in a registry."""
ROOTS = "a directory, a tar, an image as `docker save` writes it or of OCI, or debian:SUITE+PACKAGE"
RECIPE = "root-4"
"""Part of every key: it changes when what is made of the same input does."""
Fill = Callable[[RootTree], list[str]]
"""Fills a tree and returns notes for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltRoot:
    """A root in the cache. `size` is the bytes of its files; `notes` are for the user."""

    word: str
    """What the user named."""
    key: str
    image: Path
    """The root as a squashfs image."""
    size: int
    notes: tuple[str, ...]
    cache: Cache
    fill: Fill

    def archive(self) -> Path:
        """Return the root as a part of an initramfs, for a kernel that cannot mount the image; made when asked for."""

        def make(into: Path) -> None:
            with _filled(self.word, self.cache, self.fill) as (tree, _):
                tree.write(into / "root.cpio", paths.GUEST_ROOT)

        return self.cache.entry("root-archive", self.key, make) / "root.cpio"


def absolute(word: str) -> str:
    """Return a word of --root in a form that means the same from any directory."""
    if word.startswith(DEBIAN):
        return word
    return str(Path(word).expanduser().absolute())


def build(word: str, arch: Arch, cache: Cache, progress: Progress = silent) -> BuiltRoot:
    """Return the root that a word names; made unless the cache has it. UsageError for what is none."""
    check(word)
    if word.startswith(DEBIAN):
        return _debian(word, arch, cache, progress)
    path = user_path(word)
    if is_directory(path):
        key = digest(RECIPE, arch.name, *_signature(path, word))
        return _built(word, key, cache, lambda tree: _from_directory(tree, path, arch, cache))
    try:
        key = digest(RECIPE, arch.name, file_digest(path))
    except OSError as error:
        raise UsageError(f"--root {word}: {error.strerror}") from None
    return _built(word, key, cache, lambda tree: _from_file(tree, path, arch, cache))


def check(word: str) -> None:
    """Raise UsageError for a word that can name no root; no list of packages is fetched, and no file is read."""
    if word.startswith(DEBIAN):
        _packages_of(word)
        return
    path = user_path(word)
    if not word or not (is_directory(path) or is_file(path)):
        raise _no_root(word, path)


def _no_root(word: str, path: Path) -> UsageError:
    """Return the error for a word that names nothing; an image of a registry is not fetched."""
    if not word:
        return UsageError("--root: the name of the root is empty", hint=ROOTS)
    named = REGISTRY.fullmatch(word)
    if named and ":" in word:
        name = named[1]
        return UsageError(
            f"--root {word}: no such file, and nothing is fetched from a registry",
            hint=f"`docker save -o image.tar {name}` or `skopeo copy docker://{name} oci-archive:image.tar` writes an "
            "image that --root takes",
        )
    return UsageError(f"--root {word}: {no_file(path)}", hint=ROOTS)


def _built(word: str, key: str, cache: Cache, fill: Fill) -> BuiltRoot:
    """Return the entry of a root, filled by `fill(tree)`, which returns notes."""

    def make(into: Path) -> None:
        with _filled(word, cache, fill) as (tree, notes):
            size = image.write(tree, into / IMAGE, cache)
            (into / "root.json").write_text(json.dumps({"size": size, "notes": notes}) + "\n")

    entry = cache.entry("root", key, make)
    facts = json.loads((entry / "root.json").read_text())
    return BuiltRoot(
        word=word,
        key=key,
        image=entry / IMAGE,
        size=facts["size"],
        notes=tuple(facts["notes"]),
        cache=cache,
        fill=fill,
    )


@contextmanager
def _filled(word: str, cache: Cache, fill: Fill) -> Iterator[tuple[RootTree, list[str]]]:
    """Yield the tree of a root with all that a program expects, and notes for the user."""
    with cache.scratch("root") as scratch, (scratch / "spool").open("w+b") as spool:
        tree = RootTree(spool=spool, what=f"--root {word}")
        notes = list(fill(tree))
        _complete(tree)
        if tree.left_out:
            notes.append(f"{tree.left_out} device nodes, sockets or pipes of {word} are left out")
        yield tree, notes


def _complete(tree: RootTree) -> None:
    """Add what a program expects of every root: users, names of hosts, and the directories that are mounted."""
    if tree.read("etc/passwd") is None:
        users = tree.read("usr/share/base-passwd/passwd.master") or b"root:x:0:0:root:/root:/bin/sh\n"
        groups = tree.read("usr/share/base-passwd/group.master") or b"root:x:0:\n"
        tree.add_file("etc/passwd", 0o644, users)
        tree.add_file("etc/group", 0o644, groups)
    if tree.read("etc/hosts") is None:
        tree.add_file("etc/hosts", 0o644, b"127.0.0.1 localhost\n")
    if tree.read("etc/resolv.conf") is None:
        tree.add_file("etc/resolv.conf", 0o644, b"# The guest has no network.\n")
    for name, mode in MOUNTED.items():
        tree.add_directory(name, mode)
    tree.add_directory("root", 0o700)


# ---- Packages of Debian ---------------------------------------------------------------------------------------------


def _packages_of(word: str) -> tuple[str, list[str]]:
    """Return the suite that `debian:SUITE+PACKAGE` names, and the packages."""
    release, plus, rest = word.removeprefix(DEBIAN).partition("+")
    named = package_names(plus + rest)
    if not release:
        raise UsageError(f"--root {word}: expected debian:SUITE or debian:SUITE+PACKAGE+PACKAGE")
    if "".join(f"+{name}" for name in named) != plus + rest:
        raise UsageError(
            f"--root {word}: expected names of packages, each behind a +, got {rest!r}",
            hint="their versions are those of the suite, their architecture is the machine's",
        )
    return release, named


def _debian(word: str, arch: Arch, cache: Cache, progress: Progress) -> BuiltRoot:
    release, named = _packages_of(word)
    packages = list(dict.fromkeys([*ALWAYS, *named]))
    archive = apt.open_release(release, arch, cache, progress)
    for name in named:
        if not archive.versions([name]):
            raise UsageError(f"--root {word}: {archive.no_package(name)}")
    key = digest(RECIPE, arch.name, release, *archive.versions(packages))

    def fill(tree: RootTree) -> list[str]:
        with cache.scratch("packages") as scratch:
            notes = archive.download(packages, scratch, progress)
            files = sorted(scratch.glob("*.deb"), key=lambda path: (not path.name.startswith("base-files_"), path.name))
            progress(f"putting {len(files)} packages together")
            return [*notes, *_from_packages(tree, files)]

    return _built(word, key, cache, fill)


def package_names(words: str) -> list[str]:
    """Return the names in `+NAME+NAME`. Two `+` belong to a name: `+libstdc++6`, and `+g+++make` for g++ and make."""
    return re.findall(r"\+([a-z0-9](?:[a-z0-9.-]|\+\+)*)", words)


def _from_packages(tree: RootTree, files: list[Path]) -> list[str]:
    """Lay packages over each other; return a note with those whose maintainer scripts did not run."""
    idle = []
    installed: list[debian_links.Alternative] = []
    debian_links.merge_usr(tree)
    for path in files:
        tree.layers = 0  # packages are no layers: each has its own files
        try:
            package = DebFile(str(path))
            with package.data.tgz() as data:
                tree.add_layer(data)
            scripts = [script for script in SCRIPTS if package.control.has_file(script)]
            if scripts:
                idle.append(path.name.partition("_")[0])
            for script in scripts:
                installed += debian_links.in_script(_script(package, script))
        except (DebError, ArError) as error:
            raise InfraError(f"{path.name} is damaged: {error}") from None
    debian_links.complete(tree, installed)
    note = f"{len(files)} packages; maintainer scripts did not run: {', '.join(idle) or 'none has any'}"
    return [note]


def _script(package: DebFile, name: str) -> str:
    """Return the text of a maintainer script; "" for one that is longer than any script of Debian."""
    content = package.control.get_content(name)
    return content.decode("utf-8", "replace") if content and len(content) <= MAX_SCRIPT else ""


# ---- Directories, tars and images -----------------------------------------------------------------------------------


def _walk(path: Path, what: str) -> Iterator[Path]:
    """Yield all that is below a directory, but not what is mounted there; UsageError for what cannot be read."""

    def refuse(error: OSError) -> None:
        raise UsageError(f"{what}: {error.filename}: {error.strerror}", hint="a tar can be made of it as root")

    for place, directories, names in os.walk(path, onerror=refuse):
        for name in sorted([*directories, *names]):
            yield Path(place, name)
        directories[:] = sorted(name for name in directories if not os.path.ismount(f"{place}/{name}"))


def _signature(path: Path, word: str) -> Iterator[bytes]:
    """Yield a line per file of a directory that changes when the file does."""
    for here in _walk(path, f"--root {word}"):
        try:
            info = here.lstat()
        except OSError as error:
            raise UsageError(f"--root {word}: {here}: {error.strerror}") from None
        yield os.fsencode(f"{here} {info.st_mode:o} {info.st_size} {info.st_mtime_ns}")


def _from_directory(tree: RootTree, path: Path, arch: Arch, cache: Cache) -> list[str]:
    names = [each.name for each in path.iterdir()]
    if not images.is_image(names):
        return _from_tree(tree, path)

    def open_file(name: str) -> IO[bytes]:
        found = needed.inside(path, posixpath.normpath(f"/{name}"))
        if found is None:
            raise _no_part(tree, name)
        return found.open("rb")

    return images.lay(tree, names, open_file, arch, cache)


def _from_tree(tree: RootTree, path: Path) -> list[str]:
    """Add a directory of this host, as the layer that a tar of it would be."""
    tree.layers += 1
    mounted = []
    for here in _walk(path, tree.what):
        name = str(here.relative_to(path))
        tree.add_from_host(name, here)
        if os.path.ismount(here):
            mounted.append(name)
    return [f"without what is mounted on {', '.join(mounted)}"] if mounted else []


def _from_file(tree: RootTree, path: Path, arch: Arch, cache: Cache) -> list[str]:
    with path.open("rb") as file:
        kind = file_kinds.named(file.read(file_kinds.LONGEST))
        file.seek(0)
        try:
            with cache.scratch("tar") as scratch, packed.opened(file, scratch, limit=2 * MAX_BYTES) as plain:
                return _from_tar(tree, plain, scratch, arch, cache, kind)
        except (tarfile.TarError, ValueError, *packed.DAMAGE) as error:
            reason = (str(error).splitlines() or ["damaged"])[0].rstrip(":")
            raise _no_tar(tree, kind, reason) from None


def _no_tar(tree: RootTree, kind: str, reason: str) -> UsageError:
    """Return the error for a file that is no tar, or a damaged one. `kind`: what its first bytes say it is."""
    if kind and not kind.startswith("packed"):
        return UsageError(f"{tree.what}: it is {kind}", hint=f"expected {ROOTS}")
    return UsageError(f"{tree.what}: no tar that can be read: {reason}", hint=f"expected {ROOTS}")


def _from_tar(tree: RootTree, plain: IO[bytes], scratch: Path, arch: Arch, cache: Cache, kind: str) -> list[str]:
    with tar.open_again(plain) as archive:
        members = _members_of_image(archive)
    if not members:
        raise _no_tar(tree, kind, "it has no files")
    if not images.is_image(members):
        with tar.open_again(plain) as archive:
            tree.add_layer(archive)
        return []
    with _seekable(plain, scratch) as file, tar.open_again(file) as archive:

        def open_member(name: str) -> IO[bytes]:
            found = _regular(members, name)
            file = archive.extractfile(found) if found else None
            if file is None:
                raise _no_part(tree, name)
            return file

        return images.lay(tree, members, open_member, arch, cache)


@contextmanager
def _seekable(plain: IO[bytes], scratch: Path) -> Iterator[IO[bytes]]:
    """Yield what Python unpacks as a file on disk: to go back in a packed one is to unpack it again."""
    if isinstance(plain, io.BufferedReader):
        yield plain
        return
    plain.seek(0)
    with (scratch / "image").open("w+b") as file:
        while block := plain.read(1 << 20):
            if file.tell() > 2 * MAX_BYTES:
                raise ValueError(f"more than {2 * MAX_BYTES >> 30} GiB")
            file.write(block)
        yield file


def _no_part(tree: RootTree, name: str) -> UsageError:
    return UsageError(f"{tree.what}: no {name[:100]} in this image")


def _members_of_image(archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Return name -> member of a tar that may be an image, without the ./ that names may begin with."""
    members = {}
    for number, member in enumerate(archive):
        members[member.name.removeprefix("./")] = member
        if number >= MAX_LAYERS * 8 or member.size > MAX_BYTES:
            break
    return members


def _regular(members: Mapping[str, tarfile.TarInfo], name: str) -> tarfile.TarInfo | None:
    """Return the regular file of a name, a link followed once, as `docker save` makes them; None if there is none."""
    member = members.get(name)
    if member is not None and member.issym():
        member = members.get(posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)))
    return member if member is not None and member.isreg() else None


# ---- Copies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A file or directory of the host, and the absolute path of its copy in the guest."""

    here: Path
    guest: str


def copied(word: str) -> Copied:
    """Return what `-v HOST:/GUEST` names; UsageError for anything else."""
    here, _, guest = word.rpartition(":")
    if here and guest in ("ro", "rw", "z", "Z"):
        raise UsageError(f"-v {word}: expected HOST:/GUEST without {guest!r}: it is a copy, and nothing is shared")
    if not here or not guest.startswith("/") or ".." in guest.split("/"):
        raise UsageError(f"-v {word}: expected HOST:/GUEST, an absolute path in the guest")
    path = user_path(here)
    if not is_directory(path) and not is_file(path):
        raise UsageError(f"-v {word}: {here}: {no_file(path)}")
    parts = [part for part in guest.split("/") if part not in ("", ".")]
    if not parts and not is_directory(path):
        raise UsageError(f"-v {word}: a file needs a name in the guest, such as /{path.name}")
    if parts and parts[0] in HIDDEN:
        raise UsageError(f"-v {word}: the guest mounts something on /{parts[0]}, which would hide the copy")
    return Copied(here=path, guest=guest)


def write_copies(copies: Sequence[Copied], into: Path, *, tar_name: str = "") -> int:
    """Write a part of an initramfs with copies of the host's files; return their bytes.

    They are where they belong in the guest, or all in one tar of this name, for a root that is mounted later.
    """
    with into.with_suffix(".spool").open("w+b") as spool:
        tree = RootTree(spool=spool, what="-v")
        for copy in copies:
            _add_copy(tree, copy)
        if not tar_name:
            return tree.write(into, "")
        packed = into.with_suffix(".tar")
        size = tree.write_tar(packed, implied=False)
        into.write_bytes(cpio.archive([cpio.file(tar_name, packed.read_bytes())]))
        packed.unlink()
        return size


def _add_copy(tree: RootTree, copy: Copied) -> None:
    name = copy.guest.strip("/")
    if name:
        tree.add_from_host(name, copy.here.resolve())
    if not copy.here.is_dir():
        return
    for path in _walk(copy.here, f"-v {copy.here}:{copy.guest}"):
        tree.add_from_host(f"{name}/{path.relative_to(copy.here)}", path)


MAX_OUT = 256 << 20
MAX_OUT_FILES = 20_000


def write_out(data: bytes, into: Path) -> tuple[str, ...]:
    """Write the regular files of a tar that a guest sent below a directory, which must not exist.

    Returns the names of what is left out: links, devices and pipes. UsageError for names that leave the directory.
    """
    written, left_out = 0, []
    try:
        with tar.open_stream(io.BytesIO(data)) as archive:
            for member in archive:
                if _write_member(archive, member, into):
                    written += 1
                elif not member.isdir():
                    left_out.append(member.name.removeprefix("./"))
                if written + len(left_out) > MAX_OUT_FILES:
                    raise UsageError(f"--out: more than {MAX_OUT_FILES} files")
    except (tarfile.TarError, EOFError) as error:
        raise UsageError(f"--out: the guest sent no whole tar: {error}") from None
    except OSError as error:
        raise InfraError(f"--out: {error.filename or into}: {error.strerror}") from None
    return tuple(left_out)


def _write_member(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> bool:
    """Write a regular file, readable and writable for its owner, and writable for nobody else; False for another."""
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UsageError(f"--out: a name that leaves the directory: {member.name[:100]!r}")
    file = archive.extractfile(member) if member.isreg() else None
    if file is None or not parts:
        return False
    path = into.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.read())
    path.chmod(member.mode & 0o755 | 0o600)
    return True
