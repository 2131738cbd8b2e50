"""What can still be read of a damaged shard; copies are read, it stays as it is.

The engine refuses a shard for one damaged file, and ends the process where a file is
shorter than it was. So files are given back the sizes that they had, descriptions are
taken from a new shard, points whose ids are lost get others (a node says its own),
payloads whose places are lost are looked for in their pages, and the log, which has the
last writes whole, 32 MB of them at least, is read by itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import qdrant_edge as qe

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.stores.edge_engine import DISTANCES, SPARSE_NAME, engine_errors
from llama_index_mmrag.stores.edge_index import run_in_child
from llama_index_mmrag.stores.edge_layout import SHARD_PREFIX, copy_sparse
from llama_index_mmrag.stores.edge_read_all import LOOSE, PAYLOADS, TRACKER
from llama_index_mmrag.stores.edge_record import Closed, crc32_of, read_record
from llama_index_mmrag.stores.format import CollectionEntry
from llama_index_mmrag.stores.quantisation import shard_config, vector_params

_LOG = logging.getLogger(__name__)
_READ_ALL = Path(__file__).with_name("edge_read_all.py")

_DESCRIPTIONS = frozenset(
    {"config.json", "edge_config.json", "segment.json", "version.info"}
)
"""Files that say the same in every shard of one kind, or what the log says too."""
_LOG_FOLDER = "wal"
_APPLIED = "first-index"
_IDS = "id_tracker."
_INDEXES = "payload_index"
_PER_PAGE = 256


def points_left(
    folder: Path, entry: CollectionEntry, work: Path
) -> Iterator[list[qe.Record]]:
    """Yield the points that can be read, in pages; one may come several times.

    Those of the log come first. A point may lack its payload or its vector, or have
    others than it had, or an id that it never had: what is whole, the caller decides.

    Args:
        folder: The damaged collection's; its owner must hold its lock.
        entry: What the collection is.
        work: A folder for copies, with room for two; it is emptied.
    """
    try:
        closed = read_record(folder)
    except StoreUnusable:
        closed = None
    for shard in sorted(folder.glob(SHARD_PREFIX + "*")):
        damaged = _Damaged(shard, entry, [*_damaged_files(shard, closed)])
        for prepare in (_log_alone, _mended, _payloads_alone):
            shutil.rmtree(work, ignore_errors=True)
            try:
                prepare(damaged, work)
                run_in_child(_READ_ALL, work)
                yield from _read(work)
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                # The next one may say more.
                _LOG.info("%s of %r: %s", prepare.__name__, str(shard), error)
    shutil.rmtree(work, ignore_errors=True)


class _Damaged(NamedTuple):
    shard: Path
    entry: CollectionEntry
    files: list[tuple[Path, int]]
    """Those that are not as they were, by their names in the shard, and their sizes."""

    def has_log_damage(self) -> bool:
        """Return whether the engine's log is not as it was."""
        return any(path.parts[0] == _LOG_FOLDER for path, _ in self.files)


def _damaged_files(shard: Path, closed: Closed | None) -> Iterator[tuple[Path, int]]:
    for name, file in closed.files.items() if closed is not None else ():
        path = shard.parent / name
        if shard not in path.parents:
            continue
        with contextlib.suppress(OSError):
            if path.stat().st_size == file.size and crc32_of(path) == file.crc32:
                continue
        yield path.relative_to(shard), file.size


def _new_shard(damaged: _Damaged, target: Path) -> None:
    entry = damaged.entry
    params = vector_params(entry.dim, DISTANCES[entry.distance], None)
    with engine_errors(target):
        sparse = None if entry.words is None else SPARSE_NAME
        config = shard_config(entry.vector, params, None, sparse_name=sparse)
        qe.EdgeShard.create(str(target), config).close()


