"""What of a damaged store can be told to be whole, and what was done about the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import qdrant_edge as qe
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import BaseNode

from llama_index_mmrag.compression.places import encoder_of
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.errors import CollectionMismatch, StoreUnusable
from llama_index_mmrag.nodes.node import LETTERING, POSITION_KEY, words_of
from llama_index_mmrag.stores.edge_points import is_whole, node_of, point_id_of
from llama_index_mmrag.stores.format import CollectionEntry
from llama_index_mmrag.stores.manifest import set_reader
from llama_index_mmrag.stores.reader_card import reader_in

_OF_UNIT_LENGTH = 1e-3
"""A stored unit vector of float16 is off by less; one that lost a number by more."""


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done.

    Attributes:
        n_copied: Points that were read whole, by collection; of damaged ones alone.
        n_encoded: Points of which the vector was lost, and made anew.
        n_lost: Points that could not be read; None: nobody knows how many there were.
        insert_again: Documents that lost something, as far as they are known.
        kept_aside: What the damaged folders and pictures are called now.
    """

    n_copied: Mapping[str, int]
    n_encoded: Mapping[str, int]
    n_lost: Mapping[str, int | None]
    insert_again: tuple[str, ...]
    kept_aside: tuple[str, ...]

    @property
    def may_lack_points(self) -> bool:
        """Whether points were lost, or may have been."""
        return any(n_lost != 0 for n_lost in self.n_lost.values())


def whole_node(record: qe.Record) -> BaseNode | None:
    """Return the node of a point; None if it is not one that was written.

    Its id is the point's: what the engine says of that may be what is damaged.
    """
    try:
        node = node_of(record)
    except StoreUnusable:
        return None
    is_ours = point_id_of(node.node_id) is not None and is_whole(record.payload)
    return node if is_ours else None


def whole_vector(record: qe.Record, entry: CollectionEntry) -> list[float] | None:
    """Return the vector of a point; None if it has none that could be stored.

    Under cosine it has unit length: one that lost a number has not.
    """
    vectors = record.vector
    found = vectors.get(entry.vector) if isinstance(vectors, dict) else None
    row = np.asarray(found if isinstance(found, list) else [], dtype=np.float64)
    if row.shape != (entry.dim,) or not np.isfinite(row).all():
        return None
    is_unit = abs(np.linalg.norm(row) - 1) < _OF_UNIT_LENGTH
    return row.tolist() if is_unit or entry.distance != "cosine" else None


def without_lost_transform(
    root: Path, name: str, entry: CollectionEntry, encoder: BaseEmbedding
) -> CollectionEntry:
    """Return an entry; without its transform if that is lost, and the vectors with it.

    Args:
        root: The store's folder.
        name: The collection's.
        entry: What the manifest says of it.
        encoder: The one that filled it.
    """
    try:
        encoder_of(root, name, entry, encoder)
    except CollectionMismatch:
        raw = {"alignment": None, "space": None, "dim": dimension_of(encoder)}
        return entry.model_copy(update=raw)
    return entry


def documents_with_gaps(nodes: Iterable[BaseNode]) -> set[str]:
    """Return the documents of which a position between others is missing."""
    seen: dict[str, set[int]] = {}
    for node in nodes:
        position = node.metadata.get(POSITION_KEY)
        if words_of(node.metadata):
            continue  # they stand where their picture does
        if node.ref_doc_id and isinstance(position, int):
            seen.setdefault(node.ref_doc_id, set()).add(position)
    return {document for document, there in seen.items() if len(there) <= max(there)}


def read_again_if_lost(root: Path, n_lost: Mapping[str, int | None]) -> None:
    """Have a store's pictures read before the next write, if lettering was lost.

    Args:
        root: The store's folder.
        n_lost: As of `Repair`.
    """
    card = reader_in(root)
    if card is not None and n_lost.get(LETTERING, 0) != 0:
        set_reader(root, card.model_copy(update={"is_complete": False}))
