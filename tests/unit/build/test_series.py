# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.series: the right patches for a version, in order, on top of each other; and the series that the lab ships."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.build import series, source
from lab.core import paths
from lab.core.cache import Cache, default_root
from lab.core.errors import InputError, UsageError
from lab.formats.patches import patch
from lab.formats.patches.patch import Content
from lab.specs.library import Library


def one(old: str, new: str, name: str = "mm/f.c") -> str:
    return f"--- a/{name}\n+++ b/{name}\n@@ -1,2 +1,2 @@\n-{old}\n+{new}\n end\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for version, names in {"6.12": ("0002-b", "0001-a"), "6.1": ("0001-a",), "7.2": ("0001-a",)}.items():
        directory = tmp_path / "grow" / version
        directory.mkdir(parents=True)
        (directory / "notes.txt").write_text("no patch")
        for name in names:
            (directory / f"{name}.patch").write_text(one("0" if name.endswith("a") else "1", name[-6:]))
    return tmp_path


def test_no_series_is_no_patches(root: Path) -> None:
    nothing = series.load(None, "6.12.1", root=root)
    assert (nothing.patches, nothing.sha256, nothing.touched) == ((), "", frozenset())


@pytest.mark.parametrize(("version", "directory"), [("6.12.117", "6.12"), ("6.1", "6.1"), ("7.2.0-rc3", "7.2")])
def test_directory_for_a_version(root: Path, version: str, directory: str) -> None:
    found = series.load("grow", version, root=root)
    assert {each.path.parent.name for each in found.patches} == {directory}
    assert [each.name for each in found.patches] == sorted(each.name for each in found.patches)
    assert found.touched == {"mm/f.c"}


@pytest.mark.parametrize(
    ("version", "directories"),
    [
        ("6.12.117", ["6.12", "6.12"]),
        ("6.12.118", ["6.12", "6.12.118"]),
        ("6.12.121", ["6.12.120", "6.12.118"]),
        ("6.12-rc1", ["6.12", "6.12"]),
    ],
)
def test_a_later_version_has_other_patches(root: Path, version: str, directories: list[str]) -> None:
    for level, name in ((118, "0002-renamed"), (120, "0001-a")):
        (root / f"grow/6.12.{level}").mkdir()
        (root / f"grow/6.12.{level}/{name}.patch").write_text(one("1", str(level)))
    assert [each.path.parent.name for each in series.load("grow", version, root=root).patches] == directories


def test_what_no_later_directory_replaces_stays_in_its_order(root: Path) -> None:
    place = root / "grow/6.12"
    for name in ("fix-1-b", "fix-1-a", "0002-c"):
        (place / f"{name}.patch").write_text(one("1", name))
    order = ["fix-1-b", "0002-b", "0001-a", "fix-1-a", "0002-c"]
    (place / "series").write_text("".join(f"{name}.patch\n" for name in order))
    assert [each.path.stem for each in series.load("grow", "6.12.1", root=root).patches] == order
    (root / "grow/6.12.118").mkdir()
    for name in ("0001-z", "0009-new", "fix-1-a"):
        (root / f"grow/6.12.118/{name}.patch").write_text(one("1", "later"))
    found = [each.path.relative_to(root / "grow") for each in series.load("grow", "6.12.118", root=root).patches]
    assert [str(path.with_suffix("")) for path in found] == [
        "6.12/fix-1-b",
        "6.12/0002-b",
        "6.12.118/0001-z",
        "6.12.118/fix-1-a",
        "6.12/0002-c",
        "6.12.118/0009-new",
    ]


def test_version_without_patches_lists_what_there_is(root: Path) -> None:
    with pytest.raises(
        UsageError, match=r"series grow has no patches for kernel 6\.18\.2 \(there are patches for: 6\.1,"
    ):
        series.load("grow", "6.18.2", root=root)


