"""Threads that nobody has to wait for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


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
        target=context.run, args=(resolve, future, function), daemon=True
    ).start()
    return future


async def athread(function: Callable[[], T]) -> T:
    """Return a function's result, computed in a daemon thread."""
    return await asyncio.wrap_future(in_thread(function))


def resolve(future: Future[T], function: Callable[[], T]) -> None:
    """Give a future the result of `function`, or what it raised."""
    try:
        future.set_result(function())
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        future.set_exception(error)
