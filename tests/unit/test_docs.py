# SPDX-License-Identifier: GPL-2.0-or-later
"""The README files are complete and true: every word stands in the table where it is explained, every example works.

A check names a file, a section and a column. That it can fail is tested too: without the row of a word, the check
reports that word as missing.
"""

from __future__ import annotations

import ast
import fnmatch
import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from lab.build import programs
from lab.cli import main
from lab.core.cache import Cache
from lab.core.outcome import Cause, CellStatus, Delta, Outcome
from lab.core.sizes import GIB
from lab.host import doctor
from lab.report import registry as report
from lab.report._data import STATES
from lab.specs import load
from lab.specs.arches import PRESETS
from lab.specs.model import CampaignSpec, Hmat, Kernel, NumaCell, Topology
from lab.specs.report import Report, Side
from lab.specs.settings import Settings
from tests import markdown
from tests.examples import WITHOUT_GUESTS
from tests.faults.table import SIDES
from tests.fuzz.targets import TARGETS
from tests.shape.measure import README_LINES
from tests.unit.fixtures import evidence

ROOT = Path(__file__).parents[2]
CAPTURES = ROOT / "tests/golden/capture"
SENTENCE_WORDS = 40
ROOMS = sorted(path.parent.name for path in ROOT.glob("lab/*/__init__.py"))
PAGES = sorted(
    str(path.relative_to(ROOT))
    for folder in (".", "topologies", "images", "guest_tests", "lab", "lab/*", "tests")
    for path in ROOT.glob(f"{folder}/*.md")
)
"""Every page of documentation, by its path from the root."""


@cache
def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# Words in their tables.


def verbs(cell: str) -> list[str]:
    return re.findall(r"`lab ([a-z]+)", cell)


def targets(cell: str) -> list[str]:
    return re.findall(r"`make ([a-z-]+)`", cell)


def code(cell: str) -> list[str]:
    return list(markdown.code_spans(cell))


def macros(cell: str) -> list[str]:
    return re.findall(r"`(LAB_[A-Z_]+)", cell)


def fields(cell: str) -> list[str]:
    return re.findall(r"`\.(\w+)`", cell)


def whole(cell: str) -> list[str]:
    return cell.split(", ")


def linked(cell: str) -> list[str]:
    return re.findall(r"\[(\w+)/\]", cell)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordTable:
    """Which words must stand in which column; `read` finds the words of one cell."""

    page: str
    section: str
    column: str
    words: Collection[str]
    read: Callable[[str], list[str]]

    def missing(self, text: str) -> set[str]:
        """Return the words that the column does not have in this text of the page."""
        cells = markdown.column(text, self.section, self.column)
        return set(self.words) - {word for cell in cells for word in self.read(cell)}

    def stale(self, text: str) -> set[str]:
        """Return the words that the column has although nothing is called so."""
        cells = markdown.column(text, self.section, self.column)
        return {word for cell in cells for word in self.read(cell)} - set(self.words)

    def without(self, text: str, word: str) -> str:
        """Return the text without the rows of one word."""
        cells = markdown.column(text, self.section, self.column)
        return markdown.without_rows(text, {cell for cell in cells if word in self.read(cell)})


def keys(*models: type[Topology | NumaCell | Hmat | Kernel | CampaignSpec | Report | Side]) -> list[str]:
    return [key for model in models for key in model.model_fields if key != "name"]


def make_targets() -> list[str]:
    return re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


def own_variables() -> set[str]:
    """Return the environment variables of the lab's own that its sources read."""
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "lab").rglob("*.py"))
    return set(re.findall(r"\bPAGELAB_[A-Z_]+\b", sources))


def header_macros() -> set[str]:
    """Return the macros that scenarios call: those with arguments of lab.h and lab_numa.h, but for its own helpers."""
    text = "".join((ROOT / "guest_tests" / name).read_text("utf-8") for name in ("lab.h", "lab_numa.h"))
    return set(re.findall(r"^#define (LAB_[A-Z_]+)\(", text, re.MULTILINE)) - {"LAB_PRINTF", "LAB_NAME"}


def case_fields() -> list[str]:
    """Return the fields of `struct lab_case` that a table of cases sets; LAB_CASE sets the others."""
    text = (ROOT / "guest_tests/lab.h").read_text("utf-8")
    body = text.partition("struct lab_case {")[2].partition("};")[0]
    return [name for name in re.findall(r"^\t[^;/(]*?(\w+);", body, re.MULTILINE) if name != "name"]


