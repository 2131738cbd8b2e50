"""A sample of a collection's vectors: the background that scores are calibrated by."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag.fusion import Background
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.locks import search_lock

Vectors = npt.NDArray[np.float32]

N_SAMPLED = 256
"""The mean of 256 scores is known to 1/16, their deviation to 1/23 of a deviation."""

_SMALL_KEPT_S = 1.0
_KEPT_S = 60.0


@dataclass(slots=True)
class CollectionSample:
    """Vectors of one collection, read at first use and kept for a while.

    The points with the lowest ids: ids are hashes, so that is a random choice, and the
    same one however the collection was filled.
    """

    vector_store: BasePydanticVectorStore
    _vectors: Vectors | None = None
    _is_cosine: bool = True
    _read_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def background(self, query: list[float]) -> Background | None:
        """Return what `query`, shape (dim,), scores against the sample.

        None where the store cannot be sampled: one that is not Qdrant, one without a
        synchronous client, or a distance of which smaller is better.
        """
        with self._lock:
            if not self._is_fresh():
                self._vectors, self._is_cosine = _read(self.vector_store)
                self._read_at = time.monotonic()
            vectors = self._vectors
            if vectors is None or not len(vectors):
                # Not kept: others may be about to fill a server's collection.
                self._vectors = None
                return None
        vector = np.asarray(query, dtype=np.float32)
        scores = vectors @ vector
        if self._is_cosine:
            norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(vector)
            scores = scores / np.where(norms == 0.0, 1.0, norms)
        return background_of(scores)

    def _is_fresh(self) -> bool:
        if self._vectors is None:
            return False
        # Other processes write too. A collection that is sampled whole is young or
        # small: it may have changed much, and is read again at little cost.
        whole = len(self._vectors) < N_SAMPLED
        kept_s = _SMALL_KEPT_S if whole else _KEPT_S
        return time.monotonic() - self._read_at < kept_s

    def forget(self) -> None:
        """Read anew at the next use: the collection has changed."""
        with self._lock:
            self._vectors = None


def background_of(scores: Vectors) -> Background:
    """Return the background that a query's scores with a sample make, shape (n,)."""
    # Only of a collection that is sampled whole is a hit certainly a part.
    n_items = len(scores) if len(scores) < N_SAMPLED else None
    return Background(float(scores.mean()), float(scores.std()), n_items)


def _read(store: BasePydanticVectorStore) -> tuple[Vectors, bool]:
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    if isinstance(store, QdrantEdgeVectorStore):
        return store.sample_vectors(N_SAMPLED), store.distance == "cosine"
    if isinstance(store, QdrantVectorStore) and getattr(store, "_client", None):
        with search_lock(store):
            return _of_server(store.client, store)
    return np.empty((0, 0), dtype=np.float32), True


def _of_server(client: Any, store: Any) -> tuple[Vectors, bool]:
    name = store.collection_name
    params = client.get_collection(name).config.params.vectors
    params = params.get(store.dense_vector_name) if isinstance(params, dict) else params
    distance = "" if params is None else params.distance.lower()
    if distance not in ("cosine", "dot"):
        return np.empty((0, 0), dtype=np.float32), True
    points, _ = client.scroll(name, limit=N_SAMPLED, with_vectors=True, with_payload=())
    rows = [
        p.vector[store.dense_vector_name] if isinstance(p.vector, dict) else p.vector
        for p in points
    ]
    return np.array(rows, dtype=np.float32), distance == "cosine"
