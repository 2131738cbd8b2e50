"""Real Qdrant stores that fail, dawdle or remember, as stores in use do."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from llama_index.core.bridge.pydantic import BaseModel, PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from llama_index_mmrag.stores import QdrantEdgeVectorStore


@contextmanager
def open_client(kind: str) -> Iterator[QdrantClient]:
    """Yield a client of Qdrant's local mode, or of the server that QDRANT_URL names."""
    url = os.environ.get("QDRANT_URL")
    if kind == "server" and not url:
        pytest.skip("QDRANT_URL names no server")
    client = QdrantClient(url) if kind == "server" else QdrantClient(":memory:")
    try:
        yield client
    finally:
        client.close()


class Faulty(BaseModel):
    """What a store does besides answering, or instead: in its searches or lookups."""

    _delay_s: float = PrivateAttr(default=0.0)
    _error: Exception | None = PrivateAttr(default=None)
    _n_failures: float = PrivateAttr(default=math.inf)
    _stuck: threading.Event | None = PrivateAttr(default=None)
    _bad_score: float | None = PrivateAttr(default=None)
    _repeats: bool = PrivateAttr(default=False)
    _in_lookups: bool = PrivateAttr(default=False)
    _n_queries: int = PrivateAttr(default=0)
    _n_lookups: int = PrivateAttr(default=0)

    def get_nodes(self, *args: Any, **kwargs: Any) -> list[BaseNode]:
        self._n_lookups += 1
        if self._in_lookups:
            self._fail(self._n_lookups)
        return super().get_nodes(*args, **kwargs)

    def _begin_query(self) -> None:
        self._n_queries += 1
        if not self._in_lookups:
            self._fail(self._n_queries)

    def _fail(self, n_asked: int) -> None:
        time.sleep(self._delay_s)
        if self._stuck is not None:
            self._stuck.wait(30)
        if self._error is not None and n_asked <= self._n_failures:
            raise self._error


class FaultyStore(Faulty, QdrantVectorStore):
    """A real Qdrant store that can be made slow, stuck or broken."""

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        self._begin_query()
        result = super().query(query, **kwargs)
        nodes, scores = list(result.nodes or ()), list(result.similarities or ())
        if self._bad_score is not None:
            scores[:1] = [self._bad_score]
        if self._repeats:
            nodes, scores = nodes * 2, [*scores, *(score - 0.1 for score in scores)]
        result.nodes, result.similarities = nodes, scores
        return result

    async def aquery(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> VectorStoreQueryResult:
        self._begin_query()
        return await super().aquery(query, **kwargs)


class FaultyEdge(Faulty, QdrantEdgeVectorStore):
    """Qdrant Edge with the same faults."""

    def query_ids(
        self, query: VectorStoreQuery, payload_keys: Sequence[str] = (), **how: Any
    ) -> list[Any]:
        self._begin_query()
        rows: list[Any] = super().query_ids(query, payload_keys, **how)
        if self._bad_score is not None:
            rows[0] = (rows[0][0], self._bad_score, rows[0][2])
        if self._repeats:
            rows += [(id_, score - 0.1, payload) for id_, score, payload in rows]
        return rows


class CachingStore(QdrantVectorStore):
    """A store that hands out the same node objects every time, as some do."""

    _cache: dict[str, BaseNode] = PrivateAttr(default_factory=dict)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        result = super().query(query, **kwargs)
        nodes = result.nodes or ()
        result.nodes = [self._cache.setdefault(n.node_id, n) for n in nodes]
        return result
