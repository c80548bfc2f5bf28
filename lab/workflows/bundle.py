# SPDX-License-Identifier: GPL-2.0-or-later
"""Write a cell as a tarball that boots with plain QEMU, so that a failure can be reproduced without the lab.

The guest runs the test by itself and prints the results on the console. Its first process is `/lab/first`, from an
archive appended to the userland's; it starts the test in the background and then executes the userland's own init.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.build import rootfs
from lab.build.builder import Artifacts
from lab.core import paths
from lab.core.cache import write_atomic
from lab.core.outcome import CaseRecord, Cause, Outcome
from lab.evidence.metadata import Provenance
from lab.evidence.read import file_of
from lab.formats.kconfig import slowness
from lab.guests import qemu_command
from lab.guests.accelerator import KVM_SLOWDOWN, Accelerator
from lab.guests.domain import GuestMachine
from lab.run.program import SCENARIO_MARGIN_S, command
from lab.verdicts.compare import Summary
from lab.verdicts.place import Spot

FIRST = "lab/first"
SHELL = "pagelab.shell"
"""The kernel argument that asks for a shell instead of the test."""
BOOT_S = 60.0
"""Seconds that a guest may take to get ready, in addition to its test."""
KERNEL_COMPLAINS = "Kernel panic|Oops|BUG:|WARNING:|UBSAN:|Internal error|Unable to handle|lockup|stall|out of memory"
EVIDENCE = ("config", "domain.xml", "console.log", "facts.json", "qemu.args", "events.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a guest runs by itself: a shell command, the expected result lines (EREs), and the time limit in seconds."""

    command: str = ""
    expected: tuple[str, ...] = ()
    seconds: float = BOOT_S


def first(test: Trial) -> bytes:
    """Return the script of the guest's first process.

    In the background it waits until the guest is ready, runs the test and reboots; it then executes init itself.
    """
    return f"""#!/bin/sh
# The first process of a bundle's guest. `{SHELL}` among the kernel's arguments gives a shell instead.
export PATH=/bin:/sbin HOME=/root
{{
	until {{ grep -q ^uptime= /run/facts; }} 2> /dev/null; do usleep 100000; done
	usleep 300000
	read -r arguments < /proc/cmdline
	case " $arguments " in
	*" {SHELL} "*) cd /tmp && sh -il < /dev/console > /dev/console 2>&1 ;;
	*) ( {test.command or "true"} ); echo "pagelab: exit status $?" ;;
	esac
	reboot -f
}} &
exec /init
""".encode()


def test_of(spot: Spot, accelerator: Accelerator, timeouts: Mapping[str, float]) -> Trial:
    """Return what the guest of a place runs: the cases of its scenario, or nothing unless it has exactly one scenario.

    `timeouts` maps `scenario.case` to seconds.
    """
    if len(spot.cases) != 1:
        return Trial()
    ((scenario, cases),) = spot.cases.items()
    seconds = sum(timeouts.get(f"{scenario}.{case}", SCENARIO_MARGIN_S) for case in cases) + SCENARIO_MARGIN_S
    return Trial(
        command=command(spot.topology, spot.kernel, scenario, cases, accelerator),
        expected=tuple(pattern(record) for record in spot.records if record.case in cases),
        seconds=BOOT_S + seconds * accelerator.slowdown,
    )


def pattern(record: CaseRecord) -> str:
    """Return the extended regular expression for the console line that shows the recorded result."""
    case = re.escape(record.case)
    ends = {
        Outcome.PASS: f"^ok [0-9]+ (- )?{case} *$",
        Outcome.FAIL: f"^not ok [0-9]+ (- )?{case} *$",
        Outcome.SKIP: f"^ok [0-9]+ (- )?{case} # SKIP",
        Outcome.HANG: f"^not ok [0-9]+ (- )?{case} # TIMEOUT",
    }
    if record.outcome is Outcome.CRASH and record.cause is Cause.SIGNAL:
        return f"^not ok [0-9]+ (- )?{case} # CRASH"
    if record.outcome is Outcome.CRASH:
        return KERNEL_COMPLAINS
    return ends.get(record.outcome, f"^(not )?ok [0-9]+ (- )?{case}")


