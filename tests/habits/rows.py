"""The rows by page, what their lines may name, and how one is typed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast

from llama_index.core import Document, Settings
from llama_index.core.llms import MockLLM
from llama_index.core.schema import ImageDocument, ImageNode, TextNode
from PIL import Image
from qdrant_client import QdrantClient, models

from llama_index_mmrag import (
    Channel,
    MultiModalFusionRetriever,
    MultiModalQdrantIndex,
    MultiModalQuery,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.stores.edge_layout import copy_sparse

ENCODER = ColourEncoder(modality_gap=0.75)

PAGES = {
    "from-llamaindex": (
        *("rows_llamaindex.ROWS", "rows_strangers.LLAMAINDEX"),
        *("rows_pipelines.ROWS", "rows_splitting.ROWS"),
    ),
    "from-qdrant": (
        *("rows_qdrant.ROWS", "rows_strangers.QDRANT"),
        *("rows_foreign.ROWS", "rows_server.ROWS"),
    ),
}
"""By page of the docs: the files and their lists whose rows it has."""


class Row(NamedTuple):
    """A line typed, what it raises or "runs", and what it means here."""

    typed: str
    outcome: str
    means: str


def rows_of(page: str) -> list[Row]:
    """Return the rows of a page, in order."""
    return [Row(*row) for name in PAGES[page] for row in _listed(*name.split("."))]


def _listed(file: str, name: str) -> list[tuple[str, str, str]]:
    rows = getattr(importlib.import_module(f"{__package__}.{file}"), name)
    return cast("list[tuple[str, str, str]]", rows)


class Library(NamedTuple):
    """Two texts and two pictures, and a store of them, to be copied."""

    docs: list[Document]
    photo: Path
    store: Path

    @classmethod
    def made_in(cls, folder: Path) -> Library:
        photo, blue = folder / "photo.png", folder / "blue.png"
        Image.new("RGB", (32, 32), "red").save(photo)
        Image.new("RGB", (32, 32), "blue").save(blue)
        kind = {"category": "animals", "year": 2020, "lang": "en"}
        docs = [
            Document(text="A red car.", metadata=kind),
            Document(text="A green house."),
            ImageDocument(image_path=str(photo), text="a red thing"),
            ImageDocument(image_path=str(blue)),
        ]
        with MultiModalQdrantIndex.open(folder / "store", embed_model=ENCODER) as index:
            index.insert(docs)
        return cls(docs, photo, folder / "store")


@contextmanager
def names(library: Library, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what a line may name: an index over the library, and so on.

    `Settings.embed_model` is the encoder that knows colours alone.
    """
    Settings.embed_model = ENCODER
    # New ones take as long as all else together.
    store = folder / "store"
    copy_sparse(library.store, store)
    with (
        MultiModalQdrantIndex.open(store) as index,
        closing(QdrantClient(":memory:")) as client,
        MultiModalQdrantIndex.open(client=client) as on_client,
    ):
        on_client.insert(library.docs)
        yield {
            "index": index,
            "on_client": on_client,
            "docs": library.docs,
            "client": client,
            "encoder": ENCODER,
            "llm": MockLLM(max_tokens=64),
            "path": str(folder / "new"),
            "photo": str(library.photo),
            "models": models,
            "Channel": Channel,
            "Document": Document,
            "ImageNode": ImageNode,
            "TextNode": TextNode,
            "MultiModalFusionRetriever": MultiModalFusionRetriever,
            "MultiModalQdrantIndex": MultiModalQdrantIndex,
            "MultiModalQuery": MultiModalQuery,
        }


def typed(row: Row, known: dict[str, Any]) -> Exception | None:
    """Type a row's line; return what it raised."""
    known = dict(known)
    try:
        exec(row.typed, known)  # noqa: S102 - that is what rows are
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return error
    return None
