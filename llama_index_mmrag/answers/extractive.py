"""Extractive answers: the evidence's own sentences, when there is no LLM to write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import numpy.typing as npt
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import ImageNode

from llama_index_mmrag.answers.evidence import Source
from llama_index_mmrag.answers.lettering import read_in
from llama_index_mmrag.citations.unlabelled import unlabelled
from llama_index_mmrag.ingestion.linked import HEADING_SEPARATOR, SECTION_KEY
from llama_index_mmrag.ingestion.sentences import sentences
from llama_index_mmrag.nodes.node import entity_of, lettering_of, provenance_of
from llama_index_mmrag.vectors import unit_rows

Scores = npt.NDArray[np.float64]

_WORD = re.compile(r"\w{3,}")
_BLANK_LINES = re.compile(r"\n\s*\n")
_LIST_MARKER = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")

_RANK_COST = 0.05
"""Taken off a sentence's similarity for each entity ranked above its own.

A sentence on the matter has a cosine of 0.4 to 0.7 to its question with MiniLM, one
beside it 0.1 to 0.3: the ranking decides between near equals, and no more than that.
Chosen by reading the answers to the demo's questions, as is the share below.
"""

_KEPT_SHARE = 0.7
"""Sentences below this share of the best one's score are padding, and left out."""


@dataclass(frozen=True, slots=True)
class _Quote:
    """A sentence of a source."""

    source: Source
    entity_rank: int
    """How many entities are ranked above the sentence's own."""
    place: int
    """The sentence's place in its source, from 0."""
    text: str

    def in_context(self) -> str:
        """Return the sentence after its heading, which says what "it" is."""
        heading = _section(self.source).rpartition(HEADING_SEPARATOR)[2]
        return f"{heading}: {self.text}" if heading else self.text


def extract_answer(
    query_str: str,
    sources: Sequence[Source],
    *,
    embed_model: BaseEmbedding | None = None,
    max_sentences: int = 3,
    max_pictures: int = 2,
) -> list[str]:
    """Return the answer in pieces: whole sentences and the pictures, all cited.

    The sentences are those closest to the question, a better-ranked entity's first
    among near equals, shown in the order of the evidence so that steps stay in order.
    Sentences that follow one another share one label: "Fill the tank. Start it. [1]".
    Captions and table rows are not quoted, nor headings where there is anything else.
    The pictures are those of the entities that were quoted, and of the best-ranked one
    where it has no text.

    A query by picture alone has no question: the answer says what the picture was
    matched with, and how that entity's text begins.

    Args:
        query_str: The question; empty for a query by picture alone.
        sources: The evidence, in the order of showing.
        embed_model: Compares sentences with the question by meaning; by shared words
            if None.
        max_sentences: Most sentences.
        max_pictures: Most pictures that are named.
    """
    if not sources:
        return []
    quotes = _quotes(sources)
    if query_str.strip():
        chosen = _closest(query_str, quotes, embed_model, max_sentences)
    else:
        chosen = [quote for quote in quotes if quote.entity_rank == 0][:max_sentences]
    text = list(_quoted(chosen))
    told = {_entity(quote.source) for quote in chosen}
    best_is_mute = all(quote.entity_rank > 0 for quote in quotes)
    if best_is_mute:
        told.add(_entity(min(sources, key=lambda source: source.rank)))
    pictures = [s for s in sources if _is_picture(s) and _entity(s) in told]
    if pictures and not query_str.strip():
        return _paragraphs(_named(pictures[:1], "The picture is most like"), text)
    pictures = pictures[:max_pictures]
    parts = (text, _named(pictures, f"Picture{'s' * (len(pictures) > 1)}:"))
    # What was ranked first is told first.
    return _paragraphs(*(reversed(parts) if best_is_mute else parts))


def _entity(source: Source) -> str:
    provenance = provenance_of(source.result)
    return provenance.entity_id if provenance else entity_of(source.result.node)


def _section(source: Source) -> str:
    return str(source.result.node.metadata.get(SECTION_KEY, ""))


def _is_picture(source: Source) -> bool:
    return isinstance(source.result.node, ImageNode)


def _quotes(sources: Sequence[Source]) -> list[_Quote]:
    """Return what can be quoted; a sentence that chunks share is the first one's."""
    ranks: dict[str, int] = {}
    for source in sorted(sources, key=lambda source: source.rank):
        ranks.setdefault(_entity(source), len(ranks))
    captions = {source.text for source in sources if _is_picture(source)}
    quotes: dict[str, _Quote] = {}
    for source in sources:
        if _is_picture(source):
            continue
        for place, text in enumerate(_sentences(source, captions)):
            quote = _Quote(source, ranks[_entity(source)], place, text)
            quotes.setdefault(text, quote)
    if not quotes:  # of texts that are headings alone, these are what they say
        for source in sources:
            heading = unlabelled(_section(source)).rpartition(HEADING_SEPARATOR)[2]
            if heading and not _is_picture(source):
                quote = _Quote(source, ranks[_entity(source)], 0, heading)
                quotes.setdefault(heading, quote)
    return list(quotes.values())


