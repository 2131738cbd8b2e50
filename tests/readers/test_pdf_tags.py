"""A tagged PDF is read by its tags, wherever they have its words stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.page import Page
from llama_index_mmrag.readers.pdf.document import read
from tests.support.hostile_documents import stream


@dataclass(frozen=True)
class Said:
    """A marked content: text, or a picture, on a page from 0."""

    text: str
    page: int = 0
    size: int = 12


@dataclass(frozen=True)
class Tag:
    """An element of the tree."""

    kind: str
    inner: tuple[Tag | Said, ...]
    more: str = ""


def tag(kind: str, *inner: Tag | Said | str, more: str = "") -> Tag:
    its = (Said(it) if isinstance(it, str) else it for it in inner)
    return Tag(kind, tuple(its), more)


def tagged(*tags: Tag, untagged: str = "") -> bytes:
    """Return a PDF; what the tags say is drawn on its pages from the bottom up."""
    drawn: list[list[tuple[Said, int]]] = [[], []]
    elements: list[str] = []

    def number(tag: Tag, parent: int) -> int:
        at = len(elements)
        elements.append("")
        kids = []
        for it in tag.inner:
            if isinstance(it, Tag):
                kids.append(f"{20 + number(it, at)} 0 R")
            else:
                mcid = len(drawn[it.page])
                drawn[it.page].append((it, at))
                kids.append(f"<</Type/MCR/Pg {3 + it.page} 0 R/MCID {mcid}>>")
        elements[at] = (
            f"<</Type/StructElem/S/{tag.kind}/P {20 + parent if parent >= 0 else 9} 0 R"
            f"/K[{' '.join(kids)}]{tag.more}>>"
        )
        return at

    tops = [number(tag, -1) for tag in tags]
    contents = []
    for its in drawn:
        parts = [b"BT /F1 12 Tf 60 780 Td (%b) Tj ET\n" % untagged.encode()]
        for mcid, (said, _) in enumerate(its):
            y = 60 + 20 * mcid
            show = f"BT /F1 {said.size} Tf 60 {y} Td ({said.text}) Tj ET"
            if said.text == "picture":
                show = f"q 200 0 0 150 60 {y + 200} cm /I Do Q"
            parts.append(f"/X <</MCID {mcid}>> BDC {show} EMC\n".encode())
        contents.append(stream(b"".join(parts)))
    picture = BytesIO()
    Image.effect_noise((200, 150), 60).convert("RGB").save(picture, "JPEG")
    nums = " ".join(
        f"{n} [{' '.join(f'{20 + at} 0 R' for _, at in its)}]"
        for n, its in enumerate(drawn)
    )
    page = (
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents {} 0 R/StructParents "
        "{}/Resources<</Font<</F1 7 0 R>>/XObject<</I 8 0 R>>>>>>"
    )
    objects = {
        1: b"<</Type/Catalog/Pages 2 0 R/MarkInfo<</Marked true>>/StructTreeRoot 9 0 R"
        b">>",
        2: b"<</Type/Pages/Count 2/Kids[3 0 R 4 0 R]>>",
        3: page.format(5, 0).encode(),
        4: page.format(6, 1).encode(),
        5: contents[0],
        6: contents[1],
        7: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        8: stream(
            picture.getvalue(),
            "/Type/XObject/Subtype/Image/Width 200/Height 150/ColorSpace/DeviceRGB"
            "/BitsPerComponent 8/Filter/DCTDecode",
        ),
        9: f"<</Type/StructTreeRoot/ParentTree<</Nums[{nums}]>>/K["
        f"{' '.join(f'{20 + at} 0 R' for at in tops)}]>>".encode(),
        **{20 + at: said.encode() for at, said in enumerate(elements)},
    }
    made = b"%PDF-1.7\n"
    for n, said in objects.items():
        made += b"%d 0 obj\n%b\nendobj\n" % (n, said)
    return made + b"trailer<</Root 1 0 R/Size 999>>\n%%EOF"


@pytest.fixture
def page_of(tmp_path):
    def made(*tags: Tag, untagged: str = "") -> Page:
        Path(tmp_path, "a.pdf").write_bytes(tagged(*tags, untagged=untagged))
        page = read(tmp_path / "a.pdf", How())
        return replace(page, sections=tuple(page.sections))

    return made


def test_order_and_headings_are_the_tags(page_of):
    page = page_of(
        tag("H1", "Kites"),
        tag("Div", tag("P", "Kites are ", tag("Span", "red"), " things.")),
        tag("H2", "Strings"),
        tag("P", "They are long."),
        tag("BlockQuote", tag("P", "Fly it.")),
    )
    assert [(section.headings, section.text) for section in page.sections] == [
        (("Kites",), "Kites are\nred\nthings.".replace("\n", " ")),
        (("Kites", "Strings"), "They are long.\n\nFly it."),
    ]
    assert [place.page for place in page.sections[1].places] == [1, 1]


def test_a_paragraph_that_its_tag_has_on_two_pages_is_one(page_of):
    page = page_of(
        tag("P", Said("The wind is"), Said("warm today.", page=1)),
        tag("P", Said("It is red.", page=1)),
    )
    (section,) = page.sections
    assert section.text == "The wind is warm today.\n\nIt is red."
    assert [place.page for place in section.places] == [1, 2, 2]


def test_lists_have_their_marks_and_a_note_stands_behind_its_paragraph(page_of):
    page = page_of(
        tag(
            "L",
            tag("LI", tag("Lbl", "*"), tag("LBody", tag("P", "One"))),
            tag(
                "LI",
                *(tag("Lbl", "*"), tag("LBody", tag("P", "Two"))),
                tag("L", tag("LI", tag("Lbl", "a"), tag("LBody", "Deep"))),
            ),
        ),
        tag("P", "A kite has a string", tag("Note", "Of silk.")),
        tag("P", "And a tail."),
    )
    (section,) = page.sections
    assert section.text == (
        "- One\n- Two\n  a Deep\n\nA kite has a string\n\nOf silk.\n\nAnd a tail."
    )


def test_cells_that_span_are_written_once_and_a_table_on_two_pages_is_one(page_of):
    page = page_of(
        tag(
            "Table",
            tag("Caption", "Table 1: Kites"),
            tag(
                "THead",
                tag("TR", tag("TH", "Both", more="/A<</O/Table/ColSpan 2>>")),
            ),
            tag("TR", tag("TD", "red"), tag("TD", "12")),
            tag("TR", tag("TD", Said("blue", page=1)), tag("TD", Said("7", page=1))),
        ),
    )
    (section,) = page.sections
    assert section.text.split("\n\n") == [
        "Table 1: Kites",
        "| Both |  |\n| --- | --- |\n| red | 12 |\n| blue | 7 |",
    ]
    places = {section.text[place.start :][:6]: place.page for place in section.places}
    assert places == {"Table ": 1, "| Both": 1, "| blue": 2}


def test_a_figure_has_the_alt_text_and_caption_of_its_tag(page_of):
    page = page_of(
        tag("H1", "Kites"),
        tag(
            "Figure",
            tag("Figure", "picture", more="/Alt(A red kite)"),
            tag("Caption", tag("P", "One that flies")),
        ),
        tag("P", "It is red."),
    )
    (section,) = page.sections
    (link,) = section.pictures
    assert (link.alt, link.figcaption) == ("A red kite", "One that flies")
    assert (link.about["page"], link.about["kind"]) == (1, "figure")
    assert link.about["box"] == pytest.approx([0.1, 0.4625, 13 / 30, 0.65], abs=0.01)
    assert section.text == "A red kite\n\nOne that flies\n\nIt is red."


def test_what_few_tags_name_is_read_by_its_place(page_of):
    words = "This stands at the top of the page and no tag names it in any way"
    page = page_of(tag("P", "Second"), tag("P", "First"), untagged=words)
    assert [section.text.split("\n\n") for section in page.sections] == [
        [words, "First", "Second", words]
    ]


def test_what_tags_leave_out_comes_last(page_of):
    long = [f"Of kite {n} there is more to say than of all else." for n in range(9)]
    page = page_of(*(tag("P", text) for text in long), untagged="7 of 9")
    assert page.sections[0].text.split("\n\n") == [*long, "7 of 9", "7 of 9"]
