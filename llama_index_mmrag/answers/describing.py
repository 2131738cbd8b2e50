"""What an answer used, in a sentence."""

from __future__ import annotations

from llama_index.core.base.response.schema import RESPONSE_TYPE

from llama_index_mmrag.citations.unlabelled import unlabelled
from llama_index_mmrag.report.plain import plain_line


def describe_sources(response: RESPONSE_TYPE) -> str:
    """Return a sentence on what an answer used: "image cat.png [1] and text a.md [2]".

    Args:
        response: An answer of `MultiModalSynthesizer`; a stream must have ended.
    """
    metadata = response.metadata or {}
    cards = metadata.get("citations", {})
    used = [
        unlabelled(plain_line(f"{cards[label]['modality']} {cards[label]['name']}"))
        + f" [{label}]"
        for label in metadata.get("cited", {})
    ]
    if not used:
        return "This answer cites no source."
    *most, last = used
    listed = f"{', '.join(most)} and {last}" if most else last
    return f"This answer used {listed}."
