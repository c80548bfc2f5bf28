# SPDX-License-Identifier: GPL-2.0-or-later
"""Restored guests: the machine that was verified, yet no twins; and a cell that lives on after its guest has died."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lab.build.builder import Builder
from lab.core import paths
from lab.core.cache import Cache, default_root
from lab.core.deadline import Deadline
from lab.core.outcome import End
from lab.core.progress import silent
from lab.guests.factory import BootableCell, GuestFactory, open_factory
from lab.guests.guest import Guest, Snapshot
from lab.specs.library import Library
from tests.integration.conftest import ROOT, emulators, lab_command, root_of, run_campaign

MACHINES = ("x86_64-4k", "arm64-64k")


@pytest.fixture(scope="module")
def factory() -> Iterator[GuestFactory]:
    """libvirt's embedded driver in this process, which can open it once."""
    with open_factory(Builder(cache=Cache(default_root()), sources=paths.scenarios())) as factory:
        yield factory


class Saved:
    """A guest that was saved, with what it says about itself; and guests restored from it."""

    def __init__(self, ready: BootableCell, console: Path) -> None:
        self.ready = ready
        first = ready.boot(console)
        self.facts = first.facts()
        first.push({"hello": Path("/bin/true")})
        self.snapshot: Snapshot = first.save()
        self.first = first

    def restore(self) -> Guest:
        return self.snapshot.restore()


@pytest.fixture(scope="module", params=MACHINES)
def saved(factory: GuestFactory, request: pytest.FixtureRequest) -> Iterator[Saved]:
    library = Library.shipped()
    ready = factory.ready(library.topology(request.param), library.kernel("baseline"), silent)
    saved = Saved(ready, factory.scratch / f"{request.param}.log")
    yield saved
    saved.snapshot.discard()


def ask(guest: Guest, command: str) -> str:
    """What a command in the guest says; it must succeed."""
    ended = guest.run(command, deadline=Deadline.after(10, command, scale=guest.accelerator.slowdown))
    assert (ended.end, ended.status) == (End.EXITED, 0), ended
    return ended.stdout.decode().strip()


def test_the_guest_that_was_saved_goes_on(saved: Saved) -> None:
    assert ask(saved.first, "echo here") == "here"
    saved.first.close()


def test_two_restored_guests_are_the_verified_machine_but_no_twins(saved: Saved) -> None:
    guests = [saved.restore(), saved.restore()]
    try:
        first, second = guests
        assert first.domain.ssh_port() != second.domain.ssh_port()
        assert first.domain.pid != second.domain.pid
        for guest in guests:
            assert guest.facts() == saved.facts
            assert not saved.ready.verify(guest.facts())
            assert ask(guest, "ls /lab") == "hello"
            assert abs(int(ask(guest, "date +%s")) - time.time()) < 10
        for source in (
            "head -c 32 /dev/urandom | hexdump",  # the generator of a CPU
            "cat /proc/sys/kernel/random/uuid",
            "grep stack /proc/self/maps",  # addresses that ASLR drew
        ):
            assert ask(first, source) != ask(second, source)
    finally:
        for guest in guests:
            guest.close()


def test_a_restored_guest_finds_no_other_connection(saved: Saved) -> None:
    guest = saved.restore()
    try:
        # The listening sshd and the one that serves this connection.
        assert ask(guest, "ps | grep -c '[d]ropbear'") == "2"
    finally:
        guest.close()


def test_after_a_panic_the_next_guest_comes_from_the_snapshot_and_hears_only_itself(saved: Saved) -> None:
    dying = saved.restore()
    ended = dying.run("echo c > /proc/sysrq-trigger", deadline=Deadline.after(30, "panic"))
    assert ended.end is End.PANIC
    dying.close()
    start = dying.console.size()
    guest = saved.restore()
    try:
        assert guest.watch() is None
        assert guest.since >= start
        ask(guest, "echo pagelab-was-here > /dev/console")
        said = guest.console.text(start)
        assert "pagelab-was-here" in said
        assert "panic" not in said
        assert "panic" in guest.console.text(0, start)
    finally:
        guest.close()


def test_a_killed_lab_leaves_no_restored_guest(built: None, tmp_path: Path) -> None:
    campaign, output = tmp_path / "apart.yaml", tmp_path / "run"
    campaign.write_text(
        f"topologies: [{MACHINES[1]}]\nkernels: [baseline]\nscenarios: [expand.a0*, guards]\nisolation: fresh\n"
    )
    command = lab_command("run", str(campaign), "-o", str(output))
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while "restore" not in starts(output) and time.monotonic() < until and running.poll() is None:
        time.sleep(0.02)
    ours = emulators_of(running.pid)
    roots = {root_of(pid) for pid in ours}
    running.send_signal(signal.SIGKILL)
    running.wait(timeout=30)
    assert "restore" in starts(output)
    assert ours
    until = time.monotonic() + 5
    while (emulators_of(running.pid) or any(map(Path.exists, roots))) and time.monotonic() < until:
        time.sleep(0.05)
    assert not emulators_of(running.pid)
    assert not any(map(Path.exists, roots))


def emulators_of(lab: int) -> set[int]:
    """The emulators that one lab started, by its process id: others may be at work beside it."""
    found = set()
    for pid in emulators(set()):
        with suppress(OSError):  # it may have ended meanwhile
            if f"/{lab}-run-".encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.add(pid)
    return found


def starts(run: Path) -> list[str]:
    """How the guests of a run with one cell came about, in order."""
    journals = list(run.glob("cells/*/*/events.jsonl"))
    lines = journals[0].read_text().splitlines(keepends=True) if journals else []
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return [event["how"] for event in events if event["event"] == "boot"]


def test_a_fresh_cell_boots_once_and_its_results_are_those_of_a_shared_one(built: None, tmp_path: Path) -> None:
    outcomes = []
    for isolation in ("fresh", "shared"):
        campaign = tmp_path / f"{isolation}.yaml"
        campaign.write_text(
            f"topologies: [{MACHINES[1]}]\nkernels: [expand-fault]\nscenarios: [guards, expand.a0*, limits.c0*]\n"
            f"isolation: {isolation}\n"
        )
        run = run_campaign(tmp_path / isolation, str(campaign), "--cold")
        assert run.done.status == 0, run.done.stdout[-3000:] + run.done.stderr[-2000:]
        assert starts(run.path) == (["boot", "restore", "restore"] if isolation == "fresh" else ["boot"])
        outcomes.append(run.outcomes(MACHINES[1], "expand-fault"))
    assert outcomes[0] == outcomes[1]
