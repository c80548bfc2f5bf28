# SPDX-License-Identifier: GPL-2.0-or-later
"""The files of a run: written and read back the same, readable after any kill, never mistaken for something else."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.errors import InfraError, InputError, UsageError
from lab.core.outcome import Cause, CellStatus, End, Mismatch, Outcome, Run
from lab.evidence.console import MAX_LOG
from lab.evidence.events import MAX_METADATA, NOT_DONE
from lab.evidence.read import load
from lab.evidence.write import CellDir, RunDir
from lab.report import registry as report
from lab.verdicts.compare import conclude
from tests.unit.fixtures.evidence import TOPOLOGIES, cell, evidence, metadata, recorded, write

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def place(tmp_path: Path) -> CellDir:
    """An empty cell of a run in tmp_path/results/latest."""
    return RunDir.create(tmp_path / "results", "quick", recorded(metadata())).cell("x86_64-4k-2node", "baseline")


def first(tmp_path: Path) -> Any:
    return load(tmp_path / "results" / "latest").cells[0]


@pytest.mark.parametrize("synced", [True, False])
def test_evidence_is_brought_to_the_disk_unless_nothing_of_it_counts_yet(
    tmp_path: Path, synced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[int]()
    monkeypatch.setattr(os, "fsync", calls.append)
    directory = CellDir(tmp_path, synced=synced)
    directory.write("facts.json", b"{}")
    directory.run(Run(scenario="expand", end=End.EXITED, status=0, ktap="1..0\n"))
    directory.finish(CellStatus.OK)
    assert len(calls) == (4 if synced else 0)


def test_written_and_read_back_the_same(tmp_path: Path) -> None:
    bad = cell(
        "arm64-64k-2node",
        status=CellStatus.INVALID,
        runs=(),
        reason="no",
        mismatches=(Mismatch(fact="page size", asked="64K", got="4K"),),
        console="Linux version 6.12.95\npagelab: ready\n",
    )
    died = Run(
        scenario="expand", end=End.SIGNALLED, signal="SEGV", stderr="oh", console="[ 1.0] x\n", note="n", cases=("a",)
    )
    again = Run(scenario="expand", attempt=2, end=End.EXITED, status=1, ktap="1..0\n", duration_s=0.25)
    wrote = evidence(bad, cell(runs=(died, again)))
    read = load(write(tmp_path / "results", wrote).path)
    assert read.cells == wrote.cells
    assert read.metadata.document() == wrote.metadata.document()
    assert conclude(read).records == conclude(wrote).records


def test_the_directory_is_named_by_time_and_campaign_and_latest_points_at_it(tmp_path: Path) -> None:
    results = tmp_path / "results"
    runs = [RunDir.create(results, "quick", recorded({}), now=NOW) for _ in range(2)]
    assert [run.path.name for run in runs] == ["20260102T030405Z-quick", "20260102T030405Z-quick-2"]
    assert (results / "latest").readlink() == Path("20260102T030405Z-quick-2")
    assert sorted(path.name for path in results.iterdir()) == [*(run.path.name for run in runs), "latest"]


def test_a_latest_of_the_users_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    RunDir.create(tmp_path, "quick", recorded({}), now=NOW)
    assert not (tmp_path / "latest").is_symlink()


def test_a_directory_of_the_users_choice_must_be_empty(tmp_path: Path) -> None:
    assert (
        RunDir.create(tmp_path / "results", "quick", recorded({}), output=tmp_path / "mine").path == tmp_path / "mine"
    )
    assert not (tmp_path / "results").exists()
    with pytest.raises(UsageError, match="not empty"):
        RunDir.create(tmp_path / "results", "quick", recorded({}), output=tmp_path / "mine")


def test_reports_are_written_and_say_the_same_after_reading(tmp_path: Path) -> None:
    run = write(tmp_path / "results", evidence())
    names = [path.name for path in report.write(run.path, conclude(load(run.path)))]
    assert sorted(names) == ["junit.xml", "report.html", "report.txt", "results.json"]
    before = {name: (run.path / name).read_bytes() for name in names}
    report.write(run.path, conclude(load(run.path)))
    assert {name: (run.path / name).read_bytes() for name in names} == before


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "/etc", "a\0b", ".hidden", "x" * 200, "a\nb"])
def test_names_that_are_no_names_never_become_paths(tmp_path: Path, name: str) -> None:
    run = RunDir.create(tmp_path, "quick", recorded(metadata()), now=NOW)
    with pytest.raises(InfraError, match="no name for a file"):
        run.cell(name, "baseline")
    with pytest.raises(InfraError, match="no name for a file"):
        run.cell("t", "k").run(Run(scenario=name, end=End.EXITED))


def test_a_script_can_be_run(place: CellDir) -> None:
    assert os.access(place.write("reproduce.sh", "#!/bin/sh\n"), os.X_OK)
    assert not os.access(place.write("domain.xml", b"<domain/>"), os.X_OK)


# Runs that were killed.


def test_a_cell_that_never_began_is_broken(tmp_path: Path, place: CellDir) -> None:
    found = first(tmp_path)
    assert (found.status, found.reason, found.runs) == (CellStatus.BROKEN, NOT_DONE, ())


def test_a_cell_that_did_not_end_keeps_its_runs(tmp_path: Path, place: CellDir) -> None:
    place.boot(accelerator="tcg", boot_s=1.5)
    place.run(Run(scenario="guard", end=End.EXITED, status=0, ktap="KTAP version 1\n1..2\nok 1 memfd\nok 2 sysv\n"))
    found = first(tmp_path)
    assert (found.status, found.reason, found.accelerator) == (CellStatus.BROKEN, NOT_DONE, "tcg")
    outcomes = {
        record.label: record.outcome.value for record in conclude(load(tmp_path / "results/latest")).records[:6]
    }
    assert outcomes["guard.memfd"] == "PASS"
    assert outcomes["expand.grow_move"] == "BROKEN"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A finished run and the journal of its first cell, whole."""
    run = write(tmp_path_factory.mktemp("run"), evidence())
    return run.path, (run.path / "cells/x86_64-4k-2node/baseline/events.jsonl").read_bytes()


