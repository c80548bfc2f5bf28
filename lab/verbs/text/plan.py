# SPDX-License-Identifier: GPL-2.0-or-later
"""A plan as `lab plan` prints it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from lab.host.estimate import Outlook, format_time
from lab.specs.model import format_size
from lab.specs.plan import Build, Cell, Plan, Skipped, _selections, node_count

WIDTH = 80


def describe(plan: Plan, outlook: Outlook | None = None) -> str:
    """Return the plan as `lab plan` prints it."""
    lines = _wrap(": ".join(filter(None, (f"campaign {plan.name}", plan.spec.description))))
    lines += _section(_kernels_title(plan, outlook), _build_rows(plan.builds, outlook))
    lines += _section("sources", _sources(plan.builds))
    lines += _section("guests", [_cell_row(cell, outlook) for cell in plan.cells])
    if plan.cells:
        lines += _scenarios(plan)
    lines += _skips(plan.skipped)
    if outlook and plan.cells:
        lines += ["", *_wrap(_time(plan, outlook))]
    return "\n".join(lines)


def _scenarios(plan: Plan) -> list[str]:
    """Return what runs in the guests, and which machines run only some of it."""
    how = "a fresh guest for each" if plan.spec.isolation == "fresh" else "one guest for all of them"
    chosen = ", ".join(sorted(map(str, _selections(plan.cells)))) or "none"
    lines = ["", *_wrap(f"scenarios, {how}: {chosen}")]
    few = {cell.topology.name: cell.scenarios for cell in plan.cells if cell.topology.scenarios is not None}
    for name, some in few.items():
        lines += _wrap(f"{name} runs only {', '.join(map(str, some))}")
    return lines


def _kernels_title(plan: Plan, outlook: Outlook | None) -> str:
    if outlook is None:
        return "kernels to build"
    return f"kernels, {sum(build not in outlook.built for build in plan.builds)} of them to build"


def _build_rows(builds: Sequence[Build], outlook: Outlook | None) -> list[tuple[str, ...]]:
    seen: set[object] = set()
    rows: list[tuple[str, ...]] = []
    for build in builds:
        kernel = build.kernel
        cost = "incremental" if build.tree in seen else "full"
        if kernel.prebuilt:
            cost = "fetched"
        seen.add(build.tree)
        if outlook:
            cost = "built" if build in outlook.built else f"{cost}, {format_time(outlook.build_s[build])}"
        made_with = [fragment for fragment in (*build.fragments, build.image) if fragment not in ("base", "")]
        rows.append((build.arch, kernel.name, cost, " ".join(made_with)))
    return rows


def _sources(builds: Sequence[Build]) -> list[tuple[str, ...]]:
    """Return the source and series of each kernel."""
    kernels = {build.kernel.name: build.kernel for build in builds}
    return [(name, " + ".join(filter(None, (kernel.source, kernel.series)))) for name, kernel in kernels.items()]


def _cell_row(cell: Cell, outlook: Outlook | None) -> tuple[str, ...]:
    machine = cell.topology
    nodes = node_count(machine)
    return (
        machine.name,
        cell.kernel.name,
        f"{format_size(machine.page_size)} pages",
        f"{machine.vcpus} CPU{'s' * (machine.vcpus > 1)}",
        f"{nodes} node{'s' * (nodes > 1)}",
        format_size(machine.total_memory),
        *([format_time(outlook.cell_s[cell.name])] if outlook else []),
    )


def _skips(skipped: Sequence[Skipped]) -> list[str]:
    """Return what is skipped, by reason; empty if nothing is."""
    if not skipped:
        return []
    reasons: dict[str, list[str]] = {}
    for skip in skipped:
        reasons.setdefault(skip.reason, []).append(skip.what)
    lines = ["", f"skipped ({len(skipped)}):"]
    for reason, names in reasons.items():
        lines += [*_wrap(f"{reason}:", "  "), *_wrap(" ".join(names), "    ", hanging="    ")]
    return lines


def _time(plan: Plan, outlook: Outlook) -> str:
    guests = f"{outlook.jobs} guest{'s' * (outlook.jobs > 1)} at once"
    text = f"estimated time: {format_time(outlook.total_s)}, {guests}, from what earlier runs took on this host"
    if not outlook.guessed:
        return text
    return f"{text}; {outlook.guessed} of {len(plan.cells)} guests are of machines that never ran here"


def _section(title: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return a table with a heading; empty if there are no rows."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return ["", f"{title} ({len(rows)}):", *table]


def _wrap(text: str, indent: str = "", hanging: str | None = None) -> list[str]:
    """Wrap a paragraph to the width of a terminal; long words, such as paths, stay whole."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}  " if hanging is None else hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )
