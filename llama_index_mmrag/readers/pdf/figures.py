"""Figures of a PDF's page: its pictures, and its drawings that have a caption."""

from __future__ import annotations

import ctypes
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pypdfium2
import pypdfium2.raw as pdfium

from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.page import Box
from llama_index_mmrag.readers.pdf.captions import between, captions_on, linked
from llama_index_mmrag.readers.pdf.drawings import (
    LEAST_AREA,
    Found,
    text_area,
    with_drawings,
    with_margin,
)
from llama_index_mmrag.readers.pdf.lines import around
from llama_index_mmrag.readers.pdf.objects import (
    Drawn,
    Points,
    Sheet,
    area,
    is_in,
    shared_area,
)
from llama_index_mmrag.readers.pdf.pictures import (
    LINES_SCALE,
    encoded,
    goes_on,
    is_blank,
    is_broken,
    own_jpeg,
    scale_of,
    shown,
)
from llama_index_mmrag.readers.pdf.tables import Table

LEAST_PIXELS = 32
_MOST_TEXT = 0.3
"""Of a picture: under more words it is their ground, or a page that was scanned."""
_MOST_LABEL = 4
"""Words of a line on a picture that is a part of it."""
_BROKEN = "a picture is broken and left out. Replace the file."
_SLOW = "a picture takes too long to draw and is left out. Save it as one beside it."
_TOUCHING = 1.5
"""Points between the pieces of a picture."""
_MOST_PICTURES = 2_000
"""Of a page."""
_MOST_HASHED = 1 << 20
"""Bytes of a picture."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture or a drawing."""

    box: Box
    """Shares of the page as displayed."""
    data: bytes = field(repr=False)
    """JPEG or PNG."""
    caption: tuple[int, ...] = ()
    """Lines that name it, by their place among the page's."""
    labels: tuple[int, ...] = ()
    """Lines that are part of it, and of no paragraph."""
    mcids: frozenset[int] = frozenset()
    """Marked contents that it is drawn by."""


def figures_of(
    sheet: Sheet,
    how: How,
    *,
    repeated: frozenset[bytes] = frozenset(),
    tables: Sequence[Table] = (),
    tagged: Sequence[frozenset[int]] = (),
    left_out: Callable[[str], object] = str,
) -> list[Figure]:
    """Return a page's figures, in the order in which they are drawn.

    Pictures of less than 32 pixels or 1 % of the page are none, and of drawings only
    those that have a caption, or are figures by the file's tags.

    Args:
        sheet: The page.
        how: A picture of more pixels than `how.pixels` is drawn from the page.
        repeated: What is the same on many pages, see `repeated_in`.
        tables: Those of the page: their lines and captions are theirs.
        tagged: Marked contents of each figure by the file's tags.
        left_out: Told why, for each picture that is broken, or takes too long.
    """
    taken = [sheet.points(table.box) for table in tables]
    drawn = [
        one
        for one in sheet.drawn
        if one.is_picture or not any(is_in(one.box, box) for box in taken)
    ]
    found, rest = _by_tags(drawn, tagged, sheet)
    pictures = [one for one in rest if one.is_picture and not _is_known(one, repeated)]
    found += [one for one in _whole(pictures, sheet) if _is_figure(one, sheet)]
    theirs = {i for table in tables for i in (*table.lines, *table.caption)}
    captions = captions_on(sheet, theirs)
    figure_captions = [one for one in captions if one.kind == "figure"]
    if figure_captions or any(not one.pictures for one in found):
        paths = [one for one in rest if not one.is_picture]
        found = with_drawings(found, paths, captions, sheet)
    is_apart = between(sheet, (i for one in found for i in one.labels))
    drawings = {one.box for one in found if not one.pictures}
    links = linked(
        captions,
        [one.box for one in found],
        ("below", "above", "beside"),
        # A table may be a picture; one that is drawn is no drawing.
        lambda caption, box: (
            (caption.kind == "table" and box in drawings) or is_apart(caption, box)
        ),
    )
    made = []
    for n, one in enumerate(found):
        caption = captions[links[n]].lines if n in links else ()
        if not (caption or one.pictures or one.is_sure):
            continue
        try:
            data = _data(one, drawn, sheet, how, left_out)
        except TimeoutError:
            left_out(_SLOW)
            continue
        if data is not None:
            mcids = frozenset(part.mcid for part in one.parts) - {-1}
            # A headline over a picture is no part of it, unless it is a figure's.
            labels = one.labels if caption or one.is_sure else ()
            made.append(Figure(sheet.shares(one.box), data, caption, labels, mcids))
    return made


