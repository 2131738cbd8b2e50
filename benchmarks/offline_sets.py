"""Data sets of the offline encoder's benchmark: queries, pictures, right answers."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BOOKS = ("americangovernment", "astronomy", "psychology", "ushistory", "worldhist")


@dataclass(frozen=True, slots=True)
class RetrievalSet:
    """Text queries over a gallery of pictures."""

    name: str
    queries: list[str]
    pictures: list[Path]
    relevant: list[frozenset[int]]
    """For each query the positions of its right pictures; at least one."""
    book: str | None = None
    """The textbook that the set is from, to tell whether a head was trained on it."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Text-to-image figures over all queries, each in [0, 1]."""

    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    """Share of queries with a right picture among the first k."""
    mrr: float
    """Mean of 1 / rank of the first right picture; no cut-off."""


def quality(
    queries: NDArray[np.float32],
    pictures: NDArray[np.float32],
    relevant: list[frozenset[int]],
) -> Quality:
    """Return the figures of a set; ties count half of the tied pictures as ahead."""
    scores = queries @ pictures.T  # (queries, pictures)
    ranks = np.empty(len(relevant))
    for row, (found, right) in enumerate(zip(scores, relevant, strict=True)):
        wrong = np.delete(found, list(right))
        best = found[list(right)].max()
        ranks[row] = 1 + (wrong > best).sum() + (wrong == best).sum() / 2
    return Quality(
        *(float((ranks <= k).mean()) for k in (1, 5, 10)), float((1 / ranks).mean())
    )


def figures(book: Path) -> list[dict[str, str]]:
    """Return the rows of a book's figures.jsonl."""
    with (book / "figures.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def book_sets(data: Path) -> list[RetrievalSet]:
    """Return two sets for each book: alt text, and caption, to its own figure."""
    sets = []
    for book in BOOKS:
        rows = figures(data / "openstax" / book)
        pictures = [data / "openstax" / book / row["image"] for row in rows]
        for field in ("alt", "caption"):
            asked = [i for i, row in enumerate(rows) if row[field].strip()]
            sets.append(
                RetrievalSet(
                    name=f"{book}, {field}",
                    queries=[rows[i][field] for i in asked],
                    pictures=pictures,
                    relevant=[frozenset({i}) for i in asked],
                    book=book,
                )
            )
    return sets


def recipe_set(data: Path) -> RetrievalSet:
    """Return recipe titles to the photographs that the recipe links."""
    root = data / "based_cooking"
    photos: dict[str, int] = {}
    queries, relevant = [], []
    for recipe in sorted((root / "content").glob("*.md")):
        text = recipe.read_text(encoding="utf-8")
        linked = [
            name
            for name in re.findall(r"\bpix/([^\s)\"]+)", text)
            if (root / "static" / "pix" / name).exists()
        ]
        title = re.search(r"^title:\s*\"?(.+?)\"?\s*$", text, re.MULTILINE)
        if linked and title:
            right = [photos.setdefault(name, len(photos)) for name in linked]
            queries.append(title[1])
            relevant.append(frozenset(right))
    pictures = [root / "static" / "pix" / name for name in photos]
    return RetrievalSet("recipes, title", queries, pictures, relevant)


def grocery_sets(data: Path) -> list[RetrievalSet]:
    """Return names and descriptions to iconic pictures, coarse names to shop photos."""
    root = data / "grocery"
    classes = _rows(root / "classes.csv")
    iconic = [root / row["Iconic Image Path (str)"].lstrip("/") for row in classes]
    one_each = [frozenset({i}) for i in range(len(classes))]
    described = [
        (root / row["Product Description Path (str)"].lstrip("/")).read_text("utf-8")
        for row in classes
    ]
    named = [row["Class Name (str)"].replace("-", " ") for row in classes]
    shop = _rows(root / "shop.csv")
    coarse = {
        row["Coarse Class ID (int)"]: row["Coarse Class Name (str)"] for row in classes
    }
    shown: dict[str, list[int]] = {}
    for position, row in enumerate(shop):
        shown.setdefault(row["coarse_class_id"], []).append(position)
    return [
        RetrievalSet("groceries, description to iconic", described, iconic, one_each),
        RetrievalSet("groceries, name to iconic", named, iconic, one_each),
        RetrievalSet(
            "groceries, coarse name to shop photos",
            [coarse[key].replace("-", " ") for key in shown],
            [root / "shop" / row["image"] for row in shop],
            [frozenset(positions) for positions in shown.values()],
        ),
    ]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
