"""Filters as Qdrant Edge has them, by way of the JSON that all kinds of Qdrant share.

The JSON's conditions are those that LlamaIndex's `QdrantVectorStore` builds, and a
collection on a server is asked with it too: a filter means the same here and there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import qdrant_edge as qe
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)
from pydantic import (
    Field,
    FiniteFloat,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
)

from llama_index_mmrag.errors import InvalidQuery, MmragError
from llama_index_mmrag.stores.edge_points import known_ids
from llama_index_mmrag.stores.native import DOC_ID_KEY, NativeFilter, metadata_filters

if TYPE_CHECKING:
    from qdrant_edge import ConditionType

    from llama_index_mmrag.stores.native import FilterLike

NO_DOCUMENT = "None"
"""What it stores there for a node without one."""

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
    must: list[Json] = []
    if doc_ids is not None:
        must.append({"key": DOC_ID_KEY, "match": {"any": list(doc_ids)}})
    if node_ids is not None:
        must.append({"has_id": node_ids})
    if filters is not None and (asked := as_json(filters)) is not None:
        must.append(asked)
    if not must:
        return None
    indexed = all(_is_indexed(one, indexes) for one in must)
    return EdgeFilter(qe.Filter(must=_conditions(must)), indexed)


# LlamaIndex's filters as Qdrant's JSON


def as_json(filters: MetadataFilters) -> Json | None:
    """Return filters as Qdrant's JSON; None where they have no conditions.

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


def _leaf(item: MetadataFilter) -> Json:
    if isinstance(item, NativeFilter):
        return item.native
    operator = item.operator or FilterOperator.EQ
    if operator == FilterOperator.IS_EMPTY:
        return {"is_empty": {"key": item.key}}
    try:
        if operator == FilterOperator.ALL:
            each = map(_equal, _several(item.value))
            return {"must": [{"key": item.key, **one} for one in each]}
        return {"key": item.key, **_BUILDERS[operator](item.value)}
    except ValueError as error:
        raise InvalidQuery(
            f"Filter {item.key!r} {operator.value} {item.value!r} cannot be built. "
            "Expected for == and contains a string or a number; for != a string or a "
            "whole number; for in and nin a list of strings or of whole numbers, for "
            "any and all as well, of at least one; for <, <=, > and >= a finite number "
            "or an ISO date; for text_match a string."
        ) from error


def _equal(value: Any) -> Json:
    # The engine and the server compare floats in ranges alone.
    one = _ONE.validate_python(value)
    if isinstance(one, float):
        return {"range": {"gte": one, "lte": one}}
    return {"match": {"value": one}}


