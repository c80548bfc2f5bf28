# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/key_facts.py: a host without compilers computes the keys of the host that it takes them from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lab.build import debian, key_facts, programs, source, toolchain
from lab.core import paths, proc
from lab.core.cache import Cache, write_atomic
from lab.core.errors import InfraError
from lab.host import doctor
from lab.specs.arches import ARCHES

ARM64 = ARCHES["arm64"]
ANSWER = {"package": "busybox", "version": "1:1.35.0-4", "suite": "bookworm"}
SPEC = "debian:linux-source-6.12"


@pytest.fixture
def builder(tmp_path: Path) -> Cache:
    """The cache of a host that has resolved a package and a kernel source."""
    cache = Cache(tmp_path / "builder")
    write_atomic(cache.root / "debian/deb-src-busybox.json", json.dumps(ANSWER).encode())
    write_atomic(cache.root / "debian/notes.txt", b"not an answer")
    write_atomic(source._memo(cache, SPEC), json.dumps({"sha256": "ab" * 32, "origin": "a package"}).encode())
    known = source._recall(SPEC, cache)
    assert known is not None
    write_atomic(source._memo(cache, "version", known.key), json.dumps({"version": "6.12.9"}).encode())
    return cache


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """The cache of a host without a compiler for arm64, which is the one that is used from now on."""
    found = proc.which
    monkeypatch.setattr(proc, "which", lambda name: None if name.startswith(ARM64.cross) else found(name))
    monkeypatch.setenv("PAGELAB_CACHE", str(tmp_path / "bare"))
    return Cache(tmp_path / "bare")


def hand_over(builder: Cache, to: Cache) -> None:
    key = key_facts.keep(builder, [SPEC, "path:/srv/linux"])
    shutil.copytree(builder.path(key_facts.ENTRY, key), to.path(key_facts.ENTRY, key))
    key_facts.adopt(to, key)


@pytest.mark.skipif(not shutil.which(f"{ARM64.cross}gcc"), reason="no compiler for arm64")
@pytest.mark.skipif(toolchain.is_native(ARM64), reason="arm64 needs no cross compiler here")
def test_the_keys_are_those_of_the_host_with_the_compiler(
    builder: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = paths.images() / "probes" / "enter.c"
    keys = programs.keys_of(ARM64, paths.scenarios())
    built = programs.compile_one(ARM64, probe, builder)
    key = key_facts.keep(builder, [SPEC])
    found = proc.which
    monkeypatch.setattr(proc, "which", lambda name: None if name.startswith(ARM64.cross) else found(name))
    monkeypatch.setenv("PAGELAB_CACHE", str(tmp_path / "bare"))
    bare = Cache(tmp_path / "bare")
    with pytest.raises(InfraError, match="cannot compile for arm64"):
        toolchain.find(ARM64)
    for kind, name in ((key_facts.ENTRY, key), ("program", built.parent.name)):
        shutil.copytree(builder.path(kind, name), bare.path(kind, name))
    key_facts.adopt(bare, key)
    assert programs.keys_of(ARM64, paths.scenarios()) == keys
    assert programs.compile_one(ARM64, probe, bare).read_bytes() == built.read_bytes()
    own = tmp_path / "own.c"
    own.write_text("int main(void) { return 0; }\n")
    with pytest.raises(
        InfraError, match=r"no aarch64-linux-gnu-gcc here, and no store has the program of own.c for arm64"
    ):
        programs.compile_one(ARM64, own, bare)


def test_versions_of_packages_and_sources_are_adopted(builder: Cache, bare: Cache) -> None:
    assert source.identify(SPEC, bare) is None
    hand_over(builder, bare)
    assert debian.find_source("busybox", bare).version == ANSWER["version"]
    found = source.identify(SPEC, bare)
    assert found == source.identify(SPEC, builder)
    assert found is not None
    assert found.version == "6.12.9"


def test_what_a_host_knows_itself_stays(builder: Cache, bare: Cache) -> None:
    own = {**ANSWER, "version": "1:1.37.0-6"}
    write_atomic(bare.root / "debian/deb-src-busybox.json", json.dumps(own).encode())
    hand_over(builder, bare)
    assert debian.find_source("busybox", bare).version == own["version"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"compilers": {}}', '{"compilers": {"arm64": {"prefix": 1}}, "answers": {}}']
)
def test_an_entry_without_facts_is_refused(text: str, bare: Cache) -> None:
    bare.path(key_facts.ENTRY, "k").mkdir(parents=True)
    (bare.path(key_facts.ENTRY, "k") / key_facts.FILE).write_text(text)
    with pytest.raises(InfraError, match="expected compilers, and answers to names"):
        key_facts.adopt(bare, "k")


def test_a_name_that_leads_elsewhere_is_not_written(bare: Cache, tmp_path: Path) -> None:
    names = ("../evil.json", "debian/../../evil.json", "kernel/x.json", "memo/source-zz.json", "debian/deb-a/b.json")
    facts = key_facts.KeyFacts(
        compilers={"vax": toolchain.Identity(prefix="", version="", key="")}, answers={name: {} for name in names}
    )
    bare.path(key_facts.ENTRY, "k").mkdir(parents=True)
    (bare.path(key_facts.ENTRY, "k") / key_facts.FILE).write_text(facts.model_dump_json())
    key_facts.adopt(bare, "k")
    assert sorted(path.name for path in tmp_path.rglob("*.json")) == [key_facts.FILE]


@pytest.mark.skipif(toolchain.is_native(ARM64), reason="arm64 needs no cross compiler here")
def test_the_doctor_asks_for_an_emulator_alone(bare: Cache) -> None:
    without = doctor.Host(which=lambda name: None if name.startswith(ARM64.cross) else f"/usr/bin/{name}")
    assert "gcc" in doctor.lacking(ARM64, without)
    toolchain.adopt(ARM64, toolchain.Identity(prefix=ARM64.cross, version="gcc 12", key="k"), bare)
    assert doctor.lacking(ARM64, without) == ""
    warning = next(check for check in doctor.checks(["arm64"], host=without) if check.name == "arm64 compiler")
    assert warning.status is doctor.Status.WARN
    assert "lab cache pull" in warning.detail


def test_packages_without_compilers_are_the_emulators() -> None:
    wanted = doctor.arch_packages(["quick"], doctor.Host(machine="x86_64"))
    emulators = doctor.arch_packages(["quick"], doctor.Host(machine="x86_64"), compilers=False)
    assert set(emulators) == {name for name in wanted if name.startswith("qemu")} != set(wanted)
