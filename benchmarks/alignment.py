"""Measure what alignment adds to a training-free encoder, one book left out at a time.

Pictures are EfficientNet features, texts MiniLM vectors. Heads learn from the figures
of four OpenStax books (alt text and caption) and are judged on the fifth, on recipes
and on groceries. Writes results/alignment.json and .md. Run from the repository's root:

    python benchmarks/alignment.py --data ../shared/data
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from alignment_sets import EncodedSet, encoded_sets
from numpy.typing import NDArray
from offline_sets import BOOKS
from page import first_line, header, last_line, parser, share, table, write

from llama_index_mmrag.alignment import (
    Chain,
    Head,
    Normalize,
    Pairs,
    Project,
    TrainSettings,
    Transform,
    fit_ridge,
    train_heads,
)
from llama_index_mmrag.alignment.heads import Scaling
from llama_index_mmrag.embeddings.conse import with_head
from llama_index_mmrag.vectors import unit_rows

ROOT = Path(__file__).parents[1]
HEAD_WEIGHT = 0.5
"""Of the head in the mixture, as in the shipped encoder; not tuned here."""
RIDGE_PENALTY = 1000.0
"""On standardised features; one value, not tuned here."""
N_RESAMPLED = 2000
FREE = "training-free"
METRICS = ("R@1", "R@5", "R@10", "MRR")
Ranks = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Method:
    """A way to place pictures among texts."""

    name: str
    fit: Callable[[Pairs], Transform]


def ridge(pairs: Pairs) -> Transform:
    """Return least squares on standardised features, as a transform of plain ones."""
    scaling = Scaling.of(pairs.images)
    fitted = fit_ridge(
        scaling.apply(pairs.images), unit_rows(pairs.texts), penalty=RIDGE_PENALTY
    )
    weight, bias = scaling.folded(
        fitted.weight.astype(float), fitted.bias.astype(float)
    )
    return Chain((Project(weight, bias), Normalize()))


def methods(seed: int) -> list[Method]:
    """Return what is compared with the training-free encoder."""
    settings = TrainSettings(seed=seed)
    mlp = Head(kind="mlp", hidden=512)

    def trained(head: Head, how: TrainSettings) -> Callable[[Pairs], Transform]:
        return lambda pairs: (
            train_heads(pairs, image_head=head, settings=how, show_progress=False).image
        )

    return [
        Method("ridge", ridge),
        Method("linear InfoNCE", trained(Head(), settings)),
        Method("MLP InfoNCE", trained(mlp, settings)),
        Method("linear triplet", trained(Head(), replace(settings, loss="triplet"))),
    ]


def pairs_without(sets: list[EncodedSet], held_out: str) -> Pairs:
    """Return the pairs of all other books; figures are numbered across books."""
    texts, images, groups = [], [], []
    for one in sets:
        if one.asked.book not in {None, held_out}:
            rows = np.array([min(right) for right in one.asked.relevant])
            texts.append(one.queries)
            images.append(one.features[rows])
            groups.append(rows + 10_000 * BOOKS.index(str(one.asked.book)))
    return Pairs.of(*map(np.concatenate, (texts, images, groups)))


def drawn(pairs: Pairs, n_pairs: int, seed: int) -> Pairs:
    """Return some of the pairs, without replacement."""
    order = np.random.default_rng(seed).permutation(len(pairs))
    return pairs.where(order[:n_pairs])


def ranks(scores: NDArray[np.float32], relevant: list[frozenset[int]]) -> Ranks:
    """Return each query's rank of its first right item; ties count half."""
    found = np.empty(len(relevant))
    for row, right in enumerate(relevant):
        wrong = np.delete(scores[row], list(right))
        best = scores[row, list(right)].max()
        found[row] = 1 + (wrong > best).sum() + (wrong == best).sum() / 2
    return found


