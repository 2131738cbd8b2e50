"""Searches: a part of a query through one channel, and what a channel must be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol, TypeVar, runtime_checkable

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.concurrency.deadlines import Deadline, deadline_in
from llama_index_mmrag.concurrency.jobs import Job, Way
from llama_index_mmrag.errors import InvalidQuery
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.fusion import Background, RankedList
from llama_index_mmrag.nodes.node import WORDS_OF_KEY
from llama_index_mmrag.provenance import Degradation
from llama_index_mmrag.retrieval.encodings import Encodings
from llama_index_mmrag.retrieval.links import Link
from llama_index_mmrag.retrieval.query import PartKind, QueryPart, composed_of
from llama_index_mmrag.retrieval.words import WordsOf, words_among
from llama_index_mmrag.stores.found import Found, Nearness

T = TypeVar("T")

MEANING, WORDS = "meaning", "words"
"""The halves of a search in a text: by its vector, and by its words as written."""


@runtime_checkable
class SearchChannel(Protocol):
    """What a retriever needs of a channel.

    `Channel` is one over a vector store, `RetrieverChannel` one over any retriever.
    """

    @property
    def name(self) -> str:
        """Unique in a retriever; weights and provenance use it."""
        ...

    @property
    def modality(self) -> str:
        """What the nodes are: "text", "image", or a word of your own."""
        ...

    @property
    def accepts(self) -> frozenset[PartKind]:
        """Kinds of query part that are searched for here."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """Deadline of one search in seconds; None for none."""
        ...

    @property
    def n_retries(self) -> int:
        """How often a search is repeated after its connection failed."""
        ...

    @property
    def can_filter(self) -> bool:
        """Whether a query's metadata filters can be applied here."""
        ...

    @property
    def source(self) -> object:
        """What is asked: searches that hang are counted by it, and end in refusals."""
        ...

    @property
    def way(self) -> Way:
        """Where it is best asked."""
        ...

    @property
    def fetch(self) -> Callable[[Sequence[str]], list[BaseNode]] | None:
        """Returns whole nodes by id, without those that are gone by now.

        None where searches bring them along.
        """
        ...

    def answer(self, search: Search) -> Answer:
        """Return what was found, by `search.answered`."""
        ...

    async def aanswer(self, search: Search) -> Answer:
        """Return what `answer` does; called only where the way is "await"."""
        ...

    def of_entities(
        self,
        entity_ids: Sequence[str],
        *,
        filters: MetadataFilters | None = None,
        linked_by: str | None = None,
    ) -> list[BaseNode]:
        """Return this channel's nodes of the entities, whole.

        Those too, if given, of which the metadata key `linked_by`, or "id", says so.
        """
        ...

    async def aof_entities(
        self,
        entity_ids: Sequence[str],
        *,
        filters: MetadataFilters | None = None,
        linked_by: str | None = None,
    ) -> list[BaseNode]:
        """Return what `of_entities` does; called only where the way is "await"."""
        ...


class Half(NamedTuple):
    """What one of the two measured of a hit, and its part in what the hit adds."""

    name: str
    rank: int
    score: float
    weight: float = 1.0
    share: float = 1.0


def route_of(name: str, half: str) -> str:
    """Return what a half of a route, or of a channel, is called; "" is the whole."""
    return f"{name} ({half})" if half else name


@dataclass(frozen=True, slots=True)
class Answer:
    """A search's hits, ranked, and those of their nodes that came along."""

    ranked: RankedList
    nodes: dict[str, BaseNode]
    lost: Mapping[str, str] | None = None
    """By id: what points lack that were found, and have nothing to show."""
    words: Mapping[str, WordsOf] = field(default_factory=dict)
    """By id: which of the hits are words of pictures."""
    vector: Sequence[float] | None = None
    """What was searched by, shape (dim,), where that is known."""
    search: Search | None = None
    """What was asked."""
    nearness: Nearness | None = None
    """Of what words found: what a vector scores with it."""
    halves: Mapping[str, tuple[Half, ...]] = field(default_factory=dict)
    """By id: what meaning and words measured, where one answer is made of both."""


@dataclass(frozen=True, slots=True)
class Search:
    """One search, also called a route: a part of a query through one channel."""

    name: str
    """The route's, such as "text→image" or "text→text (words)"."""
    part: QueryPart
    channel: SearchChannel
    encodings: Encodings
    depth: int
    """How many hits the query needs at least."""
    filters: MetadataFilters | None = None
    """The query's conditions, beside the channel's own."""
    with_background: bool = False
    """Whether the fusion calibrates by the collection's background."""
    link: Link = Link("")
    """What tells the channel's nodes apart as entities."""
    half: str = ""
    """Whether it is by MEANING or by WORDS; empty where that is not told apart."""

    def answered(
        self,
        found: Sequence[Found],
        background: Background | None = None,
        vector: Sequence[float] | None = None,
        *,
        ties_in_order: bool = False,
    ) -> Answer:
        """Return what a channel answers.

        Args:
            found: What was found, best first.
            background: What the query scores by chance.
            vector: What was searched by, shape (dim,).
            ties_in_order: Whether of equal scores the first was meant to be first.
        """
        nodes = {hit.node_id: hit.node for hit in found if hit.node is not None}
        lost = None
        # A search that brings nodes brings none of what shows nothing.
        if self.channel.fetch is None and len(nodes) < len(found):
            lost = {hit.node_id: hit.said["lacks"] for hit in found if hit.node is None}
            found = [hit for hit in found if hit.node is not None]
        ranked = RankedList.from_scores(
            self.link.scored(found),
            channel=self.channel.name,
            route=self.name.removesuffix(f" ({self.half})") if self.half else self.name,
            modality=self.channel.modality,
            weight=self.part.weight,
            background=background,
            ties_in_order=ties_in_order,
        )
        has_words = any(WORDS_OF_KEY in hit.said for hit in found)
        words = words_among(found, self.part.words) if has_words else {}
        return Answer(ranked, nodes, lost, words, vector, self)


