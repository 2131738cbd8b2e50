"""When payload indexes serve a filter: only then may a search use the graph."""

from __future__ import annotations

import pytest
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_mmrag.stores.edge_filters import filter_of

INDEXES = {
    "doc_id": "keyword",
    "kind": "keyword",
    "n": "integer",
    "price": "float",
    "note": "text",
}


def leaf(key: str, operator: str, value: object) -> MetadataFilter:
    return MetadataFilter(key=key, operator=FilterOperator(operator), value=value)


@pytest.mark.parametrize(
    ("condition", "indexed"),
    [
        (leaf("kind", "==", "lamp"), True),
        (leaf("kind", "!=", "lamp"), True),
        (leaf("kind", "in", ["lamp", "chair"]), True),
        (leaf("kind", "nin", ["lamp"]), True),
        (leaf("kind", "is_empty", None), True),
        (leaf("kind", "text_match", "la"), False),
        (leaf("kind", ">", 3), False),
        (leaf("kind", "==", 3), False),
        (leaf("n", "==", 3), True),
        (leaf("n", "in", [3, 4]), True),
        (leaf("n", "<=", 3), True),
        (leaf("n", "==", "3"), False),
        (leaf("price", "==", 1.5), True),
        (leaf("price", ">=", 1.5), True),
        (leaf("price", "==", 1), False),
        (leaf("note", "text_match", "oak"), True),
        (leaf("note", "==", "oak"), False),
        (leaf("colour", "==", "red"), False),
        (leaf("colour", "is_empty", None), False),
    ],
)
def test_index_serves_a_condition_of_its_kind(condition, indexed):
    built = filter_of(MetadataFilters(filters=[condition]), indexes=INDEXES)
    assert built.indexed is indexed


@pytest.mark.parametrize("condition", list(FilterCondition))
def test_one_field_without_index_makes_the_whole_filter_so(condition):
    inner = MetadataFilters(
        filters=[leaf("n", "<", 3), leaf("colour", "==", "red")], condition=condition
    )
    outer = MetadataFilters(filters=[leaf("kind", "==", "lamp"), inner])
    built = filter_of(outer, indexes=INDEXES)
    assert not built.indexed


def test_documents_are_indexed_and_arbitrary_nodes_are_not():
    by_document = filter_of(doc_ids=["a"], indexes=INDEXES)
    by_node = filter_of(node_ids=["a"], indexes=INDEXES)
    assert by_document.indexed
    assert not by_node.indexed
    without = filter_of(doc_ids=["a"], indexes={})
    assert not without.indexed


def test_nothing_given_is_no_filter():
    assert filter_of(indexes=INDEXES) is None
    assert filter_of(MetadataFilters(filters=[]), indexes=INDEXES) is None
    nested = MetadataFilters(filters=[MetadataFilters(filters=[])])
    assert filter_of(nested, indexes=INDEXES) is None
