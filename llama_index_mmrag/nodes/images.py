"""Pictures: opened safely, upright, in RGB, and no larger than they need to be."""

from __future__ import annotations

import os
import re
import stat
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TypeAlias

from PIL import ExifTags, Image, ImageOps

from llama_index_mmrag.errors import ImageUnreadable

ImageSource: TypeAlias = str | Path | bytes | BytesIO | Image.Image
"""What we read a picture from: a path, its file's bytes, or an open PIL image."""

_HAS_AVIF = find_spec("PIL._avif") is not None  # from Pillow 11.3 on, in its wheels
_HAS_HEIF = find_spec("pi_heif") is not None  # the extra "photos"

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    | ({".avif"} if _HAS_AVIF else set())
    | ({".heic", ".heif"} if _HAS_HEIF else set())
)

MAX_PIXELS = 89_478_485
"""Most pixels decoded into memory: Pillow's own limit against decompression bombs."""

MAX_BYTES = 1 << 30
"""Most bytes of a picture's file: three times `MAX_PIXELS` at four bytes a pixel."""

MAX_SCANS = 100
"""Most scans of a JPEG, each of which costs the whole picture's time. What libtiff
allows in its own; libjpeg and Pillow have no limit. Encoders write about ten."""

LARGE_BYTES = 256_000_000
"""Decodes that may take more than this run one at a time in a process."""

# The readers that bytes of unknown origin may reach. Others run programs (EPS) or are
# seldom used and so seldom tested.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", *["AVIF"] * _HAS_AVIF)

# Their containers hold lengths or checksums that verify() checks without decoding
# (WebP 1.5 ms against 49 ms); JPEG and GIF hold none, and are decoded, JPEG at 1/8.
_COSTLY = frozenset({"AVIF", "HEIF", "WEBP"})
_SELF_CHECKING = frozenset({"PNG", "WEBP"})

# A caller's picture is decoded at its first use, from one position in one file: one
# thread at a time. Which lock is a matter of luck; few pictures share one.
_DECODING = tuple(Lock() for _ in range(64))
_DECODING_LARGE = Lock()

# Bytes a pixel while it is decoded, turned and laid on white, at most; measured. WebP
# takes the most: its decoder keeps two canvases, Pillow a copy, and we the picture.
_PLAIN_BYTES, _OTHER_BYTES = 8, 16
_PLAIN_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK"})

# Brands of pictures as HEVC codes them, in a file's first box; AVIF has others there.
_HEIF_BRANDS = re.compile(rb"(?:.{4})*?(?:hei[cmsx]|hev[cmsx])", re.DOTALL)

# In a scan's own data 0xFF is followed by 0 or, between its parts, by RST0 to RST7.
_JPEG_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])", re.DOTALL)
_NO_LENGTH, _END, _SCAN = (b"\x01", b"\xd8"), b"\xd9", b"\xda"

# Modes with 16 or 32 bits a sample; Pillow's convert() clips them instead of scaling.
_DEEP_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N"})

