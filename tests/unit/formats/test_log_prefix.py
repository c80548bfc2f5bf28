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
    "[3:  kworker/3:1:   99] ",
    "(3)[99:swapper/3]",
    "[    5.123456] [own task:99] ",
    "[    5.123456] [3/99] ",
    "[    5.123456] {3} ",
    "own: [    5.123456] (3) ",
]
MARKED = [
    "[    5.123456][  T123@C3] ",
    "[    5.1][ C3] ",
    "[    5.123456][   T99][C3] ",
    "[    5.123456][  T123] <4>",
    "<6>[    5.123456]  [3:     kworker/3:1:   99] ",
    "<6>[    5.123456] I[3: own task:   99] ",
    "[    5.123456] (3)[99:kworker/3:1]",
    "<4>[    5.123456].(3)[99:swapper/3]",
    "[    5.123456]<3>-(3)[99:own] ",
    "<6>[    5.123456]c3 ",
    "[    5.123456] c3    99 (kworker/u8:2) ",
    "[    5.123456,0] ",
    "[    5.1,0] ",
    "[    5.123456@C3]- ",
    "[    5.123456s][pid:99,cpu3,kworker/3:1]",
    "[2026-03-03 11:22:33][    5.123456s][pid:99,cpu3,own,0]",
    "[    5.123456 / 03-03 11:22:33.123][3] ",
    "<6>[    5.123456] [K] ",
    "<6>[    5.123456]  (CPU:3-pid:99:own) [11:22:33.123456789] ",
    "[    5.123456] [CPU3] ",
    "[    5.123456|3] ",
    "[    5.123456]<4>",
    "> [    5.123456] (3)[99:own]",
]
"""The kernels of vendors print the CPU or the task behind the time stamp: known without more lines of the log."""
PREFIXES += MARKED


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


@pytest.mark.parametrize("prefix", MARKED)
def test_one_line_is_enough_for_a_mark_behind_a_time_stamp(prefix: str) -> None:
    (finding,) = oops.scan(f"{prefix}_swap_info_get: Bad swap file entry 2400000000000001\n")
    assert finding.kind is Kind.BUG


FRAMES = (
    "BUG: Kernel NULL pointer dereference on read at 0x00000018",
    "Oops: Kernel access of bad area, sig: 11 [#1]",
    "CPU: 3 PID: 99 Comm: own Not tainted 6.12.8 #1",
    "NIP [c000000000123456] inner+0x3e/0x50",
    "Call Trace:",
    "[c000000003a7b140] [c000000000123466] caller+0x1d/0x40",
    "[c000000003a7b180] [c000000000123476] last+0x1d/0x40",
)


@pytest.mark.parametrize("prefix", ["[    5.123456] ", *MARKED])
def test_addresses_before_frames_are_no_marks(prefix: str) -> None:
    (finding,) = oops.scan(_log(prefix, FRAMES))
    assert finding.stack == ("inner", "caller", "last")
    old = ("Internal error: Oops: 17 [#1] SMP ARM", "PC is at inner+0x1/0x2", "[<c0012345>] caller+0x1/0x2")
    (finding,) = oops.scan(_log(prefix, old))
    assert finding.stack == ("inner", "caller")


TASKS = [
    "[    5.123456][{0:>6}] ",
    "[    5.123456][{0:>6}@C1] ",
    "[    5.123456]  [3: own task: {1}] ",
    "[    5.123456] (3)[{1}:own]",
    "[    5.123456s][pid:{1},cpu3,own]",
    "[    5.123456] c3   {1} (own) ",
    "[    5.123456] (CPU:3-pid:{1}:own) ",
]


@pytest.mark.parametrize("prefix", TASKS)
def test_the_task_that_a_mark_names_tells_reports_apart(prefix: str) -> None:
    first = [f"{prefix.format('T71', 71)}{line}" for line in REPORT]
    second = [f"{prefix.format('T82', 82)}{line}" for line in HUNG]
    woven = [line for pair in zip(first, second, strict=False) for line in pair] + first[len(second) :]
    assert [(finding.kind, finding.stack) for finding in oops.scan("\n".join(woven) + "\n")] == [
        (Kind.HUNG_TASK, ("inner", "caller")),
        (Kind.WARNING, ("inner", "caller")),
    ]


def test_marks_are_learned_where_the_log_has_other_lines_too() -> None:
    log = _log("[    5.123456] [own task:99] ", REPORT)
    (finding,) = oops.scan("a program's words\n" * 20 + log + "a program's words\n" * 20)
    assert finding.stack == ("inner", "caller")


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
