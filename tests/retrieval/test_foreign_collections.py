"""Collections that LlamaIndex did not write: searched as they are, read by keys."""

from __future__ import annotations

import base64
import logging
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import ImageNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from llama_index_mmrag import (
    MultiModalFusionRetriever,
    MultiModalRetrieverTool,
    MultiModalSynthesizer,
)
from llama_index_mmrag.errors import (
    AllRoutesFailed,
    CollectionMismatch,
    InvalidSetting,
    RouteFailed,
)
from llama_index_mmrag.events import collect_degradations
from llama_index_mmrag.stores.collection_of import collection_of

from ..support.colours import (
    DIM,
    ENCODER,
    channel,
    dumped,
    image_node,
    retriever_of,
    text_node,
    why,
)
from ..support.stores import open_client

COLOURS = ("red", "yellow", "green", "blue")
PARAMS = models.VectorParams(size=DIM, distance=models.Distance.COSINE)
BOTH = {"text": PARAMS, "image": PARAMS}
IDS: dict[str, Callable[[int], Any]] = {
    "numbers": lambda n: n,
    "UUIDs": lambda n: str(uuid.UUID(int=n + 1)),
}


@pytest.fixture(params=["memory", "disk", "server"])
def client(request, tmp_path) -> Iterator[QdrantClient]:
    if request.param == "disk":
        opened = QdrantClient(path=str(tmp_path / "qdrant"))
        yield opened
        opened.close()
        return
    with open_client("server" if request.param == "server" else "local") as opened:
        yield opened


@pytest.fixture
def memory() -> Iterator[QdrantClient]:
    with open_client("local") as opened:
        yield opened


@pytest.fixture
def pix(tmp_path, paint) -> Path:
    """Return a folder with a picture of each colour."""
    return paint("red").parent if all(map(paint, COLOURS)) else tmp_path


@pytest.fixture
def made() -> Iterator[Callable[..., str]]:
    """Return a function that makes a collection of points; it is removed at the end."""
    names: list[tuple[QdrantClient, str]] = []

    def make(client: QdrantClient, points: list[Any], vectors: Any = BOTH) -> str:
        name = f"foreign-{uuid.uuid4()}"
        client.create_collection(name, vectors_config=vectors)
        names.append((client, name))
        if points:
            client.upsert(name, points)
        return name

    yield make
    for client, name in names:
        client.delete_collection(name)


def captioned(pix: Path, new_id: Callable[[int], Any] = IDS["numbers"]) -> list[Any]:
    """Return what a stranger writes: two vectors, a caption and a relative path."""
    return [
        models.PointStruct(
            id=new_id(n),
            vector=vectors_of(pix, colour),
            payload={"caption": colour, "path": f"{colour}.png", "year": 2000 + n},
        )
        for n, colour in enumerate(COLOURS)
    ]


def vectors_of(pix: Path, colour: str) -> dict[str, list[float]]:
    picture = str(pix / f"{colour}.png")
    return {
        "text": ENCODER.get_text_embedding(colour),
        "image": ENCODER.get_image_embedding(picture),
    }


def over(
    client: QdrantClient | None, name: str, pix: Path | None, **settings: Any
) -> MultiModalFusionRetriever:
    return MultiModalFusionRetriever.from_qdrant(
        client,
        **{
            "collection": name,
            "text_vector": "text",
            "image_vector": "image",
            "text_key": "caption",
            "image_path_key": "path",
            "image_root": pix,
            "embed_model": ENCODER,
            **settings,
        },
    )


def shown(results: list[NodeWithScore]) -> list[tuple[type, str, str]]:
    """Return of each result what it is, its entity and what it shows."""
    return [
        (
            ImageNode if isinstance(r.node, ImageNode) else TextNode,
            why(r).entity_id,
            Path(r.node.image_path).name
            if isinstance(r.node, ImageNode)
            else r.node.get_content(),
        )
        for r in results
    ]


