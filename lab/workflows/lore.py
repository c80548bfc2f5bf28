# SPDX-License-Identifier: GPL-2.0-or-later
"""A message id -> the mails of its thread, from an archive or a mirror of one: the one place that uses the network.

    word   := `<id@host>` | `id@host` | URL of lore, lkml.kernel.org/r/, patch.msgid.link, or of any public-inbox
              perhaps as it stands in a mail: `Message-ID: <id@host>`, `Link: URL`, `<URL>`, `[1] URL`
    mirror := URL of a public-inbox (http://127.0.0.1:8080/all) | a Maildir | a directory of mails | an mbox

b4 fetches where it is installed, and chooses as its users know it; else liblore (`pip install 'pagelab[lore]'`). A
local mirror needs neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from email.parser import BytesHeaderParser
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

from lab.core import proc
from lab.core.errors import InfraError, InputError, UsageError
from lab.core.paths import exists, user_path
from lab.formats.patches import message, packed

REDIRECTORS = frozenset({"lore.kernel.org", "lkml.kernel.org", "patch.msgid.link", "msgid.link"})
"""Hosts whose every message is in ARCHIVE."""
ARCHIVE = "https://lore.kernel.org/all"
FETCH_S = 300.0
MAX_FILE = 512 << 20
"""Bytes of one file of a mirror."""
_ID = re.compile(r"(?:(?:mid|id|msgid):)?<?([^\s<>/@]+@[^\s<>/@{]+)>?", re.IGNORECASE)
_IN_PATH = re.compile(r"<?([^\s<>@]+@[^\s<>/@]+)>?")
_BEFORE = re.compile(
    r"(?:\[\d+\]:?\s*|(?:message-id|in-reply-to|link|closes|url|archived-at|news|mailto)\s*:\s*)+", re.IGNORECASE
)
"""What stands before an id or a URL in a mail."""
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_IDS = re.compile(r"<([^<>\s]+)>")

Mails = list[tuple[bytes, str]]
"""Files with mails, each with what to call it."""


def message_id(word: str) -> str | None:
    """Return the message id that a word of the command line is or contains; None if it has none."""
    bare = _bare(word)
    if plain := _ID.fullmatch(bare):
        return unquote(plain[1])
    return _in_path(bare)[1] if _SCHEME.match(bare) else None


def is_url(word: str) -> bool:
    """Whether a word of the command line is an address of the web, perhaps as it stands in a mail."""
    return bool(_SCHEME.match(_bare(word)))


def _bare(word: str) -> str:
    """Return an id or a URL without what stands around it in a mail; a host that has all messages needs no scheme."""
    bare = _BEFORE.sub("", word.strip(), count=1)
    if bare.startswith("<") and bare.endswith(">"):
        bare = bare[1:-1].strip()
    if "/" in bare and _has_all(bare.partition("/")[0].lower()):
        bare = f"https://{bare}"
    ends = ",;\"'" if "(" in bare else ",;\"')"
    return bare.rstrip(f"{ends}." if _SCHEME.match(bare) else ends)


def _in_path(url: str) -> tuple[str, str | None]:
    """Return the path of a URL up to the message id in it, and the id; None if it has none."""
    before: list[str] = []
    for part in urlsplit(url).path.split("/"):
        if match := _IN_PATH.fullmatch(unquote(part)):
            return "/".join(before), match[1]
        before.append(part)
    return "/".join(before), None


def archive(word: str) -> str:
    """Return the public-inbox that a URL leads to; empty for a message id, and for a redirector such as lore's own."""
    url = _bare(word)
    address = urlsplit(url) if _SCHEME.match(url) else None
    if address is None or _has_all(address.hostname or ""):
        return ""
    return f"{address.scheme}://{address.netloc}{_in_path(url)[0]}".removesuffix("/r")


def _has_all(host: str) -> bool:
    """Whether every message of a host is in ARCHIVE; a patchwork has no threads to fetch."""
    return host in REDIRECTORS or host.startswith("patchwork.")


def thread(wanted: str, mirror: str = "") -> Mails:
    """Return the mails of the thread that a message is in.

    UsageError if there is no such message, InfraError if the archive cannot be asked.
    """
    if mirror and not mirror.startswith(("http://", "https://")):
        return _local(wanted, user_path(mirror))
    url = (mirror or ARCHIVE).rstrip("/")
    if proc.which("b4"):
        return [(_by_b4(wanted, url), f"{url}/{wanted}/")]
    return [(_by_liblore(wanted, url), f"{url}/{wanted}/")]


