"""A query engine whose answers say what was searched, found or not."""

from __future__ import annotations

from inspect import unwrap

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import QueryBundle, QueryType

from llama_index_mmrag.events.degraded import collect_routes
from llama_index_mmrag.provenance import RoutesAsked
from llama_index_mmrag.retrieval.retriever import bundle_of

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
    the encoder does not read.
    Provenance rides on results. A query that found nothing has none, and "nothing was
    found" must be told from "nobody could look".
    """

    def with_retriever(self, retriever: BaseRetriever) -> MultiModalQueryEngine:
        """Return the engine over another retriever, all else shared."""
        return MultiModalQueryEngine(
            retriever,
            response_synthesizer=self._response_synthesizer,
            callback_manager=self.callback_manager,
            node_postprocessors=self._node_postprocessors,
        )

    def query(self, str_or_query_bundle: QueryType) -> RESPONSE_TYPE:
        """Return the answer; a picture is a query, what is none `InvalidQuery`."""
        bundle = bundle_of(str_or_query_bundle)
        response: RESPONSE_TYPE = _asked(self, bundle)
        return response

    async def aquery(self, str_or_query_bundle: QueryType) -> RESPONSE_TYPE:
        """Return what `query` does."""
        bundle = bundle_of(str_or_query_bundle)
        response: RESPONSE_TYPE = await _aasked(self, bundle)
        return response

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with collect_routes() as routes:
            response = _query(self, query_bundle)
        return _told(response, routes)

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with collect_routes() as routes:
            response = await _aquery(self, query_bundle)
        return _told(response, routes)


def _told(response: RESPONSE_TYPE, routes: RoutesAsked) -> RESPONSE_TYPE:
    known = response.metadata or {}
    response.metadata = {**known, **routes.to_dict(), "warnings": routes.warnings}
    return response
