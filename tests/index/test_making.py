"""An index made as LlamaIndex makes one: of documents, or over given stores."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from llama_index.core import StorageContext
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document, ImageDocument, TextNode
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from llama_index_mmrag import MultiModalQdrantIndex, QdrantEdgeVectorStore
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    StoreClosed,
)

from ..support.indexes import CountingEncoder, inline, pictures, texts


@pytest.fixture
def documents() -> list[Document]:
    picture = ImageDocument(image=inline("blue"), text="sky")
    return [Document(text="red apple"), picture]


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def store(client: QdrantClient | None, name: str, **how) -> QdrantVectorStore:
    # Local mode would warn of the index.
    return QdrantVectorStore(name, client=client, index_doc_id=False, **how)


@pytest.fixture
def edge(tmp_path) -> Iterator[dict[str, QdrantEdgeVectorStore]]:
    with (
        QdrantEdgeVectorStore.open(tmp_path / "t", dim=4) as text,
        QdrantEdgeVectorStore.open(tmp_path / "i", dim=4) as image,
    ):
        yield {"text": text, "image": image}


# Places


def test_documents_without_a_place_are_in_a_folder_that_close_removes(
    documents, encoder, caplog
):
    caplog.set_level(logging.INFO, "llama_index_mmrag")
    index = MultiModalQdrantIndex.from_documents(documents, embed_model=encoder)
    root = Path(index.vector_store.path).parent
    assert str(root) in caplog.text
    assert texts(index) == ["red apple", "sky"]
    assert len(pictures(index)) == 1
    assert index.as_retriever(top_k=1).retrieve("red")[0].node.text == "red apple"
    index.close()
    assert not root.exists()


@pytest.mark.parametrize("place", ["path", "location"])
def test_memory_is_a_temporary_store(place, documents, encoder):
    with MultiModalQdrantIndex.open(
        **{place: ":memory:"}, embed_model=encoder
    ) as index:
        index.insert(documents)
        root = Path(index.vector_store.path).parent
        assert root.is_dir()
    assert not root.exists()
    assert not Path(":memory:").exists()


def test_documents_go_where_they_are_told(documents, encoder, tmp_path):
    how = {"path": tmp_path / "store", "embed_model": encoder}
    MultiModalQdrantIndex.from_documents(documents, **how).close()
    with MultiModalQdrantIndex.open(**how) as index:
        assert texts(index) == ["red apple", "sky"]


def test_location_is_an_address_where_it_is_no_memory(encoder):
    given = {"location": "http://localhost:1", "url": "http://localhost:1"}
    with pytest.raises(InvalidSetting, match="location and url"):
        MultiModalQdrantIndex.open(**given, embed_model=encoder)


def test_documents_that_cannot_be_inserted_leave_no_folder(encoder, tmp_path):
    with pytest.raises(InvalidSetting):
        MultiModalQdrantIndex.from_documents("red", embed_model=encoder)
    with pytest.raises(InvalidSetting, match="open"):
        MultiModalQdrantIndex.from_documents([], colour="red")
    gc.collect()  # a folder that is left would warn here


# Given stores


@pytest.mark.parametrize("kind", ["qdrant", "edge"])
def test_a_storage_context_is_filled_and_stays_open(
    kind, documents, encoder, client, edge
):
    given = edge if kind == "edge" else {n: store(client, n) for n in ("text", "image")}
    context = StorageContext.from_defaults(
        vector_store=given["text"], image_store=given["image"]
    )
    index = MultiModalQdrantIndex.from_documents(
        documents, context, False, embed_model=encoder
    )
    assert index.vector_store is given["text"]
    assert index.image_vector_store is given["image"]
    assert index.as_retriever(top_k=1).retrieve("blue")[0].node.text == "sky"
    index.close()
    assert len(given["text"].get_nodes()) == 2
    again = MultiModalQdrantIndex.from_vector_store(
        given["text"], encoder, given["image"]
    )
    assert again.insert(documents).n_added == 0
    assert again.index_id == index.index_id


def test_a_collection_made_here_remembers_its_encoder(documents, encoder, client):
    given = (store(client, "t"), encoder, store(client, "i"))
    MultiModalQdrantIndex.from_vector_store(*given).insert(documents)
    other = CountingEncoder(modality_gap=0.25)
    with pytest.raises(CollectionMismatch, match="argument embed_model"):
        MultiModalQdrantIndex.from_vector_store(given[0], other, given[2])


def test_hybrid_stores_keep_their_sparse_vectors(documents, encoder, client):
    def sparse(words: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        return [[len(word)] for word in words], [[1.0] for _ in words]

    text = store(
        client,
        "t",
        enable_hybrid=True,
        sparse_doc_fn=sparse,
        sparse_query_fn=sparse,
    )
    index = MultiModalQdrantIndex.from_vector_store(
        text, encoder, store(client, "i", dense_vector_name="picture")
    )
    index.insert(documents)
    assert client.get_collection("t").config.params.sparse_vectors
    assert texts(index) == ["red apple", "sky"]
    assert len(pictures(index)) == 1


def test_stores_that_cannot_be_taken_are_named_and_nothing_is_made(
    encoder, client, edge, tmp_path
):
    make = MultiModalQdrantIndex.from_vector_store
    for text, image in (
        (SimpleVectorStore(), store(client, "i")),
        (store(client, "t"), SimpleVectorStore()),
        (store(client, "t"), None),
        (store(client, "t"), store(client, "t")),
        (store(client, "t"), store(None, "i", aclient=AsyncQdrantClient(":memory:"))),
    ):
        with pytest.raises(InvalidSetting, match="image_vector_store="):
            make(text, encoder, image)
    with pytest.raises(CollectionMismatch):
        make(store(client, "t"), encoder, QdrantEdgeVectorStore.open(edge_of(tmp_path)))
    with pytest.raises(StoreClosed):
        make(store(client, "t"), encoder, QdrantEdgeVectorStore(tmp_path / "no"))
    assert client.get_collections().collections == []


def edge_of(tmp_path: Path) -> Path:
    QdrantEdgeVectorStore.open(tmp_path / "wide", dim=8).close()
    return tmp_path / "wide"


def test_a_context_without_stores_for_pictures_is_refused(documents, encoder, client):
    for context in (
        StorageContext.from_defaults(),
        StorageContext.from_defaults(vector_store=store(client, "t")),
    ):
        with pytest.raises(InvalidSetting, match=r"from_defaults vector_store= and im"):
            MultiModalQdrantIndex.from_documents(
                documents, context, embed_model=encoder
            )
    assert client.get_collections().collections == []


def test_what_else_a_context_has_is_not_ignored(documents, encoder, client):
    context = StorageContext.from_defaults(
        vector_stores={n: store(client, n) for n in ("default", "image", "audio")},
        image_store=store(client, "image"),
    )
    with pytest.raises(InvalidSetting, match="audio"):
        MultiModalQdrantIndex.from_documents(documents, context, embed_model=encoder)
    with pytest.raises(InvalidSetting, match="storage_context and path"):
        MultiModalQdrantIndex.from_documents(documents, context, path="x")


def test_a_store_for_pictures_may_be_given_beside_the_context(
    documents, encoder, client
):
    """As LlamaIndex takes it."""
    context = StorageContext.from_defaults(vector_store=store(client, "t"))
    index = MultiModalQdrantIndex.from_documents(
        documents,
        storage_context=context,
        image_vector_store=store(client, "i"),
        embed_model=encoder,
    )
    assert len(pictures(index)) == 1


# Transformations


def test_transformations_split_documents_then_and_later(documents, encoder):
    long = Document(text=" ".join(f"red {n}." for n in range(100)))
    index = MultiModalQdrantIndex.from_documents(
        [long, documents[1]],
        transformations=[SentenceSplitter(chunk_size=100, chunk_overlap=0)],
        embed_model=encoder,
    )
    n_nodes = len(index.ref_doc_info[long.id_].node_ids)
    assert n_nodes > 3
    assert len(pictures(index)) == 1  # as it was: a splitter makes a text of it
    long.set_content(long.text.replace("red", "blue"))
    assert index.refresh_ref_docs([long]) == [True]
    assert len(index.ref_doc_info[long.id_].node_ids) == n_nodes
    assert not [text for text in texts(index) if "red" in text]
    index.insert(TextNode(text="green " * 400))
    assert len([t for t in texts(index) if "green" in t]) == 1
    index.close()


def test_document_has_one_id_whatever_splits_it(encoder):
    document = Document(text="red " * 400)
    ids = []
    for steps in (None, [SentenceSplitter(chunk_size=100, chunk_overlap=0)]):
        index = MultiModalQdrantIndex.from_documents(
            [document], transformations=steps, embed_model=encoder
        )
        ids.append(index.ref_doc_ids())
        index.close()
    assert ids[0] == ids[1]


def test_an_encoder_is_no_transformation(documents, encoder, tmp_path):
    with pytest.raises(InvalidSetting, match="embed_model="):
        MultiModalQdrantIndex.from_documents(
            documents, transformations=[encoder], path=tmp_path / "store"
        )
    assert list(tmp_path.iterdir()) == []
