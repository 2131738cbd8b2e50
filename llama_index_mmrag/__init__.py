"""Text and image retrieval for LlamaIndex on Qdrant, in one honest ranking.

In flow order: an index (or channels over collections of your own), the retriever, its
fusion, the postprocessor, the synthesizer, the agent's tools, and what explains it all.
"""

from llama_index_mmrag.agents.query_engine_tool import MultiModalQueryEngineTool
from llama_index_mmrag.agents.retriever_tool import MultiModalRetrieverTool
from llama_index_mmrag.alignment.transformed import TransformedEmbedding
from llama_index_mmrag.answers.captions import CaptionsAsText
from llama_index_mmrag.answers.synthesizer import (
    MultiModalSynthesizer,
    describe_sources,
)
from llama_index_mmrag.composition import Blend, Composition, Concatenate
from llama_index_mmrag.embeddings import (
    BatchedClipEmbedding,
    OfflineMultiModalEmbedding,
    OfflineTextEmbedding,
)
from llama_index_mmrag.events.degraded import RouteDegradedEvent, collect_degradations
from llama_index_mmrag.fusion import RRF, CalibratedSum, WeightedSum
from llama_index_mmrag.index.index import MultiModalQdrantIndex
from llama_index_mmrag.nodes.node import FusedNode, provenance_of
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
]
