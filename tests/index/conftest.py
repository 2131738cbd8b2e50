"""An index in each kind of store, and a small folder to fill it from."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llama_index_mmrag import MultiModalQdrantIndex

from ..support.indexes import CountingEncoder, Open, painted
from ..support.stores import open_client


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder(modality_gap=0.75)


@pytest.fixture
def open_index(tmp_path, encoder) -> Iterator[Open]:
    """Return a function that opens an index, in a new folder unless one is named.

    Kinds: "edge" (embedded), "local" (Qdrant's local mode), "server" (QDRANT_URL).
    """
    with ExitStack() as cleanup:

        def opened(
            kind: str = "edge", path: Path | None = None, **settings: Any
        ) -> Any:
            settings.setdefault("embed_model", encoder)
            name = uuid.uuid4().hex
            if kind == "edge":
                return cleanup.enter_context(
                    MultiModalQdrantIndex.open(path or tmp_path / name, **settings)
                )
            client = cleanup.enter_context(open_client(kind))
            if kind == "server":
                settings.setdefault("catalogue", tmp_path / f"{name}.sqlite")
                for modality in ("text", "image", "composed", "lettering"):
                    cleanup.callback(client.delete_collection, f"{name}-{modality}")
            return MultiModalQdrantIndex.open(
                client=client, collection=name, **settings
            )

        yield opened


@pytest.fixture
def folder(tmp_path) -> Path:
    """Return a folder: a page with a picture, a text, and a picture of its own."""
    root = tmp_path / "docs"
    painted(root / "pix", "red", name="apple.png")
    painted(root, "blue", name="sky.png")
    (root / "fruit.md").write_text(
        "# Fruit\n\nA red one.\n\n![an apple](pix/apple.png)"
    )
    (root / "grass.txt").write_text("green grass")
    return root


@pytest.fixture
def filled(open_index, folder) -> MultiModalQdrantIndex:
    """Return an index of that folder."""
    index = open_index()
    index.insert_directory(folder)
    return index
