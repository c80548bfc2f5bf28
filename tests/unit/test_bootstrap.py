# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/bootstrap.sh on a made-up machine: says what it will install, asks for root only then, does nothing twice."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "sed", "cat", "printf", "fold", "sha256sum", "cut", "readlink", "rm", "mv", "dirname", "head", "env")
FAKES = {
    # The packages in ./installed are installed; apt-get adds to them and keeps a log.
    "dpkg-query": 'shift 2; printf "%s\\n" "$@" | grep -Fxf - "$BOX/installed" | sed "s/$/ installed/"',
    "apt-get": 'echo "apt-get $*" >>"$BOX/log"; for word in "$@"; do echo "$word" >>"$BOX/installed"; done',
    "id": 'echo "$FAKE_UID"',
    "useradd": 'echo "useradd $*" >>"$BOX/log"',
    "getent": 'test "$1" = group',
}
SUDO = 'echo "sudo" >>"$BOX/log"; exec "$@"'
# A stand-in for /usr/bin/python3: makes a .venv whose python answers what bootstrap.sh asks of it.
PYTHON = """\
echo "python $*" >>"$BOX/log"
case "$1 $2" in
"-m venv") mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; cp "$0" "$3/bin/lab" ;;
"- compilers=") [ "$3" = quick ] || { echo "set-up: unknown campaign" >&2; exit 1; }
    echo qemu-system-toy; echo gcc-toy ;;
"- compilers=no") echo qemu-system-toy ;;
esac
"""


@dataclass(frozen=True)
class Box:
    """A checkout and a PATH in which everything that would change the machine is a stand-in."""

    path: Path

    def fake(self, name: str, body: str) -> None:
        program = self.path / "bin" / name
        program.unlink(missing_ok=True)
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)

    def set_up(
        self, *campaigns: str, uid: int = 0, checkout: str = "src", no_compilers: str = ""
    ) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": str(self.path / "bin"), "BOX": str(self.path), "FAKE_UID": str(uid)}
        environment["NO_COMPILERS"] = no_compilers
        script = str(self.path / checkout / "lab/bootstrap.sh")
        return subprocess.run(
            ["/bin/sh", script, *campaigns], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def log(self) -> list[str]:
        """What the stand-ins were asked to do since the last look."""
        log = self.path / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines


@pytest.fixture
def box(tmp_path: Path) -> Box:
    source = tmp_path / "src"
    for name in ("lab/bootstrap.sh", "lab/packages.txt", "pyproject.toml", "topologies/campaigns/quick.yaml"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    script = source / "lab/bootstrap.sh"
    script.write_text(script.read_text().replace("python=/usr/bin/python3", f"python={tmp_path}/bin/python3"))
    (tmp_path / "bin").mkdir()
    for name in (*TOOLS, "cp", "grep", "mkdir"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    made = Box(tmp_path)
    for name, body in FAKES.items():
        made.fake(name, body)
    made.fake("python3", PYTHON)
    (tmp_path / "installed").write_text("make\ngit\n")
    return made


def test_a_bare_machine_as_root(box: Box) -> None:
    done = box.set_up("quick")
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert "the lab needs" in said.splitlines()[0]
    assert "libvirt-daemon-driver-qemu" in said
    assert "the campaign (quick) needs Debian packages that are not installed (2)" in said
    log = box.log()
    installs = [line for line in log if line.startswith("apt-get") and " install " in line]
    assert len(installs) == 2
    assert all("--no-install-recommends" in line for line in installs)
    assert "git" not in installs[0].split(), "what is there is not installed again"
    assert installs[1].endswith("qemu-system-toy gcc-toy")
    assert any(line.startswith("useradd --system") for line in log)
    assert "sudo" not in log


def test_a_second_time_nothing_happens(box: Box) -> None:
    box.set_up("quick", uid=1000)
    box.fake("sudo", SUDO)
    assert box.set_up("quick", uid=1000).returncode == 0
    box.log()
    done = box.set_up("quick", uid=1000)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert box.log() == []


def test_a_package_that_went_away_comes_back(box: Box) -> None:
    box.set_up("quick")
    installed = box.path / "installed"
    installed.write_text("\n".join(line for line in installed.read_text().splitlines() if line != "flex") + "\n")
    box.log()
    assert "not installed (1)" in box.set_up("quick").stdout
    assert next(line for line in box.log() if " install " in line).endswith(" flex")


def test_an_ordinary_user_goes_through_sudo(box: Box) -> None:
    box.fake("sudo", SUDO)
    done = box.set_up("quick", uid=1000)
    assert done.returncode == 0, done.stderr
    assert "installing them with sudo" in done.stdout
    log = box.log()
    assert log.count("sudo") == 4
    assert not any(line.startswith("useradd") for line in log), "only root needs libvirt's user"


def test_without_root_and_sudo_it_says_what_to_type(box: Box) -> None:
    done = box.set_up("quick", uid=1000)
    assert done.returncode == 2
    assert "as root: apt-get install --no-install-recommends" in done.stderr
    assert box.log() == []


def test_a_failing_apt_is_a_failure(box: Box) -> None:
    box.fake("apt-get", 'echo "E: no network" >&2; exit 100')
    done = box.set_up("quick")
    assert done.returncode == 2
    assert "E: no network" in done.stderr
    assert "apt-get could not install the packages" in done.stderr
    assert not (box.path / "src/.venv").exists()


def test_a_failing_pip_is_tried_again_the_next_time(box: Box) -> None:
    box.fake("python3", PYTHON.replace('"- compilers=")', '"-m pip") exit 1 ;;\n"- compilers=")'))
    assert "pip failed" in box.set_up("quick").stderr
    box.fake("python3", PYTHON)
    done = box.set_up("quick")
    assert done.returncode == 0, done.stderr
    assert "making .venv" in done.stdout, "a .venv that was never finished is made anew"


def test_a_host_with_a_store_gets_no_compilers(box: Box) -> None:
    said = box.set_up("quick", no_compilers="/srv/store").stdout
    assert "the campaign (quick) needs Debian packages that are not installed (1)" in said
    assert "gcc-toy" not in said
    assert "gcc-toy" in box.set_up("quick").stdout, "the answer is not remembered for both"


def test_an_unknown_campaign_is_an_error_and_leaves_no_memory(box: Box) -> None:
    for _ in range(2):
        done = box.set_up("nonsense")
        assert done.returncode != 0
        assert "unknown campaign" in done.stderr


def test_a_moved_checkout_gets_a_new_environment(box: Box) -> None:
    box.set_up("quick")
    (box.path / "src").rename(box.path / "elsewhere")
    assert "making .venv" in box.set_up("quick", checkout="elsewhere").stdout


def test_a_changed_pyproject_installs_again(box: Box) -> None:
    box.set_up("quick")
    with (box.path / "src/pyproject.toml").open("a") as file:
        file.write("# changed\n")
    said = box.set_up("quick").stdout
    assert "installing the lab" in said
    assert "making .venv" not in said


def test_a_linked_environment_is_left_alone(box: Box) -> None:
    box.set_up("quick")
    (box.path / "src/.venv").rename(box.path / "theirs")
    (box.path / "src/.venv").symlink_to(box.path / "theirs")
    (box.path / "theirs/.set-up").unlink()
    box.log()
    assert box.set_up("quick").returncode == 0
    assert not any("pip" in line for line in box.log())


def test_make_help_needs_nothing() -> None:
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert all(f"make {verb}" in done.stdout for verb in ("run", "test", "unit", "bench", "lint", "clean"))
