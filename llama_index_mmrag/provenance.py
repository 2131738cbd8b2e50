"""Provenance: where a result came from, and what each hit added to its score."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

DegradationKind = Literal["error", "deadline", "busy", "invalid"]

_QUOTED, _LETTERS = 3, 60
"""Lines of lettering that are quoted in a sentence, and how much of each."""

# Every hit makes a contribution and every result a provenance: named tuples, which are
# made in a fifth of a frozen dataclass's time.


class Line(NamedTuple):
    """A line of lettering, as a machine read it from a picture."""

    text: str
    """What it says, without spaces at its ends; never empty."""
    box: tuple[float, ...]
    """x0, y0, x1, y1 in shares, from 0 to 1, of the upright picture, from its top left:
    the smallest that holds a line, also one that is written aslant."""
    confidence: float
    """The engine's, from 0 to 1."""


class Contribution(NamedTuple):
    """What one hit added to one entity's fused score."""

    channel: str
    """Name of the channel that was searched."""
    route: str
    """The search that found the node, such as "text→image"."""
    node_id: str
    """The node that was found."""
    modality: str
    """The node's modality, such as "text" or "image"."""
    rank: int
    """Place in the route's ranked list, from 1."""
    raw_score: float
    """The store's own score, larger is better; comparable within its route only."""
    weight: float
    """The weight that the fusion gave to the route."""
    amount: float
    """What was added to the fused score."""
    calibrated_score: float | None = None
    """The score after normalisation; None where the fusion uses ranks alone."""
    counts: bool = True
    """False where another channel found the same node by the same part of the query,
    and better: of one node's words only the best hit counts."""
    words: str = ""
    """What found a picture by its words, such as "caption"; empty for other hits."""
    words_of: str = ""
    """The picture whose words or lettering were found, by its id."""
    lettering: tuple[Line, ...] = ()
    """The lines that the query means, where a picture was found by its lettering."""
    place: int | None = None
    """Of a route by "(meaning)" or "(words)": the hit's place in the one list that both
    make of a text, by which the fusion counted it; `rank` and `raw_score` are what this
    one measured. None for other routes."""

    @property
    def told(self) -> str:
        """The route, and by which words: "text→text, by its caption"."""
        return told(self.route, self.words)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        # Written out: `_asdict` takes nearly twice as long, and every result has one.
        return {
            "channel": self.channel,
            "route": self.route,
            "node_id": self.node_id,
            "modality": self.modality,
            "rank": self.rank,
            "raw_score": self.raw_score,
            "weight": self.weight,
            "amount": self.amount,
            "calibrated_score": self.calibrated_score,
            "counts": self.counts,
            "words": self.words,
            "words_of": self.words_of,
            "lettering": self.lettering and [line._asdict() for line in self.lettering],
            "place": self.place,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Contribution:
        """Return the contribution that `to_dict` wrote."""
        lines = data.get("lettering", ())
        read = (Line(**{**line, "box": tuple(line["box"])}) for line in lines)
        return cls(**{**data, "lettering": tuple(read)})


def told(route: str, words: str) -> str:
    """Return a route as people are told it: "text→text, by its caption"."""
    return f"{route}, by its {words}" if words else route


def quoted(lines: Sequence[str]) -> str:
    """Return how lines of lettering begin, the first few, after a blank; "" for none.

    >>> quoted(["VALVE 7", "Open by hand"])
    ' “VALVE 7; Open by hand”'
    """
    begun = [textwrap.shorten(line, _LETTERS, placeholder="…") for line in lines]
    told = "; ".join([*begun[:_QUOTED], *["…"] * (len(begun) > _QUOTED)])
    return f" “{told}”" if lines else ""


@dataclass(frozen=True, slots=True)
class Degradation:
    """A route that gave no answer: it is reported, never silently left out."""

    channel: str
    route: str
    kind: DegradationKind
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        return asdict(self)


class Provenance(NamedTuple):
    """All contributions to one result; their amounts add up to its score."""

    entity_id: str
    score: float
    fusion: str
    """The rule and its constants, such as "rrf(k=60)"."""
    contributions: tuple[Contribution, ...]
    """Largest amount first."""
    requested: tuple[str, ...] = ()
    """Every route the query asked for, in configured order."""
    degraded: tuple[Degradation, ...] = ()
    """The requested routes that gave no answer, lookups that failed after them, and
    points that were found and have nothing to show."""
    channel: str = ""
    """Name of the channel whose node the result shows; empty if it is not known."""

    @property
    def searched(self) -> tuple[str, ...]:
        """The requested routes that gave an answer, an empty one included."""
        return _answered(self.requested, self.degraded)

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the entity was found in, largest contribution first."""
        return tuple(dict.fromkeys(c.modality for c in self.contributions))

    def of_node(
        self, node_id: str, channel: str | None = None
    ) -> tuple[Contribution, ...]:
        """Return what a node added; empty if it came along as its entity's kin.

        Args:
            node_id: The node's id in its collection; a picture's words are its own.
            channel: Its channel; the result's own if None.
        """
        channels = {self.channel if channel is None else channel} - {""}
        return tuple(
            c
            for c in self.contributions
            if c.words_of == node_id
            or (c.node_id == node_id and (not channels or c.channel in channels))
        )

    def explain(self) -> str:
        """Return the score as a sum, a term for each contribution.

        >>> hit = Contribution("image", "text→image", "n1", "image", 2, 0.25, 1.0, 1/62)
        >>> Provenance("e1", 1/62, "rrf(k=60)", (hit,)).explain()
        '0.0161 = 0.0161 (text→image, rank 2, score 0.250)'
        """
        terms = " + ".join(
            f"{c.amount:.4f} ({c.told}{quoted([line.text for line in c.lettering])}, "
            f"rank {c.rank}, score {c.raw_score:.3f})"
            for c in self.contributions
        )
        return f"{self.score:.4f} = {terms}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold; `from_dict` gives the same back."""
        entity_id, score, fusion, contributions, requested, degraded, channel = self
        return {
            "entity_id": entity_id,
            "score": score,
            "fusion": fusion,
            "contributions": [c.to_dict() for c in contributions],
            # Tuples: the same for all results of a query, and so not copied for each.
            "requested": requested,
            "searched": self.searched if degraded else requested,
            "degraded": degraded and tuple(d.to_dict() for d in degraded),
            "channel": channel,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Provenance:
        """Return the provenance that `to_dict` wrote.

        Raises:
            TypeError: `data` has fields that a provenance has not.
            KeyError: `data` lacks the contributions.
        """
        # What was searched follows from the rest.
        given = {key: value for key, value in data.items() if key != "searched"}
        return cls(
            **{
                **given,
                "contributions": tuple(
                    Contribution.from_dict(c) for c in data["contributions"]
                ),
                "requested": tuple(data.get("requested", ())),
                "degraded": tuple(Degradation(**d) for d in data.get("degraded", ())),
            }
        )


@dataclass(slots=True)
class RoutesAsked:
    """The routes of all searches that an answer rests on, found anything or not."""

    requested: list[str] = field(default_factory=list)
    """In the order they were asked for, each once."""
    degraded: list[Degradation] = field(default_factory=list)
    """Those that gave no answer, and lookups that failed after them."""
    warnings: list[str] = field(default_factory=list)
    """What makes the results doubtful though they are there, each once."""

    @classmethod
    def of(cls, provenances: Iterable[Provenance]) -> RoutesAsked:
        """Return what the provenances of results say: those of a query say the same."""
        routes = cls()
        for requested, degraded in dict.fromkeys(
            (one.requested, one.degraded) for one in provenances
        ):
            routes.add(requested, degraded)
        return routes

    def add(
        self,
        requested: Iterable[str] = (),
        degraded: Iterable[Degradation] = (),
        warnings: Iterable[str] = (),
    ) -> None:
        """Take note of one more search."""
        self.warnings += [w for w in warnings if w not in self.warnings]
        self.requested += [r for r in requested if r not in self.requested]
        self.degraded += degraded

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold."""
        return {
            "requested": list(self.requested),
            "searched": list(_answered(tuple(self.requested), self.degraded)),
            "degraded": [lost.to_dict() for lost in self.degraded],
        }


def _answered(
    requested: tuple[str, ...], degraded: Iterable[Degradation]
) -> tuple[str, ...]:
    silent = {lost.route for lost in degraded}
    if not silent:
        return requested
    return tuple(route for route in requested if route not in silent)
