# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab list` shows of everything there is to choose from: as data, and as text of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from lab.arch.record import Arch
from lab.build import programs
from lab.core import qemu_version
from lab.core.cache import Cache
from lab.specs.arches import ARCHES
from lab.specs.library import Library
from lab.specs.model import Kernel, Topology, format_range, format_size
from lab.specs.plan import node_count
from lab.specs.report import ReportPlan

WIDTH = 80
Entry = Mapping[str, Any]
"""One thing as plain data, for JSON and for the text."""


def entries(what: str, library: Library, cache: Cache) -> list[Entry]:
    """Return everything of a kind: topologies, kernels, scenarios, campaigns, reports or arches."""
    listings: Mapping[str, Callable[[], Iterable[Entry]]] = {
        "topologies": lambda: map(_topology, map(library.topology, library.topologies())),
        "kernels": lambda: map(_kernel, map(library.kernel, library.kernels())),
        "scenarios": lambda: _scenarios(library, cache),
        "campaigns": lambda: map(partial(_campaign, library=library), library.campaigns()),
        "reports": lambda: map(_report, map(library.report, library.reports())),
        "arches": lambda: map(_arch, ARCHES.values()),
    }
    return list(listings[what]())


def lines(what: str, library: Library, cache: Cache) -> list[str]:
    """Return the same as text."""
    shown: Mapping[str, Callable[[list[Entry]], list[str]]] = {
        "topologies": _topology_lines,
        "kernels": _kernel_lines,
        "scenarios": _scenario_lines,
        "campaigns": _campaign_lines,
        "reports": _report_lines,
        "arches": _arches_lines,
    }
    return shown[what](entries(what, library, cache))


# As data.


def _topology(topology: Topology) -> Entry:
    return {
        **topology.model_dump(mode="json", exclude_defaults=True),
        "nodes": node_count(topology),
        "total_memory": topology.total_memory,
        "mmu_description": topology.mode.description,
    }


def _kernel(kernel: Kernel) -> Entry:
    return kernel.model_dump(mode="json")


def _scenarios(library: Library, cache: Cache) -> list[Entry]:
    declared = programs.cases(library.scenario_sources, cache)
    missing = programs.no_cases(library.scenario_sources, cache)
    entries: list[Entry] = []
    for name in library.scenarios():
        cases = []
        for case in declared.get(name, ()):
            cases.append({"name": case.name, "requires": sorted(case.requires), "description": case.description})
        absent = []
        for row in missing.get(name, ()):
            absent.append({"row": row.row, "reason": row.reason})
        entries.append({"name": name, "cases": cases, "no_cases": absent})
    return entries


def _campaign(name: str, library: Library) -> Entry:
    campaign = library.campaign(name)
    nodes = format_range(campaign.spec.nodes) if campaign.spec.nodes else None
    machines = [topology.name for topology in campaign.topologies]
    return {**campaign.spec.model_dump(mode="json"), "nodes": nodes, "machines": machines}


def _report(plan: ReportPlan) -> Entry:
    """Return a report as its file has it, with the names of its machines and the paths of its files."""
    machines = {"shows": plan.shows, "healthy": plan.healthy}
    return {
        **plan.report.model_dump(mode="json", exclude_none=True),
        "file": str(plan.path),
        "program": str(plan.program),
        "machines": {side: [topology.name for topology in topologies] for side, topologies in machines.items()},
    }


def _arch(arch: Arch) -> Entry:
    """Return the facts of a record that users choose by; what it cannot do is in `limits`, each with the reason."""
    return {
        "name": arch.name,
        "aliases": list(arch.aliases),
        "uname": arch.uname,
        "bits": arch.bits,
        "byteorder": arch.byteorder,
        "machine": arch.machine,
        "cpu": arch.cpu,
        "emulator": arch.qemu,
        "compiler": f"{arch.cross}gcc",
        "packages": list(arch.packages),
        "max_vcpus": arch.max_vcpus,
        "pages": _pages(arch),
        "mmus": {name: mmu.description for name, mmu in arch.mmus.items() if name},
        "presets": list(arch.presets),
        "limits": _limits(arch),
    }


def _pages(arch: Arch) -> dict[str, list[str]]:
    """Each page size with the sizes of its huge pages."""
    found = {}
    for size in arch.page_sizes:
        found[format_size(size)] = list(map(format_size, arch.hugepages.get(size, ())))
    return found


