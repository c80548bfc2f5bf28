# SPDX-License-Identifier: GPL-2.0-or-later
"""A run as a cover letter takes it: a subject, then plain text of at most 72 columns, what matters and no more.

What was run where, as a table; what regressed, was fixed, is not as expected; what could not be judged; with what; and
the command that does it again. Evidence is two lines per finding: the rest is in the other reports.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

from lab.core.outcome import CaseRecord, CellKey, CellResult, CellStatus, Delta, Outcome
from lab.core.untrusted import one_line, printable
from lab.evidence.metadata import Provenance
from lab.report import _drawing
from lab.report import _words as words
from lab.report._command import command_line
from lab.report._layout import wrap
from lab.report._patch import coverage
from lab.specs.model import format_size
from lab.verdicts.compare import Summary, series_words

FILE = None
WIDTH = 72
MAX_ENTRIES = 20
MAX_NAMES = 30
"""The cases of one scenario that are named; the others are counted."""


def render(summary: Summary) -> str:
    """Return a `Subject:` line, an empty line and the body, with a newline at its end."""
    subject = f"Subject: [pagelab] {words.headline(summary)}"
    if len(subject) > WIDTH:
        subject = f"{subject[: WIDTH - 3]}..."
    sections = [
        [subject],
        _what(summary),
        _table(summary),
        words.report_lines(summary, WIDTH),
        _changed(summary, Delta.REGRESSED, "Regressed with"),
        _found(summary.not_met, "Not as expected", summary),
        _found(summary.no_power, "No power (had to fail and passed)", summary),
        _unproven(summary),
        _changed(summary, Delta.FIXED, "Fixed by"),
        _coverage(summary),
        _known(summary),
        _not_judged(summary),
        _versions(summary),
        _again(summary),
        _prose(f"Result: {summary.sentence} (exit status {summary.exit_code})."),
    ]
    return words.joined_sections(sections)


def _what(summary: Summary) -> list[str]:
    """Return a sentence on the cases, machines and kernels that were run."""
    cases = {record.label for record in summary.records}
    accelerators = {cell.accelerator or "" for cell in summary.evidence.cells} - {""}
    sentence = f"{words.count(len(cases), 'case')} on {words.count(len(summary.topologies), 'emulated machine')}"
    if accelerators:
        sentence += f" (QEMU, {', '.join(sorted(accelerators))})"
    sentence += f", kernels {_enumerated(summary.kernels)}"
    repeats = words.repeats(summary)
    if repeats > 1:
        sentence += f", every cell {repeats} times"
    return wrap(f"{sentence}.", WIDTH)


def _coverage(summary: Summary) -> list[str]:
    """Return how many changed lines ran, with the kernel's name where there are several, and the lines that did not."""
    lines: list[str] = []
    for found in summary.coverage:
        if len(summary.coverage) > 1:
            lines.append(f"{found.kernel}:")
        lines += coverage.head(found, WIDTH, "")
    return lines


