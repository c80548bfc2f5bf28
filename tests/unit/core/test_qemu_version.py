# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/core/qemu_version.py: what an emulator on PATH says of itself, and what its releases are."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.core import qemu_version


def test_the_version_is_the_installed_program_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert qemu_version.installed("qemu-system-toy") == ""
    program = tmp_path / "qemu-system-toy"
    program.write_text("#!/bin/sh\necho 'QEMU emulator version 9.1.2 (Toy 1)'\necho 'Copyright of somebody'\n")
    program.chmod(0o755)
    assert qemu_version.installed("qemu-system-toy") == "9.1.2 (Toy 1)"


@pytest.mark.parametrize(
    ("text", "release"),
    [("7.2.22 (Debian 1:7.2)", (7, 2)), ("10.0", (10, 0)), ("10.0.0-rc2", (10, 0)), ("", (0, 0)), ("qemu", (0, 0))],
)
def test_releases_compare_as_numbers(text: str, release: tuple[int, int]) -> None:
    assert qemu_version.release(text) == release
    assert qemu_version.release("9.2.1") < qemu_version.release("10.0")
