# SPDX-License-Identifier: GPL-2.0-or-later
"""Write report.txt: what changed, what is not met, the matrix, the rest; readable without colour in 100 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from lab.core.columns import Tally
from lab.core.outcome import CaseRecord, CellKey, CellStatus, Delta
from lab.core.untrusted import one_line, printable
from lab.report import _designs as designs
from lab.report import _layout as layout
from lab.report import _words as words
from lab.report._layout import Heading, LayoutLine, Role, clip, column, heading, row, table, wrap
from lab.report._patch import coverage
from lab.verdicts.compare import Summary
from lab.verdicts.harmless import HarmlessComplaint
from lab.verdicts.judge import cell_evidence
from lab.verdicts.policies import policy_tables

FILE = "report.txt"
WIDTH = layout.WIDTH
MAX_ENTRIES = 40
"""The entries of one kind that are printed; results.json has all of them."""
MAX_EVIDENCE = 8
"""The lines of evidence that are printed below a reason."""
NARROWEST = 18
"""The matrix is printed as a list if its columns would be narrower than this."""

_ROLES = {Delta.FIXED: Role.GOOD, Delta.REGRESSED: Role.BAD}
_CELL_ROLES = {
    CellStatus.NO_BOOT: Role.BAD,
    CellStatus.INVALID: Role.NO_VERDICT,
    CellStatus.BROKEN: Role.NO_VERDICT,
}
_EXIT_ROLES = {0: Role.GOOD, 1: Role.BAD}
"""The roles of the last line; any other exit status means that there is no verdict."""
_LEGENDS = {
    "must-fail": "must-fail: failed, as it must on a kernel that does not provide what the case requires",
    "known-fail": "known-fail: failed, and does so on the kernel that is compared with too",
}
"""The explanations of the words of the matrix that need one."""


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
    """Return the sections in their order; one that has nothing to report is empty."""
    role = _EXIT_ROLES.get(summary.exit_code, Role.NO_VERDICT)
    by_scenario: list[str] = []
    versions: list[str] = []
    if not brief:
        by_scenario = _by_scenario(summary, width)
        versions = _versions(summary, width)
    return [
        _head(summary, width),
        words.report_lines(summary, width),
        _changed(summary, Delta.REGRESSED, width),
        _changed(summary, Delta.FIXED, width),
        _not_met(summary, width),
        _no_power(summary, width),
        _bad_cells(summary, width),
        _broken(summary, width),
        _matrix(summary, width),
        by_scenario,
        _known(summary, width),
        _harmless(summary, width),
        _coverage(summary, width),
        _policies(summary, width),
        designs.differ(summary, width),
        designs.cost(summary, width),
        _skipped(summary, width),
        _not_built(summary, width),
        _refused(summary, width),
        _left_out(summary, width),
        versions,
        _proofs(summary, width),
        heading(f"exit {summary.exit_code}: {summary.sentence}", width, role),
    ]


def _head(summary: Summary, width: int) -> list[str]:
    """Return the headline, when the run started, how often each cell ran, and the kernels' configuration."""
    metadata = summary.evidence.metadata
    started = one_line(metadata.started or "", 40)
    repeats = words.repeats(summary)
    facts: list[str] = []
    if started:
        facts.append(f"started {started}")
    if repeats > 1:
        facts.append(f"every cell {repeats} times")
    lines = [*wrap(words.headline(summary), width), *wrap(", ".join(facts), width)]
    for kernel, spec in metadata.kernels.items():
        if spec.config:
            lines += wrap(f"{kernel} with {' '.join(spec.config)}", width)
    return lines


def _coverage(summary: Summary, width: int) -> list[str]:
    """Return which changed lines ran, of a run that counted them."""
    lines: list[str] = []
    for found in summary.coverage:
        lines += coverage.text(found, width)
    return lines


# The matrix.


def _matrix(summary: Summary, width: int) -> list[str]:
    """Return the counts of every cell, a row per machine, and the legends of the words that occur in them."""
    rows: dict[str, dict[str, list[str]]] = {name: {} for name in summary.topologies}
    tallied = words.tally_places(summary)
    for topology, kernel in summary.repeats:
        rows[topology][kernel] = words.cell_text(summary, CellKey(topology, kernel), tallied)
    lines = _counts(summary, rows, width)
    shown = "\n".join(lines)
    for word, legend in _LEGENDS.items():
        if word in shown:
            lines += wrap(legend, width)
    return lines


