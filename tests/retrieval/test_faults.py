"""One channel fails in every way there is: it costs its deadline, not the answer."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import NodeWithScore
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException

from llama_index_mmrag import MultiModalFusionRetriever, QdrantEdgeVectorStore
from llama_index_mmrag.concurrency import threads
from llama_index_mmrag.concurrency.jobs import MOST_ABANDONED
from llama_index_mmrag.concurrency.threads import n_abandoned
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import AllRoutesFailed, InvalidSetting, RouteFailed
from llama_index_mmrag.events.degraded import collect_degradations
from llama_index_mmrag.retrieval.channel import Channel

from ..support.colours import (
    DIM,
    Paint,
    channel,
    dumped,
    ids_of,
    image_node,
    text_node,
    uid,
    why,
)
from ..support.patience import patient, within

DEADLINE_S = 0.15
MARGIN_S = 1.5
"""For a busy machine; `benchmarks/fan_out.py` measures what it is."""

Retrieve = Callable[[MultiModalFusionRetriever, Any], Awaitable[list[NodeWithScore]]]


@dataclass
class Fault:
    """What a store does instead of answering."""

    kind: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    in_lookups: bool = False

    def before(self, *, lookup: bool = False) -> None:
        if lookup != self.in_lookups:
            return
        if self.kind == "raises":
            raise ConnectionError("refused")
        if self.kind == "hangs":
            self.released.wait(20)
        if self.kind == "slow":
            time.sleep(2 * DEADLINE_S)


class FaultyEdge(QdrantEdgeVectorStore):
    """Qdrant Edge with faults."""

    _fault: Fault = PrivateAttr(default_factory=Fault)

    def query_ids(self, query: VectorStoreQuery, payload_keys: Any = ()) -> Any:
        self._fault.before()
        rows = super().query_ids(query, payload_keys)
        if self._fault.kind == "NaN scores":
            return [(rows[0][0], float("nan"), rows[0][2]), *rows[1:]]
        if self._fault.kind == "duplicate ids":
            return [*rows, *((i, score - 0.1, payload) for i, score, payload in rows)]
        return rows

    def get_nodes(self, *args: Any, **kwargs: Any) -> Any:
        self._fault.before(lookup=True)
        return super().get_nodes(*args, **kwargs)


class FaultyLocal(QdrantVectorStore):
    """LlamaIndex's own store with faults."""

    _fault: Fault = PrivateAttr(default_factory=Fault)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        self._fault.before()
        found = super().query(query, **kwargs)
        scores = list(found.similarities or ())
        if self._fault.kind == "NaN scores":
            found.similarities = [float("nan"), *scores[1:]]
        if self._fault.kind == "duplicate ids":
            found.nodes = [*(found.nodes or ()), *(found.nodes or ())]
            found.similarities = [*scores, *(score - 0.1 for score in scores)]
        return found

    def get_nodes(self, *args: Any, **kwargs: Any) -> Any:
        self._fault.before(lookup=True)
        return super().get_nodes(*args, **kwargs)


Store = FaultyEdge | FaultyLocal
World = Callable[[str], dict[str, Store]]


class Longer(ColourEncoder):
    """An encoder of another size than the collection's."""

    def _get_query_embedding(self, query: str) -> list[float]:
        return [*super()._get_query_embedding(query), 0.0]


@pytest.fixture
def world(tmp_path, paint) -> Iterator[World]:
    """Return a function that opens a text and an image collection of some kind."""
    opened: list[Store] = []

    def made(kind: str) -> dict[str, Store]:
        stores: dict[str, Store] = {}
        for name in ("text", "image"):
            if kind == "edge":
                store: Store = FaultyEdge.open(tmp_path / name, dim=DIM)
            else:
                store = FaultyLocal(name, client=QdrantClient(":memory:"))
            opened.append(store)
            stores[name] = store
        stores["text"].add(
            [text_node("red", entity="r"), text_node("yellow", entity="y")]
        )
        stores["image"].add([image_node(paint("red"), entity="r"), *blue(paint)])
        return stores

    yield made
    for store in opened:
        store._fault.released.set()
        if isinstance(store, FaultyEdge):
            store.close()
        else:
            store._client.close()


def blue(paint: Paint) -> list[Any]:
    return [image_node(paint("blue"), entity="b")]


