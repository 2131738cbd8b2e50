"""Filter fields: keys of metadata that a new collection is indexed by.

A filter on another key is right too, and looks at each point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from llama_index_mmrag.checks import one_of
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.nodes.node import ENTITY_KEY, GIVEN_ID_KEY, MODALITY_KEY
from llama_index_mmrag.stores.native import DOC_ID_KEY

FieldKind: TypeAlias = Literal["keyword", "integer", "float", "datetime", "bool"]

FILTER_FIELDS: Mapping[str, FieldKind] = {
    "page": "integer",
    "taken_at": "datetime",
    "latitude": "float",
    "longitude": "float",
    "start_s": "float",
}
"""Those of every new collection, beside the ones of ids: the graph must be built after
them, or it is not connected among what a filter leaves."""

_OF_IDS = {DOC_ID_KEY, "ref_doc_id", ENTITY_KEY, MODALITY_KEY, GIVEN_ID_KEY}
_KINDS = ("keyword", "integer", "float", "datetime", "bool")


def checked_fields_of(given: Mapping[str, str] | None) -> dict[str, str]:
    """Return the fields that a user declares.

    Raises:
        InvalidSetting: A name is empty, or the kind none of `FieldKind`, or another
            than that of ours.
    """
    fields = dict(given or {})
    for name, kind in fields.items():
        if not isinstance(name, str) or not name.strip():
            raise InvalidSetting(
                f"filter_fields has the name {name!r}; expected a key of metadata, as "
                f'in {{"year": "integer"}}.'
            )
        known = "keyword" if name in _OF_IDS else FILTER_FIELDS.get(name)
        one_of(kind, f"filter_fields[{name!r}]", (known,) if known else _KINDS)
    return fields


def check_declared(
    fields: Mapping[str, str], known: Mapping[str, str], where: str
) -> None:
    """Do nothing if a collection that is there is indexed by the fields.

    Raises:
        CollectionMismatch: It is not: its graph would not lead to what they leave.
    """
    for name, kind in fields.items():
        if known.get(name) != kind:
            has = f"has it as {known[name]!r}" if name in known else "was made without"
            raise CollectionMismatch(
                f"filter_fields asks for {name!r} as {kind!r}, and the {where} {has}. "
                f"Filter by it all the same, without filter_fields: that looks at each "
                f"point. Or make a new one: open(NEW, filter_fields=...)."
            )
