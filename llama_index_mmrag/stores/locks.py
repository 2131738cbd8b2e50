"""Locks: one searcher at a time where a client cannot take more, one owner a folder."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import portalocker
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_mmrag.errors import StoreInUse
from llama_index_mmrag.stores.client import is_local
from llama_index_mmrag.stores.threaded import ThreadedVectorStore

_EXCLUSIVE_AT_ONCE = (
    portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING
)
_guard = threading.Lock()
_locks: weakref.WeakKeyDictionary[Any, contextlib.AbstractContextManager[Any]] = (
    weakref.WeakKeyDictionary()
)


def search_lock(
    vector_store: BasePydanticVectorStore,
) -> contextlib.AbstractContextManager[Any]:
    """Return the lock to hold around every call into `vector_store` from a thread.

    Qdrant's local mode is not thread-safe: two writers break the collection, and
    readers beside a writer fail. Stores that share a local client share one reentrant
    lock. A server client, Qdrant Edge (which has its own lock) and any other store get
    one that does nothing, so their calls run at the same time.
    """
    client = _local_client(vector_store)
    if client is None:
        return contextlib.nullcontext()
    with _guard:
        return _locks.setdefault(client, threading.RLock())


def has_async_client(vector_store: BasePydanticVectorStore) -> bool:
    """Return whether `aquery` reaches the data without a thread of ours.

    True for a `QdrantVectorStore` with an asynchronous client, unless its synchronous
    client is a local one: two local clients never share their data. True for a
    `QdrantEdgeVectorStore`, whose asynchronous methods are threads already. Otherwise
    False: LlamaIndex's default `aquery` calls `query` on the event loop, so run the
    synchronous method in a thread under `search_lock`.
    """
    if isinstance(vector_store, ThreadedVectorStore):
        return True
    if getattr(vector_store, "_aclient", None) is None:
        return False
    return _local_client(vector_store) is None


def _local_client(vector_store: BasePydanticVectorStore) -> Any | None:
    from llama_index.vector_stores.qdrant import QdrantVectorStore

    if not isinstance(vector_store, QdrantVectorStore):
        return None
    client = getattr(vector_store, "_client", None)
    return client if is_local(client) else None


class FolderLock:
    """Exclusive ownership of a folder, freed by the system if the process dies.

    The engine has a lock of its own, but reports it as an error of the log file.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock file at `path`.

        Raises:
            StoreInUse: another process, or another object of this one, holds it.
        """
        self._file = open(path, "a+", encoding="utf-8", opener=_no_link)  # noqa: PTH123, SIM115 - Path.open takes no opener
        # A forgotten store must neither keep the folder nor warn of an open file.
        self._release = weakref.finalize(self, self._file.close)
        try:
            portalocker.lock(self._file, _EXCLUSIVE_AT_ONCE)
        except portalocker.exceptions.LockException as error:
            owner = _owner(path)
            self._release()
            raise StoreInUse(
                f"The store in {str(path.parent)!r} is already open in {owner}. "
                "Expected to be its only user: share one store object within a "
                "process, close() the other one, or put the collection on a Qdrant "
                "server."
            ) from error
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Give the folder back; twice does no harm."""
        self._release()


def _no_link(path: str, flags: int) -> int:
    # It is emptied when it is taken: a link would empty a file of somebody else's.
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _owner(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            pid = file.read(20).strip()
    except (OSError, ValueError):  # Windows forbids reading a locked file.
        pid = ""
    if pid == str(os.getpid()):
        return f"this process (pid {pid})"
    return f"another process (pid {pid})" if pid else "another process"
