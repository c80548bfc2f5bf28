# SPDX-License-Identifier: GPL-2.0-or-later
"""A message id -> its thread: from a Maildir, an mbox, and a public-inbox on 127.0.0.1 that the test serves."""

from __future__ import annotations

import gzip
import mailbox
import os
import threading
from collections.abc import Iterator
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from lab.core import proc
from lab.core.errors import InfraError, InputError, UsageError
from lab.workflows import lore
from lab.workflows.change import Asked, read
from tests.unit.toy import Toy, diff

PLAIN = "20261128101500.1234-1-somebody@example.org"


@pytest.mark.parametrize(
    "word",
    [
        PLAIN,
        f"<{PLAIN}>",
        f"id:{PLAIN}",
        f"https://lore.kernel.org/linux-mm/{PLAIN}/",
        f"https://lore.kernel.org/all/{PLAIN}/T/#u",
        f"https://lore.kernel.org/r/{PLAIN}",
        f"https://lkml.kernel.org/r/{PLAIN}",
        f"https://patch.msgid.link/{PLAIN}",
        f"https://lore.kernel.org/r/{PLAIN.replace('@', '%40')}",
        f"http://127.0.0.1:8080/all/{PLAIN}/t.mbox.gz",
        f"Message-ID: <{PLAIN}>",
        f"news:{PLAIN}",
        f"lore.kernel.org/all/{PLAIN}/",
        f"HTTPS://lore.kernel.org/all/{PLAIN}/",
        f"https://lore.kernel.org/all/%3C{PLAIN}%3E/",
        f"Link: https://lore.kernel.org/all/{PLAIN}/",
        f"[1] https://lore.kernel.org/all/{PLAIN}/.",
        f"<https://lore.kernel.org/r/{PLAIN}>",
        f"https://lore.kernel.org/r/{PLAIN}).",
    ],
)
def test_a_message_id_in_every_form(word: str) -> None:
    assert lore.message_id(word) == PLAIN


@pytest.mark.parametrize(
    "word",
    ["my.patch", "v6.12..HEAD", "-", "HEAD@{1}..", "https://example.org/a.patch", "a/b@c.patch", "git@host.org:a/b"],
)
def test_other_words_are_no_message_ids(word: str) -> None:
    assert lore.message_id(word) is None


def test_the_archive_of_a_url() -> None:
    assert lore.archive(PLAIN) == lore.archive(f"https://lore.kernel.org/linux-mm/{PLAIN}/") == ""
    assert lore.archive(f"https://patchwork.example.org/project/mm/patch/{PLAIN}/mbox/") == ""
    for word in (
        "http://127.0.0.1:8080/all/{}/raw",
        "Link: http://127.0.0.1:8080/all/{}/",
        "<http://127.0.0.1:8080/all/{}>",
    ):
        assert lore.archive(word.format(PLAIN)) == "http://127.0.0.1:8080/all"


def test_the_id_of_a_host_without_a_name_stays_whole() -> None:
    assert lore.message_id("<1234.5@box.(none)>") == "1234.5@box.(none)"


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy.make(tmp_path)


def mail(toy: Toy, subject: str, number: int, parent: int | None = 0, new: str = "return size;") -> EmailMessage:
    made = EmailMessage()
    made["From"], made["Subject"], made["Message-ID"] = "a@b", subject, f"<{number}@example.org>"
    if parent is not None:
        made["In-Reply-To"] = f"<{parent}@example.org>"
    before = toy.read("mm/shmem.c")
    made.set_content("no diff\n" if not number else diff("mm/shmem.c", before, before.replace("return -1;", new)))
    return made


@pytest.fixture
def thread(toy: Toy) -> list[EmailMessage]:
    """A cover letter, its patch in a second version, and a thread of others."""
    cover = mail(toy, "[PATCH v2 0/1] mm: all", 0, None)
    patch = mail(toy, "[PATCH v2 1/1] mm: grow", 1)
    return [
        cover,
        mail(toy, "Re: [PATCH v2 1/1] mm: grow", 7, 1),
        patch,
        mail(toy, "[PATCH] other", 5, None, "return 5;"),
    ]


def mirrored(kind: str, place: Path, mails: list[EmailMessage]) -> Path:
    """A mirror of a kind with some mails."""
    if kind == "files":
        place.mkdir()
        for number, each in enumerate(mails):
            (place / f"{number}.eml").write_bytes(each.as_bytes())
        return place
    box = mailbox.Maildir(place) if kind == "Maildir" else mailbox.mbox(place)
    for each in mails:
        box.add(each)
    box.flush()
    if kind == "mbox.gz":
        place.write_bytes(gzip.compress(place.read_bytes()))
    return place


@pytest.mark.parametrize("kind", ["Maildir", "mbox", "mbox.gz", "files"])
def test_a_local_mirror(toy: Toy, thread: list[EmailMessage], kind: str) -> None:
    mirror = mirrored(kind, toy.root / "mirror", thread)
    for word in ("1@example.org", "<0@example.org>", "https://lore.kernel.org/r/7@example.org"):
        found = read(word, toy.tree, Asked(mirror=str(mirror)))
        assert [each.name for each in found.patches] == ["mm-grow"]
        assert found.name == "mm-all"
    with pytest.raises(UsageError, match=r"no message 9@example\.org among 4"):
        read("9@example.org", toy.tree, Asked(mirror=str(mirror)))


