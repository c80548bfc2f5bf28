# SPDX-License-Identifier: GPL-2.0-or-later
"""The command as a user runs it: exit codes, one-line errors, and nothing built, started or deleted by bad input."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from tests.unit.fixtures import evidence

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache that must stay as it is: not there."""
    return tmp_path / "cache"


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "PAGELAB_CACHE": str(cache), "COLUMNS": "200"}


def lab(cache: Path, *args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lab", *args]
    return subprocess.run(
        command, cwd=cwd, env=environment(cache), capture_output=True, text=True, timeout=120, check=False
    )


def yaml(directory: Path, text: str) -> str:
    path = directory / "mine.yaml"
    path.write_text(text)
    return str(path)


GOOD_MACHINE = "arch: arm64\npage_size: 64K\nmemory: 1G\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("plan", "quik"), "unknown campaign 'quik'; did you mean 'quick'?"),
        (
            ("run", "quick", "-t", "arm64-64k-2nod"),
            "unknown topology 'arm64-64k-2nod'; did you mean 'arm64-64k-2node'?",
        ),
        (("run", "quick", "-t", "vax*"), "unknown topology 'vax*'"),
        (("run", "quick", "-k", "base"), "unknown kernel 'base'; did you mean 'baseline'?"),
        (("run", "quick", "--test", "expnd.a01*"), "unknown scenario 'expnd'; did you mean 'expand'?"),
        (("exec", "-t", "nowhere.yaml", "-k", "baseline", "--", "true"), "nowhere.yaml"),
        (("report", "."), "metadata.json: no such file"),
        (("list", "kernel"), "'kernel' is not one of"),
        (("frobnicate",), "No such command 'frobnicate'"),
        (("run",), "which campaign? expected its name, or --resume DIR"),
        (("run", "quick", "--resume", "."), "--resume takes the campaign, its filters and its directory from the run"),
        (
            ("run", "--suite", "kselftest-mm", "--resume", "."),
            "--resume takes the campaign, its filters and its directory",
        ),
        (("plan", "quick", "--suite", "mm"), "--suite mm: expected kselftest-COLLECTION"),
        (("run", "quick", "--suite", "kselftest-mm", "--with", "x.c"), "--suite replaces the scenarios"),
        (("run", "--resume", "."), "metadata.json: no such file"),
        (("run", "--resume", ".", "--coverage"), "--coverage is carried out behind a whole run"),
        (("run", "--resume", ".", "--confirm", "2"), "--confirm is carried out behind a whole run"),
        (("run", "quick", "--repeat", "0"), "0 is not in the range"),
        (("exec", "-t", "x86_64-4k", "-e", "A", "--", "true"), "expected NAME=VALUE, got 'A'"),
        (("plan", "quick", "--memory", "8"), "expected at least 16M, such as 2G, got '8'"),
        (("capture", "--memory", "0"), "expected at least 16M, such as 2G, got '0'"),
        (("plan", "quick", "--root", "./nope"), "--root ./nope: no such file"),
        (("plan", "quick", "--root", "debian:"), "expected debian:SUITE or debian:SUITE+PACKAGE"),
    ],
)
def test_bad_input_is_one_clear_line_and_touches_nothing(
    cache: Path, tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    done = lab(cache, *args, cwd=tmp_path)
    assert done.returncode == 64, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not cache.exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD_MACHINE.replace("page_size", "page_sise"), "mine.yaml:2: page_sise: unknown key"),
        (GOOD_MACHINE.replace("64K", "[64]"), "mine.yaml:2: page_size"),
        (GOOD_MACHINE.replace("arm64", "x86_64"), "mine.yaml:2: page_size: x86_64 has pages of 4K, not 64K"),
        (GOOD_MACHINE + "distances: [[10, 20]]\n", "mine.yaml:4: distances"),
        (GOOD_MACHINE + "kernel_config: [no-such-preset]\n", "mine.yaml:4: kernel_config"),
    ],
)
def test_a_bad_topology_names_file_line_and_key(cache: Path, tmp_path: Path, text: str, said: str) -> None:
    done = lab(cache, "run", "quick", "-t", yaml(tmp_path, text))
    assert done.returncode == 64
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not cache.exists()


def test_plan_builds_nothing_and_narrows(cache: Path) -> None:
    done = lab(cache, "plan", "quick", "-t", "arm64-*-2node", "-k", "baseline", "--test", "guards")
    assert done.returncode == 0
    assert "arm64-64k-2node" in done.stdout
    assert "scenarios, one guest for all of them: guards" in done.stdout
    assert "x86_64-4k-2node/baseline" in done.stdout.partition("skipped")[2]
    assert not cache.exists()


