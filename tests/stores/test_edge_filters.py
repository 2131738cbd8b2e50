"""When payload indexes serve a filter: only then may a search use the graph."""

from __future__ import annotations

import pytest
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from qdrant_client.http import models

from llama_index_mmrag.stores.edge_filters import filter_of

INDEXES = {
    "doc_id": "keyword",
    "kind": "keyword",
    "n": "integer",
    "price": "float",
    "note": "text",
    "day": "datetime",
    "seen": "bool",
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
        (leaf("day", ">", "2020-01-01"), True),
        (leaf("n", ">", "2020-01-01"), False),
        (leaf("n", ">", "2020"), True),
        (leaf("kind", "any", ["lamp"]), True),
        (leaf("kind", "all", ["lamp", "chair"]), True),
        (leaf("kind", "contains", "lamp"), True),
        (leaf("n", "contains", 3), True),
        (leaf("colour", "==", "red"), False),
        (leaf("colour", "is_empty", None), False),
    ],
)
def test_index_serves_a_condition_of_its_kind(condition, indexed):
    built = filter_of(MetadataFilters(filters=[condition]), indexes=INDEXES)
    assert built.indexed is indexed


def field(key: str, **how: object) -> models.FieldCondition:
    return models.FieldCondition(key=key, **how)


@pytest.mark.parametrize(
    ("condition", "indexed"),
    [
        (field("seen", match=models.MatchValue(value=True)), True),
        (field("n", match=models.MatchValue(value=1)), True),
        (field("n", match=models.MatchValue(value=True)), False),
        (field("kind", match=models.MatchAny(any=[])), False),
        (field("note", match=models.MatchPhrase(phrase="oak")), True),
        (field("kind", match=models.MatchPrefix(prefix="la")), False),
        (field("day", range=models.DatetimeRange(gt="2020-01-01")), True),
        (field("n", values_count=models.ValuesCount(gt=1)), False),
        (models.IsNullCondition(is_null=models.PayloadField(key="n")), True),
        (models.HasIdCondition(has_id=[1]), False),
        (models.HasVectorCondition(has_vector="text-dense"), False),
    ],
)
@pytest.mark.parametrize("clause", ["must", "should", "must_not", "min_should"])
def test_index_serves_a_condition_of_qdrants_own(condition, indexed, clause):
    some = [condition]
    if clause == "min_should":
        some = models.MinShould(conditions=some, min_count=1)
    built = filter_of(models.Filter(**{clause: some}), indexes=INDEXES)
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
