"""Lettering: what a machine reads in pictures becomes texts beside them.

Each picture is read once: what was read is kept in the catalogue, under its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from llama_index.core.schema import BaseNode, ImageNode, TextNode
from llama_index.core.utils import get_tokenizer

from llama_index_mmrag.errors import (
    ImageUnreadable,
)
from llama_index_mmrag.ingestion.encoding import Note, encode_good, encode_nodes
from llama_index_mmrag.ingestion.engine import PICTURES, Engine
from llama_index_mmrag.ingestion.identity import derived_id
from llama_index_mmrag.ingestion.linked import IMAGE, holds
from llama_index_mmrag.ingestion.records import Problem, SourceRecord
from llama_index_mmrag.ingestion.words import text_beside
from llama_index_mmrag.lettering import (
    Line,
    PictureReader,
    confident,
    words_in,
)
from llama_index_mmrag.nodes.images import image_bytes
from llama_index_mmrag.nodes.node import (
    KIND_KEY,
    LETTERING,
    LINES_KEY,
    READ_BY_KEY,
    SCAN,
    WORDS_OF_KEY,
    modality_of,
)
from llama_index_mmrag.nodes.shown import picture_of, source_of
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue
from llama_index_mmrag.stores.format import ReaderCard

R = TypeVar("R", SourceRecord, SourceRecord | Problem)

_DOCUMENTS_AT_ONCE = 256


class Lettering(Engine):
    """What reads the pictures of one index.

    Args:
        card: As for `Engine`, and so are the next two.
        catalogue: As there.
        reader: As there.
        most_tokens: Of a text; lettering that is longer is cut between lines.

    Attributes:
        card: Which engine it is, and whether all pictures that are stored were read.
    """

    reads = PICTURES

    def __init__(
        self,
        card: ReaderCard,
        catalogue: Catalogue,
        reader: PictureReader | None = None,
        *,
        most_tokens: int,
    ) -> None:
        super().__init__(card, catalogue, reader)
        self._most_tokens = most_tokens

    def __reduce__(self) -> tuple[Any, ...]:
        # An engine begins anew where the pickle is read.
        made = partial(type(self), most_tokens=self._most_tokens)
        return made, (self.card, self._catalogue)

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
        if node.metadata.get(KIND_KEY) == SCAN:  # its words are the page's text
            return []
        try:
            picture = image_bytes(picture_of(node))
            lines = self.lines_in(hashlib.sha256(picture).hexdigest(), lambda: picture)
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
            READ_BY_KEY: self.read_by,
            LINES_KEY: [{**line._asdict(), "box": [*line.box]} for line in lines],
        }
        id_ = derived_id(LETTERING, picture.node_id, self.read_by, n, text)
        return text_beside(picture, text, about, id_=id_, modality=LETTERING)


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
