"""Near-identical pages with part numbers, and real shards searched by words."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import qdrant_edge as qe

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder

SPELLINGS = {
    "as written": "{0}-{1}/{2}",
    "lower case": "{0}-{1}/{2}",
    "in a sentence": "Which pump takes the seal kit ({0}-{1}/{2}), and at what price?",
    "without separators": "{0}{1}{2}",
    "with spaces": "{0} {1} {2}",
    "with others": "{0}.{1}_{2}",
}
"""How a number of three groups is asked for."""


def part_numbers() -> list[tuple[str, str, str]]:
    """Return 1,000 like AB-1234/5, and 200 pairs like 12-34/5 and 34-12/5."""
    rng = random.Random(0)  # noqa: S311 - not for secrets
    letters = {
        (rng.choice(("AB", "AC", "BX", "KT")), f"{n:04d}", str(rng.randrange(10)))
        for n in rng.sample(range(10_000), 1_000)
    }
    groups = [(a, b) for a in range(10, 99) for b in range(a + 1, 100)]
    pairs = [
        (str(first), str(second), str(n % 10))
        for n, (a, b) in enumerate(rng.sample(groups, 200))
        for first, second in ((a, b), (b, a))
    ]
    return sorted(letters) + pairs


def page_of(number: Sequence[str]) -> str:
    return (
        f"Seal kit {SPELLINGS['as written'].format(*number)} for centrifugal pumps of "
        f"series 3. Two rings of 3.5 mm, one gasket; renew it every 6 months."
    )


def asked(number: Sequence[str], spelling: str) -> str:
    text = SPELLINGS[spelling].format(*number)
    return text.lower() if spelling == "lower case" else text


class Found(NamedTuple):
    rows: list[int]
    scores: list[float]


class WordShard:
    """A shard of Qdrant Edge with the words of some texts, weighted by IDF."""

    def __init__(
        self, folder: Path, texts: Sequence[str], words: Bm25Encoder | None = None
    ) -> None:
        self.words = words or Bm25Encoder()
        idf = qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf)
        config = qe.EdgeConfig(sparse_vectors={"words": idf})
        self.shard = qe.EdgeShard.create(str(folder), config)
        points = [
            qe.Point(row, {"words": qe.SparseVector(*vector)})
            for row, vector in enumerate(zip(*self.words.documents(texts), strict=True))
        ]
        self.shard.update(qe.UpdateOperation.upsert_points(points))

    def ask(self, text: str, *, top_k: int = 10) -> Found:
        (indices,), (values,) = self.words.queries([text])
        if not indices:
            return Found([], [])
        nearest = qe.Query.Nearest(qe.SparseVector(indices, values), using="words")
        hits = self.shard.query(qe.QueryRequest(limit=top_k, query=nearest))
        return Found([hit.id for hit in hits], [hit.score for hit in hits])

    def is_first(self, row: int, text: str) -> bool:
        """Return whether a text comes first, and shares its place with no other."""
        rows, scores = self.ask(text, top_k=2)
        return rows[:1] == [row] and (len(scores) < 2 or scores[0] > scores[1])
