"""Pictures of a PDF's page: a JPEG as it is, what else there is as it is displayed."""

from __future__ import annotations

import math
import time
from io import BytesIO
from typing import TYPE_CHECKING, cast

import pypdfium2.raw as pdfium
from pypdfium2 import PdfBitmap, PdfImage, PdfiumError

from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.pdf.objects import Drawn, Points, Sheet

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_SIDE = 2_048
"""Pixels of what is drawn."""
LINES_SCALE = 2.0
"""Pixels for a point of a drawing of lines, and of words on a picture."""

_MOST_S = 3.0
"""Processor seconds: a plan or a map may take minutes."""
_SMALL = 64
_MOST_APART = 24.0
"""Of 255: a JPEG and how it is displayed, as small copies. A mask or another scale of
colours makes it 40 and more."""
_STEP, _SEAM, _NOISE = 2, 2.0, 6.0
"""Pixels between rows that are compared; at a seam they are more than so many times as
far apart as those beside it, and by more than that of 255."""
_ONE_SHAPE = 0.03
_FEW_COLOURS = 4_096
_MOST_CHECKED = 16 << 20
"""Bytes of a picture that is looked through for what is broken in it."""


def picture_of(drawn: Drawn, sheet: Sheet) -> PdfImage:
    """Return what pypdfium2 makes of a picture."""
    return cast("PdfImage", PdfImage(drawn.raw, page=sheet.page, pdf=sheet.page.pdf))


def scale_of(drawn: Drawn, sheet: Sheet) -> float:
    """Return a picture's pixels for a point, in the direction that has more."""
    wide, high = picture_of(drawn, sheet).get_px_size()
    m = drawn.matrix
    sides = max(math.hypot(m.a, m.b), 1e-3), max(math.hypot(m.c, m.d), 1e-3)
    return float(max(wide / sides[0], high / sides[1]))


def shown(sheet: Sheet, box: Points, scale: float, most: int = MOST_SIDE) -> Image:
    """Return a part of the page as it is displayed.

    Args:
        sheet: The page.
        box: The part.
        scale: Pixels for a point, or fewer where its longer side had more than `most`.
        most: Pixels of its longer side.

    Raises:
        TimeoutError: It takes more than 3 s of processor time, or the page 8 s.
    """
    wide, high = sheet.size
    x0, y0, x1, y1 = box
    scale = min(scale, (most - 1) / max(x1 - x0, y1 - y0, 1.0))
    left, top, right, bottom = (
        math.ceil(max(side, 0.0) * scale) for side in (x0, y0, wide - x1, high - y1)
    )
    whole = math.ceil(wide * scale), math.ceil(high * scale)
    size = max(whole[0] - left - right, 1), max(whole[1] - top - bottom, 1)
    bitmap = PdfBitmap.new_native(*size, pdfium.FPDFBitmap_BGR, rev_byteorder=True)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, *size)
    pause = pdfium.IFSDK_PAUSE(version=1)
    asked, until = type(pause.NeedToPauseNow), time.process_time() + _MOST_S
    until = min(until, sheet.draws_until)
    pause.NeedToPauseNow = asked(lambda _: time.process_time() > until)
    flags = pdfium.FPDF_RENDER_LIMITEDIMAGECACHE | pdfium.FPDF_REVERSE_BYTE_ORDER
    where = (-left, -top, *whole, 0, flags, pause)
    done = pdfium.FPDF_RenderPageBitmap_Start(bitmap, sheet.page, *where)
    pdfium.FPDF_RenderPage_Close(sheet.page)
    if done == pdfium.FPDF_RENDER_TOBECONTINUED:
        raise TimeoutError("it takes too long to draw")
    return cast("Image", bitmap.to_pil())


