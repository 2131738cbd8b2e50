"""Threads that nobody has to wait for, and the count of those nobody waits for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_abandoned: dict[int, int] = {}
# An id is enough: the thread that is counted keeps its source alive.

_source: contextvars.ContextVar[object | None] = contextvars.ContextVar(
    "thread_source", default=None
)


def in_thread(function: Callable[[], T]) -> Future[T]:
    """Return the future result of a function run in a daemon thread of its own.

    A pool's threads are joined at exit, so that one store that hangs would keep the
    process from ending; a daemon thread costs its start, some 50 µs.
    """
    future: Future[T] = Future()
    # Without this a cancelled waiter would cancel the future under the thread's feet.
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()
    threading.Thread(
        target=context.run,
        args=(resolve, future, function),
        name="mmrag",
        daemon=True,
    ).start()
    return future


async def athread(function: Callable[[], T]) -> T:
    """Return a function's result, computed in a daemon thread.

    Cancelled, the thread goes on alone, and is counted to the source it works for.
    """
    future = in_thread(function)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        abandon(future)
        raise


def resolve(future: Future[T], function: Callable[[], T]) -> None:
    """Give a future the result of `function`, or what it raised."""
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        future.set_exception(error)


@contextmanager
def working_for(source: object) -> Iterator[None]:
    """Count threads that are abandoned within to `source`."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def abandon(future: Future[Any]) -> None:
    """Count a thread that nobody waits for, until it ends by itself.

    A thread cannot be killed. The source that it works for can be left alone, though,
    until it has answered.
    """
    source = _source.get()
    if source is not None:
        _count(source, 1)
        future.add_done_callback(lambda _: _count(source, -1))


def n_abandoned(source: object) -> int:
    """Return how many threads still work for `source` that nobody waits for."""
    with _lock:
        return _abandoned.get(id(source), 0)


def _count(source: object, change: int) -> None:
    with _lock:
        count = _abandoned.get(id(source), 0) + change
        if count:
            _abandoned[id(source)] = count
        else:
            _abandoned.pop(id(source), None)
