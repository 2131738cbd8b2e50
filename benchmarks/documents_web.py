"""HTML, EPUB and Markdown of a book."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from html import escape
from pathlib import Path

from documents_book import Block, Figure, Heading, Made, Paragraph, Table

_PRINT = """
@page { size: A4; margin: 2cm; }
body { font: 10pt/1.3 "Liberation Serif"; text-align: justify; hyphens: manual; }
figure { margin: 1em 0; break-inside: avoid; } img { width: 300px; display: block; }
table { border-collapse: collapse; break-inside: avoid; } td, th { padding: 2px 6px; }
figcaption, caption, table { font-size: 8pt; }
"""
SYLLABLE = re.compile(r"(?<=[a-z][aeiou])(?=[bcdfgklmnprst][a-z]{2})")
"""Where words may be divided, in these books."""


def html(
    blocks: list[Block], file: Path, *, hyphens: bool = False, is_print: bool = False
) -> Made:
    """Make a page of HTML with its pictures beside it.

    Args:
        blocks: What is in it, without footnotes.
        file: Where it goes.
        hyphens: Whether words have soft hyphens.
        is_print: Whether it is to be printed, and has nothing but the book.
    """
    title = next(block.text for block in blocks if isinstance(block, Heading))
    body = "\n".join(_elements(blocks, file.parent, hyphens=hyphens))
    if not is_print:
        body = (
            f"<nav><a href='#'>All books</a></nav><header>Our library</header>\n"
            f"<article>{body}</article>\n"
            f"<aside>Buy it now</aside><footer>Imprint</footer><script>var x</script>"
        )
    style = f"<style>{_PRINT}</style>" if is_print else ""
    file.write_text(
        f"<!DOCTYPE html><html lang=en><head><meta charset=utf-8>"
        f"<title>{escape(title)}</title>{style}</head><body>{body}</body></html>",
        encoding="utf-8",
    )
    return Made(file, blocks)


def _elements(
    blocks: Iterable[Block], folder: Path, *, hyphens: bool = False
) -> Iterable[str]:
    for block in blocks:
        if isinstance(block, Heading):
            yield f"<h{block.level}>{escape(block.text)}</h{block.level}>"
        elif isinstance(block, Paragraph):
            text = SYLLABLE.sub("\u00ad", block.text) if hyphens else block.text
            yield f"<p>{escape(text)}{_reference(block)}</p>"
        elif isinstance(block, Figure):
            name = copied(block, folder)
            yield (
                f'<figure><img src="{name}" alt="{escape(block.alt)}"/>'
                f"<figcaption>{escape(block.caption)}</figcaption></figure>"
            )
        else:
            yield _table(block)


def _reference(block: Paragraph) -> str:
    if not block.note:
        return ""
    n = block.number
    return f'<sup><a epub:type="noteref" id="r{n}" href="#n{n}">{n}</a></sup>'


def _table(table: Table) -> str:
    rows = []
    for y, row in enumerate(table.rows):
        tag = "td" if y else "th"
        cells = [
            f'<{tag}{_colspan(row, x)} style="border:1px solid">{escape(cell)}</{tag}>'
            for x, cell in enumerate(row)
            if cell
        ]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><caption>{escape(table.caption)}</caption>{''.join(rows)}</table>"


def _colspan(row: tuple[str, ...], x: int) -> str:
    return ' colspan="2"' if row[x + 1 : x + 2] == ("",) else ""


def copied(figure: Figure, folder: Path) -> str:
    """Put a figure's picture into a folder; return its name."""
    assert figure.file is not None
    if not (folder / figure.file.name).exists():
        shutil.copyfile(figure.file, folder / figure.file.name)
    return figure.file.name
