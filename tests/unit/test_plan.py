# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/plan.py: order of cells and builds, sharing of builds, filters, and that planning touches no disk."""

from __future__ import annotations

import builtins
import io
import os
from pathlib import Path

import pytest

from lab.errors import UsageError
from lab.model import CampaignSpec, Kernel, NumaCell, Topology
from lab.plan import Filters, Plan, Selection, describe, matches, plan, resolve_cases

SOURCE = "debian:linux-source-6.12"
MIB = 1 << 20
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
        "  arm64  plain  debian:linux-source-6.12                 full         base arch-arm64 arm64-64k",
        "  arm64  fixed  debian:linux-source-6.12 + expand-fault  incremental  base arch-arm64 arm64-64k",
        "",
        "guests (2):",
        "  arm  plain  64K pages  2 CPUs  2 nodes  512M",
        "  arm  fixed  64K pages  2 CPUs  2 nodes  512M",
        "",
        "scenarios, a fresh guest for each: expand, fork",
        "",
        "skipped (2):",
        "  pc/fixed  not selected by --topology",
        "  pc/plain  not selected by --topology",
    ]


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
