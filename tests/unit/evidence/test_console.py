# SPDX-License-Identifier: GPL-2.0-or-later
"""The console's file: slices, bounds, and words found across reads."""

from __future__ import annotations

from pathlib import Path

from lab.evidence import console
from lab.evidence.console import ConsoleLog, Watcher


def test_missing_file_is_silence(tmp_path: Path) -> None:
    quiet = ConsoleLog(tmp_path / "none")
    assert (quiet.size(), quiet.text(0), Watcher(quiet, b"x").seen()) == (0, "", None)


def test_slices_are_decoded_and_bounded(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"one\r\ntwo \xff\0 three\n")
    said = ConsoleLog(path)
    assert said.text(0) == "one\ntwo �� three\n"
    assert said.text(5, 8) == "two"
    path.write_bytes(b"a" * (console.MAX_LOG + 1000) + b"end")
    text = said.text(0)
    assert text.startswith("aaa")
    assert text.endswith("end")
    assert "1003 bytes left out" in text
    assert len(text) < console.MAX_LOG + 100


def test_a_word_is_seen_once_and_across_reads(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"before pagelab: re")
    watcher = Watcher(ConsoleLog(path), b"pagelab: ready", b"panic")
    assert watcher.seen() is None
    with path.open("ab") as file:
        file.write(b"ady\n")
    assert watcher.seen() == b"pagelab: ready"
    assert watcher.seen() is None


def test_the_first_of_several_words_wins(tmp_path: Path) -> None:
    path = tmp_path / "c"
    path.write_bytes(b"panic then ready")
    assert Watcher(ConsoleLog(path), b"ready", b"panic").seen() == b"panic"
    assert Watcher(ConsoleLog(path), b"ready", b"panic", start=6).seen() == b"ready"
