"""Ids: whatever their spelling and however many collections share them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from llama_index.core import StorageContext
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.schema import Document, ImageNode, NodeWithScore, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    MetadataFilter,
    MetadataFilters,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from llama_index_mmrag import (
    MultiModalFusionRetriever,
    MultiModalQdrantIndex,
    MultiModalRetrieverTool,
    MultiModalSynthesizer,
    RetrieverChannel,
    RRFPostprocessor,
)
from llama_index_mmrag.answers.captions import CaptionsAsText
from llama_index_mmrag.answers.evidence import PictureBudget, gather_evidence
from llama_index_mmrag.answers.query_engine import MultiModalQueryEngine
from llama_index_mmrag.errors import AllRoutesFailed, InvalidSetting
from llama_index_mmrag.nodes.node import STORED_ID_KEY, stored_as
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.collection_of import collection_of

from ..support.colours import (
    ENCODER,
    channel,
    dumped,
    ids_of,
    image_node,
    retriever_of,
    text_node,
    uid,
    why,
)
from ..support.retrievers import Scripted

SPELLINGS: dict[str, Callable[[str], str]] = {
    "hex": lambda id_: id_.replace("-", ""),
    "upper case": str.upper,
    "urn": lambda id_: f"urn:uuid:{id_}",
    "braces": lambda id_: f"{{{id_}}}",
}


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("entity", [None, "r"])
def test_a_node_is_found_however_its_id_is_spelled(spell, entity, kind, open_store):
    red, blue = text_node("red", entity=entity), text_node("blue")
    red.id_ = spell(red.node_id)
    retriever = retriever_of(channel("text", open_store(kind, [red, blue])))
    found = retriever.retrieve("red")
    assert ids_of(found) == [red.node_id, blue.node_id]
    assert [c.node_id for c in why(found[0]).contributions] == [red.node_id]


def test_integers_are_found_and_read(open_store):
    nodes = [text_node(colour) for colour in ("red", "yellow", "blue")]
    for n, node in enumerate(nodes):
        node.id_ = str(n)
    retriever = retriever_of(channel("text", open_store("edge", nodes)))
    assert ids_of(retriever.retrieve("red")) == ["0", "1", "2"]


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
def test_a_collection_takes_the_stores_spelling_and_any_other(spell, kind, open_store):
    red = text_node("red")
    given = red.id_ if kind == "local" else spell(red.id_)  # it keeps what it was given
    asked = red.id_ if kind == "edge" else spell(red.id_)
    red.id_ = given
    collection = collection_of(open_store(kind, [red, text_node("blue")]))
    assert ids_of_nodes(collection.nodes([asked])) == [given]
    assert collection.existing([asked, uid("none"), "no id"]) == {asked}
    collection.remove([asked])
    assert collection.existing([given]) == set()


def ids_of_nodes(nodes) -> list[str]:
    return [node.node_id for node in nodes]


class Forgetful(QdrantEdgeVectorStore):
    """Finds nodes that it does not give back."""

    def get_nodes(self, node_ids=None, *given, **settings):
        lost = str(uuid.UUID(uid("text red")))
        kept = [id_ for id_ in node_ids if id_ != lost]
        return super().get_nodes(kept, *given, **settings)


def test_a_node_that_is_found_and_cannot_be_read_is_reported(tmp_path):
    with Forgetful.open(tmp_path / "store", dim=4) as store:
        store.add([text_node("red"), text_node("blue")])
        retriever = retriever_of(channel("text", store))
        (found,) = retriever.retrieve("red")
        assert found.node.node_id == uid("text blue")
        (lost,) = why(found).degraded
        assert (lost.channel, lost.route, lost.kind) == ("text", "fetch text", "error")
        assert uid("text red") in lost.reason
        with pytest.raises(AllRoutesFailed, match=uid("text red")):
            retriever.with_top_k(1).retrieve("red")


# Same ids in two collections


def asked(way: str, retriever: MultiModalFusionRetriever) -> list[NodeWithScore]:
    """Return what the words "red" find, by one of LlamaIndex's ways to a retriever."""
    if way == "retrieve":
        return retriever.retrieve("red")
    if way == "aretrieve":
        return asyncio.run(retriever.aretrieve("red"))
    if way == "tool":
        found: list[NodeWithScore] = MultiModalRetrieverTool(retriever)(
            query="red", top_k=9
        ).raw_output
        return found
    if way == "engine":
        quoting = MultiModalSynthesizer(None)
        response = MultiModalQueryEngine(retriever, quoting).query("red")
        assert {r.node.node_id for r in response.source_nodes} <= set(response.metadata)
        return response.source_nodes
    chat = ContextChatEngine.from_defaults(
        retriever, llm=MockLLM(), memory=ChatMemoryBuffer.from_defaults()
    )
    return chat.chat("red").source_nodes


