"""Pages of a PDF as pictures: for who reads them, and for who looks at them."""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import TYPE_CHECKING

import pypdfium2
import pypdfium2.raw as pdfium

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.page import PictureLink, Section

if TYPE_CHECKING:
    from PIL import Image

READ_DPI = 200
"""Dots an inch, at which engines read a page as well as at 300, and sooner."""
_READ_SIDE = 4_000
"""Pixels: of a larger sheet there are fewer dots an inch."""

_SHOWN_SIDE = 1_024
_SHOWN_QUALITY = 75
"""Of WebP: a noisy page has some 100 kB then."""


def drawn(document: pypdfium2.PdfDocument, n: int) -> Section:
    """Return the picture of a page, in grey, for an engine to read.

    Args:
        document: The file.
        n: The page, from 1.

    Raises:
        DocumentUnreadable: It is not there, or damaged.
    """
    try:
        if n > len(document):
            raise DocumentUnreadable(f"There is no page {n}. Check the file.")
        page = document[n - 1]
    except pypdfium2.PdfiumError as error:
        raise DocumentUnreadable(
            f"Cannot draw page {n}: {error}. Check the file."
        ) from error
    encoded = BytesIO()
    # PNG takes 13 times as long.
    _drawn(page, READ_DPI / 72, _READ_SIDE, in_grey=True).save(encoded, "BMP")
    return Section(pictures=(PictureLink("", data=encoded.getvalue()),))


def _shown(page: pypdfium2.PdfPage, n: int) -> PictureLink:
    """Return a page's picture as it is kept: WebP, at most 1,024 pixels a side.

    Args:
        page: The page.
        n: Its number, from 1.
    """
    encoded = BytesIO()
    size = _SHOWN_SIDE / max(*page.get_size(), 1)
    picture = _drawn(page, size, _SHOWN_SIDE)
    picture.save(encoded, "WEBP", quality=_SHOWN_QUALITY, method=2)
    about = {"page": n, "box": [0.0, 0.0, 1.0, 1.0], "kind": "scan"}
    return PictureLink(f"#page={n}", data=encoded.getvalue(), about=about)


def scan_of(page: pypdfium2.PdfPage, n: int, how: How, *, is_first: bool) -> Section:
    """Return the section of a page that is a picture, without words.

    Its name says what is on it, for who reads it.

    Args:
        page: The page.
        n: Its number, from 1.
        how: Which pages' pictures are kept.
        is_first: Whether it is the first such page of its file.
    """
    is_shown = how.page_pictures == "all" or (how.page_pictures == "first" and is_first)
    return Section(
        pictures=(_shown(page, n),) if is_shown else (),
        name=("scan", n, digest_of(page)),
        about={"kind": "scan", "page": n},
    )


def digest_of(page: pypdfium2.PdfPage) -> str:
    """Return a name of what a page shows, for what was read in it.

    Pictures count as the bytes that the file has of them, and all else as it looks.
    """
    digest = hashlib.sha256(repr((page.get_size(), page.get_rotation())).encode())
    is_all = True
    for one in page.get_objects(max_depth=1):
        if one.type == pdfium.FPDF_PAGEOBJ_IMAGE:
            digest.update(repr(one.get_matrix().get()).encode())
            digest.update(one.get_data(decode_simple=False))
        else:
            is_all = False
    if not is_all:
        digest.update(_drawn(page, 1.0, _SHOWN_SIDE, in_grey=True).tobytes())
    return digest.hexdigest()


def _drawn(
    page: pypdfium2.PdfPage, scale: float, most_side: int, *, in_grey: bool = False
) -> Image.Image:
    """Return a page as it is displayed, at most `most_side` pixels a side.

    Args:
        page: The page.
        scale: Pixels a point.
        most_side: Pixels.
        in_grey: Whether without colours.
    """
    scale = min(scale, most_side / max(*page.get_size(), 1))
    bitmap = page.render(scale=scale, grayscale=in_grey)
    try:
        picture: Image.Image = bitmap.to_pil()
        return picture.convert("L" if in_grey else "RGB")
    finally:
        bitmap.close()
