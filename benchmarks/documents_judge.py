"""What readers make of files, beside what is in them."""

from __future__ import annotations

import re
import resource
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from documents_book import Block, Figure, Heading, Made, Paragraph
from PIL import Image, ImageOps

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.children import Child
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.kinds import CHILD_READERS
from llama_index_mmrag.readers.page import Page, PictureLink

FILE_S, MEMORY = 600.0, 768 << 20
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_SIDE = 16
_MOST_APART = 35.0
"""Of 255, between small copies of the same picture: printers' colours are shown paler
by one library than by another. The nearest is taken."""
_LEAST_OVERLAP = 0.3
"""Of a drawing with its box, to be it at all."""
_MORE_WORDS = 8
"""That a caption may have beside its own, such as a credit."""
_GRAM = 5
_CELL = re.compile(r"(?<!\\)\|")

Row = dict[str, Any]


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.translate(_RAISED))


def n_in_order(wanted: Sequence[str], read: Sequence[str]) -> int:
    """Return the length of the longest common subsequence, by Hyyrö's bits.

    A bit of `row` is 0 where the length grows.
    https://doi.org/10.1016/j.ipl.2004.11.010 has the recurrence.
    """
    places: dict[str, int] = {}
    for n, word in enumerate(wanted):
        places[word] = places.get(word, 0) | 1 << n
    every = (1 << len(wanted)) - 1
    row = every
    for word in read:
        if match := row & places.get(word, 0):
            row = (row + match) | (row - match)
    return len(wanted) - (row & every).bit_count()


def said_by(block: Block) -> list[str]:
    """Return the texts of a block, in their order."""
    if isinstance(block, Heading):
        return [block.text]
    if isinstance(block, Paragraph):
        note = [f"{block.number} {block.note}"] if block.note else []
        return [f"{block.text}{block.number}" if note else block.text, *note]
    if isinstance(block, Figure):
        return [block.caption]
    return [block.caption, *(" ".join(row) for row in block.rows)]


def text_of(page: Page) -> str:
    """Return all that is read, each heading where it begins to stand above."""
    said: list[str] = []
    above: tuple[str, ...] = ()
    for section in page.sections:
        shared = 0
        for one, other in zip(above, section.headings, strict=False):
            if one != other:
                break
            shared += 1
        said += [*section.headings[shared:], section.text]
        above = section.headings
    return "\n\n".join(said)


def read(made: Made) -> tuple[Page, Row]:
    """Return what a child makes of a file, and what that took.

    CPU seconds are of this process and of the child, its start included.
    """
    module = CHILD_READERS[made.file.suffix].module
    child = Child(file_s=FILE_S, memory_bytes=MEMORY, file_bytes=1 << 30)
    most, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(0.02):
            if child._process is not None:
                most[0] = max(most[0], anonymous(child._process.pid))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    before, began = cpu_s(), time.perf_counter()
    try:
        page = child.page(made.file, module, How())
    except DocumentUnreadable as error:
        page = Page((), problems=(str(error),))
    is_over.set()
    watching.join()
    child.close()
    took = {
        "cpu_s": cpu_s() - before,
        "wall_s": time.perf_counter() - began,
        "child_mb": most[0] / 1e6,
    }
    return page, took


