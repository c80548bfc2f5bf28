# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/run/coverage.py: counters are fetched whole, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from lab.core.deadline import Deadline
from lab.core.errors import InfraError
from lab.core.outcome import End, Ended
from lab.formats import gcov
from lab.run import coverage


class FakeGuest:
    """A guest with a file of counters; it answers `answers` times, then it is gone."""

    def __init__(self, data: bytes, answers: int = 1000) -> None:
        self.data = data
        self.answers = answers
        self.commands: list[str] = []

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        silence_s: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
    ) -> Ended:
        self.commands.append(command)
        skip = re.search(r"bs=(\d+) skip=(\d+)", command)
        start = int(skip[1]) * int(skip[2]) if skip else len(self.data)
        end = End.EXITED if len(self.commands) <= self.answers else End.LOST
        stdout = self.data[start : start + coverage.CHUNK]
        return Ended(end=end, status=0, stdout=stdout, stderr=b"", duration_s=0.0, note="")


@pytest.mark.parametrize("size", [0, 1, coverage.CHUNK - 1, coverage.CHUNK, coverage.CHUNK + 1, 3 * coverage.CHUNK])
def test_counters_arrive_whole_and_are_removed(size: int) -> None:
    guest = FakeGuest(bytes(number % 251 for number in range(size)))
    assert coverage.fetch(guest, 1.0) == guest.data
    assert guest.commands[-1] == f"rm -f {gcov.GUEST_FILE}"


def test_a_guest_that_is_gone_has_sent_what_it_has_sent() -> None:
    guest = FakeGuest(bytes(3 * coverage.CHUNK), answers=2)
    assert len(coverage.fetch(guest, 1.0)) == 2 * coverage.CHUNK


def test_more_counters_than_a_file_may_have_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "MAX_FILE", 2 * coverage.CHUNK)
    assert len(coverage.fetch(FakeGuest(bytes(2 * coverage.CHUNK)), 1.0)) == 2 * coverage.CHUNK
    with pytest.raises(InfraError, match="more than 4 MiB of line counts"):
        coverage.fetch(FakeGuest(bytes(2 * coverage.CHUNK + 1)), 1.0)
