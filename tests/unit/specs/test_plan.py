# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/specs/plan.py: order of cells and builds, sharing of builds, filters, and that planning touches no disk."""

from __future__ import annotations

import builtins
import io
import os
from pathlib import Path

import pytest

from lab.core.errors import InfraError, UsageError
from lab.core.sizes import MIB
from lab.host.estimate import Outlook
from lab.specs.model import CampaignSpec, Kernel, NumaCell, Topology
from lab.specs.plan import Filters, Plan, Selection, Skipped, in_order, matches, plan, possible, resolve_cases
from lab.verbs.text.plan import describe

SOURCE = "debian:linux-source-6.12"
TESTS = (Selection(scenario="expand"), Selection(scenario="fork"))


def machine(name: str, arch: str = "x86_64", page_size: int = 4096, **more: object) -> Topology:
    return Topology.model_validate({"name": name, "arch": arch, "page_size": page_size, "memory": 512 * MIB, **more})


def kernel(name: str, **more: object) -> Kernel:
    return Kernel.model_validate({"name": name, "source": SOURCE, **more})


PC = machine("pc")
PC_TWIN = machine("pc-twin", vcpus=2)
ARM = machine("arm", "arm64", 65536)
PLAIN = kernel("plain")
FIXED = kernel("fixed", series="expand-fault", provides=("shm-expand",))
SPEC = CampaignSpec(name="some", description="a few cells", topologies=("*",), kernels=("*",))


def planned(
    topologies: tuple[Topology, ...] = (PC, ARM),
    kernels: tuple[Kernel, ...] = (PLAIN, FIXED),
    **filters: tuple[str, ...],
) -> Plan:
    return plan(SPEC, topologies, kernels, TESTS, Filters(**filters))


def names(made: Plan) -> list[str]:
    return [cell.name for cell in made.cells]


def test_the_unpatched_kernel_of_a_pair_comes_first() -> None:
    assert names(planned(kernels=(FIXED, PLAIN))) == ["pc/plain", "pc/fixed", "arm/plain", "arm/fixed"]


def test_cells_of_one_image_stand_together_and_share_its_build() -> None:
    made = planned((PC, ARM, PC_TWIN))
    assert names(made) == ["pc/plain", "pc-twin/plain", "pc/fixed", "pc-twin/fixed", "arm/plain", "arm/fixed"]
    assert [(build.arch, build.kernel.name) for build in made.builds] == [
        ("x86_64", "plain"),
        ("x86_64", "fixed"),
        ("arm64", "plain"),
        ("arm64", "fixed"),
    ]
    assert made.cells[0].build is made.cells[1].build


def test_builds_of_one_tree_stand_together() -> None:
    debug = kernel("debug", config=("debug-vm",))
    other = kernel("other", source="debian:linux-source-6.1")
    made = planned((PC, ARM), (debug, FIXED, other, PLAIN))
    trees = [build.tree for build in made.builds]
    assert [tree for index, tree in enumerate(trees) if tree not in trees[:index]] == list(dict.fromkeys(trees))
    assert all(trees[index] == trees[index - 1] or trees[index] not in trees[:index] for index in range(1, len(trees)))


def test_a_mode_with_an_image_of_its_own_is_another_build_of_the_same_tree() -> None:
    deep = machine("deep", mmu="la57")
    made = planned((PC, PC_TWIN, deep), (PLAIN,))
    assert [build.image for build in made.builds] == ["", "bzImage"]
    assert len({build.tree for build in made.builds}) == 1
    ready = planned((PC, deep), (kernel("ready", source="image:/boot/vmlinuz"),))
    assert len(ready.builds) == 1, "a kernel that exists is booted as it is"


def test_fragments_are_the_machine_s_then_the_kernel_s() -> None:
    debug = kernel("debug", config=("debug-vm", "base"))
    made = planned((machine("arm", "arm64", 16384, kernel_config=("extra",)),), (debug,))
    assert made.builds[0].fragments == ("base", "arch-arm64", "arm64-16k", "extra", "debug-vm")


def test_machines_with_other_fragments_get_other_builds() -> None:
    made = planned((PC, machine("pc-debug", kernel_config=("debug-vm",))), (PLAIN,))
    assert len(made.builds) == 2
    assert [cell.build for cell in made.cells] == list(made.builds)


