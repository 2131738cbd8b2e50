"""Sentences: where a text may be cut, told by rules alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from llama_index.core.node_parser.text.utils import split_by_sentence_tokenizer_internal

_AT_ONCE = 200_000
"""Characters that are looked at together. NLTK's pattern (3.10) has five seconds, which
6 MB of text exceed; these take a fifth of one."""


def sentences(text: str) -> list[str]:
    """Return a text's sentences, each with the space that follows it.

    They are the ones that LlamaIndex's splitters find, without the files that those
    look for first, and try to download.

    Example:
        >>> sentences("Fill the tank. Is it full? Start.")
        ['Fill the tank. ', 'Is it full? ', 'Start.']
    """
    found: list[str] = []
    begun = ""
    for start in range(0, len(text), _AT_ONCE):
        piece = begun + text[start : start + _AT_ONCE]
        *whole, begun = split_by_sentence_tokenizer_internal(piece, _tokenizer())
        found += whole
        if len(begun) > _AT_ONCE:  # it has no end
            found.append(begun)
            begun = ""
    return [*found, begun] if begun else found


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    # Untrained, as LlamaIndex's is: it knows no abbreviations and reads no file.
    return PunktSentenceTokenizer()
