"""A query's vectors: whoever needs one gets it, whatever becomes of who was first."""

from __future__ import annotations

import asyncio
import threading

import pytest

from llama_index_mmrag.concurrency import turns
from llama_index_mmrag.concurrency.turns import ENCODING, in_turn
from llama_index_mmrag.retrieval.encodings import Encodings
from llama_index_mmrag.retrieval.query import parts_of

from ..support.patience import within


@pytest.fixture
def busy(monkeypatch):
    """Keep the encoders' only thread until the event that is returned is set."""
    monkeypatch.setattr(turns, "MOST_OF_OURS", 1)
    monkeypatch.setattr(turns, "OVERDUE_S", 60.0)
    event = threading.Event()
    yield event
    event.set()


async def test_encoding_that_is_cancelled_before_its_turn_is_the_next_ones(
    encoder, busy
):
    holding = asyncio.ensure_future(in_turn(busy.wait, object(), lane=ENCODING))
    (part,), encodings = parts_of("red"), Encodings()
    first, second = (
        asyncio.ensure_future(encodings.aof(part, encoder)) for _ in range(2)
    )
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.sleep(0.01)
    busy.set()
    with within(5):
        assert await second == encoder.get_query_embedding("red")
    assert first.cancelled()
    assert await holding


async def test_cancelled_second_caller_costs_the_first_nothing(encoder, busy):
    holding = asyncio.ensure_future(in_turn(busy.wait, object(), lane=ENCODING))
    (part,), encodings = parts_of("red"), Encodings()
    first, second = (
        asyncio.ensure_future(encodings.aof(part, encoder)) for _ in range(2)
    )
    await asyncio.sleep(0.01)
    second.cancel()
    busy.set()
    with within(5):
        assert await first == encoder.get_query_embedding("red")
    assert await holding
