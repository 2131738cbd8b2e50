"""Lines of a PDF's page stand where they are displayed, and hold whole words."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import pypdfium2
import pytest
from reportlab.pdfgen.canvas import Canvas

from llama_index_mmrag.readers.pdf.lines import Line, lines_of


def lines_drawn(draw: Callable[[Canvas], None], turn: int = 0) -> list[Line]:
    """Return the lines of a page of 600 × 800 points, cropped by 100 all around."""
    buffer = BytesIO()
    canvas = Canvas(buffer, pagesize=(600, 800))
    canvas.setCropBox((100, 100, 500, 700))
    draw(canvas)
    canvas.save()
    with pypdfium2.PdfDocument(buffer.getvalue()) as document:
        page = document[0]
        page.set_rotation(turn)
        return lines_of(page)


@pytest.mark.parametrize(
    ("turn", "corner"),
    [
        (0, (0.05, 50 / 600)),
        (90, (550 / 600, 0.05)),
        (180, (0.95, 550 / 600)),
        (270, (50 / 600, 0.95)),
    ],
)
def test_a_line_begins_where_its_page_turned_and_cropped_shows_it(
    turn: int, corner: tuple[float, float]
) -> None:
    (line,) = lines_drawn(lambda canvas: canvas.drawString(120, 650, "Here"), turn)
    assert line.turn == turn // 90
    x, y = corner
    x0, y0, x1, y1 = line.box
    assert x0 - 0.03 <= x <= x1 + 0.03
    assert y0 - 0.03 <= y <= y1 + 0.03
    wide, high = x1 - x0, y1 - y0
    assert (wide > high) == (turn % 180 == 0)


def test_what_is_cropped_off_is_no_line() -> None:
    assert lines_drawn(lambda canvas: canvas.drawString(20, 20, "Outside")) == []


def test_a_word_in_several_styles_is_one_and_a_raised_one_stays_in_its_line() -> None:
    def draw(canvas: Canvas) -> None:
        text = canvas.beginText(120, 650)
        text.setFont("Times-Roman", 12)
        text.textOut("A nar")
        text.setFont("Times-Bold", 12)
        text.textOut("row note")
        text.setFont("Times-Roman", 7)
        text.setRise(5)
        text.textOut("12")
        text.setRise(0)
        text.setFont("Times-Roman", 12)
        text.textOut(", and more of the same")
        canvas.drawText(text)

    (line,) = lines_drawn(draw)
    assert line.text == "A narrow note12, and more of the same"
    assert line.size == pytest.approx(12)
    assert not line.is_bold


def test_lines_of_two_columns_are_two() -> None:
    def draw(canvas: Canvas) -> None:
        for y in (650, 638):
            canvas.drawString(120, y, "Left of it")
            canvas.drawString(300, y, "Right of it")

    said = [line.text for line in lines_drawn(draw)]
    assert said == ["Left of it", "Right of it"] * 2
