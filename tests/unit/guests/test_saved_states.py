# SPDX-License-Identifier: GPL-2.0-or-later
"""lab/guests/saved_states.py: what is kept, what a later run gets of it, and what is not used."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lab.core.cache import Cache
from lab.core.errors import InfraError, UsageError
from lab.core.ssh_keys import KeyPair
from lab.guests import saved_image, saved_states
from lab.guests.domain import GuestMachine
from lab.guests.saved_states import SavedGuest, SavedStates
from lab.specs.model import Topology

WORDS = {"name": "pc-1-000001", "initrd": "/tmp/one/initrd", "console": "/tmp/one/it's.log"}
NEXT = {"name": "pc-23456-000007", "initrd": "/tmp/two/initrd-2", "console": "/results/console.log"}
XML = (
    b"<domain><name>pc-1-000001</name><initrd>/tmp/one/initrd</initrd><source path='/tmp/one/it&apos;s.log'/></domain>"
)
COOKIE = b"<cookie/>"
ROOM = 4096


def image(memory: bytes) -> bytes:
    """Return a saved guest in libvirt's format."""
    data = XML + b"\0" + COOKIE
    header = struct.pack("=16sIIIII56x", b"LibvirtQemudSave", 2, ROOM, 1, 0, len(XML) + 1)
    return header + data.ljust(ROOM, b"\0") + memory


@pytest.fixture
def key() -> KeyPair:
    return KeyPair.generate()


@pytest.fixture
def states(tmp_path: Path) -> SavedStates:
    return SavedStates.of(Cache(tmp_path / "cache"))


def keep(states: SavedStates, key: KeyPair, name: str = "k", size: int = 1000) -> bytes:
    """Keep a guest whose memory has the public key twice as text and once as bytes; return its file's content."""
    text, raw = saved_image.forms(key.public)
    content = image(bytes(size) + text + b"..." + text + bytes(9) + raw + b"end")
    states.cache.root.mkdir(exist_ok=True)
    state = states.cache.root / "state"
    state.write_bytes(content)
    known = SavedGuest(
        sha256="", size=0, boot_id="b", boot_s=2.0, saved="2026", words=WORDS, texts=[], keys=[], facts="machine=x\n"
    )
    states.keep(name, state, known, key.public, "booting\n")
    assert not state.exists()
    return content


def test_a_run_gets_the_state_with_its_own_key_and_names(states: SavedStates, key: KeyPair, tmp_path: Path) -> None:
    before, mine = keep(states, key), KeyPair.generate()
    about = states.take("k", tmp_path / "mine", NEXT, mine.public)
    after = (tmp_path / "mine").read_bytes()
    assert about.facts == "machine=x\n"
    assert states.console("k") == b"booting\n"
    assert len(after) == len(before)
    for old, new in zip(saved_image.forms(key.public), saved_image.forms(mine.public), strict=True):
        assert old not in after
        assert after.count(new) == before.count(old)
    head = saved_image.Head.parse(after)
    assert head.cookie == COOKIE
    for word in NEXT.values():
        assert word.encode() in head.xml
    assert b"one" not in head.xml
    assert after[head.length :].endswith(b"end")
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o600
    assert (states.cache.path("guest", "k") / "state").read_bytes() == before, "what is in the cache never changes"


Damage = Callable[[Path], object]


def truncate(entry: Path) -> None:
    os.truncate(entry / "state", 4500)


def flip(entry: Path) -> None:
    content = bytearray((entry / "state").read_bytes())
    content[-200] ^= 1
    (entry / "state").write_bytes(content)


def not_libvirts(entry: Path) -> None:
    """Another emulator's format, with the digest to fit."""
    (entry / "state").write_bytes(b"QEVM" * 2000)
    known = SavedGuest.model_validate_json((entry / "about.json").read_bytes())
    update = saved_states._contents(entry / "state", KeyPair.generate().public)
    (entry / "about.json").write_text(known.model_copy(update=update).model_dump_json())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncate, "it has 4500 bytes, not"),
        (flip, "its content is not what was saved"),
        (not_libvirts, "not a saved guest"),
        (lambda entry: (entry / "about.json").write_text("{}"), "its description is damaged"),
        (lambda entry: (entry / "about.json").write_bytes(b"\xff"), "its description is damaged"),
        (lambda entry: (entry / "state").unlink(), "No such file"),
        (lambda entry: (entry / "state").chmod(0o666), "other users may write to it"),
        (lambda entry: entry.chmod(0o777), "other users may write to it"),
    ],
)
def test_a_damaged_state_is_not_used_and_goes(
    states: SavedStates, key: KeyPair, tmp_path: Path, damage: Damage, reason: str
) -> None:
    keep(states, key)
    damage(states.cache.path("guest", "k"))
    with pytest.raises(InfraError, match=f"a saved guest in the cache is not used: .*{reason}"):
        states.take("k", tmp_path / "mine", NEXT, key.public)
    assert not (tmp_path / "mine").exists()
    assert not states.has("k")


