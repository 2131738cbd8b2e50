"""What a retriever says of itself, and others like it: of another depth or filters."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING

from llama_index.core.vector_stores.types import MetadataFilters
from typing_extensions import Self

from llama_index_mmrag.checks import whole
from llama_index_mmrag.checks.keywords import refuse_unknown
from llama_index_mmrag.fusion import Fusion
from llama_index_mmrag.retrieval.channel import both_filters
from llama_index_mmrag.retrieval.search import SearchChannel
from llama_index_mmrag.retrieval.settings import checked_filters

if TYPE_CHECKING:
    from llama_index_mmrag.stores.native import FilterLike

_DEPTH = "It is the retriever's: as_retriever(top_k=), or with_top_k() of this one."
_WHERE = "They are the retriever's: as_retriever(filters=), or with_filters() of this."
_SETTINGS = {
    **dict.fromkeys(("top_k", "similarity_top_k", "k", "limit", "n"), _DEPTH),
    **dict.fromkeys(("filters", "filter", "query_filter"), _WHERE),
}


class Variants:
    """The settings of a retriever, which a query does not change."""

    _channels: tuple[SearchChannel, ...]
    _fusion: Fusion
    _filters: MetadataFilters | None

    def __repr__(self) -> str:
        """Return its channels, rule and depth."""
        named = ", ".join(channel.name for channel in self._channels)
        return (
            f"<{type(self).__name__} of {named}: fusion={self._fusion!r}, "
            f"top_k={self._top_k}>"
        )

    @property
    def channels(self) -> tuple[SearchChannel, ...]:
        """The channels, in configured order."""
        return self._channels

    @property
    def fusion(self) -> Fusion:
        """The rule that ranked lists are fused by."""
        return self._fusion

    @property
    def similarity_top_k(self) -> int:
        """Entities returned at most, or beside pictures."""
        return self._top_k

    @similarity_top_k.setter
    def similarity_top_k(self, top_k: int) -> None:
        self._top_k = whole(top_k, "Retriever: top_k", at_least=1)

    def with_top_k(self, top_k: int) -> Self:
        """Return a retriever of `top_k` entities that shares all else with this one.

        Raises:
            InvalidSetting: `top_k` is less than 1.
        """
        other = copy(self)
        other.similarity_top_k = top_k
        return other

    def with_filters(self, filters: FilterLike | None) -> Self:
        """Return a retriever whose results meet `filters` as well as this one's own.

        Conditions add up: what this retriever must not show, the other does not show
        either, whatever `filters` says.

        Raises:
            InvalidSetting: They are none, or a channel cannot apply any.
        """
        other = copy(self)
        more = checked_filters(filters, self._channels)
        other._filters = both_filters(self._filters, more)
        return other


def refuse_settings(given: Iterable[str], who: str) -> None:
    """Raise `InvalidSetting`, which names the place of settings given with a query."""
    refuse_unknown(given, who, ["str_or_query_bundle"], _SETTINGS)