def test_a_mirror_that_lacks_a_part_is_reported(toy: Toy) -> None:
    mirror = mirrored("mbox", toy.root / "m", [mail(toy, "[PATCH 2/3] mm: 2", 2)])
    with pytest.raises(InputError, match=r"2@example\.org: the series is incomplete: v1 of 3 patches: 1/3, 3/3 are"):
        read("2@example.org", toy.tree, Asked(mirror=str(mirror)))
    with pytest.raises(UsageError, match="got nothing there"):
        read("2@example.org", toy.tree, Asked(mirror="/no/such/place"))


class Inbox(BaseHTTPRequestHandler):
    """What liblore and b4 ask a public-inbox: the mailbox of a thread by the id of any of its messages."""

    threads: list[list[EmailMessage]]

    def do_GET(self) -> None:
        parts = [unquote(part) for part in self.path.split("/")]
        wanted = next(
            (mails for mails in self.threads if any(f"<{parts[2]}>" == each["Message-ID"] for each in mails)), None
        )
        self.send_response(200 if wanted and parts[3:] == ["t.mbox.gz"] else 404)
        self.end_headers()
        if wanted and self.command == "GET":
            start = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n"
            self.wfile.write(gzip.compress(b"".join(start + each.as_bytes() + b"\n" for each in wanted)))

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def inbox(thread: list[EmailMessage]) -> Iterator[str]:
    """The address of a public-inbox with that thread."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Served", (Inbox,), {"threads": [thread[:3], thread[3:]]}))
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/all"
        server.shutdown()


def no_b4(word: str) -> Path | None:
    return None


def test_a_public_inbox_through_liblore(toy: Toy, inbox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("liblore")
    monkeypatch.setattr(proc, "which", no_b4)
    found = read("1@example.org", toy.tree, Asked(mirror=inbox))
    assert [each.name for each in found.patches] == ["mm-grow"]
    assert [each.name for each in read(f"{inbox}/0@example.org/", toy.tree).patches] == ["mm-grow"]
    with pytest.raises(UsageError, match=r"no message 9@example\.org"):
        read("9@example.org", toy.tree, Asked(mirror=inbox))
    with pytest.raises(InfraError, match="cannot fetch"):
        read("1@example.org", toy.tree, Asked(mirror="http://127.0.0.1:9/all"))


def test_a_public_inbox_through_b4_itself(toy: Toy, inbox: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if not proc.which("b4"):
        pytest.skip("b4 is not installed")
    monkeypatch.setenv("HOME", str(toy.root))
    found = read("1@example.org", toy.tree, Asked(mirror=inbox))
    assert [each.name for each in found.patches] == ["mm-grow"]
    with pytest.raises(InfraError, match="b4 am"):
        read("9@example.org", toy.tree, Asked(mirror=inbox))


def test_b4_comes_first_where_it_is_installed(
    toy: Toy, thread: list[EmailMessage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of this name that keeps its words and writes what `b4 am` would."""
    tools = toy.root / "tools"
    tools.mkdir()
    (tools / "mbox").write_bytes(b"From git@z Thu Jan  1 00:00:00 1970\n" + thread[2].as_bytes())
    script = f'#!/bin/sh\necho "$@" >{tools}/words\ntest "$2" = "${{2#fail}}" || exit 1\ncp {tools}/mbox series.mbx\n'
    (tools / "b4").write_text(script)
    (tools / "b4").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    found = read("1@example.org", toy.tree, Asked(mirror="http://127.0.0.1:1/all"))
    assert [each.name for each in found.patches] == ["mm-grow"]
    words = (tools / "words").read_text()
    assert "b4.midmask=http://127.0.0.1:1/all/%s am" in words
    assert words.endswith("1@example.org\n")
    (tools / "b4").write_text("#!/bin/sh\necho 'That message-id is not known.'\nexit 1\n")
    with pytest.raises(InfraError, match=r"b4 am 1@example\.org: That message-id is not known"):
        read("1@example.org", toy.tree)


def test_without_b4_and_liblore_the_error_says_what_to_install(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "which", no_b4)
    monkeypatch.setitem(__import__("sys").modules, "liblore", None)
    with pytest.raises(UsageError, match=r"neither b4 nor liblore .*pip install 'pagelab\[lore\]', or --mirror"):
        read("1@example.org", toy.tree)


def test_standard_input(toy: Toy, thread: list[EmailMessage]) -> None:
    found = read("-", toy.tree, Asked(stdin=thread[2].as_bytes()))
    assert [each.name for each in found.patches] == ["mm-grow"]
    with pytest.raises(InputError, match="standard input: expected a patch, found an empty file"):
        read("-", toy.tree, Asked(stdin=b""))


def test_a_file_of_that_name_comes_first(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(toy.root)
    before = toy.read("mm/shmem.c")
    Path("1@example.org").write_text(diff("mm/shmem.c", before, before.replace("return -1;", "return 3;")))
    assert b"return 3;" in read("1@example.org", toy.tree).patches[0].data
