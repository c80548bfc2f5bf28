# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab run --root`: the root is a part of the plan and of the record, and programs are started in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.build.builder import Builder
from lab.build.roots import root
from lab.core.cache import Cache
from lab.core.errors import UsageError
from lab.core.progress import silent
from lab.evidence.metadata import CommandRecord, RootRecord
from lab.guests import guest_root
from lab.guests.accelerator import Accelerator
from lab.run import campaign
from lab.run.campaign import CampaignRequest
from lab.run.program import command
from lab.specs.library import Library
from lab.specs.model import Kernel
from lab.specs.plan import Filters, Plan
from lab.verbs.options import filters_of
from lab.verbs.running import cluster_session
from lab.workflows import replay
from tests.unit.fixtures.evidence import recorded
from tests.unit.fixtures.tars import entry, tar

TCG = Accelerator(name="tcg", slowdown=10.0, why="a test")


@pytest.fixture
def root_tar(tmp_path: Path) -> Path:
    (tmp_path / "root.tar").write_bytes(tar(entry("bin/sh", b"x", mode=0o755), entry("dev/null", kind=b"3")))
    return tmp_path / "root.tar"


def planned(word: Path) -> Plan:
    return Library.shipped().plan("quick", Filters(topologies=("x86_64-4k-2node",), roots=(str(word),)))


def test_a_program_is_started_in_the_root() -> None:
    topology = Library.shipped().topology("x86_64-4k")
    kernel = Kernel(name="k", source="path:/linux")
    plain = command(topology, kernel, "expand", ["a01"], TCG)
    rooted = command(topology, kernel, "expand", ["a01"], TCG, enter=guest_root.entering("/tmp"))
    assert plain.endswith(" /lab/expand a01")
    assert rooted == plain.replace("/lab/expand", "/lab/enter /newroot /tmp /lab/expand")


def test_the_root_is_recorded_with_its_key_and_what_is_left_out(root_tar: Path, tmp_path: Path) -> None:
    plan, cache = planned(root_tar), Cache(tmp_path / "cache")
    said: list[str] = []
    builder = Builder(cache=cache, sources=(), root=plan.root)

    def progress(detail: str, *, done: float | None = None) -> None:
        said.append(detail)

    record = campaign.root_record(builder, plan, progress)
    assert record.word == str(root_tar)
    assert list(record.keys) == ["x86_64"]
    assert said == [f"--root {root_tar}: 1 device nodes, sockets or pipes of {root_tar} are left out"]
    root_tar.write_bytes(tar(entry("bin/sh", b"another", mode=0o755)))
    now = campaign.root_record(Builder(cache=cache, sources=(), root=plan.root), plan, silent)
    assert replay._changed_root(record, now).startswith(f"root {root_tar} for x86_64: recorded ")
    assert replay._changed_root(record, record) == ""


def test_a_request_with_a_root_is_read_from_its_record(root_tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root_tar.parent)
    request = CampaignRequest(campaign="quick", filters=Filters(roots=("root.tar",)))
    record = request.record()
    assert record.options["--root"] == (str(root_tar),)
    again = CampaignRequest.recorded(recorded({"cells": [], "command": record.document()}), Path("results"))
    assert again.filters.roots == (str(root_tar),)
    assert root.absolute("debian:trixie+bash") == "debian:trixie+bash"


def test_evidence_of_another_root_is_not_taken(root_tar: Path, tmp_path: Path) -> None:
    plan = planned(root_tar)
    opened = campaign.open_plan(
        replace(plan, spec=plan.spec.model_copy(update={"reuse_baseline": True})),
        {},
        tmp_path / "run",
        command=CommandRecord(verb="run"),
        root=RootRecord(word=str(root_tar)),
    )
    assert opened.evidence_store(Cache(tmp_path / "cache"), "9.0.0", uri=None) is None
    without = replace(opened, plan=replace(opened.plan, root=""))
    assert without.evidence_store(Cache(tmp_path / "cache"), "9.0.0", uri=None) is not None
    assert opened.metadata.root == RootRecord(word=str(root_tar))


def test_a_root_is_for_this_computer() -> None:
    assert filters_of(root="debian:trixie").given
    from lab.cluster.session import ClusterChoice

    choice = ClusterChoice(hosts=None, address="tls://a:1", certs="", store="")
    with pytest.raises(UsageError, match="--root is for guests on this computer"), cluster_session(choice, root="x"):
        pass
