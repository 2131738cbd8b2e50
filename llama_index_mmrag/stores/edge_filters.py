"""Filters as Qdrant Edge has them, by way of the JSON that all kinds of Qdrant share.

The JSON's conditions are those that LlamaIndex's `QdrantVectorStore` builds, and a
collection on a server is asked with it too: a filter means the same here and there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import qdrant_edge as qe
from llama_index.core.bridge.pydantic import TypeAdapter
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_mmrag.errors import InvalidQuery, MmragError
from llama_index_mmrag.stores.edge_points import known_ids
from llama_index_mmrag.stores.edge_ranges import RANGES, is_of_dates
from llama_index_mmrag.stores.native import DOC_ID_KEY, NativeFilter, metadata_filters

if TYPE_CHECKING:
    from qdrant_edge import ConditionType

    from llama_index_mmrag.stores.native import FilterLike

NO_DOCUMENT = "None"
"""What it stores there for a node without one."""

_RANGES = {
    FilterOperator.GT: "gt",
    FilterOperator.GTE: "gte",
    FilterOperator.LT: "lt",
    FilterOperator.LTE: "lte",
}
_CLAUSES = {FilterCondition.OR: "should", FilterCondition.NOT: "must_not"}

Json = dict[str, Any]


class UnsupportedQuery(MmragError, NotImplementedError):
    """A query mode or a condition of a filter that this store does not have."""


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


def filter_of(
    filters: FilterLike | None = None,
    *,
    node_ids: Sequence[str] | None = None,
    doc_ids: Sequence[str] | None = None,
    indexes: Mapping[str, str],
) -> EdgeFilter | None:
    """Return the filter that all given parts must pass, or None when none is given.

    Args:
        filters: Conditions, as `metadata_filters` takes them.
        node_ids: Only these nodes. Ids that cannot be stored match nothing.
        doc_ids: Only nodes of these source documents.
        indexes: Payload index by field, as schema names ("keyword", "integer", ...).

    Raises:
        UnsupportedQuery: a condition that the engine does not have.
        InvalidQuery: a value that the operator cannot compare, or a malformed key.
    """
    if not (filters is None or isinstance(filters, MetadataFilters)):
        filters = metadata_filters(filters, error=InvalidQuery)
    must: list[tuple[ConditionType, bool]] = []
    if doc_ids is not None:
        match = qe.MatchAny(list(doc_ids))
        built = qe.FieldCondition(DOC_ID_KEY, match=match)
        must.append((built, DOC_ID_KEY in indexes))
    if node_ids is not None:
        # The graph is not connected within an arbitrary set of ids.
        must.append((qe.HasIdCondition(set(known_ids(node_ids))), False))
    if filters is not None and (asked := as_json(filters)) is not None:
        must.append(_condition(asked, indexes))
    if not must:
        return None
    indexed = all(is_indexed for _, is_indexed in must)
    return EdgeFilter(qe.Filter(must=[built for built, _ in must]), indexed)


# LlamaIndex's filters as Qdrant's JSON


def as_json(filters: MetadataFilters) -> Json | None:
    """Return filters as Qdrant's JSON; None where they have no conditions.

    Filters of Qdrant's own stand in it as they were given.

    Raises:
        InvalidQuery: a value that the operator cannot compare.
    """
    parts = [
        part
        for item in filters.filters
        if (part := as_json(item) if isinstance(item, MetadataFilters) else _leaf(item))
        is not None
    ]
    condition = filters.condition or FilterCondition.AND
    return {_CLAUSES.get(condition, "must"): parts} if parts else None


def _leaf(item: MetadataFilter) -> Any:
    if isinstance(item, NativeFilter):
        return item.native
    operator = item.operator or FilterOperator.EQ
    try:
        if operator in _RANGES:
            return {"key": item.key, "range": {_RANGES[operator]: _bound(item.value)}}
        return _BUILDERS[operator](item.key, item.value)
    except (TypeError, ValueError) as error:
        raise InvalidQuery(
            f"Filter {item.key!r} {operator.value} {item.value!r} cannot be built: "
            f"{error}. Expected for == and contains a string or a number; for != a "
            "string or a whole number; for in and nin a list of strings or of whole "
            "numbers, for any and all as well; for <, <=, > and >= a number or an ISO "
            "date; for text_match a string."
        ) from error


def _equal(key: str, value: object) -> Json:
    if isinstance(value, float):
        return {"key": key, "range": {"gte": value, "lte": value}}
    if not isinstance(value, str | int):
        raise TypeError(f"{type(value).__name__} is neither a string nor a number")
    return {"key": key, "match": {"value": value}}


def _any(key: str, value: object) -> Json:
    return {"key": key, "match": {"any": _values(value)}}


def _none(key: str, value: object) -> Json:
    return {"key": key, "match": {"except": _values(value)}}


def _not_equal(key: str, value: object) -> Json:
    return _none(key, [value])


def _any_of(key: str, value: object) -> Json:
    return _any(key, _several(value))


def _all_of(key: str, value: object) -> Json:
    return {"must": [_equal(key, one) for one in _several(value)]}


def _text(key: str, value: object) -> Json:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is not a string")
    return {"key": key, "match": {"text": value}}


def _empty(key: str, _: object) -> Json:
    return {"is_empty": {"key": key}}


def _bound(value: object) -> float | str:
    """Return a number, of a text that is one too, or a date as ISO 8601 has it."""
    if isinstance(value, int | float):
        return float(value)
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is neither a number nor a date")
    try:
        found = float(value)
    except ValueError:
        with_time: date = _ISO_DATE.validate_python(value)
        return with_time.isoformat()
    if not math.isfinite(found):
        raise ValueError(f"{value!r} is not finite")
    return found


_ISO_DATE: TypeAdapter[date] = TypeAdapter(datetime | date)


def _several(value: object) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise TypeError("it is no list of at least one value")
    return value


def _values(value: object) -> list[Any]:
    # A bare value is split at commas: QdrantVectorStore does so.
    values = value if isinstance(value, list) else str(value).split(",")
    kinds = {type(one) for one in values}
    if len(kinds) > 1 or not kinds <= {str, int}:
        raise TypeError("its values are neither all strings nor all whole numbers")
    return values


_BUILDERS: dict[FilterOperator, Callable[[str, object], Json]] = {
    FilterOperator.EQ: _equal,
    FilterOperator.CONTAINS: _equal,  # a list matches when one of its elements does
    FilterOperator.NE: _not_equal,
    FilterOperator.IN: _any,
    FilterOperator.NIN: _none,
    FilterOperator.ANY: _any_of,
    FilterOperator.ALL: _all_of,
    FilterOperator.TEXT_MATCH: _text,
    FilterOperator.TEXT_MATCH_INSENSITIVE: _text,
    FilterOperator.IS_EMPTY: _empty,
}


# Qdrant's JSON as the engine's conditions, each with whether payload indexes serve it


def _condition(part: Any, indexes: Mapping[str, str]) -> tuple[ConditionType, bool]:
    if not isinstance(part, dict):  # one of the client's models
        part = part.model_dump(exclude_none=True, by_alias=True)
    try:
        if "key" in part:
            return _field(part), _serves(part, indexes.get(part["key"]))
        if part.keys() <= {"must", "should", "must_not", "min_should"}:
            return _clauses(part, indexes)
        ((kind, what),) = part.items()
        if kind == "has_id":
            return qe.HasIdCondition(set(known_ids(map(str, what)))), False
        if kind == "has_vector":
            return qe.HasVectorCondition(what), False
        if kind == "nested":
            inner, _ = _clauses(what["filter"], {})
            return qe.NestedCondition(what["key"], inner), False
        if kind in _OF_A_KEY:
            return _OF_A_KEY[kind](what["key"]), what["key"] in indexes
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidQuery(
            f"The condition {part!r} cannot be built: {str(error).splitlines()[0]}. "
            "Expected a payload key (a.b for nested fields, in double quotes if it has "
            "spaces or dashes) and values as Qdrant documents them."
        ) from error
    raise UnsupportedQuery(
        f"Qdrant Edge has no condition {kind!r}, which the filter has in {part!r}. "
        "Leave it out, or use a server."
    )


def _clauses(part: Json, indexes: Mapping[str, str]) -> tuple[qe.Filter, bool]:
    served: list[bool] = []

    def built(conditions: Any) -> list[ConditionType]:
        some = conditions if isinstance(conditions, list) else [conditions]
        found = [_condition(one, indexes) for one in some]
        served.extend(is_served for _, is_served in found)
        return [condition for condition, _ in found]

    given: Json = {
        name: qe.MinShould(built(what["conditions"]), what["min_count"])
        if name == "min_should"
        else built(what)
        for name, what in part.items()
    }
    return qe.Filter(**given), all(served)


def _field(part: Json) -> qe.FieldCondition:
    given = {
        name: _PARTS[name](what) if name in _PARTS else what
        for name, what in part.items()
    }
    if len(given) == 1:
        raise ValueError("it compares with nothing")
    return qe.FieldCondition(**given)


def _match(what: Json) -> Any:
    ((kind, value),) = what.items()
    if isinstance(value, bool):
        # The engine (0.9.0) takes Python's True for the number 1, and numpy's for what
        # it is.
        value = np.bool_(value)
    return _MATCHES[kind](value)


_OF_A_KEY: dict[str, Any] = {
    "is_empty": qe.IsEmptyCondition,
    "is_null": qe.IsNullCondition,
}
_MATCHES: dict[str, Any] = {
    "value": qe.MatchValue,
    "any": qe.MatchAny,
    "except": qe.MatchExcept,
    "text": qe.MatchText,
    "text_any": qe.MatchTextAny,
    "phrase": qe.MatchPhrase,
    "prefix": qe.MatchPrefix,
    "substring": qe.MatchSubstring,
}
_PARTS = {"match": _match, **RANGES}


def _serves(part: Json, index: str | None) -> bool:
    """Return whether a payload index of this kind serves all of a field's condition."""
    return all(index in _served_by(name, part[name]) for name in part.keys() - {"key"})


def _served_by(name: str, what: Any) -> frozenset[str]:
    if name == "range":
        return _DATES if is_of_dates(what) else _NUMBERS
    if name != "match":
        return frozenset()
    ((kind, value),) = what.items()
    if kind in {"text", "text_any", "phrase"}:
        return frozenset({"text"})
    if kind not in {"value", "any", "except"}:
        return frozenset()
    kinds = {type(one) for one in (value if isinstance(value, list) else [value])}
    return _EXACT.get(kinds.pop(), frozenset()) if kinds else frozenset()


_DATES = frozenset({"datetime"})
_NUMBERS = frozenset({"integer", "float"})
_EXACT = {
    str: frozenset({"keyword", "uuid"}),
    int: frozenset({"integer"}),
    bool: frozenset({"bool"}),
}
