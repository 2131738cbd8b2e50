"""Which kinds of query part a channel is asked with."""

from __future__ import annotations

from collections.abc import Collection
from typing import get_args

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.retrieval.query import PartKind


def kinds_accepted(
    given: Collection[PartKind],
    *,
    channel: str,
    modality: str,
    embed_model: BaseEmbedding,
    composes: bool,
) -> frozenset[PartKind]:
    """Return the kinds that are searched for; by default what suits the channel.

    Args:
        given: What its owner says; the default if empty.
        channel: Its name.
        modality: What its nodes are.
        embed_model: Encodes pictures, if it can.
        composes: Whether it has a composition.

    Raises:
        InvalidSetting: There is no such kind, or the encoder has no pictures.
    """
    unknown = sorted(set(given) - set(get_args(PartKind)))
    if unknown:
        msg = (
            f"Channel {channel!r} accepts {unknown!r}; expected 'text', 'image' or "
            f"both, or 'composed'."
        )
        raise InvalidSetting(msg)
    sees = isinstance(embed_model, MultiModalEmbedding)
    if not given and not composes:
        return frozenset({"text", "image"} if sees and modality != "text" else {"text"})
    kinds: frozenset[PartKind] = frozenset(given or {"composed"})
    if {"image", "composed"} & kinds and not sees:
        msg = (
            f"Channel {channel!r} accepts pictures, but its encoder "
            f"{embed_model.class_name()} is no MultiModalEmbedding. Give it one, or "
            f"leave 'image' out of accepts."
        )
        raise InvalidSetting(msg)
    return kinds
