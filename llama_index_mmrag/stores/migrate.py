"""Moving an embedded store to a Qdrant server: the same points, the same payload."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import qdrant_edge as qe
from llama_index.core.base.embeddings.base import BaseEmbedding

from llama_index_mmrag.checks import whole
from llama_index_mmrag.embeddings.space import card_of
from llama_index_mmrag.errors import CollectionMismatch, StoreUnusable
from llama_index_mmrag.stores.client import create_collection
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_engine import SPARSE_NAME
from llama_index_mmrag.stores.encoder_card import record_metadata
from llama_index_mmrag.stores.format import ReaderCard, entry_of
from llama_index_mmrag.stores.manifest import entries_in
from llama_index_mmrag.stores.quantisation import server_vector_params
from llama_index_mmrag.stores.server_errors import Asking

if TYPE_CHECKING:
    from qdrant_client import QdrantClient
    from qdrant_client.http import models

_UNNAMED = ""


def migrate(
    source: QdrantEdgeVectorStore,
    client: QdrantClient,
    collection_name: str,
    *,
    embed_model: BaseEmbedding | None = None,
    batch_size: int = 256,
) -> int:
    """Copy all points to a collection; return how many were copied and counted there.

    Open the result with LlamaIndex's `QdrantVectorStore(collection_name, client=...)`.
    A missing collection is created, with one unnamed vector, as LlamaIndex's store
    makes it, or named ones where the source keeps words, and with the source's payload
    indexes. An existing one keeps its other points; points of the same id are replaced,
    so an interrupted run can be repeated.
    Under cosine the vectors arrive with unit length. Do not write to `source`
    meanwhile: a page already copied is not looked at again.

    Args:
        source: The open embedded store; it is only read.
        client: A server's client.
        collection_name: The collection there.
        embed_model: The encoder that filled `source`: a collection that is created
            remembers it, and an index opens it with no other.
        batch_size: Points in a request.

    Raises:
        CollectionMismatch: the collection's vectors have another size, distance or
            name.
        StoreUnusable: the server does not count all points of a batch after writing it,
            or refuses, or does not answer.
        InvalidSetting: `batch_size` is below 1.
    """
    from qdrant_client.http import models

    batch_size = whole(batch_size, "batch_size", at_least=1)
    folder = source.client
    asked = Asking(client, collection_name)
    with asked:
        if not client.collection_exists(collection_name):
            _create(client, collection_name, source, embed_model)
        name = _vector_name(client, collection_name, source)
    copied = 0
    for page in folder.scroll(None, payload=True, vector=True, page_size=batch_size):
        points = [_point(record, source.vector_name, name) for record in page]
        ids: list[models.ExtendedPointId] = [point.id for point in points]
        there = models.Filter(must=[models.HasIdCondition(has_id=ids)])
        with asked:
            client.upsert(collection_name, points=points, wait=True)
            counted = client.count(collection_name, there, exact=True).count
        if counted != len(points):
            raise StoreUnusable(
                f"Collection {collection_name!r} counts {counted} of the {len(points)} "
                f"points just written, after {copied} others; expected all. Check the "
                "server's log and run migrate() again: what is there is replaced."
            )
        copied += counted
    return copied


def _create(
    client: QdrantClient,
    collection_name: str,
    source: QdrantEdgeVectorStore,
    embed_model: BaseEmbedding | None,
) -> None:
    from qdrant_client.http import models

    distances = {"cosine": models.Distance.COSINE, "dot": models.Distance.DOT}
    folder = source.client
    distance = distances[folder.distance]
    card = None if embed_model is None else card_of(embed_model)
    entry = entry_of(source, encoder=card, composition=None)
    entry = entry.model_copy(update={"reader": _reader_of(source)})
    where = {"folder", "alignment", "space"}
    named = source.vector_name if folder.words else None
    record = entry.model_dump(exclude=where, exclude_none=True)
    create_collection(
        client,
        collection_name,
        vectors=server_vector_params(folder.dim, distance, folder.quantisation),
        indexes={k: models.PayloadSchemaType(v) for k, v in folder.indexes.items()},
        metadata=record_metadata(record, vector=named or _UNNAMED),
        beside_words=named,
    )


def _reader_of(source: QdrantEdgeVectorStore) -> ReaderCard | None:
    """Return what read the lettering in a store, as the index says that it is of."""
    folder = Path(source.path)
    entries = entries_in(folder.parent).values()
    return next((e.reader for e in entries if e.folder == folder.name), None)


def _vector_name(
    client: QdrantClient, collection_name: str, source: QdrantEdgeVectorStore
) -> str:
    params = client.get_collection(collection_name).config.params
    found = params.vectors
    named = found if isinstance(found, dict) else {_UNNAMED: found}
    folder = source.client
    if (SPARSE_NAME in (params.sparse_vectors or {})) != bool(folder.words):
        raise CollectionMismatch(
            f"Of the collection {collection_name!r} and the store {source.path!r} one "
            f"keeps vectors of words and the other does not. Migrate into a new "
            f"collection name; it is created."
        )
    expected = (folder.dim, folder.distance)
    for name in (source.vector_name, _UNNAMED):
        one = named.get(name)
        if one and (one.size, one.distance.value.lower()) == expected:
            return name
    raise CollectionMismatch(
        f"Collection {collection_name!r} has the vectors {found!r}; expected one "
        f"unnamed or named {source.vector_name!r} of (size, distance) {expected!r}. "
        "Migrate into a new collection name; it is created."
    )


def _point(record: qe.Record, source_name: str, name: str) -> models.PointStruct:
    from qdrant_client.http import models

    if not isinstance(record.vector, dict) or not isinstance(
        record.id, int | uuid.UUID
    ):
        msg = f"Point {record.id!r} was not written by QdrantEdgeVectorStore."
        raise StoreUnusable(
            f"{msg} Expected a UUID or a number and a named vector; insert anew."
        )
    vector: list[float] = record.vector[source_name]  # type: ignore[assignment]  # dense
    vectors: Any = vector if name == _UNNAMED else {name: vector}
    if isinstance(words := record.vector.get(SPARSE_NAME), qe.SparseVector):
        sparse = models.SparseVector(indices=words.indices, values=words.values)
        vectors = {name: vector, SPARSE_NAME: sparse}
    return models.PointStruct(
        id=record.id if isinstance(record.id, int) else str(record.id),
        vector=vectors,
        payload=record.payload,
    )
