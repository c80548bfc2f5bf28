# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m tests.faults.resume [--kills N] [CAMPAIGN ...]`: kill -9 campaigns at random moments, resume each time.

What a campaign that was killed again and again comes to must be what one comes to that was never killed, but for times
and counts of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.core.outcome import Outcome
from lab.evidence.read import load
from lab.verdicts.compare import conclude

ROOT = Path(__file__).parents[2]
RUN_S = 1800.0
GONE_S = 10.0
"""How long emulators may outlive the lab that was killed."""
Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Outcomes:
    """What came of the kills."""

    kills: int = 0
    campaigns: int = 0
    wrong: list[str] = field(default_factory=list)


def torment(arguments: Sequence[str], directory: Path, *, kills: int, chance: random.Random, say: Say) -> Outcomes:
    """Run campaigns, killing them until `kills` is reached; every one is brought to its end by --resume."""
    started = time.monotonic()
    reference = directory / "reference"
    status = subprocess.run(
        _lab("run", *arguments, "-o", str(reference)), **_quiet(), timeout=RUN_S, check=False
    ).returncode
    span = time.monotonic() - started
    say(f"a run that nobody kills: {span:.1f} s, exit {status}")
    found = Outcomes()
    while found.kills < kills:
        found.campaigns += 1
        output = directory / f"killed-{found.campaigns}"
        last = _to_its_end(arguments, output, found, kills=kills, span=span, chance=chance, say=say)
        wrong = list(_differences(reference, output)) + ([f"exit {last}, not {status}"] if last != status else [])
        found.wrong += [f"{output.name}: {each}" for each in wrong]
        say(f"campaign {found.campaigns}: exit {last}, {'; '.join(wrong) or 'as if it had never been killed'}")
    return found


def _to_its_end(
    arguments: Sequence[str],
    output: Path,
    found: Outcomes,
    *,
    kills: int,
    span: float,
    chance: random.Random,
    say: Say,
) -> int:
    """One campaign, killed at random moments and resumed; its last exit status."""
    while True:
        begun = (output / "metadata.json").exists()
        if not begun:
            shutil.rmtree(output, ignore_errors=True)
        words = ["--resume", str(output)] if begun else [*arguments, "-o", str(output)]
        running = subprocess.Popen(_lab("run", *words), **_quiet())
        moment = chance.uniform(0.1, span / 2) if found.kills < kills else RUN_S
        try:
            return running.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        found.kills += 1
        left = list(_survivors(running.pid))
        found.wrong += [f"kill {found.kills}: emulator {pid} outlived the lab" for pid in left]
        say(f"kill {found.kills:2} after {moment:5.1f} s: {_told(output)}")


def _told(output: Path) -> str:
    """What a killed campaign has so far, as `lab report` sees it."""
    if not (output / "metadata.json").exists():
        return "nothing yet"
    summary = conclude(load(output))
    broken = sum(record.outcome is Outcome.BROKEN for record in summary.records)
    return f"{len(summary.records) - broken} of {len(summary.records)} cases have a verdict"


def _lab(*words: str) -> list[str]:
    return [sys.executable, "-m", "lab", *words]


def _quiet() -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return {"cwd": ROOT, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def _survivors(lab: int) -> Iterator[int]:
    """Emulators of a lab (their names carry its process id) that are still there after a while; they are ended."""
    until = time.monotonic() + GONE_S
    while (pids := list(_emulators(lab))) and time.monotonic() < until:
        time.sleep(0.05)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        yield pid


def _emulators(lab: int) -> Iterator[int]:
    named = re.compile(rb"guest=[^,\0]*-%d-\d+," % lab)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if words.startswith(b"/usr/bin/qemu-system") and named.search(words):
                yield int(entry.name)


# Comparing.


def _differences(reference: Path, other: Path) -> Iterator[str]:
    for name in ("results.json", "report.txt"):
        one, two = (_timeless(path / name) for path in (reference, other))
        if one != two:
            yield f"{name} differs: {_first(one, two)}"


def _timeless(path: Path) -> list[str]:
    """A report line by line, without times and counts of memory, and with the numbers taken out of free text."""
    text = path.read_text()
    if path.suffix == ".json":
        text = json.dumps(_without(json.loads(text)), indent=1)
    return [re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?", "#", line) for line in text.splitlines()]


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        measured = {"started", "duration_s", "boot_s", "before", "after"}
        # `before` and `after` of a delta are outcomes, those of a run counters.
        return {key: _without(each) for key, each in value.items() if key not in measured or isinstance(each, str)}
    return [_without(each) for each in value] if isinstance(value, list) else value


def _first(one: Sequence[str], two: Sequence[str]) -> str:
    pairs = (f"{a.strip()!r} became {b.strip()!r}" for a, b in zip(one, two, strict=False) if a != b)
    return next(pairs, f"{len(one)} lines became {len(two)}")


def main() -> int:
    """Print a line for every kill and every campaign; 0 when all came to the same."""
    options = argparse.ArgumentParser(prog="python -m tests.faults.resume")
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=int(time.time()))
    options.add_argument("arguments", nargs=argparse.REMAINDER, help="of lab run [quick]")
    asked = options.parse_args()
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="pagelab-resume-") as directory:
        found = torment(
            asked.arguments or ["quick"],
            Path(directory),
            kills=asked.kills,
            chance=random.Random(asked.seed),
            say=lambda line: print(line, flush=True),
        )
    for each in found.wrong:
        print(f"WRONG: {each}")
    said = "every report is that of a run that was never killed" if not found.wrong else f"{len(found.wrong)} wrong"
    print(f"{found.kills} kills in {found.campaigns} campaigns: {said}")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
