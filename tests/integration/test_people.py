# SPDX-License-Identifier: GPL-2.0-or-later
"""From a patch to a verdict, and from a report to a reproduction: described machines, bundles, examples of the help.

The kernels of `try` and `bisect` are built from a tree of their own: half an hour where nothing of it is in the cache.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.build import series, source
from lab.core.cache import Cache, default_root
from lab.specs.arches import ARCHES
from tests.examples import WITH_GUESTS, Example, examples
from tests.integration.conftest import BUILD_TIMEOUT_S, ROOT, CampaignRun, copy, lab

CAPTURES = ROOT / "tests/golden/capture"
CELL = "x86_64-4k-2node/baseline/expand.a01_grow_touch"
REPLAYABLE = ("x86_64-4k-2node/baseline", "arm64-64k-2node/expand-fault")

pytestmark = pytest.mark.usefixtures("no_emulator_left")


# A report.


@pytest.mark.parametrize(("name", "arch"), [("xeon-4node", "x86_64"), ("altra-64k", "arm64"), ("power9", "ppc64le")])
def test_a_described_machine_boots_and_is_verified(tmp_path: Path, name: str, arch: str) -> None:
    if missing := [tool for tool in (f"{ARCHES[arch].cross}gcc", ARCHES[arch].qemu) if not shutil.which(tool)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    described = CAPTURES / name
    files = sorted(described.iterdir()) if described.is_dir() else [described.with_suffix(".txt")]
    topology = tmp_path / f"{name}.yaml"
    done = lab("capture", *(word for file in files for word in ("--from", str(file))), "-o", str(topology))
    assert done.status == 0, done.stderr
    done = lab("exec", "-t", str(topology), "-k", "baseline", "--", "true", timeout_s=BUILD_TIMEOUT_S)
    assert done.status == 0, done.stderr


def test_this_host_boots_as_a_guest(tmp_path: Path) -> None:
    topology = tmp_path / "here.yaml"
    assert lab("capture", "--memory", "1G", "-o", str(topology)).status == 0
    done = lab("exec", "-t", str(topology), "-k", "baseline", "--", "uname", "-m", timeout_s=BUILD_TIMEOUT_S)
    assert (done.status, done.stdout.strip()) == (0, os.uname().machine), done.stderr


def test_a_bundle_reproduces_with_qemu_alone(quick: CampaignRun, tmp_path: Path) -> None:
    packed = tmp_path / "case.tar.gz"
    done = lab("bundle", str(quick.path), CELL, "-o", str(packed), timeout_s=BUILD_TIMEOUT_S)
    assert done.status == 0, done.stderr
    subprocess.run(["tar", "xf", packed], cwd=tmp_path, check=True, timeout=60)
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    script = subprocess.run(
        ["sh", tmp_path / "case/reproduce.sh"], env=bare, capture_output=True, text=True, check=False, timeout=600
    )
    assert script.returncode == 0, script.stdout[-3000:] + script.stderr
    assert "reproduced: all that was recorded came again" in script.stdout


def test_a_replay_finds_the_same(quick: CampaignRun, tmp_path: Path) -> None:
    done = lab("replay", str(quick.path), CELL, "-o", str(tmp_path / "again"), timeout_s=BUILD_TIMEOUT_S)
    assert done.status == 0, done.stdout + done.stderr
    assert "expand.a01_grow_touch: FAIL then, FAIL now" in done.stdout


def test_a_replay_of_another_kernel_is_refused_and_named(quick: CampaignRun, tmp_path: Path) -> None:
    """A record whose kernel is not in the cache, and whose series is not what it was."""
    run = copy(quick, tmp_path / "run")
    metadata = run / "metadata.json"
    recorded = json.loads(metadata.read_text())
    build = recorded["builds"]["x86_64-4k-2node/expand-fault"]
    recorded["builds"]["x86_64-4k-2node/expand-fault"] = {**build, "key": "0" * 20, "series_sha256": "0" * 64}
    metadata.write_text(json.dumps(recorded))
    done = lab("replay", str(run), "x86_64-4k-2node/expand-fault/guards", "-o", str(tmp_path / "again"))
    assert done.status == 64
    assert "is not what was run: kernel: series_sha256: recorded 0000" in done.stderr


def test_the_guest_in_which_a_case_failed_is_kept(built: None, tmp_path: Path) -> None:
    unmet = tmp_path / "unmet.c"
    unmet.write_text(
        '#include "lab.h"\nstatic void fails(void) { LAB_FAIL("on purpose"); }\nLAB_CASES({ LAB_CASE(fails) })\n'
    )
    words = ("run", "quick", "-t", "x86_64-4k-2node", "-k", "baseline", "--with", str(unmet), "--test", "unmet")
    process = start([*words, "--keep-failed", "-o", str(tmp_path / "run")], tmp_path)
    wait_for(process, "shell, gdb, console or end?")
    tell(process, "shell\n")
    tell(process, "echo it-is-$((40 + 2)); exit\n")
    wait_for(process, "it-is-42")
    wait_for(process, "shell, gdb, console or end?")
    tell(process, "end\n")
    assert process.wait(60) == 1


def start(words: list[str], place: Path, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A lab whose terminal we are."""
    return subprocess.Popen(
        [sys.executable, "-m", "lab", *words],
        cwd=place,
        env=environment or {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def wait_for(process: subprocess.Popen[bytes], word: str, timeout_s: float = 300) -> str:
    """Read until a word was said."""
    assert process.stdout
    said, until = bytearray(), time.monotonic() + timeout_s
    while word.encode() not in said:
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, until - time.monotonic()))
        byte = os.read(process.stdout.fileno(), 1) if ready else b""
        assert byte, f"{word!r} was not said: {said.decode('utf-8', 'replace')[-3000:]}"
        said += byte
    return said.decode("utf-8", "replace")


