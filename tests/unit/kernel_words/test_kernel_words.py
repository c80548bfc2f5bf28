# SPDX-License-Identifier: GPL-2.0-or-later
"""The tool that puts a kernel tree's messages to the console scan, on a tree of three files of our own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lab.formats.complaints import Kind
from tests.kernel_words import __main__ as tool
from tests.kernel_words import c_source, catalogue
from tests.kernel_words.printf import render

TRAPS = """
/* die("in a comment"); */
void die(const char *str) { printk("%s [#%d]\\n", str, ++counter); }
void own(void) {
    die("own fault");
    die("kernel bug");
    die(dynamic);
    panic("own end, %s", f(1, 2));
}
"""
WATCHDOG = """
#define pr_fmt(fmt) "watchdog: " fmt
void own(void) {
    pr_emerg("CPU%u: Watchdog detected hard LOCKUP "
             "on cpu %u\\n", this, cpu);
    pr_emerg("own detail\\n");
}
"""
HUNG = """
void own(void) { pr_err("INFO: task %s:%d has %s\\n", name, pid, bad ? "trouble" : ""); }
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    files = {"arch/riscv/kernel/traps.c": TRAPS, "kernel/watchdog.c": WATCHDOG, "kernel/hung_task.c": HUNG}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(catalogue, "ARCHITECTURES", ("riscv",))
    return tmp_path


def test_what_a_tree_prints_when_it_complains(tree: Path) -> None:
    assert {(each.area, each.message): each.kinds for each in catalogue.complaints(tree)} == {
        ("arch/riscv", "own fault [#3]"): {Kind.OOPS},
        ("arch/riscv", "kernel bug [#3]"): {Kind.BUG},
        ("arch/riscv", "Kernel panic - not syncing: own end, own"): {Kind.PANIC},
        ("kernel/watchdog.c", "watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3"): {Kind.HARD_LOCKUP},
        ("kernel/hung_task.c", "INFO: task own:3 has trouble"): {Kind.HUNG_TASK},
    }


def run(
    tree: Path, accepted: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    path = tree / "accepted.txt"
    path.write_text(accepted)
    monkeypatch.setattr(tool, "ACCEPTED", path)
    return tool.main([str(tree)]), capsys.readouterr().out


def test_a_miss_is_an_error_unless_it_is_accepted(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = run(tree, "", monkeypatch, capsys)
    assert status == 1
    assert "kernel/hung_task.c:2: nothing: INFO: task own:3 has trouble" in out
    assert "4 of 5 right, 1 missed" in out
    status, out = run(tree, "has trouble$ # words of our own\n", monkeypatch, capsys)
    assert status == 0
    assert "4 of 5 right, 0 missed, 1 patterns" in out


def test_talk_that_is_taken_for_a_complaint_is_an_error_unless_it_is_accepted(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "mm").mkdir()
    talk = (
        'pr_info("BUG: %d of them\\nare fine\\n", own); printk(KERN_DEBUG "quiet\\n"); printk(KERN_ERR "BUG: own\\n");'
    )
    (tree / "mm/own.c").write_text(f"void own(void) {{ {talk} }}\n")
    accepted = "has trouble$ # words of our own\n"
    status, out = run(tree, accepted, monkeypatch, capsys)
    assert status == 1
    assert "mm/own.c:1: BUG: BUG: 3 of them" in out
    assert "3 messages of lower levels, 1 taken for complaints" in out
    status, out = run(tree, accepted + "of them # it only says so\n", monkeypatch, capsys)
    assert (status, "0 taken for complaints" in out) == (0, True)


def test_an_acceptance_has_a_reason() -> None:
    assert [(each.pattern.pattern, each.reason) for each in tool.read_accepted("# talk\n\na # b # why\n")] == [
        ("a # b", "why")
    ]
    with pytest.raises(ValueError, match="line 1: expected REGEX # REASON"):
        tool.read_accepted("no reason\n")


def test_what_is_no_tree_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main([str(tmp_path)]) == 2
    assert "no kernel tree" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "arguments", "shown"),
    [
        ("%s at %pS\n", [], "own at own_function+0x10/0x20"),
        ("%d%% of %#010lx", [], "3% of 0x00000012"),
        ("%04lx|%4x|%*pbl|%p.", [], "0012|  12|0-1|ffff888000001000."),
        ("%s (%s)", ["name", "print_tainted()"], "own (Not tainted)"),
        ("blocked%s for", ['wait ? " in wait" : ""'], "blocked in wait for"),
    ],
)
def test_formats_are_rendered(text: str, arguments: Sequence[str], shown: str) -> None:
    assert render(text, arguments) == shown


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ('KERN_ERR "a" "b\\n"', "ab\n"),
        ('"%" PRIx64 "."', "%llx."),
        ("name", None),
        ('f("a")', None),
        ("KERN_ERR", None),
        ("OWN", "own words"),
    ],
)
def test_adjacent_literals_are_one_text(argument: str, text: str | None) -> None:
    known = c_source.strings_of('#define OWN "own " \\\n "words"\n', "own")
    assert c_source.literal(argument, known) == text
