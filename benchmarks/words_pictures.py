"""Words of pictures: is a figure found by its words among the passages of its book?

A part of `words.py`. Each book is indexed with its figures bare, with their captions as
words and with their alt texts as words, and asked by the other text, for terms and by
their definitions. Beside the index's own retriever: the same captions as texts among
the passages, and LlamaIndex's `MultiModalVectorStoreIndex` + `QueryFusionRetriever`.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import tempfile
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from llama_index.core import StorageContext
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever
from llama_index.core.schema import ImageNode, NodeWithScore, TextNode
from page import share, table

from llama_index_mmrag import MultiModalQdrantIndex, QdrantEdgeVectorStore
from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding
from llama_index_mmrag.nodes.images import ImageSource, image_bytes
from llama_index_mmrag.nodes.node import provenance_of
from llama_index_mmrag.vectors import Vectors

BOOKS = ("philosophy", "psychology", "microbiology")
FIRST = 10
DIM = 384
N_RESAMPLED = 10_000
BARS = {
    "caption": {"psychology": 78.6, "philosophy": 73.7, "microbiology": 85.4},
    "alt": {"psychology": 61.7, "philosophy": 50.0, "microbiology": 75.8},
}
"""By what the words are: the least own@10 when asked by the other text, in %."""

Row = dict[str, Any]
Found = Callable[[str], list[str]]
"""From a question to the ids of the first ten, best first."""


class Remembering(OfflineMultiModalEmbedding):
    """The default encoder, whose vectors are kept by what they are of."""

    _known: ClassVar[dict[str, Any]] = {}

    @classmethod
    def load(cls, file: Path) -> None:
        """Know what was encoded before."""
        if file.exists():
            cls._known.update(pickle.loads(file.read_bytes()))  # noqa: S301 - our own

    @classmethod
    def save(cls, file: Path) -> None:
        """Keep what is known for the next run."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(cls._known))

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Return the texts' vectors, `(n, 384)`."""
        keys = [_digest("text", text.encode()) for text in texts]
        return self._kept(keys, texts, super().encode_texts)

    def encode_images(self, pictures: Sequence[ImageSource]) -> Vectors:
        """Return the pictures' vectors, `(n, 384)`."""
        data = [image_bytes(picture) for picture in pictures]
        keys = [_digest("picture", each) for each in data]
        return self._kept(keys, pictures, super().encode_images)

    def _kept(self, keys: list[str], items: Sequence[Any], encode: Any) -> Vectors:
        new = [i for i, key in enumerate(keys) if key not in self._known]
        if new:
            made = encode([items[i] for i in new])
            self._known.update(zip((keys[i] for i in new), made, strict=True))
        return np.array([self._known[key] for key in keys], dtype=np.float32)


def _digest(kind: str, data: bytes) -> str:
    return hashlib.sha256(kind.encode() + b"\0" + data).hexdigest()


def lines(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


class Book:
    """A book's passages, its figures with both texts, and what is asked.

    Args:
        folder: The book's in `shared/data/openstax`.
    """

    def __init__(self, folder: Path) -> None:
        self.name, self._folder = folder.name, folder
        self.passages = lines(folder / "passages.jsonl")
        self.figures = lines(folder / "figures.jsonl")
        self.queries = lines(folder / "queries.jsonl")

    def nodes(self, words: str | None) -> tuple[list[TextNode], list[ImageNode]]:
        """Return passages and figures, these with one of their texts or none."""
        texts = [
            TextNode(id_=self.id_of(0, n), text=row["text"])
            for n, row in enumerate(self.passages)
        ]
        figures = [
            ImageNode(
                id_=self.id_of(1, n),
                text=row[words] if words else "",
                image_path=str(self._folder / row["image"]),
            )
            for n, row in enumerate(self.figures)
        ]
        return texts, figures

    @staticmethod
    def id_of(kind: int, n: int) -> str:
        """Return the id of a passage (0) or of a figure (1) by its line."""
        # In no order, as derived ids are: the lowest are a channel's sample.
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{kind}, {n}"))

    def asked(self, kind: str) -> list[tuple[str, str, str]]:
        """Return questions of a kind, the id that each wants, and its module."""
        if kind in ("alt", "caption"):
            return [
                (row[kind], self.id_of(1, n), row["module"])
                for n, row in enumerate(self.figures)
                if row["alt"].strip() and row["caption"].strip()
            ]
        field = "meaning" if kind == "meaning" else "query"  # of "bare term" too
        return [
            (
                f"What is {row[field]}?" if kind == "term" else row[field],
                self.id_of(0, row["passage"]),
                self.passages[row["passage"]]["module"],
            )
            for row in self.queries
            if row.get(field)
        ]


def ours(
    book: Book, words: str | None, folder: Path, hybrid: bool | None = None
) -> MultiModalQdrantIndex:
    index = MultiModalQdrantIndex.open(folder, embed_model=Remembering(), hybrid=hybrid)
    texts, figures = book.nodes(words)
    index.insert_nodes([*texts, *figures])
    return index


def entities(index: MultiModalQdrantIndex, **settings: Any) -> Found:
    """Return what the index's own retriever shows first."""
    retriever = index.as_retriever(similarity_top_k=FIRST, **settings)

    def found(question: str) -> list[str]:
        results = retriever.retrieve(question)
        return list(dict.fromkeys(provenance_of(r).entity_id for r in results))[:FIRST]

    return found


def among_texts(index: MultiModalQdrantIndex) -> Found:
    """Return what a search of the texts alone finds; words go by their picture's id."""
    retriever = index.as_retriever(similarity_top_k=FIRST)

    def found(question: str) -> list[str]:
        results = retriever.text_retrieve(question)
        return [r.node.metadata.get("words_of", r.node.node_id) for r in results]

    return found


class _Half(BaseRetriever):
    """One half of LlamaIndex's multimodal retriever, for its fusion."""

    def __init__(self, retrieve: Callable[[str], list[NodeWithScore]]) -> None:
        super().__init__()
        self._half = retrieve

    def _retrieve(self, query_bundle: Any) -> list[NodeWithScore]:
        return self._half(query_bundle.query_str)


def llama_index(book: Book, words: str | None, folder: Path, stack: ExitStack) -> Found:
    """Return what LlamaIndex's own index and fusion find."""
    stores = [
        stack.enter_context(QdrantEdgeVectorStore.open(folder / name, dim=DIM))
        for name in ("text", "image")
    ]
    texts, figures = book.nodes(words)
    index = MultiModalVectorStoreIndex(
        [*texts, *figures],
        storage_context=StorageContext.from_defaults(vector_store=stores[0]),
        image_vector_store=stores[1],
        embed_model=Remembering(),
        image_embed_model=Remembering(),
    )
    both = index.as_retriever(similarity_top_k=FIRST, image_similarity_top_k=FIRST)
    halves = [_Half(both.text_retrieve), _Half(both.text_to_image_retrieve)]
    fusing = QueryFusionRetriever(
        halves,
        llm=MockLLM(),
        num_queries=1,
        mode="reciprocal_rerank",
        similarity_top_k=FIRST,
        use_async=False,
    )
    return lambda question: [r.node.node_id for r in fusing.retrieve(question)]


def own(found: Found, asked: Sequence[tuple[str, str, str]]) -> np.ndarray:
    """Return for each question whether what it wants is among the first ten, in %."""
    return np.array([100.0 * (wanted in found(q)) for q, wanted, _ in asked])


def within(
    values: np.ndarray, asked: Sequence[tuple[str, str, str]], seed: int
) -> tuple[float, float]:
    """Return the bootstrap's 95 % interval of a mean, modules drawn whole."""
    modules = np.unique([module for _, _, module in asked], return_inverse=True)[1]
    n = int(modules.max()) + 1
    sums = np.bincount(modules, weights=values, minlength=n)
    sizes = np.bincount(modules, minlength=n)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=N_RESAMPLED)
    low, high = np.quantile(drawn @ sums / (drawn @ sizes), (0.025, 0.975))
    return float(low), float(high)


