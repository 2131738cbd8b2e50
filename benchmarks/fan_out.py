# ruff: noqa: ARG002, D102 - LlamaIndex's interfaces, implemented for the measuring
"""Two channels at once, beside LlamaIndex's own retrievers, in one run.

Stores are instant or wait for as long as they are told to, so that what is measured is
the retrieving alone. Contenders take turns query by query, so that a busy machine slows
them all; read the ratios rather than the times. From the repository's root:

    python benchmarks/fan_out.py
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import threading
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.indices.multi_modal.base import MultiModalVectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import (
    BaseNode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from page import facts, header, parser, table, write

from llama_index_mmrag import Channel, MultiModalFusionRetriever, RetrieverChannel
from llama_index_mmrag.concurrency.threads import BUSY
from llama_index_mmrag.nodes.node import ENTITY_KEY

PACKAGES = ["llama-index-core", "llama-index-instrumentation", "pydantic"]
DELAY_S = 0.05
DEADLINE_S = 0.1

Ask = Callable[[], Awaitable[Any]]


class InstantEmbedding(MultiModalEmbedding):
    """Encodes everything as one vector, at once; asynchronously in a thread.

    As a model must that is not to stop the event loop.
    """

    def _get_query_embedding(self, query: str) -> list[float]:
        return [1.0, 0.0]

    _get_text_embedding = _get_query_embedding

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        return [1.0, 0.0]

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return [1.0, 0.0]


class OnTheLoop(InstantEmbedding):
    """The same on the event loop, which it stops: as LlamaIndex's ClipEmbedding."""

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


class PreparedStore(BasePydanticVectorStore):
    """Answers every query with the same nodes, after a while; or hangs."""

    stores_text: bool = True
    _nodes: list[BaseNode] = PrivateAttr(default_factory=list)
    _delay_s: float = PrivateAttr(default=0.0)
    _hanging: threading.Event | None = PrivateAttr(default=None)
    _aclient: object | None = PrivateAttr(default=None)
    """Not None makes it a store that waits without holding a thread."""

    @classmethod
    def of(
        cls, nodes: Sequence[BaseNode] = (), *, delay_s: float = 0, is_async: bool
    ) -> PreparedStore:
        store = cls()
        store._nodes, store._delay_s = list(nodes), delay_s
        store._aclient = object() if is_async else None
        return store

    @property
    def client(self) -> object:
        return self

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        raise NotImplementedError

    def delete(self, ref_doc_id: str, **kwargs: Any) -> None:
        raise NotImplementedError

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        if self._hanging is not None:
            self._hanging.wait(60)
        if self._delay_s:
            time.sleep(self._delay_s)
        return self._result()

    async def aquery(
        self, query: VectorStoreQuery, **kwargs: Any
    ) -> VectorStoreQueryResult:
        if self._aclient is None:
            # LlamaIndex's default for a store with a synchronous client only.
            return self.query(query, **kwargs)
        if self._hanging is not None:
            await asyncio.sleep(60)
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        return self._result()

    def _result(self) -> VectorStoreQueryResult:
        n = len(self._nodes)
        return VectorStoreQueryResult(
            nodes=list(self._nodes),
            similarities=[1 - i / (2 * n) for i in range(n)],
            ids=[node.node_id for node in self._nodes],
        )


class PreparedRetriever(BaseRetriever):
    """Returns the same nodes to every query."""

    def __init__(self, nodes: Sequence[BaseNode]) -> None:
        super().__init__()
        self._nodes = nodes

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        n = len(self._nodes)
        return [
            NodeWithScore(node=node, score=1 - i / (2 * n))
            for i, node in enumerate(self._nodes)
        ]


def make_nodes(n: int, modality: str) -> list[TextNode]:
    """Return nodes as ingestion writes them: half a page, some metadata, a source."""
    return [
        TextNode(
            id_=str(uuid.uuid5(uuid.NAMESPACE_OID, f"{modality}{i}")),
            text=f"{modality} {i}. " + "Lorem ipsum dolor sit amet. " * 20,
            metadata={
                ENTITY_KEY: f"{modality}{i}",
                "modality": modality,
                "file_path": f"docs/{i // 10}.md",
                "position": i,
            },
            relationships={
                NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"doc-{i // 10}")
            },
        )
        for i in range(n)
    ]


def channels_over(
    text: PreparedStore,
    image: PreparedStore,
    encoder: MultiModalEmbedding | None = None,
    **settings: Any,
) -> list[Channel]:
    encoder = encoder or InstantEmbedding()  # one for both, as CLIP is
    return [
        Channel("text", vector_store=text, embed_model=encoder, top_k=100),
        Channel(
            "image", vector_store=image, embed_model=encoder, top_k=100, **settings
        ),
    ]


def asked(retriever: BaseRetriever, *, is_async: bool) -> Ask:
    async def ask() -> list[NodeWithScore]:
        if is_async:
            return await retriever.aretrieve("how is tea made")
        return retriever.retrieve("how is tea made")

    return ask


