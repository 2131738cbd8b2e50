"""Encoders: text and pictures to vectors of one space, as LlamaIndex embeddings.

Importing this package loads no model: weights are read at the first use.
"""

from llama_index_mmrag.embeddings.clip import BatchedClipEmbedding
from llama_index_mmrag.embeddings.offline import (
    OfflineMultiModalEmbedding,
    OfflineTextEmbedding,
)

__all__ = ["BatchedClipEmbedding", "OfflineMultiModalEmbedding", "OfflineTextEmbedding"]