def anonymous(process: int) -> int:
    """Return the bytes of memory that are a process's own now; 0: it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text("ascii")
    except OSError:
        return 0
    found = re.search(r"RssAnon:\s+(\d+)", status)
    return int(found[1]) << 10 if found else 0


def cpu_s() -> float:
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(who) for who in whose]
    return sum(one.ru_utime + one.ru_stime for one in used)


def judged(made: Made, page: Page) -> Row:
    """Return how much of a file is read as it is; shares but for counts (`n_...`)."""
    text = text_of(page)
    return {
        **_words(made, text),
        **_headings(made, page),
        **_tables(made, text),
        **_pictures(made, page),
        "n_problems": len(page.problems),
        "labels": _labels(made, page),
    }


def _words(made: Made, text: str) -> Row:
    texts = [said for block in made.blocks for said in said_by(block)]
    wanted = [word for said in texts for word in words_of(said)]
    found = words_of(text)
    alts = " ".join(figure.alt for figure in made.figures)
    left = (
        Counter(found) - Counter(wanted) - Counter(words_of(f"{alts} {made.allowed}"))
    )
    return {
        "words": n_in_order(wanted, found) / len(wanted),
        "words_more": left.total() / max(1, len(found)),
        "words_more_are": dict(left.most_common(12)),
        "neighbours": _neighbours(made, wanted, found),
    }


def _neighbours(made: Made, wanted: list[str], found: list[str]) -> float:
    """Return the share of paragraphs that are followed by the one after them.

    Of those that five words in a row tell from all else; they are found by these.
    """
    here, there = (_places(words) for words in (wanted, found))
    at: list[int | None] = []
    for block in made.blocks:
        if isinstance(block, Paragraph):
            words = words_of(block.text)
            grams = [
                (n, gram)
                for n in range(len(words))
                if here.get(gram := tuple(words[n : n + _GRAM])) is not None
            ]
            read = [there[gram] - n for n, gram in grams if there.get(gram) is not None]  # type: ignore[operator]
            if grams:
                at.append(read[0] if read else None)
    order = sorted((place, n) for n, place in enumerate(at) if place is not None)
    after = {n: other for (_, n), (_, other) in zip(order, order[1:], strict=False)}
    return float(np.mean([after.get(n) == n + 1 for n in range(len(at) - 1)]))


def _places(words: list[str]) -> dict[tuple[str, ...], int | None]:
    """Return where each five words in a row stand, None for more than once."""
    places: dict[tuple[str, ...], int | None] = {}
    for n in range(len(words) - _GRAM + 1):
        gram = tuple(words[n : n + _GRAM])
        places[gram] = None if gram in places else n
    return places


def _headings(made: Made, page: Page) -> Row:
    """Return the share of headings that stand above a section as the innermost."""
    wanted = [block.text for block in made.blocks if isinstance(block, Heading)]
    read = Counter(h for s in page.sections for h in dict.fromkeys(s.headings))
    right = [read[heading] > 0 for heading in wanted]
    return {"headings": float(np.mean(right)) if right else None}


def tables_in(text: str) -> Iterator[list[list[str]]]:
    """Yield the tables in GitHub's Markdown of a text."""
    rows: list[list[str]] = []
    for line in [*text.split("\n"), ""]:
        if line.startswith("|"):
            cells = [c.strip().replace(r"\|", "|") for c in _CELL.split(line)[1:-1]]
            if not all(set(cell) <= {*"-: "} and cell for cell in cells):
                rows.append(cells)
        elif rows:
            yield rows
            rows = []


def _tables(made: Made, text: str) -> Row:
    found: list[list[list[str]]] = []
    for rows in tables_in(text):
        if found and rows[0] == found[-1][0]:  # one on several pages
            found[-1] += rows[1:]
        else:
            found.append(rows)
    n_right = n_cells = 0
    for table in made.tables:
        wanted = [list(row) for row in table.rows]
        right = [
            sum(
                cell == other
                for row, others in zip(wanted, it, strict=False)
                for cell, other in zip(row, others, strict=False)
            )
            for it in found
        ]
        n_right += max(right, default=0)
        n_cells += sum(map(len, wanted))
    return {
        "cells": n_right / n_cells if n_cells else None,
        "n_tables": len(made.tables),
        "n_tables_read": len(found),
    }


def _pictures(made: Made, page: Page) -> Row:
    links = [
        link
        for section in page.sections
        for link in section.pictures
        if isinstance(link, PictureLink)
    ]
    pairs, n_logos = _matched(made, links)
    figures = made.figures
    is_captioned = [
        _is_same(figures[n].caption, links[at].figcaption)
        for n, at in pairs.items()
        if figures[n].caption
    ]
    is_alt = [figures[n].alt == links[at].alt for n, at in pairs.items()]
    overlaps, is_page = [], []
    for n, at in pairs.items():
        about = links[at].about
        if n < len(made.places):
            number, box = made.places[n]
            is_page.append(about.get("page", about.get("slide")) == number)
            if box is not None:
                overlaps.append(overlap(box, about.get("box")))
    n_none = len(links) - len(pairs) - n_logos
    missed = [
        {"caption": figure.caption[:60], "place": made.places[n : n + 1]}
        for n, figure in enumerate(figures)
        if n not in pairs
    ]
    n_figures = len(figures)
    n_captions = sum(bool(figure.caption) for figure in figures)
    return {
        "n_figures": n_figures,
        "figures": len(pairs) / n_figures if n_figures else None,
        "figures_none": n_none / max(1, len(links)),
        "figures_missed": missed[:5],
        "n_logos": n_logos,
        "captions": sum(is_captioned) / n_captions if n_captions else None,
        "alts": _mean(is_alt) if made.has_alts else None,
        "page": _mean(is_page),
        "box": _mean([iou >= 0.8 for iou in overlaps]),
        "box_iou": _mean(overlaps),
    }


