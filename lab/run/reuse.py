# SPDX-License-Identifier: GPL-2.0-or-later
"""Take the evidence of an unpatched kernel's guest from an earlier run, if everything that it depends on is the same.

The cache has an entry `evidence/<key>` for each such guest: the files of its cell, the run that made them, and the
outcome of every case. The key is a digest of the machine, the kernel (source, configuration, compiler), the userland,
the programs and their cases, the emulator, libvirt, the host's kernel and KVM, and the code of the lab that drives
guests. What is taken is judged like evidence of this run. It is made again for every tenth run, and an entry goes when
repeats of the same guest disagree. A guest that ran some cases a second time, to confirm them, has an entry of its own.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache as cached
from pathlib import Path

from lab.core import paths, proc
from lab.core.cache import Cache, digest, write_atomic
from lab.core.errors import InfraError
from lab.core.outcome import CellResult, CellStatus, Origin, Outcome
from lab.evidence.events import JOURNAL, cell_path
from lab.evidence.metadata import Metadata, Provenance
from lab.evidence.write import CellDir
from lab.specs.plan import Cell
from lab.verdicts.compare import Summary
from lab.verdicts.confirm import Label, confirming

KIND = "evidence"
ORIGIN = "origin.json"
EVERY = 10
"""So many runs take an entry's evidence before a guest makes it again, to see whether it still comes out the same."""
MOST = 300
"""Entries that are kept: of more the one that was used longest ago goes first. An entry has some hundred kB."""
SETTLED = frozenset({Outcome.PASS, Outcome.FAIL, Outcome.SKIP})
ROOMS = ("arch", "core", "evidence", "formats", "guests", "run")
"""The code of the lab that evidence depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceStore:
    """The evidence of earlier runs in the cache of this host."""

    cache: Cache
    libvirt: str

    def take(self, cell: Cell, metadata: Metadata, build: Provenance, into: CellDir) -> bool:
        """Put the evidence of an earlier run into a cell's directory; return whether there was any.

        `metadata` is that of this run, `build` what the cell's kernel was built from.
        """
        key = self._key(cell, metadata, build)
        if key is None or not self.cache.has(KIND, key):
            return False
        uses = self._uses(key)
        if uses >= EVERY:
            return False
        try:
            entry = self.cache.entry(KIND, key, _never)
        except InfraError:  # it is damaged: its check sums are not those that it was made with
            self.cache.remove(KIND, key)
            return False
        known = json.loads((entry / ORIGIN).read_text())
        _copy(entry, into.path)
        into.origin(Origin(run=known["run"], started=known["started"]))
        self._count(key, uses + 1)
        return True

    def keep(self, cells: Iterable[Cell], summary: Summary) -> list[str]:
        """Keep the evidence that the guests of a run made, and return notes about guests that behaved otherwise."""
        metadata = summary.evidence.metadata
        notes: list[str] = []
        for cell in cells:
            build = metadata.build(*cell.key)
            key = self._key(cell, metadata, build) if build else None
            if key is None:
                continue
            outcomes = _outcomes(summary, cell)
            guests = _guests(summary, cell)
            taken = any(guest.origin for guest in guests if guest.repeat == cell.repeat)
            if any(outcome not in SETTLED for outcome in outcomes.values()):
                self.cache.remove(KIND, key)
            elif not taken and outcomes and all(guest.status is CellStatus.OK for guest in guests):
                notes += self._replace(key, cell, outcomes, summary)
        self._prune()
        return notes

    def _replace(self, key: str, cell: Cell, outcomes: Mapping[str, Outcome], summary: Summary) -> list[str]:
        """Put new evidence in the place of old, and return what differs between them."""
        notes = []
        if self.cache.has(KIND, key):
            known = json.loads((self.cache.path(KIND, key) / ORIGIN).read_text())
            differing = [
                label for label, outcome in outcomes.items() if known["outcomes"].get(label, outcome) != outcome
            ]
            if differing:
                notes.append(f"{cell.key}: {', '.join(differing)}: not as in {known['run']} of {known['started']}")
            self.cache.remove(KIND, key)
        source = Path(summary.evidence.source).absolute()
        origin = {"run": str(source), "started": summary.evidence.metadata.started or "", "outcomes": outcomes}

        def make(entry: Path) -> None:
            _copy(source / cell_path(cell.topology.name, cell.kernel.name, cell.repeat), entry)
            (entry / ORIGIN).write_text(json.dumps(origin, indent=1))

        self.cache.entry(KIND, key, make)
        self._count(key, 0)
        return notes

    def _key(self, cell: Cell, metadata: Metadata, build: Provenance) -> str | None:
        """Return the key of a cell's evidence; None if it is not to be taken, or a part of it is unknown."""
        if cell.kernel.series or cell.kernel.coverage or (cell.repeat > 1 and _in_doubt(cell, metadata) is None):
            return None
        programs = metadata.program_keys(cell.topology.arch)
        if build.userland is None or any(selection.scenario not in programs for selection in cell.scenarios):
            return None
        document = {
            "machine": cell.topology.model_dump(mode="json"),
            "kernel": build.key,
            "userland": build.userland,
            "programs": {
                selection.scenario: [programs[selection.scenario], selection.cases] for selection in cell.scenarios
            },
            "isolation": metadata.campaign.document().get("isolation"),
            "libvirt": self.libvirt,
            "host": [platform.release(), os.access("/dev/kvm", os.R_OK | os.W_OK)],
            "emulator": _identity(proc.which(cell.topology.architecture.qemu)),
            "lab": _code(),
        }
        if cell.repeat > 1:
            document["repeat"] = cell.repeat
        return digest(json.dumps(document, sort_keys=True))

    # ---- How often an entry was used ---------------------------------------------------------------------------------

    def _uses_file(self, key: str) -> Path:
        return self.cache.root / "uses" / f"{KIND}-{key}"

    def _uses(self, key: str) -> int:
        """Return how many runs have taken an entry; EVERY if that is not known."""
        try:
            return int(self._uses_file(key).read_text())
        except (OSError, ValueError):
            return EVERY

    def _count(self, key: str, uses: int) -> None:
        write_atomic(self._uses_file(key), str(uses).encode())

    def _prune(self) -> None:
        """Remove the entries that were used longest ago, beyond the number that is kept."""
        entries = [path.name for path in (self.cache.root / KIND).glob("*")]
        if len(entries) <= MOST:
            return
        for key in sorted(entries, key=self._last_use)[: len(entries) - MOST]:
            self.cache.remove(KIND, key)
            self._uses_file(key).unlink(missing_ok=True)

    def _last_use(self, key: str) -> float:
        try:
            return self._uses_file(key).stat().st_mtime
        except OSError:
            return 0.0


