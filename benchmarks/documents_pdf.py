"""PDF of a book by three producers: ReportLab, Chromium's print and LibreOffice."""

from __future__ import annotations

import random
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pdfplumber
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from documents_book import (
    Block,
    Figure,
    Heading,
    Made,
    Paragraph,
    Place,
    Table,
    pictures_of,
)
from documents_web import SYLLABLE, html
from PIL import Image
from reportlab import rl_config
from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.shapes import Drawing
from reportlab.lib.colors import black
from reportlab.lib.enums import TA_JUSTIFY
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    KeepTogether,
    PageBreak,
    PageTemplate,
    Spacer,
)
from reportlab.platypus import Paragraph as Text
from reportlab.platypus import Table as Grid

FONTS = Path("/usr/share/fonts/truetype/liberation2")
WIDTH, HEIGHT = A4
MARGIN, GAP, FOOT = 60.0, 18.0, 140.0
"""Points; FOOT is what a page leaves free for footnotes, where there are any."""
PLAIN = {
    "Regular": "Helvetica",
    "Bold": "Helvetica-Bold",
    "Italic": "Helvetica-Oblique",
}
RULES = {
    "drawn": [("GRID", (0, 0), (-1, -1), 0.5, black)],
    "three": [
        ("LINEABOVE", (0, 0), (-1, 0), 1, black),
        ("LINEBELOW", (0, 0), (-1, 0), 0.5, black),
        ("LINEBELOW", (0, -1), (-1, -1), 1, black),
    ],
    "none": [],
}
rl_config.useA85 = 0


def divided(word: str) -> Iterator[tuple[str, str]]:
    """Yield the two parts of a word, the longest first part first."""
    for at in reversed([match.start() for match in SYLLABLE.finditer(word)]):
        yield word[:at], word[at:]


_IN_CHARTS = "Q R S T U V 0 10 20 30 40 50 60 70 80 90 100"


