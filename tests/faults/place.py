# SPDX-License-Identifier: GPL-2.0-or-later
"""Where a fault is injected: a directory with a cache of its own, and labs that run in it and are watched."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from lab.core.cache import default_root
from lab.core.outcome import Outcome
from lab.evidence.read import load
from lab.verdicts.compare import Summary, conclude

ROOT = Path(__file__).parents[2]
MACHINE = "arm64-64k"
"""The machine that boots fastest."""
KERNEL = "baseline"
BEFORE, AFTER = "guards.i01_memfd", "limits.c02_siginfo"
"""Cases that pass on any kernel, before the hostile scenario and behind it."""
SLACK = float(os.environ.get("PAGELAB_PATIENCE", "1"))
"""A busy host wants patience here too."""
PATIENCE = f"{0.3 * SLACK:g}"
"""Deadlines are a third of what users get: a hang is known after fifteen seconds, a boot without end after thirty."""
NO_GUEST = ("plan", "report", "build")
BOUNDED = ("prlimit", f"--as={4 << 30}")
"""Verbs that start no guest may be held to an address space: what reads without end must not eat the host."""
SETTLE_S = 8.0
"""How long a lab that was killed may take to be gone with all it had started."""
OWN_KINDS = {"tmp", "work", "source", "steps"}
"""Parts of the cache that a place does not share with the user's: leftovers are looked for there."""

