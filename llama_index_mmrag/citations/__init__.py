"""Citations: labels in an answer, checked while it is written. Pure.

In goes a text piece by piece and the number of sources shown; out comes the text with
only those labels that name one, and which they are. Start at `checking.py`.
"""

from llama_index_mmrag.citations.checking import CitationChecker

__all__ = ["CitationChecker"]
