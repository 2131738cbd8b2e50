"""Ids: whatever their spelling and however many collections share them."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from llama_index_mmrag.errors import AllRoutesFailed
from llama_index_mmrag.stores import QdrantEdgeVectorStore
from llama_index_mmrag.stores.collection_of import collection_of

from ..support.colours import channel, ids_of, retriever_of, text_node, uid, why

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