def tell(process: subprocess.Popen[bytes], words: str) -> None:
    assert process.stdin
    process.stdin.write(words.encode())
    process.stdin.flush()


# The examples.

SETTINGS = """\
defaults:
  build: {topology: x86_64-4k-2node, kernel: baseline}
  run: {topology: x86_64-4k-2node, kernel: baseline}
  try: {on: x86_64-4k, memory: 4G}
"""
"""Examples that say nothing of machines would take all of them."""
TEST = """\
#include "lab.h"

static void grows(void)
{
	char *p = lab_shared(1);

	p = LAB_GROW(p, 1, 4);
	LAB_WRITES(lab_at(p, 2), 1);
}

LAB_CASES({ LAB_CASE(grows), .about = "a grown mapping can be touched" })
"""
TYPED = {"shell": ("", "exit\n"), "console": ("pagelab:/tmp#", "exit\n"), "gdb": ("(gdb)", "kill\nquit\n")}
"""What is typed at whose prompt, in verbs that are a terminal; a shell without one has no prompt."""
SUITES = {
    "kselftest": "builds kernels of its own and runs for an hour",
    "ltp": "needs a tree of the Linux Test Project",
}
STATUS = {"try": {0, 1}, "run": {0, 1}, "bisect": {0}, "exec": {0}, "gdb": {0, 1}}
"""Exit statuses that say that the verb did its work."""


def git(tree: Path, *words: str) -> None:
    name = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "gc.auto=0")
    subprocess.run(["git", *name, "-C", tree, *words], check=True, capture_output=True, timeout=1200)


