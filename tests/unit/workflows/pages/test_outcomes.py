# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/workflows/pages/outcomes.py and render.py: when a program depends on the page size, and how that is shown."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from lab.core.sizes import KIB
from lab.workflows.pages import outcomes, render
from lab.workflows.pages.outcomes import Death, MachineRun, PagesAnswer, ProgramEnd, RefusedCall, Verdict

ROOT = Path(__file__).parents[4]


def run_of(
    name: str, *attempts: ProgramEnd, size: int = 64 * KIB, death: Death | None = None, why: str = ""
) -> MachineRun:
    return MachineRun(topology=name, page_size=size, nodes=1, attempts=attempts, death=death, not_tried=why)


def ended(status: int, stdout: str = "", stderr: str = "") -> ProgramEnd:
    return ProgramEnd(status=status, stdout=stdout.encode(), stderr=stderr.encode(), seconds=1.0)


CONTROL = run_of("arm64-4k", ended(0, "a\nb\n"), ended(0, "a\nb\n"), size=4 * KIB)


def outcome(*runs: MachineRun, control: MachineRun = CONTROL) -> PagesAnswer:
    compared = tuple(outcomes.compare(control, run) for run in runs)
    return PagesAnswer(command=("./prog",), arch="arm64", kernel="baseline", control=control, compared=compared)


def test_no_difference_is_exit_0() -> None:
    answer = outcome(run_of("arm64-64k", ended(0, "a\nb\n")))
    assert (answer.exit_status, answer.sentence) == (0, "does not depend on the page size")


def test_a_signal_depends_and_names_both_ends() -> None:
    answer = outcome(run_of("arm64-64k", ended(139), ended(139)))
    assert answer.compared[0].differs == "killed by SIGSEGV, control: exit 0"
    assert (answer.exit_status, answer.sentence) == (1, "depends on the page size: arm64-64k")


def test_output_that_changes_from_run_to_run_does_not_count() -> None:
    control = run_of("arm64-4k", ended(0, "pid 1\nsize\n"), ended(0, "pid 2\nsize\n"), size=4 * KIB)
    same = outcomes.compare(control, run_of("arm64-64k", ended(0, "pid 3\nsize\n")))
    assert same.verdict is Verdict.SAME
    other = outcomes.compare(control, run_of("arm64-64k", ended(0, "pid 3\nsizes\n"), ended(0, "pid 4\nsizes\n")))
    assert other.verdict is Verdict.DEPENDS
    assert other.lines == (("size", "sizes"),)


def test_the_first_words_of_both_streams_are_what_differs() -> None:
    died = ended(134, "\n<--- stack --->\n", stderr="\n#\n# out of memory\n")
    compared = outcomes.compare(CONTROL, run_of("arm64-64k", died, died))
    assert compared.lines == (("a", "<--- stack --->"), ("", "# out of memory"))
    assert render.text(outcome(compared.run)).splitlines()[-6:-2] == [
        "  killed by SIGABRT, control: exit 0",
        "  - a",
        "  + <--- stack --->",
        "  + # out of memory",
    ]


def test_output_that_changes_on_the_machine_does_not_count_either() -> None:
    assert (
        outcomes.compare(CONTROL, run_of("arm64-64k", ended(0, "x\nb\n"), ended(0, "y\nb\n"))).verdict is Verdict.SAME
    )


def test_without_output_only_the_end_counts() -> None:
    run = run_of("arm64-64k", ended(0, "other\n"), ended(0, "other\n"))
    assert outcomes.compare(CONTROL, run).verdict is Verdict.DEPENDS
    assert outcomes.compare(CONTROL, run, output=False).verdict is Verdict.SAME


def test_a_program_that_ends_in_two_ways_on_one_machine_proves_nothing() -> None:
    answer = outcome(run_of("arm64-64k", ended(139), ended(0)))
    assert answer.compared[0].verdict is Verdict.UNSTEADY
    assert answer.exit_status == 2


