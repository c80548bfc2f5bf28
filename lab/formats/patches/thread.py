# SPDX-License-Identifier: GPL-2.0-or-later
"""The messages of a mailbox -> one series: its newest complete version, in the order that its subjects give. Pure.

    subject := (`Re:` | `[` word* `]` | `PATCH 2/7:` | `(2/7)`)* title
    word    := `v2` | `2/7` | `2 of 7` | `RFC` | anything

Replies are no patches where there are others. A version is complete if it has every number from 1 to its total. A newer
version that sends some patches again, each as a reply to the one it replaces, takes the others from the version before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from lab.core.errors import InputError
from lab.formats.patches.message import MailMessage

_LEAD = re.compile(
    r"\s*(?:(?P<reply>(?:re|aw|sv|antw|rv)(?:\[\d+\])?\s*:)|(?:fwd?|wg|tr)\s*:|\[(?P<words>[^\]]*)\]"
    r"|(?P<bare>(?:rfc\s+)?patch\b[^:\[\]]{0,30}\b\d{1,4}/\d{1,4})\s*:|\((?P<round>\d{1,4}/\d{1,4})\))",
    re.IGNORECASE,
)
_VERSION = re.compile(r"-?(?:(?:rfc|patch|resend)[-/]?)*v(\d{1,3})(?:\.\d+)?", re.IGNORECASE)
_COUNTER = re.compile(r"(\d{1,4})/(\d{1,4})")
_BASE = re.compile(rb"^base-commit:\s*([0-9a-f]{7,64})\s*$", re.MULTILINE)
_QUOTED = re.compile(rb"^(?:> ?)+(?:diff --git |\+\+\+ )", re.MULTILINE)
_NEEDS = re.compile(rb"^prerequisite-patch-id:", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What the brackets of a subject say. `number` and `total` are 0 without a counter, `version` is 1 without one."""

    title: str
    reply: bool
    version: int
    number: int
    total: int
    rfc: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The patches of a series in order, its cover letter's title or its first patch's, and remarks for the user."""

    messages: tuple[MailMessage, ...]
    title: str
    base_commit: str = ""
    notes: tuple[str, ...] = ()


def subject(text: str) -> Subject:
    """Read the subject of a message."""
    reply, words, place = False, list[str](), 0
    while match := _LEAD.match(text, place):
        reply = reply or bool(match["reply"])
        said = match["words"] or match["bare"] or match["round"] or ""
        words += re.split(r"[\s,:]+", re.sub(r"(?<=\d)\s*(?:/|\bof\b)\s*(?=\d)|\s*/\s*", "/", said))
        place = match.end()
    number, total = _counter(words)
    return Subject(
        title=text[place:].strip(),
        reply=reply,
        version=_version(words),
        number=number,
        total=total,
        rfc="rfc" in " ".join(words).lower(),
    )


def _version(words: Sequence[str]) -> int:
    """Return the version that the words of a subject's brackets name, 1 if none."""
    version = 1
    for word in words:
        if match := _VERSION.fullmatch(word):
            version = int(match[1])
    return version


def _counter(words: Sequence[str]) -> tuple[int, int]:
    """Return the first `2/7` among the words, (0, 0) if there is none."""
    for word in words:
        match = _COUNTER.fullmatch(word)
        if match and int(match[1]) <= int(match[2]):
            return int(match[1]), int(match[2])
    return 0, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Letter:
    """A message with its subject read."""

    message: MailMessage
    subject: Subject

    @property
    def order(self) -> tuple[int, bool]:
        """How new its version is: an RFC comes before the version of the same number that is none."""
        return self.subject.version, not self.subject.rfc

    @property
    def is_cover(self) -> bool:
        """Whether it is a cover letter: the patch 0 of a series."""
        return self.subject.total > 0 and self.subject.number == 0 and not self.subject.reply

    @property
    def words(self) -> str:
        return self.message.subject or "a message without a subject"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version:
    """The patches of one version of a series by their number."""

    order: tuple[int, bool]
    total: int
    patches: dict[int, _Letter]

    @property
    def missing(self) -> list[int]:
        return [number for number in range(1, self.total + 1) if number not in self.patches]

    @property
    def words(self) -> str:
        version, final = self.order
        kind = "" if final else "RFC "
        number = "1 patch" if self.total == 1 else f"{self.total} patches"
        return f"{kind}v{version} of {number}"

    @property
    def lacks(self) -> str:
        numbers = ", ".join(f"{number}/{self.total}" for number in self.missing)
        verb = "is" if len(self.missing) == 1 else "are"
        return f"{self.words}: {numbers} {verb} missing"


