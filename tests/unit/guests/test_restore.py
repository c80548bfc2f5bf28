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


def test_a_guest_whose_timers_do_not_fire_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Mock(boot_id="saved")
    guest.await_timer.side_effect = GuestLost("a timer, after the guest was restored: deadline")
    with pytest.raises(GuestLost, match="a timer, after the guest was restored"):
        snapshot(tmp_path, monkeypatch, guest).restore()
    guest.close.assert_called_once_with()


def test_a_guest_with_timers_is_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = Mock(boot_id="saved")
    assert snapshot(tmp_path, monkeypatch, guest).restore() is guest
    guest.await_timer.assert_called_once_with()
    guest.close.assert_not_called()


def test_a_timer_is_awaited_by_a_sleep_in_the_guest() -> None:
    lost = Ended(end=End.DEADLINE, status=None, stdout=b"", stderr=b"", duration_s=5.0)
    guest = Mock()
    guest._output_of = lambda command, deadline: Guest._output_of(guest, command, deadline)
    guest._deadline = lambda seconds, what: Mock(what=what, seconds=seconds)
    guest.connection.run.return_value = lost
    with pytest.raises(GuestLost, match="a timer, after the guest was restored"):
        Guest.await_timer(guest)
    command = guest.connection.run.call_args.args[0]
    assert command.startswith("usleep ")
    assert int(command.split()[1]) > 0
