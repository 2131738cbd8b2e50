"""DOCX and PPTX of a book."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import docx
from documents_book import Block, Figure, Heading, Made, Paragraph, Table
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import Part
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls, qn
from docx.shared import Inches

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


def word(blocks: list[Block], file: Path) -> Made:
    """Make a DOCX with what its library does not write by itself.

    Footnotes, and of the paragraphs one in eight a tracked insertion behind what was
    deleted, one a content control and one in a text box; comments, running heads.
    """
    document = docx.Document()
    document.sections[0].header.paragraphs[0].text = "Not to be passed on"
    document.sections[0].footer.paragraphs[0].text = "Draft of Monday"
    notes: list[str] = []
    for n, block in enumerate(blocks):
        if isinstance(block, Heading):
            document.add_heading(block.text, block.level)
        elif isinstance(block, Paragraph):
            _paragraph(document, block, n % 8)
            if block.note:
                notes.append(block.note)
        elif isinstance(block, Figure):
            document.add_picture(str(block.file), width=Inches(3.5))
            shape = document.inline_shapes[-1]._inline.docPr
            shape.set("descr", block.alt)
            document.add_paragraph(block.caption, "Caption")
        else:
            document.add_paragraph(block.caption, "Caption")
            _table(document, block)
    _add_notes(document, notes)
    document.save(str(file))
    return Made(file, blocks)


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
                f"</w:r><w:r><w:t/></w:r></w:p></w:footnote>"
            )
        )
        next(root[-1].iter(qn("w:t"))).text = note
    from lxml import etree

    part = Part(
        PackURI("/word/footnotes.xml"),
        _FOOTNOTES,
        etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True),
        document.part.package,
    )
    document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)
