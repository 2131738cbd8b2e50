"""What `compress` measured and picked, as data and as a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from llama_index_mmrag.alignment.chain import Chain
from llama_index_mmrag.alignment.transforms import Transform
from llama_index_mmrag.stores.quantisation import Quantisation


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One setting.

    Attributes:
        name: Such as "PCA 192, int8 x2".
        transform: What vectors go through.
        quantisation: How the collection keeps them; None: float32.
        dim: Length of the vectors then.
        memory: Bytes a vector that every search reads; None: not measured.
        disk: Bytes a vector that are stored, those in memory included.
        recall: Mean over the queries that settings are chosen by.
        low: What the recall of as many other queries stays above, almost surely.
        ms: Median search in milliseconds, every vector compared, no payload.
        note: Why it was not measured.
    """

    name: str
    transform: Transform
    quantisation: Quantisation | None
    dim: int
    memory: float | None = None
    disk: float | None = None
    recall: float | None = None
    low: float | None = None
    ms: float | None = None
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON can hold them."""
        quantisation = self.quantisation
        return {
            "name": self.name,
            "dim": self.dim,
            "quantisation": None if quantisation is None else quantisation.as_dict(),
            "memory_bytes": self.memory,
            "disk_bytes": self.disk,
            "recall": self.recall,
            "recall_low": self.low,
            "ms": self.ms,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """The settings that were measured, and the one that was picked.

    `str()` is the table.

    Attributes:
        rows: Every setting, the vectors as they are first.
        chosen: The smallest that keeps the promise; None: no setting saves anything
            and keeps it.
        held_out: Mean recall of the chosen one over queries that had no part in the
            choice; None without one.
        min_recall: The promise.
        top_k: Recall is among this many neighbours.
        n_vectors: Searched.
        n_queries: Chosen by, and held out.
        queries: In words, where they come from.
        smallest: What was to be small: "memory" or "disk".
        note: What to know about the figures.
        now: How a collection is kept already, where not as plain vectors.
    """

    rows: tuple[Row, ...]
    chosen: Row | None
    held_out: float | None
    min_recall: float
    top_k: int
    n_vectors: int
    n_queries: tuple[int, int]
    queries: str
    smallest: str
    note: str = ""
    now: Row | None = None

    @property
    def before(self) -> Row:
        """What there is to save from: the vectors as they are kept."""
        return self.rows[0] if self.now is None else self.now

    def kept_as(self, quantisation: Quantisation | None) -> Compression:
        """Return the report for a collection that has codes already.

        Nothing is picked if the picked setting is no smaller than what is there.
        """
        now = next((row for row in self.rows if _is_now(row, quantisation)), None)
        if now is None:
            return self
        sizes = [
            float("inf") if row is None else getattr(row, self.smallest)
            for row in (self.chosen, now)
        ]
        chosen = self.chosen if sizes[0] < _GAIN * sizes[1] else None
        return replace(self, now=now, chosen=chosen)

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON can hold them."""
        return {
            "min_recall": self.min_recall,
            "top_k": self.top_k,
            "vectors": self.n_vectors,
            "queries": {
                "from": self.queries,
                "chosen_by": self.n_queries[0],
                "held_out": self.n_queries[1],
            },
            "smallest": self.smallest,
            "chosen": None if self.chosen is None else self.chosen.name,
            "held_out_recall": self.held_out,
            "note": self.note,
            "rows": [row.as_dict() for row in self.rows],
        }

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table's rows: name, memory, disk, recall, sure, ms, and a word."""
        return [
            (
                row.name,
                _number(row.memory, 1),
                _number(row.disk, 1),
                _number(row.recall, 4),
                _number(row.low, 4),
                _number(row.ms, 2),
                self._word(row),
            )
            for row in self.rows
        ]

    def verdict(self) -> str:
        """Return in a sentence or two what was picked, and what it saves."""
        promise = f"recall@{self.top_k} of {self.min_recall:g}"
        if self.chosen is None and self.now is not None:
            return (
                f"The vectors are kept as {self.now.name} already, and no setting that "
                f"saves {self.smallest} beside that keeps a {promise}."
            )
        if self.chosen is None:
            return (
                f"No setting that saves {self.smallest} keeps a {promise}. Promise "
                f"less, or give more queries: few of them prove little."
            )
        before, after = self.before, self.chosen
        saved = " and ".join(
            f"{_number(getattr(before, what), 0)} to {_number(getattr(after, what), 0)}"
            f" bytes a vector {where}"
            for what, where in (("memory", "in memory"), ("disk", "on disk"))
        )
        return (
            f"Picked {after.name}: {saved}. {promise.capitalize()} was promised; over "
            f"{self.n_queries[1]} queries that had no part in the choice it is "
            f"{_number(self.held_out, 4)}."
        )

    def __str__(self) -> str:
        """Return the table, and the verdict below it."""
        lines = [HEADINGS, *self.cells()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(
                cell.ljust(width) if i in {0, len(widths) - 1} else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        said = f"{self.n_vectors} vectors; queries: {self.queries}"
        return "\n".join(filter(None, (*table, said, self.note, self.verdict())))

    def _word(self, row: Row) -> str:
        if row is self.chosen:
            return "picked"
        if row.note or row.low is None:
            return row.note
        return "keeps" if row.low >= self.min_recall else "misses"


_GAIN = 0.99
"""What is not smaller by a hundredth is not worth building anew."""


def _is_now(row: Row, quantisation: Quantisation | None) -> bool:
    is_plain = row.transform == Chain() and row.memory is not None
    if not is_plain or quantisation is None or row.quantisation is None:
        return False
    return row.quantisation.scheme == quantisation.scheme


HEADINGS = ("setting", "memory", "disk", "recall", "at least", "ms", "")
"""Of the table's columns; memory and disk in bytes a vector."""


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
