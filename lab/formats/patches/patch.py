# SPDX-License-Identifier: GPL-2.0-or-later
"""Unified diffs as git and diff write them: parsed strictly, applied to content with every context line checked. Pure.

Grammar of what is understood; anything before the first header, between files and after the last hunk is prose:

    file   := [`diff --git ...` git-line*] `--- ` name  `+++ ` name  hunk+
            | `diff --git a/X b/X` git-line+                      (rename, mode change, empty file)
    name   := see patch_names.py; git's names have any prefix or none, diff's have one unless both are equal
    hunk   := `@@ -start[,count] +start[,count] @@` line+         (counts must come out exactly)
    line   := ` ` kept | `-` removed | `+` added | `\\ No newline at end of file`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from lab.core.errors import InputError, UsageError
from lab.formats.patches import damage, patch_names

_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_GIT = b"diff --git "
_GIT_LINE = re.compile(
    rb"(old mode|new mode|deleted file mode|new file mode|copy from|copy to|rename from|rename to"
    rb"|similarity index|dissimilarity index|index|GIT binary patch|Binary files)\b ?(.*)"
)
_BLOB = re.compile(rb"([0-9a-f]{4,64})\.\.[0-9a-f]{4,64}(?: \d+)?")
_KINDS = {b"120000": "a symbolic link", b"160000": "a submodule"}
_MODES = {b"100644": 0o644, b"100755": 0o755}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hunk:
    """One `@@` of a patch: `old` lines at line `start` (from 1) become `new`. Lines keep their newline, if any.

    `new_start` is the line at which `new` begins afterwards. `trail` counts the context lines after the last change;
    `number` and `line` say where in the patch the hunk is.
    """

    start: int
    new_start: int
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]
    trail: int
    number: int
    header: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """What a patch does to one file. `old` is None for a new file, `new` for a removed one; they differ in a rename."""

    old: str | None
    new: str | None
    copied: bool = False
    mode: int | None = None
    hunks: tuple[Hunk, ...] = ()
    blob: str = ""
    """Object id of the file's content before, as far as the `index` line has it; empty if unknown or a new file."""

    @property
    def name(self) -> str:
        return self.new or self.old or ""

    @property
    def may_create(self) -> bool:
        """Whether the file need not be there: the only hunk begins with nothing, and diff names no missing file."""
        return len(self.hunks) == 1 and self.hunks[0].start == 0 and not self.hunks[0].old


@dataclass(frozen=True, slots=True)
class Content:
    """A file of a tree: its bytes and whether it is executable."""

    data: bytes
    executable: bool = False


Lookup = Callable[[str], Content | None]
"""Gives a tree's file by its path; None where there is no file."""


def _lines(data: bytes) -> list[bytes]:
    """Lines ended by newline alone, as patches count them (bytes.splitlines also breaks at a lone carriage return)."""
    parts = data.split(b"\n")
    lines = [part + b"\n" for part in parts[:-1]]
    if parts[-1]:
        lines.append(parts[-1])
    return lines


class Reader:
    """The lines of a patch with a position, so that an error can name its line.

    A last line without its newline gets one: that a file ends without one is said by a line of its own.
    """

    def __init__(self, data: bytes, path: str) -> None:
        self.lines, self.path, self.at = _lines(data), path, 0
        if data and not data.endswith(b"\n"):
            self.lines[-1] += b"\n"

    def peek(self, ahead: int = 0) -> bytes:
        """The line that comes next, without its newline; empty at the end."""
        at = self.at + ahead
        return self.lines[at].rstrip(b"\r\n") if at < len(self.lines) else b""

    @property
    def ended(self) -> bool:
        return self.at >= len(self.lines)

    def malformed(self, why: str) -> InputError:
        return InputError(self.path, self.at + 1, None, f"malformed patch: {why}")


