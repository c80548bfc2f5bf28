# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts every process of the lab: with an explicit environment and closed stdin, reaped, and killed if the lab dies.

An error message contains the command in a form that can be pasted into a shell.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.core.errors import InfraError

KEEP_LINES = 400
Process = subprocess.Popen[bytes]
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER", "XDG_CACHE_HOME", "http_proxy", "https_proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A process that ended. `output` is stdout and stderr in order, only the last KEEP_LINES lines unless `whole`."""

    argv: tuple[str, ...]
    status: int
    output: str


class ProcError(InfraError):
    """A process that could not be started, failed, or exceeded its time limit; `output` is what it printed."""

    def __init__(self, argv: Sequence[str], why: str, *, cwd: Path | None = None, output: str = "") -> None:
        super().__init__(f"{argv[0]}: {why}", hint=f"run: {pasteable(argv, cwd)}")
        self.output = output


@dataclass(slots=True)
class Children:
    """The running child processes of this process, and whether it may start more."""

    running: set[Process] = field(default_factory=set)
    aborted: bool = False

    def abort(self) -> None:
        """Kill every running child and start no more."""
        self.aborted = True
        for process in tuple(self.running):
            _kill(process)

    def reset(self) -> None:
        """Allow new processes after an abort; for tests, whose own process continues."""
        self.aborted = False


children = Children()


def pasteable(argv: Sequence[str], cwd: Path | None = None) -> str:
    """Return the command as a user would type it."""
    command = shlex.join(argv)
    if cwd is None:
        return command
    return f"cd {shlex.quote(str(cwd))} && {command}"


def which(name: str) -> str | None:
    """Return the full path of a program, from sbin too, which an ordinary user's PATH lacks; None if there is none."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a child's environment: a few inherited names, English messages, and `extra`."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**kept, "LC_ALL": "C.UTF-8", **(extra or {})}


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    input: bytes | None = None,
    timeout_s: float = 600.0,
    check: bool = True,
    on_line: Callable[[str], None] | None = None,
    whole: bool = False,
    pass_fds: Sequence[int] = (),
    nice: int = 0,
) -> Completed:
    """Run a command to its end; ProcError if it cannot start, exceeds `timeout_s`, or fails (with `check`).

    `env` is added to a small clean environment. `on_line` is called with every line of output as it arrives; if it
    raises, the process is killed. The child is killed if the lab dies, even by SIGKILL. It inherits `pass_fds`, such as
    a lock that it must hold as long as it lives. `nice` is added to its niceness.
    """
    kept: deque[str] = deque(maxlen=None if whole else KEEP_LINES)
    timed_out = threading.Event()
    process = _start(argv, cwd=cwd, env=env, piped_input=input is not None, pass_fds=pass_fds, nice=nice)
    children.running.add(process)

    def give_up() -> None:
        timed_out.set()
        _kill(process)

    timer = threading.Timer(timeout_s, give_up)
    timer.start()
    try:
        if input is not None:
            _feed(process, input)
        assert process.stdout is not None
        for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            kept.append(line)
            if on_line:
                on_line(line)
        status = process.wait()
    finally:
        timer.cancel()
        _kill(process)
        process.wait()
        children.running.discard(process)
        if process.stdout:
            process.stdout.close()
    output = "\n".join(kept)
    if timed_out.is_set():
        raise ProcError(argv, f"not done within {timeout_s:.0f} s", cwd=cwd, output=output)
    if check and status:
        raise ProcError(argv, _ended(status, output), cwd=cwd, output=output)
    return Completed(argv=tuple(argv), status=status, output=output)


def stdout_of(argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> bytes:
    """Run a command to its end and return what it wrote to stdout; ProcError, with its stderr, if it failed."""
    process = _popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, pass_fds=(), apart=True)
    children.running.add(process)
    try:
        written, complaints = process.communicate()
    finally:
        _kill(process)
        process.wait()
        children.running.discard(process)
    if process.returncode:
        text = complaints.decode("utf-8", "replace")
        raise ProcError(argv, _ended(process.returncode, text), cwd=cwd, output=text)
    return written


def abort() -> None:
    """Kill every running child and start no more, because the lab is being interrupted."""
    children.abort()


def start(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdout: int | None = None,
    pass_fds: Sequence[int] = (),
    outlive: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a process that the caller must reap. With `outlive` it survives the lab, as the reaper does."""
    return _popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stdout, pass_fds=pass_fds, outlive=outlive)


def end(process: Process, patience_s: float) -> None:
    """End a process of `start` with SIGTERM, and with SIGKILL if it has not ended after `patience_s` seconds."""
    process.terminate()
    try:
        process.wait(patience_s)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()


def attach(argv: Sequence[str]) -> int:
    """Run a program on the user's terminal and return its exit status; Ctrl-C goes to the program alone."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = _popen(argv, cwd=None, env=_terminal(), stdin=None, stdout=None, pass_fds=(), foreground=True)
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)


def _terminal() -> dict[str, str]:
    return {name: os.environ[name] for name in ("TERM", "COLORTERM", "NO_COLOR") if name in os.environ}


def _start(
    argv: Sequence[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    piped_input: bool,
    pass_fds: Sequence[int],
    nice: int,
) -> subprocess.Popen[bytes]:
    stdin = subprocess.PIPE if piped_input else subprocess.DEVNULL
    return _popen(argv, cwd=cwd, env=env, stdin=stdin, stdout=subprocess.PIPE, pass_fds=pass_fds, nice=nice)


def _popen(
    argv: Sequence[str],
    *,
    cwd: Path | None,
    env: Mapping[str, str] | None,
    stdin: int | None,
    stdout: int | None,
    pass_fds: Sequence[int],
    outlive: bool = False,
    nice: int = 0,
    foreground: bool = False,
    apart: bool = False,
) -> subprocess.Popen[bytes]:
    stderr = None
    if stdout == subprocess.PIPE:
        stderr = subprocess.PIPE if apart else subprocess.STDOUT
    if children.aborted:
        raise ProcError(argv, "not started: the lab was interrupted", cwd=cwd)
    program = which(argv[0])
    if program is None:
        raise ProcError(argv, "no such program", cwd=cwd)
    # setpriv (util-linux, always there) sets the parent-death signal without running Python code between fork and exec.
    guarded: list[str] = []
    if not outlive:
        guarded += ["setpriv", "--pdeathsig", "KILL", "--"]
    if nice:
        guarded += ["nice", f"--adjustment={nice}"]
    try:
        return subprocess.Popen(
            [*guarded, program, *argv[1:]],
            cwd=cwd,
            env=environment(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=not foreground,
            pass_fds=tuple(pass_fds),
        )
    except OSError as error:
        raise ProcError(argv, f"cannot start: {error.strerror}", cwd=cwd) from error


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    """Write the child's input from a thread, so that a full pipe cannot block both processes."""
    pipe = process.stdin
    assert pipe is not None

    def write() -> None:
        try:
            pipe.write(data)
            pipe.close()
        except OSError:
            pass  # the child ended without reading all of it; its status says whether that matters

    threading.Thread(target=write, daemon=True).start()


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and its process group; do nothing if the child has ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _ended(status: int, output: str) -> str:
    """Return how a process failed: its signal or exit status, and the last line that it printed."""
    how = f"exit status {status}"
    if status < 0:
        how = f"killed by {signal.Signals(-status).name}"
    last = output.strip().rpartition("\n")[2][:300]
    return ": ".join(filter(None, (how, last)))
