"""Scans: a book's pages as pictures, read into an index: words in order, and CPU.

Pages are drawn at 150 dots an inch, turned, blurred, made noisy and kept as JPEG.
Writes results/scans.json and .md. From the repository's root:

    python benchmarks/scans.py --book philosophy --pages 8
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
from documents_book import Block, Heading, Made, Paragraph, book
from documents_judge import cpu_s, n_in_order, said_by, words_of
from documents_pdf import reportlab
from page import first_line, header, last_line, parser, table, write
from PIL import Image, ImageFilter

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.ingestion import ReadSettings
from llama_index_mmrag.lettering import reader_of
from llama_index_mmrag.nodes.node import POSITION_KEY
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.pdf.document import read as drawn

PACKAGES = ("llama-index-mmrag", "pypdfium2", "rapidocr", "onnxruntime", "Pillow")
LAYOUTS: dict[str, dict[str, Any]] = {
    "one column": {},
    "two columns, hyphens": {"columns": 2, "hyphens": True},
}
WORDS_A_PAGE = 480
MOST_LETTERS = 25


def words_alone(blocks: list[Block], n_pages: int) -> list[Block]:
    """Return headings and paragraphs of about so many pages."""
    taken: list[Block] = []
    n_words = 0
    for block in blocks:
        if isinstance(block, Heading | Paragraph) and n_words < n_pages * WORDS_A_PAGE:
            said = " ".join(said_by(block))
            is_noted = isinstance(block, Paragraph) and block.note
            # An address that is wider than a column would be printed over the next.
            if not is_noted and max(map(len, said.split())) <= MOST_LETTERS:
                taken.append(block)
                n_words += len(words_of(said))
    return taken


def scanned(made: Made, file: Path, seed: int) -> list[Image.Image]:
    """Write a file's pages as they come from a scanner; return them."""
    rng = np.random.default_rng(seed)
    pages = []
    with pypdfium2.PdfDocument(made.file) as document:
        for page in document:
            clean = page.render(scale=150 / 72).to_pil().convert("RGB")
            turned = clean.rotate(0.4, Image.Resampling.BICUBIC, fillcolor="white")
            blurred = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.6)), float)
            noisy = np.clip(blurred + rng.normal(0, 8, blurred.shape), 0, 255)
            pages.append(Image.fromarray(noisy.astype(np.uint8)))
    first, *others = pages
    how = {"save_all": True, "append_images": others, "resolution": 150, "quality": 70}
    first.save(file, "PDF", **how)
    return pages


def pictures(file: Path, n_pages: int) -> Iterator[bytes]:
    """Yield the pages as engines are given them."""
    for page in range(1, n_pages + 1):
        (section,) = drawn(file, How(drawn=page)).sections
        yield section.pictures[0].data


def engine_s(engine: str, given: list[bytes], folder: Path) -> float:
    """Return the CPU seconds that an engine takes for pictures, without us."""
    files = []
    for n, data in enumerate(given):
        files.append(folder / f"{n}.ppm")
        with Image.open(BytesIO(data)) as page:
            page.save(files[-1])
    before = cpu_s()
    if engine == "tesseract":
        for file in files:
            subprocess.run(
                ["tesseract", file, "-", "--psm", "3", "tsv"],
                env={**os.environ, "OMP_THREAD_LIMIT": "1"},
                capture_output=True,
                check=True,
            )
    else:
        reader = reader_of(engine, of_pages=True)
        for data in given:
            reader.read(data)
        reader.close()
    return cpu_s() - before


def measured(layout: str, blocks: list[Block], engine: str, seed: int) -> Any:
    """Return what reading a layout by an engine gives and costs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = reportlab(blocks, folder / "made.pdf", **LAYOUTS[layout])
        docs = folder / "docs"
        docs.mkdir()
        n_pages = len(scanned(made, docs / "scan.pdf", seed))
        alone = engine_s(engine, [*pictures(docs / "scan.pdf", n_pages)], folder)
        how = ReadSettings(
            chunk_size=1_000_000,
            chunk_overlap=0,
            media_dir=folder / "media",
            page_pictures="none",
        )
        opened = MultiModalQdrantIndex.open(
            folder / "s", embed_model=ColourEncoder(), read_scans=engine, settings=how
        )
        before = cpu_s()
        with opened as index:
            report = index.insert_directory(docs)
            texts = index.channels[0].collection.nodes_where(None)
        whole = cpu_s() - before
    assert report.n_pages_read == n_pages
    texts.sort(key=lambda node: node.metadata[POSITION_KEY])
    found = words_of("\n".join(node.get_content() for node in texts))
    wanted = [word for b in blocks for said in said_by(b) for word in words_of(said)]
    return {
        "layout": layout,
        "engine": engine,
        "pages": n_pages,
        "words": n_in_order(wanted, found) / len(wanted),
        "engine_s": alone / n_pages,
        "whole_s": whole / n_pages,
    }


def main() -> None:
    """Measure, and write the page."""
    arguments = parser(__doc__, "data", "out", "book", "seed")
    arguments.add_argument("--pages", type=int, default=6)
    arguments.add_argument("--engines", nargs="*", default=["tesseract", "rapidocr"])
    given = arguments.parse_args()
    report = header(*PACKAGES)
    blocks = words_alone(book(given.data / "openstax" / given.book, 20), given.pages)
    report["rows"] = [
        measured(layout, blocks, engine, given.seed)
        for engine in given.engines
        for layout in LAYOUTS
    ]
    write("scans", report, page(report), out=given.out)


def page(report: Any) -> list[str]:
    """Return the report as a page of Markdown."""
    head = ["engine", "layout", "pages", "words right, in order"]
    head += ["engine alone, CPU s a page", "indexed, CPU s a page", "times"]
    rows = [
        [
            *(row["engine"], row["layout"], row["pages"], f"{row['words']:.3f}"),
            *(f"{row['engine_s']:.2f}", f"{row['whole_s']:.2f}"),
            f"{row['whole_s'] / row['engine_s']:.2f}",
        ]
        for row in report["rows"]
    ]
    return [
        "# Scans",
        "",
        "Pages of a book at 150 dots an inch, turned by .4°, blurred, with noise, as "
        "JPEG, in one PDF, read into an index. All of its CPU seconds count, those of "
        "children too. The bars are .98 and 1.15 times.",
        "",
        *table(head, rows),
        "",
        f"{first_line(report)}. {last_line(report)}",
    ]


if __name__ == "__main__":
    main()