def test_a_state_of_another_user_is_not_used(
    states: SavedStates, key: KeyPair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(states, key)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    with pytest.raises(InfraError, match="belongs to another user"):
        states.take("k", tmp_path / "mine", NEXT, key.public)


def test_guests_that_never_come_up_again_are_given_up(states: SavedStates, key: KeyPair) -> None:
    for failures in (1, 2):
        assert not states.is_hopeless("k")
        keep(states, key)
        states.failed("k")
        assert not states.has("k"), failures
    assert states.is_hopeless("k")
    assert not states.is_hopeless("another")
    states.came_up("k")
    states.came_up("k")
    assert not states.is_hopeless("k")


def test_what_was_used_longest_ago_goes_first(states: SavedStates, key: KeyPair, tmp_path: Path) -> None:
    bounded = replace(states, limit=24_000)
    for number, name in enumerate("abcd"):
        keep(bounded, key, name)
        os.utime(bounded._use(name), (number, number))
    bounded.take("a", tmp_path / "mine", NEXT, key.public)  # now it is the newest
    keep(bounded, key, "e")
    assert [name for name in "abcde" if bounded.has(name)] == ["a", "c", "d", "e"]


def test_a_state_that_is_large_for_the_limit_is_not_kept(states: SavedStates, key: KeyPair) -> None:
    keep(replace(states, limit=10_000), key)
    assert not states.has("k")


def test_a_state_without_the_key_in_its_memory_is_not_kept(states: SavedStates, key: KeyPair) -> None:
    states.cache.root.mkdir()
    state = states.cache.root / "state"
    state.write_bytes(image(b"nothing"))
    known = SavedGuest(
        sha256="", size=0, boot_id="b", boot_s=2.0, saved="2026", words=WORDS, texts=[], keys=[], facts=""
    )
    assert not states.keep("k", state, known, key.public, "")
    assert not states.has("k")


def test_no_store_of_others_gets_a_state(tmp_path: Path) -> None:
    class Store:
        def fetch(self, kind: str, key: str, into: Path) -> bool:
            raise AssertionError("asked a store for a saved guest")

        def offer(self, kind: str, key: str, entry: Path) -> None:
            raise AssertionError("gave a saved guest to a store")

    states = SavedStates.of(Cache(tmp_path, remote=Store()))
    keep(states, KeyPair.generate())
    assert states.has("k")
    assert not states.has("other")


def test_the_limit_is_a_setting(monkeypatch: pytest.MonkeyPatch, states: SavedStates) -> None:
    assert saved_states.limit() == saved_states.LIMIT
    monkeypatch.setenv("PAGELAB_SAVED_GUESTS", "512M")
    assert saved_states.limit() == 512 << 20
    monkeypatch.setenv("PAGELAB_SAVED_GUESTS", "0")
    assert not replace(states, limit=saved_states.limit()).has("k")
    monkeypatch.setenv("PAGELAB_SAVED_GUESTS", "much")
    with pytest.raises(UsageError, match="PAGELAB_SAVED_GUESTS: expected a size such as"):
        saved_states.limit()


def test_the_key_depends_on_all_that_the_state_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator, file = tmp_path / "qemu", tmp_path / "modules"
    emulator.write_text("1")
    file.write_text("m")
    topology = Topology.model_validate({"name": "pc", "arch": "x86_64", "page_size": "4K", "memory": "256M"})
    nowhere = Path()
    machine = GuestMachine(
        name="",
        topology=topology,
        accelerator="tcg",
        emulator=emulator,
        image=nowhere,
        initrd=nowhere,
        console=nowhere,
    )

    def key(
        machine: GuestMachine = machine, parts: tuple[str, ...] = ("kernel", "userland"), libvirt: str = "9.0.0"
    ) -> str:
        return saved_states.key_of(machine, parts=parts, files=(file,), libvirt=libvirt)

    larger = replace(machine, topology=topology.model_copy(update={"memory": 512 << 20}))
    first = key()
    assert key() == first
    found = [first, key(larger), key(replace(machine, accelerator="kvm")), key(libvirt="9.1.0")]
    found += [key(parts=("other", "userland")), key(parts=("kernel", "other"))]
    emulator.write_text("12")
    found.append(key())
    file.write_text("mm")
    found.append(key())
    with monkeypatch.context() as patched:
        patched.setattr(saved_states, "_code", lambda: "another lab")
        found.append(key())
        patched.setattr(os, "geteuid", lambda: 12345)
        found.append(key())
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("content", [b"", b"garbage", b"LibvirtQemudSave" + bytes(76), image(b"")[:200]])
def test_what_is_no_saved_guest_is_no_head(content: bytes) -> None:
    with pytest.raises(InfraError, match="not a saved guest"):
        saved_image.Head.parse(content)


def test_words_that_a_head_lacks_or_has_no_room_for() -> None:
    head = saved_image.Head.parse(image(b""))
    with pytest.raises(InfraError, match="does not have elsewhere"):
        head.changed({"elsewhere": "x"})
    with pytest.raises(InfraError, match="no room"):
        head.changed({"pc-1-000001": "x" * ROOM})
