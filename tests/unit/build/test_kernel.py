# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.kernel and lab.worktree on the toy tree: pairs, faults of every owner, and deaths at bad moments."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab.build import kernel, toolchain, worktree
from lab.build.kernel import BuiltKernel
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import BuildError, InfraError, InputError, UsageError
from lab.formats import kconfig
from lab.formats.patches import patch
from lab.formats.patches.patch import Content
from lab.specs.arches import ARCHES
from lab.specs.model import Topology
from tests.unit.toy import GROW, Toy, diff, topology

ROOT = Path(__file__).parents[3]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    made = Toy.make(tmp_path / "here")
    made.series("grow", GROW)
    return made


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """The image that a fresh cache at another place gives: what every other way to it must give, too."""
    known: dict[str, bytes] = {}

    def image(series: str | None = None, *config: str, changes: dict[str, tuple[str, str]] | None = None) -> bytes:
        asked = repr((series, config, changes))
        if asked not in known:
            fresh = Toy.make(tmp_path_factory.mktemp("fresh"))
            if series:
                fresh.series(series, changes or GROW)
            known[asked] = build(fresh, series, *config).image.read_bytes()
        return known[asked]

    return image


def build(toy: Toy, series: str | None = None, *config: str) -> BuiltKernel:
    return kernel.build(toy.kernel(series), topology("x86_64", "4K", *config), cache=toy.cache, images=toy.images)


def compiles_for(arch: str) -> bool:
    try:
        toolchain.find(ARCHES[arch])
    except InfraError:
        return False
    return True


def forget(toy: Toy) -> None:
    """Drop the finished kernels, so that the next build is one in the work tree as it was left."""
    for entry in toy.cache.path(kernel.ENTRY, "").glob("*"):
        entry.rename(toy.root / f"forgotten-{len(list(toy.root.iterdir()))}")


def steps(built: BuiltKernel) -> list[str]:
    lines = built.log.read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith("  CC ")]


# ---- Pairs ----------------------------------------------------------------------------------------------------------


def test_pair_differs_in_the_series_alone_and_the_second_is_incremental(toy: Toy) -> None:
    plain, grown = build(toy), build(toy, "grow")
    assert (plain.provenance.full_build, grown.provenance.full_build) == (True, False)
    assert steps(grown) == ["mm/shmem.o"]
    assert plain.image.read_bytes() != grown.image.read_bytes()
    assert plain.config.read_bytes() == grown.config.read_bytes()
    assert plain.provenance.build_id != grown.provenance.build_id
    one, other = plain.provenance.document(), grown.provenance.document()
    differ = {name for name in one if one[name] != other[name]}
    assert differ == {"key", "build_id", "series", "series_sha256", "patches", "build_s", "cpu_s", "full_build"}
    json.dumps(other)


