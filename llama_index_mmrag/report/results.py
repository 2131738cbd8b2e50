"""Results as JSON: the one shape of a result, of a source, and of a report.

`--json` prints it and `response.metadata["citations"]` holds it: names are public.
"""

from __future__ import annotations

from typing import Any

from llama_index.core.bridge.pydantic import BaseModel, ConfigDict
from llama_index.core.schema import BaseNode, NodeWithScore

from llama_index_mmrag.nodes.node import (
    lettering_of,
    modality_of,
    provenance_of,
    stored_as,
)
from llama_index_mmrag.nodes.shown import ABOUT_KEYS, name_of
from llama_index_mmrag.provenance import Degradation, told


class Hit(BaseModel):
    """What a route found, and what that added to the score of the node's entity."""

    model_config = ConfigDict(from_attributes=True)

    route: str
    rank: int
    raw_score: float
    weight: float
    amount: float
    words: str = ""
    """What found a picture by its words, such as "caption"; empty for other hits."""

    @property
    def told(self) -> str:
        """The route, and by which words."""
        return told(self.route, self.words)


class LetteringLine(BaseModel):
    """A line in a picture that was found by it."""

    model_config = ConfigDict(from_attributes=True)

    text: str
    box: list[float]
    """x0, y0, x1, y1 in shares of the upright picture, from its top left."""
    confidence: float

    @classmethod
    def all_of(cls, result: NodeWithScore) -> list[LetteringLine]:
        """Return those of a result."""
        return [cls.model_validate(line) for line in lettering_of(result)]


class SourceCard(BaseModel):
    """A source of an answer, and what found it."""

    channel: str | None
    """None where the result has no provenance."""
    node_id: str
    """As it is stored; results of one id have ids of their own."""
    modality: str
    name: str
    score: float | None
    entity_id: str | None
    """None where the result has no provenance."""
    found_by: list[Hit]
    """The node's own hits; none for what came along with its entity."""
    lettering: list[LetteringLine] = []
    """What a query means of a picture's lettering, where it was found by that."""
    about: dict[str, Any] = {}
    """Where the node stands and what it is: those of `ABOUT_KEYS` that it has."""

    @classmethod
    def of(cls, result: NodeWithScore) -> SourceCard:
        """Return what is said of a result that an answer rests on."""
        node, provenance = result.node, provenance_of(result)
        channel, stored_id = stored_as(node)
        return cls(
            channel=channel or None,
            node_id=stored_id,
            modality=modality_of(node),
            name=name_of(node),
            score=result.score,
            entity_id=provenance.entity_id if provenance else None,
            found_by=_hits(result),
            lettering=LetteringLine.all_of(result),
            about=_about(node),
        )


class ResultCard(BaseModel):
    """A result of a search, and where its score came from."""

    channel: str | None
    """None where the result has no provenance."""
    node_id: str
    """As it is stored; results of one id have ids of their own."""
    entity_id: str
    """The node's own id where the result has no provenance."""
    modality: str
    score: float | None
    source: str
    """What a person would call the node."""
    image_path: str | None
    text: str
    contributions: list[Hit]
    """The node's own hits; none for what came along with its entity."""
    lettering: list[LetteringLine]
    """What the query means of a picture's lettering, where it was found by that."""
    about: dict[str, Any]
    """Where the node stands and what it is: those of `ABOUT_KEYS` that it has."""
    degraded: list[Degradation]
    """The routes of the query that gave no answer."""

    @classmethod
    def of(cls, result: NodeWithScore) -> ResultCard:
        """Return what is said of a result of a search."""
        node, provenance = result.node, provenance_of(result)
        channel, stored_id = stored_as(node)
        return cls(
            channel=channel or None,
            node_id=stored_id,
            entity_id=provenance.entity_id if provenance else node.node_id,
            modality=modality_of(node),
            score=result.score,
            source=name_of(node),
            image_path=getattr(node, "image_path", None),
            text=node.get_content(),
            contributions=_hits(result),
            lettering=LetteringLine.all_of(result),
            about=_about(node),
            degraded=list(provenance.degraded) if provenance else [],
        )


class Answer(BaseModel):
    """An answer, and the sources that it was written from."""

    answer: str
    cited: dict[str, int] = {}
    """Label → how often the answer cites it."""
    citations: dict[str, SourceCard] = {}
    """Label → the source."""
    degraded: list[Degradation] = []
    warnings: list[str] = []


class Skipped(BaseModel):
    """A source, or a part of one, that was left out."""

    model_config = ConfigDict(from_attributes=True)

    source: str
    reason: str
    is_part: bool
    code: str
    is_outdated: bool
    """Whether what was stored of the file before is still there."""


class InsertReport(BaseModel):
    """What an insert did."""

    documents: int
    added: int
    unchanged: int
    removed: int
    unread: int = 0
    """Texts added of which the encoder does not read the script."""
    pages_read: int = 0
    """Pages of scans that were read in the run."""
    pages_unread: int = 0
    """Pages of scans that nobody has read."""
    stale: list[str]
    """Documents whose files are gone, and that are still stored."""
    not_removed: str = ""
    """Why a refresh did not remove them; empty: it did, or was not asked."""
    skipped: list[Skipped]
    ignored: dict[str, int]
    """Files of other kinds: how many, by suffix."""


def _about(node: BaseNode) -> dict[str, Any]:
    said = node.metadata
    return {key: said[key] for key in ABOUT_KEYS if said.get(key) not in (None, "")}


def _hits(result: NodeWithScore) -> list[Hit]:
    provenance = provenance_of(result)
    _, stored_id = stored_as(result.node)
    found = provenance.of_node(stored_id) if provenance else ()
    return [Hit.model_validate(hit) for hit in found]
