# SPDX-License-Identifier: GPL-2.0-or-later
"""Fakes at the seams of lab/run: a factory, a guest and its snapshot that behave as a test scripts them.

They stand for `Shop`, `BuiltCell`, `GuestLike` and `SnapshotLike`; the evidence, the judge and the runner are real.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from lab.core.deadline import Deadline
from lab.core.errors import LabError
from lab.core.outcome import Case, End, Ended, Mismatch, Usage
from lab.core.progress import Progress
from lab.evidence.console import ConsoleLog
from lab.evidence.metadata import Provenance
from lab.guests.accelerator import Accelerator
from lab.guests.guest import Description
from lab.host.estimate import Packing
from lab.host.history import History
from lab.host.schedule import Budget
from lab.run.protocols import CellState
from lab.specs.model import CampaignSpec, Kernel, Topology
from lab.specs.plan import Cell, Plan, Selection, plan

CASES = {
    "demo": (
        Case(scenario="demo", name="guard"),
        Case(scenario="demo", name="grow", requires=frozenset({"shm-expand"})),
        Case(scenario="demo", name="last"),
    )
}
PANIC_CONSOLE = (
    "[    3.100000] Kernel panic - not syncing: Fatal exception\n[    3.200000] ---[ end Kernel panic ]---\n"
)


def ktap_stdout(*results: str, count: int = 3) -> bytes:
    """A KTAP stream of result lines."""
    return "".join(f"{line}\n" for line in ("KTAP version 1", f"1..{count}", *results)).encode()


GOOD = ktap_stdout("ok 1 guard", "ok 2 grow", "ok 3 last")
BASE = ktap_stdout("ok 1 guard", "# touch: SIGBUS", "not ok 2 grow", "ok 3 last")


def ended(stdout: bytes, end: End = End.EXITED, status: int | None = 0, note: str = "") -> Ended:
    return Ended(end=end, status=status, stdout=stdout, stderr=b"", duration_s=0.1, note=note)


@dataclass
class Behaviour:
    """What one guest (of several, boot by boot) does."""

    runs: Sequence[Ended | LabError] = ()
    console: Sequence[str] = ()
    boot_console: str = ""
    """What the kernel prints while the guest boots, or what a saved guest had printed then."""
    late_console: str = ""
    """What it prints after that, before the first program."""
    last_console: str = ""
    """What it prints after its last program."""
    boot_error: LabError | None = None
    facts_error: LabError | None = None
    push_error: LabError | None = None
    mismatches: tuple[Mismatch, ...] = ()
    books: Sequence[int] = ()
    """Shmem before the first program, after it, and each time that is asked for it then."""
    gone: End | None = None
    save_error: LabError | None = None
    restore_error: Exception | None = None
    """Of the guest that is to be restored with this behaviour."""


@dataclass
class FakeGuest:
    behaviour: Behaviour
    console: ConsoleLog
    built: FakeCell
    boot_s: float = 0.5
    login_s: float = 0.1
    accelerator: Accelerator = field(default_factory=lambda: Accelerator(name="tcg", slowdown=1.0, why="fake"))
    closed: bool = False
    count: int = 0
    asked: int = 0
    settled: int = 0

    def facts(self) -> str:
        if self.behaviour.facts_error:
            raise self.behaviour.facts_error
        return "machine=fake\n"

    def push(self, programs: Mapping[str, Path]) -> None:
        assert not self.closed
        if self.behaviour.push_error:
            raise self.behaviour.push_error
        self.built.pushes += 1
        with self.console.path.open("a") as file:
            file.write(self.behaviour.late_console)

    def run(
        self,
        command: str,
        *,
        deadline: Deadline,
        silence_s: float | None = None,
        on_stdout: Callable[[bytes], None] | None = None,
    ) -> Ended:
        assert not self.closed
        self.built.commands.append(command)
        said = self.behaviour.console[self.count] if self.count < len(self.behaviour.console) else ""
        with self.console.path.open("a") as file:
            file.write(said)
        if not (mark := re.search("books-[0-9a-f]{16}", command)):
            self.asked += 1
            return ended(f"Shmem: {self.behaviour.books[1 + self.asked]}\n".encode())
        result = self.behaviour.runs[self.count]
        self.count += 1
        if isinstance(result, LabError):
            raise result
        if self.behaviour.books:
            before, after = (f"\n{mark[0]}\nShmem: {each}\n{mark[0]}\n".encode() for each in self.behaviour.books[:2])
            return replace(result, stdout=before + result.stdout + after)
        return result

    def watch(self) -> End | None:
        return self.behaviour.gone

    def settle(self) -> None:
        assert not self.closed
        self.settled += 1
        with self.console.path.open("a") as file:
            file.write(self.behaviour.last_console)

    def describe(self) -> Description:
        return Description(domain_xml="<domain/>", qemu_args=("qemu",), reproduce="#!/bin/sh\n")

    def save(self) -> FakeSnapshot:
        assert not self.closed
        if self.behaviour.save_error:
            raise self.behaviour.save_error
        snapshot = FakeSnapshot(self)
        self.built.snapshots.append(snapshot)
        return snapshot

    def usage(self) -> Usage | None:
        return Usage(peak=1 << 20, cpu_s=1.0, wait_s=0.0, life_s=2.0)

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeSnapshot:
    origin: FakeGuest
    save_s: float = 0.1
    size: int = 1 << 20
    discarded: bool = False
    prepared: int = 0

    def prepare(self) -> None:
        assert not self.discarded
        self.prepared += 1

    def restore(self) -> FakeGuest:
        assert not self.discarded
        behaviour = self.origin.built.behaviours.pop(0)
        if behaviour.restore_error:
            raise behaviour.restore_error
        guest = FakeGuest(behaviour, self.origin.console, self.origin.built)
        self.origin.built.guests.append(guest)
        return guest

    def discard(self) -> None:
        self.discarded = True


@dataclass
class FakeRestored:
    """A guest of the cache; `guest` is made when it is asked for."""

    guest: FakeGuest = field(init=False)
    facts: str = "machine=fake\n"
    state: str = "0123456789abcdef"
    saved: str = "2026-01-02T03:04:05Z"


@dataclass
class FakeCell:
    behaviours: list[Behaviour]
    no_save: str = ""
    enter: tuple[str, ...] = ()
    guests: list[FakeGuest] = field(default_factory=list)
    snapshots: list[FakeSnapshot] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    mismatches: tuple[Mismatch, ...] = ()
    programs: Mapping[str, Path] = field(default_factory=lambda: {"demo": Path("/demo")})
    config: bytes = b"CONFIG_X=y\n"
    provenance: Provenance = field(default_factory=Provenance)
    kept: list[FakeRestored | LabError] = field(default_factory=list)
    """What the cache has when the cell asks for a saved guest, in this order; then nothing."""
    keep_error: LabError | None = None
    keeps: int = 0
    pushes: int = 0

    def restore(self, console: Path) -> FakeRestored | None:
        found = self.kept.pop(0) if self.kept else None
        if isinstance(found, LabError):
            raise found
        if found is not None:
            found.guest = FakeGuest(self.behaviours.pop(0), ConsoleLog(console), self)
            self.guests.append(found.guest)
            with console.open("a") as file:
                file.write(f"printed before it was saved\n{found.guest.behaviour.boot_console}")
        return found

    def keep(self, guest: FakeGuest, facts: str) -> None:
        self.keeps += 1
        if self.keep_error:
            raise self.keep_error

    def planned(self, console: Path) -> Description:
        return Description(domain_xml="<domain/>", qemu_args=(), reproduce="#!/bin/sh\n")

    def boot(self, console: Path) -> FakeGuest:
        behaviour = self.behaviours.pop(0)
        self.mismatches = behaviour.mismatches
        with console.open("a") as file:
            file.write(f"booting\n{behaviour.boot_console}pagelab: ready\n")
        if behaviour.boot_error:
            raise behaviour.boot_error
        guest = FakeGuest(behaviour, ConsoleLog(console), self)
        self.guests.append(guest)
        return guest

    def verify(self, facts: str) -> tuple[Mismatch, ...]:
        return self.mismatches


@dataclass
class FakeFactory:
    built: Mapping[str, FakeCell | LabError]

    def prepare(self, cell: Cell, progress: Progress) -> FakeCell:
        progress("mm", done=0.5)
        made = self.built[cell.kernel.name]
        if isinstance(made, LabError):
            raise made
        return made

    def abort(self) -> None:
        pass


class NoScreen:
    def placed(self, cell: Cell, host: str) -> None:
        pass

    def building(self, cell: Cell, detail: str, done: float | None) -> None:
        pass

    def cell(self, cell: Cell, state: CellState, *, scenario: str = "", done: int = 0, total: int = 0) -> None:
        pass

    def progress(self, cell: Cell, scenario: str, done: int, total: int) -> None:
        pass


BUILD = Provenance(
    source="tarball:x",
    source_sha256="s",
    config_sha256="c",
    compiler="gcc",
    release="6.12.0",
    series_sha256="",
    build_id="b",
)


def a_plan(
    kernels: Sequence[str], isolation: Literal["fresh", "shared"] = "shared", scenarios: Sequence[str] = ("demo",)
) -> Plan:
    machine = Topology.model_validate({"name": "machine", "arch": "x86_64", "page_size": "4K", "memory": "256M"})
    known = {
        "baseline": Kernel(name="baseline", source="tarball:x"),
        "patched": Kernel(name="patched", source="tarball:x", series="s", provides=frozenset({"shm-expand"})),
    }
    spec = CampaignSpec(name="test", topologies=("machine",), kernels=tuple(kernels), isolation=isolation)
    return plan(spec, [machine], [known[name] for name in kernels], [Selection(scenario=name) for name in scenarios])


PACKING = Packing(budget=Budget(memory=8 << 30, cpus=2.0, guests=2), history=History())