def test_what_an_architecture_needs_to_compile_is_in_both_and_named(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    before = toy.read("mm/mmap.c")
    diffs = {
        "a comment is missing": diff("mm/mmap.c", before, f"{before}/* mended */\n"),
        "of another tree": diff("mm/mmap.c", f"{before}one\ntwo\n", f"{before}one\nthree\n"),
    }
    record = dataclasses.replace(ARCHES["x86_64"], fixes=diffs)
    monkeypatch.setattr("lab.specs.model.ARCHES", {**ARCHES, "x86_64": record})
    plain, grown = build(toy), build(toy, "grow")
    assert plain.provenance.fixes == grown.provenance.fixes == ("a comment is missing",)
    assert plain.provenance.document()["fixes"] == ["a comment is missing"]
    assert steps(grown) == ["mm/shmem.o"]
    monkeypatch.undo()
    assert build(toy).provenance.key != plain.provenance.key


def test_products(toy: Toy) -> None:
    built = build(toy)
    config = built.config.read_text().splitlines()
    assert {"CONFIG_SMP=y", "CONFIG_NR_CPUS=8", "CONFIG_64BIT=y"} <= set(config)
    assert built.provenance.release == "6.12.7"
    assert bytes.fromhex(built.provenance.build_id) in built.notes.read_bytes()
    assert b"6.12.7 pagelab@pagelab 1 Thu Jan  1" in built.image.read_bytes()
    assert "start_kernel" in built.system_map.read_text()
    assert built.provenance.source_origin == str(toy.tree)


def test_there_and_back_gives_the_same_image(toy: Toy, reference: Callable[..., bytes]) -> None:
    plain, grown = build(toy).image.read_bytes(), build(toy, "grow").image.read_bytes()
    for _ in range(2):
        forget(toy)
        assert build(toy).image.read_bytes() == plain
        assert build(toy, "grow").image.read_bytes() == grown
    assert (reference(), reference("grow")) == (plain, grown)


def test_series_of_headers_new_files_and_makefiles(toy: Toy, reference: Callable[..., bytes]) -> None:
    changes = {
        "include/linux/mm.h": ("NR_PAGES 7", "NR_PAGES 8"),
        "Makefile": ("mm/shmem.o ", "mm/shmem.o mm/grow.o "),
        "mm/grow.c": ("", "int grow;\n"),
    }
    toy.series("new", changes)
    plain, new = build(toy).image.read_bytes(), build(toy, "new")
    assert sorted(steps(new)) == ["kernel/fork.o", "mm/grow.o", "mm/mmap.o", "mm/shmem.o"]
    assert new.provenance.config_changes == ()
    forget(toy)
    assert build(toy).image.read_bytes() == plain
    assert not list(toy.root.glob("cache/work/*/src/mm/grow.c"))
    assert reference("new", changes=changes) == build(toy, "new").image.read_bytes()


# ---- Builds without the walk over all directories ------------------------------------------------------------------

HEADER = {**GROW, "include/linux/mm.h": ("NR_PAGES 7", "NR_PAGES 8")}
INCLUDED = {"mm/mmap.c": ("int mmap(", '#include "../mm/swap.c"\n\nint mmap(')}


def walked(built: BuiltKernel) -> bool:
    return "  WALK" in built.log.read_text().splitlines()


def test_an_edit_of_c_files_is_built_without_the_walk(toy: Toy, reference: Callable[..., bytes]) -> None:
    both = {**GROW, "mm/mmap.c": ("+ more", "- more")}
    toy.series("both", both)
    assert walked(build(toy))
    for series, changes in (("grow", GROW), ("both", both), (None, None), ("both", both)):
        forget(toy)
        built = build(toy, series)
        assert not walked(built)
        assert built.image.read_bytes() == reference(series, changes=changes)


def test_two_images_of_one_configuration_share_their_objects(toy: Toy) -> None:
    """An x86_64 machine with 5 levels of page tables boots a bzImage, the others vmlinux."""
    deep = topology("x86_64").model_copy(update={"mmu": "la57"})

    def build_deep(series: str | None = None) -> BuiltKernel:
        return kernel.build(toy.kernel(series), deep, cache=toy.cache, images=toy.images)

    first, other = build(toy), build_deep()
    assert (first.image.name, other.image.name) == ("vmlinux", "bzImage")
    assert (first.provenance.full_build, other.provenance.full_build) == (True, False)
    assert first.provenance.key != other.provenance.key
    assert steps(other) == []
    assert walked(other), "no link without a walk before there was one for this image"
    edited_deep = build_deep("grow")
    assert not walked(edited_deep)
    assert steps(edited_deep) == ["mm/shmem.o"]
    edited_first = build(toy, "grow")
    assert not walked(edited_first)
    assert steps(edited_first) == []
    assert edited_first.notes.read_bytes() == edited_deep.notes.read_bytes() != first.notes.read_bytes()


@pytest.mark.parametrize(("other", "together"), [("grow", True), (None, False)])
def test_threads_share_a_work_tree_while_they_build_the_same_files(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, other: str | None, together: bool
) -> None:
    """Two machines need kernels of one series: both makes run at once. Of other files the second waits."""
    first, second = (topology(name, page, "slow") for name, page in (("x86_64", "4K"), ("arm64", "64K")))
    running, most = 0, 0
    counting = threading.Lock()
    make = kernel._Build._make

    def counted(*given: Any, **options: Any) -> int:
        nonlocal running, most
        with counting:
            running += 1
            most = max(most, running)
        try:
            return make(*given, **options)
        finally:
            with counting:
                running -= 1

    def built(machine: Topology, series: str | None) -> BuiltKernel:
        return kernel.build(toy.kernel(series), machine, cache=toy.cache, images=toy.images)

    monkeypatch.setattr(kernel._Build, "_make", counted)
    with ThreadPoolExecutor(2) as pool:
        makes = [pool.submit(built, first, "grow"), pool.submit(built, second, other)]
        grown = [each.result() for each in makes]
    assert most == (2 if together else 1)
    assert "mm/shmem.o" in steps(grown[0])
    assert "mm/shmem.o" in steps(grown[1])
    alone = Toy.make(toy.root.parent / "alone")
    alone.series("grow", GROW)
    for machine, series, found in ((first, "grow", grown[0]), (second, other, grown[1])):
        kernel_alone = kernel.build(alone.kernel(series), machine, cache=alone.cache, images=alone.images)
        assert kernel_alone.image.read_bytes() == found.image.read_bytes()


def test_two_images_of_one_configuration_are_not_made_at_once(toy: Toy, reference: Callable[..., bytes]) -> None:
    deep = topology("x86_64").model_copy(update={"mmu": "la57"})
    with ThreadPoolExecutor(2) as pool:
        plain = pool.submit(build, toy, "grow")
        other = pool.submit(kernel.build, toy.kernel("grow"), deep, cache=toy.cache, images=toy.images)
        assert plain.result().image.read_bytes() == reference("grow")
        assert other.result().notes.read_bytes() == plain.result().notes.read_bytes()
    assert {each.result().provenance.full_build for each in (plain, other)} == {False, True}


def test_what_else_changes_is_built_by_the_walk(toy: Toy, reference: Callable[..., bytes]) -> None:
    new = {"Makefile": ("mm/shmem.o ", "mm/shmem.o mm/grow.o "), "mm/grow.c": ("", "int grow;\n")}
    toy.series("header", HEADER)
    toy.series("new", new)
    build(toy)
    for series, changes in (("header", HEADER), ("grow", GROW), ("new", new), (None, None)):
        forget(toy)
        built = build(toy, series)
        assert walked(built)
        assert built.image.read_bytes() == reference(series, changes=changes)


def test_a_c_file_that_another_one_includes_is_built_by_the_walk(toy: Toy) -> None:
    edited(toy, "mm/mmap.c", *INCLUDED["mm/mmap.c"])
    edited(toy, "mm/swap.c", "int swap_pages", "static int swap_pages")
    toy.series("swap", {"mm/swap.c": ("return 0;", "return 1;")})
    build(toy)
    assert walked(build(toy, "swap"))


def test_a_c_file_that_embeds_another_file_is_built_by_the_walk(toy: Toy) -> None:
    """Such a file is compressed as kbuild does it, which takes longer, and is a part of the kernel."""
    edited(toy, "mm/shmem.c", "return -1;", "return -1; /* .incbin */")
    toy.series("embeds", {"mm/shmem.c": ("return -1;", "return 1;")})
    build(toy)
    assert walked(build(toy, "embeds"))


def test_a_tree_that_cannot_make_objects_and_link_in_one_make_is_built_by_the_walk(toy: Toy) -> None:
    edited(toy, "Makefile", "$(walked)) $(single-goals)", "$(walked))")
    build(toy)
    assert walked(build(toy, "grow"))


def test_after_an_edit_the_walk_finds_nothing_to_make(toy: Toy) -> None:
    """The archives are as old as what they contain."""
    build(toy)
    edited_kernel = build(toy, "grow")
    assert not walked(edited_kernel)
    (place,) = toy.root.glob("cache/work/*/src/build-*")
    times = {name: (place / name).stat().st_mtime_ns for name in ("mm/shmem.o", "mm/built-in.a", "vmlinux.a")}
    assert times["mm/shmem.o"] == times["mm/built-in.a"] <= times["vmlinux.a"]


def test_after_a_build_that_failed_make_walks(toy: Toy, reference: Callable[..., bytes]) -> None:
    toy.series("bad", {"mm/shmem.c": ("return -1;", "return nothing;")})
    build(toy)
    with pytest.raises(BuildError):
        build(toy, "bad")
    built = build(toy, "grow")
    assert walked(built)
    assert built.image.read_bytes() == reference("grow")


def edited(toy: Toy, name: str, old: str, new: str) -> None:
    path = toy.tree / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_users_tree_that_changes_costs_what_changed(toy: Toy) -> None:
    plain, grown = build(toy).image.read_bytes(), build(toy, "grow").image.read_bytes()
    edited(toy, "mm/mmap.c", "+ more", "- more")
    (toy.tree / "mm/extra.c").write_text("int extra;\n")
    edited(toy, "Makefile", "mm/shmem.o ", "mm/shmem.o mm/extra.o ")
    changed = build(toy, "grow")
    assert sorted(steps(changed)) == ["mm/extra.o", "mm/mmap.o"]
    fresh = Toy(root=toy.root)
    assert (
        kernel.build(
            fresh.kernel("grow"), topology(), cache=Cache(toy.root / "elsewhere"), images=toy.images
        ).image.read_bytes()
        == changed.image.read_bytes()
    )
    edited(toy, "Makefile", "mm/extra.o ", "")
    (toy.tree / "mm/extra.c").unlink()
    edited(toy, "mm/mmap.c", "- more", "+ more")
    forget(toy)
    back = build(toy)
    assert (back.provenance.full_build, sorted(steps(back))) == (False, ["mm/mmap.o", "mm/shmem.o"])
    assert (back.image.read_bytes(), build(toy, "grow").image.read_bytes()) == (plain, grown)
    assert len(list(toy.root.glob("cache/work/*"))) == 1


def test_users_tree_whose_earlier_copy_is_gone_or_changed_its_kind(toy: Toy) -> None:
    (toy.tree / "link").symlink_to("mm")
    build(toy)
    (toy.tree / "link").unlink()
    (toy.tree / "link").symlink_to("kernel")
    assert build(toy).provenance.full_build
    for entry in toy.root.glob("cache/source/*"):
        entry.rename(toy.root / f"gone-{entry.name}")
    edited(toy, "mm/mmap.c", "+ more", "- more")
    assert build(toy).provenance.full_build


def test_pristine_tree_and_users_tree_stay_as_they_are(toy: Toy) -> None:
    before = {path: path.read_bytes() for path in toy.tree.rglob("*") if path.is_file()}
    build(toy)
    build(toy, "grow")
    assert {path: path.read_bytes() for path in toy.tree.rglob("*") if path.is_file()} == before
    (pristine,) = toy.root.glob("cache/source/*/tree")
    assert {pristine / path.relative_to(toy.tree): raw for path, raw in before.items()} == {
        path: path.read_bytes() for path in pristine.rglob("*") if path.is_file()
    }


def test_second_call_is_a_hit_that_needs_nothing_but_the_entry(toy: Toy) -> None:
    first = build(toy, "grow")
    for other in ("source", "work", "kconfig"):
        (toy.root / "cache" / other).rename(toy.root / f"moved-{other}")
    started = time.monotonic()
    assert build(toy, "grow") == first
    assert time.monotonic() - started < 0.5


def test_key_is_known_before_anything_is_built(toy: Toy) -> None:
    machine = topology()
    key = kernel.key_of(toy.kernel("grow"), machine, cache=toy.cache, images=toy.images)
    assert key and not kernel.is_built(toy.kernel("grow"), machine, cache=toy.cache, images=toy.images)
    assert not toy.root.joinpath("cache/work").exists()
    assert build(toy, "grow").provenance.key == key
    assert kernel.is_built(toy.kernel("grow"), machine, cache=toy.cache, images=toy.images)


def test_key_follows_everything_that_decides(toy: Toy) -> None:
    def key(series: str | None = "grow", *config: str) -> str | None:
        return kernel.key_of(toy.kernel(series), topology("x86_64", "4K", *config), cache=toy.cache, images=toy.images)

    keys = [key(), key(None), key("grow", "slow")]
    toy.series("grow", {"mm/shmem.c": ("return -1;", "return 1;")})
    keys.append(key())
    toy.fragment("base", "CONFIG_SMP=y\n")
    keys.append(key())
    (toy.tree / "mm/mmap.c").write_text("int mmap;\n")
    keys.append(key())
    assert None not in keys and len(set(keys)) == len(keys)
    toy.fragment("base", "# words do not count\nCONFIG_SMP=y\n")
    assert key() == keys[-1]


def test_tarball_that_was_never_unpacked_has_no_key_yet(toy: Toy) -> None:
    tarball = toy.root / "x.tar"
    proc.run(["tar", "-cf", str(tarball), "-C", str(toy.root), "linux"])
    wanted = toy.kernel("grow", source=f"tarball:{tarball}")
    assert kernel.key_of(wanted, topology(), cache=toy.cache, images=toy.images) is None
    assert not kernel.is_built(wanted, topology(), cache=toy.cache, images=toy.images)
    kernel.build(wanted, topology(), cache=toy.cache, images=toy.images)
    assert kernel.is_built(wanted, topology(), cache=toy.cache, images=toy.images)


@pytest.mark.skipif(not compiles_for("arm64"), reason="no compiler for arm64")
def test_other_architecture_in_the_same_work_tree(toy: Toy) -> None:
    machine = topology("arm64", "64K")
    plain = kernel.build(toy.kernel(), machine, cache=toy.cache, images=toy.images)
    build(toy, "grow")
    grown = kernel.build(toy.kernel("grow"), machine, cache=toy.cache, images=toy.images)
    assert (plain.image.name, plain.provenance.full_build, grown.provenance.full_build) == ("Image", True, False)
    assert "CONFIG_ARM64_64K_PAGES=y" in plain.config.read_text()
    assert steps(grown) == ["mm/shmem.o"]


def test_progress_moves_and_learns_how_long_a_build_is(toy: Toy) -> None:
    seen: list[tuple[str, float]] = []

    def progress(detail: str, *, done: float | None = None) -> None:
        if done is not None:
            seen.append((detail, done))

    def run() -> list[float]:
        seen.clear()
        kernel.build(toy.kernel(), topology(), cache=toy.cache, images=toy.images, progress=progress)
        return [done for detail, done in seen if detail in (".", "mm", "init", "kernel", "arch/x86/boot")]

    run()
    forget(toy)
    for directory in toy.root.glob("cache/work/*/src/build-*"):
        directory.rename(toy.root / "old-build")
    fractions = run()
    assert fractions == sorted(fractions) and fractions[-1] > 0.9
    assert "mm" in {detail for detail, _ in seen}


# ---- Whose fault it is ----------------------------------------------------------------------------------------------


def test_series_that_does_not_apply(toy: Toy) -> None:
    text = "--- a/mm/shmem.c\n+++ b/mm/shmem.c\n@@ -5,2 +5,2 @@\n if (page > size)\n-\treturn -1;\n+\treturn 0;\n }\n"
    toy.raw_series("bad", text.replace("-5,2 +5,2", "-5,3 +5,3"))
    with pytest.raises(
        patch.DoesNotApply, match=r"^0001-change\.patch: mm/shmem\.c: hunk 1 does not apply: @@ -5,3 \+5,3"
    ):
        build(toy, "bad")
    assert build(toy).provenance.full_build


def test_compiler_error_is_the_message_and_the_next_build_is_sound(toy: Toy, reference: Callable[..., bytes]) -> None:
    toy.series("broken", {"mm/shmem.c": ("return -1;", "return nonsense;")})
    build(toy)
    with pytest.raises(BuildError) as caught:
        build(toy, "broken")
    assert "mm/shmem.c:7:24: error: 'nonsense' undeclared" in caught.value.excerpt
    assert "make: ***" not in caught.value.excerpt
    assert "kernel broken for x86_64" in caught.value.message
    log = Path(str(caught.value.hint).removeprefix("full log: "))
    assert "nonsense" in log.read_text()
    grown = build(toy, "grow")
    assert steps(grown) == ["mm/shmem.o"]
    assert grown.image.read_bytes() == reference("grow")


def test_missing_rule(toy: Toy) -> None:
    toy.series("norule", {"Makefile": ("mm/shmem.o", "mm/shmem.o mm/none.o")})
    with pytest.raises(BuildError, match=r"No rule to make target .*mm/none\.o"):
        build(toy, "norule")


def test_lost_symbol(toy: Toy) -> None:
    toy.fragment("lossy", "CONFIG_NUMA=y\nCONFIG_SLOW=y\nCONFIG_NONE=y\n")
    with pytest.raises(InputError) as caught:
        build(toy, None, "lossy")
    path = toy.images / "config/lossy.config"
    assert str(caught.value) == (
        f"{path}:3: CONFIG_NONE: asked for y, got n in the final .config: kernel 6.12.7 has no such symbol on x86_64"
        f"; also lost: CONFIG_NUMA: asked for y at {path}:1, got n"
    )
    toy.fragment("lossy", "CONFIG_NUMA=y\nCONFIG_SLOW=y\n")
    with pytest.raises(InputError, match=r"it depends on SMP && !SLOW \(SMP=y, SLOW=y\)$"):
        build(toy, None, "lossy")


def test_the_lab_s_own_symbols_are_left_out_where_the_tree_does_not_define_them(toy: Toy) -> None:
    """Trees of other versions than 6.12 are built too; what lacks only a dependency is an error as ever."""
    toy.fragment("base", "CONFIG_SMP=y\nCONFIG_NR_CPUS=8\nCONFIG_NEWER=y\n# CONFIG_OLDER is not set\n")
    assert build(toy).provenance.refused == ("CONFIG_NEWER=y",)
    toy.fragment("mine", "CONFIG_NEWER=y\n")
    with pytest.raises(InputError, match=r"mine\.config:1: CONFIG_NEWER: .*has no such symbol"):
        build(toy, None, "mine")
    toy.fragment("base", "CONFIG_SMP=y\nCONFIG_NR_CPUS=8\nCONFIG_NUMA=y\nCONFIG_SLOW=y\n")
    with pytest.raises(InputError, match=r"it depends on SMP && !SLOW \(SMP=y, SLOW=y\)$"):
        build(toy)


@pytest.mark.parametrize(
    ("version", "values"),
    [
        ("6.12.7", {"A": "y"}),
        ("6.12-rc3", {"A": "y"}),
        ("6.11.9", {"A": "n", "B": "y"}),
        ("6.9", {"A": "n", "B": "3", "C": "y"}),
        ("5.15.186", {"A": "n", "B": "3", "C": "y"}),
        ("7.2.0", {"A": "y"}),
    ],
)
def test_older_trees_get_what_they_need_otherwise(toy: Toy, version: str, values: dict[str, str]) -> None:
    toy.fragment("base", "CONFIG_A=y\n")
    toy.fragment("arch-x86_64", "")
    toy.fragment("versions/before-6.12", "# CONFIG_A is not set\nCONFIG_B=y\n")
    toy.fragment("versions/before-6.10", "CONFIG_B=3\nCONFIG_C=y\n")
    asked = kernel.fragments(topology("x86_64"), toy.kernel(), toy.images / "config", version=version)
    merged = kconfig.merge(asked)
    assert {request.symbol: request.value for request in merged} == values
    assert all(request.if_defined for request in merged)


@pytest.mark.parametrize("name", ["before6.12", "before-6", "before-6.12.3", "after-6.12", "Before-6.12"])
def test_a_fragment_for_older_trees_with_another_name_is_refused(toy: Toy, name: str) -> None:
    toy.fragment("base", "")
    toy.fragment(f"versions/{name}", "CONFIG_A=y\n")
    with pytest.raises(InputError, match=rf"versions/{name}\.config: expected a name such as before-6\.12\.config"):
        kernel.fragments(topology("x86_64"), toy.kernel(), toy.images / "config", version="6.1.9")


def test_an_architecture_can_need_something_else_of_older_trees(toy: Toy) -> None:
    toy.fragment("base", "")
    machine = Topology(name="m", arch="mips64", page_size=16 << 10, memory=256 << 20)
    orders = []
    for version in ("6.1.170", "6.4", "6.12.7"):
        asked = kernel.fragments(machine, toy.kernel(), toy.images / "config", version=version)
        orders += [request.value for request in kconfig.merge(asked) if request.symbol == "ARCH_FORCE_MAX_ORDER"]
    assert orders == ["12", "11", "11"]


def test_unknown_fragment(toy: Toy) -> None:
    with pytest.raises(UsageError, match=r"unknown config fragment 'slo'; did you mean 'slow'\?"):
        build(toy, None, "slo")


def test_series_that_adds_a_symbol_says_so(toy: Toy) -> None:
    changes = {"Kconfig": ("config SLOW\n", 'config GROW\n\tbool "Grow"\n\tdefault y\n\nconfig SLOW\n')}
    toy.series("symbol", changes)
    assert build(toy, "symbol").provenance.config_changes == ("CONFIG_GROW: n -> y",)
    assert build(toy).provenance.config_changes == ()


def test_missing_tools_name_their_package(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    real = proc.which
    monkeypatch.setattr(proc, "which", lambda name: None if name in ("flex", "bc") else real(name))
    with pytest.raises(InfraError, match=r"no flex, bc \((sudo )?apt-get install --no-install-recommends flex bc\)"):
        build(toy)
    foreign = dataclasses.replace(ARCHES["arm64"], cross="none-linux-gnu-", uname="none")
    monkeypatch.setattr(proc, "which", real)
    with pytest.raises(
        InfraError,
        match=r"no none-linux-gnu-gcc \((sudo )?apt-get install .*gcc-aarch64-linux-gnu",
    ):
        toolchain.find(foreign)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(place)]
    if os.geteuid() or proc.run(argv, check=False).status:
        pytest.skip("a full disk takes a small file system, which only root can mount")
    yield place
    proc.run(["umount", "--lazy", str(place)])


def test_disk_full_is_said_and_leaves_the_cache_sound(tiny_disk: Path, reference: Callable[..., bytes]) -> None:
    toy = Toy.make(tiny_disk / "x")
    toy.series("grow", GROW)
    ballast = tiny_disk / "ballast"
    for free_kib in (0, 60, 150, 250, 300, 350):
        ballast.write_bytes(b"")
        room = os.statvfs(tiny_disk)
        ballast.write_bytes(b"\0" * max(room.f_bavail * room.f_bsize - (free_kib << 10), 0))
        try:
            build(toy, "grow")
        except InfraError as error:
            assert "disk full" in str(error)
        else:
            break
    ballast.unlink()
    forget(toy)
    assert build(toy, "grow").image.read_bytes() == reference("grow")
    assert build(toy).image.read_bytes() == reference()


@pytest.mark.parametrize(
    ("config", "given"),
    [("CONFIG_ARCH_HAS_GCOV_PROFILE_ALL=y\n", True), ("\n", True), ("CONFIG_X=y\nCONFIG_GCOV_KERNEL=y\n", False)],
)
def test_gcov_is_looked_for_where_it_is_used(tmp_path: Path, config: str, *, given: bool) -> None:
    (tmp_path / ".config").write_text(config)
    assert kernel._without_gcov(tmp_path) == ({"CFLAGS_GCOV": ""} if given else {})


def test_what_a_make_without_the_walk_is_given(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[str]] = []
    run = proc.run

    def noted(argv: list[str], **options: Any) -> proc.Completed:
        if argv[0] == "make":
            made.append(argv)
        return run(argv, **options)

    monkeypatch.setattr(proc, "run", noted)
    build(toy)
    build(toy, "grow")
    *walks, edit = made
    assert [argv[-1] for argv in made] == ["tinyconfig", "olddefconfig", "vmlinux", "vmlinux"]
    assert {"single-goals=./mm/shmem.o", "CFLAGS_GCOV="} < {*edit}
    assert not any(word.startswith(("single-goals", "CFLAGS_GCOV", "KGZIP")) for argv in walks for word in argv)


def test_what_is_made_anew_by_every_link_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(Path(f"/proc/self/fd/{handle}").readlink().name))
    for name in ("vmlinux", "vmlinux.o", ".tmp_vmlinux1", ".tmp_vmlinux2.kallsyms.o", ".vmlinux.cmd"):
        (tmp_path / name).touch()
    (tmp_path / "source").symlink_to(".")
    (tmp_path / "mm").mkdir()
    (tmp_path / "mm/mremap.o").touch()
    worktree._sync_since(tmp_path, time.time_ns())
    assert sorted(synced) == [".vmlinux.cmd", "mremap.o", "vmlinux", "vmlinux.o"]


