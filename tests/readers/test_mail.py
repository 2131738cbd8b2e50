"""What a mail says: its own words, its pictures in place, its attachments."""

from __future__ import annotations

from email.message import EmailMessage
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.mail import read
from llama_index_mmrag.readers.mail_quotes import unquoted
from llama_index_mmrag.readers.page import Page


def png(colour: str = "red") -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (40, 40), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def mail(text: str | None = "Hello.", html: str = "", **said: str) -> EmailMessage:
    made = EmailMessage()
    for name, value in {"subject": "Tea", **said}.items():
        made[name] = value
    if text is not None:
        made.set_content(text)
    if html:
        made.add_alternative(html, subtype="html")
    return made


@pytest.fixture
def page(tmp_path):
    def page_of(given: EmailMessage | bytes) -> Page:
        file = tmp_path / "a.eml"
        file.write_bytes(given if isinstance(given, bytes) else bytes(given))
        return read(file, How())

    return page_of


def texts(page: Page) -> list[str]:
    return [section.text for section in page.sections]


def test_metadata_are_of_its_header(page):
    made = mail(
        subject="Tee für zwei",
        date="Tue, 05 Mar 2024 10:00:00 +0100",
        to="Bob <b@x.org>, Cy <c@x.org>",
        **{"from": "Ada Ö <a@x.org>"},
    )
    read_ = page(made)
    assert read_.metadata == {
        "subject": "Tee für zwei",
        "from": "Ada Ö <a@x.org>",
        "to": "Bob <b@x.org>, Cy <c@x.org>",
        "sent_at": "2024-03-05T10:00:00+01:00",
    }
    (section,) = read_.sections
    assert section.headings == ("Tee für zwei",)
    assert (section.name, section.about) == (("mail",), {"kind": "mail"})


@pytest.mark.parametrize(
    "header",
    ["Date: yesterday", "To: <<<@@>,,;:", "Subject: =?x?q?y?=", "From: \udcff"],
)
def test_header_that_is_none_costs_itself(page, header):
    made = f"{header}\nX: y\n\nHello.".encode("utf-8", "surrogateescape")
    read_ = page(made)
    assert texts(read_) == ["Hello."]
    assert "sent_at" not in read_.metadata


def test_html_is_read_and_one_entity_under_the_subject(page):
    html = "<title>x</title><h1>Green</h1>One.<h2>Black</h2>Two."
    read_ = page(mail("Plain.", html))
    assert [(s.headings, s.text) for s in read_.sections] == [
        (("Tea", "Green"), "One."),
        (("Tea", "Green", "Black"), "Two."),
    ]
    assert {section.name for section in read_.sections} == {("mail",)}


def test_pictures_stand_where_they_are_shown(page):
    made = mail("-", "<p>See <img src='cid:a%40x' alt=Pot> and<img src=b.png>")
    html = made.get_payload()[1]
    html.add_related(png(), "image", "png", cid="<a@x>")
    html.add_related(png("blue"), "image", "png", cid="<unused>")
    read_ = page(made)
    shown, left = read_.sections
    assert [(link.data, link.alt) for link in shown.pictures] == [(png(), "Pot")]
    assert [link.data for link in left.pictures] == [png("blue")]
    assert read_.attachments == ()
    assert "1 picture is not in it, such as 'b.png'" in read_.problems[0]


@pytest.mark.parametrize(
    "quote",
    [
        "<blockquote type=cite>Q</blockquote>",
        "<div class='gmail_quote x'><div>On Monday Ada wrote:</div>Q</div>",
        "<div class=moz-cite-prefix>On Q</div><blockquote type=cite>Q</blockquote>",
        "<div id=divRplyFwdMsg>From: Q</div><div>Q</div>",
        "<div style='border:none;border-top:solid #E1E1E1 1.0pt'>From: Q</div><p>Q",
    ],
)
def test_quotes_of_html_are_dropped_unless_they_are_all_or_passed_on(page, quote):
    assert texts(page(mail("-", f"<p>Yes.</p>{quote}"))) == ["Yes."]
    (whole,) = texts(page(mail("-", f"<p>Yes.</p>{quote}", subject="Fwd: Tea")))
    assert whole.startswith("Yes.")
    assert whole.endswith("Q")
    (alone,) = texts(page(mail("-", quote)))
    assert "Q" in alone


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("Yes.\n> Tea?\nNo.", "Yes.\nNo."),
        ("Yes.\n\nOn 1 May 2024 at 10:00, A.\n<a@x.org> wrote:\n\n> Q\n>> Q", "Yes.\n"),
        ("Ja.\nAm 01.05.24 um 10:00 schrieb Ada:\n> Q", "Ja."),
        ("He said:\n> Q\nSo?", "He said:\nSo?"),
        ("Yes.\n-----Original Message-----\nFrom: a@x.org\nQ", "Yes."),
        (f"Yes.\n{'_' * 32}\nFrom: Ada <a@x.org>\nQ", "Yes."),
        (f"A\n{'_' * 32}\nB", f"A\n{'_' * 32}\nB"),
        ("Yes.\n-- \nAda, Tea Ltd", "Yes.\n-- \nAda, Tea Ltd"),
    ],
)  # fmt: skip
def test_quotes_of_text_are_dropped_and_signatures_stay(text, own):
    assert unquoted(text) == own


