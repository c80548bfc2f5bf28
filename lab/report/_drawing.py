# SPDX-License-Identifier: GPL-2.0-or-later
"""Drawings of machines and plots of times, as inline SVG: shapes from numbers, every word in them escaped."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup
from pydantic import ValidationError

from lab.specs.model import Topology, format_cpus, format_size
from lab.verdicts.compare import Summary

NODE_W, NODE_H, GAP = 116, 74, 10
ROW = 6
"""How many nodes are drawn beside each other."""
CPU = 8
MAX_CPUS = 24
"""The squares of CPUs that are drawn for a node; the others are a number."""
HEAT = 22
MAX_HEAT = 16
"""The matrix of more nodes is not drawn; the machine's facts have it."""
LABEL, PLOT, LINE = 190, 520, 18
"""Widths of a plot's names and of the plot itself, height of a line of it."""


def tag(name: str, *inside: object, **attributes: object) -> Markup:
    """Return an element; `class_` is `class`, and `_` in names is `-`. The content is escaped unless it is Markup."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    body = Markup("").join(Markup("{}").format(child) for child in inside)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, body)


def _svg(width: float, height: float, title: str, shapes: Iterable[Markup]) -> Markup:
    box = f"0 0 {width:g} {height:g}"
    return tag("svg", *shapes, viewBox=box, width=f"{width:g}", height=f"{height:g}", role="img", aria_label=title)


def _text(x: float, y: float, content: object, **attributes: object) -> Markup:
    return tag("text", content, x=f"{x:g}", y=f"{y:g}", **attributes)


def _rect(x: float, y: float, width: float, height: float, *inside: Markup, **attributes: object) -> Markup:
    return tag("rect", *inside, x=f"{x:g}", y=f"{y:g}", width=f"{width:g}", height=f"{height:g}", **attributes)


# Machines.


def topologies(summary: Summary, names: Iterable[str]) -> dict[str, Topology]:
    """Return the machines that metadata.json describes as this version of the lab can read them, by name."""
    by_name: dict[str, Topology] = {}
    metadata = summary.evidence.metadata
    for name in names:
        try:
            by_name[name] = Topology.model_validate(metadata.topology(name).document())
        except ValidationError:
            continue
    return by_name


def about(topology: Topology) -> str:
    """Return `arm64, 64K pages, 4 CPUs, 1G, 2 nodes` and what else is particular."""
    nodes, cpus = len(topology.node_memory), topology.vcpus
    parts = [topology.arch, f"{format_size(topology.page_size)} pages", f"{cpus} CPU{'s' * (cpus != 1)}"]
    if topology.total_memory:
        parts.append(format_size(topology.total_memory))
    if nodes > 1:
        parts.append(f"{nodes} nodes")
    for size, number in topology.reserved_hugepages.items():
        parts.append(f"{number} × {format_size(size)}")
    for word in (topology.mmu, topology.machine, topology.cpu):
        if word:
            parts.append(word)
    if topology.thp:
        parts.append(f"thp {topology.thp}")
    if topology.shmem_thp:
        parts.append(f"shmem thp {topology.shmem_thp}")
    return ", ".join(parts)


def machine(topology: Topology) -> Markup:
    """Return the drawing of the nodes with their CPUs and memory, and the distances between them."""
    nodes = len(topology.node_memory)
    columns, rows = min(nodes, ROW), (nodes + ROW - 1) // ROW
    width, height = columns * (NODE_W + GAP) - GAP, rows * (NODE_H + GAP) - GAP
    shapes: list[Markup] = []
    for node in range(nodes):
        shapes += _node(topology, node, node % ROW * (NODE_W + GAP), node // ROW * (NODE_H + GAP))
    drawn = _svg(width, height, f"{topology.name}: {about(topology)}", shapes)
    matrices = [("distances", topology.distances)]
    if topology.hmat:
        matrices.append(("read latency, ns", topology.hmat.read_latency))
    maps: list[Markup] = []
    for title, matrix in matrices:
        if matrix and 1 < len(matrix[0]) <= MAX_HEAT:
            maps.append(heat(title, matrix))
    return Markup("").join([drawn, *maps])


def _node(topology: Topology, node: int, x: float, y: float) -> Iterable[Markup]:
    """Yield the box of a node: its name, a square per CPU, and a bar of its memory relative to the largest node."""
    cpus, memory = topology.node_cpus[node], topology.node_memory[node]
    title = "no NUMA"
    if topology.numa:
        title = f"node {node}"
    shown_memory = "none"
    if memory:
        shown_memory = format_size(memory)
    tooltip = tag("title", f"{title}: CPUs {format_cpus(cpus) or 'none'}, memory {shown_memory}")
    yield _rect(x + 0.5, y + 0.5, NODE_W - 1, NODE_H - 1, tooltip, class_="box", rx=4)
    yield _text(x + 8, y + 16, title)
    yield _text(x + NODE_W - 8, y + 16, format_cpus(cpus) if cpus else "no CPUs", class_="dim", text_anchor="end")
    for number, _ in enumerate(cpus[:MAX_CPUS]):
        yield _rect(x + 8 + number % 10 * (CPU + 2), y + 23 + number // 10 * (CPU + 2), CPU, CPU, class_="cpu", rx=1)
    if len(cpus) > MAX_CPUS:
        yield _text(x + 8 + 40 + 4, y + 23 + 2 * (CPU + 2) + CPU, f"+{len(cpus) - MAX_CPUS}", class_="dim")
    if not memory:
        yield _text(x + 8, y + NODE_H - 8, "no memory", class_="dim")
        return
    room = NODE_W - 16
    bar = max(2.0, room * memory / max(topology.node_memory))
    yield _rect(x + 8, y + NODE_H - 14, room, 6, class_="room")
    yield _rect(x + 8, y + NODE_H - 14, bar, 6, class_="memory")
    huge = topology.numa[node].hugepages if topology.numa else topology.hugepages
    reserved_bytes = sum(size * number for size, number in huge.items())
    if reserved_bytes:
        yield _rect(x + 8, y + NODE_H - 14, max(1.0, bar * min(1.0, reserved_bytes / memory)), 6, class_="huge")
    reserved = " ".join(f"{number}×{format_size(size)}" for size, number in huge.items() if number)
    yield _text(x + 8, y + NODE_H - 19, " ".join(filter(None, (format_size(memory), reserved))), class_="dim")


def heat(title: str, rows: Sequence[Sequence[int]]) -> Markup:
    """Return a matrix of numbers, darker the larger they are: a row per accessing node, a column per node accessed."""
    low, high = min(map(min, rows)), max(map(max, rows))
    left, top = 18, 30
    shapes = [_text(left, 12, title, class_="dim")]
    shapes += [_text(left + (x + 0.5) * HEAT, 26, x, class_="tick") for x in range(len(rows[0]))]
    for y, row in enumerate(rows):
        shapes.append(_text(8, top + (y + 0.5) * HEAT + 4, y, class_="tick"))
        for x, number in enumerate(row):
            depth = (number - low) / max(1, high - low)
            tooltip = tag("title", f"from node {y} to node {x}: {number}")
            place = (left + x * HEAT, top + y * HEAT)
            shapes.append(
                _rect(*place, HEAT - 1, HEAT - 1, tooltip, class_="heat", fill_opacity=f"{0.08 + 0.8 * depth:.2f}")
            )
            shade = ""
            if depth > 0.5:
                shade = "on"
            shapes.append(_text(place[0] + HEAT / 2 - 0.5, place[1] + HEAT / 2 + 3, number, class_=f"number {shade}"))
    width = max(left + len(rows[0]) * HEAT, left + 7 * len(title))
    return _svg(width, top + len(rows) * HEAT, title, shapes)


# Plots.


def boots(summary: Summary, names: Collection[str]) -> Markup:
    """Return the plot of the seconds until each guest was ready: a dot per guest, a colour per kernel."""
    times: dict[str, list[tuple[int, float]]] = {}
    kernels = summary.kernels
    for cell in summary.evidence.cells:
        if cell.boot_s is not None and cell.topology in names:
            times.setdefault(cell.topology, []).append((kernels.index(cell.kernel), cell.boot_s))
    most = max((seconds for some in times.values() for _, seconds in some), default=0.0)
    lines: list[Markup] = []
    for number, (topology, some) in enumerate(times.items()):
        y = (number + 0.5) * LINE
        ends = [LABEL + PLOT * seconds / (most or 1) for _, seconds in some]
        lines.append(tag("line", x1=f"{min(ends):g}", x2=f"{max(ends):g}", y1=y, y2=y, class_="span"))
        for (kernel, seconds), x in zip(some, ends, strict=True):
            tooltip = tag("title", f"{topology} / {kernels[kernel]}: {seconds:.1f} s")
            lines.append(tag("circle", tooltip, cx=f"{x:g}", cy=y, r=4, class_=f"k{kernel % 6}"))
    return _plot("seconds until the guest was ready", list(times), most, lines)


def durations(summary: Summary, names: Collection[str]) -> tuple[Markup, tuple[str, ...]]:
    """Return the plot of the seconds in scenarios, a bar per kernel, and the scenarios in the order of colours."""
    cells = [cell for cell in summary.evidence.cells if cell.topology in names]
    scenarios = tuple(dict.fromkeys(run.scenario for cell in cells for run in cell.runs))
    kernels = summary.kernels
    spent: dict[str, dict[int, dict[str, float]]] = {}
    for cell in cells:
        times_here = spent.setdefault(cell.topology, {}).setdefault(kernels.index(cell.kernel), {})
        for run in cell.runs:
            times_here[run.scenario] = times_here.get(run.scenario, 0.0) + run.duration_s
    most = max((sum(times.values()) for some in spent.values() for times in some.values()), default=0.0)
    lines: list[Markup] = []
    for number, (topology, some) in enumerate(spent.items()):
        high = min(6.0, (LINE - 4) / max(1, len(some)))
        for place, (kernel, times) in enumerate(some.items()):
            y = number * LINE + 2 + place * (high + 1)
            lines += _stack(f"{topology} / {kernels[kernel]}", times, most, y, high, scenarios)
    return _plot("seconds in the scenarios", list(spent), most, lines), scenarios


def _stack(
    name: str, times: Mapping[str, float], most: float, y: float, high: float, scenarios: Sequence[str]
) -> Iterable[Markup]:
    x = float(LABEL)
    for scenario, seconds in times.items():
        width = PLOT * seconds / (most or 1)
        tooltip = tag("title", f"{name}: {scenario} {seconds:.1f} s")
        yield _rect(x, y, max(0.5, width - 0.5), high, tooltip, class_=f"s{scenarios.index(scenario) % 8}")
        x += width


def _plot(title: str, names: Sequence[str], most: float, lines: Iterable[Markup]) -> Markup:
    """Return the frame of a plot with its lines: names to the left, seconds below."""
    height = len(names) * LINE
    shapes: list[Markup] = []
    for second in _ticks(most):
        x = LABEL + PLOT * second / (most or 1)
        shapes.append(tag("line", x1=f"{x:g}", x2=f"{x:g}", y1=0, y2=height, class_="grid"))
        shapes.append(_text(x, height + 14, f"{second:g}", class_="tick"))
    shapes += [_text(LABEL - 8, (number + 0.5) * LINE + 4, name, class_="name") for number, name in enumerate(names)]
    return _svg(LABEL + PLOT + 24, height + 20, title, [*shapes, *lines])


def _ticks(most: float) -> list[float]:
    """Return about six round numbers from 0 to `most`."""
    step: Any = next((s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if most / s <= 7), most / 5 or 1)
    return [round(number * step, 6) for number in range(int(most / step) + 1)]
