"""Collections that a user already has: built by LlamaIndex, named, hybrid, or wrong."""

import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores.types import (
    VectorStoreQuery,
    VectorStoreQueryResult,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from llama_index_mmrag import (
    MultiModalFusionRetriever,
    provenance_of,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.collection_of import collection_of

from ..support.colours import Paint, text_node, uid

COLOURS = ["red", "blue", "green"]


@pytest.fixture
def client() -> Any:
    client = QdrantClient(":memory:")
    yield client
    client.close()


def names(results: list[NodeWithScore]) -> list[str]:
    return [
        Path(r.node.image_path or "").stem
        if hasattr(r.node, "image_path")
        else r.node.get_content()
        for r in results
    ]


def one_retriever(
    client: QdrantClient, encoder: ColourEncoder, **stores: Any
) -> MultiModalFusionRetriever:
    given = {
        "text_store": QdrantVectorStore("texts", client=client),
        "image_store": QdrantVectorStore("pictures", client=client),
    }
    return MultiModalFusionRetriever.from_vector_stores(
        **{**given, **stores}, text_embed=encoder, image_embed=encoder
    )


def fill(client: QdrantClient, encoder: ColourEncoder, paint: Paint) -> None:
    """Fill both collections as a LlamaIndex user does."""
    texts = QdrantVectorStore("texts", client=client)
    # LlamaIndex drops pictures that have no text.
    pictures = [
        ImageNode(image_path=str(paint(colour)), text=colour) for colour in COLOURS
    ]
    MultiModalVectorStoreIndex(
        [*(TextNode(text=colour) for colour in COLOURS), *pictures],
        storage_context=StorageContext.from_defaults(vector_store=texts),
        image_vector_store=QdrantVectorStore("pictures", client=client),
        embed_model=encoder,
        image_embed_model=encoder,
    )


def test_collections_of_a_multimodal_index_are_searched(client, encoder, paint):
    fill(client, encoder, paint)
    found = one_retriever(client, encoder).retrieve(QueryBundle("blue"))
    assert names(found)[0] == "blue"
    # LlamaIndex stores a captioned picture in both collections under one id.
    assert set(provenance_of(found[0]).modalities) == {"text", "image"}
    by_picture = one_retriever(client, encoder).retrieve(
        QueryBundle("", image_path=str(paint("green")))
    )
    assert names(by_picture)[0] == "green"


def test_collection_of_a_vector_store_index_is_searched(client, encoder):
    context = StorageContext.from_defaults(
        vector_store=QdrantVectorStore("texts", client=client)
    )
    nodes = [TextNode(text=colour) for colour in COLOURS]
    VectorStoreIndex(nodes, storage_context=context, embed_model=encoder)
    store = QdrantVectorStore("texts", client=client)
    collection_of(store).check(4)
    only = Channel("text", vector_store=store, embed_model=encoder)
    assert names(MultiModalFusionRetriever([only]).retrieve("green"))[0] == "green"


def named_collection(client: QdrantClient, name: str, *, vector: str) -> None:
    client.create_collection(
        name,
        vectors_config={
            vector: models.VectorParams(size=4, distance=models.Distance.COSINE)
        },
    )


def test_named_vectors_are_searched_by_their_name(client, encoder):
    named_collection(client, "texts", vector="dense")
    store = QdrantVectorStore("texts", client=client, dense_vector_name="dense")
    store.add([text_node("red"), text_node("blue")])
    only = Channel("text", vector_store=store, embed_model=encoder)
    collection_of(store).check(4)
    assert names(MultiModalFusionRetriever([only]).retrieve("blue"))[0] == "blue"


def test_wrong_vector_name_is_told_with_the_names_there_are(client, encoder):
    named_collection(client, "texts", vector="dense")
    named_collection(client, "pictures", vector="dense")
    with pytest.raises(
        CollectionMismatch, match=r"has the vectors \['dense'\].*dense_vector_name"
    ):
        one_retriever(client, encoder)


def test_collection_that_does_not_exist_is_told_with_those_that_do(client, encoder):
    named_collection(client, "article", vector="dense")
    with pytest.raises(
        CollectionMismatch, match=r"no collection 'texts'; .*\['article'\]"
    ):
        one_retriever(client, encoder)


@pytest.mark.parametrize(
    ("size", "distance", "message"),
    [
        (5, models.Distance.COSINE, "has vectors of size 5; the encoder makes 4"),
        (4, models.Distance.EUCLID, "measures Euclid, of which smaller is better"),
        (4, models.Distance.MANHATTAN, "measures Manhattan"),
    ],
)
def test_wrong_size_or_distance_is_refused(client, encoder, size, distance, message):
    for name in ("texts", "pictures"):
        client.create_collection(
            name, vectors_config=models.VectorParams(size=size, distance=distance)
        )
    with pytest.raises(CollectionMismatch, match=message):
        one_retriever(client, encoder)


def test_embedded_store_of_another_size_is_refused(tmp_path):
    with (
        QdrantEdgeVectorStore.open(tmp_path / "texts", dim=3) as store,
        pytest.raises(CollectionMismatch, match="size 3; the encoder makes 4"),
    ):
        collection_of(store).check(4)


def by_terms(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
    found = [[COLOURS.index(w) for w in t.split() if w in COLOURS] for t in texts]
    return found, [[1.0] * len(one) for one in found]


def hybrid_store(**clients: Any) -> QdrantVectorStore:
    return QdrantVectorStore(
        "texts",
        enable_hybrid=True,
        sparse_doc_fn=by_terms,
        sparse_query_fn=by_terms,
        **clients,
    )


# The words of each say one thing and its vector another.
def contrary_nodes(encoder: ColourEncoder) -> list[TextNode]:
    said = {"by words": ("red", "blue"), "by vector": ("blue", "red")}
    return [
        TextNode(id_=uid(name), text=text, embedding=encoder.get_text_embedding(vector))
        for name, (text, vector) in said.items()
    ]


def test_hybrid_text_collection_is_searched_by_terms_too(client, encoder):
    store = hybrid_store(client=client)
    store.add(contrary_nodes(encoder))
    named_collection(client, "pictures", vector="text-dense")
    retriever = one_retriever(client, encoder, text_store=store)
    ids = {r.node.node_id for r in retriever.retrieve("red")[:2]}
    assert ids == {uid("by words"), uid("by vector")}


@pytest.mark.parametrize(("alpha", "first"), [(0.0, "by words"), (1.0, "by vector")])
async def test_alpha_means_the_same_awaited_or_not(encoder, alpha, first):
    # LlamaIndex takes an asynchronous alpha of 0.0 for 0.5.
    clients = {"client": QdrantClient(":memory:"), "aclient": None}
    store = hybrid_store(client=clients["client"])
    store.add(contrary_nodes(encoder))
    only = Channel(
        "text", vector_store=store, embed_model=encoder, mode="hybrid", alpha=alpha
    )
    retriever = MultiModalFusionRetriever([only])
    blocking = retriever.retrieve("red")
    awaited = await retriever.aretrieve("red")
    assert blocking[0].node.node_id == uid(first)
    assert [r.node.node_id for r in awaited] == [r.node.node_id for r in blocking]
    assert [r.score for r in awaited] == [r.score for r in blocking]
    clients["client"].close()


class HybridOfTwoWays(QdrantVectorStore):
    """Tells which way it is searched, and where."""

    _asked: list[tuple[str, bool]] = PrivateAttr(default_factory=list)

    def query(self, query: VectorStoreQuery, **_: Any) -> VectorStoreQueryResult:
        self._asked.append(("query", in_main_thread()))
        return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])

    async def aquery(self, query: VectorStoreQuery, **_: Any) -> VectorStoreQueryResult:
        self._asked.append(("aquery", in_main_thread()))
        return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize(
    ("alpha", "way"),
    [(0.0, ("query", False)), (0.5, ("aquery", True)), (None, ("aquery", True))],
)
async def test_alpha_zero_over_an_asynchronous_client_goes_through_a_thread(
    encoder, alpha, way
):
    aclient = AsyncQdrantClient(":memory:")
    store = HybridOfTwoWays("texts", aclient=aclient)
    only = Channel(
        "text", vector_store=store, embed_model=encoder, mode="hybrid", alpha=alpha
    )
    assert await MultiModalFusionRetriever([only]).aretrieve("red") == []
    assert store._asked == [way]
    await aclient.close()


def test_alpha_out_of_range_is_refused(client, encoder):
    store = QdrantVectorStore("texts", client=client)
    with pytest.raises(InvalidSetting, match=r"alpha is 1\.5"):
        Channel("text", vector_store=store, embed_model=encoder, alpha=1.5)


def test_provenance_names_the_users_collections(client, encoder):
    QdrantVectorStore("texts", client=client).add([text_node("red")])
    QdrantVectorStore("pictures", client=client).add([text_node("blue")])
    found = one_retriever(client, encoder).retrieve("red")
    routes = {c.route for r in found for c in provenance_of(r).contributions}
    assert routes == {"text→text", "text→image"}
    assert uuid.UUID(found[0].node.node_id)