def parse(data: bytes, path: str) -> tuple[FileChange, ...]:
    """Every file change of a patch, in order; InputError (with file and line) when it is malformed or has none.

    A change that touches a path outside the tree, or is binary, is refused.
    """
    reader, changes = Reader(data, path), []
    while not reader.ended:
        if reader.peek().startswith((b"diff --cc ", b"diff --combined ", b"@@@ ")):
            raise reader.malformed("a combined diff of a merge cannot be applied: `git diff MERGE^1 MERGE` makes one")
        if reader.peek().startswith(b"diff --git ") and not _is_prose(reader):
            changes.append(_git_change(reader))
        elif _has_names(reader):
            changes.append(_plain_change(reader))
        elif _HUNK.match(reader.peek()):
            why = "a hunk without the names of its files before it"
            if changes:
                why += ": does the hunk before it hold more lines than it says, or is there text between them?"
            raise reader.malformed(why)
        else:
            reader.at += 1
    if not changes:
        raise InputError(path, None, None, "expected a patch, found no diff in it")
    return tuple(changes)


def _has_names(reader: Reader) -> bool:
    """Whether the next lines are `--- ` and `+++ ` of a diff: prose that looks like it has no path and no hunk."""
    old, new = reader.peek(), reader.peek(1)
    if not old.startswith(b"--- ") or not new.startswith(b"+++ "):
        return False
    return b"/" in old + new or bool(_HUNK.match(reader.peek(2)))


def _plain_change(reader: Reader) -> FileChange:
    fields = [reader.peek(ahead)[4:] for ahead in (0, 1)]
    old, new = _plain_names(fields, reader)
    gone = patch_names.says_no_file(fields[1])
    reader.at += 2
    hunks = tuple(_hunks(reader))
    if not hunks:
        raise reader.malformed("expected a hunk (@@ -1,2 +1,2 @@)")
    # Without git the two names of one file may differ (`--- a/mm/shmem.c.orig`).
    is_new = old is None or patch_names.says_no_file(fields[0])
    is_gone = new is None or (gone and not hunks[0].new)
    change = FileChange(old=new or old, new=new or old, hunks=hunks)
    if is_new:
        return replace(change, old=None)
    return replace(change, new=None) if is_gone else change


def _plain_names(fields: list[bytes], reader: Reader) -> tuple[str | None, str | None]:
    """Return the files of `--- a/X` and `+++ b/X`, None for /dev/null.

    The first directory is the prefix, unless both names are the same, or it is one of the kernel's (`mm/f.c.orig`).
    """
    names = [patch_names.of_field(field) for field in fields]
    if names == [patch_names.DEV_NULL] * 2:
        raise reader.malformed("both names are /dev/null")
    kept, rest = names[0], patch_names.stripped(names[0]) or b""
    bare = kept == names[1] and not kept.startswith((b"a/", b"b/")) and not patch_names.is_of_kernel(rest)
    bare = bare or all(patch_names.is_of_kernel(name) for name in names if name != patch_names.DEV_NULL)
    old, new = (_plain_name(name, reader, bare=bare) for name in names)
    return old, new


def _plain_name(name: bytes, reader: Reader, *, bare: bool) -> str | None:
    if name == patch_names.DEV_NULL:
        return None
    if name.startswith(b"/"):
        raise reader.malformed(f"touches a path outside the tree: {_text(name)}")
    kept = name if bare else patch_names.stripped(name)
    if not kept:
        raise reader.malformed(f"expected a name like a/mm/file.c, got {_text(name)!r}")
    return _inside(kept, reader)


def _is_prose(reader: Reader) -> bool:
    """Whether a line only talks of `diff --git`: it has no names, and nothing that belongs to a diff is behind it."""
    said = reader.peek()[len(_GIT) :]
    names = reader.peek(1).startswith(b"--- ") and reader.peek(2).startswith(b"+++ ")
    header = names or _GIT_LINE.fullmatch(reader.peek(1))
    return b"/" not in said and not header and patch_names.of_git_line(said) is None


def _git_change(reader: Reader) -> FileChange:
    said = patch_names.of_git_line(reader.peek()[len(_GIT) :])
    reader.at += 1
    extra = _git_lines(reader)
    old, new = _git_names(said, extra, reader)
    hunks: tuple[Hunk, ...] = ()
    if reader.peek().startswith(b"--- ") and reader.peek(1).startswith(b"+++ "):
        _check_names(old, new, reader)
        reader.at += 2
        hunks = tuple(_hunks(reader))
    if not hunks and not set(extra) - {b"index", b"similarity index", b"dissimilarity index"}:
        why = damage.of_header(reader.lines, reader.at)
        raise reader.malformed(f"a file header with neither a hunk nor a change of mode or name{why}")
    change = FileChange(
        old=_inside(old, reader),
        new=_inside(new, reader),
        copied=b"copy from" in extra,
        mode=_mode(extra, reader),
        hunks=hunks,
        blob=_blob(extra),
    )
    if b"new file mode" in extra:
        return replace(change, old=None)
    return replace(change, new=None) if b"deleted file mode" in extra else change


