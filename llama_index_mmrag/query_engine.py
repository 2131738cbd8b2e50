"""A query engine whose answers say what could not be searched, found or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import QueryBundle
from llama_index_instrumentation import get_dispatcher

from llama_index_mmrag.events import collect_degradations
from llama_index_mmrag.provenance import Degradation

dispatcher = get_dispatcher(__name__)


class MultiModalQueryEngine(RetrieverQueryEngine):
    """LlamaIndex's `RetrieverQueryEngine`, whose `response.metadata` has "degraded".

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

    @dispatcher.span
    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with collect_degradations() as lost:
            response = super()._query(query_bundle)
        return _told(response, lost)

    @dispatcher.span
    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with collect_degradations() as lost:
            response = await super()._aquery(query_bundle)
        return _told(response, lost)


def _told(response: RESPONSE_TYPE, lost: Sequence[Degradation]) -> RESPONSE_TYPE:
    if lost:
        response.metadata = {
            **(response.metadata or {}),
            "degraded": [asdict(degradation) for degradation in lost],
        }
    return response
