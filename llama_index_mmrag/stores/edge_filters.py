"""LlamaIndex metadata filters as Qdrant Edge filters.

The conditions are those that LlamaIndex's `QdrantVectorStore` builds, so that a filter
means the same here and on a server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import qdrant_edge as qe
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_mmrag.errors import InvalidQuery, MmragError
from llama_index_mmrag.stores.edge_points import known_ids

if TYPE_CHECKING:
    from qdrant_edge import ConditionType

DOC_ID_KEY = "doc_id"
"""Payload key under which LlamaIndex keeps a node's source document."""

NO_DOCUMENT = "None"
"""What it stores there for a node without one."""

_RANGE_SCHEMAS = frozenset({"integer", "float"})
_MATCH_SCHEMAS = {str: frozenset({"keyword", "uuid"}), int: frozenset({"integer"})}
_TEXT_SCHEMAS = frozenset({"text"})
_RANGES = {
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
}


class UnsupportedQuery(MmragError, NotImplementedError):
    """A query mode or filter operator that this store does not have."""


@dataclass(frozen=True, slots=True)
class EdgeFilter:
    """A filter and whether payload indexes serve all of it.

    Attributes:
        condition: The engine's filter.
        indexed: True when every field has an index of the kind its condition needs.
            The search graph is connected under such a filter only; without it a
            search must be exact or it loses hits.
    """

    condition: qe.Filter
    indexed: bool


_Condition = tuple["ConditionType", bool]
"""What was built, and whether payload indexes serve all of it."""


def having(key: str) -> MetadataFilters:
    """Return the filter that nodes pass which have the metadata key."""
    without = MetadataFilter(key=key, value=None, operator=FilterOperator.IS_EMPTY)
    return MetadataFilters(filters=[without], condition=FilterCondition.NOT)


def filter_of(
    filters: MetadataFilters | None = None,
    *,
    node_ids: Sequence[str] | None = None,
    doc_ids: Sequence[str] | None = None,
    indexes: Mapping[str, str],
) -> EdgeFilter | None:
    """Return the filter that all given parts must pass, or None when none is given.

    Args:
        filters: Metadata conditions, nested at will.
        node_ids: Only these nodes. Ids that cannot be stored match nothing.
        doc_ids: Only nodes of these source documents.
        indexes: Payload index by field, as schema names ("keyword", "integer", ...).

    Raises:
        UnsupportedQuery: an operator that Qdrant has no condition for.
        InvalidQuery: a value that the operator cannot compare, or a malformed key.
    """
    if not (filters is None or isinstance(filters, MetadataFilters)):
        # Written out: a page's walk passes here.
        raise InvalidQuery(f"filters is {filters!r}; expected MetadataFilters or None.")
    must: list[ConditionType] = []
    indexed = True
    if doc_ids is not None:
        must.append(qe.FieldCondition(DOC_ID_KEY, match=qe.MatchAny(list(doc_ids))))
        indexed = DOC_ID_KEY in indexes
    if node_ids is not None:
        must.append(qe.HasIdCondition(set(known_ids(node_ids))))
        # The graph is not connected within an arbitrary set of ids.
        indexed = False
    nested = None if filters is None else _nested(filters, indexes)
    if nested is not None:
        must.append(nested[0])
        indexed = indexed and nested[1]
    return EdgeFilter(qe.Filter(must=must), indexed) if must else None


def _nested(filters: MetadataFilters, indexes: Mapping[str, str]) -> _Condition | None:
    parts = [
        part
        for item in filters.filters
        if (
            part := _nested(item, indexes)
            if isinstance(item, MetadataFilters)
            else _leaf(item, indexes)
        )
        is not None
    ]
    if not parts:
        return None
    built = [part for part, _ in parts]
    indexed = all(is_indexed for _, is_indexed in parts)
    if filters.condition is FilterCondition.OR:
        return qe.Filter(should=built), indexed
    if filters.condition is FilterCondition.NOT:
        return qe.Filter(must_not=built), indexed
    return qe.Filter(must=built), indexed