async def _sync(retriever: MultiModalFusionRetriever, query: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(
        _POOL, retriever.retrieve, query
    )


async def _async(retriever: MultiModalFusionRetriever, query: Any) -> Any:
    return await retriever.aretrieve(query)


_POOL = ThreadPoolExecutor(1)


@pytest.fixture(params=[_sync, _async], ids=["sync", "async"])
def retrieve(request) -> Retrieve:
    """Return `retrieve` or `aretrieve`, to be awaited either way."""
    found: Retrieve = request.param
    return found


@pytest.fixture(params=["edge", "local"])
def kind(request) -> str:
    return str(request.param)


def our_threads() -> int:
    return sum(thread.name == "mmrag" for thread in threading.enumerate())


async def settles(*stores: Any, at: int = 0) -> bool:
    """Whether so many threads of ours are left soon, and no search of the stores'."""
    ends = time.monotonic() + patient(3)
    while our_threads() != at or any(n_abandoned(store) for store in stores):
        if time.monotonic() > ends:
            return False
        await asyncio.sleep(0.01)
    return True


@pytest.fixture
async def complaints() -> list[dict[str, Any]]:
    """Return what the event loop has to say of errors that nobody asked for."""
    said: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: said.append(context))
    return said


# The matrix

FAULTS = {
    "raises": ("error", "ConnectionError: refused"),
    "hangs": ("deadline", "no answer within 0.15 s"),
    "slow": ("deadline", "no answer within 0.15 s"),
    "wrong dimension": ("error", ""),
    "empty": None,
    "duplicate ids": None,
    "NaN scores": ("invalid", "nan"),
    "closed client": ("error", "closed"),
}


def break_channel(one: Channel, fault: str, *, of: dict[str, Store]) -> Channel:
    """Return the channel with its fault and a deadline."""
    store = of[one.name]
    encoder = one.embed_model
    if fault == "wrong dimension":
        encoder = Longer()
    elif fault == "empty":
        store.delete_nodes([node.node_id for node in store.get_nodes()])
    elif fault == "closed client":
        store.close() if isinstance(store, FaultyEdge) else store._client.close()
    else:
        store._fault.kind = fault
    return Channel(
        one.name, vector_store=store, embed_model=encoder, timeout_s=DEADLINE_S
    )


