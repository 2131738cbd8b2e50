"""Pages of a PDF as pictures: for engines, for readers, and as names of themselves."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pypdfium2
import pytest
from PIL import Image
from reportlab.pdfgen import canvas

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.page import Section
from llama_index_mmrag.readers.pdf.document import read
from llama_index_mmrag.readers.pdf.drawn import digest_of, scan_of

from ..support.scanned import scanned


def drawn(file: Path, page: int = 1) -> Image.Image:
    (section,) = read(file, How(drawn=page)).sections
    (picture,) = section.pictures
    return Image.open(BytesIO(picture.data))


def section(file: Path, n: int = 1, *, is_first: bool = True, **how: str) -> Section:
    with pypdfium2.PdfDocument(file) as document:
        return scan_of(document[n - 1], n, How(**how), is_first=is_first)


def digest(file: Path, n: int = 1) -> str:
    with pypdfium2.PdfDocument(file) as document:
        return digest_of(document[n - 1])


def printed(file: Path, text: str, *, turn: int = 0, size: tuple[float, float]) -> Path:
    """Write a page with a line of text, and return its path."""
    page = canvas.Canvas(str(file), pagesize=size)
    page.drawString(20, 20, text)
    page.save()
    with pypdfium2.PdfDocument(file.read_bytes()) as document:
        document[0].set_rotation(turn)
        document.save(file)
    return file


def test_a_page_is_drawn_at_200_dots_an_inch_in_grey(tmp_path):
    file = scanned(tmp_path / "a.pdf", 10, 200)
    picture = drawn(file, 2)
    assert (picture.size, picture.mode) == ((1700, 2200), "L")
    assert picture.getpixel((850, 1100)) == pytest.approx(200, abs=2)


def test_a_sheet_of_any_size_has_a_picture_of_4000_pixels_at_most(tmp_path):
    sheet = printed(tmp_path / "a.pdf", "wide", size=(200_000, 100))
    assert drawn(sheet).size == (4000, 2)
    shown = Image.open(BytesIO(section(sheet).pictures[0].data))
    assert max(shown.size) == 1024


def test_a_turned_page_is_drawn_as_it_is_displayed(tmp_path):
    page = printed(tmp_path / "a.pdf", "turned", turn=90, size=(144, 288))
    assert drawn(page).size == (800, 400)


def test_a_page_that_is_not_there_is_told(tmp_path):
    file = scanned(tmp_path / "a.pdf", 10)
    with pytest.raises(DocumentUnreadable, match="no page 2"):
        read(file, How(drawn=2))


def test_pages_that_show_the_same_have_one_name_wherever_they_are(tmp_path):
    one = scanned(tmp_path / "one.pdf", 10, 20, 10)
    other = scanned(tmp_path / "other.pdf", 20)
    assert digest(one, 1) == digest(one, 3)
    assert digest(one, 2) == digest(other)
    assert digest(one, 1) != digest(one, 2)


def test_whatever_is_seen_on_a_page_is_in_its_name(tmp_path):
    # Digits are equally wide: nothing else than their looks tells them apart.
    looks = [
        digest(printed(tmp_path / "p.pdf", text, turn=turn, size=size))
        for text, turn, size in (
            ("pump 1", 0, (200, 100)),
            ("pump 7", 0, (200, 100)),
            ("pump 1", 180, (200, 100)),
            ("pump 1", 0, (200, 120)),
        )
    ]
    assert len(set(looks)) == 4
    picture = tmp_path / "p.png"
    Image.new("L", (50, 50), 10).save(picture)
    stamped = []
    for stamp in ("", "paid", "void"):
        page = canvas.Canvas(str(tmp_path / "p.pdf"), pagesize=(200, 100))
        page.drawImage(str(picture), 0, 0, 200, 100)
        page.setFillColorRGB(1, 1, 1)
        page.drawString(20, 20, stamp)
        page.save()
        stamped.append(digest(tmp_path / "p.pdf"))
    assert len(set(stamped)) == 3


@pytest.mark.parametrize(
    ("which", "is_first", "is_kept"),
    [
        ("first", True, True),
        ("first", False, False),
        ("all", False, True),
        ("none", True, False),
    ],
)
def test_a_page_s_picture_is_kept_as_asked(which, is_first, is_kept, tmp_path):
    file = scanned(tmp_path / "a.pdf", 10, 200)
    made = section(file, 2, is_first=is_first, page_pictures=which)
    assert made.name == ("scan", 2, digest(file, 2))
    assert made.about == {"kind": "scan", "page": 2}
    assert not made.text
    assert len(made.pictures) == is_kept
    for picture in made.pictures:
        assert picture.about["page"] == 2
        opened = Image.open(BytesIO(picture.data))
        assert (opened.format, opened.size) == ("WEBP", (792, 1024))
        assert opened.getpixel((400, 500)) == pytest.approx((200,) * 3, abs=3)
