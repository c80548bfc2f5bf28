# SPDX-License-Identifier: GPL-2.0-or-later
"""The scenario programs, run natively: the header's samples against golden output, the scenarios on this very kernel.

This host's kernel is a baseline: what needs the patch must fail here, plainly, and all else must hold.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from lab.core import proc

ROOT = Path(__file__).resolve().parents[2]
GUEST_TESTS = ROOT / "guest_tests"
GOLDEN = ROOT / "tests" / "golden" / "guest_tests"
SCENARIOS = sorted(path.stem for path in GUEST_TESTS.glob("*.c"))
REPORTS = sorted(path.stem for path in (GUEST_TESTS / "reports").glob("*.c"))
SAMPLES = {"pass": 0, "skip": 0, "fail": 1, "setup_error": 1, "crash": 1, "hang": 1, "flood": 1, "forge": 1}
NOBODY = 65534

# The rows of the scenario table, group by group; J, growth for those who asked for it, came with its series, K is what
# things cost; L to O came with guest_tests/README.md, P are memory policies against kinds of memory.
ROWS = {"A": 30, "B": 14, "C": 21, "D": 18, "E": 16, "F": 8, "G": 37, "H": 14, "I": 10, "J": 7, "K": 14}
ROWS |= {"L": 20, "M": 18, "N": 13, "O": 2, "P": 6, "Q": 7, "R": 3}
# Those that programs have no case of, and say so.
NO_CASE = {"E16", "G29", "H09", "I09", "I10"}

FEATURES = {"shm-expand", "expand-enomem", "dontexpand-dup", "shm-expand-optin", "expand-op", "expand-optout"}

# Page and huge page sizes, and ways to write them. A size that is none of these may be written (1 MiB of output).
LITERAL_SIZE = re.compile(
    r"""\b(4096|8192|16384|32768|65536|2097152|33554432|1073741824
        |0x1000|0x2000|0x4000|0x10000|0x200000|0x2000000
        |(4|8|16|64)\s*\*\s*1024|(4|8|16|64)\s*<<\s*10
        |2\s*(\*\s*1024\s*\*\s*1024|<<\s*20)|1\s*<<\s*(12|13|14|16|21)|PAGE_SIZE|HPAGE_SIZE|HUGE_SIZE)\b""",
    re.VERBOSE,
)


@pytest.fixture(scope="session")
def build(testrun_uid: str) -> Iterator[Path]:
    """Every scenario and sample, built by the Makefile a user would use, where any user may run them.

    They are built once for all processes of pytest; the last of them removes them.
    """
    if not proc.which("gcc") or not proc.which("make"):
        pytest.skip("needs gcc and make")
    place = Path(tempfile.gettempdir()) / f"guest-tests-{testrun_uid}"
    place.mkdir(exist_ok=True)
    place.chmod(0o755)
    out = place / "build"
    with (place / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        with (place / "building").open("w") as building:
            fcntl.flock(building, fcntl.LOCK_EX)
            if not out.exists():
                make(out)
        yield out
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place, ignore_errors=True)


def cached(compiler: str) -> list[str]:
    """The compiler, through ccache if it is installed."""
    return ["ccache", compiler] if proc.which("ccache") else [compiler]


def compile_and_link(compiler: str, flags: Sequence[str], source: Path, program: Path) -> None:
    """Build a static program; every warning is an error. ccache handles only the first of the two steps."""
    built = program.with_suffix(".o")
    proc.run([*cached(compiler), *flags, "-Wall", "-Wextra", "-Werror", "-c", "-o", str(built), str(source)])
    proc.run([compiler, "-static", "-o", str(program), str(built)])


def make(out: Path) -> None:
    """Build into a directory, which appears when all is built."""
    unfinished = out.with_name("unfinished")
    proc.run(["make", "-C", str(GUEST_TESTS), "-j2", f"OUT={unfinished}", f"CC={' '.join(cached('gcc'))}"])
    unfinished.chmod(0o755)
    unfinished.rename(out)


def normalise(ktap: str) -> str:
    """Replace what differs from run to run and machine to machine."""
    ktap = re.sub(r"duration_ms=\d+", "duration_ms=_", ktap)
    ktap = re.sub(r"wchan=\S*", "wchan=_", ktap)
    return re.sub(r"nodes, has \d+", "nodes, has _", ktap)


def run(program: Path, *args: str, env: Mapping[str, str] | None = None, user: int | None = None) -> proc.Completed:
    """Run a program in /tmp, as another user if asked."""
    become = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--"] if user else []
    return proc.run([*become, str(program), *args], cwd=Path("/tmp"), env=env, check=False, timeout_s=120, whole=True)


def lines(build: Path, scenario: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in run(build / scenario, "--list").output.splitlines()]


def listed(build: Path, scenario: str) -> list[dict[str, object]]:
    """What a scenario says of its cases."""
    return [each for each in lines(build, scenario) if "no_case" not in each]


def results(ktap: str) -> dict[str, tuple[bool, str]]:
    """Of each result line: whether it says ok, and the directive behind `#`; plan and numbering are checked."""
    lines = ktap.splitlines()
    assert lines[0] == "KTAP version 1"
    planned = re.fullmatch(r"1\.\.(\d+)", lines[1])
    assert planned
    found = [match for line in lines[2:] if (match := re.fullmatch(r"(not )?ok (\d+) (\w+)(?: # (.*))?", line))]
    assert all(line.startswith(("# ", "ok ", "not ok ")) for line in lines[2:])
    assert [int(match[2]) for match in found] == list(range(1, int(planned[1]) + 1))
    return {match[3]: (not match[1], match[4] or "") for match in found}


def processes(program: Path) -> list[int]:
    """Ids of the processes that run this very file."""
    found = []
    for link in Path("/proc").glob("[0-9]*/exe"):
        with contextlib.suppress(OSError):
            if link.readlink() == program:
                found.append(int(link.parent.name))
    return found


@pytest.mark.parametrize("sample", SAMPLES)
def test_sample_prints_what_is_golden(build: Path, sample: str) -> None:
    done = run(build / "samples" / sample)
    golden = GOLDEN / f"{sample}.ktap"
    if "UPDATE_GOLDEN" in os.environ:
        golden.write_text(normalise(done.output) + "\n")
    assert normalise(done.output) + "\n" == golden.read_text()
    assert done.status == SAMPLES[sample]
    results(done.output)


def test_program_that_dies_before_its_plan_says_nothing(build: Path) -> None:
    done = run(build / "samples" / "no_plan")
    assert done.output == ""
    assert done.status in (-9, 137)


def test_the_hostile_program_does_nothing_outside_a_guest(build: Path) -> None:
    listed = run(build / "samples" / "hostile", "--list")
    ways = [json.loads(line)["name"] for line in listed.output.splitlines()]
    assert listed.status == 0
    assert len(ways) == len(set(ways)) > 40
    done = run(build / "samples" / "hostile", "stays")
    assert done.status == 2
    assert "in a guest of the lab only" in done.output


HARMFUL = ("daemon", "faults", "kernel_faults", "leak")


@pytest.mark.parametrize("sample", HARMFUL)
def test_a_harmful_sample_does_nothing_outside_a_guest(build: Path, sample: str) -> None:
    done = run(build / "samples" / sample)
    results = [line for line in done.output.splitlines() if line.startswith(("ok", "not ok"))]
    harmless = {"nothing", "unhurt"}
    assert done.status == 0
    assert results
    assert all(line.split()[2] in harmless or "# SKIP for a guest of the lab only" in line for line in results)


def test_every_sample_is_tested() -> None:
    assert {path.stem for path in GUEST_TESTS.glob("samples/*.c")} == {*SAMPLES, *HARMFUL, "no_plan", "hostile"}
    assert {path.stem for path in GOLDEN.glob("*.ktap")} == set(SAMPLES)


def test_cases_are_chosen_by_glob(build: Path) -> None:
    done = run(build / "samples" / "fail", "cond*", "values")
    assert list(results(done.output)) == ["condition", "values"]
    assert done.status == 1


@pytest.mark.parametrize(
    ("args", "env"), [(["nothing*"], {}), ([], {"LAB_TIMEOUT_SCALE": "0"}), ([], {"LAB_LOAD": "many"})]
)
def test_usage_errors_run_nothing(build: Path, args: list[str], env: dict[str, str]) -> None:
    done = run(build / "samples" / "pass", *args, env=env)
    assert done.status == 2
    assert "KTAP" not in done.output
    assert len(done.output.splitlines()) == 1


def test_time_outs_are_scaled(build: Path) -> None:
    done = run(build / "samples" / "hang", "asleep", env={"LAB_TIMEOUT_SCALE": "0.2"})
    assert results(done.output) == {"asleep": (False, "TIMEOUT state=S after 200 ms")}


def test_interrupted_program_leaves_nobody_behind(build: Path) -> None:
    program = build / "samples" / "hang"
    with tempfile.TemporaryFile() as out:
        running = proc.start([str(program), "child_asleep"], stdout=out.fileno())
        try:
            until = time.monotonic() + 30
            while len(processes(program)) < 3 and time.monotonic() < until:
                time.sleep(0.01)
            assert len(processes(program)) == 3
            running.terminate()
            assert running.wait(timeout=30) == 2
        finally:
            running.kill()
            running.wait()
        out.seek(0)
        assert out.read() == b"KTAP version 1\n1..1\n"
    assert processes(program) == []


def test_every_row_has_a_case_or_a_reason(build: Path) -> None:
    said = [each for scenario in SCENARIOS for each in lines(build, scenario)]
    absent = {str(each["no_case"]) for each in said if "no_case" in each}
    covered = {str(each["id"]) for each in said if "id" in each}
    rows = {f"{group}{number:02}" for group, last in ROWS.items() for number in range(1, last + 1)}
    assert absent == NO_CASE
    assert covered | absent == rows


def test_a_row_without_a_case_is_no_case(build: Path) -> None:
    for scenario in SCENARIOS:
        absent = [str(each["no_case"]) for each in lines(build, scenario) if "no_case" in each]
        for row in absent:
            done = run(build / scenario, row)
            assert done.status == 2
            assert "no case matches" in done.output


def test_names_are_unique_and_carry_their_row(build: Path) -> None:
    cases = [case for scenario in SCENARIOS for case in listed(build, scenario)]
    names = [str(case["name"]) for case in cases]
    assert len(names) == len(set(names))
    for case in cases:
        assert re.fullmatch(r"[a-z]\d\d_[a-z0-9_]+", str(case["name"])), case
        assert case["id"] == str(case["name"])[:3].upper()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_list_is_complete(build: Path, scenario: str) -> None:
    known = {"name", "id", "description", "requires", "needs_config", "needs_nodes", "needs_root", "needs_64bit"}
    for case in listed(build, scenario):
        assert set(case) <= {*known, "timeout_s"}
        assert case["description"]
        assert set(case.get("requires", [])) <= FEATURES  # type: ignore[call-overload]
        assert 0 < int(str(case["timeout_s"])) <= 30
    for row in [each for each in lines(build, scenario) if "no_case" in each]:
        assert set(row) == {"no_case", "description"}
        assert row["description"]


def users() -> list[int | None]:
    """Whom the scenarios run as: root and nobody where that is ours to choose, else ourselves."""
    return [None, NOBODY] if os.geteuid() == 0 else [None]


@pytest.mark.parametrize("user", users())
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_on_this_baseline_kernel(build: Path, scenario: str, user: int | None) -> None:
    requires = {str(case["name"]): case.get("requires", []) for case in listed(build, scenario)}
    done = run(build / scenario, env={"LAB_TIMEOUT_SCALE": "5"}, user=user)
    seen = results(done.output)
    assert list(seen) == list(requires)
    for name, (ok, directive) in seen.items():
        skipped = re.fullmatch(r"SKIP \S.*", directive)
        assert skipped or (ok, directive) == (not requires[name], ""), f"{name}\n{done.output}"
    assert done.status == int(any(not ok for ok, _ in seen.values()))


@pytest.mark.parametrize("compiler", ["aarch64-linux-gnu-gcc"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario_cross_compiles(tmp_path: Path, scenario: str, compiler: str) -> None:
    if not proc.which(compiler):
        pytest.skip(f"needs {compiler}")
    compile_and_link(compiler, ["-O2"], GUEST_TESTS / f"{scenario}.c", tmp_path / scenario)


@pytest.mark.parametrize("compiler", ["gcc", "aarch64-linux-gnu-gcc"])
@pytest.mark.parametrize("report", REPORTS)
def test_program_of_a_report_compiles(tmp_path: Path, report: str, compiler: str) -> None:
    if not proc.which(compiler):
        pytest.skip(f"needs {compiler}")
    compile_and_link(compiler, ["-std=gnu11", "-O2"], GUEST_TESTS / f"reports/{report}.c", tmp_path / report)


def sources() -> list[Path]:
    """The C files of scenarios; a program of a report has the sizes that were reported."""
    return sorted(path for path in GUEST_TESTS.rglob("*.[ch]") if path.parent.name != "reports")


@pytest.mark.parametrize("path", sources(), ids=lambda path: path.name)
def test_sizes_come_from_the_running_kernel(path: Path) -> None:
    found = [line for line in path.read_text().splitlines() if LITERAL_SIZE.search(line)]
    assert found == []


COST = re.compile(r"# cost (k\d\d_\w+) [1-9]\d* ns \(\d+-\d+ in \d+ rounds\)")


def test_what_is_measured_stands_before_its_result(build: Path) -> None:
    said = run(build / "costs").output.splitlines()
    told = [COST.fullmatch(line) for line in said if line.startswith("# cost")]
    passed = [line.split()[2] for line in said if re.fullmatch(r"ok \d+ \w+", line)]
    assert all(told)
    assert [match[1] for match in told if match] == passed


def test_emulated_time_is_no_measure(build: Path) -> None:
    done = run(build / "costs", env={"LAB_CLOCK": "none"})
    assert done.status == 0
    assert "# cost" not in done.output
    assert {directive for _, directive in results(done.output).values()} == {
        "SKIP the object does not grow on this kernel",
        "SKIP emulated time is no measure: needs counted instructions, or KVM",
    }


def test_a_clock_that_does_not_count_instructions_is_found_out(build: Path) -> None:
    done = run(build / "costs", "k01_fault", env={"LAB_CLOCK": "instructions"})
    assert done.status == 1
    assert "ERROR lab_cost.h" in done.output
    assert "the clock should count instructions, and does not" in done.output
