"""The writer: batches, bad nodes, broken encoders, and documents of any size."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import (
    ImageNode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores import SimpleVectorStore
from PIL import Image
from qdrant_client import QdrantClient

from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import InvalidSetting, InvalidVector, MissingExtra
from llama_index_mmrag.ingestion import Problem, SourceRecord
from llama_index_mmrag.ingestion.encoding import FAILURES_OF_AN_ENCODER, encode_nodes
from llama_index_mmrag.ingestion.records import UpsertReport
from llama_index_mmrag.ingestion.writer import Writer
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.collection_of import collection_of
from llama_index_mmrag.stores.edge_collection import EdgeCollection
from llama_index_mmrag.stores.server import open_server_collection

from ..support.colours import channel
from ..support.indexes import painted

Channels = dict[str, Channel]


class Fallible(ColourEncoder):
    """The colour encoder, except for texts with certain words."""

    _n_calls: int = PrivateAttr(default=0)
    _answers: dict[str, Callable[[], list[float]]] = PrivateAttr(default_factory=dict)

    def _get_text_embedding(self, text: str) -> list[float]:
        self._n_calls += 1
        for word, answer in self._answers.items():
            if word in text:
                return answer()
        return super()._get_text_embedding(text)

    def answer(self, word: str, with_: Callable[[], list[float]]) -> Fallible:
        self._answers[word] = with_
        return self


def refuse() -> list[float]:
    msg = "no such model"
    raise ConnectionError(msg)


def fails_at(word: str) -> Fallible:
    return Fallible(modality_gap=0.75).answer(word, refuse)


def node(text: str, ref_doc_id: str = "doc", **fields: Any) -> TextNode:
    return TextNode(
        id_=str(uuid.uuid5(uuid.NAMESPACE_URL, f"{ref_doc_id} {text}")),
        text=text,
        metadata={"modality": "text"},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=ref_doc_id)},
        **fields,
    )


def image(path: Path) -> ImageNode:
    return ImageNode(
        id_=str(uuid.uuid5(uuid.NAMESPACE_URL, path.name)),
        image_path=str(path),
        metadata={"modality": "image"},
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=str(path))},
    )


def record(*texts: str, ref_doc_id: str = "doc") -> SourceRecord:
    nodes = tuple(node(text, ref_doc_id) for text in texts)
    return SourceRecord(ref_doc_id, nodes, whole=True)


@pytest.fixture
def open_channels(open_store) -> Callable[..., Channels]:
    def channels(encoder: ColourEncoder | None = None) -> Channels:
        encoder = encoder or ColourEncoder(modality_gap=0.75)
        return {n: channel(n, open_store("edge"), encoder) for n in ("text", "image")}

    return channels


def stored(channels: Channels, name: str = "text") -> list[str]:
    return sorted(n.get_content() for n in channels[name].vector_store.get_nodes())


def test_report_is_a_sentence():
    report = UpsertReport(2, 5, 1, 3, problems=[Problem("a", "b")])
    assert str(report) == (
        "2 documents: 5 nodes added, 1 unchanged, 3 removed, 1 skipped"
    )


@pytest.mark.parametrize("nodes_per_write", [1, 2, 3, 1000])
def test_size_of_batches_does_not_show(nodes_per_write, open_channels):
    channels = open_channels()
    report = Writer(channels).write(
        [
            record("red", "blue", ref_doc_id="a"),
            record(ref_doc_id="empty"),
            Problem("file", "unreadable"),
            record("green", ref_doc_id="b"),
            record("cyan", ref_doc_id="a"),
        ],
        nodes_per_write=nodes_per_write,
    )
    assert stored(channels) == ["cyan", "green"]
    assert (report.n_documents, report.ref_doc_ids) == (2, ["a", "empty", "b"])
    assert report.problems == [Problem("file", "unreadable")]


def test_record_without_nodes_removes_what_was_there(open_channels):
    channels = open_channels()
    Writer(channels).write([record("red", "blue"), record("green", ref_doc_id="b")])
    report = Writer(channels).write([record()])
    assert (report.n_documents, report.n_removed, stored(channels)) == (0, 2, ["green"])


def test_one_bad_text_is_reported_and_costs_few_calls(open_channels, caplog):
    encoder = fails_at("bad")
    channels = open_channels(encoder)
    texts = [f"red {n}" for n in range(255)]
    with caplog.at_level(logging.WARNING):
        report = Writer(channels).write([record(*texts[:99], "bad", *texts[99:])])
    assert (report.n_added, len(stored(channels))) == (255, 255)
    assert report.problems == [Problem("doc", "no such model")]
    assert "Skipped doc: no such model" in caplog.text
    # each half is asked for again: 8 times, as 2^8 = 256, never node by node
    assert encoder._n_calls < 255 * 3


def test_encoder_that_always_fails_raises_once_and_soon(open_channels, caplog):
    encoder = fails_at("red")
    channels = open_channels(encoder)
    with pytest.raises(ConnectionError, match="no such model"):
        Writer(channels).write([record(*(f"red {n}" for n in range(300)))])
    assert caplog.messages == []
    assert encoder._n_calls < 4 * FAILURES_OF_AN_ENCODER
    assert stored(channels) == []


@pytest.mark.parametrize("n_bad", [1, 2, FAILURES_OF_AN_ENCODER - 1])
@pytest.mark.parametrize("good", [[], ["red"]])
def test_a_few_texts_that_fail_are_problems_however_many(n_bad, good, open_channels):
    channels = open_channels(fails_at("bad"))
    bad = [f"bad {number}" for number in range(n_bad)]
    report = Writer(channels).write([record(*bad[:1], *good, *bad[1:])])
    assert report.problems == [Problem("doc", "no such model")] * n_bad
    assert stored(channels) == good


def test_encoder_that_breaks_on_the_way_raises_and_keeps_what_is_written(open_channels):
    channels = open_channels(fails_at("bad"))
    good, bad = ([f"{word} {n}" for n in range(20)] for word in ("red", "bad"))
    with pytest.raises(ConnectionError):
        Writer(channels).write(
            [record(*good, ref_doc_id="a"), record(*bad, ref_doc_id="b")],
            nodes_per_write=20,
        )
    assert len(stored(channels)) == 20


def test_document_of_which_nothing_can_be_encoded_stays_as_it_was(open_channels):
    channels = open_channels(fails_at("bad"))
    before = [record("red", "blue"), record("green", ref_doc_id="b")]
    Writer(channels).write(before)
    report = Writer(channels).write([record("bad 1"), record("cyan", ref_doc_id="b")])
    assert (report.n_added, report.n_removed, len(report.problems)) == (1, 1, 1)
    assert stored(channels) == ["blue", "cyan", "red"]
    assert Writer(channels).write([record("white")]).n_removed == 2


def test_missing_extra_is_never_a_problem_of_a_node(open_channels):
    def missing() -> list[float]:
        raise MissingExtra.of("onnxruntime", extra="offline", needed_for="The encoder")

    channels = open_channels(Fallible().answer("red", missing))
    with pytest.raises(MissingExtra, match=r"llama-index-mmrag\[offline\]"):
        Writer(channels).write([record("red")])


def test_pictures_that_are_gone_when_they_are_encoded_are_problems(
    open_channels, tmp_path
):
    channels = open_channels()
    paths = [tmp_path / "gone.png", tmp_path / "also gone.png"]
    records = [SourceRecord(str(p), (image(p),), whole=True) for p in paths]
    report = Writer(channels).write([*records, record("red")])
    assert [problem.source for problem in report.problems] == list(map(str, paths))
    assert (stored(channels), stored(channels, "image")) == (["red"], [])


def test_picture_that_only_decoding_finds_broken_is_a_problem(open_channels, tmp_path):
    buffer = BytesIO()
    Image.effect_noise((64, 64), 80).save(buffer, "JPEG")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(buffer.getvalue()[:600])
    good = [painted(tmp_path, "red", name=f"{n}.png") for n in range(5)]
    pictures = [image(path) for path in (*good, broken)]
    channels = open_channels()
    records = [SourceRecord(n.image_path or "", (n,), whole=True) for n in pictures]
    report = Writer(channels).write(records)
    assert [problem.source for problem in report.problems] == [str(broken)]
    assert report.n_added == 5


@pytest.mark.parametrize(
    "vector", [[float("nan")] * 4, [0.0] * 4, [float("inf"), 0, 0, 0]]
)
def test_vector_without_a_direction_costs_its_node_only(vector, open_channels):
    channels = open_channels(Fallible().answer("bad", lambda: vector))
    report = Writer(channels).write([record("red", "bad", "blue")])
    (problem,) = report.problems
    assert "without a direction" in problem.reason
    assert stored(channels) == ["blue", "red"]


def test_vector_of_another_size_is_an_error_and_nothing_is_written(open_channels):
    channels = open_channels(Fallible().answer("odd", lambda: [1.0, 0.0]))
    with pytest.raises(InvalidVector, match="2 numbers; this store holds vectors of 4"):
        Writer(channels).write([record("red", "odd")])
    assert stored(channels) == []


def test_encoder_that_loses_inputs_is_an_error(open_channels):
    class Losing(ColourEncoder):
        def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
            return super()._get_text_embeddings(texts)[:-1]

    texts = [f"red {n}" for n in range(FAILURES_OF_AN_ENCODER)]
    with pytest.raises(InvalidVector, match="made 0 vectors of 1 input"):
        Writer(open_channels(Losing())).write([record(*texts)])


def test_texts_and_pictures_of_one_channel_keep_their_order(open_channels, tmp_path):
    nodes = [
        node("blue"),
        image(painted(tmp_path, "red")),
        node("red"),
        image(painted(tmp_path, "blue")),
    ]
    mixed = open_channels()["image"]
    assert encode_nodes(mixed, nodes) == [
        [0.0, 0.0, 1.0, 0.0],
        pytest.approx([0.8, 0.0, 0.0, 0.6]),
        [1.0, 0.0, 0.0, 0.0],
        pytest.approx([0.0, 0.0, 0.8, 0.6]),
    ]
    assert encode_nodes(mixed, []) == []


def test_picture_for_an_encoder_of_texts_says_what_to_give(open_channels, tmp_path):
    texts_only = open_channels(MockEmbedding(4))["image"]
    with pytest.raises(InvalidSetting, match="'image' got pictures.*MultiModalEmb"):
        encode_nodes(texts_only, [image(painted(tmp_path, "red"))])


@pytest.mark.parametrize("name", ["text", "image"])
def test_channel_that_stands_alone_is_written(name, open_channels, tmp_path):
    nodes = [node("red") if name == "text" else image(painted(tmp_path, "red"))]
    channels = {name: open_channels()[name]}
    came = SourceRecord("doc", tuple(nodes), whole=True)
    assert Writer(channels).write([came]).n_added == 1
    again = SourceRecord("doc", tuple(nodes), whole=False)
    assert Writer(channels).write([again]).n_unchanged == 1


def test_document_of_more_than_9999_nodes_is_replaced_whole():
    # QdrantVectorStore.get_nodes ends silently at 9,999
    client = QdrantClient(":memory:")
    store = open_server_collection(client, "text", dim=4)
    channels = {"text": channel("text", store, ColourEncoder(modality_gap=0.75))}
    old = [node(f"red {n}", embedding=[1.0, 0.0, 0.0, 0.0]) for n in range(10_050)]
    store.add([*old, node("blue", "other", embedding=[0.0, 0.0, 1.0, 0.0])])
    assert len(collection_of(store).ids_of_documents(["doc"])) == 10_050
    assert collection_of(store).document_ids() == {"doc", "other"}
    report = Writer(channels).write([record("green")])
    assert (report.n_added, report.n_removed) == (1, 10_050)
    assert client.count("text").count == 2
    client.close()


def test_document_of_more_nodes_than_a_write_goes_in_whole(open_channels):
    channels = open_channels()
    texts = [f"red {n}" for n in range(2_500)]
    assert Writer(channels).write([record(*texts)]).n_added == 2_500
    assert Writer(channels).write([record(*texts)]).n_unchanged == 2_500
    assert Writer(channels).write([record("red 7")]).n_removed == 2_499


def test_any_store_of_llamaindex_that_gives_its_nodes_will_do(open_channels):
    class Keeping(SimpleVectorStore):
        """LlamaIndex's in-memory store, which does not keep nodes, with nodes."""

        stores_text: bool = True
        _kept: dict[str, Any] = PrivateAttr(default_factory=dict)

        def add(self, nodes: Any, **kwargs: Any) -> list[str]:
            self._kept |= {n.node_id: n for n in nodes}
            return super().add(nodes, **kwargs)

        def get_nodes(self, node_ids: Any = None, filters: Any = None) -> list[Any]:
            kept = [self._kept[i] for i in node_ids or self._kept if i in self._kept]
            if filters is None:
                return kept
            (condition,) = filters.filters
            return [n for n in kept if n.ref_doc_id in condition.value]

        def delete_nodes(self, node_ids: Any = None, **kwargs: Any) -> None:
            for node_id in node_ids:
                del self._kept[node_id]

    store = Keeping()
    channels = {"text": channel("text", store, ColourEncoder())}
    writer = Writer(channels)
    writer.write([record("red", "blue"), record("green", ref_doc_id="b")])
    report = writer.write([record("red")])
    assert (report.n_unchanged, report.n_removed) == (1, 1)
    assert stored(channels) == ["green", "red"]
    assert collection_of(store).document_ids() == {"doc", "b"}


def test_document_is_written_with_one_read_of_each_collection(
    open_channels, monkeypatch
):
    channels = open_channels()
    asked = []
    for name in ("ids_of_documents", "existing", "nodes", "nodes_where"):
        read = getattr(EdgeCollection, name)

        def watched(self, *given, read=read, name=name, **how):
            asked.append(name)
            return read(self, *given, **how)

        monkeypatch.setattr(EdgeCollection, name, watched)
    for texts in (("red", "blue"), ("red", "green")):
        asked.clear()
        Writer(channels).write([record(*texts)])
        assert asked == ["ids_of_documents"] * 2
    assert stored(channels) == ["green", "red"]
