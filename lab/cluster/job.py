# SPDX-License-Identifier: GPL-2.0-or-later
"""What a lab and the hosts of its cluster send each other: JSON documents, each with its model. No object is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lab.cluster.store import EVIDENCE
from lab.core.errors import InfraError
from lab.core.outcome import Case, Cause, CellStatus
from lab.core.validation import first_invalid
from lab.evidence.metadata import CaseSpec, Provenance
from lab.specs.model import Kernel, Topology
from lab.specs.plan import Cell, Selection, build_of

MAX_DOCUMENT = 8 << 20
SAFE = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,250}$")]
"""A name that is safe in a path of the store."""
EntryKey = Annotated[str, Field(pattern=r"^[a-z-]{1,20}/[0-9a-f]{1,64}$")]
"""KIND/KEY of a cache entry."""


class JsonDocument(BaseModel):
    """A document; unknown keys are refused, since both sides run the same lab."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def encode(self) -> bytes:
        """Return the JSON document."""
        return self.model_dump_json().encode()

    @classmethod
    def decode(cls, document: bytes) -> Self:
        """Read a document; InfraError if it is none of this kind."""
        if len(document) > MAX_DOCUMENT:
            raise InfraError(f"{cls.__name__}: a document of {len(document)} bytes")
        try:
            return cls.model_validate_json(document)
        except ValidationError as error:
            key, what = first_invalid(error)
            raise InfraError(f"{cls.__name__}: {key}: {what}") from None


class ProgramEntry(JsonDocument):
    """A scenario's program: the cache entry that has it, and its file there."""

    entry: EntryKey
    file: SAFE


class Ingredients(JsonDocument):
    """What a cell boots and runs, as entries of the cache."""

    provenance: dict[str, Any]
    """Of the kernel, as metadata.json has it."""
    kernel: EntryKey
    rootfs: EntryKey
    programs: dict[str, ProgramEntry]
    probes: tuple[ProgramEntry, ...] = ()

    @property
    def entries(self) -> tuple[str, ...]:
        """KIND/KEY of every entry, each once."""
        programs = [program.entry for program in (*self.programs.values(), *self.probes)]
        return tuple(dict.fromkeys((self.kernel, self.rootfs, *programs)))

    @property
    def built_from(self) -> Provenance:
        """What the kernel was built from."""
        return Provenance.model_validate(self.provenance)


class SelectionDocument(JsonDocument):
    scenario: SAFE
    cases: tuple[str, ...] = ()


class StopRule(JsonDocument):
    """Ends a cell behind the first scenario that misses an expectation of the kernel without the defect."""

    unsound: tuple[str, ...]
    """The records that prove nothing, `scenario.case`."""
    suites: tuple[str, ...] = ()


class BuildJob(JsonDocument):
    """A kernel, userland and programs that a host is to build and store."""

    run: SAFE
    lab: str
    """The hash of the lab that asks."""
    store: str
    topology: dict[str, Any]
    kernel: dict[str, Any]
    order: str = ""
    """What the lab that asks calls this build: its progress is reported under that name."""

    @property
    def machine(self) -> Topology:
        return Topology.model_validate(self.topology)

    @property
    def kernel_spec(self) -> Kernel:
        return Kernel.model_validate(self.kernel)


class CellJob(BuildJob):
    """One attempt at a cell."""

    attempt: Annotated[int, Field(ge=1)]
    host: str
    """The name of the host that it was placed on."""
    repeat: int = 1
    fresh: bool
    selections: tuple[SelectionDocument, ...]
    cases: dict[str, tuple[dict[str, Any], ...]]
    """Scenario -> its cases, as metadata.json declares them."""
    ingredients: Ingredients
    base: str = ""
    """The SHA-256 of a tar file in the store with what an earlier lab left of the cell; empty for none."""
    stop_rule: StopRule | None = None
    max_evidence: int

    @property
    def cell(self) -> Cell:
        machine, kernel = self.machine, self.kernel_spec
        scenarios = tuple(
            Selection(scenario=selection.scenario, cases=selection.cases) for selection in self.selections
        )
        build = build_of(machine, kernel)
        return Cell(topology=machine, kernel=kernel, build=build, scenarios=scenarios, repeat=self.repeat)

    @property
    def declared(self) -> Mapping[str, tuple[Case, ...]]:
        """Scenario -> its cases."""
        cases = {}
        for scenario, specs in self.cases.items():
            cases[scenario] = tuple(CaseSpec.model_validate(spec).case(scenario) for spec in specs)
        return cases

    @property
    def label(self) -> str:
        return cell_label(self.cell.name)

    @property
    def evidence(self) -> str:
        """The name of the attempt's evidence in the store."""
        return f"{EVIDENCE}/{self.run}/{evidence_name(self.label, self.attempt)}"

    @property
    def base_name(self) -> str:
        return f"{EVIDENCE}/{self.run}/{self.label}.base.tar"


def cell_label(name: str) -> str:
    """Return a cell's name as one word of a path: `machine/kernel/repeat-2` -> `machine@kernel@repeat-2`."""
    return name.replace("/", "@")


def evidence_name(label: str, attempt: int) -> str:
    """Return the file name of an attempt's evidence."""
    return f"{label}.attempt-{attempt}.tar"


class HostLoad(JsonDocument):
    """What an attempt met on its host, and what it took. Seconds."""

    load: float = 0.0
    """The host's load average when the attempt began."""
    fetch_s: float = 0.0
    run_s: float = 0.0
    send_s: float = 0.0


class AttemptResult(JsonDocument):
    """How an attempt ended: with evidence in the store, or why there is none."""

    status: CellStatus
    cause: Cause = Cause.LAB
    reason: str = ""
    sha256: str = ""
    """Of the evidence; empty if there is none."""
    size: int = 0
    accelerator: str = ""
    load: HostLoad = HostLoad()

    @property
    def summary(self) -> str:
        """How it ended, in a line."""
        times = f"fetched in {self.load.fetch_s:.1f} s, ran {self.load.run_s:.1f} s, sent in {self.load.send_s:.1f} s"
        why = f" ({self.reason.partition(chr(10))[0]})" if self.reason else ""
        return f"{self.status.value}{why}; {times}; load {self.load.load:.1f}"


class BuildResult(JsonDocument):
    """What a host built, or why it did not."""

    ingredients: Ingredients | None = None
    cause: Cause = Cause.LAB
    reason: str = ""


def cases_document(cases: Sequence[Case]) -> tuple[dict[str, Any], ...]:
    """Return the declared cases of a scenario as a job has them."""
    return tuple(CaseSpec.of(case).model_dump(mode="json") for case in cases)
