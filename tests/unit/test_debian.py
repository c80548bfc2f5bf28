# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/debian.py: suites derived from sources, the order of versions, what is remembered, what errors say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import debian, proc
from lab.cache import Cache
from lab.debian import Entry, Found, groups, is_debian, parse_deb822, parse_one_line
from lab.errors import InfraError

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


def names(found: tuple[tuple[debian.Suite, ...], ...]) -> list[list[str]]:
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
def test_groups_go_from_the_host_to_newer_releases(entries: list[Entry]) -> None:
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
    assert debian.version_key(older) < debian.version_key(newer)
    if proc.which("dpkg"):
        assert proc.run(["dpkg", "--compare-versions", older, "lt", newer]).status == 0


def test_a_resolved_package_is_remembered_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "run", lambda *a, **k: pytest.fail("no process may run"))
    memory = {"package": "linux-source-6.12", "version": "6.12.117-1", "suite": "trixie"}
    (tmp_path / "debian").mkdir()
    (tmp_path / "debian/deb-linux-source-6.12.json").write_text(json.dumps(memory))
    assert debian.find_binary("linux-source-6.12", Cache(tmp_path)) == Found(**memory)


def test_bad_names_never_reach_apt(tmp_path: Path) -> None:
    with pytest.raises(InfraError, match="cannot be the name"):
        debian.find_binary("--version", Cache(tmp_path))


# ---- The real apt, on a mirror made here ----------------------------------------------------------------------------

PACKAGE = "Package: abc\nVersion: 1\nArchitecture: all\nMaintainer: n\nFilename: p/abc.deb\nSize: 0\nDescription: n\n\n"


@pytest.fixture
def unsigned_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mirror whose bookworm is not signed, as the only entry of the host."""
    if not proc.which("apt-get"):
        pytest.skip("no apt here")
    mirror = tmp_path / "mirror"
    lists = mirror / "dists/bookworm/main/binary-amd64"
    lists.mkdir(parents=True)
    (lists / "Packages").write_text(PACKAGE)
    (mirror / "dists/bookworm/Release").write_text(
        "Origin: Debian\nSuite: stable\nCodename: bookworm\nComponents: main\n"
    )
    entries = tuple(parse_one_line(f"deb [trusted=yes] file://{mirror} bookworm main"))
    here = debian.Host(architecture="amd64", entries=entries, keyrings=())
    monkeypatch.setattr(debian, "host", lambda: here)
    yield mirror


def test_an_unsigned_mirror_is_refused_with_the_reason(unsigned_mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(InfraError) as caught:
        debian.find_binary("abc", Cache(tmp_path / "cache"))
    assert "no package abc" in caught.value.message
    assert "tried: none" in caught.value.message
    assert "bookworm left out: not signed" in caught.value.message
    assert "sid left out: not on the host's mirror" in caught.value.message
    assert not list((tmp_path / "cache").glob("debian/*"))
