"""Routes: every search that a query needs, run at once, failures and all.

A route is one query part through one channel. Sync and async share the plan and the
collecting; only the waiting differs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from llama_index.core.vector_stores.types import MetadataFilters
from llama_index_instrumentation import get_dispatcher

from llama_index_mmrag.errors import ImageUnreadable, InvalidQuery
from llama_index_mmrag.provenance import Degradation, DegradationKind
from llama_index_mmrag.query import Encodings, QueryPart
from llama_index_mmrag.search_channel import Ask, SearchChannel, Searched
from llama_index_mmrag.threads import athread, in_thread

logger = logging.getLogger(__name__)
dispatcher = get_dispatcher(__name__)

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

    @property
    def shares_caller(self) -> bool:
        """Whether the search runs where it was asked for, rather than beside it."""
        return self.channel.is_embedded and self.channel.timeout_s is None


def plan(
    parts: Sequence[QueryPart],
    channels: Sequence[SearchChannel],
    filters: MetadataFilters | None = None,
    *,
    with_background: bool = False,
) -> list[Route]:
    """Return the routes of a query, by part and then in the channels' order.

    Raises:
        InvalidQuery: No channel takes any of the parts.
    """
    routes = [
        Route(part, channel, filters, with_background)
        for part in parts
        for channel in channels
        if part.kind in channel.accepts
    ]
    if not routes:
        kinds = sorted({part.kind for part in parts})
        accepted = {c.name: sorted(c.accepts) for c in channels}
        msg = (
            f"The query has {' and '.join(kinds)}, and no channel takes that: "
            f"{accepted}. Add a channel whose encoder is a MultiModalEmbedding."
        )
        raise InvalidQuery(msg)
    return routes


def run(routes: Sequence[Route]) -> list[Answer]:
    """Return each route's answer, in the order of `routes`.

    Remote searches run in threads of their own; embedded ones meanwhile on this one.

    Raises:
        ImageUnreadable: The query's picture cannot be decoded.
        InvalidQuery: The query cannot be encoded by any means.
    """
    started = time.monotonic()
    encodings = Encodings()
    beside = {
        index: in_thread(partial(_search, route, encodings))
        for index, route in enumerate(routes)
        if not route.shares_caller
    }
    answers = {
        index: _answered_search(route, encodings)
        for index, route in enumerate(routes)
        if index not in beside
    }
    answers |= {i: _waited(routes[i], future, started) for i, future in beside.items()}
    return [answers[index] for index in range(len(routes))]


async def arun(routes: Sequence[Route]) -> list[Answer]:
    """Return what `run` does, without blocking the event loop.

    Cancelling it cancels every route.
    """
    encodings = Encodings()
    here = [route for route in routes if route.shares_caller]
    embedded = in_thread(lambda: [_answered_search(route, encodings) for route in here])
    answers = await asyncio.gather(
        asyncio.wrap_future(embedded),
        *(_aanswered(r, encodings) for r in routes if not r.shares_caller),
    )
    mine, others = iter(answers[0]), iter(answers[1:])
    return [next(mine if route.shares_caller else others) for route in routes]


@dispatcher.span
def _search(route: Route, encodings: Encodings) -> Searched:
    return route.channel.answer(route.ask(encodings))


@dispatcher.span
async def _asearch(route: Route, encodings: Encodings) -> Searched:
    if route.channel.is_async:
        return await route.channel.aanswer(route.ask(encodings))
    return await athread(lambda: _search(route, encodings))


def _answered_search(route: Route, encodings: Encodings) -> Answer:
    return _answered(route, lambda: _search(route, encodings))


def _waited(route: Route, future: Future[Searched], started: float) -> Answer:
    left = route.channel.timeout_s
    if left is not None:
        left = max(0.0, left - (time.monotonic() - started))
    return _answered(route, lambda: future.result(left))


async def _aanswered(route: Route, encodings: Encodings) -> Answer:
    try:
        search = _asearch(route, encodings)
        return await asyncio.wait_for(search, route.channel.timeout_s)
    except Exception as error:  # noqa: BLE001 - one route's failure is data
        return _degraded(route, error)


def _answered(route: Route, search: Callable[[], Searched]) -> Answer:
    try:
        return search()
    except Exception as error:  # noqa: BLE001 - one route's failure is data
        return _degraded(route, error)


def _degraded(route: Route, error: Exception) -> Degradation:
    if isinstance(error, (ImageUnreadable, InvalidQuery)):
        raise error  # the query is at fault, not the route
    timeout_s = route.channel.timeout_s
    kind: DegradationKind = "error"
    reason = f"{type(error).__name__}: {error}"
    ran_out = isinstance(error, (FutureTimeout, asyncio.TimeoutError))
    # A client's own timeout is the same class since Python 3.11, but says something.
    if timeout_s and ran_out and not error.args:
        kind = "deadline"
        reason = f"no answer within {timeout_s:g} s"
    logger.warning("Route %s gave no answer: %s", route.name, reason)
    return Degradation(route.channel.name, route.name, kind, reason)


def failures(answers: Sequence[Answer]) -> Iterator[Degradation]:
    """Yield the answers that are none."""
    return (answer for answer in answers if isinstance(answer, Degradation))