def write(to: Path, spot: Spot, summary: Summary, products: Artifacts, sources: Sequence[Path]) -> None:
    """Write the tarball atomically."""
    accelerator = _accelerator(spot, file_of(summary.evidence.source, spot.cell, "config"))
    test = test_of(spot, accelerator, _timeouts(summary))
    initrd = rootfs.with_new_host_key(products.rootfs.initrd) + rootfs.overlay(_overlay(spot, products, test))
    if products.kernel.modules:
        initrd += products.kernel.modules.read_bytes()
    emulator = spot.topology.architecture.qemu
    machine = GuestMachine(
        name="bundle",
        topology=spot.topology,
        accelerator=accelerator.name,
        emulator=Path(emulator),
        emulator_version=summary.evidence.metadata.host.emulators.get(emulator, ""),
        image=Path("kernel"),
        initrd=Path("initrd"),
        console=Path("console"),
    )
    files: dict[str, bytes] = {
        "kernel": products.kernel.image.read_bytes(),
        "initrd": initrd,
        "reproduce.sh": qemu_command.bundle_script(
            machine, FIRST, seconds=test.seconds, tested=bool(test.command)
        ).encode(),
        "expected": "".join(f"{line}\n" for line in test.expected).encode(),
        "README": _readme(spot, summary, test).encode(),
        "build.json": json.dumps(products.kernel.provenance.document(), indent=1).encode(),
        **{name: found for name in EVIDENCE if (found := file_of(summary.evidence.source, spot.cell, name))},
        **_sources(spot, summary, sources),
    }
    if symbols := products.kernel.system_map.read_bytes():  # empty for a kernel that was not built here
        files["System.map"] = symbols
    files["SHA256SUMS"] = "".join(f"{_sha256(content)}  {name}\n" for name, content in sorted(files.items())).encode()
    _pack(to, files)


def _accelerator(spot: Spot, config: bytes) -> Accelerator:
    """Return the accelerator that the guest ran on, with the slowdown that the lab's deadlines use for its .config."""
    name, slowdown = "tcg", spot.topology.architecture.tcg_slowdown
    if spot.cell.accelerator == "kvm":
        name, slowdown = "kvm", KVM_SLOWDOWN
    return Accelerator(name=name, slowdown=slowdown * slowness(config), why="recorded")


def _timeouts(summary: Summary) -> dict[str, float]:
    declared = summary.evidence.metadata.cases
    timeouts: dict[str, float] = {}
    for scenario, cases in declared.items():
        for case in cases:
            timeouts[f"{scenario}.{case.name}"] = case.timeout_s
    return timeouts


def _overlay(spot: Spot, products: Artifacts, test: Trial) -> dict[str, tuple[int, bytes]]:
    programs = {f"lab/{name}": (0o755, products.tests.programs[name].read_bytes()) for name in spot.cases}
    return {FIRST: (0o755, first(test)), **programs}


def _sources(spot: Spot, summary: Summary, sources: Sequence[Path]) -> dict[str, bytes]:
    """Return the source files of the tests with their headers, and the KTAP output that the run recorded."""
    found: dict[str, bytes] = {}
    programs = _programs(sources)
    for scenario in spot.cases:
        if program := programs.get(scenario):
            headers = [*program.parent.glob("*.h"), *paths.guest_tests().glob("*.h")]
            for path in (*headers, program):
                found[f"test/{path.name}"] = path.read_bytes()
        if output := file_of(summary.evidence.source, spot.cell, f"{scenario}.ktap"):
            found[f"{scenario}.ktap"] = output
    return found


def _programs(sources: Sequence[Path]) -> dict[str, Path]:
    """Return scenario name -> its C file; of two with one name, the first."""
    programs: dict[str, Path] = {}
    for source in sources:
        files = [source]
        if not source.is_file():
            files = sorted(source.glob("*.c"))
        for path in files:
            programs.setdefault(path.stem, path)
    return programs


def _readme(spot: Spot, summary: Summary, test: Trial) -> str:
    build, metadata = spot.build or Provenance(), summary.evidence.metadata
    found = [
        f"    {record.label}: {record.verdict}" + (f": {record.reason}" if record.reason else "")
        for record in spot.records
    ]
    made = {
        "machine": f"{spot.topology.name}: {spot.topology.description}",
        "kernel": f"{spot.kernel.name}: {build.release or ''}, {spot.kernel.source}",
        "series": ", ".join(patch.name for patch in build.patches) or "none",
        "compiler": build.compiler or "",
        "run": f"{metadata.started or ''}, pagelab {metadata.pagelab or ''}",
    }
    facts = "\n".join(f"    {name + ':':<10}{value}" for name, value in made.items())
    command = test.command or "a shell"
    return f"""{spot.name}

    sh reproduce.sh            boots the guest and runs the test; needs {spot.topology.architecture.qemu} alone.
                               Exit status 0: the recorded result came again; 1: another; 2: it could not be run
    sh reproduce.sh --shell    a shell in the guest instead (the programs are in /lab)

In the guest runs: {command}

Found when it was run:
{chr(10).join(found[:50]) or "    nothing was recorded"}

{facts}

kernel, initrd, config, System.map (of a kernel that the lab built): what is booted. test/: the source of the test.
console.log, domain.xml, facts.json, *.ktap: the evidence of the run. SHA256SUMS: check with sha256sum -c.
"""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _pack(to: Path, files: Mapping[str, bytes]) -> None:
    """Write the files as a gzipped tar archive, below one directory; the same files always give the same bytes."""
    top = to.name.removesuffix(".tar.gz")
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=6) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{top}/{name}")
            entry.size, entry.mode = len(content), 0o755 if name.endswith(".sh") else 0o644
            archive.addfile(entry, io.BytesIO(content))
    write_atomic(to, packed.getvalue())
