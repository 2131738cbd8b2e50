"""Lettering: words that are part of a picture, read by a machine.

In goes a picture; out come its lines, each with its box and the engine's confidence.
Start at `lines.py`, what a line is and which are searched; `reader.py` says what an
engine must offer, `engines.py` which there are. `rapid.py` asks a child process, whose
code is `rapid_child.py`; `tesseract.py` runs the program. Importing this package loads
no engine.
"""

from llama_index_mmrag.lettering.engines import reader_of
from llama_index_mmrag.lettering.lines import confident, words_in
from llama_index_mmrag.lettering.reader import PictureReader
from llama_index_mmrag.provenance import Line

__all__ = ["Line", "PictureReader", "confident", "reader_of", "words_in"]
