"""Part numbers and five languages by words alone, beside the engine's own tokenizers.

`Bm25Encoder` and Qdrant's `Bm25` as a server's inference would be asked for it, each
over a shard of Qdrant Edge with IDF:

    PYTHONPATH=. OMP_NUM_THREADS=1 python benchmarks/words_numbers.py
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as qe
from page import first_line, header, last_line, parser, table, write

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder, SparseVectors
from tests.support.sentences import SENTENCES
from tests.support.words import SPELLINGS, WordShard, asked, page_of, part_numbers

PACKAGES = ["qdrant-edge-py", "llama-index-core"]
OWN_STEMMER = ("german", "arabic")
PASSAGE = (
    "Cells of the immune system move through blood vessels and tissue, and signal "
    "each other by cytokines, as Figure 3.2 shows for an infected finger. "
)
QUESTION = "What is the difference between passive and active transport?"


class Engine:
    """Qdrant's own `Bm25`, as a server's inference would make the vectors."""

    def __init__(self, language: str, tokenizer: qe.TokenizerType) -> None:
        config = qe.Bm25Config(language=language, tokenizer=tokenizer)
        self._engine = qe.Bm25(config)

    def documents(self, texts: Sequence[str]) -> SparseVectors:
        """Return the vectors of pages."""
        vectors = [self._engine.embed_document(text) for text in texts]
        return [v.indices for v in vectors], [v.values for v in vectors]

    def queries(self, texts: Sequence[str]) -> SparseVectors:
        """Return the vectors of queries."""
        vectors = [self._engine.embed_query(text) for text in texts]
        return [v.indices for v in vectors], [v.values for v in vectors]


def encoders(language: str) -> dict[str, Any]:
    return {
        "Bm25Encoder": Bm25Encoder(language=language),
        "Word": Engine(language, qe.TokenizerType.Word),
        "Multilingual": Engine(language, qe.TokenizerType.Multilingual),
    }


def numbers() -> Iterator[dict[str, Any]]:
    """Yield the share of pages that are first, alone, for each way of writing."""
    known = part_numbers()
    pages = list(map(page_of, known))
    for name, encoder in encoders("english").items():
        with tempfile.TemporaryDirectory() as folder:
            shard = WordShard(Path(folder), pages, encoder)
            for spelling in SPELLINGS:
                first = [
                    shard.is_first(row, asked(number, spelling))
                    for row, number in enumerate(known)
                ]
                yield {
                    "encoder": name,
                    "spelling": spelling,
                    "first": sum(first) / len(first),
                    "first_of_pairs": sum(first[1_000:]) / len(first[1_000:]),
                }


def languages() -> Iterator[dict[str, Any]]:
    """Yield the share of sentences among the first ten, and of those that are first."""
    texts = [sentence for pairs in SENTENCES.values() for sentence, _ in pairs]
    for setting in ("english", *OWN_STEMMER):
        for name, encoder in encoders(setting).items():
            with tempfile.TemporaryDirectory() as folder:
                shard = WordShard(Path(folder), texts, encoder)
                for language in SENTENCES if setting == "english" else (setting,):
                    rows = [
                        (texts.index(sentence), shard.ask(words).rows)
                        for sentence, words in SENTENCES[language]
                    ]
                    yield {
                        "encoder": name,
                        "setting": setting,
                        "language": language,
                        "in_10": sum(row in found for row, found in rows) / len(rows),
                        "first": sum([row] == f[:1] for row, f in rows) / len(rows),
                    }


def cost() -> Iterator[dict[str, Any]]:
    """Yield microseconds a text: the least of many rounds, both asked in turns."""
    chinese = "".join(sentence for sentence, _ in SENTENCES["chinese"])
    texts = {
        "passage of 600 characters": (PASSAGE * 5)[:600],
        "passage without a digit": (PASSAGE * 5)[:600].replace("3.2", "two"),
        "Chinese passage of 300 characters": chinese[:300],
        "question": QUESTION,
        "question with a part number": "Which pump takes the seal kit AB-1234/5?",
    }
    asked_of = encoders("english")
    for what, text in texts.items():
        method = "queries" if "question" in what else "documents"
        least: dict[str, float] = dict.fromkeys(asked_of, float("inf"))
        for _ in range(300):
            for name, encoder in asked_of.items():
                started = time.perf_counter()
                for _ in range(10):
                    getattr(encoder, method)([text])
                took_us = (time.perf_counter() - started) / 10 * 1e6
                least[name] = min(least[name], took_us)
        yield {"text": what, **least}


def main() -> None:
    """Print the three tables."""
    arguments = parser(__doc__, "out").parse_args()
    report = header(*PACKAGES)
    report |= {
        "numbers": list(numbers()),
        "languages": list(languages()),
        "cost_us": list(cost()),
    }
    page = [
        "# Part numbers and languages, by words alone",
        "",
        f"{first_line(report)}.",
        "",
        "Word and Multilingual are the tokenizers of Qdrant's own BM25, which the same",
        "texts are given as they are. P@1: the right page is first, and shares its",
        "place with no other; 1,000 near-identical pages and 200 pairs that differ by",
        "the order of their groups.",
        "",
        *table(
            ["P@1 (pairs alone)", *encoders("english")],
            (
                [
                    spelling,
                    *(
                        f"{row['first']:.3f} ({row['first_of_pairs']:.3f})"
                        for row in report["numbers"]
                        if row["spelling"] == spelling
                    ),
                ]
                for spelling in SPELLINGS
            ),
        ),
        "",
        "Thirty sentences of each language among all 150, asked by two words: the",
        "share among the first ten (first).",
        "",
        *table(
            ["sentences", "language=", *encoders("english")],
            (
                [
                    language,
                    setting,
                    *(
                        f"{row['in_10']:.2f} ({row['first']:.2f})"
                        for row in report["languages"]
                        if (row["language"], row["setting"]) == (language, setting)
                    ),
                ]
                for language in SENTENCES
                for setting in ("english", language)
                if setting in ("english", *OWN_STEMMER)
            ),
        ),
        "",
        "Microseconds a text, the least of 300 rounds of 10 (of `Bm25Encoder`'s).",
        "",
        *table(
            ["text", *encoders("english")],
            (
                [
                    row["text"],
                    *(
                        f"{row[name]:.0f} ({row[name] / row['Bm25Encoder']:.2f})"
                        for name in encoders("english")
                    ),
                ]
                for row in report["cost_us"]
            ),
        ),
        "",
        last_line(report),
    ]
    print(write("words_numbers", report, page, out=arguments.out))


if __name__ == "__main__":
    main()