def _enumerated(names: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`."""
    if len(names) < 3:
        return " and ".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


# The table: a line per machine.


def _table(summary: Summary) -> list[str]:
    """Return a row per machine: page size and nodes, then `pass/all` per kernel, then fixed and regressed."""
    machines = _drawing.topologies(summary, summary.topologies)
    compared = len(summary.kernels) > 1
    head = ["", "pages", "nodes", *_heads(summary.kernels)]
    if compared:
        head += ["fixed", "regr."]
    fixed, regressed = _changed_labels(summary, Delta.FIXED), _changed_labels(summary, Delta.REGRESSED)
    rows, unmet = [head], False
    for topology in summary.topologies:
        row = [topology, "?", "?"]
        if machine := machines.get(topology):
            row = [topology, format_size(machine.page_size), str(len(machine.node_memory))]
        for kernel in summary.kernels:
            cell = _cell(summary, topology, kernel)
            unmet = unmet or cell.endswith("!")
            row.append(cell)
        if compared:
            row += [str(len(fixed.get(topology, ()))), str(len(regressed.get(topology, ())))]
        rows.append(row)
    return [*_aligned(rows), *_legend(summary, unmet)]


def _changed_labels(summary: Summary, kind: Delta) -> dict[str, set[str]]:
    """Return topology -> the cases that changed in a way there, on any kernel."""
    labels: dict[str, set[str]] = {}
    for delta in summary.delta(kind):
        labels.setdefault(delta.topology, set()).add(delta.label)
    return labels


def _heads(kernels: Sequence[str]) -> list[str]:
    """Return the head of each kernel's column, a number: names are too long for a mail."""
    return [f"[{number}]" for number in range(1, len(kernels) + 1)]


def _cell(summary: Summary, topology: str, kernel: str) -> str:
    """`58/60`: passed of those with a verdict; a word where there was none; `!` where something is not as expected."""
    judged = passed = unmet = 0
    for record in summary.of_cell(topology, kernel):
        unmet += record.met is False
        judged += record.outcome not in (Outcome.SKIP, Outcome.BROKEN)
        passed += record.outcome is Outcome.PASS
    if not judged:
        return _state(summary.repeats.get(CellKey(topology, kernel), ()))
    mark = ""
    if unmet:
        mark = "!"
    return f"{passed}/{judged}{mark}"


def _state(guests: Sequence[CellResult]) -> str:
    """Return the word for the first guest that is not OK; `-` if all are."""
    for guest in guests:
        if guest.status is not CellStatus.OK:
            return words.CELL_WORDS[guest.status]
    return "-"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows below each other if they fit into the width, else a paragraph for each."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    if sum(widths) + 2 * (len(widths) - 1) <= WIDTH:
        for title, *cells in rows:
            line = title.ljust(widths[0])
            for cell, width in zip(cells, widths[1:], strict=True):
                line += f"  {cell:>{width}}"
            lines.append(line.rstrip())
        return lines
    (_, *names), *others = rows
    for title, *cells in others:
        values = ", ".join(map(" ".join, zip(names, cells, strict=True)))
        lines += wrap(f"{title}: {values}", WIDTH)
    return lines


def _legend(summary: Summary, unmet: bool) -> list[str]:
    """Return what the heads of the columns and the numbers below them mean."""
    kernels = ", ".join(map(" ".join, zip(_heads(summary.kernels), summary.kernels, strict=True)))
    legend = f"{kernels}: passed/judged"
    if unmet:
        legend += "; ! not as expected"
    elif summary.known:
        legend += "; what did not pass did not before the series either"
    elif any(record.outcome is Outcome.FAIL and record.met is True for record in summary.records):
        legend += "; what did not pass had to fail"
    return _prose(legend)


# What matters.


def _changed(summary: Summary, kind: Delta, title: str) -> list[str]:
    lines: list[str] = []
    for (kernel, where), group in words.by_places(summary.delta(kind), summary.topologies).items():
        lines += wrap(f"{title} {kernel} {where}: {words.count(len(group), 'case')}", WIDTH)
        lines += _names(words.labels(group))
    return lines


def _names(cases: Iterable[tuple[str, str]]) -> list[str]:
    """Return a paragraph per scenario with the names of its cases, at most `MAX_NAMES` of them."""
    lines: list[str] = []
    for scenario, names in words.by_scenario(cases).items():
        listed = " ".join(names[:MAX_NAMES])
        if len(names) > MAX_NAMES:
            listed += f" and {len(names) - MAX_NAMES} more"
        lines += wrap(f"{scenario}: {listed}", WIDTH, "  ")
    return lines


def _found(records: Sequence[CaseRecord], title: str, summary: Summary) -> list[str]:
    """Return each record once for all its machines, with the reason."""
    if not records:
        return []
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for record in records:
        key = (record.kernel, record.label, record.verdict, record.reason)
        groups.setdefault(key, []).append(record.topology)
    lines = wrap(f"{title}: {words.count(len(records), 'record')}", WIDTH)
    for (kernel, label, verdict, reason), topologies in list(groups.items())[:MAX_ENTRIES]:
        where = words.places(topologies, summary.topologies)
        lines += wrap(f"{label}: {verdict} on {kernel} {where}", WIDTH, "  ")
        lines += wrap(one_line(reason, 2 * WIDTH - 16), WIDTH, "      ")
    if len(groups) > MAX_ENTRIES:
        lines += wrap(f"and {len(groups) - MAX_ENTRIES} more", WIDTH, "  ")
    return lines


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
    """Return the cases of suites that fail whatever the kernel."""
    labels = dict.fromkeys(words.labels(summary.known))
    if not labels:
        return []
    title = f"Failed as on the kernel compared with: {words.count(len(labels), 'case')}"
    return [*wrap(title, WIDTH), *_names(labels)]


def _not_judged(summary: Summary) -> list[str]:
    """Return the guests that are no evidence, the cases without a result or skipped, and the machines not run."""
    lines: list[str] = []
    for cell in summary.evidence.cells:
        if cell.status is not CellStatus.OK:
            why = one_line(words.why_not_ok(cell), 100)
            lines += wrap(f"{cell.name}: {words.CELL_WORDS[cell.status]}: {why}", WIDTH, "  ")
    never_ran = words.never_ran(summary)
    reasons: Counter[str] = Counter()
    for record in (*summary.broken, *summary.skipped):
        if (record.topology, record.kernel) not in never_ran:
            reasons[f"{record.outcome.lower()}: {one_line(record.reason, 60)}"] += 1
    for reason, times in list(reasons.items())[:MAX_ENTRIES]:
        lines += wrap(f"{times}x {reason}", WIDTH, "  ")
    if skipped := summary.evidence.metadata.skipped:
        lines += wrap(f"{words.count(len(skipped), 'machine')} not on this host", WIDTH, "  ")
    if not lines:
        return []
    return ["Not judged:", *lines]


# With what, and how again.


def _versions(summary: Summary) -> list[str]:
    """Kernel releases and compilers, each once; emulators; the proof that the series is the only difference."""
    metadata = summary.evidence.metadata
    releases: dict[str, None] = {}
    compilers: dict[str, None] = {}
    for build in metadata.builds.values():
        releases[one_line(build.release or "?", 60)] = None
        compilers[_compiler(build)] = None
    programs = {f"pagelab {one_line(metadata.pagelab or '?', 30)}": None}
    for version in metadata.host.emulators.values():
        programs[f"QEMU {one_line(version.split(' ')[0], 30)}"] = None
    lines: list[str] = []
    if releases:
        lines += wrap(f"Kernels: {', '.join(releases)}", WIDTH)
    for kernel in summary.kernels:
        what = metadata.kernel(kernel).source or "?"
        series = series_words(metadata, kernel).removeprefix("the series ")
        if series:
            what += f" + {one_line(series, 200)}"
        lines += wrap(f"{kernel}: {what}", WIDTH, "  ")
    if compilers:
        lines += wrap(f"Compilers: {'; '.join(compilers)}", WIDTH)
    lines += wrap(f"With: {', '.join(programs)}", WIDTH)
    for sentence in summary.sentences:
        lines += _prose(sentence)
    return lines


def _compiler(build: Provenance) -> str:
    """`alpha-linux-gnu-gcc 12.2.0`: without its packager and its linker."""
    return one_line(re.sub(r" \([^()]*\)", "", (build.compiler or "?").split(",")[0]), 80)


def _prose(text: str) -> list[str]:
    return textwrap.wrap(" ".join(printable(text).split()), WIDTH, break_on_hyphens=False)


def _again(summary: Summary) -> list[str]:
    """Return the command that runs it again, broken between its options so that it can be pasted.

    Empty if a word of it is longer than a line.
    """
    first, *others = command_line(summary).parts
    lines: list[str] = []
    line = f"    {first}"
    for part in others:
        if len(line) + 1 + len(part) > WIDTH - 2:
            lines.append(f"{line} \\")
            line = "       "
        line += f" {part}"
    lines.append(line)
    if max(map(len, lines)) > WIDTH:
        return []
    return ["To reproduce:", *lines]