def _by_scenario(summary: Summary, width: int) -> list[str]:
    """Return the counts of each scenario's cases on all machines together; nothing if there is one scenario."""
    by_scenario: dict[str, dict[str, Tally]] = {verdict.scenario: {} for verdict in summary.tally}
    for kernel, tally in summary.tallies.items():
        for verdict, number in tally.items():
            by_scenario[verdict.scenario].setdefault(kernel, Counter())[verdict] = number
    rows: dict[str, dict[str, list[str]]] = {}
    every = words.cases_by_scenario(summary)
    for scenario, by_kernel in by_scenario.items():
        tallies = {kernel: words.tally(tally, summary.suites) for kernel, tally in by_kernel.items()}
        rows[f"{scenario} ({len(every[scenario])})"] = tallies
    if len(rows) < 2:
        return []
    where = words.places(summary.topologies, summary.topologies)
    return [*wrap(f"BY SCENARIO (and its cases), {where}", width), *_counts(summary, rows, width)]


def _counts(summary: Summary, rows: Mapping[str, Mapping[str, Sequence[str]]], width: int) -> list[str]:
    """Return the table of row -> kernel -> counts, a column per kernel; a list if columns would be too narrow."""
    kernels, first = summary.kernels, max(map(len, rows), default=0)
    room = (width - first - 2 * len(kernels)) // max(1, len(kernels))
    if room < NARROWEST:
        return _listed_counts(rows, width)
    widest = max(map(len, kernels), default=0)
    for cells in rows.values():
        for parts in cells.values():
            widest = max(widest, len(", ".join(parts)))
    room = min(room, widest)
    lines = row("", [[name] for name in kernels], first, room)
    for name, cells in rows.items():
        columns = [column(cells.get(kernel, ["-"]), room) for kernel in kernels]
        lines += row(name, columns, first, room)
    return lines


def _listed_counts(rows: Mapping[str, Mapping[str, Sequence[str]]], width: int) -> list[str]:
    """Return a paragraph per row and kernel."""
    lines: list[str] = []
    for name, cells in rows.items():
        for kernel, parts in cells.items():
            lines += wrap(f"{name} / {kernel}: {', '.join(parts)}", width)
    return lines


# What matters.


def _not_met(summary: Summary, width: int) -> list[str]:
    return _findings("NOT MET", summary.not_met, summary, width)


def _no_power(summary: Summary, width: int) -> list[str]:
    records, lines = summary.no_power, []
    if records:
        about = "these must fail where they passed, so they cannot tell the kernels apart"
        lines += heading(f"NO POWER: {words.count(len(records), 'record')}: {about}", width, Role.BAD)
        lines += _grouped(records, summary, width)
    if summary.unproven:
        number = words.count(len(summary.unproven), "claim")
        lines += heading(f"NO POWER: {number} that no case could refute", width, Role.BAD)
    for claim in summary.unproven[:MAX_ENTRIES]:
        lines += wrap(f"{claim.subject} on {claim.kernel}: {claim.reason}", width, "  ")
    return lines + _more(len(summary.unproven), width)


def _grouped(records: Iterable[CaseRecord], summary: Summary, width: int) -> list[str]:
    """Return the cases by kernel and places, without their evidence."""
    seen: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        seen.setdefault((record.kernel, record.scenario, record.case), []).append(record.topology)
    groups: dict[str, list[tuple[str, str]]] = {}
    for (kernel, scenario, case), topologies in seen.items():
        where = f"{kernel} {words.places(topologies, summary.topologies)}"
        groups.setdefault(where, []).append((scenario, case))
    lines: list[str] = []
    for where, reasons in groups.items():
        lines += cases(where, reasons, width)
    return lines


def cases(title: str, found: Sequence[tuple[str, str]], width: int, indent: str = "  ") -> list[str]:
    """Return `title: N cases`, then a paragraph per scenario."""
    lines = wrap(f"{title}: {words.count(len(found), 'case')}", width, indent)
    for scenario, names in words.by_scenario(found).items():
        lines += wrap(f"{scenario}: {' '.join(names)}", width, f"{indent}  ")
    return lines


def _findings(title: str, records: Sequence[CaseRecord], summary: Summary, width: int) -> list[str]:
    """Return the records with their evidence; those that are alike on several topologies are printed once."""
    groups: dict[tuple[str, str, str, str, str], list[CaseRecord]] = {}
    for record in records:
        key = (record.kernel, record.label, record.verdict, record.expected.value, record.reason)
        groups.setdefault(key, []).append(record)
    if not groups:
        return []
    lines = heading(f"{title}: {words.count(len(records), 'record')}", width, Role.BAD)
    for (kernel, label, verdict, expected, _), same in list(groups.items())[:MAX_ENTRIES]:
        where = _places(same, summary)
        lines += wrap(f"{label}: {verdict}, expected {expected}: {kernel} {where}", width, "  ")
        lines += _evidence(same[0].excerpt, width)
    return lines + _more(len(groups), width)


