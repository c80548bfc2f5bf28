# SPDX-License-Identifier: GPL-2.0-or-later
"""Files of all nodes that a command shows without names: their nodes, where the text says them, else a guess."""

from __future__ import annotations

import pytest

from lab.workflows.machine import capture

NODE = "/sys/devices/system/node"
LISTS = f"$ cat {NODE}/node*/cpulist\n0-3\n4-7\n8-11\n"
GAPS = {0: (0, 1, 2, 3), 2: (4, 5, 6, 7), 8: (8, 9, 10, 11)}


def reading(text: str) -> capture.Reading:
    return capture.read([("machine.txt", f"x86_64\n{text}")])


def cpus(text: str) -> dict[int, tuple[int, ...]]:
    return {number: node.cpus for number, node in reading(text).machine.nodes.items()}


@pytest.mark.parametrize(
    "names",
    [
        f"$ cat {NODE}/online\n0,2,8\n",
        f"{NODE}/online:0,2,8\n",
        f"$ ls -d {NODE}/node*\n{NODE}/node0  {NODE}/node2  {NODE}/node8\n",
        "".join(f"{NODE}/node{n}/meminfo:Node {n} MemTotal:  4194304 kB\n" for n in (0, 2, 8)),
        f"$ cat {NODE}/node*/meminfo | grep MemTotal\n" + "".join(f"Node {n} MemTotal: 4096 kB\n" for n in (0, 2, 8)),
        "NUMA node0 CPU(s):   0-3\nNUMA node2 CPU(s):   4-7\nNUMA node8 CPU(s):   8-11\n",
    ],
)
def test_what_names_the_nodes_decides_whose_line_is_whose(names: str) -> None:
    for text in (names + LISTS, LISTS + names):
        made = reading(text)
        assert cpus(text) == GAPS
        assert not made.problems
        assert any("taken for nodes 0,2,8 in the order of a shell's glob" in note for note in made.notes)
        assert not any("a guess: nothing names them" in note for note in made.notes)


def test_nodes_that_nothing_names_are_a_guess() -> None:
    made = reading(LISTS)
    assert list(made.machine.nodes) == [0, 1, 2]
    assert any(
        "nodes 0-2" in text and "nothing names them, and Linux may leave out numbers" in text for text in made.guesses()
    )


@pytest.mark.parametrize(
    ("names", "which"), [(f"$ cat {NODE}/online\n0-7\n", "0-7 are online"), (f"{NODE}/node5\n", "5 are named")]
)
def test_lines_that_do_not_fit_the_names_are_no_nodes(names: str, which: str) -> None:
    problem = f"node*/cpulist has 3 lines, and nodes {which}: which line is whose is not known"
    assert any(problem in each for each in reading(names + LISTS).problems)


def test_distances_are_of_the_nodes_that_are_named() -> None:
    rows = f"$ cat {NODE}/node*/distance\n10 21 31\n21 10 41\n31 41 10\n"
    nodes = reading(f"$ cat {NODE}/online\n0,2,8\n{LISTS}{rows}").machine.nodes
    assert {number: node.distance for number, node in nodes.items()} == {
        0: (10, 21, 31),
        2: (21, 10, 41),
        8: (31, 41, 10),
    }


@pytest.mark.parametrize(
    ("lists", "online", "expected"),
    [
        ("0-3\n\n4-7\n", "", {0: (0, 1, 2, 3), 1: (), 2: (4, 5, 6, 7)}),
        ("0-3\n4-7\n\n", "", {0: (0, 1, 2, 3), 1: (4, 5, 6, 7)}),
        ("0-3\n4-7\n\n", "0-2", {0: (0, 1, 2, 3), 1: (4, 5, 6, 7), 2: ()}),
        ("0-3\n\n\n4-7\n", "0-3", {0: (0, 1, 2, 3), 1: (), 2: (), 3: (4, 5, 6, 7)}),
        ("0-3\n\n4-7\n\n8-11\n", "", {0: (0, 1, 2, 3), 1: (4, 5, 6, 7), 2: (8, 9, 10, 11)}),
    ],
)
def test_an_empty_line_is_a_node_without_cpus(lists: str, online: str, expected: dict[int, tuple[int, ...]]) -> None:
    names = f"$ cat {NODE}/online\n{online}\n" if online else ""
    assert cpus(f"{names}$ cat {NODE}/node*/cpulist\n{lists}$ uname -m\nx86_64\n") == expected


def test_two_globs_of_one_command_share_its_lines() -> None:
    nodes = reading(f"$ cat {NODE}/node*/{{cpulist,distance}}\n0-3\n4-7\n10 21\n21 10\n").machine.nodes
    assert [(node.cpus, node.distance) for node in nodes.values()] == [
        ((0, 1, 2, 3), (10, 21)),
        ((4, 5, 6, 7), (21, 10)),
    ]


def test_pools_of_all_nodes_are_pools_of_each() -> None:
    pools = f"$ cat {NODE}/node*/hugepages/hugepages-2048kB/nr_hugepages\n16\n8\n8\n"
    nodes = reading(pools + LISTS).machine.nodes
    assert [node.hugepages for node in nodes.values()] == [{2 << 20: 16}, {2 << 20: 8}, {2 << 20: 8}]


def test_nodes_that_are_online_and_not_described_are_missing() -> None:
    text = (
        f"$ cat {NODE}/online\n0-3\n$ grep . {NODE}/node*/cpulist\n{NODE}/node0/cpulist:0-3\n{NODE}/node1/cpulist:4-7\n"
    )
    assert any("4 nodes are announced and 2 described: 2-3 are missing" in each for each in reading(text).problems)
