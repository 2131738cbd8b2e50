"""What must hold wherever our parts stand in LlamaIndex, each as a named claim."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index_mmrag import provenance_of
from llama_index_mmrag.nodes.node import BOOKKEEPING_KEYS, ENTITY_KEY

from .world import (
    ANSWER,
    ASKED_SIZE,
    DOORS,
    EXPECTED,
    NAMES,
    STORED_SIZE,
    Asked,
    World,
    caption_of,
    pictures_in,
    texts_in,
    words_of,
)


class Claim(Enum):
    """What a cell of the matrix says."""

    ANSWERS = "the engine answers"
    FINDS = "the right sources, best first"
    WHOLE_ANSWER = "the answer is what the model said, also when it is streamed"
    NODE_IDS = "the sources keep their node ids"
    PROVENANCE = "`provenance_of` reads every source's provenance"
    TEXTS = "the texts found reach the LLM"
    CAPTIONS = "the captions found reach the LLM"
    PICTURES = "the pictures found reach the LLM"
    QUERY_PICTURE = "the query's own picture reaches the LLM"
    NO_BOOKKEEPING = "no bookkeeping metadata reaches a prompt"
    QUERY_UNCHANGED = "the caller's query is not changed"


FATAL = frozenset({Claim.ANSWERS, Claim.FINDS})
"""Where one of these does not hold, the answer is not the right one."""

LEAKS = (
    *(f"{key}:" for key in BOOKKEEPING_KEYS),
    "mmrag_provenance", "contributions", "hash-of-", "entity-", "text→", "image→",
)  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """What came back from an engine."""

    text: str
    sources: Sequence[NodeWithScore]


def broken_claims(
    asked: Asked,
    world: World,
    answered: Answered,
    before: QueryBundle,
    after: QueryBundle,
) -> set[Claim]:
    """Return the claims that do not hold in one cell."""
    held = dict(_judged(asked, world, answered))
    held[Claim.QUERY_UNCHANGED] = before == after
    return {claim for claim, holds in held.items() if not holds}


def _judged(
    asked: Asked, world: World, answered: Answered
) -> Iterator[tuple[Claim, bool]]:
    expected = EXPECTED[asked]
    doors = list(dict.fromkeys(name.split()[1] for name in expected))
    sources = answered.sources
    ids = [s.node.node_id for s in sources]
    texts = texts_in(world.heard)
    pictures = pictures_in(world.heard)

    finds = _doors(sources) == doors
    yield Claim.FINDS, finds
    yield Claim.WHOLE_ANSWER, answered.text == ANSWER
    names = {NAMES[node_id] for node_id in ids if node_id in NAMES}
    yield Claim.NODE_IDS, names == set(expected) if finds else bool(names)
    yield Claim.PROVENANCE, _is_explained(sources)
    # What must be shown is what was found; sources with new ids are the expected ones.
    found = names or set(expected)
    written = [door for door in DOORS if f"text {door}" in found]
    yield Claim.TEXTS, all(words_of(door) in texts for door in written)
    drawn = {door for door in DOORS if f"image {door}" in found}
    yield Claim.CAPTIONS, all(caption_of(door) in texts for door in drawn)
    stored = {colour for colour, size in pictures if size == STORED_SIZE}
    yield Claim.PICTURES, stored == drawn
    own = [picture for picture in pictures if picture[1] == ASKED_SIZE]
    yield Claim.QUERY_PICTURE, asked == "text" or own == [("red", ASKED_SIZE)]
    prompts = texts + texts_in(world.dictated)
    yield Claim.NO_BOOKKEEPING, not any(leak in prompts for leak in LEAKS)


def _doors(sources: Sequence[NodeWithScore]) -> list[str]:
    """Return the doors that the sources are of, in order, each once."""
    found = [
        str(source.node.metadata[ENTITY_KEY]).removeprefix("entity-")
        for source in sources
        if ENTITY_KEY in source.node.metadata
    ]
    return list(dict.fromkeys(found))


def _is_explained(sources: Sequence[NodeWithScore]) -> bool:
    """Whether each source from our collections says where its score came from."""
    ours = [source for source in sources if ENTITY_KEY in source.node.metadata]
    for source in ours:
        provenance = provenance_of(source)
        if provenance is None:
            return False
        total = sum(c.amount for c in provenance.contributions)
        if not math.isclose(total, provenance.score, rel_tol=1e-9):
            return False
        if provenance.entity_id != source.node.metadata[ENTITY_KEY]:
            return False
    return bool(ours)
