# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/cluster/pull_labs.py: a job of KernelCI in, its answer out; what is fetched is bounded and compared."""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec", reason="the extra pagelab[cluster] is not installed")
pytest.importorskip("aiohttp", reason="the extra pagelab[cluster] is not installed")

from lab.cluster import pull_labs
from lab.cluster.queue import Queue
from lab.core.errors import InfraError, InputError, UsageError
from lab.specs.library import Library
from lab.specs.plan import Filters

MACHINES = {"qemu-x86": "x86_64-4k", "arm64": "arm64-4k"}


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A server with a kernel and its configuration."""
    files = tmp_path / "served"
    files.mkdir()
    (files / "bzImage").write_bytes(b"kernel")
    (files / ".config").write_text("CONFIG_X=y\n")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(files))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def definition(url: str, **changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "artifacts": {"kernel": f"{url}/bzImage", "kselftest": f"{url}/kselftest.tar.xz"},
        "tests": [
            {"id": "boot-test", "type": "boot", "depends": [], "timeout_s": 600, "pre-commands": []},
            {"id": "expand", "type": "pagelab", "subset": ["expand.a01*"]},
            {"id": "ltp", "type": "ltp"},
        ],
        "environment": {"platform": "qemu-x86", "arch": "x86_64", "console": {"method": "serial", "baud": 115200}},
        "callback": {"url": "https://ci.example.org/node/1", "token_name": "lab"},
    }
    return {**found, **changed}


def job(url: str, **changed: Any) -> pull_labs.Job:
    return pull_labs.Job.model_validate(definition(url, **changed))


def test_a_job_becomes_a_campaign_that_can_be_read(url: str, tmp_path: Path) -> None:
    campaign = pull_labs.prepare(job(url), tmp_path / "job", MACHINES)
    planned = Library.shipped().plan(str(campaign), Filters())
    (cell,) = planned.cells
    assert (cell.topology.name, cell.kernel.name) == ("x86_64-4k", "kernel")
    assert [selection.scenario for selection in cell.scenarios] == ["expand"]
    image = Path(cell.kernel.source.removeprefix("image:"))
    assert image.read_bytes() == b"kernel"
    assert image.with_name("config-kernelci").read_text() == "CONFIG_X=y\n"


def test_a_machine_is_that_of_the_platform_else_that_of_the_architecture(url: str) -> None:
    assert pull_labs.machine_of(job(url), MACHINES) == "x86_64-4k"
    other = job(url, environment={"platform": "qemu-arm64", "arch": "arm64"})
    assert pull_labs.machine_of(other, MACHINES) == "arm64-4k"
    with pytest.raises(UsageError, match="no machine for platform 'rpi5' or architecture 'riscv'"):
        pull_labs.machine_of(job(url, environment={"platform": "rpi5", "arch": "riscv"}), MACHINES)


def test_what_is_fetched_is_compared_and_bounded(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = hashlib.sha256(b"kernel").hexdigest()
    pull_labs.prepare(job(url, integrity={"sha256": {"kernel": good}}), tmp_path / "good", MACHINES)
    with pytest.raises(InfraError, match="is damaged"):
        pull_labs.prepare(job(url, integrity={"sha256": {"kernel": "00" * 32}}), tmp_path / "bad", MACHINES)
    with pytest.raises(InfraError, match="there is no such file"):
        pull_labs.prepare(job(url, artifacts={"kernel": f"{url}/none"}), tmp_path / "none", MACHINES)
    monkeypatch.setattr(pull_labs, "MAX_KERNEL", 3)
    with pytest.raises(InfraError, match="more than 0 MiB"):
        pull_labs.prepare(job(url), tmp_path / "large", MACHINES)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"artifacts": {"kernel": "file:///etc/passwd"}}, "artifacts.kernel"),
        ({"artifacts": {}}, "artifacts.kernel"),
        ({"tests": []}, "tests"),
        ({"tests": [{"id": "../x", "type": "boot"}]}, "tests.0.id"),
        ({"tests": [{"id": "x", "type": "pagelab", "subset": ["--output"]}]}, "tests.0.subset.0"),
        ({"environment": {"platform": "x"}}, "environment.arch"),
    ],
)
def test_a_wrong_job_is_refused_with_its_key(changed: dict[str, Any], key: str, tmp_path: Path) -> None:
    path = tmp_path / "job.json"
    path.write_text(json.dumps(definition("http://127.0.0.1:1", **changed)))
    with pytest.raises(InputError, match=key):
        pull_labs.read(path)


def run_of(path: Path, status: str = "OK", outcome: str = "PASS", *, met: bool | None = True) -> Path:
    console = path / "cells/x86_64-4k/kernel/console.log"
    console.parent.mkdir(parents=True)
    console.write_text("Linux version 6.18\n")
    record = {"scenario": "expand", "case": "a01_grow", "outcome": outcome, "met": met, "duration_s": 0.25}
    other = {**record, "scenario": "guards", "case": "i01_memfd", "outcome": "FAIL", "met": False}
    (path / "results.json").write_text(json.dumps({"cells": [{"status": status}], "records": [record, other]}))
    return path


def test_the_answer_has_every_test_and_the_console(tmp_path: Path) -> None:
    answer = pull_labs.answer(job("http://x"), run_of(tmp_path), "x86_64-4k")
    assert answer["tests"]["boot-test"] == {"status": "pass"}
    case = {"expand.a01_grow": {"status": "pass", "duration_ms": 250}}
    assert answer["tests"]["expand"] == {"status": "pass", "subtests": case}
    assert answer["tests"]["ltp"]["status"] == "skip"
    assert answer["summary"] == {"total": 3, "passed": 2, "failed": 0, "skipped": 1, "errors": 0}
    log = answer["artifacts"]["log"].removeprefix("base64:")
    assert gzip.decompress(base64.b64decode(log)) == b"Linux version 6.18\n"


@pytest.mark.parametrize(
    ("status", "outcome", "met", "boot", "case"),
    [
        ("OK", "FAIL", False, "pass", "fail"),
        ("OK", "SKIP", None, "pass", "skip"),
        ("NO_BOOT", "BROKEN", False, "fail", "error"),
        ("BROKEN", "BROKEN", False, "error", "error"),
    ],
)
def test_absence_is_no_success(
    status: str, outcome: str, met: bool | None, boot: str, case: str, tmp_path: Path
) -> None:
    answer = pull_labs.answer(job("http://x"), run_of(tmp_path, status, outcome, met=met), "x86_64-4k")
    assert answer["tests"]["boot-test"]["status"] == boot
    assert answer["tests"]["expand"]["status"] == case
    nothing = pull_labs.answer(job("http://x"), tmp_path / "none", "x86_64-4k")
    assert (nothing["error_code"], nothing["tests"]) == ("Infrastructure", {})


def test_a_job_in_the_queue_that_cannot_be_run_is_answered_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "queue.yaml").write_text("pull_labs: {qemu-x86: x86_64-4k}\n")
    (tmp_path / "10-job.json").write_text(json.dumps(definition("http://127.0.0.1:1")))
    (tmp_path / "20-job.json").write_text("{}")
    done: list[int] = []
    Queue(tmp_path).run(once=True, done=lambda finished: done.append(finished.status))
    assert done == [2, 64]
    answers = [json.loads(path.read_bytes()) for path in sorted(tmp_path.glob("done/*/callback.json"))]
    assert [answer["error_code"] for answer in answers] == ["Infrastructure", "Infrastructure"]
    assert "artifacts" in answers[1]["error_msg"]
