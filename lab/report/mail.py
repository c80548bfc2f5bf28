# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as a cover letter takes it: a subject, then plain text of at most 72 columns, what matters and no more.

What was run where, as a table; what regressed, was fixed, is not as expected; what could not be judged; with what; and
the command that does it again. Evidence is two lines per finding: the rest is in the other reports.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from lab.core.outcome import CaseRecord, CellKey, CellStatus, Delta, Outcome
from lab.core.untrusted import one_line, printable
from lab.evidence.metadata import Provenance
from lab.report import _drawing
from lab.report import _words as words
from lab.report._command import command_line
from lab.report._layout import wrap
from lab.specs.model import format_size
from lab.verdicts.compare import Summary, series_words

FILE = None
WIDTH = 72
MAX_ENTRIES = 20
MAX_NAMES = 30
"""Of cases of one scenario; of more it is said how many."""


def render(summary: Summary) -> str:
    """`Subject:` line, empty line, body, newline at its end."""
    subject = f"Subject: [pagelab] {words.headline(summary)}"
    sections = [
        [subject if len(subject) <= WIDTH else f"{subject[: WIDTH - 3]}..."],
        _what(summary),
        _table(summary),
        _changed(summary, Delta.REGRESSED, "Regressed with"),
        _found(summary.not_met, "Not as expected", summary),
        _found(summary.no_power, "No power (had to fail and passed)", summary),
        _unproven(summary),
        _changed(summary, Delta.FIXED, "Fixed by"),
        _known(summary),
        _not_judged(summary),
        _versions(summary),
        _again(summary),
        _prose(f"Result: {summary.sentence} (exit status {summary.exit_code})."),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _what(summary: Summary) -> list[str]:
    cases = len({record.label for record in summary.records})
    machines = words.count(len(summary.topologies), "emulated machine")
    accelerators = sorted({cell.accelerator for cell in summary.evidence.cells if cell.accelerator})
    how = f" (QEMU, {', '.join(accelerators)})" if accelerators else ""
    often = f", every cell {words.repeats(summary)} times" if words.repeats(summary) > 1 else ""
    return wrap(f"{words.count(cases, 'case')} on {machines}{how}, kernels {_named(summary.kernels)}{often}.", WIDTH)


def _named(names: Sequence[str]) -> str:
    return " and ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"


# The table: a line per machine.


def _table(summary: Summary) -> list[str]:
    """Machine, page size and nodes, then per kernel `pass/all`, then fixed and regressed."""
    machines = _drawing.topologies(summary, summary.topologies)
    changes = len(summary.kernels) > 1
    head = ["", "pages", "nodes", *_heads(summary.kernels), *(["fixed", "regr."] if changes else [])]
    rows = [head]
    for topology in summary.topologies:
        machine = machines.get(topology)
        pages = format_size(machine.page_size) if machine else "?"
        nodes = str(len(machine.node_memory)) if machine else "?"
        counts = [
            str(len({delta.label for delta in summary.delta(kind) if delta.topology == topology}))
            for kind in (Delta.FIXED, Delta.REGRESSED)
        ]
        cells = [_cell(summary, topology, kernel) for kernel in summary.kernels]
        rows.append([topology, pages, nodes, *cells, *(counts if changes else [])])
    unmet = any("!" in cell for row in rows[1:] for cell in row)
    return [*_aligned(rows), *_legend(summary, unmet)]


def _heads(kernels: Sequence[str]) -> list[str]:
    return [f"[{number}]" for number, _ in enumerate(kernels, start=1)]


def _cell(summary: Summary, topology: str, kernel: str) -> str:
    """`58/60`: passed of those with a verdict; a word where there was none; `!` where something is not as expected."""
    guests = summary.repeats.get(CellKey(topology, kernel), ())
    records = summary.of_cell(topology, kernel)
    judged = [record for record in records if record.outcome not in (Outcome.SKIP, Outcome.BROKEN)]
    if not judged:
        return next((words.CELL_WORDS[guest.status] for guest in guests if guest.status is not CellStatus.OK), "-")
    passed = sum(record.outcome is Outcome.PASS for record in judged)
    return f"{passed}/{len(judged)}" + ("!" if any(record.met is False for record in records) else "")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows under each other where they fit into the width; else a paragraph each."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    if sum(widths) + 2 * (len(widths) - 1) <= WIDTH:
        return ["  ".join([f"{row[0]:<{widths[0]}}", *_right(row[1:], widths[1:])]).rstrip() for row in rows]
    head, *others = rows
    told = [
        f"{row[0]}: " + ", ".join(f"{name} {value}" for name, value in zip(head[1:], row[1:], strict=True))
        for row in others
    ]
    return [line for row in told for line in wrap(row, WIDTH)]


def _right(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)]


def _legend(summary: Summary, unmet: bool) -> list[str]:
    named = ", ".join(f"{head} {kernel}" for head, kernel in zip(_heads(summary.kernels), summary.kernels, strict=True))
    must = any(record.outcome is Outcome.FAIL and record.met is True for record in summary.records)
    why = "what did not pass did not before the series either" if summary.known else "what did not pass had to fail"
    notes = ["! not as expected"] if unmet else [why] if must or summary.known else []
    return _prose("; ".join([f"{named}: passed/judged", *notes]))


# What matters.


def _changed(summary: Summary, kind: Delta, title: str) -> list[str]:
    lines: list[str] = []
    for (kernel, where), group in words.by_places(summary.delta(kind), summary.topologies).items():
        lines += wrap(f"{title} {kernel} {where}: {words.count(len(group), 'case')}", WIDTH)
        lines += _names([(delta.scenario, delta.case) for delta in group])
    return lines


