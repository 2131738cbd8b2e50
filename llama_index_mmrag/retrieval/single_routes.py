"""LlamaIndex's `MultiModalRetriever`: single routes of a query, under fixed names."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.image_retriever import BaseImageRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, QueryType

from llama_index_mmrag.retrieval.query import PICTURES, MultiModalQuery


class SingleRoutes(MultiModalRetriever):
    """Its methods, each a search for one kind of part in one modality."""

    # Not abstract: LlamaIndex gives what implements something abstract a span.
    _search: Callable[..., list[NodeWithScore]]
    _asearch: Callable[..., Awaitable[list[NodeWithScore]]]

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
        return self._search(_asked(query_bundle), "image", "image")

    async def _aimage_to_image_retrieve(
        self, query_bundle: QueryBundle
    ) -> list[NodeWithScore]:
        return await self._asearch(_asked(query_bundle), "image", "image")


def _asked(query: Any) -> Any:
    """Return a query; a picture is one, and LlamaIndex makes one of its path alone."""
    return MultiModalQuery(images=[query]) if _is_picture(query) else query


def _is_picture(query: object) -> bool:
    return isinstance(query, PICTURES)