@given(st.integers(min_value=0))
def test_a_journal_torn_anywhere_can_be_read(finished: tuple[Path, bytes], cut: int) -> None:
    """What is read from a torn journal is the beginning of what was written."""
    path, whole = finished
    torn = whole[: cut % (len(whole) + 1)]
    (path / "cells/x86_64-4k-2node/baseline/events.jsonl").write_bytes(torn)
    found = load(path).cells[0]
    assert found.runs == cell(kernel="baseline").runs[: len(found.runs)]
    assert found.status is (CellStatus.OK if torn == whole else CellStatus.BROKEN)


def test_writing_goes_on_behind_a_torn_line_and_nobody_trusts_the_cell(tmp_path: Path, place: CellDir) -> None:
    place.boot(accelerator="tcg", boot_s=1.5)
    with (place.path / "events.jsonl").open("ab") as journal:
        journal.write(b'{"event": "cell", "status": "O')
    place.finish(CellStatus.OK)
    found = first(tmp_path)
    assert (found.status, found.cause) == (CellStatus.BROKEN, Cause.DAMAGED)
    assert found.reason == "1 unreadable lines in its journal"


def test_a_writer_knows_how_its_journal_ends(place: CellDir) -> None:
    """Else a journal of many events would cost the square of their number."""
    journal = place.path / "events.jsonl"
    for number in range(3):
        place.boot(accelerator="tcg", boot_s=number)
    journal.write_bytes(bytes(journal.stat().st_size))
    place.finish(CellStatus.OK)
    last = journal.read_bytes().rstrip(b"\n").rpartition(b"\0")[2]
    assert json.loads(last)["seq"] == 4


def test_a_write_that_failed_half_way_is_closed_off(
    tmp_path: Path, place: CellDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.boot(accelerator="tcg", boot_s=1.5)
    room = (place.path / "events.jsonl").stat().st_size + 20

    def full(handle: int) -> None:
        os.truncate(handle, room)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(2):  # the second one finds the torn line, and cannot close it off either
            with pytest.raises(InfraError, match="disk full"):
                place.saved()
    place.finish(CellStatus.OK)
    lines = (place.path / "events.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["seq"] for line in (lines[0], lines[2])] == [1, 3]
    assert first(tmp_path).reason == "1 unreadable lines in its journal"


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe",
        b"[]",
        b'{"event": "surprise"}',
        b'{"event": "cell", "status": "GREAT"}',
        b'{"event": "run", "scenario": "x", "end": "exited", "ktap": "../../../../etc/passwd"}',
        b'{"event": "run", "scenario": "x", "end": "exited", "ktap": "x.ktap", "console_from": -5}',
        b"[" * 100_000,
    ],
)
def test_lines_that_are_no_events_are_counted_and_left_out(tmp_path: Path, place: CellDir, line: bytes) -> None:
    (place.path / "events.jsonl").write_bytes(line + b"\n")
    found = first(tmp_path)
    assert found.runs == ()
    assert "1 unreadable" in found.reason


def test_a_ktap_file_that_is_gone_is_no_evidence(tmp_path: Path, place: CellDir) -> None:
    place.run(Run(scenario="guard", end=End.EXITED, status=0, ktap="1..1\nok 1 memfd\n"))
    (place.path / "guard.ktap").unlink()
    assert first(tmp_path).runs[0].ktap == ""


