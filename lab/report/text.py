# SPDX-License-Identifier: GPL-2.0-or-later
"""report.txt: what changed, what is not met, the matrix, the rest; at most 100 columns, without a need for colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lab.core.outcome import CaseRecord, CellKey, CellStatus, Delta
from lab.core.untrusted import one_line, printable
from lab.report import _designs as designs
from lab.report import _layout as layout
from lab.report import _words as words
from lab.report._layout import Heading, Role, clip, column, heading, row, wrap
from lab.verdicts.compare import Summary
from lab.verdicts.harmless import HarmlessComplaint
from lab.verdicts.judge import cell_evidence

FILE = "report.txt"
WIDTH = layout.WIDTH
MAX_ENTRIES = 40
"""Of one kind; the rest is in results.json."""
MAX_EVIDENCE = 8
NARROWEST = 18
"""A column of the matrix that would be narrower makes it a list."""


_ROLES = {Delta.FIXED: Role.GOOD, Delta.REGRESSED: Role.BAD}
_CELL_ROLES = {
    CellStatus.NO_BOOT: Role.BAD,
    CellStatus.INVALID: Role.NO_VERDICT,
    CellStatus.BROKEN: Role.NO_VERDICT,
}
_EXIT_ROLES = {0: Role.GOOD, 1: Role.BAD}
"""Any other exit status says that there is no verdict."""


def render(summary: Summary, width: int = WIDTH, *, brief: bool = False) -> str:
    """Return the report as plain printable text; see `lines` for what a brief one leaves out."""
    return "".join(f"{line}\n" for line in lines(summary, width, brief=brief))


def lines(summary: Summary, width: int = WIDTH, *, brief: bool = False) -> list[str]:
    """Return the lines of the report; the headings of what matters are `Heading`s.

    A brief report has no counts by scenario and no versions.
    """
    found: list[str] = []
    for section in filter(None, _sections(summary, width, brief=brief)):
        if found:
            found.append("")
        found += section
    return found


def _sections(summary: Summary, width: int, *, brief: bool) -> list[list[str]]:
    role = _EXIT_ROLES.get(summary.exit_code, Role.NO_VERDICT)
    return [
        _head(summary, width),
        _changed(summary, Delta.REGRESSED, width),
        _changed(summary, Delta.FIXED, width),
        _not_met(summary, width),
        _no_power(summary, width),
        _bad_cells(summary, width),
        _broken(summary, width),
        _matrix(summary, width),
        [] if brief else _by_scenario(summary, width),
        _known(summary, width),
        _harmless(summary, width),
        designs.differ(summary, width),
        designs.cost(summary, width),
        _skipped(summary, width),
        _not_built(summary, width),
        _refused(summary, width),
        _left_out(summary, width),
        [] if brief else _versions(summary, width),
        _proofs(summary, width),
        heading(f"exit {summary.exit_code}: {summary.sentence}", width, role),
    ]


def _head(summary: Summary, width: int) -> list[str]:
    metadata = summary.evidence.metadata
    started = one_line(metadata.started or "", 40)
    again = words.repeats(summary)
    said = [f"started {started}"] if started else []
    said += [f"every cell {again} times"] if again > 1 else []
    lines = [*wrap(words.headline(summary), width), *wrap(", ".join(said), width)]
    for kernel, spec in metadata.kernels.items():
        if spec.config:
            lines += wrap(f"{kernel} with {' '.join(spec.config)}", width)
    return lines


# The matrix.


def _matrix(summary: Summary, width: int) -> list[str]:
    rows: dict[str, dict[str, list[str]]] = {name: {} for name in summary.topologies}
    for topology, kernel in summary.repeats:
        rows[topology][kernel] = words.cell_text(summary, CellKey(topology, kernel))
    lines = _counts(summary, rows, width)
    legend = "must-fail: failed, as it must on a kernel that does not provide what the case requires"
    known = "known-fail: failed, and does so on the kernel that is compared with too"
    shown = "\n".join(lines)
    lines += wrap(legend, width) if "must-fail" in shown else []
    return [*lines, *wrap(known, width)] if "known-fail" in shown else lines


def _by_scenario(summary: Summary, width: int) -> list[str]:
    """What came of each scenario's cases on all machines together."""
    found: dict[str, dict[str, list[CaseRecord]]] = {}
    for record in summary.records:
        found.setdefault(record.scenario, {}).setdefault(record.kernel, []).append(record)
    rows = {}
    for scenario, of in found.items():
        number = len({record.case for records in of.values() for record in records})
        tallies = {kernel: words.tally(records, summary.suites) for kernel, records in of.items()}
        rows[f"{scenario} ({number})"] = tallies
    if len(rows) < 2:
        return []
    where = words.places(summary.topologies, summary.topologies)
    return [*wrap(f"BY SCENARIO (and its cases), {where}", width), *_counts(summary, rows, width)]