WAYS = pytest.mark.parametrize(
    "way", ["retrieve", "aretrieve", "engine", "chat", "tool"]
)
COLOURS = ("red", "yellow", "blue")


def seen(results: list[NodeWithScore]) -> list[tuple[Any, ...]]:
    """Return of each result: its channel, stored id, what it shows, and its routes."""
    return [
        (
            *stored_as(r.node),
            r.node.image_path
            if isinstance(r.node, ImageNode)
            else r.node.get_content(),
            tuple(c.route for c in why(r).of_node(stored_as(r.node)[1])),
        )
        for r in results
    ]


@pytest.fixture
def same_ids(open_store, paint):
    """Return what fills two collections with unlike things of the same ids."""

    def made(kind: str, ids: str, **settings: Any) -> MultiModalFusionRetriever:
        texts = [text_node(colour) for colour in COLOURS]
        pictures = [image_node(paint(colour)) for colour in reversed(COLOURS)]
        for n, (text, picture) in enumerate(zip(texts, pictures, strict=True)):
            text.id_ = picture.id_ = str(n) if ids == "integers" else uid(f"node {n}")
        return retriever_of(
            channel("text", open_store(kind, texts)),
            channel("image", open_store(kind, pictures)),
            **settings,
        )

    return made


@WAYS
@pytest.mark.parametrize(
    ("kind", "ids"),
    [("edge", "uuids"), ("edge", "integers"), ("local", "uuids"), ("server", "uuids")],
)
def test_same_id_in_two_collections_loses_no_picture(way, kind, ids, same_ids, paint):
    found = asked(way, same_ids(kind, ids))
    names = [str(n) if ids == "integers" else uid(f"node {n}") for n in range(3)]
    assert seen(found) == [
        row
        for n, colour in enumerate(COLOURS)
        for row in (
            ("text", names[n], colour, ("text→text",)),
            ("image", names[2 - n], str(paint(colour)), ("text→image",)),
        )
    ]
    assert len(set(ids_of(found))) == 6
    assert {len(why(r).contributions) for r in found} == {1}
    changed = [r for r in found if STORED_ID_KEY in r.node.metadata]
    assert len(changed) == 3
    assert all(STORED_ID_KEY in r.node.excluded_llm_metadata_keys for r in changed)


def test_derived_ids_are_the_same_in_every_query_and_fusion(kind, same_ids):
    retriever = same_ids(kind, "uuids")
    found = retriever.retrieve("red")
    assert ids_of(retriever.retrieve("red")) == ids_of(found)
    assert dumped(RRFPostprocessor().postprocess_nodes(found)) == dumped(found)


def test_evidence_of_several_queries_shows_every_node_once(kind, same_ids):
    # What comes first keeps its id, and what comes first changes.
    first = same_ids(kind, "uuids").retrieve("red")
    second = same_ids(kind, "uuids").retrieve("blue")
    shown = gather_evidence([*first, *second], budget=PictureBudget(9, 64))
    assert len(shown.sources) == 6
    captions = CaptionsAsText().postprocess_nodes(first)
    assert len(captions) == len(first), "pictures without words have no captions"


