"""How long the event loop stands still while hundreds of queries are asked at once.

Over embedded channels with the offline encoder: ours, the same retriever with a thread
a query, and a loop that has nothing to do, in turn, five rounds. A ticker that wants to
wake every millisecond says how late it was. Beside two stores that never answer, the
healthy ones are asked again. From the repository's root:

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
from pathlib import Path
from typing import Any

from fan_out import PreparedStore
from llama_index.core.schema import Document
from page import facts, header, parser, table, write

from llama_index_mmrag import Channel, MultiModalFusionRetriever, MultiModalQdrantIndex

N_QUERIES = 500
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


async def ours(retriever: MultiModalFusionRetriever) -> None:
    await asyncio.gather(*(retriever.aretrieve(f"tea {n}") for n in range(N_QUERIES)))


async def a_thread_each(retriever: MultiModalFusionRetriever) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(N_QUERIES) as pool:
        await asyncio.gather(
            *(
                loop.run_in_executor(pool, retriever.retrieve, f"tea {n}")
                for n in range(N_QUERIES)
            )
        )


async def idle(_: MultiModalFusionRetriever) -> None:
    await asyncio.sleep(1)


async def run(rounds: int) -> dict[str, Any]:
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
        for _ in range(rounds):
            for name, ask in contenders.items():
                taken[name].append(await watched(lambda ask=ask: ask(retriever)))
                await asyncio.sleep(6)  # its threads end when they have been idle
        return {"rows": taken, "beside": await beside_hanging(index)}


async def beside_hanging(index: MultiModalQdrantIndex) -> dict[str, float]:
    """Return seconds of 50 queries alone, and while others ask stores that hang."""
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
        await asyncio.gather(*(healthy.aretrieve(f"pot {n}") for n in range(50)))
        return time.perf_counter() - began

    alone = await ask()
    waiting = [asyncio.ensure_future(hanging.aretrieve("tea")) for _ in range(50)]
    await asyncio.sleep(0.5)
    beside = await ask()
    for task in waiting:
        task.cancel()
    for store in stores:
        assert store._hanging is not None
        store._hanging.set()
    await asyncio.gather(*waiting, return_exceptions=True)
    return {"alone s": round(alone, 3), "beside two that hang s": round(beside, 3)}


def markdown(report: dict[str, Any]) -> list[str]:
    medians = {
        name: {
            key: round(statistics.median(row[key] for row in rows), 2)
            for key in rows[0]
        }
        for name, rows in report["rows"].items()
    }
    stalls = {name: row["longest stall ms"] for name, row in medians.items()}
    return [
        f"# {N_QUERIES} queries at once: how long the event loop stands still",
        "",
        *facts({k: v for k, v in report.items() if k not in ("rows", "beside")}),
        "",
        "Medians of the rounds; threads are the most that the process had.",
        "",
        *table(
            ["", *medians["ours"]],
            ([name, *row.values()] for name, row in medians.items()),
        ),
        "",
        f"Longest stall, ours / a thread each: "
        f"{stalls['ours'] / stalls['a thread each']:.2f}.",
        "",
        "50 queries of the healthy index, in seconds: "
        + ", ".join(f"{name} {taken}" for name, taken in report["beside"].items())
        + ".",
    ]


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--rounds", type=int, default=5)
    arguments = asked.parse_args()
    report = {**header(*PACKAGES), **asyncio.run(run(arguments.rounds))}
    print(write("stall", report, markdown(report)))


if __name__ == "__main__":
    main()
