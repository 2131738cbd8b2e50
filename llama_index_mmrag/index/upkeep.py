"""An index looked after: made smaller, and checked for damage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.index.copies import Copies
from llama_index_mmrag.index.opening import check_channels
from llama_index_mmrag.stores.checking import StoreCheck

if TYPE_CHECKING:
    from llama_index_mmrag.compression import CompressSettings, IndexCompression


class Upkeep(Copies):
    """How an index is looked after."""

    def compress(
        self,
        settings: CompressSettings | None = None,
        *,
        queries: Sequence[str] | None = None,
        apply: bool = False,
        on_step: Callable[[str], None] = lambda _: None,
    ) -> IndexCompression:
        """Find the fewest bytes a vector that keep a promised recall.

        With `apply`, in a folder alone, smaller collections are built beside these ones
        from the stored vectors, checked, and switched to in one step. This object can
        then still be searched, and no longer be written to: close it and open the
        folder again, with the same encoders.

        Args:
            settings: What is promised; None: a recall@10 of 0.95.
            queries: What users ask; None takes stored vectors.
            apply: Whether to switch; otherwise it is only measured.
            on_step: Told what is done next.

        Raises:
            InvalidSetting: The index is in no folder, and cannot be switched; see
                `compress_collection`.
            StoreClosed: It was compressed since it was opened.
            StoreUnusable: The folder cannot be written.
        """
        from llama_index_mmrag.compression import CompressSettings
        from llama_index_mmrag.compression.live import compress_folder

        if apply and self._root is None:
            raise InvalidSetting(
                "apply switches the collections of a folder; those on a server are "
                "measured alone. Leave it out, and build smaller ones in Python, with "
                "llama_index_mmrag.compression.compress_collection, one at a time."
            )
        with self._writer.lock:
            return compress_folder(
                self._root,
                self.channels,
                settings=settings or CompressSettings(),
                queries=queries,
                apply=apply,
                on_step=on_step,
            )

    def check(self) -> StoreCheck:
        """Return what of the store is damaged, after reading all of it.

        Embedded, each file is compared with what it was when the store was closed; of
        a collection that was written to since, each point is read instead. On a
        server, the collections are counted, and their vectors' length and their
        encoder compared.
        """
        with self._writer.lock:
            return check_channels(self.channels, self._root)
