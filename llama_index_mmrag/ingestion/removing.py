"""Removing documents and nodes from the collections, and finishing what was cut off."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.errors import StoreFull
from llama_index_mmrag.ingestion.composing import Composer
from llama_index_mmrag.ingestion.encoding import Note
from llama_index_mmrag.ingestion.identity import is_random
from llama_index_mmrag.ingestion.in_flight import InFlight
from llama_index_mmrag.ingestion.lettering import Lettering
from llama_index_mmrag.ingestion.linked import IMAGE, ORIGINAL_ID_KEY, TEXT
from llama_index_mmrag.ingestion.roots import holders_of
from llama_index_mmrag.nodes.node import (
    LETTERING,
    entity_of,
    one_spelling,
    text_of_picture,
)
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue
from llama_index_mmrag.stores.server_errors import KeyRefused

logger = logging.getLogger(__name__)

_OF_PICTURES = {TEXT, LETTERING}
"""Modalities of texts that go with their pictures."""

_DOCUMENTS_PER_NOTE = 2_000
"""A note is read as far as 2 MiB: a document has a thousand bytes of it."""


class Removing:
    """What is stored of documents: removed, and made whole after what was cut off.

    All methods may be called from any thread.

    Args:
        channels: By modality.
        composed: The channel of composed vectors, for early fusion; None for none.
        folder: The store's, where what is being replaced is noted; None: that is beside
            the catalogue.
        catalogue: What is known of files; None: nothing is, and nothing is kept.
        lettering: What reads pictures, for a channel of lettering; None: nothing does.

    Attributes:
        lock: Held while something is written.
        lettering: What reads pictures.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel],
        *,
        composed: Channel | None = None,
        folder: Path | None = None,
        catalogue: Catalogue | None = None,
        lettering: Lettering | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.lettering = lettering
        self._folder = folder
        self._channels = dict(channels)
        self._collections = {m: c.collection for m, c in channels.items()}
        self._composer = (
            None
            if composed is None
            else Composer(composed, text=channels[TEXT], image=channels[IMAGE])
        )
        self._catalogue = catalogue or Catalogue(None, "")
        self._in_flight = InFlight(folder, self._catalogue, self._collections)

    def ref_doc_ids(self) -> list[str]:
        """Return the ids of all documents, sorted."""
        found = (one.document_ids() for one in self._collections.values())
        return sorted(set().union(*found))

    def recover(self, *, can_wait: bool = False) -> None:
        """Finish, or take back, what was begun and cut off.

        A document whose new nodes are all there loses its old ones, another its new
        ones: each is there in one version, or not at all if it was new or deleted.

        Args:
            can_wait: Whether it is left to the next write where there is no room, or
                a server's key only reads.

        Raises:
            StoreUnusable: The note of it cannot be read.
            StoreFull: There is no room for it, and it cannot wait.
            KeyRefused: A server's key only reads, and it cannot wait.
        """
        documents, gone = self._in_flight.unsettled()
        if not documents:
            return
        there = [
            (one, one.ids_of_documents(documents, documents))
            for one in self._collections.values()
        ]
        self._catalogue.forget(documents)
        try:
            self._remove(gone, [node for one, ids in there for node in one.nodes(ids)])
        except (StoreFull, KeyRefused) as error:
            if not can_wait:
                raise
            self._in_flight.unlock()
            told = (
                "A write of %d documents was cut off, and cannot be finished or undone "
                "now: that is done before the next write, or at the next opening. "
                "Until then two versions of a document may be found. %s"
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
            documents = self._with_attached(ref_doc_ids)
            starts = range(0, len(documents), _DOCUMENTS_PER_NOTE)
            parts = (documents[at : at + _DOCUMENTS_PER_NOTE] for at in starts)
            return sum(map(self._delete, parts))

    def _with_attached(self, ref_doc_ids: Sequence[str]) -> Sequence[str]:
        """Return documents, and those that came in them."""
        if not any(holders_of(f"{each}#") for each in ref_doc_ids):
            return ref_doc_ids
        given = {*ref_doc_ids}
        stored = self.ref_doc_ids()
        came = [each for each in stored if not given.isdisjoint(holders_of(each))]
        return [*dict.fromkeys((*ref_doc_ids, *came))]

    def _delete(self, ref_doc_ids: Sequence[str]) -> int:
        random = [id_ for id_ in ref_doc_ids if is_random(id_)]
        gone = {
            modality: one.ids_of_documents(ref_doc_ids, random)
            for modality, one in self._collections.items()
        }
        with self._in_flight.noted({i: i for i in ref_doc_ids}, gone, {}, {}):
            self._catalogue.forget(ref_doc_ids)
            return self._remove(gone)

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
            collections = self._collections.items()
            gone: dict[str, list[str]] = {}
            for modality, one in collections:
                ids = {node.node_id for node in one.nodes_where(named)}
                ids.update(map(one_spelling, one.existing(node_ids)))
                gone[modality] = sorted(ids)
            pictures = self._collections[IMAGE].nodes(gone.get(IMAGE, ()))
            for modality in _OF_PICTURES & gone.keys():
                its = {node.node_id for node in self._texts_of(pictures, modality)}
                gone[modality] = sorted(its.union(gone[modality]))
            nodes = [node for m, one in collections for node in one.nodes(gone[m])]
            documents = {n.ref_doc_id: n.ref_doc_id for n in nodes if n.ref_doc_id}
            kept = {
                modality: one.nodes(
                    {*one.ids_of_documents([*documents])}.difference(gone[modality])
                )
                for modality, one in collections
            }
            with self._in_flight.noted(documents, gone, {}, kept):
                return self._remove(gone)

    def _texts_of(self, pictures: Sequence[BaseNode], modality: str) -> list[BaseNode]:
        """Return the words, or the lettering, of stored pictures: they go with them."""
        entities = sorted({entity_of(node) for node in pictures})
        found = self._channels[modality].of_entities(entities) if entities else ()
        wanted = {node.node_id for node in pictures}
        return [node for node in found if text_of_picture(node.metadata) in wanted]

    def _remove(
        self,
        gone: Mapping[str, list[str]],
        touched: Iterable[BaseNode] = (),
        note: Note = lambda _: None,  # what was composed before is known
        donors: Sequence[str] = (),
    ) -> int:
        """Remove nodes, by modality; compose what depends on them or was written."""
        if self._composer is not None:
            lost = [
                node
                for modality, ids in gone.items()
                for node in self._collections[modality].nodes(ids)
            ]
            touched = [*touched, *lost]
            self._composer.update(touched, gone=gone, note=note, donors=donors)
        for modality, ids in gone.items():
            if ids:
                self._collections[modality].remove(ids)
        return sum(map(len, gone.values()))
