# SPDX-License-Identifier: GPL-2.0-or-later
"""lab.formats.mail: every form in which people have patches, and which messages of a mailbox are the series."""

from __future__ import annotations

import base64
import bz2
import gzip
import lzma
from collections.abc import Callable
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.core.errors import InputError
from lab.formats.patches import mail, message, packed, thread
from lab.formats.patches.mail import MailedSeries

FROM = b"From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n"


def diff(name: str = "mm/f.c", old: str = "a", new: str = "b = 1") -> str:
    return f"diff --git a/{name} b/{name}\n--- a/{name}\n+++ b/{name}\n@@ -1,2 +1,2 @@\n-{old}\n+{new}\n end\n"


def letter(
    subject: str, body: str | None = None, *, cte: str = "8bit", sender: str = "a@b", **headers: str
) -> EmailMessage:
    made = EmailMessage()
    made["From"], made["Subject"] = sender, subject
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    made.set_content(diff() if body is None else body, cte=cte)
    return made


def mbox(*letters: EmailMessage | bytes) -> bytes:
    return b"".join(FROM + (each if isinstance(each, bytes) else each.as_bytes()) + b"\n" for each in letters)


def read(data: bytes, *, whole: bool = True) -> MailedSeries:
    return mail.read([(data, "x.mbox")], whole=whole)


def one(data: bytes) -> bytes:
    (found,) = read(data).patches
    return found.data


def names(data: bytes) -> list[str]:
    return [each.name for each in read(data).patches]


@pytest.mark.parametrize("cte", ["8bit", "quoted-printable", "base64"])
@pytest.mark.parametrize(
    "odd", ["", "X-Head-0: x\n", "X-Head:\n", "X-Head:\n  folded\n", "X_1.2: x\n", "X-Head: \xe9\n"]
)
def test_a_saved_mail_is_one_whatever_its_headers(cte: str, odd: str) -> None:
    raw = odd.encode("latin-1") + letter("[PATCH] mm: x", cte=cte).as_bytes()
    assert diff().encode() in one(raw)
    assert diff().encode() in one(b"\n\n" + FROM + raw)
    assert diff().encode() in one(raw.replace(b"\n", b"\r\n"))


def test_a_patch_with_headers_within_a_mail_is_its_text() -> None:
    """Its own `From ` line begins no message where the file is no mailbox, or where the line is quoted."""
    body = "See below.\n\n" + FROM.decode() + "From: c@d\nSubject: [PATCH] x\n\n---\n" + diff()
    outer = letter("[PATCH] mm: outer", body, cte="quoted-printable")
    assert names(outer.as_bytes()) == ["mm-outer"]
    assert diff().encode() in one(outer.as_bytes())
    quoted = letter("[PATCH] mm: outer", body.replace("\nFrom 0", "\n>From 0"))
    assert names(mbox(quoted)) == ["mm-outer"]


def test_parts_that_are_nested_without_end_are_refused() -> None:
    parts = "".join(f"Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n" for n in range(3000))
    with pytest.raises(InputError):
        read(f"Subject: x\n{parts}\n{diff()}".encode())


def test_blank_lines_before_a_mailbox_change_nothing() -> None:
    box = mbox(*(letter(f"[PATCH {number:02}/15] mm: {number}", diff(f"mm/{number}.c")) for number in range(1, 16)))
    assert len(read(b"\n\r\n\n" + box).patches) == 15


def test_prose_that_looks_like_a_header_is_no_mail() -> None:
    assert names(b"Note: this is mine\n\n" + diff().encode()) == ["x"]


def test_a_packed_mailbox_is_unpacked_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    box = mbox(letter("[PATCH 1/2] one"), letter("[PATCH 2/2] two", diff("mm/g.c")))
    assert names(gzip.compress(box)) == ["one", "two"]
    half = len(box) // 2
    assert names(gzip.compress(box[:half]) + gzip.compress(box[half:])) == ["one", "two"]
    for damaged, said in ((gzip.compress(box)[:-20], "ends too early"), (packed.GZIP + b"x" * 30, "no sound gzip")):
        with pytest.raises(InputError, match=said):
            read(damaged)
    monkeypatch.setattr(packed, "MAX_UNPACKED", 1 << 20)
    with pytest.raises(InputError, match="unpacks to more than 1 MiB"):
        read(gzip.compress(bytes(50 << 20)))


