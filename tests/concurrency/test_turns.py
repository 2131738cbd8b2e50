"""Turns: few threads, sources in turn, nothing begun that nobody waits for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import pytest

from llama_index_mmrag.concurrency import threads, turns
from llama_index_mmrag.concurrency.turns import (
    ENCODING,
    MOST_OF_A_STORE,
    MOST_OF_OURS,
    OVERDUE_S,
    SEARCHING,
    in_turn,
)

from ..support.patience import within


class Counted:
    """Work that knows how much of it is done at once, and in which order it began."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.most = self._n = 0
        self._lock = threading.Lock()

    def work(self, name: str = "") -> str:
        with self._lock:
            self.begun.append(name)
            self._n += 1
            self.most = max(self.most, self._n)
        time.sleep(0.002)
        with self._lock:
            self._n -= 1
        return name


@pytest.fixture
def held():
    """Return an event that holds whoever waits for it until the test ends."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize(
    ("lane", "most"),
    [(SEARCHING, MOST_OF_OURS), (ENCODING, MOST_OF_OURS), (None, MOST_OF_A_STORE)],
)
async def test_hundreds_at_once_take_a_lanes_threads_and_no_more(lane, most):
    counted, source = Counted(), object()
    names = [str(n) for n in range(200)]
    with within(10):
        done = await asyncio.gather(
            *(in_turn(lambda n=n: counted.work(n), source, lane=lane) for n in names)
        )
    assert done == names
    assert sorted(counted.begun) == sorted(names)
    assert min(2, most) <= counted.most <= most
    assert not turns._lanes


async def test_our_lanes_share_their_threads_and_each_has_one(monkeypatch):
    monkeypatch.setattr(turns, "MOST_OF_OURS", 4)
    counted, source = Counted(), object()
    first = [in_turn(counted.work, source, lane=SEARCHING) for _ in range(100)]
    second = [
        in_turn(lambda: counted.work("second"), source, lane=ENCODING)
        for _ in range(100)
    ]
    with within(10):
        await asyncio.gather(*first, *second)
    assert "" in counted.begun[counted.begun.index("second") :]
    # One more for as long as one piece of work of the other takes.
    assert counted.most <= 4 + 1


async def test_sources_take_turns(monkeypatch, held):
    monkeypatch.setattr(turns, "MOST_OF_OURS", 1)
    counted, one, other = Counted(), object(), object()
    asked = [(one, "a1"), (one, "a2"), (one, "a3"), (other, "b1"), (other, "b2")]
    # The only thread is taken until all are there.
    waiting = [asyncio.ensure_future(in_turn(held.wait, object(), lane=SEARCHING))]
    for source, name in asked:
        job = in_turn(lambda name=name: counted.work(name), source, lane=SEARCHING)
        waiting.append(asyncio.ensure_future(job))
    await asyncio.sleep(0.01)
    held.set()
    await asyncio.gather(*waiting)
    assert counted.begun == ["a1", "b1", "a2", "b2", "a3"]


async def test_what_is_cancelled_before_its_turn_is_never_begun(held):
    counted, source = Counted(), object()
    holding = [
        asyncio.ensure_future(in_turn(held.wait, source, lane=SEARCHING))
        for _ in range(MOST_OF_OURS)
    ]
    waiting = [
        asyncio.ensure_future(in_turn(counted.work, source, lane=SEARCHING))
        for _ in range(50)
    ]
    await asyncio.sleep(0.01)
    for task in waiting:
        task.cancel()
    assert all(
        isinstance(end, asyncio.CancelledError)
        for end in await asyncio.gather(*waiting, return_exceptions=True)
    )
    held.set()
    assert await asyncio.gather(*holding) == [True] * MOST_OF_OURS
    assert await in_turn(lambda: "later", source, lane=SEARCHING) == "later"
    assert counted.begun == []


async def test_source_that_hangs_holds_up_nobody_else(held):
    stuck, healthy = object(), object()
    hanging = [
        asyncio.ensure_future(in_turn(held.wait, stuck, lane=SEARCHING))
        for _ in range(20)
    ]
    await asyncio.sleep(0.01)
    for n in range(20):
        with within(5):
            assert await in_turn(lambda n=n: n, healthy, lane=SEARCHING) == n
    assert turns._lanes[SEARCHING].n_threads <= 2 * MOST_OF_OURS
    held.set()
    with within(5):
        assert all(await asyncio.gather(*hanging))


async def test_its_error_is_the_callers():
    with pytest.raises(ZeroDivisionError):
        await in_turn(lambda: 1 / 0, object(), lane=SEARCHING)
    assert await in_turn(lambda: 1, object(), lane=SEARCHING) == 1


async def test_where_no_thread_can_be_started_everybody_is_told(monkeypatch):
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_idle", [])
    monkeypatch.setattr(threading.Thread, "start", refused)
    ends = await asyncio.gather(
        *(in_turn(lambda: 1, object(), lane=SEARCHING) for _ in range(5)),
        return_exceptions=True,
    )
    assert [type(end) for end in ends] == [threads.NoThread] * 5
    monkeypatch.undo()
    assert await in_turn(lambda: 1, object(), lane=SEARCHING) == 1


async def test_slow_work_holds_up_nothing_of_its_own_source(held):
    source = object()
    slow = asyncio.ensure_future(in_turn(held.wait, source, lane=SEARCHING))
    await asyncio.sleep(1.2 * OVERDUE_S)
    with within(1):
        assert await in_turn(lambda: "quick", source, lane=SEARCHING) == "quick"
    held.set()
    assert await slow


async def test_what_was_cancelled_is_not_kept(held):
    source = object()
    tasks = [
        asyncio.ensure_future(in_turn(held.wait, source, lane=SEARCHING))
        for _ in range(100)
    ]
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not turns._lanes[SEARCHING].waiting


@pytest.mark.parametrize("lane", [SEARCHING, None])
async def test_end_of_an_iteration_is_an_error_as_any_other(lane):
    with within(5), pytest.raises(RuntimeError, match="StopIteration"):
        await in_turn(lambda: next(iter([])), object(), lane=lane)


def test_forked_process_has_lanes_of_its_own():
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"1\n2\n")


FORKED = """
import asyncio, os, threading
from llama_index_mmrag.concurrency.turns import MOST_OF_OURS, SEARCHING, in_turn

async def main():
    held = threading.Event()
    hanging = [
        asyncio.ensure_future(in_turn(held.wait, 1, lane=SEARCHING))
        for _ in range(MOST_OF_OURS)
    ]
    await asyncio.sleep(0.05)
    child = os.fork()
    if not child:
        loop = asyncio.new_event_loop()
        asyncio._set_running_loop(None)
        done = loop.run_until_complete(in_turn(lambda: 1, 1, lane=SEARCHING))
        print(done, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    held.set()
    await asyncio.gather(*hanging)
    print(2, flush=True)

asyncio.run(main())
"""
