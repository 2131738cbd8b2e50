"""Compressing an index that is in use: build beside it, check, then switch."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import qdrant_edge as qe
from llama_index.core.vector_stores.types import VectorStoreQuery

from llama_index_mmrag.alignment.artefact import Alignment
from llama_index_mmrag.alignment.chain import Chain
from llama_index_mmrag.alignment.transforms import Transform
from llama_index_mmrag.compression.asked import Asked, enough_vectors
from llama_index_mmrag.compression.candidates import Candidates
from llama_index_mmrag.compression.compress import CompressSettings, choose
from llama_index_mmrag.compression.places import ALIGNMENT, encoder_through
from llama_index_mmrag.compression.recall import NOBODY, last_scores, recalls
from llama_index_mmrag.compression.report import Compression, Row
from llama_index_mmrag.compression.stored import StoredCollection, queries_for
from llama_index_mmrag.embeddings.space import space_of
from llama_index_mmrag.errors import InvalidVector, PromiseNotKept
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.edge import QdrantEdgeVectorStore
from llama_index_mmrag.stores.edge_folder import EdgeFolder
from llama_index_mmrag.stores.edge_points import vectors_of
from llama_index_mmrag.stores.format import Place
from llama_index_mmrag.stores.manifest import entries_in, switch_places
from llama_index_mmrag.stores.quantisation import oversampling_of

_PER_WRITE = 1024
_TWICE = (
    "These vectors were reduced before: recall is against what is stored now, and "
    "losses add up."
)


@dataclass(frozen=True, slots=True)
class IndexCompression:
    """What was measured of each collection, and what was done.

    Attributes:
        reports: By collection; also of those where nothing keeps the promise.
        refused: Why a collection stays as it is, by name.
        switched: Collections that were replaced by smaller ones.
    """

    reports: Mapping[str, Compression]
    refused: Mapping[str, str]
    switched: tuple[str, ...]

    def __str__(self) -> str:
        """Return the tables, and why a collection stays as it is."""
        return "\n\n".join(
            f"{name}\n{self.reports.get(name) or self.refused[name]}"
            for name in dict.fromkeys((*self.reports, *self.refused))
        )


def compress_folder(
    root: Path | None,
    channels: Sequence[Channel],
    *,
    settings: CompressSettings,
    queries: Sequence[str] | None = None,
    apply: bool = False,
    on_step: Callable[[str], None] = lambda _: None,
) -> IndexCompression:
    """Measure each collection of an embedded index, and replace it if asked to.

    Killed at any moment, the index opens as it was before, or compressed; what was
    half built is removed at the next opening. Nothing is encoded again. An index with
    early fusion is quantised only: its composed vectors are made of the others, which
    must not be transformed under them.

    Args:
        root: The index's folder; None: it has none, and is only measured.
        channels: Its channels; nobody may write to them meanwhile. After a switch their
            stores can be read, and no longer be written to.
        settings: What is promised.
        queries: What users ask, in words; None takes stored vectors.
        apply: Whether to switch.
        on_step: Told what is done next.

    Raises:
        StoreClosed: A store was replaced before; open the index again.
        StoreUnusable: The folder cannot be written.
    """
    reports: dict[str, Compression] = {}
    refused: dict[str, str] = {}
    places: dict[str, Place] = {}
    built: list[QdrantEdgeVectorStore] = []
    if any(channel.composition is not None for channel in channels):
        # What is inserted later is composed of the other collections' vectors: these
        # may be stored as smaller codes, and have to stay the vectors they are.
        codes = replace(settings.candidates or Candidates(), reductions=())
        settings = replace(settings, candidates=codes)
    try:
        for channel in channels:
            collection = StoredCollection.of(root, channel)
            on_step(f"{channel.name}: measuring")
            try:
                rng = np.random.default_rng(settings.seed)
                enough_vectors(collection.rows)
                words = queries if channel.composition is None else None
                asked = queries_for(
                    collection, channels, words, settings.n_queries, rng
                )
                report = choose(collection.rows, asked, settings)
                note = _TWICE if collection.alignment is not None else ""
                quantisation = getattr(collection.store, "quantisation", None)
                report = replace(report, note=note).kept_as(quantisation)
                reports[channel.name] = report
                if report.chosen is None:
                    refused[channel.name] = report.verdict()
                elif apply and root is not None:
                    on_step(f"{channel.name}: building beside the one in use")
                    folder = root / f"{channel.name}-{uuid.uuid4().hex[:12]}"
                    places[channel.name] = _built(
                        folder, collection, report, report.chosen, asked, built
                    )
            except (PromiseNotKept, InvalidVector) as error:
                refused[channel.name] = str(error)
                report_of = getattr(error, "compression", None)
                if isinstance(report_of, Compression):
                    reports[channel.name] = report_of
        if places and root is not None:
            switch_places(root, places)
    finally:
        if root is not None:
            _settle(root, channels, built)
    return IndexCompression(reports, refused, tuple(places))


def _settle(
    root: Path, channels: Sequence[Channel], built: Sequence[QdrantEdgeVectorStore]
) -> None:
    """Let go of what was built; what is not switched to is removed."""
    new = {Path(store.path).name: store for store in built}
    try:
        # From the disk: an interrupt may hit right after the switch there.
        places = entries_in(root) if built else {}
        for channel in channels:
            place = places.get(channel.name)
            if place is not None and place.folder in new:
                channel.vector_store.client.successor = root / place.folder
    finally:
        for store in built:
            store.close()
    for folder in new.keys() - {place.folder for place in places.values()}:
        shutil.rmtree(root / folder, ignore_errors=True)


def _built(  # noqa: PLR0913, PLR0917 - what is built, of what, and why
    folder: Path,
    collection: StoredCollection,
    report: Compression,
    row: Row,
    asked: Asked,
    built: list[QdrantEdgeVectorStore],
) -> Place:
    """Return the new collection's place, built and checked, still open.

    Raises:
        PromiseNotKept: The one that was built does not keep the promise.
    """
    old = collection.store.client
    new = QdrantEdgeVectorStore.open(
        folder,
        dim=row.dim,
        payload_indexes=old.indexes,
        vector_name=collection.store.vector_name,
        quantisation=row.quantisation,
        enable_hybrid=old.words,
    )
    built.append(new)
    _copy(old, new, row.transform)
    has_codes = row.quantisation is not None and row.quantisation.has_codes
    if has_codes or old.indexed_vectors():
        new.build_index()
    half = np.arange(len(asked) // 2, len(asked))
    _check(collection, new, row.transform, asked.where(half), report)
    return _remembered(collection, folder, row, report)


def _copy(old: EdgeFolder, new: QdrantEdgeVectorStore, transform: Transform) -> None:
    """Write all points through the transform, words and payloads as they are."""
    name = new.vector_name
    for page in old.scroll(None, payload=True, vector=True, page_size=_PER_WRITE):
        rows = vectors_of(page, vector_name=name, dim=old.dim)
        vectors = transform.apply(rows).tolist()
        points = [
            qe.Point(record.id, {**record.vector, name: vector}, record.payload)  # type: ignore[dict-item]  # named
            for record, vector in zip(page, vectors, strict=True)
        ]
        n_bytes = sum(len(str(record.payload)) for record in page) + rows.nbytes
        new.client.write([qe.UpdateOperation.upsert_points(points)], n_bytes=n_bytes)


def _check(
    collection: StoredCollection,
    new: QdrantEdgeVectorStore,
    transform: Transform,
    asked: Asked,
    report: Compression,
) -> None:
    """Do nothing if the new collection itself keeps the promise, graph and all."""
    if new.count() != len(collection.ids):
        msg = (
            f"The new {collection.name} collection holds {new.count()} of "
            f"{len(collection.ids)} points; expected all. It was left out: try again "
            f"while nobody writes."
        )
        raise PromiseNotKept(msg, compression=report)
    row_of = {node_id: row for row, node_id in enumerate(collection.ids)}
    found = []
    vectors = transform.apply(asked.vectors).tolist()
    for vector, itself in zip(vectors, asked.left_out.tolist(), strict=True):
        top_k = report.top_k + (itself != NOBODY)
        query = VectorStoreQuery(query_embedding=vector, similarity_top_k=top_k)
        rows = [row_of[node_id] for node_id, _, _ in new.query_ids(query)]
        rows = [row for row in rows if row != itself]
        found.append(np.array(rows[: report.top_k], dtype=np.int64))
    exact = collection.rows
    last = last_scores(exact, asked.vectors, asked.left_out, top_k=report.top_k)
    shares = recalls(exact, asked.vectors, found, last, top_k=report.top_k)
    if shares.mean() < report.min_recall:
        msg = (
            f"The {collection.name} collection as it was built has a recall@"
            f"{report.top_k} of {shares.mean():.4f} over {len(asked)} held-out "
            f"queries; promised was {report.min_recall:g}. The one in use stays. "
            f"Promise less, or give more queries."
        )
        raise PromiseNotKept(msg, compression=report)


def _remembered(
    collection: StoredCollection, folder: Path, row: Row, report: Compression
) -> Place:
    """Save the way from the encoder to the new vectors; return the place."""
    before, transform = collection.alignment, row.transform
    stored_as = (row.dim, oversampling_of(row.quantisation))
    if transform == Chain() and before is None:
        return Place(folder.name, None, space_of(collection.encoder), *stored_as)
    encoder, space = collection.encoder, space_of(collection.encoder)
    steps = transform
    if before is not None:
        # Fitted on the encoder itself: the wrapper's name is made of what is in here.
        steps, space = Chain((before.text, transform)), before.text_space
        encoder = getattr(encoder, "text_encoder", encoder)
    alignment = Alignment(
        text=steps,
        image=steps,
        fitted_on=f"{report.n_vectors} stored vectors of the {collection.name} "
        f"collection",
        text_space=space,
        image_space=space,
        figures={
            "setting": row.name,
            "promised recall": report.min_recall,
            "top_k": report.top_k,
            "held-out recall": report.held_out,
        },
    )
    alignment.save(folder / ALIGNMENT)
    space = space_of(encoder_through(alignment, encoder))
    return Place(folder.name, ALIGNMENT, space, *stored_as)
