# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetch the distribution's packages through apt with a private state; the host's own apt configuration is only read.

The suites to search come from the host's own sources entries, so that no mirror is named here: first the suites that
the host uses, then its backports, then every newer release of the same mirrors. apt verifies signatures and hashes with
the host's keyrings. Below the cache:

    apt/<suite>-<hash>/         private apt state of one suite: sources, lists
    debian/<kind>-<name>.json   what a name was resolved to, so that a second lookup needs neither apt nor network
"""

from __future__ import annotations

import json
import re
import shlex
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, product
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from lab.core import proc
from lab.core.cache import Cache, digest, write_atomic
from lab.core.errors import InfraError, nearest
from lab.core.progress import Progress, silent
from lab.core.this_host import install_command

AptKind = Literal["deb", "deb-src"]
MEMORY = "debian"
"""The directory of the cache with what names were resolved to."""

# Releases in their order; a later one is tried when the host's own does not have a package. A codename and an alias
# each have their own ladder, because which alias a codename has changes with time.
LADDERS = (
    ("buster", "bullseye", "bookworm", "trixie", "forky", "sid"),
    ("oldoldstable", "oldstable", "stable", "testing", "unstable"),
)
ROLLING = frozenset({"sid", "unstable"})
"""Releases without -updates, -security and -backports."""
POCKETS = ("updates", "security", "backports", "backports-sloppy", "proposed-updates")
ARCHIVE_KEYRINGS = ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")
KEPT_OPTIONS = ("Signed-By", "Check-Valid-Until", "Check-Date", "Valid-Until-Min", "Valid-Until-Max", "By-Hash")
"""Options of a host's entry that the lab's entries inherit; not `Trusted: yes`, as signatures are always checked."""
FRESH_S = 24 * 3600.0
"""Lists older than this are fetched again."""
MISSED_S = 600.0
"""The same for a second lookup, after one that found nothing."""
DOWNLOAD_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageVersion:
    """A package that a suite has."""

    package: str
    version: str
    suite: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AptEntry:
    """One entry of apt's sources, as far as the lab uses it; `options` have their deb822 spelling."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class AptSuite:
    """One suite of one mirror."""

    name: str
    uris: tuple[str, ...]
    options: Mapping[str, str]

    def stanza(self, kind: AptKind, architecture: str) -> str:
        """Return the deb822 sources entry that makes apt fetch one list of this suite and nothing else."""
        fields = {
            "Types": kind,
            "URIs": " ".join(self.uris),
            "Suites": self.name,
            "Components": "main",
            "Targets": "Packages" if kind == "deb" else "Sources",
            **({"Architectures": architecture} if kind == "deb" else {}),
            **self.options,
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items())


# ---- Reading the host's sources -------------------------------------------------------------------------------------


def parse_one_line(text: str) -> list[AptEntry]:
    """Return the entries of a `.list` file: `deb [option=value ...] URI SUITE COMPONENT...`, `#` begins a comment."""
    entries = []
    for line in text.splitlines():
        match = re.fullmatch(r"deb(?:-src)?\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)", line.partition("#")[0].strip())
        if match:
            options = _one_line_options(match[1] or "")
            entries.append(_entry([match[2]], [match[3]], match[4].split(), options))
    return entries


def _one_line_options(text: str) -> dict[str, str]:
    """Return `name=value,value ...` with the spelling of deb822."""
    options = {}
    for part in text.split():
        name, _, value = part.partition("=")
        options[name.rstrip("+-").title()] = value.replace(",", " ")
    return options


DISABLED = ("no", "false", "off", "0", "without", "disable")
"""What apt accepts for `Enabled: no`."""


def parse_deb822(text: str) -> list[AptEntry]:
    """Return the entries of a `.sources` file that are enabled."""
    entries = []
    from debian.deb822 import Deb822

    for stanza in Deb822.iter_paragraphs(text.splitlines(), use_apt_pkg=False):
        fields = {name.title(): value.rstrip() for name, value in stanza.items()}
        uris, suites, components = (fields.get(name, "").split() for name in ("Uris", "Suites", "Components"))
        if uris and fields.get("Enabled", "yes").strip().lower() not in DISABLED:
            entries.append(_entry(uris, suites, components, fields))
    return entries


