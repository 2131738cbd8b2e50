"""DOCX and PPTX of a book."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import docx
import pptx
from documents_book import Block, Figure, Heading, Made, Paragraph, Table, pictures_of
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls, qn
from docx.shared import Inches
from lxml import etree
from PIL import Image, ImageDraw
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Cm

_FOOTNOTES = (
    "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
)
_BOX = (
    '<w:r {ns} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    ' xmlns:v="urn:schemas-microsoft-com:vml"><mc:AlternateContent><mc:Choice Requires='
    '"wps"/><mc:Fallback><w:pict><v:shape style="width:300pt;height:60pt"><v:textbox>'
    "<w:txbxContent><w:p><w:r><w:t/></w:r></w:p></w:txbxContent></v:textbox></v:shape>"
    "</w:pict></mc:Fallback></mc:AlternateContent></w:r>"
)


def word(blocks: list[Block], file: Path, *, is_plain: bool = False) -> Made:
    """Make a DOCX with what its library does not write by itself.

    Footnotes, and of the paragraphs one in eight a tracked insertion behind what was
    deleted, one a content control and one in a text box; comments, running heads.

    Args:
        blocks: What is in it.
        file: Where it goes.
        is_plain: Whether it has none of these but footnotes: what prints it would leave
            some out, and count captions anew.
    """
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "Not to be passed on"
    document.sections[0].footer.paragraphs[0].text = "Draft of Monday"
    notes: list[str] = []
    for n, block in enumerate(blocks):
        if isinstance(block, Heading):
            document.add_heading(block.text, block.level)
        elif isinstance(block, Paragraph):
            _paragraph(document, block, 0 if is_plain else n % 8)
            if block.note:
                notes.append(block.note)
        elif isinstance(block, Figure):
            shown = document.add_paragraph()
            for one in pictures_of(block):
                shape = shown.add_run().add_picture(str(one.file), width=Inches(2.5))
                shape._inline.docPr.set("descr", one.alt)
            _caption(document, block.caption, 1 if is_plain else n % 3)
        else:
            _caption(document, block.caption, 1 if is_plain else n % 3)
            _table(document, block)
    _add_notes(document, notes)
    document.save(str(file))
    return Made(file, blocks)


def _caption(document: Any, text: str, kind: int) -> None:
    """Add a caption by its style, or by a field that counts, as Word writes both."""
    if kind:
        document.add_paragraph(text, "Caption")
        return
    label, number, said = re.split(r"(?<=\.)(\d+)", text, maxsplit=1)
    added = document.add_paragraph(label)
    field = f"<w:fldSimple {nsdecls('w')} w:instr=' SEQ x \\* ARABIC '>"
    added._p.append(parse_xml(f"{field}<w:r><w:t/></w:r></w:fldSimple>"))
    next(added._p.iter(qn("w:fldSimple")))[0][0].text = number
    added.add_run(said)


def _paragraph(document: Any, block: Paragraph, kind: int) -> None:
    added = document.add_paragraph()
    run = added.add_run("" if kind == 3 else block.text)
    if block.note:
        reference = parse_xml(
            f"<w:r {nsdecls('w')}><w:rPr><w:vertAlign w:val='superscript'/></w:rPr>"
            f"<w:footnoteReference w:id='{block.number}'/></w:r>"
        )
        added._p.append(reference)
    if kind == 1:
        inserted = parse_xml(f"<w:ins {nsdecls('w')} w:id='1' w:author='A'/>")
        run._r.addprevious(inserted)
        inserted.append(run._r)
        inserted.addprevious(
            parse_xml(
                f"<w:del {nsdecls('w')} w:id='2' w:author='A'><w:r><w:delText>"
                f"What was deleted.</w:delText></w:r></w:del>"
            )
        )
    elif kind == 2:
        control = parse_xml(f"<w:sdt {nsdecls('w')}><w:sdtPr/><w:sdtContent/></w:sdt>")
        added._p.addprevious(control)
        control[-1].append(added._p)
    elif kind == 3:
        box = parse_xml(_BOX.format(ns=nsdecls("w")))
        next(box.iter(qn("w:t"))).text = block.text
        run._r.addprevious(box)
    elif kind == 5:
        document.add_comment(run, "Is this right?", author="A")


def _table(document: Any, table: Table) -> None:
    made = document.add_table(len(table.rows), len(table.rows[0]), "Table Grid")
    for y, row in enumerate(table.rows):
        for x, cell in enumerate(row):
            if cell:
                made.cell(y, x).text = cell
            else:
                made.cell(y, x - 1).merge(made.cell(y, x))
    document.add_paragraph()


def _add_notes(document: Any, notes: list[str]) -> None:
    root = parse_xml(f"<w:footnotes {nsdecls('w')}/>")
    for n, note in enumerate(notes, 1):
        root.append(
            parse_xml(
                f"<w:footnote {nsdecls('w')} w:id='{n}'><w:p><w:r><w:footnoteRef/>"
                f"</w:r><w:r><w:t xml:space='preserve'/></w:r></w:p></w:footnote>"
            )
        )
        next(root[-1].iter(qn("w:t"))).text = f" {note}"
    part = Part(
        PackURI("/word/footnotes.xml"),
        _FOOTNOTES,
        etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True),
        document.part.package,
    )
    document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)


def slides(blocks: list[Block], file: Path) -> Made:
    """Make a PPTX: two paragraphs, a figure or a table a slide, a logo on each.

    Of the figures one in four is in a group with its caption, one is cropped and one in
    a placeholder; of the tables one in three is a chart. Footnotes are speaker notes.
    """
    show = pptx.Presentation()
    logo = file.with_suffix(".png")
    small_logo().save(logo)
    made = Made(file, [], logo=logo)
    title, waiting = "", list[Paragraph]()
    n_figures = n_tables = 0
    for block in [*blocks, Heading("", 1)]:
        if waiting and (not isinstance(block, Paragraph) or len(waiting) == 2):
            slide = _slide(show, made, title, 1)
            slide.placeholders[1].text = "\n".join(one.text for one in waiting)
            made.blocks += [replace(one, note="") for one in waiting]
            if said := " ".join(one.note for one in waiting if one.note):
                slide.notes_slide.notes_text_frame.text = said
                made.blocks.append(Paragraph(said))
            waiting = []
        if isinstance(block, Heading):
            title = block.text
        elif isinstance(block, Paragraph):
            waiting.append(block)
        elif isinstance(block, Figure):
            _figure(show, made, title, block, n_figures % 4)
            n_figures += 1
        else:
            _sheet(show, made, title, block, is_chart=n_tables % 3 == 1)
            n_tables += 1
    show.save(str(file))
    made.n_pages = len(show.slides)
    return made


def small_logo() -> Image.Image:
    picture = Image.new("RGB", (90, 60), "navy")
    ImageDraw.Draw(picture).ellipse((20, 10, 70, 50), fill="gold")
    return picture


def _slide(show: Any, made: Made, title: str, layout: int) -> Any:
    slide = show.slides.add_slide(show.slide_layouts[layout])
    # A title of its own: sections are told apart by it.
    said = f"{title} {len(show.slides)}"
    slide.shapes.title.text = said
    made.blocks.append(Heading(said, 1))
    slide.shapes.add_picture(str(made.logo), Cm(22), Cm(17), Cm(2))
    return slide


def _figure(show: Any, made: Made, title: str, figure: Figure, kind: int) -> None:
    assert figure.file is not None
    slide = _slide(show, made, title, 8 if kind == 3 else 5)
    shapes = slide.shapes
    if kind == 3:
        picture = slide.placeholders[1].insert_picture(str(figure.file))
        slide.placeholders[2].text = figure.caption
    else:
        if kind == 1:
            shapes = shapes.add_group_shape().shapes
        picture = shapes.add_picture(str(figure.file), Cm(4), Cm(4.5), width=Cm(10))
        under = picture.top + picture.height + Cm(0.2)
        below = shapes.add_textbox(Cm(4), under, Cm(14), Cm(2))
        below.text_frame.word_wrap = True
        below.text_frame.text = figure.caption
        far = slide.shapes.add_textbox(Cm(19), Cm(4.5), Cm(5), Cm(2))
        far.text_frame.text = "As shown before"
        made.allowed += " As shown before"
    if kind == 2:
        picture.crop_left, picture.crop_bottom = 0.25, 0.1
        picture.width, picture.height = (
            int(picture.width * 0.75),
            int(picture.height * 0.9),
        )
    picture._element.nvPicPr.cNvPr.set("descr", figure.alt)
    shown = Image.open(figure.file)
    box = (
        picture.crop_left * shown.width,
        picture.crop_top * shown.height,
        (1 - picture.crop_right) * shown.width,
        (1 - picture.crop_bottom) * shown.height,
    )
    if picture.crop_left or picture.crop_top:
        whole = f"{figure.file.stem}.shown.png"
        figure = replace(figure, file=made.file.parent / whole)
        shown.crop(tuple(map(round, box))).save(str(figure.file))
    made.blocks.append(figure)
    made.places.append((len(show.slides), None))


def _sheet(show: Any, made: Made, title: str, table: Table, *, is_chart: bool) -> None:
    slide = _slide(show, made, title, 5)
    above = slide.shapes.add_textbox(Cm(2), Cm(4), Cm(20), Cm(1))
    above.text_frame.text = table.caption
    place = Cm(2), Cm(6), Cm(18), Cm(8)
    if is_chart:
        data = CategoryChartData()
        data.categories = [row[0] for row in table.rows[1:]]
        series = [float(row[1]) for row in table.rows[1:]]
        data.add_series("Men", series)
        slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, *place, data)
        rows = (("", "Men"), *((row[0], row[1]) for row in table.rows[1:]))
        made.blocks.append(replace(table, rows=rows))
        return
    grid = slide.shapes.add_table(len(table.rows), len(table.rows[0]), *place).table
    for y, row in enumerate(table.rows):
        for x, cell in enumerate(row):
            if cell:
                grid.cell(y, x).text = cell
            else:
                grid.cell(y, x - 1).merge(grid.cell(y, x))
    made.blocks.append(table)
