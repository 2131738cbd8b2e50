"""A collection as it is stored, and what to ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding

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
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_points import vectors_of
from llama_index_mmrag.stores.manifest import entries_in
from llama_index_mmrag.vectors import Vectors


@dataclass(frozen=True, slots=True)
class StoredCollection:
    """A collection as it is stored now."""

    name: str
    store: Any
    """Its vector store, embedded where there is a folder."""
    encoder: BaseEmbedding
    alignment: Alignment | None
    """What its vectors went through already."""
    ids: list[str]
    rows: Vectors
    """Unit rows, in the order of `ids`."""

    @classmethod
    def of(cls, root: Path | None, channel: Channel) -> StoredCollection:
        """Return an index's collection.

        Args:
            root: The index's folder; None: its stores are elsewhere.
            channel: Its channel.

        Raises:
            InvalidSetting: It is no store of Qdrant's, or has another distance.
            StoreClosed: A smaller one took its place.
            InvalidVector: Some vectors are zeros.
        """
        store = channel.collection.store
        one = channel.collection
        vectors, is_cosine = one.sample(1)
        if not is_cosine or not vectors.shape[1]:
            raise InvalidSetting(
                f"The {channel.name} collection is a {type(store).__name__}; expected "
                f"a store of Qdrant's whose vectors are compared by cosine."
            )
        what, encoder = f"The vectors of {channel.name}", channel.embed_model
        if root is None:
            rows = checked_unit_rows(_all_of(one), what)
            return cls(channel.name, store, encoder, None, [], rows)
        if (successor := store.client.successor) is not None:
            raise StoreClosed(
                f"The {channel.name} collection was replaced by {str(successor)!r}; "
                f"this one may lack what was written since. Open the index again."
            )
        place = entries_in(root).get(channel.name)
        alignment = None
        if place is not None and place.alignment is not None:
            alignment = Alignment.load(root / place.folder / place.alignment)
        ids, vectors = stored_vectors(store)
        rows = checked_unit_rows(vectors, what)
        return cls(channel.name, store, encoder, alignment, ids, rows)


def _all_of(collection: Collection) -> Vectors:
    return collection.sample(max(1, collection.count()))[0]


def stored_vectors(store: QdrantEdgeVectorStore) -> tuple[list[str], Vectors]:
    """Return all ids of a store and their vectors, `(n, dim)`, by ascending id."""
    name, dim = store.vector_name, store.client.dim
    ids: list[str] = []
    blocks = [np.empty((0, dim), dtype=np.float32)]
    for page in store.client.scroll(None, payload=False, vector=True):
        ids += [str(record.id) for record in page]
        blocks.append(vectors_of(page, vector_name=name, dim=dim))
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
    accepted = next(c.accepts for c in channels if c.name == collection.name)
    others = [
        _all_of(channel.collection)
        for channel in channels
        if channel.name != collection.name
        and channel.composition is None
        and "image" in (accepted or ())
        and space_of(channel.embed_model) == space_of(collection.encoder)
    ]
    texts = np.concatenate([np.empty((0, rows.shape[1]), dtype=np.float32), *others])
    n = min(len(own), len(texts))
    if not n:
        return own
    words = checked_unit_rows(texts[rng.permutation(len(texts))[:n]], "The texts")
    n_own, n_words = len(own) - n // 2, n // 2
    both = np.concatenate([own.vectors[:n_own], words[:n_words]])
    left_out = np.append(own.left_out[:n_own], np.full(n_words, NOBODY))
    origin = (
        f"{n_own} stored vectors, each leaving itself out, and {n_words} texts of the "
        f"same space"
    )
    return Asked(both, left_out, origin).where(rng.permutation(len(both)))