# ---- Death at bad moments -------------------------------------------------------------------------------------------


def start(toy: Toy, series: str | None, *config: str) -> subprocess.Popen[bytes]:
    """Build in another process, which says `step` for every step of make."""
    code = """
import sys
from pathlib import Path
from lab.build import kernel
from tests.unit.toy import Toy, topology
toy = Toy(root=Path(sys.argv[1]))
progress = lambda detail, done=None: print(detail, flush=True)
built = kernel.build(toy.kernel(sys.argv[2] or None), topology("x86_64", "4K", *sys.argv[3:]), cache=toy.cache,
                     images=toy.images, progress=progress)
print("done", built.provenance.full_build, flush=True)
"""
    argv = [sys.executable, "-c", code, str(toy.root), series or "", *config]
    return subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE)


def wait_for(child: subprocess.Popen[bytes], word: bytes) -> None:
    assert child.stdout
    for line in child.stdout:
        if line.strip() == word:
            return
    raise AssertionError(f"the builder never said {word!r}")


def users(directory: Path) -> list[str]:
    """Command lines of the processes that build below a directory."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if str(directory) in text and "-c \nimport sys" not in text:
            found.append(text)
    return found


@pytest.mark.parametrize("series", [None, "grow"])
@pytest.mark.parametrize("word", [b"mm", b"configuring"])
def test_sigkill_in_the_middle_of_make(
    toy: Toy, reference: Callable[..., bytes], series: str | None, word: bytes
) -> None:
    if series and word == b"mm":
        build(toy, None, "slow")  # then the patched one, an incremental build, is killed
    child = start(toy, series, "slow")
    wait_for(child, word)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not kernel.is_built(toy.kernel(series), topology("x86_64", "4K", "slow"), cache=toy.cache, images=toy.images)
    for path in toy.root.glob("cache/work/*/src/build-*/mm/shmem.o"):
        path.write_bytes(path.read_bytes()[:100])  # what a compiler that died in the middle would have left
    assert build(toy, series, "slow").image.read_bytes() == reference(series, "slow")
    assert build(toy, None, "slow").image.read_bytes() == reference(None, "slow")
    assert not list(toy.root.glob("cache/tmp/*"))


def test_orphaned_make_keeps_the_lock(toy: Toy) -> None:
    child = start(toy, None, "slow")
    wait_for(child, b"mm")
    child.send_signal(signal.SIGKILL)
    child.wait()
    (lock,) = toy.root.glob("cache/locks/work-*")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert users(toy.root / "cache/work") == []


def test_death_in_the_middle_of_a_switch(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, reference: Callable[..., bytes]
) -> None:
    class Died(BaseException):
        pass

    changes = {**GROW, "mm/mmap.c": ("+ more", "- more"), "kernel/fork.c": ("+ NR", "- NR")}
    toy.series("three", changes)
    build(toy)
    real, count = worktree.WorkTree._bring, 0

    def bring(self: worktree.WorkTree, name: str, content: Content | None, stamp_ns: int) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise Died
        real(self, name, content, stamp_ns)

    for series in ("three", None):
        forget(toy)
        count = 0
        monkeypatch.setattr(worktree.WorkTree, "_bring", bring)
        with pytest.raises(Died):
            build(toy, series)
        monkeypatch.setattr(worktree.WorkTree, "_bring", real)
        assert build(toy, "grow").image.read_bytes() == reference("grow")
        assert build(toy).image.read_bytes() == reference()
        assert build(toy, "three").image.read_bytes() == reference("three", changes=changes)


def edit_state(toy: Toy, **changes: object) -> None:
    (path,) = toy.root.glob("cache/work/*/state.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_clock_that_was_set_back(toy: Toy, reference: Callable[..., bytes]) -> None:
    """Products from the future: a file of the series must still be newer than they are."""
    build(toy)
    future = time.time_ns() + 3600 * 10**9
    for path in toy.root.glob("cache/work/*/src/build-*/**/*"):
        os.utime(path, ns=(future, future))
    edit_state(toy, stamp_ns=future)
    assert build(toy, "grow").image.read_bytes() == reference("grow")
    forget(toy)
    assert build(toy).image.read_bytes() == reference()


def test_make_that_was_running_at_a_reboot_starts_anew(toy: Toy) -> None:
    build(toy)
    (directory,) = toy.root.glob("cache/work/*/src/build-*")
    name = directory.name.removeprefix("build-")
    edit_state(toy, running={name: {"started_ns": time.time_ns(), "boot_id": "another"}})
    assert build(toy, "grow").provenance.full_build


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"touched": 1}'])
def test_damaged_state_means_a_new_work_tree(toy: Toy, damage: str) -> None:
    build(toy)
    (path,) = toy.root.glob("cache/work/*/state.json")
    path.write_text(damage)
    assert build(toy, "grow").provenance.full_build
    assert not list(toy.root.glob("cache/tmp/*"))


def test_two_builders_of_the_same_kernel_build_it_once(toy: Toy) -> None:
    children = [start(toy, None, "slow") for _ in range(2)]
    said = [child.communicate()[0].decode().splitlines() for child in children]
    assert [lines[-1] for lines in said] == ["done True"] * 2
    assert sum("mm" in lines for lines in said) == 1
    assert sum("waiting for another lab that builds this kernel" in lines for lines in said) == 1


def test_two_builders_of_a_pair_take_turns(toy: Toy, reference: Callable[..., bytes]) -> None:
    children = [start(toy, series) for series in (None, "grow", None, "grow")]
    for child in children:
        child.communicate()
        assert child.returncode == 0
    assert build(toy).image.read_bytes() == reference()
    assert build(toy, "grow").image.read_bytes() == reference("grow")


def test_symbolic_links_are_not_followed_out_of_the_tree(toy: Toy) -> None:
    outside = toy.root / "outside"
    outside.mkdir()
    (outside / "shmem.c").write_text(toy.read("mm/shmem.c"))
    (toy.tree / "evil").symlink_to(outside)
    text = "--- a/evil/shmem.c\n+++ b/evil/shmem.c\n@@ -2 +2 @@\n-#include <linux/mm.h>\n+x\n"
    toy.raw_series("evil", text)
    with pytest.raises(UsageError, match=r"evil/shmem\.c: the series changes a symbolic link"):
        build(toy, "evil")