@pytest.mark.parametrize(
    ("header", "body", "said"),
    [
        ("text/plain; charset=iso-8859-1", "Ä €".encode("cp1252"), "Ä €"),
        ("text/plain; charset=utf-8", "Ä".encode(), "Ä"),
        ("text/html; charset=koi8-r", "<meta charset=utf-8>я".encode("koi8-r"), "я"),
        ("text/html", "<meta charset=koi8-r>я".encode("koi8-r"), "я"),
        ("text/plain", "Ä".encode(), "Ä"),
        ("text/plain; charset=utf-7", b"a +ADw- b", "a +ADw- b"),
        ("text/plain; charset=klingon", b"a \xff", "a \ufffd"),
        ("text/plain; charset=utf-8", b"a \xff", "a \ufffd"),
    ],
)
def test_encoding_is_the_headers_and_what_does_not_fit_is_told(
    page, header, body, said
):
    read_ = page(f"Subject: T\nContent-Type: {header}\n\n".encode() + body)
    assert texts(read_) == [said]
    is_told = ["as far as it can be" in problem for problem in read_.problems]
    assert is_told == ([True] if header[-7:] in ("klingon", "t=utf-7") or
                       b"\xff" in body else [])  # fmt: skip


def test_attached_picture_that_html_shows_is_no_attachment(page):
    made = mail("-", "<p><img src=cid:b alt=Pot>")
    for cid in ("a", "b"):
        data = png("red" if cid == "a" else "blue")
        made.add_attachment(data, "image", "png", filename=f"{cid}.png", cid=f"<{cid}>")
    read_ = page(made)
    (section,) = read_.sections
    assert [(link.data, link.alt) for link in section.pictures] == [
        (png("blue"), "Pot")
    ]
    assert [one.name for one in read_.attachments] == ["a.png"]


def test_attachments_are_files_with_names_of_their_own(page):
    made = mail()
    for name in ("a.txt", "a.txt", "../../etc/b.txt", "C:\\c.txt", "\x07"):
        made.add_attachment(b"x", "application", "octet-stream", filename=name)
    made.add_attachment("ä", filename="d", charset="iso-8859-1")
    made.add_attachment(png(), "image", "png", filename="e.png")
    made.add_attachment(b"x", "application", "pgp-signature", filename="s.asc")
    made.add_attachment(mail("Inner.", subject="In"))
    read_ = page(made)
    assert texts(read_) == ["Hello."]
    names = ["a.txt", "a-2.txt", "b.txt", "c.txt", "attachment-5.bin", "d.txt"]
    assert [one.name for one in read_.attachments] == [
        *(*names, "e.png", "attachment-8.eml"),
    ]
    *_, text, picture, inner = read_.attachments
    assert text.data.decode("utf-8-sig").strip() == "ä"
    assert picture.data == png()
    assert b"Inner." in inner.data


def test_more_attachments_than_are_taken_are_counted(page):
    made = mail()
    for n in range(110):
        made.add_attachment("x", filename=f"{n}.txt")
    read_ = page(made)
    assert len(read_.attachments) == 100
    assert "10 attachments more than 100" in read_.problems[0]


def test_mail_whose_parts_have_no_boundary_is_told_and_read(page):
    made = mail()
    made.add_attachment("More.", filename="a.txt")
    read_ = page(bytes(made).replace(b"mixed; boundary=", b"mixed; x="))
    (text,) = texts(read_)
    assert "Hello." in text
    assert "no boundary" in read_.problems[0]


def test_broken_part_costs_itself(page):
    made = mail()
    made.add_attachment(mail("Inner."))
    made.add_attachment(b"x", "application", "x-y", filename="a.bin")
    whole = bytes(made)
    no_boundary = b"Subject: In\nContent-Type: multipart/mixed\n\n\xe4\xf6 Inner."
    inner = whole[whole.index(b"subject: Tea", 9) : whole.index(b"Inner.") + 6]
    read_ = page(whole.replace(inner, no_boundary))
    assert texts(read_) == ["Hello."]
    assert b"Inner." in read_.attachments[0].data
    assert read_.attachments[1].name == "a.bin"
    # What the library cannot write is said so, and the rest is read.
    read_ = page(whole.replace(inner, b"Subject: =?utf-8?q?0\xef~?=\nA\xe4: b\n\n\xe4"))
    assert texts(read_) == ["Hello."]


def test_mail_of_thousands_of_parts_in_each_other_is_refused(page, tmp_path: Path):
    inner = b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n' % (n, n)
        for n in range(5_000)
    )
    with pytest.raises(DocumentUnreadable, match=r"a\.eml.*too deep"):
        page(inner)


def test_empty_mail_is_its_subject(page):
    (section,) = page(b"Subject: Gone fishing\n\n").sections
    assert (section.text, section.headings) == ("", ("Gone fishing",))
    assert page(b"").sections == ()
