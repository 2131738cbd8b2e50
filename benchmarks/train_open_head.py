"""Train the open head: EfficientNet features to MiniLM's space, from textbook figures.

A linear map, learned by InfoNCE on figures and what their authors wrote about them
(alt text and caption). The shipped head has never seen the held-out book; its figures
on that book go to the model card. Run from the repository's root, with torch:

    python benchmarks/train_open_head.py --held-out psychology --leave-one-out
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from offline_sets import BOOKS, RetrievalSet, book_sets, figures, quality
from page import header, parser
from torch.nn import functional

from llama_index_mmrag.embeddings import OfflineTextEmbedding
from llama_index_mmrag.embeddings.conse import conse, linear_head, with_head
from llama_index_mmrag.embeddings.offline import HEAD_WEIGHT
from llama_index_mmrag.embeddings.picture_tower import (
    ImageFeatures,
    PictureTower,
    class_vectors,
)

ROOT = Path(__file__).parents[1]
PACKAGED = ROOT / "llama_index_mmrag" / "embeddings" / "data"
FIELDS = ("alt", "caption")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the head is trained."""

    epochs: int = 30
    batch_size: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    input_dropout: float = 0.5
    start_temperature: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pictures and texts that belong together: row i of each."""

    features: NDArray[np.float32]
    """Shape `(n, 1280)`; a figure with two texts is there twice."""
    texts: NDArray[np.float32]
    """Shape `(n, 384)`, unit length."""
    figure: NDArray[np.int64]
    """Which figure each row shows, to know false negatives."""


def train(pairs: Pairs, recipe: Recipe) -> tuple[NDArray, NDArray]:
    """Return weight `(384, 1280)` and bias `(384,)`, the feature scaling folded in.

    Symmetric InfoNCE with a learned temperature (https://arxiv.org/abs/1807.03748):
    in a batch each picture must find its text among all texts, and the reverse.
    Another text of the same figure counts neither as right nor as wrong.
    """
    torch.manual_seed(recipe.seed)
    features = torch.from_numpy(pairs.features)
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    features = (features - mean) / deviation
    texts = torch.from_numpy(pairs.texts)
    figure = torch.from_numpy(pairs.figure)
    head = torch.nn.Linear(features.shape[1], texts.shape[1])
    log_scale = torch.nn.Parameter(-torch.tensor(recipe.start_temperature).log())
    optimizer = torch.optim.AdamW(
        [
            {"params": head.parameters(), "weight_decay": recipe.weight_decay},
            {"params": [log_scale], "weight_decay": 0.0},
        ],
        lr=recipe.learning_rate,
    )
    steps = -(-len(texts) // recipe.batch_size) * recipe.epochs
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=steps
    )
    for _ in range(recipe.epochs):
        for batch in torch.randperm(len(texts)).split(recipe.batch_size):
            dropped = functional.dropout(features[batch], recipe.input_dropout)
            pictures = functional.normalize(head(dropped), dim=1)
            logits = log_scale.exp() * pictures @ texts[batch].T
            same = figure[batch][:, None] == figure[batch][None, :]
            same.fill_diagonal_(fill_value=False)
            logits = logits.masked_fill(same, -torch.inf)
            target = torch.arange(len(batch))
            loss = functional.cross_entropy(logits, target)
            loss = (loss + functional.cross_entropy(logits.T, target)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    weight = head.weight.detach() / deviation
    bias = head.bias.detach() - weight @ mean
    return weight.numpy(), bias.numpy()


def book_features(data: Path, book: str, cache: Path) -> ImageFeatures:
    """Return the classifier's outputs for a book's figures; kept in `cache`."""
    kept = cache / f"{book}.npz"
    if kept.exists():
        with np.load(kept, allow_pickle=False) as arrays:
            return ImageFeatures(arrays["features"], arrays["logits"])
    folder = data / "openstax" / book
    pictures = [folder / row["image"] for row in figures(folder)]
    seen = PictureTower(needed_for="Training").features(pictures, n_threads=2)
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(kept, features=seen.features, logits=seen.logits)
    return seen


def pairs_of(
    sets: list[RetrievalSet],
    vectors: dict[str, NDArray],
    seen: dict[str, ImageFeatures],
) -> Pairs:
    """Return the pairs of several books; figures are numbered across books."""
    offsets, n_figures = {}, 0
    for book, outputs in seen.items():
        offsets[book] = n_figures
        n_figures += len(outputs.logits)
    features, texts, figure = [], [], []
    for one in sets:
        rows = np.array([next(iter(right)) for right in one.relevant])
        features.append(seen[str(one.book)].features[rows])
        texts.append(vectors[one.name])
        figure.append(rows + offsets[str(one.book)])
    return Pairs(
        np.concatenate(features), np.concatenate(texts), np.concatenate(figure)
    )


def main() -> None:
    """Train, evaluate on the books left out, write the head and its card."""
    arguments, begun = _arguments(), header("torch", "numpy")
    sets = book_sets(arguments.data)
    encode = OfflineTextEmbedding().encode_texts
    vectors = {one.name: encode(one.queries) for one in sets}
    seen = {
        book: book_features(arguments.data, book, arguments.cache) for book in BOOKS
    }
    recipe = Recipe(seed=arguments.seed)

    def trained_without(held_out: str) -> tuple[Pairs, NDArray, NDArray]:
        pairs = pairs_of([s for s in sets if s.book != held_out], vectors, seen)
        weight, bias = train(pairs, recipe)
        # Figures are those of the numbers that ship.
        return pairs, weight.astype(np.float16), bias.astype(np.float16)

    def evaluated(held_out: str, weight: NDArray, bias: NDArray) -> dict[str, object]:
        plain = conse(seen[held_out].logits, class_vectors())
        head = linear_head(
            seen[held_out].features, weight.astype(np.float32), bias.astype(np.float32)
        )
        mixed = with_head(plain, head, head_weight=HEAD_WEIGHT)
        report: dict[str, object] = {}
        for one in sets:
            if one.book == held_out:
                before = quality(vectors[one.name], plain, one.relevant)
                after = quality(vectors[one.name], mixed, one.relevant)
                report[one.name] = {
                    "queries": len(one.queries),
                    "pictures": len(one.pictures),
                    "training_free": asdict(before),
                    "with_head": asdict(after),
                    "mrr_gain": after.mrr / before.mrr - 1,
                }
        return report

    pairs, weight, bias = trained_without(arguments.held_out)
    np.savez_compressed(arguments.out, head_W=weight, head_b=bias)
    others = [book for book in BOOKS if book != arguments.held_out]
    card = {
        "name": "open head",
        "date": begun["date"],
        "command": begun["command"],
        "sha256": hashlib.sha256(weight.tobytes() + bias.tobytes()).hexdigest(),
        "trained_on": [_source(arguments.data, book) for book in others],
        "n_figures": sum(len(seen[book].logits) for book in others),
        "n_texts": len(pairs.texts),
        "licence_of_the_data": "CC BY 4.0, OpenStax",
        "recipe": asdict(recipe),
        "head_weight": HEAD_WEIGHT,
        "held_out": _source(arguments.data, arguments.held_out),
        "on_the_held_out_book": evaluated(arguments.held_out, weight, bias),
        "versions": begun["versions"],
    }
    if arguments.leave_one_out:
        card["leave_one_out"] = {
            book: evaluated(book, *trained_without(book)[1:]) for book in BOOKS
        }
    arguments.card.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(card, indent=2))


def _source(data: Path, book: str) -> dict[str, object]:
    rows = figures(data / "openstax" / book)
    return {
        "book": book,
        "sources": sorted({row["source"] for row in rows}),
        "n_figures": len(rows),
        "n_texts": sum(bool(row[field].strip()) for row in rows for field in FIELDS),
    }


def _arguments() -> argparse.Namespace:
    asked = parser(__doc__, "data", "seed")
    asked.add_argument("--held-out", choices=BOOKS, default="psychology")
    asked.add_argument(
        "--leave-one-out",
        action="store_true",
        help="also train five heads, each without one book, for the card",
    )
    asked.add_argument("--cache", type=Path, default=ROOT / "build" / "open_head")
    asked.add_argument("--out", type=Path, default=PACKAGED / "open_head.npz")
    asked.add_argument("--card", type=Path, default=PACKAGED / "open_head.json")
    return asked.parse_args()


if __name__ == "__main__":
    main()
