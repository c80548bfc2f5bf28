# SPDX-License-Identifier: GPL-2.0-or-later
"""A patch in every form that people have it -> a campaign that tries it; a toy tree with a history."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest

from lab.build import kernel, programs, source
from lab.cli import main
from lab.core.cache import Cache
from lab.core.errors import InfraError, InputError, UsageError
from lab.core.outcome import Case, Cause, CellStatus, Outcome
from lab.evidence.metadata import Evidence
from lab.formats.patches import mail as mailbox
from lab.formats.patches import patch
from lab.specs.arches import ARCHES
from lab.specs.library import Library
from lab.specs.plan import Filters
from lab.verdicts.compare import conclude
from lab.workflows import bisect, try_patch
from lab.workflows.bisect import CommitVerdict, JudgedCommit
from lab.workflows.change import Change, check, read
from lab.workflows.try_patch import Wish
from tests.unit.fixtures import evidence
from tests.unit.toy import GROW, Toy, diff, git, topology

WISH = Wish(topologies=["x86_64-4k"], scenarios=[])


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy.make(tmp_path)


@pytest.fixture
def history(toy: Toy) -> Toy:
    """The toy tree as a repository of nine commits; the fifth one has `broken` in mm/count."""
    git(toy.tree, "init", "--quiet", "--initial-branch=main")
    for number in range(1, 10):
        (toy.tree / "mm/count").write_text(f"{number}\n{'broken' if number >= 5 else 'fine'}\n")
        if number == 3:
            (toy.tree / "mm/new.c").write_text("int three;\n")
        if number == 7:
            (toy.tree / "mm/new.c").unlink()
        git(toy.tree, "add", "--all")
        git(toy.tree, "commit", "--quiet", "--message", f"mm: step {number}")
        git(toy.tree, "tag", f"s{number}")
    return toy


def a_diff(toy: Toy) -> str:
    ((name, (old, new)),) = GROW.items()
    return diff(name, toy.read(name), toy.read(name).replace(old, new))


def mail(subject: str, body: str, *, encoding: str = "quoted-printable") -> bytes:
    message = EmailMessage()
    message["From"], message["Subject"] = "a@b", subject
    message.set_content(body, cte=encoding)
    return message.as_bytes()


@pytest.mark.parametrize("form", ["diff", "mail", "mbox", "directory"])
def test_every_form_of_a_patch_is_the_same_change(toy: Toy, form: str) -> None:
    text = a_diff(toy)
    word = toy.root / ("patches" if form == "directory" else "my.patch")
    letter = mail("[PATCH v2 1/1] mm: grow = good", f"Why =20 it is.\n---\n{text}-- \n2.39\n")
    cover = mail("[PATCH v2 0/1] a cover", "No diff here.\n")
    start = b"From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n"
    if form == "directory":
        word.mkdir()
        (word / "0000-cover-letter.patch").write_bytes(start + cover)
        (word / "0001-mm-grow.patch").write_text(text)
    else:
        word.write_bytes({"diff": text.encode(), "mail": letter, "mbox": start + cover + b"\n" + start + letter}[form])
    found = read(str(word), toy.tree)
    assert found.base == f"path:{toy.tree}"
    assert len(found.patches) == 1
    parsed, wanted = (patch.parse(data, "x")[0] for data in (found.patches[0].data, text.encode()))
    assert (parsed.old, [each.new for each in parsed.hunks]) == (wanted.old, [each.new for each in wanted.hunks])
    assert found.patches[0].name == {"diff": "my", "directory": "0001-mm-grow"}.get(form, "mm-grow-good")
    check(found, toy.tree)


def test_commits_of_the_tree(history: Toy) -> None:
    found = read("s2..s4", history.tree)
    assert found.base == f"git:{history.tree}@{git(history.tree, 'rev-parse', 's2')}"
    assert [each.name for each in found.patches] == ["mm-step-3", "mm-step-4"]
    check(found, history.tree)


def test_a_range_with_a_merge_is_one_patch(history: Toy) -> None:
    git(history.tree, "checkout", "--quiet", "-b", "side", "s2")
    (history.tree / "mm/side.c").write_text("int side;\n")
    git(history.tree, "add", "--all")
    git(history.tree, "commit", "--quiet", "--message", "side")
    git(history.tree, "merge", "--quiet", "--no-edit", "s4")
    found = read("s2..", history.tree)
    assert len(found.patches) == 1
    assert {each.name for each in patch.parse(found.patches[0].data, "x")} == {"mm/side.c", "mm/count", "mm/new.c"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nope.patch"], "nope.patch: cannot be read: No such file or directory; expected a patch, a directory"),
        (["s1..nope"], "no such revision"),
        (["s4..s4"], "s4..s4: no commits between them"),
        (["s4~1"], "s4~1 is a commit of the tree: s4~1^..s4~1 means"),
        (["https://example.org/x/1.patch"], "expected the URL of a message in an archive of mails (curl -L https://"),
    ],
)
def test_a_change_that_is_none_is_one_line(history: Toy, words: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(words[0], history.tree)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_maildir_has_read_and_unread_mails(toy: Toy) -> None:
    directory = toy.root / "Mail"
    for name in ("cur", "new", "tmp"):
        (directory / name).mkdir(parents=True)
    (directory / "cur/2:2,S").write_bytes(mail("[PATCH 2/2] two", diff("mm/two.c", "", "int two;\n")))
    (directory / "new/1").write_bytes(mail("[PATCH 1/2] one", a_diff(toy)))
    assert [each.name for each in read(str(directory), toy.tree).patches] == ["one", "two"]


def test_a_range_between_unrelated_commits_is_refused(history: Toy) -> None:
    git(history.tree, "checkout", "--quiet", "--orphan", "other")
    git(history.tree, "commit", "--quiet", "--message", "another root")
    with pytest.raises(UsageError, match=r"s2\.\.other: the two have no commit in common"):
        read("s2..other", history.tree)


STEPS = ("s2..s3", "s3..s4", "s4..s5")


def steps(history: Toy, *names: str) -> Path:
    """A directory with the diffs of three commits that build on one another; the tree is the commit before them."""
    directory = history.root / "steps"
    directory.mkdir(exist_ok=True)
    for name, commits in zip(names, STEPS, strict=True):
        (directory / name).write_text(git(history.tree, "diff", *commits.split("..")) + "\n")
    git(history.tree, "checkout", "--quiet", "s2")
    return directory


def test_a_directory_of_patches_has_the_order_of_its_numbers(history: Toy) -> None:
    directory = steps(history, "1-a.patch", "2-b.patch", "10-c.patch")
    for left_out in (".#2-b.patch", "._1-a.patch", "2-b.patch.orig", "2-b.patch~"):
        (directory / left_out).write_text("no patch")
    found = read(str(directory), history.tree)
    assert [each.name for each in found.patches] == ["1-a", "2-b", "10-c"]
    check(found, history.tree)


def test_the_end_of_a_name_may_be_in_capitals(history: Toy) -> None:
    directory = steps(history, "1-A.PATCH", "2-b.Diff", "3-c.patch")
    assert [each.name for each in read(str(directory), history.tree).patches] == ["1-A-PATCH", "2-b-Diff", "3-c"]


@pytest.mark.parametrize("below", ["", "patches"])
def test_a_directory_of_quilts_has_the_order_of_its_series(history: Toy, below: str) -> None:
    directory = steps(history, "zz.patch", "aa.patch", "mm.patch")
    (directory / "series").write_text("# mine\nzz.patch\n\naa.patch -p1\nmm.patch # last\n")
    if below:
        (history.root / "package").mkdir()
        directory = directory.rename(history.root / "package" / below).parent
    found = read(str(directory), history.tree)
    assert [each.name for each in found.patches] == ["zz", "aa", "mm"]
    check(found, history.tree)


@pytest.mark.parametrize(("line", "said"), [("no.patch", "names no.patch, which is not"), ("aa.patch -R", "NAME -p1")])
def test_a_series_file_that_is_wrong_is_one_line(history: Toy, line: str, said: str) -> None:
    directory = steps(history, "zz.patch", "aa.patch", "mm.patch")
    (directory / "series").write_text(f"zz.patch\n{line}\n")
    with pytest.raises(InputError, match=f"series:2: .*{said}"):
        read(str(directory), history.tree)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("x" * 5000, "cannot be read: File name too long; expected a patch, a directory"),
        (f"{'x' * 300}/a.patch", "cannot be read: File name too long"),
        ("diff --git a/f b/f\n--- a/f\n+++ b/f\n", "got several lines: a patch itself is read from `-`"),
    ],
    ids=["long", "long directory", "a patch itself"],
)
def test_a_word_that_no_file_can_have_as_its_name_is_one_line(history: Toy, word: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(word, history.tree)
    with pytest.raises(UsageError, match="--tree: expected a kernel tree, got nothing there"):
        read("x.patch", Path("x" * 300))


def test_a_series_file_that_lists_nothing_is_one_line(history: Toy) -> None:
    directory = steps(history, "zz.patch", "aa.patch", "mm.patch")
    (directory / "series").write_text("# zz.patch\n\n")
    with pytest.raises(InputError, match=r"series: expected the names of patches, one per line, found none"):
        read(str(directory), history.tree)


def test_a_series_that_the_tree_has_is_recognised_although_later_patches_change_the_same(history: Toy) -> None:
    directory = steps(history, "1.patch", "2.patch", "3.patch")
    git(history.tree, "checkout", "--quiet", "s5")
    with pytest.raises(patch.AlreadyApplied, match=r"1.patch: already applied, as the 2 after it: the tree has all"):
        check(read(str(directory), history.tree), history.tree)


@pytest.mark.parametrize("names", ["linux/mm/shmem.c", "shmem.c"])
def test_a_patch_of_another_directory_is_told_where_its_file_is(history: Toy, names: str) -> None:
    word = history.root / "my.patch"
    word.write_text(a_diff(history).replace("mm/shmem.c", names))
    with pytest.raises(patch.DoesNotApply, match=r"no such file .*the tree has mm/shmem.c: names begin at its top"):
        check(read(str(word), history.tree), history.tree)


def test_commits_in_the_order_of_git_log_are_told_so(history: Toy) -> None:
    word = history.root / "my.patch"
    word.write_text(git(history.tree, "log", "-p", "s2..s5") + "\n")
    git(history.tree, "checkout", "--quiet", "s2")
    with pytest.raises(patch.DoesNotApply, match=r"it has 3 commits as `git log -p` prints them, the newest first"):
        check(read(str(word), history.tree), history.tree)


def test_a_range_of_three_dots_is_the_commits_since_the_fork(history: Toy) -> None:
    assert [each.name for each in read("s2...s4", history.tree).patches] == ["mm-step-3", "mm-step-4"]


def test_a_tree_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--tree: expected a kernel tree, got nothing there"):
        read("x.patch", tmp_path / "nowhere")


def test_a_patch_that_does_not_apply_is_told_before_anything_is_built(toy: Toy) -> None:
    word = toy.root / "my.patch"
    word.write_text(a_diff(toy).replace("return -1;", "return -2;"))
    with pytest.raises(patch.DoesNotApply, match=r"my.patch: mm/shmem.c: hunk 1 does not apply"):
        check(read(str(word), toy.tree), toy.tree)
    assert not (toy.root / "cache" / "try").exists()
    word.write_text("hello\n")
    with pytest.raises(InputError, match="found no diff in it"):
        read(str(word), toy.tree)


def a_change(toy: Toy) -> Change:
    one = mailbox.MailedPatch(
        name="one", data=diff("mm/one.c", "", "int one;\n").replace("a/mm/one.c", "/dev/null").encode()
    )
    two = mailbox.MailedPatch(name="two", data=diff("mm/one.c", "int one;\n", "int two;\n").encode())
    return Change(name="mine", base=f"path:{toy.tree}", series=mailbox.MailedSeries(patches=(one, two)))


def test_the_campaign_is_one_that_the_library_takes(toy: Toy) -> None:
    wish = Wish(topologies=["x86_64-4k"], scenarios=[], provides=["thing"])
    file = try_patch.prepare(a_change(toy), wish, toy.cache)
    planned = Library.shipped().plan(str(file), Filters(tests=("guards",)))
    assert [str(cell.key) for cell in planned.cells] == ["x86_64-4k/baseline", "x86_64-4k/patched"]
    patched = planned.cells[1].kernel
    assert patched.provides == {"thing"}
    assert sorted(path.name for path in Path(str(patched.series)).iterdir()) == ["0001-one.patch", "0002-two.patch"]
    assert (
        try_patch.prepare(a_change(toy), Wish(topologies=["x86_64-4k"], scenarios=[], provides=["thing"]), toy.cache)
        == file
    )


def test_each_patch_of_a_series_is_a_kernel(toy: Toy) -> None:
    wish = Wish(topologies=["x86_64-4k"], scenarios=[], provides=["thing"], each=True)
    planned = Library.shipped().plan(str(try_patch.prepare(a_change(toy), wish, toy.cache)))
    assert [cell.kernel.name for cell in planned.cells] == ["baseline", "01-one", "02-two"]
    assert [bool(cell.kernel.provides) for cell in planned.cells] == [False, False, True]


def test_a_command_is_a_scenario(tmp_path: Path, unit_cache: Path) -> None:
    """Built and run natively, as it is in a guest."""
    cache = Cache(unit_cache)
    expected = {"true": "ok 1 command", "exit 3": "not ok 1 command", "exit 125": "ok 1 command # SKIP exit status 125"}
    for script, line in expected.items():
        (file,) = try_patch.command_file(Wish(topologies=[], scenarios=[], command=["sh", "-c", script]), cache)
        native = next(arch for arch in ARCHES.values() if arch.uname == platform.machine())
        program = programs.compile_one(native, file, cache)
        done = subprocess.run([program], capture_output=True, text=True, check=False, timeout=60)
        assert line in done.stdout.splitlines(), done.stdout
    listed = programs.cases([file], cache)
    assert listed["command"][0] == Case(
        scenario="command", name="command", description="a command of the user's", timeout_s=60
    )


def test_suites_run_on_the_machines_with_the_memory_they_ask_for() -> None:
    library = Library.shipped()
    names, left = try_patch.suite_machines(library, (), lambda arch: "")
    assert names == ["x86_64-4k-suite", "arm64-64k-suite"]
    assert not left
    for name in names:
        machine = library.topology(name)
        assert machine.total_memory >= 8 << 30
        assert len(machine.numa) == 2
    assert try_patch.suite_machines(library, ("arm64",), lambda arch: "no gcc") == ([], ["arm64-64k-suite: no gcc"])


def test_the_usual_machines_have_every_page_size_once_and_two_nodes() -> None:
    names, left = try_patch.default_machines(Library.shipped(), (), lambda arch: "")
    assert names[:2] == ["x86_64-4k-2node", "x86_64-4k"]
    machines = [Library.shipped().topology(name) for name in names]
    assert sorted(each.page_size for each in machines if not each.numa) == sorted(
        {each.page_size for each in machines if not each.numa}
    )
    assert not left
    names, left = try_patch.default_machines(Library.shipped(), ("arm64",), lambda arch: "")
    assert {name.partition("-")[0] for name in names} == {"arm64"}
    assert try_patch.default_machines(Library.shipped(), ("arm64",), lambda arch: "no gcc")[0] == []


# Bisection.


def by_content(history: Toy, *skipped: str) -> tuple[list[str], bisect.CommitJudge]:
    """A judge that looks into the commit; the commits that it was asked about."""
    asked: list[str] = []

    def judge(commit: str) -> JudgedCommit:
        asked.append(commit)
        broken = "broken" in git(history.tree, "show", f"{commit}:mm/count")
        word = CommitVerdict.SKIP if commit in skipped else CommitVerdict.BAD if broken else CommitVerdict.GOOD
        return JudgedCommit(commit=commit, word=word, why="looked")

    return asked, judge


def revision(history: Toy, name: str) -> str:
    return git(history.tree, "rev-parse", name)


def test_the_first_bad_commit_is_found_and_the_tree_is_left_alone(history: Toy, tmp_path: Path) -> None:
    asked, judge = by_content(history)
    found = bisect.bisect(history.tree, "s1", "s9", tmp_path, judge)
    assert found.commits == (revision(history, "s5"),)
    assert asked[:2] == [revision(history, "s9"), revision(history, "s1")]
    assert len(asked) <= 2 + 4
    assert "first bad commit" in found.log
    assert git(history.tree, "status", "--porcelain") == ""
    assert not (history.tree / ".git/BISECT_LOG").exists()


def test_the_commit_that_mended_something_is_found(history: Toy, tmp_path: Path) -> None:
    (history.tree / "mm/count").write_text("10\nfine\n")
    git(history.tree, "commit", "--quiet", "--all", "--message", "mm: mend")
    mended = git(history.tree, "rev-parse", "HEAD")
    for number in (11, 12):
        (history.tree / "mm/count").write_text(f"{number}\nfine\n")
        git(history.tree, "commit", "--quiet", "--all", "--message", f"mm: step {number}")
    _, judge = by_content(history)
    found = bisect.bisect(history.tree, "HEAD", "s5", tmp_path, judge, fixed=True)
    assert found.commits == (mended,)
    assert f"# broken: [{revision(history, 's5')}]" in found.log
    assert f"# first fixed commit: [{mended}]" in found.log
    with pytest.raises(UsageError, match=r"--good s1 is not before --bad s9 .*|--bad s9 is not before --good s1"):
        bisect.bisect(history.tree, "s1", "s9", tmp_path / "2", judge, fixed=True)
    with pytest.raises(UsageError, match="to find what mended it: --fixed"):
        bisect.bisect(history.tree, "HEAD", "s5", tmp_path / "3", judge)


def test_neighbours_are_found_at_once(history: Toy, tmp_path: Path) -> None:
    asked, judge = by_content(history)
    assert bisect.bisect(history.tree, "s4", "s5", tmp_path, judge).commits == (revision(history, "s5"),)
    assert len(asked) == 2


def test_what_cannot_be_judged_is_skipped(history: Toy, tmp_path: Path) -> None:
    _, judge = by_content(history, revision(history, "s5"), revision(history, "s4"))
    found = bisect.bisect(history.tree, "s1", "s9", tmp_path, judge)
    assert not found.exactly
    assert set(found.commits) == {revision(history, name) for name in ("s4", "s5", "s6")}


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ("s6", "s9", "--good s6 is bad, as --bad is said to be: looked"),
        ("s1", "s4", "--bad s4 is good, as --good is said to be: looked"),
        ("s4", "s4", "--good s4 and --bad s4 are the same commit"),
        ("s9", "s1", "--good s9 is not before --bad s1"),
        ("s1", "nope", "no such revision"),
    ],
)
def test_wrong_ends_are_told(history: Toy, tmp_path: Path, good: str, bad: str, said: str) -> None:
    _, judge = by_content(history)
    with pytest.raises(UsageError) as caught:
        bisect.bisect(history.tree, good, bad, tmp_path, judge)
    assert said in str(caught.value)


def mended(history: Toy) -> None:
    """Three more commits; the first of them mends what step 5 broke."""
    for number in (10, 11, 12):
        (history.tree / "mm/count").write_text(f"{number}\nfine\n")
        git(history.tree, "commit", "--quiet", "--all", "--message", f"mm: step {number}")
        git(history.tree, "tag", f"s{number}")


@pytest.mark.parametrize(
    ("bad", "good", "said"),
    [
        ("s12", "s6", "--bad s12 is not before --good s6"),
        ("s6", "s9", "--good s9 is bad, as --bad is said to be: looked"),
        ("s1", "s4", "--bad s1 is good, as --good is said to be: looked"),
        ("s10", "s12", "--bad s10 is good, as --good is said to be: looked"),
        ("s6", "s6", "--bad s6 and --good s6 are the same commit"),
    ],
)
def test_wrong_ends_of_a_search_for_a_fix_are_told(
    history: Toy, tmp_path: Path, bad: str, good: str, said: str
) -> None:
    mended(history)
    _, judge = by_content(history)
    with pytest.raises(UsageError) as caught:
        bisect.bisect(history.tree, good, bad, tmp_path, judge, fixed=True)
    assert said in str(caught.value)


def test_a_fix_beside_a_commit_that_does_not_build_is_only_narrowed_down(history: Toy, tmp_path: Path) -> None:
    mended(history)
    _, judge = by_content(history, revision(history, "s10"))
    found = bisect.bisect(history.tree, "s12", "s6", tmp_path, judge, fixed=True)
    assert set(found.commits) == {revision(history, name) for name in ("s10", "s11")}
    assert "# skip: [" in found.log


def test_an_end_that_cannot_be_judged_is_told(history: Toy, tmp_path: Path) -> None:
    _, judge = by_content(history, revision(history, "s9"))
    with pytest.raises(UsageError, match=r"--bad s9 cannot be judged: looked \(name a commit beside it\)"):
        bisect.bisect(history.tree, "s1", "s9", tmp_path, judge)


def test_ends_that_are_not_of_one_line_are_told(history: Toy, tmp_path: Path) -> None:
    _, judge = by_content(history)
    git(history.tree, "checkout", "--quiet", "-b", "beside", "s3")
    git(history.tree, "commit", "--quiet", "--allow-empty", "--message", "beside")
    base = revision(history, "s3")[:12]
    with pytest.raises(UsageError, match=rf"is not before --bad s9 .*they parted at {base}: --good {base}"):
        bisect.bisect(history.tree, "beside", "s9", tmp_path, judge)
    git(history.tree, "checkout", "--quiet", "--orphan", "alone")
    git(history.tree, "commit", "--quiet", "--allow-empty", "--message", "alone")
    with pytest.raises(UsageError, match="they have no commit in common"):
        bisect.bisect(history.tree, "alone", "s9", tmp_path, judge)


@pytest.mark.parametrize(
    ("good", "bad", "status", "last"),
    [
        ("s12", "s6", 0, "commit that fixed it: "),
        ("s11", "s6", 1, " mm: step 11"),
        ("s6", "s12", 64, "--bad s12 is not before --good s6"),
        ("s12", "nope", 64, "no such revision"),
    ],
)
def test_the_exit_status_of_a_search_for_a_fix(
    history: Toy,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    good: str,
    bad: str,
    status: int,
    last: str,
) -> None:
    mended(history)
    skipped = (revision(history, "s10"),) if status == 1 else ()
    _, judge = by_content(history, *skipped)
    monkeypatch.setattr("lab.verbs.patches.BisectOptions.judge", lambda *_: judge)
    monkeypatch.setenv("PAGELAB_CACHE", str(history.root / "cache"))
    words = ["bisect", "--fixed", "--tree", str(history.tree), "--good", good, "--bad", bad, "-t", "x86_64-4k"]
    assert main._status(words, standalone_mode=False) == status
    printed = capsys.readouterr()
    line = (printed.err if status == 64 else printed.out).strip().splitlines()[-1]
    assert last in line


def word_of(**changes: object) -> CommitVerdict:
    one = evidence.cell(evidence.TOPOLOGIES[0], evidence.KERNELS[0], **changes)
    found = evidence.evidence(one)
    alone = conclude(type(found)(metadata=found.metadata, cells=(one,)))
    return bisect.judged("0" * 40, alone, boots_badly=CommitVerdict.BAD).word


def test_a_kernel_that_boots_only_sometimes_is_skipped() -> None:
    cells = [evidence.cell(evidence.TOPOLOGIES[0], evidence.KERNELS[0], repeat=number) for number in (1, 2)]
    found = evidence.evidence(cells[0])
    lost = replace(cells[1], status=CellStatus.NO_BOOT, runs=())
    again = found.metadata.changed(repeat=2)
    step = bisect.judged(
        "0" * 40, conclude(type(found)(metadata=again, cells=(cells[0], lost))), boots_badly=CommitVerdict.BAD
    )
    assert (step.word, step.why) == (CommitVerdict.SKIP, "boots 1 times of 2")


def test_what_a_run_says_of_a_commit() -> None:
    assert word_of() is CommitVerdict.BAD
    assert word_of(status=CellStatus.NO_BOOT, runs=()) is CommitVerdict.BAD
    assert word_of(status=CellStatus.BROKEN, cause=Cause.BUILD, runs=()) is CommitVerdict.SKIP
    with pytest.raises(InfraError, match="BROKEN"):
        word_of(status=CellStatus.BROKEN, cause=Cause.DISK_FULL, runs=())
    for outcome in Outcome:
        assert (outcome in bisect.BAD) == (outcome.value in ("FAIL", "CRASH", "HANG", "LEAK"))


def test_a_complaint_at_boot_is_not_what_a_bisection_searches_for() -> None:
    """A tree that warns at every commit can be bisected; the same complaint while a case runs counts."""
    warning = "[    0.100000] WARNING: CPU: 0 PID: 1 at init/own.c:12 own_initcall+0x1/0x2\n"
    passed = evidence.cell(evidence.TOPOLOGIES[0], evidence.KERNELS[1]).runs[1]
    assert word_of(runs=(replace(passed, boot_console=warning),)) is not CommitVerdict.BAD
    assert word_of(runs=(replace(passed, console=warning),)) is CommitVerdict.BAD


# Trees of one repository.


def test_a_commit_beside_an_earlier_one_is_the_same_tree(history: Toy) -> None:
    """Whether it was unpacked whole or only what differs: links for the rest, which tell what changed."""
    for name in ("s2", "s4", "s8", "s3"):
        found = source.resolve(f"git:{history.tree}@{name}", cache=history.cache)
        tree = source.tree(found.key, history.cache)
        git(history.tree, "checkout", "--quiet", name)
        done = subprocess.run(
            ["diff", "-r", "--exclude=.git", tree, history.tree],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.stdout == ""
    first, second = (source.identify(f"git:{history.tree}@{name}", history.cache) for name in ("s2", "s8"))
    assert first and second and first.lineage == second.lineage
    trees = (source.tree(first.key, history.cache), source.tree(second.key, history.cache))
    assert source.changed(*trees) == {"mm/count"}


def test_the_kernel_of_the_next_commit_costs_what_it_changes(history: Toy) -> None:
    made = []
    for name in ("s2", "s4", "s2"):
        wanted = history.kernel(source=f"git:{history.tree}@{name}")
        made.append(kernel.build(wanted, topology(), cache=history.cache, images=history.images))
    assert [each.provenance.full_build for each in made] == [True, False, True]
    assert made[0].provenance.key == made[2].provenance.key != made[1].provenance.key, (
        "the third is the first, from the cache"
    )
    (work,) = (history.root / "cache/work").iterdir()
    assert (work / "src/mm/count").read_text() == "4\nfine\n"


def test_files_of_a_commit_are_seen_without_unpacking(history: Toy) -> None:
    look = source.peek(f"git:{history.tree}@s3")
    assert look("mm/new.c") == patch.Content(b"int three;\n")
    assert look("mm/none.c") is None
    assert source.peek(f"path:{history.tree}")("mm/new.c") is None


def test_a_feature_that_nobody_named_is_asked_about() -> None:
    """Its cases had to fail with the patch, too, and did not."""
    found = evidence.metadata(kernels=("baseline", "patched"))
    found["kernels"]["patched"]["provides"] = []
    cells = tuple(
        evidence.cell(topology, kernel, runs=evidence.good_runs(kernel))
        for topology in evidence.TOPOLOGIES
        for kernel in ("baseline", "patched")
    )
    assert try_patch.unprovided(conclude(Evidence(metadata=evidence.recorded(found), cells=cells))) == [
        evidence.FEATURE
    ]
    found["kernels"]["patched"]["provides"] = [evidence.FEATURE]
    assert try_patch.unprovided(conclude(Evidence(metadata=evidence.recorded(found), cells=cells))) == []


def test_a_program_is_whole_unless_a_test_is_about_it() -> None:
    assert try_patch.scenarios([], ["./mine.c"]) == ["mine"]
    assert try_patch.scenarios(["mine.one"], ["./mine.c", "a/other.c"]) == ["mine.one", "other"]
    assert try_patch.scenarios(["*"], ["mine.c"]) == ["*"]
