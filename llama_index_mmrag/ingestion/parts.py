"""Parts of a LlamaIndex node: its text, its picture and its templates, of any class."""

from __future__ import annotations

from pathlib import Path

from llama_index.core.schema import ImageNode, Node, TextNode

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.ingestion.pictures import (
    Picture,
    inline_picture,
    read_picture,
)

_TEMPLATES = ("text_template", "metadata_template", "metadata_separator")


def text_of(node: Node | TextNode) -> str:
    """Return the node's own text, without metadata."""
    return node.get_content()


def shows_picture(node: Node | TextNode) -> bool:
    """Return whether a picture belongs to the node, readable or not."""
    if isinstance(node, Node):
        return node.image_resource is not None
    return isinstance(node, ImageNode)


def picture_of(node: Node | TextNode) -> Picture | None:
    """Return the node's picture; a path wins over inline data.

    Raises:
        ImageUnreadable: It is missing or broken, or only a URL, which is not fetched.
    """
    if isinstance(node, ImageNode):
        return _open(node.image_path, node.image, node.image_url, node.id_)
    if isinstance(node, Node) and node.image_resource is not None:
        resource = node.image_resource
        url = str(resource.url) if resource.url else None
        return _open(resource.path, resource.data, url, node.id_)
    return None


def templates_of(node: Node | TextNode) -> dict[str, str]:
    """Return how the node's text and metadata are written out, by field name."""
    return {name: getattr(node, name) for name in _TEMPLATES}


def _open(
    path: str | Path | None, data: str | bytes | None, url: str | None, name: str
) -> Picture:
    if path:
        return read_picture(Path(path).absolute())
    if data:
        return inline_picture(data, f"node {name!r}")
    if url and url.startswith("data:"):
        return inline_picture(url, f"node {name!r}")
    if url:
        msg = (
            f"The picture of node {name!r} is only a URL, {url!r}, and URLs are not "
            f"fetched. Download it and give its path or its bytes."
        )
    else:
        msg = (
            f"Node {name!r} is an image without picture. Give image_path or base64 "
            f"data, or use a TextNode."
        )
    raise ImageUnreadable(msg)
