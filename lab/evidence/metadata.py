# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of metadata.json, which its writer and all its readers use; and the evidence of a run around it.

A record keeps the JSON object that it was made from, with keys that this version of the lab does not know: written
again, it is the same object in the same order. Keys that an old run lacks have a default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    PrivateAttr,
    model_validator,
)

from lab.core.outcome import Case, CellKey, CellResult, SeenEvidence

MAX_REPEATS = 10_000

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}$")]
"""A name that is safe as a directory's or file's."""


def _cell_key(value: object) -> CellKey:
    return value if isinstance(value, CellKey) else CellKey.parse(str(value))


def _text_if_none(value: object) -> object:
    return "" if value is None else value


def _words_if_none(value: object) -> object:
    return () if value is None else value


def _whole_patches(value: object) -> object:
    """Return the patches of a build without those that have no name, which are of a damaged record."""
    if not isinstance(value, list | tuple):
        return ()
    return [
        patch for patch in value if isinstance(patch, PatchRecord) or (isinstance(patch, Mapping) and "name" in patch)
    ]


CellKeyText = Annotated[CellKey, PlainValidator(_cell_key)]
Text = Annotated[str, BeforeValidator(_text_if_none)]
TextList = Annotated[tuple[str, ...], BeforeValidator(_words_if_none)]


class Recorded(BaseModel):
    """An object of metadata.json, frozen. Unknown keys are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)
    _given: Mapping[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        made = handler(data)
        if isinstance(data, Mapping):
            made._given = data
        return made

    def document(self) -> dict[str, Any]:
        """Return the JSON object that this record was made from, with its keys in their order."""
        return {str(key): _plain(value) for key, value in self._given.items()}

    def changed(self, **changes: object) -> Self:
        """Return this record with other values for some of its keys; new keys come last."""
        return type(self).model_validate({**self._given, **changes})


def _plain(value: object) -> Any:
    """Convert a value to what JSON has; TypeError for a type that metadata.json does not take."""
    if isinstance(value, Recorded):
        return value.document()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, frozenset | set):
        value = sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(element) for element in value]
    if isinstance(value, PurePath):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"cannot write {type(value).__name__} to metadata.json")


class CampaignRecord(Recorded):
    """The campaign as it was planned: a `CampaignSpec`."""

    name: str = "campaign"
    description: str = ""


class HostRecord(Recorded):
    """The computer that the guests ran on. An emulator's version has the emulator's name as its key."""

    machine: str = ""
    kernel: str = ""
    system: str = ""
    cpus: int | None = None
    memory: int | None = None
    libvirt: str | None = None

    @property
    def emulators(self) -> dict[str, str]:
        """Emulator -> its version."""
        return {name: str(version) for name, version in (self.model_extra or {}).items() if name.startswith("qemu")}


class TopologyRecord(Recorded):
    """A machine as it was planned: a `Topology`."""

    arch: str = ""
    clock: str | None = None
    scenarios: tuple[str, ...] | None = None
    """Globs of the scenarios that the machine is for; None for all."""


class KnownLineRecord(Recorded):
    """A complaint that is known and harmless: globs of its first line and of the kernel's release, and why."""

    line: str
    release: str = "*"
    reason: str = ""


class KernelRecord(Recorded):
    """A kernel as it was planned: a `Kernel`."""

    description: str = ""
    source: str = ""
    series: str | None = None
    provides: TextList = ()
    config: TextList = ()
    console_known: tuple[KnownLineRecord, ...] = ()


class CellRecord(Recorded):
    topology: Name
    kernel: Name

    @property
    def key(self) -> CellKey:
        return CellKey(self.topology, self.kernel)


class ConfirmingRecord(CellRecord):
    """A guest that ran some cases again, after the repeats that the campaign asked for."""

    repeat: Annotated[int, Field(ge=2, le=2 * MAX_REPEATS)]
    cases: tuple[tuple[str, str], ...] = ()
    """Scenario and case."""


class SkippedRecord(Recorded):
    """A machine of the campaign that this host could not build for or start."""

    what: str = ""
    reason: str = ""


class SideRecord(Recorded):
    """What is seen on one side of a report."""

    exit: int | None = None
    signal: str = ""
    prints: tuple[str, ...] = ()


class CaseSpec(Recorded):
    """A case as its scenario declares it; `sides` and `places` are there for the case of a report only."""

    name: str
    requires: tuple[str, ...] = ()
    description: str = ""
    timeout_s: float = 10.0
    sides: Mapping[str, SideRecord] = {}
    places: tuple[str, ...] = ()

    @classmethod
    def of(cls, case: Case) -> CaseSpec:
        declared = {
            "name": case.name,
            "requires": tuple(sorted(case.requires)),
            "description": case.description,
            "timeout_s": case.timeout_s,
        }
        if case.sides:
            declared["sides"] = {name: asdict(seen) for name, seen in case.sides.items()}
            declared["places"] = sorted(case.places)
        return cls.model_validate(declared)

    def case(self, scenario: str) -> Case:
        """Return the case of a scenario that this declares."""
        return Case(
            scenario=scenario,
            name=self.name,
            requires=frozenset(self.requires),
            description=self.description,
            timeout_s=self.timeout_s,
            sides={side: _seen(record) for side, record in self.sides.items()},
            places=frozenset(self.places),
        )


