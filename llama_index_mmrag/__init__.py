"""Text and image retrieval for LlamaIndex on Qdrant, in one honest ranking.

In flow order: an index (or channels over collections of your own), the retriever, its
fusion, the postprocessor, the synthesizer, the agent's tools, and what explains it all.
A name is loaded when it is first used: the command line's help needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index_mmrag.agents.query_engine_tool import MultiModalQueryEngineTool
    from llama_index_mmrag.agents.retriever_tool import MultiModalRetrieverTool
    from llama_index_mmrag.alignment.transformed import TransformedEmbedding
    from llama_index_mmrag.answers.captions import CaptionsAsText
    from llama_index_mmrag.answers.describing import describe_sources
    from llama_index_mmrag.answers.synthesizer import MultiModalSynthesizer
    from llama_index_mmrag.composition import Blend, Composition, Concatenate
    from llama_index_mmrag.embeddings import (
        BatchedClipEmbedding,
        ConseEmbedding,
        OfflineMultiModalEmbedding,
        OfflineTextEmbedding,
    )
    from llama_index_mmrag.events.degraded import (
        RouteDegradedEvent,
        collect_degradations,
    )
    from llama_index_mmrag.fusion import RRF, CalibratedSum, WeightedSum
    from llama_index_mmrag.index.index import MultiModalQdrantIndex
    from llama_index_mmrag.nodes.node import FusedNode, provenance_of
    from llama_index_mmrag.nodes.places import resolve_pictures
    from llama_index_mmrag.provenance import Contribution, Degradation, Provenance
    from llama_index_mmrag.retrieval.channel import Channel
    from llama_index_mmrag.retrieval.postprocessor import RRFPostprocessor
    from llama_index_mmrag.retrieval.query import MultiModalQuery
    from llama_index_mmrag.retrieval.retriever import MultiModalFusionRetriever
    from llama_index_mmrag.retrieval.retriever_channel import RetrieverChannel
    from llama_index_mmrag.retrieval.transforms import KeepPicture
    from llama_index_mmrag.stores import QdrantEdgeVectorStore

__version__ = "0.1.0"

__all__ = [
    "RRF",
    "BatchedClipEmbedding",
    "Blend",
    "CalibratedSum",
    "CaptionsAsText",
    "Channel",
    "Composition",
    "Concatenate",
    "ConseEmbedding",
    "Contribution",
    "Degradation",
    "FusedNode",
    "KeepPicture",
    "MultiModalFusionRetriever",
    "MultiModalQdrantIndex",
    "MultiModalQuery",
    "MultiModalQueryEngineTool",
    "MultiModalRetrieverTool",
    "MultiModalSynthesizer",
    "OfflineMultiModalEmbedding",
    "OfflineTextEmbedding",
    "Provenance",
    "QdrantEdgeVectorStore",
    "RRFPostprocessor",
    "RetrieverChannel",
    "RouteDegradedEvent",
    "TransformedEmbedding",
    "WeightedSum",
    "collect_degradations",
    "describe_sources",
    "provenance_of",
    "resolve_pictures",
]

_HOMES = {
    "RRF": "fusion",
    "BatchedClipEmbedding": "embeddings",
    "Blend": "composition",
    "CalibratedSum": "fusion",
    "CaptionsAsText": "answers.captions",
    "Channel": "retrieval.channel",
    "Composition": "composition",
    "Concatenate": "composition",
    "ConseEmbedding": "embeddings",
    "Contribution": "provenance",
    "Degradation": "provenance",
    "FusedNode": "nodes.node",
    "KeepPicture": "retrieval.transforms",
    "MultiModalFusionRetriever": "retrieval.retriever",
    "MultiModalQdrantIndex": "index.index",
    "MultiModalQuery": "retrieval.query",
    "MultiModalQueryEngineTool": "agents.query_engine_tool",
    "MultiModalRetrieverTool": "agents.retriever_tool",
    "MultiModalSynthesizer": "answers.synthesizer",
    "OfflineMultiModalEmbedding": "embeddings",
    "OfflineTextEmbedding": "embeddings",
    "Provenance": "provenance",
    "QdrantEdgeVectorStore": "stores",
    "RRFPostprocessor": "retrieval.postprocessor",
    "RetrieverChannel": "retrieval.retriever_channel",
    "RouteDegradedEvent": "events.degraded",
    "TransformedEmbedding": "alignment.transformed",
    "WeightedSum": "fusion",
    "collect_degradations": "events.degraded",
    "describe_sources": "answers.describing",
    "provenance_of": "nodes.node",
    "resolve_pictures": "nodes.places",
}
"""The module of each public name, as the imports above have it."""


def __getattr__(name: str) -> Any:
    """Return a public name from its module, or a module by its name (PEP 562)."""
    home = f"{__name__}.{_HOMES.get(name, name)}"
    try:
        module = import_module(home)
    except ModuleNotFoundError as error:
        if error.name != home:
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    found = getattr(module, name) if name in _HOMES else module
    globals()[name] = found  # not asked for again
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
