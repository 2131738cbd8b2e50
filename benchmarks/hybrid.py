"""What words cost: a hybrid store beside one of vectors alone, in one run.

    OMP_NUM_THREADS=1 python benchmarks/hybrid.py [PASSAGES]

Passages of 100 words, Zipf over 5,000 of which the most frequent 32 are stop words, as
in English, with vectors of 384 numbers that are given; queries of 8 such words. Both
stores are filled batch by batch and asked query by query in turn, so that whatever else
the machine does hits both; of queries the median is shown.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.schema import TextNode

from llama_index_mmrag.embeddings.encoder import TextEncoder
from llama_index_mmrag.fusion import CalibratedSum
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.retrieval.retriever import MultiModalFusionRetriever
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.vectors import Vectors

DIM, N_KNOWN, N_WORDS, PER_BATCH, N_QUERIES, TOP_K = 384, 5000, 100, 250, 300, 10

STOP_WORDS = (
    "the of and to in a is that for it as was with be by on not he i this are or his "
    "from at which but have an had they you"
)


class Given(TextEncoder):
    """An encoder in this process that costs nothing: its vector is given."""

    vector: list[float] = []

    def encode_texts(self, texts: Sequence[str]) -> Vectors:  # noqa: ARG002
        """Return the vector that was given."""
        return np.array([self.vector], dtype=np.float32)


def cpu_of(work: Callable[[], Any]) -> float:
    """Return the seconds of this process that some work takes."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def on_disk(folder: Path) -> int:
    """Return the bytes that a folder takes, holes left out."""
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*"))


def main() -> None:
    """Print the three ratios, each with its bar."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    rng = np.random.default_rng(0)
    syllables = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]
    # Of letters alone: neighbours of a digit are codes, which a query asks for too.
    others = [a + b for a in syllables for b in syllables][:N_KNOWN]
    known = np.array([*STOP_WORDS.split(), *others])
    share = 1 / np.arange(1, len(known) + 1)
    share /= share.sum()

    def words(count: int) -> str:
        return " ".join(rng.choice(known, count, p=share))

    with tempfile.TemporaryDirectory() as place:
        stores = {
            name: QdrantEdgeVectorStore.open(
                Path(place) / name, dim=DIM, enable_hybrid=name == "hybrid"
            )
            for name in ("dense", "hybrid")
        }
        spent = dict.fromkeys(stores, 0.0)
        for _ in range(n // PER_BATCH):
            nodes = [
                TextNode(
                    id_=str(uuid.UUID(bytes=rng.bytes(16))),
                    text=words(N_WORDS),
                    embedding=rng.normal(size=DIM).tolist(),
                )
                for _ in range(PER_BATCH)
            ]
            for name, store in stores.items():
                spent[name] += cpu_of(lambda store=store, nodes=nodes: store.add(nodes))
        insert = spent["hybrid"] / spent["dense"]
        given = Given()
        retrievers = {
            name: MultiModalFusionRetriever(
                [
                    Channel(
                        "text",
                        vector_store=store,
                        embed_model=given,
                        mode="hybrid" if name == "hybrid" else "default",  # type: ignore[arg-type]
                    )
                ],
                fusion=CalibratedSum(),
                top_k=TOP_K,
            )
            for name, store in stores.items()
        }
        asked: dict[str, list[float]] = {name: [] for name in stores}
        for _ in range(N_QUERIES):
            given.vector, terms = rng.normal(size=DIM).tolist(), words(8)
            for name, each in retrievers.items():
                asked[name].append(cpu_of(lambda r=each, q=terms: r.retrieve(q)))
        for store in stores.values():
            store.close()
        size = {name: on_disk(Path(place) / name) / n for name in stores}
    ms = {name: 1000 * statistics.median(each) for name, each in asked.items()}
    added = {name: 1000 * seconds / n for name, seconds in spent.items()}
    more = size["hybrid"] - size["dense"]
    print(f"{n} passages, CPU")
    print(
        f"query  {ms['dense']:.2f} -> {ms['hybrid']:.2f} ms "
        f"x {ms['hybrid'] / ms['dense']:.2f} (at most 1.6)"
    )
    print(
        f"insert {added['dense']:.2f} -> {added['hybrid']:.2f} ms a passage "
        f"x {insert:.2f} (at most 1.6)"
    )
    print(f"disk   + {more:.0f} bytes a passage (at most 1500)")


if __name__ == "__main__":
    main()