def _counts(summary: Summary, rows: Mapping[str, Mapping[str, Sequence[str]]], width: int) -> list[str]:
    """Row -> kernel -> counts, with a column per kernel; a list where columns would be too narrow."""
    kernels, first = summary.kernels, max(map(len, rows), default=0)
    room = (width - first - 2 * len(kernels)) // max(1, len(kernels))
    if room < NARROWEST:
        flat = ((name, kernel, parts) for name, cells in rows.items() for kernel, parts in cells.items())
        return [line for name, kernel, parts in flat for line in wrap(f"{name} / {kernel}: {', '.join(parts)}", width)]
    told = [", ".join(parts) for cells in rows.values() for parts in cells.values()]
    room = min(room, max(map(len, (*kernels, *told))))
    lines = row("", [[name] for name in kernels], first, room)
    for name, cells in rows.items():
        lines += row(name, [column(cells.get(kernel, ["-"]), room) for kernel in kernels], first, room)
    return lines


# What matters.


def _not_met(summary: Summary, width: int) -> list[str]:
    return _findings("NOT MET", summary.not_met, summary, width)


def _no_power(summary: Summary, width: int) -> list[str]:
    records = summary.no_power
    if not records:
        return []
    about = "these must fail where they passed, so they cannot tell the kernels apart"
    lines = heading(f"NO POWER: {words.count(len(records), 'record')}: {about}", width, Role.BAD)
    return lines + _grouped(records, summary, width)


def _grouped(records: Iterable[CaseRecord], summary: Summary, width: int) -> list[str]:
    """Cases by kernel and places, without their evidence."""
    seen: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        seen.setdefault((record.kernel, record.scenario, record.case), []).append(record.topology)
    groups: dict[str, list[tuple[str, str]]] = {}
    for (kernel, scenario, case), topologies in seen.items():
        where = f"{kernel} {words.places(topologies, summary.topologies)}"
        groups.setdefault(where, []).append((scenario, case))
    return [line for where, found in groups.items() for line in cases(where, found, width)]


def cases(title: str, found: Sequence[tuple[str, str]], width: int, indent: str = "  ") -> list[str]:
    """`title: N cases`, then a paragraph per scenario."""
    lines = wrap(f"{title}: {words.count(len(found), 'case')}", width, indent)
    for scenario, names in words.by_scenario(found).items():
        lines += wrap(f"{scenario}: {' '.join(names)}", width, f"{indent}  ")
    return lines


def _findings(title: str, records: Sequence[CaseRecord], summary: Summary, width: int) -> list[str]:
    """Records with their evidence; the same words on several topologies once."""
    groups: dict[tuple[str, str, str, str, str], list[CaseRecord]] = {}
    for record in records:
        key = (record.kernel, record.label, record.verdict, record.expected.value, record.reason)
        groups.setdefault(key, []).append(record)
    if not groups:
        return []
    lines = heading(f"{title}: {words.count(len(records), 'record')}", width, Role.BAD)
    for (kernel, label, verdict, expected, _), same in list(groups.items())[:MAX_ENTRIES]:
        where = words.places((record.topology for record in same), summary.topologies)
        lines += wrap(f"{label}: {verdict}, expected {expected}: {kernel} {where}", width, "  ")
        lines += _evidence(same[0].excerpt, width)
    return lines + _more(len(groups), width)


