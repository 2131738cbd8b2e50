"""Measure early fusion: one vector of words and picture, beside fused rankings.

Products and recipes that have a text and a picture are put into real indexes and asked
for with words and a picture, or with one of them, by the real retriever: late fusion
(each part searched apart), early fusion (composed vectors, α from 0 to 1) and both.
Vectors are encoded once for all indexes. Writes results/early_fusion.json and .md. From
the repository's root:

    python benchmarks/early_fusion.py --data ../shared/data
"""

from __future__ import annotations

import re
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import ImageNode, QueryBundle, TextNode
from offline_sets import _rows, figures
from page import first_line, header, last_line, parser, share, table, write
from PIL import Image
from rich.console import Console

from llama_index_mmrag import (
    RRF,
    Blend,
    CalibratedSum,
    Composition,
    Concatenate,
    MultiModalQdrantIndex,
    OfflineMultiModalEmbedding,
)
from llama_index_mmrag.fusion import Fusion
from llama_index_mmrag.nodes.node import entity_of, provenance_of

PACKAGES = ("llama-index-mmrag", "llama-index-core", "qdrant-edge-py", "numpy")
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0)
STAGES = ("late", "early", "both")
CUT_OFF = 10
N_RESAMPLED = 2000
CROPPED = 0.5
"""Share of a photograph's width and height that a query shows."""

LATE: dict[str, Fusion] = {
    "late, RRF": RRF(),
    "late, CalibratedSum": CalibratedSum(),
}


