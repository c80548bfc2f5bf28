# SPDX-License-Identifier: GPL-2.0-or-later
"""What forwarders put before each line of a log: learned from the whole of it, and never from a program's one line."""

from __future__ import annotations

import pytest

from lab.formats import complaints, ktap, log_prefix, oops
from lab.formats.complaints import Kind

REPORT = (
    "------------[ cut here ]------------",
    "WARNING: CPU: 2 PID: 98 at mm/own.c:62 inner+0x3e/0x50",
    "CPU: 2 UID: 0 PID: 98 Comm: own Not tainted 6.12.8 #1",
    "RIP: 0010:inner+0x3e/0x50",
    "Call Trace:",
    " <TASK>",
    " caller+0x1d/0x40",
    " </TASK>",
    "---[ end trace 0000000000000000 ]---",
)
HUNG = (
    "INFO: task own:42 blocked for more than 122 seconds.",
    "      Not tainted 6.12.0 #1",
    "Call Trace:",
    " <TASK>",
    " inner+0x3ef/0xb80",
    " caller+0x27/0xf0",
    " </TASK>",
)
NOTHING = (
    "own: page allocation failure: order:4, mode:0xcc0(GFP_KERNEL), nodemask=(null),cpuset=/,mems_allowed=0",
    "CPU: 0 UID: 0 PID: 9 Comm: own Not tainted 6.12.0 #1",
    "Call Trace:",
    " dump_stack_lvl+0x5d/0x80",
    " warn_alloc+0x165/0x1e0",
    "Mem-Info:",
)
RESULTS = ("TAP version 13", "1..2", "# some words", "ok 1 - one", "not ok 2 - two # SKIP none here")

PREFIXES = [
    "[    5.123456] [  T123] ",
    "[    5.123456] own kernel: ",
    "[    5.123456 <    0.000012>] ",
    "[<    0.000012>] ",
    "[  +0.000012] ",
    "[Di Mär  3 11:22:33 2026] ",
    "kern  :warn  : [    5.123456] ",
    "kern  :alert : [Tue Mar  3 11:22:33 2026] ",
    "kern  :info  : 2026-03-03T11:22:33,123456+01:00 ",
    "2026-03-03T11:22:33,123456+01:00 ",
    "Mar 03 11:22:33.123456 own kernel: ",
    "Mär 03 11:22:33 own kernel: ",
    "Tue 2026-03-03 11:22:33 CET own kernel: ",
    "1772533353.123456 own kernel: ",
    "Mar  3 11:22:33 own kernel[1]: ",
    "Mar  3 11:22:33 own kern.warn kernel: ",
    "<4>1 2026-03-03T11:22:33.123456Z own kernel - - - ",
    "6.12.0-rc3,4,900,1000,-,caller=T12;",
    "own: 4,900,1000,-;",
    "9:10:11.123456  # [    5.123456] ",
    "[2026-03-03 11:22:33] ",
    "00:00:12 ",
    "own-1  | ",
    "2026-02-11T09:10:11.123456789Z stdout F ",
    "2026-02-11T09:10:11.123456Z 01O ",
    "> ",
    ">> [    5.123456] ",
    "console.log:",
    "   120\t",
    "console.log:120:[    5.123456] ",
    "(XEN) d1v0 [    5.123456] ",
    "\x1b[32m[    5.123456] \x1b[0m",
]


def _log(prefix: str, lines: tuple[str, ...]) -> str:
    return "".join(f"{prefix}{line}\n" for line in lines)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(("kind", "report"), [(Kind.WARNING, REPORT), (Kind.HUNG_TASK, HUNG)])
def test_a_report_behind_a_prefix_is_found_with_its_stack(prefix: str, kind: Kind, report: tuple[str, ...]) -> None:
    (finding,) = oops.scan(_log(prefix, report))
    assert (finding.kind, finding.stack) == (kind, ("inner", "caller"))
    assert finding.title in report


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_is_harmless_is_so_behind_a_prefix(prefix: str) -> None:
    assert oops.scan(_log(prefix, NOTHING)) == ()


@pytest.mark.parametrize("prefix", PREFIXES)
def test_results_behind_a_prefix_are_read(prefix: str) -> None:
    document = ktap.parse(_log(prefix, RESULTS))
    assert [(result.name, result.directive, result.diagnostics) for result in document.results] == [
        ("one", "", ("some words",)),
        ("two", "SKIP", ()),
    ]
    assert not document.defects


EVIDENT = [
    "[Tue Mar  3 11:22:33 2026] ",
    "kern  :warn  : [    5.123456] ",
    "kern  :alert : [Tue Mar  3 11:22:33 2026] ",
    "Mar 03 11:22:33.123456 own kernel: ",
    "Tue 2026-03-03 11:22:33 CET own kernel: ",
    "1772533353.123456 own kernel: ",
    "<4>1 2026-03-03T11:22:33.123456Z own kernel - - - ",
    "6.12.0-rc3,4,900,1000,-,caller=T12;",
    "own-1  | [    5.123456] ",
    "> [    5.123456] ",
]


@pytest.mark.parametrize("prefix", EVIDENT)
def test_a_log_in_a_letter_is_read(prefix: str) -> None:
    """Most lines have no prefix, so none is learned; these are known without that."""
    prose = "Words about the machine that go on.\n" * 30
    (finding,) = oops.scan(prose + _log(prefix, REPORT) + prose)
    assert (finding.kind, finding.stack) == (Kind.WARNING, ("inner", "caller"))
    assert oops.scan(prose + _log(prefix, NOTHING) + prose) == ()


def test_a_prefix_that_a_program_prints_is_none_of_the_log() -> None:
    lines = ("booted", "> BUG: not the kernel's", "own-1  | BUG: not the kernel's", "12:00:00 BUG: not the kernel's")
    assert log_prefix.learned("\n".join(lines), complaints.classify) is None
    assert oops.scan("\n".join(lines) + "\n") == ()


def test_lines_of_a_program_in_syslog_are_not_the_kernels() -> None:
    assert oops.scan(_log("Mar  3 11:22:33 own run.sh[80]: ", REPORT)) == ()


def test_titles_are_no_prefix_whatever_follows_them() -> None:
    text = "".join(f"BUG: Bad page state in process own  pfn:{page} [    5.000000] more\n" for page in range(4))
    assert {finding.kind for finding in oops.scan(text)} == {Kind.BUG}


def test_the_last_words_have_no_prefix() -> None:
    assert oops.tail(_log("own-1  | ", ("one", "two", "three"))) == ("one", "two", "three")


def test_the_caller_that_netconsole_names_tells_reports_apart() -> None:
    first = [f"6.12.0,4,900,1000,-,caller=T1;{line}" for line in REPORT]
    second = [f"6.12.0,4,900,1000,-,caller=T2;{line}" for line in HUNG]
    woven = [line for pair in zip(first, second, strict=False) for line in pair] + first[len(second) :]
    findings = oops.scan("\n".join(woven) + "\n")
    assert [(finding.kind, finding.stack) for finding in findings] == [
        (Kind.HUNG_TASK, ("inner", "caller")),
        (Kind.WARNING, ("inner", "caller")),
    ]
