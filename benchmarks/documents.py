"""What readers make of documents: a book of the shared data in each format.

Files are made by a script, which knows what is in them. Writes results/documents.json
and .md. LibreOffice takes minutes and is asked for. From the repository's root:

    python benchmarks/documents.py --book philosophy --figures 40
    python benchmarks/documents.py --only "Word" --keep /tmp/made
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import documents_found as found
import documents_office as office
import documents_pdf as pdf
import documents_web as web
from documents_book import (
    Block,
    Made,
    book,
    in_german,
    with_charts,
    with_long_table,
    with_modes,
    with_pairs,
    without_notes,
    without_spans,
)
from documents_judge import Row, judged, read
from page import first_line, header, last_line, parser, table, write

PACKAGES = (
    *("llama-index-mmrag", "pypdfium2", "lxml", "reportlab", "python-docx"),
    *("python-pptx", "selectolax", "Pillow"),
)
BARS: dict[str, tuple[Callable[[float], bool], str]] = {
    "figures": (lambda it: it >= 0.95, "≥ .95"),
    "figures_none": (lambda it: it <= 0.05, "≤ .05"),
    "captions": (lambda it: it >= 0.95, "≥ .95"),
    "alts": (lambda it: it == 1, "1.00"),
    "page": (lambda it: it == 1, "1.00"),
    "box_iou": (lambda it: it >= 0.8, "≥ .8"),
    "words": (lambda it: it >= 0.995, "≥ .995"),
    "words_more": (lambda it: it <= 0.005, "≤ .005"),
    "neighbours": (lambda it: it >= 0.99, "≥ .99"),
    "cells": (lambda it: it == 1, "1.00"),
    "n_logos": (lambda it: it == 0, "0"),
    "labels": (lambda it: it == 1, "1.00"),
    "cpu_page": (lambda it: it <= 0.03, "≤ .03, with tables .08"),
    "child_mb": (lambda it: it <= 200, "≤ 200"),
}
WITH_TABLES = (lambda it: it <= 0.08, "≤ .08")
OF_ONE_KIND = {
    ("ReportLab, three rules", "cells"): (lambda it: it >= 0.95, "≥ .95"),
    ("ReportLab, no rules", "cells"): (lambda _: True, "none"),
}
"""Bars that are others for these files."""
SHOWN = ["figures", "figures_none", "captions", "alts", "page", "box_iou", "words"]
SHOWN += ["words_more", "neighbours", "headings", "cells", "n_logos", "labels"]
SHOWN += ["cpu_page", "child_mb"]

MANY = 1000
"""Pages over which a child's memory is measured."""

Maker = Callable[[list[Block], Path], Made]


def without_tables(blocks: list[Block]) -> list[Block]:
    return [block for block in blocks if not hasattr(block, "rows")]


def _reportlab(**how: Any) -> Maker:
    def make(blocks: list[Block], file: Path) -> Made:
        blocks = blocks if how.pop("notes", False) else without_notes(blocks)
        if how.get("rules", "drawn") != "drawn":
            blocks = without_spans(blocks)
        if how.pop("charts", False):
            blocks = with_charts(blocks)
        return pdf.reportlab(blocks, file.with_suffix(".pdf"), **how)

    return make


def repeated(blocks: list[Block], n_pages: int = MANY) -> list[Block]:
    """Return the book so often that it has so many pages, about; without tables."""
    n_words = sum(len(block.text) for block in blocks if hasattr(block, "text"))
    return without_tables(blocks) * round(1 + n_pages * 4200 / n_words)


def _with_logo(blocks: list[Block], file: Path) -> Made:
    logo = file.with_suffix(".png")
    office.small_logo().save(logo)
    return _reportlab(logo=logo)(without_tables(blocks), file)


MAKERS: dict[str, Maker] = {
    "ReportLab, one column": lambda b, f: _reportlab()(without_tables(b), f),
    "ReportLab, two columns": lambda b, f: _reportlab(columns=2)(without_tables(b), f),
    "ReportLab, no outline": _reportlab(columns=2, outline=False),
    "ReportLab, tables": _reportlab(),
    "ReportLab, three rules": _reportlab(rules="three"),
    "ReportLab, no rules": _reportlab(rules="none"),
    "ReportLab, pieces": lambda b, f: _reportlab(pieces=5)(without_tables(b), f),
    "ReportLab, logo": _with_logo,
    "ReportLab, charts": lambda b, f: _reportlab(charts=True)(without_tables(b), f),
    "ReportLab, Roman": lambda b, f: _reportlab(n_roman=6)(without_tables(b), f),
    "ReportLab, footnotes": lambda b, f: _reportlab(notes=True)(without_tables(b), f),
    "ReportLab, hyphens": lambda b, f: _reportlab(columns=2, hyphens=True)(
        without_tables(b), f
    ),
    "ReportLab, pairs": lambda b, f: _reportlab()(with_pairs(without_tables(b)), f),
    "ReportLab, German": lambda b, f: _reportlab()(in_german(b), f),
    "ReportLab, long table": lambda b, f: _reportlab()(with_long_table(b), f),
    "ReportLab, modes": lambda b, f: _reportlab()(
        with_modes(without_tables(b), f.parent), f
    ),
    "ReportLab, Helvetica": _reportlab(is_plain=True),
    "ReportLab, turned": lambda b, f: pdf.turned(_reportlab()(without_tables(b), f)),
    "ReportLab, 1,000 pages": lambda b, f: _reportlab()(repeated(b), f),
    "Chromium": lambda b, f: pdf.chromium(without_notes(b), f.with_suffix(".pdf")),
    "Chromium, pairs": lambda b, f: pdf.chromium(
        with_pairs(without_notes(b)), f.with_suffix(".pdf")
    ),
    "Chromium, hyphens": lambda b, f: pdf.chromium(
        without_notes(b), f.with_suffix(".pdf"), hyphens=True
    ),
    "LibreOffice": lambda b, f: pdf.libreoffice(
        office.word(b, f.with_suffix(".docx"), is_plain=True), f.with_suffix(".pdf")
    ),
    "Word": lambda b, f: office.word(b, f.with_suffix(".docx")),
    "Word, pairs": lambda b, f: office.word(with_pairs(b), f.with_suffix(".docx")),
    "PowerPoint": lambda b, f: office.slides(b, f.with_suffix(".pptx")),
    "EPUB": lambda b, f: web.epub(b, f.with_suffix(".epub")),
    "HTML": lambda b, f: web.html(without_notes(b), f.with_suffix(".html")),
}


