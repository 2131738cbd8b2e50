"""Measure what the same words in two collections do to a ranking.

LlamaIndex's `MultiModalVectorStoreIndex` puts a captioned picture into both of its
collections: into the texts by its caption, into the pictures by its look. A textbook is
indexed so and asked for its passages by half of each. Is the right text first: with the
text retriever alone, with RRF when each hit counts, and with RRF as it is? Writes
results/doubles.json and .md. From the repository's root:

    python benchmarks/doubles.py --data ../shared/data
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core import StorageContext
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, TextNode
from page import first_line, header, last_line, parser, share, table, write

from llama_index_mmrag import RRF, MultiModalFusionRetriever
from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding
from llama_index_mmrag.fusion import FusedEntity, RankedList
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores import QdrantEdgeVectorStore

PACKAGES = ("llama-index-mmrag", "llama-index-core", "qdrant-edge-py", "numpy")
BOOKS = ("psychology", "philosophy")
TOP_KS = (10, 20, 50)
N_RESAMPLED = 2000
DIM = 384


class Remembering(OfflineMultiModalEmbedding):
    """Encodes each query once, however many retrievers ask."""

    _known: dict[str, list[float]] = PrivateAttr(default_factory=dict)

    def _get_query_embedding(self, query: str) -> list[float]:
        if query not in self._known:
            self._known[query] = super()._get_query_embedding(query)
        return self._known[query]


class EachHitCounts(RRF):
    """RRF that is told of no doubles."""

    def fuse(self, lists: Sequence[RankedList]) -> list[FusedEntity]:
        """Return the entities of all lists, best first."""
        return super().fuse([replace(one, same={}) for one in lists])


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def indexed(
    book: Path, encoder: Remembering, folder: Path
) -> tuple[list[TextNode], list[QdrantEdgeVectorStore]]:
    """Return the passages, and the two collections that LlamaIndex makes of a book."""
    passages = [TextNode(text=one["text"]) for one in lines(book / "passages.jsonl")]
    figures = [
        ImageNode(
            image_path=str(book / one["image"]), text=one["caption"] or one["alt"]
        )
        for one in lines(book / "figures.jsonl")
    ]
    stores = [
        QdrantEdgeVectorStore.open(folder / name, dim=DIM) for name in ("text", "image")
    ]
    MultiModalVectorStoreIndex(
        [*passages, *(figure for figure in figures if figure.text)],
        storage_context=StorageContext.from_defaults(vector_store=stores[0]),
        image_vector_store=stores[1],
        embed_model=encoder,
        image_embed_model=encoder,
    )
    return passages, stores


def halves(
    passages: Sequence[TextNode], n_queries: int, seed: int
) -> list[tuple[str, str]]:
    """Return the second halves of passages at random, and the passages' ids."""
    long = [node for node in passages if len(node.text.split()) >= 20]  # noqa: PLR2004
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(long), size=min(n_queries, len(long)), replace=False)
    asked = []
    for row in sorted(chosen):
        words = long[row].text.split()
        asked.append((" ".join(words[len(words) // 2 :]), long[row].node_id))
    return asked


def resampled(values: np.ndarray, seed: int) -> tuple[float, float]:
    """Return the bootstrap's 95 % interval of the mean."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(values), size=(N_RESAMPLED, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), (0.025, 0.975))
    return float(low), float(high)


def measure(book: Path, encoder: Remembering, arguments: Any) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        passages, stores = indexed(book, encoder, Path(folder))
        asked = halves(passages, arguments.queries, arguments.seed)
        for top_k in TOP_KS:
            channels = [
                Channel(name, vector_store=store, embed_model=encoder, top_k=top_k)
                for name, store in zip(("text", "image"), stores, strict=True)
            ]
            retrievers = {
                "text retriever alone": MultiModalFusionRetriever(
                    channels[:1], top_k=1
                ),
                "RRF, each hit counts": MultiModalFusionRetriever(
                    channels, fusion=EachHitCounts(), top_k=1
                ),
                "RRF": MultiModalFusionRetriever(channels, top_k=1),
            }
            first = {
                rule: np.array(
                    [
                        float(retriever.retrieve(query)[0].node.node_id == right)
                        for query, right in asked
                    ]
                )
                for rule, retriever in retrievers.items()
            }
            alone = first["text retriever alone"]
            rows += [
                {
                    "book": book.name,
                    "top_k": top_k,
                    "rule": rule,
                    "n_queries": len(asked),
                    "first": float(found.mean()),
                    "first_95": resampled(found, arguments.seed),
                    "above_text_alone": float((found - alone).mean()),
                    "above_text_alone_95": resampled(found - alone, arguments.seed),
                }
                for rule, found in first.items()
            ]
        for store in stores:
            store.close()
    return rows


def main() -> None:
    made = parser(__doc__, "data", "out", "seed")
    made.add_argument("--books", nargs="+", default=BOOKS)
    made.add_argument("--queries", type=int, default=500)
    arguments = made.parse_args()
    report = header(*PACKAGES)
    encoder = Remembering()
    books = [arguments.data / "openstax" / book for book in arguments.books]
    report["rows"] = [
        row for book in books for row in measure(book, encoder, arguments)
    ]
    page = [
        "# The same words in two collections",
        "",
        f"{first_line(report)}.",
        "",
        "Passages and captioned figures of a textbook, indexed by LlamaIndex's",
        "`MultiModalVectorStoreIndex`, asked for by the second half of a passage. The",
        "share of queries with the right passage first; in brackets the bootstrap's",
        "95 % interval, of the difference the paired one.",
        "",
        *table(
            ["book", "hits a channel", "rule", "queries", "first", "above text alone"],
            (
                [
                    row["book"],
                    row["top_k"],
                    row["rule"],
                    row["n_queries"],
                    share(row["first"], row["first_95"]),
                    share(row["above_text_alone"], row["above_text_alone_95"], "+.3f"),
                ]
                for row in report["rows"]
            ),
        ),
        "",
        last_line(report),
    ]
    print(write("doubles", report, page, out=arguments.out))


if __name__ == "__main__":
    main()
