"""Filters and search parameters as users give them, Qdrant's own among them.

LlamaIndex carries `MetadataFilters` and nothing else, so a filter of Qdrant's travels
inside one. Its client is looked at where a value is none of the others: an embedded
store does without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_mmrag.checks import instance, listed, number, one_of, truth, whole
from llama_index_mmrag.errors import InvalidSetting, MmragError
from llama_index_mmrag.nodes.node import GIVEN_ID_KEY
from llama_index_mmrag.stores.edge_points import known_ids

if TYPE_CHECKING:
    from qdrant_client.http import models

    FilterLike: TypeAlias = (
        MetadataFilters
        | MetadataFilter
        | models.Filter
        | Mapping[str, Any]
        | Sequence[Any]
    )
    SearchParamsLike: TypeAlias = models.SearchParams | Mapping[str, Any]

DOC_ID_KEY = "doc_id"
"""Payload field of LlamaIndex's that names a node's document."""

EXACT: dict[str, Any] = {"search_params": {"exact": True}}
"""How a search asks for all that it may find, and not for most."""

_FORMS = (
    "MetadataFilters, a list of them, a dictionary of equal values such as "
    '{"year": 2020}, a models.Filter of qdrant_client, or None for none'
)


class NativeFilter(MetadataFilter):
    """A filter of Qdrant's among LlamaIndex's conditions.

    As a condition of LlamaIndex's it asks for a key that no node has: a store that does
    not know what it carries finds nothing, rather than what the filter hides.
    """

    key: str = "a models.Filter, for Qdrant's stores alone"
    value: Literal["native"] = "native"
    native: dict[str, Any]
    """It, as Qdrant's JSON."""


def metadata_filters(
    filters: FilterLike | None,
    name: str = "filters",
    *,
    query_filter: FilterLike | None = None,
    error: type[MmragError] = InvalidSetting,
) -> MetadataFilters | None:
    """Return filters of any kind as LlamaIndex's; None for none.

    Args:
        filters: `MetadataFilters`; one condition; a dictionary, whose values must all
            be equal; a `qdrant_client.models.Filter`; or a list of these, which must
            all hold.
        name: What they are called where they were given.
        query_filter: The same under Qdrant's name; only one of the two may be given.
        error: What is raised.

    Example:
        >>> metadata_filters({"year": 2020}).filters[0].key
        'year'
    """
    if query_filter is not None:
        if filters is not None:
            raise error(
                f"{name} and query_filter are one argument, and both were given. Give "
                f"one of them, or a list of both: filters=[..., ...] must all hold."
            )
        name = name.replace("filters", "query_filter")
        filters = query_filter
    if filters is None or isinstance(filters, MetadataFilters):
        return filters
    if found := [*_conditions(filters, name, error)]:
        return MetadataFilters(filters=found)
    # Conditions that were lost on the way here would hide nothing.
    raise error(f"{name} is {filters!r}, without a condition; expected {_FORMS}.")


def only_of(
    doc_ids: Sequence[str] | None, node_ids: Sequence[str] | None
) -> NativeFilter | None:
    """Return the filter that nodes of these documents, and of these ids, pass.

    Args:
        doc_ids: Documents, by stored id or the one they came with; None for all.
        node_ids: Nodes, by stored id in any spelling; None for all.

    Raises:
        InvalidSetting: One is no list of texts, or is empty.
    """
    if doc_ids is None and node_ids is None:
        return None
    for name, ids in {"doc_ids": doc_ids, "node_ids": node_ids}.items():
        if ids is not None and not listed(ids, name, str):
            raise InvalidSetting(f"{name} is empty. Leave it out to search all.")
    must: list[dict[str, Any]] = []
    if doc_ids is not None:
        keys = (DOC_ID_KEY, GIVEN_ID_KEY)
        same = [{"key": key, "match": {"any": list(doc_ids)}} for key in keys]
        must.append({"should": same})
    if node_ids is not None:
        must.append({"has_id": known_ids(node_ids)})
    return NativeFilter(native={"must": must})


def having(key: str) -> MetadataFilters:
    """Return the filter that nodes pass which have the metadata key."""
    without = MetadataFilter(key=key, value=None, operator=FilterOperator.IS_EMPTY)
    return MetadataFilters(filters=[without], condition=FilterCondition.NOT)


