"""Tables of a web page: which are of data, and where their cells stand."""

from __future__ import annotations

from selectolax.lexbor import LexborNode

from llama_index_mmrag.readers import writing

_NOT_IN_A_TABLE = "table, h1, h2, h3, h4, h5, h6, figure, section, article, form"
"""What a table of data has not: one that has it is there for its looks."""

_MOST_SPANNED = 1000  # as a browser has it
_MOST_ROWS = 999_999_999


def cells_of(row: LexborNode) -> list[LexborNode]:
    """Return the cells of one row."""
    return [cell for cell in row.iter() if cell.tag in ("td", "th")]


def placed(rows: list[list[LexborNode]]) -> list[dict[int, LexborNode]]:
    """Return each row's cells by their column, past those that reach into it."""
    return writing.placed(rows, _spans)


def _spans(cell: LexborNode) -> tuple[int, int]:
    # As a browser has it: a rowspan of 0 goes to the end.
    return _span(cell, "colspan") or 1, _span(cell, "rowspan") or _MOST_ROWS


def _span(cell: LexborNode, name: str) -> int:
    said = (cell.attributes.get(name) or "").strip()
    if not said.isdecimal() or len(said) > 9:
        return 1
    return min(int(said), _MOST_SPANNED if name == "colspan" else _MOST_ROWS)


def is_of_data(table: LexborNode) -> bool:
    """Return whether a table holds rows and columns, and no parts of a page."""
    if table.attributes.get("role") in ("presentation", "none"):
        return False
    # An element is among what it selects itself.
    if any(found != table for found in table.css(_NOT_IN_A_TABLE)):
        return False
    rows = table.css("tr")
    widest = max((len(cells_of(row)) for row in rows), default=0)
    return widest > 1 and (len(rows) > 1 or table.css_first("th") is not None)
