"""A retriever over collections that are there already, checked before it is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings.utils import EmbedType
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQueryMode,
)
from typing_extensions import Self

from llama_index_mmrag.checks import instance
from llama_index_mmrag.checks.keywords import refuse_unknown
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.embeddings.named import encoder_named
from llama_index_mmrag.embeddings.space import card_of
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.payloads import PayloadKeys, value_at
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.retrieval.links import check_key
from llama_index_mmrag.retrieval.settings import OF_CHANNELS
from llama_index_mmrag.stores.collection_of import collection_of

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, QdrantClient

_TEXT_KEY = "text"

_OF_QDRANT = {
    **OF_CHANNELS,
    "url": "Give client=QdrantClient(url=...).",
    "collection_name": "Give collection=, or text_collection= and image_collection=.",
    "using": "Give text_vector= or image_vector=.",
    "content_payload_key": "It is called text_key here.",
}
"""By the name of an argument of Qdrant's, or LangChain's: what there is for it."""


class ExistingCollections:
    """The `from_…` methods of a retriever."""

    @classmethod
    def from_vector_stores(  # noqa: PLR0913 - two stores, two encoders, five keys
        cls,
        *,
        text_store: BasePydanticVectorStore | None = None,
        image_store: BasePydanticVectorStore | None = None,
        embed_model: EmbedType,
        image_embed_model: EmbedType | None = None,
        text_key: str | None = None,
        image_path_key: str | None = None,
        image_url_key: str | None = None,
        image_base64_key: str | None = None,
        image_root: str | Path | None = None,
        **settings: Any,
    ) -> Self:
        """Return a retriever over an existing pair of collections, checked.

        They may be those of LlamaIndex's `VectorStoreIndex` or
        `MultiModalVectorStoreIndex`, with named or unnamed vectors. A text store made
        with `enable_hybrid=True` is searched by vector and by terms. The points of a
        `QdrantVectorStore` may also be others': then the keys say what they show.

        Args:
            text_store: The collection of texts; None: only pictures are searched.
            image_store: The collection of pictures; None: only texts are.
            embed_model: The encoder that filled the text collection, or its name, as
                for `MultiModalQdrantIndex.open`.
            image_embed_model: The encoder that filled the image collection; to be asked
                with pictures it must be a `MultiModalEmbedding`. `embed_model` if None.
            text_key: As for `from_qdrant`, and so are the following four. None: the
                `text_key` of the `QdrantVectorStore`.
            image_path_key: Field of a picture's path.
            image_url_key: Field of its URL.
            image_base64_key: Field of its base64.
            image_root: Folder that relative paths stand below.
            **settings: Arguments of the constructor.

        Raises:
            CollectionMismatch: A collection does not exist, has no vector of the name
                that its store asks for, or one of another size or distance than the
                encoder's; or it says that another encoder filled it; or none of ten
                points has a key.
            InvalidSetting: There is no store, or no node has the metadata key
                `linked_by`.
        """
        _check_keywords(settings, cls, cls.from_vector_stores, OF_CHANNELS)
        both = {"text": text_store, "image": image_store}
        stores = {name: store for name, store in both.items() if store is not None}
        if not stores:
            raise InvalidSetting(
                "from_vector_stores() got no store; expected text_store=, image_store= "
                "or both."
            )
        return cls._over(
            stores,
            _encoders(stores, embed_model, image_embed_model),
            PayloadKeys(
                text_key=text_key,
                image_path_key=image_path_key,
                image_url_key=image_url_key,
                image_base64_key=image_base64_key,
                image_root=image_root,
            ),
            settings,
        )

    @classmethod
    def from_qdrant(  # noqa: PLR0913 - where, which vectors, which fields, which encoders
        cls,
        client: QdrantClient | None = None,
        *,
        collection: str | None = None,
        text_collection: str | None = None,
        image_collection: str | None = None,
        text_vector: str | None = None,
        image_vector: str | None = None,
        text_key: str | None = _TEXT_KEY,
        image_path_key: str | None = None,
        image_url_key: str | None = None,
        image_base64_key: str | None = None,
        image_root: str | Path | None = None,
        embed_model: EmbedType | None = None,
        image_embed_model: EmbedType | None = None,
        aclient: AsyncQdrantClient | None = None,
        **settings: Any,
    ) -> Self:
        """Return a retriever over collections of Qdrant's, whoever wrote them, checked.

        A point is read by its payload: a text by `text_key`, a picture by one of the
        three keys of a picture, its caption again by `text_key`. Keys such as
        "metadata.source" reach into objects. One that lacks what its channel shows is
        left out, and counted in one degradation a channel and query. Points that
        LlamaIndex wrote are read as such.

        Args:
            client: Of the server, or of local mode.
            collection: One collection. Pictures are searched where one of their keys
                or their vector is named, texts where their vector is, or nothing of
                pictures. A point is one entity, found by either vector, and comes as
                its text and its picture.
            text_collection: Instead, the collection of texts.
            image_collection: Instead, or beside it, that of pictures. What is one
                entity in both says `linked_by`.
            text_vector: Name of the vector that texts are searched by. None: there is
                only one.
            image_vector: Likewise of pictures.
            text_key: Field of a text, or of a picture's caption, which may be missing;
                None is "text".
            image_path_key: Field of the path of a picture.
            image_url_key: Field of its URL, which is kept and never fetched.
            image_base64_key: Field of its file in base64, or a `data:` URI of it.
            image_root: Folder that relative paths stand below, and cannot leave.
            embed_model: The encoder that filled the vectors of texts, or its name, as
                for `MultiModalQdrantIndex.open`.
            image_embed_model: Likewise of pictures; `embed_model` if None.
            aclient: For queries that hold no thread. Without `client` nothing is
                checked, and an only vector must be unnamed, or named here.
            **settings: Arguments of the constructor, such as `linked_by`.

        Raises:
            CollectionMismatch: A collection does not exist, has several vectors of
                which none was named, only sparse ones or a multivector, or one of
                another size or distance than the encoder's; or of ten points none has
                a key: the message lists those that they have.
            InvalidSetting: Arguments contradict each other, or one is missing.
        """
        _check_keywords(settings, cls, cls.from_qdrant, _OF_QDRANT)
        _check_clients(client, aclient)
        keys = PayloadKeys(
            text_key=text_key,
            image_path_key=image_path_key,
            image_url_key=image_url_key,
            image_base64_key=image_base64_key,
            image_root=image_root,
        )
        vectors = {"text": text_vector, "image": image_vector}
        places = _places(collection, text_collection, image_collection, vectors, keys)
        from llama_index_mmrag.stores.foreign import store_over

        stores: dict[str, BasePydanticVectorStore] = {
            modality: store_over(
                place,
                vectors[modality],
                client=client,
                aclient=aclient,
                called=f"{modality}_vector",
                text_key=text_key,
            )
            for modality, place in places.items()
        }
        encoders = _encoders(places, embed_model, image_embed_model)
        return cls._over(stores, encoders, keys, settings)

    @classmethod
    def _over(
        cls,
        stores: Mapping[str, BasePydanticVectorStore],
        encoders: Mapping[str, BaseEmbedding],
        keys: PayloadKeys,
        settings: dict[str, Any],
    ) -> Self:
        channels = [
            Channel(
                modality,
                vector_store=store,
                embed_model=encoders[modality],
                mode=_mode(modality, store),
                **_keys_of(modality, store, keys, alone=len(stores) == 1),
            )
            for modality, store in stores.items()
        ]
        for channel in channels:
            model = channel.embed_model
            channel.collection.check(dimension_of(model), card_of(model))
            channel.collection.check_payloads()
        made = cls(channels, **settings)  # type: ignore[call-arg]  # a retriever's
        check_key(settings.get("linked_by"), channels)
        return made


def _mode(modality: str, store: BasePydanticVectorStore) -> VectorStoreQueryMode:
    hybrid = modality == "text" and getattr(store, "enable_hybrid", False)
    return VectorStoreQueryMode.HYBRID if hybrid else VectorStoreQueryMode.DEFAULT


def _keys_of(
    modality: str, store: BasePydanticVectorStore, keys: PayloadKeys, *, alone: bool
) -> dict[str, Any]:
    """Return the keys that a channel is made with; none where nothing needs them.

    Args:
        modality: Of the channel.
        store: Its store.
        keys: Those that were given.
        alone: Whether it is the only channel.
    """
    given = keys.given()
    payloads = collection_of(store).strangers()
    asked = given.pop("text_key", None)
    text = asked
    if asked is None:
        text = getattr(store, "text_key", None) or _TEXT_KEY
    if modality == "text":
        return {"text_key": text} if asked is not None or payloads else {}
    # Captions may be missing: a key that is misspelt is told by the texts, if any.
    # One that none of ten points has is not asked for, and the store's holds.
    needed = alone and text != _TEXT_KEY
    if needed or any(value_at(payload, text) is not None for payload in payloads):
        given["text_key"] = text
    # So that it is said that there is no key of pictures.
    return given or ({"text_key": text} if payloads else {})


def _places(
    both: str | None,
    texts: str | None,
    images: str | None,
    vectors: Mapping[str, str | None],
    keys: PayloadKeys,
) -> dict[str, str]:
    """Return the collections that are searched, by modality."""
    asked = {"collection": both, "text_collection": texts, "image_collection": images}
    asked |= {f"{modality}_vector": name for modality, name in vectors.items()}
    asked["text_key"] = keys.text_key  # the store takes it before its channel does
    for name, value in asked.items():
        instance(value, f"from_qdrant: {name}", str, or_none=True)
    shows = vectors["image"] is not None or bool(keys.given().keys() - {"text_key"})
    if both is not None:
        if texts is not None or images is not None:
            raise InvalidSetting(
                "from_qdrant() got collection= and one of text_collection= and "
                "image_collection=; expected one collection for both, or each by "
                "itself. Leave one out."
            )
        texts = both if vectors["text"] is not None or not shows else None
        images = both if shows else None
    places = {"text": texts, "image": images}
    found = {modality: place for modality, place in places.items() if place}
    if not found:
        raise InvalidSetting(
            "from_qdrant() got no collection; expected collection=, or "
            "text_collection=, image_collection= or both. Name what is to be searched."
        )
    for modality, is_asked in {
        "text": vectors["text"] is not None,
        "image": shows,
    }.items():
        if is_asked and modality not in found:
            raise InvalidSetting(
                f"from_qdrant() got the vector or a key of {modality}s, and no "
                f"collection of them. Add {modality}_collection=, or leave it out."
            )
    return found


def _encoders(
    modalities: Iterable[str], texts: EmbedType | None, images: EmbedType | None
) -> dict[str, BaseEmbedding]:
    """Return the encoder of each modality that is searched."""
    named: dict[str, Any] = {"embed_model": texts, "image_embed_model": images}
    uses = {"text": "embed_model", "image": "image_embed_model"}
    if images is None:
        uses["image"] = "embed_model"
    used = {modality: uses[modality] for modality in modalities}
    for name, given in named.items():
        if given is not None and name not in used.values():
            raise InvalidSetting(
                f"{name} was given, and nothing that is searched uses it: "
                f"{', '.join(f'{m}s use {n}' for m, n in used.items())}. Leave it out, "
                f"or name the other vector or collection too."
            )
    made = {name: encoder_named(named[name], name) for name in {*used.values()}}
    return {modality: made[name] for modality, name in used.items()}


def _check_keywords(
    given: Iterable[str], made: Any, called: Any, words: Mapping[str, str]
) -> None:
    known = {*signature(made).parameters, *signature(called).parameters}
    refuse_unknown(given, called.__name__, known - {"channels", "settings"}, words)


def _check_clients(client: object, aclient: object) -> None:
    from qdrant_client import AsyncQdrantClient, QdrantClient

    advice = "Such as QdrantClient(url=...); an asynchronous one is aclient=."
    of = "from_qdrant: client"
    instance(client, of, QdrantClient, or_none=aclient is not None, advice=advice)
    instance(aclient, "from_qdrant: aclient", AsyncQdrantClient, or_none=True)
