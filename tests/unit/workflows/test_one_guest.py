# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/workflows/one_guest.py: a program that no guest can run is refused before anything is built or booted."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lab.arch.record import Arch
from lab.build.roots.root import Copied
from lab.core.errors import BootError, GuestLost, InfraError, UsageError
from lab.core.outcome import End, Ended
from lab.evidence.console import ConsoleLog
from lab.formats import cpio, elf
from lab.guests.accelerator import Accelerator
from lab.guests.factory import BootableCell, GuestFactory
from lab.guests.guest import DIRECTORY
from lab.specs.arches import ARCHES, of_program
from lab.workflows import one_guest

ARCH = ARCHES["x86_64"]
X86, OTHER = 62, 183
EXEC, LOAD, INTERP = 2, 1, 3


def elf_file(machine: int = X86, *segments: int, kind: int = EXEC, entry: int = 0x400000) -> bytes:
    """A 64-bit little-endian ELF header with program headers of these types."""
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, entry, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    return ident + header + b"".join(struct.pack("<I", kind).ljust(56, b"\0") for kind in segments)


@pytest.fixture
def check(tmp_path: Path) -> Callable[[bytes], None]:
    """Write a program and ask what it needs in a guest of x86_64."""

    def written_and_checked(content: bytes) -> None:
        (tmp_path / "prog").write_bytes(content)
        one_guest.workload([str(tmp_path / "prog")], ARCH)

    return written_and_checked


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (elf_file(X86, INTERP), "prog cannot be run: it has no segment to load"),
        (elf_file(OTHER), "prog is a program for another processor (arm64), not for "),
        (elf_file(OTHER, INTERP), "prog is a program for another processor"),
        (elf_file(X86, INTERP)[:60], "prog cannot be run: damaged ELF file"),
        (b"#!/opt/python3\nprint(1)\n", "prog is a script for /opt/python3, not found for x86_64 (the guest has sh"),
        (b"#!/usr/bin/env -S perl -w\n", "prog is a script for perl, not found for x86_64"),
        (b"#!/bin/bash\n", "prog is a script for /bin/bash, not found for x86_64"),
        (b"#!/usr/bin/env -S sh -e\n", "prog is a script for env -S, not found for x86_64"),
        (elf_file(X86, 1, kind=1), "prog cannot be run: an object file or a kernel module"),
        (elf_file(X86, 1, kind=4), "prog cannot be run: a core dump"),
        (elf_file(X86, 1, kind=3, entry=0), "prog cannot be run: a library, which has no address to start at"),
        (b"MZ" + bytes(64), "prog cannot be run: it is a program of Windows or DOS (PE)"),
        (b"\xcf\xfa\xed\xfe" + bytes(64), "prog cannot be run: it is a program of macOS (Mach-O)"),
        (b"PK\3\4" + bytes(64), "prog cannot be run: it is a zip archive"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "prog cannot be run: a byte-order mark stands before its `#!`"),
        (b"data\0data", "prog cannot be run: it is neither an ELF file nor a script"),
        (b"", "prog cannot be run: it is empty"),
        (b"\x7fELF", "prog cannot be run: damaged ELF file: is it cut off?"),
        (b"#!/usr/bin/env python3 -u\n", "(Linux passes all that follows env as one argument: `#!/usr/bin/env -S`"),
    ],
    ids=[
        *("dynamic", "other", "other-dynamic", "damaged", "python3", "perl", "bash", "env -S"),
        *("object", "core", "library", "windows", "macos", "zip", "mark", "data", "empty", "cut", "env with two"),
    ],
)
def test_what_no_guest_can_run_is_one_line(check: Callable[[bytes], None], content: bytes, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(content)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 64


@pytest.mark.parametrize(
    "content",
    [elf_file(X86, 1), b"#!/bin/sh\n", b"#!/usr/bin/awk -f\n", b"echo hello\n"],
    ids=["static", "sh", "awk", "text"],
)
def test_what_a_guest_can_run_passes(check: Callable[[bytes], None], content: bytes) -> None:
    check(content)


def test_commands_of_the_guest_and_c_files_are_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "test.c").write_text("#!/usr/bin/python3\n")
    for word in ("cat", str(tmp_path / "test.c"), str(tmp_path)):
        load = one_guest.workload([word], ARCH)
        assert (load.program, load.needs, load.archive) == (None, None, b"")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("prog.cc", "a source file, which is compiled first"),
        ("prog.rs", "a source file, which is compiled first"),
        ("prog.py", "it has no `#!` line, so sh would read it"),
    ],
)
def test_a_source_file_is_no_script_of_sh(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / name).write_text("print(1)\n")
    with pytest.raises(UsageError, match=f"{name} cannot be run: {says}"):
        one_guest.workload([str(tmp_path / name)], ARCH)


