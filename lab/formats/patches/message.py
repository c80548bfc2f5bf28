# SPDX-License-Identifier: GPL-2.0-or-later
"""One message of e-mail -> what a series needs of it: subject, ids, and the diffs in its parts. Pure.

Python's `email` undoes the encodings. Which part is the patch:

    a diff in an attachment, whatever its type, if it parses; its inline copy is left out
    else a diff in a text part; format=flowed is unfolded (RFC 3676)
    never text/html, and never a quotation (`> diff --git`)
"""

from __future__ import annotations

import email
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from email.header import decode_header
from email.message import Message as ParsedMessage
from email.utils import getaddresses, parsedate_to_datetime
from pathlib import PurePath

from lab.core.errors import InputError
from lab.formats.patches import packed, patch

MAX_DEPTH = 4
"""Of messages within messages."""
_FIELD = rb"[!-9;-~]+[ \t]*:"
_DATE = rb"(?:[A-Z][a-z]{2} [A-Z][a-z]{2} {1,2}\d{1,2} |\d{4}-\d\d-\d\d[ T])\d\d:\d\d"
_FROM = re.compile(rb"(?:\A|(?<=\n))From \S.*" + _DATE + rb".*\r?\n(?=(?:>From .*\r?\n)?" + _FIELD + rb")")
"""The line before each message of a mailbox; git format-patch writes it, too."""
_BOUNDARY = re.compile(
    rb"""^Content-Type:[ \t]*multipart/.*(?:\r?\n[ \t].*)*?\bboundary=(?:"([^"\r\n]+)"|([^\s;"]+))""", re.I | re.M
)
_CLOSING = re.compile(rb"^--([^\r\n]{1,200}?)--[ \t]*\r?$", re.MULTILINE)
MAX_HEADERS = 256 << 10
"""Bytes in which the headers of a message of a mailbox must end, for its parts to be looked for."""
_HEADERS = re.compile(rb"\A(?:" + _FIELD + rb".*\r?\n(?:[ \t].*\r?\n)*)+(?:\r?\n|\Z)")
_KNOWN = re.compile(
    rb"^(?:from|subject|date|message-id|mime-version|content-type|content-transfer-encoding|received):", re.I | re.M
)
_NAMES = re.compile(rb"^(?:---|\+\+\+) [^\n]*\n", re.MULTILINE)
_NEW_NAME = re.compile(rb"^\+\+\+ [^/\n]*/?([^\t\r\n]+)", re.MULTILINE)
_NUMBERED = re.compile(r"(?:v\d+-)?(\d{4})-")
"""The beginning of a file's name as git format-patch gives it."""
_ONLY_IN = re.compile(rb"^Only in [^\n]*: [^\n]*$|^Binary files [^\n]* and [^\n]* differ$", re.MULTILINE)
_C_FILES = (b".c", b".h", b".S")
_ENTITIES = re.compile(rb"^[ +-].*(?:-&gt;|&amp;|&quot;|&lt;[\w ./-]+&gt;)", re.MULTILINE)
_QUOTED_PRINTABLE = re.compile(rb"^[ +-].*=(?:3D|20$|09)", re.MULTILINE)
_ID = re.compile(r"<([^<>\s]+)>")
_ONE_BYTE = re.compile(r"iso-8859|iso8859|latin|windows-125|cp125|koi8", re.IGNORECASE)
"""Character sets in which text beyond ASCII is hardly ever valid UTF-8: a part that is has another one than it says."""
_UNICODE = (None, "utf-8", "us-ascii", "ascii")

CRLF = "its lines end in CR LF; they were read as ending in LF"
NO_NEWLINE = "its last newline is missing; it was read as if it were there"
ENTITIES = "it has &amp;, &lt; or &gt; in C code, as in HTML; was it copied from a web page?"
ENCODED = "it has =3D, =20 or =09 in C code, as in quoted-printable; was its encoding not undone?"
HTML_ALONE = "its patch is in HTML alone, which is not read"
MAX_NAMED = 3
INLINE_COPY = "its attachment was used; the same patch in the text is damaged or a copy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """A text with a patch in it. `name` is its attachment's, empty for one in a message's own text."""

    data: bytes
    name: str = ""
    number: int = 0
    """In the subject of the message that was attached, or in the attachment's name; 0 if none."""
    attached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MailMessage:
    """A message: its ids without `<>`, `sent` in seconds since 1970 (0 if unknown), its diffs, remarks for the user."""

    subject: str
    author: str
    id: str
    parents: tuple[str, ...]
    sent: float
    text: bytes
    diffs: tuple[Diff, ...]
    notes: tuple[str, ...] = ()


