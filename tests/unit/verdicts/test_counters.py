# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's books: what the shell says is read, what a program says is not, and what is gone for good is told."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.verdicts import counters

MARK = "books-0123456789abcdef"
# Of an x86_64 guest with 4K pages, two nodes and four CPUs.
SAID = b"""\
MemFree: 893880
Active(file): 0
Inactive(file): 12
AnonPages: 424
Shmem: 2664
SReclaimable: 416
SUnreclaim: 4492
Committed_AS: 4624
/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages: 16
/sys/kernel/mm/hugepages/hugepages-2048kB/resv_hugepages: 0
/sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages: 8
/sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages: 8
              count: 804
              count: 479
0
"""
READ = {
    "MemFree": 893880,
    "Active(file)": 0,
    "Inactive(file)": 12,
    "AnonPages": 424,
    "Shmem": 2664,
    "SReclaimable": 416,
    "SUnreclaim": 4492,
    "Committed_AS": 4624,
    "free.2048kB": 16,
    "resv.2048kB": 0,
    "node0.free.2048kB": 8,
    "node1.free.2048kB": 8,
    "per_cpu_pages": 1283,
    "tainted": 0,
}
SMALL = {**READ, counters.PAGE: 4, counters.CPUS: 4}
LARGE = {**READ, counters.PAGE: 64, counters.CPUS: 4}


def marked(said: bytes) -> bytes:
    return b"\n%s\n%s%s\n" % (MARK.encode(), said, MARK.encode())


def test_the_books_of_a_real_guest() -> None:
    assert counters.parse(SAID) == READ


def elsewhere(command: str, place: Path) -> str:
    """A command that changes files in a directory instead of this host's settings."""
    return command.replace("/proc/sys/vm", str(place)).replace("/proc/sys/kernel/printk", str(place / "level"))


def test_the_shell_command_runs_here_too_and_keeps_the_status(tmp_path: Path) -> None:
    command = counters.wrap("printf 'ok 1'; exit_with() { return 7; }; exit_with", MARK)
    harmless = command.replace("/proc/sys/vm", str(tmp_path)).replace(
        "/proc/sys/kernel/printk", str(tmp_path / "level")
    )
    done = subprocess.run(["sh", "-c", harmless], capture_output=True, check=False)
    said, before, after = counters.split(done.stdout, MARK)
    assert (said, done.returncode) == (b"ok 1", 7)
    assert before is not None
    assert after is not None
    assert before.keys() >= {"Committed_AS", "Shmem", "AnonPages", "MemFree", "SUnreclaim", "tainted"}
    assert (tmp_path / "drop_caches").read_text() == "3\n"
    assert not (tmp_path / "level").exists()


@pytest.mark.parametrize(("was", "then"), [("4\t4\t1\t7\n", "7\n"), ("8\t4\t1\t7\n", "8\t4\t1\t7\n")])
def test_a_console_that_a_program_has_silenced_shows_warnings_again(tmp_path: Path, was: str, then: str) -> None:
    level = tmp_path / "level"
    level.write_text(was)
    command = counters.wrap("true", MARK).replace("/proc/sys/vm", str(tmp_path))
    subprocess.run(
        ["sh", "-c", command.replace("/proc/sys/kernel/printk", str(level))], capture_output=True, check=True
    )
    assert level.read_text() == then


@pytest.mark.parametrize("own", [b"", b"KTAP version 1\n", b"no newline", b"\n", b"%s\n" % MARK.encode(), marked(SAID)])
def test_what_a_program_says_is_its_own(own: bytes) -> None:
    """Also when it knows the mark: a run's first and last books are the shell's."""
    assert counters.split(marked(SAID) + own + marked(SAID), MARK) == (own, READ, READ)


@pytest.mark.parametrize("cut", [0, 1, 10, 60, 400])
def test_books_that_are_not_whole_are_none(cut: int) -> None:
    whole = marked(SAID) + b"KTAP version 1\n"
    said, before, after = counters.split(whole + marked(SAID)[: -cut - 1], MARK)
    assert (before, after) == (READ, None)
    assert said.startswith(b"KTAP version 1\n")
    assert counters.split(whole[:cut], MARK)[1:] == (None, None)


@given(st.binary(max_size=300))
def test_nothing_is_lost_or_raised(said: bytes) -> None:
    assert counters.split(marked(SAID) + said + marked(SAID), MARK) == (said, READ, READ)
    counters.split(said, MARK)
    counters.parse(said)


# What did not come back.


def changed(before: Mapping[str, int], **moved: int) -> dict[str, int]:
    return {name: value + moved.get(name, 0) for name, value in before.items()}


def test_what_the_address_sanitizer_has_in_quarantine_is_not_lost() -> None:
    """As a guest of 1 GiB had it: 13 MB of slab after a scenario; Committed_AS is as exact as ever."""
    sizes = {"page_size": 4096, "cpus": 4, "memory": 1 << 30}
    plain, kasan = ({**READ, **counters.measures(**sizes, kasan=has)} for has in (False, True))
    moved = {"SUnreclaim": 12916, "MemFree": -15520}
    assert len(counters.leaks(plain, changed(plain, **moved))) == 2
    assert counters.leaks(kasan, changed(kasan, **moved)) == ()
    assert counters.leaks(kasan, changed(kasan, SUnreclaim=40 << 10))
    assert counters.leaks(kasan, changed(kasan, Committed_AS=12916))


