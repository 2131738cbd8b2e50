"""Copies and pickles of an index: a copy shares open stores, a pickle opens them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from llama_index_mmrag.index.opening import check_again, close_all
from llama_index_mmrag.ingestion.linked import TEXT
from llama_index_mmrag.ingestion.sources import Sources
from llama_index_mmrag.ingestion.transformation import MultiModalTransformation
from llama_index_mmrag.retrieval.channel import Channel


class Copies(Sources):
    """How an index is shown, copied and pickled."""

    _root: Path | None

    if TYPE_CHECKING:

        @property
        def channels(self) -> tuple[Channel, ...]:
            """The index's."""

    def __repr__(self) -> str:
        place = self._root or self._channels[TEXT].place
        return f"<{type(self).__name__} of {', '.join(self._channels)}: {place}>"

    def __copy__(self) -> Self:
        """Return an index over the same open stores, which its `close` leaves open."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _owns_stores=False, _opened=ExitStack())
        return other

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """Return what `copy` does."""
        return self.__copy__()

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle where the stores are; they open where the pickle is read.

        Raises:
            InvalidSetting: They are in memory alone.
        """
        # What splits is pickled as a step of a pipeline: so that it can be read.
        steps = MultiModalTransformation(steps=[*self._settings.transformations])
        how = {
            "settings": replace(self._settings, transformations=()),
            "root": self._root,
            "catalogue": self._catalogue,
            "lettering": self._writer.lettering,
            "scans": self._scans,
        }
        return opened_again, (type(self), self.channels, steps, how)


def opened_again(
    made: Any,
    channels: Sequence[Channel],
    split: MultiModalTransformation,
    how: Mapping[str, Any],
) -> Any:
    """Return the index of a pickle, which owns the stores that opened with it."""
    with ExitStack() as opened:
        for channel in channels:
            if (client := getattr(channel.vector_store, "_client", None)) is not None:
                opened.callback(client.close)
        opened.callback(close_all, channels)
        check_again(channels, how["root"], how["catalogue"].index_id)
        settings = replace(how["settings"], transformations=split.steps)
        index = made(channels, **{**how, "settings": settings})
        index._writer.recover(can_wait=True)
        index._opened = opened.pop_all()
    return index
