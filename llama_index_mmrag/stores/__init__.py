"""Vector stores: Qdrant in this process, and what a server needs beside it."""

from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_filters import UnsupportedQuery
from llama_index_mmrag.stores.locks import has_async_client, search_lock
from llama_index_mmrag.stores.migrate import migrate
from llama_index_mmrag.stores.quantisation import Quantisation
from llama_index_mmrag.stores.vectors import InvalidNodeId

__all__ = [
    "InvalidNodeId",
    "QdrantEdgeVectorStore",
    "Quantisation",
    "UnsupportedQuery",
    "has_async_client",
    "migrate",
    "search_lock",
]