def measured(name: str, blocks: list[Block], folder: Path) -> tuple[Made, Row]:
    """Return a file of one kind, and a row: what became of it."""
    place = folder / "".join(c if c.isalnum() else "-" for c in name)
    place.mkdir(parents=True, exist_ok=True)
    made = MAKERS[name](blocks, place / "book")
    page, took = read(made)
    # The same book many times tells nothing but what it takes.
    came = judged(made, page) if made.n_pages < MANY // 2 else {}
    row = {"kind": name, "n_pages": made.n_pages, **came, **took}
    row["problems"] = list(page.problems[:5])
    # A page of other formats is one of 4,900 characters, as they are measured.
    n_chars = sum(len(section.text) for section in page.sections)
    row["cpu_page"] = took["cpu_s"] / max(1, made.n_pages or n_chars / 4900)
    return made, row


def found_in(
    files: dict[str, Made], blocks: list[Block], folder: Path, seed: int
) -> list[Row]:
    """Return how often each file's figures come first, beside those of Markdown."""
    encoder, rows = found.Remembering(), []
    other = {
        has_alts: found.is_first(
            web.markdown(without_notes(blocks), folder / "book.md", alts=has_alts),
            encoder,
        )
        for has_alts in {file.has_alts for file in files.values()}
    }
    for name, file in files.items():
        if "pairs" in name:  # other captions than Markdown's
            continue
        own = found.is_first(file, encoder)
        for row in found.compared(own, other[file.has_alts], seed):
            rows.append({"kind": name, **row})
            print(rows[-1], flush=True)
    return rows


def bar_of(row: Row, figure: str) -> tuple[Callable[[float], bool], str] | None:
    if figure == "cpu_page" and row.get("n_tables"):
        return WITH_TABLES
    return OF_ONE_KIND.get((row["kind"], figure), BARS.get(figure))


def shown(row: Row, figure: str) -> str:
    value, bar = row.get(figure), bar_of(row, figure)
    if value is None:
        return ""
    is_count = figure in ("n_logos", "child_mb")
    said = f"{value:.0f}" if is_count else f"{value:.3f}"
    return said if bar is None or bar[0](value) else f"**{said}**"


def main() -> None:
    made = parser(__doc__, "data", "out", "book", "seed")
    made.add_argument("--figures", type=int, default=40, help="at least so many")
    made.add_argument("--only", nargs="+", default=[], help="kinds that contain this")
    made.add_argument("--libreoffice", action="store_true")
    made.add_argument("--found", action="store_true", help="captions as queries too")
    made.add_argument("--keep", type=Path, help="a folder for the files")
    given = made.parse_args()
    report = header(*PACKAGES)
    blocks = book(given.data / "openstax" / given.book, given.figures, given.seed)
    names = [name for name in MAKERS if name != "LibreOffice" or given.libreoffice]
    if given.only:
        names = [name for name in MAKERS if any(one in name for one in given.only)]
    report["rows"], report["found"] = [], []
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, Made] = {}
        for name in names:
            try:
                files[name], row = measured(name, blocks, given.keep or Path(folder))
            except KeyError as error:  # of the table of readers
                print(f"{name}: {error} is not read", flush=True)
                continue
            report["rows"].append(row)
            print(name, {key: shown(row, key) for key in SHOWN}, flush=True)
            if row["problems"]:
                print("  problems:", *row["problems"], sep="\n    ", flush=True)
        if given.found:
            report["found"] = found_in(files, blocks, Path(folder), given.seed)
    print(write(f"documents_{given.book}", report, page(report), out=given.out))


def page(report: Row) -> list[str]:
    """Return the report as a page; what misses its bar stands in bold."""
    head = ["kind", *(key.removeprefix("n_").replace("_", " ") for key in SHOWN)]
    bars = ["*bar*", *(BARS[key][1] if key in BARS else "" for key in SHOWN)]
    rows = (
        [row["kind"], *(shown(row, key) for key in SHOWN)] for row in report["rows"]
    )
    return [
        "# What is read of documents",
        "",
        f"{first_line(report)}.",
        "",
        *table(head, [bars, *rows]),
        "",
        *(found.page(report["found"]) if report["found"] else ()),
        last_line(report),
    ]


if __name__ == "__main__":
    main()