def lost_of(results: list[NodeWithScore]) -> dict[str, str]:
    (degraded,) = {why(r).degraded for r in results}
    return {lost.route: lost.reason for lost in degraded}


# One collection, two vectors


@pytest.mark.parametrize("new_id", IDS.values(), ids=IDS)
def test_a_point_is_one_entity_a_text_and_a_picture(client, made, pix, new_id):
    retriever = over(client, made(client, captioned(pix, new_id)), pix)
    found = retriever.retrieve("yellow")
    yellow = str(new_id(1))
    assert shown(found)[:2] == [
        (TextNode, yellow, "yellow"),
        (ImageNode, yellow, "yellow.png"),
    ]
    # The caption's vector and the picture's are evidence each.
    amounts = {c.route: c.amount for c in why(found[0]).contributions}
    assert amounts == {"text→text": 1 / 61, "text→image": 1 / 61}
    assert found[0].score == pytest.approx(2 / 61)
    assert len({r.node.node_id for r in found}) == len(found) == 2 * len(COLOURS)
    assert found[1].node.image_path == str(pix / "yellow.png")
    assert found[1].node.metadata["year"] == 2001
    assert lost_of(found) == {}


@pytest.mark.parametrize("new_id", IDS.values(), ids=IDS)
async def test_what_one_vector_found_comes_with_its_other_side(
    client, made, pix, new_id
):
    name = made(client, captioned(pix, new_id))
    alone = over(client, name, pix, top_k=1)
    whole = over(client, name, pix, top_k=1, complete_entities=True)
    query = QueryBundle("", image_path=str(pix / "green.png"))
    green = str(new_id(2))
    picture, words = (ImageNode, green, "green.png"), (TextNode, green, "green")
    assert shown(alone.retrieve(query)) == [picture]
    found = whole.retrieve(query)
    assert shown(found) == [picture, words]
    assert dumped(await whole.aretrieve(query)) == dumped(found)


def test_two_channels_by_hand_are_the_same(client, made, pix):
    name = made(client, captioned(pix))
    stores = {
        view: QdrantVectorStore(name, client=client, dense_vector_name=view)
        for view in ("text", "image")
    }
    keys = {"text_key": "caption", "image_path_key": "path", "image_root": pix}
    by_hand = retriever_of(
        channel("text", stores["text"], text_key="caption"),
        channel("image", stores["image"], **keys),
        complete_entities=True,
    )
    by_stores = MultiModalFusionRetriever.from_vector_stores(
        text_store=stores["text"],
        image_store=stores["image"],
        embed_model=ENCODER,
        complete_entities=True,
        **keys,
    )
    wanted = dumped(over(client, name, pix, complete_entities=True).retrieve("red"))
    assert dumped(by_hand.retrieve("red")) == wanted
    assert dumped(by_stores.retrieve("red")) == wanted


def test_one_vector_of_texts_and_pictures_finds_a_point_once(client, made, pix):
    points = [
        models.PointStruct(
            id=n,
            vector=ENCODER.get_text_embedding(colour),
            payload={"caption": colour} if n % 2 else {"path": f"{colour}.png"},
        )
        for n, colour in enumerate(COLOURS)
    ]
    name = made(client, points, PARAMS)
    found = over(client, name, pix, text_vector="", image_vector="").retrieve("red")
    assert set(shown(found)[:2]) == {
        (TextNode, "1", "yellow"),
        (ImageNode, "0", "red.png"),
    }
    assert {one[:2] for one in shown(found)} == {
        (TextNode if n % 2 else ImageNode, str(n)) for n in range(len(COLOURS))
    }
    # What is no text is a picture, and nothing is lost.
    assert lost_of(found) == {}


def test_the_same_vector_under_two_names_of_a_channel_counts_once(memory, made, pix):
    points = [
        models.PointStruct(
            id=0,
            vector=ENCODER.get_text_embedding("red"),
            payload={"caption": "red", "path": "red.png"},
        )
    ]
    name = made(memory, points, PARAMS)
    found = over(memory, name, pix, text_vector="", image_vector="").retrieve("red")
    assert [one[0] for one in shown(found)] == [TextNode, ImageNode]
    assert found[0].score == 1 / 61