def _seen(record: SideRecord) -> SeenEvidence:
    return SeenEvidence(exit=record.exit, signal=record.signal, prints=record.prints)


class ReportRecord(Recorded):
    """A report of somebody's that the run reproduces: its words and where they are."""

    title: str = ""
    links: TextList = ()
    what_changed: str = ""
    """What was changed because of it; empty if nothing is known."""


class SuiteRecord(Recorded):
    """A suite of tests that are not the lab's own."""

    word: str = ""
    """The word after --suite that names it."""
    not_built: Mapping[str, Mapping[str, str]] = {}
    """`architecture/kernel` -> program -> why it was not built."""


class RootRecord(Recorded):
    """What the programs of a run had as `/`."""

    word: str = ""
    """The word after --root that names it."""
    keys: Mapping[str, str] = {}
    """Architecture -> the key of the root, which changes when its files do."""
    notes: TextList = ()
    """What the user is told of it."""


class PatchRecord(Recorded):
    name: str
    sha256: str = ""


class Provenance(Recorded):
    """What a kernel was built from. Hashes and the build id are hex, times are seconds; empty where not recorded."""

    key: Text = ""
    """The kernel's key in the cache."""
    build_id: Text = ""
    release: Text = ""
    """As `uname -r` prints it."""
    source: Text = ""
    source_version: Text = ""
    source_sha256: Text = ""
    source_origin: Text = ""
    series: str | None = None
    series_sha256: str | None = None
    """Empty without a series."""
    config_sha256: Text = ""
    compiler: Text = ""
    build_s: float | None = None
    cpu_s: float | None = None
    """CPU seconds of make and all it ran, ccache included; None when whoever built it did not count."""
    full_build: bool | None = None
    """Whether everything was compiled, rather than what a series touches."""
    patches: Annotated[tuple[PatchRecord, ...], BeforeValidator(_whole_patches)] = ()
    config_changes: TextList = ()
    """`CONFIG_X: n -> y`: in what the series alone makes the final .config differ from the unpatched kernel's."""
    fixes: TextList = ()
    """Why each change was made that the tree needed to compile for the architecture."""
    refused: TextList = ()
    """`CONFIG_X=y`: what a suite wishes for, or the lab for any version, and the final .config has not."""
    userland: str | None = None
    """The key of the userland that the kernel starts."""


FILTER_OPTIONS = {
    "reports": "--report",
    "config": "--config",
    "programs": "--with",
    "suites": "--suite",
    "topologies": "-t",
    "kernels": "-k",
    "tests": "--test",
    "roots": "--root",
}
"""Field of `lab.specs.plan.Filters` -> the option of `lab run`, in the order in which a recorded command has them."""


class CommandRecord(Recorded):
    """The command that a run was made by: `lab VERB ARGUMENTS OPTIONS -- PROGRAM`.

    It has what decides what is run. Options that have their default are omitted, and so are those for the output.
    """

    verb: str
    arguments: TextList = ()
    options: Mapping[str, TextList] = {}
    """Option as it is typed (`--test`) -> its values in their order; no value for a flag."""
    program: TextList = ()
    """What follows `--`."""
    arches: TextList = ()
    """The architectures to which ARCH in the environment restricted the command; empty for all."""
    runs: CommandRecord | None = None
    """The `lab run` that the lab made of a command such as `lab try`; None if the command is not resumed by it."""

    @property
    def chooses_tests(self) -> bool:
        """Whether --test or the user's own programs restrict the scenarios of the campaign."""
        if self.runs and self.runs.chooses_tests:
            return True
        return bool(self.options.get("--test"))


