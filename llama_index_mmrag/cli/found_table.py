"""What pairs find of each other, as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from llama_index_mmrag.alignment import FoundBothWays


def found_table(rows: Mapping[str, FoundBothWays]) -> Table:
    """Return a table with a row for each way to place pictures among texts."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE)
    table.add_column("pictures placed")
    for way in ("text to image", "image to text"):
        table.add_column(f"{way}\nR@1 / 5 / 10 %", justify="right")
        table.add_column("\nMRR", justify="right")
    for name, found in rows.items():
        cells = []
        for one in (found.text_to_image, found.image_to_text):
            shares = (one.recall_at_1, one.recall_at_5, one.recall_at_10)
            cells.append(" / ".join(f"{100 * share:.1f}" for share in shares))
            cells.append(f"{one.mrr:.3f}")
        table.add_row(name, *cells)
    return table