@pytest.mark.parametrize("pack", [lzma.compress, bz2.compress, gzip.compress])
def test_every_packer_is_undone(pack: Callable[[bytes], bytes]) -> None:
    assert one(pack(diff().encode())) == diff().encode()
    made = attach(letter("[PATCH] x", "see below\n"), pack(diff().encode()), "application/octet-stream", "x.patch.xz")
    assert one(made.as_bytes()) == diff().encode()
    with pytest.raises(InputError, match="ends too early"):
        read(pack(diff().encode())[:-12])


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xfe" + diff().encode("utf-16-le"),
        b"\xfe\xff" + diff().replace("\n", "\r\n").encode("utf-16-be"),
        b"\xef\xbb\xbf" + diff().encode(),
        base64.encodebytes(diff().encode()),
        base64.b64encode(diff().encode()),
        "".join(f"\x1b[1m{line}\x1b[m\n" for line in diff().splitlines()).encode(),
        b"-----BEGIN PGP SIGNED MESSAGE-----\n\n" + diff().replace("\n-", "\n- -").encode(),
    ],
    ids=["utf-16", "utf-16 be", "mark", "base64", "base64 in one line", "colours", "signed"],
)
def test_what_a_patch_is_wrapped_in_is_taken_off(data: bytes) -> None:
    assert diff().encode() in one(data)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "an empty file"),
        (b"\n \n", "an empty file"),
        (b"hello\n", "no diff in it"),
        (bytes(range(256)), "no text"),
        (diff().replace("\n", "\n> ").encode()[len("diff") :], "only a diff that is quoted or indented"),
        ("\n".join(f"    {line}" for line in diff().splitlines()).encode(), "only a diff that is quoted or indented"),
        (b"*** a/f.c\t2024\n--- b/f.c\t2024\n***************\n*** 1 ****\n! a\n--- 1 ----\n! b\n", "a context diff"),
        (b"7c7\n< a\n---\n> b\n", "a plain diff"),
        (b"<!DOCTYPE html>\n<html><pre>\n" + diff(new="b-&gt;c").encode(), "a web page"),
        (b"PK\x03\x04" + bytes(26) + b"\n" + diff().encode(), "a zip archive"),
        (b"x.patch".ljust(257, b"\0") + b"ustar\x0000".ljust(255, b"\0") + diff().encode(), "a tar archive"),
        (b"# v2 git bundle\n", "a git bundle: `git fetch BUNDLE`"),
    ],
)
def test_what_is_no_patch_is_named(data: bytes, what: str) -> None:
    with pytest.raises(InputError, match=f"expected a patch, found {what}"):
        read(data)
    (found,) = mail.read([(b"", "empty.patch"), (diff().encode(), "x.patch")]).notes
    assert found == "left out, an empty file: empty.patch"


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (f"Only in b/mm: new.c\n{diff()}", "it has no content for `Only in b/mm: new.c`"),
        (f"Binary files a/x.gif and b/x.gif differ\n{diff()}", "it has no content for `Binary files a/x.gif and"),
        (diff(new="b-&gt;c &amp;&amp; d"), "it has &amp;, &lt; or &gt; in C code"),
        (diff(new="#include &lt;linux/mm.h&gt;"), "it has &amp;, &lt; or &gt; in C code"),
    ],
)
def test_what_a_patch_lacks_or_seems_to_be_is_a_note(data: str, note: str) -> None:
    (found,) = read(data.encode()).notes
    assert note in found


def test_text_of_html_files_is_no_damage() -> None:
    assert read(diff("Documentation/x.html", new="a &amp; b").encode()).notes == ()
    assert read(diff(new="gt = &gt;").encode()).notes == ()


def test_a_mail_behind_other_text_is_refused_where_it_is_encoded() -> None:
    raw = letter("[PATCH] x", cte="quoted-printable").as_bytes()
    assert diff().encode() in one(f"{len(raw)}   \n".encode() + raw + b"<?xml version='1.0'?>\n"), (
        "as Apple Mail saves it"
    )
    with pytest.raises(InputError, match="expected a mail to begin with its headers"):
        read(b"Here it is:\n" + raw)