def is_mail(data: bytes) -> bool:
    """Whether a file is a message or a mailbox, and no plain diff: it begins with the headers of mail."""
    if _FROM.match(data):
        return True
    headers = _HEADERS.match(data)
    return bool(headers and _KNOWN.search(headers[0]))


def split(data: bytes) -> list[bytes]:
    """Return the messages of a mailbox; a mail without the line that mailboxes have is one."""
    if not _FROM.match(data):
        return [data]
    starts = list(_FROM.finditer(data))
    ends = [*(start.start() for start in starts[1:]), len(data)]
    closings = _closings(data)
    found: list[bytes] = []
    boundary, parts_end = b"", -1
    for start, end in zip(starts, ends, strict=True):
        own = _boundary(data, start.end(), end)
        if start.start() < parts_end and own != boundary:
            found[-1] += data[start.start() : end]
            continue
        found.append(data[start.end() : end])
        boundary, places = own, closings.get(own, [])
        after = bisect_left(places, start.end())
        parts_end = places[after] if after < len(places) else -1
    return found


def _boundary(data: bytes, start: int, end: int) -> bytes:
    """Return the boundary between the parts of the message that begins at `start`; empty if it has none."""
    headers = _HEADERS.match(data[start : min(end, start + MAX_HEADERS)])
    boundary = headers and _BOUNDARY.search(headers[0])
    return (boundary[1] or boundary[2]) if boundary else b""


def _closings(data: bytes) -> dict[bytes, list[int]]:
    """Return boundary -> where messages' parts end with it.

    A line `From ` before that is within a part: an attached file of git format-patch begins with one.
    """
    places: dict[bytes, list[int]] = {}
    for line in _CLOSING.finditer(data):
        places.setdefault(line[1], []).append(line.start())
    return places


def read(raw: bytes, path: str, depth: int = 0) -> Iterator[MailMessage]:
    """Yield a message, then those that are attached to it as messages (forwarded, a digest).

    InputError if its parts are nested so deeply that Python cannot follow.
    """
    try:
        yield from list(_read(email.message_from_bytes(raw), path, depth))
    except RecursionError:
        raise InputError(path, None, None, "its parts are nested too deeply") from None


def _read(parsed: ParsedMessage, path: str, depth: int) -> Iterator[MailMessage]:
    texts, attached, unread = _parts(parsed, path, depth)
    diffs, notes = _chosen(texts, attached)
    notes = (*unread, *notes)
    if not diffs and any(has_diff(part) for part in _html(parsed)):
        notes = (HTML_ALONE,)
    yield MailMessage(
        subject=_header(parsed, "Subject"),
        author=_author(parsed),
        id=next(iter(_ids(parsed, "Message-ID")), ""),
        parents=tuple(dict.fromkeys([*_ids(parsed, "In-Reply-To"), *reversed(_ids(parsed, "References"))])),
        sent=_sent(parsed),
        text=b"\n".join(text.data for text in texts),
        diffs=diffs,
        notes=notes,
    )
    if depth < MAX_DEPTH:
        for inner in _messages_within(parsed):
            yield from _read(inner, path, depth + 1)


def plain(data: bytes) -> tuple[Diff, tuple[str, ...]]:
    """Return the patch of a file that is no mail, and remarks."""
    return _diff(data)


def has_diff(data: bytes) -> bool:
    """Whether a text has the header of a diff."""
    return bool(packed.DIFF.search(data.replace(b"\r\n", b"\n")))


# Headers.


def _header(parsed: ParsedMessage, name: str) -> str:
    """Return a header decoded, in one line; what cannot be decoded stays as it is."""
    raw = str(parsed.get(name, ""))
    try:
        pieces = [_decoded(*piece) for piece in decode_header(raw)]
    except ValueError:
        pieces = [raw]
    return " ".join("".join(pieces).split())


def _decoded(piece: bytes | str, charset: str | None) -> str:
    if isinstance(piece, str):
        return piece
    try:
        return piece.decode(charset or "ascii", "replace")
    except (LookupError, ValueError):
        return piece.decode("utf-8", "replace")


def _ids(parsed: ParsedMessage, name: str) -> list[str]:
    return _ID.findall(str(parsed.get(name, "")))


def _author(parsed: ParsedMessage) -> str:
    addresses = getaddresses([_header(parsed, "From")])
    return addresses[0][1].lower() if addresses else ""


def _sent(parsed: ParsedMessage) -> float:
    try:
        return parsedate_to_datetime(_header(parsed, "Date")).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0


# Parts.


def _leaves(parsed: ParsedMessage) -> Iterator[ParsedMessage]:
    """Yield the parts of a message that have content; not those of messages within it."""
    if parsed.get_content_type() == "message/rfc822":
        return
    if not parsed.is_multipart():
        yield parsed
        return
    for part in _children(parsed):
        yield from _leaves(part)


