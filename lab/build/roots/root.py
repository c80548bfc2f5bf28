# SPDX-License-Identifier: GPL-2.0-or-later
"""`--root`: what a user names as the root of a guest's programs, as an archive in the cache that an initramfs takes.

debian:SUITE[+PACKAGE...]   packages with all that they depend on; no maintainer script runs
DIR                         a directory that is laid out like `/`
FILE                        a tar in any packing, a saved image of docker, or an OCI archive
an OCI layout               a directory with `oci-layout` and `index.json`
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from debian.arfile import ArError
from debian.debfile import DebError, DebFile

from lab.arch.record import Arch
from lab.build.roots import apt
from lab.build.roots.tree import MAX_BYTES, MAX_LAYERS, RootTree
from lab.core import proc
from lab.core.cache import Cache, digest, file_digest
from lab.core.errors import InfraError, UsageError
from lab.core.progress import Progress, silent
from lab.core.this_host import install_command

BELOW = "newroot"
"""The directory of the guest that programs have as `/`."""
DEBIAN = "debian:"
ALWAYS = ("base-files", "base-passwd", "bash", "coreutils", "dash", "grep", "libc-bin", "sed")
"""Packages that every program expects and no package depends on."""
SCRIPTS = ("preinst", "postinst")
MAX_JSON = 8 << 20
ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltRoot:
    """A root in the cache. `size` is the bytes of its files; `notes` are for the user."""

    archive: Path
    size: int
    notes: tuple[str, ...]


def build(word: str, arch: Arch, cache: Cache, progress: Progress = silent) -> BuiltRoot:
    """Return the root that a word names; made unless the cache has it. UsageError for what is none."""
    if word.startswith(DEBIAN):
        return _debian(word, arch, cache, progress)
    path = Path(word)
    if path.is_dir():
        return _built(word, digest("root-1", *_signature(path)), cache, lambda tree: _from_directory(tree, path))
    if path.is_file():
        return _built(word, digest("root-1", file_digest(path)), cache, lambda tree: _from_file(tree, path, cache))
    hint = "a directory, a tar, an OCI image, or debian:SUITE+PACKAGE"
    raise UsageError(f"--root {word}: no such file or directory", hint=hint)


def _built(word: str, key: str, cache: Cache, fill: Any) -> BuiltRoot:
    """Return the entry of a root, filled by `fill(tree)`, which returns notes."""

    def make(into: Path) -> None:
        with cache.scratch("root") as scratch, (scratch / "spool").open("w+b") as spool:
            tree = RootTree(spool=spool, what=f"--root {word}")
            notes = list(fill(tree))
            _complete(tree)
            if tree.left_out:
                notes.append(f"{tree.left_out} device nodes, sockets or pipes of {word} are left out")
            size = tree.write(into / "root.cpio", BELOW)
            (into / "root.json").write_text(json.dumps({"size": size, "notes": notes}) + "\n")

    entry = cache.entry("root", key, make)
    facts = json.loads((entry / "root.json").read_text())
    return BuiltRoot(archive=entry / "root.cpio", size=facts["size"], notes=tuple(facts["notes"]))


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
    for name, mode in (("dev", 0o755), ("proc", 0o755), ("sys", 0o755), ("run", 0o755), ("root", 0o700)):
        tree.add_directory(name, mode)
    tree.add_directory("tmp", 0o1777)


# ---- Packages of Debian ---------------------------------------------------------------------------------------------


def _debian(word: str, arch: Arch, cache: Cache, progress: Progress) -> BuiltRoot:
    match = re.fullmatch(r"debian:([a-z]+)((?:\+[a-z0-9][a-z0-9.-]+)*)", word)
    if match is None:
        raise UsageError(f"--root {word}: expected debian:SUITE or debian:SUITE+PACKAGE+PACKAGE")
    release, named = match[1], match[2].split("+")[1:]
    packages = list(dict.fromkeys([*ALWAYS, *named]))
    archive = apt.open_release(release, arch, cache, progress)
    if absent := [name for name in named if not archive.versions([name])]:
        raise UsageError(f"--root {word}: {release} has no package {', '.join(absent)} for {arch.debian}")
    key = digest("root-1", arch.name, release, *archive.versions(packages))

    def fill(tree: RootTree) -> list[str]:
        with cache.scratch("packages") as scratch:
            archive.download(packages, scratch, progress)
            files = sorted(scratch.glob("*.deb"), key=lambda path: (not path.name.startswith("base-files_"), path.name))
            progress(f"putting {len(files)} packages together")
            return _from_packages(tree, files)

    return _built(word, key, cache, fill)


def _from_packages(tree: RootTree, files: list[Path]) -> list[str]:
    """Lay packages over each other; return a note with those whose maintainer scripts did not run."""
    idle = []
    for path in files:
        tree.layers = 0  # packages are no layers: each has its own files
        try:
            package = DebFile(str(path))
            with package.data.tgz() as data:
                tree.add_layer(data)
            if any(package.control.has_file(script) for script in SCRIPTS):
                idle.append(path.name.partition("_")[0])
        except (DebError, ArError) as error:
            raise InfraError(f"{path.name} is damaged: {error}") from None
    note = f"{len(files)} packages; maintainer scripts did not run: {', '.join(idle) or 'none has any'}"
    return [note]


# ---- Directories, tars and images -----------------------------------------------------------------------------------


def _signature(path: Path) -> Iterator[str]:
    """Yield a line per file of a directory that changes when the file does."""
    for place, directories, names in os.walk(path):
        directories.sort()
        for name in sorted([*directories, *names]):
            info = Path(place, name).lstat()
            yield f"{place}/{name} {info.st_mode:o} {info.st_size} {info.st_mtime_ns}"


def _from_directory(tree: RootTree, path: Path) -> list[str]:
    if (path / "oci-layout").is_file():

        def open_blob(name: str) -> IO[bytes]:
            found = path / name
            if not found.is_file() or found.is_symlink():
                raise UsageError(f"{tree.what}: no {name} in this OCI layout")
            return found.open("rb")

        return _from_oci(tree, open_blob)
    return _from_tree(tree, path)


def _from_tree(tree: RootTree, path: Path) -> list[str]:
    """Add a directory of this host, as the layer that a tar of it would be."""
    tree.layers += 1
    for place, directories, names in os.walk(path):
        for name in sorted([*directories, *names]):
            here = Path(place, name)
            tree.add_from_host(str(here.relative_to(path)), here)
    return []


def _from_file(tree: RootTree, path: Path, cache: Cache) -> list[str]:
    with _plain(path, tree.what, cache) as plain:
        try:
            with tarfile.open(plain) as archive:
                names = set(archive.getnames()[: MAX_LAYERS * 8])
            image = names & {"manifest.json", "oci-layout"}
            with tarfile.open(plain) as archive:
                if not image:
                    tree.add_layer(archive)
                    return []
                return _from_image(tree, archive, names)
        except (tarfile.TarError, EOFError, OSError) as error:
            reason = str(error).splitlines()[0].rstrip(":")
            raise UsageError(f"{tree.what}: no tar that can be read: {reason}") from None


@contextmanager
def _plain(path: Path, what: str, cache: Cache) -> Iterator[Path]:
    """Yield a file that tarfile reads: itself, or what zstd unpacks from it."""
    with path.open("rb") as file:
        packed = file.read(4) == ZSTD
    if not packed:
        yield path
        return
    if proc.which("zstd") is None:
        raise InfraError(f"{what} is packed with zstd, which is not installed", hint=install_command(["zstd"]))
    with cache.scratch("zstd") as scratch:
        out = scratch / "tar"
        limit = f"--fsize={MAX_BYTES * 2}"
        try:
            proc.run(["prlimit", limit, "zstd", "--decompress", "--quiet", "-o", str(out), str(path)], timeout_s=900)
        except proc.ProcError as error:
            raise UsageError(f"{what}: zstd cannot unpack it, or it is too large: {error.message}") from None
        yield out


def _from_image(tree: RootTree, archive: tarfile.TarFile, names: set[str]) -> list[str]:
    def open_member(name: str) -> IO[bytes]:
        try:
            file = archive.extractfile(name)
        except KeyError:
            file = None
        if file is None:
            raise UsageError(f"{tree.what}: no {name} in this image")
        return file

    if "manifest.json" not in names:
        return _from_oci(tree, open_member)
    manifest = _json(tree, open_member("manifest.json"))
    layers = _words(tree, _first(tree, manifest).get("Layers"))
    return _lay(tree, [(name, open_member) for name in layers])


def _from_oci(tree: RootTree, open_blob: Any) -> list[str]:
    """Lay the layers of the first image of an OCI layout."""
    document = _json(tree, open_blob("index.json"))
    for _ in range(3):  # an index may name an index
        if not isinstance(document, dict) or "manifests" not in document:
            break
        chosen = _first(tree, document["manifests"])
        document = _json(tree, open_blob(_blob(tree, chosen.get("digest"))))
    if not isinstance(document, dict):
        raise UsageError(f"{tree.what}: its manifest is no JSON object")
    layers = document.get("layers")
    if not isinstance(layers, list) or not layers:
        raise UsageError(f"{tree.what}: its manifest names no layers")
    names = []
    for layer in layers:
        names.append((_blob(tree, layer.get("digest") if isinstance(layer, dict) else None), open_blob))
    return _lay(tree, names)


def _lay(tree: RootTree, layers: list[tuple[str, Any]]) -> list[str]:
    if len(layers) > MAX_LAYERS:
        raise UsageError(f"{tree.what}: more than {MAX_LAYERS} layers")
    for name, open_blob in layers:
        with open_blob(name) as file:
            head = file.read(4)
            file.seek(0)
            if head == ZSTD:
                raise UsageError(f"{tree.what}: its layers are packed with zstd; save it with gzip")
            unpacked: Any = gzip.GzipFile(fileobj=file) if head[:2] == b"\x1f\x8b" else file
            try:
                with tarfile.open(fileobj=unpacked, mode="r|") as archive:
                    tree.add_layer(archive)
            except (tarfile.TarError, EOFError, OSError) as error:
                raise UsageError(f"{tree.what}: layer {name[:80]}: {str(error).splitlines()[0]}") from None
    return []


def _json(tree: RootTree, file: IO[bytes]) -> Any:
    with file:
        data = file.read(MAX_JSON)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise UsageError(f"{tree.what}: a manifest that is no JSON") from None


def _first(tree: RootTree, found: object) -> dict[str, Any]:
    if isinstance(found, list) and found and isinstance(found[0], dict):
        return found[0]
    raise UsageError(f"{tree.what}: a manifest that names no image")


def _words(tree: RootTree, found: object) -> list[str]:
    if isinstance(found, list) and found and all(isinstance(word, str) for word in found):
        return found
    raise UsageError(f"{tree.what}: its manifest names no layers")


def _blob(tree: RootTree, found: object) -> str:
    """Return the path of a blob in a layout; only a digest can name one."""
    match = re.fullmatch(r"(sha256|sha512):([0-9a-f]{64,128})", found if isinstance(found, str) else "")
    if match is None:
        raise UsageError(f"{tree.what}: a manifest with a digest that is none")
    return f"blobs/{match[1]}/{match[2]}"


# ---- Copies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A file or directory of the host, and the absolute path of its copy in the guest."""

    here: Path
    guest: str


