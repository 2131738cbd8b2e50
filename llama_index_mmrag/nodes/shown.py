"""What a node shows: its picture, in whichever form it has one, and its name."""

from __future__ import annotations

import base64
import os
import textwrap
from io import BufferedReader
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.schema import BaseNode, ImageNode, Node, ObjectType

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.nodes.node import (
    IMAGE_FILE_KEY,
    KIND_KEY,
    READ_BY_KEY,
    is_lettering,
)

PAGE_LABEL_KEY = "page_label"
"""Metadata key of what is printed on the page where a node stands, as LlamaIndex's
readers have it."""

SLIDE_KEY = "slide"
"""Metadata key of the slide that a node stands on, from 1."""

ABOUT_KEYS = (
    *("page", "page_end", PAGE_LABEL_KEY, "box", SLIDE_KEY, "section", KIND_KEY),
    *("language", "title", "author", "created_at", READ_BY_KEY),
    *("subject", "from", "to", "sent_at"),
)
"""Metadata keys of where a node stands in its document, what it is, and of the document
itself: the ones that are told beside a result."""

_BASE64 = 64
"""Characters of the shortest picture in base64."""

_SAVED = "media/"
"""What the names of pictures begin with that came in a document, see `roots.MEDIA`."""

_WORDS, _READ = 40, 400
"""Characters of the first words in a name, and of the text that they are looked for in:
spaces are none of them, and a text may be a book."""


class RootUnknown(ImageUnreadable):
    """A picture lies in a root, and nobody has said where that is on this machine."""


def has_picture(node: BaseNode) -> bool:
    """Return whether a node shows a picture, readable or not.

    Image nodes do, and documents and plain `Node`s with one in them. LlamaIndex's
    CitationQueryEngine makes plain `Node`s of what it is given.
    """
    if isinstance(node, ImageNode):
        return True
    return isinstance(node, Node) and node.image_resource is not None


def lost_picture(node: BaseNode) -> str:
    """Return what to do where a node is a text that was a picture; "" for others.

    LlamaIndex's splitters (0.14.25) make a text of an `ImageNode`, without its picture.
    """
    source = node.source_node
    if has_picture(node) or source is None or source.node_type != ObjectType.IMAGE:
        return ""
    return (
        f"The picture {source.node_id!r} came as a text: LlamaIndex's splitters make "
        f"one of an ImageNode. Let pictures pass them, with "
        f"index.as_transformation(SentenceSplitter()); or give an ImageDocument."
    )


def picture_of(node: BaseNode) -> str | bytes:
    """Return a node's picture: its path, else its file's bytes.

    A path wins over inline data, so that large payloads are not decoded for nothing.
    A URL is never fetched: nothing leaves the machine by itself.

    Raises:
        RootUnknown: It is a path below a root, and where that lies is not known here.
        ImageUnreadable: There is none, or it is only a URL, or no base64.
    """
    path, data, url = _fields(node)
    if path:
        if (file := node.metadata.get(IMAGE_FILE_KEY)) and not os.path.isabs(path):
            root = str(file).partition("/")[0]
            raise RootUnknown(
                f"The picture {file!r} lies in the root {root!r}, and where that is on "
                f"this machine is not known. Open the index with "
                f"roots={{{root!r}: FOLDER}}, or give --root {root}=FOLDER."
            )
        return path
    if not data and url.startswith("data:"):
        data = url
    if data:
        return from_base64(data, name=f"node {node.node_id!r}")
    if url:
        msg = (
            f"The picture of node {node.node_id!r} is only a URL, {url!r}, and URLs "
            f"are not fetched. Download it and give its path or its bytes."
        )
    else:
        msg = (
            f"Node {node.node_id!r} is an image without picture. Give image_path or "
            f"base64 data, or use a TextNode."
        )
    raise ImageUnreadable(msg)


def picture_in(given: Any) -> Any:
    """Return the picture that something holds: a path, bytes, or a PIL image.

    Args:
        given: A picture in one of those forms, which is returned as it is; an open
            file, which is read; an image node, document or block; base64, or a `data:`
            URI of it. Anything else is returned too.

    Raises:
        ImageUnreadable: It holds no picture, or only a URL.
    """
    if isinstance(given, BaseNode):
        return picture_of(given)
    if isinstance(given, BufferedReader):
        return given.read()
    encoded = False
    if isinstance(given, ImageBlock):
        encoded = given.path is None and given.image is not None
        given = given.path or given.image or str(given.url or "")
    if isinstance(given, str):
        if given.startswith(("http://", "https://")):
            raise ImageUnreadable(
                f"The picture {given!r} is a URL, and URLs are not fetched. Download "
                f"it and give its path or its bytes."
            )
        # A picture's path has a suffix, and base64 has no point.
        encoded = given.startswith("data:") or (
            len(given) >= _BASE64 and "." not in given
        )
    return from_base64(given, name="the query") if encoded else given


def from_base64(encoded: str | bytes, *, name: str) -> bytes:
    r"""Return the bytes that base64 stands for.

    Args:
        encoded: Base64, with or without line breaks, or a `data:` URI of it.
        name: Where it is, for the message.

    Raises:
        ImageUnreadable: It is no base64.

    Example:
        >>> from_base64("data:text/plain;base64,aGVs\nbG8=", name="a page")
        b'hello'
    """
    text = encoded.decode("latin-1") if isinstance(encoded, bytes) else encoded
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError as error:  # binascii.Error is one; another: letters beyond ASCII
        raise ImageUnreadable(
            f"The inline picture of {name} is no base64: {error}. Encode it anew."
        ) from error


def name_of(node: BaseNode) -> str:
    """Return what a person would call a node: its file's name, else title and words.

    A picture goes by its own file, not by the document that shows it; one that has none
    by the document. With page or slide, and with what has read it: "a.pdf, p. iv".
    """
    file, named = _file_of(node), node.metadata.get("file_name")
    is_saved = str(node.metadata.get(IMAGE_FILE_KEY, "")).startswith(_SAVED)
    if name := (named if is_saved and named else Path(file).name or named):
        return f"{name}{_place_of(node)}"
    titles = (node.metadata.get(key) for key in ("title", "document_title"))
    words = textwrap.shorten(node.get_content()[:_READ], _WORDS, placeholder="…")
    told = [str(part) for part in (*titles, words) if part]
    return ", ".join(told) or node.node_id


def _place_of(node: BaseNode) -> str:
    """Return where in its file a node stands, and who read it, after its name."""
    said = node.metadata
    place = ""
    if said.get(SLIDE_KEY):
        place = f", slide {said[SLIDE_KEY]}"
    elif said.get(PAGE_LABEL_KEY):
        place = f", p. {said[PAGE_LABEL_KEY]}"
    if said.get(READ_BY_KEY) and not is_lettering(said):
        # Of an engine, its version: which models it has is for the store.
        place += f", read by {str(said[READ_BY_KEY]).partition(' (')[0]}"
    return place


def source_of(node: BaseNode) -> str:
    """Return where a node comes from: its file's path, else its document's id."""
    return _file_of(node) or node.ref_doc_id or node.node_id


def _file_of(node: BaseNode) -> str:
    return str(_fields(node)[0] or node.metadata.get("file_path") or "")


def _fields(node: BaseNode) -> tuple[str, str | bytes, str]:
    """Return a node's picture as path, base64 and URL, each "" where it has none."""
    if isinstance(node, ImageNode):
        return node.image_path or "", node.image or "", node.image_url or ""
    resource = node.image_resource if isinstance(node, Node) else None
    if resource is None:
        return "", "", ""
    return str(resource.path or ""), resource.data or "", str(resource.url or "")
