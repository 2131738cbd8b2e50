"""What an encoder's vector space is called: the one place that says so."""

from __future__ import annotations

from llama_index.core.base.embeddings.base import BaseEmbedding


def card_of(model: BaseEmbedding) -> dict[str, str]:
    """Return what tells one encoder's vector space from another's, as stores keep it.

    The space is the encoder's `space_id`, which this package's encoders have; others
    say no more of themselves than their model's name.
    """
    known = getattr(model, "space_id", None)
    return {"class": model.class_name(), "space": str(known or model.model_name)}


def space_of(encoder: BaseEmbedding) -> str:
    """Return the name of an encoder's vector space, as alignments keep it.

    Its `space_id`; for encoders without one its card in one word, such as
    "OpenAIEmbedding:text-embedding-3-small".
    """
    known = getattr(encoder, "space_id", None)
    return str(known) if known else ":".join(card_of(encoder).values())
