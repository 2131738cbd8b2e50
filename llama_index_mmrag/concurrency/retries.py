"""Which failures of a read may be gone a moment later, and how long a moment is."""

from __future__ import annotations

from collections.abc import Iterator

from llama_index_mmrag.concurrency.deadlines import Deadline

PAUSE_S = 0.1
"""Before a second attempt, where the server names no time; doubled with each."""


MOST_PAUSE_S = 60.0
"""A server that asks for more, or for less than none, is not asked again."""


def pause_before_retry(
    error: Exception, attempt: int, deadline: Deadline | None
) -> float | None:
    """Return the seconds to wait before a read is repeated; None if it is not to be.

    Repeating helps where the connection failed, or where the server says that it has
    too much to do and when to come again. It does not after bad input, a timeout, or
    where the deadline would have passed.

    Args:
        error: What the read raised.
        attempt: How many times it was tried, from 1.
        deadline: When nobody waits any longer.
    """
    pauses = [p for e in _chain(error) if (p := _pause(e, attempt)) is not None]
    if not pauses or (deadline and pauses[0] >= deadline.left_s):
        return None
    return pauses[0]


def _pause(error: BaseException, attempt: int) -> float | None:
    # Qdrant's answer 429, ResourceExhaustedResponse.
    asked = getattr(error, "retry_after_s", None)
    if asked is not None:
        is_time = type(asked) in (int, float) and 0 <= asked <= MOST_PAUSE_S
        return float(asked) if is_time else None
    return PAUSE_S * 2 ** (attempt - 1) if _is_connection(error) else None


def _is_connection(error: BaseException) -> bool:
    import httpx

    # A timeout has cost its time already, and is no sign that the next will not.
    connection = (ConnectionError, httpx.NetworkError, httpx.RemoteProtocolError)
    return isinstance(error, connection)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        yield each
        seen.append(each)
        # qdrant-client keeps what happened in `source`.
        inner = getattr(each, "source", None)
        each = inner if isinstance(inner, BaseException) else each.__cause__