def choose(messages: Sequence[MailMessage], path: str, *, whole: bool = True, alone: bool = True) -> Chosen:
    """Return the series that the messages of a mailbox are; InputError if it is incomplete, or none, or two.

    `whole` is false where the user has chosen the messages: what is missing is a remark then. `alone` is false if a
    single message that is 2/7 is an incomplete series too.
    """
    letters, dropped = _letters(_once(messages))
    taken, notes = _originals(letters, path)
    notes[:0] = dropped
    numbered = sum(letter.subject.total for letter in taken)
    single = (alone and len(letters) == 1) or not whole or taken[0].subject.total < 2 or not taken[0].subject.number
    if len(taken) == 1 and single:
        chosen, remarks = taken, _alone(taken[0])
    elif not numbered:
        chosen, remarks = _unnumbered(taken)
    else:
        empty = [letter.words for letter in letters if letter.subject.number and not letter.message.diffs]
        chosen, remarks = _numbered(taken, path, whole=whole, empty=empty)
    return _result(chosen, letters, [*notes, *remarks])


def _letters(messages: Iterable[MailMessage]) -> tuple[list[_Letter], list[str]]:
    """Return messages with their subjects read, and what was left out: the diff in a cover letter's own text.

    Such a diff is what changed since the last version (`git format-patch --interdiff`), and no part of the series.
    """
    letters: list[_Letter] = []
    notes: list[str] = []
    for message in messages:
        letter = _Letter(message=message, subject=subject(message.subject))
        if letter.is_cover and not all(diff.attached for diff in message.diffs):
            notes.append(f"left out, the diff in a cover letter: {letter.words}")
            attached = tuple(diff for diff in message.diffs if diff.attached)
            letter = replace(letter, message=replace(message, diffs=attached))
        letters.append(letter)
    return letters, notes


def _originals(letters: Sequence[_Letter], path: str) -> tuple[list[_Letter], list[str]]:
    """Return the patches among some letters, without replies unless there is nothing else, and what was left out."""
    originals: list[_Letter] = []
    replies: list[_Letter] = []
    for letter in letters:
        if letter.message.diffs:
            (replies if letter.subject.reply else originals).append(letter)
    if originals:
        return originals, [f"left out, a reply: {letter.words}" for letter in replies]
    if covers := [letter for letter in letters if letter.is_cover]:
        total = covers[-1].subject.total
        raise InputError(path, None, None, f"expected a patch, found only the cover letter, patch 0 of {total}")
    if not replies:
        notes = [note for letter in letters for note in letter.message.notes]
        quoted = any(_QUOTED.search(letter.message.text) for letter in letters)
        found = "only quotations of one" if quoted else "; ".join(["no diff in it", *notes[:1]])
        raise InputError(path, None, None, f"expected a patch, found {found}")
    if len(replies) > 1:
        raise InputError(path, None, None, f"expected a patch, found only replies with a diff, {len(replies)} of them")
    return replies, []


def _once(messages: Iterable[MailMessage]) -> list[MailMessage]:
    """Drop what is there several times, as lists send it: by its id, the first with a diff.

    `git format-patch --thread` gives the versions that are made within a second the same ids.
    """
    by_id: dict[tuple[object, ...], MailMessage] = {}
    for place, message in enumerate(messages):
        told = subject(message.subject)
        key = (message.id or place, told.version, told.number, told.total)
        if key not in by_id or (message.diffs and not by_id[key].diffs):
            by_id[key] = message
    return list(by_id.values())


def _alone(letter: _Letter) -> list[str]:
    told = letter.subject
    if told.total < 2:
        return []
    if told.reply and not told.number:
        return [f"the diff is in a reply to the cover letter of a series: {letter.words}"]
    return [f"this is {told.number}/{told.total} of a series, alone"]


def _unnumbered(letters: Sequence[_Letter]) -> tuple[list[_Letter], list[str]]:
    """Return single patches: those of the newest version, in the order of the file."""
    newest = max(letter.order for letter in letters)
    authors = {letter.message.id: letter.message.author for letter in letters}
    chosen: dict[str, _Letter] = {}
    notes = []
    for place, letter in enumerate(letters):
        title = letter.subject.title or f"no title {place}"
        same = chosen.get(title)
        if letter.order != newest:
            notes.append(f"left out, an older version: {letter.words}")
        elif _is_answer(letter, authors):
            notes.append(f"left out, somebody else's answer: {letter.words}")
        elif same and same.message.sent > letter.message.sent:
            notes.append(f"left out, sent again later: {letter.words}")
        else:
            chosen[title] = letter
            if same:
                notes.append(f"left out, sent again later: {same.words}")
    return list(chosen.values()), notes


def _is_answer(letter: _Letter, authors: Mapping[str, str]) -> bool:
    """Whether a letter refers to one of somebody else's; `authors` has the author of each message id."""
    for parent in letter.message.parents:
        if parent in authors:
            return authors[parent] != letter.message.author
    return False