def test_points_of_one_vector_alone_are_of_one_channel(client, made, pix):
    points = captioned(pix)
    for point in points[:2]:
        del point.vector["image"]
    retriever = over(client, made(client, points), pix, complete_entities=True)
    # Its text is found, and its picture comes along by its id.
    found = [r for r in retriever.retrieve("red") if why(r).entity_id == "0"]
    assert shown(found) == [(TextNode, "0", "red"), (ImageNode, "0", "red.png")]
    assert [c.route for c in why(found[0]).contributions] == ["text→text"]


# What is not there


def test_a_point_that_lacks_its_key_costs_itself(client, made, pix, caplog):
    points = captioned(pix)
    points[0].payload = {"year": 2000}
    points[1].payload["path"] = "../yellow.png"
    points[2].payload["caption"] = None
    name = made(client, points)
    retriever = over(client, name, pix)
    with caplog.at_level(logging.WARNING), collect_degradations() as lost:
        found = retriever.retrieve("red")
    assert set(shown(found)) == {
        (TextNode, "1", "yellow"),
        (ImageNode, "2", "green.png"),
        (TextNode, "3", "blue"),
        (ImageNode, "3", "blue.png"),
    }
    assert lost_of(found) == {
        "read text": "points were found that have nothing to show: "
        "1 without a text under 'caption'",
        "read image": "points were found that have nothing to show: "
        "1 without a picture under 'path'",
    }
    assert [one.route for one in lost] == ["read text", "read image"]
    assert len(caplog.records) == 2
    assert why(found[0]).searched == ("text→text", "text→image")
    with pytest.raises(RouteFailed, match="1 of 1 lookups failed. read text"):
        over(client, name, pix, on_degraded="raise").text_retrieve("red")


def test_where_nothing_found_can_be_shown_it_is_an_error(memory, made, pix):
    name = made(memory, captioned(pix)[:1])
    retriever = over(memory, name, pix)
    memory.overwrite_payload(name, {"year": 2000}, points=[0])
    with pytest.raises(AllRoutesFailed, match="1 without a text under 'caption'"):
        retriever.retrieve("red")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"text_key": "text"}, "no 'text', its text_key.*'caption', 'path', 'year'"),
        ({"image_path_key": "file"}, "no 'file', its image_path_key.*'caption'"),
        ({"image_url_key": "url"}, "no 'url', its image_url_key"),
        ({"image_path_key": None, "image_root": None}, "where their pictures are"),
        ({"text_vector": "words"}, r"has the vectors \['image', 'text'\].*text_vector"),
        ({"text_vector": None}, None),
        ({"text_vector": None, "text_key": None}, None),
        ({"image_vector": None, "text_vector": None}, "image_vector= one of these"),
    ],
)
def test_what_a_collection_does_not_have_is_told(client, made, pix, wrong, message):
    name = made(client, captioned(pix))
    if message is None:
        retriever = over(client, name, pix, **wrong)
        assert [one.name for one in retriever.channels] == ["image"]
        return
    with pytest.raises(CollectionMismatch, match=message):
        over(client, name, pix, **wrong)


def test_keys_of_a_channel_over_a_client_here_are_looked_for(memory, made, pix):
    name = made(memory, captioned(pix))
    store = QdrantVectorStore(name, client=memory, dense_vector_name="text")
    wrong = channel("text", store, text_key="captoin")
    with pytest.raises(CollectionMismatch, match="'captoin', its text_key"):
        retriever_of(wrong)


def test_an_empty_collection_has_nothing_to_be_looked_at(client, made, pix):
    assert over(client, made(client, []), pix).retrieve("red") == []


