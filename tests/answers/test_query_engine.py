"""What a review found: faults told apart, nothing consumed, nothing silent."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import (
    Document,
    ImageDocument,
    NodeWithScore,
    QueryBundle,
)

from llama_index_mmrag import (
    MultiModalFusionRetriever,
    MultiModalQdrantIndex,
    MultiModalQuery,
    MultiModalSynthesizer,
    RetrieverChannel,
    collect_degradations,
    provenance_of,
)
from llama_index_mmrag.answers.query_engine import MultiModalQueryEngine
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import ImageUnreadable, InvalidQuery, InvalidSetting
from llama_index_mmrag.nodes.node import modality_of

from ..support.colours import channel, image_node, text_node


def test_metadata_has_the_results_by_kind_and_is_json(tmp_path, paint):
    """As `SimpleMultiModalQueryEngine` has them, whose keys are typed by habit."""
    with MultiModalQdrantIndex.open(
        tmp_path / "store", embed_model=ColourEncoder()
    ) as index:
        index.insert_directory(paint("red"))
        index.insert(Document(text="red"))
        response = index.as_query_engine(None).query("red")
    told = response.metadata
    kinds = [modality_of(result.node) for result in response.source_nodes]
    assert len(told["text_nodes"]) == kinds.count("text") > 0
    assert len(told["image_nodes"]) == kinds.count("image") > 0
    assert json.loads(json.dumps(told)).keys() == told.keys()
    with pytest.raises(KeyError):
        told["nodes"]
    assert told.get("image_nodes") == told["image_nodes"]
    assert told.get("nodes", 7) == 7


def test_prompt_that_an_engine_has_not_is_refused(open_store, encoder):
    retriever = MultiModalFusionRetriever(
        [channel("text", open_store("edge"), encoder)]
    )
    engine = MultiModalQueryEngine(retriever, MultiModalSynthesizer(None))
    for name in ("text_qa_template", "response_synthesizer:text_qa_template", "a:b"):
        with pytest.raises(InvalidSetting, match=f"no prompt '{name}'.*instructions"):
            engine.update_prompts({name: PromptTemplate("{query_str}")})


class Down(ColourEncoder):
    """An encoder whose service is down."""

    def _get_query_embedding(self, query: str) -> list[float]:
        raise ConnectionError("the encoder is down")


async def test_answer_that_found_nothing_says_what_could_not_be_searched(
    tmp_path, paint
):
    with MultiModalQdrantIndex.open(
        tmp_path / "store", embed_model=ColourEncoder(), image_embed_model=Down()
    ) as index:
        index.insert_directory(paint("red"))
        engine = index.as_query_engine()
        # Whoever collects around an engine hears of it too.
        with collect_degradations() as collected:
            responses = [engine.query("red"), await engine.aquery("red")]
    assert [lost.route for lost in collected] == ["text→image"] * 2
    for response in responses:
        assert response.source_nodes == []
        assert response.metadata["requested"] == ["text→text", "text→image"]
        assert response.metadata["searched"] == ["text→text"]
        (lost,) = response.metadata["degraded"]
        assert (lost["route"], lost["kind"]) == ("text→image", "error")
        assert "the encoder is down" in lost["reason"]


class MissingThumbnail(BaseRetriever):
    """A retriever that fails over a picture of its own."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        raise ImageUnreadable("Cannot read the picture 'thumbnail.png'.")


def test_picture_that_a_retriever_cannot_read_costs_its_route_only(open_store, encoder):
    store = open_store("edge", [text_node("red")])
    thumbnails = RetrieverChannel("thumbnails", retriever=MissingThumbnail())
    retriever = MultiModalFusionRetriever([channel("text", store, encoder), thumbnails])
    (found,) = retriever.retrieve("red")
    assert [d.channel for d in provenance_of(found).degraded] == ["thumbnails"]


