"""What a PDF says: its order, headings, notes and places; and what stops no other."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import matplotlib
import pypdfium2
import pytest
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate, Paragraph

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.children import Child
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.page import Page
from llama_index_mmrag.readers.pdf.document import is_scan, read
from llama_index_mmrag.readers.pdf.words import text_of
from tests.support.hostile_documents import CASES, pdf

BODY = ParagraphStyle("body", fontSize=10, leading=12, spaceAfter=6)
HEAD = ParagraphStyle("head", BODY, fontName="Helvetica-Bold", fontSize=14, leading=17)
SAID = "Kites are flown on red strings over a hill where the wind is warm and steady. "


def paragraph(n: int, n_words: int = 140) -> str:
    """Return one that is like no other."""
    words = random.Random(n).choices(SAID.lower().split(), k=n_words)
    return f"Paragraph {n}. It is said: {' '.join(words)}."


@pytest.fixture
def page_of(tmp_path) -> Callable[..., Page]:
    def made(data: bytes, how: How = How()) -> Page:  # noqa: B008 - it is frozen
        file = tmp_path / "a.pdf"
        file.write_bytes(data)
        page = read(file, how)
        return replace(page, sections=tuple(page.sections))

    return made


def drawn(draw: Callable[[Canvas], None], **said: object) -> bytes:
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=A4, pageCompression=0, **said)
    draw(canvas)
    canvas.save()
    return buffer.getvalue()


def flowing(
    *texts: tuple[str, ParagraphStyle], columns: int = 1, head: str = ""
) -> bytes:
    """Return pages of paragraphs, with a running head and their numbers."""

    def around(canvas: Canvas, _: object) -> None:
        if head:
            canvas.drawString(60, 810, head)
            canvas.drawString(290, 20, str(canvas.getPageNumber()))

    width = (A4[0] - 120 - 20 * (columns - 1)) / columns
    frames = [
        Frame(60 + n * (width + 20), 60, width, 700, 0, 0, 0, 0) for n in range(columns)
    ]
    buffer = BytesIO()
    document = BaseDocTemplate(buffer, pagesize=A4)
    document.addPageTemplates([PageTemplate("all", frames, onPage=around)])
    document.build([Paragraph(text, style) for text, style in texts])
    return buffer.getvalue()


@pytest.mark.parametrize("columns", [1, 2])
def test_paragraphs_are_read_in_order_over_columns_and_pages(columns, page_of):
    wanted = [paragraph(n) for n in range(60)]
    page = page_of(flowing(*[(text, BODY) for text in wanted], columns=columns))
    said = "\n\n".join(section.text for section in page.sections).split("\n\n")
    assert said == wanted


def test_headings_are_told_by_size_and_weight_and_stand_above_their_sections(page_of):
    title = "Kites of all kinds, and what else is flown over hills on strings"
    large = ParagraphStyle("large", HEAD, fontSize=20, leading=24)
    page = page_of(
        flowing(
            (title, large),
            *[("Strings", HEAD), (SAID * 3, BODY)],
            *[("Wind", HEAD), (SAID * 2, BODY), (SAID, BODY)],
        )
    )
    assert [section.headings for section in page.sections] == [
        (title, "Strings"),
        (title, "Wind"),
    ]
    assert page.sections[1].text.count("\n\n") == 1


def test_an_outline_tells_headings_that_look_like_text(page_of):
    def draw(canvas: Canvas) -> None:
        for y, text in ((700, "1. Strings"), (680, SAID), (600, "Wind"), (580, SAID)):
            canvas.drawString(60, y, text)
        for level, title in enumerate(("Strings", "Wind")):
            canvas.bookmarkPage(title)
            canvas.addOutlineEntry(title, title, level)

    page = page_of(drawn(draw))
    assert [section.headings for section in page.sections] == [
        ("1. Strings",),
        ("1. Strings", "Wind"),
    ]


def test_running_heads_and_page_numbers_are_no_text(page_of):
    texts = [(paragraph(n), BODY) for n in range(40)]
    page = page_of(flowing(*texts, head="The Book of Kites, 2nd edition"))
    text = " ".join(section.text for section in page.sections)
    assert "The Book of Kites" not in text
    assert text.split() == " ".join(text for text, _ in texts).split()


def test_a_section_of_many_pages_is_cut_into_parts_of_two(page_of):
    texts = [(paragraph(n), BODY) for n in range(40)]
    page = page_of(flowing(("Kites", HEAD), *texts))
    assert len(page.sections) > 1
    for part, section in enumerate(page.sections):
        assert section.name == ("section", ("Kites",), 0) + ((part,) if part else ())
        begun = [
            place.page
            for place in section.places
            if section.text[place.start :].startswith("Paragraph")
        ]
        assert max(begun) - min(begun) < 2
    assert sum(section.text.count("Paragraph") for section in page.sections) == 40


def test_each_line_has_its_place(page_of):
    def draw(canvas: Canvas) -> None:
        canvas.drawString(60, 700, "Kites are flown where there is wind, and are")
        canvas.drawString(60, 688, "taken in when there is none at all to fly in.")
        canvas.showPage()
        canvas.drawString(60, 700, "Another page has another kite.")

    (section,) = page_of(drawn(draw)).sections
    starts = [section.text.index(word) for word in ("Kites", "taken", "Another")]
    assert [place.start for place in section.places] == starts
    assert [place.page for place in section.places] == [1, 1, 2]
    x0, y0, x1, y1 = section.places[0].box
    assert x0 == pytest.approx(60 / A4[0], abs=0.005)
    assert y0 < 1 - 700 / A4[1] < y1
    assert x0 < x1 < 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["the psycho-", "logist sees psychologist"], "psychologist sees"),
        (["a well-known fact is a well-", "known fact"], "is a well-known fact"),
        (["of the Anglo-", "Saxon"], "Anglo-Saxon"),
        (["an of\ufb01ce and a \ufb02ow"], "an office and a flow"),
    ],
)
def test_divided_words_are_whole_and_ligatures_letters(lines, said, page_of):
    # Which has ligatures, and comes with a package on every machine.
    font = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    pdfmetrics.registerFont(TTFont("DejaVu", str(font)))

    def draw(canvas: Canvas) -> None:
        canvas.setFont("DejaVu", 10)
        for n, line in enumerate(lines):
            canvas.drawString(60, 700 - 12 * n, line if n else SAID[:60] + line)

    (section,) = page_of(drawn(draw)).sections
    assert said in section.text


def test_a_footnote_stands_behind_the_paragraph_that_names_it(page_of):
    def draw(canvas: Canvas) -> None:
        def write(y: float, size: float, text: str, mark: str = "") -> None:
            made = canvas.beginText(60, y)
            made.setFont("Helvetica", size)
            made.textOut(text)
            if mark:
                made.setFont("Helvetica", size * 0.6)
                made.setRise(size * 0.4)
                made.textOut(mark)
            canvas.drawText(made)

        write(700, 10, "A kite has a string.", "1")
        write(660, 10, "It is red, and so is the next one.")
        made = canvas.beginText(60, 80)
        made.setFont("Helvetica", 4.5)
        made.setRise(3)
        made.textOut("1")
        made.setRise(0)
        made.setFont("Helvetica", 7.5)
        made.textOut(" Of silk.")
        canvas.drawText(made)

    (section,) = page_of(drawn(draw)).sections
    assert section.text.split("\n\n") == [
        "A kite has a string.1",
        "1 Of silk.",
        "It is red, and so is the next one.",
    ]


def test_labels_and_what_a_file_says_of_itself(page_of):
    def draw(canvas: Canvas) -> None:
        for n in range(4):
            canvas.drawString(60, 700, f"Page {n}")
            canvas.showPage()
        canvas.addPageLabel(0, "ROMAN_LOWER", 1)
        canvas.addPageLabel(2, "ARABIC", 1, "A-")
        canvas.setTitle("Kites")
        canvas.setAuthor("Ann")

    page = page_of(drawn(draw, lang="en-GB"))
    assert tuple(page.labels) == ("i", "ii", "A-1", "A-2")
    assert page.metadata.items() >= {
        "title": "Kites", "author": "Ann", "language": "en-GB"
    }.items()  # fmt: skip
    assert page.metadata["created_at"].startswith("20")
    assert page.sections[0].headings == ("Kites",)


def test_an_attachment_is_told_and_a_comment_is_not_read(page_of, tmp_path):
    document = pypdfium2.PdfDocument(
        drawn(
            lambda canvas: (
                canvas.drawString(60, 700, "A red kite"),
                canvas.textAnnotation("Is it red?", (60, 600, 90, 630)),
            )
        )
    )
    document.new_attachment("list.csv").set_data(b"1")
    made = BytesIO()
    document.save(made)
    page = page_of(made.getvalue())
    assert [section.text for section in page.sections] == ["A red kite"]
    assert len(page.problems) == 1
    assert "'list.csv' is attached" in page.problems[0]


def scanned(n_words: int = 0, hides: bool = True) -> bytes:
    """Return a page that a picture covers, with words in it that may be invisible."""
    from PIL import Image
    from reportlab.lib.utils import ImageReader

    def draw(canvas: Canvas) -> None:
        picture = Image.effect_noise((300, 400), 40)
        canvas.drawImage(ImageReader(picture), 0, 0, *A4)
        text = canvas.beginText(60, 700)
        text.setTextRenderMode(3 if hides else 0)
        for n in range(n_words):
            text.textLine(f"Word number {n}")
        canvas.drawText(text)

    return drawn(draw)


def test_a_page_that_is_a_picture_is_a_scan_and_an_invisible_layer_is_text(page_of):
    (section,) = page_of(scanned()).sections
    assert (section.text, dict(section.about)) == ("", {"kind": "scan", "page": 1})
    (section,) = page_of(scanned(5)).sections
    assert section.text.startswith("Word number 0")
    assert "kind" not in section.about


def test_characters_that_say_nothing_are_a_scan_and_all_others_are_not(tmp_path):
    whole = flowing(*[(SAID * 3, BODY)] * 40)
    with pypdfium2.PdfDocument(whole) as document:
        assert not any(is_scan(page, text_of(page)) for page in document)
    text = b"BT /F1 12 Tf 72 700 Td <00240025002600270028> Tj ET"
    from tests.support.hostile_documents import pdf

    font = (
        b"<</Type/Font/Subtype/Type0/BaseFont/X/Encoding/Identity-H/DescendantFonts["
        b"<</Type/Font/Subtype/CIDFontType2/BaseFont/X/CIDSystemInfo<</Registry(Adobe)"
        b"/Ordering(Identity)/Supplement 0>>/DW 500>>]>>"
    )
    made = pdf(text * 4, font, resources="/Font<</F1 6 0 R>>")
    made = made.replace(b"/Font<</F1 5 0 R>>/Font", b"/Font")
    with pypdfium2.PdfDocument(made) as document:
        assert is_scan(document[0], text_of(document[0]))


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("user-password.pdf", "locked with a password"),
        ("empty.pdf", "it is empty"),
        ("html-inside.pdf", "it is no PDF"),
        ("truncated.pdf", "it is damaged"),
    ],
)
def test_what_cannot_be_read_is_told(name, why, tmp_path):
    CASES[name].make(tmp_path)
    with pytest.raises(DocumentUnreadable, match=why):
        read(tmp_path / name, How())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("owner-password.pdf", "Line 0 of page 1 is red."),
        ("no-xref.pdf", "Line 0 of page 1 is red."),
        ("junk-before.pdf", "Line 0 of page 1 is red."),
        ("page-tree.pdf", "A red page"),
        ("nested-q.pdf", "A red page"),
        ("draws-itself.pdf", "A red page"),
        ("200000-points.pdf", "A red page"),
    ],
)
def test_what_attacks_a_reader_is_read(name, said, tmp_path):
    CASES[name].make(tmp_path)
    page = read(tmp_path / name, How())
    assert said in "".join(section.text for section in page.sections)
    is_damaged = name in ("no-xref.pdf", "page-tree.pdf")
    assert bool(page.problems) == is_damaged


def test_a_truncated_file_gives_the_pages_that_it_has(page_of):
    whole = flowing(*[(paragraph(n), BODY) for n in range(40)])
    page = page_of(whole[: whole.rindex(b"xref\n0")].replace(b"/Catalog", b"/Nothing"))
    assert "does not say its pages" in page.problems[0]
    text = " ".join(section.text for section in page.sections)
    assert text.split() == " ".join(paragraph(n) for n in range(40)).split()


def test_pages_and_seconds_that_are_too_many_are_told(page_of, monkeypatch):
    whole = flowing(*[(paragraph(n), BODY) for n in range(40)])
    page = page_of(whole, How(pages=1))
    assert "the first 1 are read" in page.problems[0]
    assert {p.page for section in page.sections for p in section.places} == {1}
    page = page_of(whole, How(page_s=0))
    assert page.sections == ()
    assert "p. 1, 2, 3, 4, 5, 6: it took longer than 0 s" in page.problems[0]
    with pytest.raises(DocumentUnreadable, match="more than 99 bytes"):
        page_of(whole, How(most_bytes=99))


def test_a_page_that_draws_without_end_costs_its_file_what_comes_behind_it(tmp_path):
    file = tmp_path / "without-end.pdf"
    CASES["without-end.pdf"].make(tmp_path)
    child = Child(file_s=60, memory_bytes=768 << 20, file_bytes=1 << 30)
    with pytest.raises(DocumentUnreadable, match="takes far more time|memory"):
        child.page(file, "pdf.document", How(page_s=0.2))
    child.close()


def test_pages_that_are_damaged_are_one_line(page_of):
    page = page_of(pdf(b"", kids=(3, *range(40, 70))))
    (said,) = page.problems
    assert said.startswith("p. 2, 3, 4, ")
    assert "and 10 more: damaged and left out" in said


def test_spaces_that_are_left_out_of_what_is_drawn_at_once_are_told_by_place(page_of):
    """As groff sets them: `[(take) -350 (a) -350 (single)] TJ`, without a space."""
    words = [
        "take",
        "a",
        "single",
        "graph",
        "and",
        "break",
        "it",
        "apart",
        "into",
        "connected",
        "parts",
    ]

    def draw(canvas: Canvas) -> None:
        for line in range(12):
            canvas.setFont("Times-Roman", 10)
            text = canvas.beginText(60, 700 - 12 * line)
            shown = " -350 ".join(f"({word})" for word in words)
            text._code.append(f"[{shown}] TJ")
            canvas.drawText(text)

    (section,) = page_of(drawn(draw)).sections
    assert section.text.split() == words * 12


def test_form_that_is_printed_many_times_keeps_what_stands_in_it(page_of):
    def draw(canvas: Canvas) -> None:
        for n in range(6):
            canvas.drawString(60, 820, "Examination in kites")
            canvas.drawString(60, 600, "Write your name below, and tie no knots.")
            canvas.drawString(60, 500, f"What kite is this, and who flew it? {n}")
            canvas.drawString(60, 400, SAID)
            canvas.drawString(60, 340, f"Only {'abcdef'[n] * 3} was seen here.")
            canvas.drawString(60, 320, f"Nobody saw {'abcdef'[n] * 3} there.")
            canvas.drawString(60, 300, f"What of {'abcdef'[n] * 3} elsewhere?")
            canvas.showPage()

    text = " ".join(section.text for section in page_of(drawn(draw)).sections)
    assert text.count("tie no knots") == 6
    assert text.count(SAID.strip()) == 6
    assert "Examination" not in text


def test_heading_with_nothing_below_it_has_its_page(page_of):
    def draw(canvas: Canvas) -> None:
        for title in ("Strings", "Wind"):
            canvas.setFont("Helvetica-Bold", 24)
            canvas.drawString(60, 700, title)
            canvas.bookmarkPage(title)
            canvas.addOutlineEntry(title, title, 0)
            canvas.setFont("Helvetica", 10)
            canvas.showPage()
        canvas.drawString(60, 700, SAID)

    sections = page_of(drawn(draw)).sections
    assert [(s.headings, s.places[0].page) for s in sections] == [
        (("Strings",), 1),
        (("Wind",), 3),
    ]