def stems(pattern: str) -> list[str]:
    return [path.stem for path in ROOT.glob(pattern)]


def shared_options() -> set[str]:
    """Return the long options that two verbs or more have."""
    having = Counter(max(each.opts, key=len) for command in main.commands.values() for each in command.params)
    return {option for option, count in having.items() if count > 1 and option.startswith("--")}


REPORT, TOPOLOGIES = "lab/report/README.md", "topologies/README.md"
GUEST_TESTS, IMAGES = "guest_tests/README.md", "images/README.md"
GLOSSARY = [
    *("campaign", "case", "cell", "delta", "evidence", "expectation", "feature", "guards", "kernel", "lineage", "met"),
    *("must-fail", "outcome", "power", "provides", "provoked", "record", "scenario", "series", "settled", "source"),
    *("suite", "topology"),
]
STATUSES = ["0", "1", "2", "64", "130"]
TABLES = {
    "verb": WordTable(page="README.md", section="Commands", column="command", words=main.commands, read=verbs),
    "status on the first page": WordTable(
        page="README.md", section="How to read a verdict", column="exit status", words=STATUSES, read=whole
    ),
    "status": WordTable(page=REPORT, section="Exit status", column="exit status", words=[*STATUSES, "125"], read=whole),
    "outcome": WordTable(page=REPORT, section="Verdicts", column="outcome", words=list(Outcome), read=whole),
    "cause": WordTable(page=REPORT, section="Causes", column="cause", words=list(Cause), read=code),
    "delta": WordTable(page=REPORT, section="Deltas", column="delta", words=list(Delta), read=whole),
    "cell": WordTable(page=REPORT, section="Cells", column="status of a cell", words=list(CellStatus), read=whole),
    "state": WordTable(page=REPORT, section="States in the tables", column="state", words=STATES, read=whole),
    "format": WordTable(page=REPORT, section="Formats", column="format", words=report.formats(), read=code),
    "topology": WordTable(page=TOPOLOGIES, section="Keys of a topology", column="key", words=keys(Topology), read=code),
    "node": WordTable(
        page=TOPOLOGIES, section="Keys of a topology", column="key of a `numa` cell", words=keys(NumaCell), read=code
    ),
    "hmat": WordTable(page=TOPOLOGIES, section="HMAT", column="key of `hmat`", words=keys(Hmat), read=code),
    "campaign": WordTable(
        page=TOPOLOGIES, section="Keys of a campaign", column="key", words=keys(CampaignSpec), read=code
    ),
    "campaign file": WordTable(
        page=TOPOLOGIES,
        section="The campaigns",
        column="campaign",
        words=stems("topologies/campaigns/*.yaml"),
        read=code,
    ),
    "kernel": WordTable(page=IMAGES, section="Keys of a kernel", column="key", words=keys(Kernel), read=code),
    "series": WordTable(
        page=IMAGES,
        section="The designs side by side",
        column="series",
        words=[path.name for path in (ROOT / "images/series").iterdir() if path.is_dir()],
        read=code,
    ),
    "report": WordTable(page=GUEST_TESTS, section="Keys of a report", column="key", words=keys(Report), read=code),
    "side": WordTable(
        page=GUEST_TESTS, section="Keys of a report", column="key of a side", words=keys(Side), read=code
    ),
    "report file": WordTable(
        page=GUEST_TESTS,
        section="The reports that ship",
        column="report",
        words=stems("guest_tests/reports/*.yaml"),
        read=code,
    ),
    "macro": WordTable(page=GUEST_TESTS, section="Macros", column="macro", words=header_macros(), read=macros),
    "field": WordTable(page=GUEST_TESTS, section="Fields of a case", column="field", words=case_fields(), read=fields),
    "variable": WordTable(
        page="lab/verbs/README.md",
        section="Environment variables",
        column="variable",
        words=[*sorted(own_variables()), "ARCH", "CROSS_COMPILE", "LD_LIBRARY_PATH", "LLVM", "NO_COLOR"],
        read=code,
    ),
    "room": WordTable(page="lab/README.md", section="Rooms", column="room", words=ROOMS, read=linked),
    "term": WordTable(page="lab/README.md", section="Glossary", column="word", words=GLOSSARY, read=whole),
    "option": WordTable(
        page="lab/verbs/README.md",
        section="Options that many commands have",
        column="option",
        words=sorted(shared_options()),
        read=code,
    ),
    "preset": WordTable(page=IMAGES, section="Presets", column="preset", words=PRESETS, read=code),
    "target": WordTable(
        page="tests/README.md", section="Make targets", column="target", words=make_targets(), read=targets
    ),
}
WORDS = [(kind, word) for kind, table in TABLES.items() for word in sorted(table.words)]


