# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way in which a program, a kernel or a machine can end has its name, and so has memory that stays behind.

The samples `faults`, `leak` and `daemon` do it to real guests.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.integration.conftest import MACHINES, ROOT, CampaignRun, run_campaign

MACHINE = MACHINES[1]
ENDS = {
    "unhurt": ("PASS", "passed"),
    "panic": ("CRASH", "panic"),
    "reset": ("CRASH", "reboot"),
    "power_off": ("CRASH", "reboot"),
    "oom_victim": ("CRASH", "oom-kill"),
    "segv": ("CRASH", "signal"),
    "asleep": ("HANG", "test-hang"),
    "harness_stops": ("HANG", "test-hang"),
    "silent_halt": ("HANG", "kernel-hang"),
    "sshd_killed": ("BROKEN", "ssh-lost"),
}
WORDS = {
    "panic": ["Kernel panic - not syncing: sysrq triggered crash", "__handle_sysrq < write_sysrq_trigger < "],
    "reset": ["sysrq: Resetting"],
    "power_off": ["reboot: Power down"],
    "oom_victim": ["signal=9 (SIGKILL)", "Out of memory: Killed process"],
    "segv": ["signal=11 (SIGSEGV)"],
    "asleep": ["state=S"],
    "harness_stops": ["in a guest that still answered", "NMI backtrace for cpu"],
    "silent_halt": ["the guest did not answer any more", "; CPU 0 at "],
    "sshd_killed": ["the SSH connection was lost"],
}
LEAKS = {
    "leak.sysv_shm": "Committed_AS moved by +2000 pages",
    "leak.sysv_shm_and_fails": "Committed_AS moved by +2000 pages",
    "leak.hugepages_reserved": "huge pages of 2048 kB: free 16, was 16; reserved 1, was 0",
    "leak.hugepages_used": "huge pages of 2048 kB: free 15, was 16; reserved 1, was 1",
    "leak.file_left_in_tmp": "Committed_AS moved by",
    "daemon.leak": "Shmem +24576 kB",
}


def patience() -> float:
    """A quarter of what users get, so that hangs are known in half a minute; more where others keep the host busy."""
    return min(1.0, max(0.25, os.getloadavg()[0] / (os.cpu_count() or 1) / 10))


def run_samples(directory: Path, *names: str) -> CampaignRun:
    """The campaign quick on one machine and kernel, with samples for scenarios and little patience."""
    samples = directory / "samples"
    samples.mkdir()
    for name in names:
        shutil.copy(ROOT / "guest_tests" / "samples" / f"{name}.c", samples)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAGELAB_SCENARIOS", str(samples))
        patch.setenv("PAGELAB_PATIENCE", f"{patience():.2f}")
        tests = [word for name in names for word in ("--test", name)]
        return run_campaign(directory / "run", "quick", "-t", MACHINE, "-k", "baseline", *tests)


@pytest.fixture(scope="module")
def samples(built: None, tmp_path_factory: pytest.TempPathFactory) -> CampaignRun:
    return run_samples(tmp_path_factory.mktemp("ends"), "faults", "leak", "daemon")


def test_every_end_has_its_name_and_its_words(samples: CampaignRun) -> None:
    found = {each["case"]: each for each in samples.results["records"] if each["scenario"] == "faults"}
    assert {name: (each["outcome"], each["cause"]) for name, each in found.items()} == ENDS
    missing = {name: word for name, words in WORDS.items() for word in words if word not in found[name]["excerpt"]}
    assert not missing
    assert samples.done.status == 1


def test_the_console_has_the_beginning_of_each_case(samples: CampaignRun) -> None:
    [console] = samples.path.glob("cells/*/*/console.log")
    begun = re.findall(r"pagelab: run faults\.(\w+)", console.read_text(errors="replace"))
    assert set(begun) == ENDS.keys()


def test_what_stays_behind_is_a_leak(samples: CampaignRun) -> None:
    records = {f"{each['scenario']}.{each['case']}": each for each in samples.results["records"]}
    leaks = {label: each for label, each in records.items() if each["outcome"] == "LEAK"}
    assert leaks.keys() == LEAKS.keys()
    assert [label for label, words in LEAKS.items() if words not in leaks[label]["excerpt"]] == []
    assert {each["met"] for each in leaks.values()} == {False}
    assert records["leak.nothing"]["outcome"] == records["daemon.memfd_held"]["outcome"] == "PASS"
    assert "6 leaks" in samples.done.stdout


def test_a_taint_without_a_word_is_found(samples: CampaignRun) -> None:
    (record,) = (each for each in samples.results["records"] if each["case"] == "console")
    assert (record["scenario"], record["outcome"], record["cause"]) == ("leak", "CRASH", "taint")
    assert "taint: taint: 64, was 0" in record["excerpt"]


def test_the_books_are_on_record(samples: CampaignRun) -> None:
    (cell,) = samples.results["cells"]
    (daemon,) = (run for run in cell["runs"] if run["scenario"] == "daemon")
    assert daemon["after"]["Shmem"] - daemon["before"]["Shmem"] == 24 << 10
    assert daemon["before"].keys() >= {
        *("Committed_AS", "Shmem", "AnonPages", "MemFree", "SUnreclaim", "SReclaimable", "tainted"),
        *("free.2048kB", "resv.2048kB", "node0.free.2048kB", "node1.free.2048kB"),
    }
