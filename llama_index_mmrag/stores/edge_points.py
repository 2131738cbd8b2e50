"""LlamaIndex nodes as Qdrant Edge points, in the payload layout of a Qdrant server.

Ids, vectors and metadata are checked here, before anything is written.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import qdrant_edge as qe
from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from llama_index.core.vector_stores.utils import (
    metadata_dict_to_node,
    node_to_metadata_dict,
)

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.errors import (
    ImageUnreadable,
    InvalidSetting,
    InvalidVector,
    MmragError,
    StoreUnusable,
)
from llama_index_mmrag.nodes.node import is_uuid, one_spelling
from llama_index_mmrag.nodes.shown import lost_picture
from llama_index_mmrag.stores.edge_engine import SPARSE_NAME
from llama_index_mmrag.vectors import Vectors, has_direction, stored_rows

CONTENT_KEYS = ["_node_content", "_node_type"]
"""Payload fields that a whole node is read from."""

_CRC_KEY = "_node_crc32"
_POINTS_PER_WRITE = 1024

PointId: TypeAlias = "str | int"
"""A UUID as Qdrant spells it, or a number."""

_MOST_DIGITS, _N_NUMBERS = 20, 2**64


class InvalidNodeId(MmragError, ValueError):
    """A node's id cannot be a Qdrant point id: a UUID, or a number up to 2^64 - 1."""


def point_ids(node_ids: Iterable[str]) -> list[PointId]:
    """Return ids in the one spelling that Qdrant gives back.

    Raises:
        InvalidNodeId: One is neither a UUID nor a number.

    Example:
        >>> point_ids(["A34B2C1D-0000-4000-8000-000000000001", "42"])
        ['a34b2c1d-0000-4000-8000-000000000001', 42]
    """
    ids = []
    for node_id in node_ids:
        if (point_id := point_id_of(node_id)) is None:
            raise InvalidNodeId(
                f"Node id {node_id!r} is neither a UUID nor a whole number below 2^64, "
                "and Qdrant point ids must be. Use "
                "str(uuid.uuid5(uuid.NAMESPACE_URL, your_id)) as the id and keep your "
                "own in the metadata."
            )
        ids.append(point_id)
    return ids


def known_ids(node_ids: Iterable[str]) -> list[PointId]:
    """Return ids as `point_ids` does, each once, without those that can be none.

    These cannot be stored: they are missing, like any unknown id.
    """
    return list(dict.fromkeys(spelled_ids(node_ids).values()))


def spelled_ids(node_ids: Iterable[str]) -> dict[str, PointId]:
    """Return the point id of each id that can be one.

    Raises:
        InvalidNodeId: They are no list of ids.
    """
    if isinstance(node_ids, str) or not isinstance(node_ids, Iterable):
        raise InvalidNodeId(
            f"node_ids is {node_ids!r}; expected a list of ids. Use [...]."
        )
    known = ((node_id, point_id_of(node_id)) for node_id in node_ids)
    return {i: point_id for i, point_id in known if point_id is not None}


def point_id_of(node_id: str) -> PointId | None:
    """Return the point id that any spelling of a node's id stands for, if it is one."""
    if not isinstance(node_id, str):
        return None
    if is_uuid(node_id):  # nearly all are
        return node_id
    if len(node_id) <= _MOST_DIGITS:  # a UUID has 32 at least
        number = int(node_id) if node_id.isascii() and node_id.isdigit() else -1
        # One text a number, so that "7" and "007" are not one node.
        is_one = str(number) == node_id and 0 <= number < _N_NUMBERS
        return number if is_one else None
    spelled = one_spelling(node_id)
    return spelled if is_uuid(spelled) else None


