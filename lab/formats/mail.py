# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches as people have them (a diff, a mail, a mailbox) -> single plain patches, in order. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage

from lab.core.errors import InputError

_FROM = re.compile(rb"(?:\A|(?<=\n))From \S+.*\b\d{4}\r?\n(?=[A-Za-z-]+: )")
"""The line before each message of a mailbox; git format-patch writes it, too."""
_HEADER = re.compile(rb"\A(?:[A-Za-z-]+: .*\r?\n(?:[ \t].*\r?\n)*)+\r?\n")
_DIFF = re.compile(rb"^(?:diff --git |--- \S+.*\n\+\+\+ )", re.MULTILINE)
_TAGS = re.compile(r"^\s*(?:\[[^]]*\]\s*|Re:\s*)+", re.IGNORECASE)
MAX_NAME = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class MailedPatch:
    """One patch: a name without suffix that may be a file's, and its text, decoded."""

    name: str
    data: bytes


def patches(data: bytes, path: str) -> tuple[MailedPatch, ...]:
    """The patches in a file: itself, or those of its messages; letters without a diff (covers) are left out.

    InputError when there is none.
    """
    found = tuple(_of_mail(message) for message in _messages(data)) if _is_mail(data) else (_plain(data, path),)
    kept = tuple(each for each in found if _DIFF.search(each.data))
    if not kept:
        raise InputError(path, None, None, "expected a patch, found no diff in it")
    return kept


def _is_mail(data: bytes) -> bool:
    return bool(_FROM.match(data) or _HEADER.match(data))


def _messages(data: bytes) -> Iterator[bytes]:
    """The messages of a mailbox; a mail without the line that mailboxes have is one."""
    lines = list(_FROM.finditer(data))
    starts = [found.end() for found in lines] or [0]
    ends = [*(found.start() for found in lines[1:]), len(data)]
    yield from (data[start:end] for start, end in zip(starts, ends, strict=True))


def _of_mail(raw: bytes) -> MailedPatch:
    """A message with its encoding undone; attached diffs behind its own text."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    texts = [part for part in message.walk() if part.get_content_maintype() == "text" or _attached(part)]
    body = b"\n".join(_payload(part) for part in texts)
    return MailedPatch(name=slug(str(message.get("Subject", ""))) or "patch", data=body)


def _attached(part: EmailMessage) -> bool:
    return part.get_content_type() in ("application/x-patch", "application/octet-stream")


def _payload(part: EmailMessage) -> bytes:
    data = part.get_payload(decode=True)
    return data.replace(b"\r\n", b"\n") if isinstance(data, bytes) else b""


def _plain(data: bytes, path: str) -> MailedPatch:
    return MailedPatch(
        name=slug(path.rpartition("/")[2].removesuffix(".patch").removesuffix(".diff")) or "patch", data=data
    )


def slug(text: str) -> str:
    """A subject as a part of a file's name: `[PATCH 1/2] mm: fix x` -> `mm-fix-x`."""
    return re.sub(r"[^A-Za-z0-9]+", "-", _TAGS.sub("", text)).strip("-")[:MAX_NAME].strip("-")
