# SPDX-License-Identifier: GPL-2.0-or-later
"""All faults, by the side on which they are injected."""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults import boot, cluster, host, inputs, program, qemu
from tests.faults.fault import Fault

SIDES: Mapping[str, tuple[Fault, ...]] = {
    "input": inputs.FAULTS,
    "host": host.FAULTS,
    "qemu": qemu.FAULTS,
    "boot": boot.FAULTS,
    "program": program.FAULTS,
    "cluster": cluster.FAULTS,
}