def both_ways(one: EncodedSet, pictures: NDArray[np.float32]) -> dict[str, Ranks]:
    """Return the ranks of text → image and of image → text."""
    scores = one.queries @ pictures.T
    texts_of: dict[int, set[int]] = {}
    for query, right in enumerate(one.asked.relevant):
        for picture in right:
            texts_of.setdefault(picture, set()).add(query)
    asked = sorted(texts_of)
    back = [frozenset(texts_of[picture]) for picture in asked]
    return {
        "text to image": ranks(scores, one.asked.relevant),
        "image to text": ranks(np.ascontiguousarray(scores[:, asked].T), back),
    }


def figures(found: Ranks, free: Ranks) -> dict[str, Any]:
    """Return recalls and MRR with 95 % bootstrap intervals, and the paired gain.

    Queries are resampled, the same ones for both methods.
    """
    random = np.random.default_rng(0)
    sampled = random.integers(0, len(found), size=(N_RESAMPLED, len(found)))
    values = {"R@1": found <= 1, "R@5": found <= 5, "R@10": found <= 10}
    each = {name: hit.astype(float) for name, hit in values.items()}
    each["MRR"] = 1 / found
    report: dict[str, Any] = {"queries": len(found)}
    for name, value in each.items():
        low, high = np.quantile(value[sampled].mean(axis=1), [0.025, 0.975])
        report[name] = [float(value.mean()), float(low), float(high)]
    before, after = (1 / free)[sampled].mean(axis=1), each["MRR"][sampled].mean(axis=1)
    low, high = np.quantile(after - before, [0.025, 0.975])
    report["MRR_difference"] = [
        float((1 / found - 1 / free).mean()),
        float(low),
        float(high),
    ]
    return report


