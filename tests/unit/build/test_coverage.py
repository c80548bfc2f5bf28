# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/coverage.py: counters of a guest and notes of the compiler, put together by a gcov that a script plays."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.build import coverage
from lab.build.kernel import BuiltKernel
from lab.core.cache import Cache
from lab.core.errors import InfraError
from lab.evidence.metadata import Provenance
from lab.specs.arches import ARCHES

GCDA = "/sys/kernel/debug/gcov/build/mm/a.gcda"
PRINTS = """#!/bin/sh
shift 2
for name; do
    printf '{"data_file": "%s", "files": [{"file": "../../mm/a.c", "lines": [{"line_number": 7, "count": %d}]}]}\\n' \\
        "$name" "$(cat "$name")"
done
"""


@pytest.fixture
def kernel(tmp_path: Path) -> BuiltKernel:
    (tmp_path / "gcov" / "mm").mkdir(parents=True)
    (tmp_path / "gcov" / "mm" / "a.gcno").write_text("0")
    nothing = tmp_path / "nothing"
    return BuiltKernel(
        image=nothing,
        config=nothing,
        notes=nothing,
        system_map=nothing,
        log=nothing,
        gcov=tmp_path / "gcov",
        provenance=Provenance(key="k"),
    )


def play(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Let a script be the tool."""
    tool = tmp_path / "tool"
    tool.write_text(script)
    tool.chmod(0o755)
    monkeypatch.setattr(coverage, "tool", lambda arch: str(tool))


def test_counts_by_case_and_line(kernel: BuiltKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, tmp_path, PRINTS)
    cases = {"one": {GCDA: b"3"}, "two": {GCDA: b"0", "/somewhere/else.gcda": b"9"}, "three": {}}
    cache = Cache(tmp_path / "cache")
    assert coverage.counts(kernel, ARCHES["x86_64"], cases, cache) == {
        "one": {"mm/a.c": {7: 3}},
        "two": {"mm/a.c": {7: 0}},
        "three": {},
    }
    assert coverage.compiled(kernel, ARCHES["x86_64"], cache) == {"mm/a.c": {7: 0}}


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ('{"files": ', "Expecting value"),
        ("{}", "no key `files`"),
        ('{"files": [{}]}', "not as expected: KeyError"),
        ('{"files": [{"file": "a.c", "lines": 3}], "data_file": "a"}', "not as expected: TypeError"),
        ('{"files": [{"file": "a.c", "lines": [{"line_number": "x", "count": 1}]}], "data_file": "a"}', "invalid lit"),
        ('{"files": [], "data_file": "0/mm/b.gcda"}', "counts of other files than it was asked for: 0/mm/a.gcda"),
        ("", "counts of other files than it was asked for: 0/mm/a.gcda"),
    ],
)
def test_what_no_gcov_prints(
    printed: str, words: str, kernel: BuiltKernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, tmp_path, f"#!/bin/sh\necho '{printed}'\n")
    with pytest.raises(InfraError, match="tool printed ") as caught:
        coverage.counts(kernel, ARCHES["x86_64"], {"one": {GCDA: b"3"}}, Cache(tmp_path / "cache"))
    assert words in str(caught.value)