async def times_of(
    contenders: Mapping[str, Ask], rounds: int, warm_up: int = 3
) -> dict[str, list[float]]:
    """Return seconds per query, contenders taking turns."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    for turn in range(rounds + warm_up):
        for name, ask in contenders.items():
            started = time.perf_counter()
            await ask()
            if turn >= warm_up:
                times[name].append(time.perf_counter() - started)
    return times


async def fan_out(rounds: int) -> list[dict[str, Any]]:
    """Return the p50 of one channel, of both fused, and of LlamaIndex's retriever."""
    rows = []
    for way in ("sync", "async, async clients", "async, sync clients"):
        has_async, is_async = way == "async, async clients", way != "sync"
        text, image = (
            PreparedStore.of(make_nodes(10, name), delay_s=DELAY_S, is_async=has_async)
            for name in ("text", "image")
        )
        channels = channels_over(text, image)
        built_in = MultiModalVectorStoreIndex.from_vector_store(
            text,
            image_vector_store=image,
            embed_model=InstantEmbedding(),
            image_embed_model=InstantEmbedding(),
        ).as_retriever()
        contenders = {
            "one": MultiModalFusionRetriever(channels[:1]),
            "fused": MultiModalFusionRetriever(channels),
            "built-in": built_in,
        }
        times = await times_of(
            {name: asked(r, is_async=is_async) for name, r in contenders.items()},
            rounds,
        )
        p50 = {name: statistics.median(each) for name, each in times.items()}
        rows.append(
            {
                "way": way,
                "one channel ms": ms(p50["one"]),
                "two fused ms": ms(p50["fused"]),
                "built-in ms": ms(p50["built-in"]),
                "fused / one": round(p50["fused"] / p50["one"], 3),
                "built-in / one": round(p50["built-in"] / p50["one"], 3),
            }
        )
    return rows


async def overhead(rounds: int) -> list[dict[str, Any]]:
    """Return what retrieving costs where searching costs nothing."""
    rows = []
    for top_k, n_shown in ((10, 20), (10, 10), (100, 200), (100, 10)):
        texts, pictures = make_nodes(top_k, "text"), make_nodes(top_k, "image")
        for over in ("vector stores", "retrievers"):
            for way in ("sync", "async", "async, encoder on the loop"):
                if over == "retrievers" and "loop" in way:
                    continue  # nothing is encoded
                ours, theirs = _contenders(over, way, texts, pictures, n_shown)
                times = await times_of(
                    {
                        "ours": asked(ours, is_async=way != "sync"),
                        "theirs": asked(theirs, is_async=way != "sync"),
                    },
                    rounds,
                )
                p10, p50 = (
                    {
                        name: statistics.quantiles(each, n=10)[decile - 1]
                        for name, each in times.items()
                    }
                    for decile in (1, 5)
                )
                rows.append(
                    {
                        "top_k": f"{top_k} × 2",
                        "results": n_shown,
                        "over": over,
                        "way": way,
                        "ours ms": ms(p10["ours"]),
                        "QueryFusionRetriever ms": ms(p10["theirs"]),
                        "ours / theirs": round(p10["ours"] / p10["theirs"], 3),
                        "of medians": round(p50["ours"] / p50["theirs"], 3),
                    }
                )
    return rows


def _contenders(
    over: str,
    way: str,
    texts: Sequence[BaseNode],
    pictures: Sequence[BaseNode],
    n_shown: int,
) -> tuple[BaseRetriever, BaseRetriever]:
    if over == "retrievers":
        retrievers: list[BaseRetriever] = [
            PreparedRetriever(nodes) for nodes in (texts, pictures)
        ]
        channels: list[Any] = [
            RetrieverChannel(name, retriever=one, modality=name, top_k=100)
            for name, one in zip(("text", "image"), retrievers, strict=True)
        ]
    else:
        stores = [
            PreparedStore.of(nodes, is_async=way != "sync")
            for nodes in (texts, pictures)
        ]
        encoder = OnTheLoop() if "loop" in way else InstantEmbedding()
        channels = list(channels_over(*stores, encoder))
        retrievers = [
            VectorStoreIndex.from_vector_store(store, embed_model=encoder).as_retriever(
                similarity_top_k=100
            )
            for store in stores
        ]
    ours = MultiModalFusionRetriever(channels, top_k=n_shown)
    theirs = QueryFusionRetriever(
        retrievers,
        llm=MockLLM(),
        num_queries=1,
        similarity_top_k=n_shown,
        mode="reciprocal_rerank",
        use_async=False,
    )
    found = [{r.node.node_id for r in each.retrieve("x")} for each in (ours, theirs)]
    if found[0] != found[1] or len(found[0]) != n_shown:
        msg = f"Found {len(found[0])} and {len(found[1])}, expected {n_shown} alike."
        raise SystemExit(msg)
    return ours, theirs