def _names(cases: Sequence[tuple[str, str]]) -> list[str]:
    lines: list[str] = []
    for scenario, names in words.by_scenario(cases).items():
        more = [f"and {len(names) - MAX_NAMES} more"] if len(names) > MAX_NAMES else []
        lines += wrap(f"{scenario}: {' '.join([*names[:MAX_NAMES], *more])}", WIDTH, "  ")
    return lines


def _found(records: Sequence[CaseRecord], title: str, summary: Summary) -> list[str]:
    """Each once for all its machines, with the reason."""
    groups: dict[tuple[str, str, str, str], list[CaseRecord]] = {}
    for record in records:
        groups.setdefault((record.kernel, record.label, record.verdict, record.reason), []).append(record)
    lines = wrap(f"{title}: {words.count(len(records), 'record')}", WIDTH) if records else []
    for (kernel, label, verdict, reason), same in list(groups.items())[:MAX_ENTRIES]:
        where = words.places((record.topology for record in same), summary.topologies)
        lines += wrap(f"{label}: {verdict} on {kernel} {where}", WIDTH, "  ")
        lines += wrap(one_line(reason, 2 * WIDTH - 16), WIDTH, "      ")
    more = len(groups) - MAX_ENTRIES
    return lines + (wrap(f"and {more} more", WIDTH, "  ") if more > 0 else [])


def _unproven(summary: Summary) -> list[str]:
    """Features, suites and programs of which no case could fail, with the reason."""
    if not summary.unproven:
        return []
    lines = wrap(f"No power: {words.count(len(summary.unproven), 'claim')} that no case could refute", WIDTH)
    for claim in summary.unproven[:MAX_ENTRIES]:
        lines += wrap(f"{claim.subject} on {claim.kernel}", WIDTH, "  ")
        lines += wrap(one_line(claim.reason, 2 * WIDTH - 16), WIDTH, "      ")
    return lines


def _known(summary: Summary) -> list[str]:
    """What fails in a suite whatever the kernel."""
    labels = dict.fromkeys((record.scenario, record.case) for record in summary.known)
    title = f"Failed as on the kernel compared with: {words.count(len(labels), 'case')}"
    return [*wrap(title, WIDTH), *_names([*labels])] if labels else []


def _not_judged(summary: Summary) -> list[str]:
    """Guests that are no evidence, cases without a result, what was skipped, machines that this host does not have."""
    lines: list[str] = []
    for cell in summary.evidence.cells:
        if cell.status is not CellStatus.OK:
            why = "; ".join(filter(None, (cell.why, *map(str, cell.mismatches))))
            lines += wrap(f"{cell.name}: {words.CELL_WORDS[cell.status]}: {one_line(why, 100)}", WIDTH, "  ")
    bare = {place for place, guests in summary.repeats.items() if not any(guest.runs for guest in guests)}
    reasons: dict[str, list[CaseRecord]] = {}
    for record in (*summary.broken, *summary.skipped):
        if (record.topology, record.kernel) not in bare:
            reasons.setdefault(f"{record.outcome.lower()}: {one_line(record.reason, 60)}", []).append(record)
    for reason, same in list(reasons.items())[:MAX_ENTRIES]:
        lines += wrap(f"{len(same)}x {reason}", WIDTH, "  ")
    skipped = summary.evidence.metadata.skipped
    lines += wrap(f"{words.count(len(skipped), 'machine')} not on this host", WIDTH, "  ") if skipped else []
    return ["Not judged:", *lines] if lines else []


# With what, and how again.


def _versions(summary: Summary) -> list[str]:
    """Kernel releases and compilers, each once; emulators; the proof that the series is the only difference."""
    metadata = summary.evidence.metadata
    builds = list(metadata.builds.values())
    releases = dict.fromkeys(one_line(build.release or "?", 60) for build in builds)
    compilers = dict.fromkeys(_compiler(build) for build in builds)
    emulators = dict.fromkeys(one_line(version.split(" ")[0], 30) for version in metadata.host.emulators.values())
    pagelab = one_line(metadata.pagelab or "?", 30)
    told = [f"pagelab {pagelab}", *(f"QEMU {version}" for version in emulators)]
    lines = wrap(f"Kernels: {', '.join(releases)}", WIDTH) if releases else []
    for kernel in summary.kernels:
        series = series_words(metadata, kernel).removeprefix("the series ")
        what = " + ".join(filter(None, (metadata.kernel(kernel).source or "?", one_line(series, 200))))
        lines += wrap(f"{kernel}: {what}", WIDTH, "  ")
    lines += wrap(f"Compilers: {'; '.join(compilers)}", WIDTH) if compilers else []
    lines += wrap(f"With: {', '.join(told)}", WIDTH)
    return [*lines, *(line for proof in summary.proofs for line in _prose(proof.sentence))]


def _compiler(build: Provenance) -> str:
    """`alpha-linux-gnu-gcc 12.2.0`: without its packager and its linker."""
    return one_line(re.sub(r" \([^()]*\)", "", (build.compiler or "?").split(",")[0]), 80)


def _prose(said: str) -> list[str]:
    return textwrap.wrap(" ".join(printable(said).split()), WIDTH, break_on_hyphens=False)


def _again(summary: Summary) -> list[str]:
    """The command that runs it again, where a lab is; broken between its options, so that it can be pasted."""
    first, *others = command_line(summary).parts
    lines, line = [], f"    {first}"
    for part in others:
        if len(line) + 1 + len(part) > WIDTH - 2:
            lines.append(f"{line} \\")
            line = "       "
        line += f" {part}"
    return ["To reproduce:", *lines, line] if max(map(len, (*lines, line))) <= WIDTH else []
