"""One index asked, by many threads, asynchronously, and after it was closed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from llama_index.core.llms import MockLLM
from llama_index.core.schema import Document, ImageNode

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    MmragError,
    StoreClosed,
)
from llama_index_mmrag.nodes.node import modality_of

from ..support.indexes import contents, inline


@pytest.mark.parametrize("kind", ["edge", "local"])
def test_four_writers_and_four_readers_lose_nothing(kind, open_index):
    index = open_index(kind)
    index.insert(Document(text="red", id_="first"))
    retriever = index.as_retriever(top_k=3)

    def write(writer: int) -> int:
        return sum(
            index.insert(Document(text="blue", id_=f"{writer}-{n}")).n_added
            for n in range(8)
        )

    def read(_: int) -> bool:
        return all(
            retriever.retrieve("red")[0].node.get_content() == "red" for _ in range(12)
        )

    with ThreadPoolExecutor(8) as threads:
        written = threads.map(write, range(4))
        found = threads.map(read, range(4))
        assert (sum(written), all(found)) == (32, True)
    assert len(index.ref_doc_ids()) == 33


@pytest.mark.parametrize("kind", ["edge", "local"])
def test_as_many_entities_come_as_were_asked_for(kind, open_index):
    index = open_index(kind)
    index.insert([Document(text=f"red {n}", id_=f"d{n}") for n in range(60)])
    assert len(index.as_retriever(top_k=50).retrieve("red")) == 50
    engine = index.as_query_engine(MockLLM(), max_images=0, top_k=20)
    assert len(engine.query("red").source_nodes) == 20


async def test_asynchronous_inserts_do_what_the_others_do(open_index, folder):
    one, other = open_index(), open_index()
    await one.ainsert([Document(text="red")])
    await one.ainsert_directory(folder)
    other.insert([Document(text="red")])
    other.insert_directory(folder)
    assert contents(one) == contents(other)


def test_closed_index_says_so(open_index):
    index = open_index()
    retriever = index.as_retriever()
    index.close()
    index.close()
    for use in (
        lambda: index.insert(Document(text="red")),
        index.ref_doc_ids,
        lambda: index.delete_ref_doc("a"),
    ):
        with pytest.raises(StoreClosed, match="closed"):
            use()
    with pytest.raises(MmragError, match="closed"):
        retriever.retrieve("red")


def test_progress_bar_works_without_a_terminal(open_index, folder, capfd):
    index = open_index()
    report = index.insert_directory(folder, show_progress=True)
    assert report.n_added == 4
    said = capfd.readouterr()
    assert "Indexing: 100%" in said.err
    assert said.out == ""


def test_answer_cites_what_the_index_found(filled):
    response = filled.as_query_engine(top_k=2).query("red")
    assert [modality_of(n.node) for n in response.source_nodes][:2] == ["text", "image"]
    assert "[1]" in str(response)


def test_agent_tool_searches_this_index(filled):
    output = filled.as_tool().call("red")
    assert "A red one." in output.content


def test_retriever_defaults_are_calibrated_and_complete(filled):
    retriever = filled.as_retriever()
    assert retriever.fusion.describe() == "calibrated_sum(floor=3)"
    hits = filled.as_retriever(complete_entities=False, top_k=1).retrieve("green")
    assert [hit.node.get_content() for hit in hits] == ["green grass"]


@pytest.mark.parametrize("query", ["", "   "])
def test_empty_query_is_refused(query, open_index):
    with pytest.raises(MmragError, match="neither words nor a picture"):
        open_index().as_retriever().retrieve(query)


def test_offline_encoder_is_the_default(tmp_path):
    pytest.importorskip("onnxruntime")
    with MultiModalQdrantIndex.open(tmp_path / "store") as index:
        index.insert([Document(text="Tea is steeped."), ImageNode(image=inline("red"))])
        (hit, *_) = index.as_retriever().retrieve("How is tea made?")
        assert hit.node.get_content() == "Tea is steeped."
    with pytest.raises(CollectionMismatch):
        MultiModalQdrantIndex.open(tmp_path / "store", embed_model=ColourEncoder())


def test_query_engine_takes_the_settings_of_retriever_and_synthesizer(open_index):
    index = open_index()
    index.insert([ImageNode(image=inline("red"), text=f"red {n}") for n in range(3)])
    engine = index.as_query_engine(MockLLM(), max_images=0, top_k=2)
    response = engine.query("red")
    assert len(response.source_nodes) == 2
    assert response.metadata["shown"]["n_images"] == 0
    with pytest.raises(InvalidSetting, match="takes no 'no_such'"):
        index.as_query_engine(no_such=1)
    with pytest.raises(InvalidSetting, match="max_images"):
        index.as_query_engine(max_images=-1)
