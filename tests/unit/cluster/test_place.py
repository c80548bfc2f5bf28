# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/cluster/place.py over hosts in threads: evidence comes back once, whatever becomes of hosts and artefacts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest

pytest.importorskip("fsspec", reason="the extra pagelab[cluster] is not installed")

from lab.build.builder import Builder
from lab.cluster import attempts
from lab.cluster.attempts import Became
from lab.cluster.engine import HostLost
from lab.cluster.job import CellJob
from lab.cluster.members import Members
from lab.cluster.place import ClusterPlace, opened
from lab.cluster.store import Store
from lab.core import paths, proc
from lab.core.cache import Cache
from lab.core.deadline import Deadline
from lab.core.errors import DiskFull, UsageError
from lab.core.outcome import Case, Cause, CellStatus
from lab.core.progress import silent
from lab.evidence import read
from lab.evidence.metadata import Evidence
from lab.evidence.write import RunDir
from lab.report import registry as report
from lab.run import campaign
from lab.run.first_killer import FirstKiller
from lab.run.runner import Runner
from lab.specs.plan import Cell, Plan, Selection, repeated
from lab.verdicts.compare import conclude
from tests.cluster_fakes import PACKING, FakeBuilder, FakeHost, ThreadConnection, machines, shipped
from tests.unit.fakes import BASE, CASES, NoScreen

LONG_S = 60.0
RUN_S = 0.02
"""A guest that runs as long as this has a time on record, which is rounded to hundredths."""


@dataclass(slots=True)
class BuildScreen(NoScreen):
    """Keeps what it is told of builds."""

    shown: list[str]

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        self.shown.append(f"{cell.kernel.name}: {detail}")


@dataclass(slots=True, kw_only=True)
class Cluster:
    """A run over some hosts in threads."""

    path: Path
    plan: Plan
    name: str = "run.1"
    notes: list[str] = field(default_factory=list)
    connection: ThreadConnection = field(default_factory=lambda: ThreadConnection(hosts={}))
    stopping: threading.Event = field(default_factory=threading.Event)
    max_evidence: int = 1 << 20
    no_host_s: float = LONG_S
    keeper: FirstKiller | None = None
    cases: Mapping[str, tuple[Case, ...]] = field(default_factory=lambda: CASES)
    shown: list[str] = field(default_factory=list)
    """What the screen was told of builds."""
    builds: bool = False
    """Whether the cache of the lab lacks the kernels."""
    builder: FakeBuilder = field(init=False)

    def __post_init__(self) -> None:
        cache = Cache(self.path / "cache-lab")
        self.builder = FakeBuilder(cache=cache, sources=paths.scenarios())

    def add(self, name: str, seconds: float = 0.0, **given: Any) -> FakeHost:
        host = FakeHost(name=name, cache_root=self.path / f"cache-{name}", seconds=seconds, **given)
        self.connection.hosts[f"tls://{name}:1"] = host
        return host

    def lose(self, name: str) -> FakeHost:
        return self.connection.hosts.pop(f"tls://{name}:1")

    @property
    def store(self) -> Store:
        return Store(url=str(self.path / "store"), scratch=self.path / "tmp", warn=self.notes.append)

    def run(self, during: Callable[[], None] = lambda: None, *, members: Members | None = None) -> Evidence:
        repeats = max(cell.repeat for cell in self.plan.cells)
        metadata = campaign.describe(self.plan, self.cases).changed(repeat=repeats)
        output = self.path / "run"
        run_dir = RunDir(output)
        if not output.exists():
            run_dir = RunDir.create(self.path, "test", metadata, output=output)
        shared = members or Members(connection=self.connection, note=self.notes.append)
        place = ClusterPlace(
            members=shared,
            store=self.store,
            builder=cast(Builder, self.builder),
            run_dir=run_dir,
            run_name=self.name,
            note=self.notes.append,
            max_evidence=self.max_evidence,
            no_host_s=self.no_host_s,
        )
        with nullcontext() if members else shared.followed(), opened(place):
            runner: Runner[Any] = Runner(
                plan=self.plan,
                place=place,
                run_dir=run_dir,
                metadata=metadata,
                cases=self.cases,
                screen=BuildScreen(self.shown),
                packing=PACKING,
                to_build={cell.build for cell in self.plan.cells if self.builds},
                keeper=self.keeper,
                stopping=self.stopping,
            )
            thread = threading.Thread(target=during)
            thread.start()
            runner.run()
            thread.join(LONG_S)
        return read.load(run_dir.path)

    def became(self, cell: str) -> list[tuple[int, Became]]:
        found: list[tuple[int, Became]] = []
        for each in attempts.read(self.path / "run"):
            if each.cell == cell and each.became is not Became.PLACED:
                found.append((each.attempt, each.became))
        return found


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(path=tmp_path, plan=machines(6))