def _entry(
    uris: Sequence[str], suites: Sequence[str], components: Sequence[str], options: Mapping[str, str]
) -> AptEntry:
    kept = {name: options[name] for name in KEPT_OPTIONS if name in options}
    return AptEntry(
        uris=tuple(uris), suites=tuple(suites), components=tuple(components), options=MappingProxyType(kept)
    )


def split_suite(name: str) -> tuple[str, str] | None:
    """Split `bookworm-security` or `bookworm/updates` into (`bookworm`, `security`); None if it is no Debian suite."""
    release, _, pocket = name.replace("/updates", "-security").partition("-")
    known = any(release in ladder for ladder in LADDERS) and (not pocket or pocket in POCKETS)
    return (release, pocket) if known else None


def is_debian(entry: AptEntry) -> bool:
    """Return whether an entry looks like Debian's own by its suites, components and keyring, never by its host.

    Other repositories use `bookworm main` too: the Origin in their Release file rejects those later.
    """
    keys = entry.options.get("Signed-By", "").strip()
    theirs = keys.startswith("/") and "debian" not in keys
    local = any(uri.startswith("cdrom:") for uri in entry.uris)
    known = any(split_suite(name) for name in entry.suites)
    return known and "main" in entry.components and not theirs and not local


def groups(entries: Iterable[AptEntry], keyrings: Sequence[Path] = ()) -> tuple[tuple[AptSuite, ...], ...]:
    """Return the suites to search, in order: the host's own together, its backports, then newer releases likewise.

    `keyrings` are accepted for derived suites beside those that the host's entry names.
    """
    own = _own_suites(entries)
    backports = tuple(suite for suite in own if _pocket(suite) in ("backports", "backports-sloppy"))
    found = [tuple(suite for suite in own if suite not in backports), backports]
    for release in _releases(own):
        found += _newer(release, own, keyrings)
    return tuple(filter(None, found))


def _own_suites(entries: Iterable[AptEntry]) -> list[AptSuite]:
    """Return the suites of Debian that the host's entries name, one per name and mirrors."""
    suites: dict[tuple[str, tuple[str, ...]], AptSuite] = {}
    for entry in filter(is_debian, entries):
        for name in filter(split_suite, entry.suites):
            suites[name, entry.uris] = AptSuite(name=name, uris=entry.uris, options=entry.options)
    return list(suites.values())


def older(entries: Iterable[AptEntry], keyrings: Sequence[Path] = ()) -> tuple[AptSuite, ...]:
    """Return the suites of the releases before the host's own, on the host's mirrors."""
    own = _own_suites(entries)
    suites: list[AptSuite] = []
    for ladder in LADDERS:
        releases = _releases(own)
        if releases and releases[0] in ladder:
            for release in ladder[: ladder.index(releases[0])]:
                for group in _newer(release, own, keyrings):
                    suites += group
    return tuple(suites)


def _newer(release: str, own: Sequence[AptSuite], keyrings: Sequence[Path]) -> list[tuple[AptSuite, ...]]:
    """Return the groups of a release on the host's mirrors: its suites, then its backports, without the host's own."""
    archive = next((suite for suite in own if _pocket(suite) != "security"), None)
    security = next((suite for suite in own if _pocket(suite) == "security"), None)
    mirrors = {release: archive}
    backports: dict[str, AptSuite | None] = {}
    if release not in ROLLING:
        mirrors |= {f"{release}-updates": archive, f"{release}-security": security}
        backports[f"{release}-backports"] = archive
    return [_derived(mirrors, own, keyrings), _derived(backports, own, keyrings)]


def _pocket(suite: AptSuite) -> str:
    return (split_suite(suite.name) or ("", ""))[1]


