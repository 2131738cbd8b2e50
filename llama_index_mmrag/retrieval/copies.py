"""Copies and pickles of channels: a copy shares the open store, a pickle opens it."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

    from llama_index_mmrag.stores.collection import Collection


class OpensItself:
    """What is never written to, over a store that opens where a pickle arrives."""

    __slots__ = ()

    if TYPE_CHECKING:
        collection: Collection

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # The collection, not the store: of several channels over one, it opens once.
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.init}  # type: ignore[arg-type]  # dataclasses are made of this
        del given["vector_store"]
        return _again, (type(self), self.collection, given)


def _again(made: Any, collection: Collection, given: dict[str, Any]) -> Any:
    return made(vector_store=collection.store, **given)