def _blob(extra: Mapping[bytes, bytes]) -> str:
    """Return the object id of a file before its change; empty if its `index` line has none."""
    match = _BLOB.fullmatch(extra.get(b"index", b""))
    return match[1].decode() if match and match[1].strip(b"0") else ""


def _git_lines(reader: Reader) -> dict[bytes, bytes]:
    """Read the lines between `diff --git` and the hunks: word -> what follows it."""
    extra: dict[bytes, bytes] = {}
    while line := _GIT_LINE.fullmatch(reader.peek()):
        if line[1] in (b"GIT binary patch", b"Binary files"):
            raise reader.malformed("binary changes are not supported")
        extra[line[1]] = line[2]
        reader.at += 1
    return extra


def _git_names(said: tuple[bytes, bytes] | None, extra: Mapping[bytes, bytes], reader: Reader) -> tuple[bytes, bytes]:
    """Return both names of a git change: those of its rename or copy, else those of its first line."""
    for word in (b"rename", b"copy"):
        if word + b" from" in extra and word + b" to" in extra:
            return patch_names.unquoted(extra[word + b" from"]), patch_names.unquoted(extra[word + b" to"])
    if said is None:
        why = damage.of_header(reader.lines, reader.at)
        expected = "expected diff --git a/FILE b/FILE with the same FILE, or lines with rename from and to"
        raise reader.malformed(f"{expected}{why}")
    return said


def _check_names(old: bytes, new: bytes, reader: Reader) -> None:
    """Refuse names after --- and +++ that are not those of the change, with or without a prefix."""
    for ahead, wanted in enumerate((old, new)):
        name = patch_names.of_field(reader.peek(ahead)[4:])
        if name not in (patch_names.DEV_NULL, wanted) and patch_names.stripped(name) != wanted:
            raise reader.malformed(f"expected the name of diff --git, {_text(wanted)!r}, got {_text(name)!r}")


def _mode(extra: Mapping[bytes, bytes], reader: Reader) -> int | None:
    asked = extra.get(b"new file mode", extra.get(b"new mode"))
    if asked is None:
        return None
    if asked in _KINDS:
        raise reader.malformed(f"{_KINDS[asked]} (mode {asked.decode()}) is not supported")
    if asked not in _MODES:
        raise reader.malformed(f"expected mode 100644 or 100755, got {asked.decode('ascii', 'replace')}")
    return _MODES[asked]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _inside(name: bytes, reader: Reader) -> str:
    """Return the name as text, once it is known to stay inside the tree."""
    text = name.decode("utf-8", "surrogateescape")
    parts = PurePosixPath(text).parts
    hidden = ".git" in [part.casefold() for part in parts]
    if not parts or text.startswith("/") or ".." in parts or hidden or "\0" in text:
        raise reader.malformed(f"touches a path outside the tree: {text}")
    return str(PurePosixPath(text))


def _hunks(reader: Reader) -> Iterator[Hunk]:
    number = 0
    while match := _HUNK.match(reader.peek()):
        number += 1
        first = reader.at
        yield _hunk(reader, match, number)
        if reader.peek()[:1] in (b"+", b"-") and not reader.peek().startswith(b"--"):
            why = damage.of_count(reader.lines, first, reader.at)
            raise reader.malformed(f"the hunk before this line holds more lines than it says{why}")


