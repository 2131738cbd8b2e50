"""How long the event loop stands still while hundreds of queries are asked at once.

Over embedded channels with the offline encoder: ours, the same retriever with a thread
a query, and a loop that has nothing to do, in turn, five rounds. A ticker that wants to
wake every millisecond says how late it was. In each round the healthy stores are also
asked alone, beside two stores that never answer, and alone again. What is asked of it:
the longest stall at most a quarter of a thread a query's (median), at most 8 threads,
and healthy stores that answer beside the hanging ones as alone. From the repository's
root:

    python benchmarks/stall.py
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from fan_out import PreparedStore
from llama_index.core.schema import Document
from page import facts, header, parser, table, write

from llama_index_mmrag import Channel, MultiModalFusionRetriever, MultiModalQdrantIndex

N_QUERIES = 500
N_BESIDE = 50
TICK_S = 0.001
PACKAGES = ["llama-index-core", "qdrant-edge-py"]


async def watched(work: Callable[[], Awaitable[object]]) -> dict[str, float]:
    """Return how long it took, the longest stall, and the most threads there were."""
    late: list[float] = []
    most = 0
    is_over = False

    async def tick() -> None:
        nonlocal most
        while not is_over:
            began = time.perf_counter()
            await asyncio.sleep(TICK_S)
            late.append(time.perf_counter() - began - TICK_S)
            most = max(most, threading.active_count())

    ticking = asyncio.ensure_future(tick())
    await asyncio.sleep(0.01)
    began = time.perf_counter()
    await work()
    took = time.perf_counter() - began
    is_over = True
    await ticking
    return {"seconds": took, "longest stall ms": 1000 * max(late), "threads": most}


async def ours(retriever: MultiModalFusionRetriever, n_queries: int) -> None:
    await asyncio.gather(*(retriever.aretrieve(f"tea {n}") for n in range(n_queries)))


async def a_thread_each(retriever: MultiModalFusionRetriever, n_queries: int) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(n_queries) as pool:
        await asyncio.gather(
            *(
                loop.run_in_executor(pool, retriever.retrieve, f"tea {n}")
                for n in range(n_queries)
            )
        )


async def idle(*_: object) -> None:
    await asyncio.sleep(1)


async def run(rounds: int, n_queries: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as folder,
        MultiModalQdrantIndex.open(Path(folder) / "store") as index,
    ):
        index.insert(
            [Document(text=f"A pot of tea, no. {n}.", id_=f"d{n}") for n in range(500)]
        )
        retriever = index.as_retriever()
        await retriever.aretrieve("tea")
        contenders = {"ours": ours, "a thread each": a_thread_each, "idle": idle}
        taken: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
        beside = []
        for _ in range(rounds):
            for name, ask in contenders.items():
                work = partial(ask, retriever, n_queries)
                taken[name].append(await watched(work))
                await asyncio.sleep(6)  # its threads end when they have been idle
            beside.append(await beside_hanging(index))
            await asyncio.sleep(6)
        return {"queries": n_queries, "rows": taken, "beside": beside}


async def beside_hanging(index: MultiModalQdrantIndex) -> dict[str, float]:
    """Return seconds of the healthy stores' queries, alone and beside hanging ones.

    Alone is the mean of before and after.
    """
    healthy = index.as_retriever()
    encoder = index.channels[0].embed_model
    stores = [PreparedStore.of(is_async=False) for _ in range(2)]
    for store in stores:
        store._hanging = threading.Event()
    hanging = MultiModalFusionRetriever(
        [
            Channel(f"h{n}", vector_store=store, embed_model=encoder)
            for n, store in enumerate(stores)
        ]
    )

    async def ask() -> float:
        began = time.perf_counter()
        asked = (healthy.aretrieve(f"pot {n}") for n in range(N_BESIDE))
        await asyncio.gather(*asked)
        return time.perf_counter() - began

    alone = await ask()
    waiting = [asyncio.ensure_future(hanging.aretrieve("tea")) for _ in range(N_BESIDE)]
    await asyncio.sleep(0.5)
    beside = await ask()
    for task in waiting:
        task.cancel()
    for store in stores:
        assert store._hanging is not None
        store._hanging.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    alone = (alone + await ask()) / 2
    return {"alone": alone, "beside": beside, "ratio": beside / alone}


def spread(values: list[float]) -> str:
    """Return the median, and the least and the most in brackets."""
    return f"{statistics.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def markdown(report: dict[str, Any]) -> list[str]:
    rows = report["rows"]
    columns = {
        name: {key: [row[key] for row in taken] for key in taken[0]}
        for name, taken in rows.items()
    }
    stalls = {n: statistics.median(c["longest stall ms"]) for n, c in columns.items()}
    turns = report["beside"]
    beside = {key: [turn[key] for turn in turns] for key in turns[0]}
    return [
        f"# {report['queries']} queries at once: how long the event loop stands still",
        "",
        *facts({k: v for k, v in report.items() if k not in ("rows", "beside")}),
        "",
        f"Medians of {len(turns)} rounds, least and most in brackets; threads are the "
        f"most that the process had.",
        "",
        *table(
            ["", *columns["ours"]],
            ([name, *map(spread, row.values())] for name, row in columns.items()),
        ),
        "",
        *table(
            ["asked", "found"],
            [
                [
                    "longest stall, ours / a thread each (medians): at most 0.25",
                    f"{stalls['ours'] / stalls['a thread each']:.2f}",
                ],
                [
                    "threads of ours: at most 8",
                    f"{max(columns['ours']['threads']):.0f}",
                ],
                [
                    f"{N_BESIDE} queries of healthy stores, beside two that hang / "
                    f"alone: 1",
                    spread(beside["ratio"]),
                ],
            ],
        ),
        "",
        f"Seconds of these {N_BESIDE}: alone {spread(beside['alone'])}, beside "
        f"{spread(beside['beside'])}.",
    ]


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--queries", type=int, default=N_QUERIES)
    arguments = asked.parse_args()
    found = asyncio.run(run(arguments.rounds, arguments.queries))
    report = {**header(*PACKAGES), **found}
    print(write("stall", report, markdown(report)))


if __name__ == "__main__":
    main()
