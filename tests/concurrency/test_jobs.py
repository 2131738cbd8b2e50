"""Jobs at once: cancelled together, whatever kinds they are of."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from llama_index_mmrag.concurrency.jobs import Job, Steps, arun_all, awalk
from llama_index_mmrag.events.spans import Span


async def test_cancelled_it_lets_jobs_clean_up_though_others_are_embedded():
    cleaned: list[str] = []
    begun = asyncio.Event()

    async def waits() -> str:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            cleaned.append("the connection is given back")
        return "never"

    held = threading.Event()
    jobs: list[Job[object]] = [
        Job("a", "a", held.wait, source="here", span=Span("here"), way="here"),
        Job(
            "b", "b", str, source="there", span=Span("there"), way="await", awork=waits
        ),
    ]
    query = asyncio.ensure_future(arun_all(jobs))
    await begun.wait()
    query.cancel()
    try:
        with pytest.raises(asyncio.CancelledError):
            await query
        assert cleaned
    finally:
        held.set()


async def test_walk_comes_back_to_the_event_loop_for_what_can_be_awaited():
    def where() -> str:
        return threading.current_thread().name

    async def awaited() -> str:
        return where()

    def steps() -> Steps[list[str]]:
        names: list[str] = []
        for way in ("here", "here", "await", "here"):
            job = Job(way, way, where, source=way, span=Span(way), way=way)
            if way == "await":
                job = replace(job, awork=awaited)
            (name,), _ = yield [job]
            names.append(name)
        return names

    mine = where()
    assert [name == mine for name in await awalk(steps())] == [
        False,
        False,
        True,
        False,
    ]