class Remembering(MultiModalEmbedding):
    """The offline encoder, which encodes nothing twice."""

    _encoder: OfflineMultiModalEmbedding = PrivateAttr()
    _known: dict[tuple[str, str], list[float]] = PrivateAttr(default_factory=dict)

    def __init__(self) -> None:
        super().__init__(model_name="remembering")
        self._encoder = OfflineMultiModalEmbedding()

    @property
    def dimension(self) -> int:
        """Length of the vectors."""
        return self._encoder.dimension

    @property
    def space_id(self) -> str:
        """Name of the vector space."""
        return self._encoder.space_id

    def _remembered(
        self, kind: str, keys: list[str], encode: Callable[[list[str]], Any]
    ) -> list[list[float]]:
        new = [k for k in dict.fromkeys(keys) if (kind, k) not in self._known]
        if new:
            rows = encode(new)
            self._known |= {(kind, k): v for k, v in zip(new, rows, strict=True)}
        return [self._known[kind, key] for key in keys]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        encode = self._encoder.get_text_embedding_batch
        return self._remembered("text", texts, encode)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        def encode(keys: list[str]) -> list[list[float]]:
            return [self._encoder.get_query_embedding(key) for key in keys]

        return self._remembered("query", [query], encode)[0]

    def _get_image_embeddings(self, img_file_paths: Any) -> list[list[float]]:
        encode = self._encoder.get_image_embedding_batch
        return self._remembered("image", list(map(str, img_file_paths)), encode)

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._get_image_embeddings([img_file_path])[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    async def _aget_image_embedding(self, img_file_path: Any) -> list[float]:
        return self._get_image_embedding(img_file_path)


@dataclass(frozen=True, slots=True)
class Asked:
    """One way to ask for a corpus's documents."""

    name: str
    queries: list[QueryBundle]
    right: list[str]
    """The right document of each query."""
    alike: list[str]
    """Queries that share this are resampled together."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What is indexed, and how it is asked for."""

    name: str
    insert: Callable[[MultiModalQdrantIndex], object]
    asked: list[Asked]
    is_document: bool = False
    """Whether the right answers are documents; else they are entities."""


def groceries(data: Path) -> Corpus:
    """Return products with description and picture, asked for with shop photographs."""
    root = data / "grocery"
    classes = _rows(root / "classes.csv")
    nodes: list[TextNode] = []
    coarse = {}
    for row in classes:
        entity = {"entity_id": row["Class ID (int)"]}
        coarse[entity["entity_id"]] = row["Coarse Class Name (str)"].replace("-", " ")
        text = (root / row["Product Description Path (str)"][1:]).read_text("utf-8")
        picture = root / row["Iconic Image Path (str)"][1:]
        ids = [str(uuid.uuid5(uuid.NAMESPACE_URL, f"{entity}{n}")) for n in (0, 1)]
        nodes.append(TextNode(text=text, id_=ids[0], metadata=entity))
        nodes.append(ImageNode(image_path=str(picture), id_=ids[1], metadata=entity))
    shop = _rows(root / "shop.csv")
    right = [row["class_id"] for row in shop]
    photos = [str(root / "shop" / row["image"]) for row in shop]
    both = [
        QueryBundle(coarse[key], image_path=photo)
        for key, photo in zip(right, photos, strict=True)
    ]
    alone = [QueryBundle("", image_path=photo) for photo in photos]
    names = [QueryBundle(row["Class Name (str)"].replace("-", " ")) for row in classes]
    ids = [row["Class ID (int)"] for row in classes]
    return Corpus(
        f"{len(classes)} products, each a description and a picture",
        lambda index: index.insert(nodes),
        [
            Asked("kind of product + shop photograph", both, right, right),
            Asked("shop photograph alone", alone, right, right),
            Asked("product's name alone", names, ids, ids),
        ],
    )


def recipes(data: Path, folder: Path, seed: int) -> Corpus:
    """Return the recipe site, asked for with a line and a part of a photograph."""
    rng = np.random.default_rng(seed)
    root = data / "based_cooking"
    site = root / "content"
    both, titled = Asked("a line + part of the photograph", [], [], []), []
    documents = []
    for file in sorted(site.glob("*.md")):
        text = file.read_text(encoding="utf-8")
        title = re.search(r"^title:\s*\"?(.+?)\"?\s*$", text, re.MULTILINE)
        body = text.split("## Ingredients", 1)[-1]
        items = re.findall(r"^\s*(?:[-*]|\d+\.)\s+(\S.{14,})$", body, re.MULTILINE)
        if not (title and items):
            continue
        document = f"{site.name}/{file.name}"
        documents.append(document)
        titled.append(QueryBundle(f"how do I make {title[1]}?"))
        linked = re.search(r"\bpix/([^\s)\"]+)", text)
        photo = root / "static" / "pix" / linked[1] if linked else None
        if photo is None or not photo.exists():
            continue
        shown = str(cropped(photo, folder / f"{len(both.queries)}.png", rng))
        both.queries.append(QueryBundle(str(rng.choice(items)), image_path=shown))
        both.right.append(document)
        both.alike.append(document)
    return Corpus(
        f"{len(documents)} recipes, {len(both.queries)} of them with a photograph",
        lambda index: index.insert_directory(site),
        [both, Asked("the title alone", titled, documents, documents)],
        is_document=True,
    )


def cropped(photo: Path, to: Path, rng: np.random.Generator) -> Path:
    """Write a part of a photograph, at random; return its path."""
    with Image.open(photo) as whole:
        size = [max(1, int(side * CROPPED)) for side in whole.size]
        left, top = (
            int(rng.integers(side - part + 1))
            for side, part in zip(whole.size, size, strict=True)
        )
        part = whole.convert("RGB").crop((left, top, left + size[0], top + size[1]))
    part.thumbnail((640, 640))
    part.save(to)
    return to


def book(data: Path, name: str) -> Corpus:
    """Return a textbook's figures with their captions, asked for by alt text."""
    folder = data / "openstax" / name
    kept = [row for row in figures(folder) if row["alt"].strip()]
    nodes, queries, ids = [], [], []
    for n, row in enumerate(kept):
        id_ = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name} {n}"))
        ids.append(id_)
        nodes.append(
            ImageNode(
                id_=id_,
                text=row["caption"],
                image_path=str(folder / row["image"]),
                metadata={"entity_id": id_},
            )
        )
        if row["caption"].strip():
            # So that late fusion has the caption to search as well.
            text_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{name} {n} caption"))
            nodes.append(
                TextNode(id_=text_id, text=row["caption"], metadata={"entity_id": id_})
            )
        queries.append(QueryBundle(row["alt"]))
    return Corpus(
        f"{len(kept)} figures of {name}, with captions",
        lambda index: index.insert(nodes),
        [Asked("the alt text alone", queries, ids, ids)],
    )