def test_a_stored_id_in_the_users_metadata_is_the_users(kind, open_store, paint):
    texts = [text_node(c, name=c, stored_id="of a shop") for c in COLOURS]
    picture = image_node(paint("red"), name="red", stored_id="of a shop")
    retriever = retriever_of(
        channel("text", open_store(kind, texts)),
        channel("image", open_store(kind, [picture])),
    )
    found = retriever.retrieve("red")
    assert {stored_as(r.node) for r in found} == {
        ("image", uid("red")),
        *(("text", uid(colour)) for colour in COLOURS),
    }
    assert len(gather_evidence(found, budget=PictureBudget(9, 64)).sources) == 4
    again = RRFPostprocessor().postprocess_nodes(found)
    assert dumped(again) == dumped(found)


def test_a_result_of_a_retriever_in_a_retriever_has_the_inner_ones_id(same_ids):
    inner = same_ids("edge", "uuids")
    found = retriever_of(RetrieverChannel("all", retriever=inner)).retrieve("red")
    assert len(found) == 6
    assert all(routes == ("text→all",) for *_, routes in seen(found))


@WAYS
def test_ids_link_where_the_caller_says_so(way, kind, same_ids, paint):
    found = asked(way, same_ids(kind, "uuids", linked_by="id"))
    # "red" is the first text and the last picture; both of an id come together.
    first = [r for r in found if stored_as(r.node)[1] == uid("node 0")]
    assert seen(first) == [
        ("text", uid("node 0"), "red", ("text→text",)),
        ("image", uid("node 0"), str(paint("blue")), ("text→image",)),
    ]
    assert {why(r).entity_id for r in first} == {uid("node 0")}
    assert [r.score for r in first] == [1 / 61 + 1 / 63] * 2


@pytest.mark.parametrize("complete", [False, True])
def test_a_metadata_key_links(complete, kind, open_store, paint):
    texts = [text_node(colour, product=n) for n, colour in enumerate(COLOURS)]
    pictures = [
        image_node(paint(colour), product=n) for n, colour in enumerate(COLOURS)
    ]
    accepts = frozenset({"image"} if complete else {"text", "image"})
    retriever = retriever_of(
        channel("text", open_store(kind, texts)),
        channel("image", open_store(kind, pictures), accepts=accepts),
        linked_by="product",
        complete_entities=complete,
        top_k=2,
    )
    found = retriever.retrieve("red")
    assert [why(r).entity_id for r in found] == ["0", "0", "1", "1"]
    assert ids_of(found)[:2] == [uid("text red"), uid("image red")]
    assert found[0].score == (1 / 61 if complete else 2 / 61)


@pytest.mark.parametrize("way", ["retrieve", "aretrieve"])
@pytest.mark.parametrize("hidden", [False, True])
def test_by_id_an_entity_brings_what_the_other_channel_did_not_find(
    hidden, way, kind, open_store, paint
):
    ids = [uid(f"node {n}") for n in range(len(COLOURS))]
    texts, pictures = (
        [make(i, colour, shelf=i[0]) for i, colour in zip(ids, COLOURS, strict=True)]
        for make in (
            lambda i, colour, **said: text_node(colour, **said).model_copy(
                update={"id_": i.upper()}  # the same id, as others spell it
            ),
            lambda i, colour, **said: image_node(paint(colour), **said).model_copy(
                update={"id_": i}
            ),
        )
    )
    filters = MetadataFilters(filters=[MetadataFilter(key="shelf", value="none")])
    retriever = retriever_of(
        channel("text", open_store(kind, texts)),
        channel(
            "image",
            open_store(kind, pictures),
            accepts=frozenset({"image"}),
            filters=filters if hidden else None,
        ),
        linked_by="id",
        complete_entities=True,
        top_k=1,
    )
    found = asked(way, retriever)
    assert [stored_as(r.node)[0] for r in found] == (
        ["text"] if hidden else ["text", "image"]
    )
    assert {why(r).entity_id for r in found} == {ids[0]}
    assert [r.node.image_path for r in found[1:]] == [str(paint("red"))] * len(
        found[1:]
    )


