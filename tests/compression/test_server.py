"""A server's collection: built beside, switched by alias, searched as measured."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from llama_index_mmrag.compression import (
    Candidates,
    CompressSettings,
    ServerCompression,
    compress_collection,
)
from llama_index_mmrag.embeddings.space import card_of
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    InvalidVector,
    PromiseNotKept,
)
from llama_index_mmrag.stores.encoder_card import is_filled_by
from llama_index_mmrag.stores.quantisation import (
    SCHEMES,
    Quantisation,
    server_vector_params,
)
from llama_index_mmrag.stores.rescoring import RescoringVectorStore
from llama_index_mmrag.vectors import unit_rows

from ..support.stores import open_client

PCA = CompressSettings(
    min_recall=0.7,
    candidates=Candidates(reductions=("pca",), dims=(16,), quantisations=("int8",)),
)
ENCODER = MockEmbedding(embed_dim=32)
"""Encodes nothing here: what is stored was made by hand."""

pytestmark = pytest.mark.filterwarnings(
    "ignore:Local mode performs exact:UserWarning",
    "ignore:Payload indexes have no effect:UserWarning",
)


def rows(n: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    falling = np.r_[np.ones(12), np.full(20, 0.02)]
    return unit_rows((rng.normal(size=(n, 32)) * falling).astype(np.float32))


def fill(client: QdrantClient, name: str, n: int = 300) -> None:
    nodes = [
        TextNode(id_=str(uuid.UUID(int=i)), text=f"node {i}", embedding=row.tolist())
        for i, row in enumerate(rows(n))
    ]
    QdrantVectorStore(name, client=client).add(nodes)


@pytest.fixture
def compressed(client, name) -> Callable[[], ServerCompression]:
    """Return a function that compresses a filled collection and sets the alias."""
    fill(client, f"{name}-all")
    return lambda: compress_collection(
        client, f"{name}-all", name, encoder=ENCODER, settings=PCA
    )


def test_alias_names_the_smaller_one_and_the_source_stays(client, name, compressed):
    done = compressed()
    assert (done.report.chosen.dim, done.oversampling) == (16, 2.0)
    assert client.get_collection(name).config.params.vectors.size == 16
    assert client.count(f"{name}-all").count == client.count(name).count == 300
    remembered = client.get_collection(name).config.metadata
    assert is_filled_by(card_of(done.embed_model), remembered, name)
    found = {"format": 3, "vector": "", "dim": 16, "oversampling": 2.0}
    assert found.items() <= remembered["llama_index_mmrag"].items()
    with pytest.raises(CollectionMismatch, match="was filled by"):
        is_filled_by(card_of(ENCODER), remembered, name)
    store = RescoringVectorStore(
        collection_name=name, client=client, oversampling=done.oversampling
    )
    vector = done.alignment.text.apply(rows()[[7]])[0].tolist()
    found = store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=1))
    assert [node.get_content() for node in found.nodes] == ["node 7"]
    assert found.similarities == pytest.approx([1.0], abs=0.01)


def test_refitting_switches_the_alias_while_it_is_read(client, name, compressed):
    one, two = compressed(), compressed()
    assert one.collection != two.collection
    aliases = {a.alias_name: a.collection_name for a in client.get_aliases().aliases}
    assert aliases[name] == two.collection
    assert client.count(one.collection).count == 300, "its readers go on"


def test_failed_switch_leaves_nothing_behind(client, name, compressed, monkeypatch):
    def down(*_: object, **__: object) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(client, "update_collection_aliases", down)
    with pytest.raises(ConnectionError):
        compressed()
    left = [c.name for c in client.get_collections().collections]
    assert [one for one in left if one.startswith(name)] == [f"{name}-all"]


def test_what_cannot_be_done_is_refused(client, name):
    fill(client, f"{name}-all", 120)
    with pytest.raises(InvalidSetting, match="is a collection; expected an alias"):
        compress_collection(client, f"{name}-all", f"{name}-all", encoder=ENCODER)
    with pytest.raises(PromiseNotKept):
        compress_collection(
            client, f"{name}-all", name, encoder=ENCODER,
            settings=CompressSettings(min_recall=1.0, candidates=PCA.candidates),
        )  # fmt: skip
    client.create_collection(
        f"{name}-dot",
        vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT),
    )
    with pytest.raises(CollectionMismatch, match="by cosine"):
        compress_collection(client, f"{name}-dot", name, encoder=ENCODER)
    fill(client, f"{name}-few", 20)
    with pytest.raises(InvalidVector, match="20 vectors; expected at least 100"):
        compress_collection(client, f"{name}-few", name, encoder=ENCODER)


@pytest.mark.parametrize("scheme", [None, *SCHEMES])
def test_every_scheme_has_its_form_on_a_server(scheme, client, name):
    quantisation = None if scheme is None else Quantisation(scheme)
    params = server_vector_params(8, models.Distance.COSINE, quantisation)
    client.create_collection(name, vectors_config=params)
    found = client.get_collection(name).config.params.vectors
    assert (found.size, found.quantization_config) == (8, params.quantization_config)


@pytest.fixture
def local() -> Iterator[QdrantClient]:
    with open_client("local") as opened:
        yield opened


async def test_async_searches_rescore_too(monkeypatch, local):
    asked = []

    async def aquery(self, query, **kwargs):
        asked.append(kwargs["search_params"].quantization)

    monkeypatch.setattr(QdrantVectorStore, "aquery", aquery)
    store = RescoringVectorStore(collection_name="x", client=local, oversampling=4)
    await store.aquery(VectorStoreQuery(query_embedding=[1.0]))
    assert [(one.rescore, one.oversampling) for one in asked] == [(True, 4.0)]


@pytest.mark.parametrize("oversampling", [0.5, float("nan"), float("inf")])
def test_oversampling_below_one_is_refused(oversampling, local):
    with pytest.raises(InvalidSetting, match="oversampling is"):
        RescoringVectorStore("x", client=local, oversampling=oversampling)


def test_source_that_another_encoder_filled_is_refused(client, name, compressed):
    one = compressed()
    with pytest.raises(CollectionMismatch, match="was filled by"):
        compress_collection(client, name, f"{name}-2", encoder=ENCODER, settings=PCA)
    aliases = {alias.alias_name for alias in client.get_aliases().aliases}
    assert f"{name}-2" not in aliases
    assert client.count(one.collection).count == 300


def test_what_else_a_collection_remembers_goes_along(client, name, compressed):
    client.update_collection(f"{name}-all", metadata={"owner": "facilities"})
    if not client.get_collection(f"{name}-all").config.metadata:
        pytest.skip("keeps no metadata")
    compressed()
    assert client.get_collection(name).config.metadata["owner"] == "facilities"
