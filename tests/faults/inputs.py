# SPDX-License-Identifier: GPL-2.0-or-later
"""Input side: YAML, patches and fragments that are wrong, results that are damaged or from elsewhere."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from tests.faults.fault import Expect, Fault
from tests.faults.place import MACHINE, ROOT, Done, FaultDirectory
from tests.unit.fixtures import evidence

# Campaigns, machines, kernels.


def planned(text: str | bytes) -> Callable[[FaultDirectory], Done]:
    """`lab plan` of a campaign's file."""
    return lambda place: place.lab("plan", str(place.write("campaign.yaml", text)))


def planned_on(text: str | bytes) -> Callable[[FaultDirectory], Done]:
    """`lab plan` of a good campaign on a machine's file."""
    return lambda place: place.lab("plan", "quick", "-t", str(place.write("machine.yaml", text)))


def planned_path(make: Callable[[Path], None]) -> Callable[[FaultDirectory], Done]:
    """`lab plan` of something that is no regular file."""

    def inject(place: FaultDirectory) -> Done:
        path = place.path / "odd.yaml"
        make(path)
        return place.lab("plan", str(path), timeout_s=30)

    return inject


def billion_laughs() -> str:
    lines = ["a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join([*lines, "topologies: *a11\n"])


# Kernels, built of a tree that answers make in milliseconds.


def built(*, patch: str = "", config: str = "", source: str = "", series: str = "") -> Callable[[FaultDirectory], Done]:
    """`lab build` of a kernel of the user's: the toy tree with a patch and a fragment."""

    def inject(place: FaultDirectory) -> Done:
        shutil.copytree(ROOT / "tests" / "fakelinux", place.path / "linux")
        lines = [f"source: {source or 'path:./linux'}"]
        if patch or series:
            lines.append(f"series: {series or './my.patch'}")
            place.write("my.patch", patch)
        if config:
            lines.append("config: [./my.config]")
            place.write("my.config", config)
        place.write("mine.yaml", "\n".join(lines) + "\n")
        return place.lab("build", "quick", "-t", MACHINE, "-k", str(place.path / "mine.yaml"), timeout_s=120)

    return inject


def diff(name: str, old: str, new: str, line: int = 1) -> str:
    return f"Subject: x\n---\n--- a/{name}\n+++ b/{name}\n@@ -{line},1 +{line},1 @@\n-{old}\n+{new}\n-- \n2.39\n"


# Results.


def reported(
    damage: Callable[[Path], None], *, form: str = "text", stands: bool = False
) -> Callable[[FaultDirectory], Done]:
    """`lab report` of a finished run that was damaged since, one cell of it where `stands`."""

    def inject(place: FaultDirectory) -> Done:
        evidence.write(place.path / "results", evidence.evidence()).path.rename(place.output)
        if stands:
            last = [each for each in place.verdicts().records if (each.topology, each.kernel) == LAST]
            place.finished = {each.label: each.outcome for each in last}
        damage(place.output)
        return place.lab("report", str(place.output), "--format", form, timeout_s=60)

    return inject


LAST = (evidence.TOPOLOGIES[1], evidence.KERNELS[1])
FIRST = f"cells/{evidence.TOPOLOGIES[0]}/{evidence.KERNELS[0]}"
"""The cell that is damaged; the verdicts of the last cell must stand."""


def journal(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        path = run / FIRST / "events.jsonl"
        path.write_bytes(change(path.read_bytes()))

    return damage


def metadata(**changes: object) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        path = run / "metadata.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return damage


def cut_metadata(run: Path) -> None:
    os.truncate(run / "metadata.json", 500)


def no_metadata(run: Path) -> None:
    (run / "metadata.json").unlink()


def huge_metadata(run: Path) -> None:
    """A thousand megabytes, none of them on the disk."""
    os.truncate(run / "metadata.json", 1000 << 20)


def huge_journal(run: Path) -> None:
    os.truncate(run / FIRST / "events.jsonl", 1000 << 20)


def ktap_gone(run: Path) -> None:
    (run / FIRST / "expand.ktap").unlink()


def ktap_huge(run: Path) -> None:
    os.truncate(run / FIRST / "expand.ktap", 1000 << 20)


def ktap_elsewhere(run: Path) -> None:
    """A link out of the directory, to something endless."""
    (run / FIRST / "expand.ktap").unlink()
    (run / FIRST / "expand.ktap").symlink_to("/dev/zero")


def ktap_pipe(run: Path) -> None:
    (run / FIRST / "expand.ktap").unlink()
    os.mkfifo(run / FIRST / "expand.ktap")


def journal_is_a_directory(run: Path) -> None:
    (run / FIRST / "events.jsonl").unlink()
    (run / FIRST / "events.jsonl").mkdir()


def console_gone(run: Path) -> None:
    (run / FIRST / "console.log").unlink()


def bad(name: str, what: str, inject: Callable[[FaultDirectory], Done], says: str, *, quick: bool = True) -> Fault:
    """The user's file is wrong: exit status 64 and one line that says where."""
    return Fault(name=name, what=what, inject=inject, expect=Expect(status=64, says=says), quick=quick)


def run_of_four(cells: str) -> str:
    return cells + " OK OK OK"


def still_read(
    name: str, what: str, damage: Callable[[Path], None], *, first: str, says: str, status: int = 2
) -> Fault:
    """Damage to one cell of a run: it is said, and the other cells' verdicts stand."""
    expect = Expect(status=status, cell=run_of_four(first), says=says, memory=256)
    return Fault(name=name, what=what, inject=reported(damage, stands=True), expect=expect, quick=True)


GOOD = "topologies: [arm64-64k]\nkernels: [baseline]\nscenarios: [guards]\n"

FAULTS = (
    bad(
        "yaml-malformed",
        "a campaign that is no YAML",
        planned("topologies: [a, b\nkernels: }"),
        r"campaign.yaml:\d+: not YAML",
    ),
    bad("yaml-empty", "an empty campaign", planned(""), "expected keys and values, got an empty file"),
    bad("yaml-huge", "a campaign of ten megabytes", planned(GOOD + "# x\n" * (10 << 18)), "expected at most 256 KiB"),
    bad(
        "yaml-bomb",
        "aliases of aliases of aliases",
        planned(billion_laughs()),
        "anchors and aliases .* are not accepted",
        quick=False,
    ),
    bad(
        "yaml-cyclic",
        "a list that holds itself",
        planned("topologies: &x [*x]\n"),
        "anchors and aliases .* are not accepted",
    ),
    bad(
        "yaml-tag",
        "a tag that makes an object",
        planned("topologies: !!python/object/apply:os.system [reboot]\n"),
        "tags are not accepted",
    ),
    bad("yaml-deep", "brackets a hundred thousand deep", planned("topologies: " + "[" * 100_000), "nested more than"),
    bad(
        "yaml-keys-twice",
        "a key that is there twice",
        planned(GOOD + "kernels: [x]\n"),
        "the key is there twice, first on line 2",
    ),
    bad("yaml-bytes", "bytes that are no text", planned(b"topologies: [\xff\xfe\x00]\n"), "expected UTF-8 text"),
    bad(
        "yaml-escapes",
        "escape sequences in a name",
        planned('topologies: ["\\e[2J\\e[31mx"]\n'),
        "expected printable text on one line",
        quick=False,
    ),
    bad("yaml-pipe", "a pipe that nobody writes to", planned_path(os.mkfifo), "expected a YAML file"),
    bad(
        "yaml-endless",
        "a device that never ends",
        planned_path(lambda path: path.symlink_to("/dev/zero")),
        "expected a YAML file",
    ),
    bad(
        "yaml-number",
        "a number of ten thousand digits",
        planned_on(f"arch: arm64\npage_size: 64K\nvcpus: {'9' * 10_000}\n"),
        "vcpus: expected a whole number",
        quick=False,
    ),
    bad(
        "yaml-outside",
        "a machine in another directory that is not there",
        planned("topologies: [../../../etc/shadow]\nkernels: [baseline]\nscenarios: [guards]\n"),
        "expected a YAML file",
        quick=False,
    ),
    bad(
        "machine-too-large",
        "a machine of a thousand terabytes",
        planned_on("arch: arm64\npage_size: 64K\nmemory: 1024T\n"),
        "memory: ",
    ),
    bad(
        "patch-mismatch",
        "a patch that does not apply",
        built(patch=diff("mm/mmap.c", "no such line", "x")),
        "hunk 1 does not apply",
    ),
    bad(
        "patch-outside",
        "a patch of a file outside the tree",
        built(patch=diff("../../../../tmp/x", "a", "b")),
        "touches a path outside the tree",
        quick=False,
    ),
    bad(
        "patch-torn",
        "a patch that ends in a hunk",
        built(patch=diff("mm/mmap.c", "a", "b")[:60]),
        "my.patch",
        quick=False,
    ),
    bad("patch-binary", "a patch of random bytes", built(patch="\x00\x01\x02" * 3000), "my.patch", quick=False),
    bad("patch-endless", "a device for a patch", built(series="/dev/zero"), "/dev/zero"),
    bad(
        "patch-huge-hunk",
        "a hunk of a number of lines that nobody has",
        built(patch=diff("mm/mmap.c", "a", "b").replace("-1,1", "-1,99999999999")),
        "my.patch",
        quick=False,
    ),
    bad(
        "fragment-lost",
        "a symbol that the kernel does not have",
        built(config="CONFIG_NO_SUCH_SYMBOL=y\n"),
        "CONFIG_NO_SUCH_SYMBOL",
    ),
    bad("fragment-malformed", "a fragment that is none", built(config="hello\n"), "my.config:1: ", quick=False),
    bad(
        "source-missing",
        "a source that is not there",
        built(source="path:./nowhere"),
        "expected a directory with a kernel tree",
        quick=False,
    ),
    bad("source-other", "a source that is no kernel", built(source="path:."), "expected a kernel tree", quick=False),
    bad("results-future", "results of a later version", reported(metadata(schema=2)), "schema"),
    bad("results-torn", "metadata that breaks off", reported(cut_metadata), "expected JSON"),
    bad("results-none", "a directory that is no run's", reported(no_metadata), "expected the directory of a run"),
    bad(
        "results-outside",
        "cells that lie outside the directory",
        reported(metadata(cells=[{"topology": "../..", "kernel": "etc"}])),
        "cells.0.topology",
        quick=False,
    ),
    bad("results-huge", "metadata of a gigabyte", reported(huge_metadata), "metadata.json"),
    bad(
        "results-form",
        "a format that there is not",
        reported(lambda run: None, form="carrier-pigeon"),
        "carrier-pigeon",
    ),
    still_read(
        "journal-torn",
        "a journal that breaks off",
        journal(lambda raw: raw[: len(raw) // 2]),
        first="BROKEN",
        says="the lab ended before this cell was done",
    ),
    still_read(
        "journal-bytes",
        "a journal with a line of random bytes",
        journal(lambda raw: b"\xff\x00\x9b" * 999 + b"\n" + raw),
        first="BROKEN",
        says="1 unreadable lines in its journal",
    ),
    still_read("journal-huge", "a journal of a gigabyte", huge_journal, first="OK", says="", status=0),
    still_read(
        "journal-directory",
        "a directory for a journal",
        journal_is_a_directory,
        first="BROKEN",
        says="unreadable|cannot be read",
    ),
    still_read("ktap-gone", "results that are gone", ktap_gone, first="OK", says="expand.ktap has 0 bytes"),
    still_read("ktap-huge", "results of a gigabyte", ktap_huge, first="OK", says="the evidence is damaged"),
    still_read("ktap-endless", "a device for results", ktap_elsewhere, first="OK", says="without evidence"),
    still_read("ktap-pipe", "a pipe for results", ktap_pipe, first="OK", says="without evidence"),
    still_read("console-gone", "a console that is gone", console_gone, first="OK", says="console.log has 0 bytes"),
)