def _children(parsed: ParsedMessage) -> list[ParsedMessage]:
    if not parsed.is_multipart():  # of text, which would be decoded here
        return []
    payload = parsed.get_payload()
    return [part for part in payload if isinstance(part, ParsedMessage)]


def _messages_within(parsed: ParsedMessage) -> Iterator[ParsedMessage]:
    for part in _children(parsed):
        if parsed.get_content_type() == "message/rfc822":
            yield part
        else:
            yield from _messages_within(part)


def _parts(parsed: ParsedMessage, path: str, depth: int) -> tuple[list[Diff], list[Diff], list[str]]:
    """Return the texts of a message, the diffs that are attached to it, and remarks."""
    texts: list[Diff] = []
    attached: list[Diff] = []
    notes: list[str] = []
    for part in _leaves(parsed):
        kind, name = part.get_content_type(), _file_name(part)
        data = _payload(part)
        if not isinstance(data, bytes) or kind == "text/html":
            continue
        if kind == "text/plain" and not name and part.get_content_disposition() != "attachment":
            texts.append(Diff(data=_text(part, data)))
        elif archive := packed.archive(data):
            notes.append(f"its attachment {name or 'without a name'} is not read: {archive}")
        else:
            attached += _attached(data, name, path, depth)
    return texts, [replace(part, attached=True) for part in attached], notes


_ENCODING = re.compile(r"quoted-printable|base64|x-uuencode|uuencode", re.IGNORECASE)


def _payload(part: ParsedMessage) -> object:
    """Return the content of a part, its encoding undone; Python's `email` knows the bare name of an encoding alone."""
    named = _ENCODING.search(str(part.get("Content-Transfer-Encoding", "")))
    if named:
        del part["Content-Transfer-Encoding"]
        part["Content-Transfer-Encoding"] = named[0]
    return part.get_payload(decode=True)


def _html(parsed: ParsedMessage) -> Iterator[bytes]:
    """Yield the parts of a message that are HTML, as text with every tag on a line of its own."""
    for part in _leaves(parsed):
        data = _payload(part)
        if part.get_content_type() == "text/html" and isinstance(data, bytes):
            yield data.replace(b">", b">\n")


def _file_name(part: ParsedMessage) -> str:
    try:
        return part.get_filename() or ""
    except (ValueError, TypeError, LookupError):
        return ""


def _attached(data: bytes, name: str, path: str, depth: int) -> list[Diff]:
    """Return the diffs in an attachment, which may be packed, or a mail or mailbox itself."""
    try:
        data = packed.unpacked(data, f"{path}: attachment {name}")
    except InputError:
        if PurePath(name).suffix in packed.SUFFIXES and PurePath(name).stem.endswith((".patch", ".diff", ".mbox")):
            raise
        return []
    begins = data.lstrip(b"\r\n")
    if depth < MAX_DEPTH and is_mail(begins):
        return list(_of_mails(begins, name, path, depth))
    number = _NUMBERED.match(name)
    return [Diff(data=data, name=name, number=int(number[1]) if number else 0)] if has_diff(data) else []


def _of_mails(data: bytes, name: str, path: str, depth: int) -> Iterator[Diff]:
    """Yield the diffs of a mail or mailbox that is attached, with the numbers in their subjects."""
    for raw in split(data):
        for inner in read(raw, path, depth + 1):
            number = re.search(r"(\d{1,3})/\d{1,3}", inner.subject.partition("]")[0]) or _NUMBERED.match(name)
            for diff in inner.diffs:
                yield replace(diff, name=name, number=int(number[1]) if number else 0)


_SIGNED, _SIGNATURE = b"-----BEGIN PGP SIGNED MESSAGE-----\n", b"\n-----BEGIN PGP SIGNATURE-----\n"
_DASHED = re.compile(rb"^- ", re.MULTILINE)
"""What OpenPGP puts before a signed line that begins with a dash."""


def _text(part: ParsedMessage, data: bytes) -> bytes:
    """Return a text part as UTF-8, its soft line breaks undone."""
    charset = part.get_content_charset()
    if charset not in _UNICODE and not (_ONE_BYTE.match(charset or "") and _is_utf8(data)):
        with suppress(LookupError, ValueError):  # a name that is none, or has a zero in it
            data = data.decode(charset or "ascii").encode()
    data = _unsigned(data)
    if str(part.get_param("format", "")).lower() != "flowed":
        return data
    return unfolded(data, delete_space=str(part.get_param("delsp", "")).lower() == "yes")


def _is_utf8(data: bytes) -> bool:
    try:
        return not data.decode("utf-8").isascii()
    except ValueError:
        return False