class Ledger:
    """Ranks by set, direction and method; books' sets pooled as well."""

    def __init__(self) -> None:
        self.ranks: dict[tuple[str, str, str], list[Ranks]] = {}

    def add(self, one: EncodedSet, method: str, pictures: NDArray[np.float32]) -> None:
        """Take down one method's ranks in one set; a set may come several times."""
        names = [one.asked.name]
        if one.asked.book is not None:
            names.append("all books, " + one.asked.name.split(", ")[1])
        for direction, found in both_ways(one, pictures).items():
            for name in names:
                self.ranks.setdefault((name, direction, method), []).append(found)

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each set, direction and method, the pooled ones last."""
        rows = []
        for (name, direction, method), found in self.ranks.items():
            free = self.ranks[name, direction, FREE]
            row = {"set": name, "direction": direction, "method": method}
            # Several heads judged on the same foreign set: mean over the heads' ranks
            # by query, so that a query counts once.
            if name.startswith("all books"):
                pooled, base = np.concatenate(found), np.concatenate(free)
                rows.append(row | figures(pooled, base))
            else:
                mean = 1 / np.mean([1 / ranks for ranks in found], axis=0)
                only = found[0] if len(found) == 1 else None
                report = figures(mean if only is None else only, free[0])
                if only is None:
                    for k in (1, 5, 10):  # recalls of the heads, not of the mean rank
                        recall = float(np.mean([(r <= k).mean() for r in found]))
                        report[f"R@{k}"] = [recall, None, None]
                rows.append(row | report)
        return sorted(rows, key=lambda row: row["set"].startswith("all books"))


def measure(
    sets: list[EncodedSet], *, seed: int, sizes: list[int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, float]]:
    """Return the comparison, the curve over numbers of pairs, and seconds of fits."""
    ledger = Ledger()
    seconds: dict[str, list[float]] = {}
    few = {n: Ledger() for n in sizes}
    foreign = [one for one in sets if one.asked.book is None]
    for one in sets:
        for book in [ledger, *few.values()]:
            book.add(one, FREE, one.training_free)
    for held_out in BOOKS:
        pairs = pairs_without(sets, held_out)
        judged = [one for one in sets if one.asked.book == held_out] + foreign
        for method in methods(seed):
            started = time.perf_counter()
            head = method.fit(pairs)
            seconds.setdefault(method.name, []).append(time.perf_counter() - started)
            _judge(ledger, method.name, head, judged)
            print(
                held_out, method.name, f"{seconds[method.name][-1]:.0f} s", flush=True
            )
        for n in sizes:
            for method in methods(seed)[:2]:
                head = method.fit(drawn(pairs, n, seed))
                _judge(few[n], method.name, head, judged[:2])
    curve = [
        {"pairs": n} | row
        for n, book in few.items()
        for row in book.rows()
        if row["set"].startswith("all books")
    ]
    return ledger.rows(), curve, {name: max(taken) for name, taken in seconds.items()}


def _judge(
    ledger: Ledger, name: str, head: Transform, judged: list[EncodedSet]
) -> None:
    for one in judged:
        alone = head.apply(one.features)
        ledger.add(one, name, alone)
        mixed = with_head(one.training_free, alone, head_weight=HEAD_WEIGHT)
        ledger.add(one, f"{name} + training-free", mixed)


def markdown(report: dict[str, Any]) -> list[str]:
    """Return the report as the lines of a page."""
    lines = [
        "# Alignment: what heads add to a training-free encoder",
        "",
        f"{first_line(report)}; seed {report['seed']}.",
        "",
        'Five times, heads learn from four books and are judged on the fifth; "all '
        'books" pools the five left-out books. Recipes and groceries are never '
        "trained on: their figures are means over the five heads. The mixture is "
        f"`unit(training-free + {HEAD_WEIGHT} head)`. Brackets: 95 % bootstrap "
        "interval over queries. The last column is the paired difference in MRR to "
        "training-free: **bold** where its interval leaves out 0.",
        "",
    ]
    for direction in ("text to image", "image to text"):
        rows = [_cells(row) for row in report["rows"] if row["direction"] == direction]
        head = ["set (queries)", "method", "R@1 / 5 / 10", "MRR", "difference"]
        lines += [f"## {direction.capitalize()}", "", *table(head, rows), ""]
    lines += ["## How many pairs", "", "Pooled left-out books, text to image, MRR.", ""]
    everything = [
        row | {"pairs": "all"} for row in report["rows"] if "books" in row["set"]
    ]
    kept, rows = {"ridge", "linear InfoNCE"}, []
    for row in report["curve"] + everything:
        is_kept = row["method"].removesuffix(" + training-free") in kept
        if row["direction"] == "text to image" and is_kept:
            cells = _cells(row)
            rows.append([str(row["pairs"]), cells[0], cells[1], *cells[3:]])
    lines += table(["pairs", "set", "method", "MRR", "difference"], rows)
    slowest = ", ".join(f"{k} {v:.0f} s" for k, v in report["seconds"].items())
    slowest = f"Slowest fit of each kind on all pairs: {slowest}."
    return [*lines, "", slowest, "", last_line(report)]


def _cells(row: dict[str, Any]) -> list[str]:
    recalls = " / ".join(f"{100 * row[f'R@{k}'][0]:.1f}" for k in (1, 5, 10))
    value, *within = row["MRR"]
    change, least, most = row["MRR_difference"]
    difference = share(change, (least, most), "+.3f")
    if least > 0 or most < 0:
        difference = f"**{difference}**"
    if row["method"] == FREE:
        difference = ""
    return [
        f"{row['set']} ({row['queries']})",
        row["method"],
        recalls,
        share(value, within),
        difference,
    ]


def main() -> None:
    """Measure and write the results."""
    asked = parser(__doc__, "data", "seed", "threads")
    asked.add_argument("--cache", type=Path, default=ROOT / "build" / "alignment")
    asked.add_argument("--pairs", type=int, nargs="*", default=[100, 300, 1000])
    arguments = asked.parse_args()
    torch.set_num_threads(arguments.threads)
    begun = header("llama-index-mmrag", "torch", "numpy")
    sets = encoded_sets(arguments.data, arguments.cache)
    rows, curve, seconds = measure(sets, seed=arguments.seed, sizes=arguments.pairs)
    report = {
        **begun,
        "seed": arguments.seed,
        "seconds": seconds,
        "rows": rows,
        "curve": curve,
    }
    print(write("alignment", report, markdown(report)))


if __name__ == "__main__":
    main()