class Logged(QdrantVectorStore):
    """Reads its nodes itself."""

    def get_nodes(self, *given: Any, **settings: Any) -> Any:
        return super().get_nodes(*given, **settings)


def test_by_id_nothing_comes_that_one_of_two_conditions_hides(open_store, paint):
    shelf = [MetadataFilter(key="shelf", value=value) for value in "ab"]
    either = MetadataFilters(filters=shelf, condition=FilterCondition.OR)
    store = Logged("pictures", client=QdrantClient(":memory:"))
    ids = [uid(f"node {n}") for n in range(2)]
    for id_, value in zip(ids, ("secret", "a"), strict=True):
        picture = image_node(paint("red"), shelf=value)
        picture.embedding = ENCODER.get_image_embedding(picture.image_path)
        store.add([picture.model_copy(update={"id_": id_})])
    there = channel("image", store, filters=either)
    found = there.of_entities([*ids, "an entity"], linked_by="id")
    assert ids_of([NodeWithScore(node=node) for node in found]) == [ids[1]]


@pytest.mark.parametrize("key", ["entity_id", "product"])
@pytest.mark.parametrize("names", [(0, 1, 2), (-1, -2, -3), ("007", "08", "9" * 30)])
def test_numbers_are_entities_whose_kin_is_found(names, key, kind, open_store, paint):
    rows = list(zip(COLOURS, names, strict=True))
    texts = [text_node(colour, **{key: name}) for colour, name in rows]
    pictures = [image_node(paint(colour), **{key: name}) for colour, name in rows]
    retriever = retriever_of(
        channel("text", open_store(kind, texts)),
        channel("image", open_store(kind, pictures), accepts=frozenset({"image"})),
        linked_by=key,
        complete_entities=True,
        top_k=1,
    )
    assert ids_of(retriever.retrieve("red")) == [uid("text red"), uid("image red")]


def test_linked_by_a_key_that_no_node_has_is_refused(kind, open_store, paint):
    stores = {
        "text_store": open_store(kind, [text_node("red", product=1)]),
        "image_store": open_store(kind, [image_node(paint("red"))]),
    }
    made = MultiModalFusionRetriever.from_vector_stores
    encoders = {"embed_model": ENCODER, "image_embed_model": ENCODER}
    for key in ("product", "id", "modality"):
        assert made(**stores, **encoders, linked_by=key).retrieve("red")
    with pytest.raises(InvalidSetting, match=r"'colour'.*\['text', 'image'\]"):
        made(**stores, **encoders, linked_by="colour")


def test_linked_by_a_key_that_no_node_has_is_refused_by_the_constructor(
    kind, open_store, paint
):
    texts = channel("text", open_store(kind, [text_node("red", product=1)]))
    pictures = channel("image", open_store(kind, [image_node(paint("red"))]))
    for key in ("product", "id", "modality"):
        assert retriever_of(texts, pictures, linked_by=key).retrieve("red")
    with pytest.raises(InvalidSetting, match=r"'colour'.*\['text', 'image'\]"):
        retriever_of(texts, pictures, linked_by="colour")
    # What cannot be known is no error: a collection without nodes, any retriever.
    empty = channel("empty", open_store(kind))
    assert retriever_of(texts, empty, linked_by="colour").retrieve("red")
    elsewhere = RetrieverChannel("other", retriever=retriever_of(texts))
    assert retriever_of(texts, elsewhere, linked_by="colour").retrieve("red")


def test_constructor_asks_no_server_for_a_key(monkeypatch):
    # No request is answered here: none may be made.
    client = QdrantClient("http://localhost:1", check_compatibility=False)
    with monkeypatch.context() as patch:  # LlamaIndex's store asks when it is made
        patch.setattr(client, "collection_exists", lambda _: False)
        remote = QdrantVectorStore("remote", client=client)
    linked = retriever_of(channel("text", remote), linked_by="colour")
    assert linked.channels[0].vector_store is remote


