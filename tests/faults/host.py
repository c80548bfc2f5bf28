# SPDX-License-Identifier: GPL-2.0-or-later
"""Host side: full disks, damaged caches, missing permissions, signals, labs at the same time, clocks that jump."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from tests.faults.fault import Expect, Fault
from tests.faults.place import AFTER, BEFORE, Done, FaultDirectory, NotInjected, RunningLab

LONG = "hostile.stays"
"""Keeps a guest busy for ten seconds."""
PASSED = {BEFORE: "PASS", AFTER: "PASS"}
NOT_RUN = {BEFORE: "BROKEN", AFTER: "BROKEN"}
CUT = {BEFORE: "PASS", LONG: "BROKEN", AFTER: "BROKEN"}
HERE = Path(__file__).parent


# Disks.


def on_a_small_disk(directory: Callable[[FaultDirectory], Path], size: str) -> Callable[[FaultDirectory], Done]:
    """A campaign for which one directory is a file system of its own with little room."""

    def inject(place: FaultDirectory) -> Done:
        full = directory(place)
        full.mkdir(parents=True, exist_ok=True)
        mount = f'mount -t tmpfs -o size={size} none "$0" && exec "$@"'
        # The mount is seen by this lab alone, and by nobody afterwards.
        alone = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
        if subprocess.run([*alone, "sh", "-c", mount, str(full), "true"], capture_output=True, check=False).returncode:
            raise NotInjected("this host lets nobody mount")
        return place.campaign(prefix=[*alone, "sh", "-c", mount, str(full)])

    return inject


def results_fill_up(place: FaultDirectory) -> Done:
    """The journal's file system is full once a scenario has finished, and stays full."""
    full = place.output / "cells" / "arm64-64k" / "baseline" / "events.jsonl"

    def strike(running: RunningLab) -> None:
        running.until_finished("guards")
        # Nothing fails to write as a full disk does like /dev/full. (What is read of it is zeros without end: memory.)
        full.rename(full.with_name("before"))
        full.symlink_to("/dev/full")

    done = place.campaign(BEFORE, LONG, AFTER, during=strike)
    full.unlink()
    full.with_name("before").rename(full)
    return done


def stdout_full(place: FaultDirectory) -> Done:
    return place.campaign(prefix=["sh", "-c", 'exec "$@" > /dev/full', "sh"])


def stdout_closed(place: FaultDirectory) -> Done:
    return place.campaign(prefix=["bash", "-c", '"$@" | true; exit "${PIPESTATUS[0]}"', "bash"])


# The cache.