def _releases(own: Sequence[AptSuite]) -> list[str]:
    """Return the release that the host runs (the oldest it has) and all after it."""
    present = {(split_suite(suite.name) or ("",))[0] for suite in own}
    for ladder in LADDERS:
        if places := [ladder.index(release) for release in present if release in ladder]:
            return list(ladder[min(places) :])
    return []


def _derived(
    mirrors: Mapping[str, AptSuite | None], own: Sequence[AptSuite], keyrings: Sequence[Path]
) -> tuple[AptSuite, ...]:
    """Return suites named by the keys of `mirrors`, each like its value, without the names that the host has itself."""
    present = {suite.name for suite in own}
    derived = []
    for name, like in mirrors.items():
        if like and name not in present:
            derived.append(replace(like, name=name, options=_more_keys(like.options, keyrings)))
    return tuple(derived)


def _more_keys(options: Mapping[str, str], keyrings: Sequence[Path]) -> Mapping[str, str]:
    """Return the options with the distribution's whole keyring beside the files that Signed-By names.

    An entry may name the keys of its own release alone, which cannot verify a newer release.
    """
    named = options.get("Signed-By", "").strip()
    if not named.startswith("/"):
        return options
    files = dict.fromkeys([*named.split(), *(str(path) for path in keyrings)])
    return MappingProxyType({**options, "Signed-By": " ".join(files)})


# ---- apt ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AptHost:
    """The host's apt configuration."""

    architecture: str
    entries: tuple[AptEntry, ...]
    keyrings: tuple[Path, ...]


def host() -> AptHost:
    """Read the host's apt configuration; InfraError if there is no apt or no Debian entry."""
    variables = ("ARCH=APT::Architecture", "LIST=Dir::Etc::sourcelist/f", "PARTS=Dir::Etc::sourceparts/d")
    argv = ["apt-config", "shell", *" ".join(variables).replace("=", " ").split()]
    try:
        output = proc.run(argv, timeout_s=30).output
    except InfraError as error:
        raise InfraError(
            f"the host has no apt: {error.message}", hint="use a source of kind path:, git: or tarball:"
        ) from error
    words = dict(word.partition("=")[::2] for word in shlex.split(output) if "=" in word)
    files = [
        Path(words["LIST"]),
        *sorted(Path(words["PARTS"]).glob("*.list")),
        *sorted(Path(words["PARTS"]).glob("*.sources")),
    ]
    entries = tuple(chain.from_iterable(map(_read_entries, filter(Path.is_file, files))))
    if not any(is_debian(entry) for entry in entries):
        raise InfraError(
            f"the host's apt sources have no entry of Debian ({words['LIST']}, {words['PARTS']})",
            hint="use a source of kind path:, git: or tarball:",
        )
    keyrings = tuple(filter(Path.is_file, (Path("/usr/share/keyrings", name) for name in ARCHIVE_KEYRINGS)))
    return AptHost(architecture=words["ARCH"], entries=entries, keyrings=keyrings)


