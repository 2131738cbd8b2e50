"""Failures as data, and as errors where the caller wants them to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from llama_index_mmrag.concurrency.jobs import DeadlineMissed, StillBusy
from llama_index_mmrag.errors import RouteFailed
from llama_index_mmrag.events.degraded import report
from llama_index_mmrag.provenance import Degradation, DegradationKind
from llama_index_mmrag.retrieval.query import QueryAtFault

OnDegraded = Literal["report", "raise"]


def degradation(channel: str, route: str, error: Exception) -> Degradation:
    """Return a route's failure as data.

    Raises:
        ImageUnreadable: The error says that the query is at fault, not the route.
        InvalidQuery: Likewise.
    """
    if isinstance(error, QueryAtFault):
        raise error.args[0]
    kind: DegradationKind = "error"
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, (DeadlineMissed, StillBusy)):
        kind = "deadline" if isinstance(error, DeadlineMissed) else "busy"
        reason = str(error)
    return Degradation(channel, route, kind, reason)


def make_known(
    failed: Sequence[Degradation],
    of: str,
    *,
    on_degraded: OnDegraded,
    requested: Sequence[str] = (),
) -> None:
    """Report failures, and raise them if that is how it shall be.

    Args:
        failed: What failed; nothing happens if it is empty.
        of: How many there were of what, such as "2 routes".
        on_degraded: The retriever's setting.
        requested: The routes that were asked for, where they are not known yet.

    Raises:
        RouteFailed: There is a failure, and `on_degraded` is "raise".
    """
    report(failed, requested=requested)
    if failed and on_degraded == "raise":
        msg = (
            f"{len(failed)} of {of} failed. {reasons(failed)}. "
            f'on_degraded="report" would return what the others found.'
        )
        raise RouteFailed(msg)


def reasons(failed: Sequence[Degradation]) -> str:
    """Return each failure's route and reason."""
    return "; ".join(f"{lost.route}: {lost.reason}" for lost in failed)