def test_unknown_series_names_the_nearest(root: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown series 'grwo'; did you mean 'grow'\?"):
        series.load("grwo", "6.12", root=root)


def test_user_paths(root: Path) -> None:
    single = root / "grow/6.12/0001-a.patch"
    assert [each.name for each in series.load(str(single), "9.9", root=Path("/none")).patches] == ["0001-a.patch"]
    assert len(series.load(str(single.parent), "9.9", root=Path("/none")).patches) == 2
    assert len(series.load(str(root / "grow"), "6.1.4", root=Path("/none")).patches) == 1
    with pytest.raises(UsageError, match="no such file or directory"):
        series.load("./none.patch", "6.12", root=root)


def test_a_directory_has_the_order_of_its_numbers(tmp_path: Path) -> None:
    for name in ("1.patch", "2.patch", "10.patch", "._1.patch"):
        (tmp_path / name).write_text(one("0", "1"))
    assert [each.name for each in series.load(f"{tmp_path}/", "6.12.1", root=tmp_path).patches] == [
        "1.patch",
        "2.patch",
        "10.patch",
    ]


def test_a_directory_of_quilts_has_the_order_of_its_series(tmp_path: Path) -> None:
    for name in ("b.patch", "a.patch", "c.patch"):
        (tmp_path / name).write_text(one("0", "1"))
    (tmp_path / "series").write_text("b.patch -p1\n# c.patch\na.patch\n")
    found = series.load(f"{tmp_path}/", "6.12.1", root=tmp_path)
    assert [each.name for each in found.patches] == ["b.patch", "a.patch"]


def test_hash_follows_content_and_order(root: Path) -> None:
    before = series.load("grow", "6.12", root=root).sha256
    (root / "grow/6.12/0002-b.patch").write_text(one("1", "2"))
    assert (
        len({before, series.load("grow", "6.12", root=root).sha256, series.load("grow", "6.1", root=root).sha256}) == 3
    )


def test_malformed_patch_is_named(root: Path) -> None:
    (root / "grow/6.12/0003-c.patch").write_text("--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n a\n")
    with pytest.raises(InputError, match=r"0003-c\.patch:5: malformed patch"):
        series.load("grow", "6.12", root=root)


def test_patches_apply_upon_each_other(root: Path) -> None:
    directory = root / "stack"
    directory.mkdir()
    (directory / "0001-x.patch").write_text(one("0", "1"))
    (directory / "0002-y.patch").write_text(one("1", "2"))
    patches = series.load(str(directory), "6.12", root=root).patches

    def pristine(_: str) -> Content:
        return Content(b"0\nend\n")

    assert series.changed_files(patches, pristine) == {"mm/f.c": Content(b"2\nend\n")}
    with pytest.raises(patch.DoesNotApply, match=r"^0002-y\.patch: mm/f\.c: hunk 1 does not apply: @@ -1,2 \+1,2 @@"):
        series.changed_files(patches[1:], pristine)


def test_a_patch_that_the_tree_has_is_reported_as_applied(root: Path) -> None:
    patches = series.load("grow", "6.12", root=root).patches
    with pytest.raises(patch.AlreadyApplied, match=r"^0002-b\.patch: already applied: the tree has all of it$"):
        series.changed_files(patches[1:], lambda _: Content(b"0002-b\nend\n"))


def test_a_patch_without_end_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected a file with a patch"):
        series.load("/dev/zero", "6.12", root=tmp_path)
    monkeypatch.setattr(series, "MAX_PATCH", 1 << 20)
    (tmp_path / "large.patch").write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(InputError, match="at most 1 MiB"):
        series.load(str(tmp_path / "large.patch"), "6.12", root=tmp_path)


# ---- Several series --------------------------------------------------------------------------------------------------


def test_several_series_follow_each_other(root: Path) -> None:
    other = root / "other/6.12"
    other.mkdir(parents=True)
    (other / "0001-z.patch").write_text(one("2", "3"))
    both = series.load("grow + other", "6.12.1", root=root)
    assert [each.name for each in both.patches] == ["0001-a.patch", "0002-b.patch", "0001-z.patch"]
    assert both.name == "grow + other"
    assert both.sha256 != series.load("other + grow", "6.12.1", root=root).sha256
    with pytest.raises(UsageError, match="unknown series 'none'"):
        series.load("grow + none", "6.12.1", root=root)
    with pytest.raises(UsageError, match=r"series other has no patches for kernel 6\.1\.4"):
        series.load("grow + other", "6.1.4", root=root)


# ---- What the lab ships ----------------------------------------------------------------------------------------------

HOST = default_root()
"""The user's own cache: tests have an empty one, and a kernel is too large to fetch for them."""
SHIPPED = sorted((paths.images() / "series").glob("*/*/*.patch"))
PARTS = ("Documentation/", "arch/", "drivers/", "fs/", "include/", "mm/", "tools/testing/selftests/mm/")
"""The parts of the kernel that patches of the lab may change."""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: "/".join(path.parts[-3:]))
def test_shipped_patches_are_fit_to_be_sent(path: Path) -> None:
    head, _, change = path.read_text().partition("\n---\n")
    number = int(path.name[:4])
    several = len(list(_whole(path.parent).iterdir())) > 1
    assert re.search(rf"^Subject: \[PATCH{f' {number}/[0-9]+' if several else ''}\] [A-Za-z/]+: ", head, re.MULTILINE)
    claim = r"^(Tested|Compiled) "
    assert re.search(claim, head, re.MULTILINE) or not re.search(r"^\+\+\+ b/(?!Documentation/)", change, re.MULTILINE)
    assert re.search(r"^Signed-off-by: .+ <.+@.+>$", head.splitlines()[-1])
    assert not re.search(r"[ \t]$", head, re.MULTILINE)
    assert change.lstrip().startswith(PARTS)


def _whole(directory: Path) -> Path:
    """Return the directory with all patches of a series: 6.12 for 6.12.118, which has what is another one there."""
    return directory.with_name(".".join(directory.name.split(".")[:2]))


@pytest.mark.parametrize("path", sorted({path.parent for path in SHIPPED}), ids=lambda path: "/".join(path.parts[-2:]))
def test_shipped_series_are_numbered_without_a_gap(path: Path) -> None:
    numbers = [int(each.name[:4]) for each in sorted(path.iterdir())]
    expected = list(range(1, 1 + len(list(_whole(path).iterdir()))))
    assert numbers == expected if path == _whole(path) else set(numbers) <= set(expected)


@pytest.mark.parametrize("name", Library.shipped().kernels())
def test_shipped_kernels_have_series_that_apply(name: str) -> None:
    """Each patch upon the one before, every line of context as it is; where this host has the source in its cache."""
    kernel = Library.shipped().kernel(name)
    cache = Cache(HOST)
    found = source.identify(kernel.source, cache)
    if found is None:
        pytest.skip(f"{kernel.source} is not in the cache")
    tree = source.tree(found.key, cache)

    def pristine(path: str) -> Content | None:
        return Content((tree / path).read_bytes()) if (tree / path).is_file() else None

    patches = series.load(kernel.series, found.version, root=paths.images() / "series").patches
    for count in range(1, 1 + len(patches)):
        assert series.changed_files(patches[:count], pristine)