def _never(_: Path) -> None:
    raise AssertionError("an entry that is there is not made")


def _copy(origin: Path, into: Path) -> None:
    """Copy the files of a cell, its journal last: without one the cell is not done."""
    files = sorted(_files(origin), key=lambda path: path.name == JOURNAL)
    for path in files:
        shutil.copyfile(path, into / path.name)
        shutil.copymode(path, into / path.name)


def _files(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.is_file() and not path.is_symlink() and path.name != ORIGIN:
            yield path


def _in_doubt(cell: Cell, metadata: Metadata) -> frozenset[Label] | None:
    """Return the cases that a guest ran to confirm them; None for a guest that ran for another reason."""
    return confirming(metadata).get((cell.topology.name, cell.kernel.name, cell.repeat))


def _outcomes(summary: Summary, cell: Cell) -> dict[str, Outcome]:
    """Return the outcome of each case that a guest ran; of several guests of a cell they are taken together."""
    doubted = _in_doubt(cell, summary.evidence.metadata)
    records = summary.of_cell(*cell.key)
    return {
        record.label: record.outcome
        for record in records
        if doubted is None or (record.scenario, record.case) in doubted
    }


def _guests(summary: Summary, cell: Cell) -> list[CellResult]:
    """Return all guests of a cell, those that confirmed cases among them."""
    guests = (*summary.evidence.cells, *summary.confirmers)
    return [guest for guest in guests if guest.key == cell.key]


def _identity(program: str | None) -> list[object]:
    """Return what changes when a program is replaced by another build of it."""
    if program is None:
        return []
    status = Path(program).stat()
    return [program, status.st_size, status.st_mtime_ns]


@cached
def _code() -> str:
    """Return a digest of the code that boots guests, runs programs in them and writes down what happens."""
    package = Path(paths.__file__).parents[1]
    contents: list[str | bytes] = []
    for room in ROOMS:
        for path in sorted((package / room).rglob("*.py")):
            contents += [path.name, path.read_bytes()]
    return digest(*contents)
