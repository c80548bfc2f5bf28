# SPDX-License-Identifier: GPL-2.0-or-later
"""What is fuzzed: every reader of what a guest, a user or a results directory says, with what it must keep to.

A target takes bytes. It returns, or raises one of the lab's own errors; anything else is a defect. What it gives back
is checked here: bounded, printable, well-formed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

from lab.build import programs, source
from lab.core import untrusted
from lab.core.errors import LabError
from lab.core.outcome import End, Run
from lab.evidence.metadata import Evidence
from lab.evidence.read import load
from lab.formats import build_log, elf, kconfig, ktap, oops
from lab.formats.patches import patch
from lab.formats.patches.patch import Content
from lab.guests import verify
from lab.report import registry as report
from lab.specs.library import Library
from lab.verdicts import counters
from lab.verdicts.compare import conclude
from lab.workflows.machine import capture
from lab.workflows.machine.shrink import Room, shrink
from tests.unit.fixtures import evidence as fixture

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
COMMON = (
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff\xfe",
    b"\xe2\x80\xae",
    b"\x1b[31m",
    b" ",
    b"9" * 5000,
    b"../",
    b"-1",
    b"\t",
    b'"',
)
"""Words that any reader may stumble over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One reader."""

    name: str
    read: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = field(default=())
    """What its language is made of."""
    units: tuple[bytes, ...] = field(default=())
    """What, besides `words`, repeated makes an input that must be read in linear time."""
    large: int = 64 << 10
    """Bytes of such an input."""

    def run(self, data: bytes) -> None:
        """Read; what it must not do is an exception here."""
        try:
            self.read(data)
        except LabError as error:
            assert len(str(error)) < 20_000, "an endless error"


def text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def files(*patterns: str) -> Callable[[], list[bytes]]:
    """The first 20 kB of golden files."""
    return lambda: [
        path.read_bytes()[:20_000] for pattern in patterns for path in sorted(ROOT.glob(pattern)) if path.is_file()
    ]


# What guests say.


def read_ktap(data: bytes) -> None:
    document = ktap.parse(text(data))
    assert len(document.results) <= ktap.MAX_RESULTS
    assert len(document.defects) <= ktap.MAX_DEFECTS
    assert all(len(result.name) <= ktap.MAX_LINE for result in document.results)


def read_console(data: bytes) -> None:
    for finding in oops.scan(text(data)):
        assert all(line.isprintable() and len(line) <= oops.MAX_LINE for line in finding.lines)
    assert all(line.isprintable() for line in (*oops.tail(text(data)), *oops.states(text(data))))


@cache
def asked_for() -> verify.ExpectedMachine:
    return verify.ExpectedMachine(
        topology=Library.shipped().topology("arm64-64k-2node"), build_id="00" * 20, cmdline=("a",)
    )


def read_facts(data: bytes) -> None:
    asked = asked_for()
    facts = verify.parse_facts(text(data))
    assert len(facts.flaws) <= verify.MAX_FLAWS
    for mismatch in verify.verify(asked, facts):
        assert str(mismatch).isprintable()
        assert len(str(mismatch)) < 2000


def read_notes(data: bytes) -> None:
    with suppress(ValueError):
        elf.build_id(data, "little")


def judged_and_reported(data: bytes) -> None:
    """A program's output and, behind a form feed, its console: judged and reported in every form."""
    said, _, console = text(data).partition("\f")
    end = list(End)[len(data) % len(End)]
    run = Run(
        scenario="expand", end=end, status=1 if end is End.EXITED else None, ktap=said, stderr=said, console=console
    )
    one = fixture.cell(runs=(run,), reason=said[:200])
    known = fixture.metadata(fixture.TOPOLOGIES[:1], fixture.KERNELS[1:])
    summary = conclude(Evidence(metadata=fixture.recorded(known), cells=(one,)))
    for form in report.formats():
        shown = report.render(summary, form)
        assert untrusted.printable(shown).replace("        ", "\t") == shown.replace("        ", "\t"), form
        assert len(shown) < 400_000
    ET.fromstring(report.render(summary, "junit"))


def read_books(data: bytes) -> None:
    said, before, after = counters.split(b"\nmark\n" + data + b"\nmark\n", "mark")
    assert len(said) <= len(data) + len(b"\nmark\n") * 2
    if before is not None and after is not None:
        for lost in counters.leaks(before, after):
            assert untrusted.printable(lost) == lost