def unshown(
    answers: Sequence[Answer], links: Mapping[str, Link]
) -> tuple[Degradation, ...]:
    """Return, for each channel, how many points were found and show nothing."""
    shown = {hit.entity_id for answer in answers for hit in answer.ranked.hits}
    lost: dict[str, dict[str, str]] = {}
    for answer in answers:
        channel = answer.ranked.channel
        for node_id, what in (answer.lost or {}).items():
            # What is no picture may be a text, of which another channel knows.
            if links[channel].entity_of({}, node_id) not in shown:
                lost.setdefault(channel, {})[node_id] = what
    return tuple(
        Degradation(channel, f"read {channel}", "error", _counted(lacking.values()))
        for channel, lacking in lost.items()
    )


def _counted(lacking: Iterable[str]) -> str:
    counts = Counter(lacking).items()
    told = "; ".join(f"{n} without {what}" for what, n in counts)
    return f"points were found that have nothing to show: {told}"


def job_of(  # noqa: PLR0913 - what is done, in both ways, and what becomes known of it
    channel: SearchChannel,
    name: str,
    work: Callable[[], T],
    awork: Callable[[], Awaitable[T]] | None = None,
    *,
    span: Span | None = None,
    deadline: Deadline | None,
) -> Job[T]:
    """Return something to ask of a channel, in a span that is called the same if None.

    It ends at `deadline` or the channel's, if that is sooner; the channel's begins now.
    """
    if channel.timeout_s is not None:
        deadline = deadline_in(channel.timeout_s, before=deadline)
    way = channel.way
    if way == "await" and awork is None:
        # A search that brings no nodes is an engine's in this process.
        way = "here" if channel.fetch else "thread"
    return Job(
        name,
        channel.name,
        work,
        awork=awork if way == "await" else None,
        source=channel.source,
        span=span or Span(name, {"channel": channel.name}),
        way=way,
        deadline=deadline,
        n_retries=channel.n_retries,
    )


def plan(  # noqa: PLR0913 - what all of a query's searches have in common
    parts: Sequence[QueryPart],
    channels: Sequence[SearchChannel],
    *,
    depth: int,
    filters: MetadataFilters | None,
    with_background: bool,
    links: Mapping[str, Link],
    deadline: Deadline | None,
) -> list[Job[Answer]]:
    """Return the searches of a query, by part and then in the channels' order.

    A channel that accepts composed parts is asked with all parts as one, or with the
    one that there is.

    Args:
        parts: The query's.
        channels: Those that may be asked.
        depth: How many hits the query needs of each search.
        filters: The query's conditions.
        with_background: Whether the fusion calibrates by the collection's background.
        links: Of each channel.
        deadline: Of all searches.

    Raises:
        InvalidQuery: No channel takes any of the parts.
    """
    takes_composed = any("composed" in channel.accepts for channel in channels)
    composed = composed_of(parts) if takes_composed else None
    more = (composed,) if composed is not None and composed.parts else ()
    encodings = Encodings()
    jobs: list[Job[Answer]] = []
    for part in (*parts, *more):
        for channel in channels:
            asked_as = {part.kind, "composed" if part is composed else part.kind}
            if asked_as.isdisjoint(channel.accepts):
                continue
            whole, link = f"{part.name}→{channel.name}", links[channel.name]
            halves_of = getattr(channel, "halves_of", None)
            for half in halves_of(part) if halves_of else ("",):
                route = f"{whole} ({half})" if half else whole
                search = Search(
                    route, part, channel, encodings, depth, filters, with_background,
                    link, half,
                )  # fmt: skip
                about = {"route": route, "channel": channel.name, "query": part.words}
                span = Span(f"search {route}", about)
                work = partial(channel.answer, search)
                awork = partial(channel.aanswer, search)
                job = job_of(channel, route, work, awork, span=span, deadline=deadline)
                jobs.append(job)
    if not jobs:
        kinds = sorted({part.kind for part in parts})
        accepted = {c.name: sorted(c.accepts) for c in channels}
        advice = "Add a channel whose encoder is a MultiModalEmbedding."
        if channels and not any(accepted.values()):
            advice = "To search parts apart, use search='parts' or 'both'."
        raise InvalidQuery(
            f"The query has {' and '.join(kinds)}, and no channel takes that: "
            f"{accepted}. {advice}"
        )
    return jobs
