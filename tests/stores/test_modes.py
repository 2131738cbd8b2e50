"""What the modes make of two lists, worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from llama_index_mmrag.stores.modes import Asked, found_in_mode

SCORES = {
    "vector": {"a": 0.9, "b": 0.8, "c": 0.5, "d": 0.1},
    "words": {"c": 30.0, "b": 5.5, "a": 1.0, "d": 0.0},
}


def find(*asked: Asked) -> list[list[Any]]:
    lists = []
    for one in asked:
        among = SCORES[one.by].items()
        hits = [
            SimpleNamespace(id=key, score=score, payload={"of": key})
            for key, score in sorted(among, key=lambda hit: -hit[1])
        ]
        lists.append(hits[: one.limit])
    return lists


def found(**how: Any) -> dict[str, float]:
    query = VectorStoreQuery(
        query_str="words",
        query_embedding=[1.0],
        mode=VectorStoreQueryMode.HYBRID,
        similarity_top_k=2,
        **how,
    )
    asked: dict[str, Any] = {"near": "vector", "terms": "words", "vector_name": ""}
    hits = found_in_mode(query, find, **asked)
    assert [hit.payload for hit in hits] == [{"of": hit.id} for hit in hits]
    return {hit.id: hit.score for hit in hits}


def test_by_alpha_a_text_counts_by_the_lists_that_it_is_in():
    # Drawn to [0, 1]: a 1, b 0 by vector; c 1, b 0 by words.
    assert found(alpha=0.25) == {"c": 0.75, "a": 0.25}


def test_hybrid_top_k_ends_the_ranking_and_sparse_top_k_the_words():
    assert list(found(alpha=0.25, hybrid_top_k=3)) == ["c", "a", "b"]
    assert list(found(alpha=0.25, hybrid_top_k=1)) == ["c"]
    assert list(found(alpha=0.25, sparse_top_k=1)) == ["c", "a"]