def upserts_of(
    nodes: Sequence[BaseNode],
    *,
    dim: int,
    cosine: bool,
    vector_name: str,
    words: Bm25Encoder | None = None,
) -> tuple[list[str], list[qe.UpdateOperation], int]:
    """Return the nodes' ids, what writes them, and about how many bytes that is.

    Of equal ids the last one stays.

    Args:
        nodes: At least one.
        dim: Length of the store's vectors.
        cosine: Whether they are compared by cosine.
        vector_name: Name of the vector in each point.
        words: What makes vectors of words, where the store keeps such.

    Raises:
        InvalidVector: An embedding is missing, of another size, not finite, or all
            zeros under cosine.
        InvalidNodeId: An id is neither a UUID nor a number.
        InvalidSetting: Text or metadata that JSON cannot hold.
        ImageUnreadable: A node was a picture, and lost it to a splitter.
    """
    for node in nodes:
        if type(node) is TextNode and not node.text and (lost := lost_picture(node)):
            raise ImageUnreadable(lost)
    given = [node.node_id for node in nodes]
    rows = [_embedding_of(node, dim) for node in nodes]
    names = [f"The embedding of node {node.node_id!r}" for node in nodes]
    vectors = stored_rows(rows, names, cosine=cosine).tolist()
    points = {
        key: point_of(key, node, {vector_name: vector}, words)
        for key, node, vector in zip(point_ids(given), nodes, vectors, strict=True)
    }
    batch = list(points.values())
    # Metadata are in the payload twice: as fields, and in the node's content.
    texts = (str((point.payload or {}).get("_node_content")) for point in batch)
    n_bytes = 4 * dim * len(batch) + 2 * sum(map(len, texts))
    operations = [
        qe.UpdateOperation.upsert_points(batch[start : start + _POINTS_PER_WRITE])
        for start in range(0, len(batch), _POINTS_PER_WRITE)
    ]
    return given, operations, n_bytes


def payload_of(node: BaseNode) -> dict[str, Any]:
    """Return what LlamaIndex writes of a node, and the CRC-32 of its content."""
    payload = node_to_metadata_dict(node, remove_text=False, flat_metadata=False)
    return {**payload, _CRC_KEY: _crc32_of(payload)}


def is_whole(payload: Mapping[str, Any] | None) -> bool:
    """Return whether a payload's content is what was written, as far as it is told."""
    if not payload:
        return False
    return bool(payload.get(_CRC_KEY, found := _crc32_of(payload)) == found)


def _crc32_of(payload: Mapping[str, Any]) -> int:
    content = "".join(str(payload.get(key)) for key in CONTENT_KEYS)
    return zlib.crc32(content.encode())


class HasPayload(Protocol):
    """A point as it is read or found."""

    @property
    def id(self) -> Any:
        """Its id."""
        ...

    @property
    def payload(self) -> dict[str, Any] | None:
        """Its payload, as far as it was asked for."""
        ...


def node_of(record: HasPayload) -> BaseNode:
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


def vectors_of(records: Sequence[Any], *, vector_name: str, dim: int) -> Vectors:
    """Return the points' vectors, which were read with them, shape `(n, dim)`.

    Those of an engine here or of a server, whose only one may have no name.
    """
    read = (record.vector for record in records)
    rows = [v[vector_name] if isinstance(v, dict) else v for v in read]
    return np.array(rows, dtype=np.float32).reshape(len(rows), dim)


def n_whole_in(
    page: Sequence[qe.Record], *, vector_name: str, dim: int, cosine: bool
) -> int:
    """Return how many points have a whole payload, and a vector that could be stored.

    Args:
        page: Points, read with payloads and vectors.
        vector_name: Name of the vector in each point.
        dim: Its length.
        cosine: Whether it needs a direction.
    """
    vectors = vectors_of(page, vector_name=vector_name, dim=dim)
    usable = has_direction(vectors) if cosine else np.isfinite(vectors).all(axis=-1)
    return int(np.logical_and(usable, [is_whole(r.payload) for r in page]).sum())


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


def point_of(
    key: qe.PointId,
    node: BaseNode,
    vectors: dict[str, qe.NamedVector],
    words: Bm25Encoder | None,
) -> qe.Point:
    """Return the point of a node: its vectors, those of its words, and its payload.

    Raises:
        InvalidSetting: Its text or its metadata cannot be stored.
    """
    try:
        if words is not None:
            # As `QdrantVectorStore` does: metadata are words too, where they are shown.
            text = node.get_content(metadata_mode=MetadataMode.EMBED)
            (indices,), (values,) = words.documents([text])
            vectors = {**vectors, SPARSE_NAME: qe.SparseVector(indices, values)}
        return qe.Point(key, vectors, payload_of(node))
    except (TypeError, ValueError) as error:
        raise InvalidSetting(
            f"The text or metadata of node {node.node_id!r} cannot be stored: {error}. "
            "Expected what JSON can hold: text, finite numbers, true, false, null, "
            "lists and objects of these."
        ) from error