def _limits(arch: Arch) -> dict[str, str]:
    """What a record cannot do, with the emulator that is installed here -> the reason."""
    limits = {"no NUMA": arch.no_numa}
    for name, mmu in arch.mmus.items():
        limits[f"no NUMA with {name}"] = mmu.no_numa
    for limit in arch.limits_of(qemu_version.installed(arch.qemu)):
        limits[limit.name] = str(limit)
    found = {name: reason for name, reason in limits.items() if reason}
    return found | dict(arch.notes)


# As text.


def table(rows: Iterable[Sequence[str]], width: int = WIDTH) -> list[str]:
    """Rows of text in columns; the last column is wrapped below itself where it would go beyond the width."""
    rows = list(rows)
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    indent = sum(widths[:-1]) + 2 * (len(widths) - 1)
    shown = []
    for row in rows:
        head = "".join(f"{cell:<{size}}  " for cell, size in zip(row[:-1], widths, strict=False))
        first, *more = _wrapped(row[-1], max(width - indent, 24)) or [""]
        shown += [f"{head}{first}".rstrip(), *(" " * indent + line for line in more)]
    return shown


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _topology_lines(entries: list[Entry]) -> list[str]:
    rows = []
    for topology in entries:
        rows.append(
            (
                topology["name"],
                format_size(topology["page_size"]),
                f"{topology.get('vcpus', 1)} CPU",
                f"{topology['nodes']} node",
                format_size(topology["total_memory"]),
                topology.get("description", ""),
            )
        )
    return table(rows)


def _kernel_lines(entries: list[Entry]) -> list[str]:
    rows = []
    for kernel in entries:
        source = " + ".join(filter(None, (kernel["source"], kernel["series"], *kernel["config"])))
        provides = f"provides {' '.join(sorted(kernel['provides']))}" if kernel["provides"] else ""
        rows.append((kernel["name"], ": ".join(filter(None, (source, provides, kernel["description"])))))
    return table(rows)


def _scenario_lines(entries: list[Entry]) -> list[str]:
    shown: list[str] = []
    for scenario in entries:
        shown.append(f"{scenario['name']} ({len(scenario['cases'])} cases)")
        cases = []
        for case in scenario["cases"]:
            cases.append((f"  {case['name']}", " ".join(case["requires"]) or "-", case["description"]))
        absent = []
        for row in scenario["no_cases"]:
            absent.append((f"  {row['row']} has no case", row["reason"]))
        shown += [*table(cases), *table(absent)]
    return shown


def _campaign_lines(entries: list[Entry]) -> list[str]:
    rows = []
    for campaign in entries:
        rows.append((campaign["name"], f"{len(campaign['machines'])} machines", campaign["description"]))
    return table(rows)


def _report_lines(entries: list[Entry]) -> list[str]:
    shown: list[str] = []
    for report in entries:
        machines = report["machines"]
        rows = [
            ("  shows on", " ".join(machines["shows"])),
            ("  not on", " ".join(machines["healthy"])),
        ]
        if report["fixed_by"]:
            rows.append(("  not with", " ".join(report["fixed_by"])))
        if "what_changed" in report:
            rows.append(("  changed", report["what_changed"]))
        for link in report["links"]:
            rows.append(("  see", link))
        shown += [f"{report['name']}: {report['title']}", *table(rows)]
    return shown


def _arches_lines(entries: list[Entry]) -> list[str]:
    shown: list[str] = []
    for arch in entries:
        shown += _arch_lines(arch)
    return shown


def _arch_lines(arch: Entry) -> list[str]:
    pages = []
    for size, huge in arch["pages"].items():
        pages.append(f"{size} (huge: {' '.join(huge) or 'none'})")
    rows = [("  pages", ", ".join(pages))]
    for name, description in arch["mmus"].items():
        rows.append(("  mmu", f"{name}: {description}"))
    rows.append(("  presets", " ".join(arch["presets"]) or "none"))
    for name, reason in arch["limits"].items():
        rows.append(("  limit", f"{name}: {reason}"))
    facts = (
        f"{arch['bits']} bit, {arch['byteorder']}-endian, at most {arch['max_vcpus']} CPUs, QEMU's {arch['machine']}"
    )
    return [f"{arch['name']}: {facts}", *table(rows)]
