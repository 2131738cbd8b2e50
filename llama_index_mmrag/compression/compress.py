"""The smallest setting that keeps a promised recall, measured on the user's vectors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from llama_index_mmrag.alignment.transforms import Transform
from llama_index_mmrag.checks import number, one_of, whole
from llama_index_mmrag.checks.arguments import checked_fields
from llama_index_mmrag.compression.asked import (
    FEWEST_QUERIES,
    Asked,
    checked_unit_rows,
    enough_vectors,
    queries_of,
)
from llama_index_mmrag.compression.candidates import Candidates
from llama_index_mmrag.compression.measuring import trial
from llama_index_mmrag.compression.recall import (
    NOBODY,
    last_scores,
    low_recall,
    recalls,
)
from llama_index_mmrag.compression.report import Compression, Row
from llama_index_mmrag.errors import PromiseNotKept
from llama_index_mmrag.stores.quantisation import Quantisation
from llama_index_mmrag.vectors import Vectors, has_direction

Kept: TypeAlias = Literal["memory", "disk"]


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class CompressSettings:
    """What is promised, and what is tried; see `compress`."""

    min_recall: float = 0.95
    top_k: int = 10
    candidates: Candidates | None = None
    smallest: Kept = "memory"
    n_queries: int = 2000
    confidence: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        number(self.min_recall, "min_recall", more_than=0, at_most=1)
        number(self.confidence, "confidence", more_than=0, less_than=1)
        for name, least in {"top_k": 1, "n_queries": FEWEST_QUERIES}.items():
            count = whole(getattr(self, name), name, at_least=least)
            object.__setattr__(self, name, count)
        whole(self.seed, "seed", at_least=0)
        one_of(self.smallest, "smallest", get_args(Kept))


def compress(  # noqa: PLR0913 - what is promised, what is tried, how sure
    vectors: ArrayLike,
    queries: ArrayLike | None = None,
    *,
    min_recall: float = 0.95,
    top_k: int = 10,
    candidates: Candidates | None = None,
    smallest: Kept = "memory",
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
    settings = CompressSettings(
        min_recall=min_recall,
        top_k=top_k,
        candidates=candidates,
        smallest=smallest,
        n_queries=n_queries,
        confidence=confidence,
        seed=seed,
    )
    rows = checked_unit_rows(vectors, "The stored vectors")
    enough_vectors(rows)
    rng = np.random.default_rng(seed)
    return choose(rows, queries_of(rows, queries, n_queries, rng), settings)


def choose(rows: Vectors, asked: Asked, settings: CompressSettings) -> Compression:
    """Do what `compress` does, over checked unit rows and queries in random order."""
    candidates = settings.candidates or Candidates()
    smallest, min_recall = settings.smallest, settings.min_recall
    half = len(asked) // 2
    here, there = asked.where(np.arange(half)), asked.where(np.arange(half, len(asked)))
    error = (1 - settings.confidence) / candidates.n_tests(rows.shape[1])
    run = _Run(rows, here, settings, len(there), error)
    fitted_on = np.delete(rows, asked.left_out[asked.left_out != NOBODY], axis=0)
    measured: list[Row] = []
    for name, transform in candidates.transforms(fitted_on, seed=settings.seed):
        measured += run.rows_of(name, transform, candidates)
    before = measured[0]
    saving = [
        row
        for row in measured[1:]
        if row.low is not None
        and row.low >= min_recall
        and getattr(row, smallest) < getattr(before, smallest)
    ]
    other: Kept = "disk" if smallest == "memory" else "memory"
    chosen = min(
        saving,
        key=lambda row: (getattr(row, smallest), getattr(row, other), -(row.low or 0)),
        default=None,
    )
    report = Compression(
        rows=tuple(measured),
        chosen=chosen,
        held_out=None,
        min_recall=min_recall,
        top_k=settings.top_k,
        n_vectors=len(rows),
        n_queries=(len(here), len(there)),
        queries=asked.origin,
        smallest=smallest,
    )
    if chosen is None:
        raise PromiseNotKept(report.verdict(), compression=report)
    judge = _Run(rows, there, settings, len(there), error)
    codes = chosen.quantisation
    level = 1.0 if codes is None else codes.oversampling
    return replace(report, held_out=judge.measured(chosen, (level,)).recall)


class _Run:
    """Settings measured one after the other, by the same queries."""

    def __init__(
        self,
        rows: Vectors,
        asked: Asked,
        settings: CompressSettings,
        n_next: int,
        error: float,
    ) -> None:
        self._rows = rows
        self._asked = asked
        self._top_k = settings.top_k
        self._min_recall = settings.min_recall
        self._n_next = n_next
        self._error = error
        self._last = last_scores(rows, asked.vectors, asked.left_out, top_k=self._top_k)

    def rows_of(
        self, name: str, transform: Transform, candidates: Candidates
    ) -> Iterator[Row]:
        """Yield the transform alone, then with each quantisation."""
        stored = transform.apply(self._rows)
        row = Row(
            name=name, transform=transform, quantisation=None, dim=stored.shape[1]
        )
        if not has_direction(stored).all():
            # A row without length has no cosine: stores refuse it.
            yield replace(row, note="leaves some vectors nothing")
            return
        alone = self.measured(row, (1.0,))
        yield alone
        # Rescoring ends with the reduced vectors: it finds no more than they do.
        if alone.low is not None and alone.low < self._min_recall:
            return
        for scheme in candidates.quantisations:
            codes = Quantisation(scheme)
            levels = candidates.oversamplings if codes.has_codes else (1.0,)
            coded = replace(row, name=f"{name}, {scheme}", quantisation=codes)
            yield self.measured(coded, levels)

    def measured(self, row: Row, levels: tuple[float, ...]) -> Row:
        """Return the row at the first oversampling that keeps the promise, or last."""
        stored = row.transform.apply(self._rows)
        asked = row.transform.apply(self._asked.vectors)
        with trial(stored, row.quantisation) as collection:
            size = collection.size(len(stored), stored.shape[1])
            for level in levels:
                found, ms = collection.search(
                    asked, self._asked.left_out, top_k=self._top_k, oversampling=level
                )
                exact = self._rows, self._asked.vectors
                shares = recalls(*exact, found, self._last, top_k=self._top_k)
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
