"""Lettering: words that are part of a picture, read by a machine.

In goes a picture; out come its lines, each with its box and the engine's confidence.
Start at `lines.py`, what a line is and which are searched; `reader.py` says what an
engine must offer. Importing this package loads no engine.
"""

from llama_index_mmrag.lettering.lines import Line, confident, words_in
from llama_index_mmrag.lettering.reader import PictureReader

__all__ = ["Line", "PictureReader", "confident", "words_in"]