def marks_on(page: pypdfium2.PdfPage) -> frozenset[bytes]:
    """Return what tells a page's pictures from others."""
    return frozenset(_mark(one) for one in Sheet(page).pictures)


def repeated_in(pages: Sequence[frozenset[bytes]]) -> frozenset[bytes]:
    """Return what tells pictures that are on more than a third of some pages.

    Args:
        pages: What tells the pictures of each, see `marks_on`.
    """
    seen = Counter(mark for marks in pages for mark in marks)
    return frozenset(mark for mark, n in seen.items() if n > max(1, len(pages) / 3))


def _mark(drawn: Drawn) -> bytes:
    """Return what tells a picture from others: of a large one not its bytes."""
    n_bytes = pdfium.FPDFImageObj_GetImageDataRaw(drawn.raw, None, 0)
    wide, high = ctypes.c_uint(), ctypes.c_uint()
    pdfium.FPDFImageObj_GetImagePixelSize(drawn.raw, wide, high)
    said = hashlib.sha256(f"{wide.value} {high.value} {n_bytes}".encode())
    if n_bytes <= _MOST_HASHED:
        data = (ctypes.c_ubyte * n_bytes)()
        pdfium.FPDFImageObj_GetImageDataRaw(drawn.raw, data, n_bytes)
        said.update(data)
    return said.digest()


def _is_known(drawn: Drawn, repeated: frozenset[bytes]) -> bool:
    return bool(repeated) and _mark(drawn) in repeated


def _by_tags(
    drawn: list[Drawn], tagged: Sequence[frozenset[int]], sheet: Sheet
) -> tuple[list[Found], list[Drawn]]:
    """Return the figures that a file's tags name, and what else is drawn."""
    if not tagged:
        return [], drawn
    found, rest = [], drawn
    for mcids in tagged:
        parts = [one for one in rest if one.mcid in mcids]
        if not parts:
            continue
        rest = [one for one in rest if one.mcid not in mcids]
        labels = [
            i
            for i, line in enumerate(sheet.lines)
            if all(word.style.mcid in mcids for word in line.words)
        ]
        box = around([part.box for part in parts] + [sheet.boxes[i] for i in labels])
        one = Found(box, parts, tuple(labels), is_sure=True)
        if len(one.pictures) < len(parts):
            one.box = with_margin(box, sheet)
        found.append(one)
    return found, rest


def _whole(pictures: list[Drawn], sheet: Sheet) -> list[Found]:
    """Return pictures, those in one that a producer cut into pieces."""
    order = sorted(pictures[:_MOST_PICTURES], key=lambda one: one.box[0])
    laid, touching = list[tuple[int, int]](), list[tuple[int, int]]()
    for i, one in enumerate(order):
        for k in range(i + 1, len(order)):
            other = order[k]
            if other.box[0] > one.box[2] + _TOUCHING:
                break
            if is_in(other.box, one.box) or is_in(one.box, other.box):
                laid.append((i, k))
            elif _is_touching(one.box, other.box):
                touching.append((i, k))
    if touching:
        laid += _cut(touching, order, sheet)
    groups = _groups(len(order), laid)
    found = [
        Found(around(order[i].box for i in its), [order[i] for i in its])
        for its in groups
    ]
    place = {id(one): n for n, one in enumerate(pictures)}
    return sorted(found, key=lambda it: min(place[id(part)] for part in it.parts))