@pytest.fixture(scope="session")
def linux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with ~/linux: v6.11 has the series that makes mappings grow, before v6.12 it is lost, and Linux warns."""
    cache = Cache(default_root())
    found = source.resolve("debian:linux-source-6.12", cache=cache)
    home = tmp_path_factory.mktemp("home")
    tree = home / "linux"
    subprocess.run(["cp", "-a", source.tree(found.key, cache), tree], check=True, timeout=1200)
    git(tree, "init", "--quiet", "--initial-branch=main")
    git(tree, "add", "--all", "--force")
    git(tree, "commit", "--quiet", "--message", "6.12")
    for mail in series.load("expand-fault", found.version, root=ROOT / "images/series").patches:
        git(tree, "apply", "--index", str(mail.path))
    git(tree, "commit", "--quiet", "--message", "mm: grow")
    git(tree, "tag", "v6.11")
    for number in range(1, 26):
        if number == 17:
            git(tree, "revert", "--no-edit", "--no-commit", "v6.11")
            main = (tree / "init/main.c").read_text()
            (tree / "init/main.c").write_text(
                main.replace("\tdo_basic_setup();\n", "\tdo_basic_setup();\n\tWARN_ON(1);\n")
            )
        (tree / "Documentation/step").write_text(f"{number}\n")
        git(tree, "add", "--all", "--force")
        git(tree, "commit", "--quiet", "--message", f"step {number}")
    git(tree, "tag", "v6.12")
    git(tree, "checkout", "--quiet", "-b", "my-branch")
    patch = home / "my.patch"
    patch.write_text(
        subprocess.run(
            ["git", "-C", tree, "diff", "v6.12", "v6.11", "--", "mm", "include"],
            check=True,
            capture_output=True,
            text=True,
            timeout=600,
        ).stdout
    )
    git(tree, "apply", "--index", str(patch))
    git(tree, "commit", "--quiet", "--message", "mm: grow again")
    git(tree, "checkout", "--quiet", "main")
    return home


@pytest.fixture
def place(tmp_path: Path, quick: CampaignRun, request: pytest.FixtureRequest) -> Path:
    """A directory with the files that examples name."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results/latest").symlink_to(quick.path)
    (tmp_path / "prog").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "prog").chmod(0o755)
    (tmp_path / "my-kernel.yaml").write_text("source: debian:linux-source-6.12\n")
    (tmp_path / "mytest.c").write_text(TEST)
    (tmp_path / "debug-info.config").write_text("CONFIG_DEBUG_KERNEL=y\nCONFIG_DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT=y\n")
    (tmp_path / "config/pagelab").mkdir(parents=True)
    (tmp_path / "config/pagelab/config.yaml").write_text(SETTINGS)
    return tmp_path


def in_tree(example: Example) -> bool:
    """Whether an example is about ~/linux, or the tree that it is typed in."""
    return example.verb in ("try", "bisect")


@pytest.fixture
def environment(place: Path) -> Iterator[dict[str, str]]:
    yield {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PAGELAB_CACHE": str(default_root()),
        "CCACHE_DIR": os.environ.get("CCACHE_DIR", str(Path.home() / ".cache/ccache")),
        "XDG_CONFIG_HOME": str(place / "config"),
        "NO_COLOR": "1",
    }


asked_for = pytest.mark.skipif(
    not os.environ.get("PAGELAB_EXAMPLES"), reason="builds a dozen kernels of its own: make examples"
)


@asked_for
@pytest.mark.parametrize("example", [each for each in examples(WITH_GUESTS) if not in_tree(each)], ids=str)
def test_an_example_with_a_guest(place: Path, environment: dict[str, str], example: Example) -> None:
    if "results/latest" in example.line and example.verb == "run":
        pytest.skip("tests/integration/test_resume.py resumes")
    for suite, why in SUITES.items():
        if f"--suite {suite}" in example.line:
            pytest.skip(why)
    if example.verb == "gdb" and not (shutil.which("gdb-multiarch") or f"{os.uname().machine}-" in example.line):
        pytest.skip("no gdb for another architecture")
    done = carried_out(example, place, environment)
    assert done in STATUS.get(example.verb, {0})


@asked_for
@pytest.mark.parametrize("example", [each for each in examples(WITH_GUESTS) if in_tree(each)], ids=str)
def test_an_example_with_a_tree(place: Path, environment: dict[str, str], linux: Path, example: Example) -> None:
    (place / "series").mkdir()
    for name in ("my.patch", "series/0001-grow.patch"):
        (place / name).write_text((linux / "my.patch").read_text())
    here = linux / "linux" if "--tree" not in example.line else place
    (here / "mytest.c").write_text(TEST)
    done = carried_out(example, here, {**environment, "HOME": str(linux)})
    (linux / "linux/mytest.c").unlink(missing_ok=True)
    assert done in STATUS[example.verb]


def carried_out(example: Example, place: Path, environment: dict[str, str]) -> int:
    """The exit status of an example, with something typed where it is a terminal."""
    process = start(example.words, place, environment)
    if example.verb in TYPED and "-ex" not in example.words:
        prompt, typed = TYPED[example.verb]
        wait_for(process, prompt, BUILD_TIMEOUT_S)
        tell(process, typed)
    said, _ = process.communicate(timeout=BUILD_TIMEOUT_S)
    print(said.decode("utf-8", "replace")[-4000:])
    return process.returncode