_REAPED = re.compile(rb"reaper\.py\0(/tmp/pagelab-[^/\0]+)\0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A lab that ended: its exit status (-N: by signal N) and what it printed."""

    status: int
    stdout: str
    stderr: str


@dataclass(slots=True, kw_only=True)
class FaultDirectory:
    """A directory for one fault."""

    path: Path
    cache: Path
    patience: str = PATIENCE
    roots: set[Path] = field(default_factory=set)
    """Private directories below /tmp that labs made for themselves."""
    peak_rss: int = 0
    """Of the largest of the labs that ran here, bytes."""
    peak_disk: int = 0
    """Of what lay in the results at any time, bytes."""
    finished: dict[str, Outcome] = field(default_factory=dict)
    """Verdicts that stood when the fault was injected."""
    said: list[Done] = field(default_factory=list)

    @property
    def output(self) -> Path:
        """Where `campaign` puts its results."""
        return self.path / "run"

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def campaign(
        self,
        *tests: str,
        machine: str = MACHINE,
        isolation: str = "shared",
        args: Sequence[str] = (),
        **options: object,
    ) -> Done:
        """`lab run` of one cell with some cases; options as for `lab`."""
        words = ", ".join(tests or (BEFORE, AFTER))
        text = f"topologies: [{machine}]\nkernels: [{KERNEL}]\nscenarios: [{words}]\nisolation: {isolation}\n"
        return self.lab("run", str(self.write("faulty.yaml", text)), "-o", str(self.output), *args, **options)  # type: ignore[arg-type]

    def lab(
        self,
        *args: str,
        during: Callable[[RunningLab], None] | None = None,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        timeout_s: float = 240,
    ) -> Done:
        """Run `lab ARGS` to its end, behind a command of `prefix`; `during` is called once it has started."""
        bound = BOUNDED if args[0] in NO_GUEST else ()
        with self._output("stdout") as stdout, self._output("stderr") as stderr:
            process = subprocess.Popen(
                # A shell's background jobs, CI's perhaps, ignore SIGINT and hand that down.
                ["env", "--default-signal=INT", *bound, *prefix, sys.executable, "-m", "lab", *args],
                cwd=self.path,
                env={**self.environment(), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
            with self._watched(process.pid), _ended(process):
                if during:
                    during(RunningLab(self, process))
                status = process.wait(timeout_s * SLACK)
            done = Done(status=status, stdout=_text(stdout), stderr=_text(stderr))
        self.said.append(done)
        return done

    def environment(self) -> dict[str, str]:
        own = {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "PAGELAB_CACHE": str(self.cache)}
        return {**os.environ, **own, "PAGELAB_PATIENCE": self.patience, "PAGELAB_SCENARIOS": str(self.scenarios())}

    def scenarios(self) -> Path:
        """A directory whose one scenario is the hostile program."""
        directory = self.path / "scenarios"
        if not directory.exists():
            directory.mkdir()
            shutil.copy(ROOT / "guest_tests" / "samples" / "hostile.c", directory)
        return directory

    def verdicts(self) -> Summary:
        """What `lab report` would say of the results now."""
        return conclude(load(self.output))

    def remember(self) -> None:
        """The fault comes now: what has a verdict by now must have it in the end."""
        self.finished |= {each.label: each.outcome for each in self.verdicts().records if _stands(each.outcome)}

    def private(self, kind: str, name: str, *, copies: bool = True) -> list[Path]:
        """The files of one name in one kind of cache entry, as copies to be hurt; all else there is shared still.

        Without `copies` they are links, which may be removed and nothing else: a large cache takes long to copy.
        """

        def copy(source: str, target: str) -> None:
            if copies and Path(source).name == name:
                shutil.copy2(source, target)
            else:
                os.link(source, target)

        place = self.cache / kind
        shared = place.resolve()
        place.unlink()
        shutil.copytree(shared, place, copy_function=copy)
        return [path for path in place.glob(f"*/{name}") if path.is_file()]

    def emulators(self) -> list[int]:
        """Process ids of QEMUs that boot from this place's cache."""
        return [pid for pid, words in _processes() if b"qemu-system" in words and os.fsencode(self.cache) in words]

    def left_behind(self) -> list[str]:
        """Emulators and private directories that are still there; ends and removes them."""
        until = time.monotonic() + SETTLE_S * SLACK
        while (self.emulators() or any(map(Path.exists, self.roots))) and time.monotonic() < until:
            time.sleep(0.05)
        left = [f"QEMU {pid}" for pid in self.emulators()]
        for pid in self.emulators():
            os.kill(pid, signal.SIGKILL)
        for root in filter(Path.exists, self.roots):
            left.append(str(root))
            shutil.rmtree(root, ignore_errors=True)
        return left

    @contextmanager
    def _output(self, name: str) -> Iterator[int]:
        handle = os.open(self.path / f"{name}.{len(self.said)}", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            yield handle
        finally:
            os.close(handle)

    @contextmanager
    def _watched(self, pid: int) -> Iterator[None]:
        """Note a lab's memory, its results' size and its private directory, for as long as it runs."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.1):
                self.peak_rss = max(self.peak_rss, _high_water(pid))
                self.peak_disk = max(self.peak_disk, size_of(self.output))
                self.roots |= _roots_of(pid)

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            self.peak_disk = max(self.peak_disk, size_of(self.output))


@dataclass(frozen=True, slots=True)
class RunningLab:
    """A lab under way."""

    place: FaultDirectory
    process: subprocess.Popen[bytes]

    def until(self, condition: Callable[[], object], timeout_s: float = 90) -> None:
        """Wait until something is the case; the lab's early end is a failure of the fault."""
        end = time.monotonic() + timeout_s * SLACK
        while not condition():
            if self.process.poll() is not None:
                raise NotInjected("the lab ended before the fault could be injected")
            if time.monotonic() > end:
                raise NotInjected("what the fault was to wait for never came")
            time.sleep(0.01)

    def until_said(self, words: str, count: int = 1) -> None:
        """Wait until the one cell's journal has words in it."""
        self.until(lambda: self.journal().count(words) >= count)

    def until_finished(self, scenario: str) -> None:
        """Wait until a scenario has run, and remember the verdicts."""
        self.until_said(f'"scenario": "{scenario}"')
        self.place.remember()

    def journal(self) -> str:
        found = list(self.place.output.glob("cells/*/*/events.jsonl"))
        return found[0].read_text() if found else ""

    def until_emulator(self) -> int:
        """Wait for a QEMU; its process id."""
        self.until(self.place.emulators)
        return self.place.emulators()[0]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


class NotInjected(Exception):
    """The fault did not come about, so nothing was shown."""


@contextmanager
def place() -> Iterator[FaultDirectory]:
    """A place whose cache shares what is built with the user's; removed afterwards."""
    user = default_root()
    base = user / "tmp"
    base.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-fault-", dir=base))
    cache = directory / "cache"
    for kind in (each for each in user.iterdir() if each.name not in OWN_KINDS):
        cache.mkdir(exist_ok=True)
        (cache / kind.name).symlink_to(kind)
    try:
        yield FaultDirectory(path=directory, cache=cache)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def size_of(directory: Path) -> int:
    """Bytes on disk below a directory."""
    total = 0
    for folder, _, files in os.walk(directory):
        for name in files:
            with suppress(OSError):
                total += (Path(folder) / name).stat().st_blocks * 512
    return total


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever happens, the lab is gone afterwards."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _stands(outcome: Outcome) -> bool:
    return outcome is not Outcome.BROKEN


def _text(handle: int) -> str:
    os.lseek(handle, 0, os.SEEK_SET)
    with os.fdopen(os.dup(handle), "rb") as file:
        return file.read(16 << 20).decode("utf-8", "surrogateescape")


def _processes() -> Iterator[tuple[int, bytes]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                yield int(entry.name), (entry / "cmdline").read_bytes()


def _high_water(pid: int) -> int:
    """The most memory that a process has had so far, bytes."""
    with suppress(OSError, AttributeError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


def _roots_of(pid: int) -> set[Path]:
    """The directory that a lab's reaper watches over."""
    found = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                if match := _REAPED.search(Path(f"/proc/{child}/cmdline").read_bytes()):
                    found.add(Path(os.fsdecode(match[1])))
    return found
