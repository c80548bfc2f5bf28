# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetch packages of a Debian suite for any architecture, through apt with a private state; nothing is installed.

The suites' mirrors and keys come from the host's own sources entries (lab/build/debian.py), apt verifies signatures and
hashes, and resolves dependencies for the other architecture. No maintainer script runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lab.arch.record import Arch
from lab.build import debian
from lab.build.debian import APT_CONF, DOWNLOAD_S, FRESH_S, AptState, AptSuite
from lab.core import proc
from lab.core.cache import Cache, digest, write_atomic
from lab.core.errors import InfraError, UsageError, did_you_mean
from lab.core.progress import Progress, silent

FOREIGN = """\
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
"""
ALIASES = frozenset({"stable", "oldstable", "oldoldstable", "testing", "unstable", "rc-buggy"})
MAX_PACKAGES = 2000
GONE = "404  Not Found"
"""What apt prints for a file that its mirror does not have."""
PACKAGE = r"[a-z0-9][a-z0-9+.-]+"


@dataclass(frozen=True, slots=True, kw_only=True)
class AptRoot:
    """apt's private state for the suites of one release and one architecture."""

    state: AptState
    release: str
    architecture: str
    cache: Cache

    def download(self, packages: Sequence[str], into: Path, progress: Progress) -> list[str]:
        """Download packages and all that they depend on into a directory; return notes for the user.

        UsageError for a package that the release does not have. The files of updates of an old release leave the mirror
        before their index does: where one is gone, the packages are those of the release itself.
        """
        self._require(packages)
        (into / "partial").mkdir(parents=True, exist_ok=True)
        words = ["-o", f"Dir::Cache::archives={into}", "--yes", "--download-only", "--no-remove", "install", *packages]
        notes = []
        with self._locked(f"packages of {self.release} for {self.architecture}", progress):
            try:
                self.state.apt("apt-get", *words, timeout_s=DOWNLOAD_S)
            except proc.ProcError as error:
                if GONE not in error.output:
                    raise self._failed(packages, error) from error
                _empty(into)
                notes = self._without_updates(packages, words)
        _check_count(into)
        return notes

    def _without_updates(self, packages: Sequence[str], words: Sequence[str]) -> list[str]:
        """Download what `words` ask for from the release itself; return a note that says so."""
        try:
            self.state.apt("apt-get", "--target-release", self.release, *words, timeout_s=DOWNLOAD_S)
        except proc.ProcError as error:
            raise self._failed(packages, error) from error
        return [f"without updates: the mirror lists those of {self.release}, but it does not have their files any more"]

    def download_alone(self, package: str, into: Path, progress: Progress) -> Path:
        """Download one package without what it depends on, and return its file."""
        self._require([package])
        with self._locked(f"{package} of {self.release} for {self.architecture}", progress):
            try:
                self.state.apt("apt-get", "download", package, cwd=into, timeout_s=DOWNLOAD_S)
            except proc.ProcError as error:
                raise self._failed([package], error) from error
        return next(into.glob("*.deb"))

    def depends(self, package: str) -> tuple[str, ...]:
        """Return the packages that one depends on directly."""
        output = self.state.apt("apt-cache", "depends", "--important", package).output
        return tuple(re.findall(rf"^ +\|?Depends: ({PACKAGE})", output, re.MULTILINE))

    def versions(self, packages: Sequence[str]) -> tuple[str, ...]:
        """Return `NAME=VERSION` of each package that the release has now."""
        found = []
        for package in packages:
            for version in debian.versions(self.state, package)[:1]:
                found.append(f"{package}={version}")
        return tuple(found)

    def names(self, begin: str = "") -> list[str]:
        """Return the names of packages that begin with a word, virtual ones among them."""
        return self.state.apt("apt-cache", "pkgnames", *filter(None, [begin])).output.split()

    def no_package(self, name: str) -> str:
        """Return in words that the release lacks a package, with the nearest name of one that it has."""
        known = self.names()
        what = did_you_mean(name, known)
        if name in known:
            what = ": it is a virtual one, which others provide"
        return f"{self.release} has no package {name} for {self.architecture}{what}"

    def _require(self, packages: Sequence[str]) -> None:
        for package in packages:
            if not re.fullmatch(PACKAGE, package):
                raise UsageError(f"{package!r} cannot be the name of a Debian package")
            if not self.versions([package]):
                raise UsageError(self.no_package(package))

    @contextmanager
    def _locked(self, what: str, progress: Progress) -> Iterator[None]:
        with self.cache.lock(f"apt-{self.state.directory.name}"):
            progress(f"fetching {what}")
            yield

    def _failed(self, packages: Sequence[str], error: proc.ProcError) -> InfraError:
        names = " ".join(packages)
        reason = debian.reason(error)
        return InfraError(f"{names} of {self.release} for {self.architecture} could not be downloaded: {reason}")


