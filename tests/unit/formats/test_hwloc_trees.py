# SPDX-License-Identifier: GPL-2.0-or-later
"""Trees of lstopo with one kind of numbers alone, and in boxes."""

from __future__ import annotations

import pytest

from tests.unit.fixtures.described import nodes, reading


def tree(node: str, unit: str) -> str:
    """Two nodes with two CPUs each, which Linux numbers in turns."""
    lines = ["Machine (62GB total)"]
    for logical in (0, 1):
        lines.append(f"  Package L#{logical}" if "{l}" in node else f"  Package P#{logical}")
        lines.append("    " + node.format(l=logical, p=logical))
        lines += ["      Core + " + unit.format(l=2 * logical + core, p=2 * core + logical) for core in (0, 1)]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("node", "unit"),
    [
        ("NUMANode L#{l} (P#{p} 31GB)", "PU L#{l} (P#{p})"),
        ("NUMANode P#{p} (31GB)", "PU P#{p}"),
        ("NUMANode L#{l} P#{p} (31GB)", "PU L#{l} P#{p}"),
    ],
)
def test_the_numbers_of_linux_are_used(node: str, unit: str) -> None:
    assert nodes(tree(node, unit)) == {0: ("0,2", 31744), 1: ("1,3", 31744)}


def test_numbers_of_hwloc_alone_are_a_guess() -> None:
    text = tree("NUMANode L#{l} (31GB)", "PU L#{l}")
    assert nodes(text) == {0: ("0-1", 31744), 1: ("2-3", 31744)}
    assert any("hwloc's own numbers" in guess for guess in reading(text).guesses())


def test_boxes_beside_each_other_are_refused() -> None:
    """A line has a part of each, so that no node's CPUs are known."""
    text = (
        "│ Machine (62GB total)  │\n│ NUMANode L#0 P#0 (31GB)  NUMANode L#1 P#1 (31GB) │\n│ PU L#0 P#0  PU L#1 P#1 │\n"
    )
    assert any("62" in problem or "63488" in problem for problem in reading(text).problems)


def test_a_number_that_is_none_is_no_cpu() -> None:
    text = tree("NUMANode L#{l} (P#{p} 31GB)", "PU L#{l} (P#{p})").replace("PU L#0", "PU L#x")
    assert any("CPU L#0 of it is not there" in problem for problem in reading(text).problems)
