# SPDX-License-Identifier: GPL-2.0-or-later
"""One machine in every form in which its text may be pasted: each is the same machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.fixtures.described import Nodes, distances, nodes, reading

NUMACTL = """available: 2 nodes (0-1)
node 0 cpus: 0 1 2 3
node 0 size: 2048 MB
node 0 free: 10 MB
node 1 cpus: 4 5 6 7
node 1 size: 2048 MB
node 1 free: 10 MB
node distances:
node   0   1
  0:  10  21
  1:  21  10
"""
FIELDS = {
    "Architecture": "x86_64",
    "CPU(s)": "8",
    "On-line CPU(s) list": "0-7",
    "NUMA node(s)": "2",
    "NUMA node0 CPU(s)": "0-3",
    "NUMA node1 CPU(s)": "4-7",
}
LSCPU = "".join(f"{key}: {value}\n" for key, value in FIELDS.items())
BEFORE = [
    *("10:0{n} <bob> ", "[2024-01-02 10:00:0{n}] <+bob_> ", "10:00:0{n}      bob | ", "bob: ", "> ", ": ", "| "),
    *("Jan  2 10:00:0{n} box root: ", "Jan 02 10:00:0{n} box bob[1234]: ", "2024-01-02T10:00:0{n}+0000 box a[1]: "),
    *("I0102 10:00:0{n}.123456       1 main.go:12] ", "2024-01-02 10:00:0{n},123 [main] INFO  c.x.Y - "),
    *("INFO:root:", "2024-01-02T10:00:00.123456Z 01O ", "2024-01-02T10:00:00.12345678{n}Z stdout F ", "app-1  | "),
    *("# ", "    // ", "% ", "-- ", "E   ", "    test.py:12: ", "[ INFO ] ", "[pod/app-0/app] ", "170000000{n}.123 "),
    *("\x1b[38;5;12m", "[0m[01;34m", "^[[0m^[[1;34m", r"\e[0m", "\u2022 ", "\t", "    \u00a0"),
]
"""What stands before each line; `{n}` is the last digit of its number."""
BEHIND = ["\\", "  ", "\r", "\x1b[m\x1b[K", "[0m", "^[[0m", "<br>", "\n", "\\r", "^M"]
"""What stands behind each line."""
LISTS: dict[str, Callable[[str, str], str]] = {
    "definitions": lambda key, value: f"<dt>{key}</dt><dd>{value}</dd>",
    "cells": lambda key, value: f"<tr><td>{key}</td><td>{value}</td></tr>\n",
    "tabs": lambda key, value: f"{key}\t{value}\n",
    "columns": lambda key, value: f"{key:40}{value}\n",
    "code": lambda key, value: f"- {key}: `{value}`\n",
    "bold": lambda key, value: f"* **{key}:** {value}\n",
    "numbered-rows": lambda key, value: f"| 1 | {key} | {value} |\n",
    "grid": lambda key, value: f"+-----+-----+\n| {key} | {value} |\n",
    "items": lambda key, value: f"<li>{key}: {value}</li>",
    "smart-quotes": lambda key, value: f"\u201c{key}\u201d: \u201c{value}\u201d,\n",
}


def halves(memory: int) -> Nodes:
    return {0: ("0-3", memory), 1: ("4-7", memory)}


@pytest.mark.parametrize("prefix", BEFORE)
def test_what_stands_before_each_line_is_taken_off(prefix: str) -> None:
    for text, memory in ((NUMACTL, 2048), (LSCPU, 0)):
        lines = [f"{prefix.replace('{n}', str(n % 10))}{line}\n" for n, line in enumerate(text.splitlines())]
        assert nodes("".join(lines)) == halves(memory)


@pytest.mark.parametrize("suffix", BEHIND)
def test_what_stands_behind_each_line_is_taken_off(suffix: str) -> None:
    text = NUMACTL.replace("\n", f"{suffix}\n")
    assert (nodes(text), distances(text)) == (halves(2048), [(10, 21), (21, 10)])


@pytest.mark.parametrize("form", LISTS)
def test_a_list_of_keys_and_values(form: str) -> None:
    text = "".join(LISTS[form](key, value) for key, value in FIELDS.items())
    assert nodes(text, "") == halves(0)


def test_a_dictionary_of_python() -> None:
    text = str({"lscpu": [{"field": f"{key}:", "data": value} for key, value in FIELDS.items()]})
    assert nodes(text, "") == halves(0)


def test_distances_without_line_breaks() -> None:
    text = " ".join(NUMACTL.split())
    assert (nodes(text), distances(text)) == (halves(2048), [(10, 21), (21, 10)])


def test_backslashes_of_a_command_are_no_breaks_of_markdown() -> None:
    """virtme-ng's options are read up to a line that does not go on."""
    text = "vng --cpus 4 \\\n--memory 4G \\\n--numa 2G,cpus=0-1 \\\n--numa 2G,cpus=2-3 \\\n--user root\n-m 8G\n"
    assert nodes(text) == {0: ("0-1", 2048), 1: ("2-3", 2048)}


@pytest.mark.parametrize(
    "text", ["MemTotal: 4 GB\n", "MemTotal: 4.0 GiB\n", "MemTotal: 4,0 GB\n", "MemTotal: 4194304\n"]
)
def test_memory_in_any_unit(text: str) -> None:
    assert reading(text).check().memory == 4 << 30


@pytest.mark.parametrize(
    "text",
    [
        "     0   1   2\n0:  10  12  32\n1:  12  10  32\n2:  32  32  10\n",
        "10 12 32\n12 10 32\n32 32 10\n",
        "| | 0 | 1 | 2 |\n|--|--|--|--|\n| 0 | 10 | 12 | 32 |\n| 1 | 12 | 10 | 32 |\n| 2 | 32 | 32 | 10 |\n",
        "| | 0 | 1 | 2 |\n|--|--|--|--|\n| 0: | 10 | 12 | 32 |\n| 1: | 12 | 10 | 32 |\n| 2: | 32 | 32 | 10 |\n",
    ],
)
def test_a_matrix_of_distances_without_a_word(text: str) -> None:
    assert distances(text) == [(10, 12, 32), (12, 10, 32), (32, 32, 10)]


def test_the_numbers_of_a_labelled_matrix_may_have_gaps() -> None:
    assert list(nodes("  0  8\n0: 10 40\n8: 40 10\n")) == [0, 8]
    assert reading("  0  8\n0: 10 40\n1: 40 10\n").problems == ["nothing in the text describes a machine"]


def test_cpus_that_are_offline_are_on_no_node() -> None:
    text = "CPU(s): 4\nOn-line CPU(s) list: 0-2\nOff-line CPU(s) list: 3\nNUMA node0 CPU(s): 0-3\n"
    assert nodes(text) == {0: ("0-2", 0)}
    assert reading(text).machine.cpus == 3


@pytest.mark.parametrize(
    "text",
    [
        "Welcome to Ubuntu 22.04.3 LTS (GNU/Linux 5.15.0-91-generic-64k aarch64)\n",
        ">>> platform.uname()\nuname_result(system='Linux', release='6.6.0+64k', version='#1', machine='aarch64')\n",
    ],
)
def test_the_kernel_in_a_greeting(text: str) -> None:
    machine = reading(text, "").check()
    assert (machine.arch, machine.page_size) == ("aarch64", 65536)
