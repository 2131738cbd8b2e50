"""How a degradation becomes known: a log line, an event, and whoever collects them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent

from llama_index_mmrag.provenance import Degradation, DegradationKind

logger = logging.getLogger(__name__)
dispatcher = get_dispatcher(__name__)

_collected: ContextVar[list[Degradation] | None] = ContextVar(
    "collected_degradations", default=None
)


class RouteDegradedEvent(BaseEvent):
    """A route of a query gave no answer, or nodes that it found could not be read."""

    channel: str
    route: str
    kind: DegradationKind
    reason: str

    @classmethod
    def class_name(cls) -> str:
        """Return the event's name."""
        return "RouteDegradedEvent"


@contextmanager
def collect_degradations() -> Iterator[list[Degradation]]:
    """Give a list that fills with the degradations of the queries within.

    Provenance rides on results; a query that found nothing has none, and this tells
    "there is nothing" from "nobody could look". Holds for queries of this thread or
    task and of those that it starts; any query engine may stand between.

    >>> with collect_degradations() as lost:
    ...     pass  # results = retriever.retrieve("red")
    >>> lost
    []
    """
    lost: list[Degradation] = []
    outer = _collected.get()
    token = _collected.set(lost)
    try:
        yield lost
    finally:
        _collected.reset(token)
        # What is collected within is known without, too.
        if outer is not None:
            outer.extend(lost)


def report(degradations: Iterable[Degradation]) -> None:
    """Make degradations known, each once, in the context of the query's caller."""
    collected = _collected.get()
    for lost in degradations:
        logger.warning("Route %s gave no answer: %s", lost.route, lost.reason)
        dispatcher.event(
            RouteDegradedEvent(
                channel=lost.channel,
                route=lost.route,
                kind=lost.kind,
                reason=lost.reason,
            )
        )
        if collected is not None:
            collected.append(lost)
