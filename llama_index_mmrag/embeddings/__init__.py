"""Encoders: text and pictures to vectors of one space, as LlamaIndex embeddings.

Importing this package loads no model: weights are read at the first use.
"""

from llama_index_mmrag.embeddings.clip import BatchedClipEmbedding
from llama_index_mmrag.embeddings.offline import (
    OfflineMultiModalEmbedding,
    OfflineTextEmbedding,
)
from llama_index_mmrag.embeddings.offline_features import OfflineFeaturesEmbedding

__all__ = [
    "BatchedClipEmbedding",
    "OfflineFeaturesEmbedding",
    "OfflineMultiModalEmbedding",
    "OfflineTextEmbedding",
]
