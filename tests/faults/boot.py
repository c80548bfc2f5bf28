# SPDX-License-Identifier: GPL-2.0-or-later
"""Guest side, before any program runs: kernels that die, inits that lie. What init does is said on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.faults.fault import Expect, Fault
from tests.faults.place import AFTER, BEFORE, MACHINE, ROOT, Done, FaultDirectory

NOT_RUN = {BEFORE: "BROKEN", AFTER: "BROKEN"}
MOUNTED = "mount -t devtmpfs dev /dev; exec > /dev/console 2>&1; "


def boots(*words: str) -> Callable[[FaultDirectory], Done]:
    """A campaign on a machine with words added to its kernel's command line."""

    def inject(place: FaultDirectory) -> Done:
        shipped = (ROOT / "topologies" / f"{MACHINE}.yaml").read_text()
        added = "".join(f"  - {json.dumps(word)}\n" for word in words)
        return place.campaign(machine=str(place.write("hostile.yaml", f"{shipped}cmdline:\n{added}")))

    return inject


def shell(script: str) -> Callable[[FaultDirectory], Done]:
    """The guest's first process is a shell that runs a script (which may have no double quotes)."""
    assert '"' not in script
    return boots(f'rdinit=/bin/sh -- -c "{script}"')


def edited(command: str) -> Callable[[FaultDirectory], Done]:
    """The guest's own init after a command of sed's."""
    return shell(f"sed -i '{command}' /init; exec /init")


def dead(name: str, what: str, inject: Callable[[FaultDirectory], Done], says: str, *, quick: bool = False) -> Fault:
    """The kernel under test does not get to user space: a finding about it."""
    expect = Expect(status=1, cell="NO_BOOT", cases=NOT_RUN, says=says, disk=80)
    return Fault(name=name, what=what, inject=inject, expect=expect, quick=quick)


def lies(name: str, what: str, inject: Callable[[FaultDirectory], Done], says: str, *, quick: bool = False) -> Fault:
    """The guest is not what was asked for, and no test runs in it."""
    expect = Expect(status=2, cell="INVALID", cases=NOT_RUN, says=says)
    return Fault(name=name, what=what, inject=inject, expect=expect, quick=quick)


def mute(name: str, what: str, inject: Callable[[FaultDirectory], Done], says: str) -> Fault:
    """The kernel came up, but nobody can talk to the guest: the lab's trouble."""
    expect = Expect(status=2, cell="BROKEN", cases=NOT_RUN, says=says)
    return Fault(name=name, what=what, inject=inject, expect=expect)


FAULTS = (
    dead("panics-at-boot", "init ends, and the kernel panics", boots("rdinit=/bin/false"), "panic", quick=True),
    dead("no-init", "there is no init", boots("rdinit=/nowhere", "init=/nowhere"), "died before it was ready"),
    dead(
        "oopses-at-boot",
        "init crashes the kernel",
        shell("mount -t proc p /proc; echo c > /proc/sysrq-trigger"),
        "NULL pointer|crash",
    ),
    dead(
        "dies-before-its-console",
        "there is too little memory to start with",
        boots("mem=4M"),
        "NULL pointer dereference",
    ),
    dead("reboots-at-boot", "init reboots", shell("reboot -f"), "Restarting system"),
    dead("powers-off-at-boot", "init powers off", shell("poweroff -f"), "Power down"),
    dead("never-ready", "init sleeps", boots("rdinit=/bin/sleep -- 9999"), "no ready line within .*; CPU 0 at"),
    dead("floods-at-boot", "init floods the console", shell(f"{MOUNTED} seq 999999999"), "ready"),
    dead("no-sshd", "there is no sshd", shell("rm /sbin/dropbear; exec /init"), "no ready line within"),
    mute(
        "early-ready",
        "init says ready, and no more",
        shell(f"{MOUNTED} echo pagelab: ready; sleep 999"),
        "SSH to the guest failed",
    ),
    mute(
        "stopped-sshd",
        "sshd accepts and says nothing",
        edited("s#echo .pagelab: ready.#killall -STOP dropbear; echo pagelab: ready#"),
        "SSH to the guest failed",
    ),
    mute(
        "dying-sshd",
        "sshd dies when it is needed",
        edited("s#echo .pagelab: ready.#killall -9 dropbear; echo pagelab: ready#"),
        "SSH to the guest failed",
    ),
    mute("no-facts", "no facts", edited("s#^if wait#rm /run/facts; if wait#"), "reading the guest's facts"),
    mute(
        "huge-facts",
        "endless facts",
        edited("s#^if wait#seq 60000 >> /run/facts; if wait#"),
        "reading the guest's facts",
    ),
    lies(
        "other-release",
        "another release",
        edited("s#fact release.*#echo release=6.6.6#"),
        "kernel release: asked .*, got 6.6.6",
    ),
    lies(
        "other-page-size",
        "another page size",
        edited("s#echo .page_size=.*#echo page_size=4096#"),
        "page size: asked 64K, got 4K",
    ),
    lies("other-cpus", "more CPUs", edited("s#fact cpus .*#echo cpus=0-999#"), "CPUs: asked 0 1, got"),
    lies(
        "other-build-id",
        "another kernel",
        edited("s#hexdump -v .*#echo 0400000014000000030000004743550000#"),
        "kernel build id",
    ),
    lies(
        "facts-twice",
        "a fact stated twice",
        edited("s#^if wait#echo page_size=65536 >> /run/facts; if wait#"),
        "stated twice: page_size",
    ),
    lies(
        "bytes-for-facts",
        "random bytes among the facts",
        edited("s#^if wait#head -c 3000 /dev/urandom >> /run/facts; if wait#"),
        "no fact",
    ),
)
