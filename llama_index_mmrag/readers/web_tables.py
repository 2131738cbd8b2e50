"""Tables of a web page: which are of data, and where their cells stand."""

from __future__ import annotations

from selectolax.lexbor import LexborNode

_NOT_IN_A_TABLE = "table, h1, h2, h3, h4, h5, h6, figure, section, article, form"
"""What a table of data has not: one that has it is there for its looks."""

_MOST_CELLS = 1_000_000
_MOST_SPANNED = 1000  # as a browser has it


def cells_of(row: LexborNode) -> list[LexborNode]:
    """Return the cells of one row."""
    return [cell for cell in row.iter() if cell.tag in ("td", "th")]


def placed(rows: list[list[LexborNode]]) -> list[dict[int, LexborNode]]:
    """Return each row's cells by their column, past those that reach into it."""
    taken: set[tuple[int, int]] = set()
    grid = []
    for y, cells in enumerate(rows):
        its, x = {}, 0
        for cell in cells:
            while (y, x) in taken:
                x += 1
            its[x] = cell
            wide = _span(cell, "colspan", _MOST_SPANNED)
            high = _span(cell, "rowspan", len(rows) - y)
            if wide * high + len(taken) <= _MOST_CELLS:
                taken |= {(y + j, x + i) for j in range(high) for i in range(wide)}
            x += wide
        grid.append(its)
    return grid


def _span(cell: LexborNode, name: str, most: int) -> int:
    said = (cell.attributes.get(name) or "").strip()
    if not said.isdecimal() or len(said) > 9:
        return 1
    # As a browser has it: a rowspan of 0 goes to the end.
    return min(int(said) or (most if name == "rowspan" else 1), most)


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