@pytest.mark.parametrize("kind", TABLES)
def test_every_word_is_in_its_table(kind: str) -> None:
    table = TABLES[kind]
    assert table.words
    assert table.missing(page(table.page)) == set(), f"{table.page}, section {table.section!r}"


@pytest.mark.parametrize("kind", sorted(TABLES.keys() - {"term", "option"}))
def test_no_word_in_a_table_is_stale(kind: str) -> None:
    """The glossary has terms that no check asks for, the table of options has their short names too."""
    table = TABLES[kind]
    assert table.stale(page(table.page)) == set()


@pytest.mark.parametrize(("kind", "word"), WORDS)
def test_a_word_without_its_row_is_missing(kind: str, word: str) -> None:
    table = TABLES[kind]
    assert word in table.missing(table.without(page(table.page), word))


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_in_another_section_does_not_count(kind: str) -> None:
    table = TABLES[kind]
    moved = page(table.page).replace(f"# {table.section}\n", "# Something else\n")
    with pytest.raises(KeyError):
        table.missing(moved)


def test_every_function_of_the_headers_that_is_named_exists() -> None:
    cells = markdown.column(page(GUEST_TESTS), "Functions", "function")
    named = {name for cell in cells for name in re.findall(r"`(lab_\w+)\(", cell)}
    headers = "".join(path.read_text("utf-8") for path in (ROOT / "guest_tests").glob("lab*.h"))
    assert len(named) > 10
    assert {name for name in named if not re.search(rf"^LAB_FN.*\b{name}\(", headers, re.MULTILINE)} == set()


def room_sentences(text: str) -> dict[str, str]:
    """Return room -> its sentence in the table of rooms."""
    rooms = markdown.column(text, "Rooms", "room")
    sentences = markdown.column(text, "Rooms", "sentence")
    return {linked(room)[0]: sentence for room, sentence in zip(rooms, sentences, strict=True)}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_the_sentence_of_its_package(room: str) -> None:
    docstring = ast.get_docstring(ast.parse((ROOT / f"lab/{room}/__init__.py").read_text("utf-8")))
    assert docstring
    sentence = docstring.splitlines()[0]
    text = page("lab/README.md")
    assert room_sentences(text)[room] == sentence
    assert room_sentences(text.replace(sentence, "Another sentence.", 1))[room] != sentence


def test_rooms_are_listed_from_the_ground_up() -> None:
    contract = re.findall(r'"lab\.([^"]+)"', page_of_contract())
    floors = [level.replace("lab.", "").split(" | ") for level in contract if level != "cli"]
    listed = iter(room_sentences(page("lab/README.md")))
    for floor in reversed(floors):
        assert {next(listed) for _ in floor} == set(floor)


def page_of_contract() -> str:
    return (ROOT / "pyproject.toml").read_text("utf-8").partition("[[tool.importlinter.contracts]]")[2]


@pytest.mark.parametrize("verb", sorted(main.commands))
def test_every_verb_has_help_with_a_sentence_and_an_example(verb: str) -> None:
    first, _, rest = (main.commands[verb].help or "").partition("\n\n")
    assert " ".join(first.split()).endswith(".")
    assert re.search(rf"^ *lab {verb}\b", rest, re.MULTILINE)


OPTIONS = TABLES["option"]


def options_of(text: str) -> dict[str, set[str]]:
    """Return option -> the verbs that have it, as the table of options says."""
    options = markdown.column(text, OPTIONS.section, OPTIONS.column)
    having = markdown.column(text, OPTIONS.section, "of")
    return {code(option)[-1]: set(verbs.split(", ")) for option, verbs in zip(options, having, strict=True)}


@pytest.mark.parametrize("option", OPTIONS.words)
def test_an_option_is_of_the_verbs_that_have_it(option: str) -> None:
    having = {verb for verb, command in main.commands.items() if any(option in each.opts for each in command.params)}
    assert options_of(page(OPTIONS.page))[option] == having


