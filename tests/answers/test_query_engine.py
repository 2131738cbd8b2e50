"""What a review found: faults told apart, nothing consumed, nothing silent."""

from __future__ import annotations

from io import BytesIO

import pytest
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.schema import Document, NodeWithScore, QueryBundle

from llama_index_mmrag import (
    Channel,
    MultiModalFusionRetriever,
    MultiModalQdrantIndex,
    MultiModalQuery,
    RetrieverChannel,
    collect_degradations,
    provenance_of,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting
from llama_index_mmrag.nodes.node import modality_of

from ..support.colours import image_node, text_node


class Down(ColourEncoder):
    """An encoder whose service is down."""

    def _get_query_embedding(self, query: str) -> list[float]:
        raise ConnectionError("the encoder is down")


async def test_answer_that_found_nothing_says_what_could_not_be_searched(
    tmp_path, paint
):
    with MultiModalQdrantIndex.open(
        tmp_path / "store", embed_model=Down(), text_embed_model=ColourEncoder()
    ) as index:
        index.insert_directory(paint("red"))
        engine = index.as_query_engine()
        for response in (engine.query("red"), await engine.aquery("red")):
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
    retriever = MultiModalFusionRetriever(
        [
            Channel("text", vector_store=store, embed_model=encoder),
            RetrieverChannel("thumbnails", retriever=MissingThumbnail()),
        ]
    )
    (found,) = retriever.retrieve("red")
    assert [d.channel for d in provenance_of(found).degraded] == ["thumbnails"]


class Reading(ColourEncoder):
    """An encoder that reads a stream to its end, as many do."""

    def _get_image_embedding(self, img_file_path: object) -> list[float]:
        assert isinstance(img_file_path, BytesIO)
        return super()._get_image_embedding(BytesIO(img_file_path.read()))


def test_callers_stream_is_not_consumed(open_store, paint):
    store = open_store("edge", [image_node(paint("red"))])
    channel = Channel("image", vector_store=store, embed_model=Reading())
    retriever = MultiModalFusionRetriever([channel])
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
        ({"accepts": frozenset({"images"})}, r"accepts \['images'\]"),
        ({"mode": "fuzzy"}, "mode is 'fuzzy'"),
    ],
)
def test_unknown_words_in_settings_are_refused(open_store, encoder, settings, message):
    with pytest.raises(InvalidSetting, match=message):
        Channel(
            "text", vector_store=open_store("edge"), embed_model=encoder, **settings
        )


def test_unknown_word_for_degraded_is_refused(open_store, encoder):
    channel = Channel("text", vector_store=open_store("edge"), embed_model=encoder)
    with pytest.raises(InvalidSetting, match="on_degraded is 'Raise'"):
        MultiModalFusionRetriever([channel], on_degraded="Raise")


def test_whoever_collects_around_an_engine_hears_of_it_too(tmp_path, paint):
    with MultiModalQdrantIndex.open(
        tmp_path / "store", embed_model=Down(), text_embed_model=ColourEncoder()
    ) as index:
        index.insert_directory(paint("red"))
        with collect_degradations() as lost:
            index.as_query_engine().query("red")
        assert [degradation.route for degradation in lost] == ["text→image"]
