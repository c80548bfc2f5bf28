# SPDX-License-Identifier: GPL-2.0-or-later
"""Records as columns: they are what was put in, equal verdicts are one object, also from another process."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import pytest

from lab.core.columns import CellRecords, CellRuns, RecordCodec, RunRecords, count
from lab.core.errors import InfraError
from lab.core.outcome import (
    CaseRecord,
    Cause,
    CellKey,
    CellResult,
    CellStatus,
    Cost,
    End,
    Expected,
    Outcome,
    Run,
    Usage,
)
from lab.core.workers import spread

KEY, OTHER = CellKey("machine", "baseline"), CellKey("machine", "patched")
PASSED = CaseRecord(
    topology="machine",
    kernel="baseline",
    scenario="s",
    case="a",
    outcome=Outcome.PASS,
    expected=Expected.PASS,
    met=True,
    duration_s=0.25,
    cause=Cause.PASSED,
    excerpt="ok",
    cost=Cost(median=2, low=1, high=3, rounds=9, unit="ns"),
)
FAILED = replace(PASSED, case="b", outcome=Outcome.FAIL, met=False, duration_s=None, excerpt="no\nevidence", cost=None)
RECORDS = [PASSED, FAILED, replace(PASSED, case="c", duration_s=0.0)]


def elsewhere() -> list[CaseRecord]:
    return [replace(record, kernel="patched", duration_s=7.5) for record in RECORDS]


def test_records_are_what_was_put_in() -> None:
    columns = CellRecords.of(KEY, RECORDS)
    assert list(columns) == RECORDS
    assert columns == RECORDS
    assert columns != RECORDS[:2]
    assert columns[1] == FAILED
    assert columns[-1] == RECORDS[-1]
    assert columns[1:] == tuple(RECORDS[1:])
    assert list(columns.on_host("big")) == [replace(record, host="big") for record in RECORDS]


def test_cells_share_verdicts() -> None:
    here, there = CellRecords.of(KEY, RECORDS), CellRecords.of(OTHER, elsewhere())
    assert all(one is other for one, other in zip(here.verdicts, there.verdicts, strict=True))
    counted = count({KEY: here, OTHER: there})
    assert list(counted.tally.values()) == [2, 2, 2]
    assert {kernel: tally.total() for kernel, tally in counted.by_kernel.items()} == {"baseline": 3, "patched": 3}


def test_verdicts_are_counted_in_the_order_in_which_they_come_first() -> None:
    cells = {KEY: [PASSED], OTHER: RECORDS[::-1], CellKey("other", "baseline"): [RECORDS[2], PASSED]}
    counted = count({place: CellRecords.of(place, records) for place, records in cells.items()})
    assert [(verdict.case, number) for verdict, number in counted.tally.items()] == [("a", 3), ("c", 2), ("b", 1)]
    assert [verdict.case for verdict in counted.by_kernel["patched"]] == ["c", "b", "a"]
    assert [verdict.case for verdict in counted.by_kernel["baseline"]] == ["a", "c"]


def test_all_records_of_a_run() -> None:
    run = RunRecords([CellRecords.of(KEY, RECORDS), CellRecords.of(OTHER, elsewhere())])
    assert list(run) == [*RECORDS, *elsewhere()]
    assert len(run) == 6
    assert run[4] == elsewhere()[1]
    failed = [verdict for verdict in CellRecords.of(KEY, RECORDS).verdicts if verdict.met is False]
    assert run.chosen(failed) == (FAILED, elsewhere()[1])


def test_columns_of_another_process_share_the_verdicts_of_this_one() -> None:
    columns = CellRecords.of(KEY, RECORDS)
    back = pickle.loads(pickle.dumps(columns))
    assert back == columns
    assert back.key == KEY
    assert all(one is other for one, other in zip(columns.verdicts, back.verdicts, strict=True))
    assert pickle.loads(pickle.dumps(FAILED)) == FAILED


def test_a_verdict_is_sent_once() -> None:
    sender, receiver = RecordCodec(), RecordCodec()
    here, there = CellRecords.of(KEY, RECORDS), CellRecords.of(OTHER, [*elsewhere(), replace(FAILED, case="d")])
    first, second = sender.packed([here]), sender.packed([there, here])
    assert [len(first.fresh), len(second.fresh)] == [3, 1]
    back = [*receiver.unpacked(first), *receiver.unpacked(second)]
    assert [each.key for each in back] == [KEY, OTHER, KEY]
    assert back == [here, there, here]
    assert back[0].verdicts[0] is here.verdicts[0]


def test_verdicts_of_several_senders_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver, cells = RecordCodec(), [CellRecords.of(KEY, RECORDS), CellRecords.of(OTHER, elsewhere()[::-1])]
    sent = []
    for process, records in enumerate(cells):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        sent.append(RecordCodec().packed([records]))
    assert [records for each in sent for records in receiver.unpacked(each)] == cells


RUN = Run(scenario="s", attempt=2, end=End.EXITED, status=1, duration_s=2.5, note="noted", cases=("a",), damage="torn")
BOOKS = {"Shmem": 5, "free.2048kB": -1}


@pytest.mark.parametrize("books", [None, {}, BOOKS, {"Shmem": 1 << 80}])
def test_what_is_kept_of_runs(books: dict[str, int] | None) -> None:
    loud = replace(RUN, ktap="1..1", stderr="no", console="booted", before=books, after=BOOKS)
    quiet = replace(RUN, before=books, after=BOOKS)
    kept = CellRuns.of([loud, RUN])
    assert kept == (quiet, RUN)
    assert kept[:1] == (quiet,)
    assert kept[-1] == RUN
    assert pickle.loads(pickle.dumps(kept)) == kept
    assert not CellRuns.of([])


def test_a_guest_is_pickled_by_its_values() -> None:
    usage = Usage(peak=1, cpu_s=2.0, wait_s=3.0, life_s=4.0)
    guest = CellResult(topology="m", kernel="k", status=CellStatus.OK, boot_s=0.5, usage=usage, runs=(RUN,))
    assert pickle.loads(pickle.dumps(guest)) == guest
    assert guest.with_runs(()) == replace(guest, runs=())


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """On two cores: a function for parts of some work, which ends elsewhere once it was called here; the process id."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    here, called_here = os.getpid(), multiprocessing.get_context("fork").Event()

    def called() -> int:
        if os.getpid() == here:
            called_here.set()
        assert called_here.wait(60)
        return os.getpid()

    return called