async def hanging(rounds: int) -> list[dict[str, Any]]:
    """Return how long a query takes whose image channel hangs."""
    rows = []
    for client in ("sync client", "async client"):
        for way in ("sync", "async"):
            if (client, way) == ("async client", "sync"):
                continue  # the same as with a synchronous client
            rows += [
                await _hanging_row(client, way, whose, rounds)
                for whose in ("channel", "query")
            ]
    return rows


async def _hanging_row(
    client: str, way: str, whose: str, rounds: int
) -> dict[str, Any]:
    is_async = client == "async client"
    text = PreparedStore.of(make_nodes(10, "text"), is_async=is_async)
    image = PreparedStore.of(make_nodes(10, "image"), is_async=is_async)
    own = DEADLINE_S if whose == "channel" else None
    whole = DEADLINE_S if whose == "query" else None
    retriever = MultiModalFusionRetriever(
        channels_over(text, image, timeout_s=own), timeout_s=whole
    )
    ask = asked(retriever, is_async=way != "sync")
    times = []
    for _ in range(rounds):
        image._hanging = threading.Event()
        started = time.perf_counter()
        found = await ask()
        times.append(time.perf_counter() - started)
        # Else the channel would be left alone after eight of them.
        image._hanging.set()
        if len(found) != 10 or found[0].provenance.degraded[0].kind != "deadline":
            msg = f"Expected the 10 texts and a missed deadline, got {found[:1]!r}."
            raise SystemExit(msg)
    p50, p99 = statistics.median(times), statistics.quantiles(times, n=100)[98]
    return {
        "way": f"{way}, {client}",
        "deadline of": whose,
        "deadline ms": ms(DEADLINE_S),
        "p50 ms": ms(p50),
        "p99 ms": ms(p99),
        "p99 late by ms": ms(p99 - DEADLINE_S),
        "worst ms": ms(max(times)),
    }


async def left_alone(rounds: int) -> dict[str, Any]:
    """Return what a channel costs that has been hanging for a while."""
    text = PreparedStore.of(make_nodes(10, "text"), is_async=False)
    image = PreparedStore.of(make_nodes(10, "image"), is_async=False)
    image._hanging = threading.Event()
    retriever = MultiModalFusionRetriever(channels_over(text, image, timeout_s=0.02))
    ask = asked(retriever, is_async=False)
    times = await times_of({"all": ask}, rounds, warm_up=10)
    threads = sum(thread.name == BUSY for thread in threading.enumerate())
    image._hanging.set()
    return {
        "queries": rounds,
        "p50 ms": ms(statistics.median(times["all"])),
        "threads left": threads,
    }


def ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def tabled(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [*table(list(rows[0]), (row.values() for row in rows)), ""]


def markdown(result: dict[str, Any]) -> list[str]:
    """Return the report as the lines of a page."""
    measured = {"fan_out", "overhead", "hanging", "left_alone"}
    alone = result["left_alone"]
    return [
        "# Two channels at once, beside LlamaIndex's own retrievers",
        "",
        *facts({k: v for k, v in result.items() if k not in measured}),
        "",
        f"## Two channels of {DELAY_S * 1000:g} ms each, median",
        "",
        "The built-in is `MultiModalVectorIndexRetriever`. Asked asynchronously "
        "over stores that have a synchronous client only, it calls them on the "
        "event loop, one after the other.",
        "",
        *tabled(result["fan_out"]),
        "## Overhead: the same hits from instant stores, 10th percentile",
        "",
        "All that is not searching: the query's events and spans, its encoding "
        "(instant), plan, threads, fusion, provenance, nodes. No hit is found "
        "twice. Ours returns copies of the nodes with their provenance, and so "
        "pays for each result; `QueryFusionRetriever` hashes every hit, and each "
        "of its retrievers encodes the query anew. Over retrievers, both pay for "
        "those; what is added is all theirs or ours, and ours is more. "
        "Asynchronously, ours encodes in a thread whatever the encoder does; one "
        "that computes on the event loop saves `QueryFusionRetriever` that, and "
        "stops the loop. On a "
        "machine with more to do than cores, waking a thread takes milliseconds, "
        "which the medians show and the 10th percentile leaves out.",
        "",
        *tabled(result["overhead"]),
        "## A channel that hangs",
        "",
        "The text channel is instant, the image channel never answers.",
        "",
        *tabled(result["hanging"]),
        f"Once eight of its searches hang it is left alone: {alone['p50 ms']} ms a "
        f"query (median of {alone['queries']}), {alone['threads left']} threads "
        f"left.",
    ]


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    rounds = arguments.rounds
    return {
        **header(*PACKAGES),
        "overhead": await overhead(rounds * 4),
        "fan_out": await fan_out(rounds),
        "hanging": await hanging(rounds * 2),
        "left_alone": await left_alone(rounds),
    }


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=60)
    # The built-in multi-modal classes are deprecated.
    warnings.filterwarnings("ignore")
    result = asyncio.run(run(asked.parse_args()))
    print(write("fan_out", result, markdown(result)))


if __name__ == "__main__":
    import logging

    # A thousand missed deadlines on purpose.
    logging.getLogger("llama_index_mmrag").setLevel(logging.ERROR)
    main()