def test_report_derives_the_verdict_again(cache: Path, tmp_path: Path) -> None:
    run = evidence.write(tmp_path, evidence.evidence())
    done = lab(cache, "report", str(run.path), "--format", "json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["schema"] == 1
    assert lab(cache, "report", str(run.path), "--format", "jsn").returncode == 64


def test_a_closed_pipe_is_no_error(cache: Path) -> None:
    command = f"{sys.executable} -m lab list arches | head -n 0"
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, env=environment(cache), capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_no_process_and_exits_130(
    tmp_path: Path, cache: Path, number: signal.Signals
) -> None:
    """A kernel whose build never ends, in a toy tree: the interrupt ends make too."""
    tree = tmp_path / "linux"
    tree.mkdir()
    (tree / "Makefile").write_text(
        "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 0\n%config: ; @echo started > $(CURDIR)/started; sleep 60\n"
    )
    kernel = tmp_path / "toy.yaml"
    kernel.write_text("source: path:./linux\n")
    topology = yaml(tmp_path, "arch: x86_64\npage_size: 4K\nmemory: 256M\n")
    code = f"""
import click
from pathlib import Path
from lab.build import kernel
from lab.core.cache import Cache
from lab.cli import main
from lab.verbs.running import builds_end_with_us
from lab.specs.library import Library

@main.command("kernel-only")
def kernel_only():
    library = Library.shipped()
    with builds_end_with_us():
        kernel.build(library.kernel({str(kernel)!r}), library.topology({topology!r}), cache=Cache(Path({str(cache)!r})))

main(["kernel-only"])
"""
    # A shell's background jobs, CI's perhaps, ignore SIGINT and hand that down.
    running = subprocess.Popen(
        ["env", "--default-signal=INT", sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(cache),
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not list(cache.glob("work/*/src/started")) and time.monotonic() < until and running.poll() is None:
        time.sleep(0.05)
    assert list(cache.glob("work/*/src/started")), running.stderr and running.stderr.read()
    running.send_signal(number)
    _, stderr = running.communicate(timeout=20)
    assert running.returncode == 130, stderr
    assert "Traceback" not in stderr
    until = time.monotonic() + 5
    while _mentions(str(cache)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _mentions(str(cache))


def _mentions(word: str) -> list[int]:
    """Processes other than zombies that work in or name a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if word.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


# Where the output goes.


def redirected(cache: Path, redirection: str, *args: str) -> subprocess.CompletedProcess[str]:
    command = [
        "bash",
        "-c",
        f'"$@" {redirection}; exit "${{PIPESTATUS[0]}}"',
        "bash",
        sys.executable,
        "-m",
        "lab",
        *args,
    ]
    return subprocess.run(
        command, cwd=ROOT, env=environment(cache), capture_output=True, text=True, timeout=120, check=False
    )


def test_nobody_has_to_read_to_the_end(cache: Path) -> None:
    done = redirected(cache, "| true", "plan", "quick")
    assert (done.returncode, done.stderr) == (0, "")


def test_output_that_cannot_be_written_is_said(cache: Path) -> None:
    done = redirected(cache, "> /dev/full", "plan", "quick")
    assert (done.returncode, done.stderr) == (2, "lab: stdout: No space left on device\n")


def test_what_others_said_does_nothing_on_the_terminal(cache: Path, tmp_path: Path) -> None:
    done = lab(cache, "report", str(tmp_path / "\x1b[2Jnowhere"))
    assert done.returncode == 64
    assert "\x1b" not in done.stderr


def test_a_description_may_be_compressed_and_an_archive_is_named(cache: Path, tmp_path: Path) -> None:
    described = b"Architecture: aarch64\nCPU(s): 4\nPage size: 64K\n"
    (tmp_path / "machine.txt.gz").write_bytes(gzip.compress(described))
    with zipfile.ZipFile(tmp_path / "machine.zip", "w") as archive:
        archive.writestr("machine.txt", described)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(described)[:-9])
    read, refused, cut = (
        lab(cache, "capture", str(tmp_path / name)) for name in ("machine.txt.gz", "machine.zip", "cut.gz")
    )
    assert (read.returncode, "page_size: 64K" in read.stdout) == (0, True)
    assert (refused.returncode, refused.stdout) == (64, "")
    assert refused.stderr.endswith("machine.zip: expected text, found a zip archive\n")
    assert (cut.returncode, cut.stderr.endswith("its gzip data ends too early\n")) == (64, True)