def test_filters_leave_cells_out_with_a_reason() -> None:
    made = planned(topologies=(PC, ARM), kernels=(PLAIN, FIXED))
    assert not made.skipped
    made = plan(
        SPEC, (PC, ARM), (PLAIN, FIXED), TESTS, Filters(topologies=("p*",), kernels=("fixed",), tests=("fork",))
    )
    assert names(made) == ["pc/fixed"]
    assert {(each.what, each.reason) for each in made.skipped} == {
        ("pc/plain", "not selected by --kernel"),
        ("arm/plain", "not selected by --topology"),
        ("arm/fixed", "not selected by --topology"),
        ("expand", "not selected by --test"),
    }


def test_a_filter_for_cases() -> None:
    made = plan(SPEC, (PC,), (PLAIN,), TESTS, Filters(tests=("*.grow_*", "fork.b01")))
    assert made.cells[0].scenarios == (
        Selection(scenario="expand", cases=("grow_*",)),
        Selection(scenario="fork", cases=("grow_*", "b01")),
    )


@pytest.mark.parametrize(
    "filters", [Filters(topologies=("ppc*",)), Filters(kernels=("plane",)), Filters(tests=("expnad",))]
)
def test_a_filter_that_matches_nothing_is_an_error(filters: Filters) -> None:
    with pytest.raises(UsageError, match="unknown"):
        plan(SPEC, (PC,), (PLAIN,), TESTS, filters)


def test_words_mean_names_globs_and_stems_of_paths() -> None:
    assert matches("pc", "pc")
    assert matches("p?", "pc")
    assert matches("../some/pc.yaml", "pc")
    assert not matches("../some/p*.yaml/x", "pc")
    assert not matches("p", "pc")


def test_the_arches_of_a_plan() -> None:
    assert planned().arches == ("x86_64", "arm64")
    assert planned(kernels=(PLAIN,), topologies=(ARM,)).arches == ("arm64",)


def test_planning_touches_no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*args: object, **_: object) -> object:
        raise AssertionError(f"planning touched the disk: {args}")

    for owner, name in (
        (builtins, "open"),
        (io, "open"),
        *(
            (os, name)
            for name in ("open", "stat", "lstat", "listdir", "scandir", "mkdir", "unlink", "rename", "getcwd")
        ),
        *((Path, name) for name in ("open", "stat", "exists", "is_file", "is_dir", "iterdir", "glob", "resolve")),
    ):
        monkeypatch.setattr(owner, name, touched)
    made = planned((PC, ARM, PC_TWIN))
    described = describe(made)
    monkeypatch.undo()
    assert len(made.cells) == 6
    assert described


def test_a_plan_as_text() -> None:
    nodes = tuple(NumaCell(cpus=(node,), memory=256 * MIB) for node in range(2))
    arm = Topology(name="arm", arch="arm64", page_size=65536, vcpus=2, numa=nodes)
    made = plan(SPEC, (PC, arm), (FIXED, PLAIN), TESTS, Filters(topologies=("arm",)))
    assert describe(made).splitlines() == [
        "campaign some: a few cells",
        "",
        "kernels to build (2):",
        "  arm64  plain  full         arch-arm64 arm64-64k",
        "  arm64  fixed  incremental  arch-arm64 arm64-64k",
        "",
        "sources (2):",
        "  plain  debian:linux-source-6.12",
        "  fixed  debian:linux-source-6.12 + expand-fault",
        "",
        "guests (2):",
        "  arm  plain  64K pages  2 CPUs  2 nodes  512M",
        "  arm  fixed  64K pages  2 CPUs  2 nodes  512M",
        "",
        "scenarios, a fresh guest for each: expand, fork",
        "",
        "skipped (2):",
        "  not selected by --topology:",
        "    pc/fixed pc/plain",
    ]


def test_a_plan_says_what_is_built_and_how_long_the_rest_takes() -> None:
    made = planned((PC, ARM))
    outlook = Outlook(
        built=frozenset(made.builds[:1]),
        build_s=dict.fromkeys(made.builds[1:], 130.0),
        cell_s={cell.name: 7.4 for cell in made.cells},
        total_s=7500.0,
        jobs=2,
        guessed=3,
    )
    said = describe(made, outlook)
    assert "kernels, 3 of them to build (4):" in said
    assert "  x86_64  plain  built" in said
    assert "  x86_64  fixed  incremental, 2 min" in said
    assert "1 node  512M  7 s" in said
    assert "estimated time: 2 h 05 min, 2 guests at once" in said
    assert "3 of 4 guests" in said
    assert all(len(line) <= 80 for line in said.splitlines())


