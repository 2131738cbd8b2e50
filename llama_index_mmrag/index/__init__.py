"""The index: collections of texts and of pictures, opened, filled and searched as one.

Start at `index.py`, the object that a user holds; `opening.py` opens its collections
in a folder or on a server, that of composed vectors among them.
"""

from llama_index_mmrag.index.index import MultiModalQdrantIndex

__all__ = ["MultiModalQdrantIndex"]