# Parts of a message.


def test_a_patch_that_openpgp_signed_within_the_text_is_read() -> None:
    diff = b"diff --git a/f.c b/f.c\n--- a/f.c\n+++ b/f.c\n@@ -1 +1 @@\n-a\n+b\n"
    dashed = b"".join(b"- " * line.startswith(b"-") + line for line in diff.splitlines(keepends=True))
    body = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nWhy.\n\n" + dashed
    signature = b"\n-----BEGIN PGP SIGNATURE-----\n\nown\n-----END PGP SIGNATURE-----\n"
    for ends in (b"\n", b"\r\n"):
        raw = b"From: o@example.org\nSubject: [PATCH] x\n\n" + body + signature
        assert one(raw.replace(b"\n", ends)).rstrip() == b"Why.\n\n" + diff.rstrip()
    assert b"- --- a/f.c" in one(b"From: o@example.org\nSubject: [PATCH] x\n\n" + diff + body)


def test_format_flowed_is_unfolded() -> None:
    flowed = (
        "Why it is good and why it is \nlong.\n---\ndiff --git a/f.c b/f.c\n--- a/f.c\n+++ b/f.c\n@@ -1,4 +1,4 @@\n"
        "  one\n-a line that is long \nand goes on\n+b\n  \n  end\n-- \n2.39\n"
    )
    plain = flowed.replace("long \nand", "long and").replace("is \nlong", "is long")
    made = letter("[PATCH] x", flowed)
    made.set_param("format", "flowed")
    assert one(made.as_bytes()).rstrip() == plain.replace("\n  one", "\n one").replace(
        "\n  \n  end", "\n \n end"
    ).rstrip().encode().replace(b"-- \n", b"-- \n")
    assert message.unfolded(b"one \ntwo", delete_space=True) == b"onetwo"


def attach(made: EmailMessage, data: str | bytes, kind: str, name: str | None = None) -> EmailMessage:
    main, _, sub = kind.partition("/")
    raw = data.encode() if isinstance(data, str) else data
    made.add_attachment(raw, maintype=main, subtype=sub, filename=name)
    return made


@pytest.mark.parametrize("kind", ["application/x-diff", "text/x-patch", "text/x-diff", "application/x-patch",
                                  "application/octet-stream", "text/plain"])  # fmt: skip
def test_an_attachment_is_read_whatever_its_type(kind: str) -> None:
    assert one(attach(letter("x", "see below\n"), diff(), kind, "0001-x.patch").as_bytes()) == diff().encode()


def test_a_packed_attachment_is_unpacked() -> None:
    packed = attach(letter("x", "see below\n"), gzip.compress(diff().encode()), "application/gzip", "x.patch.gz")
    assert one(packed.as_bytes()) == diff().encode()


def test_a_good_attachment_beats_a_broken_copy_in_the_text() -> None:
    broken = diff().replace(" end\n", "end\n")
    found = read(attach(letter("x", broken), diff(), "text/x-patch", "x.patch").as_bytes())
    assert [each.data for each in found.patches] == [diff().encode()]
    assert message.INLINE_COPY in found.notes[0]
    assert one(attach(letter("x"), "no patch", "text/x-log", "x.log").as_bytes()) == diff().encode()


def test_a_text_and_an_attachment_that_differ_are_both_taken() -> None:
    found = read(attach(letter("x"), diff("mm/g.c"), "text/x-patch", "g.patch").as_bytes())
    assert [each.data for each in found.patches] == [diff().encode(), diff("mm/g.c").encode()]
    broken = diff("mm/h.c").replace(" end\n", "end\n")  # no copy: its own error is to be seen later
    assert len(read(attach(letter("x", broken), diff(), "text/x-patch", "x.patch").as_bytes()).patches) == 2


