"""Links: which nodes, of one channel and of several, are one entity."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from llama_index.core.schema import BaseNode, ImageNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.node import (
    ENTITY_KEY,
    KIND_KEY,
    WORDS,
    WORDS_KEY,
    WORDS_OF_KEY,
    one_spelling,
    own_entity,
)
from llama_index_mmrag.nodes.payloads import value_at
from llama_index_mmrag.stores.collection import Collection, Found

BY_ID = "id"
"""What `linked_by` says where nodes of one id are one entity in all channels."""
BY_ENTITY = "id:"
"""Likewise in an index, whose nodes of one entity have it in their metadata."""

TYPE_KEY = "_node_type"
"""LlamaIndex's payload field of a node's class."""
PICTURE = ImageNode.class_name()


class _Named(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def modality(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Link:
    """How a channel's nodes are told apart as entities.

    A node that declares no entity is one of its own: its channel and its id.

    Args:
        space: Whose ids the channel's are: its own name, another channel's that is over
            the same collection, or "" where ids mean the same in all channels.
        pictures: Whose ids those of `ImageNode`s are, if not the same: LlamaIndex's
            `MultiModalVectorStoreIndex` writes captioned pictures into both of its
            collections.
        key: Metadata key whose value is the entity, where a node has one.
        by_id: Whether other channels have nodes of the entity under its node's id.
        is_view: Whether the channel shows one side of its collection's points, and no
            other channel the same: what several find of one point is evidence each.
    """

    space: str
    pictures: str | None = None
    key: str | None = None
    by_id: bool = False
    is_view: bool = False
    payload_keys: tuple[str, ...] = field(init=False)
    """What a search must bring of each hit."""
    own: tuple[str, ...] = field(init=False)
    """What stands before a node's id in an entity that it is alone."""

    def __post_init__(self) -> None:
        more = (self.key, None if self.pictures is None else TYPE_KEY)
        of_words = (KIND_KEY, WORDS_KEY, WORDS_OF_KEY)
        keys = (ENTITY_KEY, *of_words, *(key for key in more if key is not None))
        object.__setattr__(self, "payload_keys", keys)
        spaces = () if self.by_id else (self.space, self.pictures)
        own = tuple(own_entity(space, "") for space in spaces if space is not None)
        object.__setattr__(self, "own", own)

    @property
    def named_by(self) -> str | None:
        """What says besides `entity_id` which entity a node is of: a key, or "id"."""
        return BY_ID if self.by_id else self.key

    def scored(self, found: Sequence[Found]) -> list[tuple[str, str, float]]:
        """Return each hit's node id, entity and score."""
        entity_of = self.entity_of
        return [(id_, entity_of(said, id_, node), s) for id_, said, s, node, _ in found]

    def entity_of(
        self, said: Mapping[str, Any], node_id: str, node: BaseNode | None = None
    ) -> str:
        """Return the entity of a node.

        Args:
            said: Its metadata, or those `payload_keys` of its payload that it has.
            node_id: Its id.
            node: The node, if it is there.
        """
        for key in (self.key, ENTITY_KEY):
            named = said.get(key) if key else None
            if named is None and key and "." in key:
                named = value_at(said, key)
            if named is not None and named != "":  # 0 is a name
                return str(named)
        space = self.space
        if self.pictures is not None and (
            isinstance(node, ImageNode) or said.get(TYPE_KEY) == PICTURE
        ):
            space = self.pictures
        return own_entity(space, one_spelling(node_id))


def links_of(channels: Sequence[_Named], linked_by: str | None) -> dict[str, Link]:
    """Return the link of each channel, by its name.

    Args:
        channels: A retriever's.
        linked_by: "id", a metadata key, or None: channels over one collection, and
            pictures in a collection of texts, are linked all the same. Where all of
            them read the points of one collection by keys, None is "id".

    Raises:
        InvalidSetting: `linked_by` is no text, or empty.
    """
    if linked_by is not None and not (isinstance(linked_by, str) and linked_by):
        raise InvalidSetting(
            f"linked_by is {linked_by!r}; expected 'id' or a metadata key that the "
            f"nodes of several channels have. Leave it out if nothing links them."
        )
    sides = [_side(channel) for channel in channels]
    is_one = len(sides) > 1 and len({place for place, _ in sides}) == 1
    if linked_by is None and is_one and all(view is not None for _, view in sides):
        linked_by = BY_ID
    views = {
        channel.name: view is not None and sides.count((place, view)) == 1
        for channel, (place, view) in zip(channels, sides, strict=True)
    }
    if linked_by in (BY_ID, BY_ENTITY):
        by_id = linked_by == BY_ID
        return {
            name: Link("", by_id=by_id, is_view=is_view)
            for name, is_view in views.items()
        }
    spaces: dict[str, str] = {}
    owners: dict[object, str] = {}
    for channel in channels:
        place = getattr(channel, "place", channel.name)
        spaces[channel.name] = owners.setdefault(place, channel.name)
    seen = next((c.name for c in channels if c.modality == "image"), None)
    links: dict[str, Link] = {}
    for channel in channels:
        space = spaces[channel.name]
        of_pictures = None if seen is None else spaces[seen]
        is_same = channel.modality == "image" or of_pictures == space
        links[channel.name] = Link(
            space,
            None if is_same else of_pictures,
            linked_by,
            is_view=views[channel.name],
        )
    return links


def _side(channel: _Named) -> tuple[object, str | None]:
    """Return where a channel's points are, and by which vector they are views."""
    view = getattr(getattr(channel, "collection", None), "view", None)
    return getattr(channel, "place", channel.name), view


def naming(
    entity_ids: Sequence[str], keys: Sequence[str], words_of: Sequence[str] = ()
) -> MetadataFilters:
    """Return the filter that nodes pass which name one of the entities under a key.

    And words of pictures that name one of the entities `words_of`.
    """
    # Numbers are stored as numbers.
    numbers = [int(i) for i in entity_ids if _is_number(i)]
    wanted: list[MetadataFilter | MetadataFilters] = [
        MetadataFilter(key=key, value=values, operator=FilterOperator.IN)
        for key in keys
        for values in ([*entity_ids], numbers)
        if values
    ]
    if words_of:
        is_words = MetadataFilter(key=KIND_KEY, value=WORDS)
        wanted.append(MetadataFilters(filters=[is_words, naming(words_of, keys)]))
    return MetadataFilters(filters=wanted, condition=FilterCondition.OR)


_is_number = re.compile("0|-?[1-9][0-9]{0,17}").fullmatch


def check_key(
    linked_by: str | None, channels: Sequence[_Named], *, ask_server: bool = True
) -> None:
    """Do nothing if a node of the channels has the metadata key, or may have.

    Those of an empty collection may, and of a channel that is over none.

    Args:
        linked_by: The key; what is none is not looked for.
        channels: A retriever's.
        ask_server: Whether collections on servers are asked, or may have it.

    Raises:
        InvalidSetting: None has it.
    """
    if linked_by in (None, BY_ID, BY_ENTITY):
        return
    key = str(linked_by)
    stored: list[Collection | None] = [getattr(c, "collection", None) for c in channels]
    if not any(c is None or c.may_have(key, ask_server=ask_server) for c in stored):
        names = [channel.name for channel in channels]
        raise InvalidSetting(
            f"linked_by is {linked_by!r}, and no node of the channels {names!r} has "
            f"that metadata key; expected one that nodes of several channels have, or "
            f"'id'. Leave it out if nothing links them."
        )
