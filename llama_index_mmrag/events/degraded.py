"""How a degradation becomes known: a log line, an event, and whoever collects them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.base import BaseEvent

from llama_index_mmrag.errors import RouteFailed
from llama_index_mmrag.provenance import Degradation, DegradationKind, RoutesAsked

logger = logging.getLogger(__package__)  # the name that the docs give
dispatcher = get_dispatcher(__name__)

_collected: ContextVar[RoutesAsked | None] = ContextVar("collected", default=None)


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
def collect_routes() -> Iterator[RoutesAsked]:
    """Give an object that fills with routes and warnings of the queries within.

    Provenance rides on results; a query that found nothing has none, and this tells
    "there is nothing" from "nobody could look". Holds for queries of this thread or
    task and of those that it starts; any query engine may stand between.
    """
    routes = RoutesAsked()
    outer = _collected.get()
    token = _collected.set(routes)
    try:
        yield routes
    finally:
        _collected.reset(token)
        # What is collected within is known without, too.
        if outer is not None:
            outer.add(routes.requested, routes.degraded, routes.warnings)


@contextmanager
def collect_degradations() -> Iterator[list[Degradation]]:
    """Give a list that fills with the degradations of the queries within.

    What `collect_routes` collects, where only failures matter.

    >>> with collect_degradations() as lost:
    ...     pass  # results = retriever.retrieve("red")
    >>> lost
    []
    """
    with collect_routes() as routes:
        yield routes.degraded


def report(
    degradations: Iterable[Degradation], *, requested: Iterable[str] = ()
) -> None:
    """Make degradations known, each once, in the context of the query's caller.

    Args:
        degradations: What gave no answer.
        requested: The routes that were asked for, where they are not known yet.
    """
    lost_routes = list(degradations)
    for lost in lost_routes:
        logger.warning("Route %s gave no answer: %s", lost.route, lost.reason)
        dispatcher.event(RouteDegradedEvent(**lost.to_dict()))
    if (collected := _collected.get()) is not None:
        collected.add(requested, lost_routes)


def warn(said: str) -> None:
    """Make known, to whoever collects it, what makes a query's results doubtful."""
    if (collected := _collected.get()) is not None:
        collected.add(warnings=[said])


def failure_of(lost: Sequence[Degradation], of: str) -> RouteFailed:
    """Return the error that says which of what was asked gave no answer."""
    return RouteFailed(
        f"{len(lost)} of {of} failed. {reasons(lost)}. "
        f'on_degraded="report" would return what the others found.'
    )


def reasons(lost: Sequence[Degradation]) -> str:
    """Return why each gave none, in a sentence."""
    return "; ".join(f"{one.route}: {one.reason}" for one in lost)