def help_targets(makefile: str) -> set[str]:
    """Return the targets that `make help` prints."""
    recipe = makefile.partition("\nhelp:\n")[2].partition("\n\n")[0]
    return set(re.findall(r'@echo "make ([a-z-]+) ', recipe))


@pytest.mark.parametrize("target", [each for each in make_targets() if each != "help"])
def test_make_help_has_every_target(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    line = re.compile(rf'^\t@echo "make {target} .*\n', re.MULTILINE)
    assert target in help_targets(makefile)
    assert target not in help_targets(line.sub("", makefile))


def test_requirements_are_those_of_lab_doctor() -> None:
    text = " ".join(markdown.section(page("README.md"), "Requirements").split())
    disk, memory = f"{doctor.DISK // GIB} GiB recommended", f"{doctor.MEMORY // GIB} GiB recommended"
    assert f"at least {doctor.DISK_LEAST // GIB} GiB of disk for the cache ({disk})" in text
    assert f"{doctor.MEMORY_LEAST // GIB} GiB of memory ({memory})" in text


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        ("topologies", "topologies/*.yaml"),
        ("campaigns", "topologies/campaigns/*.yaml"),
        ("kernels", "images/kernels/*.yaml"),
        ("scenarios", "guest_tests/*.c"),
        ("reports", "guest_tests/reports/*.yaml"),
    ],
)
def test_a_page_beside_the_files_is_none_of_them(kind: str, files: str) -> None:
    """README.md lies in the directories that the lab lists."""
    done = subprocess.run(
        [sys.executable, "-m", "lab", "list", kind, "--json"], cwd=ROOT, capture_output=True, check=True, timeout=300
    )
    assert {each["name"] for each in json.loads(done.stdout)} == set(stems(files))


# The pages as such.


def test_the_first_page_is_short() -> None:
    assert len(page("README.md").splitlines()) <= README_LINES


def test_every_page_is_reached_from_the_first() -> None:
    reached = {"README.md"}
    waiting = ["README.md"]
    while waiting:
        for target in local_links(waiting.pop()):
            if target in PAGES and target not in reached:
                reached.add(target)
                waiting.append(target)
    assert reached == set(PAGES)


def local_links(name: str) -> list[str]:
    """Return the files that a page links to, by their paths from the root."""
    targets = (target.partition("#")[0] for target in markdown.links(page(name)) if "://" not in target)
    return [resolved(name, target) for target in targets]


def resolved(name: str, target: str) -> str:
    """Return a link's file as a path from the root; a directory means its README.md, nothing the page itself."""
    path = (ROOT / name).parent / target if target else ROOT / name
    return os.path.relpath(path / "README.md" if path.is_dir() and (path / "README.md").exists() else path, ROOT)


def dead_links(name: str, text: str) -> list[str]:
    """Return the links of a page whose file or anchor does not exist."""
    dead = []
    for target in markdown.links(text):
        file, _, anchor = target.partition("#")
        other = resolved(name, file)
        if "://" not in target and not leads_somewhere(other, anchor, text if other == name else None):
            dead.append(target)
    return dead


def leads_somewhere(other: str, anchor: str, text: str | None) -> bool:
    """Whether a file exists and has the anchor, if there is one; `text` is the file's where it is not that on disk."""
    if not (ROOT / other).exists():
        return False
    return not anchor or anchor in markdown.anchors(page(other) if text is None else text)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    assert dead_links(name, page(name)) == []


@pytest.mark.parametrize("link", ["nowhere.md", "#nowhere", "lab/README.md#nowhere", "lab/nowhere/"])
def test_a_dead_link_is_found(link: str) -> None:
    assert dead_links("README.md", f"{page('README.md')}\n[text]({link})\n") == [link]


def long_sentences(text: str) -> list[str]:
    return [sentence for sentence in markdown.sentences(text) if len(sentence.split()) > SENTENCE_WORDS]


@pytest.mark.parametrize("name", PAGES)
def test_no_sentence_is_long(name: str) -> None:
    assert long_sentences(page(name)) == []


