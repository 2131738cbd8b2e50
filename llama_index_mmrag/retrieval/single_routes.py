"""LlamaIndex's `MultiModalRetriever`: single routes of a query, under fixed names."""

from __future__ import annotations

from abc import abstractmethod

from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.image_retriever import BaseImageRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, QueryType


class SingleRoutes(MultiModalRetriever):
    """Its methods, each a search for one kind of part in one modality."""

    @abstractmethod
    def _search(
        self, query: QueryType, kind: str | None = None, modality: str | None = None
    ) -> list[NodeWithScore]:
        """Return what the parts of a kind find in the channels of a modality."""

    @abstractmethod
    async def _asearch(
        self, query: QueryType, kind: str | None = None, modality: str | None = None
    ) -> list[NodeWithScore]:
        """Return what `_search` does."""

    def text_retrieve(self, str_or_query_bundle: QueryType) -> list[NodeWithScore]:
        """Return text nodes for the query's words."""
        return self._search(str_or_query_bundle, "text", "text")

    async def atext_retrieve(
        self, str_or_query_bundle: QueryType
    ) -> list[NodeWithScore]:
        """Return text nodes for the query's words."""
        return await self._asearch(str_or_query_bundle, "text", "text")

    # MultiModalRetriever declares these abstract again and so hides their code.
    text_to_image_retrieve = BaseImageRetriever.text_to_image_retrieve
    atext_to_image_retrieve = BaseImageRetriever.atext_to_image_retrieve
    image_to_image_retrieve = BaseImageRetriever.image_to_image_retrieve
    aimage_to_image_retrieve = BaseImageRetriever.aimage_to_image_retrieve

    def _text_to_image_retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._search(query_bundle, "text", "image")

    async def _atext_to_image_retrieve(
        self, query_bundle: QueryBundle
    ) -> list[NodeWithScore]:
        return await self._asearch(query_bundle, "text", "image")

    def _image_to_image_retrieve(
        self, query_bundle: QueryBundle
    ) -> list[NodeWithScore]:
        return self._search(query_bundle, "image", "image")

    async def _aimage_to_image_retrieve(
        self, query_bundle: QueryBundle
    ) -> list[NodeWithScore]:
        return await self._asearch(query_bundle, "image", "image")