def goes_on(page: Image, one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Return whether what is in two boxes that touch is one picture: it has no seam.

    Args:
        page: All of it, in grey.
        one: A box, in pixels of that.
        other: The one below or above, or beside it.
    """
    from PIL import ImageChops, ImageStat

    x = 0 if abs(one[1] - other[1]) < abs(one[0] - other[0]) else 1
    seam = round(max(one[x], other[x]))
    first, last = (int(side) for side in (one[1 - x], one[3 - x]))

    def row(at: int) -> Image:
        ends = (at, first, at + 1, last) if x == 0 else (first, at, last, at + 1)
        return page.crop(ends)

    def apart(at: int) -> float:
        both = ImageChops.difference(row(at - _STEP), row(at + _STEP))
        return float(ImageStat.Stat(both).mean[0])

    usual = max(apart(seam - 2 * _STEP), apart(seam + 2 * _STEP))
    return apart(seam) <= _SEAM * usual + _NOISE


def encoded(picture: Image) -> bytes:
    """Return a picture's file: PNG of few colours, JPEG of many."""
    out = BytesIO()
    if picture.getcolors(_FEW_COLOURS) is None:
        picture.save(out, "JPEG", quality=90)
    else:
        picture.save(out, "PNG")
    return out.getvalue()


def is_blank(picture: Image) -> bool:
    """Return whether a picture has one colour."""
    extrema = cast("tuple[tuple[int, int], ...]", picture.getextrema())
    return all(low == high for low, high in extrema)


def own_jpeg(drawn: Drawn, sheet: Sheet, how: How) -> bytes | None:
    """Return a picture's own file, if it shows what the page displays.

    None where it is no JPEG, is turned, cut off or stretched, has more pixels than are
    read, or is displayed in other colours: through a mask, or of four inks.
    """
    own = picture_of(drawn, sheet)
    wide, high = own.get_px_size()
    m = drawn.matrix
    x0, y0, x1, y1 = drawn.box
    is_upright = sheet.page.get_rotation() == 0 and m.a > 0 and m.d > 0
    is_straight = abs(m.b) + abs(m.c) < 0.01 * (m.a + m.d)
    shape = (x1 - x0) * high / max((y1 - y0) * wide, 1e-6)
    if (
        drawn.is_cut
        or not (is_upright and is_straight)
        or abs(shape - 1) > _ONE_SHAPE
        or wide * high > how.pixels
        or own.get_filters(skip_simple=True) != ["DCTDecode"]
    ):
        return None
    data = bytes(own.get_data(decode_simple=True))
    small = _small(data)
    if small is None:
        return None
    from PIL import ImageChops, ImageStat

    seen = shown(sheet, drawn.box, scale_of(drawn, sheet), _SMALL)
    apart = ImageChops.difference(seen.convert("RGB"), small.resize(seen.size))
    return data if max(ImageStat.Stat(apart).mean) <= _MOST_APART else None


def is_broken(drawn: Drawn, sheet: Sheet) -> bool:
    """Return whether a picture that comes out blank does so for want of its data."""
    own = picture_of(drawn, sheet)
    filters = own.get_filters(skip_simple=True)
    if pdfium.FPDFImageObj_GetImageDataRaw(drawn.raw, None, 0) > _MOST_CHECKED:
        return False
    if filters and filters[-1] in ("DCTDecode", "JPXDecode"):
        return _small(bytes(own.get_data(decode_simple=True))) is None
    wide, high = own.get_px_size()
    if filters or wide * high > _MOST_CHECKED:
        return False
    try:
        bits = max(own.get_metadata().bits_per_pixel, 1)
    except PdfiumError:
        return True
    has = pdfium.FPDFImageObj_GetImageDataDecoded(drawn.raw, None, 0)
    return bool(has < (wide * bits + 7) // 8 * high)


def _small(data: bytes) -> Image | None:
    """Return a small copy of a picture's file; None: it cannot be shown as it is."""
    import PIL.Image

    try:
        with PIL.Image.open(BytesIO(data)) as opened:
            is_turned = opened.getexif().get(0x0112, 1) != 1
            if is_turned or opened.mode not in ("L", "RGB", "RGBA"):
                return None
            opened.draft("RGB", (_SMALL, _SMALL))
            return cast("Image", opened.convert("RGB").resize((_SMALL, _SMALL)))
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError):
        return None
