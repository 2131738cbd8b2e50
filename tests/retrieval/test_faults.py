"""One channel fails in every way there is: it costs its deadline, not the answer."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
from collections.abc import Mapping
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient
from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException

from llama_index_mmrag import (
    RRF,
    CalibratedSum,
    MultiModalFusionRetriever,
    WeightedSum,
)
from llama_index_mmrag.concurrency import threads
from llama_index_mmrag.concurrency.jobs import MOST_ABANDONED
from llama_index_mmrag.concurrency.threads import n_abandoned
from llama_index_mmrag.concurrency.turns import HANGS_S, MOST_OF_OURS
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import AllRoutesFailed, RouteFailed
from llama_index_mmrag.events.degraded import collect_degradations
from llama_index_mmrag.retrieval.channel import Channel

from ..support.colours import (
    ENCODER,
    WatchedEncoder,
    channel,
    dumped,
    ids_of,
    image_node,
    retriever_of,
    text_node,
    uid,
    why,
)
from ..support.patience import patient, within
from ..support.stores import FaultyEdge, FaultyStore

DEADLINE_S = 0.15
MARGIN_S = 1.5
"""For a busy machine; `benchmarks/fan_out.py` measures what it is."""

TEXTS = [uid("text red"), uid("text yellow")]
BROKEN = ConnectionResetError("reset by peer")

Store = FaultyEdge | FaultyStore

EDGE = pytest.mark.parametrize("kind", ["edge"])
LOCAL = pytest.mark.parametrize("kind", ["local"])


@pytest.fixture
def stores(kind, open_store, paint, stuck) -> dict[str, Store]:  # noqa: ARG001 - released before the stores close
    """Return a text and an image collection, which fail when they are told to."""
    make = FaultyEdge if kind == "edge" else FaultyStore
    texts = [text_node("red", entity="r"), text_node("yellow", entity="y")]
    pictures = [image_node(paint(c), entity=c[0]) for c in ("red", "blue")]
    return {"text": open_store(make, texts), "image": open_store(make, pictures)}


def over(
    stores: Mapping[str, Store], image: Mapping[str, Any] | None = None, **settings: Any
) -> MultiModalFusionRetriever:
    """Return a retriever over both; `image` has settings of the pictures' channel."""
    texts = channel("text", stores["text"])
    pictures = channel("image", stores["image"], **(image or {}))
    return retriever_of(texts, pictures, **settings)


def break_lookups(store: Store, fault: str, stuck: threading.Event) -> None:
    store._in_lookups = True
    if fault == "hangs":
        store._stuck = stuck
    else:
        store._error = ConnectionError("refused")


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


class Longer(ColourEncoder):
    """An encoder of another size than the collection's."""

    def _get_query_embedding(self, query: str) -> list[float]:
        return [*super()._get_query_embedding(query), 0.0]


FAULTS = {
    "raises": ("error", "ConnectionError: refused"),
    "has a timeout of its own": ("error", "gateway timed out"),
    "hangs": ("deadline", "no answer within 0.15 s"),
    "slow": ("deadline", "no answer within 0.15 s"),
    "encoder raises": ("error", "RuntimeError: no more memory"),
    "wrong dimension": ("error", ""),
    "empty": None,
    "duplicate ids": None,
    "NaN scores": ("invalid", "nan"),
    "infinite scores": ("invalid", "inf"),
    "enormous scores": ("invalid", "1e+308"),
    "closed client": ("error", "closed"),
}
OF_STORES: dict[str, dict[str, Any]] = {
    "raises": {"_error": ConnectionError("refused")},
    "has a timeout of its own": {"_error": TimeoutError("a gateway timed out")},
    "slow": {"_delay_s": 2 * DEADLINE_S},
    "duplicate ids": {"_repeats": True},
    "NaN scores": {"_bad_score": math.nan},
    "infinite scores": {"_bad_score": math.inf},
    "enormous scores": {"_bad_score": -1e308},
}
OF_ENCODERS = {
    "encoder raises": WatchedEncoder(Mock(side_effect=RuntimeError("no more memory"))),
    "wrong dimension": Longer(),
}


def broken_channel(
    name: str, store: Store, fault: str, stuck: threading.Event
) -> Channel:
    """Return a channel over the store with its fault and a deadline."""
    for setting, value in OF_STORES.get(fault, {}).items():
        setattr(store, setting, value)
    if fault == "hangs":
        store._stuck = stuck
    elif fault == "empty":
        store.delete_nodes([node.node_id for node in store.get_nodes()])
    elif fault == "closed client":
        store.close() if isinstance(store, FaultyEdge) else store._client.close()
    encoder = OF_ENCODERS.get(fault, ENCODER)
    return channel(name, store, encoder, timeout_s=DEADLINE_S)


