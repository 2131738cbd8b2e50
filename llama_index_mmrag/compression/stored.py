"""An embedded collection as it is stored, and what to ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from numpy.typing import NDArray

from llama_index_mmrag.alignment.artefact import Alignment
from llama_index_mmrag.compression.asked import (
    Asked,
    checked_unit_rows,
    given_queries,
    stored_queries,
)
from llama_index_mmrag.compression.recall import NOBODY
from llama_index_mmrag.embeddings.space import space_of
from llama_index_mmrag.errors import InvalidSetting, StoreClosed
from llama_index_mmrag.retrieval.channels import Channel
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.manifest import places_in
from llama_index_mmrag.vectors import Vectors


@dataclass(frozen=True, slots=True)
class StoredCollection:
    """A collection as it is stored now."""

    name: str
    root: Path
    store: QdrantEdgeVectorStore
    encoder: BaseEmbedding
    alignment: Alignment | None
    """What its vectors went through already."""
    ids: list[str]
    rows: Vectors
    """Unit rows, in the order of `ids`."""

    @classmethod
    def of(cls, root: Path, channel: Channel) -> StoredCollection:
        """Return an index's collection.

        Args:
            root: The index's folder.
            channel: Its channel.

        Raises:
            InvalidSetting: It is no embedded store, or has another distance.
            StoreClosed: A smaller one took its place.
            InvalidVector: Some vectors are zeros.
        """
        store = channel.vector_store
        if not isinstance(store, QdrantEdgeVectorStore) or store.distance != "cosine":
            msg = (
                f"The {channel.name} collection is a {type(store).__name__}; expected "
                f"an embedded store with cosine. For a server use compress_collection."
            )
            raise InvalidSetting(msg)
        if (successor := store.client.successor) is not None:
            msg = (
                f"The {channel.name} collection was replaced by {str(successor)!r}; "
                f"this one may lack what was written since. Open the index again."
            )
            raise StoreClosed(msg)
        place = places_in(root).get(channel.name)
        alignment = None
        if place is not None and place.alignment is not None:
            alignment = Alignment.load(root / place.folder / place.alignment)
        ids, vectors = stored_vectors(store)
        rows = vectors
        if len(vectors):
            rows = checked_unit_rows(vectors, f"The vectors of {channel.name}")
        return cls(channel.name, root, store, channel.embed_model, alignment, ids, rows)


def stored_vectors(
    store: QdrantEdgeVectorStore,
) -> tuple[list[str], NDArray[np.float32]]:
    """Return all ids of a store and their vectors, `(n, dim)`, by ascending id."""
    ids: list[str] = []
    blocks = [np.empty((0, store.client.dim), dtype=np.float32)]
    for page in store.client.scroll(None, payload=False, vector=True):
        ids += [str(record.id) for record in page]
        rows = [record.vector[store.vector_name] for record in page]  # type: ignore[call-overload,index]
        blocks.append(np.array(rows, dtype=np.float32))
    return ids, np.concatenate(blocks)


def queries_for(
    collection: StoredCollection,
    channels: Sequence[Channel],
    queries: Sequence[str] | None,
    most: int,
    rng: np.random.Generator,
) -> Asked:
    """Return the user's queries, or stored vectors; for pictures texts among them."""
    rows = collection.rows
    if queries is not None:
        encoded = [collection.encoder.get_query_embedding(query) for query in queries]
        return given_queries(np.array(encoded), rows.shape[1], most, rng)
    own = stored_queries(rows, most, rng)
    # Pictures are mostly asked for in words: where texts are in the same space, half
    # of the queries are texts.
    others = [
        stored_vectors(channel.vector_store)[1]
        for channel in channels
        if channel.name != collection.name
        and channel.composition is None
        and "image" in _accepts(channels, collection.name)
        and space_of(channel.embed_model) == space_of(collection.encoder)
        and isinstance(channel.vector_store, QdrantEdgeVectorStore)
    ]
    texts = np.concatenate([np.empty((0, rows.shape[1]), dtype=np.float32), *others])
    n = min(len(own), len(texts))
    if not n:
        return own
    words = checked_unit_rows(texts[rng.permutation(len(texts))[:n]], "The texts")
    both = np.concatenate([own.vectors[: len(own) - n // 2], words[: n // 2]])
    left_out = np.full(len(both), NOBODY, dtype=np.int64)
    left_out[: len(own) - n // 2] = own.left_out[: len(own) - n // 2]
    origin = (
        f"{len(own) - n // 2} stored vectors, each leaving itself out, and {n // 2} "
        f"texts of the same space"
    )
    return Asked(both, left_out, origin).where(rng.permutation(len(both)))


def _accepts(channels: Sequence[Channel], name: str) -> frozenset[str]:
    return next(frozenset(c.accepts or ()) for c in channels if c.name == name)
