"""Making an index as LlamaIndex does: of documents, or over stores that were given."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

from llama_index.core.embeddings.utils import EmbedType
from llama_index.core.schema import BaseNode, TransformComponent
from llama_index.core.storage import StorageContext
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.index_store import SimpleIndexStore
from llama_index.core.vector_stores.simple import DEFAULT_VECTOR_STORE
from llama_index.core.vector_stores.types import BasePydanticVectorStore
from typing_extensions import Self

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.checks.keywords import Elsewhere
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.embeddings.space import card_of
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.index.encoders import encoders_of
from llama_index_mmrag.index.place import MEMORY
from llama_index_mmrag.index.splitting import reading
from llama_index_mmrag.index.verbs import Verbs
from llama_index_mmrag.ingestion import ReadSettings
from llama_index_mmrag.ingestion.transformation import without_encoders
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue
from llama_index_mmrag.stores.given import Wanted, open_given

_LOG = logging.getLogger(__name__)
_PLACES = ("path", "location", "url", "client")
_AT_A_PLACE = (*_PLACES, "client_kwargs", "aclient")
_NAMESPACES = {DEFAULT_VECTOR_STORE: None, "image": None}
"""LlamaIndex's names for the stores of a storage context."""


class Made(Verbs):
    """How an index is made besides by `open`."""

    open: ClassVar[Any]
    _owns_stores: bool

    @classmethod
    @checked
    def from_documents(
        cls,
        documents: Iterable[BaseNode],
        storage_context: StorageContext | None = None,
        show_progress: bool = False,
        *,
        transformations: Sequence[TransformComponent] | None = None,
        **opening: Any,
    ) -> Self:
        """Return an index that holds the documents, as LlamaIndex's `from_documents`.

        Args:
            documents: As for `insert`.
            storage_context: Its `vector_store` and `image_store` are filled: Qdrant's,
                or `QdrantEdgeVectorStore`s. Without it, and without a place, the index
                is in a temporary folder, which `close` removes; the log says where.
            show_progress: Show a progress bar.
            transformations: As for `from_vector_store`.
            **opening: Arguments of `open`, such as `path`; or beside a storage context
                of `from_vector_store`, such as `embed_model`.

        Raises:
            InvalidSetting: The storage context has other stores, or what it has beside
                them would be ignored; and as for `open`.
        """
        index: Any
        if storage_context is not None:
            given = {**_stores_in(storage_context, opening), **opening}
            index = cls.from_vector_store(transformations=transformations, **given)
        else:
            without_encoders(transformations or (), "transformations")
            has_place = any(opening.get(name) is not None for name in _AT_A_PLACE)
            index = cls.open(**opening if has_place else {**opening, "path": MEMORY})
            if not has_place:
                _LOG.info(
                    "No place was given: the index is in %s, which close() removes. "
                    "Give path=, url= or client= to keep it.",
                    index._root,
                )
        with ExitStack() as unfinished:
            unfinished.callback(index.close)
            if transformations is not None and storage_context is None:
                index._settings = reading(index._settings, transformations)
            index.insert(documents, show_progress=show_progress)
            unfinished.pop_all()
        made: Self = index
        return made

    from_existing_collection = Elsewhere(
        "Collections that others filled are searched by MultiModalFusionRetriever."
        "from_qdrant(); an index's own are opened by open(client=, collection=)."
    )

    @classmethod
    @checked
    def from_vector_store(  # noqa: PLR0913 - each but the first has a default
        cls,
        vector_store: BasePydanticVectorStore,
        embed_model: EmbedType | None = None,
        image_vector_store: BasePydanticVectorStore | None = None,
        image_embed_model: EmbedType | None = None,
        *,
        settings: ReadSettings | None = None,
        transformations: Sequence[TransformComponent] | None = None,
    ) -> Self:
        """Return the index over two stores of yours, which `close` leaves open.

        Args:
            vector_store: Of texts: a `QdrantVectorStore`, whose collection is made if
                it is missing, or an open `QdrantEdgeVectorStore`.
            embed_model: As for `open`.
            image_vector_store: Of pictures, over another collection.
            image_embed_model: As for `open`.
            settings: As for `open`. Pictures that come as bytes are kept in their
                points, unless `media_dir` says where.
            transformations: Split documents in place of our own reader, here and in
                each later `insert`, and the texts of pages with pictures and of files;
                those stay linked. None: those that Settings were given.

        Raises:
            InvalidSetting: A store is of another kind, or missing, or both are one; or
                as for `open`.
            CollectionMismatch: A collection was filled by other encoders.
            StoreUnusable: The server does not answer, or refuses.
        """
        settings = reading(settings, transformations)
        encoders = encoders_of(embed_model, image_embed_model)
        stores = {"text": vector_store, "image": image_vector_store}
        with encoders.told():
            index_id = open_given(
                stores,
                {
                    name: Wanted(dimension_of(model), card_of(model))
                    for name, model in encoders.of.items()
                },
            )
        channels = [
            Channel(name, vector_store=stores[name], embed_model=model)  # type: ignore[arg-type]  # none is missing
            for name, model in encoders.of.items()
        ]
        made: Any = cls  # with the index's constructor
        known = Catalogue(None, index_id)
        index: Self = made(channels, settings=settings, catalogue=known)
        index._owns_stores = False
        return index


def _stores_in(context: StorageContext, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a context's stores, as `from_vector_store` takes them."""
    if places := [name for name in _PLACES if given.get(name) is not None]:
        raise InvalidSetting(
            f"from_documents() got a storage_context and {places[0]}; expected one of "
            f"them. Leave the other out."
        )
    others = {
        **dict.fromkeys(context.vector_stores.keys() - _NAMESPACES, True),
        "property_graph_store": context.property_graph_store is not None,
        "docstore": not isinstance(context.docstore, SimpleDocumentStore),
        "index_store": not isinstance(context.index_store, SimpleIndexStore),
    }
    if ignored := sorted(name for name, is_there in others.items() if is_there):
        raise InvalidSetting(
            f"The storage_context has {' and '.join(ignored)}; expected a vector_store "
            f"and an image_store alone: an index keeps all it knows in these two."
        )
    texts, pictures = map(context.vector_stores.get, _NAMESPACES)
    return {"vector_store": texts, "image_vector_store": pictures}
