# SPDX-License-Identifier: GPL-2.0-or-later
"""Run an example of every verb and suite on a bare Debian: a chroot with nothing but what the set-up installs.

`python -m tests.bare_host [--release RELEASE] [--user] [--pair] [DIR]` needs root and mmdebstrap. A new chroot is made
and removed afterwards; one in DIR is made if it is not there, and kept. The clone of this commit in it is always new.
The chroot shares the host's cache, so that no kernel is built that the host has; `make run` should be done first. The
compilers of another release than the host's build other kernels: those of one machine are built in the chroot.
With --user root only installs Debian's packages (`make setup`); all else is done by an ordinary user without sudo, in a
clone and with a cache of its own, which is empty in a new chroot. With --pair it does no more than .ci/second-host
needs: the set-up, a pair of kernels built by the release's compilers, and a guest of each with its cases.
Each command has the exit status that it must have and a text that it must print; one that ends with "No such file",
"not found" or a traceback is a defect.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab.core.cache import default_root

ROOT = Path(__file__).parents[1]
RELEASES = ("bookworm", "trixie")
"""Debian 12 and 13, the releases that the lab runs on."""
USER = "dev"
"""The ordinary user of --user."""
SHARED = ("/etc/ssl/certs", "/etc/pip.conf", "/etc/xdg/pip", "/opt")
"""What a host behind a mirror has for apt and pip: certificates, pip's configuration and its wheels."""
TIMEOUT_S = 3600
DEFECT = re.compile(r"Traceback \(most recent call last\)|No such file|no such program|command not found|: not found")
OF_PACKAGES = re.compile(r"^Reloading system message bus config.*\n", re.MULTILINE)
"""What Debian's packages print when they are installed where no system runs, such as a chroot."""
CELL = "x86_64-4k-2node/baseline/expand.a01_grow_touch"
MACHINE = "-t x86_64-4k-2node"
SERIES = "images/series/expand-fault/6.12"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A command in the clone, the exit status that it must have, and a text that it must print."""

    line: str
    status: int = 0
    text: str = ""


TRIALS = (
    Trial(line="make setup"),
    Trial(line="lab doctor", text="ok   kernels"),
    Trial(line="lab list topologies", text="x86_64-4k-2node"),
    Trial(line="lab list scenarios", text="expand"),
    Trial(line="lab list arches --json", text="x86_64"),
    Trial(line="lab plan quick", text="estimated time"),
    Trial(line="lab capture", text="arch: "),
    Trial(line="lab completion bash", text="_lab_completion"),
    Trial(line="lab man", text=".TH LAB"),
    Trial(line=f"lab build quick {MACHINE}"),
    Trial(line=f"lab run quick {MACHINE} --test 'expand.a0*'", text="all 20 expectations met"),
    Trial(line="lab run --resume results/latest", text="all 20 expectations met"),
    Trial(line="lab report", text="all 20 expectations met"),
    Trial(line="lab compare results/latest results/latest"),
    Trial(line=f"lab replay results/latest {CELL}", text="then"),
    Trial(line=f"lab bundle results/latest {CELL} -o case.tar.gz", text="reproduce.sh"),
    Trial(line="tar -C /tmp -xf case.tar.gz && sh /tmp/*/reproduce.sh", text="reproduced"),
    Trial(line=f"lab exec {MACHINE} -k baseline -- cat /proc/cmdline", text="console="),
    Trial(line=f"lab exec {MACHINE} -k baseline -- ./hello.c", text="hello"),
    Trial(line=f"lab exec {MACHINE} -k baseline --root debian:bookworm -- sh -c 'awk 1 /etc/issue'", text="Linux 12"),
    Trial(line=f"echo 'echo it-$((6 * 7)); exit' | lab shell {MACHINE} -k baseline", text="it-42"),
    Trial(line=f"printf '\\001x' | lab console {MACHINE} -k baseline", text="QEMU: Terminated"),
    Trial(line=f"lab gdb {MACHINE} -k baseline", status=2, text="lab gdb needs gdb-multiarch, which is not installed"),
    Trial(line=f"lab run quick {MACHINE} --suite kselftest-mm", status=2, text="--suite kselftest needs rsync"),
    Trial(line=f"lab run quick {MACHINE} --suite vma", status=2, text="--suite vma needs urcu.h"),
    Trial(line=f"lab plan quick {MACHINE} --suite kunit:lits-kunit", status=64, text="kunit:list-kunit-test"),
    Trial(line=f"lab run quick {MACHINE} --suite ltp:~/ltp:mm", status=64, text="/ltp"),
    Trial(line="lab mutate -k expand-fault --list", text="shmem.c"),
    Trial(line="lab try HEAD^..HEAD", status=64, text="expected a kernel tree"),
    Trial(line=f"cat {SERIES}/*.patch | lab check", status=1, text="expected a patch or a mail"),
    Trial(line="lab bisect --good HEAD~1 --bad HEAD -t x86_64-4k", status=64, text="expected a kernel tree"),
    Trial(line="lab pages --check /bin/true", text="programs and libraries looked at: 1"),
    Trial(line="lab cache list", status=64, text="which store?"),
    Trial(line="lab queue ~/none", status=64, text="expected a directory to watch"),
    Trial(line="lab worker tls://127.0.0.1:8786", status=64, text="a cluster needs dask.distributed"),
    Trial(line="lab hosts --hosts hosts.yaml", status=64, text="a cluster needs dask.distributed"),
    Trial(line="lab cluster certs certs host1", text="certs"),
    Trial(line="lab clean", text="freed"),
    Trial(line="make lint", text="Success"),
    Trial(line="make fuzz ARGS=2"),
)
PAIR = ("make setup", "lab doctor", f"lab run quick {MACHINE} --test 'expand.a0*'", "lab report")
"""The trials of --pair: what proves that the lab works on a release of Debian at all."""
HELLO = '#include <stdio.h>\nint main(void)\n{\n\tputs("hello");\n\treturn 0;\n}\n'

ENTER = """\
set -e
root=$1 home=$2 user=$3
mount --bind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
shift 4
while [ $# -gt 1 ]; do mount --bind "$1" "$root$2"; shift 2; done
cp /etc/resolv.conf "$root/etc/resolv.conf"
export HOME=$home USER=$user PATH=$home/pagelab/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
exec chroot --userspec="$user" "$root" sh -c "cd ~/pagelab 2>/dev/null; $1"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BareHost:
    """A chroot with a minimal Debian, and who works in it."""

    release: str
    root: Path
    user: str = "root"

    @property
    def home(self) -> str:
        """The user's home directory in the chroot."""
        return "/root" if self.user == "root" else f"/home/{self.user}"

    def make(self) -> None:
        """Install the release's essential packages, git and make, unless that is done; clone this commit into it."""
        packages = "--include=make,git,ca-certificates"
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", packages, self.release, str(self.root)]
        if not (self.root / "etc/os-release").exists():
            subprocess.run(argv, check=True)
        home = self.root / self.home.lstrip("/")
        if not home.exists():
            subprocess.run(["chroot", self.root, "useradd", "--create-home", self.user], check=True)
        clone = home / "pagelab"
        shutil.rmtree(clone, ignore_errors=True)
        subprocess.run(["git", "clone", "--quiet", "--no-local", ROOT, clone], check=True)
        (clone / "hello.c").write_text(HELLO)
        owner = f"{self.user}:{self.user}"
        subprocess.run(["chroot", self.root, "chown", "-R", owner, f"{self.home}/pagelab"], check=True)

    def run(self, line: str) -> tuple[int, str]:
        """Run a shell command in the clone, with the host's cache for root; return its exit status and its output."""
        shared = [(name, name) for name in SHARED if Path(name).exists()]
        if self.user == "root":
            shared.append((str(default_root()), "/root/.cache/pagelab"))
        binds: list[str] = []
        for source, target in shared:
            place = self.root / target.lstrip("/")
            if Path(source).is_dir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                place.touch()
            binds += [source, target]
        alone = ("unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh")
        done = subprocess.run(
            [*alone, str(self.root), self.home, self.user, "--", *binds, line],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
        return done.returncode, done.stdout.decode("utf-8", "replace")


def fault(trial: Trial, status: int, printed: str) -> str:
    """Return what is wrong with how a command ended; empty if nothing is."""
    printed = OF_PACKAGES.sub("", printed)
    if found := DEFECT.search(printed):
        line = printed[printed.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0]
        return f"prints {line!r}"
    if status != trial.status:
        return f"exit status {status}, expected {trial.status}"
    if trial.text not in printed:
        return f"does not print {trial.text!r}"
    return ""


def main(argv: list[str] | None = None) -> int:
    """Try every command on a bare host, in the directory that is named if one is; return 1 if a command is faulty."""
    parser = argparse.ArgumentParser(prog="tests.bare_host")
    parser.add_argument("--release", choices=RELEASES, default=RELEASES[0])
    parser.add_argument("--user", action="store_true", help="work as an ordinary user without sudo")
    parser.add_argument("--pair", action="store_true", help="the set-up, one pair of kernels and its guests, no more")
    parser.add_argument("dir", nargs="?", type=Path)
    asked = parser.parse_args(argv)
    if os.getuid() != 0 or shutil.which("mmdebstrap") is None:
        sys.exit("tests.bare_host needs root and mmdebstrap (apt-get install --no-install-recommends mmdebstrap)")
    trials = [trial for trial in TRIALS if trial.line in PAIR] if asked.pair else TRIALS
    place = Path(tempfile.mkdtemp(prefix="pagelab-bare-host-"))
    chroot = asked.dir or place / "root"
    host = BareHost(release=asked.release, root=chroot)
    try:
        host.make()
        if asked.user:
            is_faulty(host, TRIALS[0])
            host = BareHost(release=asked.release, root=chroot, user=USER)
            host.make()
        faulty = sum(is_faulty(host, trial) for trial in trials)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    print(f"{len(trials)} commands on a bare {asked.release}, as {host.user}: {faulty} faulty")
    return min(faulty, 1)


def is_faulty(host: BareHost, trial: Trial) -> bool:
    """Try a command on a bare host and print how it ended; return whether something is wrong with that."""
    status, printed = host.run(trial.line)
    wrong = fault(trial, status, printed)
    if not wrong:
        print(f"ok     {status:3} {trial.line}", flush=True)
        return False
    print(f"FAULTY {status:3} {trial.line}\n       {wrong}; it ended:\n{printed[-2000:]}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
