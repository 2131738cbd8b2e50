"""Collections on a Qdrant server: made ready for a plain `QdrantVectorStore`."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder, made_by
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.nodes.node import ENTITY_KEY, GIVEN_ID_KEY, MODALITY_KEY
from llama_index_mmrag.stores.client import (
    create_collection,
    index_fields,
    is_local,
    vector_params,
)
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.edge_engine import DENSE_NAME, MAKE_ANEW, SPARSE_NAME
from llama_index_mmrag.stores.encoder_card import check_record, record_in
from llama_index_mmrag.stores.filter_fields import FILTER_FIELDS, check_declared
from llama_index_mmrag.stores.format import (
    ReaderCard,
    Record,
    check_composed,
    new_index_id,
)
from llama_index_mmrag.stores.server_errors import Asking

if TYPE_CHECKING:
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import AsyncQdrantClient, QdrantClient
    from qdrant_client.http.models import CollectionConfig

_LOG = logging.getLogger(__name__)
_MODALITIES = ("text", "image", "composed", "lettering")
_INDEXES = dict.fromkeys(("doc_id", ENTITY_KEY, MODALITY_KEY, GIVEN_ID_KEY), "keyword")


def names_on_server(collection: str | Mapping[str, str]) -> dict[str, str]:
    """Return what an index's collections are called, by modality.

    Args:
        collection: What their names begin with; or names by modality, "text" among
            them: others are "<its name>-<modality>".

    Raises:
        InvalidSetting: A name is empty, or two are one, or there is none for texts, or
            one for what is no modality.
    """
    given = {} if isinstance(collection, str) else dict(collection)
    prefix = collection if isinstance(collection, str) else given.get("text", "")
    names = {one: given.get(one, f"{prefix}-{one}") for one in _MODALITIES}
    is_known = given.keys() <= names.keys()
    if not (prefix and is_known and len({*names.values(), ""}) > len(names)):
        raise InvalidSetting(
            f"collection is {collection!r}; expected what the names of an index's "
            f"collections begin with, or different names by modality, such as "
            f'{{"text": "docs", "image": "photos"}}: one for "text", and as you like '
            f'for "image", "composed" and "lettering".'
        )
    return names


def tell_of_namesake(client: QdrantClient, collection: str, text_name: str) -> None:
    """Log that a collection has the very name that an index is about to be made by.

    Args:
        client: Of the server.
        collection: What the index's names begin with.
        text_name: Of its texts: where that is there already, nothing is made.
    """
    with Asking(client, collection):
        is_new = not client.collection_exists(text_name)
        if is_new and client.collection_exists(collection):
            _LOG.warning(
                "There is a collection %r on the server, which stays as it is: the "
                "index is made beside it, in %r and others of that kind. To fill it "
                'instead, open(collection={"text": %r}); to search it as it is, '
                "MultiModalFusionRetriever.from_qdrant.",
                *(collection, text_name, collection),
            )


def open_server_collection(  # noqa: PLR0913 - what a new one is made with
    client: QdrantClient,
    collection_name: str,
    *,
    dim: int,
    card: dict[str, str] | None = None,
    composition: str | None = None,
    reader: ReaderCard | None = None,
    index_id: str | None = None,
    hybrid: bool | Bm25Encoder | None = False,
    filter_fields: Mapping[str, str] = MappingProxyType({}),
    aclient: AsyncQdrantClient | None = None,
) -> QdrantVectorStore:
    """Return LlamaIndex's store over a collection, which is created if it is missing.

    Without words the vector is unnamed, as LlamaIndex's store makes it.

    Args:
        client: A server's client, or a local one for tests.
        collection_name: The collection.
        dim: Length of the vectors.
        card: Of the encoder, from `embeddings.space.card_of`: kept with the collection
            and compared at each opening; None: neither.
        composition: `space_id` of what composed its vectors, kept in the same way.
        reader: What reads the pictures whose lettering it holds, which a new one keeps.
        index_id: Of the index that a new collection is part of; None: of a new one.
        hybrid: Whether vectors of words stand beside it, or what makes them; None: what
            it has, if anything says that we made them.
        filter_fields: What a new one is indexed by beside `FILTER_FIELDS`.
        aclient: For queries that hold no thread.

    Raises:
        CollectionMismatch: The collection exists with vectors of another name, size or
            distance, or was filled by another encoder, or has not the words or fields.
        StoreUnusable: The server does not answer, or refuses; or the collection has
            another format.
    """
    from llama_index.vector_stores.qdrant import QdrantVectorStore
    from qdrant_client import models

    with Asking(client, collection_name):
        if not client.collection_exists(collection_name):
            create_collection(
                client,
                collection_name,
                vectors=models.VectorParams(size=dim, distance=models.Distance.COSINE),
                indexes={**_INDEXES, **FILTER_FIELDS, **filter_fields},
                beside_words=DENSE_NAME if hybrid else None,
            )
        found = client.get_collection(collection_name)
        described = found.config
        if not is_local(client):  # which scans, and keeps no index
            known = {
                k: str(one.data_type.value) for k, one in found.payload_schema.items()
            }
            check_declared(filter_fields, known, f"collection {collection_name!r}")
        words = words_in(described, collection_name, hybrid)
        how: dict[str, Any] = {}
        if words is not None:  # else LlamaIndex downloads a model that makes them
            how = {"sparse_doc_fn": words.documents, "sparse_query_fn": words.queries}
        store = QdrantVectorStore(
            collection_name,
            client=client,
            aclient=aclient,
            enable_hybrid=bool(how),
            **how,
        )
        if store._legacy_vector_format is None:  # noqa: SLF001
            # Else it asks for the description before each write and async query.
            store._legacy_vector_format = False  # noqa: SLF001
        collection_of(store).check(dim)
        if card is not None or composition is not None:
            about = {"composition": composition, "words": words and words.card()}
            record = _record_of(described, store, encoder=card, reader=reader, **about)
            check_record(client, collection_name, record, index_id or new_index_id())
    return store


def words_in(
    described: CollectionConfig, collection_name: str, hybrid: bool | Bm25Encoder | None
) -> Bm25Encoder | None:
    """Return what makes a collection's vectors of words; None: there are none of ours.

    Raises:
        CollectionMismatch: They were made otherwise; or there are none, and `hybrid`
            asks for them.
    """
    words = hybrid if isinstance(hybrid, Bm25Encoder) else None
    kept = SPARSE_NAME in (described.params.sparse_vectors or {})
    card = record_in(described.metadata, collection_name).get("words")
    if card is not None:
        words = made_by(card, words, f"the collection {collection_name!r}")
    if hybrid and not kept:
        raise CollectionMismatch(
            f"The collection {collection_name!r} was made without vectors of words; "
            f"hybrid search needs them. {MAKE_ANEW}"
        )
    if kept and card is None and not hybrid:
        # They may be LlamaIndex's own, of a model that we have not.
        _LOG.warning(
            "The collection %r keeps vectors of words and does not say what made them: "
            "none are searched, and what is added has none. If it was this library, as "
            "on a server before 1.16, open it with hybrid=True.",
            collection_name,
        )
        return None
    return words or Bm25Encoder() if kept else None


def check_store(store: QdrantVectorStore, dim: int, card: dict[str, str]) -> None:
    """Do nothing if a store's collection is missing, or fits the encoder."""
    with Asking(store.client, store.collection_name):
        if store.client.collection_exists(store.collection_name):
            collection_of(store).check(dim, card)


