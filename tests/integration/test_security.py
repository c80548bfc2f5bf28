# SPDX-License-Identifier: GPL-2.0-or-later
"""What SECURITY.md promises of a guest and of the emulator that runs it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.faults.place import KERNEL, MACHINE, ROOT, FaultDirectory, RunningLab, place

CELL = ("-t", MACHINE, "-k", KERNEL, "--")
HOSTILE = ROOT / "guest_tests" / "samples" / "hostile.c"


@pytest.fixture
def here() -> Iterator[FaultDirectory]:
    """A place for one lab."""
    with place() as made:
        made.patience = "1"
        yield made
        assert not made.left_behind()


def with_a_guest(here: FaultDirectory, look: Callable[[int], None]) -> None:
    """Look at the emulator of a guest that is up."""

    def during(running: RunningLab) -> None:
        pid = running.until_emulator()
        running.until(lambda: b"up" in (here.path / "stdout.0").read_bytes())
        look(pid)
        running.signal(signal.SIGINT)

    assert here.lab("exec", *CELL, "sh", "-c", "echo up; sleep 60", during=during).status == 130


def test_the_emulator_is_in_its_sandbox(built: None, here: FaultDirectory) -> None:
    def look(pid: int) -> None:
        tasks = [task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/status")]
        assert len(tasks) > 2
        for task in tasks:
            assert re.search(r"^Seccomp:\s+2$", task, re.MULTILINE), task  # 2: a filter
            assert re.search(r"^NoNewPrivs:\s+1$", task, re.MULTILINE), task
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        sandbox = words[words.index("-sandbox") + 1].split(",")
        assert {"on", "obsolete=deny", "elevateprivileges=deny", "spawn=deny", "resourcecontrol=deny"} <= set(sandbox)

    with_a_guest(here, look)


def test_the_emulator_writes_to_its_console_only(built: None, here: FaultDirectory) -> None:
    def look(pid: int) -> None:
        written = {path for path, flags in files_of(pid) if path.is_file() and flags & os.O_ACCMODE != os.O_RDONLY}
        assert {path.name for path in written} == {"console.log"} | {path.name for path in written if is_log(path)}
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        assert not {"-drive", "-hda", "-virtfs", "-fsdev", "-cdrom", "-usbdevice"} & set(words)
        assert not [word for word in words if word.startswith(("vfio", "virtio-9p", "vhost"))]

    def is_log(path: Path) -> bool:
        return any(path.is_relative_to(root) for root in here.roots)

    with_a_guest(here, look)


def files_of(pid: int) -> Iterator[tuple[Path, int]]:
    """Open files of a process with the flags that they were opened with."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            info = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text()
            found = re.search(r"^flags:\s+(\d+)", info, re.MULTILINE)
            assert found
            yield link.readlink(), int(found[1], 8)


def test_the_emulator_listens_on_one_local_port(built: None, here: FaultDirectory) -> None:
    def look(pid: int) -> None:
        sockets = {str(path) for path, _ in files_of(pid) if str(path).startswith("socket:")}
        lines = [
            line.split()
            for name in ("tcp", "tcp6", "udp", "udp6")
            for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
        ]
        mine = [words for words in lines if f"socket:[{words[9]}]" in sockets]
        listening = [words[1] for words in mine if words[3] == "0A"]
        assert len(listening) == 1
        assert listening[0].startswith("0100007F:")  # 127.0.0.1
        assert all(words[1].startswith("0100007F:") for words in mine)

    with_a_guest(here, look)


def test_the_guest_reaches_nothing(built: None, here: FaultDirectory) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        done = here.lab("exec", *CELL, str(HOSTILE), "reaches_out", str(port))
        assert done.status == 0, done.stderr
        assert f"# 10.0.2.2:{port} not reached" in done.stdout
        assert "no default route" not in done.stdout
        assert "REACHED" not in done.stdout
        assert "ANSWERED" not in done.stdout
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_private_key_is_written(built: None, here: FaultDirectory) -> None:
    def look(pid: int) -> None:
        roots = [here.path, *here.roots]
        found = subprocess.run(
            ["grep", "-rlaE", "--exclude-dir=scenarios", "BEGIN [A-Z ]*PRIVATE KEY", *map(str, roots)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.stdout == ""
        assert found.returncode == 1

    with_a_guest(here, look)


def test_the_private_directory_is_private(built: None, here: FaultDirectory) -> None:
    def look(pid: int) -> None:
        assert here.roots
        assert all(root.stat().st_mode & 0o077 == 0 for root in here.roots)

    with_a_guest(here, look)