def _evidence(excerpt: str, width: int) -> list[str]:
    """The reason whole, the lines behind it cut to the width, and how many more there are."""
    reason, *said = printable(excerpt).split("\n")
    shown = [clip(line, width - 6) for line in said[:MAX_EVIDENCE] if line.strip()]
    rest = [f"({len(said) - MAX_EVIDENCE} more lines in results.json)"] if len(said) > MAX_EVIDENCE else []
    return [*wrap(reason, width, "      "), *(f"      {line}" for line in (*shown, *rest))]


def _more(number: int, width: int) -> list[str]:
    return wrap(f"and {number - MAX_ENTRIES} more in results.json", width, "  ") if number > MAX_ENTRIES else []


def _changed(summary: Summary, kind: Delta, width: int) -> list[str]:
    """`FIXED by expand-fault on both topologies: 31 cases`, and their names."""
    lines: list[str] = []
    for (kernel, where), group in words.by_places(summary.delta(kind), summary.topologies).items():
        title = f"{kind.value.upper()} {'by' if kind is Delta.FIXED else 'with'} {kernel} {where}"
        first, *more = cases(title, [(delta.scenario, delta.case) for delta in group], width, "")
        lines += [Heading(first, _ROLES[kind]), *more]
    return lines


def _bad_cells(summary: Summary, width: int) -> list[str]:
    """Cells that are INVALID, did not boot or broke, the values side by side."""
    lines: list[str] = []
    for cell in summary.evidence.cells:
        if cell.status is CellStatus.OK:
            continue
        parts = [words.CELL_WORDS[cell.status], cell.name]
        if cell.why:
            parts.append(cell.why)
        lines += heading(": ".join(parts), width, _CELL_ROLES[cell.status])
        for mismatch in cell.mismatches:
            lines += wrap(f"{mismatch.fact}: asked {mismatch.asked}, got {mismatch.got}", width, "  ")
        lines += _evidence("\n".join(cell_evidence(cell)), width)
    return lines


def _broken(summary: Summary, width: int) -> list[str]:
    """Cases without evidence, by cell and reason; those of cells that are bad as a whole were told above."""
    told = {place for place, guests in summary.repeats.items() if not any(guest.runs for guest in guests)}
    groups: dict[tuple[str, str, str, str], list[CaseRecord]] = {}
    for record in summary.broken:
        if (record.topology, record.kernel) not in told:
            groups.setdefault((record.topology, record.kernel, record.cause, record.reason), []).append(record)
    if not groups:
        return []
    count = words.count(sum(map(len, groups.values())), "record")
    lines = heading(f"BROKEN: {count} without evidence", width, Role.NO_VERDICT)
    for (topology, kernel, cause, _), same in list(groups.items())[:MAX_ENTRIES]:
        lines += cases(f"{topology} / {kernel}: {cause}", [(record.scenario, record.case) for record in same], width)
        lines += _evidence(same[0].excerpt, width)
    return lines + _more(len(groups), width)


def _known(summary: Summary, width: int) -> list[str]:
    """Cases of suites that fail as they did before: no news about the series, and news to whoever runs the suite."""
    groups: dict[tuple[str, str], list[CaseRecord]] = {}
    for record in summary.known:
        groups.setdefault((record.label, record.verdict), []).append(record)
    if not groups:
        return []
    cases = len({record.label for record in summary.known})
    lines = wrap(f"KNOWN FAILURES: {words.count(cases, 'case')}, no difference to the kernel compared with", width)
    for (label, verdict), same in list(groups.items())[:MAX_ENTRIES]:
        where = words.places((record.topology for record in same), summary.topologies)
        who = ", ".join(dict.fromkeys(record.kernel for record in same))
        lines += wrap(f"{label}: {verdict} ({who} {where}): {same[0].reason}", width, "  ")
    return lines + _more(len(groups), width)


def _harmless(summary: Summary, width: int) -> list[str]:
    """Return the complaints that were judged as nothing, because the kernel's YAML lists them."""
    groups: dict[tuple[str, str, str], list[HarmlessComplaint]] = {}
    for each in summary.harmless:
        groups.setdefault((each.kernel, each.title, each.reason), []).append(each)
    if not groups:
        return []
    lines = wrap("KNOWN AND HARMLESS: complaints that are judged as nothing", width)
    for (kernel, title, reason), same in list(groups.items())[:MAX_ENTRIES]:
        times = words.count(sum(each.count for each in same), "time")
        where = words.places((each.topology for each in same), summary.topologies)
        lines += wrap(f"{kernel} {where}, {times}: {title} ({reason})", width, "  ")
    return lines + _more(len(groups), width)


