"""What an answer used, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.response.schema import RESPONSE_TYPE

from llama_index_mmrag.citations.unlabelled import unlabelled
from llama_index_mmrag.provenance import quoted
from llama_index_mmrag.report.plain import plain_line


def describe_sources(response: RESPONSE_TYPE) -> str:
    """Return a sentence on what an answer used: "image cat.png [1] and text a.md [2]".

    Of a picture that was found by its lettering, it says what was read in it.

    Args:
        response: An answer of `MultiModalSynthesizer`; a stream must have ended.
    """
    metadata = response.metadata or {}
    cards = metadata.get("citations", {})
    used = [
        unlabelled(plain_line(_named(cards[label]))) + f" [{label}]"
        for label in metadata.get("cited", {})
    ]
    if not used:
        return "This answer cites no source."
    *most, last = used
    listed = f"{', '.join(most)} and {last}" if most else last
    return f"This answer used {listed}."


def _named(card: Mapping[str, Any]) -> str:
    read = quoted([line["text"] for line in card.get("lettering", ())])
    told = f"{card['modality']} {card['name']}"
    return f"{told}, which reads{read}," if read else told
