"""Real Qdrant stores that fail, dawdle or remember, as stores in use do."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient


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


class FaultyStore(QdrantVectorStore):
    """A real Qdrant store that can be made slow, stuck or broken."""

    _delay_s: float = PrivateAttr(default=0.0)
    _error: Exception | None = PrivateAttr(default=None)
    _stuck: threading.Event | None = PrivateAttr(default=None)
    _bad_score: float | None = PrivateAttr(default=None)
    _n_queries: int = PrivateAttr(default=0)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        self._n_queries += 1
        time.sleep(self._delay_s)
        if self._stuck is not None:
            self._stuck.wait(30)
        if self._error is not None:
            raise self._error
        result = super().query(query, **kwargs)
        if self._bad_score is not None and result.similarities:
            result.similarities[0] = self._bad_score
        return result


class CachingStore(QdrantVectorStore):
    """A store that hands out the same node objects every time, as some do."""

    _cache: dict[str, BaseNode] = PrivateAttr(default_factory=dict)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        result = super().query(query, **kwargs)
        nodes = result.nodes or ()
        result.nodes = [self._cache.setdefault(n.node_id, n) for n in nodes]
        return result
