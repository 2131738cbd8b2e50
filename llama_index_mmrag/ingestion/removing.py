"""Removing documents and nodes from the collections, and finishing what was cut off."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.errors import StoreFull
from llama_index_mmrag.ingestion.composing import Composer
from llama_index_mmrag.ingestion.identity import is_random
from llama_index_mmrag.ingestion.in_flight import InFlight
from llama_index_mmrag.ingestion.linked import ORIGINAL_ID_KEY
from llama_index_mmrag.nodes.node import one_spelling
from llama_index_mmrag.stores.catalogue import Catalogue
from llama_index_mmrag.stores.collection import Collection

logger = logging.getLogger(__name__)

_DOCUMENTS_PER_NOTE = 2_000
"""A note is read as far as 2 MiB."""


class Removing:
    """What a writer removes."""

    lock: threading.RLock
    _collections: dict[str, Collection]
    _composer: Composer | None
    _catalogue: Catalogue
    _in_flight: InFlight
    # In the writer's own file: each batch passes there.
    _ids_of: Callable[..., dict[str, list[str]]]
    _refusals_forgotten: Callable[..., AbstractContextManager[None]]
    _remove: Callable[..., int]

    def recover(self, *, can_wait: bool = False) -> None:
        """Finish, or take back, what was begun and cut off.

        A document whose new nodes are all there loses its old ones, another its new
        ones: each is there in one version, or not at all if it was new or deleted.

        Args:
            can_wait: Whether it is left to the next write where there is no room.

        Raises:
            StoreUnusable: The note of it cannot be read.
            StoreFull: There is no room for it, and it cannot wait.
        """
        documents, gone = self._in_flight.unsettled(self._collections)
        if not documents:
            return
        there = [
            (one, one.ids_of_documents(documents, documents))
            for one in self._collections.values()
        ]
        self._catalogue.forget(documents)
        try:
            self._remove(gone, [node for one, ids in there for node in one.nodes(ids)])
        except StoreFull as error:
            if not can_wait:
                raise
            told = (
                "A write of %d documents was cut off, and there is no room to finish "
                "or undo it: that is done before the next write, or at the next "
                "opening. Until then two versions of a document may be found. %s"
            )
            logger.warning(told, len(documents), error)
            return
        self._in_flight.end()
        told = "A write of %d documents was cut off: now done or undone. Repeat it."
        logger.warning(told, len(documents))

    def delete_all(self, ref_doc_ids: Sequence[str]) -> int:
        """Remove all nodes of documents; return how many there were.

        Args:
            ref_doc_ids: The documents, or random ids that they came with.
        """
        # Many at once: an embedded store syncs its files at each write.
        with self.lock:
            if self._in_flight.is_noted:
                self.recover()
            starts = range(0, len(ref_doc_ids), _DOCUMENTS_PER_NOTE)
            parts = (ref_doc_ids[at : at + _DOCUMENTS_PER_NOTE] for at in starts)
            return sum(map(self._delete, parts))

    def _delete(self, ref_doc_ids: Sequence[str]) -> int:
        random = [id_ for id_ in ref_doc_ids if is_random(id_)]
        gone = self._ids_of(ref_doc_ids, random)
        with self._refusals_forgotten(ref_doc_ids, random, gone):
            if any(gone.values()):
                self._in_flight.begin(ref_doc_ids, {}, dict.fromkeys(gone, ()))
            self._catalogue.forget(ref_doc_ids)
            n_removed = self._remove(gone)
        self._in_flight.end()
        return n_removed

    def delete_nodes(self, node_ids: Sequence[str]) -> int:
        """Remove nodes; return how many there were.

        Args:
            node_ids: Their ids, or those that they came with; unknown ones are none.
        """
        came_with = {"key": ORIGINAL_ID_KEY, "value": [*node_ids], "operator": "in"}
        named = MetadataFilters.from_dicts([came_with])
        with self.lock:
            if self._in_flight.is_noted:
                self.recover()
            gone: dict[str, list[str]] = {}
            for modality, one in self._collections.items():
                ids = {node.node_id for node in one.nodes_where(named)}
                ids.update(map(one_spelling, one.existing(node_ids)))
                gone[modality] = sorted(ids)
            return self._remove(gone)
