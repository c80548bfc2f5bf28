# SPDX-License-Identifier: GPL-2.0-or-later
"""The table of the lab beside virtme-ng."""

from __future__ import annotations

import pytest

from lab.specs.library import Library
from tests.benchmarks import virtme
from tests.benchmarks.__main__ import main
from tests.benchmarks.timing import Times, wall


def test_vng_gets_the_nodes_of_the_machine() -> None:
    words = virtme.machine(Library.shipped().topology("x86_64-4k-2node"))
    assert words == [
        *("--disable-kvm", "--cpus", "4", "--memory", "1024M"),
        *("--numa", "512M,cpus=0-1", "--numa", "512M,cpus=2-3"),
    ]


def test_a_row_of_the_lab_has_its_ratio_to_the_row_of_vng_before() -> None:
    seconds = {"vng a": Times([2.0, 4.0, 3.0]), "lab a": Times([1.0]), "lab b": Times([6.0]), "vng c": Times([1.0])}
    found = list(virtme.rows("machine", seconds))
    assert [row[1] for row in found] == ["vng a", "lab a", "lab b", "vng c"]
    assert [row[-1] for row in found] == ["", "0.33", "2.00", ""]
    assert found[0][2:5] == ("3.00 s", "2.00 s", "4.00 s")


def test_without_vng_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit, match="pip install virtme-ng"):
        next(virtme.virtme("x86_64-4k-2node"))


def test_a_command_that_fails_is_no_time() -> None:
    with pytest.raises(SystemExit, match="status 3:\nwhy"):
        wall(["sh", "-c", "echo why; exit 3"])


@pytest.mark.parametrize("words", [["edit", "virtme"], ["virtme", "extra"], ["edit", "matrix"]])
def test_what_runs_by_itself_is_refused_beside_others(words: list[str]) -> None:
    with pytest.raises(SystemExit, match="expected to be the only benchmark"):
        main(words)
