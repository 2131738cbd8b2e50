"""How long an encoder's vectors are."""

from __future__ import annotations

from llama_index.core.base.embeddings.base import BaseEmbedding


def dimension_of(embed_model: BaseEmbedding) -> int:
    """Return the length of the encoder's vectors.

    LlamaIndex encoders do not say it: those that have no attribute `dimension` encode
    one word.
    """
    known = getattr(embed_model, "dimension", None)
    return int(known) if known else len(embed_model.get_text_embedding("dimension"))


def known_image_dimension(embed_model: BaseEmbedding) -> int | None:
    """Return the length of the encoder's vectors of pictures; None: it does not say.

    Its `image_dimension`, where pictures and texts differ before they are aligned,
    else its `dimension`.
    """
    own = getattr(embed_model, "image_dimension", None)
    return own or getattr(embed_model, "dimension", None)
