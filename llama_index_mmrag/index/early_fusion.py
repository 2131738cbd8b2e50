"""Early fusion in an index: its channel, and which channels a query goes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag.checks import one_of
from llama_index_mmrag.composition import Composition
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.retrieval.composed_query import check_spaces

COMPOSED = "composed"
"""Name and modality of the channel, and the end of its collection's name."""

FusionStage = Literal["late", "early", "both"]
"""Where parts meet: in rankings (late), in vectors (early), or the one in the other."""


def composed_dim(
    composition: Composition, encoders: Mapping[str, BaseEmbedding]
) -> int:
    """Return the length of the vectors that a composition makes of the encoders'.

    Raises:
        InvalidSetting: It cannot compose vectors of these encoders.
    """
    text, image = encoders["text"], encoders["image"]
    check_spaces(composition, text_model=text, image_model=image)
    return composition.out_dim(dimension_of(text), dimension_of(image))


def composed_channel(
    vector_store: BasePydanticVectorStore,
    composition: Composition,
    encoders: Mapping[str, BaseEmbedding],
) -> Channel:
    """Return the channel over a collection of composed vectors."""
    return Channel(
        COMPOSED,
        vector_store=vector_store,
        embed_model=encoders["image"],
        text_embed_model=encoders["text"],
        composition=composition,
    )


def at_stage(
    stage: FusionStage | None, *, parts: Sequence[Channel], composed: Channel | None
) -> tuple[Channel, ...]:
    """Return a retriever's channels.

    Args:
        stage: "late": those of the parts. "early": the composed one; the others are
            asked for the kin of what it finds. "both": all. None: all that there are.
        parts: The channels of texts, of pictures, and so on.
        composed: The channel of both at once; None where there is none.

    Raises:
        InvalidSetting: There is no such stage, or no channel for it.
    """
    if stage is not None:
        one_of(stage, "fusion_stage", get_args(FusionStage))
    if composed is None:
        if stage in ("early", "both"):
            msg = (
                f"fusion_stage is {stage!r}, and the index has no composed vectors. "
                f"Open it, with a new store, with early_fusion=Blend(0.5), or search "
                f'with "late".'
            )
            raise InvalidSetting(msg)
        return tuple(parts)
    if stage == "late":
        return tuple(parts)
    if stage == "early":
        unasked = (replace(channel, accepts=frozenset()) for channel in parts)
        return (*unasked, composed)
    return (*parts, composed)
