"""Documents whose id is random: the same document wherever that id was persisted."""

from __future__ import annotations

import uuid

import pytest
from llama_index.core.schema import Document, ImageDocument, TextNode

from llama_index_mmrag.index import MultiModalQdrantIndex
from llama_index_mmrag.ingestion.in_flight import IN_FLIGHT

from ..support.indexes import COLOURS, KINDS, all_of, inline, pictures, texts

RANDOM = str(uuid.uuid4())
OTHER = str(uuid.uuid4())


def full(*_: object) -> None:
    raise OSError("No space left on device")


@pytest.fixture
def anew(open_index, tmp_path):
    """Return a function that opens one store again, as another process would."""
    opened: list[MultiModalQdrantIndex] = []

    def again(**settings) -> MultiModalQdrantIndex:
        for index in opened:
            index.close()
        opened[:] = [open_index(path=tmp_path / "store", **settings)]
        return opened[0]

    return again


def test_changed_in_another_process_it_is_replaced(anew):
    anew().insert([Document(text="red", id_=RANDOM), Document(text="blue")])
    index = anew()
    report = index.insert(Document(text="green", id_=RANDOM))
    assert (report.n_added, report.n_removed) == (1, 1)
    assert texts(index) == ["blue", "green"]
    index = anew()
    assert index.delete_ref_doc(RANDOM) == 1
    assert texts(index) == ["blue"]


@KINDS
def test_changed_in_one_process_it_is_replaced_too(kind, open_index, encoder):
    index = open_index(kind)
    document = Document(text="red")
    index.insert(document)
    document.set_content("green")
    encoder.taken()
    index.insert(document)
    assert texts(index) == ["green"]
    assert encoder.taken() == (1, 0)
    assert index.delete_ref_doc(document.id_) == 1


def test_first_of_several_ids_of_one_content_stays(anew, encoder):
    anew().insert([Document(text="red", id_=RANDOM), Document(text="red", id_=OTHER)])
    index = anew()
    encoder.taken()
    report = index.insert(Document(text="red"))
    assert (report.n_unchanged, encoder.taken()) == (1, (0, 0))
    (node,) = all_of(index.channels[0])
    assert node.metadata["given_id"] == RANDOM
    assert index.delete_ref_doc(OTHER) == 0
    assert index.delete_ref_doc(RANDOM) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_each_of_several_ids_of_one_content_replaces_its_own(anew, fails, monkeypatch):
    def of(*colours: str) -> list[Document]:
        ids = zip(colours, (RANDOM, OTHER), strict=True)
        return [Document(text=text, id_=id_) for text, id_ in ids]

    anew().insert(of("green", "blue"))
    index = anew()
    if fails:
        monkeypatch.setattr(index.channels[0].collection, "add", full)
        with pytest.raises(OSError, match="No space"):
            index.insert(of("red", "red"))
        assert texts(anew()) == ["blue", "green"]
        return
    index.insert(of("red", "red"))
    assert texts(index) == ["red"]


def test_given_id_is_neither_embedded_nor_shown(anew):
    index = anew()
    index.insert(Document(text="red", id_=RANDOM))
    (node,) = all_of(index.channels[0])
    assert "given_id" in node.excluded_embed_metadata_keys
    assert "given_id" in node.excluded_llm_metadata_keys


def test_ids_that_are_stored_themselves_are_not_kept_twice(anew):
    index = anew()
    index.insert([Document(text="red", id_="mine"), TextNode(text="blue", id_="sku")])
    assert not any("given_id" in node.metadata for node in all_of(index.channels[0]))


def test_a_users_own_given_id_stays_findable(anew):
    index = anew()
    index.insert(Document(text="red", metadata={"given_id": "x"}))
    (node,) = all_of(index.channels[0])
    assert node.metadata["original_given_id"] == "x"


def test_pictures_of_a_replaced_document_go_with_it(anew):
    anew().insert(ImageDocument(image=inline("red"), text="apple", id_=RANDOM))
    index = anew()
    index.insert(ImageDocument(image=inline("blue"), text="sky", id_=RANDOM))
    assert texts(index) == ["sky"]
    assert len(pictures(index)) == 1


def test_one_call_does_what_several_would(anew, open_index):
    """In any mix of ids and contents; ids of their own among them."""
    ids = [RANDOM, OTHER, "mine", str(uuid.uuid4())]
    written = [(ids[n * n % 4], COLOURS[n * 5 % 3]) for n in range(12)]
    at_once, singly = anew(), open_index()
    at_once.insert([Document(text=text, id_=id_) for id_, text in written])
    for id_, text in written:
        singly.insert(Document(text=text, id_=id_))

    def stored(index: MultiModalQdrantIndex) -> dict[str, object]:
        nodes = all_of(index.channels[0])
        return {n.node_id: n.metadata.get("given_id") for n in nodes}

    assert stored(at_once) == stored(singly)


def test_a_retrieved_node_keeps_the_id_of_its_document(anew):
    index = anew()
    index.insert(Document(text="red", id_=RANDOM))
    (found,) = index.as_retriever().retrieve("red")
    found.node.metadata["price"] = 7
    index.insert(found.node)
    (node,) = all_of(index.channels[0])
    assert (node.metadata["price"], node.metadata["given_id"]) == (7, RANDOM)
    assert index.delete_ref_doc(RANDOM) == 1


def test_what_cannot_be_encoded_leaves_the_old_version(anew, encoder):
    class Refusing(type(encoder)):
        def _get_text_embedding(self, text: str) -> list[float]:
            if "green" in text:
                raise ValueError("no green")
            return super()._get_text_embedding(text)

    anew().insert(Document(text="red", id_=RANDOM))
    index = anew(embed_model=Refusing(modality_gap=0.75))
    report = index.insert([Document(text="green", id_=RANDOM), Document(text="cyan")])
    assert len(report.problems) == 1
    assert texts(index) == ["cyan", "red"]


@pytest.mark.parametrize("fails", ["add", "remove"])
def test_cut_off_it_is_there_in_one_version(anew, fails, monkeypatch, tmp_path):
    anew().insert(ImageDocument(image=inline("red"), text="red", id_=RANDOM))
    index = anew()
    collection = index.channels[1].collection  # the second that is written
    monkeypatch.setattr(collection, fails, full)
    with pytest.raises(OSError, match="No space"):
        index.insert(ImageDocument(image=inline("blue"), text="blue", id_=RANDOM))
    assert (tmp_path / "store" / IN_FLIGHT).exists()
    index = anew()
    assert texts(index) == ["red" if fails == "add" else "blue"]
    (picture,) = all_of(index.channels[1])
    assert picture.text == texts(index)[0]


@KINDS
def test_it_alone_is_searched(kind, open_index):
    index = open_index(kind)
    picture = ImageDocument(image=inline("red"), text="red", id_=OTHER)
    index.insert([Document(text="red", id_=RANDOM), picture, Document(text="red too")])
    for given, n_found in ((RANDOM, 1), (OTHER, 2)):
        retriever = index.as_retriever(doc_ids=[given])
        found = retriever.retrieve("red")
        assert {result.metadata["given_id"] for result in found} == {given}
        assert len(found) == n_found
