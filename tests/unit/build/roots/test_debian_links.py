# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/roots/debian_links.py: a root of packages has the links that installers and maintainer scripts make."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.build.roots import debian_links
from lab.build.roots.tree import RootTree
from tests.unit.fixtures.tars import entry, lay

AWK = """\
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    update-alternatives \\
        --install /usr/bin/awk awk /usr/bin/mawk 5 \\
        --slave /usr/bin/nawk nawk /usr/bin/mawk \\
        --slave /usr/share/man/man1/awk.1.gz awk.1.gz /usr/share/man/man1/mawk.1.gz
fi
"""


@pytest.fixture
def packages(tmp_path: Path) -> Iterator[RootTree]:
    """A tree before its first package."""
    with (tmp_path / "spool").open("w+b") as spool:
        tree = RootTree(spool=spool, what="--root debian:x")
        debian_links.merge_usr(tree)
        yield tree


def targets(tree: RootTree) -> dict[str, str]:
    """Return name -> target of every link."""
    return {name: node.target for name, node in tree.nodes.items() if node.is_link}


def test_packages_are_laid_into_a_merged_usr(packages: RootTree) -> None:
    lay(packages, entry("./bin", kind=tarfile.DIRTYPE), entry("./bin/cat", b"x"), entry("./usr/bin/env", b"x"))
    debian_links.complete(packages, [])
    assert {name for name, node in packages.nodes.items() if not node.is_directory} == {
        "bin",
        "usr/bin/cat",
        "usr/bin/env",
    }
    assert targets(packages) == {"bin": "usr/bin"}, "lib and the others lead to nothing here"


def test_sh_is_dash_where_no_package_ships_it(packages: RootTree) -> None:
    lay(packages, entry("bin/bash", b"x"), entry("bin/dash", b"x"))
    debian_links.complete(packages, [])
    assert targets(packages)["usr/bin/sh"] == "dash"


def test_a_package_that_ships_sh_keeps_it(packages: RootTree) -> None:
    lay(packages, entry("bin/dash", b"x"), entry("usr/bin/sh", kind=tarfile.SYMTYPE, link="bash"))
    debian_links.complete(packages, [])
    assert targets(packages)["usr/bin/sh"] == "bash"


def test_an_alternative_and_those_of_its_slaves_that_exist(packages: RootTree) -> None:
    lay(packages, entry("usr/bin/mawk", b"x"))
    debian_links.complete(packages, debian_links.in_script(AWK))
    assert targets(packages) == {"bin": "usr/bin", "usr/bin/awk": "/usr/bin/mawk", "usr/bin/nawk": "/usr/bin/mawk"}


def test_the_highest_priority_that_exists_wins_with_its_slaves_alone(packages: RootTree) -> None:
    gawk = "update-alternatives --install /usr/bin/awk awk /usr/bin/gawk 10\n"
    absent = "update-alternatives --install /usr/bin/awk awk /usr/bin/no-awk 99\n"
    lay(packages, entry("usr/bin/mawk", b"x"), entry("usr/bin/gawk", b"x"))
    debian_links.complete(packages, [*debian_links.in_script(AWK), *debian_links.in_script(gawk + absent)])
    assert targets(packages) == {"bin": "usr/bin", "usr/bin/awk": "/usr/bin/gawk"}


@pytest.mark.parametrize(
    "line",
    [
        "update-alternatives --install /usr/bin/x x /usr/bin/$FLAVOUR 5",
        "update-alternatives --install /usr/bin/x x",
        "update-alternatives --install /usr/bin/x x /usr/bin/y high",
        "update-alternatives --remove x /usr/bin/y",
        "update-alternatives --install '/usr/bin/x x /usr/bin/y 5",
        "# update-alternatives --install /usr/bin/x x /usr/bin/y 5",
        "update-alternatives --install /usr/../../x x /usr/bin/y* 5",
    ],
)
def test_a_call_that_is_not_literal_is_left_out(line: str) -> None:
    assert list(debian_links.in_script(line)) == []
