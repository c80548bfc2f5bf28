# SPDX-License-Identifier: GPL-2.0-or-later
"""What a restored guest must do before it is used."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from lab.core.errors import GuestLost
from lab.core.outcome import End, Ended
from lab.guests import guest as guests
from lab.guests.guest import Guest, Snapshot


def snapshot(place: Path, monkeypatch: pytest.MonkeyPatch, guest: Mock) -> Snapshot:
    monkeypatch.setattr(guests, "_log_in", lambda *_, **__: guest)
    wanted = Mock(machine=Mock(console=place / "console.log"))
    wanted.machine.console.touch()
    return Snapshot(wanted=wanted, hypervisor=Mock(), boot_id="saved", save_s=0.1, size=1)


def waking(ended: Ended) -> Mock:
    guest = Mock(login_s=0.0)
    guest.name = "guest"
    guest.connection.run.return_value = ended
    return guest


def ending(end: End, stdout: bytes, status: int | None = None) -> Ended:
    return Ended(end=end, status=status, stdout=stdout, stderr=b"", duration_s=5.0)


def test_a_guest_that_is_not_the_saved_one_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Mock(boot_id="another")
    with pytest.raises(GuestLost, match="not the guest that was saved: boot id 'another'"):
        snapshot(tmp_path, monkeypatch, guest).restore()
    guest.close.assert_called_once_with()


def test_the_guest_that_was_saved_is_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Mock(boot_id="saved")
    assert snapshot(tmp_path, monkeypatch, guest).restore() is guest
    guest.close.assert_not_called()


def test_a_restored_guest_sleeps_once_to_show_that_its_timers_fire() -> None:
    guest = waking(ending(End.EXITED, b"the-id\n", 0))
    Guest.wake(guest, restored=True)
    assert guest.boot_id == "the-id"
    command = guest.connection.run.call_args.args[0]
    assert int(command.rpartition(" && usleep ")[2]) > 0
    Guest.wake(guest)
    assert "usleep" not in guest.connection.run.call_args.args[0]


@pytest.mark.parametrize(
    ("stdout", "restored", "why"),
    [
        (b"the-id\n", True, "guest: a timer, after the guest was restored: deadline"),
        (b"", True, "guest: the guest's first command: deadline"),
        (b"the-id\n", False, "guest: the guest's first command: deadline"),
    ],
)
def test_a_guest_that_does_not_wake_is_lost(stdout: bytes, restored: bool, why: str) -> None:
    with pytest.raises(GuestLost, match=why):
        Guest.wake(waking(ending(End.DEADLINE, stdout)), restored=restored)