def _hunk(reader: Reader, match: re.Match[bytes], number: int) -> Hunk:
    line, header = reader.at + 1, reader.peek().decode("utf-8", "replace")
    reader.at += 1
    left_old, left_new = (int(count) if count else 1 for count in (match[2], match[4]))
    lines: list[tuple[bytes, bytes]] = []
    while left_old > 0 or left_new > 0 or reader.peek().startswith(b"\\"):
        kind = _hunk_line(reader, lines)
        left_old, left_new = left_old - (kind in b" -"), left_new - (kind in b" +")
        if left_old < 0 or left_new < 0:
            why = damage.of_count(reader.lines, line - 1, reader.at - 1)
            raise reader.malformed(f"hunk {header} holds more lines than it says{why}")
    old, new = (tuple(text for kind, text in lines if kind in kinds) for kinds in (b" -", b" +"))
    changes = [index for index, (kind, _) in enumerate(lines) if kind != b" "]
    if not changes:
        raise reader.malformed(f"hunk {header} changes nothing")
    trail = len(lines) - 1 - changes[-1]
    return Hunk(
        start=int(match[1]),
        new_start=int(match[3]),
        old=old,
        new=new,
        trail=trail,
        number=number,
        header=header,
        line=line,
    )


def _hunk_line(reader: Reader, lines: list[tuple[bytes, bytes]]) -> bytes:
    """Add the next line of a hunk, its kind and its text; return the kind.

    A blank line is a kept one whose space an editor ate.
    """
    if reader.ended:
        raise reader.malformed(
            "the patch ends in the middle of a hunk: were lines at its end cut off, perhaps blank ones?"
        )
    raw = reader.lines[reader.at]
    kind, text = (raw[:1], raw[1:]) if raw.strip(b"\r\n") else (b" ", raw)
    if kind == b"\\" and lines:  # `\ No newline at end of file` speaks of the line before it
        lines[-1] = (lines[-1][0], lines[-1][1].rstrip(b"\r\n"))
    elif kind in (b" ", b"-", b"+"):
        lines.append((kind, text))
    else:
        line = raw[:40].decode("utf-8", "replace").rstrip()
        raise reader.malformed(f"expected a line of a hunk, got {line!r}{damage.of_hunk_line(reader.lines, reader.at)}")
    reader.at += 1
    return kind


class DoesNotApply(UsageError):
    """A patch that does not fit the tree; the message names the patch, the file and the hunk."""


class NoSuchFile(DoesNotApply):
    """A patch that changes a file which the tree does not have."""

    def __init__(self, patch: str, name: str) -> None:
        super().__init__(f"{patch}: {name}: no such file in the tree")
        self.name = name


class AlreadyApplied(DoesNotApply):
    """A patch that does not fit since the tree has all of it."""


def undo(change: FileChange) -> FileChange:
    """Return the change that takes another one back, but for modes."""
    hunks = []
    for hunk in change.hunks:
        hunks.append(replace(hunk, start=hunk.new_start, new_start=hunk.start, old=hunk.new, new=hunk.old))
    taken_back = FileChange(old=change.new, new=change.old, hunks=tuple(hunks))
    return replace(taken_back, new=change.new) if change.copied else taken_back


def is_applied(changes: Sequence[FileChange], lookup: Lookup) -> bool:
    """Whether a tree has every one of a patch's changes: all of them can be taken back, the last one first."""
    tree = Tree(lookup)
    try:
        for change in reversed(changes):
            tree.apply(undo(change), "")
    except DoesNotApply:
        return False
    return True


@dataclass(slots=True)
class Tree:
    """Files as patches change them, over a lookup that gives their content before; nothing is written anywhere."""

    pristine: Lookup
    changed: dict[str, Content | None] = field(default_factory=dict)

    def get(self, name: str) -> Content | None:
        return self.changed[name] if name in self.changed else self.pristine(name)

    def apply(self, change: FileChange, patch: str) -> None:
        """Apply one file's change; DoesNotApply leaves this tree as it was."""
        before = self._before(change, patch)
        if change.new is None:
            self._write(change, before, patch, remove=True)
        else:
            self._write(change, before, patch)

    def _before(self, change: FileChange, patch: str) -> Content:
        if change.old is None:
            if self.get(change.name) is not None:
                raise DoesNotApply(f"{patch}: {change.name}: is there already, the patch makes it new")
            return Content(b"")
        before = self.get(change.old)
        if before is None and change.may_create:
            return Content(b"")
        if before is None:
            raise NoSuchFile(patch, change.old)
        if change.new not in (None, change.old) and self.get(change.name) is not None:
            raise DoesNotApply(f"{patch}: {change.name}: is there already, the patch renames or copies to it")
        return before

    def _write(self, change: FileChange, before: Content, patch: str, *, remove: bool = False) -> None:
        lines = _lines(before.data)
        patched = [False] * len(lines)
        offset = 0
        for hunk in change.hunks:
            at = _find(lines, patched, hunk, offset)
            if at is None:
                raise DoesNotApply(
                    f"{patch}: {change.name}: hunk {hunk.number} does not apply: {hunk.header}",
                    hint=_mismatch(lines, hunk, offset),
                )
            lines[at : at + len(hunk.old)] = hunk.new
            patched[at : at + len(hunk.old)] = [True] * len(hunk.new)
            offset = at - _expected(hunk) + len(hunk.new) - len(hunk.old)
        if remove and lines:
            raise DoesNotApply(f"{patch}: {change.name}: the patch removes the file but not all of its lines")
        if change.old and change.old != change.new and not change.copied:
            self.changed[change.old] = None
        if change.new:
            executable = before.executable if change.mode is None else change.mode == 0o755
            self.changed[change.new] = Content(b"".join(lines), executable)