@pytest.mark.parametrize("frame", ["{}\n", "- {}\n", "| a |\n| --- |\n| {} |\n", "A sentence before it.\n{}\n"])
def test_a_long_sentence_is_found(frame: str) -> None:
    words = " ".join(["word"] * SENTENCE_WORDS)
    assert long_sentences(frame.format(f"{words}.")) == []
    assert long_sentences(frame.format(f"{words} more.")) == [f"{words} more."]


@pytest.mark.parametrize("name", PAGES)
def test_lines_of_prose_fit(name: str) -> None:
    wide = [line for line in page(name).splitlines() if len(line) > 120]
    assert [line for line in wide if not line.startswith(("|", "    "))] == []


def named_files(text: str) -> set[str]:
    """Return the paths in backticks that begin with a folder of the repository; capitals and <> are placeholders."""
    named = re.findall(r"`((?:lab|images|topologies|guest_tests|tests)/[\w./+-]+)`", text)
    return {name for name in named if not re.search(r"NAME|VERSION", name)}


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_is_named_exists(name: str) -> None:
    assert [file for file in named_files(page(name)) if not (ROOT / file).exists()] == []


def test_files_are_named() -> None:
    assert named_files("`lab/cli.py`, `lab/arch/NAME.py`, `tests/nowhere`") == {"lab/cli.py", "tests/nowhere"}
    assert len(set().union(*(named_files(page(name)) for name in PAGES))) > 40


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_that_is_named_exists(name: str) -> None:
    prose = re.findall(r"`make ([a-z][a-z-]*)", page(name))
    typed = re.findall(r"^ *(?:- run: )?make ([a-z][a-z-]*)", "\n".join(markdown.code_blocks(page(name))), re.MULTILINE)
    assert [target for target in (*prose, *typed) if target not in [*make_targets(), "autotools"]] == []


# Promises of SECURITY.md.


def named_evidence(make_target: str) -> list[str]:
    """Return what SECURITY.md names after one make target, in parentheses."""
    named = re.findall(rf"`make {make_target}`:([^;)]*)", " ".join(page("SECURITY.md").split()))
    return [span for spans in named for span in markdown.code_spans(spans)]


def test_the_tests_of_promises_exist() -> None:
    source = (ROOT / "tests/integration/test_security.py").read_text("utf-8")
    named = re.findall(r"`(test_\w+)`", page("SECURITY.md"))
    assert named
    assert [name for name in named if f"def {name}(" not in source] == []


def test_the_faults_of_promises_exist() -> None:
    known = [fault.name for faults in SIDES.values() for fault in faults]
    assert len(named_evidence("faults")) > 20
    assert [name for name in named_evidence("faults") if not fnmatch.filter(known, name)] == []


def test_the_fuzz_targets_of_promises_exist() -> None:
    assert set(named_evidence("fuzz")) <= set(TARGETS)


# Commands.


def typed_lines(text: str) -> list[str]:
    """Return the command lines of a page's code, continued lines joined."""
    lines = []
    for block in markdown.code_blocks(text):
        joined = re.sub(r" \\\n\s*", " ", block)
        lines += [line.removeprefix("$ ") for line in joined.splitlines() if re.match(r"(\$ )?lab [a-z]", line)]
    return lines


def asked_for(text: str) -> list[str]:
    """Return the commands in the table `What do you want to do?`; some of its cells have several."""
    cells = markdown.column(text, "What do you want to do?", "I type")
    return [span for cell in cells for span in markdown.code_spans(cell) if span.startswith("lab ")]


def commands(line: str) -> list[list[str]]:
    """Return the words after each `lab` of a line: comments, pipes and redirections end a command."""
    found: list[list[str]] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    reading = False
    for word in lexer:
        if word == "lab" and not reading:
            found.append([])
            reading = True
        elif set(word) <= set("|&;<>"):
            reading = False
        elif reading:
            found[-1].append(word)
    return found


TYPED = [(name, line) for name in PAGES for line in typed_lines(page(name))]


@pytest.mark.parametrize(("name", "line"), [*TYPED, *(("README.md", line) for line in asked_for(page("README.md")))])
def test_a_command_is_what_its_verb_takes(name: str, line: str) -> None:
    found = commands(line)
    assert found
    for verb, *args in found:
        if args or verb not in ("shell", "exec", "console", "gdb"):
            with click.Context(main, info_name="lab") as parent:
                main.commands[verb].make_context(verb, args, parent=parent)


