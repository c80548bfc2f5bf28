# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of many cells in little memory: verdicts that cells share, and a column of times for each cell. Pure.

A campaign of 10,000 cells with 100 cases has a million records, but only so many different verdicts as there are cases
and reasons. A record is made when somebody asks for it; what counts over all of them counts verdicts. The same holds
for what is kept of a cell's runs. A process sends another one each verdict once, and columns of their numbers.
"""

from __future__ import annotations

import copyreg
import os
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from itertools import chain, islice
from math import isnan, nan
from operator import attrgetter, eq
from typing import Any, NamedTuple, TypeVar, overload

from lab.core.outcome import (
    Books,
    CaseRecord,
    CaseVerdict,
    CellKey,
    CellResult,
    Mismatch,
    Origin,
    Run,
    SavedState,
    Usage,
)

SHARED = 1 << 16
"""So many verdicts are remembered in order to be shared."""
_NAMES = tuple(field.name for field in fields(CaseVerdict))
_values_of = attrgetter(*_NAMES)
_Element = TypeVar("_Element")


@lru_cache(maxsize=SHARED)
def _shared(*values: object) -> CaseVerdict:
    return CaseVerdict(**dict(zip(_NAMES, values, strict=True)))  # type: ignore[arg-type]


def shared(verdict: CaseVerdict) -> CaseVerdict:
    """Return the verdict with these values that all cells share, without the place and time of a record."""
    return _shared(*_values_of(verdict))


def _pickled(verdict: CaseVerdict) -> tuple[object, ...]:
    """Return what another process makes its own shared verdict from. A record is pickled as it is."""
    return _shared, _values_of(verdict)


copyreg.pickle(CaseVerdict, _pickled)  # type: ignore[arg-type]


def _pickle_by_values(kind: type[Any]) -> None:
    """Have records of a kind pickled as their values, which takes a fraction of the time that dataclasses take."""
    names = tuple(field.name for field in fields(kind))
    values_of = attrgetter(*names)
    copyreg.pickle(kind, lambda record: (_made, (kind, names, values_of(record))))


def _made(kind: Any, names: tuple[str, ...], values: tuple[object, ...]) -> object:
    return kind(**dict(zip(names, values, strict=True)))


for _kind in (CellResult, Mismatch, Origin, SavedState, Usage):
    _pickle_by_values(_kind)


@lru_cache(maxsize=SHARED)
def _on_host(verdict: CaseVerdict, host: str) -> CaseVerdict:
    return shared(replace(verdict, host=host))


class _Column(Sequence[_Element]):
    """A sequence that is equal to any other of the same elements."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))


class CellRecords(_Column[CaseRecord]):
    """The records of one cell: a column of verdicts and one of times. A record is made when it is asked for."""

    __slots__ = ("durations", "key", "verdicts")

    def __init__(self, key: CellKey, verdicts: Iterable[CaseVerdict], durations: Iterable[float]) -> None:
        self.key = key
        self.verdicts = tuple(verdicts)
        self.durations = array("d", durations)
        """Seconds; not a number where none was measured."""

    def __reduce__(self) -> tuple[object, ...]:
        return CellRecords, (self.key, self.verdicts, self.durations)

    @classmethod
    def of(cls, key: CellKey, records: Iterable[CaseRecord]) -> CellRecords:
        """Return the records of a cell as columns."""
        if isinstance(records, cls):
            return records
        verdicts: list[CaseVerdict] = []
        durations: list[float] = []
        for record in records:
            verdicts.append(shared(record))
            durations.append(nan if record.duration_s is None else record.duration_s)
        return cls(key, verdicts, durations)

    def __len__(self) -> int:
        return len(self.verdicts)

    def on_host(self, host: str) -> CellRecords:
        """Return the records as those of a guest on a host of a cluster."""
        return CellRecords(self.key, [_on_host(verdict, host) for verdict in self.verdicts], self.durations)

    @overload
    def __getitem__(self, place: int) -> CaseRecord: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[CaseRecord, ...]: ...
    def __getitem__(self, place: int | slice) -> CaseRecord | tuple[CaseRecord, ...]:
        if isinstance(place, slice):
            return tuple(map(self._record, range(*place.indices(len(self)))))
        return self._record(place)

    def _record(self, place: int) -> CaseRecord:
        duration: float | None = self.durations[place]
        if duration is not None and isnan(duration):
            duration = None
        values = dict(zip(_NAMES, _values_of(self.verdicts[place]), strict=True))
        return CaseRecord(topology=self.key.topology, kernel=self.key.kernel, duration_s=duration, **values)

    def chosen(self, verdicts: frozenset[CaseVerdict]) -> Iterator[CaseRecord]:
        """Yield the records that have one of these verdicts."""
        if verdicts.isdisjoint(self.verdicts):
            return
        for place, verdict in enumerate(self.verdicts):
            if verdict in verdicts:
                yield self._record(place)


