"""LlamaIndex's verbs on an index: they do what they do on an index of LlamaIndex's."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import Document, ImageNode, NodeRelationship, TextNode
from llama_index.core.storage.docstore.types import RefDocInfo

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.stores.encoder_card import record_in

from ..support.indexes import KINDS, inline, pictures, texts


def test_every_public_name_of_llamaindex_is_there_or_says_what_to_use(open_index):
    index = open_index()
    names = [n for n in dir(MultiModalVectorStoreIndex) if not n.startswith("_")]
    assert len(names) > 30
    for name in names:
        if hasattr(index, name):
            theirs = getattr(MultiModalVectorStoreIndex, name)
            ours = inspect.getattr_static(index, name)
            assert isinstance(ours, property) == isinstance(theirs, property), name
            assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(
                theirs
            ), name
            continue
        with pytest.raises(AttributeError, match=r"[A-Z][^.]+\. [A-Z]|[a-z]\.$"):
            getattr(index, name)


def test_other_names_are_unknown_as_ever(open_index):
    index = open_index()
    with pytest.raises(AttributeError, match="'MultiModalQdrantIndex'.*'colour'"):
        index.colour  # noqa: B018
    assert not hasattr(index, "docstore")


@KINDS
def test_an_index_has_its_stores_encoders_and_their_id(kind, open_index, encoder):
    index = open_index(kind)
    assert index.vector_store is index.channels[0].vector_store
    assert index.image_vector_store is index.channels[1].vector_store
    assert index.embed_model is index.image_embed_model is encoder
    if kind == "edge":
        assert len(index.index_id) == 32
        return
    client, name = index.vector_store.client, index.vector_store.collection_name
    known = record_in(client.get_collection(name).config.metadata, name)
    assert index.index_id == known["index_id"]


def test_id_of_an_index_stays_with_its_store(tmp_path, open_index):
    ids = []
    for _ in range(2):
        with open_index(path=tmp_path / "store") as index:
            ids.append(index.index_id)
    assert ids[0] == ids[1]


# Nodes


@KINDS
def test_nodes_are_inserted_whole_and_deleted_by_any_of_their_ids(kind, open_index):
    index = open_index(kind)
    made_up, own = TextNode(text="red " * 900), TextNode(text="green", id_="sku 7")
    picture = ImageNode(image=inline("blue"), text="sky", id_="pic")
    assert index.insert_nodes([made_up, own, picture]).n_added == 4
    assert len(texts(index)) == 3
    assert index.delete_nodes([made_up.node_id]) == 1
    assert texts(index) == ["green", "sky"]
    stored = min(index.vector_store.get_nodes(), key=lambda node: node.text)
    assert index.delete_nodes([stored.node_id.upper(), stored.node_id]) == 1
    assert index.delete_nodes(["pic", "unknown", "7"]) == 2, "with its words"
    assert texts(index) == pictures(index) == []
    assert index.delete_nodes([]) == 0


def test_nodes_are_deleted_by_the_id_they_came_with_in_another_process(
    open_index, tmp_path
):
    node = TextNode(text="red")
    with open_index(path=tmp_path / "store") as index:
        index.insert_nodes([node, TextNode(text="blue")])
    with open_index(path=tmp_path / "store") as index:
        assert index.delete_nodes([node.node_id]) == 1
        assert texts(index) == ["blue"]


def test_made_up_ids_of_nodes_change_nothing_when_inserted_again(open_index, encoder):
    index = open_index()
    index.insert_nodes([TextNode(text="red")])
    (first,) = index.vector_store.get_nodes()
    encoder.taken()
    report = index.insert_nodes([TextNode(text="red")])
    assert (report.n_added, report.n_unchanged, encoder.taken()) == (0, 1, (0, 0))
    (second,) = index.vector_store.get_nodes()
    assert second.metadata == first.metadata


def test_a_document_is_given_as_items(open_index):
    index = open_index()
    with pytest.raises(InvalidSetting, match=r"no 'document'\. Use items\."):
        index.insert(document=Document(text="red"))
    assert texts(index) == []


def test_documents_are_no_nodes(open_index):
    with pytest.raises(InvalidSetting, match=r"insert\(\) takes both"):
        open_index().insert_nodes([Document(text="red")])


# Documents


@KINDS
def test_refreshed_documents_are_those_that_are_new_or_changed(
    kind, open_index, encoder
):
    index = open_index(kind)
    documents = [Document(text=c, id_=c) for c in ("red", "green", "blue")]
    assert index.refresh_ref_docs(documents[:2]) == [True, True]
    documents[1] = Document(text="yellow", id_="green")
    encoder.taken()
    assert index.refresh_ref_docs(
        documents, update_kwargs={"delete_kwargs": {"delete_from_docstore": True}}
    ) == [False, True, True]
    assert encoder.taken() == (2, 0)
    assert texts(index) == ["blue", "red", "yellow"]
    assert index.refresh_ref_docs(documents) == [False] * 3


def test_a_document_that_only_lost_text_is_refreshed(open_index):
    index = open_index()
    long = "\n\n".join(f"Part {n}. " + "red " * 190 for n in range(3))
    index.insert(Document(text=long, id_="a"))
    before = texts(index)
    short = long.partition("\n\nPart 2")[0]
    assert index.refresh_ref_docs([Document(text=short, id_="a")]) == [True]
    assert set(texts(index)) < set(before)


def test_what_cannot_be_read_is_not_refreshed(open_index, caplog):
    index = open_index()
    unreadable = Document(text="half \ud800", id_="a")
    assert index.refresh_ref_docs([unreadable, Document(text="red")]) == [False, True]
    assert "half a character" in caplog.text


def test_updated_document_takes_the_place_of_the_old(open_index):
    index = open_index()
    index.insert(Document(text="red", id_="a"))
    index.update_ref_doc(
        Document(text="blue", id_="a"), delete_kwargs={"delete_from_docstore": True}
    )
    assert texts(index) == ["blue"]


@pytest.mark.parametrize(
    "how",
    [
        {"update_kwargs": {"delete_kwargs": {"nodes_too": True}}},
        {"update_kwargs": {"other_kwargs": {}}},
        {"insert_kwargs": {"batch_size": 2}},
        {"other_kwargs": {}},
    ],
)
def test_unknown_keywords_are_refused_and_nothing_is_written(open_index, how):
    index = open_index()
    with pytest.raises(InvalidSetting, match="takes no"):
        index.refresh_ref_docs([Document(text="red")], **how)
    assert texts(index) == []


@KINDS
def test_documents_are_listed_with_their_nodes(kind, open_index):
    index = open_index(kind)
    plain = Document(text="red", id_="a", metadata={"price": 1})
    made_up = Document(text="green")
    index.insert([plain, made_up, ImageNode(image=inline("blue"), id_="pic")])
    info = index.ref_doc_info
    assert sorted(info) == index.ref_doc_ids()
    assert len(info) == 3
    assert isinstance(info["a"], RefDocInfo)
    assert info["a"].metadata["price"] == 1
    stored = {n.node_id: n.ref_doc_id for n in index.vector_store.get_nodes()}
    for node_id in info["a"].node_ids:
        assert stored.pop(node_id) == "a"
    ((node_id, ref_doc_id),) = stored.items()
    assert info[made_up.id_] is info[ref_doc_id] is info.get(made_up.id_)
    assert info[made_up.id_].node_ids == [node_id]
    assert made_up.id_ in info
    assert "b" not in info
    assert info.get("b") is None
    with pytest.raises(KeyError):
        info["b"]


def test_verbs_do_the_same_in_an_event_loop(open_index):
    index = open_index()
    (red, blue) = (Document(text=t, id_=t) for t in ("red", "blue"))
    green = TextNode(text="green", id_="green")

    async def all_of_them() -> list[object]:
        return [
            (await index.ainsert(red)).n_added,
            (await index.ainsert_nodes([green])).n_added,
            await index.arefresh_ref_docs([red, blue]),
            (await index.aupdate_ref_doc(Document(text="cyan", id_="red"))).n_removed,
            await index.adelete_nodes(["green"]),
            await index.adelete_ref_doc("blue", delete_from_docstore=True),
        ]

    assert asyncio.run(all_of_them()) == [1, 1, [False, True], 1, 1, 1]
    assert texts(index) == ["cyan"]
    assert index.adelete_nodes.__name__ == "adelete_nodes"


def test_nodes_of_a_splitter_belong_to_its_document(open_index):
    from llama_index.core.node_parser import SentenceSplitter

    index = open_index()
    document = Document(text="red " * 900)
    nodes = SentenceSplitter(chunk_size=200).get_nodes_from_documents([document])
    assert nodes[0].relationships[NodeRelationship.SOURCE].node_id == document.id_
    index.insert_nodes(nodes)
    n_nodes = len(texts(index))
    assert len(index.ref_doc_info[document.id_].node_ids) == n_nodes
    assert index.delete_ref_doc(document.id_) == n_nodes
