"""Stores: Qdrant in this process, and one way to work with a collection of any kind.

In go LlamaIndex vector stores; out come collections, searched, read, sampled and
written in the same way whatever kind the store is of: no other folder asks. Start at
`collection.py`; `edge.py` is the store in this process, `server.py` makes collections
on a server, `manifest.py` says what an embedded one is, in the format of `format.py`,
and `catalogue.py` keeps what is known of files.
"""

from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_filters import UnsupportedQuery
from llama_index_mmrag.stores.edge_points import InvalidNodeId
from llama_index_mmrag.stores.locks import has_async_client, search_lock
from llama_index_mmrag.stores.migrate import migrate
from llama_index_mmrag.stores.quantisation import Quantisation

__all__ = [
    "InvalidNodeId",
    "QdrantEdgeVectorStore",
    "Quantisation",
    "UnsupportedQuery",
    "has_async_client",
    "migrate",
    "search_lock",
]