def test_multivectors_and_sparse_vectors_alone_are_not_searched_yet(memory, made, pix):
    several = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    late = PARAMS.model_copy(update={"multivector_config": several})
    name = made(memory, [], {"image": PARAMS, "late": late})
    with pytest.raises(CollectionMismatch, match="'late'.*is a multivector"):
        over(memory, name, pix, text_vector="late")
    # The other one is the only one that can be searched.
    only = over(memory, name, pix, text_vector=None, image_vector=None)
    assert only.channels[0].vector_store.dense_vector_name == "image"
    memory.create_collection(
        "sparse", sparse_vectors_config={"words": models.SparseVectorParams()}
    )
    with pytest.raises(CollectionMismatch, match=r"sparse vectors \['words'\] alone"):
        over(memory, "sparse", pix, text_vector=None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"collection": None}, "got no collection"),
        ({"text_collection": "a"}, "got collection= and one of"),
        (
            {"collection": None, "text_collection": "a", "image_vector": None},
            "a key of images, and no collection of them. Add image_collection=",
        ),
        ({"collection": 7}, "from_qdrant: collection is 7; expected str or None"),
        ({"embed_model": None}, "embed_model is None; expected an encoder"),
        ({"image_embed_model": 7}, "image_embed_model is 7; expected an encoder"),
        (
            {"text_vectr": "text"},
            "from_qdrant.. takes no 'text_vectr'. Use text_vector",
        ),
        ({"score_threshold": 0.3}, "from_qdrant.. takes no 'score_threshold'. Scores"),
        ({"channels": []}, "from_qdrant.. takes no 'channels'"),
        ({"collection_name": "c"}, "takes no 'collection_name'. Give collection="),
        ({"content_payload_key": "c"}, "It is called text_key here"),
        ({"image_path_key": None}, "image_root is .* beside image_path_key="),
        ({"image_root": "no such"}, "expected a folder that is there"),
        (
            {"text_vector": None, "image_embed_model": ENCODER},
            "embed_model was given, and nothing that is searched uses it",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused(memory, made, pix, wrong, message):
    with pytest.raises(InvalidSetting, match=message):
        over(memory, made(memory, captioned(pix)), pix, **wrong)


@pytest.mark.parametrize("given", [None, "http://localhost:6333", object()])
def test_a_client_is_one_of_qdrants(given, pix):
    with pytest.raises(InvalidSetting, match=r"expected QdrantClient.*aclient="):
        over(given, "c", pix)


def test_keys_are_for_stores_of_other_peoples_points(memory, open_store, pix):
    class Own(QdrantVectorStore):
        pass

    for store in (Own("c", client=memory), open_store("edge", [text_node("red")])):
        with pytest.raises(InvalidSetting, match="a plain QdrantVectorStore"):
            channel("text", store, text_key="caption")


# Other people's payloads

LANGCHAIN = "page_content", lambda c: {"page_content": c, "metadata": {"kind": "kite"}}
HAYSTACK = "content", lambda c: {"content": c, "blob": None, "meta": {"kind": "kite"}}
FASTEMBED = "document", lambda c: {"document": c, "meta": {"kind": "kite"}}
THEIRS = pytest.mark.parametrize(
    ("text_key", "payload"),
    [LANGCHAIN, HAYSTACK, FASTEMBED],
    ids=["LangChain", "Haystack", "fastembed"],
)


def of_texts(payload: Callable[[str], dict[str, Any]]) -> list[Any]:
    return [
        models.PointStruct(
            id=str(uuid.uuid4()),
            vector=ENCODER.get_text_embedding(colour),
            payload=payload(colour),
        )
        for colour in COLOURS
    ]


@THEIRS
def test_texts_of_others_are_searched(client, made, text_key, payload):
    name = made(client, of_texts(payload), PARAMS)
    retriever = MultiModalFusionRetriever.from_qdrant(
        client, collection=name, text_key=text_key, embed_model=ENCODER
    )
    assert [one.name for one in retriever.channels] == ["text"]
    found = retriever.retrieve("green")
    assert found[0].node.get_content() == "green"
    with pytest.raises(CollectionMismatch, match=f"'{text_key}'"):
        MultiModalFusionRetriever.from_qdrant(
            client, collection=name, embed_model=ENCODER
        )


@THEIRS
def test_without_keys_from_vector_stores_asks_for_them(
    client, made, pix, text_key, payload
):
    texts = made(client, of_texts(payload), PARAMS)
    photos = made(client, captioned(pix))
    given = {
        "text_store": QdrantVectorStore(texts, client=client),
        "image_store": QdrantVectorStore(
            photos, client=client, dense_vector_name="image"
        ),
        "embed_model": ENCODER,
    }
    from_stores = MultiModalFusionRetriever.from_vector_stores
    with pytest.raises(
        CollectionMismatch, match=f"no 'text', its text_key.*{text_key}"
    ):
        from_stores(**given)
    given["text_store"] = QdrantVectorStore(texts, client=client, text_key=text_key)
    with pytest.raises(CollectionMismatch, match="image_path_key="):
        from_stores(**given)
    found = from_stores(**given, image_path_key="path", image_root=pix).retrieve("red")
    assert [one[0] for one in shown(found)][:2] == [TextNode, ImageNode]


def test_a_plain_channel_says_which_keys_it_wants(memory, made):
    name = made(memory, of_texts(LANGCHAIN[1]), PARAMS)
    only = retriever_of(channel("text", QdrantVectorStore(name, client=memory)))
    with pytest.raises(AllRoutesFailed, match="without a text under 'text'. Say where"):
        only.retrieve("red")


def test_a_vector_with_a_name_is_found_where_it_is_the_only_one(client, made):
    points = of_texts(FASTEMBED[1])
    for point in points:
        point.vector = {"fast-bge-small-en": point.vector}
    name = made(client, points, {"fast-bge-small-en": PARAMS})
    retriever = MultiModalFusionRetriever.from_qdrant(
        client, text_collection=name, text_key="document", embed_model=ENCODER
    )
    assert retriever.retrieve("blue")[0].node.get_content() == "blue"


def test_what_llama_index_wrote_is_read_as_such(client, made, pix):
    name = made(client, [], PARAMS)
    store = QdrantVectorStore(name, client=client)
    store.add([text_node("red", entity="kite"), image_node(pix / "blue.png")])
    client.upsert(name, of_texts(lambda colour: {"text": f"pale {colour}"}))
    retriever = MultiModalFusionRetriever.from_qdrant(
        client, collection=name, embed_model=ENCODER
    )
    found = {
        r.node.get_content() or type(r.node).__name__ for r in retriever.retrieve("red")
    }
    assert found == {"red", "CaptionedImageNode", *(f"pale {c}" for c in COLOURS)}


def test_two_collections_number_their_points_alike(client, made, pix):
    texts = [
        models.PointStruct(
            id=n,
            vector=ENCODER.get_text_embedding(colour),
            payload={"body": colour, "about": {"product": colour}},
        )
        for n, colour in enumerate(reversed(COLOURS))
    ]
    photos = captioned(pix)
    for photo, colour in zip(photos, COLOURS, strict=True):
        photo.payload = {"path": f"{colour}.png", "about": {"product": colour}}
    del photos[-1].vector["image"]  # nothing finds it: it comes along
    places = {
        "collection": None,
        "text_collection": made(client, texts, PARAMS),
        "image_collection": made(client, photos),
        "text_vector": None,
        "text_key": "body",
    }
    apart = over(client, None, pix, **places).retrieve("red")
    assert {why(r).entity_id for r in apart[:2]} == {"text:3", "image:0"}
    linked = over(
        client, None, pix, linked_by="about.product", complete_entities=True, **places
    )
    assert shown(linked.retrieve("red"))[:2] == [
        (TextNode, "red", "red"),
        (ImageNode, "red", "red.png"),
    ]
    blue = [r for r in linked.retrieve("blue") if why(r).entity_id == "blue"]
    assert shown(blue) == [
        (TextNode, "blue", "blue"),
        (ImageNode, "blue", "blue.png"),
    ]


def test_pictures_in_the_payload_and_urls(memory, made, pix):
    points = captioned(pix)
    encoded = base64.b64encode((pix / "red.png").read_bytes()).decode()
    points[0].payload = {"file": {"data": encoded, "name": "red"}}
    points[1].payload = {"file": {"url": "http://127.0.0.1:9/yellow.png"}}
    name = made(memory, points[:2])
    retriever = over(
        memory,
        name,
        None,
        text_vector=None,
        text_key="text",
        image_path_key=None,
        image_base64_key="file.data",
        image_url_key="file.url",
    )
    red, yellow = (r.node for r in retriever.retrieve("red"))
    assert red.image == encoded
    assert red.metadata["file"] == {"name": "red"}, "not in a prompt"
    assert (yellow.image_url, yellow.image_path) == (
        "http://127.0.0.1:9/yellow.png",
        None,
    )


# Whatever else a retriever does


@pytest.mark.parametrize(
    "filters",
    [
        MetadataFilters(filters=[MetadataFilter(key="about.shop", value="B")]),
        {"about.shop": "B"},
        models.Filter(
            must=[
                models.FieldCondition(
                    key="about.shop", match=models.MatchValue(value="B")
                )
            ]
        ),
    ],
    ids=["LlamaIndex's", "a dictionary", "Qdrant's"],
)
async def test_filters_hold_in_searches_and_completions(client, made, pix, filters):
    points = captioned(pix)
    for n, point in enumerate(points):
        point.payload["about"] = {"shop": "AB"[n % 2]}
        if n % 2:
            del point.vector["image"]
    name = made(client, points)
    retriever = over(client, name, pix, filters=filters, complete_entities=True)
    found = retriever.retrieve("red")
    assert {one[1] for one in shown(found)} == {"1", "3"}
    assert {one[0] for one in shown(found)} == {TextNode, ImageNode}
    assert dumped(await retriever.aretrieve("red")) == dumped(found)
    narrowed = over(client, name, pix, node_ids=["1"]).retrieve("red")
    assert {one[1] for one in shown(narrowed)} == {"1"}


@pytest.mark.filterwarnings("ignore:Local mode performs exact")
def test_thresholds_and_search_parameters(client, made, pix):
    store = QdrantVectorStore(
        made(client, captioned(pix)), client=client, dense_vector_name="text"
    )
    only = channel(
        "text",
        store,
        text_key="caption",
        score_threshold=0.99,
        search_params=models.SearchParams(exact=True),
    )
    assert shown(retriever_of(only).retrieve("red")) == [(TextNode, "text:0", "red")]


async def test_an_asynchronous_client_alone(made, pix):
    aclient = AsyncQdrantClient(":memory:")
    await aclient.create_collection("c", vectors_config=BOTH)
    points = captioned(pix)
    points[3].payload = {}
    await aclient.upsert("c", points)
    retriever = over(None, "c", pix, aclient=aclient, complete_entities=True)
    found = await retriever.aretrieve("red")
    assert shown(found)[:2] == [(TextNode, "0", "red"), (ImageNode, "0", "red.png")]
    assert found[1].node.text == "red"
    assert set(lost_of(found)) == {"read text", "read image"}
    await aclient.close()


async def test_the_asynchronous_client_of_a_server(made, pix):
    with open_client("server") as client:
        name = made(client, captioned(pix))
        aclient = AsyncQdrantClient(client._client.rest_uri)
        retriever = over(client, name, pix, aclient=aclient, complete_entities=True)
        assert {one.way for one in retriever.channels} == {"await"}
        found = await retriever.aretrieve("red")
        assert dumped(found) == dumped(retriever.retrieve("red"))
        await aclient.close()


def test_a_server_is_asked_for_no_field_that_no_point_has(memory, made, pix):
    name = made(memory, captioned(pix))
    retriever = over(memory, name, pix, complete_entities=True)
    text = retriever.channels[0]
    assert [set(read) for read in text._of(["0"], None, "id")] == [
        {"filters", "node_ids"}
    ]
    text.collection.check_payloads(ask_server=False)
    memory.delete(name, [*range(len(COLOURS))])
    text.collection.check_payloads()  # as on a server that is not asked again
    assert text.collection.names_entities is False
    memory.upsert(name, captioned(pix))
    memory.set_payload(name, {"entity_id": "kite"}, points=[0, 1])
    again = over(memory, name, pix, complete_entities=True)
    assert len(again.channels[0]._of(["0"], None, "id")) == 2
    assert {one[1] for one in shown(again.retrieve("red"))} == {"kite", "2", "3"}


def test_the_engine_shows_pictures_and_the_tool_finds_them(client, made, pix):
    retriever = over(client, made(client, captioned(pix)), pix, top_k=1)
    synthesizer = MultiModalSynthesizer(None, embed_model=ENCODER)
    engine = RetrieverQueryEngine(retriever, response_synthesizer=synthesizer)
    response = engine.query("red")
    assert "red" in str(response)
    assert response.metadata["citations"]
    assert isinstance(response.source_nodes[1].node, ImageNode)
    output = MultiModalRetrieverTool(retriever)(query="red")
    assert any(isinstance(r.node, ImageNode) for r in output.raw_output)
    assert "red.png" in output.content


def test_a_collection_of_ours_or_theirs_is_the_same_store_as_ever(memory, made):
    store = QdrantVectorStore(made(memory, [], PARAMS), client=memory)
    store.add([text_node("red")])
    retriever = MultiModalFusionRetriever.from_vector_stores(
        text_store=store, image_store=store, embed_model=ENCODER
    )
    assert all(one.vector_store is store for one in retriever.channels)
    assert retriever.channels[0].collection is collection_of(store)


def test_a_subclass_reads_points_its_own_way(memory, made):
    class Own(QdrantVectorStore):
        pass

    name = made(memory, of_texts(lambda colour: {"text": colour}), PARAMS)
    store = Own(name, client=memory)
    retriever = MultiModalFusionRetriever.from_vector_stores(
        text_store=store, image_store=store, embed_model=ENCODER
    )
    assert retriever.text_retrieve("red")[0].node.get_content() == "red"


def test_terms_are_searched_beside_the_vector(memory, pix):
    def by_terms(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        found = [[COLOURS.index(w) for w in t.split() if w in COLOURS] for t in texts]
        return found, [[1.0] * len(one) for one in found]

    memory.create_collection(
        "c",
        vectors_config={"dense": PARAMS, "image": PARAMS},
        sparse_vectors_config={"sparse": models.SparseVectorParams()},
    )
    for n, (words, vector) in enumerate(
        [("red", "blue"), ("blue", "red"), ("", "green")]
    ):
        ((terms,), (values,)) = by_terms([words])
        sparse = models.SparseVector(indices=terms, values=values)
        vectors = (
            {"dense": ENCODER.get_text_embedding(vector), "sparse": sparse}
            if words
            else {"dense": ENCODER.get_text_embedding(vector)}
        )
        payload = {"caption": words} if words else {"year": 1}
        memory.upsert("c", [models.PointStruct(id=n, vector=vectors, payload=payload)])
    store = QdrantVectorStore(
        "c",
        client=memory,
        enable_hybrid=True,
        dense_vector_name="dense",
        sparse_vector_name="sparse",
        sparse_doc_fn=by_terms,
        sparse_query_fn=by_terms,
    )
    only = channel("text", store, text_key="caption", mode="hybrid")
    found = retriever_of(only).retrieve("red")
    assert {r.node.node_id for r in found} == {"0", "1"}
    assert set(lost_of(found)) == {"read text"}
