"""One folder that holds a Qdrant Edge shard: own, open, read, write, swap."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import qdrant_edge as qe

from llama_index_mmrag.errors import CollectionMismatch, StoreClosed, StoreUnusable
from llama_index_mmrag.files.writing import sync_tree
from llama_index_mmrag.stores.edge_engine import (
    SCHEMAS,
    ShardSpec,
    check_vectors,
    engine_errors,
    raise_ours,
)
from llama_index_mmrag.stores.edge_layout import (
    LOCK,
    POINTER,
    check_counts,
    closed_message,
    copy_sparse,
    disk_errors,
    leftovers,
    new_name,
    read_pointer,
    remove_tree,
    room_for_build,
    room_for_write,
    room_to_open,
    write_pointer,
)
from llama_index_mmrag.stores.edge_points import n_whole_in
from llama_index_mmrag.stores.edge_record import (
    Closed,
    check_count,
    check_sizes,
    forget_record,
    read_record,
    write_record,
)
from llama_index_mmrag.stores.edge_shard import described, shard_in
from llama_index_mmrag.stores.locks import FolderLock
from llama_index_mmrag.stores.quantisation import read_quantisation, rescoring

_SCROLL_PAGE, _PLENTY = 1024, 1 << 30  # points; bytes that need no closer look


class EdgeFolder:
    """An open shard and its folder. All calls are safe from any thread.

    The engine holds the interpreter's lock in every call, so one lock around them
    costs no speed.
    """

    def __init__(self, path: Path, spec: ShardSpec) -> None:
        """Own the folder and load its shard, which is created if there is none.

        Raises:
            StoreUnusable: not a folder, not writable, or not a store's.
            StoreInUse: open elsewhere.
            CollectionMismatch: the shard is not what `spec` says.
        """
        # Resolved, so that a link to the folder finds the same lock.
        self.path = path.expanduser().resolve()
        self.building = threading.Lock()
        self.successor: Path | None = None
        self._vector_name = spec.vector_name
        self._pid = os.getpid()
        self._guard = threading.RLock()
        self._journal: list[qe.UpdateOperation] | None = None
        self._shard: qe.EdgeShard | None = None
        self._closed: Closed | None = None
        self._is_written = False
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.path / LOCK)
        try:
            with disk_errors(self.path):
                self._shard_name, self._is_written = shard_in(self.path, spec)
                if (closed := read_record(self.path)) is not None:
                    check_sizes(self.path, closed)
                room_to_open(self.path / self._shard_name)
            self._closed = closed
            self._shard = self._load(self._shard_name)
            said = described(self.path, self._shard_name, spec)
            self.dim, self.distance, self.words = said
            if closed is not None:
                check_count(self.path, closed, self.count())
            self.quantisation = read_quantisation(self.path, spec.quantisation)
            self.rescoring = rescoring(self.quantisation)
            self.indexes = self._index_fields(spec.payload_indexes)
            try:
                self.remove(leftovers(self.path, self._shard_name))
            except StoreUnusable as error:  # they stay
                logging.getLogger(__name__).warning("%s", error)
        except BaseException:
            self.close()
            raise

    # Reading and writing

    def write(
        self, operations: Sequence[qe.UpdateOperation], *, n_bytes: int = 0
    ) -> None:
        """Apply operations, with `n_bytes` of vectors and payloads, in order, on disk.

        Raises:
            StoreFull: The disk has no room for them.
            StoreClosed: A successor took its place, which would lack them.
        """
        with self._open_shard() as shard:
            if self.successor is not None:
                raise StoreClosed(
                    f"The store in {str(self.path)!r} was replaced by "
                    f"{str(self.successor)!r}. Open the index again to write."
                )
            if shutil.disk_usage(self.path).free < _PLENTY + 4 * n_bytes:
                room_for_write(self.path, n_bytes)
            self._begin_writing()
            for operation in operations:
                shard.update(operation)
                if self._journal is not None:
                    self._journal.append(operation)
            shard.flush()

    def query(self, request: qe.QueryRequest) -> list[qe.ScoredPoint]:
        """Return the scored points, best first."""
        with self._open_shard() as shard:
            return shard.query(request)

    def retrieve(
        self, ids: Sequence[qe.PointId], *, payload: bool | list[str], vector: bool
    ) -> dict[str, qe.Record]:
        """Return the records that exist among `ids`, by id and in their order."""
        with self._open_shard() as shard:
            records = shard.retrieve(list(ids), payload, vector)
        if vector:
            check_vectors(self.path, records, self._vector_name)
        found = {str(record.id): record for record in records}
        return {key: found[key] for key in map(str, ids) if key in found}

    def scroll(
        self,
        condition: qe.Filter | None,
        *,
        payload: bool | list[str],
        vector: bool,
        page_size: int = _SCROLL_PAGE,
    ) -> Iterator[list[qe.Record]]:
        """Yield all matching records in pages, by ascending id."""
        offset: qe.PointId | None = None
        while True:
            request = qe.ScrollRequest(
                offset=offset,
                limit=page_size,
                filter=condition,
                with_payload=payload,
                with_vector=vector,
            )
            with self._open_shard() as shard:
                page, offset = shard.scroll(request)
            if vector:
                check_vectors(self.path, page, self._vector_name)
            if page:
                yield page
            if offset is None:
                return

    def count(self, condition: qe.Filter | None = None) -> int:
        """Return how many points there are, or how many match."""
        with self._open_shard() as shard:
            return shard.count(qe.CountRequest(exact=True, filter=condition))

    def values_of(self, field: str) -> set[str]:
        """Return all values of a field that is indexed as a keyword."""
        with self._open_shard() as shard:
            most = max(1, shard.count(qe.CountRequest(exact=True)))
            found = shard.facet(qe.FacetRequest(field, limit=most, exact=True))
        # Values of deleted points are listed too, with a count of 0.
        return {str(hit.value) for hit in found.hits if hit.count}

    def indexed_vectors(self) -> int:
        """Return how many vectors the search graph holds."""
        with self._open_shard() as shard:
            return shard.info().indexed_vectors_count

    def flush(self) -> None:
        """Force everything to disk: what survives a power cut, not only a kill."""
        with self._open_shard() as shard:
            shard.flush()

    def remove(self, replaced: Sequence[Path]) -> None:
        """Remove folders that this one replaced; damaged, `StoreUnusable` instead."""
        if not replaced:
            return
        n_whole, n_points = self.n_whole(), self.count()
        if n_whole != n_points:
            raise StoreUnusable(
                f"{str(self.path)!r} is damaged; {str(replaced[0])!r} may be better: "
                f"{n_whole} of {n_points} points can be read whole. Nothing was "
                "removed: restore a backup, or what it replaced."
            )
        for path in replaced:
            remove_tree(path)

    def n_whole(self) -> int:
        """Return how many points have a payload, and a vector that could be stored."""
        pages = self.scroll(None, payload=True, vector=True)
        name, dim, cosine = self._vector_name, self.dim, self.distance == "cosine"
        return sum(
            n_whole_in(page, vector_name=name, dim=dim, cosine=cosine) for page in pages
        )

    @property
    def is_open(self) -> bool:
        """Whether `close` has not been called."""
        return self._shard is not None

    def close(self) -> None:
        """Flush, close and give the folder back; twice does no harm."""
        if self._pid != os.getpid():
            return  # The parent's: closing a forked copy hangs.
        with self._guard:
            shard, self._shard, self._journal = self._shard, None, None
            try:
                if shard is not None:
                    with engine_errors(self.path):
                        everything = qe.CountRequest(exact=True)
                        count = shard.count(everything) if self._is_written else 0
                        shard.close()
                    if self._is_written:
                        write_record(self.path, count=count, before=self._closed)
            finally:
                self._lock.release()

    # A copy that an index is built on

    def begin_copy(self) -> Path:
        """Copy the shard and start to note the writes that the copy will lack."""
        target = self.path / new_name()
        with self._open_shard() as shard:
            shard.flush()
            source = self.path / self._shard_name
            with disk_errors(self.path):
                room_for_build(source)
                copy_sparse(source, target)
            self._journal = []
        return target

    def drop_copy(self, copy: Path) -> None:
        """Forget a copy that is not used; one that was swapped in stays."""
        with self._guard:
            self._journal = None
            if copy.name == self._shard_name:
                return
            # An interrupt may have hit between the pointer on disk and the swap here.
            if self.is_open and read_pointer(self.path / POINTER)[0] == copy.name:
                write_pointer(self.path, self._shard_name, state="ready")
        shutil.rmtree(copy, ignore_errors=True)

    def swap_in(self, copy: Path) -> None:
        """Repeat the noted writes on `copy` and serve it in place of the old shard.

        Raises:
            StoreClosed: the store was closed in the meantime.
            StoreUnusable: the copy has not as many points. The original stays in use.
        """
        with self._open_shard() as old:
            if self._journal is None:
                raise StoreClosed(closed_message(self.path))
            new = self._load(copy.name)
            try:
                with engine_errors(self.path):  # the copy's are not this shard's
                    for operation in self._journal:
                        new.update(operation)
                    new.flush()
                check_counts(self.path, old=old, new=new)
                with disk_errors(self.path):
                    sync_tree(copy)
                    self._begin_writing()
                    write_pointer(self.path, copy.name, state="ready")
            except BaseException:
                new.close()
                raise
            retired, self._shard_name = self.path / self._shard_name, copy.name
            self._shard, self._journal = new, None
            old.close()
        shutil.rmtree(retired, ignore_errors=True)

    @property
    def closed(self) -> Closed | None:
        """What the store was when it was closed; None: it was written to since."""
        return None if self._is_written else self._closed

    def _load(self, name: str) -> qe.EdgeShard:
        with engine_errors(self.path):
            return qe.EdgeShard.load(str(self.path / name))

    def _index_fields(self, declared: Mapping[str, str]) -> dict[str, str]:
        names = {schema: name for name, schema in SCHEMAS.items()}
        with self._open_shard() as shard:
            info = shard.info().payload_schema
            found = {key: names.get(one.data_type, "") for key, one in info.items()}
            for key, schema in declared.items():
                if key not in found:
                    self._begin_writing()
                    kind = SCHEMAS[schema]
                    shard.update(qe.UpdateOperation.create_field_index(key, kind))
                elif found[key] != schema:
                    raise CollectionMismatch(
                        f"The store in {str(self.path)!r} indexes the field {key!r} as "
                        f"{found[key]!r}; expected {schema!r}. Open it with its own."
                    )
        return {**found, **declared}

    @contextlib.contextmanager
    def _open_shard(self) -> Iterator[qe.EdgeShard]:
        if self._pid != os.getpid():
            raise StoreClosed(
                f"The store in {str(self.path)!r} was opened in process {self._pid} "
                f"and is used in its fork {os.getpid()}, where the engine would hang. "
                'Start processes with the "spawn" method and open it in one of them.'
            )
        with self._guard:
            if self._shard is None:
                raise StoreClosed(closed_message(self.path))
            try:
                yield self._shard
            except BaseException as error:
                raise_ours(error, self.path, on_panic=self._abandon)
                raise

    def _begin_writing(self) -> None:
        if not self._is_written:
            with disk_errors(self.path):
                forget_record(self.path)
            self._is_written = True

    def _abandon(self) -> None:
        self._is_written = False  # not a clean close
        self.close()
