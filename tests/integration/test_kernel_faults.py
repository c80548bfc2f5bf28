# SPDX-License-Identifier: GPL-2.0-or-later
"""What kernels complain of has its name: made in real guests by the kernel's own crash test (lkdtm).

A kernel is built for it, which takes longer than all other tests: the configuration of `baseline` with lkdtm.config and
every preset. So it runs when it is asked for (`make kernel-faults`). With PAGELAB_UPDATE_GOLDEN=1 the consoles go to
tests/golden/console/, `x86_64-real-<case>.log`, for tests/unit/test_oops.py.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lab.evidence import read
from lab.formats import oops
from lab.formats.oops import Kind
from tests.integration.conftest import MACHINES, ROOT, run_campaign

MACHINE = MACHINES[0]
CONFIG = Path(__file__).with_name("lkdtm.config")
GOLDEN = ROOT / "tests" / "golden" / "console"
PRESETS = ("kasan", "ubsan", "lockdep")
# case -> the kind of its report, (outcome, cause) of the case itself.
FAULTS: dict[str, tuple[Kind, tuple[str, str]]] = {
    "warning": (Kind.WARNING, ("PASS", "passed")),
    "bug": (Kind.BUG, ("CRASH", "bug")),
    "oops": (Kind.OOPS, ("CRASH", "oops")),
    "soft_lockup": (Kind.SOFT_LOCKUP, ("HANG", "unkillable")),
    "rcu_stall": (Kind.RCU_STALL, ("HANG", "unkillable")),
    "hung_task": (Kind.HUNG_TASK, ("HANG", "unkillable")),
    "use_after_free": (Kind.KASAN, ("PASS", "passed")),
    "array_bounds": (Kind.UBSAN, ("PASS", "passed")),
    "lock_kept": (Kind.LOCKDEP, ("CRASH", "bug")),
}
# What the report says of the kernel where it is not the kind's name: a task that keeps a lock is atomic, and the next
# thing it does is a worse report still.
WORSE = {"lock_kept": "bug"}
# Of a CPU that is stuck there are reports for as long as the guest lives.
GOLDEN_LINES = 120
BUILD_TIMEOUT_S = 3600
ASKED_FOR = "PAGELAB_KERNEL_FAULTS"

pytestmark = pytest.mark.skipif(not os.environ.get(ASKED_FOR), reason="builds a kernel of its own: make kernel-faults")


@pytest.mark.parametrize("case", FAULTS)
def test_what_the_kernel_complains_of_has_its_name(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, verdict = FAULTS[case]
    (tmp_path / "samples").mkdir()
    shutil.copy(ROOT / "guest_tests" / "samples" / "kernel_faults.c", tmp_path / "samples")
    monkeypatch.setenv("PAGELAB_SCENARIOS", str(tmp_path / "samples"))
    config = [word for name in (str(CONFIG), *PRESETS) for word in ("--config", name)]
    what = ("-t", MACHINE, "-k", "baseline", "--test", f"kernel_faults.{case}")
    campaign = run_campaign(tmp_path / "run", "quick", *what, *config, timeout_s=BUILD_TIMEOUT_S)
    records = {each["case"]: each for each in campaign.results["records"]}
    assert (records[case]["outcome"], records[case]["cause"]) == verdict, records[case]["excerpt"]
    assert WORSE.get(case, kind.name.lower().replace("_", "-")) in {each["cause"] for each in records.values()}
    assert campaign.done.status == 1
    console = read.load(campaign.path).cells[0].runs[0].console
    assert kind in {report.kind for report in oops.scan(console)}
    if os.environ.get("PAGELAB_UPDATE_GOLDEN"):
        golden = "".join(console.splitlines(keepends=True)[:GOLDEN_LINES])
        (GOLDEN / f"x86_64-real-{case.replace('_', '-')}.log").write_text(golden)
