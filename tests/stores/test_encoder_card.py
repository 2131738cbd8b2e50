"""Collections on a server remember their encoder; no other one may search them."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from llama_index.core import Document
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import TextNode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from llama_index_mmrag import MultiModalFusionRetriever, MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.embeddings.space import card_of, space_of
from llama_index_mmrag.errors import CollectionMismatch, StoreUnusable
from llama_index_mmrag.stores import QdrantEdgeVectorStore, migrate
from llama_index_mmrag.stores.encoder_card import remember_encoder
from llama_index_mmrag.stores.server import (
    index_id_on,
    names_on_server,
    open_server_collection,
)

ENCODER = ColourEncoder(modality_gap=0.75)
OTHER = ColourEncoder(modality_gap=0.5)
"""As long vectors, in another space."""


def id_of(client: QdrantClient, name: str) -> str | None:
    return index_id_on(client, names_on_server(name).values())


def opened(
    client: QdrantClient, name: str, encoder: ColourEncoder = ENCODER
) -> MultiModalQdrantIndex:
    return MultiModalQdrantIndex.open(
        client=client, collection=name, embed_model=encoder
    )


def fill_without_card(client: QdrantClient, name: str) -> None:
    for modality in ("text", "image"):
        store = open_server_collection(client, f"{name}-{modality}", dim=4)
        store.add([TextNode(text="red", embedding=[1.0, 0.0, 0.0, 0.0])])


def create(client: QdrantClient, name: str, **metadata: object) -> None:
    params = models.VectorParams(size=4, distance=models.Distance.COSINE)
    client.create_collection(f"{name}-text", params, metadata=metadata)


def metadata_of(client: QdrantClient, name: str) -> object:
    return client.get_collection(f"{name}-text").config.metadata


def ours_of(client: QdrantClient, collection_name: str) -> dict[str, Any]:
    metadata = client.get_collection(collection_name).config.metadata or {}
    return dict(metadata["llama_index_mmrag"])


def test_cards_tell_spaces_apart():
    assert card_of(ENCODER) != card_of(OTHER)
    assert space_of(ENCODER) == card_of(ENCODER)["space"] == ENCODER.space_id
    foreign = MockEmbedding(embed_dim=4)
    assert card_of(foreign) == {"class": "MockEmbedding", "space": "unknown"}
    assert space_of(foreign) == "MockEmbedding:unknown"


def test_encoder_of_as_long_vectors_is_refused(client, name):
    with opened(client, name) as index:
        index.insert([Document(text="a red cube")])
    with pytest.raises(CollectionMismatch) as refused:
        opened(client, name, OTHER)
    assert f"'{name}-text' was filled by {card_of(ENCODER)}" in str(refused.value)
    assert f"given encoder is {card_of(OTHER)}" in str(refused.value)
    assert "into another collection" in str(refused.value)


def test_encoder_of_empty_collections_is_remembered_too(client, name):
    opened(client, name)
    with pytest.raises(CollectionMismatch):
        opened(client, name, OTHER)


def test_same_encoder_opens_again_and_finds(client, name, caplog):
    with opened(client, name) as index:
        index.insert([Document(text="a red cube"), Document(text="a blue ball")])
    with caplog.at_level(logging.WARNING), opened(client, name) as index:
        hits = index.as_retriever().retrieve("blue")
    assert [hit.node.get_content() for hit in hits] == ["a blue ball", "a red cube"]
    assert caplog.records == []


def test_other_metadata_of_a_collection_stay(client, name):
    create(client, name, owner="me")
    opened(client, name)
    assert metadata_of(client, name) == {
        "owner": "me",
        "llama_index_mmrag": {
            "format": 3,
            "index_id": id_of(client, name),
            "encoder": card_of(ENCODER),
            "vector": "",
            "dim": 4,
            "distance": "cosine",
        },
    }
    with pytest.raises(CollectionMismatch):
        opened(client, name, OTHER)


def test_collections_of_an_index_have_its_id_and_keep_it(client, name):
    assert id_of(client, name) is None
    opened(client, name)
    (index_id,) = {
        ours_of(client, f"{name}-{m}")["index_id"] for m in ("text", "image")
    }
    assert len(bytes.fromhex(index_id)) == 16
    opened(client, name)
    assert id_of(client, name) == index_id
    opened(client, f"{name}-other")
    assert id_of(client, f"{name}-other") != index_id


def test_what_is_learned_later_stands_beside_the_card_and_stays(client, name):
    opened(client, name)
    learned = {**ours_of(client, f"{name}-text"), "calibration": {"map": [0.5]}}
    client.update_collection(f"{name}-text", metadata={"llama_index_mmrag": learned})
    with opened(client, name) as index:
        index.insert([Document(text="a red cube")])
    opened(client, name)
    assert ours_of(client, f"{name}-text") == learned
    remember_encoder(client, f"{name}-text", card_of(OTHER))
    changed = learned | {"encoder": card_of(OTHER)}
    assert ours_of(client, f"{name}-text") == changed


@pytest.mark.parametrize(
    "record", [{"encoder": card_of(ENCODER)}, {"format": 2}, {"format": 4}], ids=str
)
def test_collection_of_another_format_is_refused_and_stays_as_it_is(
    record, client, name
):
    create(client, name, llama_index_mmrag=record)
    with pytest.raises(StoreUnusable, match="has format .; this version reads 3"):
        opened(client, name)
    assert metadata_of(client, name) == {"llama_index_mmrag": record}


def test_server_that_keeps_no_metadata_is_said_once(name, caplog, monkeypatch):
    client = QdrantClient(":memory:")
    opened(client, name)

    def forgetful(collection_name: str) -> models.CollectionInfo:
        info = QdrantClient.get_collection(client, collection_name)
        info.config.metadata = None
        return info

    monkeypatch.setattr(client, "get_collection", forgetful)
    with caplog.at_level(logging.WARNING):
        opened(client, name)
        opened(client, name)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "keeps no metadata of collections (Qdrant before 1.16)" in said[0]
    assert id_of(client, name) is None
    client.close()


def test_filled_collection_without_a_card_is_opened_with_a_warning(
    client, name, caplog
):
    fill_without_card(client, name)
    with caplog.at_level(logging.WARNING):
        opened(client, name)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2
    assert f"{name}-text" in said[0]
    assert "cannot be checked: it holds points" in said[0]
    assert metadata_of(client, name) is None  # not ours to claim


def test_filled_collection_can_be_told_its_encoder(client, name, caplog):
    fill_without_card(client, name)
    for modality in ("text", "image"):
        remember_encoder(client, f"{name}-{modality}", card_of(ENCODER))
    with caplog.at_level(logging.WARNING):
        opened(client, name)
    assert caplog.records == []
    with pytest.raises(CollectionMismatch):
        opened(client, name, OTHER)


@pytest.mark.parametrize("metadata", [{}, {"llama_index_mmrag": 3}], ids=str)
def test_foreign_metadata_are_no_card(client, name, metadata):
    create(client, name, **metadata)
    opened(client, name)  # empty: taken over
    with pytest.raises(CollectionMismatch):
        opened(client, name, OTHER)


def test_migrated_collections_remember_their_encoder(client, name, tmp_path):
    with MultiModalQdrantIndex.open(tmp_path / "store", embed_model=ENCODER) as index:
        index.insert([Document(text="a red cube")])
    for modality in ("text", "image"):
        with QdrantEdgeVectorStore.open(tmp_path / "store" / modality) as source:
            migrate(source, client, f"{name}-{modality}", embed_model=ENCODER)
    assert len(opened(client, name).as_retriever().retrieve("red")) == 1
    with pytest.raises(CollectionMismatch):
        opened(client, name, OTHER)


def test_retriever_over_the_collections_refuses_another_encoder(client, name):
    with opened(client, name) as index:
        index.insert([Document(text="a red cube")])
    stores = {
        f"{modality}_store": QdrantVectorStore(f"{name}-{modality}", client=client)
        for modality in ("text", "image")
    }
    fits = MultiModalFusionRetriever.from_vector_stores(
        **stores, embed_model=ENCODER, image_embed_model=ENCODER
    )
    assert [hit.node.get_content() for hit in fits.retrieve("red")] == ["a red cube"]
    with pytest.raises(CollectionMismatch, match=f"'{name}-image' was filled by"):
        MultiModalFusionRetriever.from_vector_stores(
            **stores, embed_model=ENCODER, image_embed_model=OTHER
        )