def cleaned(data: bytes) -> None:
    said = data.decode("utf-8", "surrogateescape")
    shown = untrusted.printable(said)
    assert shown.replace("\n", "").isprintable()
    assert len(untrusted.one_line(said, 80)) <= 80
    assert "\n" not in untrusted.one_line(said, 80)
    assert untrusted.excerpt(said.split("\n"), max_lines=10).count("\n") < 10


def listed(data: bytes) -> None:
    programs.parse_cases("x", text(data))


# What users write.


@cache
def directory() -> Path:
    """A directory of this process, in memory where that can be."""
    shm = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="pagelab-fuzz-", dir=shm if shm.is_dir() else None))


def yaml_of(read_as: Callable[[Library, str], object]) -> Callable[[bytes], None]:
    """A file of one kind, as `lab plan` reads it."""

    def check(data: bytes) -> None:
        path = directory() / "mine.yaml"
        path.write_bytes(data)
        read_as(Library.shipped(), str(path))

    return check


def read_patch(data: bytes) -> None:
    tree = patch.Tree(lambda name: Content(b"a\nb\nc\nd\n") if name in ("mm/a.c", "b") else None)
    for change in patch.parse(data, "my.patch"):
        assert ".." not in change.name.split("/")
        assert not change.name.startswith("/")
        tree.apply(change, "my.patch")


def read_fragment(data: bytes) -> None:
    requests = kconfig.merge([kconfig.parse_fragment(text(data), "my.config")])
    config = kconfig.override("CONFIG_A=y\nCONFIG_B=0x1\n", requests)
    kconfig.lost(requests, kconfig.parse_config(config))


def read_config(data: bytes) -> None:
    values = kconfig.parse_config(text(data))
    kconfig.differences(values, {"A": "0x10"})
    kconfig.symbols_in(kconfig.depends_on(text(data), "A") or ())


def read_makefile(data: bytes) -> None:
    source.kernel_version(text(data), "linux")


def read_capture(data: bytes) -> None:
    """A pasted machine: what is read of it is printable, and a topology that comes of it is one."""
    reading = capture.read([("pasted", text(data))])
    for line in reading.lines():
        assert untrusted.printable(line) == line, line
    topology = shrink(reading.check(), Room()).topology("pasted")
    assert topology.vcpus <= 64


def read_buildlog(data: bytes) -> None:
    assert len(build_log.excerpt(text(data).splitlines())) < 100_000


# What lies in a results directory.


@cache
def run_directory() -> Path:
    """A finished run, whose first cell is bent."""
    place = directory() / "results"
    shutil.rmtree(place, ignore_errors=True)
    return fixture.write(place, fixture.evidence()).path


CELL = Path("cells", fixture.TOPOLOGIES[0], fixture.KERNELS[0])


def run_with(name: Path) -> Callable[[bytes], None]:
    """A run with one file of it replaced, read and reported as by `lab report`."""

    def check(data: bytes) -> None:
        path = run_directory() / name
        before = path.read_bytes()
        try:
            path.write_bytes(data)
            summary = conclude(load(run_directory()))
            assert untrusted.printable(report.render(summary, "text"))
            report.render(summary, "json")
        finally:
            path.write_bytes(before)

    return check


def seed_of(name: Path) -> Callable[[], list[bytes]]:
    return lambda: [(run_directory() / name).read_bytes()]