def _log_alone(damaged: _Damaged, target: Path) -> None:
    if damaged.has_log_damage():
        raise ValueError("the log is damaged")
    _new_shard(damaged, target)
    shutil.rmtree(target / _LOG_FOLDER)
    copy_sparse(damaged.shard / _LOG_FOLDER, target / _LOG_FOLDER)
    # Else the engine repeats no more than what is in no segment yet.
    (target / _LOG_FOLDER / _APPLIED).unlink(missing_ok=True)


def _mended(damaged: _Damaged, target: Path) -> None:
    """Make a copy: files with their sizes, a new shard's descriptions, and its log.

    Indexes of payloads are made of the points, and left out.
    """
    template = target.with_name(target.name + "-new")
    try:
        _new_shard(damaged, template)
        copy_sparse(damaged.shard, target)
        if damaged.has_log_damage():
            shutil.rmtree(target / _LOG_FOLDER, ignore_errors=True)
            copy_sparse(template / _LOG_FOLDER, target / _LOG_FOLDER)
        for indexes in target.glob(f"segments/*/{_INDEXES}"):
            shutil.rmtree(indexes)
        for path, size in damaged.files:
            if path.parts[0] == _LOG_FOLDER or _INDEXES in path.parts:
                continue
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            if new := _description_in(template, path):
                shutil.copyfile(new, file)
            else:
                if path.name == TRACKER:  # it would lead to other points' payloads
                    file.write_bytes(b"")
                file.touch()
                os.truncate(file, size)
        for path, _ in damaged.files:
            if _IDS in path.name:
                _number(target / path.parent)
    finally:
        shutil.rmtree(template, ignore_errors=True)


def _payloads_alone(damaged: _Damaged, target: Path) -> None:
    """Make a new shard beside the payloads, of which its points are made: see there.

    A vector's storage that asks for more than there is fails the whole segment.
    """
    _new_shard(damaged, target)
    for storage in damaged.shard.glob(f"segments/*/{PAYLOADS}"):
        copy_sparse(storage, target / LOOSE / storage.parent.name)


def _number(segment: Path) -> None:
    """Let all points of a segment have new ids, and be there.

    Of those that were deleted the engine (0.9) has removed the payload too.
    """
    n_points = max(f.stat().st_size for f in segment.glob(f"*{_IDS}versions")) // 8
    for file in segment.glob(f"*{_IDS}*"):
        file.unlink()
    # A log of its own: a UUID's number, the UUID, and where the point is.
    places = (n.to_bytes(4, "little") for n in range(n_points))
    ids = b"".join(b"\2" + uuid.uuid4().bytes + place for place in places)
    (segment / f"mutable_{_IDS}mappings").write_bytes(ids)
    (segment / f"mutable_{_IDS}versions").write_bytes((b"\1" + bytes(7)) * n_points)


def _description_in(template: Path, path: Path) -> Path | None:
    """Return the file of a new shard that says what this one said."""
    if path.name not in _DESCRIPTIONS:
        return None
    in_segment = "/".join(path.parts[2:])
    return next(template.rglob(in_segment or path.name), None)


def _read(shard: Path) -> Iterator[list[qe.Record]]:
    with engine_errors(shard):
        loaded = qe.EdgeShard.load(str(shard))
        try:
            offset = None
            while True:
                page, offset = loaded.scroll(
                    qe.ScrollRequest(
                        offset=offset,
                        limit=_PER_PAGE,
                        with_payload=False,
                        with_vector=False,
                    )
                )
                yield list(_retrieved(loaded, [record.id for record in page]))
                if offset is None:
                    return
        finally:
            loaded.close()


def _retrieved(shard: qe.EdgeShard, ids: list[qe.PointId]) -> Iterator[qe.Record]:
    """Yield the points that can be read: a page at once, or halves of it."""
    for with_vector in (True, False):
        try:
            yield from shard.retrieve(ids, True, with_vector)
        except Exception:  # noqa: BLE001 - the engine raises bare ones
            continue
        return
    if len(ids) > 1:
        half = len(ids) // 2
        yield from _retrieved(shard, ids[:half])
        yield from _retrieved(shard, ids[half:])
