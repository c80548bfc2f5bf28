# SPDX-License-Identifier: GPL-2.0-or-later
"""Put a root together from the layers of tars, and write it as a tar or a part of an initramfs, never as host files.

A layer is untrusted. A name with `..` is refused; every other name is below the root, through links of the root alone.
Device nodes, sockets and pipes are left out, owners and set-uid bits count inside the guest only. Sizes are bounded.
"""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO

from lab.core.errors import UsageError
from lab.core.sizes import GIB, MIB
from lab.core.untrusted import printable
from lab.formats import cpio
from lab.formats.cpio import CpioNode

MAX_BYTES = 2 * GIB
MAX_FILE = 512 * MIB
MAX_NODES = 300_000
MAX_LAYERS = 128
MAX_MEMBERS = 4 * MAX_NODES
"""Members of all layers: a name may come again."""
MAX_LINKS = 40
MAX_NAME = 4096
MAX_PART = 255
"""Bytes of one part of a name, as in every file system of Linux."""
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One file of a root. `mode` as in stat; `start` and `size` say where its bytes are in the spool."""

    mode: int
    uid: int = 0
    gid: int = 0
    target: str = ""
    start: int = 0
    size: int = 0
    layer: int = 0
    mtime: int = 0

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


ROOT = Node(mode=stat.S_IFDIR | 0o755, layer=-1)
"""A directory that nothing describes: the root itself, and those that names of files imply."""


@dataclass(slots=True)
class RootTree:
    """A root, layer upon layer; `spool` is a scratch file that holds the bytes of all files."""

    spool: IO[bytes]
    what: str
    """What the user named, for messages."""
    nodes: dict[str, Node] = field(default_factory=dict)
    left_out: int = 0
    """Device nodes, sockets and pipes."""
    total: int = 0
    """Bytes of all files that were added."""
    layers: int = 0
    members: int = 0
    """How many members the layers had so far."""
    merges: bool = False
    """Whether links to directories stay where a layer has a directory, and the other way round, as dpkg(1) does it.

    Layers of an image replace the one by the other."""
    below: dict[str, set[str]] = field(default_factory=dict)
    """Name of a directory -> the names of what is in it, so that it is removed without looking at all others."""

    def add_layer(self, archive: tarfile.TarFile) -> None:
        """Lay a tar over what is there; UsageError for one that is hostile, damaged or too large."""
        self.layers += 1
        if self.layers > MAX_LAYERS:
            raise UsageError(f"{self.what}: more than {MAX_LAYERS} layers")
        try:
            for member in archive:
                self.members += 1
                if self.members > MAX_MEMBERS:
                    raise UsageError(f"{self.what}: more than {MAX_MEMBERS} files in its layers")
                self._add(archive, member)
                archive.members.clear()  # type: ignore[attr-defined]  # tarfile remembers all of them
        except (tarfile.TarError, OSError, EOFError, ValueError) as error:
            raise UsageError(f"{self.what}: a damaged tar: {(str(error).splitlines() or ['cut off'])[0]}") from None

    def add_file(self, name: str, mode: int, content: bytes, *, uid: int = 0, gid: int = 0) -> None:
        """Add or replace a regular file."""
        place = self._place(name)
        self._put(place, self._spooled(content, Node(mode=stat.S_IFREG | mode, uid=uid, gid=gid)))

    def add_from_host(self, name: str, here: Path) -> None:
        """Add a file, a directory or a link of this host; anything else is left out. UsageError if it is unreadable."""
        try:
            self._add_from_host(name, here)
        except OSError as error:
            hint = "a tar can be made of it as root" if isinstance(error, PermissionError) else None
            raise UsageError(f"{self.what}: {here}: {error.strerror}", hint=hint) from None

    def _add_from_host(self, name: str, here: Path) -> None:
        info = here.lstat()
        node = Node(
            mode=info.st_mode, uid=info.st_uid, gid=info.st_gid, layer=self.layers, mtime=_seconds(info.st_mtime)
        )
        place = self._place(name)
        if stat.S_ISLNK(info.st_mode):
            self._put(place, replace(node, target=str(here.readlink())))
        elif stat.S_ISDIR(info.st_mode):
            self._put(place, node)
        elif stat.S_ISREG(info.st_mode):
            self._room(name, info.st_size)
            self._put(place, self._spooled(here.read_bytes(), node))
        else:
            self.left_out += 1

    def add_directory(self, name: str, mode: int) -> None:
        """Add a directory unless there is one; whatever else has its name is replaced."""
        place = self._place(name)
        if place not in self.nodes or not self.nodes[place].is_directory:
            self._put(place, Node(mode=stat.S_IFDIR | mode))

    def add_link(self, name: str, target: str) -> None:
        """Add a symbolic link unless there is something of its name."""
        place = self._place(name)
        if place not in self.nodes:
            self._put(place, Node(mode=stat.S_IFLNK | 0o777, target=target))

    def remove(self, name: str) -> None:
        """Remove what has a name, a link itself and not what it leads to."""
        self._remove(self._place(name))

    def has(self, name: str) -> bool:
        """Say whether a name leads to something in the root, links followed."""
        return self._place(name, follow=True) in self.nodes

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a regular file, links followed; None if there is none."""
        place = self._place(name, follow=True)
        node = self.nodes.get(place)
        if node is None or not stat.S_ISREG(node.mode):
            return None
        return self._content(node)

    def _add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = [part for part in PurePosixPath(member.name).parts if part not in ("/", ".")]
        if ".." in parts or "\0" in member.name:
            raise UsageError(f"{self.what}: a name that leaves the root: {member.name[:100]!r}")
        longest = max((len(part.encode("utf-8", "surrogateescape")) for part in parts), default=0)
        if len(member.name) > MAX_NAME or longest > MAX_PART:
            raise UsageError(f"{self.what}: a name that is too long: {member.name[:100]!r}")
        if member.isdir() or member.issym() or member.islnk():
            member.size = 0
        self._room(member.name, member.size)
        if not parts:
            return
        place = self._place("/".join(parts))
        name = parts[-1]
        if name == OPAQUE:
            self._clear(place.rpartition("/")[0])
        elif name.startswith(WHITEOUT):
            directory = place.rpartition("/")[0]
            self._white_out(f"{directory}/{name.removeprefix(WHITEOUT)}".lstrip("/"))
        else:
            self._member(archive, member, place)

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo, place: str) -> None:
        """Add a file, a directory or a link."""
        bits = member.mode & 0o7777
        plain = Node(
            mode=0,
            uid=member.uid & 0xFFFFFFFF,
            gid=member.gid & 0xFFFFFFFF,
            layer=self.layers,
            mtime=_seconds(member.mtime),
        )
        if member.isdir():
            before = self.nodes.get(place)
            if before is not None and before.is_link and self.merges:
                return  # a directory over a link to one: the link stays, as in every merged /usr
            self._put(place, replace(plain, mode=stat.S_IFDIR | bits))
        elif member.issym() and not member.linkname:
            raise UsageError(f"{self.what}: {member.name[:100]!r} is a link to nothing")
        elif member.issym():
            self._put(place, replace(plain, mode=stat.S_IFLNK | 0o777, target=member.linkname[:MAX_NAME]))
        elif member.islnk():
            original = self.nodes.get(self._place(member.linkname.lstrip("/")))
            if original is None or original.is_directory:
                raise UsageError(f"{self.what}: {member.name[:100]!r} is a hard link to nothing in it")
            self._put(place, replace(original, layer=self.layers))
        elif member.isreg():
            file = archive.extractfile(member)
            content = file.read(member.size) if file else b""
            self._put(place, self._spooled(content, replace(plain, mode=stat.S_IFREG | bits)))
        else:
            self.left_out += 1

    def _room(self, name: str, size: int) -> None:
        if size > MAX_FILE:
            what = f"a file of {size >> 20} MiB; at most {MAX_FILE >> 20} are taken: {printable(name[-100:])}"
            raise UsageError(f"{self.what}: {what}")
        self.total += size
        if self.total > MAX_BYTES:
            raise UsageError(f"{self.what}: more than {MAX_BYTES >> 30} GiB")

    def _spooled(self, content: bytes, node: Node) -> Node:
        start = self.spool.seek(0, 2)
        self.spool.write(content)
        return replace(node, start=start, size=len(content))

    def _put(self, place: str, node: Node) -> None:
        if place not in self.nodes and len(self.nodes) >= MAX_NODES:
            raise UsageError(f"{self.what}: more than {MAX_NODES} files")
        before = self.nodes.get(place)
        if before is not None and before.is_directory and not node.is_directory:
            if node.is_link and self.merges and self.below.get(place):
                return  # a link over a directory that has files already
            self._remove(place)
        parent = place.rpartition("/")[0]
        if parent and (parent not in self.nodes or not self.nodes[parent].is_directory):
            self._put(parent, ROOT)
        self.nodes[place] = node
        if place:
            self.below.setdefault(parent, set()).add(place)

    def _remove(self, place: str) -> None:
        """Remove a name with all that is below it."""
        self.below.get(place.rpartition("/")[0], set()).discard(place)
        todo = [place]
        while todo:
            gone = todo.pop()
            self.nodes.pop(gone, None)
            todo += self.below.pop(gone, ())

    def _white_out(self, place: str) -> None:
        """Remove what lower layers have of a name; what this layer has stays, in whatever order its members come."""
        node = self.nodes.get(place)
        if node is None:
            return
        if node.is_directory:
            self._clear(place)
        if node.layer < self.layers and not self.below.get(place):
            self._remove(place)

    def _clear(self, directory: str) -> None:
        """Remove what lower layers have in a directory."""
        for place in sorted(self.below.get(directory, ())):
            self._white_out(place)

    def _place(self, name: str, *, follow: bool = False) -> str:
        """Return where a name is once links among its directories are followed, within the root."""
        todo = [part for part in name.split("/") if part not in ("", ".")]
        at: list[str] = []
        links = 0
        while todo:
            part = todo.pop(0)
            if part == "..":
                at = at[:-1]
                continue
            node = self.nodes.get("/".join([*at, part]))
            if node is not None and node.is_link and (todo or follow):
                links += 1
                if links > MAX_LINKS:
                    raise UsageError(f"{self.what}: links that go round: {name[:100]!r}")
                if node.target.startswith("/"):
                    at = []
                todo = [word for word in node.target.split("/") if word not in ("", ".")] + todo
                continue
            at.append(part)
        return "/".join(at)

    def _content(self, node: Node) -> bytes:
        self.spool.seek(node.start)
        return self.spool.read(node.size)

    # ---- Writing ----------------------------------------------------------------------------------------------------

    def write(self, path: Path, below: str) -> int:
        """Write an archive with the root below a directory of the guest, "" for its `/`; return the bytes of files."""
        total = 0
        with path.open("wb") as out:
            for number, (name, node) in enumerate(self._members(below), start=1):
                data = b""
                if stat.S_ISREG(node.mode):
                    data = self._content(node)
                elif node.is_link:
                    data = node.target.encode("utf-8", "surrogateescape")
                total += len(data)
                made = CpioNode(name=name, mode=node.mode, data=data, uid=node.uid, gid=node.gid, mtime=node.mtime)
                out.write(cpio.member(number, made))
            out.write(cpio.end())
            out.write(b"\0" * (-out.tell() % cpio.BLOCK))
        return total

    def write_tar(self, path: Path, *, implied: bool = True) -> int:
        """Write a tar of the root, names sorted; return the bytes of its files.

        Without `implied`, directories that nothing describes are left out: those of the place it is unpacked in stay.
        """
        total = 0
        written: dict[Node, str] = {}
        with tarfile.open(path, "w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as out:
            for name in sorted(self.nodes):
                node = self.nodes[name]
                info = _tar_member(name, node)
                if not stat.S_ISREG(node.mode):
                    if implied or node != ROOT:
                        out.addfile(info)
                    continue
                same = replace(node, layer=0)
                if node.size and written.setdefault(same, name) != name:
                    info.type, info.linkname, info.size = tarfile.LNKTYPE, written[same], 0
                    out.addfile(info)
                    continue
                total += node.size
                self.spool.seek(node.start)
                out.addfile(info, self.spool)
        return total

    def _members(self, below: str) -> Iterator[tuple[str, Node]]:
        if below:
            yield below, ROOT
        for name in sorted(self.nodes):
            yield f"{below}/{name}".lstrip("/"), self.nodes[name]


def _tar_member(name: str, node: Node) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid, info.mtime = stat.S_IMODE(node.mode), node.uid, node.gid, node.mtime
    if node.is_directory:
        info.type = tarfile.DIRTYPE
    elif node.is_link:
        info.type, info.linkname = tarfile.SYMTYPE, node.target
    else:
        info.size = node.size
    return info


def _seconds(time: float) -> int:
    """Return a time that every tar and image can hold: seconds from 1970 to 2106."""
    if not 0 <= time < 1 << 32:  # NaN is in no range
        return 0
    return int(time)