def _unsigned(data: bytes) -> bytes:
    """Return the text that OpenPGP signed within a text, as it was; the data if it is not signed so."""
    lines = data.replace(b"\r\n", b"\n")
    start = lines.find(_SIGNED)
    text = lines.find(b"\n\n", start) + 1
    end = lines.find(_SIGNATURE, text)
    if start < 0 or not 0 < text < end:
        return data
    return _DASHED.sub(b"", lines[text + 1 : end + 1])


def unfolded(data: bytes, *, delete_space: bool = False) -> bytes:
    """Undo format=flowed: one leading blank goes, and a line that ends in a blank is continued by the next one.

    A line of blanks alone is an empty line of context, not the beginning of a longer one.
    """
    lines: list[bytes] = []
    open_line = b""
    for line in data.replace(b"\r\n", b"\n").split(b"\n"):
        text = line.removeprefix(b" ")
        if text.endswith(b" ") and text.strip() and text != b"-- ":
            open_line += text.removesuffix(b" " * delete_space)
            continue
        lines.append(open_line + text)
        open_line = b""
    if open_line:
        lines.append(open_line)
    return b"\n".join(lines)


# Which of the diffs.


def _chosen(texts: Sequence[Diff], attached: Sequence[Diff]) -> tuple[tuple[Diff, ...], tuple[str, ...]]:
    """Return a message's diffs in order and remarks: sound attachments, and of the text what is no copy of them."""
    notes: list[str] = []
    inline: list[Diff] = []
    files: list[Diff] = []
    for into, found in ((inline, texts), (files, attached)):
        for part in found:
            if has_diff(part.data):
                made, remarks = _diff(part.data)
                into.append(replace(part, data=made.data))
                notes += remarks
    if all(part.number for part in files):
        files.sort(key=lambda part: part.number)
    sound = [part for part in files if _changes(part.data)]
    if not sound:
        return tuple(inline or files), tuple(dict.fromkeys(notes))
    own = [part for part in inline if not _is_copy(part, sound)]
    if len(own) < len(inline):
        notes.append(INLINE_COPY)
    return (*own, *sound), tuple(dict.fromkeys(notes))


_Change = tuple[str, tuple[bytes, ...], tuple[bytes, ...]]
"""File, lines before, lines after."""


def _changes(data: bytes) -> frozenset[_Change]:
    """Return what a patch changes, blanks aside, to compare it with a copy; nothing if it is malformed."""
    try:
        changes = patch.parse(data, "")
    except InputError:
        return frozenset()
    found: set[_Change] = set()
    for change in changes:
        found.add((change.name, (), ()))
        for hunk in change.hunks:
            found.add((change.name, _blankless(hunk.old), _blankless(hunk.new)))
    return frozenset(found)


def _blankless(lines: Sequence[bytes]) -> tuple[bytes, ...]:
    return tuple(b"".join(line.split()) for line in lines)


def _is_copy(text: Diff, attached: Sequence[Diff]) -> bool:
    """Whether a diff in the text is one of the attached: it changes the same, or it is damaged and of their files."""
    mine = _changes(text.data)
    theirs = frozenset[_Change]().union(*(_changes(part.data) for part in attached))
    if mine:
        return mine <= theirs
    names = {name.decode("utf-8", "replace").strip() for name in _NEW_NAME.findall(text.data)} - {"dev/null"}
    return names <= {name for name, _, _ in theirs}


def _diff(data: bytes) -> tuple[Diff, tuple[str, ...]]:
    """Return a text with a diff as patches are: lines that end in LF alone, the last one too."""
    notes: list[str] = []
    names = _NAMES.findall(data)
    for end in (b"\r\r\n", b"\r\n"):
        if names and all(line.endswith(end) for line in names):
            data = data.replace(end, b"\n")
            notes.append(CRLF)
            break
    if _ends_in_hunk(data):
        data += b"\n"
        notes.append(NO_NEWLINE)
    for damage, note in ((_ENTITIES, ENTITIES), (_QUOTED_PRINTABLE, ENCODED)):
        if _in_code(data, damage):
            notes.append(note)
    left_out = _ONLY_IN.findall(data)[:MAX_NAMED]
    notes += [f"it has no content for `{line.decode('utf-8', 'replace')}`" for line in left_out]
    return Diff(data=data), tuple(notes)


def _in_code(data: bytes, damage: re.Pattern[bytes]) -> bool:
    """Whether C code in a patch has what an encoding that was not undone leaves there."""
    for part in data.split(b"\n+++ ")[1:]:
        name, _, hunks = part.partition(b"\n")
        if name.strip().endswith(_C_FILES) and damage.search(hunks):
            return True
    return False


def _ends_in_hunk(data: bytes) -> bool:
    """Whether the last line has no newline and is one of a hunk."""
    last = data.rpartition(b"\n")[2]
    return bool(last) and last[:1] in (b" ", b"+", b"-") and has_diff(data) and last not in (b"--", b"-- ")