class Shown(Flowable):
    """Pictures beside each other, or a drawing, that know where they came to stand."""

    def __init__(self, figures: list[Figure], n: int, most: float, pieces: int) -> None:
        super().__init__()
        self.figures, self.n, self.pieces = figures, n, pieces
        self.hAlign = "CENTER"
        self.width = min(most, 300.0)
        self.each = (self.width - GAP * (len(figures) - 1)) / len(figures)
        self.heights = [self.each * _aspect(figure) for figure in figures]
        self.height = max(self.heights)

    def wrap(self, *_: float) -> tuple[float, float]:
        """Return width and height."""
        return self.width, self.height

    def draw(self) -> None:
        """Draw it."""
        canvas = self.canv
        for at, figure in enumerate(self.figures):
            left, height = at * (self.each + GAP), self.heights[at]
            x, y = canvas.absolutePosition(left, 0)
            right, top = (x + self.each) / WIDTH, 1 - (y + height) / HEIGHT
            box = x / WIDTH, top, right, 1 - y / HEIGHT
            canvas.places[self.n + at] = canvas.getPageNumber(), box
            if figure.file is None:
                self._chart()
            elif self.pieces < 2:
                size = self.each, height
                canvas.drawImage(str(figure.file), left, 0, *size, mask="auto")
            else:
                self._cut(Image.open(figure.file).convert("RGB"))

    def _cut(self, whole: Image.Image) -> None:
        edges = [whole.height * n // self.pieces for n in range(self.pieces + 1)]
        scale = self.height / whole.height
        for above, below in zip(edges, edges[1:], strict=False):
            part = BytesIO()
            whole.crop((0, above, whole.width, below)).save(part, "JPEG", quality=90)
            part.seek(0)
            size = self.width, (below - above) * scale
            at = self.height - below * scale
            self.canv.drawImage(ImageReader(part), 0, at, *size)

    def _chart(self) -> None:
        rng = random.Random(self.n)
        chart = VerticalBarChart()
        chart.x, chart.y, chart.width = 30, 25, self.width - 40
        chart.height = self.height - 35
        chart.data = [[rng.randint(5, 95) for _ in range(6)] for _ in range(2)]
        chart.categoryAxis.categoryNames = [*"QRSTUV"]
        chart.valueAxis.valueMin, chart.valueAxis.valueMax = 0, 100
        drawing = Drawing(self.width, self.height)
        drawing.add(chart)
        drawing.drawOn(self.canv, 0, 0)


def _aspect(figure: Figure) -> float:
    """Return its height by its width."""
    if figure.file is None:
        return 2 / 3
    width, height = Image.open(figure.file).size
    return height / width


class Note(Flowable):
    """Nothing where it stands, and a footnote at the end of its page."""

    def __init__(self, text: Text) -> None:
        super().__init__()
        self.text = text

    def wrap(self, *_: float) -> tuple[float, float]:
        """Return width and height."""
        return 0, 0

    def draw(self) -> None:
        """Draw it."""
        self.canv.notes.append(self.text)


class Listed(Text):
    """A heading that is an entry of the outline."""

    def __init__(self, heading: Heading, style: ParagraphStyle) -> None:
        super().__init__(_escaped(heading.text), style)
        self.heading = heading

    def draw(self) -> None:
        """Draw it."""
        key = str(id(self))
        self.canv.bookmarkPage(key)
        self.canv.addOutlineEntry(self.heading.text, key, self.heading.level - 1)
        super().draw()


def reportlab(
    blocks: list[Block],
    file: Path,
    *,
    columns: int = 1,
    pieces: int = 1,
    logo: Path | None = None,
    n_roman: int = 0,
    hyphens: bool = False,
    rules: str = "drawn",
    outline: bool = True,
    is_plain: bool = False,
) -> Made:
    """Make a PDF without tags: running heads, numbered pages, an outline.

    Args:
        blocks: What is in it; a chart is drawn in lines.
        file: Where it goes.
        columns: On a page.
        pieces: That each picture is cut into.
        logo: On each page.
        n_roman: Pages at the beginning that have Roman numbers.
        hyphens: Whether words are divided, and lines are justified.
        rules: Of tables, one of `RULES`.
        outline: Whether headings are entries of an outline.
        is_plain: Whether it is set in Helvetica, paragraphs begin with an indent and
            have no space between them, and numbers stand above, on the outer side.
    """
    faces = PLAIN if is_plain else {face: face for face in PLAIN}
    for name in ("Regular", "Bold", "Italic"):
        pdfmetrics.registerFont(
            TTFont(name, str(FONTS / f"LiberationSerif-{name}.ttf"))
        )
    width = (WIDTH - 2 * MARGIN - (columns - 1) * GAP) / columns
    places: dict[int, Place] = {}
    labels: list[str] = []
    title = next(block.text for block in blocks if isinstance(block, Heading))
    has_notes = any(isinstance(block, Paragraph) and block.note for block in blocks)
    foot = FOOT if has_notes else MARGIN

    def begin(canvas: Any, _: Any) -> None:
        canvas.places, canvas.notes = places, []
        canvas.setFont(faces["Italic"], 9)
        canvas.drawString(MARGIN, HEIGHT - 40, f"{title}, second edition")
        if logo is not None:
            canvas.drawImage(str(logo), WIDTH - 130, HEIGHT - 52, 60, 40)

    def end(canvas: Any, _: Any) -> None:
        page = canvas.getPageNumber()
        label = _roman(page) if page <= n_roman else str(page - n_roman)
        labels.append(label)
        canvas.setFont(faces["Regular"], 9)
        if is_plain:
            at = WIDTH - MARGIN if page % 2 else MARGIN
            canvas.drawCentredString(at, HEIGHT - 26, label)
        else:
            canvas.drawCentredString(WIDTH / 2, 30, label)
        if canvas.notes:
            canvas.line(MARGIN, FOOT - 8, MARGIN + 100, FOOT - 8)
        y = FOOT - 10
        for note in canvas.notes:
            _, height = note.wrap(WIDTH - 2 * MARGIN, FOOT)
            y -= height
            note.drawOn(canvas, MARGIN, y)
        if n_roman and page == 1:
            canvas.addPageLabel(0, "ROMAN_LOWER", 1)
            canvas.addPageLabel(n_roman, "ARABIC", 1)

    frames = [
        Frame(
            MARGIN + n * (width + GAP),
            foot,
            width,
            HEIGHT - foot - MARGIN,
            *(0, 0, 0, 0),
        )
        for n in range(columns)
    ]
    document = BaseDocTemplate(str(file), pagesize=A4, title=title)
    template = PageTemplate("page", frames, onPage=begin, onPageEnd=end)
    document.addPageTemplates([template])
    document.build(
        _story(blocks, width, faces, pieces, hyphens, rules, outline, n_roman)
    )
    charts = [block for block in blocks if isinstance(block, Figure) and not block.file]
    return Made(
        file,
        blocks,
        [places[n] for n in sorted(places)],
        document.page,
        has_alts=False,
        allowed=" ".join([_IN_CHARTS] * len(charts)),
        logo=logo,
        labels=labels if n_roman else [],
    )


def _story(
    blocks: list[Block],
    width: float,
    faces: dict[str, str],
    pieces: int,
    hyphens: bool,
    rules: str,
    outline: bool,
    n_roman: int,
) -> list[Flowable]:
    is_plain = faces is PLAIN
    body = ParagraphStyle("body", fontName=faces["Regular"], fontSize=10, leading=12.5)
    body.spaceAfter = 0 if is_plain else 6
    body.firstLineIndent = 14 if is_plain else 0
    if hyphens:
        body.alignment, body.hyphenationLang = TA_JUSTIFY, divided
        body.embeddedHyphenation, body.hyphenationMinWordLength = 1, 6
    small = ParagraphStyle("small", body, fontSize=8, leading=9.5, firstLineIndent=0)
    if is_plain:
        small.fontName, small.fontSize, small.leading = faces["Italic"], 10, 12.5
    note = ParagraphStyle("note", fontName=faces["Regular"], fontSize=7.5, leading=9)
    heads = {
        level: ParagraphStyle(
            f"h{level}", fontName=faces["Bold"], fontSize=size, leading=size * 1.2
        )
        for level, size in {1: 24, 2: 16, 3: 12}.items()
    }
    for style in heads.values():
        style.spaceBefore, style.spaceAfter, style.keepWithNext = 10, 6, 1
    story: list[Flowable] = []
    n = 0
    n_chapters = 0
    for block in blocks:
        if isinstance(block, Heading):
            n_chapters += block.level == 2
            if n_chapters == 2 and n_roman:
                n_roman = 0
                story.append(PageBreak())
            made = Listed(block, heads[block.level])
            story.append(made if outline else Text(_escaped(block.text), made.style))
        elif isinstance(block, Paragraph):
            marked = f"<super>{block.number}</super>" if block.note else ""
            story.append(Text(_escaped(block.text) + marked, body))
            if block.note:
                said = f"<super>{block.number}</super> {_escaped(block.note)}"
                story.append(Note(Text(said, note)))
        elif isinstance(block, Figure):
            figures = pictures_of(block)
            shown = Shown(figures, n, width, pieces)
            n += len(figures)
            said = Text(_escaped(block.caption), small)
            story.append(KeepTogether([shown, Spacer(0, 4), said, Spacer(0, 8)]))
        else:
            story += _grid(block, width, rules, small)
    return story


_LONG = 20
"""Rows of a table that may be on several pages."""


def _grid(
    table: Table, width: float, rules: str, style: ParagraphStyle
) -> list[Flowable]:
    cells = [[Text(_escaped(cell), style) for cell in row] for row in table.rows]
    spans = [
        ("SPAN", (x - 1, y), (x, y))
        for y, row in enumerate(table.rows)
        for x, cell in enumerate(row)
        if not cell
    ]
    widths = [width * share for share in (0.31, 0.2, 0.2, 0.29)]
    grid = Grid(cells, widths, repeatRows=1)
    grid.setStyle([*RULES[rules], *spans])
    parts = [Text(_escaped(table.caption), style), grid, Spacer(0, 10)]
    return parts if len(cells) > _LONG else [KeepTogether(parts)]


def turned(made: Made) -> Made:
    """Turn and crop the pages of a file: they are displayed without their margins.

    Their contents are turned to the left, and the pages to the right.
    """
    left, above = 30.0, 20.0
    with pdfium.PdfDocument(made.file) as document:
        for page in document:
            page.set_mediabox(0, 0, HEIGHT, WIDTH)
            # What was up is on the left.
            matrix = pdfium_c.FS_MATRIX(0, 1, -1, 0, HEIGHT, 0)
            clip = pdfium_c.FS_RECTF(0, WIDTH, HEIGHT, 0)
            pdfium_c.FPDFPage_TransFormWithClip(page, matrix, clip)
            page.set_rotation(90)
            page.set_cropbox(above, left, HEIGHT, WIDTH)
        changed = made.file.with_name("turned.pdf")
        document.save(changed)
    shares = left / WIDTH, above / HEIGHT
    places: list[Place] = []
    for page_number, box in made.places:
        assert box is not None
        moved = [(box[n] - shares[n % 2]) / (1 - shares[n % 2]) for n in range(4)]
        places.append((page_number, (moved[0], moved[1], moved[2], moved[3])))
    return replace(made, file=changed, places=places)


def chromium(blocks: list[Block], file: Path, *, hyphens: bool = False) -> Made:
    """Make a tagged PDF by Chromium's print; where figures are, pdfplumber says."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "book.html")
        html(blocks, page, hyphens=hyphens, is_print=True)
        subprocess.run(
            [
                *("chromium", "--headless", "--no-sandbox", "--disable-gpu"),
                *("--no-pdf-header-footer", f"--user-data-dir={folder}/profile"),
                *(f"--print-to-pdf={file}", page.as_uri()),
            ],
            check=True,
            capture_output=True,
            timeout=600,
        )
    return _found(Made(file, blocks))


def libreoffice(document: Made, file: Path) -> Made:
    """Make a tagged PDF of a DOCX by LibreOffice."""
    asked = 'pdf:writer_pdf_Export:{"UseTaggedPDF":{"type":"boolean","value":"true"}}'
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *("soffice", f"-env:UserInstallation={Path(folder).as_uri()}/profile"),
                *("--headless", "--convert-to", asked, "--outdir", folder),
                str(document.file),
            ],
            check=True,
            capture_output=True,
            timeout=600,
        )
        made = Path(folder, document.file.with_suffix(".pdf").name)
        file.write_bytes(made.read_bytes())
    return _found(Made(file, document.blocks))


def _found(made: Made) -> Made:
    """Add where figures stand: pictures of a page in their order, by another library.

    Raises:
        ValueError: There are more or fewer than were put in.
    """
    with pdfplumber.open(made.file) as pdf:
        made.n_pages = len(pdf.pages)
        for page in pdf.pages:
            seen = [
                (
                    found["x0"] / float(page.width),
                    found["top"] / float(page.height),
                    found["x1"] / float(page.width),
                    found["bottom"] / float(page.height),
                )
                for found in page.images
            ]
            made.places += [(page.page_number, box) for box in dict.fromkeys(seen)]
            page.close()
    if len(made.places) != len(made.figures):
        raise ValueError(
            f"{made.file} has {len(made.places)} pictures, expected "
            f"{len(made.figures)}: the truth of their places is not known."
        )
    return made


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _roman(n: int) -> str:
    for value, said in ((10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")):
        if n >= value:
            return said + _roman(n - value)
    return ""
