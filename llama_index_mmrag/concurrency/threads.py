"""Threads that no process waits for, and the count of those that nobody waits for."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_abandoned: dict[int, int] = {}
# An id is enough: the thread that is counted keeps its source alive.

_source: contextvars.ContextVar[object | None] = contextvars.ContextVar(
    "thread_source", default=None
)


class NoThread(RuntimeError):  # noqa: N818 - read as a sentence
    """The system has no more threads to give."""


class Work(Future[T]):
    """The future result of what a thread does in a copy of this context."""

    def __init__(self) -> None:
        super().__init__()
        self.context = contextvars.copy_context()

    @property
    def source(self) -> object | None:
        """Whom it is working for now."""
        return self.context.get(_source)


class _Worker:
    """A daemon thread that does one piece of work after another."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], Callable[[], None]]] = SimpleQueue()

    def start(self, work: Callable[[], Callable[[], None]]) -> None:
        """Begin; the thread's name says whether it has something to do."""
        self._work.put(work)
        threading.Thread(target=self._loop, name=BUSY, daemon=True).start()

    def take(self, work: Callable[[], Callable[[], None]]) -> None:
        """Do `work` next; it returns what hands over its result."""
        self._work.put(work)

    def _loop(self) -> None:
        thread = threading.current_thread()
        while True:
            try:
                work = self._work.get(timeout=IDLE_S)
            except Empty:
                with _lock:
                    if self in _idle:
                        _idle.remove(self)
                        return
                continue  # somebody has just chosen this one
            thread.name = BUSY
            hand_over = work()
            # Idle before anybody knows of the result, or the next query would find no
            # thread to take and start another.
            thread.name = IDLE
            with _lock:
                _idle.append(self)
            hand_over()
            # What is done is not to be kept alive until there is more to do.
            del work, hand_over


_idle: list[_Worker] = []

BUSY, IDLE = "mmrag", "mmrag (idle)"
IDLE_S = 5.0
"""How long a thread waits for more work before it ends."""


def _forget_all() -> None:
    # A child process has the list of threads, but none of them.
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()
    _idle.clear()
    _abandoned.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


def usable_cpus() -> int:
    """Return how many CPUs this process may run on, where the system can tell."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_thread(function: Callable[[], T], *, may_cancel: bool = False) -> Work[T]:
    """Return the future result of a function run in a daemon thread, in this context.

    A pool's threads are joined at exit, so that one store that hangs would keep the
    process from ending, and a pool that is full of those takes no more work. Here a
    thread is started whenever none is idle, and ends when it has been for a while.

    Args:
        function: What to run.
        may_cancel: Whether the future can be cancelled until the thread has begun, and
            is left to whoever cancels it where no thread can be started.
    """
    future: Work[T] = Work()
    if not may_cancel:
        # Else a cancelled waiter would cancel the future under the thread's feet.
        future.set_running_or_notify_cancel()

    def work() -> Callable[[], None]:
        if may_cancel and not future.set_running_or_notify_cancel():
            return lambda: None
        try:
            result = future.context.run(function)
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            return partial(future.set_exception, to_hand_over(error))
        return partial(future.set_result, result)

    with _lock:
        worker = _idle.pop() if _idle else None
    if worker is not None:
        worker.take(work)
        return future
    try:
        _Worker().start(work)
    except RuntimeError as error:
        if not may_cancel:
            future.set_exception(NoThread(str(error)))
    return future


def to_hand_over(error: BaseException) -> BaseException:
    """Return an error as a future takes it: StopIteration ends generators instead."""
    return RuntimeError(repr(error)) if isinstance(error, StopIteration) else error


async def athread(function: Callable[[], T]) -> T:
    """Return a function's result, computed in a daemon thread.

    Cancelled, the thread goes on alone, and is counted to the source it works for.
    """
    future = in_thread(function)
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        abandon(future, _source.get())
        raise


@contextmanager
def working_for(source: object | None) -> Iterator[None]:
    """Say whom threads work for that are begun within, or the thread itself.

    Those that are abandoned are counted to it; with None to nobody.
    """
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def abandon(work: Work[Any], source: object | None) -> None:
    """Count a thread that nobody waits for to `source`, until it ends by itself.

    A thread cannot be killed. The source that it works for can be left alone, though,
    until it has answered.
    """
    if source is not None:
        _count(source, 1)
        work.add_done_callback(lambda _: _count(source, -1))


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
