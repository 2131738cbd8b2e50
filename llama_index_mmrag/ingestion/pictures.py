"""Pictures: read once, checked, hashed, and put where a node can point to them."""

from __future__ import annotations

import base64
import hashlib
import uuid
from io import BytesIO
from pathlib import Path

from llama_index.core.schema import BaseNode, Document, ImageNode, MediaResource
from PIL.TiffImagePlugin import TiffImageFile

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.files.writing import raise_if_full, replacing
from llama_index_mmrag.nodes.encoded_picture import encode_picture
from llama_index_mmrag.nodes.images import (
    MAX_PIXELS,
    check_whole,
    image_bytes,
    load_image,
)
from llama_index_mmrag.nodes.node import FILE_PATH_KEY, CaptionedImageNode
from llama_index_mmrag.nodes.shown import picture_of
from llama_index_mmrag.readers.page import Picture

_MOST_PAGES, _MOST_PAGE_BYTES = 300, 256 << 20
"""Of a TIFF: all its pages are in memory until they are stored."""


def read_picture(path: Path, *, pixels: int = MAX_PIXELS) -> Picture:
    """Return the picture in a file of at most so many pixels.

    Raises:
        ImageUnreadable: It is missing, empty, truncated, too large, or no picture.
    """
    data = image_bytes(path)
    mimetype = check_whole(data, name=repr(str(path)), max_pixels=pixels)
    return Picture(data, mimetype, path)


def inline_picture(data: bytes, name: str, *, pixels: int = MAX_PIXELS) -> Picture:
    """Return the picture that a page or node holds itself.

    Args:
        data: Its file's bytes.
        name: Where it is, for messages.
        pixels: Most that it may have.

    Raises:
        ImageUnreadable: The bytes are no whole picture.
    """
    mimetype = check_whole(data, name=f"in {name}", max_pixels=pixels)
    return Picture(data, mimetype, None)


def pages_of(picture: Picture, *, pixels: int) -> tuple[list[Picture], list[str]]:
    """Return each page of a TIFF that has several as a picture of its own.

    Any other picture is all there is of it. Beside them: what is left out, and why.

    Args:
        picture: That is whole, as far as its first page.
        pixels: Most that a page may have.
    """
    if picture.mimetype != "image/tiff":
        return [picture], []
    pages: list[Picture] = []
    n_bytes = 0
    try:
        with TiffImageFile(BytesIO(picture.data)) as opened:
            if opened.n_frames == 1:
                return [picture], []
            for n in range(opened.n_frames):
                if n == _MOST_PAGES or n_bytes > _MOST_PAGE_BYTES:
                    left = (
                        f"of {opened.n_frames:,} pages, those from here on are left out"
                    )
                    return pages, [f"p. {n + 1}: {left}. Split the file."]
                opened.seek(n)
                shown = load_image(opened, max_pixels=pixels)
                page = encode_picture(shown, max_side=max(shown.size))
                pages.append(Picture(page.data, page.mimetype, None))
                n_bytes += page.n_bytes
    except Exception as error:  # noqa: BLE001 - whatever broken bytes lead Pillow to
        # Its first page was read before.
        why = (
            f"p. {max(len(pages), 1) + 1}: it and those after it are left out ({error})"
        )
        return pages or [picture], [f"{why}. Save the file anew."]
    return pages, []


def undecoded(document: Document) -> Document:
    """Return a document; one whose text is a picture's bytes, with that picture.

    SimpleDirectoryReader makes such where llama-index-readers-file is not installed.
    """
    kind, path = (document.metadata.get(key) for key in ("file_type", FILE_PATH_KEY))
    # No text holds a zero byte, what was read off a picture included; each format does.
    is_of_bytes = "\0" in document.text and document.image_resource is None
    if not path or not is_of_bytes or not str(kind).startswith("image/"):
        return document
    nothing, picture = MediaResource(text=""), MediaResource(path=Path(str(path)))
    parts = {"text_resource": nothing, "image_resource": picture}
    return document.model_copy(update=parts)


def opened_picture(node: BaseNode) -> Picture:
    """Return the picture that a node shows.

    Raises:
        ImageUnreadable: It is missing or broken, or only a URL, which is not fetched.
    """
    found = picture_of(node)
    if isinstance(found, bytes):
        return inline_picture(found, f"node {node.node_id!r}")
    return read_picture(Path(found).absolute())


def save_inline(picture: Picture, media_dir: Path) -> Path:
    """Return the file `<media_dir>/<sha256>.<ext>` that holds the picture.

    It is on the disk before a node names it, and nobody sees half a file.

    Raises:
        StoreFull: There is no room.
        StoreUnusable: The folder cannot be made or written.
    """
    suffix = picture.mimetype.partition("/")[2].replace("jpeg", "jpg")
    digest = hashlib.sha256(picture.data).hexdigest()
    target = media_dir.absolute() / f"{digest}.{suffix}"
    try:
        if target.is_file() and target.stat().st_size == len(picture.data):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two that save one picture at once each write a file of their own.
        with replacing(target, by=f"{digest}.{uuid.uuid4().hex}.part") as file:
            file.write(picture.data)
    except OSError as error:
        raise_if_full(error, target.parent, len(picture.data), for_="A picture")
        raise StoreUnusable(
            f"Cannot save a picture in the folder {str(media_dir)!r}: "
            f"{error.strerror}. Give a folder that can be written."
        ) from error
    return target


def place_picture(picture: Picture, media_dir: Path | None) -> dict[str, str]:
    """Return the fields of an `ImageNode` that say where the picture is.

    Raises:
        StoreUnusable: `media_dir` cannot be written.
    """
    path = picture.path
    if path is None and media_dir is not None:
        path = save_inline(picture, media_dir)
    if path is None:
        encoded = base64.b64encode(picture.data).decode("ascii")
        return {"image": encoded, "image_mimetype": picture.mimetype}
    return {"image_path": str(path), "image_mimetype": picture.mimetype}


def image_node(
    node: BaseNode, text: str, picture: Picture, media_dir: Path | None
) -> CaptionedImageNode:
    """Return a picture's node: a copy of an image node's, or one of any other node."""
    placed = place_picture(picture, media_dir)
    if not isinstance(node, ImageNode):
        return CaptionedImageNode(text=text, **placed)
    copy = CaptionedImageNode.from_node(node)
    copy.image, copy.image_url = placed.get("image"), None
    copy.image_path = placed.get("image_path")
    copy.image_mimetype = placed["image_mimetype"]
    return copy
