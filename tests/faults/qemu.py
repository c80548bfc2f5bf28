# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU side: emulators that are killed, stopped, missing or asked for the impossible, and libvirt that is not there."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.fault import Expect, Fault
from tests.faults.place import AFTER, BEFORE, MACHINE, ROOT, Done, FaultDirectory, NotInjected, RunningLab

STAYS = "hostile.stays"


def in_scenario(number: signal.Signals) -> Callable[[FaultDirectory], Done]:
    """A signal to the emulator while a scenario runs, another one having finished."""

    def strike(running: RunningLab) -> None:
        running.until_finished("guards")
        ktap = running.place.output / "cells"
        assert ktap.exists()
        os.kill(running.until_emulator(), number)

    return lambda place: place.campaign(BEFORE, STAYS, AFTER, during=strike)


def at_boot(number: signal.Signals) -> Callable[[FaultDirectory], Done]:
    """A signal to the emulator as soon as there is one; every time there is one, as long as the lab tries again."""

    def strike(running: RunningLab) -> None:
        struck: set[int] = set()
        while running.process.poll() is None:
            for pid in set(running.place.emulators()) - struck:
                os.kill(pid, number)
                struck.add(pid)
            time.sleep(0.02)
        if not struck:
            raise NotInjected("no emulator was seen")

    return lambda place: place.campaign(during=strike)


def at_push(place: FaultDirectory) -> Done:
    """The emulator dies while programs are pushed, which comes right after the note that it has booted."""

    def strike(running: RunningLab) -> None:
        running.until_said('"event": "boot"')
        for pid in running.place.emulators():
            os.kill(pid, signal.SIGKILL)

    return place.campaign(during=strike)


def machine(text: str) -> Callable[[FaultDirectory], Done]:
    """A campaign on the machine with something added to its file."""

    def inject(place: FaultDirectory) -> Done:
        shipped = (ROOT / "topologies" / f"{MACHINE}.yaml").read_text()
        return place.campaign(machine=str(place.write("odd.yaml", shipped + text)))

    return inject


def connected_to(uri: str) -> Callable[[FaultDirectory], Done]:
    return lambda place: place.campaign(args=("--connect", uri))


def programs_without(place: FaultDirectory, name: str) -> Path:
    """A directory with links to all programs of PATH but one."""
    directory = place.path / "bin"
    directory.mkdir()
    for folder in ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", *os.environ["PATH"].split(":")):
        for program in Path(folder).glob("*"):
            link = directory / program.name
            if program.name != name and not link.is_symlink():
                link.symlink_to(program)
    return directory


QEMU = "qemu-system-aarch64"
# The lab looks in the sbin directories too, where no QEMU lies.


def missing(place: FaultDirectory) -> Done:
    return place.campaign(environment={"PATH": str(programs_without(place, QEMU))})


def another_program(place: FaultDirectory) -> Done:
    """What is called qemu is something else, which fails at once."""
    directory = programs_without(place, QEMU)
    (directory / QEMU).write_text("#!/bin/sh\necho I am no QEMU >&2\nexit 1\n")
    (directory / QEMU).chmod(0o755)
    return place.campaign(environment={"PATH": str(directory)})


DEAD = {BEFORE: "PASS", STAYS: "BROKEN", AFTER: "PASS"}
NOT_RUN = {BEFORE: "BROKEN", AFTER: "BROKEN"}

FAULTS = (
    Fault(
        name="killed-in-scenario",
        what="QEMU is killed while a scenario runs",
        inject=in_scenario(signal.SIGKILL),
        expect=Expect(status=2, cell="OK", cases=DEAD, says="emulator's process ended"),
        quick=True,
    ),
    Fault(
        name="stopped-in-scenario",
        what="QEMU is stopped while a scenario runs",
        inject=in_scenario(signal.SIGSTOP),
        expect=Expect(status=2, cell="OK", cases=DEAD, says="stopped by a signal"),
    ),
    Fault(
        name="crashed-in-scenario",
        what="QEMU dies of SIGSEGV while a scenario runs",
        inject=in_scenario(signal.SIGSEGV),
        expect=Expect(status=2, cell="OK", cases=DEAD, says="emulator's process ended"),
    ),
    Fault(
        name="killed-at-boot",
        what="QEMU is killed while the kernel boots",
        inject=at_boot(signal.SIGKILL),
        expect=Expect(status=2, cell="BROKEN", cases=NOT_RUN, says="emulator's process ended|libvirt cannot start"),
    ),
    Fault(
        name="stopped-at-boot",
        what="QEMU is stopped while the kernel boots",
        inject=at_boot(signal.SIGSTOP),
        expect=Expect(status=2, cell="BROKEN", cases=NOT_RUN, says="stopped by a signal|libvirt cannot start"),
    ),
    Fault(
        name="killed-at-push",
        what="QEMU is killed while programs are pushed",
        inject=at_push,
        expect=Expect(status=2, cell="BROKEN", cases=NOT_RUN, says="pushing .* failed|reading the guest's facts"),
    ),
    Fault(
        name="missing",
        what="there is no QEMU",
        inject=missing,
        expect=Expect(status=2, says=f"no {QEMU}.*apt-get install"),
        quick=True,
    ),
    Fault(
        name="another-program",
        what="what is called qemu-system-aarch64 is something else",
        inject=another_program,
        expect=Expect(status=2, cell="BROKEN", cases=NOT_RUN, says="I am no QEMU"),
    ),
    Fault(
        name="wrong-machine",
        what="a machine type that QEMU does not have",
        inject=machine("machine: toaster\n"),
        expect=Expect(status=2, cell="BROKEN", cases=NOT_RUN, says="libvirt cannot start .*toaster"),
        quick=True,
    ),
    Fault(
        name="bad-argument",
        what="an argument that QEMU does not know",
        inject=machine('qemu_args: ["--no-such-option"]\n'),
        expect=Expect(status=2, cell="BROKEN", cases=NOT_RUN, says="libvirt cannot start .*no-such-option"),
        quick=True,
    ),
    Fault(
        name="wrong-cpu",
        what="a CPU that QEMU does not have",
        inject=machine("cpu: abacus\n"),
        expect=Expect(status=2, cell="BROKEN", cases=NOT_RUN, says="libvirt cannot start .*abacus"),
    ),
    Fault(
        name="other-hardware",
        what="QEMU's arguments make another machine of it",
        inject=machine('qemu_args: ["-append", "console=ttyAMA0 panic=-1 maxcpus=1"]\n'),
        expect=Expect(status=2, cell="INVALID", cases=NOT_RUN, says="CPUs: asked 0 1, got 0"),
    ),
    Fault(
        name="libvirt-refused",
        what="libvirt's daemon is not there",
        inject=connected_to("qemu:///system"),
        expect=Expect(status=2, cell="BROKEN", cases=NOT_RUN, says="libvirt cannot open qemu:///system"),
        quick=True,
    ),
    Fault(
        name="libvirt-elsewhere",
        what="a connection that nobody answers",
        inject=connected_to("qemu+tcp://127.0.0.1:9/system"),
        expect=Expect(status=2, cell="BROKEN", cases=NOT_RUN, says="libvirt cannot open"),
    ),
    Fault(
        name="libvirt-nonsense",
        what="a connection that is no URI of libvirt's",
        inject=connected_to("nonsense://"),
        expect=Expect(status=2, cell="BROKEN", cases=NOT_RUN, says="libvirt cannot open"),
    ),
)
