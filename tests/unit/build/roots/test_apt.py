# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/roots/apt.py: what is downloaded when files of a suite are gone from its mirror, and misspelt names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from lab.build.debian import AptState
from lab.build.roots import apt as apt_module
from lab.build.roots.apt import AptRoot
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import InfraError, UsageError
from lab.core.progress import silent
from lab.specs.arches import ARCHES

GONE = "E: Failed to fetch http://mirror/pool/updates/l/libc6_2_arm64.deb  404  Not Found"


class FakeApt:
    """A release whose updates fail with `error`, after one package; `target` says whether the release itself works."""

    def __init__(self, directory: Path, error: str, *, target: bool = True) -> None:
        self.directory, self.error, self.target = directory, error, target

    def apt(self, program: str, *words: str, timeout_s: float = 0.0) -> proc.Completed:
        if program == "apt-cache":
            return proc.Completed(argv=(), status=0, output=" tool | 2 | http://mirror old/main arm64 Packages")
        into = Path(next(word for word in words if word.startswith("Dir::Cache::archives=")).partition("=")[2])
        updates = "--target-release" not in words
        (into / f"tool_{2 if updates else 1}_arm64.deb").write_bytes(b"")
        if updates or not self.target:
            raise proc.ProcError(["apt-get"], "status 100", output=self.error)
        return proc.Completed(argv=(), status=0, output="")


def release(tmp_path: Path, apt: FakeApt) -> AptRoot:
    return AptRoot(state=cast(AptState, apt), release="old", architecture="arm64", cache=Cache(tmp_path / "cache"))


def test_a_release_without_its_updates_where_their_files_are_gone(tmp_path: Path) -> None:
    notes = release(tmp_path, FakeApt(tmp_path / "apt", GONE)).download(["tool"], tmp_path / "debs", silent)
    assert [path.name for path in (tmp_path / "debs").glob("*.deb")] == ["tool_1_arm64.deb"]
    assert notes == ["without updates: the mirror lists those of old, but it does not have their files any more"]


@pytest.mark.parametrize(
    ("error", "target"), [("E: Hash Sum mismatch", True), (GONE, False)], ids=["another-error", "gone-as-well"]
)
def test_any_other_failure_ends_the_download(tmp_path: Path, error: str, target: bool) -> None:
    with pytest.raises(InfraError, match="tool of old for arm64 could not be downloaded: "):
        release(tmp_path, FakeApt(tmp_path / "apt", error, target=target)).download(["tool"], tmp_path / "debs", silent)


class Names:
    """A release with some packages, of which `mail` is a virtual one."""

    def apt(self, program: str, *words: str) -> proc.Completed:
        assert (program, words[0]) == ("apt-cache", "pkgnames")
        return proc.Completed(argv=(), status=0, output="redis-server\nredis-tools\nmail\n")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("redis-servr", "old has no package redis-servr for arm64; did you mean 'redis-server'?"),
        ("mail", "old has no package mail for arm64: it is a virtual one, which others provide"),
        ("zzz", "old has no package zzz for arm64"),
    ],
)
def test_a_package_that_a_release_lacks_is_told_with_the_nearest_name(tmp_path: Path, name: str, says: str) -> None:
    root = AptRoot(state=cast(AptState, Names()), release="old", architecture="arm64", cache=Cache(tmp_path))
    assert root.no_package(name) == says


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("bookwrm", "; did you mean 'bookworm'? (choices: bookworm, trixie)"),
        ("Trixie", "; did you mean 'trixie'?"),
        ("trixie-backports", "; did you mean 'trixie'?"),
        ("noble", "; an image or a tar has one of another distribution"),
        ("stable", ": it means another one from year to year"),
        ("12", ": releases are called by their code names"),
        ("../x", "; an image or a tar has one of another distribution (choices: bookworm, trixie)"),
    ],
)
def test_a_word_that_is_no_release_is_told_with_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, says: str
) -> None:
    suites = [SimpleNamespace(name=name) for name in ("bookworm", "bookworm-updates", "trixie", "trixie-backports")]
    monkeypatch.setattr(apt_module, "_suites", lambda: suites)
    with pytest.raises(UsageError) as caught:
        apt_module.open_release(word, ARCHES["arm64"], Cache(tmp_path))
    assert f"{word!r} is no release on the mirrors of the host's apt sources{says}" in str(caught.value)
