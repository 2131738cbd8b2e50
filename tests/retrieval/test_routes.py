"""Routes at once: failures and deadlines as data, order, threads and the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_index_mmrag import MultiModalFusionRetriever
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import AllRoutesFailed, RouteFailed

from ..support.colours import (
    channel,
    dumped,
    image_node,
    text_node,
    why,
)
from ..support.patience import within
from ..support.stores import FaultyStore


@pytest.fixture(params=["sync", "async"])
def retrieve(request) -> Callable[..., Awaitable[list[NodeWithScore]]]:
    """Return `retrieve` or `aretrieve` of a retriever, to be awaited either way."""

    async def found(retriever: MultiModalFusionRetriever, query: Any) -> Any:
        if request.param == "async":
            return await retriever.aretrieve(query)
        return await asyncio.to_thread(retriever.retrieve, query)

    return found


@pytest.fixture
def stuck() -> Iterator[threading.Event]:
    """Yield an event that a stuck store waits for; it is set at the end."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def texts(open_store) -> FaultyStore:
    nodes = [text_node("red", entity="r"), text_node("yellow", entity="y")]
    return open_store(FaultyStore, nodes)


@pytest.fixture
def pictures(open_store, paint) -> FaultyStore:
    nodes = [image_node(paint("red"), entity="r"), image_node(paint("blue"))]
    return open_store(FaultyStore, nodes)


@pytest.fixture
def both(texts, pictures, encoder) -> MultiModalFusionRetriever:
    """Return a retriever over the texts and the pictures."""
    return MultiModalFusionRetriever(
        [channel("text", texts, encoder), channel("image", pictures, encoder)]
    )


FAULTS = {
    "raises": ("error", "ConnectionError: refused"),
    "hangs": ("deadline", "no answer within 0.2 s"),
    "returns NaN": ("invalid", "nan"),
    "returns infinity": ("invalid", "inf"),
}


def break_store(store: FaultyStore, fault: str, stuck: threading.Event) -> None:
    if fault == "raises":
        store._error = ConnectionError("refused")
    elif fault == "hangs":
        store._stuck = stuck
    else:
        store._bad_score = float("nan" if fault == "returns NaN" else "inf")


# One route fails


@pytest.mark.parametrize("fault", FAULTS)
async def test_one_broken_route_leaves_the_others_results_as_they_are_alone(
    fault, retrieve, texts, pictures, encoder, stuck, caplog
):
    healthy = channel("text", texts, encoder)
    alone = MultiModalFusionRetriever([healthy]).retrieve("red")
    break_store(pictures, fault, stuck)
    broken = channel("image", pictures, encoder, timeout_s=0.2)
    both = MultiModalFusionRetriever([healthy, broken])
    with caplog.at_level(logging.WARNING, logger="llama_index_mmrag"), within(5):
        found = await retrieve(both, "red")
    assert len(alone) == 2
    assert [(r.node.node_id, r.score, why(r).contributions) for r in found] == [
        (r.node.node_id, r.score, why(r).contributions) for r in alone
    ]
    kind, reason = FAULTS[fault]
    for result in found:
        assert why(result).requested == ("text→text", "text→image")
        (failure,) = why(result).degraded
        assert (failure.channel, failure.route) == ("image", "text→image")
        assert failure.kind == kind
        assert reason in failure.reason
    assert "text→image" in caplog.text
    assert reason in caplog.text


async def test_vector_of_the_wrong_size_is_that_routes_failure(
    retrieve, texts, pictures, encoder
):
    class Longer(ColourEncoder):
        def _get_query_embedding(self, query: str) -> list[float]:
            return [*super()._get_query_embedding(query), 0.0]

    both = MultiModalFusionRetriever(
        [channel("text", texts, encoder), channel("image", pictures, Longer())]
    )
    found = await retrieve(both, "red")
    assert [d.route for d in why(found[0]).degraded] == ["text→image"]
    assert [c.route for c in why(found[0]).contributions] == ["text→text"]


async def test_clients_own_timeout_is_not_taken_for_the_deadline(
    retrieve, texts, pictures, encoder
):
    pictures._error = TimeoutError("the server's gateway timed out")
    both = MultiModalFusionRetriever(
        [
            channel("text", texts, encoder),
            channel("image", pictures, encoder, timeout_s=30),
        ]
    )
    (failure,) = why((await retrieve(both, "red"))[0]).degraded
    assert failure.kind == "error"
    assert "gateway timed out" in failure.reason


