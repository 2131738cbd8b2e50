"""Jobs at once: cancelled together, whatever kinds they are of."""

from __future__ import annotations

import asyncio
import threading

import pytest

from llama_index_mmrag.concurrency.jobs import Job, arun_all
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
