"""Keywords that nothing takes: answered with our word for what was meant. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from llama_index_mmrag.errors import InvalidSetting

OUR_WORDS = {
    # As they were called here
    "text_embed_model": "embed_model, and image_embed_model for pictures",
    "text_embed": "embed_model",
    "image_embed": "image_embed_model",
    "early_fusion": "composition",
    "fusion_stage": 'search: "parts", "composed" or "both"',
    # As LlamaIndex calls them
    "document": "items",
    "callback_manager": "Settings.callback_manager, or as_query_engine's",
}
"""What others call, or we called, what is now called so here."""


def refuse_unknown(
    given: Iterable[str], who: str, known: Collection[str], *, so: str = ""
) -> None:
    """Do nothing if each keyword is known.

    Args:
        given: Keywords of a call.
        who: What was called, such as "as_retriever".
        known: Those that it takes.
        so: A sentence that says what to do where no name is near.

    Raises:
        InvalidSetting: One is not.

    Example:
        >>> refuse_unknown(["topk"], "as_retriever", ["top_k", "filters"])
        Traceback (most recent call last):
        ...
        llama_index_mmrag.errors.InvalidSetting: as_retriever() takes no 'topk'. \
Use top_k.
    """
    for name in given:
        if name in known:
            continue
        nearest = get_close_matches(name, known, n=1)
        word = OUR_WORDS.get(name) or (nearest[0] if nearest else "")
        advice = f"Use {word}." if word else so or f"It takes {', '.join(known)}."
        raise InvalidSetting(f"{who}() takes no {name!r}. {advice}")
