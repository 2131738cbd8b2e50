"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import QueryBundle

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.index import MultiModalQdrantIndex


def place(given: str) -> Path:
    """Return a path that was given, which must not be empty."""
    if not given.strip():
        raise typer.BadParameter("the path is empty; name a folder.")
    return Path(given)


Store = Annotated[
    Path,
    typer.Option(
        "--store",
        "-s",
        parser=place,
        metavar="DIR",
        help="Folder of the embedded store.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, help="Results at most.")]
Text = Annotated[str, typer.Argument(help="Words; may be left out with --image.")]
# Typer evaluates annotations, and Python 3.10 has no `Path | None` in Annotated there.
Picture = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--image", "-i", help="A picture to search by."),
]


def existing(
    store: Path, *, embed_model: MultiModalEmbedding | None = None
) -> MultiModalQdrantIndex:
    """Return the index of a folder, which must hold one already.

    Raises:
        StoreUnusable: It does not.
        CollectionMismatch: It was filled by another encoder.
    """
    check_exists(store)
    return opened(store, embed_model)


def opened(
    store: Path, embed_model: MultiModalEmbedding | None
) -> MultiModalQdrantIndex:
    """Return the index of a folder, with an encoder where one was asked for."""
    if embed_model is None:
        return MultiModalQdrantIndex.open(store)
    return MultiModalQdrantIndex.open(store, embed_model=embed_model)


def check_exists(store: Path) -> None:
    """Do nothing if a folder holds a store.

    Raises:
        StoreUnusable: It does not.
    """
    if not (store / "mmrag.json").exists():
        msg = (
            f"There is no store in {str(store)!r}. Make one with: "
            f"mmrag index DIR --store {store}"
        )
        raise StoreUnusable(msg)


def query_of(text: str, image: Path | None) -> QueryBundle:
    """Return the query that words and a picture make."""
    return QueryBundle(text, image_path=None if image is None else str(image))
