# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/build/debian.py: suites derived from sources, the order of versions, what is remembered, what errors say."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest
from debian.debian_support import Version

from lab.build import debian
from lab.build.debian import AptEntry, PackageVersion, groups, is_debian, parse_deb822, parse_one_line
from lab.core import proc
from lab.core.cache import Cache
from lab.core.errors import InfraError

ONE_LINE = """\
# the main archive
deb http://mirror.example/debian bookworm main contrib   # trailing words
deb-src http://mirror.example/debian bookworm main

deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no] \
http://mirror.example/debian bookworm-updates main
#deb http://mirror.example/debian trixie main
deb http://security.example/debian-security bookworm-security main
deb cdrom:[Debian GNU/Linux 12 _Bookworm_ - Official amd64 NETINST]/ bookworm main
deb [trusted=yes] http://ppa.example/x ./
deb [signed-by=/etc/apt/keyrings/docker.gpg] https://docker.example/linux/debian bookworm stable
"""

DEB822 = """\
Types: deb
# a snapshot was used once
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
Trusted: yes

# a stanza that is off
Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: sid
Components: main

Types: deb deb-src
URIs: http://security.example/debian-security
Suites: bookworm-security
Components:
 main
 contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYBBAHaRw8BAQdAd7Z0srwuhlB6JKFkcf4HU4SSS/xcRfwEQWzr
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: https://other.example/node_20.x
Suites: nodistro
Components: main
Signed-By: /usr/share/keyrings/nodesource.gpg
"""


def names(found: tuple[tuple[debian.AptSuite, ...], ...]) -> list[list[str]]:
    return [[suite.name for suite in group] for group in found]


def test_one_line_entries() -> None:
    entries = parse_one_line(ONE_LINE)
    assert [(entry.uris, entry.suites) for entry in entries[:3]] == [
        (("http://mirror.example/debian",), ("bookworm",)),
        (("http://mirror.example/debian",), ("bookworm",)),
        (("http://mirror.example/debian",), ("bookworm-updates",)),
    ]
    assert entries[0].components == ("main", "contrib")
    assert dict(entries[2].options) == {
        "Signed-By": "/usr/share/keyrings/debian-archive-keyring.gpg",
        "Check-Valid-Until": "no",
    }
    assert [entry.suites for entry in entries if is_debian(entry)] == [
        ("bookworm",), ("bookworm",), ("bookworm-updates",), ("bookworm-security",)
    ]  # fmt: skip


def test_deb822_entries() -> None:
    entries = parse_deb822(DEB822)
    assert [entry.suites for entry in entries] == [
        ("bookworm", "bookworm-updates"),
        ("bookworm-security",),
        ("nodistro",),
    ]
    assert dict(entries[0].options) == {"Signed-By": "/usr/share/keyrings/debian-archive-keyring.gpg"}
    assert entries[1].components == ("main", "contrib")
    assert entries[1].options["Signed-By"].endswith("-----END PGP PUBLIC KEY BLOCK-----")
    assert [is_debian(entry) for entry in entries] == [True, True, False]


@pytest.mark.parametrize("entries", [parse_one_line(ONE_LINE), parse_deb822(DEB822)], ids=["one-line", "deb822"])
def test_groups_go_from_the_host_to_newer_releases(entries: list[AptEntry]) -> None:
    assert names(groups(entries)) == [
        ["bookworm", "bookworm-updates", "bookworm-security"],
        ["bookworm-backports"],
        ["trixie", "trixie-updates", "trixie-security"],
        ["trixie-backports"],
        ["forky", "forky-updates", "forky-security"],
        ["forky-backports"],
        ["sid"],
    ]


def test_derived_suites_keep_their_mirror() -> None:
    places = {suite.name: suite.uris for group in groups(parse_deb822(DEB822)) for suite in group}
    assert places["trixie-security"] == ("http://security.example/debian-security",)
    assert places["sid"] == places["bookworm-backports"] == ("http://mirror.example/debian",)


