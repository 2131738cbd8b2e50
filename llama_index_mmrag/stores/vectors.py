"""Vectors and ids: what a store accepts, checked before anything is written."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import numpy as np
from llama_index.core.schema import BaseNode

from llama_index_mmrag.errors import InvalidVector, MmragError
from llama_index_mmrag.vectors import Vectors, has_direction, unit_rows


class InvalidNodeId(MmragError, ValueError):
    """A node's id cannot be a Qdrant point id, which is a UUID."""


def point_id(node_id: str) -> str:
    """Return `node_id` in the one spelling of a UUID that Qdrant gives back.

    Raises:
        InvalidNodeId: `node_id` is not a UUID.

    Example:
        >>> point_id("A34B2C1D-0000-4000-8000-000000000001")
        'a34b2c1d-0000-4000-8000-000000000001'
    """
    canonical = point_id_or_none(node_id)
    if canonical is None:
        raise InvalidNodeId(
            f"Node id {node_id!r} is not a UUID, and Qdrant point ids must be. Use "
            "str(uuid.uuid5(uuid.NAMESPACE_URL, your_id)) as the id and keep your own "
            "in the metadata."
        )
    return canonical


def point_id_or_none(node_id: str) -> str | None:
    """Return `node_id` as `point_id` does, or None where it is not a UUID."""
    try:
        return str(uuid.UUID(node_id))
    except (ValueError, AttributeError, TypeError):
        return None


def node_vectors(nodes: Sequence[BaseNode], *, dim: int, cosine: bool) -> Vectors:
    """Return the nodes' embeddings as float32, shape `(n, dim)`.

    Under cosine the rows have unit length. The engine would scale them itself, but
    leaves very short vectors as they are and overflows on very long ones.

    Raises:
        InvalidVector: an embedding is missing, of another size, not finite, or, under
            cosine, all zeros. The message names the node.
    """
    rows = [_embedding_of(node) for node in nodes]
    for node, row in zip(nodes, rows, strict=True):
        if len(row) != dim:
            raise InvalidVector(
                f"The embedding of node {node.node_id!r} has {len(row)} numbers; this "
                f"store holds vectors of {dim}. Embed it with the model that the store "
                "was filled with, or open another store."
            )
    names = [f"The embedding of node {node.node_id!r}" for node in nodes]
    return _checked(rows, names=names, dim=dim, cosine=cosine)


def query_vector(values: Sequence[float], *, dim: int, cosine: bool) -> list[float]:
    """Return a query's embedding, checked as `node_vectors` checks a node's.

    Raises:
        InvalidVector: another size, not finite, or, under cosine, all zeros.
    """
    if len(values) != dim:
        raise InvalidVector(
            f"The query vector has {len(values)} numbers; this store holds vectors of "
            f"{dim}. Embed the query with the model that the store was filled with."
        )
    checked = _checked([values], names=["The query vector"], dim=dim, cosine=cosine)
    row: list[float] = checked[0].tolist()
    return row


def _embedding_of(node: BaseNode) -> Sequence[float]:
    if node.embedding is None:
        raise InvalidVector(
            f"Node {node.node_id!r} has no embedding. Set `node.embedding` before "
            "adding it, or insert through an index, which embeds."
        )
    return node.embedding


def _checked(
    rows: Sequence[Sequence[float]], *, names: Sequence[str], dim: int, cosine: bool
) -> Vectors:
    wide = np.asarray(rows, dtype=np.float64).reshape(len(rows), dim)
    with np.errstate(over="ignore", under="ignore"):
        finite = np.isfinite(wide if cosine else wide.astype(np.float32))  # (n, dim)
    for row in np.flatnonzero(~finite.all(axis=1)).tolist():
        raise InvalidVector(
            f"{names[row]} holds NaN or infinity (or numbers beyond float32). Expected "
            "finite numbers: one NaN spoils the whole search graph. Check the "
            "encoder's output for this input."
        )
    if not cosine:
        return wide.astype(np.float32)
    for row in np.flatnonzero(~has_direction(wide)).tolist():
        raise InvalidVector(
            f"{names[row]} is all zeros, which has no direction, so its cosine to "
            "anything is undefined. Check the encoder's output for this input."
        )
    return unit_rows(wide)
