"""Turns: work from the event loop in a few threads, whoever has waited longest first.

A thread a query would be hundreds, which hold up each other and the loop. An engine or
an encoder in this process keeps a core, or the interpreter's lock, to itself: more
threads than cores gain it nothing. What asks others only waits, and has lanes of its
own: one that hangs takes no turn from the rest.
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from llama_index_mmrag.concurrency.threads import (
    Work,
    abandon,
    in_thread,
    to_hand_over,
    usable_cpus,
)

T = TypeVar("T")

SEARCHING, ENCODING = "searching", "encoding"
"""Lanes of the engines and of the encoders in this process: a search may wait for an
encoding, so that they must not share one."""

MOST_OF_OURS = min(4, usable_cpus())
MOST_OF_A_STORE, MOST_OF_AN_ENCODER = 8, 32
"""Threads of our lanes together, of which each has one at least; and of what is not
ours."""

OVERDUE_S = 0.25
"""Work of ours that takes longer waits for something, such as a store that is being
written: others get a thread in its place, its own source never more than a lane has."""

HANGS_S = 1.0
"""A thread that goes on for longer after its caller has hung up hangs, and counts: that
somebody hung up says nothing about whom was asked."""

_lock = Lock()
_lanes: dict[Hashable, _Lane] = {}


class _Lane:
    """What waits, for whom, and whom the lane's threads work for since when.

    Its methods are called with the lock held.
    """

    def __init__(self, key: Hashable, most: int, overdue_s: float) -> None:
        self.key, self.most, self.overdue_s = key, most, overdue_s
        self.n_threads = 0
        self.working: dict[object, tuple[int, float]] = {}
        self.waiting: OrderedDict[int, dict[Future[Any], Callable[[], Any]]]
        self.waiting = OrderedDict()

    def _first(self) -> int | None:
        """Return whose turn it is: a source that hangs has its threads and no more."""
        busy = Counter(source for source, _ in self.working.values())
        return next((one for one in self.waiting if busy[one] < self.most), None)

    def n_busy(self) -> int:
        """Return how many threads it has that are not overdue."""
        since = time.monotonic() - self.overdue_s
        n_late = sum(began < since for _, began in self.working.values())
        return self.n_threads - n_late

    def _n_with_others(self) -> int:
        """Return how many threads all of our lanes have, if it is one of them."""
        ours = (lane for lane in _lanes.values() if lane.overdue_s < math.inf)
        return sum(lane.n_busy() for lane in ours) if self.overdue_s < math.inf else 0

    def takes_thread(self) -> bool:
        """Return whether one more thread has something to do, and count it if so."""
        n = self.n_busy()
        has_room = n < self.most and (n == 0 or self._n_with_others() < self.most)
        takes = has_room and self._first() is not None
        self.n_threads += takes
        return takes

    def next(self) -> tuple[int, Future[Any], Callable[[], Any]] | None:
        is_one_too_many = self.n_busy() > 1 and self._n_with_others() > self.most
        if is_one_too_many or (source := self._first()) is None:
            self.leave()
            return None
        future = next(iter(self.waiting[source]))
        work = self.waiting[source][future]
        self.waiting.move_to_end(source)  # behind those of others
        self.forget(source, future)
        return source, future, work

    def forget(self, source: int, future: Future[Any]) -> None:
        queue = self.waiting.get(source, {})
        queue.pop(future, None)
        if not queue:
            self.waiting.pop(source, None)

    def leave(self) -> None:
        self.n_threads -= 1
        if not self.n_threads and not self.waiting:
            _lanes.pop(self.key, None)


async def in_turn(
    function: Callable[[], T],
    source: object,
    *,
    lane: str | None = None,
    most: int = MOST_OF_A_STORE,
) -> T:
    """Return a function's result, computed in one of a lane's threads.

    Cancelled before its turn, it is never begun.

    Args:
        function: It must not wait for another turn of its lane.
        source: Whom it is for; those of one lane are served in turn.
        lane: One of ours; None for the source's own.
        most: Threads of a lane that is not ours.

    Raises:
        NoThread: It can have no thread.
    """
    future: Work[T] = Work()
    asked = future.source
    work = partial(future.context.run, function)
    key: Hashable = lane or id(source)
    limits = (MOST_OF_OURS, OVERDUE_S) if lane else (most, math.inf)
    with _lock:
        mine = _lanes.setdefault(key, _Lane(key, *limits))
        mine.waiting.setdefault(id(source), {})[future] = work
    waiting = asyncio.wrap_future(future)
    try:
        while True:
            _staff(mine)
            done, _ = await asyncio.wait({waiting}, timeout=OVERDUE_S if lane else None)
            if done:
                return waiting.result()
    except asyncio.CancelledError:
        waiting.cancel()  # else an error that comes later would be nobody's
        if future.cancel():
            with _lock:
                mine.forget(id(source), future)
        elif lane is None:
            asyncio.get_running_loop().call_later(HANGS_S, _left, future, asked)
        raise


def _left(work: Work[Any], asked: object | None) -> None:
    if work.source is asked:  # else in an encoder, whose threads its lane has counted
        abandon(work, asked)


def _staff(lane: _Lane) -> None:
    """Start a thread if the lane needs one more."""
    with _lock:
        if not lane.takes_thread():
            return
    started = in_thread(partial(_serve, lane))
    if not started.done() or (refused := started.exception()) is None:
        return
    with _lock:
        lane.leave()
        is_left = not lane.n_threads
        queues = [*lane.waiting.values()] if is_left else []
        if is_left:
            lane.waiting.clear()
            _lanes.pop(lane.key, None)
    for future in (one for queue in queues for one in queue):
        if future.set_running_or_notify_cancel():
            future.set_exception(refused)


def _serve(lane: _Lane) -> None:
    """Do what waits in a lane until nothing does."""
    me = object()
    while True:
        with _lock:
            lane.working.pop(me, None)
            if (turn := lane.next()) is None:
                return
            source, future, work = turn
            lane.working[me] = source, time.monotonic()
        if future.set_running_or_notify_cancel():
            _do(work, future)
        del future, work, turn  # not to be kept alive until there is more to do


def _do(work: Callable[[], T], future: Future[T]) -> None:
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        future.set_exception(to_hand_over(error))
    else:
        future.set_result(result)


def _forget_all() -> None:
    # A child process has the lanes, but none of their threads, nor who held the lock.
    global _lock  # noqa: PLW0603
    _lock = Lock()
    _lanes.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
