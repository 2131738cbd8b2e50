"""Encoders: text and pictures to vectors of one space, as LlamaIndex embeddings.

In go texts and pictures, singly or in batches; out come vectors, and the name of the
space that they lie in. Start at `encoder.py`, LlamaIndex's ten methods over two of
ours; `offline.py` needs no model hub, `clip.py` runs CLIP and SigLIP,
`conse_embedding.py` gives any text encoder a picture side, `bm25.py` makes sparse
vectors of words as they are written, `colour.py` has answers to work out by hand,
`unread.py` tells what a tokenizer cannot read. Importing this package
loads no model: weights are read at the first use.
"""

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.embeddings.clip import BatchedClipEmbedding
from llama_index_mmrag.embeddings.conse_embedding import ConseEmbedding
from llama_index_mmrag.embeddings.offline import (
    OfflineMultiModalEmbedding,
    OfflineTextEmbedding,
)
from llama_index_mmrag.embeddings.offline_features import OfflineFeaturesEmbedding

__all__ = [
    "BatchedClipEmbedding",
    "Bm25Encoder",
    "ConseEmbedding",
    "OfflineFeaturesEmbedding",
    "OfflineMultiModalEmbedding",
    "OfflineTextEmbedding",
]