def test_a_name_that_no_file_can_have_is_a_command_of_the_guest() -> None:
    assert one_guest.workload(["x" * 300], ARCH).program is None
    with pytest.raises(UsageError, match="File name too long"):
        one_guest.workload(["./" + "x" * 300], ARCH)


def test_a_copy_that_the_guest_hides_is_refused_without_a_root(tmp_path: Path) -> None:
    for guest in ("/tmp/prog", "/run/prog", "/./tmp"):
        copies = [Copied(here=tmp_path, guest=guest)]
        with pytest.raises(UsageError, match=r"the guest mounts its /(tmp|run) over it .another place, such as /src"):
            one_guest.in_root(["true"], ARCH, None, copies)
    one_guest.in_root(["true"], ARCH, None, [Copied(here=tmp_path, guest="/src")])


def test_what_is_piped_to_the_lab_is_what_a_program_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    (tmp_path / "file").write_text("x")
    with Path(os.devnull).open("rb") as null, (tmp_path / "file").open("rb") as file:
        for descriptor, passed in (
            (reading, reading),
            (file.fileno(), file.fileno()),
            (null.fileno(), b""),
            (1 << 20, b""),
        ):
            monkeypatch.setattr(one_guest, "STDIN", descriptor)
            assert one_guest._piped_stdin() == passed
    os.close(reading)
    os.close(writing)


def test_a_root_changes_nothing_about_what_linux_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prog").write_bytes(b"MZ" + bytes(64))
    with pytest.raises(UsageError, match="a program of Windows or DOS"):
        one_guest.in_root(["./prog"], ARCH, cast(Any, "a root"), ())


def test_a_relative_path_to_no_file_is_told_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program").write_bytes(elf_file())
    (tmp_path / "build").mkdir()
    (tmp_path / "lost").symlink_to("nowhere")
    for word, says in {
        "./progam": "./progam: no such file; did you mean 'program'?",
        "./build": "./build: is a directory",
        "./lost": "./lost: is a link that leads nowhere",
        "none/program": "none/program: No such file or directory",
    }.items():
        with pytest.raises(UsageError, match=re.escape(says)):
            one_guest.workload([word], ARCH)


@pytest.mark.parametrize("arch", ARCHES.values(), ids=list(ARCHES))
def test_an_architecture_s_compiler_makes_the_header_of_its_record(arch: Arch, tmp_path: Path) -> None:
    compiler = shutil.which(f"{arch.cross}gcc")
    if compiler is None:
        pytest.skip(f"no compiler for {arch.name}")
    (tmp_path / "empty.c").write_text("")
    subprocess.run([compiler, "-c", "-o", tmp_path / "empty.o", tmp_path / "empty.c"], check=True)
    assert elf.machine((tmp_path / "empty.o").read_bytes()) == arch.elf_header
    assert of_program(arch.elf_header) == arch


@dataclass
class FakeGuest:
    """Ends every program as it is told, and records what was pushed and run."""

    console: ConsoleLog
    end: Ended
    pushed: dict[str, Path] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    accelerator: Accelerator = field(default_factory=lambda: Accelerator(name="tcg", slowdown=1.0, why="fake"))
    closed: bool = False
    says: str = ""
    """What the kernel prints while a command runs."""

    def facts(self) -> str:
        return "facts"

    def push(self, programs: Mapping[str, Path]) -> None:
        self.pushed |= programs

    def run(self, command: str, *, on_stdout: Callable[[bytes], None], **_: object) -> Ended:
        self.commands.append(command)
        with self.console.path.open("a") as file:
            file.write(self.says)
        on_stdout(b"out\n")
        return self.end

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeReady:
    guest: FakeGuest
    name: str = "machine-kernel"
    mismatches: tuple[str, ...] = ()
    restored: FakeGuest | None = None
    kept: list[FakeGuest] = field(default_factory=list)
    keep_error: InfraError | None = None

    def restore(self, _console: Path) -> SimpleNamespace | None:
        if self.restored is None:
            return None
        return SimpleNamespace(guest=self.restored, facts="facts")

    def keep(self, guest: FakeGuest, _facts: str) -> None:
        self.kept.append(guest)
        if self.keep_error:
            error, self.keep_error = self.keep_error, None
            raise error

    def boot(self, _console: Path) -> FakeGuest:
        return self.guest

    def verify(self, facts: str) -> tuple[str, ...]:
        assert facts == "facts"
        return self.mismatches


