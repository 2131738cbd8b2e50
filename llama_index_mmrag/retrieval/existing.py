"""A retriever over collections that are there already, checked before it is made."""

from __future__ import annotations

from typing import Any

from llama_index.core.embeddings.utils import EmbedType
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQueryMode,
)
from typing_extensions import Self

from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.embeddings.named import encoder_named
from llama_index_mmrag.embeddings.space import card_of
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.retrieval.links import check_key


class ExistingCollections:
    """The `from_…` methods of a retriever."""

    @classmethod
    def from_vector_stores(
        cls,
        *,
        text_store: BasePydanticVectorStore,
        image_store: BasePydanticVectorStore,
        embed_model: EmbedType,
        image_embed_model: EmbedType | None = None,
        **settings: Any,
    ) -> Self:
        """Return a retriever over an existing pair of collections, checked.

        They may be those of LlamaIndex's `VectorStoreIndex` or
        `MultiModalVectorStoreIndex`, with named or unnamed vectors. A text store made
        with `enable_hybrid=True` is searched by vector and by terms.

        Args:
            text_store: The collection of texts.
            image_store: The collection of pictures.
            embed_model: The encoder that filled the text collection, or its name, as
                for `MultiModalQdrantIndex.open`.
            image_embed_model: The encoder that filled the image collection; to be asked
                with pictures it must be a `MultiModalEmbedding`. `embed_model` if None.
            **settings: Arguments of the constructor.

        Raises:
            CollectionMismatch: A collection does not exist, has no vector of the name
                that its store asks for, or one of another size or distance than the
                encoder's; or it says that another encoder filled it.
            InvalidSetting: No node has the metadata key `linked_by`.
        """
        hybrid = getattr(text_store, "enable_hybrid", False)
        mode = VectorStoreQueryMode.HYBRID if hybrid else VectorStoreQueryMode.DEFAULT
        texts = images = encoder_named(embed_model, "embed_model")
        if image_embed_model is not None:
            images = encoder_named(image_embed_model, "image_embed_model")
        channels = [
            Channel("text", vector_store=text_store, embed_model=texts, mode=mode),
            Channel("image", vector_store=image_store, embed_model=images),
        ]
        for channel in channels:
            model = channel.embed_model
            channel.collection.check(dimension_of(model), card_of(model))
        made = cls(channels, **settings)  # type: ignore[call-arg]  # a retriever's
        check_key(settings.get("linked_by"), channels)
        return made
