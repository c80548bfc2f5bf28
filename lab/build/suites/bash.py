# SPDX-License-Identifier: GPL-2.0-or-later
"""bash for guests, static, from the distribution's source package: scripts of suites are written for it."""

from __future__ import annotations

from pathlib import Path

from lab.arch import Arch
from lab.build import debian, toolchain
from lab.core import proc
from lab.core.cache import Cache, digest
from lab.core.errors import BuildError
from lab.core.progress import Progress
from lab.formats import build_log

PACKAGE = "bash"
BUILD_S = 900.0
CONFIGURE = (
    "CC_FOR_BUILD=gcc",
    "CFLAGS=-O2",
    "--enable-static-link",
    "--without-bash-malloc",
    *(f"--disable-{name}" for name in ("nls", "readline", "history", "bang-history", "progcomp", "help-builtin")),
    "--disable-net-redirections",
    # What it would otherwise find out by running programs, which a cross compiler's cannot be. All is so on Linux.
    *(f"bash_cv_{name}=present" for name in ("job_control_missing", "sys_named_pipes", "func_sigsetjmp")),
    "bash_cv_printf_a_format=yes",
    "bash_cv_getcwd_malloc=yes",
    "bash_cv_unusable_rtsigs=no",
)


def build(arch: Arch, *, cache: Cache, progress: Progress) -> Path:
    """The program, from the cache or built in a minute; BuildError with the compiler's words."""
    chain = toolchain.find(arch)
    found = debian.find_source(PACKAGE, cache, progress=progress)

    def make(entry: Path) -> None:
        with cache.scratch("bash") as scratch:
            tree = debian.fetch_source(PACKAGE, scratch, cache=cache, progress=progress)
            host = [f"--host={chain.target}"] if chain.target else []
            _run(["sh", "configure", *host, f"CC={chain.program_cc}", *CONFIGURE], tree, progress)
            _run(["make", PACKAGE], tree, progress)
            _run([f"{chain.prefix}strip", PACKAGE], tree, progress)
            (entry / PACKAGE).write_bytes((tree / PACKAGE).read_bytes())

    key = digest(arch.name, chain.key, found.version, *CONFIGURE)
    return cache.entry(PACKAGE, key, make) / PACKAGE


def _run(argv: list[str], tree: Path, progress: Progress) -> None:
    progress(f"bash: {argv[0]}")
    try:
        proc.run(argv, cwd=tree, env=toolchain.ccache_environment(tree), timeout_s=BUILD_S, whole=True)
    except proc.ProcError as error:
        words = build_log.excerpt(error.output.splitlines()) or error.message
        raise BuildError("bash did not build", excerpt=words) from error