def test_commands_are_found() -> None:
    assert commands("lab a 'b c' -- d | lab e > f  # lab g") == [["a", "b c", "--", "d"], ["e"]]
    assert len(TYPED) > 40


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the files that commands name, and a home."""
    run = evidence.write(tmp_path / "results", evidence.evidence())
    (tmp_path / "results/20260102T030405Z-quick").symlink_to(run.path.name)
    for name, golden in (
        ("machine.txt", "altra-64k.txt"),
        ("lscpu.json", "xeon-4node/lscpu.json"),
        ("numactl.txt", "xeon-4node/numactl.txt"),
        ("cmdline.txt", "xeon-4node/cmdline.txt"),
    ):
        (tmp_path / name).write_bytes((CAPTURES / golden).read_bytes())
    (tmp_path / "home").mkdir()
    return tmp_path


WITHOUT_A_GUEST = [
    command for _, line in TYPED for command in commands(line) if command[0] in WITHOUT_GUESTS - {"doctor", "plan"}
]
"""What takes no guest; `lab doctor` and `lab plan` depend on the host, and the examples of their help run them."""


@pytest.mark.parametrize("command", WITHOUT_A_GUEST, ids=" ".join)
def test_a_command_without_a_guest_works(place: Path, command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lab", *command],
        cwd=place,
        env={**os.environ, "HOME": str(place / "home"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout or done.stderr


# Samples.


def sample(name: str, title: str, start: str) -> str:
    """Return the block of a section that begins with a word."""
    (found,) = (block for block in markdown.code_blocks(markdown.section(page(name), title)) if block.startswith(start))
    return found


def test_the_sample_topology_is_one(tmp_path: Path) -> None:
    path = tmp_path / "sample.yaml"
    path.write_text(sample(TOPOLOGIES, "A topology", "description:"))
    assert load.read(path).build(Topology).hugepages == {2 << 20: 16}


def test_the_sample_campaign_is_one(tmp_path: Path) -> None:
    path = tmp_path / "sample.yaml"
    path.write_text(sample(TOPOLOGIES, "A campaign", "description:"))
    assert load.read(path).build(CampaignSpec).isolation == "shared"


def test_the_sample_kernels_are_some(tmp_path: Path) -> None:
    fix, base, _ = sample(IMAGES, "A kernel", "# my-fix.yaml").split("\n\n")
    for name, text in (("my-fix", fix), ("my-base", base)):
        (tmp_path / f"{name}.yaml").write_text(text)
    assert load.read(tmp_path / "my-fix.yaml").build(Kernel).provides == {"shm-expand"}
    assert load.read(tmp_path / "my-base.yaml").build(Kernel).baseline


def test_the_sample_settings_are_some(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(sample("lab/verbs/README.md", "Settings", "# ~/.config"))
    assert load.read(path).build(Settings).defaults["run"] == {"jobs": 2, "memory": "8G"}


@pytest.mark.parametrize(
    ("start", "job", "steps"),
    [("name: lab", ("jobs", "quick"), "steps"), ("lab:\n", ("lab",), "script")],
    ids=["github", "gitlab"],
)
def test_the_sample_of_a_ci_runs_a_make_target(start: str, job: tuple[str, ...], steps: str) -> None:
    found = yaml.safe_load(sample("lab/verbs/README.md", "CI", start))
    for key in job:
        found = found[key]
    lines = [step if isinstance(step, str) else step.get("run", "") for step in found[steps]]
    assert "make run ARGS='-o out'" in lines


def c_programs() -> dict[str, str]:
    """Return the C files that are written out in full, by the names that they have there."""
    blocks = [block for name in PAGES for block in markdown.code_blocks(page(name)) if block.startswith("/* ")]
    return {block.split()[1].removesuffix(".c"): c_part(block) for block in blocks}


def c_part(block: str) -> str:
    """Return a block up to the end of its table of cases: commands may follow."""
    head, table, rest = block.partition("LAB_CASES(\n")
    cases, end, _ = rest.partition("\n)\n")
    return head + table + cases + end


@pytest.mark.parametrize("name", c_programs())
def test_a_program_in_the_pages_is_a_scenario(name: str, tmp_path: Path) -> None:
    source = tmp_path / f"{name}.c"
    source.write_text(c_programs()[name])
    ((case,),) = programs.cases([source], Cache(tmp_path / "cache")).values()
    assert case.description


def test_there_are_such_programs() -> None:
    assert set(c_programs()) == {"grown", "placed"}
