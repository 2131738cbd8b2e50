"""Words of pictures that were found: each is its picture, and shown as that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from llama_index.core.schema import BaseNode, ImageNode

from llama_index_mmrag.nodes.node import WORDS_KEY, words_of
from llama_index_mmrag.provenance import Contribution
from llama_index_mmrag.stores.collection import Found


class WordsOf(NamedTuple):
    """What a text that was found is words of."""

    picture: str
    """The id that the picture is stored under."""
    what: str
    """What they are, such as "caption"."""


def words_among(found: Sequence[Found]) -> dict[str, WordsOf]:
    """Return which of a search's hits are words of pictures, by their ids."""
    return {
        hit.node_id: WordsOf(picture, str(hit.said.get(WORDS_KEY) or "words"))
        for hit in found
        if (picture := words_of(hit.said))
    }


def named(hit: Contribution, words: Mapping[str, WordsOf]) -> Contribution:
    """Return a contribution that says so where it is by words of a picture."""
    found = words.get(hit.node_id)
    return hit._replace(words=found.what, words_of=found.picture) if found else hit


def with_caption(picture: BaseNode, words: BaseNode) -> BaseNode:
    """Return a picture with its caption; what found it is one if it has none."""
    if not isinstance(picture, ImageNode) or picture.text.strip():
        return picture
    return picture.model_copy(update={"text": words.get_content()})
