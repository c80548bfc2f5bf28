# SPDX-License-Identifier: GPL-2.0-or-later
"""Describe a machine from pasted command output: its parts, where each was read, and what is missing. Pure.

The readers of lab/formats/machine find statements; this module combines them. Two machines in one text are never
merged, an incomplete description is never used as a complete one, and every guess is marked as a guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lab.arch.record import OTHER_CPUINFO
from lab.core.errors import UsageError
from lab.core.untrusted import one_line
from lab.formats.machine import texts as machine_texts
from lab.formats.machine.statements import ArchMarks, Statement
from lab.specs import arches
from lab.workflows.machine import contradictions
from lab.workflows.machine import machine as capture_machine
from lab.workflows.machine import nodes as capture_nodes
from lab.workflows.machine.described import Choices, DescribedMachine, DescribedNode, Reading
from lab.workflows.machine.evidence import MachineEvidence
from lab.workflows.machine.parts import alike_machines

__all__ = ["Choices", "DescribedMachine", "DescribedNode", "Reading", "machine", "read"]


def machine(texts: Sequence[str]) -> DescribedMachine:
    """Return the machine that some texts describe together; UsageError if they do not describe one."""
    return read([(str(number), text) for number, text in enumerate(texts, 1)]).check()


def read(texts: Sequence[tuple[str, str]], choices: Choices | None = None) -> Reading:
    """Read one machine from the (name, text) pairs of some files; several machines without a choice are a problem."""
    choices = choices or Choices()
    found = machine_texts.read(texts, _marks())
    machines = alike_machines(found)
    if choices.machine is not None and not 1 <= choices.machine <= max(1, len(machines)):
        raise UsageError(f"--machine: expected a number from 1 to {len(machines)}, got {choices.machine}")
    chosen = machines[(choices.machine or 1) - 1] if machines else []
    reading = _reading(MachineEvidence(found, chosen, choices))
    reading.notes[:0] = found.notes
    if len(machines) > 1 and choices.machine is None:
        described = [f"{number}: {_summary(machine)}" for number, machine in enumerate(machines[:8], 1)]
        reading.problems.insert(0, f"{len(machines)} machines in one text ({'; '.join(described)})")
        reading.notes.append("the table has the first machine; --machine chooses another")
        reading.hint = "choose one with --machine"
    return reading


def _marks() -> ArchMarks:
    """Return by what texts tell the architectures that the lab knows."""
    known = arches.ARCHES.values()
    cpuinfo = [(*mark, arch.uname) for arch in known for mark in arch.cpuinfo_marks]
    return ArchMarks(
        srat={name: arch.uname for arch in known for name in arch.srat_cpus},
        boot=tuple((re.compile(arch.boot_mark), arch.uname) for arch in known if arch.boot_mark),
        config=tuple((tuple(map(re.compile, arch.config_marks)), arch.uname) for arch in known if arch.config_marks),
        cpuinfo=tuple((key, re.compile(value), name) for key, value, name in (*cpuinfo, *OTHER_CPUINFO)),
    )


def _summary(statements: Sequence[Statement]) -> str:
    """Return a short description of one machine of several: its lines, and its numbers of nodes and CPUs."""
    nodes, cpus = set[int](), set[int]()
    counted = 0
    for statement in statements:
        if statement.node is not None and statement.key in ("cpus", "memory", "distance"):
            nodes.add(statement.node)
        if statement.key == "cpus" and isinstance(statement.value, tuple):
            cpus.update(statement.value)
        elif statement.key == "cpu_count" and isinstance(statement.value, int):
            counted = max(counted, statement.value)
    lines = [statement.line for statement in statements]
    where = f"lines {min(lines)}-{max(lines)}"
    if statements[0].file:
        where = f"{statements[0].file} {where}"
    return f"{where}, {len(nodes)} nodes, {len(cpus) or counted} CPUs"


def _reading(evidence: MachineEvidence) -> Reading:
    """Return the machine that the evidence describes."""
    evidence.report_damage()
    evidence.report_foreign()
    arch = capture_machine.read_arch(evidence)
    page_size = capture_machine.read_page_size(evidence, arch)
    model = evidence.shown_text("model")
    capture_nodes.measure_pages(evidence, page_size)
    nodes = capture_nodes.read_nodes(evidence)
    described = DescribedMachine(
        arch=one_line(arch, 40),
        page_size=page_size,
        virtual_bits=evidence.shown_number("virtual_bits", "virtual bits"),
        cpus=capture_machine.read_cpus(evidence, nodes),
        threads=evidence.shown_number("threads", "threads per core") or 1,
        memory=capture_machine.read_memory(evidence, nodes),
        nodes=nodes,
        hugepages=capture_machine.read_hugepages(evidence),
        thp=evidence.shown_text("thp") or None,
        shmem_thp=evidence.shown_text("shmem_thp") or None,
        cmdline=tuple(evidence.shown_text("cmdline").split()),
        model=one_line(model, 60),
        facts=capture_machine.read_facts(evidence),
    )
    capture_nodes.check_complete(evidence, nodes)
    contradictions.report(evidence, described)
    if not evidence.describes_a_machine() and not evidence.problems:
        evidence.problem("nothing in the text describes a machine")
    return Reading(
        machine=described,
        rows=evidence.rows,
        nodes=capture_nodes.node_rows(evidence, nodes),
        notes=evidence.notes,
        problems=evidence.problems,
        hint=evidence.hint,
    )