def _evidence(excerpt: str, width: int) -> list[str]:
    """Return the whole reason, the lines below it cut to the width, and how many more there are."""
    indent = " " * 6
    reason, *details = printable(excerpt).split("\n")
    lines = wrap(reason, width, indent)
    for line in details[:MAX_EVIDENCE]:
        if line.strip():
            lines.append(indent + clip(line, width - len(indent)))
    if len(details) > MAX_EVIDENCE:
        lines.append(f"{indent}({len(details) - MAX_EVIDENCE} more lines in results.json)")
    return lines


def _more(number: int, width: int) -> list[str]:
    """Return the line that counts the entries above `MAX_ENTRIES`; nothing if all were printed."""
    if number <= MAX_ENTRIES:
        return []
    return wrap(f"and {number - MAX_ENTRIES} more in results.json", width, "  ")


def _places(records: Iterable[CaseRecord | HarmlessComplaint], summary: Summary) -> str:
    """Return the words for the topologies of some records or complaints."""
    return words.places((place.topology for place in records), summary.topologies)


def _changed(summary: Summary, kind: Delta, width: int) -> list[str]:
    """Return `FIXED by expand-fault on both topologies: 31 cases`, and their names."""
    by = {Delta.FIXED: "by"}.get(kind, "with")
    lines: list[str] = []
    for (kernel, where), group in words.by_places(summary.delta(kind), summary.topologies).items():
        first, *more = cases(f"{kind.value.upper()} {by} {kernel} {where}", list(words.labels(group)), width, "")
        lines += [Heading(first, _ROLES[kind]), *more]
    return lines


def _bad_cells(summary: Summary, width: int) -> list[str]:
    """Return the cells that are INVALID, did not boot or broke; of a mismatch, both values."""
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
    """Return the records without evidence, by cell and reason, but for the cells that never ran, printed above."""
    never_ran = words.never_ran(summary)
    groups: dict[tuple[str, str, str, str], list[CaseRecord]] = {}
    for record in summary.broken:
        if (record.topology, record.kernel) not in never_ran:
            groups.setdefault((record.topology, record.kernel, record.cause, record.reason), []).append(record)
    if not groups:
        return []
    count = words.count(sum(map(len, groups.values())), "record")
    lines = heading(f"BROKEN: {count} without evidence", width, Role.NO_VERDICT)
    for (topology, kernel, cause, _), same in list(groups.items())[:MAX_ENTRIES]:
        lines += cases(f"{topology} / {kernel}: {cause}", list(words.labels(same)), width)
        lines += _evidence(same[0].excerpt, width)
    return lines + _more(len(groups), width)


def _known(summary: Summary, width: int) -> list[str]:
    """Return the cases of suites that fail as on the kernel compared with, for whoever runs the suite."""
    groups: dict[tuple[str, str], list[CaseRecord]] = {}
    for record in summary.known:
        groups.setdefault((record.label, record.verdict), []).append(record)
    if not groups:
        return []
    labels = {label for label, _ in groups}
    lines = wrap(
        f"KNOWN FAILURES: {words.count(len(labels), 'case')}, no difference to the kernel compared with", width
    )
    for (label, verdict), same in list(groups.items())[:MAX_ENTRIES]:
        kernels = ", ".join(dict.fromkeys(record.kernel for record in same))
        where = _places(same, summary)
        lines += wrap(f"{label}: {verdict} ({kernels} {where}): {same[0].reason}", width, "  ")
    return lines + _more(len(groups), width)


def _policies(summary: Summary, width: int) -> list[str]:
    """Return where pages lie, a table for each machine: a row per memory policy, a column per kind of memory."""
    lines: list[str] = []
    for found in policy_tables(summary):
        rows = [LayoutLine(title=policy, cells=cells) for policy, cells in found.rows]
        lines += ["", *wrap(f"MEMORY POLICIES on {found.topology} ({found.scenario}): where pages lie", width)]
        lines += table(found.kinds, rows, width)
    return lines[1:]


def _harmless(summary: Summary, width: int) -> list[str]:
    """Return the complaints that were judged as nothing, because the kernel's YAML lists them."""
    groups: dict[tuple[str, str, str], list[HarmlessComplaint]] = {}
    for line in summary.harmless:
        groups.setdefault((line.kernel, line.title, line.reason), []).append(line)
    if not groups:
        return []
    lines = wrap("KNOWN AND HARMLESS: complaints that are judged as nothing", width)
    for (kernel, title, reason), same in list(groups.items())[:MAX_ENTRIES]:
        times = words.count(sum(line.count for line in same), "time")
        where = _places(same, summary)
        lines += wrap(f"{kernel} {where}, {times}: {title} ({reason})", width, "  ")
    return lines + _more(len(groups), width)


