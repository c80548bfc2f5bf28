# SPDX-License-Identifier: GPL-2.0-or-later
"""The distribution's packages, through apt with a private state: the host's own apt configuration is only read.

Where to look is derived from the host's own sources entries, so that no mirror is ever named here: first the suites
the host uses, then its backports, then every newer release of the same mirrors. apt verifies signatures and hashes with
the host's keyrings. Below the cache:

    apt/<suite>-<hash>/         private apt state of one suite: sources, lists
    debian/<kind>-<name>.json   what a name was resolved to, so that a second look needs neither apt nor network
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
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from lab.core import proc
from lab.core.cache import Cache, digest, write_atomic
from lab.core.errors import InfraError, nearest
from lab.core.progress import Progress, silent
from lab.core.this_host import install_command

AptKind = Literal["deb", "deb-src"]

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
"""Options of a host's entry that ours inherit. `Trusted: yes` is not one of them: signatures are always checked."""
FRESH_S = 24 * 3600.0
"""Lists older than this are fetched again."""
MISSED_S = 600.0
"""The same after a lookup that found nothing."""
DOWNLOAD_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageVersion:
    """A package that a suite has."""

    package: str
    version: str
    suite: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AptEntry:
    """One entry of apt's sources, reduced to what matters here; `options` have their deb822 spelling."""

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
        """The deb822 sources entry that makes apt fetch one list of this suite and nothing else."""
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
    """Entries of a `.list` file: `deb [option=value ...] URI SUITE COMPONENT...`, `#` begins a comment."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"deb(?:-src)?\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)", line.partition("#")[0].strip())
        if match:
            pairs = (part.partition("=") for part in (match[1] or "").split())
            options = {name.rstrip("+-").title(): value.replace(",", " ") for name, _, value in pairs}
            found.append(_entry([match[2]], [match[3]], match[4].split(), options))
    return found


def parse_deb822(text: str) -> list[AptEntry]:
    """Entries of a `.sources` file: stanzas of `Field: value`, continuation lines, `#` comment lines, `Enabled: no`."""
    found = []
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n[ \t]*\n", lines):
        matches = re.finditer(r"^([!-9;-~]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza, re.MULTILINE)
        fields = {match[1].title(): match[2].rstrip() for match in matches}
        if fields.get("Enabled", "yes").strip().lower() in ("no", "false", "off", "0", "without", "disable"):
            continue
        if uris := fields.get("Uris", "").split():
            found.append(_entry(uris, fields.get("Suites", "").split(), fields.get("Components", "").split(), fields))
    return found


def _entry(
    uris: Sequence[str], suites: Sequence[str], components: Sequence[str], options: Mapping[str, str]
) -> AptEntry:
    kept = {name: options[name] for name in KEPT_OPTIONS if name in options}
    return AptEntry(
        uris=tuple(uris), suites=tuple(suites), components=tuple(components), options=MappingProxyType(kept)
    )


def split_suite(name: str) -> tuple[str, str] | None:
    """(`bookworm`, `security`) from `bookworm-security` or `bookworm/updates`; None when it is not a Debian suite."""
    release, _, pocket = name.replace("/updates", "-security").partition("-")
    known = any(release in ladder for ladder in LADDERS) and (not pocket or pocket in POCKETS)
    return (release, pocket) if known else None


def is_debian(entry: AptEntry) -> bool:
    """Whether an entry looks like Debian's own by its suites, components and keyring, never by its host.

    Others use `bookworm main` too; what is wrongly taken here is sorted out by its Release file's Origin.
    """
    keys = entry.options.get("Signed-By", "").strip()
    theirs = keys.startswith("/") and "debian" not in keys
    local = any(uri.startswith("cdrom:") for uri in entry.uris)
    known = any(split_suite(name) for name in entry.suites)
    return known and "main" in entry.components and not theirs and not local


def groups(entries: Iterable[AptEntry], keyrings: Sequence[Path] = ()) -> tuple[tuple[AptSuite, ...], ...]:
    """What to look through, in order: the host's own suites together, its backports, then newer releases likewise.

    `keyrings` are accepted for derived suites beside those that the host's entry names.
    """
    pairs = [(name, entry) for entry in entries if is_debian(entry) for name in entry.suites if split_suite(name)]
    own = list({(n, e.uris): AptSuite(name=n, uris=e.uris, options=e.options) for n, e in pairs}.values())
    found = [tuple(suite for suite in own if _pocket(suite) not in ("backports", "backports-sloppy"))]
    found += [tuple(suite for suite in own if suite not in found[0])]
    archive = [suite for suite in own if _pocket(suite) != "security"][:1]
    security = [suite for suite in own if _pocket(suite) == "security"][:1]
    for release in _releases(own):
        base, updates, secure = (release, archive), (f"{release}-updates", archive), (f"{release}-security", security)
        rolling = release in ROLLING
        found.append(_derived([base] if rolling else [base, updates, secure], own, keyrings))
        found.append(_derived([] if rolling else [(f"{release}-backports", archive)], own, keyrings))
    return tuple(group for group in found if group)


def _pocket(suite: AptSuite) -> str:
    return (split_suite(suite.name) or ("", ""))[1]


def _releases(own: Sequence[AptSuite]) -> list[str]:
    """The release that the host runs (the oldest it has) and all after it."""
    present = {(split_suite(suite.name) or ("",))[0] for suite in own}
    for ladder in LADDERS:
        if places := [ladder.index(release) for release in present if release in ladder]:
            return list(ladder[min(places) :])
    return []


def _derived(
    wanted: Iterable[tuple[str, Sequence[AptSuite]]], own: Sequence[AptSuite], keyrings: Sequence[Path]
) -> tuple[AptSuite, ...]:
    """Suites of other names on the host's mirrors, without those that the host has itself."""
    have = {suite.name for suite in own}
    suites = [replace(like, name=name) for name, mirrors in wanted for like in mirrors if name not in have]
    return tuple(replace(suite, options=_more_keys(suite.options, keyrings)) for suite in suites)