def _matched(made: Made, links: list[PictureLink]) -> tuple[dict[int, int], int]:
    """Return the picture of each figure that has one, and how many are the logo."""
    small = [_small(link, made.file.parent) for link in links]
    logos: set[int] = set()
    if made.logo is not None:
        logo = small_of(Image.open(made.logo))
        logos = {n for n, one in enumerate(small) if _apart(one, logo) <= _MOST_APART}
    files = [figure.file for figure in made.figures]
    wanted = [small_of(Image.open(file)) if file else None for file in files]
    pairs = matched(wanted, [None if n in logos else it for n, it in enumerate(small)])
    free = set(range(len(links))) - logos - set(pairs.values())
    for n, (number, box) in enumerate(made.places):
        if wanted[n] is not None or box is None:
            continue
        for at in free:
            about = links[at].about
            is_there = about.get("page") == number
            if is_there and overlap(box, about.get("box")) > _LEAST_OVERLAP:
                pairs[n] = at
                free.remove(at)
                break
    return pairs, len(logos)


def matched(wanted: Sequence[Any], found: Sequence[Any]) -> dict[int, int]:
    """Return which of some small copies is each that is wanted: the nearest first."""
    distances = sorted(
        (distance, n, at)
        for n, one in enumerate(wanted)
        for at, other in enumerate(found)
        if (distance := _apart(one, other)) <= _MOST_APART
    )
    pairs: dict[int, int] = {}
    for _, n, at in distances:
        if n not in pairs and at not in pairs.values():
            pairs[n] = at
    return pairs


def _small(link: PictureLink, folder: Path) -> Any:
    try:
        source = folder / link.src if link.data is None else BytesIO(link.data)
        return small_of(Image.open(source))
    except OSError:
        return None


def small_of(picture: Image.Image) -> Any:
    """Return a small copy, shape (16, 16, 3), and its width by its height."""
    picture = ImageOps.exif_transpose(picture)
    flat = Image.new("RGB", picture.size, "white")
    flat.paste(picture.convert("RGB"), mask=_mask(picture))
    small = flat.resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, float), picture.width / picture.height


def _mask(picture: Image.Image) -> Image.Image | None:
    return picture.getchannel("A") if picture.mode in ("RGBA", "LA") else None


def _apart(one: Any, other: Any) -> float:
    """Return the mean difference of two small copies; other shapes are apart."""
    if one is None or other is None or not 0.93 < one[1] / other[1] < 1.07:
        return np.inf
    return float(np.abs(one[0] - other[0]).mean())


def _is_same(caption: str, read: str) -> bool:
    wanted, found = words_of(caption), words_of(read)
    is_whole = n_in_order(wanted, found) >= 0.95 * len(wanted)
    return is_whole and len(found) <= len(wanted) + _MORE_WORDS


def overlap(box: Sequence[float], other: Sequence[float] | None) -> float:
    """Return the intersection of two boxes by their union."""
    if other is None:
        return 0.0
    sides = [
        max(0.0, min(box[n + 2], other[n + 2]) - max(box[n], other[n])) for n in (0, 1)
    ]
    shared = sides[0] * sides[1]
    areas = [(it[2] - it[0]) * (it[3] - it[1]) for it in (box, other)]
    return shared / (sum(areas) - shared) if shared else 0.0


def _labels(made: Made, page: Page) -> float | None:
    if not made.labels:
        return None
    read = [*page.labels, *[""] * len(made.labels)]
    own = [label or str(n) for n, label in enumerate(read, 1)]
    right = [one == other for one, other in zip(made.labels, own, strict=False)]
    return float(np.mean(right))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
