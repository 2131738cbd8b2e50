"""Collections that a user already has: built by LlamaIndex, named, hybrid, or wrong."""

import threading
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

from llama_index_mmrag import MultiModalFusionRetriever
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.collection_of import collection_of

from ..support.colours import (
    ENCODER,
    Paint,
    channel,
    dumped,
    ids_of,
    image_node,
    retriever_of,
    text_node,
    uid,
    why,
)

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
    client: QdrantClient, text_store: QdrantVectorStore | None = None
) -> MultiModalFusionRetriever:
    return MultiModalFusionRetriever.from_vector_stores(
        text_store=text_store or QdrantVectorStore("texts", client=client),
        image_store=QdrantVectorStore("pictures", client=client),
        embed_model=ENCODER,
        image_embed_model=ENCODER,
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
    retriever = one_retriever(client)
    found = retriever.retrieve("blue")
    assert names(found)[0] == "blue"
    # LlamaIndex stores a captioned picture in both collections under one id.
    assert set(why(found[0]).modalities) == {"text", "image"}
    picture = QueryBundle("", image_path=str(paint("green")))
    assert names(retriever.retrieve(picture))[0] == "green"


def test_collection_of_a_vector_store_index_is_searched(client, encoder):
    context = StorageContext.from_defaults(
        vector_store=QdrantVectorStore("texts", client=client)
    )
    nodes = [TextNode(text=colour) for colour in COLOURS]
    VectorStoreIndex(nodes, storage_context=context, embed_model=encoder)
    store = QdrantVectorStore("texts", client=client)
    collection_of(store).check(4)
    only = retriever_of(channel("text", store))
    assert names(only.retrieve("green"))[0] == "green"


def named_collection(client: QdrantClient, name: str, *, vector: str) -> None:
    client.create_collection(
        name,
        vectors_config={
            vector: models.VectorParams(size=4, distance=models.Distance.COSINE)
        },
    )


def test_named_vectors_are_searched_by_their_name(client):
    named_collection(client, "texts", vector="dense")
    store = QdrantVectorStore("texts", client=client, dense_vector_name="dense")
    store.add([text_node("red"), text_node("blue")])
    collection_of(store).check(4)
    only = retriever_of(channel("text", store))
    assert names(only.retrieve("blue"))[0] == "blue"


@pytest.mark.parametrize(
    ("there", "message"),
    [
        (["texts", "pictures"], r"has the vectors \['dense'\].*dense_vector_name"),
        (["article"], r"no collection 'texts'; .*\['article'\]"),
    ],
    ids=["another vector name", "no such collection"],
)
def test_what_is_not_there_is_told_with_what_is(client, there, message):
    for name in there:
        named_collection(client, name, vector="dense")
    with pytest.raises(CollectionMismatch, match=message):
        one_retriever(client)


@pytest.mark.parametrize(
    ("size", "distance", "message"),
    [
        (5, models.Distance.COSINE, "has vectors of size 5; the encoder makes 4"),
        (4, models.Distance.EUCLID, "measures Euclid, of which smaller is better"),
        (4, models.Distance.MANHATTAN, "measures Manhattan"),
    ],
)
def test_wrong_size_or_distance_is_refused(client, size, distance, message):
    for name in ("texts", "pictures"):
        client.create_collection(
            name, vectors_config=models.VectorParams(size=size, distance=distance)
        )
    with pytest.raises(CollectionMismatch, match=message):
        one_retriever(client)


def test_embedded_store_of_another_size_is_refused(tmp_path):
    with (
        QdrantEdgeVectorStore.open(tmp_path / "texts", dim=3) as store,
        pytest.raises(CollectionMismatch, match="size 3; the encoder makes 4"),
    ):
        collection_of(store).check(4)


def by_terms(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
    found = [[COLOURS.index(w) for w in t.split() if w in COLOURS] for t in texts]
    return found, [[1.0] * len(one) for one in found]


@pytest.fixture
def contrary(client) -> QdrantVectorStore:
    """Return a hybrid store whose nodes say one thing and whose vectors another."""
    store = QdrantVectorStore(
        "texts",
        client=client,
        enable_hybrid=True,
        sparse_doc_fn=by_terms,
        sparse_query_fn=by_terms,
    )
    for words, vector, name in (
        ("red", "blue", "by words"),
        ("blue", "red", "by vector"),
    ):
        node = text_node(words, name=name)
        node.embedding = ENCODER.get_text_embedding(vector)
        store.add([node])
    return store


def test_hybrid_text_collection_is_searched_by_terms_too(client, contrary):
    named_collection(client, "pictures", vector="text-dense")
    found = one_retriever(client, contrary).retrieve("red")
    assert set(ids_of(found[:2])) == {uid("by words"), uid("by vector")}


@pytest.mark.parametrize(("alpha", "first"), [(0.0, "by words"), (1.0, "by vector")])
async def test_alpha_means_the_same_awaited_or_not(contrary, alpha, first):
    # LlamaIndex takes an asynchronous alpha of 0.0 for 0.5.
    retriever = retriever_of(channel("text", contrary, mode="hybrid", alpha=alpha))
    blocking = retriever.retrieve("red")
    assert blocking[0].node.node_id == uid(first)
    assert dumped(await retriever.aretrieve("red")) == dumped(blocking)


class HybridOfTwoWays(QdrantVectorStore):
    """Tells which way it is searched, and where."""

    _asked: list[tuple[str, bool]] = PrivateAttr(default_factory=list)

    def query(
        self, query: VectorStoreQuery, way: str = "query", **_: Any
    ) -> VectorStoreQueryResult:
        in_main = threading.current_thread() is threading.main_thread()
        self._asked.append((way, in_main))
        return VectorStoreQueryResult(nodes=[], similarities=[], ids=[])

    async def aquery(self, query: VectorStoreQuery, **_: Any) -> VectorStoreQueryResult:
        return self.query(query, "aquery")


@pytest.mark.parametrize(
    ("alpha", "way"),
    [(0.0, ("query", False)), (0.5, ("aquery", True)), (None, ("aquery", True))],
)
async def test_alpha_zero_over_an_asynchronous_client_goes_through_a_thread(alpha, way):
    aclient = AsyncQdrantClient(":memory:")
    store = HybridOfTwoWays("texts", aclient=aclient)
    store.enable_hybrid = True  # afterwards: LlamaIndex downloads its functions
    only = retriever_of(channel("text", store, mode="hybrid", alpha=alpha))
    assert await only.aretrieve("red") == []
    assert store._asked == [way]
    await aclient.close()


def test_provenance_names_the_users_collections(client):
    QdrantVectorStore("texts", client=client).add([text_node("red")])
    QdrantVectorStore("pictures", client=client).add([text_node("blue")])
    found = one_retriever(client).retrieve("red")
    routes = {c.route for r in found for c in why(r).contributions}
    assert routes == {"text→text", "text→image"}


@pytest.mark.parametrize("kind", ["text", "image"])
def test_one_store_alone_is_searched(open_store, paint, kind):
    store = open_store("local")
    node = text_node("red") if kind == "text" else image_node(paint("red"))
    store.add([node])
    made = {f"{kind}_store": store, "embed_model": ENCODER}
    retriever = MultiModalFusionRetriever.from_vector_stores(**made)
    assert [c.name for c in retriever.channels] == [kind]
    assert ids_of(retriever.retrieve("red")) == [node.node_id]


def test_no_store_is_refused():
    with pytest.raises(InvalidSetting, match=r"from_vector_stores\(\) got no store"):
        MultiModalFusionRetriever.from_vector_stores(embed_model=ENCODER)
