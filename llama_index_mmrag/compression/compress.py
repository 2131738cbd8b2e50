"""The smallest setting that keeps a promised recall, measured on the user's vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from llama_index_mmrag.alignment.transforms import Transform
from llama_index_mmrag.compression.asked import (
    FEWEST_QUERIES,
    Asked,
    checked_unit_rows,
    enough_vectors,
    given_queries,
    stored_queries,
)
from llama_index_mmrag.compression.candidates import Candidates
from llama_index_mmrag.compression.measuring import Trial, trial
from llama_index_mmrag.compression.recall import (
    NOBODY,
    last_scores,
    low_recall,
    recalls,
)
from llama_index_mmrag.compression.report import Compression, Row
from llama_index_mmrag.errors import InvalidSetting, PromiseNotKept
from llama_index_mmrag.stores.quantisation import Quantisation
from llama_index_mmrag.vectors import Vectors


def compress(  # noqa: PLR0913 - what is promised, what is tried, how sure
    vectors: ArrayLike,
    queries: ArrayLike | None = None,
    *,
    min_recall: float = 0.95,
    top_k: int = 10,
    candidates: Candidates | None = None,
    smallest: Literal["memory", "disk"] = "memory",
    n_queries: int = 2000,
    confidence: float = 0.999,
    seed: int = 0,
) -> Compression:
    """Return the smallest setting that keeps a promised recall, and all others.

    Reductions are fitted on vectors that are no query; every setting is then built in
    Qdrant's engine in a temporary folder and searched. Half of the queries choose: a
    setting passes if its `low_recall` is at least the promise, at an error shared among
    all settings (Bonferroni, as in https://arxiv.org/abs/2110.01052), so that the best
    of many lucky ones is not picked for its luck. The other half is only reported.
    Recall is by cosine against exact search with the vectors as given; ties are right.

    Takes a minute or two for 10,000 vectors, holds them all in memory, and the
    interpreter while the engine builds: not for a process that answers queries.

    Args:
        vectors: What is stored, `(n, d)`, at least 100.
        queries: What users ask, as vectors, `(q, d)`, at least 20; None takes stored
            vectors, each leaving itself out. Queries of users differ from what is
            stored (words from pictures above all): give theirs if you can.
        min_recall: The promise, in (0, 1].
        top_k: Neighbours that recall is about.
        candidates: What is tried; None: `Candidates()`.
        smallest: What is to be small. By "memory", the originals may stay on disk.
        n_queries: Queries at most; more make the bound narrower.
        confidence: Chance that a promise just kept is kept again, in (0, 1).
        seed: Of samples and splits.

    Raises:
        PromiseNotKept: No setting that saves anything keeps the promise; the error's
            `compression` is the table.
        InvalidVector: Too few vectors, some that are zeros or not finite, or queries
            of another length.
        InvalidSetting: `min_recall`, `top_k` or another setting is out of its range.
        MissingExtra: An autoencoder is to be tried and torch is not installed.
    """
    check_settings(min_recall, top_k, n_queries, confidence)
    rows = checked_unit_rows(vectors, "The stored vectors")
    enough_vectors(rows)
    rng = np.random.default_rng(seed)
    if queries is None:
        asked = stored_queries(rows, min(n_queries, len(rows) // 2), rng)
    else:
        asked = given_queries(queries, rows.shape[1], n_queries, rng)
    return choose(
        rows,
        asked,
        min_recall=min_recall,
        top_k=top_k,
        candidates=candidates or Candidates(),
        smallest=smallest,
        confidence=confidence,
        seed=seed,
    )


def choose(
    rows: Vectors,
    asked: Asked,
    *,
    min_recall: float,
    top_k: int,
    candidates: Candidates,
    smallest: Literal["memory", "disk"],
    confidence: float,
    seed: int,
) -> Compression:
    """Do what `compress` does, over checked unit rows and queries in random order."""
    half = len(asked) // 2
    here, there = asked.where(np.arange(half)), asked.where(np.arange(half, len(asked)))
    error = (1 - confidence) / candidates.n_tests(rows.shape[1])
    run = _Run(rows, here, top_k, min_recall, len(there), error)
    fitted_on = np.delete(rows, asked.left_out[asked.left_out != NOBODY], axis=0)
    measured: list[Row] = []
    for name, transform in candidates.transforms(fitted_on, seed=seed):
        measured += run.rows_of(name, transform, candidates)
    before = measured[0]
    saving = [
        row
        for row in measured[1:]
        if row.low is not None
        and row.low >= min_recall
        and _of(row, smallest) < _of(before, smallest)
    ]
    other: Literal["memory", "disk"] = "disk" if smallest == "memory" else "memory"
    chosen = min(
        saving,
        key=lambda row: (_of(row, smallest), _of(row, other), -(row.low or 0)),
        default=None,
    )
    report = Compression(
        rows=tuple(measured),
        chosen=chosen,
        held_out=None,
        min_recall=min_recall,
        top_k=top_k,
        n_vectors=len(rows),
        n_queries=(len(here), len(there)),
        queries=asked.origin,
        smallest=smallest,
    )
    if chosen is None:
        raise PromiseNotKept(report.verdict(), compression=report)
    judge = _Run(rows, there, top_k, min_recall, len(there), error)
    held_out = judge.recall_of(chosen.transform, chosen.quantisation)
    return replace(report, held_out=held_out)


class _Run:
    """Settings measured one after the other, by the same queries."""

    def __init__(
        self,
        rows: Vectors,
        asked: Asked,
        top_k: int,
        min_recall: float,
        n_next: int,
        error: float,
    ) -> None:
        self._rows = rows
        self._asked = asked
        self._top_k = top_k
        self._min_recall = min_recall
        self._n_next = n_next
        self._error = error
        self._last = last_scores(rows, asked.vectors, asked.left_out, top_k=top_k)

    def rows_of(
        self, name: str, transform: Transform, candidates: Candidates
    ) -> Iterator[Row]:
        """Yield the transform alone, then with each quantisation."""
        stored, asked = (
            transform.apply(self._rows),
            transform.apply(self._asked.vectors),
        )
        empty = Row(
            name=name, transform=transform, quantisation=None, dim=stored.shape[1]
        )
        if not stored.any(axis=1).all():
            # A row without length has no cosine: stores refuse it.
            yield replace(empty, note="leaves some vectors nothing")
            return
        alone = self._measured(empty, stored, asked, (1.0,))
        yield alone
        for scheme in candidates.quantisations:
            quantisation = Quantisation(scheme)
            row = replace(empty, name=f"{name}, {scheme}", quantisation=quantisation)
            # Rescoring ends with the reduced vectors: it finds no more than they do.
            if alone.low is not None and alone.low < self._min_recall:
                continue
            levels = candidates.oversamplings if quantisation.has_codes else (1.0,)
            yield self._measured(row, stored, asked, levels)

    def recall_of(
        self, transform: Transform, quantisation: Quantisation | None
    ) -> float:
        """Return the mean recall of one setting."""
        stored, asked = (
            transform.apply(self._rows),
            transform.apply(self._asked.vectors),
        )
        oversampling = 1.0 if quantisation is None else quantisation.oversampling
        with trial(stored, quantisation) as collection:
            shares, _ = self._shares(collection, asked, oversampling)
        return float(shares.mean())

    def _measured(
        self, row: Row, stored: Vectors, asked: Vectors, levels: tuple[float, ...]
    ) -> Row:
        """Return the row at the first oversampling that keeps the promise, or last."""
        with trial(stored, row.quantisation) as collection:
            size = collection.size(len(stored), stored.shape[1])
            for level in levels:
                shares, ms = self._shares(collection, asked, level)
                low = low_recall(shares, n_next=self._n_next, error=self._error)
                if low >= self._min_recall:
                    break
        quantisation, name = row.quantisation, row.name
        if quantisation is not None and quantisation.has_codes:
            quantisation = Quantisation(quantisation.scheme, level)
            name = f"{name} x{level:g}"
        return replace(
            row,
            name=name,
            quantisation=quantisation,
            memory=size.memory,
            disk=size.disk,
            recall=float(shares.mean()),
            low=low,
            ms=ms,
        )

    def _shares(
        self, collection: Trial, asked: Vectors, level: float
    ) -> tuple[np.ndarray, float]:
        found, ms = collection.search(
            asked, self._asked.left_out, top_k=self._top_k, oversampling=level
        )
        shares = recalls(
            self._rows, self._asked.vectors, found, self._last, top_k=self._top_k
        )
        return shares, ms


def check_settings(
    min_recall: float, top_k: int, n_queries: int, confidence: float
) -> None:
    """Do nothing if what is promised can be.

    Raises:
        InvalidSetting: Something is out of its range.
    """
    good = (
        0 < min_recall <= 1
        and top_k >= 1
        and n_queries >= FEWEST_QUERIES
        and 0 < confidence < 1
    )
    if not good:
        msg = (
            f"Got min_recall={min_recall!r}, top_k={top_k!r}, n_queries={n_queries!r}, "
            f"confidence={confidence!r}; expected a recall in (0, 1], a top_k of at "
            f"least 1, at least {FEWEST_QUERIES} queries and a confidence in (0, 1). "
            f"Correct the setting."
        )
        raise InvalidSetting(msg)


def _of(row: Row, what: Literal["memory", "disk"]) -> float:
    size = row.memory if what == "memory" else row.disk
    return float("inf") if size is None else size