def _more_keys(options: Mapping[str, str], keyrings: Sequence[Path]) -> Mapping[str, str]:
    """Accept the distribution's whole keyring beside the files that Signed-By names.

    An entry may name the keys of its own release only, and no newer release could ever be verified with those.
    """
    named = options.get("Signed-By", "").strip()
    if not named.startswith("/"):
        return options
    files = dict.fromkeys([*named.split(), *(str(path) for path in keyrings)])
    return MappingProxyType({**options, "Signed-By": " ".join(files)})


# ---- Versions -------------------------------------------------------------------------------------------------------


Runs = tuple[tuple[tuple[int, ...], int], ...]


def version_key(version: str) -> tuple[int, Runs, Runs]:
    """Sorts as the distribution orders versions: epoch, upstream version, revision; `~` comes before the end."""
    epoch, colon, rest = version.partition(":")
    upstream, _, revision = (rest if colon else version).rpartition("-")
    return int(epoch) if colon else 0, _part_key(upstream or revision), _part_key(revision if upstream else "0")


def _part_key(part: str) -> Runs:
    """Runs of non-digits and numbers by turns; each run ends with 0, so that `~` (-1) sorts before its end."""
    runs = re.findall(r"(\D*)(\d*)", part)
    return tuple(((*map(_letter, text), 0), int(number or 0)) for text, number in runs)


def _letter(letter: str) -> int:
    if letter == "~":
        return -1
    return ord(letter) if letter.isalpha() else ord(letter) + 256


# ---- apt ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AptHost:
    """What the host's apt says of itself."""

    architecture: str
    entries: tuple[AptEntry, ...]
    keyrings: tuple[Path, ...]


def host() -> AptHost:
    """Read the host's apt configuration; InfraError when there is no apt or no Debian entry."""
    asked = ("ARCH=APT::Architecture", "LIST=Dir::Etc::sourcelist/f", "PARTS=Dir::Etc::sourceparts/d")
    argv = ["apt-config", "shell", *(word for pair in asked for word in pair.split("="))]
    try:
        output = proc.run(argv, timeout_s=30).output
    except InfraError as error:
        raise InfraError(
            f"no apt here: {error.message}", hint="use a source of kind path:, git: or tarball:"
        ) from error
    words = dict(word.partition("=")[::2] for word in shlex.split(output) if "=" in word)
    files = [
        Path(words["LIST"]),
        *sorted(Path(words["PARTS"]).glob("*.list")),
        *sorted(Path(words["PARTS"]).glob("*.sources")),
    ]
    entries = tuple(entry for path in files if path.is_file() for entry in _read_entries(path))
    if not any(is_debian(entry) for entry in entries):
        raise InfraError(
            f"no entry of Debian's own among the host's apt sources ({words['LIST']}, {words['PARTS']})",
            hint="use a source of kind path:, git: or tarball:",
        )
    keyrings = tuple(path for name in ARCHIVE_KEYRINGS if (path := Path("/usr/share/keyrings", name)).is_file())
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
        """Exists once the list has been fetched; its mtime says when."""
        return self.directory / "updated"

    def apt(self, program: str, *words: str, cwd: Path | None = None, timeout_s: float = 300.0) -> proc.Completed:
        """Run `apt-get` or `apt-cache` on this state; ProcError when it fails."""
        argv = [program, "--config-file", str(self.config), "--quiet", *words]
        return proc.run(argv, cwd=cwd, timeout_s=timeout_s, whole=True)

    def age_s(self) -> float:
        """Seconds since the list was fetched; infinite when it never was."""
        return time.time() - self.updated.stat().st_mtime if self.updated.exists() else float("inf")


