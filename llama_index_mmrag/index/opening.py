"""Opening an index: its collections, in a folder or on a server, as channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQueryMode,
)

from llama_index_mmrag.composition import Composition
from llama_index_mmrag.compression.places import (
    check_places,
    opened_places,
    remove_leftovers,
)
from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.embeddings.space import card_of
from llama_index_mmrag.errors import (
    CollectionMismatch,
    StoreUnusable,
)
from llama_index_mmrag.ingestion.linked import TEXT
from llama_index_mmrag.nodes.node import LETTERING
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.retrieval.composed_query import check_spaces
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.checking import StoreCheck, check_store, note_media
from llama_index_mmrag.stores.edge_layout import POINTER
from llama_index_mmrag.stores.edge_opening import all_fields
from llama_index_mmrag.stores.filter_fields import check_declared
from llama_index_mmrag.stores.format import ReaderCard, entry_of, new_index_id
from llama_index_mmrag.stores.manifest import (
    check_manifest,
    check_ours,
    index_id_of,
    write_manifest,
)

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, QdrantClient

COMPOSED = "composed"
"""Name and modality of the channel of early fusion, and the end of its collection's
name."""


def channels_in(
    root: Path,
    encoders: Mapping[str, BaseEmbedding],
    composition: Composition | None,
    hybrid: bool | Bm25Encoder | None = None,
    reader: ReaderCard | None = None,
    filter_fields: Mapping[str, str] = MappingProxyType({}),
) -> list[Channel]:
    """Return the open channels of a folder, which is made a store if it is none.

    Args:
        root: The folder.
        encoders: By collection.
        composition: What composes a text's and a picture's vectors; None: nothing.
        hybrid: As for `MultiModalQdrantIndex.open`.
        reader: What reads the pictures; None: nothing does.
        filter_fields: As for `MultiModalQdrantIndex.open`, checked.

    Raises:
        InvalidSetting: The composition cannot compose vectors of these encoders.
        CollectionMismatch: The store was filled by others.
        StoreInUse: It is open already, or was compressed at this moment.
        StoreUnusable: The folder cannot be used.
    """
    collections = _with_lettering(encoders, reader)
    cards = {name: card_of(model) for name, model in collections.items()}
    if composition is not None:
        dim = _composed_dim(composition, encoders)
        collections[COMPOSED] = encoders["image"]
    check_manifest(root, cards, composition)
    check_ours(root)
    channels: list[Channel] = []
    with ExitStack() as unfinished:
        unfinished.callback(close_all, channels)
        places = opened_places(root, collections)
        for name, (folder, model) in places.items():
            how = (
                {}
                if (folder / POINTER).is_file()
                else {"payload_indexes": all_fields(filter_fields)}
            )
            if composition is not None and name == COMPOSED:
                store = QdrantEdgeVectorStore.open(folder, dim=dim, **how)
                channels.append(_composed_channel(store, composition, encoders))
            else:
                store = QdrantEdgeVectorStore.open(
                    folder,
                    dim=dimension_of(model),
                    enable_hybrid=_hybrid_for(name, channels, hybrid) or None,
                    **how,
                )
                channels.append(_channel(name, store, model, hybrid))
            check_declared(filter_fields, store.client.indexes, f"store {str(root)!r}")
        check_places(root, {name: folder for name, (folder, _) in places.items()})
        entries = {
            c.name: entry_of(
                c.collection.store,
                encoder=cards.get(c.name),
                composition=c.composition,
            )
            for c in channels
        }
        if reader is not None:
            its = entries[LETTERING]
            entries[LETTERING] = its.model_copy(update={"reader": reader})
        write_manifest(root, entries)
        # Only now: what is removed is what they took the place of.
        remove_leftovers(root, channels)
        unfinished.pop_all()
    return channels


def channels_on(
    server: QdrantClient,
    collection: str | Mapping[str, str],
    encoders: Mapping[str, BaseEmbedding],
    composition: Composition | None,
    *,
    hybrid: bool | Bm25Encoder | None = None,
    reader: ReaderCard | None = None,
    filter_fields: Mapping[str, str] = MappingProxyType({}),
    aclient: AsyncQdrantClient | None = None,
) -> list[Channel]:
    """Return the channels of a server's collections, made if they are missing.

    Args:
        server: Its client.
        collection: As for `names_on_server`.
        encoders: As for `channels_in`.
        composition: As for `channels_in`.
        hybrid: As for `MultiModalQdrantIndex.open`.
        reader: As for `channels_in`.
        filter_fields: As for `channels_in`.
        aclient: For queries that hold no thread.

    Raises:
        InvalidSetting: The composition cannot compose vectors of these encoders.
        CollectionMismatch: The collections were filled by others.
        StoreUnusable: The server does not answer, or refuses; or the collections have
            another format.
    """
    from llama_index_mmrag.stores.server import (
        index_id_on,
        names_on_server,
        open_server_collection,
        open_server_composed,
        tell_of_namesake,
    )

    names = names_on_server(collection)
    dim = 0 if composition is None else _composed_dim(composition, encoders)
    index_id = index_id_on(server, names.values())
    if index_id is None and isinstance(collection, str):
        tell_of_namesake(server, collection, names["text"])
    index_id = index_id or new_index_id()
    channels: list[Channel] = []
    for name, model in _with_lettering(encoders, reader).items():
        store = open_server_collection(
            server,
            names[name],
            dim=dimension_of(model),
            card=card_of(model),
            reader=reader if name == LETTERING else None,
            index_id=index_id,
            hybrid=_hybrid_for(name, channels, hybrid),
            filter_fields=filter_fields,
            aclient=aclient,
        )
        channels.append(_channel(name, store, model, hybrid))
    space_id = None if composition is None else composition.space_id
    composed = open_server_composed(
        server,
        names,
        space_id=space_id,
        dim=dim,
        index_id=index_id,
        filter_fields=filter_fields,
        aclient=aclient,
    )
    if composition is not None and composed is not None:
        channels.append(_composed_channel(composed, composition, encoders))
    return channels


def _composed_dim(
    composition: Composition, encoders: Mapping[str, BaseEmbedding]
) -> int:
    """Return the length of composed vectors, if they can be composed."""
    text, image = encoders["text"], encoders["image"]
    check_spaces(composition, text_model=text, image_model=image)
    return composition.out_dim(dimension_of(text), dimension_of(image))


def _with_lettering(
    encoders: Mapping[str, BaseEmbedding], reader: ReaderCard | None
) -> dict[str, BaseEmbedding]:
    its = {} if reader is None else {LETTERING: encoders[TEXT]}
    return {**encoders, **its}


def _hybrid_for(
    name: str, opened: Sequence[Channel], hybrid: bool | Bm25Encoder | None
) -> bool | Bm25Encoder | None:
    """Return whether a collection keeps words; lettering's does as that of texts."""
    if name == LETTERING:
        texts = opened[0].collection.store
        return texts.enable_hybrid and (getattr(texts, "words", None) or hybrid or True)
    return hybrid if name == TEXT else False