def test_the_maps_of_a_chunk_of_per_cpu_memory_are_not_lost_where_vmalloc_has_them() -> None:
    """As a guest of sparc64 had it after a program with memory cgroups."""
    chunk = counters.percpu_chunk("[    0.0] percpu: Embedded 8 pages/cpu s35736 r0 d29800 u4194304\n", 8)
    before = {**READ, "VmallocUsed": 16, **counters.measures(page_size=8192, cpus=1, memory=1 << 29, kasan=False)}
    large = {**before, **counters.measures(page_size=8192, cpus=1, memory=1 << 29, kasan=False, percpu_chunk=chunk)}
    moved = {"MemFree": -8456, "VmallocUsed": 8472}
    assert counters.leaks(large, changed(large, **moved)) == ()
    assert counters.leaks(before, changed(before, **moved)) == ("free memory -8456 kB (allowed: 2176 kB)",)
    assert counters.leaks(large, changed(large, MemFree=-8456)), "it is not vmalloc's"
    assert counters.leaks(large, changed(large, MemFree=-17000, VmallocUsed=17000)), "two chunks"


def test_the_maps_of_a_chunk_are_known_by_what_the_kernel_printed() -> None:
    """An x86_64 guest with four CPUs on two nodes kept 2164 kB of vmalloc after a program with memory cgroups."""
    printed = "[    0.0] percpu: Embedded 43 pages/cpu s144280 r0 d31848 u1048576\n"
    assert 2164 << 10 <= counters.percpu_chunk(printed, 8) <= 2304 << 10
    assert counters.percpu_chunk(printed, 4) < counters.percpu_chunk(printed, 8)
    assert counters.percpu_chunk("percpu: Embedded of what a program prints\n", 8) == 0


@pytest.mark.parametrize("name", ["Committed_AS", "Shmem", "AnonPages", "SReclaimable", "SUnreclaim"])
@pytest.mark.parametrize("before", [SMALL, LARGE], ids=["4K", "64K"])
def test_a_counter_may_move_to_its_bound_and_no_further(before: Mapping[str, int], name: str) -> None:
    bound = counters.BOUNDS[name].bound(before)
    assert counters.leaks(before, changed(before, **{name: bound})) == ()
    assert counters.leaks(before, changed(before, **{name: -bound * 100, "MemFree": bound * 100})) == ()
    assert counters.leaks(before, changed(before, **{name: bound + 1})) == (
        f"{name} {bound + 1:+} kB (allowed: {bound} kB)",
    )


def test_free_memory_is_what_is_available_and_what_the_cpus_keep() -> None:
    """25 MB that are only on the CPUs' lists are no leak; 25 MB that are nowhere are one."""
    kept = changed(SMALL, MemFree=-25600, per_cpu_pages=6400)
    assert counters.leaks(SMALL, kept) == ()
    gone = changed(SMALL, MemFree=-25600)
    assert counters.leaks(SMALL, gone) == ("free memory -25600 kB (allowed: 2304 kB)",)


def test_what_the_kernel_can_take_back_is_free() -> None:
    """Of an earlier lab's run the kernel's own sum is at hand, without what it held in reserve."""
    cached = changed(SMALL, **{"MemFree": -25600, "Active(file)": 20000, "Inactive(file)": 4600, "SReclaimable": 1000})
    assert counters.leaks(SMALL, cached) == ()
    earlier = {name: value for name, value in SMALL.items() if name not in counters._FREE} | {"MemAvailable": 894296}
    assert counters.leaks(earlier, changed(earlier, MemAvailable=-25600)) == (
        "free memory -25600 kB (allowed: 2304 kB)",
    )


@pytest.mark.parametrize(
    ("moved", "words"),
    [
        ({"free.2048kB": -1, "node0.free.2048kB": -1}, "huge pages of 2048kB: free 15, was 16"),
        ({"free.2048kB": -1, "node1.free.2048kB": -1}, "huge pages of 2048kB on node1: free 7, was 8"),
        ({"resv.2048kB": 1}, "huge pages of 2048kB: reserved 1, was 0"),
    ],
)
def test_huge_pages_are_counted_one_by_one(moved: Mapping[str, int], words: str) -> None:
    assert words in counters.leaks(SMALL, changed(SMALL, **moved))


def test_books_without_a_counter_say_nothing_about_it() -> None:
    assert counters.leaks({}, SMALL) == ()
    assert counters.leaks(SMALL, {}) == ()


@pytest.mark.parametrize(("was", "now", "letters"), [(0, 0, ""), (0, 512, "W"), (512, 512, ""), (1, 64 | 128, "UD")])
def test_taints(was: int, now: int, letters: str) -> None:
    assert counters.taint({"tainted": was}, {"tainted": now}) == letters
    assert counters.taint(None, {"tainted": now}) == ""
