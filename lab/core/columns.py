# SPDX-License-Identifier: GPL-2.0-or-later
"""The records of many cells in little memory: verdicts that cells share, and a column of times for each cell. Pure.

A campaign of 10,000 cells with 100 cases has a million records, but only so many different verdicts as there are cases
and reasons. A record is made when somebody asks for it; what counts over all of them counts verdicts.
"""

from __future__ import annotations

import copyreg
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from itertools import chain
from math import isnan, nan
from operator import attrgetter, eq
from typing import overload

from lab.core.outcome import CaseRecord, CaseVerdict, CellKey

SHARED = 1 << 16
"""So many verdicts are remembered in order to be shared."""
_NAMES = tuple(field.name for field in fields(CaseVerdict))
_values_of = attrgetter(*_NAMES)


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


@lru_cache(maxsize=SHARED)
def _on_host(verdict: CaseVerdict, host: str) -> CaseVerdict:
    return shared(replace(verdict, host=host))


class _Records(Sequence[CaseRecord]):
    """Records that are equal to any other sequence of the same records."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(eq, self, other))


class CellRecords(_Records):
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


class RunRecords(_Records):
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


Tally = Counter[CaseVerdict]
"""How many records have each verdict, in the order in which the verdicts come first."""


def tally_of(cells: Iterable[CellRecords]) -> Tally:
    """Return how often each verdict occurs."""
    return Counter(chain.from_iterable(cell.verdicts for cell in cells))


def tallies(cells: Mapping[CellKey, CellRecords]) -> dict[str, Tally]:
    """Return kernel -> how often each verdict occurs there on all machines."""
    found: dict[str, Tally] = {}
    for key, records in cells.items():
        found.setdefault(key.kernel, Counter()).update(records.verdicts)
    return found
