"""Compression: fewer bytes a vector, at a recall that is promised and measured.

In go stored vectors, queries and a promised recall; out come the smallest setting that
keeps it, with the figures of all that were tried. Start at `compress.py`, which works
on arrays; `live.py` compresses an index in use, `server.py` a collection on a server.
"""

from llama_index_mmrag.compression.candidates import Candidates
from llama_index_mmrag.compression.compress import CompressSettings, compress
from llama_index_mmrag.compression.live import IndexCompression
from llama_index_mmrag.compression.report import Compression, Row
from llama_index_mmrag.compression.server import ServerCompression, compress_collection

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