def test_what_can_start_at_once_comes_first_and_of_that_the_longest() -> None:
    made = planned((PC, ARM, PC_TWIN))
    built = [build for build in made.builds if build.arch == "arm64"]
    ordered = in_order(made, built, {"arm/fixed": 9.0, "arm/plain": 5.0})
    assert names(ordered)[:2] == ["arm/fixed", "arm/plain"]
    assert [(build.arch, build.kernel.name) for build in ordered.builds][2:] == [
        ("x86_64", "plain"),
        ("x86_64", "fixed"),
    ]
    assert sorted(names(ordered)) == sorted(names(made))
    assert [cell.kernel.name for cell in ordered.cells[2:]] == ["plain", "plain", "fixed", "fixed"]


def test_what_a_host_lacks_is_left_out_unless_it_was_asked_for_by_name() -> None:
    made = plan(SPEC, (PC, ARM), (PLAIN,), TESTS, named=("pc",))
    left = possible(made, {"arm64": "no gcc (install it)"})
    assert names(left) == ["pc/plain"]
    assert [build.arch for build in left.builds] == ["x86_64"]
    assert left.skipped == (Skipped(what="arm", reason="no gcc (install it)", by_host=True),)
    with pytest.raises(InfraError, match=r"^pc: no gcc \(install it\)$"):
        possible(made, {"x86_64": "no gcc (install it)"})
    assert names(possible(made, {"arm": "too large"})) == ["pc/plain"], "a machine by name"


def test_a_preset_that_an_arch_lacks() -> None:
    alpha = machine("axp", "alpha", 8192)
    debug = kernel("debug", config=("kasan",))
    made = plan(SPEC, (PC, alpha), (PLAIN, debug), TESTS)
    assert names(made) == ["pc/plain", "pc/debug", "axp/plain"]
    assert [(each.what, each.reason) for each in made.skipped] == [("axp/debug", "alpha has debug-vm, not kasan")]
    assert all(build.arch == "x86_64" for build in made.builds if build.kernel is debug)
    with pytest.raises(UsageError, match=r"^axp/debug: alpha has debug-vm, not kasan$"):
        plan(SPEC, (PC, alpha), (PLAIN, debug), TESTS, named=("axp",))


def test_globs_of_cases_become_names_and_a_typo_is_refused() -> None:
    machine = Topology.model_validate({"name": "m", "arch": "x86_64", "page_size": "4K", "memory": "256M"})
    spec = CampaignSpec(name="c", topologies=("m",), kernels=("k",))
    kernels = [Kernel(name="k", source="tarball:x")]
    declared = {"expand": ["a01_grow", "a02_place"], "guards": ["i01_memfd"]}

    def resolved(*selections: Selection) -> tuple[Selection, ...]:
        return resolve_cases(plan(spec, [machine], kernels, selections), declared).cells[0].scenarios

    everything = Selection(scenario="guards")
    some = Selection(scenario="expand", cases=("a01*",))
    assert resolved(everything, some) == (everything, Selection(scenario="expand", cases=("a01_grow",)))
    elsewhere = Selection(scenario="guards", cases=("a01*",))
    assert resolved(some, elsewhere) == (Selection(scenario="expand", cases=("a01_grow",)),)
    with pytest.raises(UsageError, match="unknown case 'a01_grwo'; did you mean 'a01_grow'"):
        resolved(Selection(scenario="expand", cases=("a01_grwo",)))


def test_a_machine_runs_what_it_is_for() -> None:
    meter = machine("meter", scenarios=["fo*"])
    made = planned((PC, meter), (PLAIN,))
    assert {cell.name: cell.scenarios for cell in made.cells} == {"pc/plain": TESTS, "meter/plain": TESTS[1:]}
    assert "meter runs only fork" in describe(made)
    assert "scenarios, a fresh guest for each: expand, fork" in describe(made)


def test_a_machine_that_is_for_nothing_that_was_asked_for_is_left_out() -> None:
    meter = machine("meter", "arm64", scenarios=["fork"])
    made = planned((PC, meter), (PLAIN,), tests=("expand",))
    assert names(made) == ["pc/plain"]
    assert [build.arch for build in made.builds] == ["x86_64"]
    assert ("meter", "runs only fork") in [(each.what, each.reason) for each in made.skipped]


def test_cases_that_a_machine_is_not_for_leave_it_out_too() -> None:
    meter = machine("meter", "arm64", scenarios=["fork"])
    chosen = (Selection(scenario="expand", cases=("a*",)), Selection(scenario="fork", cases=("a*",)))
    made = resolve_cases(plan(SPEC, (PC, meter), (PLAIN,), chosen), {"expand": ["a01"], "fork": ["b01"]})
    assert names(made) == ["pc/plain"]
    assert [build.arch for build in made.builds] == ["x86_64"]
