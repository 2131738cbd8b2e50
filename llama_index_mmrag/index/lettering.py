"""Who reads an index's pictures: what was asked for, or what its store says."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from llama_index_mmrag.checks.packages import found
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion.lettering import (
    Lettering,
    check_reader,
    reader_again,
)
from llama_index_mmrag.ingestion.linked import IMAGE
from llama_index_mmrag.ingestion.records import ReadSettings
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
    """What reads an index's pictures.

    Attributes:
        card: Which engine it is; None: nothing reads.
        reader: The engine, where it was asked for.
        is_anew: Whether all pictures are read anew.
    """

    card: ReaderCard | None
    reader: PictureReader | None
    is_anew: bool

    def lettering(
        self,
        channels: Iterable[Channel],
        settings: ReadSettings,
        root: Path | None,
        catalogue: Catalogue,
    ) -> Lettering | None:
        """Return what reads for the index; None: nothing does.

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
            its = next(c.collection for c in channels if c.modality == LETTERING)
            note_reader(root, its, self.card)
            catalogue.forget_derived_texts(LETTERING)
        most = settings.chunk_size
        return Lettering(self.card, catalogue, self.reader, most_tokens=most)


def chosen_reader(
    read_pictures: bool | str | PictureReader | None,
    reread: str | None,
    stored: ReaderCard | None,
    where: object,
) -> ChosenReader:
    """Return what reads an index's pictures; an engine is made, and not begun.

    Args:
        read_pictures: As for `MultiModalQdrantIndex.open`, and so is what follows.
        reread: What is read anew.
        stored: What the store says.
        where: The store's name.

    Raises:
        CollectionMismatch: Another engine, version or language than was asked for.
        InvalidSetting: It is no engine, or there is nothing of that name to read anew.
        MissingExtra: The engine is not installed.
    """
    is_anew = reread is not None
    if is_anew and reread != LETTERING:
        raise InvalidSetting(
            f"open() got reread={reread!r}; expected 'lettering', which is all that an "
            f"engine reads, or None."
        )
    asked: Any = read_pictures
    if asked is None and is_anew:
        if stored is None:
            raise InvalidSetting(
                f"open() got reread='lettering', and nothing has read the pictures of "
                f"{where}. Give read_pictures=True (--read-pictures) instead."
            )
        asked = reader_again(stored)
    if asked is None:
        return ChosenReader(stored, None, is_anew)
    reader = asked if all(hasattr(asked, part) for part in _PARTS) else reader_of(asked)
    if stored is None or is_anew:
        return ChosenReader(ReaderCard.of(reader), reader, is_anew)
    check_reader(stored, reader, f"The lettering of {where}")
    return ChosenReader(stored, reader, is_anew)


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