def _not_built(summary: Summary, width: int) -> list[str]:
    """Programs of suites that are not there."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for name, suite in summary.evidence.metadata.suites.items():
        for place, programs in suite.not_built.items():
            for program, why in programs.items():
                reasons.setdefault((name, program, why), []).append(place)
    places = {place for found in reasons.values() for place in found}
    lines = wrap(f"NOT BUILT: {words.count(len({key[:2] for key in reasons}), 'program')}", width)
    for (name, program, why), found in reasons.items():
        where = "" if set(found) == places else f" ({', '.join(found)})"
        lines += wrap(f"{name} {program}{where}: {why}", width, "  ")
    return lines if reasons else []


def _refused(summary: Summary, width: int) -> list[str]:
    """What suites want of the configuration and kernels could not be given."""
    refused: dict[str, list[str]] = {}
    for cell, build in summary.evidence.metadata.builds.items():
        for wish in build.refused:
            refused.setdefault(wish, []).append(cell.topology)
    lines = wrap(f"NOT IN THE KERNELS: {words.count(len(refused), 'symbol')} that a suite wishes for", width)
    for where, wishes in _by_place(refused, summary).items():
        lines += wrap(f"{where}: {' '.join(wishes)}", width, "  ")
    return lines if refused else []


def _by_place(found: Mapping[str, Sequence[str]], summary: Summary) -> dict[str, list[str]]:
    """Where -> what, of what -> topologies."""
    grouped: dict[str, list[str]] = {}
    for what, topologies in found.items():
        grouped.setdefault(words.places(topologies, summary.topologies), []).append(what)
    return grouped


def _skipped(summary: Summary, width: int) -> list[str]:
    """Skips by reason, then the cases that no cell ran."""
    reasons: dict[str, list[CaseRecord]] = {}
    for record in summary.skipped:
        reasons.setdefault(record.reason, []).append(record)
    if not reasons:
        return []
    lines = wrap(f"SKIPPED: {words.count(len(summary.skipped), 'record')}", width)
    for reason, same in list(reasons.items())[:MAX_ENTRIES]:
        cases = dict.fromkeys(record.label for record in same)
        lines += wrap(f"{len(same)}x {reason}: {' '.join(cases)}", width, "  ")
    everywhere = summary.skipped_everywhere
    if everywhere:
        lines += wrap(f"skipped everywhere, so not tested at all: {' '.join(everywhere)}", width, "  ")
    return lines + _more(len(reasons), width)


def _left_out(summary: Summary, width: int) -> list[str]:
    """Machines of the campaign that this host could not build or start: no verdict is about them."""
    reasons: dict[str, list[str]] = {}
    for skipped in summary.evidence.metadata.skipped:
        reasons.setdefault(skipped.reason, []).append(skipped.what)
    lines = wrap(f"NOT ON THIS HOST: {words.count(sum(map(len, reasons.values())), 'machine')}", width)
    for reason, names in reasons.items():
        lines += wrap(f"{reason}: {' '.join(names)}", width, "  ")
    return lines if reasons else []


# What it was run with.


def _versions(summary: Summary, width: int) -> list[str]:
    metadata = summary.evidence.metadata
    lines: list[str] = []
    kernels = summary.kernels
    for topology, cells in words.by_topology(summary).items():
        parts = words.started(cells)
        peaks = [cell.usage.peak for cell in cells if cell.usage]
        parts += [f"QEMU took {max(peaks) >> 20} MiB"] if peaks else []
        lines += wrap(f"{topology}: {'; '.join([*parts, *words.builds_of(summary, topology, kernels)])}", width)
    host = words.flat(metadata.host)
    version = one_line(metadata.pagelab or "?", 40)
    return [*lines, *wrap(f"pagelab {version}" + (f"; {host}" if host else ""), width)]


def _proofs(summary: Summary, width: int) -> list[str]:
    return [line for proof in summary.proofs for line in wrap(proof.sentence, width)]
