"""How long searches take tells whether the next one is worth a thread."""

from __future__ import annotations

import threading
import time

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryResult,
)

from llama_index_mmrag import Channel, MultiModalFusionRetriever, RetrieverChannel
from llama_index_mmrag.concurrency.pace import N_IN_A_ROW, OVERDUE_S, QUICK_S, Pace
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import AllRoutesFailed

from ..conftest import OpenStore, text_node


def paced(*durations_s: float) -> Pace:
    pace = Pace()
    for duration_s in durations_s:
        pace.note(duration_s)
    return pace


@pytest.mark.parametrize(
    ("durations_s", "is_quick"),
    [
        ([], False),
        ([QUICK_S / 2] * (N_IN_A_ROW - 1), False),
        ([QUICK_S / 2] * N_IN_A_ROW, True),
        ([QUICK_S] * N_IN_A_ROW, False),
        ([QUICK_S / 2] * N_IN_A_ROW + [QUICK_S * 2], False),
        ([1.0] + [QUICK_S / 2] * N_IN_A_ROW, True),
    ],
)
def test_pace_is_quick_after_enough_quick_searches_in_a_row(
    durations_s: list[float], is_quick: bool
) -> None:
    assert paced(*durations_s).is_quick is is_quick


class WhereAsked(BaseRetriever):
    """A retriever that remembers in which thread it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.threads.append(threading.get_ident())
        return [NodeWithScore(node=TextNode(id_="one", text="red"), score=1.0)]


@pytest.mark.parametrize("is_quick", [True, False])
@pytest.mark.parametrize("timeout_s", [None, 5.0])
async def test_quick_channels_share_their_callers_thread_and_others_do_not(
    is_quick: bool, timeout_s: float | None
) -> None:
    retrievers = [WhereAsked(), WhereAsked()]
    channels = [
        RetrieverChannel(name, retriever=one, timeout_s=timeout_s)
        for name, one in zip(("a", "b"), retrievers, strict=True)
    ]
    for channel in channels:
        for _ in range(N_IN_A_ROW):
            channel.pace.note(QUICK_S / 2 if is_quick else QUICK_S * 2)
    fused = MultiModalFusionRetriever(channels)

    (found,) = fused.retrieve("red")
    here = [one.threads == [threading.get_ident()] for one in retrievers]
    if timeout_s is not None:
        assert here == [False, False]
    elif is_quick:
        assert here == [True, True]
    else:
        # The caller does one itself, and the other if no thread comes round to it.
        assert here[1]

    (again,) = await fused.aretrieve("red")
    assert threading.get_ident() not in {one.threads[-1] for one in retrievers}
    assert again.provenance.contributions == found.provenance.contributions


def test_searches_of_a_channel_are_noted_and_deeper_ones_share_its_pace(
    open_store: OpenStore, encoder: ColourEncoder
) -> None:
    store = open_store("local", [text_node("red")])
    channel = Channel("text", vector_store=store, embed_model=encoder)
    channel.pace.note(QUICK_S / 2)
    deeper = channel.at_least(50)
    assert deeper.pace is channel.pace
    assert channel.collection.search(VectorStoreQuery(query_embedding=[1.0, 0, 0, 0]))
    assert not channel.is_embedded, "one search in a row"
    for _ in range(N_IN_A_ROW):
        deeper.pace.note(QUICK_S / 2)
    assert channel.is_embedded
    assert deeper.is_embedded
    assert channel == Channel("text", vector_store=store, embed_model=encoder)


def test_channel_whose_searches_begin_to_fail_slowly_is_given_threads_again() -> None:
    class Failing(WhereAsked):
        def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
            time.sleep(QUICK_S * 2)
            raise ConnectionError("it is down")

    class FailingStore(SimpleVectorStore):
        def query(self, query: VectorStoreQuery, **_: object) -> VectorStoreQueryResult:
            time.sleep(QUICK_S * 2)
            raise ConnectionError("it is down")

    store = FailingStore()
    channels = [
        RetrieverChannel("a", retriever=Failing()),
        Channel("b", vector_store=store, embed_model=ColourEncoder()),
    ]
    for channel in channels:
        for _ in range(N_IN_A_ROW):
            channel.pace.note(QUICK_S / 2)
        assert channel.is_embedded
    with pytest.raises(AllRoutesFailed):
        MultiModalFusionRetriever(channels).retrieve("red")
    assert [channel.is_embedded for channel in channels] == [False, False]


def test_search_that_does_not_come_back_ends_a_quick_pace() -> None:
    pace = paced(*[QUICK_S / 2] * N_IN_A_ROW)
    with pace.timed():
        assert pace.is_quick, "it has only begun"
        time.sleep(2 * OVERDUE_S)
        assert not pace.is_quick, "others are not to wait behind it"
    assert not pace.is_quick, "and it was slow"
