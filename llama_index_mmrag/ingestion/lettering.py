"""Lettering: what a machine reads in pictures becomes texts beside them.

Each picture is read once: what was read is kept in the catalogue, under its bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, get_args

from llama_index.core.schema import BaseNode, ImageNode, TextNode
from llama_index.core.utils import get_tokenizer

from llama_index_mmrag.errors import (
    CollectionMismatch,
    ImageUnreadable,
    InvalidSetting,
    MmragError,
)
from llama_index_mmrag.ingestion.encoding import Note, encode_good, encode_nodes
from llama_index_mmrag.ingestion.identity import derived_id
from llama_index_mmrag.ingestion.linked import IMAGE, holds
from llama_index_mmrag.ingestion.records import Problem, SourceRecord
from llama_index_mmrag.ingestion.words import text_beside
from llama_index_mmrag.lettering import (
    Line,
    PictureReader,
    confident,
    reader_of,
    words_in,
)
from llama_index_mmrag.lettering.reader import Engine
from llama_index_mmrag.nodes.images import image_bytes
from llama_index_mmrag.nodes.node import (
    KIND_KEY,
    LETTERING,
    LINES_KEY,
    READ_BY_KEY,
    WORDS_OF_KEY,
    modality_of,
)
from llama_index_mmrag.nodes.shown import picture_of, source_of
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue
from llama_index_mmrag.stores.format import ReaderCard

R = TypeVar("R", SourceRecord, SourceRecord | Problem)

_DOCUMENTS_AT_ONCE = 256


class Lettering:
    """What reads the pictures of one index.

    Args:
        card: Which engine the store's pictures are read by.
        catalogue: Where what was read is kept.
        reader: The engine; None: it is made of its name when it is needed.
        most_tokens: Of a text; lettering that is longer is cut between lines.

    Attributes:
        card: Which engine it is, and whether all pictures that are stored were read.
    """

    def __init__(
        self,
        card: ReaderCard,
        catalogue: Catalogue,
        reader: PictureReader | None = None,
        *,
        most_tokens: int,
    ) -> None:
        self.card = card
        self._catalogue = catalogue
        self._reader = reader
        self._most_tokens = most_tokens
        self._read_by = f"{card.name} {card.version}"

    def __reduce__(self) -> tuple[Any, ...]:
        # An engine begins anew where the pickle is read.
        made = partial(type(self), most_tokens=self._most_tokens)
        return made, (self.card, self._catalogue)

    @property
    def reader(self) -> PictureReader:
        """The engine.

        Raises:
            CollectionMismatch: Another version is installed than the store was read by.
            InvalidSetting: It is an engine of the user's own.
            MissingExtra: It is not installed.
        """
        if self._reader is None:
            reader = reader_again(self.card)
            check_reader(self.card, reader, "The index's lettering")
            self._reader = reader
        return self._reader

    def close(self) -> None:
        """Give back the engine; the next picture begins it anew."""
        if self._reader is not None:
            self._reader.close()

    def added_to(self, record: R) -> R:
        """Return a record with the lettering of its pictures; a problem as it is.

        A picture that cannot be read is in without it, which is a problem of the
        record's.

        Raises:
            CollectionMismatch, InvalidSetting, MissingExtra: As of `reader`.
            ReaderUnusable: The engine reads no picture.
        """
        if not isinstance(record, SourceRecord):
            return record
        problems: list[Problem] = []
        texts: list[TextNode] = []
        for node in record.nodes:
            texts += self.texts_of(node, problems.append)
        if not texts and not problems:
            return record
        nodes = (*record.nodes, *texts)
        return replace(record, nodes=nodes, problems=(*record.problems, *problems))

    def texts_of(self, node: BaseNode, note: Note) -> list[TextNode]:
        """Return the lettering of a node, if it is a picture with any.

        Args:
            node: Finished: with the id that it is stored under, and its metadata.
            note: Told of a picture that cannot be read.
        """
        if not isinstance(node, ImageNode) or modality_of(node) != IMAGE:
            return []
        try:
            lines = self._lines(image_bytes(picture_of(node)))
        except ImageUnreadable as error:
            reason = f"Its lettering was not read: {error}"
            note(Problem(source_of(node), reason, is_part=True))
            return []
        if words_in(lines) is None:
            return []
        parts = enumerate(_cut(confident(lines), self._most_tokens))
        return [self._text(node, n, part) for n, part in parts]

    def _text(self, picture: ImageNode, n: int, lines: Sequence[Line]) -> TextNode:
        text = "\n".join(line.text for line in lines)
        about = {
            KIND_KEY: LETTERING,
            WORDS_OF_KEY: picture.node_id,
            READ_BY_KEY: self._read_by,
            LINES_KEY: [{**line._asdict(), "box": [*line.box]} for line in lines],
        }
        id_ = derived_id(LETTERING, picture.node_id, self._read_by, n, text)
        return text_beside(picture, text, about, id_=id_, modality=LETTERING)

    def _lines(self, picture: bytes) -> list[Line]:
        """Return what was or is read in a picture, of any confidence."""
        sha256, card = hashlib.sha256(picture).hexdigest(), self.card
        key = sha256, LETTERING, card.name, f"{card.version} {card.language}"
        if (known := _lines_of(self._catalogue.derived_text(*key))) is not None:
            return known
        reader = self.reader
        try:
            lines = reader.read(picture)
            if not all(isinstance(line, Line) for line in lines):
                raise TypeError(f"read() gave {lines!r:.80}; expected Lines")  # noqa: TRY301
        except MmragError:
            raise
        except Exception as error:  # an engine of one's own
            failed = f"{type(reader).__name__} failed: {type(error).__name__}: {error}"
            raise ImageUnreadable(failed) from error
        kept = json.dumps([[n.text, [*n.box], n.confidence] for n in lines])
        self._catalogue.set_derived_text(*key, kept)
        return lines


def reader_again(card: ReaderCard) -> PictureReader:
    """Return the engine that read a store's pictures, in its language.

    Another version may be installed since then.

    Raises:
        InvalidSetting: It is an engine of the user's own.
        MissingExtra, ReaderUnusable: As of `reader_of`.
    """
    if card.name not in get_args(Engine):
        raise InvalidSetting(
            f"The store's pictures were read by {card}, an engine of somebody's own; "
            f"expected it as read_pictures=, which takes the engine itself, to go on "
            f'with. Or read all pictures anew: read_pictures=True, reread="lettering" '
            f"(--read-pictures --reread lettering)."
        )
    return reader_of(card.name, card.language)  # type: ignore[arg-type]


def check_reader(card: ReaderCard, reader: PictureReader, what: str) -> None:
    """Do nothing if this engine read a store's pictures.

    Args:
        card: Which one did.
        reader: The one that is to go on.
        what: The store's lettering, as the beginning of a sentence.

    Raises:
        CollectionMismatch: It is another engine, version or language.
    """
    if not card.is_of(reader):
        raise CollectionMismatch(
            f"{what} was read by {card}; asked for, or installed, is "
            f"{ReaderCard.of(reader)}. What they read differs: go on with the former, "
            f'or read all pictures anew with reread="lettering" (--reread lettering).'
        )


def read_all(
    lettering: Lettering,
    pictures: Channel,
    texts: Channel,
    catalogue: Catalogue,
    note: Note,
) -> None:
    """Bring the lettering of all stored pictures up to date; killed, it is repeated.

    Args:
        lettering: What reads them.
        pictures: Their channel.
        texts: That of lettering.
        catalogue: What is known of files: those whose pictures could not be read are
            read again when they are inserted again.
        note: Told of pictures that cannot be read.
    """
    for documents in _parts(sorted(pictures.collection.document_ids())):
        problems: list[Problem] = []
        failed: set[str] = set()
        wanted: dict[str, TextNode] = {}
        ids = pictures.collection.ids_of_documents(documents)
        for node in pictures.collection.nodes(ids):
            n_before = len(problems)
            found = lettering.texts_of(node, problems.append)
            wanted |= {text.node_id: text for text in found}
            if len(problems) > n_before and node.ref_doc_id:
                failed.add(node.ref_doc_id)
        there = texts.collection.nodes(texts.collection.ids_of_documents(documents))
        same = {n.node_id for n in there if _is_there(n, wanted)}
        new = [text for node_id, text in wanted.items() if node_id not in same]
        encoded = encode_good(texts, new, encode_nodes, problems.append)
        texts.collection.add(encoded)
        stale = [n.node_id for n in there if n.node_id not in wanted]
        texts.collection.remove(stale)
        catalogue.forget(failed)
        for problem in problems:
            note(problem)


def _is_there(stored: BaseNode, wanted: Mapping[str, TextNode]) -> bool:
    return stored.node_id in wanted and holds(stored, wanted[stored.node_id])


def _parts(documents: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(documents), _DOCUMENTS_AT_ONCE):
        yield documents[start : start + _DOCUMENTS_AT_ONCE]


def _cut(lines: Sequence[Line], most: int) -> list[list[Line]]:
    """Return the lines in parts of at most `most` tokens, or of one line."""
    parts: list[list[Line]] = [[]]
    n_tokens, tokens_of = 0, get_tokenizer()
    for line in lines:
        n = len(tokens_of(line.text))
        if parts[-1] and n_tokens + n > most:
            parts.append([])
            n_tokens = 0
        parts[-1].append(line)
        n_tokens += n
    return parts


def _lines_of(kept: str | None) -> list[Line] | None:
    """Return the lines that a catalogue keeps; None where it keeps none."""
    try:
        found = json.loads(kept or "")
        return [Line(text, (a, b, c, d), sure) for text, (a, b, c, d), sure in found]
    except (ValueError, TypeError):
        return None
