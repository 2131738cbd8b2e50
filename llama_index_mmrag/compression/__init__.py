"""Compression: fewer bytes a vector, at a recall that is promised and measured."""

from llama_index_mmrag.compression.candidates import Candidates
from llama_index_mmrag.compression.compress import compress
from llama_index_mmrag.compression.report import Compression, Row

__all__ = ["Candidates", "Compression", "Row", "compress"]
