# SPDX-License-Identifier: GPL-2.0-or-later
"""Patches as people have them (a diff, a mail, a mailbox, packed ones) -> single plain patches, in order. Pure.

packed.py unpacks, message.py reads one message, thread.py chooses among many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from lab.core.errors import InputError
from lab.formats.patches import message, packed, thread
from lab.formats.patches.message import MailMessage

_TAGS = re.compile(r"^\s*(?:\[[^]]*\]\s*|Re:\s*)+", re.IGNORECASE)
_SUFFIXES = (*packed.SUFFIXES, ".patch", ".diff", ".mbox", ".mbx", ".eml", ".txt")
MAX_NAME = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class MailedPatch:
    """One patch: a name without suffix that may be a file's, and its text, decoded."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MailedSeries:
    """Patches in order. `title` is the cover letter's or the first patch's, empty for diffs; `notes` are remarks.

    `base_commit` is what the series says it was made on, empty if it does not.
    """

    patches: tuple[MailedPatch, ...]
    title: str = ""
    base_commit: str = ""
    notes: tuple[str, ...] = ()


def patches(data: bytes, path: str) -> tuple[MailedPatch, ...]:
    """Return the patches in a file: itself, or those of the series that its messages are.

    InputError if there is none, or if the series is incomplete.
    """
    return read([(data, path)]).patches


def read(
    files: Sequence[tuple[bytes, str]], *, where: str = "", whole: bool = True, alone: bool = True
) -> MailedSeries:
    """Return the series in some files, each with its path, which may hold diffs, mails or mailboxes.

    `where` names all of them in errors. `whole` is false where the user has chosen among the patches of a series.
    `alone` is false if a single mail of a series is an incomplete one.
    InputError if there is no patch, or no complete series.
    """
    where = where or files[0][1]
    diffs: list[MailedPatch] = []
    notes: list[str] = []
    letters: list[MailMessage] = []
    for data, path in files:
        content = packed.unpacked(data, path)
        packed.refuse_archive(content, path)
        begins = content.lstrip(b"\r\n")
        if message.is_mail(begins):
            letters += _messages(begins, path)
        elif message.has_diff(content):
            packed.refuse_page(content, path)
            packed.refuse_encoded(content, path)
            diff, remarks = message.plain(content)
            diffs.append(MailedPatch(name=_file_slug(path), data=diff.data))
            notes += [f"{path}: {remark}" for remark in remarks]
        elif len(files) == 1:
            raise InputError(path, None, None, f"expected a patch, found {packed.instead(content)}")
        else:
            notes.append(f"left out, {packed.instead(content)}: {path}")
    if diffs and not any(letter.diffs for letter in letters):
        return MailedSeries(patches=tuple(diffs), notes=tuple(notes))
    if diffs:
        raise InputError(where, None, None, "expected diffs or mails, found both: their order is unknown")
    chosen = thread.choose(letters, where, whole=whole, alone=alone)
    return MailedSeries(
        patches=tuple(_named(chosen.messages, where)),
        title=chosen.title,
        base_commit=chosen.base_commit,
        notes=(*notes, *chosen.notes),
    )


def _messages(data: bytes, path: str) -> Iterable[MailMessage]:
    for raw in message.split(data):
        yield from message.read(raw, path)


def _named(messages: Sequence[MailMessage], path: str) -> Iterable[MailedPatch]:
    for letter in messages:
        title = slug(thread.subject(letter.subject).title)
        for diff in letter.diffs:
            own = _file_slug(diff.name) if diff.name and len(letter.diffs) > 1 else ""
            yield MailedPatch(name=own or title or _file_slug(path), data=diff.data)


def _file_slug(path: str) -> str:
    name = PurePath(path).name
    while name.endswith(_SUFFIXES):
        name = name.rpartition(".")[0]
    return slug(name) or "patch"


def slug(text: str) -> str:
    """Return a subject as a part of a file's name: `[PATCH 1/2] mm: fix x` -> `mm-fix-x`."""
    return re.sub(r"[^A-Za-z0-9]+", "-", _TAGS.sub("", text)).strip("-")[:MAX_NAME].strip("-")
