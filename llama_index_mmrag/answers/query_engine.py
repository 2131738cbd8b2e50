"""A query engine whose answers say what was searched, found or not."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import unwrap
from typing import Any, cast

from llama_index.core.base.base_multi_modal_retriever import MultiModalRetriever
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.prompts.mixin import PromptDictType
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import (
    ImageNode,
    NodeWithScore,
    QueryBundle,
    QueryType,
)

from llama_index_mmrag.checks import instance
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.events.degraded import collect_routes
from llama_index_mmrag.provenance import RoutesAsked
from llama_index_mmrag.retrieval.query import MultiModalQuery
from llama_index_mmrag.retrieval.retriever import bundle_of
from llama_index_mmrag.retrieval.variants import refuse_settings

# LlamaIndex wraps methods that override its own in a span of their own. Called through
# `super()`, the wrapped original would open a second one of the same name.
_asked = unwrap(RetrieverQueryEngine.query)
_aasked = unwrap(RetrieverQueryEngine.aquery)
_query = unwrap(RetrieverQueryEngine._query)
_aquery = unwrap(RetrieverQueryEngine._aquery)


class MultiModalQueryEngine(RetrieverQueryEngine):
    """LlamaIndex's `RetrieverQueryEngine`, whose answers say what was searched.

    `response.metadata` has the routes that were "requested", those that were "searched"
    and those "degraded" with the reason, whichever synthesizer wrote the answer; and
    "warnings", sentences on what makes it doubtful, such as a question in a script that
    the encoder does not read. "text_nodes" and "image_nodes" find its results, as of
    LlamaIndex's `SimpleMultiModalQueryEngine`.
    Provenance rides on results. A query that found nothing has none, and "nothing was
    found" must be told from "nobody could look".
    """

    def __repr__(self) -> str:
        """Return its retriever's channels, rule and depth."""
        return f"<{type(self).__name__} over {self._retriever!r}>"

    def with_retriever(self, retriever: BaseRetriever) -> MultiModalQueryEngine:
        """Return the engine over another retriever, all else shared."""
        return MultiModalQueryEngine(
            retriever,
            response_synthesizer=self._response_synthesizer,
            callback_manager=self.callback_manager,
            node_postprocessors=self._node_postprocessors,
        )

    def _update_prompts(self, prompts: PromptDictType) -> None:
        known = self.get_prompts()
        if unknown := [name for name in prompts if name not in known]:
            raise InvalidSetting(
                f"The engine has no prompt {unknown[0]!r}; it has {sorted(known)}. "
                f"Change those, or give it a response_synthesizer of LlamaIndex's."
            )

    def query(self, str_or_query_bundle: QueryType, **settings: Any) -> RESPONSE_TYPE:
        """Return the answer; a picture is a query, what is none `InvalidQuery`."""
        refuse_settings(settings, "query")
        bundle = bundle_of(str_or_query_bundle)
        response: RESPONSE_TYPE = _asked(self, bundle)
        return response

    async def aquery(
        self, str_or_query_bundle: QueryType, **settings: Any
    ) -> RESPONSE_TYPE:
        """Return what `query` does."""
        refuse_settings(settings, "aquery")
        bundle = bundle_of(str_or_query_bundle)
        response: RESPONSE_TYPE = await _aasked(self, bundle)
        return response

    def image_query(self, image_path: Any, prompt_str: str) -> RESPONSE_TYPE:
        """Return the answer to a prompt from pictures that are like this one.

        As LlamaIndex's `SimpleMultiModalQueryEngine`: the words are not searched for.

        Raises:
            InvalidQuery: It is no picture.
            InvalidSetting: The engine's retriever searches no pictures.
        """
        bundle = MultiModalQuery(prompt_str, images=[image_path])
        with collect_routes() as routes:
            found = _with_pictures(self._retriever).image_to_image_retrieve(image_path)
            found = self._apply_node_postprocessors(found, bundle)
            response = self.synthesize(bundle, found)
        return _told(response, routes)

    async def aimage_query(self, image_path: Any, prompt_str: str) -> RESPONSE_TYPE:
        """Return what `image_query` does."""
        bundle = MultiModalQuery(prompt_str, images=[image_path])
        asked = _with_pictures(self._retriever)
        with collect_routes() as routes:
            found = await asked.aimage_to_image_retrieve(image_path)
            found = await self._async_apply_node_postprocessors(found, bundle)
            response = await self.asynthesize(bundle, found)
        return _told(response, routes)

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with collect_routes() as routes:
            response = _query(self, query_bundle)
        return _told(response, routes)

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with collect_routes() as routes:
            response = await _aquery(self, query_bundle)
        return _told(response, routes)


def _with_pictures(retriever: BaseRetriever) -> MultiModalRetriever:
    advice = "Make the engine of an index: as_query_engine()."
    instance(retriever, "The retriever", MultiModalRetriever, advice=advice)
    return cast("MultiModalRetriever", retriever)


class _Told(dict[str, Any]):
    """What an answer is told with, as JSON; and its results by kind, if asked for."""

    def __init__(self, told: Mapping[str, Any], results: list[NodeWithScore]) -> None:
        super().__init__(told)
        self.results = results

    def __missing__(self, name: str) -> list[NodeWithScore]:
        """Return the results that LlamaIndex's engine has under this name."""
        is_image = {"text_nodes": False, "image_nodes": True}[name]
        return [r for r in self.results if isinstance(r.node, ImageNode) == is_image]

    def get(self, name: str, default: Any = None) -> Any:
        """Return what `[name]` does, or the default."""
        try:
            return self[name]
        except KeyError:
            return default


def _told(response: RESPONSE_TYPE, routes: RoutesAsked) -> RESPONSE_TYPE:
    known = response.metadata or {}
    told = {**known, **routes.to_dict(), "warnings": routes.warnings}
    response.metadata = _Told(told, response.source_nodes)
    return response