def measure(corpus: Corpus, encoder: Remembering) -> Iterator[tuple[str, str, list]]:
    """Yield each question, rule and its reciprocal ranks."""
    rules: list[Composition] = [
        kind(alpha) for kind in (Blend, Concatenate) for alpha in ALPHAS
    ]
    for n, rule in enumerate(rules):
        with (
            tempfile.TemporaryDirectory() as folder,
            MultiModalQdrantIndex.open(
                folder, embed_model=encoder, composition=rule
            ) as index,
        ):
            corpus.insert(index)
            of_document = {
                entity_of(node): str(node.ref_doc_id)
                for channel in index.channels
                for node in channel.vector_store.get_nodes()
            }
            stages = [("composed", f"early, {rule!r}", CalibratedSum())]
            if n == 0:
                stages += [("parts", name, fusion) for name, fusion in LATE.items()]
            if rule.alpha == 0.5:  # type: ignore[attr-defined]
                stages += [
                    ("both", f"both, {rule!r}, {name.split()[1]}", fusion)
                    for name, fusion in LATE.items()
                ]
            for stage, name, fusion in stages:
                retriever = index.as_retriever(
                    search=stage,
                    fusion=fusion,
                    top_k=CUT_OFF,
                    complete_entities=False,
                )
                for asked in corpus.asked:
                    ranks = []
                    for query, right in zip(asked.queries, asked.right, strict=True):
                        results = retriever.retrieve(query)
                        found = [provenance_of(r).entity_id for r in results]  # type: ignore[union-attr]
                        if corpus.is_document:
                            found = [of_document[each] for each in found]
                        found = list(dict.fromkeys(found))
                        at = found.index(right) + 1 if right in found else np.inf
                        ranks.append(1.0 / at)
                    yield asked.name, name, ranks


def interval(scores: list[float], alike: list[str], seed: int) -> tuple[float, float]:
    """Return the bootstrap's 95 % interval of the mean, groups resampled whole."""
    rng = np.random.default_rng(seed)
    _, group = np.unique(alike, return_inverse=True)
    sums = np.bincount(group, weights=scores)
    sizes = np.bincount(group)
    drawn = rng.integers(len(sums), size=(N_RESAMPLED, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def markdown(report: dict[str, Any]) -> list[str]:
    """Return the lines of a page with a table for each question."""
    lines = [
        "# Early fusion: one vector of words and picture",
        "",
        f"{first_line(report)}; {report['seconds']:.0f} s. Encoder space "
        f"`{report['space_id']}`.",
        "",
        "MRR@10 over documents (an entity's text and picture are one), by the real "
        "retriever over embedded stores, 10 hits a route. Intervals: 95 %, bootstrap; "
        "photographs of one product are resampled together. Part of a photograph: a "
        "rectangle of half its width and height, at random. Captions of the recipes' "
        "photographs are what the site has, mostly the recipe's name; products' and "
        "figures' texts are entities' texts. `Δ` is the mean difference from late "
        "fusion by CalibratedSum on the same questions, with its interval. Rules with "
        "one list (early alone) do not depend on the fusion's rule.",
    ]
    for key in dict.fromkeys((r["corpus"], r["question"]) for r in report["rows"]):
        rows = [r for r in report["rows"] if (r["corpus"], r["question"]) == key]
        lines += [
            "",
            f"## {key[0]}: {key[1]}",
            "",
            f"{rows[0]['n_queries']} questions.",
            "",
            *table(
                ["rule", "MRR@10 [95 %]", "Δ [95 %]"],
                (
                    [
                        r["rule"],
                        share(r["mrr"], r["mrr_95"]),
                        share(r["delta"], r["delta_95"], "+.3f"),
                    ]
                    for r in rows
                ),
            ),
        ]
    return [*lines, "", last_line(report)]


def main() -> None:
    """Measure, print the tables, write the results."""
    arguments = parser(__doc__, "data", "book", "seed", "out").parse_args()
    begun, started = header(*PACKAGES), time.perf_counter()
    encoder = Remembering()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        corpora = [
            groceries(arguments.data),
            book(arguments.data, arguments.book),
            recipes(arguments.data, Path(folder), arguments.seed),
        ]
        for corpus in corpora:
            measured = list(measure(corpus, encoder))
            for asked in corpus.asked:
                of_rule = {rule: got for q, rule, got in measured if q == asked.name}
                base = np.array(of_rule["late, CalibratedSum"])
                for rule, got in sorted(of_rule.items(), key=lambda r: order(r[0])):
                    delta = (np.array(got) - base).tolist()
                    rows.append(
                        {
                            "corpus": corpus.name,
                            "question": asked.name,
                            "rule": rule,
                            "n_queries": len(got),
                            "mrr": float(np.mean(got)),
                            "mrr_95": interval(got, asked.alike, arguments.seed),
                            "delta": float(np.mean(delta)),
                            "delta_95": interval(delta, asked.alike, arguments.seed),
                        }
                    )
    report = {
        **begun,
        "seed": arguments.seed,
        "space_id": encoder.space_id,
        "rows": rows,
        "seconds": time.perf_counter() - started,
    }
    page = write("early_fusion", report, markdown(report), out=arguments.out)
    Console(width=110, markup=False, highlight=False).print(page)


def order(rule: str) -> tuple[int, str]:
    """Return what sorts late before early before both."""
    return STAGES.index(rule.split(",", maxsplit=1)[0]), rule


if __name__ == "__main__":
    main()