def _by_b4(wanted: str, url: str) -> bytes:
    """Return the series that `b4 am` makes of a thread."""
    with TemporaryDirectory(prefix="pagelab-b4-") as scratch:
        words = ["b4", "--no-interactive", "-c", f"b4.midmask={url}/%s", "am", "--no-cache", "--no-add-trailers"]
        words += ["--no-cover", "--outdir", scratch, "--mbox-name", "series", wanted]
        done = proc.run(
            words, cwd=Path(scratch), timeout_s=FETCH_S, check=False, env={"NO_PROXY": "127.0.0.1,localhost"}
        )
        paths = [path for path in sorted(Path(scratch).glob("series*")) if path.is_file()]
        if done.status or not paths:
            last = done.output.strip().rpartition("\n")[2] or f"exit status {done.status}"
            raise InfraError(f"b4 am {wanted}: {last}", hint=_other(url))
        return _bounded(paths[0])


def _by_liblore(wanted: str, url: str) -> bytes:
    """Return the mailbox of a thread that a public-inbox sends."""
    try:
        from liblore import LibloreError, LoreNode
    except ImportError:
        raise UsageError(
            f"{wanted}: neither b4 nor liblore is installed to fetch it from {url}",
            hint="pip install 'pagelab[lore]', or --mirror with a Maildir or an mbox",
        ) from None
    try:
        with LoreNode(url, request_timeout=(10.0, FETCH_S)) as node:
            data = node.get_mbox_by_msgid(wanted)
    except LibloreError as error:
        if getattr(error, "status_code", None) == 404:
            raise UsageError(f"{url}: no message {wanted}") from None
        raise InfraError(f"{url}: cannot fetch {wanted}: {error}", hint=_other(url)) from None
    assert isinstance(data, bytes)
    return data


def _other(url: str) -> str:
    return f"is {url} reachable? --mirror names another public-inbox, a Maildir or an mbox"


# A mirror on this disk.


def _local(wanted: str, place: Path) -> Mails:
    """Return a thread's mails out of a Maildir, a directory or an mbox."""
    if not exists(place):
        raise UsageError(f"--mirror: expected a URL, a Maildir or an mbox, got nothing there: {place}")
    mails = [_Mail(raw, path) for path in _files(place) for raw in _split(path)]
    ids = _connected(mails, wanted)
    if not ids:
        raise UsageError(f"--mirror {place}: no message {wanted} among {len(mails)}")
    return [(mail.raw, str(mail.path)) for mail in mails if mail.id in ids]


class _Mail:
    """One mail of a mirror: its id and those that it refers to."""

    def __init__(self, raw: bytes, path: Path) -> None:
        self.raw, self.path = raw, path
        headers = BytesHeaderParser().parsebytes(raw)
        self.id = next(iter(_IDS.findall(str(headers.get("Message-ID", "")))), "")
        self.refers = set(_IDS.findall(f"{headers.get('In-Reply-To', '')} {headers.get('References', '')}"))


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    folders = [place / name for name in ("cur", "new") if (place / name).is_dir()] or [place]
    return sorted(path for folder in folders for path in folder.iterdir() if path.is_file())


def _split(path: Path) -> Iterator[bytes]:
    data = packed.unpacked(_bounded(path), str(path)).lstrip(b"\r\n")
    if message.is_mail(data):
        yield from message.split(data)


def _bounded(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise InputError(path, None, None, f"expected at most {MAX_FILE >> 20} MiB")
    return data


def _connected(mails: Sequence[_Mail], wanted: str) -> set[str]:
    """Return the ids of the mails that are connected with one by references, either way; none if it is not there."""
    if wanted not in {mail.id for mail in mails}:
        return set()
    neighbours: dict[str, set[str]] = {}
    for one, other in _links(mails):
        neighbours.setdefault(one, set()).add(other)
        neighbours.setdefault(other, set()).add(one)
    found, ahead = {wanted}, [wanted]
    while ahead:
        for neighbour in neighbours.get(ahead.pop(), set()) - found:
            found.add(neighbour)
            ahead.append(neighbour)
    return found


def _links(mails: Iterable[_Mail]) -> Iterator[tuple[str, str]]:
    for mail in mails:
        for other in mail.refers:
            yield mail.id, other