def test_guests_bytes_survive(tmp_path: Path, place: CellDir) -> None:
    place.console.write_bytes(b"\xff\x00\x1b[31m\n")
    place.run(Run(scenario="guard", end=End.EXITED, ktap="\ud800\x00\ufffd", stderr="\x1b\ud800"))
    (run,) = first(tmp_path).runs
    assert run.ktap == "?\x00\ufffd"


def test_a_console_that_is_longer_than_any_may_be_is_read_from_both_ends(tmp_path: Path, place: CellDir) -> None:
    place.console.write_bytes(b"BEGIN" + b"x" * (MAX_LOG * 2) + b"END")
    place.run(Run(scenario="guard", end=End.EXITED), console_to=MAX_LOG * 2 + 8)
    console = first(tmp_path).runs[0].console
    assert console.startswith("BEGIN")
    assert console.endswith("END")
    assert len(console) < MAX_LOG + 100


def test_megabytes_of_console_are_read_whole(tmp_path: Path, place: CellDir) -> None:
    """Injected failures show stacks by the thousand; the complaint between them is what counts."""
    shown = b"FAULT_INJECTION: forcing a failure.\n" * 300_000
    place.console.write_bytes(shown + b"BUG: own complaint\n" + shown)
    place.run(Run(scenario="guard", end=End.EXITED), console_to=place.console.stat().st_size)
    assert "\nBUG: own complaint\n" in first(tmp_path).runs[0].console


# Files that are not what was written.


@pytest.mark.parametrize("start", [2, 1 << 40, 1 << 62, 1 << 70])
def test_a_console_ends_where_its_file_ends_whatever_the_journal_names(
    tmp_path: Path, place: CellDir, start: int
) -> None:
    place.console.write_text("cons")
    place.run(Run(scenario="guard", end=End.EXITED), console_from=start, console_to=start + 3)
    [run] = first(tmp_path).runs
    assert run.console == "cons"[start:]
    assert "console.log has 4 bytes" in run.damage


def spoil(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """The first cell of a finished run in tmp_path/results/latest."""
    return write(tmp_path / "results", evidence()).path / "cells/x86_64-4k-2node/baseline"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw.replace(b'"status": 1', b'"status": 0'), "1 unreadable lines"),
        (lambda raw: raw.replace(b'"seq": 2', b'"seq": 3'), "1 unreadable lines"),
        (lambda raw: raw[:200] + bytes(50) + raw[250:], "1 unreadable lines"),
        (lambda raw: b"".join(raw.splitlines(keepends=True)[::2]), "1 lines missing"),
        (lambda raw: b"".join(raw.splitlines(keepends=True)[2:]), "2 lines missing"),
    ],
    ids=["a value", "a number", "zeros", "a line in the middle", "the beginning"],
)
def test_a_journal_that_is_damaged_breaks_its_cell(
    tmp_path: Path, full: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    spoil(full / "events.jsonl", change)
    found = first(tmp_path)
    assert (found.status, found.cause) == (CellStatus.BROKEN, Cause.DAMAGED)
    assert words in found.reason
    assert conclude(load(tmp_path / "results/latest")).exit_code != 0


@given(st.data())
def test_no_flipped_bit_of_a_journal_goes_unseen(finished: tuple[Path, bytes], data: st.DataObject) -> None:
    """Whatever byte of a whole line is changed: the cell is not believed."""
    path, whole = finished
    place = data.draw(st.integers(0, len(whole) - 2))
    bent = bytearray(whole)
    bent[place] ^= 1 << data.draw(st.integers(0, 7))
    (path / "cells/x86_64-4k-2node/baseline/events.jsonl").write_bytes(bent)
    assert load(path).cells[0].status is CellStatus.BROKEN


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("guard.ktap", lambda raw: raw[:-9], "guard.ktap has 48 bytes, 57 were written"),
        ("guard.ktap", lambda raw: raw.replace(b"memfd", b"dfmem"), "guard.ktap is not what was written"),
        ("guard.ktap", lambda raw: raw + b"ok 3 more\n", "guard.ktap has 67 bytes, 57 were written"),
        ("console.log", lambda raw: raw[:-1], "console.log has 36 bytes, 37 were written"),
    ],
)
def test_files_of_a_run_that_are_damaged_are_no_evidence(
    tmp_path: Path, full: Path, name: str, change: Callable[[bytes], bytes], words: str
) -> None:
    spoil(full / name, change)
    run = next(run for run in first(tmp_path).runs if run.scenario == "guard")
    assert run.damage == words
    records = [each for each in conclude(load(tmp_path / "results/latest")).records if each.kernel == "baseline"]
    guard = [each for each in records if each.topology == TOPOLOGIES[0] and each.scenario == "guard"]
    assert {(each.outcome, each.cause) for each in guard} == {(Outcome.BROKEN, Cause.DAMAGED)}
    assert all(words in each.reason for each in guard)


