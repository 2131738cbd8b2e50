"""Sentences: where a text may be cut, told by rules alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from llama_index.core.node_parser.text.utils import split_by_sentence_tokenizer_internal


def sentences(text: str) -> list[str]:
    """Return a text's sentences, each with the space that follows it.

    They are the ones that LlamaIndex's splitters find, without the files that those
    look for first, and try to download.

    Example:
        >>> sentences("Fill the tank. Is it full? Start.")
        ['Fill the tank. ', 'Is it full? ', 'Start.']
    """
    return split_by_sentence_tokenizer_internal(text, _tokenizer())


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    # Untrained, as LlamaIndex's is: it knows no abbreviations and reads no file.
    return PunktSentenceTokenizer()