def _not_built(summary: Summary, width: int) -> list[str]:
    """Return the programs of suites that were not built, and why."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    programs_missing: set[tuple[str, str]] = set()
    places_missing: set[str] = set()
    for name, suite in summary.evidence.metadata.suites.items():
        for place, programs in suite.not_built.items():
            for program, why in programs.items():
                reasons.setdefault((name, program, why), []).append(place)
                programs_missing.add((name, program))
                places_missing.add(place)
    if not reasons:
        return []
    lines = wrap(f"NOT BUILT: {words.count(len(programs_missing), 'program')}", width)
    for (name, program, why), places in reasons.items():
        where = ""
        if set(places) != places_missing:
            where = f" ({', '.join(places)})"
        lines += wrap(f"{name} {program}{where}: {why}", width, "  ")
    return lines


def _refused(summary: Summary, width: int) -> list[str]:
    """Return the configuration symbols that the lab or suites want and that the kernels could not be given."""
    refused: dict[str, list[str]] = {}
    for cell, build in summary.evidence.metadata.builds.items():
        for wish in build.refused:
            refused.setdefault(wish, []).append(cell.topology)
    if not refused:
        return []
    lines = wrap(f"NOT IN THE KERNELS: {words.count(len(refused), 'symbol')} asked for", width)
    for where, wishes in _by_place(refused, summary).items():
        lines += wrap(f"{where}: {' '.join(wishes)}", width, "  ")
    return lines


def _by_place(found: Mapping[str, Sequence[str]], summary: Summary) -> dict[str, list[str]]:
    """Return the words for the places -> what is so there, from what -> its topologies."""
    grouped: dict[str, list[str]] = {}
    for what, topologies in found.items():
        grouped.setdefault(words.places(topologies, summary.topologies), []).append(what)
    return grouped


def _skipped(summary: Summary, width: int) -> list[str]:
    """Return the skips by reason, then the cases that no cell ran."""
    reasons: dict[str, list[CaseRecord]] = {}
    for record in summary.skipped:
        reasons.setdefault(record.reason, []).append(record)
    if not reasons:
        return []
    every = words.cases_by_scenario(summary)
    lines = wrap(f"SKIPPED: {words.count(len(summary.skipped), 'record')}", width)
    for reason, same in list(reasons.items())[:MAX_ENTRIES]:
        cases = " ".join(words.case_names(same, every))
        lines += wrap(f"{len(same)}x {reason}: {cases}", width, "  ")
    if summary.skipped_everywhere:
        cases = " ".join(words.case_names(summary.skipped_everywhere, every))
        lines += wrap(f"skipped everywhere, so not tested at all: {cases}", width, "  ")
    return lines + _more(len(reasons), width)


def _left_out(summary: Summary, width: int) -> list[str]:
    """Return the campaign's machines that this host could not build or start; no verdict covers them."""
    reasons: dict[str, list[str]] = {}
    for skipped in summary.evidence.metadata.skipped:
        reasons.setdefault(skipped.reason, []).append(skipped.what)
    if not reasons:
        return []
    lines = wrap(f"NOT ON THIS HOST: {words.count(sum(map(len, reasons.values())), 'machine')}", width)
    for reason, names in reasons.items():
        lines += wrap(f"{reason}: {' '.join(names)}", width, "  ")
    return lines


# What it was run with.


def _versions(summary: Summary, width: int) -> list[str]:
    """Return what each machine's guests and kernels were, then the versions of the host's tools and of pagelab."""
    metadata = summary.evidence.metadata
    lines: list[str] = []
    for topology, cells in words.by_topology(summary).items():
        parts = words.started(cells)
        peaks = [cell.usage.peak for cell in cells if cell.usage]
        if peaks:
            parts.append(f"QEMU took {max(peaks) >> 20} MiB")
        parts += words.builds_of(summary, topology, summary.kernels)
        lines += wrap(f"{topology}: {'; '.join(parts)}", width)
    versions = [f"pagelab {one_line(metadata.pagelab or '?', 40)}"]
    host = words.flat(metadata.host)
    if host:
        versions.append(host)
    return [*lines, *wrap("; ".join(versions), width)]


def _proofs(summary: Summary, width: int) -> list[str]:
    lines: list[str] = []
    for sentence in summary.sentences:
        lines += wrap(sentence, width)
    return lines
