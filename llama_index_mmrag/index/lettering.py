"""Who reads an index's pictures and scans: who was asked, or what its store says."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from llama_index_mmrag.checks import one_of
from llama_index_mmrag.checks.packages import found
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion.engine import (
    PICTURES,
    SCANS,
    Reads,
    check_reader,
    reader_again,
)
from llama_index_mmrag.ingestion.lettering import Lettering
from llama_index_mmrag.ingestion.linked import IMAGE, TEXT
from llama_index_mmrag.ingestion.records import ReadSettings
from llama_index_mmrag.ingestion.scans import Scans, forget_scans
from llama_index_mmrag.ingestion.sources import Sources
from llama_index_mmrag.lettering import PictureReader, reader_of
from llama_index_mmrag.nodes.node import LETTERING
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue
from llama_index_mmrag.stores.format import ReaderCard
from llama_index_mmrag.stores.reader_card import note_reader

_SECONDS = 1.0
"""CPU time of a picture of a book on the machine of docs/lettering.md: .75 to 1.08."""

_TOLD = ("", "told", LETTERING, "1")
"""Under what a catalogue keeps that the advice was given."""

_PARTS = ("name", "version", "language", "read", "close")


class ChosenReader(NamedTuple):
    """What reads an index's pictures, or its scans.

    Attributes:
        card: Which engine it is; None: nothing reads.
        reader: The engine, where it was asked for.
        is_anew: Whether all is read anew.
        is_new: Whether the store does not know of it yet.
    """

    card: ReaderCard | None
    reader: PictureReader | None
    is_anew: bool
    is_new: bool = False

    def lettering(
        self,
        channels: Iterable[Channel],
        settings: ReadSettings,
        root: Path | None,
        catalogue: Catalogue,
    ) -> Lettering | None:
        """Return what reads pictures for the index; None: nothing does.

        What is to be read anew is forgotten, and the store says by what it is read now.

        Args:
            channels: The index's, open.
            settings: How documents become nodes.
            root: The store's folder; None: it is on a server.
            catalogue: What keeps what was read.

        Raises:
            StoreUnusable: The store cannot be written.
        """
        if self.card is None:
            return None
        if self.is_anew:
            self._note(channels, root, LETTERING)
            catalogue.forget_derived_texts(LETTERING)
        most = settings.chunk_size
        return Lettering(self.card, catalogue, self.reader, most_tokens=most)

    def scans(
        self, channels: Iterable[Channel], root: Path | None, catalogue: Catalogue
    ) -> Scans | None:
        """Return what reads scans for the index, as `lettering` does what pictures."""
        if self.card is None:
            return None
        if self.is_anew or self.is_new:
            self._note(channels, root, TEXT)
        if self.is_anew:
            forget_scans(catalogue)
        return Scans(self.card, catalogue, self.reader, is_anew=self.is_anew)

    def _note(self, channels: Iterable[Channel], root: Path | None, of: str) -> None:
        assert self.card
        its = next(c.collection for c in channels if c.modality == of)
        note_reader(root, its, self.card, of)


def chosen_reader(
    asked: bool | str | PictureReader | None,
    reread: str | None,
    stored: ReaderCard | None,
    where: object,
    reads: Reads = PICTURES,
) -> ChosenReader:
    """Return what reads an index's pictures; an engine is made, and not begun.

    Args:
        asked: As `read_pictures` of `MultiModalQdrantIndex.open`, or as `read_scans`.
        reread: As there.
        stored: What the store says.
        where: The store's name.
        reads: What is read.

    Raises:
        CollectionMismatch: Another engine, version or language than was asked for.
        InvalidSetting: It is no engine, or there is nothing of that name to read anew.
        MissingExtra: The engine is not installed.
    """
    names = (PICTURES.name, SCANS.name)
    if reread not in (None, *names):
        raise InvalidSetting(
            f"open() got reread={reread!r}; expected {' or '.join(map(repr, names))}, "
            f"which is what an engine reads, or None."
        )
    is_anew = reread == reads.name
    engine: Any = asked
    if engine is None and is_anew:
        if stored is None:
            raise InvalidSetting(
                f"open() got reread={reread!r}, and nothing has read the "
                f"{reads.called} of {where}. Give {reads.asked} instead."
            )
        engine = reader_again(stored, reads)
    if engine is None:
        return ChosenReader(stored, None, is_anew)
    if not all(hasattr(engine, part) for part in _PARTS):
        named: Any = one_of(engine, reads.option, reads.choices)
        engine = reader_of(named, of_pages=reads.of_pages)
    if stored is None or is_anew:
        return ChosenReader(ReaderCard.of(engine), engine, is_anew, stored is None)
    check_reader(stored, engine, reads, where)
    return ChosenReader(stored, engine, is_anew)


def advice_on_lettering(index: Sources) -> str:
    """Return what reading its pictures would cost an index, the first time; then "".

    Args:
        index: One whose pictures are not read has the advice.
    """
    writer, catalogue = index._writer, index._catalogue  # noqa: SLF001
    channels = index._channels  # noqa: SLF001
    if writer.lettering is not None or catalogue.derived_text(*_TOLD) is not None:
        return ""
    if not (n_pictures := channels[IMAGE].collection.count()):
        return ""
    catalogue.set_derived_text(*_TOLD, "")
    minutes = math.ceil(n_pictures * _SECONDS / 60)
    n_are = "1 picture" if n_pictures == 1 else f"{n_pictures} pictures"
    said = f"{n_are} may have lettering, which is not searched: "
    lacks = "" if found("rapidocr") else 'pip install "llama-index-mmrag[ocr]", then '
    return f"{said}{lacks}--read-pictures reads it, in about {minutes} min of a core."