def open_store(
    store: QdrantVectorStore, dim: int, card: dict[str, str], index_id: str
) -> str:
    """Make a store's collection ready, and return the id of its index.

    Args:
        store: One that a user made, with a client.
        dim: As for `open_server_collection`, and so is `card`.
        card: Of the encoder.
        index_id: Of the index that a new collection is part of; "": of a new one.
    """
    client, name = store.client, store.collection_name
    with Asking(client, name):
        if not client.collection_exists(name):
            # By its own settings: sharding, sparse vectors, quantisation.
            store._create_collection(name, dim)  # noqa: SLF001
            store._detect_vector_format(name)  # noqa: SLF001
            index_fields(client, name, _INDEXES)
        collection_of(store).check(dim)
        described = client.get_collection(name).config
        record = _record_of(described, store, encoder=card)
        check_record(client, name, record, index_id or new_index_id())
        metadata = client.get_collection(name).config.metadata
        return str(record_in(metadata, name).get("index_id", ""))


def index_id_on(client: QdrantClient, names: Iterable[str]) -> str | None:
    """Return the id of the index on a server, 32 hexadecimal digits.

    None where its collections say none: they are not there, are not ours, or are on a
    server that keeps no metadata of them.

    Args:
        client: Of the server.
        names: Of the collections.

    Raises:
        StoreUnusable: They have another format, or the server does not answer.
    """
    for name in names:
        with Asking(client, name):
            if client.collection_exists(name):
                metadata = client.get_collection(name).config.metadata
                index_id = str(record_in(metadata, name).get("index_id"))
                if re.fullmatch("[0-9a-f]{32}", index_id):
                    return index_id
    return None


def open_server_composed(
    client: QdrantClient,
    names: Mapping[str, str],
    *,
    space_id: str | None,
    dim: int,
    index_id: str | None = None,
    filter_fields: Mapping[str, str] = MappingProxyType({}),
    aclient: AsyncQdrantClient | None = None,
) -> QdrantVectorStore | None:
    """Return the store of composed vectors beside the collections of the parts.

    Args:
        client: As for `open_server_collection`.
        names: Of all collections, by modality.
        space_id: Of the composition; None for an index without early fusion, which has
            no such store.
        dim: Length of the composed vectors.
        index_id: As for `open_server_collection`, and so is what follows.
        filter_fields: For a new one.
        aclient: For queries that hold no thread.

    Raises:
        CollectionMismatch: The collections were filled with another composition, with
            none, or, where `space_id` is None, with one. A server that keeps no
            metadata of collections does not remember which, only whether.
    """
    name = names["composed"]
    filled_by = None
    with Asking(client, name):
        if client.collection_exists(name):
            known = record_in(client.get_collection(name).config.metadata, name)
            filled_by = str(known.get("composition") or space_id or "its own")
        elif not _has_points(client, [names["text"], names["image"]]):
            filled_by = space_id  # a new index
    check_composed(filled_by, space_id, where=names["text"])
    if space_id is None:
        return None
    return open_server_collection(
        client,
        name,
        dim=dim,
        composition=space_id,
        index_id=index_id,
        filter_fields=filter_fields,
        aclient=aclient,
    )


def _record_of(
    described: CollectionConfig, store: QdrantVectorStore, **about: Any
) -> Record:
    """Return the record of a collection as it is."""
    name, vectors = store.dense_vector_name, described.params.vectors
    params = vector_params(vectors, name)
    if params is None:
        raise RuntimeError("checked by the caller")
    is_named = isinstance(vectors, dict) and name in vectors
    return Record(
        vector=name if is_named else "",
        dim=params.size,
        distance=params.distance.value.lower(),
        **about,
    )


def _has_points(client: QdrantClient, collections: list[str]) -> bool:
    return any(
        client.collection_exists(name) and client.count(name).count > 0
        for name in collections
    )
