"""Compression: fewer bytes a vector, at a recall that is promised and measured."""

from llama_index_mmrag.compression.candidates import Candidates
from llama_index_mmrag.compression.compress import CompressSettings, compress
from llama_index_mmrag.compression.live import IndexCompression
from llama_index_mmrag.compression.report import Compression, Row
from llama_index_mmrag.compression.server import (
    ServerCompression,
    compress_collection,
)

__all__ = [
    "Candidates",
    "CompressSettings",
    "Compression",
    "IndexCompression",
    "Row",
    "ServerCompression",
    "compress",
    "compress_collection",
]