def test_index_refuses_a_key_that_no_node_has(tmp_path, paint):
    with MultiModalQdrantIndex.open(tmp_path / "store", embed_model=ENCODER) as index:
        assert index.as_retriever(linked_by="colour").retrieve("red") == []
        index.insert([Document(text="red", metadata={"product": 1})])
        pictures = index.channels[1].vector_store
        pictures.add([image_node(paint("red"))])
        assert index.as_retriever(linked_by="product").retrieve("red")
        with pytest.raises(InvalidSetting, match="linked_by is 'colour'"):
            index.as_retriever(linked_by="colour")


@pytest.mark.parametrize("linked_by", ["", 3, True, ["id"]])
def test_linked_by_what_is_no_key_is_refused(linked_by, open_store):
    with pytest.raises(InvalidSetting, match="linked_by"):
        retriever_of(channel("text", open_store("edge")), linked_by=linked_by)


SEPARATED = ["a:b", "text→text", "a/b", "a\\b", "a\nb", "a\u2028b", "a\x1bb", ".", ".."]


@pytest.mark.parametrize("name", SEPARATED)
def test_a_channel_whose_name_has_a_separator_is_refused(name, open_store):
    with pytest.raises(InvalidSetting, match="a name of one line without ':'"):
        channel(name, open_store("edge"))
    with pytest.raises(InvalidSetting, match="a name of one line without ':'"):
        RetrieverChannel(name, retriever=Scripted([]))


@pytest.mark.parametrize("name", ["a.b", "..a", "Fotos von früher", "می\u200cخواهم"])
def test_other_names_of_channels_are_taken(name, open_store):
    assert channel(name, open_store("edge")).name == name


@pytest.fixture
def client():
    client = QdrantClient(":memory:")
    yield client
    client.close()


@WAYS
def test_one_collection_under_two_vector_names_is_one(way, client):
    client.create_collection(
        "both",
        vectors_config={
            name: models.VectorParams(size=4, distance=models.Distance.COSINE)
            for name in ("text", "image")
        },
    )
    vectors = [ENCODER.get_text_embedding(colour) for colour in COLOURS]
    client.upsert(
        "both",
        [
            models.PointStruct(
                id=n,
                vector={"text": vectors[n], "image": vectors[n]},
                payload={"text": colour},
            )
            for n, colour in enumerate(COLOURS)
        ],
    )
    retriever = retriever_of(
        *(
            channel(
                name, QdrantVectorStore("both", client=client, dense_vector_name=name)
            )
            for name in ("text", "image")
        )
    )
    found = asked(way, retriever)
    assert [(stored_as(r.node)[1], r.node.get_content()) for r in found] == [
        (str(n), colour) for n, colour in enumerate(COLOURS)
    ]
    assert why(found[0]).modalities == ("text", "image")
    # One node, found twice by the same words.
    assert found[0].score == 1 / 61


@WAYS
def test_a_multimodal_indexs_pictures_are_one_in_both_collections(
    way, kind, open_store, paint
):
    stores = [open_store(kind) for _ in range(2)]
    pictures = [ImageNode(image_path=str(paint(c)), text=c) for c in COLOURS[:2]]
    MultiModalVectorStoreIndex(
        [TextNode(text="red"), TextNode(text="blue"), *pictures],
        storage_context=StorageContext.from_defaults(vector_store=stores[0]),
        image_vector_store=stores[1],
        embed_model=ENCODER,
        image_embed_model=ENCODER,
    )
    found = asked(
        way,
        retriever_of(channel("text", stores[0]), channel("image", stores[1]), top_k=10),
    )
    shown = [r for r in found if isinstance(r.node, ImageNode)]
    assert {r.node.node_id for r in shown} == {p.node_id for p in pictures}
    assert len(found) == 4
    for result in shown:
        # By its caption and by its look, which has the caption's id and words: once.
        routes = {c.route: c.amount for c in why(result).contributions}
        assert set(routes) == {"text→text", "text→image"}
        assert sorted(map(bool, routes.values())) == [False, True]
        assert result.score == sum(routes.values())
