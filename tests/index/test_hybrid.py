"""An index whose texts are searched by their words too, as they are written."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document
from qdrant_client import QdrantClient

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.compression import CompressSettings
from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidQuery, InvalidSetting
from llama_index_mmrag.index.repairing import repair_store
from llama_index_mmrag.stores import migrate
from llama_index_mmrag.stores.edge_engine import SPARSE_NAME

from ..support.damage import zero_the_vectors
from ..support.indexes import KINDS, CountingEncoder, inline
from ..support.killing import killed_at

N, CODE = 24, "red blue part AB0009"
THINGS = ("pump", "valve", "oak table", "fan", "copper pipe", "steel pipe")
QUERIES = ("red pump", "blue AB0009", "a blue pipe of steel", "oak tables", "the", CODE)


def documents() -> list[Any]:
    """Return pages that a colour encoder tells apart a little: each has its own mix."""
    return [
        Document(
            text=f"{'red ' * (i + 1)}{'blue ' * (N - i)}{THINGS[i % 6]}, part AB{i:04}",
            id_=f"document-{i}",
        )
        for i in range(N)
    ]


def filled(
    kind: str, open_index: Any, folder: Path = Path(), hybrid: bool = True
) -> dict[str, Any]:
    """Fill an index, and return where it is opened again."""
    where: dict[str, Any] = {"path": folder / "store"} if kind == "edge" else {}
    index = open_index(kind, hybrid=hybrid, **where)
    index.insert(documents())
    if where:
        index.close()
        return where
    store = index.channels[0].vector_store
    name = store.collection_name.removesuffix("-text")
    return {"client": store.client, "collection": name}


def texts(index: Any, query: str, **how: Any) -> list[str]:
    found = index.as_retriever(top_k=6, **how).retrieve(query)
    return [each.node.get_content() for each in found]


MODES: list[dict[str, Any]] = [
    {},
    {"vector_store_query_mode": "default"},
    {"vector_store_query_mode": "sparse"},
    {"vector_store_query_mode": "text_search"},
    {"vector_store_query_mode": "hybrid"},
    {"vector_store_query_mode": "hybrid", "hybrid_top_k": 3},
    {"vector_store_query_mode": "hybrid", "alpha": 0.0},
    {"vector_store_query_mode": "hybrid", "alpha": 0.4, "sparse_top_k": 12},
    {"vector_store_query_mode": "mmr"},
    {"vector_store_query_mode": "mmr", "mmr_threshold": 0.1},
]


@pytest.fixture
def hybrids(open_index) -> list[Any]:
    indexes = [open_index(kind, hybrid=True) for kind in ("edge", "local")]
    for index in indexes:
        index.insert(documents())
    return indexes


@pytest.mark.parametrize("how", MODES, ids=str)
def test_folder_and_server_find_the_same_in_the_same_order(how, hybrids):
    for query in QUERIES:
        edge, local = (texts(index, query, **how) for index in hybrids)
        assert edge == local
        assert len(edge) <= how.get("hybrid_top_k", 6)
        for index in hybrids:
            retriever = index.as_retriever(top_k=6, **how)
            found = asyncio.run(retriever.aretrieve(query))
            assert [each.node.get_content() for each in found] == edge


def test_part_number_is_found_by_its_words_alone(hybrids):
    for index in hybrids:
        assert "AB0009" in texts(index, CODE)[0]
        assert "AB0009" in texts(index, CODE, vector_store_query_mode="sparse")[0]
        by_vector = texts(index, CODE, vector_store_query_mode="default")
        assert "AB0009" not in by_vector[0]


def test_words_do_not_give_texts_more_say_against_pictures(open_index):
    from llama_index.core.schema import ImageNode

    scores = []
    for hybrid in (True, False):
        index = open_index(hybrid=hybrid)
        index.insert([*documents(), ImageNode(image=inline("red"), id_="picture")])
        found = index.as_retriever(top_k=20).retrieve("red pump AB0000")
        scores.append(sorted(each.score for each in found))
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.parametrize("kind", ["edge", "local"])
def test_query_of_stop_words_is_searched_by_meaning_alone(kind, open_index):
    index = open_index(kind, hybrid=True)
    index.insert(documents())
    assert texts(index, "the of") == texts(
        index, "the of", vector_store_query_mode="default"
    )
    assert texts(index, "the of", vector_store_query_mode="sparse") == []


def test_words_of_what_is_changed_or_deleted_go(open_index):
    index = open_index(hybrid=True)
    index.insert(documents())
    only = {"vector_store_query_mode": "sparse"}
    index.update_ref_doc(Document(text="a zeppelin", id_="document-9"))
    assert texts(index, "AB0009", **only) == []
    assert texts(index, "zeppelins", **only) == ["a zeppelin"]
    index.delete_ref_doc("document-9")
    assert texts(index, "zeppelins", **only) == []


@KINDS
def test_store_without_words_cannot_gain_them(kind, open_index, tmp_path, encoder):
    where = filled(kind, open_index, tmp_path, hybrid=False)
    with pytest.raises(
        CollectionMismatch, match="mmrag index DIR --store NEW --hybrid"
    ):
        MultiModalQdrantIndex.open(**where, embed_model=encoder, hybrid=True)
    with (
        MultiModalQdrantIndex.open(**where, embed_model=encoder) as again,
        pytest.raises(InvalidSetting, match="mmrag index DIR --store NEW --hybrid"),
    ):
        again.as_retriever(vector_store_query_mode="sparse")


@pytest.mark.parametrize("kind", ["edge", "local"])
def test_store_says_what_it_keeps(kind, open_index, tmp_path, encoder):
    where = filled(kind, open_index, tmp_path)
    with MultiModalQdrantIndex.open(**where, embed_model=encoder) as index:
        assert "AB0009" in texts(index, CODE)[0]
    with MultiModalQdrantIndex.open(
        **where, embed_model=encoder, hybrid=False
    ) as index:
        by_vector = texts(index, CODE, vector_store_query_mode="default")
        assert texts(index, CODE) == by_vector
        index.insert([Document(text="a zeppelin")])
    with MultiModalQdrantIndex.open(**where, embed_model=encoder) as index:
        by_words = texts(index, "zeppelins", vector_store_query_mode="sparse")
        assert by_words == ["a zeppelin"], "words are kept, whoever searches by them"


@pytest.mark.parametrize("kind", ["edge", "local"])
def test_other_analyser_is_refused_and_both_are_named(
    kind, open_index, tmp_path, encoder, monkeypatch
):
    where = filled(kind, open_index, tmp_path)
    monkeypatch.setattr(Bm25Encoder, "card", lambda _: {"name": "another"})
    said = "words of the.*text.* were encoded by .*bm25.*not by .*another"
    with pytest.raises(CollectionMismatch, match=said):
        MultiModalQdrantIndex.open(**where, embed_model=encoder)


def test_words_that_nothing_says_who_made_are_told_of(
    open_index, encoder, monkeypatch, caplog
):
    where = filled("local", open_index)
    client, name = where["client"], f"{where['collection']}-text"

    def forgetful(name: str) -> Any:  # as a server before 1.16 is
        info = QdrantClient.get_collection(client, name)
        info.config.metadata = None
        return info

    monkeypatch.setattr(client, "get_collection", forgetful)
    for hybrid, n_told in ((None, 1), (False, 1), (True, 0)):
        caplog.clear()
        with MultiModalQdrantIndex.open(**where, embed_model=encoder, hybrid=hybrid):
            told = [text for text in caplog.messages if "vectors of words" in text]
        assert len(told) == n_told
        assert all(f"{name!r}" in text and "hybrid=True" in text for text in told)


GERMAN = Bm25Encoder("german", avg_len=80)


@KINDS
@pytest.mark.parametrize("given", ["german", GERMAN], ids=["language", "encoder"])
def test_words_are_of_the_language_that_the_store_was_made_for(
    kind, given, open_index, tmp_path, encoder
):
    where = filled(kind, open_index, tmp_path, hybrid=given)
    asked = ("Häuser", "und", "Haus und Hof")
    for again in (None, True, given):
        how = {**where, "embed_model": encoder, "hybrid": again}
        with MultiModalQdrantIndex.open(**how) as index:
            index.insert([Document(text="Ein Haus und ein Garten.", id_="haus")])
            only = {"vector_store_query_mode": "sparse"}
            found = [len(texts(index, query, **only)) for query in asked]
            assert found == [1, 0, 1]
    other = "words of.* encoded by .*'german'.*not by .*'language': {}"
    for wrong, said in (("english", "'english'"), (Bm25Encoder(None), "None")):
        with pytest.raises(CollectionMismatch, match=other.format(said)):
            MultiModalQdrantIndex.open(**where, embed_model=encoder, hybrid=wrong)


def test_server_is_asked_as_often_at_opening_with_words_as_without(
    open_index, encoder, monkeypatch
):
    asked: list[str] = []
    described = QdrantClient.get_collection

    def counting(client: QdrantClient, name: str) -> Any:
        asked.append(name)
        return described(client, name)

    monkeypatch.setattr(QdrantClient, "get_collection", counting)
    n_asked = []
    for hybrid in (True, False):
        where = filled("local", open_index, hybrid=hybrid)
        asked.clear()
        MultiModalQdrantIndex.open(**where, embed_model=encoder)
        n_asked.append(asked.count(f"{where['collection']}-text"))
    assert n_asked == [7, 7]


def test_language_that_there_is_not_is_refused_with_those_that_there_are(tmp_path):
    for wrong in ("klingon", "", "German"):
        with pytest.raises(InvalidSetting, match=f"language is '{wrong}'.*'german'"):
            MultiModalQdrantIndex.open(tmp_path / "store", hybrid=wrong)
    with pytest.raises(InvalidSetting, match='hybrid="german"'):
        MultiModalQdrantIndex.open(tmp_path / "store", language="german")
    assert not (tmp_path / "store").exists()


def test_language_of_words_outlasts_compression_repair_and_migration(
    open_index, tmp_path, encoder
):
    root, client = tmp_path / "store", QdrantClient(":memory:")
    pages = [*documents(), Document(text="Ein Haus und ein Garten.")]
    with open_index(path=root, hybrid=GERMAN) as index:
        index.insert(pages)
        index.compress(CompressSettings(min_recall=0.5), apply=True)
    zero_the_vectors(next(root.glob("text*/shard-*")))
    repair_store(root, embed_model=encoder)
    with MultiModalQdrantIndex.open(root, embed_model=encoder) as index:
        for channel in index.channels:
            name = f"moved-{channel.name}"
            migrate(channel.vector_store, client, name, embed_model=channel.embed_model)
        only = {"vector_store_query_mode": "sparse"}
        assert index.channels[0].vector_store.words == GERMAN
        assert len(texts(index, "Häuser", **only)) == 1
    with MultiModalQdrantIndex.open(
        client=client, collection="moved", embed_model=encoder
    ) as index:
        assert len(texts(index, "Häuser", **only)) == 1


def found_by_words(root: Path, encoder: CountingEncoder) -> list[list[str]]:
    with MultiModalQdrantIndex.open(root, embed_model=encoder) as index:
        only = {"vector_store_query_mode": "sparse"}
        return [texts(index, query, **only) for query in QUERIES]


@pytest.fixture
def root(open_index, tmp_path) -> Path:
    with open_index(path=tmp_path / "store", hybrid=True) as index:
        index.insert(documents())
    return tmp_path / "store"


def test_repaired_store_keeps_its_words(root, encoder):
    before = found_by_words(root, encoder)
    zero_the_vectors(next((root / "text").glob("shard-*")))
    repair_store(root, embed_model=encoder)
    assert found_by_words(root, encoder) == before


def fill(root: str) -> None:
    with MultiModalQdrantIndex.open(
        root, embed_model=CountingEncoder(modality_gap=0.75), hybrid=True
    ) as index:
        index.insert(documents())


def test_killed_at_any_step_each_stored_text_has_its_words(tmp_path, encoder):
    step = 0
    while killed_at(step, fill, str(root := tmp_path / str(step))):
        with MultiModalQdrantIndex.open(
            root, embed_model=encoder, hybrid=True
        ) as index:
            folder = index.channels[0].vector_store.client
            pages = folder.scroll(None, payload=False, vector=True)
            assert all(r.vector[SPARSE_NAME].indices for page in pages for r in page)
            index.insert(documents())
            assert folder.count() == 24
            assert "AB0009" in texts(index, CODE)[0]
        step += 4
    assert step > 4


@pytest.mark.parametrize("kind", ["edge", "local"])
def test_whatever_is_asked_for_by_words_is_answered_or_refused_by_us(kind, open_index):
    index = open_index(kind, hybrid=True)
    index.insert(documents())
    # Local mode takes long for many words that differ; Edge has all of these.
    many = " ".join(f"word{n}" for n in range(10_000 if kind == "edge" else 200))
    asked = ("the of and", "😀", "x", "red " * 10_000, many, "\u200b\u200f", "a\0b")
    for mode in ("sparse", "text_search", "hybrid", "mmr"):
        for query in asked:
            n_found = len(texts(index, query, vector_store_query_mode=mode))
            by_words = mode in ("sparse", "text_search")
            assert n_found == (6 if not by_words or query.startswith("red") else 0)
    for alpha in (float("nan"), 1.5, -0.1, "x", True):
        with pytest.raises(InvalidSetting, match="alpha is .*at least 0 and at most 1"):
            index.as_retriever(vector_store_query_mode="hybrid", alpha=alpha)
    with pytest.raises(InvalidQuery, match="lone surrogates"):
        texts(index, "\ud800", vector_store_query_mode="sparse")
    with pytest.raises(InvalidSetting, match="expected 'default', 'sparse'"):
        index.as_retriever(vector_store_query_mode="bm25")


def test_pickled_index_is_searched_by_words(root, encoder):
    with MultiModalQdrantIndex.open(root, embed_model=encoder) as index:
        pickled = pickle.dumps(index)
        expected = texts(index, "AB0009")
    with pickle.loads(pickled) as again:
        assert texts(again, "AB0009") == expected


def test_engine_and_tool_take_a_mode(open_index):
    index = open_index(hybrid=True)
    index.insert(documents())
    how = {"vector_store_query_mode": "sparse", "top_k": 1}
    answer = index.as_query_engine(None, **how).query("AB0009")
    assert "AB0009" in answer.source_nodes[0].node.get_content()
    assert "AB0009" in str(index.as_tool(**how).call("AB0009"))


def test_pages_from_documents_take_hybrid(encoder):
    with MultiModalQdrantIndex.from_documents(
        documents(), embed_model=encoder, hybrid=True
    ) as index:
        assert "AB0009" in texts(index, CODE)[0]
