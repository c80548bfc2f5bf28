# SPDX-License-Identifier: GPL-2.0-or-later
"""Machines of odd shapes: what was asked for is what their guests see."""

from __future__ import annotations

import pytest

from tests.integration.conftest import BUILD_TIMEOUT_S, lab


@pytest.fixture(scope="module")
def kernels() -> None:
    """The kernels of both machines are in the cache (minutes where they were not)."""
    for machine in ("x86_64-4k", "arm64-64k"):
        done = lab("build", "layouts", "-t", machine, "-k", "baseline", timeout_s=BUILD_TIMEOUT_S)
        assert done.status == 0, done.stderr[-4000:]


@pytest.mark.usefixtures("kernels", "no_emulator_left")
@pytest.mark.parametrize(
    ("machine", "command", "said"),
    [
        # A node of memory alone, whose latencies and bandwidths put it on a tier of its own.
        ("x86_64-4k-hmat", "cat /sys/devices/virtual/memory_tiering/memory_tier*/nodelist", "0-1\n2\n"),
        # The way round the ring is shorter in one direction.
        ("arm64-64k-4node", "cat /sys/devices/system/node/node1/distance", "28 10 16 22\n"),
        ("arm64-64k-cpu-node", "cat /sys/devices/system/node/has_cpu /sys/devices/system/node/has_memory", "0-1\n0\n"),
    ],
)
def test_a_guest_is_verified_and_shows_its_shape(machine: str, command: str, said: str) -> None:
    done = lab("exec", "-t", machine, "-k", "baseline", "--", "sh", "-c", command)
    assert (done.status, done.stdout) == (0, said), done.stderr