def _open(cache: Cache, suite: AptSuite, kind: AptKind, architecture: str) -> AptState:
    """The state of a suite, made when there is none; its name holds all that it depends on."""
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


def _update(state: AptState, progress: Progress) -> None:
    """Fetch the suite's list; InfraError with the reason in a few words when that cannot be."""
    progress(f"package list of {state.suite.name}")
    try:
        state.apt("apt-get", "update", "--error-on=any", timeout_s=600)
    except proc.ProcError as error:
        raise InfraError(f"{state.suite.name}: {_reason(error)}", hint=error.hint) from error
    told = state.apt("apt-get", "indextargets", "--format", "$(ORIGIN)").output.split("\n")[0].strip()
    if not told:
        raise InfraError(f"{state.suite.name}: empty")
    if not told.startswith("Debian"):
        raise InfraError(f"{state.suite.name}: a repository of {told}, not of Debian")
    state.updated.touch()


NO_NETWORK = "no network"
"""How the reasons begin after which no other suite is asked."""
# What apt says (LC_ALL is C.UTF-8) -> what it means. Its exit status is 100 whatever happened.
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


def _reason(error: proc.ProcError) -> str:
    for phrase, meaning in REASONS:
        if phrase in error.output:
            return meaning
    said = [line for line in error.output.splitlines() if line.startswith("E:")]
    return said[0] if said else error.message


def _versions(state: AptState, package: str) -> list[str]:
    """All versions of a package in a list, the newest first."""
    output = state.apt("apt-cache", "madison", package).output
    rows = [[word.strip() for word in line.split("|")] for line in output.splitlines()]
    found = {row[1] for row in rows if len(row) == 3 and row[0] == package}
    return sorted(found, key=version_key, reverse=True)


# ---- Finding --------------------------------------------------------------------------------------------------------


def find_binary(package: str, cache: Cache, *, progress: Progress = silent, refresh: bool = False) -> PackageVersion:
    """Where a binary package of the host's architecture is, and its version.

    The first of the host's suites, its backports, newer releases that has it; the newest version there. The answer is
    remembered for ever; `refresh` looks again. InfraError when no suite has it.
    """
    return _find("deb", package, cache, progress, refresh)


def find_source(package: str, cache: Cache, *, progress: Progress = silent, refresh: bool = False) -> PackageVersion:
    """The same for a source package."""
    return _find("deb-src", package, cache, progress, refresh)


def _find(kind: AptKind, package: str, cache: Cache, progress: Progress, refresh: bool) -> PackageVersion:
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", package):
        raise InfraError(f"{package!r} cannot be the name of a Debian package")
    if not refresh and (found := _recall(kind, package, cache)):
        return found
    with cache.lock("apt"):
        here = host()
        states = [
            [_open(cache, suite, kind, here.architecture) for suite in group]
            for group in groups(here.entries, here.keyrings)
        ]
        failures: dict[str, str] = {}
        for max_age_s in (0.0,) if refresh else (FRESH_S, MISSED_S):
            for group in states:
                if found := _look(group, package, max_age_s, failures, progress):
                    write_atomic(_memory(kind, package, cache), json.dumps(asdict(found)).encode() + b"\n")
                    return found
    raise _missing(kind, package, [state for group in states for state in group], failures)


def _memory(kind: AptKind, package: str, cache: Cache) -> Path:
    return cache.root / "debian" / f"{kind}-{package}.json"


