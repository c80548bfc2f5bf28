# SPDX-License-Identifier: GPL-2.0-or-later
"""Build a static bash for guests from the distribution's source package; scripts of suites need it."""

from __future__ import annotations

from pathlib import Path

from lab.arch.record import Arch
from lab.build import debian, step, toolchain
from lab.core.cache import Cache, digest
from lab.core.progress import Progress

PACKAGE = "bash"
BUILD_S = 900.0
CONFIGURE = (
    "CC_FOR_BUILD=gcc",
    "CFLAGS=-O2",
    "--enable-static-link",
    "--without-bash-malloc",
    *(f"--disable-{name}" for name in ("nls", "readline", "history", "bang-history", "progcomp", "help-builtin")),
    "--disable-net-redirections",
    # configure would find these out by running programs, which it cannot do for another architecture.
    *(f"bash_cv_{name}=present" for name in ("job_control_missing", "sys_named_pipes", "func_sigsetjmp")),
    "bash_cv_printf_a_format=yes",
    "bash_cv_getcwd_malloc=yes",
    "bash_cv_unusable_rtsigs=no",
)


def build(arch: Arch, *, cache: Cache, progress: Progress) -> Path:
    """Return the program from the cache, or build it in a minute; BuildError with the compiler's messages."""
    chain = toolchain.find(arch)
    package = debian.find_source(PACKAGE, cache, progress=progress)

    def make(entry: Path) -> None:
        with cache.scratch("bash") as scratch:
            tree = debian.fetch_source(PACKAGE, scratch, cache=cache, progress=progress)
            host = [f"--host={chain.target}"] if chain.target else []
            configure = ["sh", "configure", *host, f"CC={chain.program_cc}", *CONFIGURE]
            for argv in (configure, ["make", PACKAGE], [f"{chain.prefix}strip", PACKAGE]):
                step.run(
                    argv, cwd=tree, failure="bash did not build", timeout_s=BUILD_S, label="bash", progress=progress
                )
            (entry / PACKAGE).write_bytes((tree / PACKAGE).read_bytes())

    key = digest(arch.name, chain.key, package.version, *CONFIGURE)
    return cache.entry(PACKAGE, key, make) / PACKAGE
