# SPDX-License-Identifier: GPL-2.0-or-later
"""Verdicts: each kind of end has an outcome and words of its own, and absence is never success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.core.outcome import Case, CaseRecord, Cause, CellResult, CellStatus, End, Expected, Mismatch, Outcome, Run, met
from lab.formats.oops import Kind
from lab.verdicts.judge import CAUSE_OF, CONSOLE, LEAK, RUN, agree, judge_cell, judge_run, settle
from tests.unit.fixtures.evidence import ktap

CONSOLES = Path(__file__).parents[2] / "golden" / "console"
NEEDS = frozenset({"shm-expand"})
CASES = (
    Case(scenario="expand", name="a", requires=NEEDS),
    Case(scenario="expand", name="b"),
    Case(scenario="expand", name="c", requires=NEEDS),
)
FULL = ktap(["ok a", "ok b", "ok c"])
FIRST = "KTAP version 1\n1..3\nok 1 a\n"


def console(name: str) -> str:
    return (CONSOLES / f"{name}.log").read_text()


def run(**fields: object) -> Run:
    given_: dict[str, object] = {"scenario": "expand", "end": End.EXITED, "status": 0, "ktap": FULL, **fields}
    return Run(**given_)  # type: ignore[arg-type]


def judged(what: Run, cases: Sequence[Case] = CASES, provides: frozenset[str] = NEEDS) -> dict[str, CaseRecord]:
    return {record.case: record for record in judge_run("x86_64-4k-2node", "expand-fault", what, cases, provides)}


def outcomes(what: Run) -> dict[str, str]:
    return {name: record.outcome.value for name, record in judged(what).items()}


def test_all_is_well() -> None:
    records = judged(run())
    assert {name: record.outcome for name, record in records.items()} == dict.fromkeys("abc", Outcome.PASS)
    assert all(record.met for record in records.values())


def test_a_case_must_fail_where_its_feature_is_missing() -> None:
    records = judged(run(status=1, ktap=ktap(["not ok a", "ok b", "ok c"])), provides=frozenset())
    assert (records["a"].expected, records["a"].met) == (Expected.FAIL, True)
    assert (records["b"].expected, records["b"].met) == (Expected.PASS, True)
    assert (records["c"].expected, records["c"].met) == (Expected.FAIL, False), "it passed: no power"


@pytest.mark.parametrize("outcome", [Outcome.CRASH, Outcome.HANG, Outcome.BROKEN, Outcome.PASS])
def test_only_a_plain_fail_meets_an_expected_fail(outcome: Outcome) -> None:
    assert met(outcome, Expected.FAIL) is False


@pytest.mark.parametrize(
    ("line", "outcome", "cause", "reason"),
    [
        ("not ok a", Outcome.FAIL, Cause.FAILED, "not ok"),
        ("ok a # SKIP needs 2 nodes, has 1", Outcome.SKIP, Cause.SKIPPED, "needs 2 nodes, has 1"),
        ("ok a # SKIP", Outcome.SKIP, Cause.SKIPPED, "no reason given"),
        ("not ok a # TODO later", Outcome.SKIP, Cause.SKIPPED, "TODO: later"),
        (
            "not ok a # TIMEOUT state=D after 5000 ms",
            Outcome.HANG,
            Cause.TEST_HANG,
            "time-out of the case: state=D after 5000 ms",
        ),
        (
            "not ok a # TIMEOUT state=D unkillable after 5000 ms",
            Outcome.HANG,
            Cause.UNKILLABLE,
            "time-out of the case: state=D unkillable after 5000 ms",
        ),
        ("not ok a # LEAK Shmem moved", Outcome.LEAK, Cause.LEAK, "left behind: Shmem moved"),
        ("not ok a # CRASH signal=11 (SIGSEGV)", Outcome.CRASH, Cause.SIGNAL, "killed: signal=11 (SIGSEGV)"),
        ("not ok a # ERROR mmap: ENOMEM", Outcome.BROKEN, Cause.SET_UP, "set-up failed: mmap: ENOMEM"),
        ("ok a # TIMEOUT state=D", Outcome.BROKEN, Cause.CONTRADICTION, "contradiction: ok a # TIMEOUT state=D"),
    ],
)
def test_result_lines(line: str, outcome: Outcome, cause: Cause, reason: str) -> None:
    status = 1 if line.startswith("not") and "TODO" not in line else 0
    record = judged(run(status=status, ktap=ktap([line, "ok b", "ok c"])))["a"]
    assert (record.outcome, record.cause, record.reason) == (outcome, cause, reason)


def test_the_assertion_is_the_reason_and_all_that_was_said_the_evidence() -> None:
    said = [
        "# | expand.c:1: printed by the case",
        "# before",
        "# expand.c:31: expected 0, got SIGBUS",
        "# duration_ms=1500",
    ]
    record = judged(run(status=1, ktap=ktap([*said, "not ok a", "ok b", "ok c"])))["a"]
    assert record.reason == "expand.c:31: expected 0, got SIGBUS"
    assert "before" in record.excerpt
    assert record.duration_s == 1.5


# Bad ends: (run, outcome of the case that was running, words in its reason). Their causes follow.
BAD_ENDS: dict[str, tuple[Run, Outcome, str]] = {
    "no result": (run(ktap=FIRST), Outcome.BROKEN, "no result line: the program exited with status 0 after 1 of 3"),
    "harness failed": (run(ktap=FIRST, status=2), Outcome.BROKEN, "exited with status 2"),
    "no exit status": (run(ktap=FIRST, status=None), Outcome.BROKEN, "ended without an exit status"),
    "signal": (
        run(ktap=FIRST, end=End.SIGNALLED, signal="SEGV"),
        Outcome.CRASH,
        "killed by SIGSEGV while this case ran",
    ),
    "signal by way of a shell": (run(ktap=FIRST, status=137), Outcome.CRASH, "killed by SIGKILL while this case ran"),
    "deadline": (run(ktap=FIRST, end=End.DEADLINE, duration_s=60.0), Outcome.HANG, "deadline: the program still ran"),
    "panic": (
        run(ktap=FIRST, end=End.PANIC, console=console("x86_64-panic")),
        Outcome.CRASH,
        "the kernel died while this case ran: Kernel panic - not syncing: sysrq triggered crash",
    ),
    "panic seen late": (
        run(ktap=FIRST, end=End.LOST, console=console("x86_64-oops-panic")),
        Outcome.CRASH,
        "the kernel died while this case ran: Kernel panic - not syncing: Fatal exception",
    ),
    "panic without a word": (run(ktap=FIRST, end=End.PANIC), Outcome.CRASH, "the kernel died while this case ran"),
    "reboot": (
        run(ktap=FIRST, end=End.LOST, console=console("x86_64-reboot")),
        Outcome.CRASH,
        "unexpected reboot",
    ),
    "guest silent": (
        run(ktap=FIRST, end=End.UNRESPONSIVE, duration_s=60.0),
        Outcome.HANG,
        "deadline: the guest did not answer any more while this case ran",
    ),
    "lost": (run(ktap=FIRST, end=End.LOST), Outcome.BROKEN, "the SSH connection was lost while this case ran"),
    "emulator": (
        run(ktap=FIRST, end=End.QEMU_DEAD, note="killed by SIGKILL"),
        Outcome.BROKEN,
        "emulator's process ended",
    ),
    "flood": (run(ktap=FIRST, end=End.FLOODED), Outcome.BROKEN, "flood: the program wrote more than the lab keeps"),
    "bail out": (run(ktap=FIRST + "Bail out! no cgroup2\n", status=2), Outcome.BROKEN, "gave up: no cgroup2"),
    "torn": (run(ktap=FIRST + "ok 2 "), Outcome.BROKEN, "the output breaks off in the middle of a line"),
}


CAUSES = {
    "no result": Cause.NO_RESULT,
    "harness failed": Cause.NO_RESULT,
    "no exit status": Cause.NO_RESULT,
    "signal": Cause.SIGNAL,
    "signal by way of a shell": Cause.SIGNAL,
    "deadline": Cause.TEST_HANG,
    "panic": Cause.PANIC,
    "panic seen late": Cause.PANIC,
    "panic without a word": Cause.PANIC,
    "reboot": Cause.REBOOT,
    "guest silent": Cause.KERNEL_HANG,
    "lost": Cause.SSH_LOST,
    "emulator": Cause.QEMU_DEAD,
    "flood": Cause.FLOOD,
    "bail out": Cause.NO_RESULT,
    "torn": Cause.NO_RESULT,
}


@pytest.mark.parametrize("name", BAD_ENDS)
def test_a_bad_end_is_the_running_cases(name: str) -> None:
    what, outcome, words = BAD_ENDS[name]
    records = judged(what)
    assert records["a"].outcome is Outcome.PASS, "a complete result line stands"
    assert (records["b"].outcome, records["b"].cause) == (outcome, CAUSES[name])
    assert records["c"].cause is Cause.NOT_REACHED
    assert words in records["b"].reason
    assert records["c"].outcome is Outcome.BROKEN
    assert records["c"].reason.startswith("not reached: b: ")
    assert set(records) == {"a", "b", "c"}, "one finding is told once"


def test_every_bad_end_has_words_of_its_own() -> None:
    assert len({judged(what)["b"].reason for what, _, _ in BAD_ENDS.values()}) == len(BAD_ENDS)


def test_the_same_ends_before_the_plan() -> None:
    assert judged(run(ktap="", status=0))["a"].reason == (
        "no result line: the program exited with status 0 and printed no plan line"
    )
    assert "before its plan line" in judged(run(ktap="", end=End.SIGNALLED, signal="SEGV"))["a"].reason


@pytest.mark.parametrize(
    ("victim", "outcome", "cause"),
    [("dropbear", Outcome.CRASH, Cause.OOM_KILL), ("limits", Outcome.BROKEN, Cause.SSH_LOST)],
)
def test_a_connection_that_the_oom_killer_ended(victim: str, outcome: Outcome, cause: Cause) -> None:
    said = console("x86_64-oom").replace("(limits)", f"({victim})")
    record = judged(run(ktap=FIRST, end=End.LOST, console=said))["b"]
    assert (record.outcome, record.cause) == (outcome, cause)


@pytest.mark.parametrize("said", ["", FIRST])
def test_a_case_that_is_declared_twice_has_a_verdict(said: str) -> None:
    assert judged(run(ktap=said), cases=(*CASES, *CASES)) == judged(run(ktap=said))


def test_evidence_of_a_bad_end() -> None:
    what = run(
        ktap=FIRST + "# b: about to touch\n",
        end=End.PANIC,
        stderr="expand: oh dear\n",
        console=console("x86_64-panic"),
        note="seen on the console",
    )
    record = judged(what)["b"]
    for words in ("about to touch", "stderr: expand: oh dear", "sysrq_handle_crash", "; seen on the console"):
        assert words in record.excerpt


def test_the_consoles_last_words_when_nothing_was_found() -> None:
    record = judged(run(ktap=FIRST, end=End.LOST, console="[    1.000000] virtio_net: link down\n"))["b"]
    assert "virtio_net: link down" in record.excerpt


# Ends that are bad although every case has a result.


@pytest.mark.parametrize(
    ("what", "outcome", "words"),
    [
        (run(end=End.DEADLINE), Outcome.HANG, "after its last result"),
        (run(end=End.SIGNALLED, signal="ABRT"), Outcome.CRASH, "killed by SIGABRT after its last result"),
        (run(end=End.LOST), Outcome.BROKEN, "SSH connection was lost after its last result"),
        (run(end=End.PANIC, console=console("x86_64-panic")), Outcome.CRASH, "the kernel died after its last result"),
        (run(console=console("x86_64-panic")), Outcome.CRASH, "the kernel died after its last result"),
        (run(status=2), Outcome.BROKEN, "every case has a result, but the program exited with status 2"),
        (run(status=None), Outcome.BROKEN, "every case has a result, but the program ended without an exit status"),
        (run(status=1), Outcome.BROKEN, "exit status 1 does not fit the results: 0 not ok"),
        (
            run(ktap=ktap(["not ok a", "ok b", "ok c"])),
            Outcome.BROKEN,
            "exit status 0 does not fit the results: 1 not ok",
        ),
        (run(ktap="KTAP version 1\nok 1 a\nok 2 b\nok 3 c\n"), Outcome.BROKEN, "no plan line"),
        (run(ktap="KTAP version 1\n1..4\nok 1 a\nok 2 b\nok 3 c\n"), Outcome.BROKEN, "the plan is for 4 cases, 3 were"),
    ],
)
def test_a_bad_end_after_all_results_is_the_runs(what: Run, outcome: Outcome, words: str) -> None:
    record = judged(what)[RUN]
    assert record.outcome is outcome
    assert words in record.reason
    assert record.met is False


def test_two_results_for_one_case_are_none() -> None:
    record = judged(run(status=1, ktap=ktap(["not ok a", "ok a", "ok b", "ok c"])))["a"]
    assert record.outcome is Outcome.BROKEN
    assert record.reason == "2 result lines for one case: not ok a, then ok a"


def test_a_case_that_nobody_declared() -> None:
    record = judged(run(ktap=ktap(["ok a", "ok b", "ok c", "ok \x1b[2Jz"])))["\\x1b[2Jz"]
    assert record.outcome is Outcome.BROKEN
    assert record.reason.startswith("not declared")


def test_a_crowd_of_undeclared_cases_is_bounded() -> None:
    assert len(judged(run(ktap=ktap(f"ok case{number}" for number in range(1000))))) < 40


def test_a_program_that_skips_itself() -> None:
    records = judged(run(ktap="KTAP version 1\n1..0 # SKIP no NUMA here\n"))
    assert {(record.outcome, record.reason) for record in records.values()} == {(Outcome.SKIP, "no NUMA here")}


def test_not_run() -> None:
    records = judged(run(end=End.NOT_RUN, ktap="", note="no guest: libvirt is gone"))
    assert {(record.outcome, record.reason) for record in records.values()} == {
        (Outcome.BROKEN, "not run: no guest: libvirt is gone")
    }


# The console.


@pytest.mark.parametrize("name", ["x86_64-warning", "x86_64-kasan", "x86_64-lockdep", "x86_64-fault-oom", "x86_64-oom"])
def test_a_green_run_with_a_kernel_report_is_not_green(name: str) -> None:
    records = judged(run(console=console(name)))
    assert {records[case].outcome for case in "abc"} == {Outcome.PASS}
    assert (records[CONSOLE].outcome, records[CONSOLE].expected) == (Outcome.CRASH, Expected.PASS)
    assert records[CONSOLE].met is False
    assert records[CONSOLE].excerpt.count("\n") > 0


def test_a_kill_that_a_test_provokes_is_no_finding() -> None:
    assert CONSOLE not in judged(run(console=console("x86_64-oom-memcg")))


def test_a_crashed_case_shows_the_kernels_words() -> None:
    what = run(status=1, ktap=ktap(["ok a", "not ok b # CRASH signal=9", "ok c"]), console=console("x86_64-oops-null"))
    records = judged(what)
    assert "RIP: 0010:shmem_fault+0x4e/0x1f0" in records["b"].excerpt
    assert records[CONSOLE].outcome is Outcome.CRASH


def test_every_report_of_the_kernel_is_a_cause() -> None:
    assert set(CAUSE_OF) == set(Kind)
    assert len(set(CAUSE_OF.values())) == len(CAUSE_OF)


@pytest.mark.parametrize(
    ("name", "cause"),
    [("x86_64-warning", Cause.WARNING), ("x86_64-kasan", Cause.KASAN), ("x86_64-lockdep", Cause.LOCKDEP)],
)
def test_the_cause_of_a_complaint_is_its_kind(name: str, cause: Cause) -> None:
    assert judged(run(console=console(name)))[CONSOLE].cause is cause


@pytest.mark.parametrize(
    ("line", "name", "cause"),
    [
        ("not ok b # CRASH signal=9 (SIGKILL)", "x86_64-oom", Cause.OOM_KILL),
        ("not ok b # CRASH signal=9 (SIGKILL)", "x86_64-oom-memcg", Cause.CONTAINED_OOM),
        ("not ok b # CRASH signal=11 (SIGSEGV)", "x86_64-oom", Cause.SIGNAL),
        ("not ok b # CRASH signal=9 (SIGKILL)", "x86_64-oops-null", Cause.OOPS),
        ("not ok b # CRASH signal=9 (SIGKILL)", "x86_64-clean", Cause.SIGNAL),
    ],
)
def test_who_killed_a_case(line: str, name: str, cause: Cause) -> None:
    said = console(name).replace("(limits)", "(expand)")
    records = judged(run(status=1, ktap=ktap(["ok a", line, "ok c"]), console=said))
    assert (records["b"].outcome, records["b"].cause) == (Outcome.CRASH, cause)
    shown = "invoked oom-killer" in records["b"].excerpt
    assert shown == (cause in (Cause.OOM_KILL, Cause.CONTAINED_OOM)), "another process's end is no evidence"
    if shown:
        assert CONSOLE not in records, "one finding is told once"


# Memory and taints.

BOOKS = {"Shmem": 1000, "Committed_AS": 1000, "tainted": 0, "page_kB": 4, "cpus": 4}


def test_memory_that_did_not_come_back_is_a_leak_of_the_scenario() -> None:
    record = judged(run(before=BOOKS, after={**BOOKS, "Shmem": 1100}))[LEAK]
    assert (record.outcome, record.cause, record.met) == (Outcome.LEAK, Cause.LEAK, False)
    assert record.reason == "left behind by expand: Shmem +100 kB (allowed: 16 kB)"
    assert "Shmem: 1000 -> 1100" in record.excerpt


def test_a_leak_that_a_case_owns_up_to_is_told_once() -> None:
    said = ktap(["ok a", "not ok b # LEAK Shmem moved", "ok c"])
    records = judged(run(status=1, ktap=said, before=BOOKS, after={**BOOKS, "Shmem": 1100}))
    assert records["b"].outcome is Outcome.LEAK
    assert LEAK not in records


@pytest.mark.parametrize("books", [{}, {"before": BOOKS}, {"before": BOOKS, "after": {**BOOKS, "Shmem": 10}}])
def test_no_leak_without_books_and_none_of_what_shrank(books: dict[str, object]) -> None:
    assert LEAK not in judged(run(**books))


def test_a_leak_is_no_expected_failure() -> None:
    assert met(Outcome.LEAK, Expected.FAIL) is False
    assert met(Outcome.FLAKY, Expected.FAIL) is False


def test_a_silent_taint_is_a_finding_and_says_whose_it_is() -> None:
    said = ktap(["ok a", "# taint: 64, was 0", "ok b", "ok c"])
    record = judged(run(ktap=said, before=BOOKS, after={**BOOKS, "tainted": 64}))[CONSOLE]
    assert (record.outcome, record.cause) == (Outcome.CRASH, Cause.TAINT)
    assert "tainted during expand (U)" in record.reason
    assert "b: taint: 64, was 0" in record.excerpt


def test_a_console_that_lacks_messages_is_no_pass() -> None:
    """Lockdep, RCU and UBSAN complain without a taint, and their title may be among what was dropped."""
    text = "[    1.0] one\n** 15 printk messages dropped **\n[    2.0] two\n** 2 printk messages dropped **\n"
    record = judged(run(console=text))[CONSOLE]
    assert (record.outcome, record.cause) == (Outcome.BROKEN, Cause.FLOOD)
    assert record.reason == "17 messages of the kernel did not reach the console; a complaint may be among them"
    assert CONSOLE not in judged(run(console="[    1.0] ** 15 printk messages dropped **\n"))
    record = judged(run(console=f"{text}BUG: Bad page state in process a  pfn:1\n"))[CONSOLE]
    assert record.outcome is Outcome.CRASH


def test_a_taint_with_a_report_is_the_reports() -> None:
    tainted = {**BOOKS, "tainted": 512}
    assert judged(run(console=console("x86_64-warning"), before=BOOKS, after=tainted))[CONSOLE].cause is Cause.WARNING


# Damage.


def test_damaged_evidence_is_none() -> None:
    records = judged(run(damage="expand.ktap is not what was written"))
    assert {(record.outcome, record.cause) for record in records.values()} == {(Outcome.BROKEN, Cause.DAMAGED)}


def test_a_case_that_no_run_tells_of_is_broken() -> None:
    """The run that had it is lost; the next attempt asked for others only."""
    records = judge_cell(cell(runs=(run(ktap=ktap(["ok c"]), cases=("c",), attempt=2),)), {"expand": CASES}, NEEDS)
    assert {record.case: record.outcome.value for record in records} == {"a": "BROKEN", "b": "BROKEN", "c": "PASS"}


# Repeats.


def repeats(*lines: str, synthetic: int = 0) -> dict[str, CaseRecord]:
    """Cells whose case `a` said these lines one after the other; in the first `synthetic` of them memory leaked."""
    judged_ = []
    for number, line in enumerate(lines):
        leaky = {"before": BOOKS, "after": {**BOOKS, "Shmem": 5000}} if number < synthetic else {}
        bad = line.startswith("not")
        what = run(status=int(bad), ktap=ktap([line, "ok b", "ok c"]), **leaky) if line else run(ktap="", end=End.LOST)
        judged_.append(judge_cell(cell(runs=(what,)), {"expand": CASES}, NEEDS))
    return {record.case: record for record in agree(judged_)}


@pytest.mark.parametrize(
    ("lines", "outcome", "counts"),
    [
        (["ok a"] * 3, Outcome.PASS, "3 PASS"),
        (["not ok a"] * 3, Outcome.FAIL, "3 FAIL"),
        (["ok a", "not ok a", "ok a"], Outcome.FLAKY, "2 PASS, 1 FAIL"),
        (["ok a", "ok a # SKIP no", "ok a"], Outcome.FLAKY, "2 PASS, 1 SKIP"),
        (["ok a", "not ok a # CRASH signal=7", "not ok a"], Outcome.FLAKY, "1 PASS, 1 CRASH, 1 FAIL"),
        (["ok a", "", "ok a"], Outcome.BROKEN, "2 PASS, 1 BROKEN"),
        (["not ok a", "", "not ok a"], Outcome.FAIL, "2 FAIL, 1 BROKEN"),
        (["not ok a", "", "ok a"], Outcome.FLAKY, "1 FAIL, 1 BROKEN, 1 PASS"),
    ],
)
def test_repeats(lines: list[str], outcome: Outcome, counts: str) -> None:
    record = repeats(*lines)["a"]
    assert record.outcome is outcome
    assert ", ".join(f"{number} {what}" for what, number in record.counts) == counts
    if outcome is Outcome.FLAKY:
        assert (record.cause, record.met) == (Cause.FLAKY, False)
        assert record.reason == f"repeats do not agree: {counts}"
        assert "PASS in repeat" in record.excerpt


@pytest.mark.parametrize(
    ("hosts", "lines", "says"),
    [
        ("ab", ["ok a", "not ok a"], "by host: PASS on a, FAIL on b; repeats do not agree: 1 PASS, 1 FAIL"),
        ("abab", ["ok a", "not ok a"] * 2, "by host: PASS on a, FAIL on b; repeats do not agree: 2 PASS, 2 FAIL"),
        ("abc", ["ok a", "not ok a", "ok a"], "by host: PASS on a, c, FAIL on b; repeats do not agree: 2 PASS, 1 FAIL"),
        ("aba", ["ok a", "not ok a", "not ok a"], "repeats do not agree: 2 FAIL, 1 PASS"),
        ("aa", ["ok a", "not ok a"], "repeats do not agree: 1 PASS, 1 FAIL"),
        (
            "abb",
            ["ok a", "not ok a", ""],
            "by host: PASS on a, FAIL on b; repeats do not agree: 1 PASS, 1 FAIL, 1 BROKEN",
        ),
        ((("a"), ""), ["ok a", "not ok a"], "repeats do not agree: 1 PASS, 1 FAIL"),
    ],
)
def test_a_case_that_depends_on_the_host_is_flaky_by_host(hosts: Sequence[str], lines: list[str], says: str) -> None:
    records = []
    for host, line in zip(hosts, lines, strict=True):
        bad = line.startswith("not")
        what = run(status=int(bad), ktap=ktap([line, "ok b", "ok c"])) if line else run(ktap="", end=End.LOST)
        records.append(judge_cell(replace(cell(runs=(what,)), host=host), {"expand": CASES}, NEEDS))
    found = {record.case: record for record in agree(records)}
    assert (found["a"].outcome, found["a"].reason) == (Outcome.FLAKY, says)
    assert bool(found["a"].by_host) == says.startswith("by host")
    assert found["b"].by_host == ()


def test_a_leak_on_one_host_alone_is_flaky_by_host() -> None:
    """The other host has no record of a leak, because there was none."""
    leaky = {"before": BOOKS, "after": {**BOOKS, "Shmem": 5000}}
    whole = ktap(["ok a", "ok b", "ok c"])
    guests = (
        replace(cell(runs=(run(ktap=whole, **leaky),)), host="a"),
        replace(cell(runs=(run(ktap=whole),)), host="b"),
    )
    found = {record.case: record for record in agree([judge_cell(each, {"expand": CASES}, NEEDS) for each in guests])}
    assert found[LEAK].by_host == (("a", Outcome.LEAK), ("b", Outcome.PASS))


def test_a_leak_in_some_repeats_is_flaky_and_in_all_of_them_a_leak() -> None:
    assert repeats("ok a", "ok a", synthetic=1)[LEAK].outcome is Outcome.FLAKY
    assert repeats("ok a", "ok a", synthetic=2)[LEAK].outcome is Outcome.LEAK


def test_a_repeat_in_which_nothing_ran_does_not_disagree_about_a_leak() -> None:
    record = repeats("ok a", "", synthetic=1)[LEAK]
    assert (record.outcome, record.counts) == (Outcome.LEAK, ((Outcome.LEAK, 1),))


def test_a_repeat_whose_guest_never_ran_anything_takes_no_verdict_away() -> None:
    dead = judge_cell(cell(status=CellStatus.NO_BOOT), {"expand": CASES}, NEEDS)
    said = [run(ktap=ktap([f"{line} a", "ok b", "ok c"]), status=int(line != "ok")) for line in ("ok", "not ok")]
    good, bad = (judge_cell(cell(runs=(each,)), {"expand": CASES}, NEEDS) for each in said)
    assert [record.outcome.value for record in agree([dead, good, good], lost=[1])] == ["PASS"] * 3
    assert {record.counts for record in agree([good, dead, good], lost=[2])} == {((Outcome.PASS, 2),)}
    flaky = agree([good, dead, bad], lost=[2])[0]
    assert (flaky.outcome, flaky.reason) == (Outcome.FLAKY, "repeats do not agree: 1 PASS, 1 FAIL")
    assert "FAIL in repeat 3: " in flaky.excerpt
    assert {record.cause for record in agree([dead, dead], lost=[1, 2])} == {Cause.NO_BOOT}


# Attempts.


def test_only_the_cases_asked_for_are_judged() -> None:
    assert set(judged(run(ktap=ktap(["ok c"]), cases=("c",)))) == {"c"}


def cell(**fields: object) -> CellResult:
    given_: dict[str, object] = {"topology": "t", "kernel": "k", "status": CellStatus.OK, **fields}
    return CellResult(**given_)  # type: ignore[arg-type]


def test_what_was_not_reached_is_settled_by_the_next_attempt() -> None:
    runs = (
        run(ktap=FIRST, end=End.PANIC, console=console("x86_64-panic")),
        run(ktap=ktap(["ok c"]), cases=("c",), attempt=2),
    )
    records = {record.case: record for record in judge_cell(cell(runs=runs), {"expand": CASES}, NEEDS)}
    assert [records[name].outcome for name in "abc"] == [Outcome.PASS, Outcome.CRASH, Outcome.PASS]
    assert records["c"].attempt == 2


BEGUN = "".join(f"[    1.{number}00000] pagelab: run expand.{name}\n" for number, name in enumerate("abc"))


def test_a_result_that_was_lost_with_the_guest_blames_the_case_that_ran() -> None:
    died = run(ktap="KTAP version 1\n1..3\n", end=End.PANIC, console=BEGUN + console("x86_64-panic"))
    records = judged(died)
    assert [records[name].outcome for name in "abc"] == [Outcome.BROKEN, Outcome.BROKEN, Outcome.CRASH]
    assert [records[name].cause for name in "abc"] == [Cause.NO_RESULT, Cause.NO_RESULT, Cause.PANIC]
    assert records["a"].reason.startswith("its result was lost with the guest: c: the kernel died while this case ran")
    settled = cell(runs=(died, run(ktap=ktap(["ok a", "ok b"]), cases=("a", "b"), attempt=2)))
    records = {record.case: record for record in judge_cell(settled, {"expand": CASES}, NEEDS)}
    assert [records[name].outcome for name in "abc"] == [Outcome.PASS, Outcome.PASS, Outcome.CRASH]


@pytest.mark.parametrize("end", [End.PANIC, End.LOST, End.QEMU_DEAD, End.UNRESPONSIVE])
def test_what_follows_the_case_that_ran_was_not_reached(end: End) -> None:
    begun = BEGUN[: BEGUN.index("1.200000") - 5]
    records = judged(run(ktap="KTAP version 1\n1..3\n", end=end, console=begun))
    assert [records[name].cause for name in "ac"] == [Cause.NO_RESULT, Cause.NOT_REACHED]
    assert records["b"].cause not in (Cause.NO_RESULT, Cause.NOT_REACHED)


@pytest.mark.parametrize("end", [End.EXITED, End.SIGNALLED, End.DEADLINE, End.FLOODED, End.INTERRUPTED])
def test_where_the_guest_goes_on_no_result_is_lost(end: End) -> None:
    """Of a flood, the cases after the one that wrote it have begun: their results are among what was not kept."""
    records = judged(run(ktap=FIRST, end=end, signal="KILL", console=BEGUN))
    assert records["c"].cause is Cause.NOT_REACHED


@pytest.mark.parametrize(
    "line", ["pagelab: run other.c", "pagelab: run expand.d", "pagelab: run expand.a", "pagelab: run"]
)
def test_only_a_case_of_the_run_without_a_result_can_be_the_one_that_ran(line: str) -> None:
    records = judged(run(ktap=FIRST, end=End.LOST, console=f"[    1.000000] {line}\n"))
    assert records["b"].cause is Cause.SSH_LOST
    assert records["c"].cause is Cause.NOT_REACHED


def test_a_complaint_names_the_case_during_which_it_came() -> None:
    said = console("x86_64-warning")
    first, others = BEGUN.split("\n", 1)
    records = judged(run(console=f"{first}\n{said}{others}"))
    assert records[CONSOLE].reason.startswith("the kernel complained during expand.a: WARNING: ")
    assert "pagelab: run" not in records[CONSOLE].excerpt
    assert judged(run(console=said + BEGUN))[CONSOLE].reason.startswith("the kernel complained during expand: ")


def test_a_crash_that_does_not_come_again_stays() -> None:
    runs = (run(ktap=FIRST, end=End.PANIC), run(attempt=2))
    records = {record.case: record for record in judge_cell(cell(runs=runs), {"expand": CASES}, NEEDS)}
    assert (records["b"].outcome, records["b"].attempt) == (Outcome.CRASH, 1)


def test_settling_one_attempt_changes_nothing() -> None:
    records = tuple(judged(run(ktap=FIRST, end=End.LOST)).values())
    assert settle(records) == records


# Cells.


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (
            cell(status=CellStatus.INVALID, mismatches=(Mismatch(fact="page size", asked="64K", got="4K"),)),
            "not run: not the machine that was asked for: page size: asked 64K, got 4K",
        ),
        (
            cell(status=CellStatus.NO_BOOT, reason="no ready line within 60 s\nexcerpt"),
            "did not boot: no ready line within 60 s",
        ),
        (cell(status=CellStatus.BROKEN, reason="libvirt is gone"), "not run: the lab failed: libvirt is gone"),
        (cell(), "not run: never started in this guest"),
    ],
)
def test_cells_without_runs(broken: CellResult, words: str) -> None:
    records = judge_cell(broken, {"expand": CASES}, NEEDS)
    assert [record.case for record in records] == ["a", "b", "c"]
    assert {record.outcome for record in records} == {Outcome.BROKEN}
    assert all(record.reason.endswith(words) for record in records)


def test_nothing_counts_on_a_machine_that_is_another() -> None:
    records = judge_cell(cell(status=CellStatus.INVALID, runs=(run(),)), {"expand": CASES}, NEEDS)
    assert {record.outcome for record in records} == {Outcome.BROKEN}


def test_what_ran_before_the_lab_failed_counts() -> None:
    other = (Case(scenario="guard", name="g"),)
    records = judge_cell(cell(status=CellStatus.BROKEN, runs=(run(),)), {"expand": CASES, "guard": other}, NEEDS)
    assert [record.outcome.value for record in records] == ["PASS", "PASS", "PASS", "BROKEN"]


def test_a_kernel_that_does_not_boot_shows_its_console() -> None:
    dead = cell(status=CellStatus.NO_BOOT, reason="panic at boot", console=console("arm64-init-killed"))
    assert "Attempted to kill init" in judge_cell(dead, {"expand": CASES}, NEEDS)[0].excerpt


@given(
    st.text(max_size=200),
    st.sampled_from(End),
    st.one_of(st.none(), st.integers(0, 255)),
    st.sampled_from([*(console(name) for name in ("x86_64-warning", "arm64-bug")), "", "\x00\x1b"]),
)
def test_never_raises_and_every_declared_case_has_a_record(text: str, end: End, status: int | None, said: str) -> None:
    records = judged(run(ktap=text, end=end, status=status, console=said))
    assert list(records)[:3] == ["a", "b", "c"]
    assert all(record.excerpt.replace("\n", "").isprintable() for record in records.values())


@given(st.integers(0, len(FULL) - 1), st.sampled_from(End), st.sampled_from([0, 1, 2, None]))
def test_a_torn_stream_is_never_green(cut: int, end: End, status: int | None) -> None:
    assert any(record.met is False for record in judged(run(ktap=FULL[:cut], end=end, status=status)).values())


# A run in which nothing is odd has rules of no other kind: `judge_cell` reads it in columns, `judge_run` line by line.

LINES = (
    *(
        "# duration_ms=12",
        "# duration_ms=0.5",
        "#  duration_ms=7",
        "#duration_ms=3",
        "# saw SIGBUS 4096",
        "# saw EINVAL",
    ),
    *("# cost a 10 ns (9-11 in 5 rounds)", "# expand.c:12: touch: expected 0, got SIGBUS", "# | printed", "#", "# "),
    *("words of a C library", "    ok 1 inner", "# Subtest: x", "# 1..2", "# taint: W", "Bail out! no"),
)
ENDS = (
    "",
    " # SKIP",
    " # SKIP no nodes",
    " # skip small",
    " # TIMEOUT state=D",
    " # CRASH signal=7",
    " # FOO x",
    " # TODO",
)
LAST_LINES = (*["# duration_ms=12"] * 6, "not # duration_ms=4", "# x # duration_ms=4", *LINES)
"""Of the lines before a result; lab.h prints the duration last."""
RESULTS = st.tuples(
    st.tuples(st.lists(st.sampled_from(LINES), max_size=2), st.sampled_from(LAST_LINES)).map(
        lambda one: [*one[0], one[1]]
    ),
    st.sampled_from(("ok", "ok", "not ok")),
    st.sampled_from(("", "", "", "", *ENDS)),
)
LATER: tuple[dict[str, int] | None, ...] = (
    {"Shmem": 4, "free.2048kB": 2, "tainted": 0},
    {"Shmem": 9000, "free.2048kB": 2},
    {"free.2048kB": 1},
    None,
)


@given(
    results=st.lists(RESULTS, min_size=3, max_size=3),
    numbers=st.sampled_from(("123", "123", "123", "132", "122")),
    status=st.sampled_from((0, 1, 1, 2, None)),
    after=st.sampled_from((LATER[0], *LATER)),
    said=st.sampled_from(("", "", "[    1.000000] WARNING: CPU: 0 PID: 1 at mm/a.c:1 f+0x1/0x2\n")),
    features=st.sampled_from((NEEDS, frozenset[str]())),
)
def test_columns_are_judged_as_lines_are(
    results: list[tuple[list[str], str, str]],
    numbers: str,
    status: int | None,
    after: dict[str, int] | None,
    said: str,
    features: frozenset[str],
) -> None:
    lines = ["KTAP version 1", "1..3"]
    for number, name, (diagnostics, result, end) in zip(numbers, "abc", results, strict=True):
        lines += [*diagnostics, f"{result} {number} {name}{end}"]
    what = run(ktap="\n".join(lines) + "\n", status=status, console=said, before=LATER[0], after=after)
    guest = cell(runs=(what,))
    one_by_one = judge_run(guest.topology, guest.kernel, what, CASES, features)
    assert judge_cell(guest, {"expand": CASES}, features) == one_by_one