def _cut(
    touching: list[tuple[int, int]], pictures: list[Drawn], sheet: Sheet
) -> list[tuple[int, int]]:
    """Return which of the pairs that touch are pieces of one picture.

    Those without a seam; and all of a group of which half have none: one may be where
    the picture itself has an edge.
    """
    try:
        page = shown(sheet, (0.0, 0.0, *sheet.size), 1.0).convert("L")
    except TimeoutError:
        return touching
    scale = page.width / sheet.size[0]

    def is_seamless(pair: tuple[int, int]) -> bool:
        one, other = ((side * scale for side in pictures[n].box) for n in pair)
        return goes_on(page, (*one,), (*other,))

    made: list[tuple[int, int]] = []
    for group in _groups(len(pictures), touching):
        pairs = [pair for pair in touching if pair[0] in group]
        seamless = [pair for pair in pairs if is_seamless(pair)]
        is_one = len(pairs) > 1 and len(seamless) * 2 >= len(pairs)
        made += pairs if is_one else seamless
    return made


def _groups(n: int, pairs: Iterable[tuple[int, int]]) -> list[set[int]]:
    """Return which of so many belong together, by pairs that do."""
    groups = {i: {i} for i in range(n)}
    for i, k in pairs:
        if groups[i] is not groups[k]:
            groups[i] |= groups[k]
            for one in groups[k]:
                groups[one] = groups[i]
    return [*{id(group): group for group in groups.values()}.values()]


def _is_touching(one: Points, other: Points) -> bool:
    """Return whether two boxes touch along a whole side."""
    for x in (0, 1):
        y = 1 - x
        is_beside = min(abs(one[x + 2] - other[x]), abs(other[x + 2] - one[x]))
        is_level = max(abs(one[y] - other[y]), abs(one[y + 2] - other[y + 2]))
        if is_beside <= _TOUCHING and is_level <= _TOUCHING:
            return True
    return False


def _is_figure(found: Found, sheet: Sheet) -> bool:
    """Return whether pictures are large enough, and no ground of words."""
    x0, y0, x1, y1 = found.box
    scale = max(scale_of(part, sheet) for part in found.parts)
    if min(x1 - x0, y1 - y0) * scale < LEAST_PIXELS - 1:
        return False
    if area(found.box) < LEAST_AREA * sheet.area:
        return False
    if text_area(found.box, sheet) > _MOST_TEXT * area(found.box):
        return False
    over = sheet.lines_in(found.box)
    is_short = (len(sheet.lines[i].text.split()) <= _MOST_LABEL for i in over)
    found.labels = tuple(i for i, it in zip(over, is_short, strict=True) if it)
    return True


def _data(
    found: Found,
    drawn: Sequence[Drawn],
    sheet: Sheet,
    how: How,
    left_out: Callable[[str], object],
) -> bytes | None:
    """Return a figure's file; None where there is nothing to be seen."""
    pictures = found.pictures
    if len(pictures) == len(found.parts) == 1 and not found.labels:
        over = drawn[drawn.index(pictures[0]) + 1 :]
        is_alone = not any(shared_area(one.box, found.box) > 1 for one in over)
        if is_alone and (data := own_jpeg(pictures[0], sheet, how)):
            return data
    scales = [scale_of(one, sheet) for one in pictures]
    is_drawn = len(pictures) < len(found.parts) or found.labels or not scales
    picture = shown(
        sheet, found.box, max([*scales, *([LINES_SCALE] if is_drawn else [])])
    )
    if not is_blank(picture):
        return encoded(picture)
    if any(is_broken(one, sheet) for one in pictures):
        left_out(_BROKEN)
    return None