def measured(book: Book, seed: int) -> list[Row]:
    """Return a book's rows: who is asked, by what, with which words, what is found."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        for words, kinds in (
            (None, ("alt", "caption")),
            ("caption", ("alt", "term", "meaning")),
            ("alt", ("caption", "term", "meaning")),
        ):
            index = stack.enter_context(ours(book, words, folder / f"ours-{words}"))
            ways = {"ours": entities(index)}
            if words is not None:
                ways["the same as texts"] = among_texts(index)
            theirs = folder / f"llama-index-{words}"
            ways["LlamaIndex"] = llama_index(book, words, theirs, stack)
            for kind in kinds:
                if not (asked := book.asked(kind)):
                    continue
                found = {way: own(it, asked) for way, it in ways.items()}
                for way, values in found.items():
                    less = found["ours"] - values
                    rows.append(
                        {
                            "book": book.name,
                            "words": words or "none",
                            "asked by": kind,
                            "way": way,
                            "questions": len(asked),
                            "own@10": float(values.mean()),
                            "own@10_95": within(values, asked, seed),
                            "ours_above": float(less.mean()),
                            "ours_above_95": within(less, asked, seed),
                        }
                    )
                    print(rows[-1], flush=True)
    return rows


def measure(data: Path, cache: Path, books: Sequence[str], seed: int) -> list[Row]:
    """Return the rows of books, one after the other; vectors are kept between runs."""
    rows: list[Row] = []
    for name in books:
        kept = cache / f"{name}.pickle"
        Remembering.load(kept)
        rows += measured(Book(data / "openstax" / name), seed)
        Remembering.save(kept)
    return rows


def page(rows: Sequence[Row], seed: int) -> list[str]:
    """Return what is told of the rows, as Markdown."""
    return [
        "## Words of pictures",
        "",
        "The share of questions, in %, whose own figure or paragraph is among the",
        "first ten, beside the passages of the book: by the index's own retriever, by",
        "a search of its text collection alone, and by LlamaIndex's",
        "`MultiModalVectorStoreIndex` with `QueryFusionRetriever`. In brackets the",
        "bootstrap's 95 % interval, of the difference the paired one (modules drawn",
        f"whole, {N_RESAMPLED:,} times, seed {seed}). The bar is the least that the",
        "index may find; of term and meaning, that its difference to the texts alone",
        "is nowhere below -4 points. Pictures without words are not indexed by",
        "`MultiModalVectorStoreIndex` (a row of tests/test_llamaindex_failures.py).",
        "",
        *table(
            [
                *("book", "words", "asked by", "way", "questions", "own@10", "bar"),
                "ours is above",
            ],
            (
                [
                    row["book"],
                    row["words"],
                    row["asked by"],
                    row["way"],
                    row["questions"],
                    share(row["own@10"], row["own@10_95"], ".1f"),
                    _bar(row),
                    ""
                    if row["way"] == "ours"
                    else share(row["ours_above"], row["ours_above_95"], "+.1f"),
                ]
                for row in rows
            ),
        ),
        "",
    ]


def _bar(row: Row) -> str:
    if row["way"] != "ours" or row["asked by"] not in ("alt", "caption"):
        return ""
    return str(BARS.get(row["words"], {}).get(row["book"], ""))