FACTS = b"machine=aarch64\nrelease=6.12.117\nnotes=040000001400000003000000474e5500\npage_size=65536\ncpus=0-3,5\n"
FACTS += (
    b"mem_total=1012345856\nnode.0.cpus=0-1\nnode.0.mem_total=512345088\nnode.0.distance=10 20\nhugepages.2097152=16\n"
)
FACTS += b"node.0.hugepages.2097152=8\ncmdline=console=ttyAMA0 a\nbyteorder=little\nuptime=0.91\n"
PATCH = b"Subject: x\n---\ndiff --git a/mm/a.c b/mm/a.c\nindex 1..2 100644\n--- a/mm/a.c\n+++ b/mm/a.c\n"
PATCH += b"@@ -1,3 +1,3 @@ x\n a\n-b\n+B\n c\n"
RENAME = b"diff --git a/b b/c\nsimilarity index 100%\nrename from b\nrename to c\n"
KTAP_WORDS = (
    b"KTAP version 1\n",
    b"1..2\n",
    b"ok 1 a\n",
    b"not ok 2 b",
    b" # SKIP x",
    b"# duration_ms=4\n",
    b"# Subtest: s\n",
    b"    ",
    b"Bail out! x\n",
    b"# ",
)
CONSOLE_WORDS = (
    b"[    1.000000] ",
    b"BUG: ",
    b"Kernel panic - not syncing: ",
    b"------------[ cut here ]------------\n",
    b"---[ end trace 0 ]---\n",
    b"WARNING: ",
    b"rcu: INFO: rcu_sched self-detected stall\n",
    b"x invoked oom-killer: \n",
    b"Call trace:\n",
    b"Internal error: Oops: 0 [#1]\n",
)
YAML_WORDS = (
    b"topologies: ",
    b"[",
    b"]",
    b"{",
    b"}",
    b"- ",
    b"? ",
    b": ",
    b"&a ",
    b"*a ",
    b"!!x ",
    b"|\n",
    b">\n",
    b"'",
    b'"',
    b"#",
    b"--- ",
    b"...\n",
    b"numa:\n",
    b"  cpus: 0-1\n",
    b"memory: 512M\n",
    b"distances: [[10]]\n",
    b"%YAML 1.1\n",
    b"<<: ",
)
PATCH_WORDS = (
    b"--- a/mm/a.c\n",
    b"+++ b/mm/a.c\n",
    b"@@ -1,2 +1,2 @@\n",
    b"diff --git a/b b/c\n",
    b"rename from b\n",
    b"rename to c\n",
    b"new file mode 100644\n",
    b"deleted file mode 100644\n",
    b"GIT binary patch\n",
    b"/dev/null",
    b"\\ No newline at end of file\n",
    b"+",
    b"-",
    b"-- \n",
)
CONFIG_WORDS = (
    b"CONFIG_A=y\n",
    b"# CONFIG_B is not set\n",
    b"CONFIG_C=0x1F\n",
    b'CONFIG_D="a\\"b"\n',
    b"config A\n",
    b"if B\n",
    b"endif\n",
    b"depends on A && (B || C)\n",
    b"menuconfig A\n",
    b"choice\n",
    b"endchoice\n",
)
JSON_WORDS = (
    b'{"event": "run", ',
    b'"scenario": "expand", ',
    b'"ktap": "',
    b'"end": "exited"',
    b"[",
    b"{",
    b'"a": ',
    b"1e999",
    b"null",
    b"true",
    b"\\ud800",
    b'"attempt": 1',
    b"NaN",
    b"}\n",
    b", ",
)

TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target(
            name="ktap",
            read=read_ktap,
            seeds=files("tests/golden/ktap/*.ktap", "tests/golden/guest_tests/*"),
            words=KTAP_WORDS,
            units=(b"  KTAP version 1\n  1..1\n", b"ok 1 a # SKIP # SKIP "),
        ),
        Target(
            name="console",
            read=read_console,
            seeds=files("tests/golden/console/*.log"),
            words=CONSOLE_WORDS,
            units=(b"BUG: unable to handle x\nOops: 0 [#1]\n", b"0x1234 12345678 "),
        ),
        Target(
            name="facts",
            read=read_facts,
            seeds=lambda: [FACTS],
            words=tuple(FACTS.splitlines(keepends=True)),
            units=(b"node.1.cpus=0\n", b"0-1,"),
        ),
        Target(
            name="notes",
            read=read_notes,
            seeds=lambda: [bytes.fromhex("040000001400000003000000474e5500") + b"x" * 20],
            words=(b"GNU\0", b"\4\0\0\0", b"\xff\xff\xff\xff"),
        ),
        Target(
            name="report",
            read=judged_and_reported,
            large=16 << 10,
            seeds=lambda: [each + b"\f" + b"BUG: x\n" for each in files("tests/golden/ktap/*.ktap")()],
            words=(*KTAP_WORDS, b"\f", b"<script>", b"]]>", b"&amp;", b"{{ x }}", b"[bold]"),
        ),
        Target(
            name="books",
            read=read_books,
            seeds=lambda: [b"Shmem: 4\nmark\nok 1 a\n\nmark\nShmem: 9999\n"],
            words=(b"mark\n", b"\nmark\n", b"MemFree: 5\n", b"count: 9\n", b"free.2048kB: 3\n"),
        ),
        Target(
            name="untrusted",
            read=cleaned,
            seeds=lambda: [b"hello\n", b"\x1b[31m\xff"],
            words=(b"\xed\xa0\x80", b"\xf3\xa0\x80\x81", b"\xc2\x9b"),
        ),
        Target(
            name="listing",
            read=listed,
            seeds=lambda: [b'{"name": "a", "requires": ["x"], "timeout_s": 5}\n'],
            words=(b'"name": "b"', b'"requires": []', *JSON_WORDS),
        ),
        Target(
            name="topology",
            read=yaml_of(Library.topology),
            large=6 << 10,
            seeds=files("topologies/*.yaml", "tests/golden/load/topology/*.yaml"),
            words=YAML_WORDS,
        ),
        Target(
            name="kernel",
            read=yaml_of(Library.kernel),
            large=6 << 10,
            seeds=files("images/kernels/*.yaml", "tests/golden/load/kernel/*.yaml"),
            words=(b"source: ", b"path:", b"git:", b"@", b"series: ", b"provides: [", b"config: [", *YAML_WORDS),
        ),
        Target(
            name="campaign",
            read=yaml_of(Library.plan),
            large=6 << 10,
            seeds=files("topologies/campaigns/*.yaml", "tests/golden/load/campaign/*.yaml"),
            words=(
                b"kernels: [baseline]\n",
                b"scenarios: [guards.i*]\n",
                b"isolation: fresh\n",
                b"*",
                b"[!",
                *YAML_WORDS,
            ),
        ),
        Target(
            name="patch",
            read=read_patch,
            seeds=lambda: [PATCH, RENAME, *files("images/series/*/*/*.patch")()],
            words=PATCH_WORDS,
            units=(b" b/", b"a b/c "),
        ),
        Target(name="fragment", read=read_fragment, seeds=files("images/config/*.config"), words=CONFIG_WORDS),
        Target(
            name="config",
            read=read_config,
            seeds=lambda: [b"".join(CONFIG_WORDS), *files("tests/fakelinux/Kconfig")()],
            words=CONFIG_WORDS,
        ),
        Target(
            name="makefile",
            read=read_makefile,
            seeds=files("tests/fakelinux/Makefile"),
            words=(b"VERSION = 6\n", b"PATCHLEVEL=", b"SUBLEVEL\t=", b"EXTRAVERSION ="),
        ),
        Target(
            name="capture",
            read=read_capture,
            large=16 << 10,
            seeds=files("tests/golden/capture/*.txt", "tests/golden/capture/pasted/*.txt"),
            words=(
                *(b"available: 2 nodes (0-1)\n", b"node 1 cpus: 0-4095\n", b"node distances:\n", b"node 0 1\n"),
                *(b"NUMA node0 CPU(s): 0-3,\n", b"Architecture: x86_64\n", b"> ", b"=\n", b"=3D", b"&nbsp;", b"<br>"),
                *(b"/sys/devices/system/node/node0/cpumap:ff\n", b"==> node0/distance <==\n", b"10 20\n", b"|"),
                *(b"SRAT: Node 0 PXM 0 [mem 0x0-0xffff]\n", b'<object type="NUMANode" os_index="1">', b"...\n"),
            ),
        ),
        Target(
            name="buildlog",
            read=read_buildlog,
            seeds=lambda: [b"  CC x.o\nx.c:1:2: error: y\nmake: *** [x] Error 1\n"],
            words=(b"error: ", b"x.c:3:1: ", b"make[1]: *** ", b"In file included from ", b"note: "),
        ),
        Target(
            name="metadata",
            read=run_with(Path("metadata.json")),
            large=16 << 10,
            seeds=seed_of(Path("metadata.json")),
            words=JSON_WORDS,
        ),
        Target(
            name="journal", read=run_with(CELL / "events.jsonl"), seeds=seed_of(CELL / "events.jsonl"), words=JSON_WORDS
        ),
        Target(
            name="results", read=run_with(CELL / "expand.ktap"), seeds=seed_of(CELL / "expand.ktap"), words=KTAP_WORDS
        ),
        Target(
            name="console-file",
            read=run_with(CELL / "console.log"),
            large=16 << 10,
            seeds=seed_of(CELL / "console.log"),
            words=CONSOLE_WORDS,
        ),
    )
}
