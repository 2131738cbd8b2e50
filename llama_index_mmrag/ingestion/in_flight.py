"""Documents in flight: what is being replaced, on disk while it is.

A document's new nodes are written before its old ones are removed, collection by
collection. Whoever is killed in between leaves it in two versions, or in parts of one:
the note says what the next opening has to finish, and what to take back.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from llama_index.core.schema import BaseNode

from llama_index_mmrag.errors import StoreFull, StoreInUse, StoreUnusable
from llama_index_mmrag.files.reading import MOST_BYTES, read_json
from llama_index_mmrag.files.writing import raise_if_full, replacing
from llama_index_mmrag.nodes.node import LETTERING
from llama_index_mmrag.stores.catalogue import Catalogue
from llama_index_mmrag.stores.collection import Collection
from llama_index_mmrag.stores.locks import FolderLock
from llama_index_mmrag.stores.server_errors import KeyRefused

logger = logging.getLogger(__name__)

IN_FLIGHT = "in-flight.json"
"""The note's name in a store's folder."""


class Version(NamedTuple):
    """The nodes that a document is to have in one collection, by id."""

    new: list[str]
    """Those that it had not, and that are taken away again if not all came."""
    kept: list[str]


_Documents: TypeAlias = "dict[str, dict[str, Version]]"
"""By document and modality."""


class InFlight:
    """The note of one store.

    Several may write to a server with one catalogue: the note is that of one of them,
    who keeps it locked, and what the others write meanwhile is not noted.

    Args:
        folder: The store's; None: it is on a server.
        catalogue: Beside that of a server is its note; where it has no file, nothing is
            noted.
        collections: What is written to, by modality.

    Attributes:
        is_noted: Whether something was begun and not ended, as far as is known.
    """

    def __init__(
        self,
        folder: Path | None,
        catalogue: Catalogue,
        collections: Mapping[str, Collection],
    ) -> None:
        self._collections = collections
        self._is_shared = folder is None
        self._file = folder / IN_FLIGHT if folder else catalogue.beside(IN_FLIGHT)
        self._lock: FolderLock | None = None
        self.is_noted = False

    @contextmanager
    def noted(
        self,
        becoming: Mapping[str, str],
        gone: Mapping[str, Sequence[str]],
        new: Mapping[str, Sequence[BaseNode]],
        kept: Mapping[str, Sequence[BaseNode]],
    ) -> Iterator[None]:
        """Have a note of what is written and removed, until all is done.

        It is forgotten too where that was refused before anything was written.

        Args:
            becoming: As for `begin`.
            gone: Ids of nodes that are removed, by modality, of each.
            new: As for `begin`.
            kept: As for `begin`.
        """
        if any((*new.values(), *gone.values())):
            self.begin(becoming, new, kept)
        try:
            yield
        except (StoreFull, KeyRefused, ValueError):
            documents = {*becoming.values()}
            for modality, one in self._collections.items():
                nodes, there = new.get(modality, ()), gone[modality]
                ids = [n.node_id for n in nodes if n.ref_doc_id in documents]
                if one.existing([*ids, *there]) != {*there}:
                    raise
            self.end()
            raise
        self.end()

    def begin(
        self,
        becoming: Mapping[str, str],
        new: Mapping[str, Sequence[BaseNode]],
        kept: Mapping[str, Sequence[BaseNode]],
    ) -> None:
        """Note what is about to be written and removed.

        Args:
            becoming: The documents that are replaced, or removed, by each of the ids
                that they have or came with.
            new: Nodes that are written, by modality: those that have their vectors, so
                that they will be there.
            kept: Nodes that are there and stay.

        Raises:
            StoreFull: There is no room for the note in a folder.
            StoreUnusable: The note in a folder cannot be written; then nothing must be.
        """
        if self._file is None or not becoming or not self._is_ours():
            return
        documents: _Documents = {
            ref_doc_id: {modality: Version([], []) for modality in self._collections}
            for ref_doc_id in becoming.values()
        }
        for place, by_modality in enumerate((new, kept)):
            for modality, nodes in by_modality.items():
                for node in nodes:
                    if versions := documents.get(node.ref_doc_id or ""):
                        versions[modality][place].append(node.node_id)
        named = {name: documents[ref_doc_id] for name, ref_doc_id in becoming.items()}
        note = json.dumps(named).encode()
        if len(note) > MOST_BYTES:
            self.unlock()
            logger.warning(
                "%d documents have more nodes than can be noted: if this session is "
                "killed they may be in two versions until they are inserted again.",
                len(becoming),
            )
            return
        try:
            with replacing(self._file, by=f"{IN_FLIGHT}.part") as file:
                file.write(note)
        except OSError as error:
            if self._is_shared:
                self._go_on_without(error)
                return
            its = self._file.parent
            raise_if_full(error, its, len(note), for_="The note of what is written")
            raise StoreUnusable(
                f"Cannot write {str(self._file)!r}: {error.strerror}. Nothing was "
                f"written. Make room, or make the folder writable, and insert again."
            ) from error
        self.is_noted = True

    def end(self) -> None:
        """Forget it: all is done."""
        if self._file is not None and self.is_noted:
            self._file.unlink(missing_ok=True)
            self.is_noted = False
            self.unlock()

    def unsettled(self) -> tuple[list[str], dict[str, list[str]]]:
        """Return the documents that a killed writer had begun, and nodes to remove.

        A document whose new nodes are all there loses its old ones, another its new.

        Raises:
            StoreUnusable: The note cannot be read.
        """
        collections = self._collections
        gone: dict[str, list[str]] = {modality: [] for modality in collections}
        left = self._left()
        for ref_doc_id, versions in left.items():
            names = [ref_doc_id]
            there = {m: collections[m].ids_of_documents(names, names) for m in versions}
            is_whole = all(set(v.new) <= set(there[m]) for m, v in versions.items())
            for modality, (new, kept) in versions.items():
                wanted = {*new, *kept} if is_whole else set(there[modality]) - {*new}
                gone[modality] += [i for i in there[modality] if i not in wanted]
        return list(left), gone

    def _left(self) -> _Documents:
        file = self._file
        # Another writer may have ended it, or begun the next, since it was left.
        self.is_noted = file is not None and file.exists() and self._is_ours()
        if file is None or not self.is_noted:
            return {}
        try:
            return _documents(read_json(file), self._collections.keys())
        except FileNotFoundError:  # whoever wrote it has just ended
            self.end()
            return {}
        except (OSError, ValueError) as error:
            raise StoreUnusable(
                f"Cannot read {str(file)!r}, which says what a write that was "
                f"cut off had begun: {error}. Remove the file, open the store, and "
                f"insert again what was being inserted."
            ) from error

    def _is_ours(self) -> bool:
        """Return whether the note is this object's to write, or of nobody who lives."""
        if not self._is_shared or self._lock is not None or self._file is None:
            return True
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self._file.with_suffix(".lock"))
        except StoreInUse:
            return False
        except OSError as error:
            self._go_on_without(error)
        return self._lock is not None

    def _go_on_without(self, error: OSError) -> None:
        logger.warning(
            "What is being replaced cannot be noted in %s (%s). Where this session is "
            "killed, documents may be in two versions until they are inserted again.",
            *(self._file, error.strerror),
        )
        self._file = None
        self.unlock()

    def unlock(self) -> None:
        """Let another writer to a server have the note, who may end what it says."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def _documents(stored: Any, modalities: Set[str]) -> _Documents:
    """Return what a note says.

    By hand: pydantic notes every entry that is wrong, in more memory than there may be.

    Raises:
        ValueError: It is none, or of other collections.
    """
    documents: _Documents = {}
    try:
        for ref_doc_id, versions in stored.items():
            found = {name: Version(*lists) for name, lists in versions.items()}
            ids = chain.from_iterable(chain.from_iterable(found.values()))
            # Pictures may be read since it was written, which they were not then.
            is_of_these = modalities - {LETTERING} <= found.keys() <= modalities
            if not is_of_these or not all(type(i) is str for i in ids):
                raise TypeError(ref_doc_id)  # noqa: TRY301 - as other shapes are
            documents[ref_doc_id] = found
    except (AttributeError, TypeError) as error:
        told = f"expected, by document, new and kept ids of {sorted(modalities)}"
        raise ValueError(told) from error
    return documents