async def test_encoder_that_raises_is_that_routes_failure(
    retrieve, texts, pictures, encoder
):
    class Broken(ColourEncoder):
        def _get_query_embedding(self, query: str) -> list[float]:
            raise RuntimeError("no more memory")

    both = MultiModalFusionRetriever(
        [channel("text", texts, encoder), channel("image", pictures, Broken())]
    )
    (failure,) = why((await retrieve(both, "red"))[0]).degraded
    assert (failure.kind, failure.reason) == ("error", "RuntimeError: no more memory")


async def test_all_routes_failing_is_an_error_that_lists_each_reason(
    retrieve, texts, pictures, both
):
    texts._error = ConnectionError("text server refused")
    pictures._error = OSError("picture disk full")
    with pytest.raises(AllRoutesFailed, match=r"All 2 routes.*refused.*disk full"):
        await retrieve(both, "red")


async def test_on_degraded_raise_makes_one_failure_an_error(
    retrieve, texts, pictures, encoder
):
    strict = MultiModalFusionRetriever(
        [channel("text", texts, encoder), channel("image", pictures, encoder)],
        on_degraded="raise",
    )
    assert await retrieve(strict, "red")
    pictures._error = ConnectionError("refused")
    with pytest.raises(RouteFailed, match=r"1 of 2 routes.*text→image.*refused"):
        await retrieve(strict, "red")


async def test_nodes_that_cannot_be_fetched_are_reported(
    retrieve, texts, open_store, encoder, paint, monkeypatch
):
    class NoLookups(FaultyStore):
        def get_nodes(self, *args: Any, **kwargs: Any) -> Any:
            raise ConnectionError("lookups refused")

    store = open_store(NoLookups, [image_node(paint("green"), entity="r")])
    retriever = MultiModalFusionRetriever(
        [
            channel("text", texts, encoder),
            channel("image", store, encoder, accepts=frozenset({"image"})),
        ],
        complete_entities=True,
    )
    found = await retrieve(retriever, "red")
    assert [r.node.get_content() for r in found] == ["red", "yellow"]
    (failure,) = why(found[0]).degraded
    assert (failure.channel, failure.reason) == (
        "image",
        "ConnectionError: lookups refused",
    )


# Order, speed, threads


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
    texts._delay_s = pictures._delay_s = 1.0
    with within(1.8):
        await retrieve(both, "red")


async def test_part_is_encoded_once_for_channels_that_share_an_encoder(
    retrieve, texts, pictures
):
    class Counting(ColourEncoder):
        _encoded: list[str] = []

        def _get_query_embedding(self, query: str) -> list[float]:
            self._encoded.append(query)
            return super()._get_query_embedding(query)

    encoder = Counting()
    both = MultiModalFusionRetriever(
        [channel("text", texts, encoder), channel("image", pictures, encoder)]
    )
    await retrieve(both, "red")
    assert encoder._encoded == ["red"]


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
    slow, texts, open_store, encoder, paint
):
    class Slow(ColourEncoder):
        def _get_query_embedding(self, query: str) -> list[float]:
            time.sleep(0.5)
            return super()._get_query_embedding(query)

        def _get_image_embedding(self, img_file_path: Any) -> list[float]:
            time.sleep(0.5)
            return super()._get_image_embedding(img_file_path)

    query: Any = "red"
    one = channel("image", texts, Slow() if slow != "store" else encoder)
    if slow == "store":
        texts._delay_s = 0.5
    elif slow == "picture":
        query = QueryBundle("", image_path=str(paint("red")))
    elif slow == "edge":
        one = channel("image", open_store("edge", [text_node("red")]), Slow())
    retriever = MultiModalFusionRetriever([one])
    # 50 at best; a loop that is blocked for half a second comes round once or twice.
    assert await ticks_during(retriever.aretrieve(query)) >= 8


async def test_cancelling_a_query_leaves_no_task_behind(texts, encoder, stuck):
    texts._stuck = stuck
    retriever = MultiModalFusionRetriever([channel("text", texts, encoder)])
    before = asyncio.all_tasks()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(retriever.aretrieve("red"), 0.2)
    assert asyncio.all_tasks() == before
    stuck.set()
    texts._stuck = None
    assert await retriever.aretrieve("red")


async def test_deadline_covers_the_encoder_too(retrieve, texts, pictures, encoder):
    class Slow(ColourEncoder):
        def _get_query_embedding(self, query: str) -> list[float]:
            time.sleep(1.5)
            return super()._get_query_embedding(query)

    both = MultiModalFusionRetriever(
        [
            channel("text", texts, encoder),
            channel("image", pictures, Slow(), timeout_s=0.2),
        ]
    )
    with within(1.2):
        found = await retrieve(both, "red")
    assert [d.kind for d in why(found[0]).degraded] == ["deadline"]


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
