"""Tables of a PDF's page: by lines around their cells, and by three rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

import pypdfium2
import pytest
from reportlab.lib.colors import black
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph
from reportlab.platypus import Table as Grid

from llama_index_mmrag.readers.pdf.lines import lines_of
from llama_index_mmrag.readers.pdf.objects import Sheet
from llama_index_mmrag.readers.pdf.tables import Table, tables_of
from llama_index_mmrag.readers.pdf.writing import Vocabulary

WIDE, HIGH = 600, 800
ROWS = (
    ("Term", "Men", "Women", "Share of all"),
    ("Cortex", "12.5", "1,234", "one in ten"),
    ("Action potential", "7", "2,345", "none"),
    ("Midbrain", "88.1", "3,456", "not asked"),
    ("Lobe", "3.0", "4,567", "12 %"),
)
DRAWN = [("GRID", (0, 0), (-1, -1), 0.5, black)]
THREE = [
    ("LINEABOVE", (0, 0), (-1, 0), 1, black),
    ("LINEBELOW", (0, 0), (-1, 0), 0.5, black),
    ("LINEBELOW", (0, -1), (-1, -1), 1, black),
]
UPRIGHT = [("LINEBEFORE", (1, 0), (-1, -1), 0.5, black), *THREE]
BODY = "Words of a paragraph that has nothing to say, and says it at some length here."


def put(canvas: Canvas, rows: Sequence[Sequence[Any]], style: Any, top: float = 200):
    """Draw a table; return its height."""
    table = Grid([[*row] for row in rows], colWidths=90, style=[*style])
    _, high = table.wrapOn(canvas, WIDE, HIGH)
    table.drawOn(canvas, 100, HIGH - top - high)
    return high


def say(canvas: Canvas, top: float, text: str, x: float = 60) -> None:
    canvas.setFont("Times-Roman", 10)
    canvas.drawString(x, HIGH - top - 10, text)


def read(draw: Callable[[Canvas], object], turn: int = 0) -> tuple[list[Table], Sheet]:
    out = BytesIO()
    canvas = Canvas(out, pagesize=(WIDE, HIGH))
    draw(canvas)
    canvas.save()
    page = pypdfium2.PdfDocument(out.getvalue())[0]
    page.set_rotation(turn)
    sheet = Sheet(page, lines_of(page))
    known = Vocabulary()
    known.learn(sheet.lines)
    return tables_of(sheet, known), sheet


@pytest.mark.parametrize("style", [DRAWN, THREE, UPRIGHT], ids=["drawn", "three", "up"])
def test_every_cell_is_where_it_stands_and_its_caption_is_found(style: Any) -> None:
    def draw(canvas: Canvas) -> None:
        say(canvas, 150, BODY)
        say(canvas, 180, "Table 1: Parts of the brain", 100)
        high = put(canvas, ROWS, style)
        say(canvas, 220 + high, BODY)

    (table,), sheet = read(draw)
    assert table.cells == ROWS
    assert [sheet.lines[i].text for i in table.caption] == [
        "Table 1: Parts of the brain"
    ]
    taken = " ".join(sheet.lines[i].text for i in table.lines)
    assert sorted(taken.split()) == sorted(" ".join(map(" ".join, ROWS)).split())
    assert table.box[0] == pytest.approx(100 / WIDE, abs=0.01)
    assert table.box[1] == pytest.approx(200 / HIGH, abs=0.01)


def test_a_cell_that_spans_others_is_written_once() -> None:
    rows = [list(row) for row in ROWS]
    rows[0][2] = rows[2][0] = ""
    style = [*DRAWN, ("SPAN", (1, 0), (2, 0)), ("SPAN", (0, 1), (0, 2))]
    (table,), _ = read(lambda canvas: put(canvas, rows, style))
    assert [list(row) for row in table.cells] == rows


@pytest.mark.parametrize("style", [DRAWN, THREE], ids=["drawn", "three"])
def test_lines_of_a_cell_are_one_row(style: Any) -> None:
    look = ParagraphStyle("body", fontSize=10, leading=11)
    rows = [
        *ROWS[:2],
        ("Lobe", "3.0", "4,567", Paragraph("twelve of a hundred<br/>or so", look)),
        *ROWS[3:],
    ]
    (table,), _ = read(lambda canvas: put(canvas, rows, style))
    assert table.cells[2] == ("Lobe", "3.0", "4,567", "twelve of a hundred or so")
    assert len(table.cells) == len(rows)


def test_words_that_a_cell_divides_are_whole() -> None:
    look = ParagraphStyle("body", fontName="Courier", fontSize=10, leading=11)
    rows = [
        *ROWS[:2],
        (Paragraph("methamphetamine", look), "3.0", "4,567", "none"),
        (Paragraph("a long-<br/>lasting one", look), "3.0", "4,567", "long-lasting"),
    ]
    (table,), _ = read(lambda canvas: put(canvas, rows, DRAWN))
    assert [row[0] for row in table.cells[2:]] == [
        "methamphetamine",
        "a long-lasting one",
    ]


def test_a_raised_mark_makes_no_row_of_three_rules() -> None:
    look = ParagraphStyle("body", fontSize=10, leading=11)
    marked = Paragraph("8.0<super size=6 rise=5>2</super>", look)
    rows = [*ROWS[:2], ("Lobe", marked, "4,567", "none"), *ROWS[3:]]
    (table,), _ = read(lambda canvas: put(canvas, rows, THREE))
    assert table.cells[2] == ("Lobe", "8.02", "4,567", "none")
    assert len(table.cells) == len(rows)


def test_a_head_over_two_columns_of_three_rules_is_in_the_first() -> None:
    rows = [list(row) for row in ROWS]
    rows[0] = ["Term", "Men and women", "", "Share"]
    style = [*THREE, ("SPAN", (1, 0), (2, 0)), ("ALIGN", (1, 0), (-1, -1), "CENTER")]
    (table,), _ = read(lambda canvas: put(canvas, rows, style))
    assert [list(row) for row in table.cells] == rows


def test_an_empty_cell_stays_empty() -> None:
    rows = [list(row) for row in ROWS]
    rows[1][1] = rows[3][3] = ""
    for style in (DRAWN, THREE):
        (table,), _ = read(lambda canvas, style=style: put(canvas, rows, style))
        assert [list(row) for row in table.cells] == rows


def test_two_tables_of_a_page_are_two() -> None:
    def draw(canvas: Canvas) -> None:
        put(canvas, ROWS, DRAWN)
        put(canvas, ROWS[:3], DRAWN, 350)
        put(canvas, ROWS[::-1], THREE, 500)

    tables, _ = read(draw)
    assert [table.cells for table in tables] == [ROWS, ROWS[:3], ROWS[::-1]]


def test_a_head_close_below_a_caption_is_not_of_it() -> None:
    look = [
        *DRAWN,
        ("FONTSIZE", (0, 0), (-1, -1), 10),
        ("TOPPADDING", (0, 0), (-1, 0), 1),
    ]

    def draw(canvas: Canvas) -> None:
        for n, top in enumerate((188, 300)):
            say(canvas, top, f"Table {n}: Parts of the brain", 100)
            put(canvas, ROWS[:3], look, top + 12)

    tables, sheet = read(draw)
    said = [[sheet.lines[i].text for i in table.caption] for table in tables]
    assert said == [[f"Table {n}: Parts of the brain"] for n in (0, 1)]


def test_text_between_rules_and_frames_and_plots_is_no_table() -> None:
    def draw(canvas: Canvas) -> None:
        for top in (40, 300, 780):  # of head, middle and foot
            canvas.line(60, HIGH - top, 540, HIGH - top)
        for n in range(16):
            say(canvas, 60 + 14 * n, BODY[:46])
            say(canvas, 60 + 14 * n, BODY[:46], 310)
        canvas.rect(60, HIGH - 500, 480, 150)
        say(canvas, 400, BODY)
        canvas.grid(range(100, 300, 20), range(100, 200, 20))
        say(canvas, 690, "0", 102)

    assert read(draw)[0] == []


def test_a_table_without_lines_stays_as_its_lines() -> None:
    assert read(lambda canvas: put(canvas, ROWS, []))[0] == []
