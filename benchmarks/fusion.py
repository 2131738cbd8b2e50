"""Measure the fusions: is the right document first, and are pictures found among texts?

A recipe site is indexed as a user would index it, and asked for its recipes by title
and by single lines; then a textbook's figures are searched among its passages. Vectors
are encoded once; ranked lists are cut from their scores and fused by the package's own
functions, and some queries are put to the real retriever to see that it agrees. Writes
results/fusion.json and .md. From the repository's root:

    python benchmarks/fusion.py --data ../shared/data
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.schema import BaseNode
from numpy.typing import NDArray
from page import first_line, header, last_line, parser, share, table, write
from rich.console import Console
from rich.table import Table

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding
from llama_index_mmrag.fusion import (
    RRF,
    CalibratedSum,
    Fusion,
    RankedList,
    WeightedSum,
)
from llama_index_mmrag.nodes.node import entity_of, provenance_of
from llama_index_mmrag.stores.collection import N_SAMPLED, background_of

PACKAGES = ("llama-index-mmrag", "llama-index-core", "qdrant-edge-py", "numpy")
TOP_KS = (10, 20)
SIZES = (3, 6, 12, 40)
CUT_OFF = 10
N_RESAMPLED = 2000

Vectors = NDArray[np.float32]
Lists = list[RankedList]
Rule = Callable[[Lists], list[str]]
"""From ranked lists to entity ids, best first."""


def by(fusion: Fusion) -> Rule:
    return lambda lists: [entity.entity_id for entity in fusion.fuse(lists)]


RECIPE_RULES: dict[str, Rule] = {
    "text channel alone": lambda lists: by(RRF())(lists[:1]),
    "RRF, k = 60": by(RRF()),
    "RRF, k = 2": by(RRF(k=2)),
    "WeightedSum, min-max": by(WeightedSum()),
    "WeightedSum, min-max, image 0.5": by(WeightedSum(weights={"image": 0.5})),
    "CalibratedSum": by(CalibratedSum()),
}
CHECKED: dict[str, Fusion] = {"RRF, k = 60": RRF(), "CalibratedSum": CalibratedSum()}


def quota(lists: Lists) -> list[str]:
    """Return the first five of each list: what a user of two searches shows."""
    return [hit.entity_id for ranked in lists for hit in ranked.hits[: CUT_OFF // 2]]


BOOK_RULES: dict[str, Rule] = {
    "raw cosine": by(WeightedSum(normalizer="identity")),
    "5 texts + 5 pictures": quota,
    "RRF, k = 60": by(RRF()),
    "WeightedSum, min-max": by(WeightedSum()),
    "CalibratedSum": by(CalibratedSum()),
}


@dataclass(frozen=True, slots=True)
class Collection:
    """One channel's vectors, sorted by node id as the store samples them."""

    channel: str
    node_ids: NDArray[np.str_]
    entity_ids: list[str]
    documents: NDArray[np.str_]
    vectors: Vectors
    """Unit length, shape (n, dim)."""

    @classmethod
    def of(cls, channel: str, nodes: Sequence[BaseNode]) -> Collection:
        """Return the collection of the stored nodes of one channel."""
        ordered = sorted(nodes, key=lambda node: node.node_id)
        return cls(
            channel,
            np.array([node.node_id for node in ordered]),
            [entity_of(node) for node in ordered],
            np.array([node.ref_doc_id for node in ordered]),
            np.array([node.embedding for node in ordered], dtype=np.float32),
        )

    def ranked(self, scores: Vectors, top_k: int, rows: NDArray[np.intp]) -> RankedList:
        """Return the ranked list that a search among `rows` gives.

        Args:
            scores: The query's cosines with all vectors, shape (n,).
            top_k: Hits.
            rows: The part of the collection that is there, ascending.
        """
        here = scores[rows]
        sample = here[:N_SAMPLED]
        best = rows[np.argsort(-here, kind="stable")[:top_k]]
        return RankedList.from_scores(
            [
                (str(self.node_ids[row]), self.entity_ids[row], float(scores[row]))
                for row in best
            ],
            channel=self.channel,
            background=background_of(sample) if len(sample) else None,
        )


