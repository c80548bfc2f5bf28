# SPDX-License-Identifier: GPL-2.0-or-later
"""`make faults [ARGS="NAME|GLOB..."]`: inject faults and print what was expected of each and what came."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase

from tests.faults import fault
from tests.faults.fault import Fault, FaultResult
from tests.faults.place import KERNEL, MACHINE, ROOT
from tests.faults.table import SIDES
from tests.namespaces import unavailable


def main(argv: Sequence[str]) -> int:
    """Run what is asked for; 0 when every fault came to what it must."""
    options = argparse.ArgumentParser(prog="make faults")
    options.add_argument("names", nargs="*", metavar="NAME", help="faults or globs of them; a side: host, qemu, ...")
    options.add_argument("--quick", action="store_true", help="only those that CI runs")
    options.add_argument("--jobs", "-j", type=int, default=3, help="faults at a time [3]")
    options.add_argument("--list", action="store_true", help="say what there is, and inject nothing")
    asked = options.parse_args(argv)
    chosen = [each for each in everything() if _wanted(each, asked.names) and (each[1].quick or not asked.quick)]
    if not chosen:
        options.error("no such fault; --list says what there is")
    if asked.list:
        for side, each in chosen:
            print(f"{side:7} {each.name:26} {each.what}")
        return 0
    if why := unavailable():
        skipped = [each.name for side, each in chosen if side == "cluster"]
        chosen = [each for each in chosen if each[0] != "cluster"]
        for name in skipped:
            print(f"skip  cluster {name}: {why}")
    if any(side != "cluster" for side, _ in chosen):
        build()
    started = time.monotonic()
    with ThreadPoolExecutor(asked.jobs) as pool:
        results = list(pool.map(_told, chosen))
    print(summary(results), f"in {time.monotonic() - started:.0f} s")
    return 0 if all(each.good for each in results) else 1


def everything() -> list[tuple[str, Fault]]:
    return [(side, each) for side, faults in SIDES.items() for each in faults]


def build() -> None:
    """What the guests boot is built before any fault is injected."""
    where = [sys.executable, "-m", "lab", "build", "quick", "-t", MACHINE, "-k", KERNEL]
    subprocess.run(where, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def summary(results: Sequence[FaultResult]) -> str:
    """The last line."""
    wrong = sum(bool(each.wrong) for each in results)
    lost, orphans = (sum(map(len, found)) for found in ([r.lost for r in results], [r.orphans for r in results]))
    return f"{len(results)} faults, {wrong} wrong, {lost} lost results, {orphans} orphans"


def _wanted(each: tuple[str, Fault], names: Sequence[str]) -> bool:
    side, fault_ = each
    return not names or any(fnmatchcase(fault_.name, name) or name == side for name in names)


def _told(each: tuple[str, Fault]) -> FaultResult:
    """Inject one fault and print its row."""
    side, wanted = each
    started = time.monotonic()
    result = fault.run(wanted)
    spent = time.monotonic() - started
    memory = f"{result.memory >> 20} MiB, {result.disk / (1 << 20):.1f} MiB" if result.memory else ""
    lines = [
        f"{'ok   ' if result.good else 'WRONG'} {side:6} {wanted.name}: {wanted.what} [{spent:.0f} s; {memory}]",
        f"        expected  {wanted.expect}",
        f"        got       {result.got}",
        *(f"        wrong     {each}" for each in result.wrong),
        *(f"        lost      {each}" for each in result.lost),
        *(f"        orphan    {each}" for each in result.orphans),
    ]
    print("\n".join(lines), flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
