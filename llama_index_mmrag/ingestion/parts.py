"""Parts of a LlamaIndex node: its text and its templates, of any class."""

from __future__ import annotations

from llama_index.core.schema import Node, TextNode

_TEMPLATES = ("text_template", "metadata_template", "metadata_separator")


def text_of(node: Node | TextNode) -> str:
    """Return the node's own text, without metadata."""
    return node.get_content()


def templates_of(node: Node | TextNode) -> dict[str, str]:
    """Return how the node's text and metadata are written out, by field name."""
    return {name: getattr(node, name) for name in _TEMPLATES}