def test_aliases_have_their_own_ladder_and_own_backports_stay_apart() -> None:
    text = "deb http://m.example/d stable main\ndeb http://m.example/d stable-backports main\n"
    assert names(groups(parse_one_line(text))) == [
        ["stable"],
        ["stable-backports"],
        ["stable-updates"],
        ["testing", "testing-updates"],
        ["testing-backports"],
        ["unstable"],
    ]


def test_no_debian_entry_gives_no_suite() -> None:
    assert groups(parse_one_line("deb http://m.example/ubuntu jammy main universe\n")) == ()


def test_newer_suites_accept_the_whole_keyring() -> None:
    entry = "deb [signed-by=/usr/share/keyrings/debian-archive-bookworm-stable.gpg] http://m.example/d bookworm main\n"
    found = groups(parse_one_line(entry), [Path("/usr/share/keyrings/debian-archive-keyring.gpg")])
    assert found[0][0].options["Signed-By"] == "/usr/share/keyrings/debian-archive-bookworm-stable.gpg"
    assert found[-1][0].options["Signed-By"].split() == [
        "/usr/share/keyrings/debian-archive-bookworm-stable.gpg",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
    ]


def test_stanza_asks_for_one_list_and_keeps_embedded_keys() -> None:
    suite = groups(parse_deb822(DEB822))[0][2]
    stanza = suite.stanza("deb-src", "amd64")
    assert stanza.startswith(
        "Types: deb-src\nURIs: http://security.example/debian-security\nSuites: bookworm-security\n"
        "Components: main\nTargets: Sources\n"
    )
    assert parse_deb822(stanza)[0].options == suite.options
    assert "Architectures" not in stanza
    assert "Architectures: amd64\n" in suite.stanza("deb", "amd64")


@pytest.mark.parametrize(
    "older, newer",
    [
        ("6.12.115-2~deb12u1", "6.12.117-1~deb12u1"),
        ("1.2~rc1-1", "1.2-1"),
        ("1.2", "1.2a"),
        ("1.9", "1.10"),
        ("9.0-1", "1:0.1-1"),
        ("1.0-1", "1.0-1+b1"),
        ("1.0-1~deb12u1", "1.0-1"),
        ("1.2a", "1.2+"),
        ("2-1-1", "2-1-2"),
    ],
)
def test_versions_sort_as_dpkg_sorts(older: str, newer: str) -> None:
    assert Version(older) < Version(newer)
    if proc.which("dpkg"):
        assert proc.run(["dpkg", "--compare-versions", older, "lt", newer]).status == 0


def test_a_resolved_package_is_remembered_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "run", lambda *a, **k: pytest.fail("no process may run"))
    memory = {"package": "linux-source-6.12", "version": "6.12.117-1", "suite": "trixie"}
    (tmp_path / "debian").mkdir()
    (tmp_path / "debian/deb-linux-source-6.12.json").write_text(json.dumps(memory))
    assert debian.find_binary("linux-source-6.12", Cache(tmp_path)) == PackageVersion(**memory)


def test_bad_names_never_reach_apt(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="cannot be the name"):
        debian.find_binary("--version", Cache(tmp_path))


# ---- The real apt, on a mirror made here ----------------------------------------------------------------------------

RELEASE = """\
Origin: Debian
Suite: stable
Codename: bookworm
Components: main
Architectures: {arch}
Date: {date}
SHA256:
"""
CONTROL = "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\nDescription: a test\n"


