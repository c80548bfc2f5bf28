# SPDX-License-Identifier: GPL-2.0-or-later
"""`--root`: what a user names as the root of a guest's programs, as a read-only image in the cache.

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
import posixpath
import re
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from debian.arfile import ArError
from debian.debfile import DebError, DebFile

from lab.arch.record import Arch
from lab.build.roots import apt, debian_links, image, tar
from lab.build.roots.tree import MAX_BYTES, MAX_LAYERS, RootTree
from lab.core import proc
from lab.core.cache import Cache, digest, file_digest
from lab.core.errors import InfraError, UsageError
from lab.core.progress import Progress, silent
from lab.core.this_host import install_command
from lab.formats import cpio
from lab.specs import arches

BELOW = "newroot"
"""The directory of the guest that programs have as `/`."""
DEBIAN = "debian:"
ALWAYS = ("base-files", "base-passwd", "bash", "coreutils", "dash", "grep", "libc-bin", "sed")
"""Packages that every program expects and no package depends on."""
MOUNTED = {"dev": 0o755, "proc": 0o755, "sys": 0o755, "run": 0o755, "lab": 0o755, "tmp": 0o1777}
"""Directories on which a guest mounts something (images/probes/enter.c), and their modes."""
IMAGE = "root.squashfs"
SCRIPTS = ("preinst", "postinst")
MAX_SCRIPT = 1 << 20
MAX_JSON = 8 << 20
ZSTD = b"\x28\xb5\x2f\xfd"


RECIPE = "root-3"
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
                tree.write(into / "root.cpio", BELOW)

        return self.cache.entry("root-archive", self.key, make) / "root.cpio"


def absolute(word: str) -> str:
    """Return a word of --root in a form that means the same from any directory."""
    if word.startswith(DEBIAN):
        return word
    return str(Path(word).expanduser().absolute())


def build(word: str, arch: Arch, cache: Cache, progress: Progress = silent) -> BuiltRoot:
    """Return the root that a word names; made unless the cache has it. UsageError for what is none."""
    if word.startswith(DEBIAN):
        return _debian(word, arch, cache, progress)
    path = Path(word).expanduser()
    if path.is_dir():
        key = digest(RECIPE, arch.name, *_signature(path))
        return _built(word, key, cache, lambda tree: _from_directory(tree, path, arch, cache))
    if path.is_file():
        key = digest(RECIPE, arch.name, file_digest(path))
        return _built(word, key, cache, lambda tree: _from_file(tree, path, arch, cache))
    hint = "a directory, a tar, an OCI image, or debian:SUITE+PACKAGE"
    raise UsageError(f"--root {word}: no such file or directory", hint=hint)


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


def _debian(word: str, arch: Arch, cache: Cache, progress: Progress) -> BuiltRoot:
    match = re.fullmatch(r"debian:([a-z]+)((?:\+[a-z0-9][a-z0-9.+-]*)*)", word)
    named = package_names(match[2]) if match else []
    if match is None or "".join(f"+{name}" for name in named) != match[2]:
        raise UsageError(f"--root {word}: expected debian:SUITE or debian:SUITE+PACKAGE+PACKAGE")
    release = match[1]
    packages = list(dict.fromkeys([*ALWAYS, *named]))
    archive = apt.open_release(release, arch, cache, progress)
    if absent := [name for name in named if not archive.versions([name])]:
        raise UsageError(f"--root {word}: {release} has no package {', '.join(absent)} for {arch.debian}")
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


def _signature(path: Path) -> Iterator[str]:
    """Yield a line per file of a directory that changes when the file does."""
    for place, directories, names in os.walk(path):
        directories.sort()
        for name in sorted([*directories, *names]):
            info = Path(place, name).lstat()
            yield f"{place}/{name} {info.st_mode:o} {info.st_size} {info.st_mtime_ns}"


def _from_directory(tree: RootTree, path: Path, arch: Arch, cache: Cache) -> list[str]:
    if (path / "oci-layout").is_file():

        def open_blob(name: str) -> IO[bytes]:
            found = path / name
            if not found.is_file() or found.is_symlink():
                raise UsageError(f"{tree.what}: no {name} in this OCI layout")
            return found.open("rb")

        return _from_oci(tree, open_blob, arch, cache)
    return _from_tree(tree, path)


def _from_tree(tree: RootTree, path: Path) -> list[str]:
    """Add a directory of this host, as the layer that a tar of it would be."""
    tree.layers += 1
    for place, directories, names in os.walk(path):
        for name in sorted([*directories, *names]):
            here = Path(place, name)
            tree.add_from_host(str(here.relative_to(path)), here)
    return []


def _from_file(tree: RootTree, path: Path, arch: Arch, cache: Cache) -> list[str]:
    with _plain(path, tree.what, cache) as plain:
        try:
            with tar.open_file(plain) as archive:
                members = _members_of_image(archive)
            with tar.open_file(plain) as archive:
                if members.keys() & {"manifest.json", "oci-layout"}:
                    return _from_image(tree, archive, members, arch, cache)
                tree.add_layer(archive)
                return []
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


def _members_of_image(archive: tarfile.TarFile) -> dict[str, tarfile.TarInfo]:
    """Return name -> member of a tar that may be an image, without the ./ that names may begin with."""
    members = {}
    for number, member in enumerate(archive):
        if number >= MAX_LAYERS * 8 or member.size > MAX_BYTES:
            break
        members[member.name.removeprefix("./")] = member
    return members


def _regular(members: Mapping[str, tarfile.TarInfo], name: str) -> tarfile.TarInfo | None:
    """Return the regular file of a name, a link followed once, as `docker save` makes them; None if there is none."""
    member = members.get(name)
    if member is not None and member.issym():
        member = members.get(posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)))
    return member if member is not None and member.isreg() else None


OpenBlob = Callable[[str], IO[bytes]]


def _from_image(
    tree: RootTree, archive: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], arch: Arch, cache: Cache
) -> list[str]:
    def open_member(name: str) -> IO[bytes]:
        found = _regular(members, name)
        file = archive.extractfile(found) if found else None
        if file is None:
            raise UsageError(f"{tree.what}: no {name[:100]} in this image")
        return file

    if "manifest.json" not in members:
        return _from_oci(tree, open_member, arch, cache)
    manifest = _first(tree, _json(tree, open_member("manifest.json")))
    if isinstance(config := manifest.get("Config"), str):
        _check_architecture(tree, _json(tree, open_member(config)), arch)
    layers = _words(tree, manifest.get("Layers"))
    return _lay(tree, layers, open_member, cache)


def _from_oci(tree: RootTree, open_blob: OpenBlob, arch: Arch, cache: Cache) -> list[str]:
    """Lay the layers of an OCI layout's image: the one for the architecture, or the first if none says its own."""
    document = _json(tree, open_blob("index.json"))
    for _ in range(3):  # an index may name an index
        if not isinstance(document, dict) or "manifests" not in document:
            break
        chosen = _for_architecture(tree, document["manifests"], arch)
        document = _json(tree, open_blob(_blob(tree, chosen.get("digest"))))
    if not isinstance(document, dict):
        raise UsageError(f"{tree.what}: its manifest is no JSON object")
    layers = document.get("layers")
    if not isinstance(layers, list) or not layers:
        raise UsageError(f"{tree.what}: its manifest names no layers")
    if isinstance(config := document.get("config"), dict):
        _check_architecture(tree, _json(tree, open_blob(_blob(tree, config.get("digest")))), arch)
    names = []
    for layer in layers:
        names.append(_blob(tree, layer.get("digest") if isinstance(layer, dict) else None))
    return _lay(tree, names, open_blob, cache)