@pytest.mark.parametrize("broken", ["text", "image"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_costs_its_deadline_and_not_the_answer(
    fault, broken, retrieve, stores, stuck, complaints, caplog
):
    whole = dumped(over(stores).retrieve("red"))
    (healthy,) = stores.keys() - {broken}
    channels = {healthy: channel(healthy, stores[healthy])}
    alone = retriever_of(channels[healthy]).retrieve("red")
    channels[broken] = broken_channel(broken, stores[broken], fault, stuck)
    retriever = retriever_of(*(channels[name] for name in stores))
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
    expected = FAULTS[fault]
    for result in found:
        assert why(result).requested == ("text→text", "text→image")
        if expected is None:
            assert why(result).degraded == ()
            assert why(result).searched == ("text→text", "text→image")
        else:
            kind, reason = expected
            (lost,) = why(result).degraded
            assert lost.channel == broken
            assert (lost.route, lost.kind) == (f"text→{broken}", kind)
            assert reason in lost.reason
            assert f"{lost.route} gave no answer: {lost.reason}" in caplog.text
            assert why(result).searched == (f"text→{healthy}",)

    stuck.set()
    assert await settles(stores[broken])
    gc.collect()
    assert complaints == []


# Deadlines of the whole query


@pytest.mark.parametrize("own_s", [None, 30.0, 0.25])
async def test_query_has_a_deadline_beside_its_channels(own_s, retrieve, stores, stuck):
    stores["image"]._stuck = stuck
    retriever = over(stores, {"timeout_s": own_s}, timeout_s=0.5)
    with within(0.5 + MARGIN_S):
        found = await retrieve(retriever, "red")
    assert ids_of(found) == TEXTS
    (lost,) = why(found[0]).degraded
    reason = f"no answer within {0.25 if own_s == 0.25 else 0.5} s"
    assert (lost.kind, lost.reason) == ("deadline", reason)


@pytest.mark.parametrize("whose", ["query", "channel"])
async def test_hanging_encoder_is_cut_off(whose, retrieve, stores, stuck):
    hanging = {"encoder": WatchedEncoder(lambda _: stuck.wait(20))}
    deadline_s = patient(0.2)
    if whose == "query":
        retriever = over(stores, hanging, timeout_s=deadline_s)
    else:
        retriever = over(stores, {**hanging, "timeout_s": deadline_s})
    with within(deadline_s + MARGIN_S):
        found = await retrieve(retriever, "red")
    assert [d.kind for d in why(found[0]).degraded] == ["deadline"]
    stuck.set()
    assert await settles()


@EDGE
@pytest.mark.parametrize("fault", ["hangs", "raises"])
async def test_entities_whose_nodes_cannot_be_read_are_left_out(
    fault, retrieve, stores, stuck
):
    deadline_s = patient(0.2)
    retriever = over(stores, timeout_s=deadline_s)
    break_lookups(stores["image"], fault, stuck)
    with within(deadline_s + MARGIN_S):
        found = await retrieve(retriever, "red")
    # Red was found by both, and its text can be shown; blue by its picture alone.
    assert ids_of(found) == TEXTS
    assert [r.score for r in found] == [2 / 61, 1 / 62]
    (lost,) = why(found[0]).degraded
    assert (lost.channel, lost.route) == ("image", "fetch image")
    assert lost.kind == ("deadline" if fault == "hangs" else "error")
    assert why(found[0]).searched == ("text→text", "text→image")


@pytest.mark.parametrize("fault", ["hangs", "raises"])
async def test_lookups_that_fail_leave_the_found_nodes(fault, retrieve, stores, stuck):
    pictures = {"accepts": frozenset({"image"})}
    retriever = over(stores, pictures, complete_entities=True, timeout_s=patient(0.2))
    complete = ids_of(await retrieve(retriever, "red"))
    assert complete == [uid("text red"), uid("image red"), uid("text yellow")]
    break_lookups(stores["image"], fault, stuck)
    found = await retrieve(retriever, "red")
    assert ids_of(found) == TEXTS
    (lost,) = why(found[0]).degraded
    assert (lost.channel, lost.route) == ("image", "complete image")
    if fault == "hangs":
        assert lost.kind == "deadline"
    else:
        assert (lost.kind, lost.reason) == ("error", "ConnectionError: refused")


@LOCAL
async def test_late_channel_is_not_asked_to_complete_what_others_found(
    retrieve, stores
):
    stores["image"]._delay_s = 2 * DEADLINE_S
    retriever = over(stores, {"timeout_s": DEADLINE_S}, complete_entities=True)
    assert ids_of(await retrieve(retriever, "red")) == TEXTS
    assert stores["image"]._n_lookups == 0


async def test_where_no_thread_can_be_started_the_caller_does_what_has_no_deadline(
    stores, monkeypatch
):
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    whole = dumped(over(stores).retrieve("red"))
    assert await settles(), "else an idle one is taken"
    monkeypatch.setattr(threads, "_idle", [])
    monkeypatch.setattr(threading.Thread, "start", refused)
    assert dumped(over(stores).retrieve("red")) == whole
    with pytest.raises(AllRoutesFailed, match="can't start new thread"):
        await over(stores).aretrieve("red")  # the event loop does nothing itself
    found = over(stores, {"timeout_s": 5}).retrieve("red")
    assert ids_of(found) == TEXTS
    (lost,) = why(found[0]).degraded
    assert (lost.route, lost.kind) == ("text→image", "error")
    assert "can't start new thread" in lost.reason


class HoldsTheInterpreter(FaultyStore):
    """Parses its answer in one call that lets no other thread run."""

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        time.sleep(DEADLINE_S / 3)  # under way
        sum(range(30_000_000))  # as json.loads of a large body: half a second
        return super().query(query, **kwargs)


async def test_what_an_embedded_store_found_is_read_after_another_held_the_interpreter(
    retrieve, open_store, paint
):
    found = open_store("edge", [text_node("red"), text_node("yellow")])
    slow = open_store(HoldsTheInterpreter, [image_node(paint("red"))])
    channels = channel("text", found), channel("image", slow)
    results = await retrieve(retriever_of(*channels, timeout_s=DEADLINE_S), "red")
    assert ids_of(results) == TEXTS
    assert [d.route for d in why(results[0]).degraded] == ["text→image"]


# What becomes known


@LOCAL
async def test_nothing_found_and_nobody_looked_can_be_told_apart(stores, stuck):
    retriever = over(stores)
    broken_channel("text", stores["text"], "empty", stuck)
    broken_channel("image", stores["image"], "raises", stuck)
    with collect_degradations() as lost:
        assert await retriever.aretrieve("red") == []
        assert retriever.retrieve("red") == []
    assert [(d.route, d.reason) for d in lost] == [
        ("text→image", "ConnectionError: refused")
    ] * 2
    with collect_degradations() as others:
        assert len(lost) == 2
    assert others == []


@LOCAL
async def test_all_routes_failing_is_an_error_that_lists_each_reason(retrieve, stores):
    stores["text"]._error = ConnectionError("text server refused")
    stores["image"]._error = OSError("picture disk full")
    with pytest.raises(AllRoutesFailed, match=r"All 2 routes.*refused.*disk full"):
        await retrieve(over(stores), "red")


@EDGE
async def test_all_nodes_unreadable_is_an_error(retrieve, stores, stuck):
    for store in stores.values():
        break_lookups(store, "raises", stuck)
    with pytest.raises(AllRoutesFailed, match=r"3 entities.*none.*fetch text: Conn"):
        await retrieve(over(stores), "red")


@EDGE
@pytest.mark.parametrize(
    ("in_lookups", "said"),
    [
        (False, r"1 of 2 routes.*text→image.*refused"),
        (True, r"1 of 2 lookups failed.*fetch image"),
    ],
    ids=["route", "lookup"],
)
async def test_one_failure_is_an_error_where_degradations_are(
    in_lookups, said, retrieve, stores
):
    strict = over(stores, on_degraded="raise")
    assert await retrieve(strict, "red")
    stores["image"]._error = ConnectionError("refused")
    stores["image"]._in_lookups = in_lookups
    with pytest.raises(RouteFailed, match=said):
        await retrieve(strict, "red")


# Nothing is left behind


@pytest.mark.parametrize(
    ("kind", "retrieve"),
    [("local", "sync"), ("local", "async"), ("edge", "sync")],
    indirect=["retrieve"],
)
async def test_channel_that_hangs_is_left_alone_after_a_few_searches(
    kind, retrieve, stores, stuck
):
    pictures = stores["image"]
    pictures._stuck = stuck
    retriever = over(stores, {"timeout_s": 0.02})
    kinds: list[str] = []
    # On a busy machine some are late before they have begun, and leave nothing behind.
    for _ in range(20 * MOST_ABANDONED):
        found = await retrieve(retriever, "red")
        assert ids_of(found) == TEXTS
        kinds += [d.kind for d in why(found[0]).degraded]
        if kinds.count("busy") == MOST_ABANDONED:
            break
    n_late = kinds.index("busy")
    assert n_late >= MOST_ABANDONED
    assert kinds == ["deadline"] * n_late + ["busy"] * MOST_ABANDONED
    assert why(found[0]).degraded[0].reason.startswith("still busy with 8 earlier")
    assert await settles(at=MOST_ABANDONED)
    # Another retriever over the same store knows of it. Edge without a deadline is
    # searched by its caller.
    for timeout_s in [5, *([None] if kind == "local" else [])]:
        other = channel("other", pictures, timeout_s=timeout_s)
        with pytest.raises(AllRoutesFailed, match="still busy"):
            await retrieve(retriever_of(other), "red")
    pictures._stuck = None
    stuck.set()
    assert await settles()
    again = channel("image", pictures, timeout_s=5)
    assert len(await retrieve(retriever_of(again), "red")) == 2


@EDGE
async def test_embedded_store_that_hangs_keeps_its_threads_and_no_others(stores, stuck):
    stores["image"]._stuck = stuck
    retriever = over(stores, {"timeout_s": 0.02})
    for _ in range(2 * MOST_ABANDONED):
        with within(10):
            found = await retriever.aretrieve("red")
        assert ids_of(found) == TEXTS
        assert [d.kind for d in why(found[0]).degraded] == ["deadline"]
    assert await settles(at=MOST_OF_OURS)
    stores["image"]._stuck = None
    stuck.set()
    assert await settles()
    again = over(stores, {"timeout_s": patient(5)})
    assert why((await again.aretrieve("red"))[0]).degraded == ()


class HangingAsync(QdrantVectorStore):
    """A store whose asynchronous client hangs, and minds being cancelled or not."""

    _cancelled: int = PrivateAttr(default=0)
    _manner: str = PrivateAttr(default="obedient")

    def __init__(self) -> None:
        super().__init__("hanging", aclient=AsyncQdrantClient(":memory:"))

    async def aquery(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> VectorStoreQueryResult:
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            self._cancelled += 1
            if self._manner == "stubborn":
                await asyncio.sleep(1.0)
            if self._manner == "raises":
                raise OSError("connection lost") from None
            raise
        return await super().aquery(query, **kwargs)


@EDGE
@pytest.mark.parametrize("manner", ["obedient", "stubborn", "raises"])
async def test_asynchronous_search_is_cancelled_at_its_deadline(
    manner, stores, complaints
):
    store = HangingAsync()
    store._manner = manner
    late = channel("image", store, timeout_s=0.1)
    assert late.way == "await"
    retriever = retriever_of(channel("text", stores["text"]), late)
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


@LOCAL
@pytest.mark.parametrize("stage", ["search", "lookup"])
async def test_cancelling_a_query_cancels_all_of_it(stage, stores, stuck, complaints):
    hanging = HangingAsync()
    in_search = stage == "search"
    stores["image"]._stuck, stores["image"]._in_lookups = stuck, not in_search
    accepts = frozenset({"text" if in_search else "image"})
    retriever = retriever_of(
        channel("text", stores["text"]),
        channel("image", stores["image"], accepts=accepts),
        *([channel("hanging", hanging)] if in_search else []),
        complete_entities=True,
    )
    tasks = asyncio.all_tasks()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(retriever.aretrieve("red"), 0.2)
    assert asyncio.all_tasks() == tasks
    assert hanging._cancelled == in_search
    # Its thread cannot be ended, but is known to be on its own when it hangs.
    assert n_abandoned(stores["image"]) == 0
    await asyncio.sleep(1.1 * HANGS_S)
    assert n_abandoned(stores["image"]) == 1
    stuck.set()
    assert await settles(stores["image"])
    gc.collect()
    assert complaints == []
    assert await over(stores).aretrieve("red")


@LOCAL
async def test_query_at_fault_cancels_its_other_routes(stores, paint, tmp_path):
    hanging = channel("hanging", HangingAsync(), timeout_s=0.3)
    retriever = retriever_of(channel("image", stores["image"]), hanging)
    whole = paint("red", size=(200, 200)).read_bytes()
    cut = tmp_path / "cut.png"
    cut.write_bytes(whole[: len(whole) // 2])
    tasks = asyncio.all_tasks()
    with pytest.raises(ValueError, match=r"cut\.png"):
        await retriever.aimage_to_image_retrieve(str(cut))
    assert asyncio.all_tasks() == tasks


# Retries


@LOCAL
@pytest.mark.parametrize(
    "failure",
    [
        BROKEN,
        httpx.ConnectError("refused"),
        ResponseHandlingException(httpx.ReadError("broke off")),
        ResourceExhaustedResponse("429", retry_after_s=0),
    ],
    ids=["built-in", "httpx", "qdrant", "too many requests"],
)
async def test_search_is_repeated_where_that_may_help(failure, retrieve, stores):
    store = stores["text"]
    retried = retriever_of(channel("text", store, n_retries=2, timeout_s=10))
    store._error, store._n_failures = failure, 2
    found = await retrieve(retried, "red")
    assert ids_of(found) == TEXTS
    assert why(found[0]).degraded == ()
    assert store._n_queries == 3
    store._n_failures = math.inf
    with pytest.raises(AllRoutesFailed, match=str(failure) or type(failure).__name__):
        await retrieve(retried, "red")
    assert store._n_queries == 6


async def test_asynchronous_search_is_repeated_too():
    store = FaultyStore("text", aclient=AsyncQdrantClient(":memory:"))
    await store.async_add([text_node("red")])
    store._error, store._n_failures = BROKEN, 2
    found = await retriever_of(channel("text", store, n_retries=2)).aretrieve("red")
    assert (ids_of(found), store._n_queries) == ([uid("text red")], 3)


@LOCAL
@pytest.mark.parametrize(
    ("error", "n_retries"),
    [
        (BROKEN, 0),
        (ValueError("bad input"), 5),
        (TimeoutError("read timed out"), 5),
        (httpx.ReadTimeout("read timed out"), 5),
        (ResourceExhaustedResponse("429", retry_after_s=60), 5),
        (ResourceExhaustedResponse("429", retry_after_s=-1), 5),
    ],
)
async def test_search_is_not_repeated_where_it_cannot_help(
    error, n_retries, retrieve, stores
):
    store = stores["text"]
    store._error, store._n_failures = error, 1
    only = channel("text", store, timeout_s=5, n_retries=n_retries)
    with within(MARGIN_S), pytest.raises(AllRoutesFailed):
        await retrieve(retriever_of(only), "red")
    assert store._n_queries == 1


@LOCAL
async def test_encoder_that_fails_is_not_asked_again(retrieve, stores):
    unplugged = Mock(side_effect=BROKEN)
    one = channel("text", stores["text"], WatchedEncoder(unplugged), n_retries=5)
    # Five pauses take 3.1 s.
    with (
        within(MARGIN_S),
        pytest.raises(AllRoutesFailed, match="ConnectionResetError: reset by peer"),
    ):
        await retrieve(retriever_of(one), "red")
    assert unplugged.call_count == 1


@LOCAL
@pytest.mark.parametrize("retry_after_s", [-1, 10**9, math.nan, math.inf, "soon", True])
async def test_server_that_asks_for_absurd_pauses_loses_its_route_and_nothing_else(
    retry_after_s, retrieve, stores
):
    error = ResourceExhaustedResponse("429", retry_after_s=0)
    error.retry_after_s = retry_after_s
    stores["text"]._error = error
    both = [channel(name, store, n_retries=3) for name, store in stores.items()]
    with within(MARGIN_S):
        found = await retrieve(retriever_of(*both), "red")
    (lost,) = why(found[0]).degraded
    assert (lost.channel, lost.kind) == ("text", "error")
    assert stores["text"]._n_queries == 1


@EDGE
@pytest.mark.parametrize("fusion", [RRF(), WeightedSum(), CalibratedSum()])
@pytest.mark.parametrize("score", [1e308, -1e308, 1e39, math.nan])
async def test_score_that_no_store_means_costs_its_route_under_each_fusion(
    score, fusion, retrieve, stores
):
    stores["text"]._bad_score = score
    both = [channel(name, store) for name, store in stores.items()]
    found = await retrieve(retriever_of(*both, fusion=fusion), "red")
    assert len(found) == 2
    assert all(math.isfinite(result.score) for result in found)
    (lost,) = why(found[0]).degraded
    assert (lost.route, lost.kind) == ("text→text", "invalid")
