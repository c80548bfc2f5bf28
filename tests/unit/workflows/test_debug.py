# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/workflows/debug.py: which gdb is taken, and what it is given, with a made-up host and guest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.core.errors import InfraError
from lab.specs.arches import ARCHES
from lab.workflows import debug

ARCH = ARCHES["arm64"]


@pytest.mark.parametrize(
    ("installed", "native", "configuration", "chosen"),
    [
        ({"gdb", "gdb-multiarch"}, True, "", "gdb-multiarch"),
        ({"gdb"}, True, "", "gdb"),
        ({"gdb"}, False, "--enable-targets=all", "gdb"),
    ],
)
def test_a_gdb_that_knows_the_architecture_is_taken(
    monkeypatch: pytest.MonkeyPatch, installed: set[str], native: bool, configuration: str, chosen: str
) -> None:
    monkeypatch.setattr("lab.core.proc.which", lambda name: name if name in installed else None)
    monkeypatch.setattr("lab.build.toolchain.is_native", lambda arch: native)
    monkeypatch.setattr(debug, "_configuration", lambda: configuration)
    assert debug.debugger(ARCH) == chosen


@pytest.mark.parametrize("installed", [set(), {"gdb"}])
def test_without_one_the_package_is_named(monkeypatch: pytest.MonkeyPatch, installed: set[str]) -> None:
    monkeypatch.setattr("lab.core.proc.which", lambda name: name if name in installed else None)
    monkeypatch.setattr("lab.build.toolchain.is_native", lambda arch: False)
    monkeypatch.setattr(debug, "_configuration", lambda: "--enable-targets=x86_64-linux-gnu")
    with pytest.raises(InfraError, match=r"no gdb that knows arm64 \(.*apt-get install .*gdb-multiarch\)"):
        debug.debugger(ARCH)


@dataclass
class FakeDomain:
    gdbservers: list[Path | None] = field(default_factory=list)

    def gdbserver(self, socket: Path | None) -> None:
        self.gdbservers.append(socket)


@pytest.mark.parametrize("fails", [False, True])
def test_gdb_is_connected_and_disconnected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    commands: list[Sequence[str]] = []

    def attach(argv: Sequence[str]) -> int:
        commands.append(argv)
        if fails:
            raise InfraError("no terminal")
        return 3

    monkeypatch.setattr("lab.core.proc.attach", attach)
    monkeypatch.setattr(debug, "debugger", lambda arch: "gdb-multiarch")
    domain = FakeDomain()
    guest = cast(Any, SimpleNamespace(domain=domain))
    artifacts = cast(Any, SimpleNamespace(kernel=SimpleNamespace(vmlinux=tmp_path / "vmlinux")))
    if fails:
        with pytest.raises(InfraError):
            debug.attach_gdb(guest, ARCH, artifacts, tmp_path, ["-ex", "bt"])
    else:
        assert debug.attach_gdb(guest, ARCH, artifacts, tmp_path, ["-ex", "bt"]) == 3
    ((program, *arguments),) = commands
    assert program == "gdb-multiarch"
    assert f"target remote {tmp_path}/gdb" in arguments
    assert arguments[-3:] == ["-ex", "bt", str(tmp_path / "vmlinux")]
    assert domain.gdbservers == [tmp_path / "gdb", None]