def _leaf(item: MetadataFilter, indexes: Mapping[str, str]) -> _Condition:
    operator = item.operator or FilterOperator.EQ
    build = _BUILDERS.get(operator)
    if build is None:
        raise UnsupportedQuery(
            f"Filter operator {operator.value!r} on {item.key!r} is not supported. "
            f"Expected one of {[known.value for known in _BUILDERS]}. An array field "
            "matches == and in when any of its elements does."
        )
    try:
        built, schemas = build(item)
    except (TypeError, ValueError) as error:
        raise InvalidQuery(
            f"Filter {item.key!r} {operator.value} {item.value!r} cannot be built: "
            f"{str(error).splitlines()[0]}. Expected a payload key (a.b for nested "
            "fields, in double quotes if it has spaces or dashes) and: for == strings "
            "or numbers; for !=, in and nin strings or whole numbers; for <, <=, > and "
            ">= numbers; for text_match a string."
        ) from error
    index = indexes.get(item.key)
    indexed = index is not None and (schemas is None or index in schemas)
    return built, indexed


_Built = tuple["qe.FieldCondition | qe.IsEmptyCondition", "frozenset[str] | None"]


def _equal(item: MetadataFilter) -> _Built:
    value = item.value
    if isinstance(value, float):
        exactly = qe.RangeFloat(gte=value, lte=value)
        return qe.FieldCondition(item.key, range=exactly), _RANGE_SCHEMAS
    if not isinstance(value, str | int):
        raise TypeError(f"{type(value).__name__} is neither a string nor a number")
    return qe.FieldCondition(item.key, match=qe.MatchValue(value)), _schemas([value])


def _any(item: MetadataFilter) -> _Built:
    values = _values(item)
    return qe.FieldCondition(item.key, match=qe.MatchAny(values)), _schemas(values)


def _none(item: MetadataFilter) -> _Built:
    values = _values(item)
    return qe.FieldCondition(item.key, match=qe.MatchExcept(values)), _schemas(values)


def _not_equal(item: MetadataFilter) -> _Built:
    values = [item.value]
    match = qe.MatchExcept(values)  # type: ignore[arg-type]  # checked by the engine
    return qe.FieldCondition(item.key, match=match), _schemas(values)


def _range(item: MetadataFilter) -> _Built:
    if not isinstance(item.value, int | float):
        raise TypeError(f"{type(item.value).__name__} is not a number")
    bound = qe.RangeFloat(**{_RANGES[item.operator]: float(item.value)})
    return qe.FieldCondition(item.key, range=bound), _RANGE_SCHEMAS


def _text(item: MetadataFilter) -> _Built:
    if not isinstance(item.value, str):
        raise TypeError(f"{type(item.value).__name__} is not a string")
    return qe.FieldCondition(item.key, match=qe.MatchText(item.value)), _TEXT_SCHEMAS


def _empty(item: MetadataFilter) -> _Built:
    return qe.IsEmptyCondition(item.key), None


def _values(item: MetadataFilter) -> list[str] | list[int]:
    # A bare value is split at commas: QdrantVectorStore does so.
    if isinstance(item.value, list):
        return item.value  # type: ignore[return-value]  # floats fail in the engine
    return str(item.value).split(",")


def _schemas(values: Sequence[object]) -> frozenset[str]:
    kinds = {type(value) for value in values}
    return _MATCH_SCHEMAS.get(kinds.pop(), frozenset()) if kinds else frozenset()


_BUILDERS: dict[FilterOperator, Callable[[MetadataFilter], _Built]] = {
    FilterOperator.EQ: _equal,
    FilterOperator.NE: _not_equal,
    FilterOperator.GT: _range,
    FilterOperator.GTE: _range,
    FilterOperator.LT: _range,
    FilterOperator.LTE: _range,
    FilterOperator.IN: _any,
    FilterOperator.NIN: _none,
    FilterOperator.TEXT_MATCH: _text,
    FilterOperator.TEXT_MATCH_INSENSITIVE: _text,
    FilterOperator.IS_EMPTY: _empty,
}
