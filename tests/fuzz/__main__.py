# SPDX-License-Identifier: GPL-2.0-or-later
"""`make fuzz [ARGS="SECONDS [TARGET...]"]`: fuzz every reader for its share of the time; what is found is printed."""

from __future__ import annotations

import argparse
import base64
import shutil
import sys
import time
from collections.abc import Sequence

from tests.fuzz.engine import Fuzzer, smaller
from tests.fuzz.targets import TARGETS, directory


def main(argv: Sequence[str]) -> int:
    """0 when nothing was found."""
    options = argparse.ArgumentParser(prog="make fuzz")
    options.add_argument("seconds", nargs="?", type=float, default=60.0, help="for all targets together [60]")
    options.add_argument(
        "targets", nargs="*", choices=[*TARGETS, []], default=[], metavar="TARGET", help=", ".join(TARGETS)
    )
    options.add_argument("--seed", type=int, default=None, help="of the random numbers [the time]")
    asked = options.parse_args(argv)
    seed = int(time.time()) if asked.seed is None else asked.seed
    chosen = [TARGETS[name] for name in asked.targets or TARGETS]
    print(f"seed {seed}")
    found = 0
    try:
        for target in chosen:
            fuzzer = Fuzzer(target=target, seed=seed)
            fuzzer.run(seconds=asked.seconds / len(chosen))
            print(
                f"{target.name:13} {fuzzer.runs:7} inputs, {len(fuzzer.arcs):5} arcs, {len(fuzzer.crashes)} found",
                flush=True,
            )
            for crash in fuzzer.crashes.values():
                less = smaller(crash, target)
                print(f"    {less.why}\n    {base64.b85encode(less.data).decode()[:2000]}", flush=True)
            found += len(fuzzer.crashes)
    finally:
        shutil.rmtree(directory(), ignore_errors=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
