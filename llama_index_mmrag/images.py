"""Pictures: opened safely, upright, in RGB, and no larger than they need to be."""

from __future__ import annotations

import base64
import binascii
from io import BytesIO
from pathlib import Path
from typing import TypeAlias

from llama_index.core.schema import ImageNode, ImageType
from PIL import Image, ImageOps

from llama_index_mmrag.errors import ImageUnreadable

ImageSource: TypeAlias = "str | Path | bytes | BytesIO | Image.Image"
"""What we read a picture from: a path, its file's bytes, or an open PIL image."""

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif"})

MAX_PIXELS = 89_478_485
"""Most pixels decoded into memory: Pillow's own limit against decompression bombs."""

# Modes with 16 or 32 bits a sample; Pillow's convert() clips them instead of scaling.
_DEEP_MODES = frozenset({"I", "I;16", "I;16L", "I;16B", "I;16N", "F"})

_PILLOW_ERRORS = (
    OSError,
    SyntaxError,  # Pillow's PNG reader on broken chunks
    ValueError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,  # raised where warnings are errors
)


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
        ImageUnreadable: The file is missing, empty, truncated, of no known format, or
            would take more than `max_pixels` pixels in memory.
    """
    name = describe_source(source)
    try:
        opened = source if isinstance(source, Image.Image) else _open(source)
        if max_side is not None and not isinstance(source, Image.Image):
            opened.draft("RGB", (max_side, max_side))
        n_pixels = opened.width * opened.height
        if n_pixels > max_pixels:
            msg = (
                f"{name} has {opened.width} x {opened.height} = {n_pixels:,} pixels; "
                f"at most {max_pixels:,} are decoded. Shrink it, or raise max_pixels."
            )
            raise ImageUnreadable(msg)
        picture = _to_rgb(ImageOps.exif_transpose(opened))
    except ImageUnreadable:
        raise
    except _PILLOW_ERRORS as error:
        msg = (
            f"Cannot read the picture {name}: {error or type(error).__name__}. Expected "
            f"a whole JPEG, PNG, WebP or GIF file. Replace the file or leave it out."
        )
        raise ImageUnreadable(msg) from error
    if max_side is not None and max(picture.size) > max_side:
        picture.thumbnail((max_side, max_side), Image.Resampling.BICUBIC)
    return picture


def image_bytes(source: ImageSource) -> bytes:
    """Return the encoded bytes of a picture: its file's own, or PNG for a PIL image.

    Raises:
        ImageUnreadable: The file is missing or empty.
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
        data = Path(source).read_bytes()
    except OSError as error:
        msg = f"Cannot read the picture {str(source)!r}: {error.strerror}."
        raise ImageUnreadable(msg) from error
    if not data:
        msg = f"The picture {str(source)!r} is an empty file. Replace or remove it."
        raise ImageUnreadable(msg)
    return data


def node_image(node: ImageNode) -> ImageType:
    """Return where an image node's picture is: its path, or its inline bytes.

    A path wins over inline data, so that large payloads are not decoded for nothing.
    An `image_url` is never fetched: nothing leaves the machine by itself.

    Raises:
        ImageUnreadable: The node has neither a path nor inline data.
    """
    if node.image_path:
        return node.image_path
    if node.image:
        try:
            return BytesIO(base64.b64decode(node.image, validate=True))
        except binascii.Error as error:
            msg = f"The inline picture of node {node.node_id!r} is no base64: {error}."
            raise ImageUnreadable(msg) from error
    msg = (
        f"Image node {node.node_id!r} has no image_path and no inline image"
        f"{' (URLs are not fetched)' if node.image_url else ''}. Set image_path."
    )
    raise ImageUnreadable(msg)


def describe_source(source: ImageSource) -> str:
    """Return a short name of a picture for messages: its path, or what it is."""
    if isinstance(source, (str, Path)):
        return repr(str(source))
    if isinstance(source, Image.Image):
        return f"<{source.width}x{source.height} PIL image>"
    n_bytes = len(source) if isinstance(source, bytes) else source.getbuffer().nbytes
    return f"<{n_bytes} bytes>"


def _open(source: str | Path | bytes | BytesIO) -> Image.Image:
    data = image_bytes(source)
    if not data:
        msg = "The picture has zero bytes. Give the whole file's content."
        raise ImageUnreadable(msg)
    return Image.open(BytesIO(data))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        # 16-bit files hold 0..65535 whatever range they use; scaling by the maximum
        # would turn a dark picture bright.
        scaled = image.convert("F").point(lambda value: value / 257.0)
        return scaled.convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
