"""What a search found, and what a vector scores with it."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from llama_index.core.schema import BaseNode

from llama_index_mmrag.vectors import unit_rows


class Found(NamedTuple):
    """What a search found: light where the store allows it, else with its node."""

    node_id: str
    said: Mapping[str, Any]
    """Its metadata, or those fields of its payload that were asked for."""
    score: float
    node: BaseNode | None = None
    vector: Sequence[float] | None = None
    """As it is stored, where it was asked for."""

    def taken_from_node(self) -> Found:
        """Return the hit with the vector beside the node, which came with it."""
        if self.node is None:
            return self
        bare = self.node.model_copy(update={"embedding": None})
        return self._replace(node=bare, vector=self.node.embedding)


class Nearness(NamedTuple):
    """What a query's vector scores with hits that came with theirs.

    Example:
        >>> rows = {"a": [0.6, 0.8], "b": [1.0, 0.0]}
        >>> nearness = Nearness(rows, is_cosine=True).to([2.0, 0.0], without={"b"})
        >>> {i: round(score, 4) for i, score in nearness.items()}
        {'a': 0.6}
    """

    rows: Mapping[str, Any]
    """Vectors by id, as they are stored: of length 1 if compared by cosine."""
    is_cosine: bool

    def to(
        self, query: Sequence[float], *, without: Container[str]
    ) -> dict[str, float]:
        """Return by id what a search by the vector, shape (dim,), scores the others."""
        rows = {i: row for i, row in self.rows.items() if i not in without}
        if not rows:
            return {}
        vector = np.array([query], dtype=np.float32)
        if self.is_cosine:
            vector = unit_rows(vector)
        scores = np.array([*rows.values()], dtype=np.float32) @ vector[0]
        return dict(zip(rows, scores.tolist(), strict=True))
