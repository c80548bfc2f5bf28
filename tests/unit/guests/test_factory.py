# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/guests/factory.py: no two guests of a process have one name, whichever factory starts them; no libvirt needed."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

pytest.importorskip("libvirt")

from lab.arch.record import Limit
from lab.core import qemu_version
from lab.core.errors import GuestLost
from lab.guests.accelerator import Accelerator
from lab.guests.factory import BootableCell, GuestFactory, _symbols
from lab.guests.guest import SHOWN_CPUS, Snapshot, where
from lab.specs.arches import ARCHES


def test_two_factories_give_different_names(tmp_path: Path) -> None:
    nothing: Any = None
    ready: Any = SimpleNamespace(name="pc-baseline")
    first = GuestFactory(workshop=nothing, hypervisor=nothing, scratch=tmp_path)
    second = GuestFactory(workshop=nothing, hypervisor=nothing, scratch=tmp_path)
    names = [factory._name(ready) for factory in (first, second, first, second)]
    assert len(set(names)) == len(names)
    assert len({len(name) for name in names}) == 1, "a saved guest is restored under a name of the same length"


def test_a_guest_waits_for_the_state_that_another_one_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states, ready = mock.Mock(limit=1), mock.Mock(no_save="", root=None)
    kept: Future[None] = Future()
    states.has.side_effect = lambda _key: kept.done()
    restored = object()
    monkeypatch.setattr(GuestFactory, "boot_of", lambda *_: None)
    monkeypatch.setattr(GuestFactory, "_state_key", lambda *_: "key")
    monkeypatch.setattr(GuestFactory, "_restored", lambda *_: restored)
    factory = GuestFactory(workshop=mock.Mock(), hypervisor=mock.Mock(), scratch=tmp_path, states=states)
    assert factory.restore(ready, tmp_path / "console") is None, "nobody saves one"
    factory._kept["key"] = kept
    threading.Timer(0.1, kept.set_result, args=(None,)).start()
    assert factory.restore(ready, tmp_path / "console") is restored


@pytest.mark.parametrize(
    ("version", "reason"),
    [("7.2.22", "it dies (seen with QEMU 7.2)"), ("10.0", ""), ("", "it dies (seen with QEMU 7.2)")],
)
def test_whether_guests_are_saved_depends_on_the_installed_emulator(
    version: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def installed(program: str) -> str:
        asked.append(program)
        return version

    monkeypatch.setattr(qemu_version, "installed", installed)
    nothing: Any = None
    limit = Limit(name="no snapshots", reason="it dies", seen="7.2", mended="10.0", no_save=True)
    topology: Any = SimpleNamespace(architecture=replace(ARCHES["alpha"], limits=(limit,)), sparse=False)
    ready = BootableCell(name="dec", topology=topology, products=nothing, factory=nothing)
    assert ready.no_save == reason
    assert asked == ["qemu-system-alpha"]


def test_a_state_from_which_no_guest_comes_up_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states: Any = mock.Mock(limit=1)
    outcomes: list[Exception | None] = [GuestLost("no answer"), None]

    def restore(_snapshot: object) -> object:
        if error := outcomes.pop(0):
            raise error
        return SimpleNamespace(login_s=0.0, boot_s=0.0)

    monkeypatch.setattr(Snapshot, "restore", restore)
    monkeypatch.setattr(Snapshot, "discard", lambda _snapshot: None)
    hypervisor: Any = SimpleNamespace(aborted=False)
    made = GuestFactory(workshop=mock.Mock(), hypervisor=hypervisor, scratch=tmp_path, states=states)
    monkeypatch.setattr("lab.guests.factory._words", lambda _machine: {})
    monkeypatch.setattr("lab.guests.factory._print_boot", lambda *_: None)
    with pytest.raises(GuestLost):
        made._restored(states, "key", mock.Mock())
    states.failed.assert_called_once_with("key")
    states.came_up.assert_not_called()
    made._restored(states, "key", mock.Mock())
    states.came_up.assert_called_once_with("key")
    ready: Any = mock.Mock(no_save="", root=None)
    monkeypatch.setattr(GuestFactory, "_state_key", lambda *_: "key")
    states.has.return_value, states.is_hopeless.return_value = False, True
    guest: Any = mock.Mock()
    made.keep(ready, guest, "facts")
    guest.domain.save.assert_not_called()


@pytest.mark.parametrize(
    ("config", "factor"),
    [
        (b"", 1.0),
        (b"\n# CONFIG_KASAN_GENERIC is not set\n", 1.0),
        (b"\nCONFIG_KASAN_GENERIC=y\n", 2.0),
        (b"\nCONFIG_KASAN_GENERIC=y\nCONFIG_PROVE_LOCKING=y\n", 3.0),
    ],
)
def test_deadlines_grow_with_what_makes_a_kernel_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: bytes, factor: float
) -> None:
    plain = Accelerator(name="tcg", slowdown=10.0, why="a test")
    monkeypatch.setattr(GuestFactory, "accelerator_of", lambda *_: plain)
    monkeypatch.setattr(GuestFactory, "_boot", lambda _self, _ready, _topology, _console, chosen: chosen)
    factory = GuestFactory(workshop=mock.Mock(), hypervisor=mock.Mock(), scratch=tmp_path)
    chosen: Any = factory.boot_of(mock.Mock(config=config), tmp_path / "console")
    assert chosen == Accelerator(name="tcg", slowdown=10.0 * factor, why="a test")