def test_attached_diffs_have_the_order_of_their_names() -> None:
    made = letter("two of them", "Here.\n")
    for name in ("0002-mm-two.patch", "0001-mm-one.patch"):
        attach(made, diff(f"mm/{name[:4]}.c"), "text/x-patch", name)
    assert names(made.as_bytes()) == ["0001-mm-one", "0002-mm-two"]


def test_a_patch_in_html_alone_is_refused_as_such() -> None:
    made = letter("[PATCH] mm: x", "")
    made.set_content(f"<html><pre>{diff()}</pre></html>", subtype="html")
    with pytest.raises(InputError, match="its patch is in HTML alone"):
        read(made.as_bytes())


def test_attached_mails_have_the_order_of_their_subjects() -> None:
    made = letter("two patches", "see below\n")
    for number in (2, 1):
        text = FROM + letter(f"[PATCH {number}/2] mm: {number}", diff(f"mm/{number}.c"), cte="base64").as_bytes()
        attach(made, text, "text/x-patch", f"000{number}-mm.patch")
    assert [b"mm/1.c" in each.data for each in read(made.as_bytes()).patches] == [True, False]


def test_a_forwarded_message_is_a_message() -> None:
    made = letter("Fwd: look", "see below\n")
    made.add_attachment(letter("[PATCH] mm: inner"))
    assert names(made.as_bytes()) == ["mm-inner"]


def test_html_is_never_the_patch() -> None:
    made = letter("[PATCH] x")
    made.add_alternative(f"<pre>{diff()}</pre>", subtype="html")
    assert one(made.as_bytes()) == diff().encode()
    only = EmailMessage()
    only["Subject"], only["From"] = "x", "a@b"
    only.set_content(f"<pre>\n{diff()}</pre>", subtype="html")
    with pytest.raises(InputError, match="found no diff in it"):
        read(only.as_bytes())


def test_another_character_set_becomes_utf_8() -> None:
    made = EmailMessage()
    made["Subject"] = "x"
    made.set_content(diff(new="/* \u00e9 */"), charset="iso-8859-1", cte="8bit")
    assert "/* \u00e9 */".encode() in one(made.as_bytes())


@pytest.mark.parametrize("charset", [b"utf\0-8", b"none", b"", b'"', b"utf-8\xff", b"idna", b"rot13", b"hex"])
def test_a_character_set_that_is_none_changes_nothing(charset: bytes) -> None:
    raw = b"From: a@b\nSubject: [PATCH] =?" + charset + b"?Q?x=FF?=\nContent-Type: text/plain; charset=" + charset
    for text in (diff(), diff(new="\u00fc")):
        assert one(raw + b"\n\n" + text.encode()) == text.encode()


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "us-ascii"])
def test_utf_8_that_is_called_another_character_set_stays(charset: str) -> None:
    made = letter("[PATCH] x", diff(new="/* \u00e9 */"))
    made.set_param("charset", charset)
    assert "/* \u00e9 */".encode() in one(made.as_bytes())


@pytest.mark.parametrize("cte", ["quoted-printable", "base64"])
@pytest.mark.parametrize("spelling", ["{} ", "{};", "{} (as ever)", "\t{}", "\n {}"])
def test_an_encoding_is_undone_however_its_header_is_written(cte: str, spelling: str) -> None:
    raw = letter("[PATCH] x", diff(new="a = 1 == \u00fc"), cte=cte).as_bytes()
    odd = raw.replace(f"Encoding: {cte}".encode(), f"Encoding: {spelling.format(cte)}".encode())
    assert odd != raw
    assert one(odd) == diff(new="a = 1 == \u00fc").encode()


@pytest.mark.parametrize("end", ["\r\n", "\r\r\n"])
def test_line_ends_are_mended_and_reported(end: str) -> None:
    found = read(diff().replace("\n", end).encode())
    assert found.patches[0].data == diff().encode()
    assert found.notes == (f"x.mbox: {message.CRLF}",)


def test_prose_that_begins_with_from_and_a_time_ends_no_message() -> None:
    prose = "From my tests at 12:30 it follows\nthat: it works\n\n"
    every = mbox(*(letter(f"[PATCH {number}/2] mm: {number}", prose + diff(f"mm/{number}.c")) for number in (2, 1)))
    assert names(every) == ["mm-1", "mm-2"]


