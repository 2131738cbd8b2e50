"""The index and the query that a command's options name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llama_index_mmrag.cli.encoders import chosen_encoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidQuery, InvalidSetting

if TYPE_CHECKING:
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.schema import QueryBundle

    from llama_index_mmrag import MultiModalQdrantIndex
    from llama_index_mmrag.composition import Composition


def existing(
    store: Path,
    *,
    encoder: str | None,
    alignment: Path | None,
    search: str | None = None,
    roots: Sequence[str] | None = None,
    catalogue: Path | None = None,
) -> MultiModalQdrantIndex:
    """Return the index of a folder, which must hold one already.

    Raises:
        StoreUnusable: It does not.
        InvalidSetting: It does not have the vectors that --search asks for, or a root
            is not NAME=FOLDER.
        CollectionMismatch: It was filled by another encoder.
    """
    from llama_index_mmrag.stores.manifest import stored_composition

    places = dict(_place_of(root) for root in roots or ())
    embed_model = chosen_encoder(encoder, alignment)
    check_exists(store)
    composition = stored_composition(store)
    if search in ("composed", "both") and composition is None:
        raise InvalidSetting(
            f"--search {search} needs vectors that {str(store)!r} does not have. "
            f"Make a new store with: mmrag index DIR --store NEW --composition blend"
        )
    return opened(
        store,
        embed_model,
        composition=composition,
        roots=places,
        catalogue=catalogue,
    )


def _place_of(root: str) -> tuple[str, str]:
    name, _, folder = root.rpartition("=")
    if not name or not folder:
        raise InvalidSetting(
            f"--root is {root!r}; expected NAME=FOLDER, such as docs=/mnt/docs."
        )
    return name, folder


def opened(
    store: Path,
    embed_model: BaseEmbedding | None,
    *,
    composition: Composition | None,
    roots: Mapping[str, str] | None = None,
    catalogue: Path | None = None,
) -> MultiModalQdrantIndex:
    """Return the index of a folder, with an encoder where one was asked for.

    Raises:
        CollectionMismatch: It was filled by another encoder.
    """
    from llama_index_mmrag import MultiModalQdrantIndex

    try:
        return MultiModalQdrantIndex.open(
            store,
            embed_model=embed_model,
            composition=composition,
            roots=roots,
            catalogue=catalogue,
        )
    except CollectionMismatch as error:
        advice = "Give --encoder and --alignment as they were given to mmrag index."
        raise CollectionMismatch(f"{error} {advice}") from error


def holds_store(folder: Path) -> bool:
    """Return whether a folder holds a store, or one that lost its manifest."""
    return any((folder / f"mmrag{of}.json").exists() for of in ("", ".copy"))


def check_exists(store: Path) -> None:
    """Do nothing if a folder holds a store.

    Raises:
        StoreUnusable: It does not.
    """
    from llama_index_mmrag.stores.checking import check_is_store

    check_is_store(store)


def query_of(text: str, image: Path | None) -> QueryBundle:
    """Return the query that words and a picture make."""
    from llama_index.core.schema import QueryBundle

    if not text.strip() and image is None:
        raise InvalidQuery(
            "There is nothing to search for; expected words, a picture by --image "
            "FILE, or both."
        )
    return QueryBundle(text, image_path=None if image is None else str(image))
