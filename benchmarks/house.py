"""The index's query, list of documents and opening, beside an earlier checkout's.

Each side runs in a process of its own, over a copy of the same stores, and they are
asked in turn, so that a busy machine slows both; read the ratios. What is opened each
side has made itself: stores of another format are refused. From the repository's
root, with a checkout of an earlier commit:

    python benchmarks/house.py --before ../base
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from llama_index.core.schema import (
    BaseNode,
    ImageNode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_mmrag import Channel, MultiModalQdrantIndex
from llama_index_mmrag.embeddings.encoder import PictureEncoder
from llama_index_mmrag.stores import QdrantEdgeVectorStore

HERE = Path(__file__).resolve().parent
DIM = 384
N_NODES = {"query": (5_000, 5_000), "documents": (20_000, 0)}
N_NODES["opening"] = (20_000, 20_000)
"""Texts and pictures in the collections that a measure asks."""
DIM_OPENED = 64
TURN = 10
"""Queries that a side answers before it is the other's turn."""
CENTRES = np.random.default_rng(0).normal(size=(64, DIM))
PACKAGES = ["qdrant-edge-py", "llama-index-core", "numpy"]


class Prepared(PictureEncoder):
    """Encodes a number, written out, as the vector that it stands for, at once.

    In this process, as an index's own encoder does: one that may ask a server gets a
    thread.
    """

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of numbers, `(n, dim)`."""
        return np.array([vector_of(int(text)) for text in texts])

    def encode_images(self, pictures: Sequence[object]) -> np.ndarray:
        """Return zeros: no query here is a picture."""
        return np.zeros((len(pictures), DIM))


class Constant(PictureEncoder):
    """Encodes everything alike; opening asks for no more than the vectors' length."""

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return ones, `(n, dim)`."""
        return np.ones((len(texts), DIM_OPENED))

    encode_images = encode_texts


def vectors_of(kind: str, n: int, *, seed: int, dim: int = DIM) -> np.ndarray:
    """Return unit vectors in 64 clusters, shape `(n, dim)`: real ones cluster too."""
    rng = np.random.default_rng([len(kind), seed])
    vectors = CENTRES[rng.integers(0, 64, size=n)] + rng.normal(size=(n, DIM))
    vectors = vectors[:, :dim]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@cache
def vector_of(number: int) -> list[float]:
    """Return a query's vector."""
    return vectors_of("query", 1, seed=number)[0].tolist()


def nodes_of(modality: str, n: int, *, dim: int = DIM) -> list[BaseNode]:
    """Return nodes of 20 a document; every text has its picture."""
    made: list[BaseNode] = []
    for i, vector in enumerate(vectors_of(modality, n, seed=0, dim=dim)):
        common = {
            "id_": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{modality} {i}")),
            "text": f"Passage {i}. " + "Lorem ipsum dolor sit amet. " * 16,
            "metadata": {"entity_id": f"e{i}", "modality": modality, "position": i},
            "embedding": vector.tolist(),
            "relationships": {
                NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"/doc/{i // 20}.md")
            },
        }
        made.append(TextNode(**common) if modality == "text" else ImageNode(**common))
    return made


def opened(folder: Path) -> MultiModalQdrantIndex:
    stores = {
        modality: QdrantEdgeVectorStore.open(folder / modality, dim=DIM)
        for modality in ("text", "image")
    }
    encoder = Prepared()  # one for both, as an index has by default
    return MultiModalQdrantIndex(
        [
            Channel(name, vector_store=store, embed_model=encoder)
            for name, store in stores.items()
        ]
    )


