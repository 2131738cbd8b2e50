"""Who hangs up costs the others nothing, whatever the query was waiting for."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from llama_index.core.bridge.pydantic import PrivateAttr
from PIL import Image

from llama_index_mmrag import RRF, Blend, CalibratedSum, MultiModalQuery
from llama_index_mmrag.concurrency.jobs import MOST_ABANDONED
from llama_index_mmrag.errors import AllRoutesFailed

from ..support.colours import (
    UsersEncoder,
    channel,
    ids_of,
    retriever_of,
    text_node,
    why,
)
from ..support.patience import patient
from ..support.stores import FaultyEdge

COLOURS = ("red", "green", "blue")
PAUSE_S = 0.3


@pytest.fixture
def store(open_store) -> Any:
    return open_store("edge", [text_node(colour) for colour in COLOURS])


async def hung_up(
    retriever: Any, queries: list[Any], stuck: threading.Event
) -> list[str]:
    """Ask all, cancel all, and ask the first again while they are stuck for a while."""
    asked = [asyncio.ensure_future(retriever.aretrieve(query)) for query in queries]
    await asyncio.sleep(PAUSE_S)
    for task in asked:
        task.cancel()
    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ends)
    asyncio.get_running_loop().call_later(PAUSE_S, stuck.set)
    found = await retriever.aretrieve(queries[0])
    assert why(found[0]).degraded == ()
    return ids_of(found)


@pytest.mark.parametrize("timeout_s", [None, 30])
@pytest.mark.parametrize("how", ["by vector", "calibrated", "composed"])
async def test_query_after_a_users_slow_encoder_was_hung_up_on_finds_all(
    how, timeout_s, store, stuck
):
    begun: list[str] = []

    def first(query: str) -> None:
        begun.append(query)
        stuck.wait(30)

    asked = {"composition": Blend(0.5)} if how == "composed" else {}
    retriever = retriever_of(
        channel("text", store, UsersEncoder(first), **asked),
        fusion=CalibratedSum() if how == "calibrated" else RRF(),
        timeout_s=timeout_s and patient(timeout_s),
    )
    found = await hung_up(retriever, [f"red {n}" for n in range(100)], stuck)
    assert len(found) == len(COLOURS)
    assert begun.count("red 0") == 2
    assert len(begun) < 50  # of those that waited none has begun


class SlowSample(FaultyEdge):
    """Qdrant Edge whose sample takes long to read."""

    _held: threading.Event = PrivateAttr()

    def sample_vectors(self, n: int) -> Any:
        self._held.wait(30)
        return super().sample_vectors(n)


@pytest.mark.parametrize("slow", ["lookup", "sample"])
async def test_lookups_and_samples_that_were_hung_up_on_count_to_no_store(
    slow, open_store, stuck
):
    kind = SlowSample if slow == "sample" else FaultyEdge
    store = open_store(kind, [text_node(colour) for colour in COLOURS])
    store._held = store._stuck = stuck
    store._in_lookups = True
    if slow == "sample":
        store._stuck = None
    retriever = retriever_of(
        channel("text", store, UsersEncoder(type)), fusion=CalibratedSum()
    )
    assert len(await hung_up(retriever, ["red"] * 30, stuck)) == len(COLOURS)


async def test_pictures_that_were_hung_up_on_are_read_for_the_next(store, stuck):
    class OnASlowDisk(Image.Image):
        def load(self) -> Any:
            stuck.wait(30)
            return super().load()

    pixels = Image.new("RGB", (8, 8), "red")
    picture = OnASlowDisk()
    picture.im, picture._size, picture._mode = pixels.im, pixels.size, "RGB"
    asked = MultiModalQuery("red", images=[picture])
    retriever = retriever_of(
        channel("text", store, UsersEncoder(type), accepts={"image"})
    )
    assert len(await hung_up(retriever, [asked] * 20, stuck)) == len(COLOURS)


def test_encoder_that_hangs_is_named_and_its_store_answers_others(store, stuck):
    hanging = UsersEncoder(lambda _: stuck.wait(30))
    asked = retriever_of(channel("text", store, hanging, timeout_s=0.02))
    reasons: list[str] = []
    while len(reasons) < 20 * MOST_ABANDONED and "busy" not in "".join(reasons):
        with pytest.raises(AllRoutesFailed) as failed:
            asked.retrieve("red")
        reasons.append(str(failed.value))
    assert len(reasons) > MOST_ABANDONED
    assert "UsersEncoder is still busy with 8 earlier" in reasons[-1]
    other = channel("text", store, UsersEncoder(type), timeout_s=patient(10))
    found = retriever_of(other).retrieve("red")
    assert len(found) == len(COLOURS)
    assert why(found[0]).degraded == ()
