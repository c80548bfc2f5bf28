# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/host/programs.py: who needs a program is refused before it starts, with the command that installs it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args, get_type_hints

import click
import pytest

from lab.cli import VERBS, main
from lab.core import proc
from lab.core.errors import InfraError
from lab.host import programs
from lab.host.doctor import Host, Status
from lab.host.needs import ALTERNATIVES, LAB, MAKE, NEEDS, PACKAGES, SET_UP, SUITE
from lab.specs.suite import Suite
from tests.examples import WITH_GUESTS, WITHOUT_GUESTS, Example, examples

ROOT = Path(__file__).parents[3]
KSELFTEST = ("rsync", "apt", "dpkg-dev", "make", "gcc")
WITH_PROGRAMS = {what: needed for what, needed in NEEDS.items() if needed}


def host_without(*missing: str) -> Host:
    def which(name: str) -> str | None:
        return None if name in missing else f"/usr/bin/{name}"

    def header(_root: Path, name: str) -> Path | None:
        return None if name in missing else Path("/usr/include", name)

    return Host(uid=1000, which=which, header=header)


@pytest.mark.parametrize("what", WITH_PROGRAMS)
def test_a_missing_program_is_one_line_with_the_command_that_installs_it(what: str) -> None:
    program = NEEDS[what][-1]
    with pytest.raises(InfraError) as caught:
        programs.require(what, host=host_without(program))
    package = PACKAGES[program]
    command = f"sudo apt-get install --no-install-recommends {package}"
    assert str(caught.value) == f"{what.strip()} needs {program}, which is not installed ({command})"
    programs.require(what, host=host_without())


def test_another_program_may_do_the_same() -> None:
    programs.require("lab gdb", host=host_without("gdb-multiarch"))
    with pytest.raises(InfraError, match="lab gdb needs gdb-multiarch, which is not installed"):
        programs.require("lab gdb", host=host_without("gdb-multiarch", *ALTERNATIVES["gdb-multiarch"]))


def test_doctor_warns_of_each_and_of_nothing_else() -> None:
    found = {check.name: check for check in programs.checks(host_without("rsync"))}
    lacking = {name for name, check in found.items() if check.status is Status.WARN}
    assert lacking == {"--suite kselftest", "make examples"}
    assert all(check.ok for check in found.values())
    assert found["--suite kselftest"].fix.endswith(" rsync")
    assert found["make browser"].line() == "ok   make browser: chromium"
    named = ", ".join(found).split(", ")
    assert sorted(named) == sorted(WITH_PROGRAMS), "what needs the same programs shares a line"


def test_suites_are_asked_for_by_their_words() -> None:
    programs.require_suites(["ltp:/srv/ltp:mm"], host_without("rsync"))
    with pytest.raises(InfraError, match="--suite kselftest needs rsync"):
        programs.require_suites(["ltp:/srv/ltp:mm", "kselftest-mm"], host_without("rsync"))


@pytest.mark.parametrize(
    ("command", "packages"),
    [
        ("make browser", ("chromium",)),
        ("--suite kselftest-mm -j 2", KSELFTEST),
        ("--suite=kselftest-mm", KSELFTEST),
        ("--suite vma", ("make", "liburcu-dev")),
        ("--repeat 2 --suite ltp:~/ltp:mm", ("make",)),
        ("--test 'expand.*'", ()),
        ("--test 'unbalanced", ()),
        ("", ()),
    ],
)
def test_the_set_up_asks_for_what_a_command_needs(command: str, packages: tuple[str, ...]) -> None:
    assert programs.packages_for(command) == packages


def targets() -> set[str]:
    """Return the targets of the Makefile."""
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def kinds(prefix: str) -> set[str]:
    """Return what NEEDS has of one kind, such as verbs, without the kind's prefix."""
    return {what.removeprefix(prefix) for what in NEEDS if what.startswith(prefix)}


def test_every_verb_target_and_kind_of_suite_states_what_it_needs_and_nothing_else_does() -> None:
    assert kinds(LAB) == {verb.name for verb in VERBS}
    assert kinds(MAKE) == targets()
    assert kinds(SUITE) == set(get_args(get_type_hints(Suite)["kind"]))


def test_every_program_has_a_package() -> None:
    for needed in NEEDS.values():
        assert set(needed) <= set(PACKAGES)


def test_the_set_up_is_asked_for_what_the_goals_of_make_need() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert "export NEEDED_BY = $(addprefix make ,$(MAKECMDGOALS)) $(ARGS)\n" in makefile
    for target in targets() - {"help", "clean", "setup", "matrix"}:
        assert re.search(rf"^{target}: setup$", makefile, re.MULTILINE), f"{target} does not run the set-up"


def first_examples() -> list[Example]:
    """Return the first example of every verb that needs programs."""
    first: dict[str, Example] = {}
    for example in examples(WITH_GUESTS | WITHOUT_GUESTS):
        if NEEDS[f"{LAB}{example.verb}"] is not SET_UP:
            first.setdefault(example.verb, example)
    return list(first.values())


@pytest.mark.parametrize("example", first_examples(), ids=lambda example: example.verb)
def test_a_verb_checks_its_programs_before_it_starts_one(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(proc, "_popen", None)  # starting a process would be a TypeError
    verb, *args = example.words
    with click.Context(main, info_name="lab") as parent:
        context = main.commands[verb].make_context(verb, args, parent=parent)
        with pytest.raises(InfraError, match=f"^lab {verb} needs .*apt-get install"):
            context.command.invoke(context)
    assert not list(tmp_path.iterdir())