def test_a_script_of_the_guest_s_shell_gets_a_link_to_it(tmp_path: Path) -> None:
    """busybox is in /bin alone: what `#!/usr/bin/env` names would not be found."""
    (tmp_path / "script").write_text("#!/usr/bin/env awk\n")
    load = one_guest.workload([str(tmp_path / "script")], ARCH)
    assert load.needs is not None
    assert load.needs.links == {"/usr/bin/env": "/bin/env"}
    assert [node.name for node in cpio.read(load.archive)] == ["usr", "usr/bin", "usr/bin/env"]


def execute(place: Path, ready: FakeReady, program: str, *args: str) -> int:
    factory = cast(GuestFactory, type("Factory", (), {"scratch": place, "notes": []}))
    load = one_guest.workload([program, *args], ARCH)
    return one_guest.execute(factory, cast(BootableCell, cast(Any, ready)), load, timeout_s=1.0)


@pytest.fixture
def guest(tmp_path: Path) -> FakeGuest:
    (tmp_path / "console.log").write_text("first line\nlast line\n")
    end = Ended(end=End.EXITED, status=7, stdout=b"", stderr=b"", duration_s=0.1, note="")
    return FakeGuest(console=ConsoleLog(tmp_path / "console.log"), end=end)


def test_the_environment_is_set_before_the_program(tmp_path: Path, guest: FakeGuest) -> None:
    load = replace(one_guest.workload(["prog", "x"], ARCH), environment=("A=b c", "D="))
    factory = cast(GuestFactory, type("Factory", (), {"scratch": tmp_path, "notes": []}))
    one_guest.execute(factory, cast(BootableCell, cast(Any, FakeReady(guest))), load, timeout_s=1.0)
    assert guest.commands == ["env 'A=b c' D= prog x"]