def test_messages_without_a_subject_are_patches_of_their_own() -> None:
    assert len(read(mbox(letter("", diff("mm/1.c")), letter("", diff("mm/2.c")))).patches) == 2


@pytest.mark.parametrize("cte", ["quoted-printable", "base64", "7bit"])
def test_an_attached_file_of_git_is_within_its_message(cte: str) -> None:
    made = []
    for number in (1, 2):
        whole = letter(f"[PATCH {number}/2] mm: {number}", "see below\n")
        text = (FROM + letter("[PATCH] inner", diff(new="b == 1")).as_bytes()).decode()
        whole.add_attachment(text, subtype="x-patch", filename=f"000{number}-mm.patch", cte=cte)
        made.append(whole)
    patches = read(mbox(*made)).patches
    assert [each.name for each in patches] == ["mm-1", "mm-2"]
    assert all(b"+b == 1\n" in each.data for each in patches)


def test_a_message_that_is_cut_does_not_take_the_next_one() -> None:
    made = []
    for number in (1, 2, 3):
        whole = attach(letter(f"[PATCH {number}/3] mm: {number}", "see\n"), diff(f"mm/{number}.c"), "text/x-patch", "x")
        whole.set_boundary("one-for-all")
        made.append(whole.as_bytes())
    made[0] = made[0].replace(b"--one-for-all--\n", b"")
    assert names(mbox(*made)) == ["mm-1", "mm-2", "mm-3"]


def test_an_attached_archive_is_no_patch_and_is_named() -> None:
    stored = b"PK\x03\x04" + diff().encode()
    made = attach(letter("[PATCH] x", "see below\n"), stored, "application/zip", "all.zip")
    with pytest.raises(InputError, match=r"no diff in it; its attachment all\.zip is not read: a zip archive"):
        read(made.as_bytes())
    assert "all.zip is not read" in read(attach(letter("x"), stored, "application/zip", "all.zip").as_bytes()).notes[0]
    own = diff().replace("-a\n", "-a\r\n").encode()  # the file's own, below headers that end in LF
    assert read(own).patches[0].data == own
    found = read(diff().encode().removesuffix(b"\n"))
    assert found.patches[0].data == diff().encode()
    assert found.notes == (f"x.mbox: {message.NO_NEWLINE}",)


# Which messages.


@pytest.mark.parametrize(
    ("text", "version", "number", "total", "reply", "rfc"),
    [
        ("[PATCH] mm: x", 1, 0, 0, False, False),
        ("[PATCH v3 02/15] mm: x", 3, 2, 15, False, False),
        ("[RFC PATCH net-next v2 1/2] mm: x", 2, 1, 2, False, True),
        ("[RFCv2 1/2] mm: x", 2, 1, 2, False, True),
        ("[PATCHv4 1 / 2] mm: x", 4, 1, 2, False, False),
        ("[PATCH 1/2 -v5] mm: x", 5, 1, 2, False, False),
        ("[v2,3/7] mm: x", 2, 3, 7, False, False),
        ("[linux-mm] [PATCH V2 0/7] mm: x", 2, 0, 7, False, False),
        ("[PATCH 6.12.y 1/2] mm: x", 1, 1, 2, False, False),
        ("Re: [PATCH v2 3/7] mm: x", 2, 3, 7, True, False),
        ("[list] RE: AW: [PATCH v2 3/7] mm: x", 2, 3, 7, True, False),
        ("Fwd: [PATCH v2 3/7] mm: x", 2, 3, 7, False, False),
        ("[PATCH 3 of 7 v2] mm: x", 2, 3, 7, False, False),
        ("PATCH v2 3/7: mm: x", 2, 3, 7, False, False),
        ("RFC PATCH 3/7: mm: x", 1, 3, 7, False, True),
        ("(3/7) mm: x", 1, 3, 7, False, False),
    ],
)
def test_what_the_brackets_of_a_subject_say(
    text: str, version: int, number: int, total: int, *, reply: bool, rfc: bool
) -> None:
    expected = thread.Subject(title="mm: x", reply=reply, version=version, number=number, total=total, rfc=rfc)
    assert thread.subject(text) == expected


