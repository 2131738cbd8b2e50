"""What a retriever needs of a channel, and what goes in and out of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import MetadataFilters

from llama_index_mmrag.concurrency.deadlines import check_timeout
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.fusion import Background
from llama_index_mmrag.fusion.entities import checked_weights
from llama_index_mmrag.retrieval.query import Encodings, PartKind, QueryPart
from llama_index_mmrag.stores.collection import Found


@dataclass(frozen=True, slots=True)
class Searched:
    """One route's answer: what was found, and what the query scores by chance."""

    found: tuple[Found, ...]
    background: Background | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What a route asks of its channel."""

    part: QueryPart
    encodings: Encodings
    filters: MetadataFilters | None = None
    """The query's conditions, beside the channel's own."""
    with_background: bool = False
    """Whether the fusion calibrates by the collection's background."""


class SearchChannel(Protocol):
    """What a retriever needs of a channel.

    `Channel` is one over a vector store, `RetrieverChannel` one over any retriever.
    """

    @property
    def name(self) -> str:
        """Unique in a retriever; weights and provenance use it."""
        ...

    @property
    def modality(self) -> str:
        """What the nodes are: "text", "image", or a word of your own."""
        ...

    @property
    def accepts(self) -> frozenset[PartKind]:
        """Kinds of query part that are searched for here."""
        ...

    @property
    def weight(self) -> float | None:
        """Factor in the fusion; None leaves it to the fusion's own weights."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """Deadline of one search in seconds; None for none."""
        ...

    @property
    def n_retries(self) -> int:
        """How often a search is repeated after its connection failed."""
        ...

    @property
    def can_filter(self) -> bool:
        """Whether a query's metadata filters can be applied here."""
        ...

    @property
    def source(self) -> object:
        """What is asked: searches that hang are counted by it, and end in refusals."""
        ...

    @property
    def is_light(self) -> bool:
        """Whether searches bring ids only, and nodes are fetched afterwards."""
        ...

    @property
    def is_embedded(self) -> bool:
        """Whether a search is too short to be worth a thread."""
        ...

    @property
    def is_async(self) -> bool:
        """Whether `aanswer` waits without holding a thread."""
        ...

    def answer(self, ask: Ask) -> Searched:
        """Return what was found, best first."""
        ...

    async def aanswer(self, ask: Ask) -> Searched:
        """Return what `answer` does; called only where `is_async`."""
        ...

    def at_least(self, top_k: int) -> SearchChannel:
        """Return the channel with searches of `top_k` hits or more."""
        ...

    def fetch(self, node_ids: Sequence[str]) -> dict[str, BaseNode]:
        """Return whole nodes by id; ids that are gone by now are left out."""
        ...

    def of_entities(
        self, entity_ids: Sequence[str], *, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return this channel's nodes of the entities, whole."""
        ...

    async def aof_entities(
        self, entity_ids: Sequence[str], *, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Return what `of_entities` does; called only where `is_async`."""
        ...


def check_common_settings(
    *,
    name: str,
    top_k: int,
    weight: float | None,
    timeout_s: float | None,
    n_retries: int,
) -> None:
    """Check what every kind of channel has.

    Raises:
        InvalidSetting: A setting is out of its range.
    """
    if not name:
        msg = "A channel has an empty name; expected one such as 'text'."
        raise InvalidSetting(msg)
    if top_k < 1:
        msg = f"Channel {name!r}: top_k is {top_k!r}, expected 1 or more."
        raise InvalidSetting(msg)
    if weight is not None:
        checked_weights({name: weight})
    check_timeout(timeout_s, of=f"Channel {name!r}")
    if n_retries < 0:
        msg = f"Channel {name!r}: n_retries is {n_retries!r}, expected 0 or more."
        raise InvalidSetting(msg)
