"""A LlamaIndex query as a Qdrant Edge search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import qdrant_edge as qe
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_mmrag.checks import instance, whole
from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.errors import InvalidQuery, InvalidVector
from llama_index_mmrag.stores.edge_engine import SPARSE_NAME
from llama_index_mmrag.stores.edge_filters import EdgeFilter, filter_of
from llama_index_mmrag.stores.edge_folder import EdgeFolder
from llama_index_mmrag.stores.edge_modes import check_mode
from llama_index_mmrag.stores.modes import Asked, Hit, even, found_in_mode
from llama_index_mmrag.stores.native import metadata_filters, search_params_of
from llama_index_mmrag.vectors import stored_rows

if TYPE_CHECKING:
    from llama_index_mmrag.stores.native import FilterLike, SearchParamsLike

_MORE_TIES = 4
"""How many times as many hits are asked for while the last ones have equal scores."""
_APART = 1e-4
"""Scores that differ by more are not equal by `even`: most are told so, and faster."""


def nearest(
    folder: EdgeFolder,
    query: VectorStoreQuery,
    *,
    vector_name: str,
    payload: bool | list[str],
    words: Bm25Encoder | None = None,
    also: FilterLike | None = None,
    search_params: SearchParamsLike | None = None,
    with_vectors: bool = False,
) -> Sequence[Hit]:
    """Return the nearest points that pass the query's filters, best first, ties by id.

    A tie at the cut-off is cut by id too, whatever was inserted first. Without a query
    vector all points that pass score 1: those with the lowest ids are returned.

    Modes are LlamaIndex's: SPARSE, and TEXT_SEARCH likewise, score by BM25,
    `sparse_top_k` hits; HYBRID by `relative_scores` of both, with `alpha` (0.5 if
    None), `hybrid_top_k` hits; MMR by `diverse`, with `mmr_threshold` (0.5 if None). A
    query without words that are searched finds nothing by words, and by HYBRID what
    DEFAULT does.

    Args:
        folder: The store's.
        query: What is asked.
        vector_name: Name of the vector in each point.
        payload: Which payload fields are returned.
        words: What makes vectors of words, where the store keeps such.
        also: Filters that hold beside the query's.
        search_params: How the engine is to search, as `search_params_of` takes it.
        with_vectors: Whether a search by words brings the vectors of what it finds.

    Raises:
        InvalidQuery: neither a query vector nor a condition, or not what the mode
            needs; a number out of its range, or a filter that cannot be built.
        InvalidSetting: `search_params` cannot be used.
        InvalidVector: the query vector has another size, is not finite, or is all
            zeros under cosine.
        UnsupportedQuery: a mode that there is not, or that the store was not made for;
            or a condition that the engine does not have.
    """
    top_k = _checked_top_k(query)
    is_default = query.mode == VectorStoreQueryMode.DEFAULT
    if not is_default:
        check_mode(query, words)
    chosen = _chosen(query, folder, also)
    condition = None if chosen is None else chosen.condition
    vector = None
    if query.query_embedding is not None:
        vector = _checked_vector(query.query_embedding, folder)
    elif is_default and condition is None:
        raise InvalidQuery(
            "The query has no query_embedding, and no filters either. Expected a "
            "vector: embed the query, or search through a retriever, which embeds."
        )
    if top_k == 0:
        return []
    if vector is None and is_default:
        by_id = qe.QueryRequest(limit=top_k, filter=condition, with_payload=payload)
        return folder.query(by_id)
    request = {"params": _params(chosen, folder, search_params), "filter": condition}
    near: Any = vector and qe.Query.Nearest(vector, using=vector_name)
    if is_default:
        return _best(folder, near, top_k, payload, request)

    def find(*asked: Asked) -> list[list[qe.ScoredPoint]]:
        return [_asked(folder, one, vector_name, payload, request) for one in asked]

    how: Any = {"vector_name": vector_name, "with_vectors": with_vectors}
    return found_in_mode(query, find, near=near, terms=_terms(query, words), **how)


def _terms(query: VectorStoreQuery, words: Bm25Encoder | None) -> qe.Query | None:
    """Return the words of a query that are searched, if its mode searches them."""
    if words is None or query.mode == VectorStoreQueryMode.MMR:
        return None
    (indices,), (values,) = words.queries([query.query_str])  # type: ignore[list-item]  # checked
    if not indices:
        return None
    return qe.Query.Nearest(qe.SparseVector(indices, values), using=SPARSE_NAME)


def _asked(
    folder: EdgeFolder,
    one: Asked,
    vector_name: str,
    payload: bool | list[str],
    request: dict[str, Any],
) -> list[qe.ScoredPoint]:
    if one.with_vectors:
        request = {**request, "with_vector": [vector_name]}
    return _best(folder, one.by, one.limit, payload, request)


def _best(
    folder: EdgeFolder,
    vector: qe.Query | None,
    top_k: int,
    payload: bool | list[str],
    request: dict[str, Any],
) -> list[qe.ScoredPoint]:
    """Return the nearest points to one vector, best first, ties by id."""

    def ask(limit: int, within: Sequence[Any] | None, light: bool) -> list[Any]:
        asked: dict[str, Any] = {**request, "with_payload": payload}
        if light:
            asked |= {"with_payload": False, "with_vector": None}
        if within is not None:
            asked["filter"] = qe.Filter(must=[qe.HasIdCondition({*within})])
        return folder.query(qe.QueryRequest(limit=limit, query=vector, **asked))

    return best(ask, top_k)


def best(
    ask: Callable[[int, Sequence[Any] | None, bool], list[Any]],
    top_k: int,
    first: list[Any] | None = None,
) -> list[Any]:
    """Return the nearest points to one vector, best first, ties by id.

    Args:
        ask: Searches: for so many, within these ids or all, without payload or with it.
        top_k: Hits at most, one or more.
        first: What it answers to `top_k + 1`, if that is known.
    """
    limit = top_k + 1
    hits = _in_order(ask(limit, None, False) if first is None else first)
    if not _is_cut_in_a_tie(hits, top_k):
        return hits[:top_k]
    # Which of equal scores an engine returns depends on the order of insertion, so
    # all of them are looked at; their payloads only when it is known which to keep.
    while len(hits) == limit and not _is_above(hits[top_k - 1], hits[-1]):
        limit *= _MORE_TIES
        hits = _in_order(ask(limit, None, True))
    return _in_order(ask(top_k, [hit.id for hit in hits[:top_k]], False))


def _in_order(hits: list[Any]) -> list[Any]:
    if all(map(_is_above, hits, hits[1:])):
        return hits
    # An engine's order among equal scores depends on its segments.
    return sorted(hits, key=lambda hit: (-even(hit.score), str(hit.id)))


def _checked_top_k(query: VectorStoreQuery) -> int:
    top_k = getattr(query, "similarity_top_k", None)
    if isinstance(query, VectorStoreQuery) and type(top_k) is int and top_k >= 0:
        return top_k  # a query's walk passes by
    instance(query, "The query", VectorStoreQuery, error=InvalidQuery)
    return whole(top_k, "similarity_top_k", at_least=0, error=InvalidQuery)


def _checked_vector(given: list[float], folder: EdgeFolder) -> list[float]:
    if len(given) != folder.dim:
        raise InvalidVector(
            f"The query vector has {len(given)} numbers; this store holds vectors of "
            f"{folder.dim}. Embed the query with the model that the store was filled "
            f"with."
        )
    cosine = folder.distance == "cosine"
    vector = stored_rows([given], ["The query vector"], cosine=cosine)[0]
    return vector.tolist()  # type: ignore[no-any-return]


def _chosen(
    query: VectorStoreQuery, folder: EdgeFolder, also: FilterLike | None
) -> EdgeFilter | None:
    filters = query.filters
    if also is not None:
        both = [one for one in (filters, also) if one is not None]
        filters = metadata_filters(both, "qdrant_filters")
    # Empty lists mean "not given": VectorStoreIndex.as_retriever passes node_ids=[] for
    # every store that keeps the text (llama-index-core 0.14).
    if filters is None and not query.node_ids and not query.doc_ids:
        return None
    return filter_of(
        filters,
        node_ids=query.node_ids or None,
        doc_ids=query.doc_ids or None,
        indexes=folder.indexes,
    )


def _is_cut_in_a_tie(hits: list[qe.ScoredPoint], top_k: int) -> bool:
    return len(hits) > top_k and not _is_above(hits[top_k - 1], hits[top_k])


def _is_above(one: Any, other: Any) -> bool:
    apart = one.score - other.score
    return apart > _APART or even(one.score) > even(other.score)


def _params(
    chosen: EdgeFilter | None, folder: EdgeFolder, given: SearchParamsLike | None
) -> qe.SearchParams:
    """Return what was asked for, and our own defaults for the rest."""
    asked = {} if given is None else search_params_of(given)  # not in a query's walk
    # Without a payload index the graph is not connected under the filter, and a search
    # loses up to 80 % of its hits.
    asked.setdefault("exact", chosen is not None and not chosen.indexed)
    # ACORN closes the holes that remain with a payload index.
    acorn = asked.pop("acorn", {"enable": chosen is not None})
    codes = asked.pop("quantization", None)
    return qe.SearchParams(
        **asked,
        acorn=qe.AcornSearchParams(**acorn),
        quantization=folder.rescoring
        if codes is None
        else qe.QuantizationSearchParams(**codes),
    )