def series(version: str, total: int, *, leave_out: tuple[int, ...] = (), **headers: str) -> list[EmailMessage]:
    """A cover letter and `total` patches, with ids."""
    found = [letter(f"[PATCH{version} 0/{total}] mm: all", "no diff\n", Message_ID=f"<{version.strip()}-0@x>")]
    for number in range(1, total + 1):
        subject = f"[PATCH{version} {number}/{total}] mm: {number}"
        text = diff(f"mm/{number}.c", new=f"{version}")
        made = letter(subject, text, Message_ID=f"<{version.strip()}-{number}@x>", **headers)
        found += [made] if number not in leave_out else []
    return found


def test_the_newest_complete_version_in_its_order() -> None:
    quoted = "".join(f"> {line}\n" for line in diff().splitlines())
    top_posted = f"I like it.\n\n-----Original Message-----\n{diff('mm/1.c')}"
    box = mbox(
        *series("", 3),
        letter("Re: [PATCH 1/3] mm: 1", quoted),
        letter("Re: [PATCH v2 1/3] mm: 1", top_posted, sender="c@d"),
        *reversed(series(" v2", 3)),
        *series(" v3", 4, leave_out=(2, 4)),
    )
    found = read(box)
    assert [each.name for each in found.patches] == ["mm-1", "mm-2", "mm-3"]
    assert all(b"+ v2" in each.data for each in found.patches)
    assert found.title == "mm: all"
    assert "v3 of 4 patches: 2/4, 4/4 are missing: v2 of 3 patches was used" in found.notes
    assert any(note.startswith("left out, a reply: Re: [PATCH v2 1/3]") for note in found.notes)
    assert "v2 of 3 patches was used, not v1 of 3 patches" in found.notes


def test_an_incomplete_series_is_refused_with_what_is_missing() -> None:
    with pytest.raises(InputError, match=r"x\.mbox: the series is incomplete: v1 of 3 patches: 2/3 is missing"):
        read(mbox(*series("", 3, leave_out=(2,))))
    with pytest.raises(InputError, match="1/3, 3/3 are missing"):
        read(mbox(*series("", 3, leave_out=(1, 3))))
    chosen = read(mbox(*series("", 3, leave_out=(2,))), whole=False)
    assert [each.name for each in chosen.patches] == ["mm-1", "mm-3"]
    assert chosen.notes == ("v1 of 3 patches: 2/3 is missing",)


INTERDIFF = f"Interdiff against v1:\n{diff('mm/1.c')}"
RANGE_DIFF = "Range-diff against v1:\n1:  abc ! 1:  def mm: 1\n    @@ mm/1.c\n     -a\n    -+b\n    ++c\n"


@pytest.mark.parametrize("body", ["Why.\n", INTERDIFF, RANGE_DIFF, INTERDIFF.replace(" end", "wrapped\nend")])
def test_a_cover_letter_alone_is_refused_as_such(body: str) -> None:
    cover = letter("[PATCH v2 0/3] mm: all", body)
    answer = letter("Re: [PATCH v2 0/3] mm: all", "> Why.\nGood.\n")
    own = letter("Re: [PATCH v2 0/3] mm: all", f"Rather so:\n{diff()}")
    for every in (cover.as_bytes(), mbox(cover), mbox(cover, answer), mbox(cover, own, answer)):
        with pytest.raises(InputError, match="expected a patch, found only the cover letter, patch 0 of 3"):
            read(every)


def test_the_diff_in_a_cover_letter_is_no_part_of_the_series() -> None:
    every = [letter("[PATCH v2 0/2] mm: all", f"Why.\n{INTERDIFF}\nbase-commit: {'1' * 40}\n")]
    every += [letter(f"[PATCH v2 {number}/2] mm: {number}", diff(f"mm/{number}.c")) for number in (1, 2)]
    found = read(mbox(*every))
    assert [each.name for each in found.patches] == ["mm-1", "mm-2"]
    assert (found.title, found.base_commit) == ("mm: all", "1" * 40)
    assert found.notes == ("left out, the diff in a cover letter: [PATCH v2 0/2] mm: all",)