@dataclass(frozen=True, slots=True)
class Asked:
    """Queries and the one right document of each."""

    texts: list[str]
    right: list[str]
    vectors: Vectors


def interval(
    values: Sequence[float] | NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, float]:
    """Return the bootstrap's 95 % interval of the mean."""
    given = np.asarray(values)
    drawn = rng.integers(len(given), size=(N_RESAMPLED, len(given)))
    low, high = np.quantile(given[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def reciprocal(found: Sequence[str], right: Callable[[str], bool]) -> float:
    """Return 1 / rank of the first right one among the first ten, else 0."""
    ranks = (n for n, each in enumerate(found[:CUT_OFF], start=1) if right(each))
    return 1.0 / next(ranks, np.inf)


def row(
    group: str,
    rule: str,
    top_k: int,
    scores: list[float],
    seed: int,
    per_draw: int = 1,
) -> dict:
    """Return one line of the table; of drawn collections whole draws are resampled."""
    first = [float(score == 1.0) for score in scores]
    rng = np.random.default_rng(seed)

    def within(values: list[float]) -> tuple[float, float]:
        return interval(np.reshape(values, (-1, per_draw)).mean(axis=1), rng)

    return {
        "group": group,
        "rule": rule,
        "top_k": top_k,
        "n_queries": len(scores),
        "success_at_1": float(np.mean(first)),
        "success_at_1_95": within(first),
        "mrr_at_10": float(np.mean(scores)),
        "mrr_at_10_95": within(scores),
    }


# Recipes


def recipe_queries(site: Path, encoder: OfflineMultiModalEmbedding, seed: int) -> Asked:
    """Return each recipe's title as a question, then a line of each at random."""
    rng = np.random.default_rng(seed)
    titles, lines, documents = [], [], []
    for file in sorted(site.glob("*.md")):
        text = file.read_text(encoding="utf-8")
        title = re.search(r"^title:\s*\"?(.+?)\"?\s*$", text, re.MULTILINE)
        body = text.split("## Ingredients", 1)[-1]
        items = re.findall(r"^\s*(?:[-*]|\d+\.)\s+(\S.{14,})$", body, re.MULTILINE)
        if title and items:
            titles.append(f"how do I make {title[1]}?")
            lines.append(str(rng.choice(items)))
            documents.append(f"{site.name}/{file.name}")
    texts = titles + lines
    # One by one, as the retriever encodes them: int8 activations are scaled by batch.
    vectors = np.array([encoder.get_query_embedding(text) for text in texts])
    return Asked(texts, documents * 2, vectors.astype(np.float32))


def answers(
    asked: Asked,
    queries: Sequence[int],
    collections: Sequence[Collection],
    top_k: int,
    documents: frozenset[str] | None = None,
) -> dict[str, list[float]]:
    """Return each rule's reciprocal ranks, over some documents or all of them."""
    found: dict[str, list[float]] = {rule: [] for rule in RECIPE_RULES}
    parts = []
    for one in collections:
        rows = np.arange(len(one.documents))
        if documents is not None:
            rows = rows[np.isin(one.documents, list(documents))]
        parts.append((one, rows))
    of_document: dict[str, set[str]] = {}
    for one in collections:
        for entity_id, document in zip(one.entity_ids, one.documents, strict=True):
            of_document.setdefault(str(document), set()).add(entity_id)
    for query in queries:
        vector = asked.vectors[query]
        lists = [
            one.ranked(one.vectors @ vector, top_k, rows)
            for one, rows in parts
            if len(rows)
        ]
        right = of_document[asked.right[query]]
        for rule, fuse in RECIPE_RULES.items():
            found[rule].append(reciprocal(fuse(lists), right.__contains__))
    return found


def agreement(
    index: MultiModalQdrantIndex,
    asked: Asked,
    collections: Sequence[Collection],
    queries: Sequence[int],
) -> dict[str, Any]:
    """Return for how many queries the retriever gives the order measured here."""
    same: dict[str, int] = {}
    for rule, fusion in CHECKED.items():
        retriever = index.as_retriever(fusion=fusion, complete_entities=False)
        same[rule] = 0
        for query in queries:
            results = retriever.retrieve(asked.texts[query])
            got = [provenance_of(result).entity_id for result in results]
            lists = [
                one.ranked(
                    one.vectors @ asked.vectors[query],
                    TOP_KS[0],
                    np.arange(len(one.documents)),
                )
                for one in collections
            ]
            expected = RECIPE_RULES[rule](lists)[:CUT_OFF]
            same[rule] += list(dict.fromkeys(got)) == expected
    return {"n_queries": len(queries), "same_order": same}


def measure_recipes(
    data: Path, encoder: OfflineMultiModalEmbedding, *, seed: int, n_draws: int
) -> tuple[list[dict], dict[str, Any]]:
    """Return a row for each question, rule and top_k, and what was indexed."""
    site = data / "based_cooking" / "content"
    asked = recipe_queries(site, encoder, seed)
    n_recipes = len(asked.texts) // 2
    rng = np.random.default_rng(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        MultiModalQdrantIndex.open(folder, embed_model=encoder) as index,
    ):
        report = index.insert_directory(site)
        collections = [
            Collection.of(channel.name, channel.vector_store.get_nodes())
            for channel in index.channels
        ]
        checked = rng.choice(len(asked.texts), size=50, replace=False).tolist()
        agreed = agreement(index, asked, collections, checked)
    kinds = {
        "title": list(range(n_recipes)),
        "line": list(range(n_recipes, 2 * n_recipes)),
    }
    rows = []
    for kind, queries in kinds.items():
        for top_k in TOP_KS:
            found = answers(asked, queries, collections, top_k)
            group = f"{kind}, {n_recipes} recipes"
            rows += [row(group, rule, top_k, got, seed) for rule, got in found.items()]
    for size in SIZES:
        pooled: dict[str, list[float]] = {rule: [] for rule in RECIPE_RULES}
        for _ in range(n_draws):
            drawn = rng.choice(n_recipes, size=size, replace=False).tolist()
            documents = frozenset(asked.right[each] for each in drawn)
            found = answers(asked, drawn, collections, TOP_KS[0], documents)
            for rule, got in found.items():
                pooled[rule] += got
        rows += [
            row(f"title, {size} recipes x {n_draws}", rule, TOP_KS[0], got, seed, size)
            for rule, got in pooled.items()
        ]
    facts = {
        "indexed": str(report),
        "nodes": {one.channel: len(one.documents) for one in collections},
        "agreement_with_the_retriever": agreed,
    }
    return rows, facts


# A book's figures among its passages


def measure_book(
    book: Path, encoder: OfflineMultiModalEmbedding, *, seed: int
) -> list[dict]:
    """Return how often a figure is among the first ten, asked by alt text or caption.

    Passages and figures are entities of their own: nothing but the scores tells where
    a figure belongs.
    """
    figures = read_lines(book / "figures.jsonl")
    passages = [line["text"] for line in read_lines(book / "passages.jsonl")]
    spaces = {
        "text": encoder.encode_texts(passages),
        "image": encoder.encode_images([book / line["image"] for line in figures]),
    }
    collections = []
    for channel, vectors in spaces.items():
        ids = [f"{channel} {n:05}" for n in range(len(vectors))]
        # The sample is of the first rows, which must be a random choice.
        shuffled = np.random.default_rng(seed).permutation(len(vectors))
        names = np.array(ids)
        entity_ids = [ids[n] for n in shuffled]
        collections.append(
            Collection(channel, names[shuffled], entity_ids, names, vectors[shuffled])
        )
    rows = []
    for kind in ("alt", "caption"):
        wanted = [n for n, line in enumerate(figures) if line[kind].strip()]
        queries = encoder.encode_texts([figures[n][kind] for n in wanted])
        for top_k in TOP_KS:
            hits: dict[str, list[float]] = {rule: [] for rule in BOOK_RULES}
            for n, vector in zip(wanted, queries, strict=True):
                lists = [
                    one.ranked(one.vectors @ vector, top_k, np.arange(len(one.vectors)))
                    for one in collections
                ]
                for rule, fuse in BOOK_RULES.items():
                    hits[rule].append(float(f"image {n:05}" in fuse(lists)[:CUT_OFF]))
            rows += [
                {
                    "group": f"{book.name}, {kind}",
                    "rule": rule,
                    "top_k": top_k,
                    "n_queries": len(got),
                    "success_at_10": float(np.mean(got)),
                    "success_at_10_95": interval(got, np.random.default_rng(seed)),
                }
                for rule, got in hits.items()
            ]
    return rows


def read_lines(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


# Report


def recipe_cells(one: dict) -> list[str]:
    return [
        one["group"],
        one["rule"],
        str(one["top_k"]),
        share(one["success_at_1"], one["success_at_1_95"]),
        share(one["mrr_at_10"], one["mrr_at_10_95"]),
    ]


def book_cells(one: dict) -> list[str]:
    known = share(one["success_at_10"], one["success_at_10_95"])
    return [one["group"], one["rule"], str(one["top_k"]), known]


TABLES = {
    "recipes": (
        "Recipes: the right document first, by question",
        ["question", "rule", "top_k", "success@1 [95 %]", "MRR@10 [95 %]"],
        recipe_cells,
    ),
    "book": (
        "A book: the right figure among the first ten of texts and pictures",
        ["query", "rule", "top_k", "success@10 [95 %]"],
        book_cells,
    ),
}


def markdown(report: dict[str, Any]) -> list[str]:
    """Return the lines of a page with two tables."""
    facts = report["facts"]
    agreed = facts["agreement_with_the_retriever"]
    orders = ", ".join(f"{rule}: {n}" for rule, n in agreed["same_order"].items())
    lines = [
        "# Fusion: one ranking of texts and pictures",
        "",
        f"{first_line(report)}; {report['seconds']:.0f} s. Encoder space "
        f"`{report['space_id']}`.",
        "",
        f"Recipe site, indexed: {facts['indexed']}. Of {agreed['n_queries']} random "
        f"questions the real retriever gave the order measured here for: {orders}.",
        "",
        "`top_k` is hits asked of each channel. Small collections are recipes drawn at "
        "random, each asked for by its title. Intervals: 95 %, bootstrap over queries, "
        "or over draws.",
        "",
        "In the book every passage and figure is an entity of its own, found in one "
        "list only. So RRF takes from the two lists in turn, whatever their scores, as "
        "the quota does; CalibratedSum gives the places to the list whose hits stand "
        "out more from their collection.",
    ]
    for key, (title, heading, cells) in TABLES.items():
        lines += ["", f"## {title}", "", *table(heading, map(cells, report[key]))]
    return [*lines, "", last_line(report)]


def main() -> None:
    """Measure, print the tables, write the results."""
    asked = parser(__doc__, "data", "book", "seed", "out")
    asked.add_argument("--draws", type=int, default=40)
    arguments = asked.parse_args()
    begun, started = header(*PACKAGES), time.perf_counter()
    encoder = OfflineMultiModalEmbedding()
    recipes, facts = measure_recipes(
        arguments.data, encoder, seed=arguments.seed, n_draws=arguments.draws
    )
    book = arguments.data / "openstax" / arguments.book
    report = {
        **begun,
        "seed": arguments.seed,
        "space_id": encoder.space_id,
        "facts": facts,
        "recipes": recipes,
        "book": measure_book(book, encoder, seed=arguments.seed),
    }
    report["seconds"] = time.perf_counter() - started
    write("fusion", report, markdown(report), out=arguments.out)
    console = Console(width=max(110, Console().width))
    for key, (title, heading, cells) in TABLES.items():
        shown = Table(*heading, title=title)
        for one in report[key]:
            shown.add_row(*cells(one))
        console.print(shown)
    console.print(facts, f"{report['seconds']:.0f} s")


if __name__ == "__main__":
    main()
