"""The catalogue of an index: beside its store, where it was put, or nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llama_index_mmrag.stores.catalogue import CATALOGUE, Catalogue
from llama_index_mmrag.stores.client import is_in_memory
from llama_index_mmrag.stores.manifest import index_id_of

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


def catalogue_in(root: Path, place: str | Path | Literal[False] | None) -> Catalogue:
    """Return the catalogue of a folder's store.

    Args:
        root: The folder.
        place: The file; None: in the folder; False: there is none.
    """
    file = root / CATALOGUE if place is None else Path(place or "")
    return Catalogue(None if place is False else file, index_id_of(root) or "")


def catalogue_on(
    server: QdrantClient,
    collection: str | Mapping[str, str],
    place: str | Path | Literal[False] | None,
) -> Catalogue:
    """Return the catalogue of a server's collections, which are there.

    Args:
        server: Its client.
        collection: As for `names_on_server`.
        place: As for `catalogue_in`; None: in the user's cache folder, where the
            collections have an id and outlive this process.
    """
    from llama_index_mmrag.stores.server import index_id_on, names_on_server

    names = names_on_server(collection)
    index_id = index_id_on(server, names.values()) or ""
    if place is not None and place is not False:
        return Catalogue(Path(place), index_id or names["text"])
    if place is False or is_in_memory(server) or not index_id:
        return Catalogue(None, index_id)
    return Catalogue.in_cache(index_id)
