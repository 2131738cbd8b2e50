"""What slides say and show, in the order in which they are read."""

from __future__ import annotations

from io import BytesIO
from zipfile import ZipFile

import docx
import pptx
import pytest
from lxml import etree
from PIL import Image
from pptx.chart.data import CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Cm

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.ingestion import read_file
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.pptx.document import read

COVER, WITH_TEXT, TWO_TEXTS, TITLE_ONLY, BLANK, WITH_PICTURE = 0, 1, 3, 5, 6, 8


def picture(colour="red", size=(60, 40), kind="PNG"):
    made = BytesIO()
    drawn = Image.new("RGB", size, colour)
    drawn.paste("blue", (0, 0, size[0] // 2, size[1]))
    drawn.save(made, kind)
    made.seek(0)
    return made


def write(slide, text, left, top, width=6.0, height=1.0):
    box = slide.shapes.add_textbox(Cm(left), Cm(top), Cm(width), Cm(height))
    box.text_frame.text = text


def show_picture(shapes, left, top, colour="red", alt="", width=6):
    made = shapes.add_picture(picture(colour), Cm(left), Cm(top), Cm(width))
    made._element.nvPicPr.cNvPr.set("descr", alt)
    return made


@pytest.fixture
def show():
    return pptx.Presentation()


@pytest.fixture
def slide_of(show):
    def added(layout=BLANK, title=""):
        slide = show.slides.add_slide(show.slide_layouts[layout])
        if title:
            slide.shapes.title.text = title
        return slide

    return added


@pytest.fixture
def page(show, tmp_path):
    def of(**limits):
        show.save(tmp_path / "a.pptx")
        made = read(tmp_path / "a.pptx", How(**limits))
        return [*made.sections], made

    return of


@pytest.fixture
def captions(page):
    def of():
        sections, _ = page()
        links = [link for section in sections for link in section.pictures]
        return [(link.alt, link.figcaption) for link in links]

    return of


def rewritten(file, name, change):
    with ZipFile(file) as packed:
        held = {one: packed.read(one) for one in packed.namelist()}
    held[name] = change(held[name])
    with ZipFile(file, "w") as packed:
        for one, data in held.items():
            packed.writestr(one, data)


def test_a_slide_is_a_section_below_its_deck(show, slide_of, page):
    show.core_properties.title = "Of last year"
    slide_of(COVER, "Pies").placeholders[1].text = "of Kent"
    second = slide_of(WITH_TEXT, "Crust")
    second.placeholders[1].text = "Flour"
    second.placeholders[1].text_frame.add_paragraph().text = "Salt"
    second.placeholders[1].text_frame.paragraphs[1].level = 1
    second.notes_slide.notes_text_frame.text = "Say it slowly."
    third = slide_of(WITH_TEXT, "Crust")
    third.placeholders[1].text = "Again"
    third._element.set("show", "0")
    slide_of()
    write(slide_of(), "No title", 1, 1)
    sections, made = page()
    crust = ("Pies", "Crust")
    assert [(s.headings, s.text, dict(s.about)) for s in sections] == [
        (("Pies",), "of Kent", {"slide": 1}),
        (crust, "Flour\n- Salt", {"slide": 2}),
        (crust, "Notes: Say it slowly.", {"slide": 2, "kind": "notes"}),
        (crust, "Again", {"slide": 3, "kind": "hidden slide"}),
        (("Pies",), "No title", {"slide": 5}),
    ]
    assert sections[1].name == sections[2].name == ("slide", crust, 0)
    assert sections[3].name == ("slide", crust, 1)
    assert made.metadata["title"] == "Of last year"
    assert made.metadata["language"] == "en-US"


def test_shapes_are_read_by_columns_whatever_was_drawn_first(slide_of, page):
    slide = slide_of(TITLE_ONLY, "T")
    write(slide, "foot", 2, 16, width=21)
    write(slide, "right 2", 13, 9)
    write(slide, "left 2", 2, 9)
    write(slide, "right 1", 13, 5)
    write(slide, "left 1", 2, 5)
    write(slide, "head", 2, 3.5, width=21)
    ((section,), _) = page()
    assert section.text.split("\n\n") == [
        *("head", "left 1", "left 2", "right 1", "right 2", "foot")
    ]


def test_a_caption_is_the_text_next_below(slide_of, captions):
    slide = slide_of(TITLE_ONLY, "T")
    show_picture(slide.shapes, 2, 4, "red", "A")
    show_picture(slide.shapes, 9, 4, "green", "B")
    show_picture(slide.shapes, 16, 4, "white", "C")
    write(slide, "Not of A", 2, 10)
    write(slide, "Below both", 2, 8.2, width=12)
    write(slide, "Beside", 23, 4, width=2)
    show_picture(slide.shapes, 16, 12, "black", "D")
    write(slide, "Figure 4: D", 9, 12)
    assert captions() == [
        ("A", "Below both"), ("B", "Below both"), ("C", "Figure 4: D"),
        ("D", "Figure 4: D"),
    ]  # fmt: skip


def test_captions_that_are_wider_than_their_pictures_are_told_apart(slide_of, captions):
    slide = slide_of(TITLE_ONLY, "T")
    for alt, left in (("B", 12), ("A", 2)):
        show_picture(slide.shapes, left, 4, alt=alt, colour=("red", "green")[left == 2])
        write(slide, f"{alt} is here", left, 8.2, width=13)
    assert sorted(captions()) == [("A", "A is here"), ("B", "B is here")]


def test_groups_crops_and_placeholders_are_shown_as_displayed(slide_of, page):
    slide = slide_of(TITLE_ONLY, "T")
    group = slide.shapes.add_group_shape()
    inner = group.shapes.add_group_shape()
    made = show_picture(inner.shapes, 4, 5, alt="A")
    made.crop_left, made.crop_bottom = 0.5, 0.25
    below = inner.shapes.add_textbox(Cm(4), Cm(9.2), Cm(6), Cm(1))
    below.text_frame.text = "Below it"
    # A group that is shown at half its size, further to the right.
    group.left, group.width, group.height = Cm(12), group.width // 2, group.height // 2
    held = slide_of(WITH_PICTURE, "Held")
    held.placeholders[1].insert_picture(picture("green"))
    held.placeholders[2].text = "As its layout has it"
    (first, second), _ = page()
    (link,) = first.pictures
    with Image.open(BytesIO(link.data)) as shown:
        assert shown.size == (30, 30)
        assert shown.convert("RGB").getpixel((1, 1))[0] > 200
    assert (link.alt, link.figcaption) == ("A", "Below it")
    box = [12 / 25.4, 5 / 19.05, 15 / 25.4, 7 / 19.05]
    assert link.about["box"] == pytest.approx(box)
    assert (link.about["slide"], link.about["kind"]) == (1, "figure")
    assert [one.figcaption for one in second.pictures] == ["As its layout has it"]


def test_pictures_of_the_layout_and_those_on_many_slides_are_not(show, slide_of, page):
    layout = show.slide_layouts[TITLE_ONLY]
    _, id_ = layout.part.get_or_add_image_part(picture("white"))
    shape = show_picture(slide_of(TITLE_ONLY, "T1").shapes, 2, 4)._element
    shape.blipFill.blip.rEmbed = id_
    layout.shapes._spTree.append(shape)
    for n in range(2, 8):
        slide = slide_of(TITLE_ONLY, f"T{n}")
        show_picture(slide.shapes, 2, 4, "black")
        show_picture(slide.shapes, 20, 18, ("red", "green")[n % 2], width=1)
    show_picture(slide.shapes, 2, 10, "yellow", "once")
    sections, _ = page()
    assert [link.alt for one in sections for link in one.pictures] == ["once"]


def test_tables_and_charts_are_tables(slide_of, page):
    slide = slide_of(TITLE_ONLY, "T")
    grid = slide.shapes.add_table(3, 2, Cm(2), Cm(4), Cm(9), Cm(3)).table
    for y, row in enumerate((("a", ""), ("b|c", "d"), ("", "e"))):
        for x, cell in enumerate(row):
            grid.cell(y, x).text = cell
    grid.cell(0, 0).merge(grid.cell(0, 1))
    grid.cell(1, 0).merge(grid.cell(2, 0))
    data = CategoryChartData()
    data.categories = ["2024", "2025"]
    data.add_series("Kent", (1.5, None))
    data.add_series("York", (2, 3))
    at = (Cm(2), Cm(9), Cm(9), Cm(4))
    chart = slide.shapes.add_chart(XL_CHART_TYPE.LINE, *at, data).chart
    chart.chart_title.text_frame.text = "Pies"
    dots = XyChartData()
    dots.add_series("Dots").add_data_point(0.7, 2.5)
    at = (Cm(2), Cm(14), Cm(9), Cm(4))
    slide.shapes.add_chart(XL_CHART_TYPE.XY_SCATTER, *at, dots)
    ((section,), _) = page()
    assert section.text == (
        "| a |  |\n| --- | --- |\n| b\\|c | d |\n|  | e |\n\nPies\n\n"
        "|  | Kent | York |\n| --- | --- | --- |\n| 2024 | 1.5 | 2 |\n"
        "| 2025 |  | 3 |\n\n|  | Dots |\n| --- | --- |\n| 0.7 | 2.5 |"
    )


def test_fall_backs_are_used_and_what_is_left_out_is_told(slide_of, page, tmp_path):
    slide = slide_of(TITLE_ONLY, "T")
    shape = show_picture(slide.shapes, 2, 4, alt="A")._element
    versions = etree.fromstring(
        '<mc:AlternateContent xmlns:mc="http://schemas.openxmlformats.org/'
        'markup-compatibility/2006"><mc:Choice Requires="x"/><mc:Fallback/>'
        "</mc:AlternateContent>"
    )
    shape.addprevious(versions)
    versions[1].append(shape)
    for target in ("http://127.0.0.1:9/a.png", "file:///etc/hostname"):
        blip = show_picture(slide.shapes, 10, 4)._element.blipFill.blip
        id_ = slide.part.relate_to(target, "http://x/image", is_external=True)
        blip.attrib.clear()
        blip.set("{http://schemas.openxmlformats.org/officeDocument/2006/"
                 "relationships}link", id_)  # fmt: skip
    slide.shapes.add_movie(
        BytesIO(b"video"), Cm(2), Cm(9), Cm(6), Cm(4), picture("green")
    )
    slide.shapes.add_ole_object(
        BytesIO(b"PK"), "Excel.Sheet.12", Cm(12), Cm(9), Cm(6), Cm(4),
        icon_file=picture("black"),
    )  # fmt: skip
    ((section,), made) = page()
    assert [link.alt for link in section.pictures] == ["A", "", ""]
    assert [problem.partition(" (")[0][:32] for problem in made.problems] == [
        "2 pictures are linked and not in",
        "1 video is shown by a picture an",
        "1 object of other programs",
    ]


def test_a_slide_that_is_broken_costs_itself(slide_of, page, tmp_path):
    for n in (1, 2, 3):
        slide_of(TITLE_ONLY, f"T{n}")
    sections, made = page(pages=2)
    assert [section.headings for section in sections] == [("T1",), ("T2",)]
    assert made.problems == ["1 of 3 slides are left out. Raise ReadLimits.pages."]
    file = tmp_path / "a.pptx"
    rewritten(file, "ppt/slides/slide2.xml", lambda data: data[:-90])
    made = read(file, How())
    assert [section.headings for section in made.sections] == [("T1",), ("T3",)]
    (problem,) = made.problems
    assert problem.startswith("Slide 2 is left out: Cannot read")
    rewritten(file, "ppt/slides/slide2.xml", lambda data: b"<!DOCTYPE a><a/>")
    made = read(file, How())
    assert [section.headings for section in made.sections] == [("T1",), ("T3",)]
    assert "document type" in made.problems[0]


def test_what_is_no_deck_is_told(page, tmp_path, slide_of):
    with pytest.raises(DocumentUnreadable, match="it has no slides"):
        page()
    docx.Document().save(tmp_path / "b.pptx")
    with pytest.raises(DocumentUnreadable, match="a zip, and no presentation"):
        read(tmp_path / "b.pptx", How())
    slide_of()
    page()
    rewritten(tmp_path / "a.pptx", "ppt/slides/slide1.xml", lambda _: b"<a")
    made = read(tmp_path / "a.pptx", How())
    with pytest.raises(DocumentUnreadable, match=r"slide1.xml' in it is broken"):
        list(made.sections)


def test_a_drawing_of_thousands_of_shapes_is_read_at_once(slide_of, page):
    slide = slide_of(BLANK)
    write(slide, "one", 0, 0, 0.1, 0.1)
    (shape,) = slide.shapes._spTree.iterchildren("{*}sp")
    written = etree.tostring(shape)
    for _ in range(3000):
        slide.shapes._spTree.append(etree.fromstring(written))
    ((section,), _) = page()
    assert section.text.count("one") == 3001


def test_slides_become_nodes(slide_of, page, tmp_path):
    slide = slide_of(TITLE_ONLY, "Pie")
    show_picture(slide.shapes, 4, 5, alt="A red pie")
    write(slide, "Figure 1: The pie", 4, 9.2)
    slide.notes_slide.notes_text_frame.text = "Say it slowly."
    page()
    nodes = read_file(tmp_path / "a.pptx").nodes
    assert [node.get_content() for node in nodes] == [
        "Pie\n\nA red pie\n\nFigure 1: The pie",
        "A red pie. Figure 1: The pie",
        "Pie\n\nNotes: Say it slowly.",
    ]
    assert [node.metadata["slide"] for node in nodes] == [1, 1, 1]
    assert [node.metadata.get("kind") for node in nodes] == [None, "figure", "notes"]
    assert len({node.metadata["entity_id"] for node in nodes}) == 1
