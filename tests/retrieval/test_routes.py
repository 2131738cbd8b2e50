"""Routes at once: the order of results, speed, threads and the event loop."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable
from typing import Any

import pytest
from llama_index.core.schema import QueryBundle

from llama_index_mmrag import MultiModalFusionRetriever

from ..support.colours import (
    ENCODER,
    WatchedEncoder,
    channel,
    dumped,
    image_node,
    retriever_of,
    text_node,
)
from ..support.patience import patient
from ..support.stores import FaultyStore


@pytest.fixture
def texts(open_store) -> FaultyStore:
    nodes = [text_node("red", entity="r"), text_node("yellow", entity="y")]
    return open_store(FaultyStore, nodes)


@pytest.fixture
def pictures(open_store, paint) -> FaultyStore:
    nodes = [image_node(paint("red"), entity="r"), image_node(paint("blue"))]
    return open_store(FaultyStore, nodes)


@pytest.fixture
def both(texts, pictures) -> MultiModalFusionRetriever:
    return retriever_of(channel("text", texts), channel("image", pictures))


async def test_results_do_not_depend_on_which_route_finishes_first(
    retrieve, texts, pictures, paint, both
):
    query = QueryBundle("red", image_path=str(paint("blue")))
    expected = dumped(both.retrieve(query))
    rng = random.Random(3)
    for _ in range(10):
        texts._delay_s, pictures._delay_s = rng.random() / 20, rng.random() / 20
        assert dumped(await retrieve(both, query)) == expected


async def test_routes_are_searched_at_the_same_time(retrieve, texts, pictures, both):
    delay_s = texts._delay_s = pictures._delay_s = patient(0.5)
    started = time.monotonic()
    await retrieve(both, "red")
    assert time.monotonic() - started < 2 * delay_s, "one after the other takes more"


async def test_lookups_of_remote_stores_run_at_the_same_time(
    retrieve, texts, open_store
):
    delay_s = patient(0.5)
    slow = {
        name: open_store(FaultyStore, [text_node("red", name=name, entity="r")])
        for name in ("a", "b", "c")
    }
    channels = [channel("text", texts)]
    for name, store in slow.items():
        store._in_lookups, store._delay_s = True, delay_s
        channels.append(channel(name, store, accepts=frozenset({"image"})))
    started = time.monotonic()
    await retrieve(retriever_of(*channels, complete_entities=True), "red")
    assert time.monotonic() - started < 2 * delay_s, "two in turn take more"
    assert [store._n_lookups for store in slow.values()] == [1, 1, 1]


async def test_part_is_encoded_once_for_channels_that_share_an_encoder(
    retrieve, texts, pictures
):
    encoded: list[str] = []
    encoder = WatchedEncoder(encoded.append)
    channels = channel("text", texts, encoder), channel("image", pictures, encoder)
    await retrieve(retriever_of(*channels), "red")
    assert encoded == ["red"]


async def ticks_during(work: Awaitable[Any]) -> int:
    """Return how often the event loop came round while `work` was awaited."""
    count = 0

    async def tick() -> None:
        nonlocal count
        while True:
            await asyncio.sleep(0.01)
            count += 1

    ticking = asyncio.ensure_future(tick())
    try:
        await work
    finally:
        ticking.cancel()
    return count


@pytest.mark.parametrize("slow", ["store", "encoder", "picture", "edge"])
async def test_async_retrieval_does_not_block_the_event_loop(
    slow, texts, open_store, paint
):
    encoder = WatchedEncoder(lambda _: time.sleep(0.5))
    one = channel("image", texts, ENCODER if slow == "store" else encoder)
    query: Any = "red"
    if slow == "store":
        texts._delay_s = 0.5
    elif slow == "picture":
        query = QueryBundle("", image_path=str(paint("red")))
    elif slow == "edge":
        one = channel("image", open_store("edge", [text_node("red")]), encoder)
    # 50 at best; a loop that is blocked for half a second comes round once or twice.
    assert await ticks_during(retriever_of(one).aretrieve(query)) >= 8


PROGRAM = """
import time, uuid
from llama_index.core.schema import TextNode
from llama_index_mmrag import Channel, MultiModalFusionRetriever, QdrantEdgeVectorStore
from llama_index_mmrag.embeddings.colour import ColourEncoder

class Stuck(ColourEncoder):
    def _get_query_embedding(self, query):
        time.sleep(60)

encoder = ColourEncoder()
with QdrantEdgeVectorStore.open({folder!r}, dim=4) as store:
    store.add([TextNode(id_=str(uuid.uuid4()), text="red",
                        embedding=encoder.get_text_embedding("red"))])
    channels = [
        Channel("text", vector_store=store, embed_model=encoder),
        Channel("late", vector_store=store, embed_model=Stuck(), timeout_s=0.2),
    ]
    (found,) = MultiModalFusionRetriever(channels).retrieve("red")
    print(found.provenance.degraded[0].kind)
"""


def test_route_that_hangs_does_not_keep_the_process_from_ending(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(folder=str(tmp_path / "edge"))],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert done.stdout.strip() == "deadline"
