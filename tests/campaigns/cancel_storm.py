"""Queries that are cancelled at random moments: they cost the others nothing.

Nine of ten are cancelled, over two embedded stores, again with a store beside that
hangs, and with an encoder of a user's that takes its time. Run as a module; prints what
came of the queries, and what must not be: one that was not cancelled and failed, an
encoder's or engine's call that begins after the last query has ended, a thread that
stays.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from PIL import Image
from qdrant_client import QdrantClient

from llama_index_mmrag import MultiModalFusionRetriever
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_folder import EdgeFolder
from tests.support.colours import (
    UsersEncoder,
    WatchedEncoder,
    channel,
    ids_of,
    image_node,
    retriever_of,
    text_node,
)
from tests.support.patience import patient
from tests.support.stores import FaultyStore

AT_ONCE = 250
COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan")
TIMEOUT_S = 2.0
"""Of the store that hangs."""
ENCODING_S = 0.1
"""Of the user's encoder."""


async def wave(
    retriever: MultiModalFusionRetriever, n: int, rng: random.Random
) -> tuple[Counter[str], list[str]]:
    """Return what came of so many queries at once, and what is wrong with that."""
    counts: Counter[str] = Counter()
    wrongs: list[str] = []
    expected = {c: ids_of(await retriever.aretrieve(c)) for c in COLOURS}

    async def query(number: int) -> None:
        colour = COLOURS[number % len(COLOURS)]
        asked = asyncio.create_task(retriever.aretrieve(colour))
        hangs_up = number % 10 != 0
        if hangs_up:
            # Most wait for their turn then, some have not begun at all.
            await asyncio.sleep(rng.choice((0, 0, rng.random() * 0.3)))
            asked.cancel()
        try:
            found = ids_of(await asked)
        except asyncio.CancelledError:
            counts["cancelled"] += 1
            return
        except Exception as error:  # noqa: BLE001 - what is looked for
            counts["failed"] += 1
            wrongs.append(f"query {number}: {error!r}")
            return
        counts["answered"] += 1
        if found != expected[colour]:
            wrongs.append(f"query {number}: {found}, expected {expected[colour]}")

    await asyncio.gather(*map(query, range(n)))
    return counts, wrongs


async def settled(calls: Counter[str], n_threads: int) -> list[str]:
    """Return what begins or stays after the last query has ended."""
    await asyncio.sleep(0.05)  # what had begun may call the engine once more
    before = calls.copy()
    ends = time.monotonic() + patient(5)
    await asyncio.sleep(0.5)
    while threading.active_count() > n_threads and time.monotonic() < ends:  # noqa: ASYNC110 - threads set no event
        await asyncio.sleep(0.01)
    late = calls - before
    found = [f"{n} calls of the {what} began afterwards" for what, n in late.items()]
    if threading.active_count() > n_threads:
        found.append(f"{threading.active_count()} threads, {n_threads} before")
    return found


def main() -> int:
    """Return how many queries, calls and threads are what they must not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queries", type=int, default=2_000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    logging.disable()
    rng = random.Random(given.seed)
    calls: Counter[str] = Counter()
    query = EdgeFolder.query

    def counted(self: EdgeFolder, *args: Any) -> Any:
        calls["engine"] += 1
        return query(self, *args)

    EdgeFolder.query = counted  # type: ignore[method-assign]
    ours = WatchedEncoder(lambda _: calls.update(["encoder"]))

    def takes_its_time(_: object) -> None:
        calls.update(["encoder"])
        time.sleep(ENCODING_S)

    storms: list[tuple[str, bool, BaseEmbedding]] = [
        ("", False, ours),
        (" beside one that hangs", True, ours),
        (" with a user's encoder", False, UsersEncoder(takes_its_time)),
    ]
    wrongs: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        texts, pictures = (Path(folder, name) for name in ("texts", "pictures"))
        with (
            QdrantEdgeVectorStore.open(texts, dim=4) as text_store,
            QdrantEdgeVectorStore.open(pictures, dim=4) as picture_store,
        ):
            text_store.add([text_node(colour) for colour in COLOURS])
            for colour in COLOURS:
                Image.new("RGB", (8, 8), colour).save(f"{folder}/{colour}.png")
            picture_store.add([image_node(Path(folder, f"{c}.png")) for c in COLOURS])
            for told, beside, encoder in storms:
                healthy = [
                    channel("text", text_store, encoder),
                    channel("image", picture_store, encoder),
                ]
                stuck, client = threading.Event(), QdrantClient(":memory:")
                hanging = FaultyStore("hangs", client=client)
                hanging.add([text_node("red")])
                hanging._stuck = stuck
                slow = channel("hangs", hanging, encoder, timeout_s=TIMEOUT_S)
                retriever = retriever_of(*healthy, *([slow] if beside else []), top_k=3)
                n_threads, counts = threading.active_count(), Counter[str]()

                async def storm(
                    asked: MultiModalFusionRetriever = retriever,
                    let_go: Callable[[], None] = stuck.set,
                    counts: Counter[str] = counts,
                    n_threads: int = n_threads,
                ) -> list[str]:
                    found: list[str] = []
                    for first in range(0, given.queries, AT_ONCE):
                        n = min(AT_ONCE, given.queries - first)
                        of_wave, wrong = await wave(asked, n, rng)
                        counts.update(of_wave)
                        found += wrong
                    let_go()
                    return found + await settled(calls, n_threads)

                wrongs += asyncio.run(storm())
                client.close()
                print(f"two embedded stores{told}: {dict(sorted(counts.items()))}")
    n_queries = len(storms) * given.queries
    print(f"{n_queries} queries, {dict(calls)} calls, {len(wrongs)} wrong")
    print(*wrongs, sep="\n")
    return len(wrongs)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