def _for_architecture(tree: RootTree, manifests: object, arch: Arch) -> dict[str, Any]:
    """Return the manifest of a list that is for the architecture; the first one if none is."""
    first = _first(tree, manifests)
    assert isinstance(manifests, list)
    for manifest in manifests:
        if isinstance(manifest, dict) and _architecture(manifest.get("platform")) == arch.name:
            return manifest
    return first


def _architecture(facts: object) -> str:
    """Return the lab's name of the architecture that an image or a manifest is for; empty if nothing known says it."""
    word = facts.get("architecture") if isinstance(facts, dict) else None
    if not isinstance(word, str):
        return ""
    try:
        return arches.find(word).name
    except UsageError:
        return ""


def _check_architecture(tree: RootTree, config: object, arch: Arch) -> None:
    """Raise UsageError if an image is for another architecture."""
    named = _architecture(config)
    if named and named != arch.name:
        raise UsageError(f"{tree.what} is an image for {named}, not for {arch.name}")


def _lay(tree: RootTree, layers: list[str], open_blob: OpenBlob, cache: Cache) -> list[str]:
    if len(layers) > MAX_LAYERS:
        raise UsageError(f"{tree.what}: more than {MAX_LAYERS} layers")
    for name in layers:
        with cache.scratch("layer") as scratch, open_blob(name) as file:
            try:
                with tar.open_stream(_unpacked(file, scratch, tree.what, cache)) as archive:
                    tree.add_layer(archive)
            except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
                raise UsageError(f"{tree.what}: layer {name[:80]}: {str(error).splitlines()[0]}") from None
    return []


def _unpacked(file: IO[bytes], scratch: Path, what: str, cache: Cache) -> Any:
    """Return the plain tar of a layer, which may be packed with gzip or zstd."""
    head = file.read(4)
    file.seek(0)
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if head != ZSTD:
        return file
    packed = scratch / "layer.zst"
    with packed.open("wb") as out:
        shutil.copyfileobj(file, out)
    with _plain(packed, what, cache) as plain:
        return plain.open("rb")  # the open file outlives its name


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
    tree.add_from_host(name, copy.here.resolve())
    if not copy.here.is_dir():
        return
    for place, directories, names in os.walk(copy.here):
        for file in sorted([*directories, *names]):
            path = Path(place, file)
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