def _sentences(source: Source, captions: set[str]) -> list[str]:
    """Return a text's sentences; a text that has none is quoted by its lines."""
    section = unlabelled(_section(source))  # as the text that begins with it
    blocks = [
        block
        for block in _blocks(source.text)
        if block != section and not any(_says(caption, block) for caption in captions)
    ]
    found = []
    for block in blocks:
        body = _LIST_MARKER.sub("", block, count=1)
        is_step = body != block
        for sentence in map(str.strip, sentences(body)):
            if _SENTENCE_END.search(sentence):
                found.append(sentence)
            elif is_step and sentence:
                found.append(f"{sentence}.")
    return found or blocks


def _blocks(text: str) -> Iterator[str]:
    """Yield paragraphs and list items, each on one line.

    Plain texts are often wrapped, so that a line's end says nothing.
    """
    for paragraph in _BLANK_LINES.split(text):
        lines: list[str] = []
        for line in paragraph.splitlines():
            if lines and not _LIST_MARKER.match(line):
                lines[-1] += f" {line.strip()}"
            elif line.strip():
                lines.append(line.strip())
        yield from lines


def _says(caption: str, block: str) -> bool:
    # A caption is the alt text, which the section repeats, and the picture's title.
    return caption == block or caption.startswith(f"{block}. ")


def _closest(
    query_str: str,
    quotes: Sequence[_Quote],
    embed_model: BaseEmbedding | None,
    max_sentences: int,
) -> list[_Quote]:
    """Return the sentences closest to the question, in the order of the evidence."""
    if not quotes:
        return []
    texts = [quote.in_context() for quote in quotes]
    if embed_model is None:
        scores = _shared_words(query_str, texts)
    else:
        scores = _cosines(query_str, texts, embed_model)
    scores = scores - _RANK_COST * np.array([quote.entity_rank for quote in quotes])
    order = np.argsort(-scores, kind="stable")[:max_sentences]
    best = scores[order[0]]
    # Where nothing is close, a share of the best score would be no bar at all.
    kept = {int(i) for i in order if best > 0 and scores[i] >= _KEPT_SHARE * best}
    return [quotes[i] for i in sorted(kept or {int(order[0])})]


def _cosines(
    query_str: str, texts: Sequence[str], embed_model: BaseEmbedding
) -> Scores:
    """Return each text's cosine with the question, shape (n,); 0 for zero vectors."""
    query = unit_rows(np.array([embed_model.get_query_embedding(query_str)]))[0]
    vectors = unit_rows(np.array(embed_model.get_text_embedding_batch(list(texts))))
    return np.asarray(vectors @ query, dtype=np.float64)


def _shared_words(query_str: str, texts: Sequence[str]) -> Scores:
    """Return the share of the question's words that each text has, shape (n,).

    A word counts by its rarity among the texts, log(1 + n / (1 + texts with it)): the
    "what" and "the" of a question say nothing of its matter.
    """
    words = [set(_WORD.findall(text.lower())) for text in texts]
    weights = {
        word: np.log1p(len(words) / (1 + sum(word in found for found in words)))
        for word in _WORD.findall(query_str.lower())
    }
    total = sum(weights.values()) or 1.0
    return np.array([sum(weights[w] for w in weights if w in f) / total for f in words])


def _quoted(quotes: Sequence[_Quote]) -> Iterator[str]:
    """Yield sentences, with a label after each run of sentences that are neighbours."""
    for quote, after in zip_longest(quotes, quotes[1:]):
        goes_on = (
            after is not None
            and after.source is quote.source
            and after.place == quote.place + 1
        )
        label = "" if goes_on else f" [{quote.source.label}]"
        yield f"{quote.text}{label}{' ' if after else ''}"


def _named(pictures: Sequence[Source], lead: str) -> list[str]:
    """Return a sentence with the pictures' captions, or names, and their labels.

    And with what was read in them, where they were found by that.
    """
    named = "; ".join(
        f"{_title(source)} [{source.label}]{read_in(lettering_of(source.result))}"
        for source in pictures
    )
    return [f"{lead} {named}."] if named else []


def _title(picture: Source) -> str:
    caption = " ".join(picture.text.split()).rstrip(".")
    return f"“{caption}”" if caption else picture.name


def _paragraphs(first: list[str], second: list[str]) -> list[str]:
    return [*first, "\n\n", *second] if first and second else [*first, *second]
