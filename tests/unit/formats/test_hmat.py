# SPDX-License-Identifier: GPL-2.0-or-later
"""ACPI's HMAT: a table that QEMU 7.2 made, tables of every shape, and damage."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.formats.hmat import decode
from tests.unit.fixtures.hmat import matrix, table

# Of a machine with nodes 0 and 1 of CPUs and memory and node 2 of memory alone, as /sys/firmware/acpi/tables/HMAT.
GOLDEN = bytes.fromhex(
    "484d4154a0010000023e424f4348532042585043202020200100000042585043010000000000000000000000280000000100000000000000"
    "0000000000000000000000000000000000000000000000000000000028000000010000000100000001000000000000000000000000000000"
    "0000000000000000000000002800000001000000010000000200000000000000000000000000000000000000000000000100000040000000"
    "00010000020000000300000000000000e803000000000000000000000100000000000000010000000200000050008c00040191005500ff00"
    "010000004000000000020000020000000300000000000000e80300000000000000000000010000000000000001000000020000005a009600"
    "2c019b005f002201010000004000000000040000020000000300000000000000000100000000000000000000010000000000000001000000"
    "0200000050002800140029005100150001000000400000000005000002000000030000000000000000010000000000000000000001000000"
    "000000000100000002000000400020001000210041001100"
)


def test_a_table_of_qemus() -> None:
    found = decode(GOLDEN)
    assert found["read_latency"] == {(0, 0): 80, (0, 1): 140, (0, 2): 260, (1, 0): 145, (1, 1): 85, (1, 2): 255}
    assert found["write_latency"][1, 2] == 290
    assert found["read_bandwidth"] == {
        (0, 0): 20480, (0, 1): 10240, (0, 2): 5120, (1, 0): 10496, (1, 1): 20736, (1, 2): 5376,
    }  # fmt: skip
    assert found["write_bandwidth"][1, 0] == 8448


def test_what_is_no_link_is_none() -> None:
    """Other structures, caches, access of no kind, links without a value."""
    other = struct.pack("<H2xI", 0, 40) + bytes(32)
    cache = matrix(1, 1000, [0], [0], [7], flags=1)
    either = matrix(0, 1000, [0], [0], [7])
    holes = matrix(1, 1000, [0, 3], [0, 1], [0, 5, 0xFFFF, 6])
    assert decode(table(other, cache, either, holes)) == {"read_latency": {(0, 1): 5, (3, 1): 6}}


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"SLIT" + bytes(60),
        table(bytes(8)),
        table(matrix(1, 1, [0], [0], [1]))[:-1],
        GOLDEN[:100],
        table(struct.pack("<H2xI", 1, 8)),
        table(struct.pack("<H2xI", 1, 40) + bytes([0, 1]) + bytes(2) + b"\xff" * 8 + bytes(20)),
    ],
)
def test_damage_is_said(blob: bytes) -> None:
    with pytest.raises(ValueError, match="no HMAT"):
        decode(blob)


@given(st.binary(max_size=200))
def test_any_bytes(blob: bytes) -> None:
    for candidate in (blob, table(blob)):
        with contextlib.suppress(ValueError):
            decode(candidate)
