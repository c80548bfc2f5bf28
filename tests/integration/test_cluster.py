# SPDX-License-Identifier: GPL-2.0-or-later
"""A campaign with real guests on hosts that are network namespaces: `lab run --hosts`, and a worker that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra pagelab[cluster] is not installed")

from lab.cluster import attempts, certificates
from lab.cluster.attempts import Became
from tests.namespaces import Namespaces, command, namespaces, unavailable

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "root")]

ROOT = Path(__file__).parents[2]
LONG_S = 400.0


def hosts_file(path: Path, net: Namespaces, names: tuple[str, ...]) -> Path:
    certificates.make(path / "certs", ["lab", *names])
    lines = [f"store: {path}/store", f"listen: tls://{net.hub_address}:8786", f"certs: {path}/certs/lab", "hosts:"]
    for name in names:
        (path / f"cache-{name}").mkdir()
        start = command(net.at(name), "env", f"PAGELAB_CACHE={path}/cache-{name}", f"PYTHONPATH={ROOT}")
        lines.append(f"  {name}:")
        lines.append(f"    start: {start}")
        lines.append(f"    lab: {sys.executable} -m lab")
        lines.append(f"    certs: {path}/certs/{name}")
        lines.append("    guests: 1")
    found = path / "hosts.yaml"
    found.write_text("\n".join(lines) + "\n")
    return found


def processes(*words: str) -> list[int]:
    """Process ids of those whose command line has all of some words."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if line and all(word.encode() in line for word in words):
            found.append(int(entry.name))
    return found


def until(condition: object, what: str, timeout_s: float = LONG_S) -> None:
    end = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.1)


def test_a_worker_that_is_killed_leaves_no_guest_and_its_cell_runs_elsewhere(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with namespaces("a", "b") as net:
        hosts = hosts_file(tmp_path, net, ("a", "b"))
        words = ["run", "quick", "--test", "expand.a0*", "--hosts", str(hosts), "-o", str(run)]
        lab = subprocess.Popen(
            [*net.hub, sys.executable, "-m", "lab", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=(tmp_path / "out").open("wb"),
            stderr=subprocess.STDOUT,
        )
        try:
            cache = f"{tmp_path}/cache-a"
            until(lambda: processes("qemu-system", cache), "a guest on a")
            (worker,) = [pid for pid in processes("lab", "worker", "--name\0a\0") if not processes_parent(pid)]
            os.kill(worker, signal.SIGKILL)
            until(lambda: not processes("qemu-system", cache), "the end of its guests", 60.0)
            status = lab.wait(LONG_S)
        finally:
            lab.kill()
            lab.wait()
    output = (tmp_path / "out").read_text("utf-8", "replace")
    assert status == 0, output[-3000:]
    document = json.loads((run / "results.json").read_text())
    assert {cell["status"] for cell in document["cells"]} == {"OK"}
    became = [each.became for each in attempts.read(run)]
    assert became.count(Became.COUNTS) == len(document["cells"])
    assert Became.LOST in became
    assert processes("qemu-system", str(tmp_path)) == []


def processes_parent(pid: int) -> bool:
    """Whether a process is the shell that started the worker, and not the worker."""
    return b"exec" in Path(f"/proc/{pid}/cmdline").read_bytes()