def test_every_cell_runs_once_and_its_host_is_on_record(cluster: Cluster) -> None:
    cluster.add("a")
    cluster.add("b")
    evidence = cluster.run()
    assert {cell.status for cell in evidence.cells} == {CellStatus.OK}
    assert {cell.host for cell in evidence.cells} == {"a", "b"}
    assert conclude(evidence).exit_code == 0
    for cell in cluster.plan.cells:
        assert cluster.became(cell.name) == [(1, Became.COUNTS)]
    assert cluster.store.evidence("run.1") == [], "what was taken is not kept in the store"


def test_reports_name_the_host_of_every_cell(cluster: Cluster) -> None:
    cluster.add("big", seconds=RUN_S)
    evidence = cluster.run()
    summary = conclude(evidence)
    document = json.loads(report.render(summary, "json"))
    assert [cell["host"] for cell in document["cells"]] == ["big"] * 6
    assert all(cell["host_fetch_s"] >= 0 and cell["host_run_s"] >= RUN_S for cell in document["cells"])
    schema = json.loads((Path(report.__file__).parent / "results.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert "on big" in report.render(summary, "text")
    assert "on big" in report.render(summary, "html")


def test_a_cell_whose_host_is_lost_runs_elsewhere_and_counts_once(cluster: Cluster) -> None:
    slow = cluster.add("a", seconds=LONG_S)

    def lose_and_add() -> None:
        Deadline.after(LONG_S, "a job on a").wait_for(lambda: len(slow.jobs) == 4)
        cluster.lose("a")
        cluster.add("b")

    evidence = cluster.run(lose_and_add)
    slow.stop()
    assert {(cell.host, cell.status) for cell in evidence.cells} == {("b", CellStatus.OK)}
    lost = [each for each in attempts.read(cluster.path / "run") if each.became is Became.LOST]
    assert len(lost) >= 4
    assert {each.host for each in lost} == {"a"}


def test_evidence_that_comes_late_is_kept_apart_and_named(cluster: Cluster) -> None:
    cluster.plan = machines(1)
    slow = cluster.add("a", seconds=LONG_S)
    store = cluster.store

    def thaw_late() -> None:
        Deadline.after(LONG_S, "a job on a").wait_for(lambda: bool(slow.cells))
        cluster.lose("a")
        for cell in slow.cells.values():
            cell.ended_early.set()  # its program ends by itself: the attempt is whole, and too late
        Deadline.after(LONG_S, "late evidence").wait_for(lambda: len(store.evidence("run.1")) == 1)
        cluster.add("b")

    evidence = cluster.run(thaw_late)
    assert [(cell.host, cell.host_attempt) for cell in evidence.cells] == [("b", 2)]
    assert (1, Became.APART) in cluster.became("m0000/patched")
    assert (2, Became.COUNTS) in cluster.became("m0000/patched")
    kept = cluster.path / "run/cells/m0000/patched/attempts/1-a"
    assert (kept / "demo.ktap").is_file()
    assert any("attempt 1 on a ended late; attempt 2 counts" in line for line in cluster.notes)


def test_evidence_that_a_store_does_not_remove_is_not_taken_twice(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over HTTP nothing can be removed."""
    monkeypatch.setattr(Store, "remove_evidence", lambda *_: None)
    cluster.add("a")
    evidence = cluster.run()
    assert {cell.status for cell in evidence.cells} == {CellStatus.OK}
    assert len(cluster.store.evidence("run.1")) == 6
    assert [each for each in attempts.read(cluster.path / "run") if each.became is Became.APART] == []
    assert cluster.notes == []


def test_a_host_with_another_lab_is_given_nothing(cluster: Cluster) -> None:
    cluster.add("a")
    cluster.add("old", offered_lab="0123")
    evidence = cluster.run()
    assert {cell.host for cell in evidence.cells} == {"a"}
    assert any("host old is given nothing: another lab" in line for line in cluster.notes)


def test_hosts_have_the_names_of_their_workers_or_those_that_they_call_themselves(cluster: Cluster) -> None:
    """Dask calls a worker by its address or a number, unless it was given a name."""
    for number, given in enumerate(["big", "tls://10.0.0.7:4711", "0", "arm"]):
        cluster.connection.hosts[f"tls://x:{number}"] = host = cluster.add(f"own{number}")
        del cluster.connection.hosts[f"tls://own{number}:1"]
        cluster.connection.names[f"tls://x:{number}"] = given
        host.name = "big" if given == "0" else host.name
    members = Members(connection=cluster.connection, note=cluster.notes.append)
    members.refresh()
    assert {member.address: name for name, member in members.by_name.items()} == {
        "tls://x:0": "big",
        "tls://x:1": "own1",
        "tls://x:2": "big-2",
        "tls://x:3": "arm",
    }
    cluster.connection.hosts["tls://x:9"] = cluster.connection.hosts.pop("tls://x:2")
    cluster.connection.names["tls://x:9"] = "0"
    members.refresh()
    assert members.by_name["big-2"].address == "tls://x:9", "it came back at another address"
    assert cluster.notes == []


def test_a_run_without_any_host_that_can_is_refused(cluster: Cluster) -> None:
    cluster.add("old", offered_lab="0123")
    with pytest.raises(UsageError, match="no host to run on: old: another lab"):
        cluster.run()


def test_a_clock_that_is_off_is_noted_and_changes_nothing(cluster: Cluster) -> None:
    cluster.add("a", clock_s=86400.0)
    evidence = cluster.run()
    assert {cell.status for cell in evidence.cells} == {CellStatus.OK}
    assert any("host a: its clock is +86400 s off" in line for line in cluster.notes)


def test_a_full_disk_of_a_host_sends_the_cell_elsewhere(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    full = cluster.add("a")

    def no_room(*_: object) -> None:
        raise DiskFull("disk full while writing x")

    monkeypatch.setattr(type(full), "_fetched", lambda self, *_: no_room() if self.name == "a" else None)
    cluster.plan = machines(1)
    cluster.no_host_s = 0.5
    evidence = cluster.run()
    cell = evidence.cells[0]
    assert (cell.status, cell.cause) == (CellStatus.BROKEN, Cause.LAB)
    assert "no host could run it" in cell.reason
    assert "it was lost or failed on a" in cell.reason
    assert cluster.became("m0000/patched") == [(1, Became.WITHOUT)]


def test_a_host_without_memory_sends_the_cell_elsewhere(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = FakeHost.bootable

    def bootable(host: FakeHost, job: CellJob, cache: Cache) -> Any:
        if host.name == "a":
            raise MemoryError
        return plain(host, job, cache)

    monkeypatch.setattr(FakeHost, "bootable", bootable)
    cluster.add("a")
    cluster.add("b")
    evidence = cluster.run()
    assert {(cell.host, cell.status) for cell in evidence.cells} == {("b", CellStatus.OK)}
    assert any("host a: out of memory on the host; it is placed again" in note for note in cluster.notes)


def test_too_much_evidence_is_a_named_outcome(cluster: Cluster) -> None:
    cluster.plan = machines(1)
    cluster.max_evidence = 1 << 20
    for name in ("a", "b", "c"):
        cluster.add(name, flood=3 << 20)
    evidence = cluster.run()
    cell = evidence.cells[0]
    assert cell.status is CellStatus.BROKEN
    assert "3 attempts failed" in cell.reason
    assert "bytes of files, at most 1,048,576 are sent" in cell.reason
    assert cluster.became("m0000/patched") == [(number, Became.WITHOUT) for number in (1, 2, 3)]


def test_a_host_that_joins_late_gets_work(cluster: Cluster) -> None:
    cluster.plan = machines(12)
    first = cluster.add("a", seconds=0.5)

    def join() -> None:
        Deadline.after(LONG_S, "a job on a").wait_for(lambda: bool(first.jobs))
        cluster.add("late")

    evidence = cluster.run(join)
    assert {cell.status for cell in evidence.cells} == {CellStatus.OK}
    assert {cell.host for cell in evidence.cells} == {"a", "late"}


def test_an_interrupt_keeps_what_was_there_and_a_later_attempt_has_a_new_number(cluster: Cluster) -> None:
    cluster.plan = machines(1)
    slow = cluster.add("a", seconds=LONG_S)
    place_stopped = threading.Event()

    def interrupt() -> None:
        Deadline.after(LONG_S, "a job on a").wait_for(lambda: bool(slow.jobs))
        cluster.stopping.set()
        slow.stop("run.1")
        place_stopped.set()

    evidence = cluster.run(interrupt)
    cell = evidence.cells[0]
    assert (cell.status, cell.cause) == (CellStatus.BROKEN, Cause.INTERRUPTED)
    assert place_stopped.is_set()
    assert attempts.Attempts(cluster.path / "run").begin("m0000/patched", "a") == 2


def test_a_damaged_artefact_is_stored_again_and_the_cell_runs(cluster: Cluster) -> None:
    cluster.plan = machines(1)
    cluster.add("a")
    cluster.add("b")
    damaged: list[Path] = []
    store = cluster.store
    builder = FakeBuilder(cache=Cache(cluster.path / "cache-lab"))
    products = builder.make(cluster.plan.cells[0].topology, cluster.plan.cells[0].kernel, lambda *_, **__: None)
    key = products.kernel.provenance.key
    store.put("kernel", key, builder.cache.path("kernel", key))
    for tar in (cluster.path / "store/kernel").glob("*.tar"):
        raw = bytearray(tar.read_bytes())
        raw[600] ^= 0xFF
        tar.write_bytes(raw)
        damaged.append(tar)
    evidence = cluster.run()
    assert damaged
    assert {cell.status for cell in evidence.cells} == {CellStatus.OK}
    assert cluster.became("m0000/patched") == [(1, Became.WITHOUT), (2, Became.COUNTS)]
    assert any("is damaged" in line for line in cluster.notes)


# Builds.


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The computer of the lab itself can build for no architecture."""
    monkeypatch.setattr("lab.cluster.members.doctor.lacking", lambda arch: "no compiler")


@pytest.mark.usefixtures("no_compiler")
def test_a_kernel_is_built_by_the_host_that_can_and_fetched_by_the_others(cluster: Cluster) -> None:
    cluster.plan, cluster.builds = shipped(4), True
    cluster.add("a", seconds=0.2)
    able = cluster.add("b", seconds=0.2, builds=True, build_s=0.1)
    evidence = cluster.run()
    assert {cell.status for cell in evidence.cells} == {CellStatus.OK}
    assert {cell.host for cell in evidence.cells} == {"a", "b"}
    made = {name for builder in able.builders for name in builder.made}
    assert made == {"baseline", "patched"}
    assert cluster.builder.made == [], "the lab itself has built nothing"
    assert {"baseline: on b", "patched: on b"} <= set(cluster.shown)
    assert any(line.startswith("baseline: on b: step") for line in cluster.shown), "the progress of the build is shown"
    for name in ("a", "b"):
        assert len(list((cluster.path / f"cache-{name}/kernel").iterdir())) == 2
    work = able.at_work()
    assert (work.builds, work.doing) == (8, ())
    assert sum(work.ended.values()) == sum(cell.host == "b" for cell in evidence.cells)


@pytest.mark.usefixtures("no_compiler")
def test_a_build_whose_host_is_lost_is_begun_on_another(cluster: Cluster) -> None:
    cluster.plan, cluster.builds = shipped(1), True
    slow = cluster.add("a", builds=True, build_s=LONG_S)

    def lose_and_add() -> None:
        Deadline.after(LONG_S, "a build on a").wait_for(lambda: bool(slow.jobs))
        cluster.lose("a")
        cluster.add("b", builds=True)

    evidence = cluster.run(lose_and_add)
    slow.stop()
    assert {(cell.host, cell.status) for cell in evidence.cells} == {("b", CellStatus.OK)}
    assert "build on a: the host left the cluster" in cluster.notes


@pytest.mark.usefixtures("no_compiler")
def test_an_interrupt_ends_the_builds_on_other_hosts(cluster: Cluster) -> None:
    cluster.plan = shipped(1)
    host = cluster.add("a", builds=True, build_s=LONG_S)
    members = Members(connection=cluster.connection, note=cluster.notes.append)
    place = ClusterPlace(
        members=members,
        store=cluster.store,
        builder=cast(Builder, cluster.builder),
        run_dir=RunDir.create(cluster.path, "test", campaign.describe(cluster.plan, CASES)),
        run_name="run.1",
        note=cluster.notes.append,
    )
    ended = list[str]()

    def build() -> None:
        try:
            place.prepare(cluster.plan.cells[0], silent, "a")
        except HostLost as error:
            ended.append(str(error))

    with members.followed():
        thread = threading.Thread(target=build)
        thread.start()
        Deadline.after(LONG_S, "a build").wait_for(lambda: bool(host.jobs))
        place.abort()
        thread.join(LONG_S)
        proc.children.reset()
        Deadline.after(LONG_S, "the end of the build on its host").wait_for(lambda: not host.jobs)
    assert ended == ["the host left the cluster"]


def test_a_source_of_the_computer_of_the_lab_is_built_there(cluster: Cluster) -> None:
    cluster.builds = True
    host = cluster.add("a", builds=True)
    evidence = cluster.run()
    assert {cell.status for cell in evidence.cells} == {CellStatus.OK}
    assert cluster.builder.made == ["patched"] * 6
    assert host.builders == []


@pytest.mark.parametrize(("unsound", "ran"), [((), ["demo"]), (("demo.grow",), ["demo", "later"])])
def test_a_mutant_that_is_noticed_ends_on_its_host_behind_the_scenario_that_noticed_it(
    cluster: Cluster, unsound: tuple[str, ...], ran: list[str]
) -> None:
    planned = machines(1)
    scenarios = (Selection(scenario="demo"), Selection(scenario="later"))
    cluster.plan = replace(planned, cells=(replace(planned.cells[0], scenarios=scenarios),))
    cluster.cases = {**CASES, "later": tuple(replace(case, scenario="later") for case in CASES["demo"])}
    cluster.keeper = FirstKiller(unsound=unsound, suites=(), stop=threading.Event())
    cluster.add("a", stdout=BASE)
    (cell,) = cluster.run().cells
    assert [run.scenario for run in cell.runs] == ran
    assert cell.host == "a"
    assert not cluster.keeper.stop.is_set(), "the mutation itself goes on"


def test_two_runs_at_once_share_the_budget_of_a_host(tmp_path: Path) -> None:
    """Each run alone could have all four guests of the host."""
    runs = [Cluster(path=tmp_path / name, plan=machines(6), name=name) for name in ("one", "two")]
    host = runs[0].add("a", seconds=0.2)
    runs[1].connection = runs[0].connection
    members = Members(connection=runs[0].connection, note=print)
    most, over = [0], threading.Event()

    def count() -> None:
        while not over.wait(0.005):
            most[0] = max(most[0], len(host.jobs))

    counter = threading.Thread(target=count)
    counter.start()
    with members.followed():
        threads = [threading.Thread(target=run.run, kwargs={"members": members}) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG_S)
    over.set()
    counter.join()
    assert most == [4]
    for run in runs:
        assert {cell.status for cell in read.load(run.path / "run").cells} == {CellStatus.OK}


def test_a_case_that_depends_on_the_host_is_flaky_by_host_in_every_report(cluster: Cluster) -> None:
    planned = machines(1)
    cluster.plan = repeated(planned, 2)
    cluster.add("a", guests=1, seconds=0.5)
    cluster.add("b", guests=1, seconds=0.5, stdout=BASE)
    summary = conclude(cluster.run())
    assert summary.exit_code == 1
    (flaky,) = summary.flaky
    assert flaky.label == "demo.grow"
    says = "by host: PASS on a, FAIL on b"
    assert says in flaky.reason
    for name in ("text", "html", "mail", "junit"):
        assert says in report.render(summary, name), name
    document = json.loads(report.render(summary, "json"))
    schema = json.loads((Path(report.__file__).parent / "results.schema.json").read_text())
    jsonschema.validate(document, schema)
    assert [record["by_host"] for record in document["records"] if "by_host" in record] == [{"a": "PASS", "b": "FAIL"}]
