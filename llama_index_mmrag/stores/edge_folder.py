"""One folder that holds a Qdrant Edge shard: own, open, read, write, swap."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import qdrant_edge as qe

from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    MmragError,
    StoreClosed,
    StoreInUse,
    StoreUnusable,
)
from llama_index_mmrag.stores.edge_layout import (
    LOCK,
    POINTER,
    check_counts,
    closed_message,
    copy_sparse,
    disk_errors,
    new_name,
    read_pointer,
    ready_shard,
    vectors_in,
    write_pointer,
)
from llama_index_mmrag.stores.locks import FolderLock
from llama_index_mmrag.stores.quantisation import (
    Quantisation,
    read_quantisation,
    rescoring,
    shard_config,
    vector_params,
    write_quantisation,
)

_SCROLL_PAGE = 1024

DISTANCES = {"cosine": qe.Distance.Cosine, "dot": qe.Distance.Dot}
SCHEMAS = {
    "keyword": qe.PayloadSchemaType.Keyword,
    "integer": qe.PayloadSchemaType.Integer,
    "float": qe.PayloadSchemaType.Float,
    "bool": qe.PayloadSchemaType.Bool,
    "datetime": qe.PayloadSchemaType.Datetime,
    "uuid": qe.PayloadSchemaType.Uuid,
    "text": qe.PayloadSchemaType.Text,
}


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """What the shard must be; `dim` None takes an existing shard's."""

    vector_name: str
    dim: int | None
    distance: str
    payload_indexes: Mapping[str, str]
    quantisation: Quantisation | None = None


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
        self._pid = os.getpid()
        self._guard = threading.RLock()
        self._journal: list[qe.UpdateOperation] | None = None
        self._shard: qe.EdgeShard | None = None
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.path / LOCK)
        try:
            with disk_errors(self.path):
                self._shard_name = self._ready_shard(spec)
            self._shard = self._load(self._shard_name)
            self.dim, self.distance = self._described(spec)
            self.quantisation = read_quantisation(self.path, spec.quantisation)
            self.rescoring = rescoring(self.quantisation)
            self.indexes = self._index_fields(spec.payload_indexes)
        except BaseException:
            self.close()
            raise

    # Reading and writing

    def write(self, operations: Sequence[qe.UpdateOperation]) -> None:
        """Apply the operations in order and put them on disk.

        Raises:
            StoreClosed: A successor took its place, which would lack them.
        """
        with self._open_shard() as shard:
            if self.successor is not None:
                raise StoreClosed(
                    f"The store in {str(self.path)!r} was replaced by "
                    f"{str(self.successor)!r} and can only be read. Open the index "
                    "again to write."
                )
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
        # Values of points that were deleted are listed too, with a count of 0.
        return {str(hit.value) for hit in found.hits if hit.count}

    def indexed_vectors(self) -> int:
        """Return how many vectors the search graph holds."""
        with self._open_shard() as shard:
            return shard.info().indexed_vectors_count

    def flush(self) -> None:
        """Force everything to disk: what survives a power cut, not only a kill."""
        with self._open_shard() as shard:
            shard.flush()

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
                    shard.close()
            finally:
                self._lock.release()

    # A copy that an index is built on

    def begin_copy(self) -> Path:
        """Copy the shard and start to note the writes that the copy will lack."""
        target = self.path / new_name()
        with self._open_shard() as shard:
            shard.flush()
            with disk_errors(self.path):
                copy_sparse(self.path / self._shard_name, target)
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
            StoreUnusable: the copy does not hold as many points as the original. The
                original stays in use.
        """
        with self._open_shard() as old:
            if self._journal is None:
                raise StoreClosed(closed_message(self.path))
            new = self._load(copy.name)
            try:
                for operation in self._journal:
                    new.update(operation)
                new.flush()
                check_counts(self.path, old=old, new=new)
                with disk_errors(self.path):
                    write_pointer(self.path, copy.name, state="ready")
            except BaseException:
                new.close()
                raise
            retired, self._shard_name = self.path / self._shard_name, copy.name
            self._shard, self._journal = new, None
            old.close()
        shutil.rmtree(retired, ignore_errors=True)

    # Opening

    def _ready_shard(self, spec: ShardSpec) -> str:
        if (ready := ready_shard(self.path)) is not None:
            return ready
        if spec.dim is None:
            raise InvalidSetting(
                f"There is no store in {str(self.path)!r} yet, and dim is None. "
                "Expected the length of the vectors, to create one: pass dim=..."
            )
        name = new_name()
        write_pointer(self.path, name, state="creating")
        write_quantisation(self.path, spec.quantisation)
        distance, codes = DISTANCES[spec.distance], spec.quantisation
        with engine_errors(self.path):
            params = vector_params(spec.dim, distance, codes)
            config = shard_config(spec.vector_name, params, codes)
            shard = qe.EdgeShard.create(str(self.path / name), config)
            shard.close()
        write_pointer(self.path, name, state="ready")
        return name

    def _load(self, name: str) -> qe.EdgeShard:
        with engine_errors(self.path):
            return qe.EdgeShard.load(str(self.path / name))

    def _described(self, spec: ShardSpec) -> tuple[int, str]:
        with disk_errors(self.path):
            found = vectors_in(self.path / self._shard_name)
        dim, distance = found.get(spec.vector_name, (None, ""))
        if dim is None or (spec.dim or dim, spec.distance) != (dim, distance):
            raise CollectionMismatch(
                f"The store in {str(self.path)!r} has the vectors {found!r}; expected "
                f"{ {spec.vector_name: (spec.dim, spec.distance)}!r} (name: size, "
                "distance). Open it with its own settings, or give another path and "
                "insert again: vectors of two models cannot be mixed."
            )
        return dim, distance

    def _index_fields(self, declared: Mapping[str, str]) -> dict[str, str]:
        names = {schema: name for name, schema in SCHEMAS.items()}
        with self._open_shard() as shard:
            info = shard.info().payload_schema
            found = {key: names.get(one.data_type, "") for key, one in info.items()}
            for key, schema in declared.items():
                if key not in found:
                    create = qe.UpdateOperation.create_field_index(key, SCHEMAS[schema])
                    shard.update(create)
                elif found[key] != schema:
                    raise CollectionMismatch(
                        f"The store in {str(self.path)!r} indexes the payload field "
                        f"{key!r} as {found[key]!r}; expected {schema!r}. Open it with "
                        "the kind of index it has, or give another path."
                    )
            shard.flush()
        return {**found, **declared}

    @contextlib.contextmanager
    def _open_shard(self) -> Iterator[qe.EdgeShard]:
        if self._pid != os.getpid():
            raise StoreClosed(
                f"The store in {str(self.path)!r} was opened in process {self._pid} "
                f"and is used in its fork {os.getpid()}, where the engine would "
                'hang. Start processes with the "spawn" method and open the store '
                "in one of them."
            )
        with self._guard:
            if self._shard is None:
                raise StoreClosed(closed_message(self.path))
            with engine_errors(self.path):
                yield self._shard


@contextlib.contextmanager
def engine_errors(path: Path) -> Iterator[None]:
    """Raise the engine's errors as `StoreInUse` or `StoreUnusable`."""
    try:
        yield
    except MmragError:
        raise
    except Exception as error:
        # Qdrant Edge 0.9 raises bare Exceptions; only the text tells them apart.
        if "WouldBlock" in str(error):
            raise StoreInUse(
                f"The shard in {str(path)!r} is open elsewhere, without this library. "
                "Expected to be its only user: close it there first."
            ) from error
        raise StoreUnusable(
            f"Qdrant Edge failed on the store in {str(path)!r}: {error}. Expected a "
            "folder on a local disk with free space, written by qdrant-edge-py 0.9; "
            "restore a backup if it does not open again."
        ) from error