def damaged(kind: str, name: str, damage: Callable[[Path], None]) -> Callable[[FaultDirectory], Done]:
    """Every file of a name in one kind of cache entry is damaged."""

    def inject(place: FaultDirectory) -> Done:
        found = place.private(kind, name, copies=damage is not remove)
        if not found:
            raise NotInjected(f"the cache has no {kind}/*/{name}")
        for path in found:
            damage(path)
        return place.campaign()

    return inject


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def corrupt(path: Path) -> None:
    """Some bytes in the middle are others."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 64)


def remove(path: Path) -> None:
    path.unlink()


# Permissions and limits. Root may do anything; without this capability it is bound by permissions as others are.

_MAY = "-dac_override,-dac_read_search"
BOUND = ("setpriv", f"--bounding-set={_MAY}", f"--inh-caps={_MAY}") if os.geteuid() == 0 else ()


def may_not_write(directory: Callable[[FaultDirectory], Path]) -> Callable[[FaultDirectory], Done]:
    def inject(place: FaultDirectory) -> Done:
        closed = directory(place)
        closed.mkdir(parents=True, exist_ok=True)
        closed.chmod(0o555)
        try:
            return place.campaign(prefix=BOUND)
        finally:
            closed.chmod(0o755)

    return inject


def may_not_read(kind: str, name: str) -> Callable[[FaultDirectory], Done]:
    def inject(place: FaultDirectory) -> Done:
        for path in place.private(kind, name):
            path.chmod(0)
        return place.campaign(prefix=BOUND)

    return inject


def limited(option: str) -> Callable[[FaultDirectory], Done]:
    return lambda place: place.campaign(prefix=["prlimit", option])


# Signals.


def struck_by(number: signal.Signals) -> Callable[[FaultDirectory], Done]:
    """A signal to the lab while a scenario runs, another one having finished."""

    def strike(running: RunningLab) -> None:
        running.until_finished("guards")
        running.signal(number)

    return lambda place: place.campaign(BEFORE, LONG, AFTER, during=strike)


def struck_at_boot(number: signal.Signals) -> Callable[[FaultDirectory], Done]:
    def strike(running: RunningLab) -> None:
        running.until_emulator()
        running.signal(number)

    return lambda place: place.campaign(during=strike)


def struck_twice(place: FaultDirectory) -> Done:
    """A second Ctrl-C while the lab takes leave."""

    def strike(running: RunningLab) -> None:
        running.until_finished("guards")
        running.signal(signal.SIGINT)
        running.until(lambda: not running.place.emulators())
        running.signal(signal.SIGINT)

    return place.campaign(BEFORE, LONG, AFTER, during=strike)


def stopped_for_a_while(place: FaultDirectory) -> Done:
    """The lab is stopped for seconds (a laptop's lid) while its guest runs on."""

    def strike(running: RunningLab) -> None:
        running.until_finished("guards")
        running.signal(signal.SIGSTOP)
        threading.Event().wait(4)
        running.signal(signal.SIGCONT)

    return place.campaign(BEFORE, "hostile.long_line", AFTER, during=strike)


# Others at work.


def two_labs(place: FaultDirectory) -> Done:
    """A second lab with the same cache, at the same time."""
    other: list[Done] = []

    def second(running: RunningLab) -> None:
        running.until(place.emulators)
        other.append(place.lab("run", str(place.path / "faulty.yaml"), "-o", str(place.path / "second")))

    done = place.campaign(during=second)
    if not other or other[0].status:
        raise NotInjected(f"the second lab failed: {other}")
    return done


def cleaned_meanwhile(place: FaultDirectory) -> Done:
    """`lab clean` while a campaign runs."""

    def strike(running: RunningLab) -> None:
        running.until_emulator()
        if (cleaned := place.lab("clean")).status:
            raise NotInjected(f"lab clean failed: {cleaned.stderr}")

    return place.campaign(during=strike)


def clock_jumps(seconds: int) -> Callable[[FaultDirectory], Done]:
    """The host's clock is set while a campaign runs."""

    def inject(place: FaultDirectory) -> Done:
        shim, trigger = place.path / "clock.so", place.path / "jumped"
        command = ["gcc", "-shared", "-fPIC", f"-DJUMP={seconds}L", "-o", str(shim), str(HERE / "clock.c")]
        subprocess.run(command, check=True)

        def strike(running: RunningLab) -> None:
            running.until_finished("guards")
            trigger.touch()

        return place.campaign(
            BEFORE,
            "hostile.clock_ahead",
            AFTER,
            during=strike,
            environment={"LD_PRELOAD": str(shim), "FAULT_CLOCK": str(trigger)},
        )

    return inject


def killed_reaper(place: FaultDirectory) -> Done:
    """The reaper dies; the lab itself still ends what it started."""

    def strike(running: RunningLab) -> None:
        running.until_emulator()
        running.until(lambda: place.roots)
        for root in place.roots:
            subprocess.run(["pkill", "-KILL", "-f", f"reaper.py {root} "], check=False)

    return place.campaign(during=strike)


def interrupted(name: str, what: str, inject: Callable[[FaultDirectory], Done], *, quick: bool = False) -> Fault:
    expect = Expect(status=130, cell="BROKEN", cases=CUT, says="interrupted")
    return Fault(name=name, what=what, inject=inject, expect=expect, quick=quick)


def refused(name: str, what: str, inject: Callable[[FaultDirectory], Done], says: str, *, quick: bool = False) -> Fault:
    """The host cannot do it: one line that says what, and no verdict about any kernel."""
    expect = Expect(status=2, cell="BROKEN", cases=NOT_RUN, says=says)
    return Fault(name=name, what=what, inject=inject, expect=expect, quick=quick)


FAULTS = (
    Fault(
        name="disk-full-results",
        what="the results' disk is full from the start",
        inject=on_a_small_disk(lambda place: place.output, "4k"),
        expect=Expect(status=2, says="disk full while writing"),
        quick=True,
    ),
    Fault(
        name="disk-full-journal",
        what="the results' disk fills up while a scenario runs",
        inject=results_fill_up,
        expect=Expect(status=2, cell="OK", cases=CUT, says="disk full while writing", memory=400),
    ),
    refused(
        "disk-full-scratch",
        "no room for scratch files",
        on_a_small_disk(lambda place: place.cache / "tmp", "100k"),
        "disk full while writing",
    ),
    Fault(
        name="stdout-full",
        what="stdout leads to a full disk",
        inject=stdout_full,
        expect=Expect(status=2, cell="OK", cases=PASSED, says="disk full|No space left"),
    ),
    Fault(
        name="stdout-closed",
        what="nobody reads stdout",
        inject=stdout_closed,
        expect=Expect(status=0, cell="OK", cases=PASSED),
    ),
    refused(
        "kernel-truncated", "half of the kernel is gone from the cache", damaged("kernel", "Image", truncate), "damaged"
    ),
    refused("kernel-corrupted", "the kernel in the cache is damaged", damaged("kernel", "Image", corrupt), "damaged"),
    refused(
        "kernel-removed", "the kernel is gone from its entry", damaged("kernel", "Image", remove), "damaged", quick=True
    ),
    refused(
        "initrd-truncated",
        "half of the initrd is gone from the cache",
        damaged("rootfs", "initrd", truncate),
        "damaged",
    ),
    refused("initrd-corrupted", "the initrd in the cache is damaged", damaged("rootfs", "initrd", corrupt), "damaged"),
    Fault(
        name="program-corrupted",
        what="a guest program in the cache is damaged",
        inject=damaged("guest-tests", "guards", corrupt),
        expect=Expect(status=2, says="damaged"),
    ),
    refused(
        "build-facts-torn",
        "what is known of the kernel's build is torn",
        damaged("kernel", "build.json", truncate),
        "damaged",
    ),
    Fault(
        name="results-forbidden",
        what="no permission to write results",
        inject=may_not_write(lambda place: place.output),
        expect=Expect(status=2, says="Permission denied"),
    ),
    refused(
        "scratch-forbidden",
        "no permission to write scratch files",
        may_not_write(lambda place: place.cache / "tmp"),
        "Permission denied",
    ),
    refused(
        "kernel-forbidden", "no permission to read the kernel", may_not_read("kernel", "Image"), "Permission denied"
    ),
    refused(
        "few-descriptors",
        "hardly any file descriptors",
        limited("--nofile=12"),
        "Too many open files|libvirt cannot start",
    ),
    interrupted("sigint", "Ctrl-C while a scenario runs", struck_by(signal.SIGINT), quick=True),
    interrupted("sigint-twice", "Ctrl-C, and again", struck_twice),
    interrupted("sigterm", "SIGTERM while a scenario runs", struck_by(signal.SIGTERM)),
    interrupted("sighup", "the terminal is gone", struck_by(signal.SIGHUP)),
    Fault(
        name="sigkill",
        what="the lab is killed while a scenario runs",
        inject=struck_by(signal.SIGKILL),
        expect=Expect(status=-9, cell="OK|BROKEN", cases=CUT, says="never started in this guest|the lab ended before"),
        quick=True,
    ),
    Fault(
        name="sigkill-at-boot",
        what="the lab is killed while a guest boots",
        inject=struck_at_boot(signal.SIGKILL),
        expect=Expect(status=-9, cell="BROKEN", cases=NOT_RUN, says="the lab ended before this cell was done"),
    ),
    Fault(
        name="sigterm-at-boot",
        what="SIGTERM while a guest boots",
        inject=struck_at_boot(signal.SIGTERM),
        expect=Expect(status=130, cell="BROKEN", cases=NOT_RUN, says="interrupted"),
    ),
    Fault(
        name="lid-closed",
        what="the lab is stopped for four seconds",
        inject=stopped_for_a_while,
        expect=Expect(status=0, cell="OK", cases={**PASSED, "hostile.long_line": "PASS"}),
    ),
    Fault(
        name="two-labs",
        what="two labs at once with one cache",
        inject=two_labs,
        expect=Expect(status=0, cell="OK", cases=PASSED),
    ),
    Fault(
        name="cleaned-meanwhile",
        what="lab clean while a campaign runs",
        inject=cleaned_meanwhile,
        expect=Expect(status=0, cell="OK", cases=PASSED),
    ),
    Fault(
        name="clock-back",
        what="the host's clock goes back a year",
        inject=clock_jumps(-365 * 86400),
        expect=Expect(status=0, cell="OK", cases=PASSED),
    ),
    Fault(
        name="clock-ahead",
        what="the host's clock goes ahead a year",
        inject=clock_jumps(365 * 86400),
        expect=Expect(status=0, cell="OK", cases=PASSED),
    ),
    Fault(
        name="reaper-killed",
        what="the reaper is killed",
        inject=killed_reaper,
        expect=Expect(status=0, cell="OK", cases=PASSED),
    ),
)
