# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/host/programs.py: who needs a program is refused before it starts, with the command that installs it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.cli import main
from lab.core.errors import InfraError
from lab.host import programs
from lab.host.doctor import Host, Status

ROOT = Path(__file__).parents[3]


def host_without(*missing: str) -> Host:
    def which(name: str) -> str | None:
        return None if name in missing else f"/usr/bin/{name}"

    return Host(uid=1000, which=which)


@pytest.mark.parametrize("what", programs.NEEDS)
def test_a_missing_program_is_one_line_with_the_command_that_installs_it(what: str) -> None:
    program = programs.NEEDS[what][-1]
    with pytest.raises(InfraError) as caught:
        programs.require(what, host=host_without(program))
    package = programs.PACKAGES[program]
    command = f"sudo apt-get install --no-install-recommends {package}"
    assert str(caught.value) == f"{what.strip()} needs {program}, which is not installed ({command})"
    programs.require(what, host=host_without())


def test_doctor_warns_of_each_and_of_nothing_else() -> None:
    found = {check.name: check for check in programs.checks(host_without("rsync"))}
    lacking = {name for name, check in found.items() if check.status is Status.WARN}
    assert lacking == {"--suite kselftest", "make examples"}
    assert all(check.ok for check in found.values())
    assert found["--suite kselftest"].fix.endswith(" rsync")
    assert found["lab gdb"].line() == "ok   lab gdb: gdb-multiarch"


def test_suites_are_asked_for_by_their_words() -> None:
    programs.require_suites(["ltp:/srv/ltp:mm"], host_without("rsync"))
    with pytest.raises(InfraError, match="--suite kselftest needs rsync"):
        programs.require_suites(["ltp:/srv/ltp:mm", "kselftest-mm"], host_without("rsync"))


@pytest.mark.parametrize(
    ("command", "packages"),
    [
        ("make browser", ("chromium",)),
        ("--suite kselftest-mm -j 2", ("rsync",)),
        ("--suite=kselftest-mm", ("rsync",)),
        ("--repeat 2 --suite ltp:~/ltp:mm", ("make",)),
        ("--test 'expand.*'", ()),
        ("--test 'unbalanced", ()),
        ("", ()),
    ],
)
def test_the_set_up_asks_for_what_a_command_needs(command: str, packages: tuple[str, ...]) -> None:
    assert programs.packages_for(command) == packages


def test_every_program_has_a_package_and_every_need_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for what, needed in programs.NEEDS.items():
        assert set(needed) <= set(programs.PACKAGES)
        kind, _, name = what.partition(" ")
        assert kind != "make" or re.search(rf"^{name}:", makefile, re.MULTILINE), what
        assert kind != "lab" or name in main.commands, what
