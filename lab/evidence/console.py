# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's console as a growing file: read by offset, bounded, never trusted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

MAX_LOOK = 1 << 20
MAX_LOG = 64 << 20
"""A guest with a longer console than this is stopped, as it would fill the host's disk."""


@dataclass(frozen=True, slots=True)
class ConsoleLog:
    """The file that the emulator appends the guest's console to."""

    path: Path

    def size(self) -> int:
        """How many bytes were written so far."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def text(self, start: int, end: int | None = None) -> str:
        """The text between two offsets. Of more than MAX_LOG bytes, which only a guest that was stopped for it can have
        printed, the middle is left out."""
        stop = self.size() if end is None else end
        try:
            with self.path.open("rb") as file:
                return slice_of(file.fileno(), start, stop)
        except FileNotFoundError:
            return ""


def slice_of(console: int, start: int, stop: int) -> str:
    """Return the text of an open console (its descriptor) between two offsets, as `ConsoleLog.text` does."""
    return _decode(without_middle(console, start, stop, MAX_LOG))


def without_middle(file: int, start: int, stop: int, limit: int) -> bytes:
    """Read the bytes of an open file (its descriptor) between two offsets.

    Of more than `limit` the middle is left out, and a line says how much.
    """
    if stop - start <= limit:
        return bytes_between(file, start, stop)
    half = limit // 2
    cut = f"\n[pagelab: {stop - start - limit} bytes left out]\n".encode()
    return bytes_between(file, start, start + half) + cut + bytes_between(file, stop - half, stop)


def bytes_between(file: int, start: int, stop: int) -> bytes:
    """Read the bytes of an open file (its descriptor) between two offsets, or to its end if that comes first."""
    left = max(0, stop - start)
    data = os.pread(file, left, start)
    while len(data) < left and (more := os.pread(file, left - len(data), start + len(data))):
        data += more
    return data


def _decode(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").replace("\r\n", "\n").replace("\0", "�")


class Watcher:
    """A search for words in the text of a console from an offset on. It reads each byte once."""

    def __init__(self, console: ConsoleLog, *words: bytes, start: int = 0) -> None:
        self._console = console
        self._words = words
        self._offset = start
        self._carry = b""

    def seen(self) -> bytes | None:
        """Return the first of the words that appeared since the last call; None if none did."""
        try:
            with self._console.path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read(MAX_LOOK)
        except FileNotFoundError:
            return None
        self._offset += len(fresh)
        text = self._carry + fresh
        places = {word: text.find(word) for word in self._words if word in text}
        if places:
            self._carry = b""
            return min(places, key=lambda word: (places[word], word))
        self._carry = text[-max(map(len, self._words)) :]
        return None
