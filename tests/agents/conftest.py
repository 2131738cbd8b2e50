"""A small library, its index, and a model that calls tools."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a red section that has a red picture, and a blue text."""
    folder = tmp_path_factory.mktemp("shelf") / "library"
    folder.mkdir()
    Image.new("RGB", (16, 12), "red").save(folder / "red.png")
    (folder / "red.md").write_text("The red cube is heavy.\n\n![A red cube](red.png)\n")
    (folder / "blue.md").write_text("The blue cube is light.\n")
    return folder


@pytest.fixture(scope="module")
def index(
    tmp_path_factory: pytest.TempPathFactory, library: Path
) -> Iterator[MultiModalQdrantIndex]:
    store = tmp_path_factory.mktemp("store")
    with MultiModalQdrantIndex.open(store, embed_model=ColourEncoder()) as index:
        index.insert_directory(library)
        yield index


@pytest.fixture
def llm(make_llm: Any) -> Any:
    return make_llm(is_function_calling_model=True)
