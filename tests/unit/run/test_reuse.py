# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.run.reuse: the baseline's evidence comes from an earlier run, and from none whose guest was another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.core import cache
from lab.core.cache import Cache
from lab.core.columns import CellRecords
from lab.core.outcome import CellKey, CellStatus, Outcome
from lab.evidence.read import load
from lab.evidence.write import RunDir
from lab.run import campaign, confirm, reuse
from lab.run.campaign import OpenRun
from lab.run.reuse import EvidenceStore
from lab.run.runner import Runner
from lab.run.this_host import ThisHost
from lab.specs.plan import Cell, Plan, repeated
from lab.verdicts.compare import Summary, conclude, conclude_directory
from tests.unit.fakes import (
    BASE,
    BUILD,
    CASES,
    GOOD,
    PACKING,
    Behaviour,
    FakeCell,
    FakeFactory,
    NoScreen,
    a_plan,
    ended,
    ktap_stdout,
)

PROGRAMS = {"x86_64": {"demo": "key of the program"}}
KEY = CellKey("machine", "baseline")


class Lab:
    """Runs of a baseline and a patched kernel over one store; every guest that is booted was scripted."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = EvidenceStore(cache=Cache(place / "cache"), libvirt="9.0")
        self.runs = 0

    def run(
        self, baseline: bytes | None, *, repeat: int = 1, userland: str = "userland", plan: Plan | None = None
    ) -> Summary:
        """Run once; without KTAP of a baseline, no guest of it may be booted."""
        self.runs += 1
        streams = {"baseline": baseline, "patched": GOOD}
        cells = {}
        for name, stream in streams.items():
            status = int(b"not ok" in (stream or b""))
            guests = [Behaviour(runs=[ended(stream, status=status)]) for _ in range(repeat)] if stream else []
            cells[name] = FakeCell(guests)
            cells[name].provenance = BUILD.changed(key=name, series_sha256=name, build_id=name, userland=userland)
        planned = plan or self.plan()
        metadata = campaign.describe(planned, CASES).changed(tests=PROGRAMS, repeat=repeat)
        run_dir = RunDir.create(self.place, "test", metadata, output=self.place / f"run-{self.runs}")
        runner = Runner(
            plan=repeated(planned, repeat),
            place=ThisHost(shop=FakeFactory(cells), budget=PACKING.budget),
            run_dir=run_dir,
            metadata=metadata,
            cases=CASES,
            screen=NoScreen(),
            packing=PACKING,
            reuse=self.store,
        )
        runner.run()
        assert not any(cell.behaviours for cell in cells.values()), "a guest that was scripted was not booted"
        return conclude(load(run_dir.path))

    @staticmethod
    def plan() -> Plan:
        return a_plan(["baseline", "patched"])

    def keep(self, summary: Summary) -> list[str]:
        return self.store.keep(self.plan().cells, summary)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def outcomes(summary: Summary) -> list[Outcome]:
    return [record.outcome for record in summary.of_cell(*KEY)]


def test_the_second_run_boots_no_baseline_and_says_where_its_evidence_is_from(lab: Lab) -> None:
    first = lab.run(BASE)
    assert lab.keep(first) == []
    second = lab.run(None)
    assert outcomes(second) == outcomes(first) == [Outcome.PASS, Outcome.FAIL, Outcome.PASS]
    origin = second.repeats[KEY][0].origin
    assert origin
    assert Path(origin.run) == lab.place / "run-1"
    assert second.origins == (f"machine / baseline: no guest was started; this is the evidence of {origin}.",)
    assert not first.origins
    assert [cell.origin for cell in second.evidence.cells if cell.kernel == "patched"] == [None]


def test_reports_name_the_earlier_run(lab: Lab) -> None:
    from lab.report import html, mail, text
    from lab.report import json as json_report

    lab.keep(lab.run(BASE))
    summary = lab.run(None)
    name = str(lab.place / "run-1")
    assert name in " ".join(text.render(summary, width=400).split())
    assert name in mail.render(summary).replace("\n", "") or name in " ".join(mail.render(summary).split())
    assert name in html.render(summary)
    document = json.loads(json_report.render(summary))
    of_cells = {cell["kernel"]: cell.get("evidence_of", {}).get("run") for cell in document["cells"]}
    assert of_cells == {"baseline": name, "patched": None}


@pytest.mark.parametrize("what", ["userland", "machine", "program", "libvirt", "case"])
def test_what_changed_is_run_anew(lab: Lab, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.keep(lab.run(BASE))
    plan, userland = lab.plan(), "userland"
    if what == "userland":
        userland = "another"
    elif what == "program":
        monkeypatch.setitem(PROGRAMS, "x86_64", {"demo": "another key"})
    elif what == "libvirt":
        lab.store = replace(lab.store, libvirt="10.0")
    elif what == "machine":
        topology = plan.cells[0].topology
        bigger = topology.model_copy(update={"memory": topology.total_memory * 2})
        plan = replace(plan, cells=tuple(replace(cell, topology=bigger) for cell in plan.cells))
    else:
        scenario = replace(plan.cells[0].scenarios[0], cases=("guard", "grow"))
        plan = replace(plan, cells=tuple(replace(cell, scenarios=(scenario,)) for cell in plan.cells))
    summary = lab.run(BASE, userland=userland, plan=plan)
    assert summary.repeats[KEY][0].origin is None


@pytest.mark.parametrize("stream", [ktap_stdout("ok 1 guard"), b""], ids=["two results are missing", "nothing"])
def test_evidence_that_is_not_settled_is_not_kept(lab: Lab, stream: bytes) -> None:
    lab.keep(lab.run(stream or b"\n"))
    assert lab.run(BASE).repeats[KEY][0].origin is None


def test_a_flaky_baseline_is_forgotten(lab: Lab) -> None:
    lab.keep(lab.run(BASE))
    summary = lab.run(None)
    records = list(summary.records)
    flaky = [replace(each, outcome=Outcome.FLAKY) if each.kernel == "baseline" else each for each in records]
    by_cell = {**summary.by_cell, KEY: CellRecords.of(KEY, [each for each in flaky if each.kernel == "baseline"])}
    lab.keep(replace(summary, by_cell=by_cell))
    assert lab.run(BASE).repeats[KEY][0].origin is None


def test_a_repeat_is_a_guest_of_its_own(lab: Lab) -> None:
    lab.keep(lab.run(BASE))
    planned = [cell for cell in repeated(lab.plan(), 2).cells if cell.kernel.name == "baseline"]
    evidence = RunDir(lab.place).cell("machine", "baseline", 2)
    build = BUILD.changed(key="baseline", series_sha256="baseline", build_id="baseline", userland="userland")
    metadata = load(lab.place / "run-1").metadata
    taken = [lab.store.take(cell, metadata, build, evidence) for cell in planned]
    assert taken == [True, False]


AGAIN = {"baseline": ktap_stdout("not ok 1 grow", count=1), "patched": ktap_stdout("ok 1 grow", count=1)}
"""What the second guest of each kernel prints, which runs the case in doubt alone."""


def confirmed(lab: Lab, streams: dict[str, list[bytes]]) -> Summary:
    """Run once and confirm what seems fixed; without guests of a kernel none of it may be booted."""
    lab.runs += 1
    cells = {}
    for name, each in streams.items():
        cells[name] = FakeCell([Behaviour(runs=[ended(stream, status=int(b"not ok" in stream))]) for stream in each])
        cells[name].provenance = BUILD.changed(key=name, series_sha256=name, build_id=name, userland="userland")
    metadata = campaign.describe(lab.plan(), CASES).changed(tests=PROGRAMS)
    run_dir = RunDir.create(lab.place, "test", metadata, output=lab.place / f"run-{lab.runs}")
    opened: OpenRun | None = OpenRun(plan=lab.plan(), run_dir=run_dir, metadata=metadata, cases=CASES)
    ran: list[Cell] = []
    while opened:
        Runner(
            plan=opened.plan,
            place=ThisHost(shop=FakeFactory(cells), budget=PACKING.budget),
            run_dir=run_dir,
            metadata=opened.metadata,
            cases=CASES,
            screen=NoScreen(),
            packing=PACKING,
            builds=dict(opened.metadata.builds),
            reuse=lab.store,
        ).run()
        ran += opened.plan.cells
        opened = confirm.again(opened, conclude_directory(run_dir.path), 1) if len(ran) == 2 else None
    assert not any(cell.behaviours for cell in cells.values()), "a guest that was scripted was not booted"
    summary = conclude_directory(run_dir.path)
    assert lab.store.keep(ran, summary) == []
    return summary


def origins(summary: Summary) -> list[str]:
    """The run that the evidence of each guest of the baseline is of; empty for a guest of this run."""
    guests = [guest for guest in (*summary.evidence.cells, *summary.confirmers) if guest.kernel == "baseline"]
    return [Path(guest.origin.run).name if guest.origin else "" for guest in guests]


def test_what_confirms_a_baseline_comes_from_an_earlier_run_too(lab: Lab) -> None:
    patched = [GOOD, AGAIN["patched"]]
    first = confirmed(lab, {"baseline": [BASE, AGAIN["baseline"]], "patched": patched})
    assert origins(first) == ["", ""]
    second = confirmed(lab, {"baseline": [], "patched": patched})
    assert origins(second) == ["run-1", "run-1"]
    assert [sentence.partition(":")[0] for sentence in second.origins] == [
        "machine / baseline",
        "machine / baseline (repeat 2)",
    ]
    assert outcomes(second) == outcomes(first) == [Outcome.PASS, Outcome.FAIL, Outcome.PASS]
    assert [delta.case for delta in second.changed] == ["grow"]


def test_a_confirmation_that_disagrees_makes_both_guests_anew(lab: Lab) -> None:
    patched = [GOOD, AGAIN["patched"]]
    baseline = [BASE, ktap_stdout("ok 1 grow", count=1)]
    assert Outcome.FLAKY in outcomes(confirmed(lab, {"baseline": baseline, "patched": patched}))
    again = confirmed(lab, {"baseline": [BASE, AGAIN["baseline"]], "patched": patched})
    assert origins(again) == ["", ""]


def test_every_tenth_run_makes_it_anew_and_a_difference_is_reported(lab: Lab) -> None:
    lab.keep(lab.run(BASE))
    for _ in range(reuse.EVERY):
        lab.keep(lab.run(None))
    drifted = lab.run(ktap_stdout("ok 1 guard", "ok 2 grow", "ok 3 last"))
    assert drifted.repeats[KEY][0].origin is None
    (note,) = lab.keep(drifted)
    assert note.startswith("machine/baseline: demo.grow: not as in ")
    again = lab.run(None)
    assert again.repeats[KEY][0].origin
    assert outcomes(again) == [Outcome.PASS] * 3


def test_a_damaged_entry_is_not_used(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.keep(lab.run(BASE))
    monkeypatch.setattr(cache, "_checked", set())  # as in another process, which checks anew
    (entry,) = (lab.place / "cache" / reuse.KIND).iterdir()
    (entry / "demo.ktap").write_bytes(GOOD)
    summary = lab.run(BASE)
    assert summary.repeats[KEY][0].origin is None
    assert summary.repeats[KEY][0].status is CellStatus.OK


def test_entries_are_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reuse, "MOST", 2)
    for number in range(4):
        lab.keep(lab.run(BASE, userland=f"userland-{number}"))
    assert len(list((lab.place / "cache" / reuse.KIND).iterdir())) == 2
    assert lab.run(None, userland="userland-3").repeats[KEY][0].origin