def test_patches_that_are_attached_to_a_cover_letter_are_the_series() -> None:
    made = letter("[PATCH 0/2] mm: all", "see below\n")
    for number in (2, 1):
        attach(made, diff(f"mm/{number}.c"), "text/x-patch", f"000{number}-mm.patch")
    assert names(made.as_bytes()) == ["0001-mm", "0002-mm"]


def test_a_diff_in_a_reply_to_a_cover_letter_is_taken_as_such() -> None:
    found = read(mbox(letter("Re: [PATCH 0/3] mm: all"), letter("Re: [PATCH 0/3] mm: all", "Good.\n")))
    assert len(found.patches) == 1
    assert found.notes == ("the diff is in a reply to the cover letter of a series: Re: [PATCH 0/3] mm: all",)


@pytest.mark.parametrize("subject", ["[PATCH] fixup", "[PATCH 4/3] one more", "[PATCH 1/2] of another count"])
def test_what_is_no_part_of_the_series_is_named(subject: str) -> None:
    every = [letter(f"[PATCH {number}/3] mm: {number}", diff(f"mm/{number}.c")) for number in (1, 2, 3)]
    found = read(mbox(*every, letter(subject, diff("mm/4.c"))))
    assert [each.name for each in found.patches] == ["mm-1", "mm-2", "mm-3"]
    assert found.notes == (f"left out, no part of the series: {subject}",)


def test_a_message_of_a_series_without_a_diff_is_named() -> None:
    box = mbox(letter("[PATCH 1/2] one"), letter("[PATCH 2/2] two", "Only prose.\n"))
    with pytest.raises(InputError, match=r"v1 of 2 patches: 2/2 is missing; no diff in \[PATCH 2/2\] two"):
        read(box)


def test_one_mail_of_a_series_alone_is_what_was_asked_for() -> None:
    found = read(letter("[PATCH v2 2/7] mm: x").as_bytes())
    assert (len(found.patches), found.notes) == (1, ("this is 2/7 of a series, alone",))


def test_patches_that_are_sent_again_replace_what_they_answer() -> None:
    again = letter("[PATCH v2 2/3] mm: 2", diff("mm/2.c", new="again"), In_Reply_To="<-2@x>", Message_ID="<again@x>")
    found = read(mbox(*series("", 3), again))
    assert [b"again" in each.data for each in found.patches] == [False, True, False]
    assert found.notes == ("v2 of 3 patches has only 1, the others are those of v1 of 3 patches",)


def test_what_came_over_several_lists_is_one() -> None:
    assert len(read(mbox(*series("", 2), *series("", 2))).patches) == 2


def test_versions_with_the_same_ids_are_still_two() -> None:
    """`git format-patch --thread` twice within a second makes such ids."""
    first, second = series("", 2), series(" v2", 3)
    for number, each in enumerate(second):
        each.replace_header("Message-ID", f"<-{number}@x>")
    found = read(mbox(*first, *second))
    assert len(found.patches) == 3
    assert all(b"+ v2" in item.data for item in found.patches)


def test_a_version_that_was_sent_again_is_the_later_one() -> None:
    early = letter("[PATCH] mm: x", diff(new="old"), Date="Mon, 02 Nov 2026 10:00:00 +0000")
    late = letter("[RESEND PATCH] mm: x", diff(new="new"), Date="Tue, 03 Nov 2026 10:00:00 +0000")
    for box in (mbox(early, late), mbox(late, early)):
        assert b"+new" in one(box)
    numbered = [letter(f"[PATCH {n}/2] {n}", diff(new=day), Date=f"{day} Nov 2026 10:00:00 +0000")
                for day in ("03", "02") for n in (1, 2)]  # fmt: skip
    assert all(b"+03" in each.data for each in read(mbox(*numbered)).patches)


def test_single_patches_keep_the_order_of_the_file() -> None:
    assert names(mbox(*(letter(f"[PATCH] {word}") for word in ("c", "a", "b")))) == ["c", "a", "b"]
    assert names(mbox(letter("[PATCH] old"), letter("[PATCH v2] new"))) == ["new"]
    suggestion = letter("[PATCH] mine", sender="c@d", In_Reply_To="<1@x>")
    assert names(mbox(letter("[PATCH] yours", Message_ID="<1@x>"), suggestion)) == ["yours"]