def test_a_command_s_status_and_output_are_passed_on(
    tmp_path: Path, guest: FakeGuest, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert execute(tmp_path, FakeReady(guest), "echo", "a b") == 7
    assert guest.commands == ["echo 'a b'"]
    assert guest.pushed == {}
    assert guest.closed
    assert capfdbinary.readouterr().out == b"out\n"


def test_what_the_kernel_complains_of_while_a_program_runs_is_noted(tmp_path: Path, guest: FakeGuest) -> None:
    guest.console.path.write_text("BUG: at boot\n")
    guest.says = (
        "[    2.0] WARNING: CPU: 1 PID: 80 at mm/own.c:12 inner+0x1/0x2\n[    2.0] RIP: 0010:inner+0x1/0x2\n"
        "[    2.0] Call Trace:\n[    2.0]  <TASK>\n[    2.0]  outer+0x1/0x2\n[    2.0]  </TASK>\n"
    )
    factory = cast(GuestFactory, SimpleNamespace(scratch=tmp_path, notes=[]))
    load = one_guest.workload(["true"], ARCH)
    assert one_guest.execute(factory, cast(BootableCell, cast(Any, FakeReady(guest))), load, timeout_s=1.0) == 7
    assert factory.notes == [
        "machine-kernel: the kernel complained: WARNING: CPU: 1 PID: 80 at mm/own.c:12 inner+0x1/0x2 (inner < outer)"
    ]


def test_what_killed_a_kernel_at_boot_is_noted(
    tmp_path: Path, guest: FakeGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last lines of the console are registers, and say less."""

    def dies(_ready: object, console: Path) -> FakeGuest:
        console.write_text(
            "[    0.0] Linux version 6.12.0\n[    0.0] kernel BUG at mm/own.c:12!\n[    0.0] RIP: 0010:inner+0x1/0x2\n"
        )
        raise BootError("the kernel died before it was ready")

    monkeypatch.setattr(FakeReady, "boot", dies)
    factory = cast(GuestFactory, SimpleNamespace(scratch=tmp_path, notes=[]))
    with pytest.raises(BootError):
        one_guest.execute(
            factory,
            cast(BootableCell, cast(Any, FakeReady(guest))),
            one_guest.workload(["true"], ARCH),
            timeout_s=1.0,
        )
    assert factory.notes == ["machine-kernel: the kernel complained: kernel BUG at mm/own.c:12! (inner)"]


def test_a_complaint_is_noted_of_a_program_that_does_not_end_too(tmp_path: Path, guest: FakeGuest) -> None:
    """It may hang because of that."""
    guest.says = "BUG: Bad page state in process a pfn:1\n"
    guest.end = Ended(end=End.DEADLINE, status=None, stdout=b"", stderr=b"", duration_s=1.0, note="not done within 1 s")
    factory = cast(GuestFactory, SimpleNamespace(scratch=tmp_path, notes=[]))
    load = one_guest.workload(["sleep", "9"], ARCH)
    with pytest.raises(one_guest.TimedOut):
        one_guest.execute(factory, cast(BootableCell, cast(Any, FakeReady(guest))), load, timeout_s=1.0)
    assert factory.notes == ["machine-kernel: the kernel complained: BUG: Bad page state in process a pfn:1"]
    assert guest.closed


def test_a_file_here_is_pushed_and_run(tmp_path: Path, guest: FakeGuest, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prog").write_bytes(elf_file(X86, LOAD))
    assert execute(tmp_path, FakeReady(guest), str(tmp_path / "prog")) == 7
    assert guest.pushed == {"prog": tmp_path / "prog"}
    assert guest.commands == [f"{DIRECTORY}/prog"]


def test_a_program_without_an_end_of_its_own_is_lost_with_the_console(tmp_path: Path, guest: FakeGuest) -> None:
    guest.end = Ended(end=End.UNRESPONSIVE, status=None, stdout=b"", stderr=b"", duration_s=1.0, note="after 1 s")
    with pytest.raises(GuestLost, match=r"^sleep: .*after 1 s; console:\nfirst line\nlast line$"):
        execute(tmp_path, FakeReady(guest), "sleep", "9")
    assert guest.closed


def test_a_program_that_does_not_end_in_time_is_no_failure_of_the_lab(tmp_path: Path, guest: FakeGuest) -> None:
    end = Ended(end=End.DEADLINE, status=None, stdout=b"", stderr=b"", duration_s=1.0, note="not done within 1 s")
    guest.end = end
    with pytest.raises(one_guest.TimedOut, match=r"^sleep: not done within 1 s \(--timeout SECONDS gives") as caught:
        execute(tmp_path, FakeReady(guest), "sleep", "9")
    assert caught.value.exit_code == 124
    assert guest.closed


def test_a_guest_that_is_another_machine_runs_nothing(tmp_path: Path, guest: FakeGuest) -> None:
    with pytest.raises(InfraError, match="not the machine asked for: 2 CPUs"):
        execute(tmp_path, FakeReady(guest, mismatches=("2 CPUs",)), "true")
    assert guest.commands == []
    assert guest.closed


def test_a_saved_guest_is_used_where_there_is_one_and_not_saved_again(tmp_path: Path, guest: FakeGuest) -> None:
    ready = FakeReady(replace(guest), restored=guest)
    assert execute(tmp_path, ready, "true") == 7
    assert guest.commands == ["true"]
    assert guest.closed
    assert not ready.kept


def test_a_saved_guest_that_is_another_machine_runs_nothing(tmp_path: Path, guest: FakeGuest) -> None:
    with pytest.raises(InfraError, match="not the machine asked for: 2 CPUs"):
        execute(tmp_path, FakeReady(replace(guest), mismatches=("2 CPUs",), restored=guest), "true")
    assert guest.commands == []
    assert guest.closed


def test_a_guest_that_booted_is_kept_and_one_that_could_not_be_saved_is_not_used(
    tmp_path: Path, guest: FakeGuest
) -> None:
    ready = FakeReady(guest)
    execute(tmp_path, ready, "true")
    assert ready.kept == [guest]
    boots = FakeReady(guest, keep_error=InfraError("it died"))
    assert execute(tmp_path, boots, "true") == 7
    assert len(boots.kept) == 2


def test_exec_refuses_before_it_builds(tmp_path: Path) -> None:
    """As a user runs it; the cache is not even made."""
    (tmp_path / "script").write_text("#!/opt/no-such-program\n")
    done = subprocess.run(
        [sys.executable, "-m", "lab", "exec", "-t", "x86_64-4k", "-k", "baseline", "--", str(tmp_path / "script")],
        env={**os.environ, "PAGELAB_CACHE": str(tmp_path / "cache")},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 64, done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "cache").exists()


def test_a_place_for_files_of_the_guest_is_checked_before_anything_boots(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for word, says in {
        f"/x:{tmp_path}/file": "file exists",
        f"/x:{tmp_path}/loop": "loop exists",
        f"/x:{tmp_path}/file/out": "file is no directory",
        f"/x:{tmp_path}/{'x' * 300}": "File name too long",
        f"x:{tmp_path}/new": "expected /GUEST:HOST",
        "/x:": "expected /GUEST:HOST",
    }.items():
        with pytest.raises(UsageError, match=says):
            one_guest.check_out([word])
    one_guest.check_out([f"/x:{tmp_path}/new/deep"])
