# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory that is watched: what a mail filter, cron or CI drops there is run in turn, with its results beside it.

    DIR/queue.yaml            which tree patches are for, and options of `lab try` and `lab run`
    DIR/10-fix.patch          a job; a smaller number at its beginning goes first (50 without one), then the older one
    DIR/running/10-fix.patch  the job under way
    DIR/done/10-fix.patch.0/  the job, the run's directory, output.txt and status.json

.patch, .mbox and .eml are tried, .msgid has a message id in it, .yaml is a campaign, and .campaign has the name of one.
.json is a job definition of KernelCI's pull-lab protocol; the answer to it is done/NAME.N/callback.json.
A file whose name begins with a dot, or ends in .part or .tmp, is still being written. A job that was under way when the
queue was killed is run again, at most MAX_STARTS times in all.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from lab.cluster import pull_labs
from lab.core import proc
from lab.core.cache import explain_os_error, write_atomic
from lab.core.deadline import pause
from lab.core.errors import InputError, LabError, UsageError
from lab.core.paths import is_directory
from lab.specs import load
from lab.specs.model import OneLine, Spec

POLL_S = 2.0
MAX_STARTS = 3
DEFAULT_PRIORITY = 50
MAX_WORD = 1000
PATCHES = frozenset({".patch", ".mbox", ".eml"})
MESSAGE, CAMPAIGN, CAMPAIGN_NAME = ".msgid", ".yaml", ".campaign"
KINDS = PATCHES | {MESSAGE, CAMPAIGN, CAMPAIGN_NAME, pull_labs.SUFFIX}
UNFINISHED = (".part", ".tmp")
SETTINGS = "queue.yaml"
_PRIORITY = re.compile(r"([0-9]{1,4})[-_]")
_WORD = re.compile(r"[A-Za-z0-9<][^\s\x00-\x1f]*")
PASSED_ON = ("PAGELAB_CACHE", "PAGELAB_PATIENCE", "PAGELAB_SCENARIOS", "PYTHONPATH", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME")


class QueueSettings(Spec):
    """queue.yaml. `name` is the file's stem and means nothing."""

    name: str = "queue"
    tree: OneLine = ""
    """The kernel tree that patches are for."""
    try_options: tuple[OneLine, ...] = ()
    """Words after `lab try PATCH --tree TREE`."""
    run_options: tuple[OneLine, ...] = ()
    """Words after `lab run CAMPAIGN`."""
    pull_labs: dict[OneLine, OneLine] = Field(default_factory=dict)
    """Platform or architecture of a KernelCI job -> the machine that its kernel boots on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedJob:
    """A file that was dropped."""

    path: Path
    priority: int
    since: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedJob:
    """What became of a job. `status` is the exit status of the lab that ran it."""

    name: str
    status: int
    directory: Path


class Queue:
    """A directory of jobs. One process watches it at a time."""

    def __init__(self, directory: Path, *, try_words: tuple[str, ...] = (), run_words: tuple[str, ...] = ()) -> None:
        self.directory = directory
        self.try_words, self.run_words = try_words, run_words

    def waiting(self) -> list[QueuedJob]:
        """Return the jobs in the order in which they are run."""
        found = []
        for path in self.directory.iterdir():
            finished = not path.name.startswith(".") and not path.name.endswith(UNFINISHED)
            if finished and path.name != SETTINGS and path.suffix in KINDS and path.is_file():
                number = _PRIORITY.match(path.name)
                priority = int(number[1]) if number else DEFAULT_PRIORITY
                found.append(QueuedJob(path=path, priority=priority, since=path.stat().st_mtime))
        return sorted(found, key=lambda job: (job.priority, job.since, job.path.name))

    def run(self, *, once: bool, done: Callable[[FinishedJob], object]) -> None:
        """Run jobs as they come; with `once`, until none waits. UsageError if another process watches the directory."""
        if not is_directory(self.directory):
            raise UsageError(f"{self.directory}: expected a directory to watch")
        with self._locked():
            self._take_back()
            while True:
                waiting = self.waiting()
                if waiting:
                    done(self._run(waiting[0]))
                elif once:
                    return
                else:
                    pause(POLL_S)

    def _take_back(self) -> None:
        """Let the jobs wait again that were under way when a queue was killed."""
        for path in sorted((self.directory / "running").glob("*")):
            if self._starts(path.name) >= MAX_STARTS:
                self._finish(path, 2, f"given up after {MAX_STARTS} starts that did not come to an end")
            else:
                path.rename(self.directory / path.name)

    def _run(self, job: QueuedJob) -> FinishedJob:
        name = job.path.name
        running = self.directory / "running" / name
        running.parent.mkdir(exist_ok=True)
        job.path.rename(running)
        number = self._starts(name)
        target = self.directory / "done" / f"{name}.{number}"
        target.mkdir(parents=True)
        try:
            words = self.command(running, target / "run")
        except LabError as error:
            self._answer(running, target, str(error))
            return self._finish(running, error.exit_code, str(error), target)
        environment = {variable: os.environ[variable] for variable in PASSED_ON if variable in os.environ}
        with (target / "output.txt").open("wb") as output:
            both = ["sh", "-c", 'exec "$@" 2>&1', "sh"]
            process = proc.start([*both, *words], stdout=output.fileno(), env=environment)
            status = process.wait()
        self._answer(running, target)
        return self._finish(running, status, "", target)

    def command(self, job: Path, output: Path) -> list[str]:
        """Return the lab's command for a job; LabError for a job that none can be made of.

        What a job definition of KernelCI names is fetched first, to the directory that `output` is in.
        """
        settings = self._settings()
        lab = [sys.executable, "-m", "lab"]
        if job.suffix == pull_labs.SUFFIX:
            campaign = str(pull_labs.prepare(pull_labs.read(job), output.absolute().parent, settings.pull_labs))
            return [*lab, "run", campaign, *settings.run_options, *self.run_words, "-o", str(output.absolute())]
        if job.suffix in (CAMPAIGN, CAMPAIGN_NAME):
            campaign = str(job.absolute()) if job.suffix == CAMPAIGN else _word_in(job)
            return [*lab, "run", campaign, *settings.run_options, *self.run_words, "-o", str(output.absolute())]
        if not settings.tree:
            raise UsageError(f"{job.name}: {SETTINGS} names no `tree` that patches are for")
        patch = _word_in(job) if job.suffix == MESSAGE else str(job.absolute())
        options = ["--tree", settings.tree, *settings.try_options, *self.try_words, "-o", str(output.absolute())]
        return [*lab, "try", patch, *options]

    def _answer(self, job: Path, target: Path, reason: str = "") -> None:
        """Write the answer to a job of KernelCI: what its run found, or the reason why there was none."""
        if job.suffix != pull_labs.SUFFIX:
            return
        if reason:
            document = pull_labs.failed(reason)
        else:
            definition = pull_labs.read(job)
            machine = pull_labs.machine_of(definition, self._settings().pull_labs)
            document = pull_labs.answer(definition, target / "run", machine)
        pull_labs.write_answer(document, target)

    def _settings(self) -> QueueSettings:
        path = self.directory / SETTINGS
        if not path.exists():
            return QueueSettings()
        document = load.read(path)
        return document.build(QueueSettings)

    def _starts(self, name: str) -> int:
        """How often a job of this name was started."""
        return len(list((self.directory / "done").glob(f"{_glob_safe(name)}.[0-9]*")))

    def _finish(self, running: Path, status: int, reason: str, target: Path | None = None) -> FinishedJob:
        target = target or self.directory / "done" / f"{running.name}.{self._starts(running.name)}"
        target.mkdir(parents=True, exist_ok=True)
        running.rename(target / running.name)
        outcome = {"status": status, "reason": reason}
        write_atomic(target / "status.json", json.dumps(outcome).encode())
        return FinishedJob(name=running.name, status=status, directory=target)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with (self.directory / ".lock").open("a") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise UsageError(f"another lab watches {self.directory}") from None
                yield
        except OSError as error:
            raise explain_os_error(error, str(self.directory)) from error


def _word_in(job: Path) -> str:
    """The one word in a job's file; InputError for anything else, and for what would be an option."""
    text = job.read_bytes()[: MAX_WORD + 1].decode("utf-8", "replace").strip()
    if len(text) > MAX_WORD or not _WORD.fullmatch(text):
        raise InputError(job, 1, None, "expected one word: a message id, or the name of a campaign")
    return text.strip("<>")


def _glob_safe(name: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", name)