def _recall(kind: AptKind, package: str, cache: Cache) -> PackageVersion | None:
    """What a package was resolved to before; a damaged memory is none."""
    try:
        return PackageVersion(**json.loads(_memory(kind, package, cache).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _look(
    group: Sequence[AptState], package: str, max_age_s: float, failures: dict[str, str], progress: Progress
) -> PackageVersion | None:
    """The newest version in a group of suites. One that cannot be read is left out, with the reason in `failures`.

    A suite is asked once; none is asked when another has shown that there is no network.
    """
    found = []
    for state in group:
        offline = any(reason.startswith(NO_NETWORK) for reason in failures.values())
        if state.age_s() > max_age_s and state.suite.name not in failures and not offline:
            try:
                _update(state, progress)
            except InfraError as error:
                failures[state.suite.name] = error.message.removeprefix(f"{state.suite.name}: ")
        if state.updated.exists():  # else never fetched; an old list serves when there is no network
            found += [
                PackageVersion(package=package, version=v, suite=state.suite.name)
                for v in _versions(state, package)[:1]
            ]
    return max(found, key=lambda one: version_key(one.version), default=None)


def _missing(kind: AptKind, package: str, states: Sequence[AptState], failures: Mapping[str, str]) -> InfraError:
    """The error for a package that nobody has: suites tried, suites left out and why, and the nearest name."""
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
    """Packages whose names begin like this one's."""
    output = [state.apt("apt-cache", "pkgnames", package[:3]).output for state in states]
    return {name for names in output for name in names.split()}


# ---- Fetching -------------------------------------------------------------------------------------------------------


def fetch_binary(package: str, dest_dir: Path, *, cache: Cache, progress: Progress = silent) -> Path:
    """Download the version that `find_binary` tells and unpack its files into `dest_dir`, which is returned."""
    with _downloaded("deb", package, cache, progress) as (directory, found):
        progress(f"unpacking {package} {found.version}")
        dest_dir.mkdir(parents=True, exist_ok=True)
        proc.run(["dpkg-deb", "--extract", str(next(directory.glob("*.deb"))), str(dest_dir)], timeout_s=DOWNLOAD_S)
    return dest_dir


def fetch_source(package: str, dest_dir: Path, *, cache: Cache, progress: Progress = silent) -> Path:
    """Download the source package that `find_source` tells and unpack it, patches applied, into a new directory
    below `dest_dir`, which is returned. The downloaded files are kept in the cache: they are small and asked for once
    per architecture.
    """
    found = find_source(package, cache, progress=progress)

    def make(entry: Path) -> None:
        with _downloaded("deb-src", package, cache, progress) as (directory, _):
            for path in directory.iterdir():
                path.rename(entry / path.name)

    entry = cache.entry("sources", digest(package, found.version, found.suite), make)
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
    """A scratch directory that holds the package's files, verified by apt."""
    found = _find(kind, package, cache, progress, False)
    verb = ["download"] if kind == "deb" else ["source", "--download-only", "--only-source"]
    with cache.scratch("apt") as scratch:
        with cache.lock("apt"), _watched(scratch, f"fetching {package} {found.version}", progress):
            state = _state_of(found, kind, cache, progress)
            try:
                state.apt("apt-get", *verb, f"{package}={found.version}", cwd=scratch, timeout_s=DOWNLOAD_S)
            except proc.ProcError as error:
                # The version may have left the mirror since it was looked up: look again the next time.
                _memory(kind, package, cache).unlink(missing_ok=True)
                raise InfraError(
                    f"{package} {found.version} ({found.suite}) did not arrive: {_reason(error)}",
                    hint="the same command again looks for the version that the mirror has now",
                ) from error
        yield scratch, found


def _state_of(found: PackageVersion, kind: AptKind, cache: Cache, progress: Progress) -> AptState:
    """The state of the suite in which a package was found, with its list."""
    here = host()
    suites = [suite for group in groups(here.entries, here.keyrings) for suite in group if suite.name == found.suite]
    for suite in suites:
        state = _open(cache, suite, kind, here.architecture)
        if not state.updated.exists():
            _update(state, progress)
        if len(suites) == 1 or found.version in _versions(state, found.package):
            return state
    _memory(kind, found.package, cache).unlink(missing_ok=True)
    raise InfraError(
        f"{found.package} {found.version} came from {found.suite}, which the host's apt sources no longer lead to",
        hint="the same command again looks for it elsewhere",
    )


@contextmanager
def _watched(directory: Path, what: str, progress: Progress) -> Iterator[None]:
    """Tell how many MB have arrived in a directory while the block runs."""
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
    """Bytes in a directory whose files come and go meanwhile."""
    total = 0
    for path in directory.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total
