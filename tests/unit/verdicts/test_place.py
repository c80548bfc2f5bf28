# SPDX-License-Identifier: GPL-2.0-or-later
"""A place in a run: found by its words, run again, packed for somebody without a lab."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lab.build.builder import Artifacts
from lab.build.kernel import BuiltKernel
from lab.build.programs import GuestTests
from lab.build.rootfs import HOST_KEY, Rootfs
from lab.core.errors import UsageError
from lab.core.outcome import CellStatus, Outcome
from lab.core.ssh_keys import dropbear_host_key
from lab.evidence import read
from lab.evidence.metadata import HostRecord, Provenance
from lab.formats import cpio
from lab.guests import qemu_command
from lab.guests.domain import GuestMachine
from lab.specs.arches import ARCHES
from lab.specs.model import Topology
from lab.verdicts import place
from lab.verdicts.compare import Summary, conclude
from lab.workflows import bundle, replay
from lab.workflows.bundle import Trial
from tests.unit.fixtures import evidence as made

CELL = "x86_64-4k-2node/baseline"


def topologies() -> dict[str, Any]:
    arches = dict(zip(made.TOPOLOGIES, (("x86_64", 4096), ("arm64", 65536)), strict=True))
    numa = [{"cpus": [0, 1], "memory": 512 << 20, "hugepages": {"2097152": 2}}, {"cpus": [], "memory": 512 << 20}]
    return {
        name: {
            "name": name,
            "arch": arch,
            "page_size": size,
            "vcpus": 2,
            "numa": numa,
            "distances": [[10, 20], [20, 10]],
        }
        for name, (arch, size) in arches.items()
    }


def kernels() -> dict[str, Any]:
    return {name: {"name": name, **kernel} for name, kernel in made.metadata()["kernels"].items()}


def summary(tmp_path: Path, **meta: Any) -> Summary:
    """A run on disk, with whole topologies."""
    campaign = {"name": "quick", "topologies": list(made.TOPOLOGIES), "kernels": list(made.KERNELS)}
    told = {"topologies": topologies(), "kernels": kernels(), "campaign": campaign, **meta}
    return conclude(read.load(made.write(tmp_path, made.evidence(**told)).path))


def test_a_case_of_a_cell(tmp_path: Path) -> None:
    spot = place.find(summary(tmp_path), f"{CELL}/expand.grow_move")
    assert spot.cases == {"expand": ("grow_move",)}
    assert [record.outcome for record in spot.records] == [Outcome.FAIL]
    assert spot.topology.numa[0].hugepages == {2 << 20: 2}
    assert spot.kernel.baseline
    (cell,) = spot.plan().cells
    assert (str(cell.key), str(cell.scenarios[0])) == (CELL, "expand.{grow_move}")


@pytest.mark.parametrize("word", [CELL, f"{CELL}/", f"results/latest/cells/{CELL}"])
def test_a_whole_cell(tmp_path: Path, word: str) -> None:
    spot = place.find(summary(tmp_path), word)
    assert {name: len(cases) for name, cases in spot.cases.items()} == {"expand": 4, "guard": 2}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("x86_64-4k-2node", "expected TOPOLOGY/KERNEL"),
        ("x86_64-4k-2node/basline", "unknown cell 'x86_64-4k-2node/basline'; did you mean 'x86_64-4k-2node/baseline'"),
        (f"{CELL}/expnd", "unknown scenario 'expnd'; did you mean 'expand'"),
        (f"{CELL}/expand.grow_mov", "expand has no case 'grow_mov'; did you mean 'grow_move'"),
        (f"{CELL}/repeat-3/expand", "was not run 3 times"),
    ],
)
def test_a_place_that_is_none_is_one_line(tmp_path: Path, word: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        place.find(summary(tmp_path), word)
    assert said in str(caught.value)


def test_a_record_of_another_version_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="topology x86_64-4k-2node: arch: Field required"):
        place.find(summary(tmp_path, topologies={name: {"name": name} for name in made.TOPOLOGIES}), CELL)


def test_what_has_changed_is_named() -> None:
    was = Provenance(key="a", source_sha256="1", compiler="gcc 12")
    assert place.changed_build(was, was) == []
    assert place.changed_build(was, was.changed(key="b", compiler="gcc 13")) == [
        "kernel: compiler: recorded gcc 12, now gcc 13"
    ]
    assert place.changed_build(was, was.changed(key="b")) == ["kernel: its configuration or the way it is built"]
    assert place.changed_programs({"expand": "1", "thp": "2"}, {"expand": "3", "thp": "2"}, ["expand", "thp"]) == [
        "test expand: its source, a header or the compiler"
    ]
    assert "did not record" in place.changed_programs({}, {"expand": "3"}, ["expand"])[0]
    emulator = "qemu-system-x86_64"

    def host(version: str) -> HostRecord:
        return HostRecord.model_validate({emulator: version})

    assert place.changed_host(host("7.2"), host("9.0"), emulator) == ["qemu-system-x86_64: recorded 7.2, now 9.0"]


def test_a_replay_says_what_came_again(tmp_path: Path) -> None:
    then = place.find(summary(tmp_path / "a"), f"{CELL}/expand")
    lines, same = replay.compared(then.records, summary(tmp_path / "b"))
    assert same
    assert "expand.grow_move: FAIL then, FAIL now" in lines
    lost = made.cell(made.TOPOLOGIES[0], made.KERNELS[0], status=CellStatus.NO_BOOT, runs=())
    told: dict[str, Any] = {"topologies": topologies(), "kernels": kernels()}
    lines, same = replay.compared(then.records, conclude(made.evidence(lost, **told)))
    assert not same
    assert "expand.grow_move: FAIL then, BROKEN (no-boot) now" in lines


@pytest.mark.parametrize(
    ("line", "case", "fits"),
    [
        ("not ok 3 grow_move", "grow_move", True),
        ("not ok 3 - grow_move", "grow_move", True),
        ("ok 3 grow_move", "grow_move", False),
        ("not ok 3 grow_move # TIMEOUT state=D", "grow_move", False),
        ("not ok 3 grow_move_far", "grow_move", False),
        ("ok 3 keep_content", "keep_content", True),
        ("ok 3 keep_content # SKIP no", "keep_content", False),
        ("ok 4 pmd_thp # SKIP no PMD", "pmd_thp", True),
    ],
)
def test_the_console_shows_the_recorded_result(tmp_path: Path, line: str, case: str, fits: bool) -> None:
    spot = place.find(summary(tmp_path), f"{CELL}/expand.{case}")
    (pattern,) = map(bundle.pattern, spot.records)
    done = subprocess.run(["grep", "-Eq", pattern], input=f"{line}\n", text=True, check=False, timeout=30)
    assert (done.returncode == 0) == fits


def a_machine(topology: Topology) -> GuestMachine:
    return GuestMachine(
        name="x",
        topology=topology,
        accelerator="tcg",
        emulator=Path("./fake-qemu"),
        image=Path("kernel"),
        initrd=Path("initrd"),
        console=Path("console"),
    )


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ("pagelab: ready\\r\\nnot ok 1 grow\\r\\n", 0, "reproduced: all that was recorded came again"),
        ("pagelab: ready\\nok 1 grow\\n", 1, "did not come again: ^not ok 1 grow *$"),
        ("Kernel panic\\n", 2, "the guest was never ready"),
    ],
)
def test_the_script_says_whether_it_came_again(tmp_path: Path, said: str, status: int, words: str) -> None:
    """With a program in the place of QEMU that says what a guest would say."""
    fake = tmp_path / "fake-qemu"
    fake.write_text(f"#!/bin/sh\nprintf '{said}'\n")
    fake.chmod(0o755)
    topology = Topology.model_validate(topologies()[made.TOPOLOGIES[0]])
    script = tmp_path / "reproduce.sh"
    script.write_text(qemu_command.bundle_script(a_machine(topology), "lab/first", seconds=9, tested=True))
    (tmp_path / "expected").write_text("^not ok 1 grow *$\n")
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(["sh", script], env={"PATH": path}, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, words in done.stdout + done.stderr) == (status, True), done.stdout + done.stderr
    fake.unlink()
    done = subprocess.run(["sh", script], env={"PATH": path}, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "no fake-qemu: install QEMU" in done.stderr


def test_first_is_a_shell_script() -> None:
    for test in (Trial(), Trial(command="cd /tmp && LAB_FEATURES='a b' /lab/x y")):
        subprocess.run(["sh", "-n"], input=bundle.first(test), check=True, timeout=30)


def products(tmp_path: Path) -> Artifacts:
    """What a cell boots from, as small as can be."""
    host_key, public = dropbear_host_key()
    contents = {"image": b"kernel", "system_map": b"map", "expand": b"\x7fELF", "notes": b"", "config": b"", "log": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "initrd").write_bytes(cpio.archive([cpio.file("init", b"#!/bin/sh\n"), cpio.file(HOST_KEY, host_key)]))
    files = {name: tmp_path / name for name in ("image", "system_map", "notes", "config", "log")}
    return Artifacts(
        kernel=BuiltKernel(**files, provenance=Provenance()),
        rootfs=Rootfs(initrd=tmp_path / "initrd", host_key=public, key="k"),
        tests=GuestTests(programs={"expand": tmp_path / "expand"}, key="k"),
    )


def test_a_bundle_has_all_it_takes_and_no_key_of_the_lab(tmp_path: Path) -> None:
    run = summary(tmp_path)
    spot = place.find(run, f"{CELL}/expand.grow_move")
    made_of = products(tmp_path)
    secret = next(node.data for node in cpio.read(made_of.rootfs.initrd.read_bytes()) if node.name == HOST_KEY)
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "expand.c").write_text("int main(void) { return 0; }\n")
    to = tmp_path / "grow.tar.gz"
    bundle.write(to, spot, run, made_of, [sources])
    first = to.read_bytes()
    with tarfile.open(to) as archive:
        archive.extractall(tmp_path / "out")
    out = tmp_path / "out" / "grow"
    wanted = {"kernel", "initrd", "reproduce.sh", "expected", "README", "console.log", "expand.ktap", "SHA256SUMS"}
    assert wanted <= {path.name for path in out.iterdir()}
    assert (out / "test/expand.c").is_file() and (out / "test/lab.h").is_file()
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=out, check=True, timeout=60)
    initrd = (out / "initrd").read_bytes()
    assert b"/lab/expand grow_move" in initrd
    assert secret not in initrd
    assert len(first) == len(to.read_bytes())
    assert "expand.grow_move: FAIL" in (out / "README").read_text()


def test_archives_are_read_as_they_were_written() -> None:
    nodes = [cpio.directory("a"), cpio.file("a/b", b"12345", 0o755), cpio.symlink("c", "/a/b")]
    nodes.append(cpio.character_device("d", 5, 1))
    assert list(cpio.read(cpio.archive(nodes))) == sorted(nodes, key=lambda node: node.name)
    with pytest.raises(ValueError, match="no newc archive"):
        list(cpio.read(b"PK"))


@pytest.mark.parametrize("name", sorted(ARCHES))
def test_every_architecture_has_its_script(name: str) -> None:
    record = ARCHES[name]
    memory = max(record.min_memory, 256 << 20)
    topology = Topology(name="x", arch=name, page_size=min(record.page_sizes), memory=memory)
    script = qemu_command.bundle_script(a_machine(topology), "lab/first", seconds=9, tested=False)
    subprocess.run(["sh", "-n"], input=script, text=True, check=True, timeout=30)
    assert "rdinit=/lab/first" in script
