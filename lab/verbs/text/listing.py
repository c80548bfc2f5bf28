# SPDX-License-Identifier: GPL-2.0-or-later
"""What `lab list` shows of everything there is to choose from: as data, and as text of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lab.arch import ARCHES, Arch
from lab.build import programs
from lab.core.cache import Cache
from lab.specs.library import Library
from lab.specs.model import Topology, format_range, format_size
from lab.specs.plan import node_count

WIDTH = 80
Entry = Mapping[str, Any]
"""One thing as plain data, for JSON and for the text."""


def entries(what: str, library: Library, cache: Cache) -> list[Entry]:
    """Everything of a kind: topologies, kernels, scenarios, campaigns or arches."""
    listings: Mapping[str, Callable[[], list[Entry]]] = {
        "topologies": lambda: [_topology(library.topology(name)) for name in library.topologies()],
        "kernels": lambda: [library.kernel(name).model_dump(mode="json") for name in library.kernels()],
        "scenarios": lambda: _scenarios(library, cache),
        "campaigns": lambda: [_campaign(name, library) for name in library.campaigns()],
        "arches": lambda: [_arch(arch) for arch in ARCHES.values()],
    }
    return listings[what]()


def lines(what: str, library: Library, cache: Cache) -> list[str]:
    """The same as text."""
    found = entries(what, library, cache)
    shown: Mapping[str, Callable[[list[Entry]], list[str]]] = {
        "topologies": _topology_lines,
        "kernels": _kernel_lines,
        "scenarios": _scenario_lines,
        "campaigns": _campaign_lines,
        "arches": lambda each: [line for arch in each for line in _arch_lines(arch)],
    }
    return shown[what](found)


# As data.


def _topology(topology: Topology) -> Entry:
    return {
        **topology.model_dump(mode="json", exclude_defaults=True),
        "nodes": node_count(topology),
        "total_memory": topology.total_memory,
        "mmu_description": topology.mode.description,
    }


def _scenarios(library: Library, cache: Cache) -> list[Entry]:
    declared = programs.cases(library.scenario_sources, cache)
    missing = programs.no_cases(library.scenario_sources, cache)
    return [
        {
            "name": name,
            "cases": [
                {"name": case.name, "requires": sorted(case.requires), "description": case.description}
                for case in declared.get(name, ())
            ],
            "no_cases": [{"row": each.row, "reason": each.reason} for each in missing.get(name, ())],
        }
        for name in library.scenarios()
    ]


def _campaign(name: str, library: Library) -> Entry:
    campaign = library.campaign(name)
    said = campaign.spec.model_dump(mode="json")
    nodes = format_range(campaign.spec.nodes) if campaign.spec.nodes else None
    return {**said, "nodes": nodes, "machines": [each.name for each in campaign.topologies]}


def _arch(arch: Arch) -> Entry:
    """A record, as far as users choose by it; what it cannot do under `limits`, each with the reason."""
    limits = {"no NUMA": arch.no_numa, **{f"no NUMA with {name}": mmu.no_numa for name, mmu in arch.mmus.items()}}
    limits["no snapshots"] = arch.no_save
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
        "pages": {format_size(size): list(map(format_size, arch.hugepages.get(size, ()))) for size in arch.page_sizes},
        "mmus": {name: mmu.description for name, mmu in arch.mmus.items() if name},
        "presets": list(arch.presets),
        "limits": {name: reason for name, reason in limits.items() if reason} | dict(arch.notes),
    }


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


def _topology_lines(found: list[Entry]) -> list[str]:
    return table(
        (
            each["name"],
            format_size(each["page_size"]),
            f"{each.get('vcpus', 1)} CPU",
            f"{each['nodes']} node",
            format_size(each["total_memory"]),
            each.get("description", ""),
        )
        for each in found
    )


def _kernel_lines(found: list[Entry]) -> list[str]:
    shown = []
    for each in found:
        made = " + ".join(filter(None, (each["source"], each["series"], *each["config"])))
        provides = f"provides {' '.join(sorted(each['provides']))}" if each["provides"] else ""
        shown.append((each["name"], ": ".join(filter(None, (made, provides, each["description"])))))
    return table(shown)


def _scenario_lines(found: list[Entry]) -> list[str]:
    shown: list[str] = []
    for each in found:
        shown.append(f"{each['name']} ({len(each['cases'])} cases)")
        shown += table(
            (f"  {case['name']}", " ".join(case["requires"]) or "-", case["description"]) for case in each["cases"]
        )
        shown += table((f"  {absent['row']} has no case", absent["reason"]) for absent in each["no_cases"])
    return shown


def _campaign_lines(found: list[Entry]) -> list[str]:
    return table((each["name"], f"{len(each['machines'])} machines", each["description"]) for each in found)


def _arch_lines(arch: Entry) -> list[str]:
    pages = ", ".join(f"{size} (huge: {' '.join(huge) or 'none'})" for size, huge in arch["pages"].items())
    modes = (f"{name}: {description}" for name, description in arch["mmus"].items())
    rows = [
        ("pages", pages),
        *(("mmu", mode) for mode in modes),
        ("presets", " ".join(arch["presets"]) or "none"),
        *(("limit", f"{name}: {reason}") for name, reason in arch["limits"].items()),
    ]
    facts = (
        f"{arch['bits']} bit, {arch['byteorder']}-endian, at most {arch['max_vcpus']} CPUs, QEMU's {arch['machine']}"
    )
    return [f"{arch['name']}: {facts}", *table((f"  {name}", text) for name, text in rows)]