@dataclass(kw_only=True)
class Mirror:
    """A mirror with one suite, `bookworm`, whose Release file is signed with a key made here, or not at all."""

    root: Path
    home: Path
    """gpg's directory, with the mirror's key."""
    arch: str

    @property
    def keyring(self) -> Path:
        return self.home / "debian-test.gpg"

    def add(self, name: str, version: str) -> None:
        """A package with one file, usr/share/NAME, that holds its version."""
        tree = self.root / "build"
        (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
        (tree / "usr/share").mkdir(parents=True, exist_ok=True)
        control = CONTROL.format(name=name, version=version)
        (tree / "DEBIAN/control").write_text(control)
        (tree / "usr/share" / name).write_text(version)
        package = self.root / "pool" / f"{name}_{version}_all.deb"
        package.parent.mkdir(exist_ok=True)
        proc.run(["dpkg-deb", "--build", "--root-owner-group", str(tree), str(package)])
        raw = package.read_bytes()
        fields = f"Filename: pool/{package.name}\nSize: {len(raw)}\nSHA256: {hashlib.sha256(raw).hexdigest()}\n\n"
        index = self.root / f"dists/bookworm/main/binary-{self.arch}/Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        with index.open("a") as file:
            file.write(control + fields)
        shutil.rmtree(tree)

    def release(self, *, sign: bool = True) -> None:
        suite = self.root / "dists/bookworm"
        path = f"main/binary-{self.arch}/Packages"
        raw = (suite / path).read_bytes()
        head = RELEASE.format(arch=self.arch, date=formatdate(usegmt=True))
        (suite / "Release").write_text(f"{head} {hashlib.sha256(raw).hexdigest()} {len(raw)} {path}\n")
        if sign:
            gpg(self.home, "--clearsign", "--output", str(suite / "InRelease"), str(suite / "Release"))


def gpg(home: Path, *words: str) -> None:
    proc.run(["gpg", "--homedir", str(home), "--batch", "--yes", "--passphrase", "", "--quiet", *words])


@pytest.fixture(scope="session")
def gnupg() -> Iterator[Path]:
    """A directory with a new key; a short path, since gpg's agent has a socket in it."""
    if missing := [name for name in ("apt-get", "apt-config", "dpkg-deb", "gpg", "gpgconf") if not proc.which(name)]:
        pytest.skip(f"no {', '.join(missing)} here")
    with tempfile.TemporaryDirectory(prefix="lab-gpg-") as home:
        gpg(Path(home), "--quick-generate-key", "lab test", "ed25519", "sign")
        gpg(Path(home), "--output", f"{home}/debian-test.gpg", "--export")
        yield Path(home)
        proc.run(["gpgconf", "--homedir", home, "--kill", "all"])


@pytest.fixture
def mirror(gnupg: Path, tmp_path: Path) -> Mirror:
    (tmp_path / "mirror").mkdir()
    made = Mirror(root=tmp_path / "mirror", home=gnupg, arch=proc.run(["dpkg", "--print-architecture"]).output.strip())
    made.add("abc", "1.9")
    made.add("abc", "1.10")
    return made


@pytest.fixture
def sources(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Call with the options of the host's only sources entry, which leads to the mirror."""

    def entry(options: str) -> None:
        entries = tuple(parse_one_line(f"deb {options} file://{mirror.root} bookworm main"))
        here = debian.AptHost(architecture=mirror.arch, entries=entries, keyrings=())
        monkeypatch.setattr(debian, "host", lambda: here)

    return entry


def test_a_package_is_found_verified_and_unpacked(
    mirror: Mirror, sources: Callable[[str], None], tmp_path: Path
) -> None:
    mirror.release()
    sources(f"[signed-by={mirror.keyring}]")
    cache = Cache(tmp_path / "cache")
    assert debian.find_binary("abc", cache) == PackageVersion(package="abc", version="1.10", suite="bookworm")
    assert debian.fetch_binary("abc", tmp_path / "tree", cache=cache) == tmp_path / "tree"
    assert (tmp_path / "tree/usr/share/abc").read_text() == "1.10"
    assert not list((cache.root / "tmp").iterdir())


def test_a_package_that_left_the_mirror_is_looked_up_again(
    mirror: Mirror, sources: Callable[[str], None], tmp_path: Path
) -> None:
    mirror.release()
    sources(f"[signed-by={mirror.keyring}]")
    cache = Cache(tmp_path / "cache")
    debian.find_binary("abc", cache)
    (mirror.root / "pool/abc_1.10_all.deb").unlink()
    with pytest.raises(InfraError, match=r"abc 1\.10 \(bookworm\) could not be downloaded"):
        debian.fetch_binary("abc", tmp_path / "tree", cache=cache)
    assert not list((cache.root / "debian").iterdir())
    assert not (tmp_path / "tree").exists()


def test_a_changed_package_is_refused(mirror: Mirror, sources: Callable[[str], None], tmp_path: Path) -> None:
    mirror.release()
    sources(f"[signed-by={mirror.keyring}]")
    package = mirror.root / "pool/abc_1.10_all.deb"
    raw = bytearray(package.read_bytes())
    raw[-1] ^= 1
    package.write_bytes(raw)
    with pytest.raises(InfraError, match="could not be downloaded"):
        debian.fetch_binary("abc", tmp_path / "tree", cache=Cache(tmp_path / "cache"))


def test_a_wrong_name_gets_the_nearest(mirror: Mirror, sources: Callable[[str], None], tmp_path: Path) -> None:
    mirror.release()
    sources(f"[signed-by={mirror.keyring}]")
    with pytest.raises(InfraError) as caught:
        debian.find_binary("abcd", Cache(tmp_path / "cache"))
    assert "no package abcd" in caught.value.message
    assert "tried: bookworm;" in caught.value.message
    assert "sid left out: not on the host's mirror" in caught.value.message
    assert caught.value.hint == "did you mean 'abc'?"


def test_an_unsigned_mirror_is_refused_though_the_host_trusts_it(
    mirror: Mirror, sources: Callable[[str], None], tmp_path: Path
) -> None:
    mirror.release(sign=False)
    sources("[trusted=yes]")
    with pytest.raises(InfraError, match=r"tried: none; bookworm left out: not signed"):
        debian.find_binary("abc", Cache(tmp_path / "cache"))
    assert not list((tmp_path / "cache").glob("debian/*"))


def test_a_key_that_the_host_lacks_is_named_as_the_reason(
    mirror: Mirror, sources: Callable[[str], None], tmp_path: Path
) -> None:
    mirror.release()
    sources("")
    with pytest.raises(InfraError, match="bookworm left out: signed with a key that the host's keyring lacks"):
        debian.find_binary("abc", Cache(tmp_path / "cache"))


def test_without_network_one_suite_is_asked(
    mirror: Mirror, sources: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = tuple(parse_one_line("deb http://127.0.0.1:1/debian bookworm main"))
    here = debian.AptHost(architecture="amd64", entries=entries, keyrings=())
    monkeypatch.setattr(debian, "host", lambda: here)
    asked: list[str] = []

    def note(detail: str, *, done: float | None = None) -> None:
        asked.append(detail)

    with pytest.raises(InfraError, match=r"tried: none; bookworm left out: no network: the mirror does not answer$"):
        debian.find_binary("abc", Cache(tmp_path / "cache"), progress=note)
    assert asked == ["package list of bookworm"]


def test_old_lists_answer_when_the_mirror_is_gone(
    mirror: Mirror, sources: Callable[[str], None], tmp_path: Path
) -> None:
    mirror.release()
    sources(f"[signed-by={mirror.keyring}]")
    cache = Cache(tmp_path / "cache")
    found = debian.find_binary("abc", cache)
    shutil.rmtree(mirror.root / "dists")
    assert debian.find_binary("abc", cache, refresh=True) == found


def test_a_mirror_that_is_not_debians_is_left_out(
    mirror: Mirror, sources: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "RELEASE", RELEASE.replace("Origin: Debian", "Origin: Docker"))
    mirror.release()
    sources(f"[signed-by={mirror.keyring}]")
    with pytest.raises(InfraError, match="bookworm left out: a repository of Docker, not of Debian"):
        debian.find_binary("abc", Cache(tmp_path / "cache"))


def test_the_private_state_is_all_that_apt_writes(
    mirror: Mirror, sources: Callable[[str], None], tmp_path: Path
) -> None:
    mirror.release()
    sources(f"[signed-by={mirror.keyring}]")
    cache = Cache(tmp_path / "cache")
    debian.find_binary("abc", cache)
    config = next((cache.root / "apt").glob("bookworm-deb-*/apt.conf"))
    output = proc.run(["apt-config", "--config-file", str(config), "dump"], whole=True).output
    for line in output.splitlines():
        if line.startswith(('Dir::State "', 'Dir::State::lists "', 'Dir::Cache "', 'Dir::Cache::archives "')):
            assert str(cache.root) in line
        assert not line.startswith("APT::Update::Post-Invoke-Success::")