def _expected(hunk: Hunk) -> int:
    """Index of the hunk's first old line; a hunk without old lines (`-7,0`) comes after the line it names."""
    return hunk.start - 1 if hunk.old else hunk.start


def _find(lines: list[bytes], patched: list[bool], hunk: Hunk, offset: int) -> int | None:
    """Where the hunk's old lines are, whole and exact: at their place, else at the nearest one.

    As git has it, a hunk that begins at line 1 is tied to the start of the file, and one without context after its
    last change to the end: its context was cut there by the file that it was made from. No line of an earlier hunk of
    the file (`patched`) is matched again. Unlike git's, a hunk that only adds lines and has no context (`diff -U0`) is
    never moved: the end of the file would be as good a place for it as any.
    """
    last = len(lines) - len(hunk.old)
    wanted = min(max(_expected(hunk) + offset, 0), max(last, 0))
    places = sorted(range(last + 1), key=lambda place: abs(place - wanted))
    if hunk.start <= 1:
        places = places and [0]
    if hunk.trail == 0:
        places = [place for place in places if place == last]
    if not hunk.old:
        places = [place for place in places if place == _expected(hunk) + offset]
    old = list(hunk.old)
    for place in places:
        if lines[place : place + len(old)] == old and not any(patched[place : place + len(old)]):
            return place
    return None


def _mismatch(lines: list[bytes], hunk: Hunk, offset: int) -> str:
    """Describe the first line at the hunk's place that is not what the patch expects."""
    if not hunk.trail and hunk.old[:1] != hunk.new[:1] and _has(lines, hunk.old):
        return "the hunk has no context, as of `diff -U0`: make the patch with lines of context"
    if hunk.new and _has(lines, hunk.new):
        return "the file has already what this hunk makes of it: is a part of the patch applied?"
    place = max(_expected(hunk) + offset, 0)
    for index, wanted in enumerate(hunk.old):
        got = lines[place + index] if place + index < len(lines) else None
        if got != wanted:
            return f"line {place + index + 1}: {_difference(wanted, got)}"
    return "the lines are there, but not where this hunk must be (start or end of the file)"


def _has(lines: list[bytes], part: Sequence[bytes]) -> bool:
    """Whether lines are in a file, one after the other."""
    return any(lines[place : place + len(part)] == [*part] for place in range(len(lines) - len(part) + 1))


def _difference(wanted: bytes, got: bytes | None) -> str:
    """Describe what the patch expects in a line and what the tree has there."""
    expected = f"expected {_text(wanted).strip()!r}"
    if got is None:
        return f"{expected}, found the end of the file"
    if got.split() != wanted.split():
        return f"{expected}, found {_text(got).strip()!r}"
    if got.rstrip(b"\n") == wanted.rstrip(b"\n"):
        has, lacks = "patch", "tree's file"
        if got.endswith(b"\n"):
            has, lacks = lacks, has
        return f"{expected}: the {has} has a newline at the end of this last line, the {lacks} has none"
    blanks = f"expected {_text(wanted)!r}, found {_text(got)!r}"
    return f"{blanks}: they differ in blank characters only; was the patch pasted, or its mail reformatted?"