def _read_entries(path: Path) -> list[AptEntry]:
    text = path.read_text(encoding="utf-8", errors="replace")
    return parse_deb822(text) if path.suffix == ".sources" else parse_one_line(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class AptState:
    """apt's private state for one list of one suite."""

    suite: AptSuite
    kind: AptKind
    directory: Path

    @property
    def config(self) -> Path:
        return self.directory / "apt.conf"

    @property
    def updated(self) -> Path:
        """A file whose time is when the list was last fetched; missing before the first time."""
        return self.directory / "updated"

    def apt(self, program: str, *words: str, cwd: Path | None = None, timeout_s: float = 300.0) -> proc.Completed:
        """Run `apt-get` or `apt-cache` on this state; ProcError if it fails."""
        argv = [program, "--config-file", str(self.config), "--quiet", *words]
        return proc.run(argv, cwd=cwd, timeout_s=timeout_s, whole=True)

    def age_s(self) -> float:
        """Return the seconds since the list was fetched; infinity if it never was."""
        return time.time() - self.updated.stat().st_mtime if self.updated.exists() else float("inf")


def _open(cache: Cache, suite: AptSuite, kind: AptKind, architecture: str) -> AptState:
    """Return the state of a suite, created if needed; a hash of all that it depends on is in its name."""
    stanza = suite.stanza(kind, architecture)
    key = digest(stanza, APT_CONF)
    directory = cache.root / "apt" / f"{suite.name.replace('/', '_')}-{kind}-{key}"
    if not (directory / "apt.conf").exists():
        for name in ("lists/partial", "cache/archives/partial", "etc/sources.d", "etc/empty"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        write_atomic(directory / "status", b"")
        write_atomic(directory / "etc/sources.d/lab.sources", stanza.encode())
        write_atomic(directory / "apt.conf", APT_CONF.replace("@", str(directory)).encode())
    return AptState(suite=suite, kind=kind, directory=directory)


# apt reads the host's configuration (proxies, credentials) first and this file last.
APT_CONF = """\
Dir::State "@";
Dir::State::lists "@/lists/";
Dir::State::status "@/status";
Dir::Cache "@/cache";
Dir::Cache::archives "@/cache/archives/";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "@/etc/sources.d/";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "@/etc/empty/";
// Hooks of the host's desktop packages tell daemons about new lists: these lists are none of theirs.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
// Root's apt drops to a user of its own for downloads, who cannot enter a cache below a home directory.
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "1";
"""


def update(state: AptState, progress: Progress) -> None:
    """Fetch the suite's list; InfraError with the reason in a few words if that fails."""
    progress(f"package list of {state.suite.name}")
    try:
        state.apt("apt-get", "update", "--error-on=any", timeout_s=600)
    except proc.ProcError as error:
        raise InfraError(f"{state.suite.name}: {reason(error)}", hint=error.hint) from error
    origin = state.apt("apt-get", "indextargets", "--format", "$(ORIGIN)").output.split("\n")[0].strip()
    if not origin:
        raise InfraError(f"{state.suite.name}: empty")
    if not origin.startswith("Debian"):
        raise InfraError(f"{state.suite.name}: a repository of {origin}, not of Debian")
    state.updated.touch()


NO_NETWORK = "no network"
"""Prefix of the reasons after which no other suite is fetched."""
# A phrase of apt's message (LC_ALL is C.UTF-8) -> its meaning. apt's exit status is 100 for every failure.
REASONS = (
    ("NO_PUBKEY", "signed with a key that the host's keyring lacks (a newer debian-archive-keyring may have it)"),
    ("not signed", "not signed"),
    ("does not have a Release file", "not on the host's mirror"),
    ("is not valid yet", "from the future by the host's clock"),
    ("Release file is expired", "expired: the mirror is stale, or the host's clock is wrong"),
    ("Could not resolve", f"{NO_NETWORK}: the mirror's name does not resolve"),
    ("Temporary failure resolving", f"{NO_NETWORK}: the mirror's name does not resolve"),
    ("Could not connect", f"{NO_NETWORK}: the mirror does not answer"),
    ("Unable to connect", f"{NO_NETWORK}: the mirror does not answer"),
    ("Connection failed", f"{NO_NETWORK}: the mirror does not answer"),
    ("Connection timed out", f"{NO_NETWORK}: the mirror does not answer"),
)


def reason(error: proc.ProcError) -> str:
    """Return why apt failed, in a few words."""
    for phrase, meaning in REASONS:
        if phrase in error.output:
            return meaning
    errors = (line for line in error.output.splitlines() if line.startswith("E:"))
    return next(errors, error.message)


def versions(state: AptState, package: str) -> list[str]:
    """Return all versions of a package in a list, the newest first."""
    known = set()
    for line in state.apt("apt-cache", "madison", package).output.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) == 3 and columns[0] == package:
            known.add(columns[1])
    from debian.debian_support import Version

    return sorted(known, key=Version, reverse=True)


# ---- Finding --------------------------------------------------------------------------------------------------------


def find_binary(package: str, cache: Cache, *, progress: Progress = silent, refresh: bool = False) -> PackageVersion:
    """Find a binary package of the host's architecture.

    Return the newest version in the first group of suites that has it: the host's own, its backports, newer releases.
    The answer is stored in the cache; `refresh` looks again. InfraError if no suite has it.
    """
    return _find("deb", package, cache, progress, refresh)


def find_source(package: str, cache: Cache, *, progress: Progress = silent, refresh: bool = False) -> PackageVersion:
    """Find a source package, as `find_binary` does."""
    return _find("deb-src", package, cache, progress, refresh)


def _find(kind: AptKind, package: str, cache: Cache, progress: Progress, refresh: bool) -> PackageVersion:
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package):
        raise InfraError(f"{package!r} cannot be the name of a Debian package")
    if not refresh and (remembered := _recall(kind, package, cache)):
        return remembered
    with cache.lock("apt"):
        apt = host()
        states = []
        for group in groups(apt.entries, apt.keyrings):
            states.append([_open(cache, suite, kind, apt.architecture) for suite in group])
        failures: dict[str, str] = {}
        ages_s = (0.0,) if refresh else (FRESH_S, MISSED_S)
        for max_age_s, group_states in product(ages_s, states):
            if version := _newest(group_states, package, max_age_s, failures, progress):
                write_atomic(_memory(kind, package, cache), json.dumps(asdict(version)).encode() + b"\n")
                return version
    raise _missing(kind, package, list(chain.from_iterable(states)), failures)


