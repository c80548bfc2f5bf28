# SPDX-License-Identifier: GPL-2.0-or-later
"""A campaign from plan to evidence: opens the run's directory, the factory and the screen, and lets the runner go."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from lab import __version__, proc
from lab.arch import ARCHES
from lab.cache import Cache
from lab.evidence import RunDir
from lab.factory import Workshop, open_factory
from lab.outcome import Case
from lab.plan import Plan, resolve_cases
from lab.runner import Runner
from lab.screen import screen

GUEST_OVERHEAD = 256 << 20
"""What an emulator takes beyond its guest's RAM (translated code, devices), bytes; measured 100-200 MB."""


RESULTS = Path("results")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A plan with the directory that its evidence goes to; metadata.json is in it."""

    plan: Plan
    run_dir: RunDir
    metadata: Mapping[str, object]
    cases: Mapping[str, tuple[Case, ...]]

    @property
    def path(self) -> Path:
        return self.run_dir.path


def open_run(plan: Plan, cache: Cache, output: Path | None) -> OpenRun:
    """Make the run's directory, before anything is built. Evidence comes first, so its place does too.

    UsageError for a case in --test or the campaign that no scenario has.
    """
    cases = Workshop(cache=cache).cases()
    plan = resolve_cases(plan, {name: [case.name for case in declared] for name, declared in cases.items()})
    selected = {each.scenario for cell in plan.cells for each in cell.scenarios}
    declared = {name: cases[name] for name in sorted(selected)}
    metadata = describe(plan, declared)
    run_dir = RunDir.create(RESULTS, plan.name, metadata, output=output)
    return OpenRun(plan=plan, run_dir=run_dir, metadata=metadata, cases=declared)


def execute(opened: OpenRun, cache: Cache, *, console: Console, jobs: int | None, uri: str | None) -> None:
    """Run all cells; what happened is in the run's directory afterwards, also when this is interrupted."""
    plan = opened.plan
    with open_factory(cache, uri=uri) as factory, screen(console, plan.cells) as shown:
        Runner(
            plan=plan,
            shop=factory,
            run_dir=opened.run_dir,
            metadata={
                **opened.metadata,
                "host": {**host_facts(), **emulators(plan), "libvirt": factory.hypervisor.version()},
                "connection": factory.hypervisor.uri,
            },
            cases=opened.cases,
            screen=shown,
            jobs=jobs or jobs_for(plan, cpus=os.cpu_count() or 1, memory=available_memory()),
        ).run()


def describe(plan: Plan, cases: Mapping[str, Sequence[Case]]) -> dict[str, object]:
    """metadata.json, as far as it is known before anything is built."""
    return {
        "pagelab": __version__,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "campaign": plan.spec.model_dump(mode="json"),
        "host": host_facts(),
        "topologies": {cell.topology.name: cell.topology.model_dump(mode="json") for cell in plan.cells},
        "kernels": {cell.kernel.name: cell.kernel.model_dump(mode="json") for cell in plan.cells},
        "cells": [{"topology": cell.topology.name, "kernel": cell.kernel.name} for cell in plan.cells],
        "cases": {
            name: [
                {
                    "name": case.name,
                    "requires": sorted(case.requires),
                    "description": case.description,
                    "timeout_s": case.timeout_s,
                }
                for case in declared
            ]
            for name, declared in cases.items()
        },
    }


def jobs_for(plan: Plan, *, cpus: int, memory: int) -> int:
    """How many guests at once: as many as there are CPUs, while the largest of them fit into memory (bytes)."""
    largest = max(cell.topology.footprint for cell in plan.cells) + GUEST_OVERHEAD
    return max(1, min(cpus, len(plan.cells), memory // largest))


def available_memory() -> int:
    """Bytes that the host can give without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def host_facts() -> dict[str, object]:
    """What the run's metadata says of the host."""
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "system": _pretty_name(),
        "cpus": os.cpu_count(),
        "memory": available_memory(),
    }


def emulators(plan: Plan) -> dict[str, str]:
    """Emulator -> its version, for every architecture of a plan; what is not there is left to whoever starts it."""
    found = {}
    for name in dict.fromkeys(ARCHES[arch].qemu for arch in plan.arches):
        if proc.which(name):
            said = proc.run([name, "--version"], timeout_s=60).output
            found[name] = said.partition("\n")[0].removeprefix("QEMU emulator version ")
    return found


def _pretty_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "unknown"