def test_a_journal_is_rewound_to_the_runs_that_count(tmp_path: Path, full: Path) -> None:
    before = first(tmp_path)
    with (full / "events.jsonl").open("ab") as journal:
        journal.write(b'{"event": "run", "scen')
    CellDir(full).rewind(before.runs[:1])
    found = first(tmp_path)
    assert (found.status, found.reason, found.boot_s) == (CellStatus.BROKEN, NOT_DONE, before.boot_s)
    assert found.runs == before.runs[:1]
    CellDir(full).run(before.runs[1], console_from=0, console_to=3)
    CellDir(full).finish(CellStatus.OK)
    assert [run.ktap for run in first(tmp_path).runs] == [run.ktap for run in before.runs]
    assert first(tmp_path).status is CellStatus.OK


def test_repeats_have_directories_of_their_own(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "results", "quick", recorded({**metadata(), "repeat": 2}))
    run.cell("x86_64-4k-2node", "baseline", 2).finish(CellStatus.OK)
    assert (run.path / "cells/x86_64-4k-2node/baseline/repeat-2/events.jsonl").exists()
    found = load(run.path).cells
    assert [(cell.repeat, cell.status) for cell in found[:2]] == [(1, CellStatus.BROKEN), (2, CellStatus.OK)]
    assert len(found) == 8


def test_one_lab_writes_at_a_time(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "results", "quick", recorded(metadata()))
    with pytest.raises(UsageError, match="another lab is still writing to"):
        RunDir(run.path).lock()


# Directories that are no runs.


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such file: expected the directory of a run of the lab"),
        ("", "metadata.json:1: expected JSON"),
        ('{"schema": 1,\n oops}', "metadata.json:2: expected JSON"),
        ("[]", "metadata.json: "),
        ('{"schema": 2, "cells": []}', "schema: "),
        ('{"schema": 1}', "cells: "),
        ('{"schema": 1, "cells": [{"topology": "../x", "kernel": "k"}]}', "cells.0.topology: "),
        ('{"schema": 1, "cells": [], "kernels": {"k": {"provides": 5}}}', "kernels.k.provides: "),
        ('{"schema": 1, "cells": [], "cases": {"s": [{}]}}', "cases.s.0.name: "),
    ],
)
def test_what_is_no_run_is_said_in_one_line(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 64


@pytest.mark.parametrize("content", ['{"schema": 1, "cells": [], "x": ' + "9" * 5000 + "}", "[" * 100_000])
def test_json_that_python_cannot_take_is_no_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(InputError, match="expected JSON"):
        load(tmp_path)


def test_metadata_has_a_limit(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").touch()
    os.truncate(tmp_path / "metadata.json", MAX_METADATA + 1)
    with pytest.raises(InputError, match="expected at most 64 MiB"):
        load(tmp_path)


# Files that are none.


def instead(name: str, make: Callable[[Path], object]) -> Callable[[CellDir], None]:
    def damage(place: CellDir) -> None:
        (place.path / name).unlink(missing_ok=True)
        make(place.path / name)

    return damage


STRANGE = [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")]


@pytest.mark.parametrize("make", STRANGE)
def test_results_that_cannot_be_read_are_none_and_the_cell_stands(
    tmp_path: Path, full: Path, make: Callable[[Path], object]
) -> None:
    instead("guard.ktap", make)(CellDir(full))
    found = first(tmp_path)
    assert found.status is CellStatus.OK
    assert [bool(run.damage) for run in found.runs] == [False, True]


@pytest.mark.parametrize("make", STRANGE)
@pytest.mark.parametrize("name", ["events.jsonl", "console.log"])
def test_one_cell_that_cannot_be_read_does_not_take_the_others_along(
    tmp_path: Path, name: str, make: Callable[[Path], object]
) -> None:
    run = write(tmp_path, evidence())
    instead(name, make)(run.cell("x86_64-4k-2node", "baseline"))
    first_cell, *others = load(run.path).cells
    assert first_cell.status is CellStatus.BROKEN
    assert "cannot be read" in first_cell.reason
    assert all(each.status is CellStatus.OK for each in others)


# A full disk.


def test_a_full_disk_is_named(place: CellDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for act in (
        lambda: place.boot(accelerator="tcg", boot_s=1.0),
        lambda: place.write("config", b"x"),
        lambda: place.run(Run(scenario="guard", end=End.EXITED)),
    ):
        with pytest.raises(InfraError, match="disk full while writing"):
            act()


def test_metadata_takes_what_the_lab_has(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, "quick", recorded({"provides": frozenset({"b", "a"}), "at": Path("/x")}), now=NOW)
    written = json.loads((run.path / "metadata.json").read_text())
    assert (written["schema"], written["provides"], written["at"]) == (1, ["a", "b"], "/x")
