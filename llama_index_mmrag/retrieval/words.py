"""Words and lettering of pictures that were found: each is its picture, shown so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import Any, NamedTuple, TypeAlias

from llama_index.core.schema import BaseNode, ImageNode

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.nodes.node import (
    LETTERED_KEY,
    LINES_KEY,
    WORDS_KEY,
    is_lettering,
    text_of_picture,
)
from llama_index_mmrag.provenance import Contribution, Line
from llama_index_mmrag.stores.collection import Found

_Nodes: TypeAlias = "Mapping[str, Mapping[str, BaseNode]]"
"""By channel, then by id."""


class WordsOf(NamedTuple):
    """What a text that was found is words of."""

    picture: str
    """The id that the picture is stored under."""
    what: str
    """What they are, such as "caption"; "" of lettering, whose channel says so."""
    asked: str
    """The words that found it, of all parts of the query."""


def words_among(found: Sequence[Found], asked: str) -> dict[str, WordsOf]:
    """Return which of a search's hits are words of pictures, by their ids.

    Args:
        found: The hits.
        asked: The words that were searched for.
    """
    return {
        hit.node_id: WordsOf(picture, _what(hit.said), asked)
        for hit in found
        if (picture := text_of_picture(hit.said))
    }


def _what(said: Mapping[str, Any]) -> str:
    return "" if is_lettering(said) else str(said.get(WORDS_KEY) or "words")


def all_words(found: Iterable[Mapping[str, WordsOf]]) -> dict[str, WordsOf]:
    """Return what all searches found of words; of one, all that it was found by."""
    words: dict[str, WordsOf] = {}
    for of_search in found:
        for node_id, one in of_search.items():
            asked = f"{words[node_id].asked} {one.asked}" if node_id in words else None
            words[node_id] = one if asked is None else one._replace(asked=asked)
    return words


def named(
    hit: Contribution, words: Mapping[str, WordsOf], nodes: _Nodes
) -> Contribution:
    """Return a contribution by words of a picture, which says so.

    Args:
        hit: The contribution.
        words: Which hits are by words; it is among them.
        nodes: What was read.
    """
    picture, what, asked = words[hit.node_id]
    node = nodes[hit.channel].get(hit.node_id)
    lines = lines_meant(asked, node.metadata) if node and not what else ()
    return hit._replace(words=what, words_of=picture, lettering=lines)


def lines_meant(asked: str, read: Mapping[str, Any]) -> tuple[Line, ...]:
    """Return the lines of lettering that hold a word of the query, in reading order.

    Words are those that are searched by, in English (docs/words.md): stems, without
    stop words, codes whole and in pieces. Where no line holds one, the lettering was
    found by what it means, as a whole: all of its lines.

    Args:
        asked: The query's words.
        read: The lettering's metadata; none where its lines are not as we write them.
    """
    try:
        lines = [_line(line) for line in read.get(LINES_KEY) or ()]
    except (KeyError, TypeError, ValueError):
        return ()  # a payload of others must not cost the query
    analyser = Bm25Encoder()
    (wanted,), _ = analyser.queries([asked])
    tokens, _ = analyser.documents([line.text for line in lines])
    meant = [not set(wanted).isdisjoint(of_line) for of_line in tokens]
    return tuple(compress(lines, meant)) or tuple(lines)


def _line(kept: Mapping[str, Any]) -> Line:
    x0, y0, x1, y1 = map(float, kept["box"])
    return Line(str(kept["text"]), (x0, y0, x1, y1), float(kept["confidence"]))


def said_of(
    hits: Iterable[Contribution],
    words: Mapping[str, WordsOf],
    nodes: _Nodes,
) -> dict[str, list[BaseNode]]:
    """Return by picture the words that found it, the best hit's first.

    Args:
        hits: An entity's, best first.
        words: Which of them are by words.
        nodes: What was read.
    """
    said: dict[str, list[BaseNode]] = {}
    for hit in hits:
        found = words.get(hit.node_id)
        if found and (node := nodes[hit.channel].get(hit.node_id)):
            said.setdefault(found.picture, []).append(node)
    return said


def with_words(picture: BaseNode, said: Sequence[BaseNode]) -> BaseNode:
    """Return a picture with what it was found by: a caption if it has none, lettering.

    Lettering is never its caption.

    Args:
        picture: The picture.
        said: Words of it and its lettering, the best first.
    """
    changed: dict[str, Any] = {}
    for node in said:
        if is_lettering(node.metadata):
            read = {**picture.metadata, LETTERED_KEY: node.get_content()}
            changed.setdefault("metadata", read)
        elif isinstance(picture, ImageNode) and not picture.text.strip():
            changed.setdefault("text", node.get_content())
    return picture.model_copy(update=changed) if changed else picture