@pytest.mark.parametrize("broken", ["text", "image"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_costs_its_deadline_and_not_the_answer(
    fault, broken, kind, retrieve, world, encoder, complaints
):
    stores = world(kind)
    channels = {name: channel(name, store, encoder) for name, store in stores.items()}
    whole = dumped(MultiModalFusionRetriever(list(channels.values())).retrieve("red"))
    healthy = next(one for name, one in channels.items() if name != broken)
    alone = MultiModalFusionRetriever([healthy]).retrieve("red")
    channels[broken] = break_channel(channels[broken], fault, of=stores)
    retriever = MultiModalFusionRetriever(list(channels.values()))
    tasks = asyncio.all_tasks()

    with within(DEADLINE_S + MARGIN_S):
        found = await retrieve(retriever, "red")
    assert asyncio.all_tasks() == tasks
    if fault == "duplicate ids":
        assert dumped(found) == whole
    else:
        assert len(found) == 2
        assert [(r.node.node_id, r.score, why(r).contributions) for r in found] == [
            (r.node.node_id, r.score, why(r).contributions) for r in alone
        ]
    route = f"text→{broken}"
    assert why(found[0]).requested == ("text→text", "text→image")
    expected = FAULTS[fault]
    if expected is None:
        assert why(found[0]).degraded == ()
        assert why(found[0]).searched == ("text→text", "text→image")
    else:
        (lost,) = why(found[0]).degraded
        assert (lost.route, lost.kind) == (route, expected[0])
        assert expected[1] in lost.reason
        assert why(found[0]).searched == (f"text→{healthy.name}",)

    stores[broken]._fault.released.set()
    assert await settles(stores[broken])
    gc.collect()
    assert complaints == []


# Deadlines of the whole query


async def test_query_has_a_deadline_beside_its_channels(kind, retrieve, world, encoder):
    stores = world(kind)
    stores["image"]._fault.kind = "hangs"
    for own, reason in ((None, "0.5 s"), (30.0, "0.5 s"), (0.25, "0.25 s")):
        retriever = MultiModalFusionRetriever(
            [
                channel("text", stores["text"], encoder),
                channel("image", stores["image"], encoder, timeout_s=own),
            ],
            timeout_s=0.5,
        )
        with within(0.5 + MARGIN_S):
            found = await retrieve(retriever, "red")
        assert ids_of(found) == [uid("text red"), uid("text yellow")]
        (lost,) = why(found[0]).degraded
        assert (lost.kind, lost.reason) == ("deadline", f"no answer within {reason}")


async def test_hanging_encoder_of_an_embedded_channel_is_cut_off(
    retrieve, world, encoder
):
    released = threading.Event()

    class Stuck(ColourEncoder):
        def _get_query_embedding(self, query: str) -> list[float]:
            released.wait(20)
            return super()._get_query_embedding(query)

    stores = world("edge")
    retriever = MultiModalFusionRetriever(
        [
            channel("text", stores["text"], encoder),
            channel("image", stores["image"], Stuck()),
        ],
        timeout_s=patient(0.2),
    )
    found = await retrieve(retriever, "red")
    assert [d.kind for d in why(found[0]).degraded] == ["deadline"]
    released.set()
    assert await settles()


@pytest.mark.parametrize("fault", ["hangs", "raises"])
async def test_entities_whose_nodes_cannot_be_read_are_left_out(
    fault, retrieve, world, encoder
):
    stores = world("edge")
    retriever = MultiModalFusionRetriever(
        [channel(name, store, encoder) for name, store in stores.items()],
        timeout_s=patient(0.2),
    )
    stores["image"]._fault = Fault(fault, in_lookups=True)
    with within(0.2 + MARGIN_S):
        found = await retrieve(retriever, "red")
    # Red was found by both, and its text can be shown; blue by its picture alone.
    assert [(r.node.node_id, r.score) for r in found] == [
        (uid("text red"), 2 / 61),
        (uid("text yellow"), 1 / 62),
    ]
    (lost,) = why(found[0]).degraded
    assert (lost.channel, lost.route) == ("image", "fetch image")
    assert lost.kind == ("deadline" if fault == "hangs" else "error")
    assert why(found[0]).searched == ("text→text", "text→image")
    stores["image"]._fault.released.set()


async def test_lookups_that_hang_leave_the_found_nodes(kind, retrieve, world, encoder):
    stores = world(kind)
    pictures = frozenset({"image"})
    retriever = MultiModalFusionRetriever(
        [
            channel("text", stores["text"], encoder),
            channel("image", stores["image"], encoder, accepts=pictures),
        ],
        complete_entities=True,
        timeout_s=patient(0.2),
    )
    complete = ids_of(await retrieve(retriever, "red"))
    assert complete == [uid("text red"), uid("image red"), uid("text yellow")]
    stores["image"]._fault = Fault("hangs", in_lookups=True)
    found = await retrieve(retriever, "red")
    assert ids_of(found) == [uid("text red"), uid("text yellow")]
    assert [(d.route, d.kind) for d in why(found[0]).degraded] == [
        ("complete image", "deadline")
    ]
    stores["image"]._fault.released.set()


async def test_lookups_of_remote_stores_run_at_the_same_time(
    retrieve, world, encoder, paint
):
    class SlowLookups(FaultyLocal):
        def get_nodes(self, *args: Any, **kwargs: Any) -> Any:
            time.sleep(0.5)
            return super().get_nodes(*args, **kwargs)

    slow = {}
    for name in ("a", "b", "c"):
        slow[name] = SlowLookups(name, client=QdrantClient(":memory:"))
        slow[name].add([text_node("red", name=name, entity="r")])
    retriever = MultiModalFusionRetriever(
        [
            channel("text", world("local")["text"], encoder),
            *(
                channel(name, store, encoder, accepts=frozenset({"image"}))
                for name, store in slow.items()
            ),
        ],
        complete_entities=True,
    )
    with within(1.3):
        await retrieve(retriever, "red")
    for store in slow.values():
        store._client.close()


async def test_late_channel_is_not_asked_to_complete_what_others_found(
    retrieve, world, encoder
):
    stores = world("local")
    asked: list[str] = []

    class Counting(FaultyLocal):
        def get_nodes(self, *args: Any, **kwargs: Any) -> Any:
            asked.append("image")
            return super().get_nodes(*args, **kwargs)

    late = Counting("image", client=stores["image"]._client)
    late._fault.kind = "slow"
    retriever = MultiModalFusionRetriever(
        [
            channel("text", stores["text"], encoder),
            channel("image", late, encoder, timeout_s=DEADLINE_S),
        ],
        complete_entities=True,
    )
    assert ids_of(await retrieve(retriever, "red")) == [
        uid("text red"),
        uid("text yellow"),
    ]
    assert asked == []


async def test_where_no_thread_can_be_started_the_caller_does_what_has_no_deadline(
    kind, world, encoder, monkeypatch
):
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    stores = world(kind)
    both = [channel(name, store, encoder) for name, store in stores.items()]
    whole = dumped(MultiModalFusionRetriever(both).retrieve("red"))
    assert await settles(), "else an idle one is taken"
    hurried = channel("image", stores["image"], encoder, timeout_s=5)
    monkeypatch.setattr(threads, "_idle", [])
    monkeypatch.setattr(threading.Thread, "start", refused)
    assert dumped(MultiModalFusionRetriever(both).retrieve("red")) == whole
    found = MultiModalFusionRetriever([both[0], hurried]).retrieve("red")
    assert ids_of(found) == [uid("text red"), uid("text yellow")]
    (lost,) = why(found[0]).degraded
    assert (lost.route, lost.kind) == ("text→image", "error")
    assert "can't start new thread" in lost.reason


@pytest.mark.parametrize("timeout_s", [0, -1.0, float("nan")])
def test_deadline_that_is_none_is_refused(timeout_s, world):
    one = channel("text", world("local")["text"], ColourEncoder())
    with pytest.raises(
        InvalidSetting, match=r"Retriever: timeout_s is .*greater than 0"
    ):
        MultiModalFusionRetriever([one], timeout_s=timeout_s)


# What becomes known


async def test_nothing_found_and_nobody_looked_can_be_told_apart(
    retrieve, world, encoder
):
    stores = world("local")
    channels = [channel(name, store, encoder) for name, store in stores.items()]
    retriever = MultiModalFusionRetriever(channels)
    break_channel(channels[0], "empty", of=stores)
    break_channel(channels[1], "raises", of=stores)
    with collect_degradations() as lost:
        assert await retriever.aretrieve("red") == []
        assert retriever.retrieve("red") == []
    assert [(d.route, d.reason) for d in lost] == [
        ("text→image", "ConnectionError: refused")
    ] * 2
    with collect_degradations() as others:
        assert len(lost) == 2
    assert others == []


async def test_all_nodes_unreadable_is_an_error(retrieve, world, encoder):
    stores = world("edge")
    for store in stores.values():
        store._fault = Fault("raises", in_lookups=True)
    retriever = MultiModalFusionRetriever(
        [channel(name, store, encoder) for name, store in stores.items()]
    )
    with pytest.raises(AllRoutesFailed, match=r"3 entities.*none.*fetch text: Conn"):
        await retrieve(retriever, "red")


async def test_failed_lookup_is_an_error_where_degradations_are(
    retrieve, world, encoder
):
    stores = world("edge")
    stores["image"]._fault = Fault("raises", in_lookups=True)
    retriever = MultiModalFusionRetriever(
        [channel(name, store, encoder) for name, store in stores.items()],
        on_degraded="raise",
    )
    with pytest.raises(RouteFailed, match=r"1 of 2 lookups failed.*fetch image"):
        await retrieve(retriever, "red")


# Nothing is left behind


async def test_channel_that_hangs_is_left_alone_after_a_few_searches(
    kind, retrieve, world, encoder
):
    stores = world(kind)
    fault = stores["image"]._fault
    fault.kind = "hangs"
    retriever = MultiModalFusionRetriever(
        [
            channel("text", stores["text"], encoder),
            channel("image", stores["image"], encoder, timeout_s=0.02),
        ]
    )
    kinds = []
    for _ in range(2 * MOST_ABANDONED):
        found = await retrieve(retriever, "red")
        assert ids_of(found) == [uid("text red"), uid("text yellow")]
        kinds += [d.kind for d in why(found[0]).degraded]
    assert kinds == ["deadline"] * MOST_ABANDONED + ["busy"] * MOST_ABANDONED
    assert why(found[0]).degraded[0].reason.startswith("still busy with 8 earlier")
    assert await settles(at=MOST_ABANDONED)
    # Another retriever over the same store knows of it.
    (other,) = [channel("other", stores["image"], encoder, timeout_s=5)]
    with pytest.raises(AllRoutesFailed, match="still busy"):
        await retrieve(MultiModalFusionRetriever([other]), "red")
    if kind == "local":  # Edge without a deadline is searched by its caller
        endless = channel("endless", stores["image"], encoder)
        with pytest.raises(AllRoutesFailed, match="still busy"):
            await retrieve(MultiModalFusionRetriever([endless]), "red")
    fault.kind = ""
    fault.released.set()
    assert await settles()
    again = channel("image", stores["image"], encoder, timeout_s=5)
    assert len(await retrieve(MultiModalFusionRetriever([again]), "red")) == 2


class HangingAsync(QdrantVectorStore):
    """A store whose asynchronous client hangs, and minds being cancelled or not."""

    _cancelled: int = PrivateAttr(default=0)
    _stubborn: bool = PrivateAttr(default=False)
    _error: Exception | None = PrivateAttr(default=None)

    async def aquery(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> VectorStoreQueryResult:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            self._cancelled += 1
            if self._stubborn:
                await asyncio.sleep(1.0)
            if self._error is not None:
                raise self._error from None
            raise
        return await super().aquery(query, **kwargs)


@pytest.mark.parametrize("manner", ["obedient", "stubborn", "raises"])
async def test_asynchronous_search_is_cancelled_at_its_deadline(
    manner, world, encoder, complaints
):
    store = HangingAsync("hanging", aclient=AsyncQdrantClient(":memory:"))
    store._stubborn = manner == "stubborn"
    store._error = OSError("connection lost") if manner == "raises" else None
    late = channel("image", store, encoder, timeout_s=0.1)
    assert late.way == "await"
    retriever = MultiModalFusionRetriever(
        [channel("text", world("edge")["text"], encoder), late]
    )
    tasks = asyncio.all_tasks()
    with within(0.9):  # a client that will not be cancelled is not waited for
        found = await retriever.aretrieve("red")
    assert store._cancelled == 1
    assert [d.kind for d in why(found[0]).degraded] == ["deadline"]
    if manner == "stubborn":
        await asyncio.sleep(1.2)
    assert asyncio.all_tasks() == tasks
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("stage", ["search", "lookup"])
async def test_cancelling_a_query_cancels_all_of_it(stage, world, encoder, complaints):
    stores = world("local")
    hanging = HangingAsync("hanging", aclient=AsyncQdrantClient(":memory:"))
    stores["image"]._fault = Fault("hangs", in_lookups=stage == "lookup")
    channels = [
        channel("text", stores["text"], encoder),
        channel(
            "image",
            stores["image"],
            encoder,
            accepts=frozenset({"text" if stage == "search" else "image"}),
        ),
    ]
    if stage == "search":
        channels.append(channel("hanging", hanging, encoder))
    retriever = MultiModalFusionRetriever(channels, complete_entities=True)
    tasks = asyncio.all_tasks()
    query = asyncio.ensure_future(retriever.aretrieve("red"))
    await asyncio.sleep(0.2)
    query.cancel()
    with pytest.raises(asyncio.CancelledError):
        await query
    assert asyncio.all_tasks() == tasks
    assert hanging._cancelled == (1 if stage == "search" else 0)
    # Its thread cannot be ended, but is known to be on its own.
    assert n_abandoned(stores["image"]) == 1
    stores["image"]._fault.released.set()
    assert await settles(stores["image"])
    gc.collect()
    assert complaints == []


async def test_query_at_fault_cancels_its_other_routes(world, encoder, paint, tmp_path):
    hanging = HangingAsync("hanging", aclient=AsyncQdrantClient(":memory:"))
    retriever = MultiModalFusionRetriever(
        [
            channel("image", world("local")["image"], encoder),
            channel("hanging", hanging, encoder, timeout_s=0.3),
        ]
    )
    whole = paint("red", size=(200, 200)).read_bytes()
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole[: len(whole) // 2])
    tasks = asyncio.all_tasks()
    with pytest.raises(ValueError, match=r"cut\.png"):
        await retriever.aimage_to_image_retrieve(str(cut))
    assert asyncio.all_tasks() == tasks


# Retries


class Flaky(FaultyLocal):
    """A store that fails a few times before it answers."""

    _failures: list[Exception] = PrivateAttr(default_factory=list)
    _asked: int = PrivateAttr(default=0)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        self._asked += 1
        if self._failures:
            raise self._failures.pop(0)
        return super().query(query, **kwargs)


class FlakyAsync(Flaky):
    """The same over an asynchronous client."""

    async def aquery(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> VectorStoreQueryResult:
        self._asked += 1
        if self._failures:
            raise self._failures.pop(0)
        return await QdrantVectorStore.aquery(self, query, **kwargs)


BROKEN = ConnectionResetError("reset by peer")
CONNECTION_FAILURES = {
    "built-in": BROKEN,
    "httpx": httpx.ConnectError("refused"),
    "qdrant": ResponseHandlingException(httpx.ReadError("broke off")),
    "too many requests": ResourceExhaustedResponse("429", retry_after_s=0),
}


@pytest.mark.parametrize("failure", CONNECTION_FAILURES)
async def test_search_is_repeated_where_that_may_help(
    failure, retrieve, world, encoder
):
    store = Flaky("text", client=world("local")["text"]._client)
    retried = channel("text", store, encoder, n_retries=2, timeout_s=10)
    store._failures = [CONNECTION_FAILURES[failure]] * 2
    found = await retrieve(MultiModalFusionRetriever([retried]), "red")
    assert ids_of(found) == [uid("text red"), uid("text yellow")]
    assert why(found[0]).degraded == ()
    assert store._asked == 3
    store._failures = [CONNECTION_FAILURES[failure]] * 3
    with pytest.raises(
        AllRoutesFailed, match=type(CONNECTION_FAILURES[failure]).__name__
    ):
        await retrieve(MultiModalFusionRetriever([retried]), "red")
    assert store._asked == 6


async def test_asynchronous_search_is_repeated_too(encoder):
    store = FlakyAsync("text", aclient=AsyncQdrantClient(":memory:"))
    await store.async_add([text_node("red")])
    store._failures = [BROKEN] * 2
    retried = channel("text", store, encoder, n_retries=2)
    found = await MultiModalFusionRetriever([retried]).aretrieve("red")
    assert (ids_of(found), store._asked) == ([uid("text red")], 3)


@pytest.mark.parametrize(
    ("error", "settings"),
    [
        (BROKEN, {}),
        (ValueError("bad input"), {"n_retries": 5}),
        (TimeoutError("read timed out"), {"n_retries": 5}),
        (httpx.ReadTimeout("read timed out"), {"n_retries": 5}),
        (ResourceExhaustedResponse("429", retry_after_s=60), {"n_retries": 5}),
    ],
)
async def test_search_is_not_repeated_where_it_cannot_help(
    error, settings, retrieve, world, encoder
):
    store = Flaky("text", client=world("local")["text"]._client)
    store._failures = [error]
    only = channel("text", store, encoder, timeout_s=5, **settings)
    with within(MARGIN_S), pytest.raises(AllRoutesFailed):
        await retrieve(MultiModalFusionRetriever([only]), "red")
    assert store._asked == 1


async def test_encoder_that_fails_is_not_asked_again(retrieve, world):
    class Unplugged(ColourEncoder):
        _asked: int = PrivateAttr(default=0)

        def _get_query_embedding(self, query: str) -> list[float]:
            self._asked += 1
            raise BROKEN

    encoder = Unplugged()
    one = channel("text", world("local")["text"], encoder, n_retries=5)
    started = time.monotonic()
    with pytest.raises(AllRoutesFailed, match="ConnectionResetError: reset by peer"):
        await retrieve(MultiModalFusionRetriever([one]), "red")
    assert time.monotonic() - started < MARGIN_S, "five pauses take 3.1 s"
    assert encoder._asked == 1


def test_retries_below_none_are_refused(world, encoder):
    with pytest.raises(InvalidSetting, match="n_retries is -1"):
        channel("text", world("local")["text"], encoder, n_retries=-1)
