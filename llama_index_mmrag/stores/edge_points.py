"""LlamaIndex nodes as Qdrant Edge points, in the payload layout of a Qdrant server."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import qdrant_edge as qe
from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.utils import (
    metadata_dict_to_node,
    node_to_metadata_dict,
)

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.stores.vectors import node_vectors, point_id
from llama_index_mmrag.vectors import Vectors

CONTENT_KEYS = ["_node_content", "_node_type"]
"""Payload fields that a whole node is read from."""


def points_of(
    nodes: Sequence[BaseNode], *, dim: int, cosine: bool, vector_name: str
) -> dict[str, qe.Point]:
    """Return the nodes' points by id; of equal ids the last one stays.

    Raises:
        InvalidVector: an embedding is missing, of another size, not finite, or all
            zeros under cosine.
        InvalidNodeId: an id is not a UUID.
        InvalidSetting: metadata that JSON cannot hold.
    """
    ids = [point_id(node.node_id) for node in nodes]
    rows = node_vectors(nodes, dim=dim, cosine=cosine).tolist()
    return {
        key: _point(key, node, {vector_name: row})
        for key, node, row in zip(ids, nodes, rows, strict=True)
    }


def node_of(record: qe.Record, *, vector_name: str) -> BaseNode:
    """Return the node that a point holds, with its embedding where that was read."""
    node = metadata_dict_to_node(record.payload or {})
    if isinstance(record.vector, dict):
        node.embedding = record.vector[vector_name]  # type: ignore[assignment]  # dense
    return node


def vectors_of(records: Sequence[qe.Record], *, vector_name: str, dim: int) -> Vectors:
    """Return the points' vectors, which were read with them, shape `(n, dim)`."""
    rows = [record.vector[vector_name] for record in records]  # type: ignore[call-overload,index]  # named, dense
    return np.array(rows, dtype=np.float32).reshape(len(rows), dim)


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