def test_parts_come_back_in_their_order(begun: Callable[[], int]) -> None:
    factor, here = 3, os.getpid()
    found = list(spread(lambda part: (part * factor, begun()), range(20)))
    assert [product for product, _ in found] == [3 * part for part in range(20)]
    is_here = [process == here for _, process in found]
    assert is_here == sorted(is_here), "this process does the last parts, the other one begins with the first"
    assert is_here[0] < is_here[-1]


def test_of_several_errors_that_of_the_first_part_is_raised(begun: Callable[[], int]) -> None:
    def failing(part: int) -> int:
        begun()
        if part < 3:
            return part
        raise ValueError(str(part))

    results, found = spread(failing, range(20)), list[int]()
    with pytest.raises(ValueError, match=r"^3$"):
        found += results
    assert found == [0, 1, 2]


def test_a_part_that_fails_here_fails_in_its_turn(begun: Callable[[], int]) -> None:
    here = os.getpid()

    def failing(part: int) -> int:
        if begun() == here:
            raise ValueError(f"part {part}")
        return part

    results, found = spread(failing, range(20)), list[int]()
    with pytest.raises(ValueError, match="part"):
        found += results
    assert found == list(range(len(found)))
    assert found


class Doubled:
    """Sends numbers as text, and returns twice what arrived."""

    def packed(self, result: int) -> bytes:
        return str(result).encode()

    def unpacked(self, sent: bytes) -> int:
        return 2 * int(sent)


def test_only_what_another_process_did_is_sent(begun: Callable[[], int]) -> None:
    here = os.getpid()
    found = list(spread(lambda part: part if begun() != here else -part, range(1, 20), Doubled()))
    assert found == [2 * part if result > 0 else -part for part, result in enumerate(found, start=1)]
    assert found[0] > 0 > found[-1]


def test_on_one_core_there_is_no_other_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert list(spread(lambda _: os.getpid(), range(3))) == [os.getpid()] * 3


def test_a_killed_process_is_reported(begun: Callable[[], int]) -> None:
    here = os.getpid()

    def killed(_: int) -> None:
        if begun() != here:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(InfraError, match="was killed"):
        list(spread(killed, range(20)))


KILLED = """
import os, signal
from lab.core.workers import spread

os.sched_getaffinity = lambda _: {0, 1}
here = os.getpid()

def work(part):
    if os.getpid() == here:
        os.kill(here, signal.SIGKILL)
    print(os.getpid(), flush=True)
    signal.pause()

list(spread(work, range(20)))
"""


def test_the_others_end_with_a_process_that_is_killed() -> None:
    """They hold its output open for as long as they live."""
    done = subprocess.run([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
