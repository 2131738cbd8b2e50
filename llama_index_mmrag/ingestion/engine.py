"""The engine that reads for an index: its pictures, or its scans; each once.

What was read is kept in the catalogue, under what it was read in.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import ClassVar, NamedTuple, get_args

from llama_index_mmrag.errors import (
    CollectionMismatch,
    ImageUnreadable,
    InvalidSetting,
    MmragError,
)
from llama_index_mmrag.lettering import Line, PictureReader, reader_of
from llama_index_mmrag.lettering.reader import Engine as EngineName
from llama_index_mmrag.nodes.node import LETTERING
from llama_index_mmrag.stores.catalogue import Catalogue
from llama_index_mmrag.stores.format import ReaderCard


class Reads(NamedTuple):
    """What an engine reads for an index."""

    name: str
    """What is read anew by `reread`, and is kept under in a catalogue."""
    called: str
    """In messages, and so is what was read in them."""
    text: str
    option: str
    """What asks for it."""
    choices: tuple[object, ...]
    """Of that, besides an engine itself."""
    of_pages: bool

    @property
    def asked(self) -> str:
        """How it is asked for."""
        flag = self.option.replace("_", "-")
        return f"{self.option}={self.choices[0]!r} (--{flag} rapidocr)"


_NAMES = get_args(EngineName)
PICTURES = Reads(
    *(LETTERING, "pictures", LETTERING, "read_pictures"),
    (True, *_NAMES),
    of_pages=False,
)
SCANS = Reads(*("scans", "scans", "text of scans", "read_scans"), _NAMES, of_pages=True)


class Engine:
    """What reads for one index.

    Args:
        card: Which engine the store was read by.
        catalogue: Where what was read is kept.
        reader: The engine; None: it is made of its name when it is needed.

    Attributes:
        card: Which engine it is.
        read_by: The same, as nodes have it.
    """

    reads: ClassVar[Reads]

    def __init__(
        self, card: ReaderCard, catalogue: Catalogue, reader: PictureReader | None
    ) -> None:
        self.card = card
        self.read_by = f"{card.name} {card.version}"
        self._catalogue = catalogue
        self._reader = reader

    @property
    def reader(self) -> PictureReader:
        """The engine.

        Raises:
            CollectionMismatch: Another version is installed than the store was read by.
            InvalidSetting: It is an engine of the user's own.
            MissingExtra: It is not installed.
        """
        if self._reader is None:
            reader = reader_again(self.card, self.reads)
            check_reader(self.card, reader, self.reads, "the index")
            self._reader = reader
        return self._reader

    def close(self) -> None:
        """Give back the engine; the next picture begins it anew."""
        if self._reader is not None:
            self._reader.close()

    def known(self, key: str) -> list[Line] | None:
        """Return what was read in a picture, of any confidence; None: nothing was.

        Args:
            key: As for `lines_in`.
        """
        kept = self._catalogue.derived_text(*self._row(key))
        try:
            found = json.loads(kept or "")
            return [
                Line(text, (a, b, c, d), sure) for text, (a, b, c, d), sure in found
            ]
        except (ValueError, TypeError):
            return None

    def lines_in(self, key: str, picture: Callable[[], bytes]) -> list[Line]:
        """Return what was or is read in a picture, of any confidence.

        Args:
            key: Names what is in it; what was read is kept under that.
            picture: Its file's bytes, where it was not read yet.

        Raises:
            CollectionMismatch, InvalidSetting, MissingExtra: As of `reader`.
            ImageUnreadable: The engine cannot read it.
            ReaderUnusable: The engine reads no picture.
        """
        if (known := self.known(key)) is not None:
            return known
        reader = self.reader
        data = picture()
        try:
            lines = reader.read(data)
            if not all(isinstance(line, Line) for line in lines):
                raise TypeError(f"read() gave {lines!r:.80}; expected Lines")  # noqa: TRY301
        except MmragError:
            raise
        except Exception as error:  # an engine of one's own
            failed = f"{type(reader).__name__} failed: {type(error).__name__}: {error}"
            raise ImageUnreadable(failed) from error
        kept = json.dumps([[n.text, [*n.box], n.confidence] for n in lines])
        self._catalogue.set_derived_text(*self._row(key), kept)
        return lines

    def _row(self, key: str) -> tuple[str, str, str, str]:
        card = self.card
        return key, self.reads.name, card.name, f"{card.version} {card.language}"


def reader_again(card: ReaderCard, reads: Reads) -> PictureReader:
    """Return the engine that read for a store, in its language.

    Another version may be installed since then.

    Raises:
        InvalidSetting: It is an engine of the user's own.
        MissingExtra, ReaderUnusable: As of `reader_of`.
    """
    if card.name not in _NAMES:
        raise InvalidSetting(
            f"The store's {reads.called} were read by {card}, an engine of somebody's "
            f"own; expected it as {reads.option}=, which takes the engine itself, to "
            f"go on with. Or read all {reads.called} anew: {reads.asked}, with "
            f"reread={reads.name!r} (--reread {reads.name})."
        )
    return reader_of(card.name, card.language, of_pages=reads.of_pages)  # type: ignore[arg-type]


def check_reader(
    card: ReaderCard, reader: PictureReader, reads: Reads, where: object
) -> None:
    """Do nothing if this engine read for a store.

    Args:
        card: Which one did.
        reader: The one that is to go on.
        reads: What.
        where: The store's name.

    Raises:
        CollectionMismatch: It is another engine, version or language.
    """
    if not card.is_of(reader):
        raise CollectionMismatch(
            f"The {reads.text} of {where} was read by {card}; asked for, or installed, "
            f"is {ReaderCard.of(reader)}. What they read differs: go on with the "
            f"former, or read all {reads.called} anew with reread={reads.name!r} "
            f"(--reread {reads.name})."
        )
