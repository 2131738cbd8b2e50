"""The words of a scanned page: lines in reading order, as paragraphs."""

from __future__ import annotations

from llama_index_mmrag.lettering import Line
from llama_index_mmrag.readers.page import Place
from llama_index_mmrag.readers.scanned import text_of


def column(*texts: str, left: float = 0.1, top: float = 0.1) -> list[Line]:
    """Return lines below each other, each character .009 of the page wide."""
    return [
        Line(text, (left, y, left + 0.009 * len(text), y + 0.014), 0.9)
        for text, y in ((text, top + 0.016 * n) for n, text in enumerate(texts))
    ]


LEFT = (
    "The pump stands below the boiler and",
    "feeds it with water from the reser-",
    "voir, which is filled once a week.",
)
RIGHT = (
    "Its valve is opened by hand, slowly,",
    "and closed by a spring of its own as",
    "soon as the pressure in it has gone.",
)


def test_lines_of_one_paragraph_are_joined_and_hyphens_undone():
    lines = column(*LEFT)
    text, places = text_of(lines, 7)
    assert text == (
        "The pump stands below the boiler and feeds it with water from the reservoir, "
        "which is filled once a week."
    )
    starts = [0, text.index("feeds"), text.index("voir")]
    assert places == tuple(
        Place(start, 7, line.box) for start, line in zip(starts, lines, strict=True)
    )


def test_columns_are_read_one_after_the_other_in_whatever_order_they_come():
    left, right = column(*LEFT), column(*RIGHT, left=0.55)
    by_rows = [line for pair in zip(left, right, strict=True) for line in pair]
    text, places = text_of(by_rows, 1)
    assert text.index("once a week") < text.index("Its valve")
    assert [place.box for place in places] == [line.box for line in (*left, *right)]
    assert text == text_of([*left, *right], 1)[0]


def test_a_gap_is_between_two_paragraphs():
    text, places = text_of([*column(*LEFT), *column(*RIGHT, top=0.2)], 1)
    first, second = text.split("\n\n")
    assert first.endswith("once a week.")
    assert second.startswith("Its valve")
    assert text[places[3].start :].startswith("Its valve")


def test_nothing_read_is_no_text():
    assert text_of([], 1) == ("", ())
    assert text_of([Line(" ", (0, 0, 1, 1), 0.9)], 1) == ("", ())
