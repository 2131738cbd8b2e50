"""LlamaIndex's query modes, of a channel and of a whole retriever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQueryMode

from llama_index_mmrag.checks import one_of
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.retrieval.search import SearchChannel
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.edge_engine import MAKE_ANEW

_TERMS: dict[str, tuple[str, ...]] = {
    "default": (),
    "sparse": ("sparse_top_k",),
    "text_search": ("sparse_top_k",),
    "hybrid": ("alpha", "sparse_top_k", "hybrid_top_k"),
    "mmr": ("mmr_threshold",),
}
"""LlamaIndex's modes that there are, each with what belongs to it."""


def checked_mode(
    given: VectorStoreQueryMode | str, of: str, collection: Collection
) -> VectorStoreQueryMode:
    """Return a channel's mode, if its store has it.

    Args:
        given: One of LlamaIndex's.
        of: What the channel is called.
        collection: Its collection.

    Raises:
        InvalidSetting: There is no such mode, or LlamaIndex's `QdrantVectorStore` would
            search by vector in its place.
    """
    known = [mode.value for mode in VectorStoreQueryMode]
    mode = one_of(getattr(given, "value", given), f"{of}: mode", known)
    if collection.is_qdrant:
        one_of(mode, f"{of}: mode", _TERMS, advice="A store of Qdrant's has no other.")
        if mode not in {"default", "mmr"} and not collection.store.enable_hybrid:
            raise InvalidSetting(
                f"{of}: mode is {mode!r}, and its store keeps no vectors of words. "
                f"{MAKE_ANEW}"
            )
        mode = "sparse" if mode == "text_search" else mode
    return VectorStoreQueryMode(mode)


def in_mode(
    channels: tuple[SearchChannel, ...],
    mode: VectorStoreQueryMode | str | None,
    terms: Mapping[str, Any],
) -> tuple[SearchChannel, ...]:
    """Return the channels, searched in a mode where they can be.

    Args:
        channels: A retriever's.
        mode: LlamaIndex's `vector_store_query_mode`; None: each channel's own.
        terms: What belongs to one; None for what was not given.

    Raises:
        InvalidSetting: There is no such mode here, or no channel has it, or what
            belongs to it was given without it.
    """
    name = "vector_store_query_mode"
    given = {k: v for k, v in terms.items() if v is not None}
    if mode is not None:
        mode = one_of(getattr(mode, "value", mode), name, _TERMS)
    if others := given.keys() - _TERMS[mode or "default"]:
        other = sorted(others)[0]
        of = next(each for each in reversed(_TERMS) if other in _TERMS[each])
        raise InvalidSetting(
            f"{other} belongs to a {of} search. Add {name}={of!r}, or leave it out."
        )
    if mode is None:
        return channels
    can = [c for c in channels if _can(c, mode)]
    if not can:
        needed = "is Qdrant's" if mode == "mmr" else "keeps vectors of words"
        raise InvalidSetting(
            f"{name} is {mode!r}, and no channel's store {needed}."
            + ("" if mode == "mmr" else f" {MAKE_ANEW}")
        )
    how: dict[str, Any] = {"mode": VectorStoreQueryMode(mode), **given}
    return tuple(replace(c, **how) if c in can else c for c in channels)  # type: ignore[type-var]


def _can(channel: SearchChannel, mode: str) -> bool:
    if mode == "default":
        return hasattr(channel, "mode")
    if mode == "mmr":
        return getattr(getattr(channel, "collection", None), "is_qdrant", False)
    return bool(getattr(getattr(channel, "vector_store", None), "enable_hybrid", False))
