# SPDX-License-Identifier: GPL-2.0-or-later
"""this_host.py: how commands that need root are spelled for a user, and the boot's id."""

from __future__ import annotations

import os

import pytest

from lab.core import this_host


def test_only_a_user_who_is_not_root_needs_sudo() -> None:
    assert this_host.as_root(["chmod", "1777", "/tmp"], uid=0) == "chmod 1777 /tmp"
    assert this_host.as_root(["chmod", "1777", "/tmp"], uid=1000) == "sudo chmod 1777 /tmp"


@pytest.mark.parametrize(("uid", "prefix"), [(0, ""), (1000, "sudo ")])
def test_the_current_user_is_the_default(monkeypatch: pytest.MonkeyPatch, uid: int, prefix: str) -> None:
    monkeypatch.setattr(os, "getuid", lambda: uid)
    assert this_host.install_command(["a", "b", "a"]) == f"{prefix}apt-get install --no-install-recommends a b"


def test_the_id_of_a_boot_stays() -> None:
    assert this_host.boot_id() == this_host.boot_id()
    assert len(this_host.boot_id()) == 36
