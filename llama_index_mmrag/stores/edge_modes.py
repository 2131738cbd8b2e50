"""Which of LlamaIndex's query modes Qdrant Edge has, and what they ask for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_mmrag.checks import instance, number, whole
from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.errors import InvalidQuery
from llama_index_mmrag.stores.edge_engine import MAKE_ANEW
from llama_index_mmrag.stores.edge_filters import UnsupportedQuery
from llama_index_mmrag.stores.modes import BY_WORDS

_BY_BOTH, _MMR = VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.MMR


def check_mode(query: VectorStoreQuery, words: Bm25Encoder | None) -> None:
    """Do nothing if a store can search in the query's mode, which is not DEFAULT.

    Args:
        query: What is asked.
        words: What makes vectors of words; None where the store keeps none.

    Raises:
        UnsupportedQuery: It cannot.
        InvalidQuery: The query lacks what the mode needs, or a number is out of range.
    """
    mode = query.mode
    if mode not in BY_WORDS | {_BY_BOTH, _MMR}:
        raise UnsupportedQuery(
            f"Query mode {mode.value!r} is not supported by this store; expected "
            f"'default', 'mmr', and with enable_hybrid=True 'sparse', 'text_search' or "
            f"'hybrid'."
        )
    if mode != _MMR:
        if words is None:
            raise UnsupportedQuery(
                f"Query mode {mode.value!r} searches for words, and this store keeps "
                f"no vectors of words. {MAKE_ANEW}"
            )
        of, asked = f"query_str of mode {mode.value!r}", query.query_str
        instance(asked, of, str, error=InvalidQuery)
        if str(asked).encode(errors="ignore").decode() != asked:
            raise InvalidQuery(f"{of} is {asked!r}; expected no lone surrogates.")
    if mode not in BY_WORDS and query.query_embedding is None:
        raise InvalidQuery(
            f"Query mode {mode.value!r} needs a query_embedding, and there is none. "
            f"Embed the query, or search through a retriever, which embeds."
        )
    shares = {"alpha": query.alpha, "mmr_threshold": query.mmr_threshold}
    for name, share in shares.items():
        if share is not None:
            number(share, name, at_least=0, at_most=1, error=InvalidQuery)
    for name in ("sparse_top_k", "hybrid_top_k"):
        if (most := getattr(query, name)) is not None:
            whole(most, name, at_least=0, error=InvalidQuery)


def with_threshold(query: VectorStoreQuery, threshold: float) -> VectorStoreQuery:
    """Return an MMR query with a threshold that was given beside it, in [0, 1].

    Raises:
        InvalidQuery: It is another number, or the query has another mode.
    """
    instance(query, "The query", VectorStoreQuery, error=InvalidQuery)
    bounds: Any = {"at_least": 0, "at_most": 1, "error": InvalidQuery}
    threshold = number(threshold, "mmr_threshold", **bounds)
    if query.mode != _MMR:
        raise InvalidQuery(
            f"mmr_threshold is {threshold!r}, and the query's mode is "
            f"{query.mode.value!r}; expected 'mmr'. Ask so, or leave it out."
        )
    return replace(query, mmr_threshold=threshold)
