"""Features of the alignment benchmark's sets, computed once and kept."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from offline_sets import RetrievalSet, book_sets, grocery_sets, recipe_set

from llama_index_mmrag.embeddings import OfflineTextEmbedding
from llama_index_mmrag.embeddings.conse import conse
from llama_index_mmrag.embeddings.picture_tower import PictureTower, class_vectors


@dataclass(frozen=True, slots=True)
class EncodedSet:
    """A set with its vectors, before any alignment."""

    asked: RetrievalSet
    queries: NDArray[np.float32]
    """MiniLM, `(queries, 384)`."""
    training_free: NDArray[np.float32]
    """ConSE, `(pictures, 384)`."""
    features: NDArray[np.float32]
    """EfficientNet's pooled features, `(pictures, 1280)`."""


def encoded_sets(data: Path, cache: Path) -> list[EncodedSet]:
    """Return all sets; books twice (alt text, caption), with the same pictures."""
    sets = [*book_sets(data), recipe_set(data), *grocery_sets(data)]
    encoded = []
    for one in sets:
        seen = _kept(cache, "pictures", [str(p) for p in one.pictures], one)
        texts = _kept(cache, "texts", one.queries, one)
        encoded.append(
            EncodedSet(
                one,
                texts["vectors"],
                conse(seen["logits"], class_vectors()),
                seen["features"],
            )
        )
    return encoded


def _kept(
    cache: Path, kind: str, keys: list[str], one: RetrievalSet
) -> dict[str, NDArray[np.float32]]:
    digest = hashlib.sha256("\0".join(keys).encode()).hexdigest()[:16]
    file = cache / f"{kind}-{digest}.npz"
    if not file.exists():
        if kind == "texts":
            arrays = {"vectors": OfflineTextEmbedding().encode_texts(one.queries)}
        else:
            tower = PictureTower(needed_for="The benchmark")
            seen = tower.features(one.pictures, n_threads=2)
            arrays = {"features": seen.features, "logits": seen.logits}
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, **arrays)
    with np.load(file, allow_pickle=False) as kept:
        return dict(kept)