def _numbered(
    letters: Sequence[_Letter], path: str, *, whole: bool, empty: Sequence[str]
) -> tuple[list[_Letter], list[str]]:
    """Return the newest complete version and remarks; `empty` are the subjects of messages without a diff."""
    versions, notes = _versions(letters, path)
    complete = [version for version in versions if not version.missing]
    if not complete:
        newest = versions[-1]
        if not whole:
            return _in_order(newest), [*notes, newest.lacks]
        lacks = "; ".join(version.lacks for version in versions)
        lacks += "".join(f"; no diff in {words}" for words in empty)
        raise InputError(path, None, None, f"the series is incomplete: {lacks}")
    best = complete[-1]
    _check_one_series(best, complete[:-1], path)
    for version in versions[: versions.index(best)]:
        if version.order < best.order and version.total > 1:
            notes.append(f"{best.words} was used, not {version.words}")
        else:
            notes += [f"left out, no part of the series: {letter.words}" for letter in version.patches.values()]
    for newer in versions[versions.index(best) + 1 :]:
        if again := _sent_again(newer, best):
            notes.append(f"{newer.words} has only {len(newer.patches)}, the others are those of {best.words}")
            best = again
        else:
            notes.append(f"{newer.lacks}: {best.words} was used")
    return _in_order(best), notes


def _in_order(version: _Version) -> list[_Letter]:
    return [version.patches[number] for number in sorted(version.patches)]


def _versions(letters: Sequence[_Letter], path: str) -> tuple[list[_Version], list[str]]:
    """Return the versions that there are, the newest last, and what was left out of them."""
    by_version: dict[tuple[tuple[int, bool], int], _Version] = {}
    notes = []
    for letter in letters:
        total, number = letter.subject.total or 1, letter.subject.number or 1
        key = (letter.order, total)
        version = by_version.setdefault(key, _Version(order=letter.order, total=total, patches={}))
        other = version.patches.get(number)
        if letter.subject.total and not letter.subject.number:
            notes.append(f"left out, a cover letter with a diff: {letter.words}")
        elif other is None or other.subject.title == letter.subject.title:
            if other is None or letter.message.sent >= other.message.sent:
                version.patches[number] = letter
            if other:
                notes.append(f"sent several times, the latest was used: {letter.words}")
        elif total > 1:
            why = f"two patches are {number}/{total} of v{letter.subject.version}: {other.words!r} and {letter.words!r}"
            raise InputError(path, None, None, f"expected one series; {why}")
        else:
            notes.append(f"left out, no part of the series: {letter.words}")
    versions = [candidate for candidate in by_version.values() if candidate.patches]
    return sorted(versions, key=lambda candidate: (candidate.order, candidate.total)), notes


def _check_one_series(best: _Version, others: Sequence[_Version], path: str) -> None:
    """Refuse a mailbox with another complete series that is no older version of this one."""
    for other in others:
        alike = _titles(best) & _titles(other) or _authors(best) & _authors(other)
        if other.total > 1 and (other.order == best.order or not alike):
            raise InputError(path, None, None, f"expected one series, found two: {other.words} and {best.words}")


def _titles(version: _Version) -> set[str]:
    return {letter.subject.title for letter in version.patches.values()}


def _authors(version: _Version) -> set[str]:
    return {letter.message.author for letter in version.patches.values()} - {""}


def _sent_again(newer: _Version, older: _Version) -> _Version | None:
    """Return the older version with the newer one's patches in it; None if they are no replies to what they replace."""
    if newer.total != older.total:
        return None
    for number, letter in newer.patches.items():
        if older.patches[number].message.id not in letter.message.parents or not older.patches[number].message.id:
            return None
    return _Version(order=newer.order, total=newer.total, patches={**older.patches, **newer.patches})


def _result(chosen: Sequence[_Letter], letters: Sequence[_Letter], notes: Sequence[str]) -> Chosen:
    covers = [cover for cover in letters if _is_cover(cover, chosen[0])]
    text = b"\n".join(mail.message.text for mail in (*chosen, *covers))
    remarks = [*notes]
    for letter in chosen:
        remarks += [f"{letter.words}: {note}" for note in letter.message.notes]
    if _NEEDS.search(text):
        remarks.append("the series names prerequisite patches, which are not applied")
    base = _BASE.search(text)
    return Chosen(
        messages=tuple(letter.message for letter in chosen),
        title=[*covers, *chosen][0].subject.title,
        base_commit=base[1].decode() if base else "",
        notes=tuple(dict.fromkeys(remarks)),
    )


def _is_cover(letter: _Letter, first: _Letter) -> bool:
    own, patch = letter.subject, first.subject
    same = (own.version, own.total) == (patch.version, patch.total)
    return same and letter.is_cover and not letter.message.diffs