def copied(word: str) -> Copied:
    """Return what `-v HOST:/GUEST` names; UsageError for anything else."""
    here, _, guest = word.rpartition(":")
    if not here or not guest.startswith("/") or ".." in guest.split("/"):
        raise UsageError(f"-v {word}: expected HOST:/GUEST, an absolute path in the guest")
    if not Path(here).exists():
        raise UsageError(f"-v {word}: {here} does not exist")
    return Copied(here=Path(here), guest=guest)


def write_copies(copies: Sequence[Copied], into: Path, *, below: str) -> int:
    """Write an archive with copies of the host's files, below the guest's root of programs; return their bytes."""
    with into.with_suffix(".spool").open("w+b") as spool:
        tree = RootTree(spool=spool, what="-v")
        for copy in copies:
            name = copy.guest.strip("/")
            tree.add_from_host(name, copy.here.resolve())
            if copy.here.is_dir():
                for place, directories, names in os.walk(copy.here):
                    for file in sorted([*directories, *names]):
                        path = Path(place, file)
                        tree.add_from_host(f"{name}/{path.relative_to(copy.here)}", path)
        return tree.write(into, below)


MAX_OUT = 256 << 20
MAX_OUT_FILES = 20_000


def write_out(data: bytes, into: Path) -> int:
    """Write the regular files of a tar that a guest sent below a directory, which must not exist; return how many.

    UsageError for names that leave the directory. Links and everything else are left out.
    """
    written = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r|") as archive:
            for member in archive:
                written += _write_member(archive, member, into)
                if written > MAX_OUT_FILES:
                    raise UsageError(f"--out: more than {MAX_OUT_FILES} files")
    except (tarfile.TarError, EOFError) as error:
        raise UsageError(f"--out: the guest sent no whole tar: {error}") from None
    return written


def _write_member(archive: tarfile.TarFile, member: tarfile.TarInfo, into: Path) -> int:
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise UsageError(f"--out: a name that leaves the directory: {member.name[:100]!r}")
    file = archive.extractfile(member) if member.isreg() else None
    if file is None or not parts:
        return 0
    path = into.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.read())
    path.chmod(0o755 if member.mode & 0o100 else 0o644)
    return 1
