"""What LlamaIndex's Settings say of splitting is done where they were set."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from llama_index.core import MockEmbedding
from llama_index.core.node_parser import SentenceSplitter, SentenceWindowNodeParser
from llama_index.core.schema import Document, ImageDocument

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion import ReadSettings

from ..support.indexes import all_of, contents, inline, painted, pictures, texts

LONG = " ".join(f"The red one is number {n}." for n in range(60))
"""About 480 tokens."""

PAGE = f"Fruit\n\n{LONG}\n\nan apple"
"""The page below, as one node."""


@pytest.fixture
def page(tmp_path) -> Any:
    """Return a folder of a long page that shows a picture."""
    root = tmp_path / "docs"
    painted(root, "red", name="apple.png")
    (root / "fruit.md").write_text(f"# Fruit\n\n{LONG}\n\n![an apple](apple.png)")
    return root


def sizes(index: Any) -> list[int]:
    return sorted(len(text) for text in texts(index))


def test_unset_settings_are_not_read_and_change_nothing(unset, open_index, page):
    index = open_index()
    index.insert_directory(page)
    index.insert(Document(text=LONG))
    assert unset._node_parser is None
    assert unset._transformations is None
    assert len(texts(index)) > 4
    before = contents(index)
    assert unset.transformations  # LlamaIndex's: they are made, and kept
    other = open_index()
    other.insert_directory(page)
    other.insert(Document(text=LONG))
    assert contents(other) == before


@pytest.mark.parametrize("name", ["chunk_size", "text_splitter", "transformations"])
def test_settings_split_documents_and_files_and_pictures_stay_linked(
    name, unset, open_index, page
):
    values = {
        "chunk_size": 1000,
        "text_splitter": SentenceSplitter(chunk_size=1000),
        "transformations": [SentenceSplitter(chunk_size=1000)],
    }
    setattr(unset, name, values[name])
    index = open_index()
    index.insert_directory(page)
    index.insert([Document(text=LONG), ImageDocument(image=inline("blue"))])
    assert sorted(texts(index)) == sorted([LONG, PAGE])
    assert len(pictures(index)) == 2
    (shown,) = index.as_retriever(top_k=1, complete_entities=True).retrieve("apple")[:1]
    assert shown.node.metadata["section"] == "Fruit"
    by_entity = {n.metadata["entity_id"] for c in index.channels for n in all_of(c)}
    assert len(by_entity) == 3  # the page is one with its picture


def test_a_file_is_read_again_when_its_splitter_changes(unset, open_index, page):
    index = open_index()
    path = index.channels[0].vector_store.path
    assert index.insert_directory(page).n_added > 3
    assert index.insert_directory(page).n_added == 0
    index.close()
    unset.chunk_size = 1000
    again = open_index(path=page.parent / path.split("/")[-2])
    assert again.insert_directory(page).n_removed > 3
    assert len(texts(again)) == 1
    assert again.insert_directory(page).n_added == 0


def test_what_a_step_says_of_a_chunk_is_kept(unset, open_index, page):
    unset.node_parser = SentenceWindowNodeParser.from_defaults(window_size=1)
    index = open_index()
    index.insert_directory(page)
    nodes = [node for node in all_of(index.channels[0]) if "number 7." in node.text]
    (node,) = nodes
    assert "number 8." in node.metadata["window"]
    assert "window" in node.excluded_embed_metadata_keys


def test_a_document_of_a_page_keeps_its_pictures(unset, open_index, page, encoder):
    unset.chunk_size = 1000
    index = open_index()
    file = page / "fruit.md"
    index.insert(Document(text=file.read_text(), metadata={"file_path": str(file)}))
    assert texts(index) == [PAGE]
    assert pictures(index) == ["apple.png"]


@pytest.mark.parametrize("how", ["settings", "transformations", "encoder"])
def test_what_is_set_and_not_used_is_a_line_in_the_log(
    how, unset, open_index, encoder, caplog
):
    caplog.set_level(logging.INFO, "llama_index_mmrag")
    splitter = SentenceSplitter(chunk_size=1000)
    unset.transformations = [splitter]
    given: dict[str, Any] = {}
    if how == "settings":
        given["settings"] = ReadSettings()
    elif how == "encoder":
        unset.transformations = [splitter, MockEmbedding(3)]
    index = open_index(**given)
    if how == "transformations":
        made = type(index).from_documents(
            [Document(text=LONG)],
            embed_model=encoder,
            transformations=[SentenceSplitter(chunk_size=100, chunk_overlap=0)],
        )
        assert len(texts(made)) > 3
        made.close()
    assert caplog.text.count("Settings.transformations") == 1
    assert "not used" in caplog.text


def test_steps_may_be_given_with_other_settings(open_index):
    steps = (SentenceSplitter(chunk_size=1000),)
    index = open_index(settings=ReadSettings(transformations=steps))
    index.insert(Document(text=LONG))
    assert texts(index) == [LONG]
    with pytest.raises(InvalidSetting, match="embed_model="):
        ReadSettings(transformations=[MockEmbedding(3)])
