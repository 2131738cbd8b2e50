"""Repairing a store: what can be read goes into new shards, the rest is told."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import qdrant_edge as qe
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings.utils import EmbedType
from llama_index.core.schema import BaseNode

from llama_index_mmrag.composition import Composition
from llama_index_mmrag.compression.places import encoder_of, is_place
from llama_index_mmrag.embeddings.bm25 import made_by
from llama_index_mmrag.embeddings.space import card_of
from llama_index_mmrag.errors import InvalidSetting, StoreUnusable
from llama_index_mmrag.files.writing import put_aside
from llama_index_mmrag.index.catalogues import catalogue_in
from llama_index_mmrag.index.encoders import encoders_of
from llama_index_mmrag.index.opening import COMPOSED, close_all
from llama_index_mmrag.index.whole import (
    Repair,
    documents_with_gaps,
    read_again_if_lost,
    whole_node,
    whole_vector,
    without_lost_transform,
)
from llama_index_mmrag.ingestion.composing import Composer
from llama_index_mmrag.ingestion.encoding import Note, encode_good, encode_nodes
from llama_index_mmrag.ingestion.linked import IMAGE, TEXT
from llama_index_mmrag.nodes.node import IMAGE_FILE_KEY, modality_of
from llama_index_mmrag.nodes.places import placed, places_of
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.checking import (
    MEDIA,
    StoreCheck,
    check_is_store,
    check_store,
    damaged_pictures,
    note_media,
)
from llama_index_mmrag.stores.edge_layout import LOCK, new_name, room_for_repair
from llama_index_mmrag.stores.edge_opening import all_fields
from llama_index_mmrag.stores.edge_points import node_of, point_ids, point_of
from llama_index_mmrag.stores.format import CollectionEntry, Place
from llama_index_mmrag.stores.locks import FolderLock
from llama_index_mmrag.stores.manifest import (
    PICTURES,
    check_manifest,
    entries_in,
    restore_manifest,
    stored_composition,
    switch_places,
)
from llama_index_mmrag.stores.quantisation import oversampling_of, read_quantisation
from llama_index_mmrag.stores.salvage import points_left


def repair_store(
    root: Path,
    *,
    embed_model: EmbedType | None = None,
    image_embed_model: EmbedType | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Repair:
    """Rebuild the damaged collections of a store from what can be read of them.

    New shards are built beside the damaged ones, on the disk and checked before the
    manifest names them; the damaged ones are kept, as "<name>.damaged". A manifest is
    put back from its copy first. Killed at any moment, the store is as it was, or
    repaired.

    Args:
        root: The store's folder.
        embed_model: As for `MultiModalQdrantIndex.open`: for points whose vector is
            lost.
        image_embed_model: As there.
        on_step: Told what is done next.

    Raises:
        InvalidSetting: Nothing is damaged.
        StoreInUse: The store is open.
        StoreFull: There is no room for the new shards.
        CollectionMismatch: It was filled by other encoders.
        StoreUnusable: There is none, or neither its manifest nor the copy can be read.
    """
    check_is_store(root)
    encoders = encoders_of(embed_model, image_embed_model).of
    cards = {name: card_of(model) for name, model in encoders.items()}
    restored = restore_manifest(root, cards)
    composition = stored_composition(root)
    check_manifest(root, cards, composition)
    entries = entries_in(root)
    on_step("reading all files")
    found = check_store(root)
    aside = [*(restored or ()), *map(put_aside, _replaced(root, entries))]
    if found.is_whole and restored is None and not aside:
        raise InvalidSetting(
            f"The store {str(root)!r} is not damaged: there is nothing to repair."
        )
    for name in found.damaged.keys() & entries.keys():
        if (root / entries[name].folder).is_dir():
            room_for_repair(root / entries[name].folder)
    work = _Work(root, entries, found, on_step)
    try:
        work.open(encoders, composition)
        work.rebuild()
        done = work.switch()
    finally:
        work.close()
    return replace(done, kept_aside=(*aside, *done.kept_aside))


def _replaced(root: Path, entries: Mapping[str, CollectionEntry]) -> list[Path]:
    """Return damaged folders that a repair was killed over after its switch."""
    in_use = {entry.folder for entry in entries.values()}
    return [
        folder
        for folder in root.iterdir()
        if folder.is_dir()
        and is_place(folder.name, entries)
        and folder.name not in in_use
        and not (folder / LOCK).exists()  # as `switch` leaves it
    ]


class _Work:
    """A store that is repaired: its collections, new ones in place of damaged ones."""

    def __init__(
        self,
        root: Path,
        entries: Mapping[str, CollectionEntry],
        found: StoreCheck,
        on_step: Callable[[str], None],
    ) -> None:
        self._root = root
        self._entries = entries
        self._damaged = [name for name in entries if name in found.damaged]
        self._media = MEDIA in found.damaged
        self._n_points = found.n_points
        self._on_step = on_step
        self._note: Note = lambda note: on_step(f"{note.source}: {note.reason}")
        known = catalogue_in(root, None).roots()
        self._places = places_of({**known, MEDIA: root / MEDIA})
        self._channels: dict[str, Channel] = {}
        self._new: dict[str, Path] = {}
        self._becoming: dict[str, CollectionEntry] = {}
        self._locks = contextlib.ExitStack()
        self._n_copied: dict[str, int] = {}
        self._n_encoded: dict[str, int] = {}
        self._again: set[str] = set()

    def open(
        self, encoders: Mapping[str, BaseEmbedding], composition: Composition | None
    ) -> None:
        """Open the whole collections, and new ones in place of the damaged."""
        for name, entry in self._entries.items():
            composes = composition if name == COMPOSED else None
            self._channels[name] = self._opened(name, entry, encoders, composes)

    def _opened(
        self,
        name: str,
        entry: CollectionEntry,
        encoders: Mapping[str, BaseEmbedding],
        composition: Composition | None,
    ) -> Channel:
        folder, quantisation = self._root / entry.folder, None
        encoder = encoders.get(name, encoders[TEXT])
        if name in self._damaged:
            entry = without_lost_transform(self._root, name, entry, encoder)
            self._becoming[name] = entry
        encoder = encoder_of(self._root, name, entry, encoder)
        if name in self._damaged:
            if folder.is_dir():
                self._locks.callback(FolderLock(folder / LOCK).release)
            with contextlib.suppress(StoreUnusable):
                # Else all that is lost is that it was small.
                quantisation = read_quantisation(folder, None)
            folder = self._root / f"{name}-{uuid.uuid4().hex[:12]}"
            self._new[name] = folder
        store = QdrantEdgeVectorStore.open(
            folder,
            dim=entry.dim,
            distance=entry.distance,
            vector_name=entry.vector,
            quantisation=quantisation,
            payload_indexes=all_fields(entry.filter_fields)
            if name in self._new
            else None,
            enable_hybrid=entry.words and made_by(entry.words, None, name),
        )
        if name in self._damaged and entry.alignment is not None:
            old = self._root / entry.folder
            for file in old.glob(f"{Path(entry.alignment).stem}.*"):
                shutil.copyfile(file, folder / file.name)
        channel = Channel(
            name,
            vector_store=store,
            embed_model=encoder,
            image_embed_model=None if composition is None else encoders[IMAGE],
            composition=composition,
        )
        channel.collection.places = self._places
        return channel

    def rebuild(self) -> None:
        """Fill the new collections, and check them."""
        for name in self._damaged:
            self._on_step(f"{name}: reading what is left")
            lacking = placed(self._copy(name), self._channels[name].collection.places)
            if name != COMPOSED:
                channel = self._channels[name]
                encoded = encode_good(channel, lacking, encode_nodes, self._note)
                self._n_encoded[name] = len(channel.collection.add(encoded))
                there = {node.node_id for node in encoded}
                missing = [node for node in lacking if node.node_id not in there]
                self._again |= {node.ref_doc_id or node.node_id for node in missing}
        if self._damaged and COMPOSED in self._channels:
            self._compose()
        for name in self._damaged:
            store = self._channels[name].collection.store
            codes = store.quantisation is not None and store.quantisation.has_codes
            old = self._root / self._entries[name].folder
            if codes or any(old.glob("shard-*/segments/*/vector_index*/graph*")):
                store.build_index()
            if (n_whole := store.client.n_whole()) != store.count():
                raise StoreUnusable(
                    f"The new {name} collection holds {store.count()} points, and "
                    f"{n_whole} can be read whole. Nothing was changed: repair it on "
                    f"another disk."
                )

    def _copy(self, name: str) -> list[BaseNode]:
        """Copy the points that are whole; return the nodes that lack a vector."""
        entry, new = self._entries[name], self._channels[name].collection.store
        has_transform = self._becoming[name].space == entry.space
        copied: set[str | int] = set()
        lacking: dict[str | int, BaseNode] = {}
        work = self._new[name] / new_name()
        left = points_left(self._root / entry.folder, entry, work)
        for page in itertools.chain(left, self._composed_of(name)):
            points = []
            for record in page:
                if (node := whole_node(record)) is None:
                    continue
                (key,) = point_ids([node.node_id])
                if key in copied:
                    continue
                vector = whole_vector(record, entry) if has_transform else None
                if vector is None:
                    lacking[key] = node
                    continue
                copied.add(key)
                # Made anew: the fields beside the content have no checksum, and words
                # are as the node has them.
                points.append(point_of(key, node, {entry.vector: vector}, new.words))
            if points:
                new.client.write([qe.UpdateOperation.upsert_points(points)])
            if len(copied) == self._n_points.get(name):
                break
        self._n_copied[name] = len(copied)
        return [node for key, node in lacking.items() if key not in copied]

    def _composed_of(self, name: str) -> Iterator[list[qe.Record]]:
        """Yield a collection's nodes that the one of composed vectors holds too."""
        if COMPOSED in self._damaged or COMPOSED not in self._channels:
            return
        folder = self._channels[COMPOSED].collection.store.client
        for page in folder.scroll(None, payload=True, vector=False):
            yield [r for r in page if modality_of(node_of(r)) == name]

    def _compose(self) -> None:
        composed, text, image = (self._channels[n] for n in (COMPOSED, TEXT, IMAGE))
        before = composed.collection.count()
        composer = Composer(composed, text=text, image=image)
        for part in (text, image):
            folder = part.collection.store.client
            for page in folder.scroll(None, payload=True, vector=False):
                composer.update(map(node_of, page), gone={}, note=self._note)
        self._n_encoded[COMPOSED] = composed.collection.count() - before

    def switch(self) -> Repair:
        """Let the manifest name the new collections; the old ones are kept."""
        n_lost: dict[str, int | None] = {}
        for name in self._damaged:
            there = self._channels[name].collection.count()
            were = self._n_points.get(name)
            n_lost[name] = None if were is None else max(0, were - there)
        if any(n != 0 for n in n_lost.values()):
            nodes = itertools.chain(self._nodes(TEXT), self._nodes(IMAGE))
            self._again |= documents_with_gaps(nodes)
        aside = self._pictures_aside() if self._media else []
        places = {}
        for name in self._damaged:
            entry, store = self._becoming[name], self._channels[name].collection.store
            places[name] = Place(
                folder=self._new[name].name,
                alignment=entry.alignment,
                space=entry.space,
                dim=entry.dim,
                oversampling=oversampling_of(store.quantisation),
            )
        close_all(self._channels.values())
        self._locks.close()
        for name in self._damaged:
            # Without its lock it is no store, which the next opening would remove.
            (self._root / self._entries[name].folder / LOCK).unlink(missing_ok=True)
        if places:
            read_again_if_lost(self._root, n_lost)
            switch_places(self._root, places)
        self._new = {}
        for name in self._damaged:
            old = self._root / self._entries[name].folder
            if old.is_dir():
                aside.append(put_aside(old))
        if self._media:  # only now: until here it tells which are gone
            (self._root / PICTURES).unlink(missing_ok=True)
        note_media(self._root)
        again = tuple(sorted(self._again))
        return Repair(self._n_copied, self._n_encoded, n_lost, again, tuple(aside))

    def _pictures_aside(self) -> list[str]:
        aside = [put_aside(file) for file in [*damaged_pictures(self._root)]]
        for node in self._nodes(IMAGE):
            root, _, below = str(node.metadata.get(IMAGE_FILE_KEY)).partition("/")
            if root == MEDIA and not (self._root / MEDIA / below).exists():
                self._again.add(node.ref_doc_id or node.node_id)
        return aside

    def _nodes(self, name: str) -> Iterator[BaseNode]:
        folder = self._channels[name].collection.store.client
        for page in folder.scroll(None, payload=True, vector=False):
            yield from map(node_of, page)

    def close(self) -> None:
        """Let go of everything; what is not switched to is removed."""
        close_all(self._channels.values())
        for folder in self._new.values():
            shutil.rmtree(folder, ignore_errors=True)
        self._locks.close()
