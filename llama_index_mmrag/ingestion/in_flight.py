"""Documents in flight: what is being replaced, on disk while it is.

A document's new nodes are written before its old ones are removed, collection by
collection. Whoever is killed in between leaves it in two versions, or in parts of one:
the note says what the next opening has to finish, and what to take back.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeAlias

from pydantic import TypeAdapter, ValidationError

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.files.writing import replacing

IN_FLIGHT = "in-flight.json"
"""The note's name in a store's folder."""


class Version(NamedTuple):
    """The nodes that a document is to have in one collection, by id."""

    new: list[str]
    """Those that it had not, and that are taken away again if not all came."""
    kept: list[str]


Documents: TypeAlias = "dict[str, dict[str, Version]]"
"""By document and modality."""

_DOCUMENTS = TypeAdapter(dict[str, dict[str, Version]])


class InFlight:
    """The note of one store.

    Args:
        folder: The store's; None: nothing is noted, such as for a server.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / IN_FLIGHT

    def begin(self, documents: Documents) -> None:
        """Note what is about to be written and removed.

        Raises:
            StoreUnusable: The note cannot be written; then nothing must be.
        """
        if self._file is None:
            return
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

    def left(self) -> Documents:
        """Return what somebody who was killed had begun; empty if nobody was.

        Raises:
            StoreUnusable: The note cannot be read.
        """
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