def _channel(
    name: str, store: Any, model: BaseEmbedding, hybrid: bool | Bm25Encoder | None
) -> Channel:
    by_words = store.enable_hybrid and hybrid is not False
    mode = VectorStoreQueryMode.HYBRID if by_words else VectorStoreQueryMode.DEFAULT
    # Whatever else its encoder sees.
    how: dict[str, Any] = {"accepts": {"text"}} if name == LETTERING else {}
    return Channel(name, vector_store=store, embed_model=model, mode=mode, **how)


def _composed_channel(
    vector_store: BasePydanticVectorStore,
    composition: Composition,
    encoders: Mapping[str, BaseEmbedding],
) -> Channel:
    return Channel(
        COMPOSED,
        vector_store=vector_store,
        embed_model=encoders["text"],
        image_embed_model=encoders["image"],
        composition=composition,
    )


def close_all(channels: Iterable[Channel], root: Path | None = None) -> None:
    """Close the stores that can be closed; in a folder, note which pictures it has."""
    for channel in channels:
        close = getattr(channel.vector_store, "close", None)
        if close is not None:
            close()
    if root is not None:
        note_media(root)


def check_channels(channels: Iterable[Channel], root: Path | None) -> StoreCheck:
    """Return what is damaged: of a folder its files, of a server its collections.

    Args:
        channels: Open ones.
        root: The folder.
    """
    if root is not None:
        return check_store(root, {c.name: c.collection.store.client for c in channels})
    n_points: dict[str, int] = {}
    damaged: dict[str, tuple[str, ...]] = {}
    for channel in channels:
        composition, model = channel.composition, channel.embed_model
        try:
            if composition is None:
                channel.collection.check(dimension_of(model), card_of(model))
            else:
                encoders = {"text": model, "image": channel.image_embed_model or model}
                channel.collection.check(_composed_dim(composition, encoders))
            n_points[channel.name] = channel.collection.count()
        except (CollectionMismatch, StoreUnusable) as error:
            damaged[channel.name] = (str(error),)
    return StoreCheck(n_points, damaged, ())


def check_again(channels: Sequence[Channel], root: Path | None, index_id: str) -> None:
    """Do nothing if the stores of a pickled index are still those that it was over.

    Raises:
        CollectionMismatch: They were made anew, or filled by other encoders.
    """
    others: dict[str, tuple[str, ...]] = {}
    if root is None:
        others = dict(check_channels(channels, root).damaged)
    elif index_id_of(root) != index_id:
        others = {str(root): ("its id is another one",)}
    for name, reasons in others.items():
        raise CollectionMismatch(
            f"{name} is not what the pickled index was over: {reasons[0]}. Open the "
            f"index anew."
        )