@pytest.mark.parametrize(
    ("config", "content", "known"),
    [
        (b"\n# CONFIG_RANDOMIZE_BASE is not set\n", "ffffffff81000000 T _text\n", True),
        (b"\nCONFIG_RANDOMIZE_BASE=y\n", "ffffffff81000000 T _text\n", False),
        (b"\n", "", False),  # of a kernel that was not built here
    ],
)
def test_symbols_are_those_of_a_kernel_that_stays_where_it_was_linked(
    tmp_path: Path, config: bytes, content: str, known: bool
) -> None:
    (tmp_path / "System.map").write_text(content)
    ready: Any = mock.Mock(config=config)
    ready.products.kernel.system_map = tmp_path / "System.map"
    assert bool(_symbols(ready)) == known


def test_where_a_guest_hangs_is_named_by_function(tmp_path: Path) -> None:
    counters = [0x1010, 0x2020, 0x9000, *[0x1000] * SHOWN_CPUS]
    text = "".join(f"\nCPU#{cpu}\nRIP={counter:016x} RFL=00000202\n" for cpu, counter in enumerate(counters))
    running: Any = SimpleNamespace(registers=lambda: text)
    symbols = tmp_path / "System.map"
    symbols.write_text("0000000000001000 T first\n0000000000002000 t second\n0000000000003000 T _etext\n")
    said = where(running, symbols)
    assert said.startswith("CPU 0 at first+0x10, CPU 1 at second+0x20, CPU 2 at 0x9000, CPU 3 at first+0x0, ")
    assert said.endswith(f"CPU {SHOWN_CPUS - 1} at first+0x0, ...")
    assert where(running, None).startswith("CPU 0 at 0x1010, CPU 1 at 0x2020, ")
    running.registers = lambda: ""
    assert where(running, symbols) == ""


def test_a_sparse_guest_is_never_saved() -> None:
    """QEMU reads every page of a guest that it saves or restores, which allocates those of a memfd."""
    nothing: Any = None
    reasons = []
    for sparse in (True, False):
        topology: Any = SimpleNamespace(architecture=replace(ARCHES["alpha"], limits=()), sparse=sparse)
        reasons.append(BootableCell(name="roomy", topology=topology, products=nothing, factory=nothing).no_save)
    assert "allocated" in reasons[0]
    assert reasons[1] == ""