class RunRecords(_Column[CaseRecord]):
    """The records of all cells, one cell after the other."""

    __slots__ = ("_cells", "_length")

    def __init__(self, cells: Iterable[CellRecords]) -> None:
        self._cells = tuple(cells)
        self._length = sum(map(len, self._cells))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[CaseRecord]:
        return chain.from_iterable(self._cells)

    @overload
    def __getitem__(self, place: int) -> CaseRecord: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[CaseRecord, ...]: ...
    def __getitem__(self, place: int | slice) -> CaseRecord | tuple[CaseRecord, ...]:
        return tuple(self)[place]

    def chosen(self, verdicts: Iterable[CaseVerdict]) -> tuple[CaseRecord, ...]:
        """Return the records that have one of these verdicts."""
        wanted = frozenset(verdicts)
        found: list[CaseRecord] = []
        for cell in self._cells:
            found += cell.chosen(wanted)
        return tuple(found)


class PackedRecords(NamedTuple):
    """The records of some cells on their way to another process."""

    process: int
    """The id of the sender."""
    fresh: list[tuple[Any, ...]]
    """The values of verdicts that it has not sent before: their numbers are the next ones."""
    cells: list[tuple[CellKey, bytes, bytes]]
    """Of each cell the numbers of its verdicts, and its times."""


class RecordCodec:
    """Sends records from one process to another: each verdict once.

    The receiver takes what a sender sends in the order in which it was sent.
    """

    def __init__(self) -> None:
        self._numbers: dict[CaseVerdict, int] = {}
        self._verdicts: dict[int, list[CaseVerdict]] = {}
        """Sender -> the verdicts that came from it, in the order of their numbers."""

    def packed(self, cells: Iterable[CellRecords]) -> PackedRecords:
        """Return what is to be sent."""
        fresh: list[tuple[Any, ...]] = []
        packed: list[tuple[CellKey, bytes, bytes]] = []
        numbers = self._numbers
        for cell in cells:
            if not numbers.keys() >= set(cell.verdicts):
                for verdict in cell.verdicts:
                    if verdict not in numbers:
                        numbers[verdict] = len(numbers)
                        fresh.append(_values_of(verdict))
            column = array("I", map(numbers.__getitem__, cell.verdicts))
            packed.append((cell.key, column.tobytes(), cell.durations.tobytes()))
        return PackedRecords(os.getpid(), fresh, packed)

    def unpacked(self, sent: PackedRecords) -> Iterator[CellRecords]:
        """Yield what was sent, cell by cell."""
        verdicts = self._verdicts.setdefault(sent.process, [])
        for values in sent.fresh:
            verdicts.append(_shared(*values))
        for key, column, durations in sent.cells:
            yield CellRecords(key, map(verdicts.__getitem__, array("I", column)), array("d", durations))


# What is kept of a cell's runs.


_Packed = tuple[tuple[str, ...], "bytes | tuple[int, ...]"]
"""Counters: their names, which all runs share, and their values."""
_KEPT = ("scenario", "attempt", "end", "status", "signal", "duration_s", "note", "cases", "damage")
_kept_of = attrgetter(*_KEPT)


class CellRuns(_Column[Run]):
    """The runs of one cell without what their programs and the console said. A run is made when it is asked for."""

    __slots__ = ("_rows",)

    def __init__(self, rows: tuple[tuple[tuple[Any, ...], _Packed | None, _Packed | None], ...]) -> None:
        self._rows = rows

    def __reduce__(self) -> tuple[object, ...]:
        return CellRuns, (self._rows,)

    @classmethod
    def of(cls, runs: Iterable[Run]) -> CellRuns:
        """Return what is kept of some runs."""
        return cls(tuple([(_kept_of(run), _packed(run.before), _packed(run.after)) for run in runs]))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Run: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Run, ...]: ...
    def __getitem__(self, place: int | slice) -> Run | tuple[Run, ...]:
        if isinstance(place, slice):
            return tuple(map(self.__getitem__, range(*place.indices(len(self)))))
        kept, before, after = self._rows[place]
        return Run(**dict(zip(_KEPT, kept, strict=True)), before=_unpacked(before), after=_unpacked(after))


def _packed(books: Books | None) -> _Packed | None:
    """Return counters in a tenth of the memory of a dictionary."""
    if books is None:
        return None
    names = _shared_names(tuple(books))
    try:
        return names, array("q", books.values()).tobytes()
    except OverflowError:  # of no real guest
        return names, tuple(books.values())


def _unpacked(packed: _Packed | None) -> Books | None:
    if packed is None:
        return None
    names, values = packed
    numbers = array("q", values) if isinstance(values, bytes) else values
    return dict(zip(names, numbers, strict=True))


@lru_cache(maxsize=SHARED)
def _shared_names(names: tuple[str, ...]) -> tuple[str, ...]:
    return names


Tally = Counter[CaseVerdict]
"""How many records have each verdict, in the order in which the verdicts come first."""


class Counted(NamedTuple):
    """How many records have each verdict."""

    tally: Tally
    by_kernel: Mapping[str, Tally]


def count(cells: Mapping[CellKey, CellRecords]) -> Counted:
    """Count the verdicts of all cells and those of each kernel, in one pass over the records."""
    by_kernel: dict[str, Tally] = {}
    order: dict[CaseVerdict, int] = {}
    for key, records in cells.items():
        tally = by_kernel.setdefault(key.kernel, Counter())
        before = len(tally)
        tally.update(records.verdicts)
        new = list(islice(reversed(tally), len(tally) - before))
        order |= dict.fromkeys(reversed(new), 0)
    total = Counter(order)
    for tally in by_kernel.values():
        total.update(tally)
    return Counted(total, by_kernel)
