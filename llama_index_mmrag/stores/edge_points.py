"""LlamaIndex nodes as Qdrant Edge points, in the payload layout of a Qdrant server.

Ids, vectors and metadata are checked here, before anything is written.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import qdrant_edge as qe
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.utils import (
    metadata_dict_to_node,
    node_to_metadata_dict,
)
from numpy.typing import NDArray

from llama_index_mmrag.errors import (
    InvalidSetting,
    InvalidVector,
    MmragError,
    StoreUnusable,
)
from llama_index_mmrag.vectors import Vectors, has_direction, stored_rows

CONTENT_KEYS = ["_node_content", "_node_type"]
"""Payload fields that a whole node is read from."""

_POINTS_PER_WRITE = 1024

_is_canonical = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


class InvalidNodeId(MmragError, ValueError):
    """A node's id cannot be a Qdrant point id, which is a UUID."""


def point_ids(node_ids: Iterable[str]) -> list[str]:
    """Return ids in the one spelling of a UUID that Qdrant gives back.

    Raises:
        InvalidNodeId: One is not a UUID.

    Example:
        >>> point_ids(["A34B2C1D-0000-4000-8000-000000000001"])
        ['a34b2c1d-0000-4000-8000-000000000001']
    """
    ids = []
    for node_id in node_ids:
        if (canonical := _canonical(node_id)) is None:
            raise InvalidNodeId(
                f"Node id {node_id!r} is not a UUID, and Qdrant point ids must be. Use "
                "str(uuid.uuid5(uuid.NAMESPACE_URL, your_id)) as the id and keep your "
                "own in the metadata."
            )
        ids.append(canonical)
    return ids


def known_ids(node_ids: Iterable[str]) -> list[str]:
    """Return ids as `point_ids` does, each once, without those that are no UUIDs.

    These cannot be stored: they are missing, like any unknown id.
    """
    if isinstance(node_ids, str) or not isinstance(node_ids, Iterable):
        raise InvalidNodeId(
            f"node_ids is {node_ids!r}; expected a list of ids. Use [...]."
        )
    found = dict.fromkeys(_canonical(node_id) for node_id in node_ids)
    return [canonical for canonical in found if canonical is not None]


def upserts_of(
    nodes: Sequence[BaseNode], *, dim: int, cosine: bool, vector_name: str
) -> tuple[list[str], list[qe.UpdateOperation], int]:
    """Return the nodes' ids, what writes them, and about how many bytes that is.

    Of equal ids the last one stays.

    Args:
        nodes: At least one.
        dim: Length of the store's vectors.
        cosine: Whether they are compared by cosine.
        vector_name: Name of the vector in each point.

    Raises:
        InvalidVector: An embedding is missing, of another size, not finite, or all
            zeros under cosine.
        InvalidNodeId: An id is not a UUID.
        InvalidSetting: Metadata that JSON cannot hold.
    """
    ids = point_ids([node.node_id for node in nodes])
    rows = [_embedding_of(node, dim) for node in nodes]
    names = [f"The embedding of node {node.node_id!r}" for node in nodes]
    vectors = stored_rows(rows, names, cosine=cosine).tolist()
    points = {
        key: _point(key, node, {vector_name: vector})
        for key, node, vector in zip(ids, nodes, vectors, strict=True)
    }
    batch = list(points.values())
    # Metadata are in the payload twice: as fields, and in the node's content.
    texts = (str((point.payload or {}).get("_node_content")) for point in batch)
    n_bytes = 4 * dim * len(batch) + 2 * sum(map(len, texts))
    operations = [
        qe.UpdateOperation.upsert_points(batch[start : start + _POINTS_PER_WRITE])
        for start in range(0, len(batch), _POINTS_PER_WRITE)
    ]
    return ids, operations, n_bytes


def node_of(record: qe.Record | qe.ScoredPoint) -> BaseNode:
    """Return the node that a point's payload describes.

    Raises:
        StoreUnusable: It describes none.
    """
    try:
        return metadata_dict_to_node(record.payload or {})
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise StoreUnusable(
            f"The point {str(record.id)!r} holds no node that can be read "
            f"({type(error).__name__}: {error}). Expected what LlamaIndex writes: "
            "restore a backup, or insert its document again."
        ) from error


def nodes_of(records: Iterable[qe.Record], *, vector_name: str) -> list[BaseNode]:
    """Return the nodes that points hold, with embeddings where these were read."""
    nodes = []
    for record in records:
        node = node_of(record)
        if isinstance(record.vector, dict):
            node.embedding = record.vector[vector_name]  # type: ignore[assignment]  # dense
        nodes.append(node)
    return nodes


def vectors_of(records: Sequence[qe.Record], *, vector_name: str, dim: int) -> Vectors:
    """Return the points' vectors, which were read with them, shape `(n, dim)`."""
    rows = [record.vector[vector_name] for record in records]  # type: ignore[call-overload,index]  # named, dense
    return np.array(rows, dtype=np.float32).reshape(len(rows), dim)


class ShardVectors(NamedTuple):
    """What a shard's vectors are."""

    name: str
    dim: int
    is_cosine: bool


def whole_in(page: Sequence[qe.Record], how: ShardVectors) -> NDArray[np.bool_]:
    """Return which points have a payload, and a vector that could be stored.

    Args:
        page: Points, read with payloads and vectors.
        how: What their vectors are.
    """
    vectors = vectors_of(page, vector_name=how.name, dim=how.dim)
    usable = (
        has_direction(vectors) if how.is_cosine else np.isfinite(vectors).all(axis=-1)
    )
    has_payload = np.array([bool(record.payload) for record in page], dtype=bool)
    return np.asarray(usable & has_payload)


def _canonical(node_id: str) -> str | None:
    try:
        # Nearly all are: a tenth of the time that a UUID takes.
        return node_id if _is_canonical(node_id) else str(uuid.UUID(node_id))
    except (ValueError, AttributeError, TypeError):
        return None


def _embedding_of(node: BaseNode, dim: int) -> Sequence[float]:
    if node.embedding is None:
        raise InvalidVector(
            f"Node {node.node_id!r} has no embedding. Set `node.embedding` before "
            "adding it, or insert through an index, which embeds."
        )
    if len(node.embedding) != dim:
        raise InvalidVector(
            f"The embedding of node {node.node_id!r} has {len(node.embedding)} numbers;"
            f" this store holds vectors of {dim}. Embed it with the model that the "
            "store was filled with, or open another store."
        )
    return node.embedding


def _point(key: str, node: BaseNode, vectors: dict[str, list[float]]) -> qe.Point:
    try:
        payload = node_to_metadata_dict(node, remove_text=False, flat_metadata=False)
        return qe.Point(key, dict(vectors), payload)
    except (TypeError, ValueError) as error:
        raise InvalidSetting(
            f"The metadata of node {node.node_id!r} cannot be stored: {error}. "
            "Expected what JSON can hold: text, finite numbers, true, false, null, "
            "lists and objects of these."
        ) from error
