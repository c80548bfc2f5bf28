# SPDX-License-Identifier: GPL-2.0-or-later
"""The accelerator's choice: KVM only where a guest came up with it, asked once per boot of the host."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from lab.arch.record import Arch
from lab.core.cache import Cache
from lab.core.errors import BootError, UsageError
from lab.guests import accelerator
from lab.guests.accelerator import Accelerator
from lab.specs.arches import ARCHES

FOREIGN = next(each for each in ARCHES.values() if each.uname != platform.machine())


@pytest.fixture
def native(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Arch:
    """An architecture that pretends to be the host's, with a KVM device that opens."""
    device = tmp_path / "kvm"
    device.touch()
    monkeypatch.setattr(accelerator, "KVM_DEVICE", device)
    monkeypatch.setattr(platform, "machine", lambda: FOREIGN.uname)
    return FOREIGN


def _hangs(_: Accelerator) -> None:
    raise BootError("probe: no ready line within 8 s")


def test_another_architecture_is_emulated(tmp_path: Path) -> None:
    chosen = accelerator.choose(FOREIGN, cache=Cache(tmp_path), try_kvm=_hangs)
    assert chosen.name == "tcg"
    assert platform.machine() in chosen.why
    assert chosen.slowdown == FOREIGN.tcg_slowdown


def test_kvm_that_boots_is_used_and_remembered(native: Arch, tmp_path: Path) -> None:
    asked: list[str] = []
    cache = Cache(tmp_path / "cache")
    for _ in range(2):
        chosen = accelerator.choose(native, cache=cache, try_kvm=lambda candidate: asked.append(candidate.name))
        assert chosen.name == "kvm"
    assert asked == ["kvm"]


def test_kvm_that_opens_but_hangs_is_not_used(native: Arch, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    for _ in range(2):
        chosen = accelerator.choose(native, cache=cache, try_kvm=_hangs)
        assert chosen.name == "tcg"
        assert "opens but does not work" in chosen.why
        assert "no ready line" in chosen.why


def test_a_torn_memory_is_asked_again(native: Arch, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    path = accelerator.remembered_at(native, cache)
    path.parent.mkdir(parents=True)
    path.write_text('{"works": tr')
    assert accelerator.choose(native, cache=cache, try_kvm=lambda _: None).name == "kvm"


def test_patience_stretches_every_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGELAB_PATIENCE", "0.5")
    assert accelerator.choose(FOREIGN, cache=Cache(tmp_path), try_kvm=_hangs).slowdown == FOREIGN.tcg_slowdown / 2


@pytest.mark.parametrize("said", ["", "much", "nan", "0", "-1", "inf", "1e9"])
def test_patience_that_is_none_is_refused(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGELAB_PATIENCE", said)
    with pytest.raises(UsageError, match="PAGELAB_PATIENCE: expected a number"):
        accelerator.patience()