def open_each_time(folder: Path) -> None:
    """Do what `answer` does of a store that is made first, opened and closed."""
    encoder = Constant()
    if not folder.exists():
        with MultiModalQdrantIndex.open(folder, embed_model=encoder) as index:
            for channel, n in zip(index.channels, N_NODES["opening"], strict=True):
                nodes = nodes_of(channel.name, n, dim=DIM_OPENED)
                channel.vector_store.add(nodes)
    for _ in sys.stdin:
        began_s = time.perf_counter()
        with MultiModalQdrantIndex.open(folder, embed_model=encoder):
            print(1000 * (time.perf_counter() - began_s), flush=True)  # noqa: T201


def answer(folder: Path, measure: str) -> None:
    """Measure once for each line that comes in, and write the milliseconds out."""
    if measure == "opening":
        open_each_time(folder)
        return
    with opened(folder) as index:
        retriever = index.as_retriever()
        ask: Callable[[str], object] = (
            retriever.retrieve if measure == "query" else lambda _: index.ref_doc_ids()
        )
        for line in sys.stdin:
            vector_of(int(line))
            began_s = time.perf_counter()
            ask(line.strip())
            print(1000 * (time.perf_counter() - began_s), flush=True)  # noqa: T201


class Side:
    """One checkout in a process of its own."""

    def __init__(self, root: Path, folder: Path, measure: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--answer", str(folder), "--measure", measure],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, number: int) -> float:
        """Return how many milliseconds the answer took."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{number}\n")
        stdin.flush()
        return float(stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def measured(measure: str, before: Path, rounds: int) -> tuple[float, float]:
    """Return the 10th percentiles before and now, in milliseconds; least of opening."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if measure != "opening":
            with opened(folder / "now") as index:
                for channel, n in zip(index.channels, N_NODES[measure], strict=True):
                    if n:
                        channel.vector_store.add(nodes_of(channel.name, n))
            shutil.copytree(folder / "now", folder / "before")
        sides = [
            Side(before.resolve(), folder / "before", measure),
            Side(HERE.parent, folder / "now", measure),
        ]
        try:
            taken: tuple[list[float], list[float]] = [], []
            for turn in range(max(1, rounds // TURN)):
                for side, times in zip(sides, taken, strict=True):
                    asked = [side.ask(TURN * turn + i) for i in range(TURN)]
                    # The first finds the other side's data in the processor's cache.
                    times.extend(asked[1:])
        finally:
            for side in sides:
                side.close()
    one, other = taken
    # What else runs here only adds to a time.
    if measure == "opening":
        return min(one), min(other)
    return statistics.quantiles(one, n=10)[0], statistics.quantiles(other, n=10)[0]


def markdown(rows: dict[str, tuple[float, float]]) -> str:
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    listed = [
        f"| {name} | {before:.2f} | {now:.2f} | {now / before:.2f} |"
        for name, (before, now) in rows.items()
    ]
    return "\n".join(
        [
            "# The index's query, documents and opening, beside an earlier commit",
            "",
            f"{date}, {platform.machine()}, {os.cpu_count()} cores, "
            f"{platform.system()}, load {os.getloadavg()[0]:.1f}; Python "
            f"{platform.python_version()}, {packages}; "
            f"`{shlex.join(['python', *sys.argv])}`. 10th percentiles in "
            f"milliseconds, of opening the least, both sides asked in turns of {TURN}. "
            f"Synthetic vectors of {DIM} numbers, {DIM_OPENED} where opened, Qdrant "
            f"Edge.",
            "",
            "| | before | now | ratio |",
            "|---|---|---|---|",
            *listed,
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=N_NODES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer is not None:
        answer(arguments.answer, arguments.measure)
        return
    if arguments.before is None:
        parser.error("give --before, the folder of an earlier checkout")
    before, rounds = arguments.before, arguments.rounds
    rows = {
        "default query over 2 x 5,000 nodes": measured("query", before, rounds),
        "document ids of 20,000 nodes": measured("documents", before, rounds // 10),
        "opening 2 x 20,000 nodes": measured("opening", before, rounds // 10),
    }
    text = markdown(rows)
    (HERE / "results" / "house.md").write_text(text)
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
