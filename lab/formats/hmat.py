# SPDX-License-Identifier: GPL-2.0-or-later
"""Decodes ACPI's heterogeneous memory attribute table (HMAT) to latencies and bandwidths. Pure.

ACPI 6.5, 5.2.28. The table is a header of 40 bytes and structures: type (16 bits), reserved (16), length (32). Type 1
is a matrix of initiators x targets: at offset 8 the flags (low 4 bits: 0 is memory itself, others are its caches), at
9 what is measured, at 12 and 16 how many initiators and targets, at 24 the unit (64 bits), then their numbers (32 bits
each) and the entries (16 bits each), row by row. Linux shows only the fastest access to each node, the table has all.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

HEADER = 40
LOCALITY = 1
FIXED = 32
"""Bytes of a matrix before its lists of initiators and targets."""
QUANTITIES = {1: "read_latency", 2: "write_latency", 4: "read_bandwidth", 5: "write_bandwidth"}
PER_NANOSECOND = 1000
"""Latencies are in picoseconds (since revision 2 of the table), bandwidths in MB/s."""
UNKNOWN = (0, 0xFFFF)

Links = Mapping[tuple[int, int], int]
"""(initiator, target) -> nanoseconds or MB/s."""


def decode(table: bytes) -> Mapping[str, Links]:
    """Return every link with a value by quantity (read_latency, ...); ValueError for a damaged table."""
    found: dict[str, dict[tuple[int, int], int]] = {}
    try:
        for body in _matrices(table):
            name = QUANTITIES.get(body[9])
            if name and body[8] & 0xF == 0:
                found.setdefault(name, {}).update(_links(name, body))
    except (struct.error, IndexError) as error:
        raise ValueError(f"no HMAT in {len(table)} bytes: {error}") from None
    return found


def _matrices(table: bytes) -> Iterator[bytes]:
    if table[:4] != b"HMAT":
        raise ValueError(f"no HMAT in {len(table)} bytes")
    at = HEADER
    while at < len(table):
        kind, length = struct.unpack_from("<H2xI", table, at)
        if length < 8 or at + length > len(table):
            raise ValueError(f"no HMAT in {len(table)} bytes: a structure of {length} at {at}")
        if kind == LOCALITY:
            yield table[at : at + length]
        at += length


def _links(name: str, body: bytes) -> Links:
    rows, columns = struct.unpack_from("<II", body, 12)
    (unit,) = struct.unpack_from("<Q", body, 24)
    if FIXED + 4 * (rows + columns) + 2 * rows * columns > len(body):
        raise ValueError(f"no HMAT: {rows} x {columns} links in {len(body)} bytes")
    numbers = struct.unpack_from(f"<{rows + columns}I", body, FIXED)
    entries = struct.unpack_from(f"<{rows * columns}H", body, FIXED + 4 * (rows + columns))
    scale = PER_NANOSECOND if name.endswith("latency") else 1
    return {
        (initiator, target): entries[row * columns + column] * unit // scale
        for row, initiator in enumerate(numbers[:rows])
        for column, target in enumerate(numbers[rows:])
        if entries[row * columns + column] not in UNKNOWN
    }
