"""One setting through the real engine: what it finds, how long, how many bytes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import qdrant_edge as qe

from llama_index_mmrag.compression.recall import NOBODY, Ids
from llama_index_mmrag.stores.edge_engine import engine_errors
from llama_index_mmrag.stores.quantisation import (
    Quantisation,
    rescoring,
    shard_config,
    vector_params,
)
from llama_index_mmrag.vectors import Vectors

_NAME = "v"
_PER_WRITE = 1024
_FLOAT_BYTES = 4
_HALF_BYTES = 2


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes a vector; a search graph, ids and payloads, the same for all, left out.

    Attributes:
        memory: Of what every search reads.
        disk: Of everything that is stored, what is in memory included.
    """

    memory: float
    disk: float


class Trial:
    """A collection in a temporary folder, without a graph: every search compares all.

    What is lost is then lost by the codes alone, and comparing them all is what the
    embedded store does until a graph is built.
    """

    def __init__(
        self, shard: qe.EdgeShard, folder: Path, quantisation: Quantisation | None
    ) -> None:
        self._shard = shard
        self._folder = folder
        self._quantisation = quantisation

    def search(
        self, queries: Vectors, left_out: Ids, *, top_k: int, oversampling: float
    ) -> tuple[list[Ids], float]:
        """Return each query's best rows without itself, and the median search in ms."""
        if (quantisation := self._quantisation) is not None:
            quantisation = Quantisation(quantisation.scheme, oversampling)
        params = qe.SearchParams(quantization=rescoring(quantisation))
        found, seconds = [], []
        for query, itself in zip(queries.tolist(), left_out.tolist(), strict=True):
            request = qe.QueryRequest(
                limit=top_k + (itself != NOBODY),
                query=qe.Query.Nearest(query, using=_NAME),
                params=params,
            )
            started = time.perf_counter()
            with engine_errors(self._folder):
                hits = self._shard.query(request)
            seconds.append(time.perf_counter() - started)
            ids = [int(str(hit.id)) for hit in hits if hit.id != itself]
            found.append(np.array(ids[:top_k], dtype=np.int64))
        return found, float(np.median(seconds)) * 1000

    def size(self, n: int, dim: int) -> Size:
        """Return the bytes a vector, codes and their codebooks from the files."""
        if self._quantisation is None:
            return Size(dim * _FLOAT_BYTES, dim * _FLOAT_BYTES)
        if not self._quantisation.has_codes:
            return Size(dim * _HALF_BYTES, dim * _HALF_BYTES)
        files = self._folder.rglob("quantized.*")
        codes = sum(file.stat().st_size for file in files) / n
        return Size(codes, codes + dim * _FLOAT_BYTES)


@contextmanager
def trial(vectors: Vectors, quantisation: Quantisation | None) -> Iterator[Trial]:
    """Yield a collection of the vectors, `(n, d)`; row numbers are ids.

    Raises:
        StoreUnusable: The temporary folder cannot be written, or the engine failed.
    """
    with tempfile.TemporaryDirectory(prefix="mmrag-compress-") as place:
        folder = Path(place) / "shard"
        folder.mkdir()
        params = vector_params(
            vectors.shape[1], qe.Distance.Cosine, quantisation, with_graph=False
        )
        with engine_errors(folder):
            config = shard_config(_NAME, params, quantisation)
            shard = qe.EdgeShard.create(str(folder), config)
        try:
            with engine_errors(folder):
                for start in range(0, len(vectors), _PER_WRITE):
                    rows = vectors[start : start + _PER_WRITE].tolist()
                    points = [
                        qe.Point(start + i, {_NAME: row}) for i, row in enumerate(rows)
                    ]
                    shard.update(qe.UpdateOperation.upsert_points(points))
                if quantisation is not None and quantisation.has_codes:
                    shard.optimize()
                    shard.flush()  # replaced segments stay, and are counted, until then
            yield Trial(shard, folder, quantisation)
        finally:
            shard.close()