# One of them is Windows' and the other is not.
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def load_image(
    source: ImageSource, *, max_side: int | None = None, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Return the picture upright (EXIF), in RGB, first frame, longest side ≤ max_side.

    Transparent pixels are laid on white; 16-bit samples are scaled to 8 bits. A JPEG is
    decoded at reduced size where `max_side` allows it, so a camera's 100-megapixel file
    costs little.

    Args:
        source: Path, the file's bytes, or an open PIL image (which is not changed).
        max_side: Longest side of the result in pixels; None keeps the size.
        max_pixels: Most pixels that may be decoded into memory.

    Raises:
        ImageUnreadable: The file is missing, empty, truncated, of no known format, a
            pipe, device or socket, a JPEG of more than `MAX_SCANS` scans, or would take
            more than `max_pixels` pixels in memory.
    """
    try:
        opened = source if isinstance(source, Image.Image) else _open(source)
        if max_side is not None and opened is not source:
            opened.draft("RGB", (max_side, max_side))
        name = describe_source(source)
        _check_size(opened, name, max_pixels=max_pixels)
        with _turn(opened):
            with _alone(source) if opened is source else nullcontext():
                opened.load()
                # The name is given anew, so that what lies on its side is let go.
                opened = _upright(opened)
            picture = _to_rgb(opened)
            if picture is source:
                picture = picture.copy()
            del opened  # its pixels, before the next has its turn
            if max_side is not None and max(picture.size) > max_side:
                picture.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    except ImageUnreadable:
        raise
    except Exception as error:
        # Pillow's readers raise whatever the broken bytes lead them to: OSError,
        # SyntaxError, struct.error, KeyError, EOFError, warnings turned into errors.
        raise _unreadable(describe_source(source), error) from error
    return picture


def check_image(source: ImageSource) -> None:
    """Do nothing if a picture's header can be read; its pixels are not decoded.

    Raises:
        ImageUnreadable: As `load_image`, but for what only decoding shows.
    """
    if isinstance(source, Image.Image):
        return
    try:
        _open(source).close()
    except ImageUnreadable:
        raise
    except Exception as error:
        raise _unreadable(describe_source(source), error) from error


def check_whole(data: bytes, *, name: str, max_pixels: int = MAX_PIXELS) -> str:
    """Return the MIME type of a picture that is whole, by its content.

    Truncated files are found without decoding more than the format demands; a WebP
    whose length is right and whose content is not is found only when it is encoded.

    Args:
        data: The file's bytes.
        name: What the picture is called in messages.
        max_pixels: Most pixels that may be decoded into memory.

    Raises:
        ImageUnreadable: Empty, truncated, too large, or no picture.
    """
    try:
        with _open(data) as image:
            image.draft("RGB", (1, 1))
            _check_size(image, name, max_pixels=max_pixels)
            if image.format in _SELF_CHECKING:
                image.verify()
            else:
                with _turn(image):
                    image.load()
            mimetype = image.get_format_mimetype() or "application/octet-stream"
    except ImageUnreadable:
        raise
    except Exception as error:
        raise _unreadable(name, error) from error
    # A phone's JPEG with a second picture behind the first; still a JPEG.
    return mimetype.replace("image/mpo", "image/jpeg")


def shortest_side(data: bytes) -> int:
    """Return the pixels of the shorter side of a picture that is whole."""
    with _open(data) as image:
        width, height = image.size
        return int(min(width, height))


def image_bytes(source: ImageSource) -> bytes:
    """Return the encoded bytes of a picture: its file's own, or PNG for a PIL image.

    Raises:
        ImageUnreadable: The file is missing, empty, or a pipe, device or socket.
    """
    if isinstance(source, Image.Image):
        buffer = BytesIO()
        source.save(buffer, format="PNG")
        return buffer.getvalue()
    if isinstance(source, BytesIO):
        return source.getvalue()
    if isinstance(source, bytes):
        return source
    try:
        data = _read(Path(source))
    except (OSError, TypeError, ValueError) as error:
        # ValueError: a null byte in the path; TypeError: no path at all.
        raise _unreadable(describe_source(source), error) from error
    if not data:
        raise ImageUnreadable(
            f"The picture {str(source)!r} is an empty file. Replace or remove it."
        )
    return data


def describe_source(source: ImageSource) -> str:
    """Return a short name of a picture for messages: its path, or what it is."""
    if isinstance(source, Image.Image):
        return f"<{source.width}x{source.height} PIL image>"
    if isinstance(source, bytes):
        return f"<{len(source)} bytes>"
    if isinstance(source, BytesIO):
        return f"<{source.getbuffer().nbytes} bytes>"
    return repr(str(source) if isinstance(source, Path) else source)


def _read(path: Path) -> bytes:
    """Return a file's bytes; a pipe or device is not waited for.

    Looked at before it is opened, which some devices take for an order; and again when
    it is, for what was put in its place meanwhile.
    """
    _check_regular(path.stat())
    handle = os.open(path, os.O_RDONLY | _WITHOUT_WAITING)
    try:
        _check_regular(os.fstat(handle))
        with open(handle, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)  # one with holes may say any size
    finally:
        os.close(handle)
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
    return data


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise ValueError("it is a pipe, a device or a socket")


def _open(source: str | Path | bytes | BytesIO) -> Image.Image:
    """Return the opened picture; its pixels are not yet decoded.

    The readers are called directly, because `Image.open` warns about a large picture,
    or refuses it, before `draft` can shrink it; and warning filters cannot be set for
    one thread only. `load_image` counts the pixels instead.
    """
    data = image_bytes(source)
    if not data:
        raise ImageUnreadable(
            "The picture has zero bytes. Give the whole file's content."
        )
    if not Image.OPEN.keys() >= set(_FORMATS):
        Image.init()
    if _HAS_HEIF and _is_heif(data):
        from pi_heif import HeifImageFile

        opened: Image.Image = HeifImageFile(BytesIO(data))
        return opened  # its opener is not set for others
    for name in _FORMATS:
        reader, accepts = Image.OPEN[name]
        if accepts is not None and accepts(data[:16]) is True:
            if name == "JPEG":
                _check_scans(data)
            return reader(BytesIO(data), "")
    raise ValueError(f"it starts with {data[:8]!r}, which is no known picture format")


def _is_heif(data: bytes) -> bool:
    end = min(int.from_bytes(data[:4], "big"), 256)
    return data[4:8] == b"ftyp" and _HEIF_BRANDS.match(data[8:end]) is not None


def _check_scans(data: bytes) -> None:
    """Raise `ValueError` if a JPEG has too many scans; nothing is decoded.

    The pictures in its EXIF block and behind its end are not counted.
    """
    if data.count(b"\xff" + _SCAN) <= MAX_SCANS:
        return
    at = n_scans = 0
    while (found := _JPEG_MARKER.search(data, at)) and found[1] != _END:
        at = found.end()
        n_scans += found[1] == _SCAN
        if n_scans > MAX_SCANS:
            raise ValueError(f"it is a JPEG of more than {MAX_SCANS} scans")
        if found[1] not in _NO_LENGTH:
            at += int.from_bytes(data[at : at + 2], "big")


def _check_size(opened: Image.Image, name: str, *, max_pixels: int) -> None:
    n_pixels = opened.width * opened.height
    if n_pixels > max_pixels:
        raise ImageUnreadable(
            f"The picture {name} has {opened.width} x {opened.height} = "
            f"{n_pixels:,} pixels; at most {max_pixels:,} are decoded. Shrink it, or "
            f"raise max_pixels."
        )


def _turn(image: Image.Image) -> AbstractContextManager[object]:
    """Return what to hold while a picture is decoded: the one lock, if it is large."""
    more = {"transparency", "progressive"} & image.info.keys()
    is_plain = image.mode in _PLAIN_MODES and image.format not in _COSTLY and not more
    n_bytes = image.width * image.height * (_PLAIN_BYTES if is_plain else _OTHER_BYTES)
    return _DECODING_LARGE if n_bytes > LARGE_BYTES else nullcontext()


def _alone(opened: object) -> AbstractContextManager[object]:
    return _DECODING[id(opened) // 16 % len(_DECODING)]


def _upright(image: Image.Image) -> Image.Image:
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return image  # exif_transpose would copy its pixels
        return ImageOps.exif_transpose(image)
    except Exception:
        # The pixels are loaded and whole; only the EXIF block beside them is broken.
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        # 16-bit files hold 0..65535 whatever range they use; scaling by the maximum
        # would turn a dark picture bright.
        scaled = image.convert("F").point(lambda value: value / 257.0)
        return scaled.convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # Pasted whole: converted or composited it would be in memory up to four times.
        if image.mode not in ("RGBA", "LA"):
            image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _unreadable(name: str, error: BaseException) -> ImageUnreadable:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return ImageUnreadable(
        f"Cannot read the picture {name}: "
        f"{reason or type(error).__name__}. Expected a whole JPEG, PNG, WebP, GIF, "
        f"BMP, TIFF or AVIF file (URLs are not fetched). Replace the file or leave it "
        f"out."
    )