def _memory(kind: AptKind, package: str, cache: Cache) -> Path:
    return cache.root / MEMORY / f"{kind}-{package}.json"


def _recall(kind: AptKind, package: str, cache: Cache) -> PackageVersion | None:
    """Return what a package was resolved to before; None if it was not, or if the file is damaged."""
    try:
        return PackageVersion(**json.loads(_memory(kind, package, cache).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _newest(
    group: Sequence[AptState], package: str, max_age_s: float, failures: dict[str, str], progress: Progress
) -> PackageVersion | None:
    """Return the newest version in a group of suites, None if none has the package.

    A suite whose list cannot be fetched gets an entry in `failures` and is not tried again; after one that failed
    because there is no network, no other is fetched.
    """
    newest = []
    for state in group:
        offline = any(reason.startswith(NO_NETWORK) for reason in failures.values())
        if state.age_s() > max_age_s and state.suite.name not in failures and not offline:
            try:
                update(state, progress)
            except InfraError as error:
                failures[state.suite.name] = error.message.removeprefix(f"{state.suite.name}: ")
        if state.updated.exists():  # an old list is better than none without network
            for version in versions(state, package)[:1]:
                newest.append(PackageVersion(package=package, version=version, suite=state.suite.name))
    from debian.debian_support import Version

    return max(newest, key=lambda candidate: Version(candidate.version), default=None)


def _missing(kind: AptKind, package: str, states: Sequence[AptState], failures: Mapping[str, str]) -> InfraError:
    """Return the error for a package that no suite has: suites tried, suites left out and why, the nearest name."""
    usable = [state for state in states if state.updated.exists()]
    tried = ", ".join(state.suite.name for state in usable) or "none"
    left_out = "".join(f"; {name} left out: {reason}" for name, reason in failures.items())
    near = nearest(package, _names(usable, package)) if kind == "deb" else None
    what = "source package" if kind == "deb-src" else "package"
    return InfraError(
        f"no {what} {package} in the distribution's suites; tried: {tried}{left_out}",
        hint=f"did you mean {near!r}?" if near else None,
    )


def _names(states: Sequence[AptState], package: str) -> set[str]:
    """Return the packages whose names begin like this one's."""
    names: set[str] = set()
    for state in states:
        names.update(state.apt("apt-cache", "pkgnames", package[:3]).output.split())
    return names


# ---- Fetching -------------------------------------------------------------------------------------------------------


def fetch_binary(package: str, dest_dir: Path, *, cache: Cache, progress: Progress = silent) -> Path:
    """Download the version that `find_binary` returns, unpack its files into `dest_dir`, and return that."""
    with _downloaded("deb", package, cache, progress) as (directory, version):
        progress(f"unpacking {package} {version.version}")
        dest_dir.mkdir(parents=True, exist_ok=True)
        proc.run(["dpkg-deb", "--extract", str(next(directory.glob("*.deb"))), str(dest_dir)], timeout_s=DOWNLOAD_S)
    return dest_dir


def fetch_source(package: str, dest_dir: Path, *, cache: Cache, progress: Progress = silent) -> Path:
    """Download the version that `find_source` returns and unpack it, patches applied; return the directory.

    That is a new one below `dest_dir`. The downloaded files stay in the cache: they are small, and every architecture
    needs them.
    """
    version = find_source(package, cache, progress=progress)

    def make(entry: Path) -> None:
        with _downloaded("deb-src", package, cache, progress) as (directory, _):
            for path in directory.iterdir():
                path.rename(entry / path.name)

    entry = cache.entry("sources", digest(package, version.version, version.suite), make)
    tree = dest_dir / package
    dest_dir.mkdir(parents=True, exist_ok=True)
    argv = ["dpkg-source", "--no-copy", "--extract", str(next(entry.glob("*.dsc"))), str(tree)]
    try:
        proc.run(argv, cwd=dest_dir)
    except proc.ProcError as error:
        missing = proc.which("dpkg-source") is None
        raise InfraError(error.message, hint=install_command(["dpkg-dev"]) if missing else error.hint) from error
    return tree


@contextmanager
def _downloaded(kind: AptKind, package: str, cache: Cache, progress: Progress) -> Iterator[tuple[Path, PackageVersion]]:
    """Yield a scratch directory with the package's files, verified by apt, and the version."""
    version = _find(kind, package, cache, progress, False)
    verb = ["download"] if kind == "deb" else ["source", "--download-only", "--only-source"]
    with cache.scratch("apt") as scratch:
        with cache.lock("apt"), _watched(scratch, f"fetching {package} {version.version}", progress):
            state = _state_of(version, kind, cache, progress)
            try:
                state.apt("apt-get", *verb, f"{package}={version.version}", cwd=scratch, timeout_s=DOWNLOAD_S)
            except proc.ProcError as error:
                # The version may have left the mirror since it was looked up: look again the next time.
                _memory(kind, package, cache).unlink(missing_ok=True)
                raise InfraError(
                    f"{package} {version.version} ({version.suite}) could not be downloaded: {reason(error)}",
                    hint="run the same command again: it looks up the version that the mirror has now",
                ) from error
        yield scratch, version


def _state_of(version: PackageVersion, kind: AptKind, cache: Cache, progress: Progress) -> AptState:
    """Return the state of the suite in which a package was found, with its list fetched."""
    apt = host()
    every = chain.from_iterable(groups(apt.entries, apt.keyrings))
    suites = [suite for suite in every if suite.name == version.suite]
    for suite in suites:
        state = _open(cache, suite, kind, apt.architecture)
        if not state.updated.exists():
            update(state, progress)
        if len(suites) == 1 or version.version in versions(state, version.package):
            return state
    _memory(kind, version.package, cache).unlink(missing_ok=True)
    raise InfraError(
        f"{version.package} {version.version} is of {version.suite}, which the host's apt sources no longer contain",
        hint="run the same command again: it searches the other suites",
    )


@contextmanager
def _watched(directory: Path, what: str, progress: Progress) -> Iterator[None]:
    """Report how many MB a directory holds while the block runs."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            progress(f"{what}, {_size(directory) / 1e6:.0f} MB")

    progress(what)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _size(directory: Path) -> int:
    """Return the bytes in a directory whose files may change meanwhile."""
    total = 0
    for path in directory.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total
