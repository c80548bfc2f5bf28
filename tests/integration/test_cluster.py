# SPDX-License-Identifier: GPL-2.0-or-later
"""Campaigns with real guests on hosts that are network namespaces, and what becomes of them when something is killed.

A job of KernelCI in a guest, by `lab queue`.
"""

from __future__ import annotations

import base64
import functools
import gzip
import http.server
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="the extra pagelab[cluster] is not installed")

from lab.build.builder import Builder
from lab.cluster import attempts, certificates
from lab.cluster.attempts import Became
from lab.cluster.queue import FinishedJob, Queue
from lab.core.cache import Cache, default_root, file_digest
from lab.core.progress import silent
from lab.specs.library import Library
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


@contextmanager
def running_lab(path: Path, net: Namespaces, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A lab at the hub, which is killed when the block is left. Its output is in the file `out`."""
    with (path / "out").open("ab") as out:
        lab = subprocess.Popen(
            [*net.hub, sys.executable, "-m", "lab", *words],
            cwd=path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield lab
    finally:
        lab.kill()
        lab.wait()


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
        with running_lab(tmp_path, net, *words) as lab:
            cache = f"{tmp_path}/cache-a"
            until(lambda: processes("qemu-system", cache), "a guest on a")
            (worker,) = [
                pid for pid in processes("lab", "worker", "--name\0a\0", str(tmp_path)) if not processes_parent(pid)
            ]
            os.kill(worker, signal.SIGKILL)
            until(lambda: not processes("qemu-system", cache), "the end of its guests", 60.0)
            status = lab.wait(LONG_S)
    output = (tmp_path / "out").read_text("utf-8", "replace")
    assert status == 0, output[-3000:]
    document = json.loads((run / "results.json").read_text())
    assert {cell["status"] for cell in document["cells"]} == {"OK"}
    became = [each.became for each in attempts.read(run)]
    assert became.count(Became.COUNTS) == len(document["cells"])
    assert Became.LOST in became
    assert processes("qemu-system", str(tmp_path)) == []


def test_a_lab_that_is_killed_leaves_no_worker_and_no_guest_and_goes_on(tmp_path: Path) -> None:
    """Its scheduler dies with it: workers without a scheduler end, with their guests. The rest runs with --resume."""
    run = tmp_path / "run"
    with namespaces("a", "b") as net:
        hosts = hosts_file(tmp_path, net, ("a", "b"))
        words = ["run", "quick", "--test", "expand.a0*", "--hosts", str(hosts), "-o", str(run)]
        with running_lab(tmp_path, net, *words) as lab:
            until(lambda: processes("qemu-system", str(tmp_path)), "a guest")
            lab.kill()
            lab.wait()
            until(lambda: not processes("qemu-system", str(tmp_path)), "the end of the guests", 120.0)
            until(lambda: not processes("lab", "worker", str(tmp_path)), "the end of the workers", 120.0)
        with running_lab(tmp_path, net, "run", "--resume", str(run), "--hosts", str(hosts)) as lab:
            status = lab.wait(LONG_S)
    assert status == 0, (tmp_path / "out").read_text("utf-8", "replace")[-3000:]
    document = json.loads((run / "results.json").read_text())
    assert {cell["status"] for cell in document["cells"]} == {"OK"}
    counting = [each.cell for each in attempts.read(run) if each.became is Became.COUNTS]
    assert len(counting) == len(set(counting)) == len(document["cells"])


def test_a_job_of_kernelci_runs_in_a_guest_and_is_answered(tmp_path: Path) -> None:
    """A kernel of the cache is served as a build system would, and dropped into a queue as a job."""
    library = Library.shipped()
    topology = library.topology("x86_64-4k-2node")
    builder = Builder(cache=Cache(default_root()), sources=library.scenario_sources)
    kernel = builder.make(topology, library.kernel("baseline"), silent).kernel
    served, directory = tmp_path / "served", tmp_path / "queue"
    served.mkdir()
    directory.mkdir()
    shutil.copy(kernel.image, served / "bzImage")
    shutil.copy(kernel.config, served / ".config")
    (directory / "queue.yaml").write_text("pull_labs: {x86_64: x86_64-4k-2node}\n")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        job = {
            "artifacts": {"kernel": f"{url}/bzImage"},
            "tests": [
                {"id": "boot", "type": "boot"},
                {"id": "grow", "type": "pagelab", "subset": ["expand.a01*"]},
                {"id": "mm", "type": "kselftest"},
            ],
            "environment": {"platform": "qemu", "arch": "x86_64"},
            "integrity": {"sha256": {"kernel": file_digest(kernel.image)}},
        }
        (directory / "10-boot.json").write_text(json.dumps(job))
        finished: list[FinishedJob] = []
        Queue(directory).run(once=True, done=finished.append)
        server.shutdown()
    assert [each.status for each in finished] == [0], (finished[0].directory / "output.txt").read_text()[-3000:]
    answer = json.loads((finished[0].directory / "callback.json").read_text())
    found = {name: test["status"] for name, test in answer["tests"].items()}
    assert found == {"boot": "pass", "grow": "pass", "mm": "skip"}
    console = gzip.decompress(base64.b64decode(answer["artifacts"]["log"].removeprefix("base64:")))
    assert b"Linux version" in console


def processes_parent(pid: int) -> bool:
    """Whether a process is the shell that started the worker, and not the worker."""
    return b"exec" in Path(f"/proc/{pid}/cmdline").read_bytes()