def open_release(release: str, arch: Arch, cache: Cache, progress: Progress = silent) -> AptRoot:
    """Return apt for a release of Debian, its lists fetched if they are older than a day."""
    suites = [suite for suite in _suites() if suite.name.partition("-")[0] == release]
    suites = [suite for suite in suites if not suite.name.endswith(("-backports", "-proposed-updates", "-sloppy"))]
    if not suites:
        raise _no_release(release)
    state = _open(suites, release, arch.debian, cache)
    root = AptRoot(state=state, release=release, architecture=arch.debian, cache=cache)
    if state.age_s() > FRESH_S:
        with cache.lock(f"apt-{state.directory.name}"):
            debian.update(state, progress)
    return root


def _no_release(word: str) -> UsageError:
    """Return the error for a word that names no release, with what it is elsewhere, or the nearest one."""
    known = sorted({suite.name.partition("-")[0] for suite in _suites()})
    what = did_you_mean(word.lower(), known) or "; an image or a tar has one of another distribution"
    if word in ALIASES:
        what = ": it means another one from year to year"
    elif word.isdecimal() or word.replace(".", "").isdecimal():
        what = ": releases are called by their code names"
    return UsageError(
        f"{word!r} is no release on the mirrors of the host's apt sources{what}", hint=f"choices: {', '.join(known)}"
    )


def releases_from(first: str = "") -> tuple[str, ...]:
    """Return the releases on the host's mirrors, the host's own first and then the newer ones; `first` leads."""
    names = dict.fromkeys(suite.name.partition("-")[0] for suite in _suites())
    ordered = list(names)
    if first:
        ordered = [first, *(name for name in ordered if name != first)]
    return tuple(ordered)


def _suites() -> list[AptSuite]:
    host = debian.host()
    suites = list(chain.from_iterable(debian.groups(host.entries, host.keyrings)))
    return suites + list(debian.older(host.entries, host.keyrings))


def _open(suites: Sequence[AptSuite], release: str, architecture: str, cache: Cache) -> AptState:
    """Return the state of a release, created if needed; a hash of all that it depends on is in its name."""
    stanzas = "\n".join(suite.stanza("deb", architecture) for suite in suites)
    conf = APT_CONF + FOREIGN.format(architecture=architecture)
    directory = cache.root / "apt" / f"{release}-{architecture}-{digest(stanzas, conf)}"
    if not (directory / "apt.conf").exists():
        for name in ("lists/partial", "cache/archives/partial", "etc/sources.d", "etc/empty"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        write_atomic(directory / "status", b"")
        write_atomic(directory / "etc/sources.d/lab.sources", stanzas.encode())
        write_atomic(directory / "apt.conf", conf.replace("@", str(directory)).encode())
    return AptState(suite=suites[0], kind="deb", directory=directory)


def _empty(into: Path) -> None:
    """Remove the packages of a download that did not end."""
    for path in into.glob("*.deb"):
        path.unlink()


def _check_count(into: Path) -> None:
    """Raise UsageError for more packages than a root may have."""
    if sum(1 for _ in into.glob("*.deb")) > MAX_PACKAGES:
        raise UsageError(f"more than {MAX_PACKAGES} packages")
