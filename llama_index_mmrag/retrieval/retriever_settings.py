"""What a retriever's settings must be, checked before its first query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import Fusion
from llama_index_mmrag.retrieval.degradation import OnDegraded
from llama_index_mmrag.retrieval.search_channel import SearchChannel


def checked_on_degraded(on_degraded: OnDegraded) -> OnDegraded:
    """Return `on_degraded`.

    Raises:
        InvalidSetting: It is neither "report" nor "raise".
    """
    if on_degraded not in get_args(OnDegraded):
        msg = f'on_degraded is {on_degraded!r}; expected "report" or "raise".'
        raise InvalidSetting(msg)
    return on_degraded


def checked_top_k(top_k: int) -> int:
    """Return `top_k`.

    Raises:
        InvalidSetting: It is less than 1.
    """
    if top_k < 1:
        msg = f"top_k is {top_k!r}; expected 1 or more."
        raise InvalidSetting(msg)
    return top_k


def checked_filters(
    filters: MetadataFilters | None, channels: Sequence[SearchChannel]
) -> MetadataFilters | None:
    """Return filters that hold for every route.

    Raises:
        InvalidSetting: There are some, and a channel cannot apply them.
    """
    cannot = [channel.name for channel in channels if not channel.can_filter]
    if filters is not None and cannot:
        msg = (
            f"The retriever has filters, and the channels {cannot!r} cannot apply "
            f"them: they would show what the filters hide. Leave one of the two out."
        )
        raise InvalidSetting(msg)
    return filters


def checked_channels(
    channels: Sequence[SearchChannel], fusion: Fusion
) -> tuple[SearchChannel, ...]:
    """Return a retriever's channels.

    Raises:
        InvalidSetting: There are none; two have one name; or the fusion's weights name
            none of them, or one that has a weight of its own.
    """
    if not channels:
        msg = "A retriever needs at least one channel."
        raise InvalidSetting(msg)
    names = [channel.name for channel in channels]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        msg = (
            f"Two channels have the name {doubled[0]!r}; names must be unique, since "
            f"weights and provenance go by them. Rename one."
        )
        raise InvalidSetting(msg)
    unknown = sorted(set(fusion.weights) - set(names))
    if unknown:
        msg = f"The fusion weighs {unknown!r}; this retriever's channels are {names!r}."
        raise InvalidSetting(msg)
    twice = [
        c.name for c in channels if c.weight is not None and c.name in fusion.weights
    ]
    if twice:
        msg = (
            f"Channel {twice[0]!r} has a weight of its own and one in the fusion. Give "
            f"one of them."
        )
        raise InvalidSetting(msg)
    return tuple(channels)
