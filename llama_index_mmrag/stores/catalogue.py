"""The catalogue: what is known of roots and files, a cache beside the collections.

The collections are the truth. Without a catalogue, or with one that was lost, files are
read again and nothing else changes: whatever is wrong with it is a line in the log.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

from llama_index.core.utils import get_cache_dir
from pydantic import Json, TypeAdapter

from llama_index_mmrag.nodes.places import ROOT_NAME

logger = logging.getLogger(__name__)

CATALOGUE = "catalogue.sqlite"
"""Its name in an embedded store's folder."""

_VERSION = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS about (index_id TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS roots (
    name TEXT PRIMARY KEY, place TEXT NOT NULL, device TEXT
);
CREATE TABLE IF NOT EXISTS files (
    root TEXT NOT NULL, path TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER, inode TEXT NOT NULL, sha256 TEXT NOT NULL,
    read_as TEXT NOT NULL, document TEXT, ids TEXT NOT NULL, shows TEXT NOT NULL,
    problems TEXT NOT NULL,
    PRIMARY KEY (root, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_hash ON files (sha256);
CREATE INDEX IF NOT EXISTS files_by_document ON files (document);
CREATE TABLE IF NOT EXISTS derived_texts (
    content_hash TEXT NOT NULL, kind TEXT NOT NULL, maker TEXT NOT NULL,
    version TEXT NOT NULL, text TEXT NOT NULL,
    PRIMARY KEY (content_hash, kind, maker, version)
) WITHOUT ROWID;
"""

_WAIT_S = 2.0
"""How long another process's write is waited for; ours take milliseconds."""

_NAMES = {"about", "roots", "files", "derived_texts"}

T = TypeVar("T")


class FileRow(NamedTuple):
    """A file as it was when its document's nodes were written."""

    root: str
    path: str
    """Below the root, in POSIX form."""
    size: int
    mtime_ns: int | None
    """None: too young then to tell a later change from, so that the hash decides."""
    inode: str
    sha256: str
    read_as: str
    """What else its nodes follow from, see `ReadSettings`."""
    document: str | None
    """Its id; None of a picture that is none, but is shown by one."""
    ids: Json[dict[str, list[str]]]
    """Of the document's nodes, by collection; none where another document shows it."""
    shows: Json[list[str]]
    """Paths of the pictures that its nodes show, other than itself, and of files that
    came in it."""
    problems: Json[list[tuple[str, str, str]]] = []
    """What of it could not be read: source, reason and code of each."""


_AS_JSON = FileRow._fields.index("ids")
_ROWS = TypeAdapter(list[FileRow])


class Catalogue:
    """What is known of an index's roots and files.

    No method raises: what cannot be read is unknown, and what cannot be written is not
    remembered. A file that is damaged, newer or another index's is renamed, and a new
    one takes its place. Where it is locked, or its disk full or read-only, and where
    something else than a file has its name, this object goes on without. All methods
    may be called from any thread, and from several processes.

    Args:
        path: The file, made at the first write; None: nothing outlives this object,
            and files are not remembered at all.
        index_id: The index's.

    Attributes:
        index_id: The index's.
    """

    def __init__(self, path: Path | None, index_id: str) -> None:
        self._path = path
        self.index_id = index_id
        self._lock = threading.RLock()
        self._roots: dict[str, Path] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        roots = {"_roots": self._roots}  # those that only this object knows
        return type(self), (self._path, self.index_id), roots

    @classmethod
    def in_cache(cls, index_id: str) -> Catalogue:
        """Return that of an index without a folder, in LlamaIndex's cache folder."""
        try:
            folder = Path(get_cache_dir())
        except OSError as error:
            logger.warning("There is no folder for a catalogue (%s).", error)
            return cls(None, index_id)
        return cls(folder / "mmrag" / f"{index_id}.sqlite", index_id)

    @property
    def keeps_files(self) -> bool:
        """Whether files are remembered."""
        return self._path is not None

    def beside(self, name: str) -> Path | None:
        """Return this index's file of that name beside it; None: there is no place."""
        its_name = f"{quote(self.index_id, safe='')}.{name}"
        return None if self._path is None else self._path.with_name(its_name)

    # Roots

    def roots(self, *, anew: bool = False) -> dict[str, Path]:
        """Return where each root was last seen, by its name.

        Args:
            anew: Whether to read the file again, which others may have written to.
        """
        with self._lock:
            if self._roots is None or anew:
                none: dict[str, Path] = {}
                known = self._try(self._known_roots, none, make=False)
                self._roots = {**(self._roots or {}), **known}
            return dict(self._roots)

    def set_root(self, name: str, place: Path) -> None:
        """Remember where a root is; of a new one, on which device too."""
        with self._lock:
            self._roots = {**self.roots(), name: place}
        known = self._read("SELECT place FROM roots WHERE name = ?", name)
        if known != [(str(place),)]:
            upsert = (
                "INSERT INTO roots VALUES (?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET place = excluded.place"
            )
            self._write(upsert, [(name, str(place), device_of(place))])

    def device(self, root: str) -> str | None:
        """Return on which device a root was last seen whole; None if not known."""
        select = "SELECT device FROM roots WHERE name = ?"
        return next((device for (device,) in self._read(select, root)), None)

    def set_device(self, root: str, device: str) -> None:
        """Remember on which device a root is."""
        if self.device(root) != device:
            update = "UPDATE roots SET device = ? WHERE name = ?"
            self._write(update, [(device, root)])

    # Files

    def files(self, root: str, *, at: Path | None = None) -> dict[str, FileRow]:
        """Return the known files of a root, by path.

        Args:
            root: Its name.
            at: Where it is now, to be remembered.
        """
        if at is not None:
            self.set_root(root, at)
        return {row.path: row for row in self._rows("root = ?", root)}

    def hashes(self) -> set[str]:
        """Return the SHA-256s of all known files."""
        return {sha256 for (sha256,) in self._read("SELECT sha256 FROM files")}

    def with_hashes(self, hashes: Iterable[str]) -> list[FileRow]:
        """Return the known files of any root that have one of these SHA-256s."""
        return self._rows(
            "sha256 IN (SELECT value FROM json_each(?))", json.dumps(list(hashes))
        )

    def remember(self, rows: Iterable[FileRow]) -> None:
        """Write rows in place of those of the same files, after their points."""
        mark = ", ".join("?" * len(FileRow._fields))
        self._write(
            f"INSERT OR REPLACE INTO files VALUES ({mark})",
            [(*row[:_AS_JSON], *map(json.dumps, row[_AS_JSON:])) for row in rows],
        )

    def forget(self, documents: Iterable[str]) -> None:
        """Remove the rows of documents; before their points."""
        delete = "DELETE FROM files WHERE document = ?"
        self._write(delete, [(document,) for document in documents], make=False)

    # What was derived from files, and takes long

    def derived_text(
        self, content_hash: str, kind: str, maker: str, version: str
    ) -> str | None:
        """Return what was made of a content; None if nothing is known of it."""
        select = (
            "SELECT text FROM derived_texts WHERE content_hash = ? AND kind = ? "
            "AND maker = ? AND version = ?"
        )
        found = self._read(select, content_hash, kind, maker, version)
        return str(found[0][0]) if found else None

    def set_derived_text(self, *row: str) -> None:
        """Remember what was made of a content: its hash, kind, maker, version, text."""
        self._write(
            "INSERT OR REPLACE INTO derived_texts VALUES (?, ?, ?, ?, ?)", [row]
        )

    def forget_derived_texts(self, kind: str) -> None:
        """Forget all that was made of one kind, so that it is made anew."""
        delete = "DELETE FROM derived_texts WHERE kind = ?"
        self._write(delete, [(kind,)], make=False)

    # The file

    @staticmethod
    def _known_roots(db: sqlite3.Connection) -> dict[str, Path]:
        known = {}
        for name, place in db.execute("SELECT name, place FROM roots"):
            is_path = isinstance(place, str) and os.path.isabs(place)
            if not (is_path and ROOT_NAME.fullmatch(name)):
                msg = f"it has a root {name!r} at {place!r}"
                raise ValueError(msg)
            known[name] = Path(place)
        return known

    def _rows(self, where: str, *values: str) -> list[FileRow]:
        columns = ", ".join(FileRow._fields)

        def read(db: sqlite3.Connection) -> list[FileRow]:
            select = f"SELECT {columns} FROM files WHERE {where}"  # noqa: S608 - ours
            return _ROWS.validate_python(db.execute(select, values).fetchall())

        return self._try(read, [], make=False)

    def _read(self, select: str, *values: str) -> list[Any]:
        return self._try(
            lambda db: db.execute(select, values).fetchall(), [], make=False
        )

    def _write(self, statement: str, rows: list[Any], *, make: bool = True) -> None:
        if rows:
            self._try(lambda db: db.executemany(statement, rows), None, make=make)

    def _try(
        self, work: Callable[[sqlite3.Connection], T], otherwise: T, *, make: bool
    ) -> T:
        """Return what `work` does within a transaction, or else `otherwise`.

        Each has a connection of its own, which takes .2 ms: the file may be deleted,
        and an index forgotten without being closed, at any moment.
        """
        with self._lock:
            for is_last in (False, True):
                path = self._path
                is_there = path is not None and os.path.exists(path)
                if path is None or not (make or is_there):
                    return otherwise
                try:
                    if not is_there:
                        path.parent.mkdir(parents=True, exist_ok=True)
                    elif not path.is_file():
                        raise OSError(f"{path.name} is no file")  # noqa: TRY301 - logged here
                    with closing(sqlite3.connect(path, _WAIT_S)) as db, db:
                        self._check(db)
                        return work(db)
                except (sqlite3.OperationalError, OSError, OverflowError) as error:
                    # It is whole, and locked, read-only or without room.
                    self._go_on_without(error)
                except (sqlite3.Error, ValueError, TypeError) as error:
                    if is_last or not _is_moved_aside(path):
                        self._go_on_without(error)
                    else:
                        self._say(error, "It is renamed, and made anew")
            return otherwise

    def _go_on_without(self, error: Exception) -> None:
        self._say(error, "This session goes on without it")
        self._path = None

    def _say(self, error: Exception, what: str) -> None:
        reason = str(error).partition("\n")[0]
        logger.warning(
            "The catalogue %s cannot be used (%s). %s: files are read again.",
            *(self._path, reason, what),
        )

    def _check(self, db: sqlite3.Connection) -> None:
        """Make a new file a catalogue.

        Raises:
            ValueError: An old one is none, or not of this version and this index.
        """
        (version,) = db.execute("PRAGMA user_version").fetchone()
        select = "SELECT name FROM sqlite_master WHERE type = 'table'"
        tables = {name for (name,) in db.execute(select)}
        if not tables and version == 0:
            # Whoever comes second finds what the first has made.
            db.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.split(";"):
                db.execute(statement)
            db.execute("INSERT OR IGNORE INTO about VALUES (?)", (self.index_id,))
            db.execute(f"PRAGMA user_version = {_VERSION}")
        elif version != _VERSION or not tables >= _NAMES:
            msg = f"its version is {version}, and this one reads {_VERSION}"
            raise ValueError(msg)
        if db.execute("SELECT index_id FROM about").fetchall() != [(self.index_id,)]:
            msg = "it belongs to another index"
            raise ValueError(msg)


def device_of(folder: Path) -> str | None:
    """Return a name of the device that a folder is on; None if it is not there."""
    try:
        return str(folder.stat().st_dev)
    except OSError:
        return None


def _is_moved_aside(path: Path) -> bool:
    """Rename a file; return whether it is out of the way."""
    try:
        path.replace(path.with_name(f"{path.name}.aside"))
        # The unfinished writes of one file must not go into another.
        path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    except OSError:
        return False
    return True
