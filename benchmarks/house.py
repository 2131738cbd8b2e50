"""The index's query, list of documents and opening, beside an earlier checkout's.

Each side runs in a process of its own, over a copy of the same stores, and they are
asked in turn, so that a busy machine slows both; read the ratios. What is opened each
side has made itself: stores of another format are refused. It is searched once and
closed, and files that Python opens at that are counted. From the repository's root,
with a checkout of an earlier commit:

    python benchmarks/house.py --before ../base
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
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
from typing import TypeVar

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
from llama_index_mmrag.stores.edge_layout import copy_sparse

HERE = Path(__file__).resolve().parent
DIM = 384
N_NODES = {"query": (5_000, 5_000), "documents": (20_000, 0)}
N_NODES["opening"] = (20_000, 20_000)
"""Texts and pictures in the collections that a measure asks."""
TURN = 10
"""Queries that a side answers before it is the other's turn."""
CENTRES = np.random.default_rng(0).normal(size=(64, DIM))
Result = TypeVar("Result")
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
        return np.ones((len(texts), DIM))

    encode_images = encode_texts


def vectors_of(kind: str, n: int, *, seed: int) -> np.ndarray:
    """Return unit vectors in 64 clusters, shape `(n, dim)`: real ones cluster too."""
    rng = np.random.default_rng([len(kind), seed])
    vectors = CENTRES[rng.integers(0, 64, size=n)] + rng.normal(size=(n, DIM))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@cache
def vector_of(number: int) -> list[float]:
    """Return a query's vector."""
    return vectors_of("query", 1, seed=number)[0].tolist()


def nodes_of(modality: str, n: int) -> list[BaseNode]:
    """Return nodes of 20 a document; every text has its picture."""
    made: list[BaseNode] = []
    for i, vector in enumerate(vectors_of(modality, n, seed=0)):
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


def timed(call: Callable[[], Result]) -> tuple[Result, tuple[float, float]]:
    """Return what a call returns, and its milliseconds by the clock and of CPU."""
    began = time.perf_counter(), time.process_time()
    result = call()
    ended = time.perf_counter(), time.process_time()
    return result, (1000 * (ended[0] - began[0]), 1000 * (ended[1] - began[1]))


def open_each_time(folder: Path) -> None:
    """Do what `answer` does of a store that is made first, opened and closed."""
    encoder = Constant()
    if not folder.exists():
        with MultiModalQdrantIndex.open(folder, embed_model=encoder) as index:
            for channel, n in zip(index.channels, N_NODES["opening"], strict=True):
                channel.vector_store.add(nodes_of(channel.name, n))
    opened_now: list[object] = []
    sys.addaudithook(lambda event, args: event == "open" and opened_now.append(args[0]))
    for _ in sys.stdin:
        index, taken = timed(
            lambda: MultiModalQdrantIndex.open(folder, embed_model=encoder)
        )
        index.as_retriever().retrieve("0")
        opened_now.clear()
        index.close()
        print(*taken, len(opened_now), flush=True)  # noqa: T201


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
            _, taken = timed(lambda line=line: ask(line.strip()))
            print(*taken, 0, flush=True)  # noqa: T201


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

    def ask(self, number: int) -> list[float]:
        """Return milliseconds by the clock and of CPU, and files opened at closing."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{number}\n")
        stdin.flush()
        return [float(value) for value in stdout.readline().split()]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def measured(measure: str, before: Path, now: Path, rounds: int) -> list[str]:
    """Return a row of the table: each side's 10th percentiles, and their ratios."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if measure != "opening":
            with opened(folder / "now") as index:
                for channel, n in zip(index.channels, N_NODES[measure], strict=True):
                    if n:
                        channel.vector_store.add(nodes_of(channel.name, n))
            copy_sparse(folder / "now", folder / "before")
        sides = [
            Side(before.resolve(), folder / "before", measure),
            Side(now.resolve(), folder / "now", measure),
        ]
        try:
            taken: tuple[list[list[float]], list[list[float]]] = [], []
            for turn in range(max(1, rounds // TURN)):
                for side, rows in zip(sides, taken, strict=True):
                    asked = [side.ask(TURN * turn + i) for i in range(TURN)]
                    # The first finds the other side's data in the processor's cache.
                    rows.extend(asked[1:])
        finally:
            for side in sides:
                side.close()
    # What else runs here only adds to a time.
    one, other = (np.percentile(rows, 10, axis=0) for rows in taken)
    wall, cpu = other[:2] / one[:2]
    n_opened = max(row[2] for row in taken[1])
    return [
        *(f"{value:.2f}" for value in (one[0], other[0], wall, one[1], other[1], cpu)),
        f"{n_opened:.0f}" if measure == "opening" else "",
    ]


def markdown(rows: dict[str, list[str]]) -> str:
    date = datetime.now(timezone.utc).strftime("%Y-%m-%d")
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return "\n".join(
        [
            "# The index's query, documents and opening, beside an earlier commit",
            "",
            f"{date}, {platform.machine()}, {os.cpu_count()} cores, "
            f"{platform.system()}, load {os.getloadavg()[0]:.1f}; Python "
            f"{platform.python_version()}, {packages}; "
            f"`{shlex.join(['python', *sys.argv])}`. 10th percentiles in "
            f"milliseconds, by the clock and of CPU, both sides asked in turns of "
            f"{TURN}; files that Python opens when what was searched alone is closed. "
            f"Synthetic vectors of {DIM} numbers, Qdrant Edge.",
            "",
            "| | before | now | ratio | CPU before | now | ratio | opened at close |",
            "|---|---|---|---|---|---|---|---|",
            *(f"| {name} | {' | '.join(row)} |" for name, row in rows.items()),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="a checkout of an earlier commit")
    parser.add_argument("--now", type=Path, default=HERE.parent, help="and a later one")
    parser.add_argument(
        "--only", choices=N_NODES, nargs="+", default=[*N_NODES], help="no file then"
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", choices=N_NODES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer is not None:
        answer(arguments.answer, arguments.measure)
        return
    if arguments.before is None:
        parser.error("give --before, the folder of an earlier checkout")
    sides, rounds = (arguments.before, arguments.now), arguments.rounds
    named = {
        "query": ("default query over 2 x 5,000 nodes", rounds),
        "documents": ("document ids of 20,000 nodes", rounds // 10),
        "opening": ("opening 2 x 20,000 nodes", rounds // 4),
    }
    rows = {
        named[one][0]: measured(one, *sides, named[one][1]) for one in arguments.only
    }
    text = markdown(rows)
    if len(rows) == len(named):
        (HERE / "results" / "house.md").write_text(text)
    print(text)  # noqa: T201


if __name__ == "__main__":
    main()