def test_an_rfc_is_older_than_the_patch_of_its_version() -> None:
    rfc = [letter(f"[RFC PATCH {n}/2] mm: {n}", diff(new="rfc")) for n in (1, 2)]
    real = [letter(f"[PATCH {n}/2] mm: {n}", diff(new="real")) for n in (1, 2)]
    assert all(b"+real" in each.data for each in read(mbox(*real, *rfc)).patches)


def test_two_series_in_one_mailbox_are_refused() -> None:
    with pytest.raises(InputError, match=r"expected one series; two patches are 1/2 of v1"):
        read(mbox(*series("", 2), letter("[PATCH 1/2] another"), letter("[PATCH 2/2] yet another")))
    with pytest.raises(InputError, match="found two: v1 of 2 patches and v1 of 3 patches"):
        read(mbox(*series("", 2), *(letter(f"[PATCH {n}/3] other {n}") for n in (1, 2, 3))))
    others = [letter(f"[PATCH v4 {n}/2] other {n}", sender="c@d") for n in (1, 2)]
    with pytest.raises(InputError, match="found two"):
        read(mbox(*series("", 3), *others))


def test_a_quotation_is_no_patch() -> None:
    quoted = "".join(f"> {line}\n" for line in diff().splitlines())
    with pytest.raises(InputError, match="found only quotations of one"):
        read(letter("Re: [PATCH] x", quoted).as_bytes())


def test_only_replies_are_no_series() -> None:
    assert len(read(mbox(letter("Re: [PATCH] x"), letter("Re: [PATCH] x", "no diff\n"))).patches) == 1
    with pytest.raises(InputError, match="found only replies with a diff, 2 of them"):
        read(mbox(letter("Re: [PATCH] x", diff("f/1.c")), letter("Re: [PATCH] y")))


def test_the_base_of_a_series_is_in_its_cover_letter_or_last_patch() -> None:
    base = "0123456789abcdef0123456789abcdef01234567"
    cover, *patches = series("", 2)
    cover.set_content(f"All.\n\nbase-commit: {base}\n-- \n2.39\n")
    assert read(mbox(cover, *patches)).base_commit == base
    last = letter("[PATCH] x", f"{diff()}-- \n2.39\n\nbase-commit: {base}\nprerequisite-patch-id: {base}\n")
    found = read(last.as_bytes())
    assert found.base_commit == base
    assert found.notes == ("the series names prerequisite patches, which are not applied",)


def test_several_files_are_one_series() -> None:
    older, newer = series("", 2)[1:], series(" v2", 2)[1:]
    files = [(FROM + each.as_bytes(), f"{number}.eml") for number, each in enumerate([*reversed(newer), *older])]
    found = mail.read(files, where="dir")
    assert [(each.name, b"+ v2" in each.data) for each in found.patches] == [("mm-1", True), ("mm-2", True)]
    with pytest.raises(InputError, match="dir: expected diffs or mails, found both"):
        mail.read([*files, (diff().encode(), "a.diff")], where="dir")


PIECES = [
    "From a Mon Sep 17 00:00:00 2001\n",
    "Subject: [PATCH 1/2] =?q?x\n",
    "From: <\n",
    "Content-Type: multipart/mixed; boundary=b\n",
    "Content-Type: message/rfc822\n",
    "Content-Type: text/plain; charset=nope; format=flowed\n",
    "Content-Transfer-Encoding: base64\n",
    "Content-Disposition: attachment; filename*=nope''%ff\n",
    "Date: 99 x\n",
    "In-Reply-To: <a\n",
    "--b\n",
    "--b--\n",
    "X:\n",
    "\n",
    "+++ b/\n",
    "\x1f\x8b",
    diff(),
]


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from(PIECES)))
def test_damaged_mail_is_read_or_refused(parts: list[str]) -> None:
    try:
        read("".join(parts).encode("latin-1"))
    except InputError as error:
        assert "\n" not in str(error)
