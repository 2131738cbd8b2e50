"""Documents in flight: what is being replaced, on disk while it is.

A document's new nodes are written before its old ones are removed, collection by
collection. Whoever is killed in between leaves it in two versions, or in parts of one:
the note says what the next opening has to finish, and what to take back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import NamedTuple, TypeAlias

from llama_index.core.schema import BaseNode
from pydantic import TypeAdapter, ValidationError

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.files.writing import replacing
from llama_index_mmrag.stores.collection import Collection

IN_FLIGHT = "in-flight.json"
"""The note's name in a store's folder."""


class Version(NamedTuple):
    """The nodes that a document is to have in one collection, by id."""

    new: list[str]
    """Those that it had not, and that are taken away again if not all came."""
    kept: list[str]


_Documents: TypeAlias = "dict[str, dict[str, Version]]"
"""By document and modality."""

_DOCUMENTS = TypeAdapter(dict[str, dict[str, Version]])


class InFlight:
    """The note of one store.

    Args:
        folder: The store's; None: nothing is noted, such as for a server.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / IN_FLIGHT

    def begin(
        self,
        ref_doc_ids: Iterable[str],
        wanted: Mapping[str, Mapping[str, BaseNode]],
        there: Set[str],
    ) -> None:
        """Note what is about to be written and removed.

        Args:
            ref_doc_ids: The documents that are replaced.
            wanted: All nodes that are to be there, by modality and id.
            there: Ids of those that are there already.

        Raises:
            StoreUnusable: The note cannot be written; then nothing must be.
        """
        if self._file is None:
            return
        documents: _Documents = {
            ref_doc_id: {modality: Version([], []) for modality in wanted}
            for ref_doc_id in ref_doc_ids
        }
        for modality, nodes in wanted.items():
            for node_id, node in nodes.items():
                if versions := documents.get(node.ref_doc_id or ""):
                    new, kept = versions[modality]
                    (kept if node_id in there else new).append(node_id)
        try:
            with replacing(self._file, by=f"{IN_FLIGHT}.part") as file:
                file.write(_DOCUMENTS.dump_json(documents))
        except OSError as error:
            raise StoreUnusable(
                f"Cannot write {str(self._file)!r}: {error.strerror}. Nothing was "
                f"written. Make room, or make the folder writable, and insert again."
            ) from error

    def end(self) -> None:
        """Forget it: all is done."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def unsettled(
        self, collections: Mapping[str, Collection]
    ) -> tuple[list[str], dict[str, list[str]]]:
        """Return the documents that a killed writer had begun, and nodes to remove.

        A document whose new nodes are all there loses its old ones, another its new.

        Args:
            collections: By modality.

        Raises:
            StoreUnusable: The note cannot be read.
        """
        gone: dict[str, list[str]] = {modality: [] for modality in collections}
        left = self._left()
        for ref_doc_id, versions in left.items():
            there = {m: collections[m].ids_of_documents([ref_doc_id]) for m in versions}
            is_whole = all(set(v.new) <= set(there[m]) for m, v in versions.items())
            for modality, (new, kept) in versions.items():
                wanted = {*new, *kept} if is_whole else set(there[modality]) - {*new}
                gone[modality] += [i for i in there[modality] if i not in wanted]
        return list(left), gone

    def _left(self) -> _Documents:
        if self._file is None or not self._file.exists():
            return {}
        try:
            return _DOCUMENTS.validate_json(self._file.read_bytes())
        except (OSError, ValidationError) as error:
            raise StoreUnusable(
                f"Cannot read {str(self._file)!r}, which says what an insert that was "
                f"cut off had begun: {error}. Remove the file, open the store, and "
                f"insert again what was being inserted."
            ) from error