def test_what_was_not_tried_is_no_success() -> None:
    answer = outcome(run_of("arm64-16k", why="no kernel"), run_of("arm64-64k", ended(0, "a\nb\n")))
    assert answer.exit_status == 2
    assert answer.sentence == "unknown: no answer from arm64-16k"
    no_control = outcome(run_of("arm64-64k", ended(0)), control=run_of("arm64-4k", why="no kernel", size=4 * KIB))
    assert no_control.exit_status == 2


def test_an_architecture_with_one_page_size_has_nothing_to_compare() -> None:
    answer = outcome()
    assert answer.exit_status == 0
    assert answer.sentence == "arm64 has pages of 4 KiB alone: there is nothing to compare"


TRACE = """\
einval mmap 10001000 1000 -
einval mmap 10001000 1000 -
signal 11 1 ffff0010
map   ffff0000-ffff8000 r--p 00000000 00:00 0
map * ffff8000-ffffa000 rw-p 00000000 00:00 0
signal 7 2 20
map   10000-20000 r-xp 00000000 00:01 7 /lab/prog
end
"""


def test_a_trace_keeps_the_last_signal() -> None:
    death = outcomes.parse_trace(TRACE)
    assert (death.signal, death.address, death.note) == ("SIGBUS", 0x20, "")
    assert death.mappings == ("  10000-20000 r-xp 00000000 00:01 7 /lab/prog",)
    assert death.refused == (RefusedCall(call="mmap", address=0x10001000, length=0x1000, offset=None),)
    expected = "mmap failed with EINVAL: address 0x10001000 and length 0x1000 are no multiples of 64 KiB"
    assert death.lines(64 * KIB)[-1] == expected


@pytest.mark.parametrize("text", ["", "signal 11 1 0\n", "einval mmap x y z\nsignal\n\x1b[2J\n"])
def test_a_trace_that_is_cut_off_says_so(text: str) -> None:
    assert outcomes.parse_trace(text).note == "the trace is not complete"


def test_the_tracer_names_the_refused_call_and_the_fault(tmp_path: Path) -> None:
    """The tracer itself, on this host: munmap of an odd address, then a fault behind the end of a mapping."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    source = """
    #include <sys/mman.h>
    #include <unistd.h>
    int main(void)
    {
        long page = sysconf(_SC_PAGESIZE);
        char *p = mmap(0, 2 * page, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(p + 1, page);
        mprotect(p + page, page, PROT_NONE);
        p[page + 5] = 1;
    }
    """
    prog, tracer = tmp_path / "prog", tmp_path / "pagetrace"
    subprocess.run(["gcc", "-w", "-x", "c", "-", "-o", prog], input=source.encode(), check=True)
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", ROOT / "images/probes/pagetrace.c", "-o", tracer], check=True)
    done = subprocess.run([tracer, tmp_path / "trace", prog], check=False)
    assert done.returncode == 128 + 11
    death = outcomes.parse_trace((tmp_path / "trace").read_text())
    assert death.signal == "SIGSEGV"
    assert death.address is not None
    assert death.address % (4 * KIB) == 5
    assert any(line.startswith("*") and "---p" in line for line in death.mappings)
    assert [each.call for each in death.refused] == ["munmap"]
    assert death.note == ""


def test_every_format_has_the_verdict() -> None:
    hostile = ended(1, stderr="\x1b[31m<script>alert(1)</script>\n")
    death = Death(signal="SIGBUS", address=1, mappings=("* <b>",))
    answer = outcome(run_of("arm64-64k", hostile, hostile, death=death))
    text = render.text(answer)
    assert "arm64-64k  64K    exit 1  1.0      DIFFERS" in text
    assert text.endswith("exit 1: depends on the page size: arm64-64k\n")
    assert "\x1b" not in text
    document = json.loads(render.as_json(answer))
    assert document["exit_status"] == 1
    assert [machine["verdict"] for machine in document["machines"]] == ["control", "depends"]
    suite = ElementTree.fromstring(render.junit(answer))
    assert [case.get("name") for case in suite.iter("testcase")] == ["arm64-4k", "arm64-64k"]
    assert len(list(suite.iter("failure"))) == 1
    page = render.html(answer)
    assert "depends on the page size" in page
    assert "<script" not in page
    assert "<b>" not in page