def refuse_natives(filters: MetadataFilters | None, store: object) -> None:
    """Do nothing if a store that knows LlamaIndex's filters alone can apply these.

    Raises:
        InvalidSetting: One of Qdrant's is among them.
    """
    if filters is not None and _has_native(filters):
        raise InvalidSetting(
            f"A {type(store).__name__} cannot apply a models.Filter, which is Qdrant's "
            f"own: it would show what the filter hides. Use MetadataFilters, which all "
            f"stores have, or a QdrantVectorStore or an embedded store."
        )


def _has_native(filters: MetadataFilters) -> bool:
    return any(
        _has_native(one)
        if isinstance(one, MetadataFilters)
        else isinstance(one, NativeFilter)
        for one in filters.filters
    )


def _conditions(
    given: object, name: str, error: type[MmragError]
) -> Iterator[MetadataFilter | MetadataFilters]:
    if isinstance(given, MetadataFilter | MetadataFilters):
        yield given
    elif isinstance(given, Mapping):
        yield from (_equal(key, value, name, error) for key, value in given.items())
    elif isinstance(given, list | tuple):
        for n, item in enumerate(given):
            yield from _conditions(item, f"{name}[{n}]", error)
    else:
        from qdrant_client.http import models

        if not isinstance(given, models.Filter):
            advice = ""
            if isinstance(given, BaseModel) and not isinstance(given, type):
                advice = " A single condition of Qdrant's: models.Filter(must=[...])."
            raise error(f"{name} is {given!r}; expected {_FORMS}.{advice}")
        # A copy: what a filter hides is decided when it is given.
        as_json = given.model_dump(mode="json", exclude_none=True, by_alias=True)
        yield NativeFilter(native=as_json)


def _equal(
    key: object, value: object, name: str, error: type[MmragError]
) -> MetadataFilter:
    if not isinstance(key, str) or type(value) not in (str, int, float, bool):
        raise error(
            f"{name} has {key!r}: {value!r}; in a dictionary a key has one value, a "
            f"text, a number, True or False. For lists, ranges and fields that are "
            f"empty use MetadataFilters with an operator, or a models.Filter."
        )
    # Not validated: LlamaIndex's (core 0.14) condition takes no True, and Qdrant does.
    return MetadataFilter.model_construct(
        key=key,
        value=value,  # type: ignore[arg-type]
        operator=FilterOperator.EQ,
    )


_PARAMS: dict[str, Any] = {
    "hnsw_ef": lambda value, name: whole(value, name, at_least=1),
    "exact": truth,
    "indexed_only": truth,
    "quantization": {
        "ignore": truth,
        "rescore": truth,
        "oversampling": lambda value, name: number(value, name, at_least=1),
    },
    "acorn": {
        "enable": truth,
        "max_selectivity": lambda v, name: number(v, name, at_least=0, at_most=1),
    },
}


def search_params_of(
    given: SearchParamsLike | None,
    name: str = "search_params",
    *,
    qdrant: bool = True,
) -> dict[str, Any]:
    """Return how Qdrant is to search, as its JSON; what is not given is left out.

    Args:
        given: `qdrant_client.models.SearchParams`, or a mapping of the same names:
            "hnsw_ef" (candidates that a search in the graph keeps), "exact" (no graph),
            "indexed_only", "quantization" ("ignore", "rescore", "oversampling") and
            "acorn" ("enable", "max_selectivity").
        name: What it is called where it was given.
        qdrant: Whether the store that is searched is Qdrant's.

    Raises:
        InvalidSetting: A name is not known, or a value is out of its range, or the
            store is none of Qdrant's.

    Example:
        >>> search_params_of({"hnsw_ef": 128, "quantization": {"rescore": True}})
        {'hnsw_ef': 128, 'quantization': {'rescore': True}}
    """
    found = {} if given is None else _within(given, name, _PARAMS)
    if found and not qdrant:
        raise InvalidSetting(
            f"{name} are Qdrant's, and the store is none of Qdrant's. Leave them out."
        )
    return found


def _within(given: Any, name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(given, BaseModel) and not isinstance(given, type):
        given = given.model_dump()
    advice = "Such as models.SearchParams(exact=True) of qdrant_client."
    found: dict[str, Any] = {}
    for key, value in instance(given, name, Mapping, advice=advice).items():
        if value is not None:
            check = known[one_of(key, f"A name in {name}", known)]
            of = f"{name}[{key!r}]"
            inner = isinstance(check, dict)
            found[key] = _within(value, of, check) if inner else check(value, of)
    return found