class Metadata(Recorded):
    """What a run records of itself, outside its cells. The builds and `resumed` are added as the run goes on."""

    schema_: Literal[1] = Field(alias="schema")
    pagelab: str | None = None
    """The version of the lab."""
    started: str | None = None
    campaign: CampaignRecord = CampaignRecord()
    host: HostRecord = HostRecord()
    hosts: Mapping[str, HostRecord] = {}
    """Name -> host of the cluster that the run was begun on; empty without one."""
    topologies: Mapping[str, TopologyRecord] = {}
    kernels: Mapping[str, KernelRecord] = {}
    cells: tuple[CellRecord, ...]
    confirming: tuple[ConfirmingRecord, ...] = ()
    """What ran again since it seemed fixed or regressed."""
    skipped: tuple[SkippedRecord, ...] = ()
    cases: Mapping[Name, tuple[CaseSpec, ...]] = {}
    """Scenario -> its cases."""
    programs: TextList = ()
    """Paths of the user's own C files that were run."""
    command: CommandRecord | None = None
    """What the user typed; None in runs that did not record it."""
    repeat: Annotated[int, Field(ge=1, le=MAX_REPEATS)] = 1
    """How often every cell was run."""
    tests: Mapping[str, Mapping[str, str] | str | None] = {}
    """Architecture -> scenario -> key of its program; None where it was not known, one key for all in old runs."""
    suites: Mapping[str, SuiteRecord] = {}
    reports: Mapping[str, ReportRecord] = {}
    """Reports that were run: name, which is the scenario's -> the report."""
    root: RootRecord | None = None
    """None if the programs had the guests' own userland."""
    connection: str | None = None
    """The URI of libvirt; None before the first guest could be started."""
    builds: Mapping[CellKeyText, Provenance] = {}
    resumed: TextList = ()

    @model_validator(mode="before")
    @classmethod
    def _convert_old_commands(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "command" not in data and (data.get("asked") or data.get("typed")):
            return {**data, "command": _old_command(data)}
        return data

    def topology(self, name: str) -> TopologyRecord:
        """Return the record of a machine; an empty one if the machine was not recorded."""
        return self.topologies.get(name) or _no_topology()

    def kernel(self, name: str) -> KernelRecord:
        """Return the record of a kernel; an empty one if the kernel was not recorded."""
        return self.kernels.get(name) or _no_kernel()

    def build(self, topology: str, kernel: str) -> Provenance | None:
        """Return what a cell's kernel was built from; None if it was never built."""
        return self.builds.get(CellKey(topology, kernel))

    def program_keys(self, arch: str) -> Mapping[str, str]:
        """Return scenario -> key of its program on an architecture; empty if the run did not record them."""
        recorded = self.tests.get(arch)
        return recorded if isinstance(recorded, Mapping) else {}

    def builds_of(self, kernel: str) -> list[Provenance]:
        """Return the builds of a kernel, one for each machine."""
        return [build for cell, build in self.builds.items() if cell.kernel == kernel]

    def declared_cases(self) -> dict[str, tuple[Case, ...]]:
        """Return scenario -> its declared cases."""
        return {scenario: tuple(spec.case(scenario) for spec in specs) for scenario, specs in self.cases.items()}


@cache
def _no_topology() -> TopologyRecord:
    return TopologyRecord()


@cache
def _no_kernel() -> KernelRecord:
    return KernelRecord()


def _old_command(data: Mapping[str, Any]) -> object:
    """Return the command of an older run: `asked` has the filters of `lab run`, `typed` the words of another verb.

    What is not as an older version wrote it is returned as it is, for the model to refuse.
    """
    asked, typed = data.get("asked") or {}, data.get("typed") or {}
    if not isinstance(asked, Mapping) or not isinstance(typed, Mapping):
        return asked or typed
    runs = _old_request(asked, data.get("repeat")) if asked else None
    words, machine_option, rest = typed.get("words") or [], typed.get("on") or "", typed.get("rest") or []
    if not isinstance(words, list) or not isinstance(machine_option, str) or not isinstance(rest, list):
        return typed
    if not words:
        return runs
    command = _old_words(words)
    options = command["options"]
    if command["verb"] == "try" and (data.get("repeat") or 1) != 1:
        options["--repeat"] = [str(data["repeat"])]
    if machine_option and typed.get("machines"):
        options[machine_option] = typed["machines"]
    if typed.get("tests"):
        options["--test"] = typed["tests"]
    return {**command, "program": rest[1:], "arches": asked.get("arches"), "runs": runs}


def _old_request(asked: Mapping[str, Any], repeat: object) -> dict[str, Any]:
    """Return the `lab run` of `asked`, whose keys are the fields of `Filters`.

    A key that no older version wrote becomes an option that `lab run` lacks.
    """
    options = {}
    for key, option in FILTER_OPTIONS.items():
        if asked.get(key):
            options[option] = asked[key]
    if (repeat or 1) != 1:
        options["--repeat"] = [str(repeat)]
    for key in asked.keys() - FILTER_OPTIONS.keys() - {"campaign", "arches"}:
        options[f"--{key}"] = []
    campaign = asked.get("campaign")
    arguments = [campaign] if campaign else []
    return {"verb": "run", "arguments": arguments, "options": options, "arches": asked.get("arches")}


def _old_words(words: Sequence[object]) -> dict[str, Any]:
    """Return the words of a command by verb, arguments and options. A word after an option is the option's value."""
    arguments: list[str] = []
    options: dict[str, list[str]] = {}
    option = ""
    for word in map(str, words[2:]):
        if word.startswith("-") and word != "-":
            option = word
            options.setdefault(option, [])
        elif option:
            options[option].append(word)
            option = ""
        else:
            arguments.append(word)
    verb = str(words[1]) if len(words) > 1 else ""
    return {"verb": verb, "arguments": arguments, "options": options}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that a run left on disk, before any verdict: its metadata and every cell of the campaign."""

    metadata: Metadata
    cells: tuple[CellResult, ...]
    source: str = ""
    """The run's directory, for messages and links."""
