"""Many queries at once over real embedded stores: each gets its own answer, whole."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest
from llama_index.core.schema import ImageNode, NodeWithScore

from llama_index_mmrag import MultiModalFusionRetriever, RetrieverChannel
from llama_index_mmrag.concurrency import threads
from llama_index_mmrag.concurrency.turns import MOST_OF_A_STORE, MOST_OF_OURS
from llama_index_mmrag.nodes.node import ENTITY_KEY, MODALITY_KEY
from llama_index_mmrag.stores.edge_folder import EdgeFolder

from ..support.colours import (
    GAP,
    channel,
    ids_of,
    retriever_of,
    text_node,
    uid,
    why,
)
from ..support.patience import patient, within

SHARES = [s for s in product(range(4), repeat=3) if math.gcd(*s) == 1]
QUERIES = ["red " * r + "green " * g + "blue " * b for r, g, b in SHARES]
"""Mixtures of colours, no two of one direction."""


@pytest.fixture
def retriever(open_store, encoder) -> MultiModalFusionRetriever:
    """Return one over two Edge stores, every mixture in each."""
    pictures = [
        ImageNode(
            id_=uid(f"image {text}"),
            image_path=f"{text}.png",
            metadata={ENTITY_KEY: text, MODALITY_KEY: "image"},
            embedding=[*encoder.get_text_embedding(text)[:-1], GAP],
        )
        for text in QUERIES
    ]
    texts = [text_node(text, entity=text) for text in QUERIES]
    return retriever_of(
        channel("text", open_store("edge", texts)),
        channel("image", open_store("edge", pictures)),
        top_k=3,
    )


def answer(found: list[NodeWithScore]) -> list[Any]:
    """Return ids, scores, order and provenance."""
    return [(r.node.node_id, r.score, why(r)) for r in found]


@pytest.fixture
def alone(retriever) -> dict[str, list[Any]]:
    """Return each query's answer when it is asked alone."""
    answers = {query: answer(retriever.retrieve(query)) for query in QUERIES}
    assert [found[0][2].entity_id for found in answers.values()] == QUERIES
    return answers


def busy_threads() -> int:
    return sum(thread.name == threads.BUSY for thread in threading.enumerate())


@pytest.mark.parametrize("timeout_s", [None, 60])
async def test_a_thousand_queries_at_once_are_answered_as_one_by_one(
    timeout_s, retriever, alone
):
    asked = retriever_of(*retriever.channels, top_k=3, timeout_s=timeout_s)
    queries = (QUERIES * 30)[:1000]
    tasks = asyncio.all_tasks()
    with within(60):
        found = await asyncio.gather(*(asked.aretrieve(query) for query in queries))
    for query, results in zip(queries, found, strict=True):
        assert answer(results) == alone[query]
    assert asyncio.all_tasks() == tasks
    assert busy_threads() == 0


def test_one_retriever_serves_eight_threads(retriever, alone):
    queries = QUERIES * 12
    together = threading.Barrier(8)

    def ask(first: int) -> list[tuple[str, list[Any]]]:
        together.wait(10)
        return [(q, answer(retriever.retrieve(q))) for q in queries[first::8]]

    with ThreadPoolExecutor(8) as pool:
        answers = [pair for part in pool.map(ask, range(8)) for pair in part]
    assert len(answers) == len(queries)
    for query, found in answers:
        assert found == alone[query]


async def test_threads_and_tasks_at_once_are_answered_alike(retriever, alone):
    queries = QUERIES * 4
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(4) as pool:
        in_threads = [
            loop.run_in_executor(pool, retriever.retrieve, q) for q in queries
        ]
        in_tasks = [retriever.aretrieve(query) for query in queries]
        found = await asyncio.gather(*in_threads, *in_tasks)
    for query, results in zip(queries * 2, found, strict=True):
        assert answer(results) == alone[query]


def nested(retriever: MultiModalFusionRetriever) -> MultiModalFusionRetriever:
    return retriever_of(RetrieverChannel("all", retriever=retriever), top_k=3)


@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_five_hundred_queries_at_once_take_few_threads(depth, retriever):
    asked = retriever
    for _ in range(depth):
        asked = nested(asked)
    expected = {q: ids_of(await asked.aretrieve(q)) for q in QUERIES}
    queries = (QUERIES * 16)[:500]
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, busy_threads())
            await asyncio.sleep(0.001)

    watching = asyncio.ensure_future(watch())
    with within(60):
        found = await asyncio.gather(*(asked.aretrieve(query) for query in queries))
    watching.cancel()
    assert [ids_of(one) for one in found] == [expected[query] for query in queries]
    assert 1 <= most <= 2 * MOST_OF_A_STORE


async def test_queries_that_hang_up_take_nothing_from_the_others(
    retriever, alone, monkeypatch
):
    searched: list[float] = []
    query = EdgeFolder.query

    def counted(folder: EdgeFolder, request: Any) -> Any:
        searched.append(time.monotonic())
        return query(folder, request)

    monkeypatch.setattr(EdgeFolder, "query", counted)
    storm = [asyncio.ensure_future(retriever.aretrieve(q)) for q in QUERIES * 16]
    await asyncio.sleep(0.01)
    for task in storm:
        task.cancel()
    ends = await asyncio.gather(*storm, return_exceptions=True)
    lost = sum(isinstance(end, asyncio.CancelledError) for end in ends)
    assert lost > len(storm) // 2
    n_before = len(searched)
    await asyncio.sleep(patient(0.05))
    # Each query searches twice, and some were at it when they were hung up on.
    assert len(searched) <= n_before + 2 * MOST_OF_OURS
    assert busy_threads() == 0
    for text in QUERIES:
        assert answer(await retriever.aretrieve(text)) == alone[text]


def test_threads_are_used_again(retriever, alone):
    patient = retriever_of(*retriever.channels, top_k=3, timeout_s=60)
    patient.retrieve("red")
    before = threading.active_count()
    for query in QUERIES:
        assert answer(patient.retrieve(query)) == alone[query]
    assert threading.active_count() <= before + 1


def test_threads_end_when_there_is_nothing_to_do(monkeypatch):
    monkeypatch.setattr(threads, "IDLE_S", 0.05)
    before = set(threading.enumerate())
    release = threading.Event()
    futures = [threads.in_thread(release.wait) for _ in range(20)]
    release.set()
    assert all(future.result(5) for future in futures)
    ends = time.monotonic() + 10
    while set(threading.enumerate()) - before and time.monotonic() < ends:
        time.sleep(0.02)
    assert not set(threading.enumerate()) - before


def test_forked_process_starts_threads_of_its_own():
    command = [sys.executable, "-c", FORKED]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n2\n")


FORKED = """
import os
from llama_index_mmrag.concurrency.threads import in_thread

print(in_thread(lambda: 1).result(5), flush=True)
if child := os.fork():
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(in_thread(lambda: 2).result(5), flush=True)
"""
