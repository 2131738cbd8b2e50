"""Routes: every search that a query needs, run at once, failures and all.

A route is one query part through one channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.concurrency.deadlines import Deadline, deadline_in, sooner
from llama_index_mmrag.concurrency.jobs import Job, Outcome, arun_all, run_all
from llama_index_mmrag.errors import InvalidQuery
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.provenance import Degradation
from llama_index_mmrag.retrieval.degradation import degradation
from llama_index_mmrag.retrieval.query import Encodings, QueryPart, composed_of
from llama_index_mmrag.retrieval.search_channel import Ask, SearchChannel, Searched

Answer: TypeAlias = "Searched | Degradation"


@dataclass(frozen=True, slots=True)
class Route:
    """One search: a query part through one channel."""

    part: QueryPart
    channel: SearchChannel
    filters: MetadataFilters | None = None
    with_background: bool = False

    @property
    def name(self) -> str:
        """The route's name, such as "text→image"."""
        return f"{self.part.name}→{self.channel.name}"

    def ask(self, encodings: Encodings) -> Ask:
        """Return what the channel is asked."""
        return Ask(self.part, encodings, self.filters, self.with_background)

    def job(
        self, encodings: Encodings, deadline: Deadline | None, *, is_awaited: bool
    ) -> Job[Searched]:
        """Return the search; it ends at `deadline` or the channel's, if that is sooner.

        The channel's begins now.
        """
        channel, asked = self.channel, self.ask(encodings)
        has_own_way = is_awaited and channel.is_async
        return Job(
            lambda: channel.answer(asked),
            source=channel.source,
            span=Span(
                f"search {self.name}",
                route=self.name,
                channel=channel.name,
                query=self.part.words,
            ),
            deadline=sooner(deadline_in(channel.timeout_s), deadline),
            is_embedded=channel.is_embedded,
            n_retries=channel.n_retries,
            awork=(lambda: channel.aanswer(asked)) if has_own_way else None,
        )


def plan(
    parts: Sequence[QueryPart],
    channels: Sequence[SearchChannel],
    filters: MetadataFilters | None = None,
    *,
    with_background: bool = False,
) -> list[Route]:
    """Return the routes of a query, by part and then in the channels' order.

    A channel that accepts composed parts is asked with all parts as one, or with the
    one that there is.

    Raises:
        InvalidQuery: No channel takes any of the parts.
    """
    composed = composed_of(parts)
    more = (composed,) if composed is not None and composed.parts else ()
    routes = [
        Route(part, channel, filters, with_background)
        for part in (*parts, *more)
        for channel in channels
        if part.kind in channel.accepts
        or (part is composed and "composed" in channel.accepts)
    ]
    if not routes:
        kinds = sorted({part.kind for part in parts})
        accepted = {c.name: sorted(c.accepts) for c in channels}
        advice = "Add a channel whose encoder is a MultiModalEmbedding."
        if channels and not any(accepted.values()):
            advice = "To search parts apart, use fusion_stage 'late' or 'both'."
        msg = (
            f"The query has {' and '.join(kinds)}, and no channel takes that: "
            f"{accepted}. {advice}"
        )
        raise InvalidQuery(msg)
    return routes


def run(routes: Sequence[Route], deadline: Deadline | None = None) -> list[Answer]:
    """Return each route's answer, in the order of `routes`.

    Args:
        routes: What `plan` returned.
        deadline: Of the whole query.

    Raises:
        ImageUnreadable: The query's picture cannot be decoded.
        InvalidQuery: The query cannot be encoded by any means.
    """
    outcomes = run_all(_jobs(routes, deadline, is_awaited=False))
    return _answers(routes, outcomes)


async def arun(
    routes: Sequence[Route], deadline: Deadline | None = None
) -> list[Answer]:
    """Return what `run` does, without blocking the event loop.

    Cancelling it cancels every route.
    """
    outcomes = await arun_all(_jobs(routes, deadline, is_awaited=True))
    return _answers(routes, outcomes)


def _jobs(
    routes: Sequence[Route], deadline: Deadline | None, *, is_awaited: bool
) -> list[Job[Searched]]:
    encodings = Encodings()
    return [route.job(encodings, deadline, is_awaited=is_awaited) for route in routes]


def _answers(
    routes: Sequence[Route], outcomes: Sequence[Outcome[Searched]]
) -> list[Answer]:
    return [
        outcome
        if isinstance(outcome, Searched)
        else degradation(route.channel.name, route.name, outcome)
        for route, outcome in zip(routes, outcomes, strict=True)
    ]
