# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.source: every kind of source becomes a pristine tree, keyed by content; the user's own is never touched."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.build import debian, source
from lab.build.debian import PackageVersion
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import InfraError, InputError, UsageError
from lab.core.progress import Progress
from tests.unit.toy import FAKELINUX, Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy.make(tmp_path)


def git(toy: Toy, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    return proc.run(["git", *who, "-C", str(toy.tree), *words]).output.strip()


@pytest.fixture
def repository(toy: Toy) -> Toy:
    (toy.tree / ".gitignore").write_text("*.o\n.config\n")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"], ["tag", "v6.12.7"]):
        git(toy, *words)
    return toy


def content(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and ".git" not in path.parts)
    return {str(path.relative_to(directory)): path.read_text() for path in files}


def resolved(spec: str, toy: Toy) -> tuple[source.Source, Path]:
    found = source.resolve(spec, cache=toy.cache)
    assert source.identify(spec, toy.cache) == found
    return found, source.tree(found.key, toy.cache)


def test_a_held_tree_is_looked_at_once(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []
    look = source._identity

    def counted(directory: Path, cache: Cache) -> tuple[str, Callable[[], list[str]]]:
        looks.append(directory)
        return look(directory, cache)

    monkeypatch.setattr(source, "_identity", counted)
    spec = f"path:{toy.tree}"
    with source.held():
        with source.held():
            first = source.identify(spec, toy.cache)
        assert source.identify(spec, toy.cache) == first
        assert len(looks) == 1
        (toy.tree / "mm/new.c").write_text("int n;\n")
        assert source.identify(spec, toy.cache) == first, "a run is about one state"
        with pytest.raises(InfraError, match="changed while it was being copied"):
            source.resolve(spec, cache=toy.cache)
    assert source.identify(spec, toy.cache) != first
    assert source.resolve(spec, cache=toy.cache).key


def test_a_look_ahead_serves_who_asks_next(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []
    may_look = threading.Event()
    look = source._identity

    def slow(directory: Path, cache: Cache) -> tuple[str, Callable[[], list[str]]]:
        looks.append(directory)
        assert may_look.wait(10)
        return look(directory, cache)

    monkeypatch.setattr(source, "_identity", slow)
    with source.held():
        source.look_ahead(f"path:{toy.tree}", toy.cache)
        source.look_ahead("debian:linux-source-6.12", toy.cache)  # which no look at this host tells
        source.look_ahead(f"path:{toy.tree}/no-such", toy.cache)  # the one who asks gets the error
        may_look.set()
        found = source.resolve(f"path:{toy.tree}", cache=toy.cache)
        assert source.identify(f"path:{toy.tree}", toy.cache) == found
    assert looks.count(toy.tree) == 2, "by the look ahead, and after the copy; nobody else looked"


def test_odd_names_and_links_are_part_of_a_tree(toy: Toy) -> None:
    for name in ("new\nline", "two//", "tab\t", "umlaut-\u00fc", "include/config.h", "mm/vmlinux.lds", ".gitignore"):
        (toy.tree / name).parent.mkdir(exist_ok=True)
        (toy.tree / name).write_text(name)
    Path(os.fsdecode(os.fsencode(toy.tree) + b"/latin-\xfc")).write_text("x")
    (toy.tree / "nowhere").symlink_to("no/such/file")
    (toy.tree / "mm/built.o").mkdir()
    (toy.tree / "mm/built.o/inside").write_text("left out")
    first, tree = resolved(f"path:{toy.tree}", toy)
    names = {str(path.relative_to(tree)) for path in tree.rglob("*") if not path.is_dir()}
    wanted = {str(path.relative_to(toy.tree)) for path in toy.tree.rglob("*") if not path.is_dir()}
    assert names == wanted - {"mm/built.o/inside"}
    (toy.tree / "nowhere").unlink()
    (toy.tree / "nowhere").symlink_to("elsewhere")
    assert resolved(f"path:{toy.tree}", toy)[0].key != first.key


def test_a_tree_that_find_cannot_read_is_an_error(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = toy.tree.parent / "programs"
    programs.mkdir()
    (programs / "find").write_text(
        "#!/bin/sh\nprintf 'a//1 2 3 4 f\\0'; echo \"find: './mm': Permission denied\" >&2; exit 1\n"
    )
    (programs / "find").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(InputError, match=r"can be read: find: exit status 1: find: '\./mm': Permission denied"):
        source.identify(f"path:{toy.tree}", toy.cache)


def test_version_of_makefiles() -> None:
    head = "# comment\nVERSION = 7\nPATCHLEVEL = 2\nSUBLEVEL = 0\n"
    assert source.kernel_version(f"{head}EXTRAVERSION = -rc3\n", "x") == "7.2.0-rc3"
    assert source.kernel_version("VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL =\nEXTRAVERSION =\n", "x") == "6.12"
    with pytest.raises(InputError, match="expected a kernel tree"):
        source.kernel_version("all:\n\techo\n", "x")


def test_path_is_copied_without_what_a_build_left(toy: Toy) -> None:
    for name in ("mm/shmem.o", ".config", "include/generated/x.h", "vmlinux"):
        (toy.tree / name).parent.mkdir(exist_ok=True)
        (toy.tree / name).write_text("built")
    (toy.tree / "link").symlink_to("mm/shmem.c")
    before = content(toy.tree)
    found, tree = resolved(f"path:{toy.tree}", toy)
    assert found.version == "6.12.7"
    assert content(tree) == {**content(FAKELINUX), "link": toy.read("mm/shmem.c")}
    assert (tree / "link").is_symlink()
    assert content(toy.tree) == before


def test_path_changes_its_key_with_its_content(toy: Toy) -> None:
    spec = f"path:{toy.tree}"
    first, _ = resolved(spec, toy)
    (toy.tree / "mm/shmem.c").write_text("changed\n")
    second, tree = resolved(spec, toy)
    assert first.key != second.key
    assert (tree / "mm/shmem.c").read_text() == "changed\n"
    (toy.tree / "mm/shmem.c").write_text((FAKELINUX / "mm/shmem.c").read_text())
    assert resolved(spec, toy)[0].sha256 == first.sha256


def test_later_copy_of_a_path_shares_what_did_not_change(toy: Toy) -> None:
    _, old = resolved(f"path:{toy.tree}", toy)
    (toy.tree / "mm/shmem.c").write_text("changed\n")
    (toy.tree / "mm/swap.c").unlink()
    (toy.tree / "lib").mkdir()
    (toy.tree / "lib/new.c").write_text("new\n")
    (toy.tree / "scripts/conf.py").chmod(0o755)
    _, new = resolved(f"path:{toy.tree}", toy)
    assert content(new) == content(toy.tree)
    assert (new / "Makefile").samefile(old / "Makefile")
    assert source.changed(old, new) == {"mm/shmem.c", "mm/swap.c", "lib/new.c", "scripts/conf.py"}
    assert source.changed(old, old) == set()


@pytest.mark.parametrize("target", ["mm", "kernel"])
def test_change_of_more_than_files_is_told(toy: Toy, target: str) -> None:
    (toy.tree / "link").symlink_to("mm")
    _, old = resolved(f"path:{toy.tree}", toy)
    (toy.tree / "link").unlink()
    if target == "mm":
        (toy.tree / "link").write_text("a file now")
    else:
        (toy.tree / "link").symlink_to(target)
    _, new = resolved(f"path:{toy.tree}", toy)
    assert source.changed(old, new) is None


def test_path_of_a_git_work_tree_takes_what_is_not_committed(repository: Toy) -> None:
    spec = f"path:{repository.tree}"
    clean, _ = resolved(spec, repository)
    (repository.tree / "mm/shmem.c").write_text("dirty\n")
    (repository.tree / "mm/new.c").write_text("new\n")
    (repository.tree / "mm/ignored.o").write_text("built\n")
    (repository.tree / "mm/swap.c").unlink()
    status = git(repository, "status", "--porcelain")
    index = (repository.tree / ".git/index").read_bytes()
    dirty, tree = resolved(spec, repository)
    assert dirty.key != clean.key
    assert (tree / "mm/shmem.c").read_text() == "dirty\n"
    assert (tree / "mm/new.c").exists()
    assert not any((tree / name).exists() for name in ("mm/ignored.o", "mm/swap.c", ".git"))
    assert (repository.tree / ".git/index").read_bytes() == index
    assert git(repository, "status", "--porcelain") == status


def test_git_revision_is_what_was_committed(repository: Toy) -> None:
    (repository.tree / "mm/shmem.c").write_text("dirty\n")
    by_tag, tree = resolved(f"git:{repository.tree}@v6.12.7", repository)
    by_branch, _ = resolved(f"git:{repository.tree}@main", repository)
    assert by_tag.key == by_branch.key
    assert by_tag.origin == git(repository, "rev-parse", "main")
    assert (tree / "mm/shmem.c").read_text() == (FAKELINUX / "mm/shmem.c").read_text()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("git:{tree}@v6.12.8", r"no such revision; did you mean 'v6\.12\.7'\?"),
        ("git:{tree}@--help", "no such revision"),
        ("git:{tree}x@main", "no such directory: .*linuxx"),
        ("git:{root}@main", "is no git repository"),
        ("path:{root}/linus", "linus: source: no such directory; did you mean 'linux'"),
        ("path:{root}", "expected a kernel tree: no Makefile"),
        ("tarball:{root}/linux.tar", "linux.tar: source: no such tarball"),
        ("svn:x", "expected debian:PACKAGE, path:DIR"),
    ],
)
def test_what_is_not_there_is_the_users_error(repository: Toy, spec: str, why: str) -> None:
    spec = spec.format(tree=repository.tree, root=repository.root)
    for look in (lambda: source.identify(spec, repository.cache), lambda: resolved(spec, repository)):
        with pytest.raises(UsageError, match=why):
            look()


@pytest.mark.parametrize(("name", "option"), [("x.tar", "-c"), ("x.tar.xz", "-cJ"), ("x.tgz", "-cz")])
@pytest.mark.parametrize("top", ["linux", "."])
def test_tarball_with_and_without_a_top_directory(toy: Toy, name: str, option: str, top: str) -> None:
    tarball = toy.root / name
    inside, what = (toy.root, "linux") if top == "linux" else (toy.tree, ".")
    proc.run(["tar", option, "-f", str(tarball), "-C", str(inside), what])
    assert source.identify(f"tarball:{tarball}", toy.cache) is None
    found, tree = resolved(f"tarball:{tarball}", toy)
    assert content(tree) == content(FAKELINUX)
    shutil.rmtree(toy.cache.path(source.ENTRY, found.key))
    assert source.identify(f"tarball:{tarball}", toy.cache) == found, "known without unpacking it again"


def test_what_is_no_tarball_or_holds_no_kernel(toy: Toy) -> None:
    (toy.root / "x.tar").write_text("no archive")
    with pytest.raises(InputError, match=r"x\.tar: expected an archive that tar can unpack"):
        source.resolve(f"tarball:{toy.root}/x.tar", cache=toy.cache)
    proc.run(["tar", "-cf", str(toy.root / "y.tar"), "-C", str(toy.tree), "mm", "init"])
    with pytest.raises(InputError, match="no Makefile at its top"):
        source.resolve(f"tarball:{toy.root}/y.tar", cache=toy.cache)
    assert not list(toy.root.glob("cache/source/*"))


def test_tree_that_changes_while_it_is_copied(toy: Toy) -> None:
    def progress(detail: str, *, done: float | None = None) -> None:
        (toy.tree / "mm/late.c").write_text("late")

    with pytest.raises(InfraError, match="changed while it was being copied"):
        source.resolve(f"path:{toy.tree}", cache=toy.cache, progress=progress)


def test_debian_package_is_fetched_once(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = []

    def fetch(package: str, dest: Path, *, cache: Cache, progress: Progress) -> Path:
        fetched.append(package)
        (dest / "usr/src").mkdir(parents=True)
        proc.run(["tar", "-cJf", str(dest / f"usr/src/{package}.tar.xz"), "-C", str(toy.root), "linux"])
        return dest

    def found(package: str, cache: Cache) -> PackageVersion:
        return PackageVersion(package=package, version="6.12.7-1~bpo12+1", suite="bookworm-backports")

    monkeypatch.setattr(debian, "fetch_binary", fetch)
    monkeypatch.setattr(debian, "find_binary", found)
    spec = "debian:linux-source-6.12"
    assert source.identify(spec, toy.cache) is None
    first, tree = resolved(spec, toy)
    assert content(tree) == content(FAKELINUX)
    assert (first.version, first.origin) == ("6.12.7", "linux-source-6.12 6.12.7-1~bpo12+1")
    assert resolved(spec, toy)[0] == first
    assert fetched == ["linux-source-6.12"]