def _several(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError("it is no list of at least one value")
    return value


def _values(value: Any) -> Any:
    # A bare value is split at commas: QdrantVectorStore does so.
    values = value if isinstance(value, list) else str(value).split(",")
    return _LIST.validate_python(values)


def _bound(value: Any) -> float | str:
    """Return a number, of a text that is one too, or a date as ISO 8601 has it."""
    bound = _BOUND.validate_python(value)
    return bound if isinstance(bound, float) else bound.isoformat()


_ONE: TypeAdapter[Any] = TypeAdapter(StrictStr | StrictBool | StrictInt | StrictFloat)
_LIST: TypeAdapter[Any] = TypeAdapter(list[StrictStr] | list[StrictInt])
_BOUND: TypeAdapter[Any] = TypeAdapter(
    Annotated[FiniteFloat | datetime, Field(union_mode="left_to_right")]
)
_TEXT: TypeAdapter[str] = TypeAdapter(StrictStr)

_BUILDERS: dict[FilterOperator, Callable[[Any], Json]] = {
    FilterOperator.EQ: _equal,
    FilterOperator.CONTAINS: _equal,  # a list matches when one of its elements does
    FilterOperator.NE: lambda value: {"match": {"except": _values([value])}},
    FilterOperator.IN: lambda value: {"match": {"any": _values(value)}},
    FilterOperator.NIN: lambda value: {"match": {"except": _values(value)}},
    FilterOperator.ANY: lambda value: {"match": {"any": _values(_several(value))}},
    FilterOperator.GT: lambda value: {"range": {"gt": _bound(value)}},
    FilterOperator.GTE: lambda value: {"range": {"gte": _bound(value)}},
    FilterOperator.LT: lambda value: {"range": {"lt": _bound(value)}},
    FilterOperator.LTE: lambda value: {"range": {"lte": _bound(value)}},
    FilterOperator.TEXT_MATCH: lambda value: {
        "match": {"text": _TEXT.validate_python(value)}
    },
}
_BUILDERS[FilterOperator.TEXT_MATCH_INSENSITIVE] = _BUILDERS[FilterOperator.TEXT_MATCH]


# Qdrant's JSON as the engine's conditions


def _conditions(parts: Any) -> list[ConditionType]:
    return [_condition(part) for part in _listed(parts)]


def _condition(part: Json) -> ConditionType:
    try:
        made = {
            name: _PARTS[name](what) if name in _PARTS else what
            for name, what in part.items()
        }
        if "key" in part:
            if len(part) == 1:
                raise ValueError("it compares with nothing")  # noqa: TRY301
            return qe.FieldCondition(**made)
        if part.keys() <= _FILTER:
            return qe.Filter(**made)
        ((kind, what),) = part.items()
        if kind in _CONDITIONS:
            return _CONDITIONS[kind](what)
    except MmragError:  # of a part
        raise
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


def _match(what: Json) -> Any:
    ((kind, value),) = what.items()
    if isinstance(value, bool):
        # The engine (0.9.0) takes Python's True for the number 1, and numpy's for what
        # it is.
        value = np.bool_(value)
    return _MATCHES[kind](value)


def _polygon(area: Json) -> qe.GeoPolygon:
    exterior, *interiors = (
        [qe.GeoPoint(**point) for point in ring["points"]]
        for ring in (area["exterior"], *area.get("interiors", ()))
    )
    return qe.GeoPolygon(exterior, interiors)


_FILTER = {"must", "should", "must_not", "min_should"}
_CONDITIONS: dict[str, Callable[[Any], ConditionType]] = {
    "has_id": lambda ids: qe.HasIdCondition(
        set(known_ids([*map(str, ids)] if isinstance(ids, list) else ids))
    ),
    "has_vector": qe.HasVectorCondition,
    "is_empty": lambda what: qe.IsEmptyCondition(what["key"]),
    "is_null": lambda what: qe.IsNullCondition(what["key"]),
    "nested": lambda what: qe.NestedCondition(
        what["key"], qe.Filter(must=_conditions(what["filter"]))
    ),
    # Not in the engine's (0.9.0) stubs.
    "slice": lambda what: qe.SliceCondition(**what),  # type: ignore[attr-defined]
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
_PARTS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("must", "should", "must_not"), _conditions),
    "min_should": lambda what: qe.MinShould(_conditions(what), what["min_count"]),
    "match": _match,
    "range": lambda bounds: (
        qe.RangeDateTime if _is_of_dates(bounds) else qe.RangeFloat
    )(**bounds),
    "values_count": lambda bounds: qe.ValuesCount(**bounds),
    "geo_bounding_box": lambda corners: qe.GeoBoundingBox(
        **{corner: qe.GeoPoint(**point) for corner, point in corners.items()}
    ),
    "geo_radius": lambda area: qe.GeoRadius(
        qe.GeoPoint(**area["center"]), area["radius"]
    ),
    "geo_polygon": _polygon,
}
"""What makes the parts of filters and of fields' conditions; others stay."""


def _listed(parts: Any) -> list[Json]:
    """Return the conditions of a clause: a list, one alone, or those of min_should."""
    if isinstance(parts, list):
        return parts
    listed: list[Json] = parts.get("conditions", [parts])
    return listed


def _is_of_dates(bounds: Json) -> bool:
    return any(isinstance(bound, str) for bound in bounds.values())


# Which payload indexes serve a condition


def _is_indexed(part: Json, indexes: Mapping[str, str]) -> bool:
    """Return whether payload indexes serve all of a condition."""
    if "key" in part:
        index = indexes.get(part["key"])
        return all(index in _served_by(name, part[name]) for name in {*part} - {"key"})
    if part.keys() <= _FILTER:
        return all(
            _is_indexed(one, indexes)
            for clause in part.values()
            for one in _listed(clause)
        )
    return any(
        part[kind]["key"] in indexes for kind in {"is_empty", "is_null"} & {*part}
    )


def _served_by(name: str, what: Any) -> tuple[str, ...]:
    if name == "range":
        return ("datetime",) if _is_of_dates(what) else ("integer", "float")
    if name != "match":
        return ()
    ((kind, value),) = what.items()
    if kind in {"text", "text_any", "phrase"}:
        return ("text",)
    if kind not in {"value", "any", "except"}:
        return ()
    values = value if isinstance(value, list) else [value]
    return _EXACT.get(type(values[0]), ()) if values else ()


_EXACT = {str: ("keyword", "uuid"), int: ("integer",), bool: ("bool",)}