class Reading(ColourEncoder):
    """An encoder that reads a stream to its end, as many do."""

    def _get_image_embedding(self, img_file_path: object) -> list[float]:
        assert isinstance(img_file_path, BytesIO)
        return super()._get_image_embedding(BytesIO(img_file_path.read()))


def test_callers_stream_is_not_consumed(open_store, paint):
    store = open_store("edge", [image_node(paint("red"))])
    retriever = MultiModalFusionRetriever([channel("image", store, Reading())])
    stream = BytesIO(paint("red").read_bytes())
    query = MultiModalQuery(images=[stream])
    first, second = retriever.retrieve(query), retriever.retrieve(query)
    assert [r.score for r in first] == [r.score for r in second]
    assert stream.tell() == 0


@pytest.mark.parametrize("entity", [7, 0, "seven"])
def test_entities_may_be_named_by_numbers(tmp_path, paint, entity):
    with MultiModalQdrantIndex.open(
        tmp_path / "store", embed_model=ColourEncoder()
    ) as index:
        text = Document(text="red", metadata={"entity_id": entity})
        picture = image_node(paint("red"))
        picture.metadata["entity_id"] = entity
        picture.embedding = None
        index.insert([text, picture])
        results = index.as_retriever().retrieve("red")
        assert {modality_of(r.node) for r in results} == {"text", "image"}
        assert {provenance_of(r).entity_id for r in results} == {str(entity)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accepts": frozenset({"images"})}, "in accepts is .images."),
        ({"mode": "fuzzy"}, "mode is 'fuzzy'"),
    ],
)
def test_unknown_words_in_settings_are_refused(open_store, encoder, settings, message):
    store = open_store("edge")
    with pytest.raises(InvalidSetting, match=message):
        channel("text", store, encoder, **settings)
    with pytest.raises(InvalidSetting, match="on_degraded is 'Raise'"):
        MultiModalFusionRetriever(
            [channel("text", store, encoder)], on_degraded="Raise"
        )


@pytest.mark.parametrize("query", [None, 5, b"red", ["red"], "\ud800"])
async def test_what_is_no_query_is_refused_before_an_event_carries_it(tmp_path, query):
    with MultiModalQdrantIndex.open(tmp_path, embed_model=ColourEncoder()) as index:
        engine = index.as_query_engine()
        with pytest.raises(InvalidQuery, match=r"expected a text.*, a QueryBundle"):
            engine.query(query)
        with pytest.raises(InvalidQuery, match=r"expected a text.*, a QueryBundle"):
            await engine.aquery(query)


@pytest.mark.parametrize("is_async", [False, True])
async def test_image_query_answers_from_pictures_like_one(tmp_path, paint, is_async):
    with MultiModalQdrantIndex.open(
        tmp_path / "store", embed_model=ColourEncoder()
    ) as index:
        index.insert(
            [
                Document(text="A red text, that is no picture."),
                ImageDocument(image_path=str(paint("red")), text="something red"),
                ImageDocument(image_path=str(paint("blue")), text="something blue"),
            ]
        )
        engine = index.as_query_engine(None, top_k=1)
        ask = engine.aimage_query if is_async else engine.image_query
        # "blue" is what is asked, and not what is searched for.
        asked = ask(paint("red"), "Is it blue?")
        response = await asked if is_async else asked
    (source,) = response.source_nodes
    assert source.node.get_content() == "something red"
    assert response.metadata["requested"] == ["image→image"]


async def test_image_query_needs_a_retriever_of_pictures(tmp_path, paint):
    with MultiModalQdrantIndex.open(tmp_path / "store") as index:
        engine = index.as_query_engine(None)
    engine = engine.with_retriever(_NoPictures())
    with pytest.raises(InvalidSetting, match="expected MultiModalRetriever"):
        engine.image_query(paint("red"), "What is it?")
    with pytest.raises(InvalidSetting, match="expected MultiModalRetriever"):
        await engine.aimage_query(paint("red"), "What is it?")


class _NoPictures(BaseRetriever):
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return []
