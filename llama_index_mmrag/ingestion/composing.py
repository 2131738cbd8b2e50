"""Composing: a collection of composed vectors, kept in step with those of the parts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from llama_index.core.schema import BaseNode, ImageNode

from llama_index_mmrag.composition import Composition
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.ingestion.encoding import Note, encode_good, encode_words
from llama_index_mmrag.ingestion.linked import IMAGE, TEXT, holds
from llama_index_mmrag.ingestion.taking_over import take_over
from llama_index_mmrag.nodes.node import (
    POSITION_KEY,
    entity_of,
    modality_of,
    words_of,
)
from llama_index_mmrag.retrieval.channel import Channel

Gone = Mapping[str, Collection[str]]
"""Ids of nodes that are about to be removed, by modality."""

_SAME = 1e-5
"""In a store of float32, what is composed twice of the same parts differs by less."""

_SAME_HALVED = 5e-4
"""The same in one of float16, whose numbers are 4.9e-4 apart just below 1."""


_Vector: TypeAlias = "Sequence[float] | None"

_Row: TypeAlias = tuple[BaseNode, _Vector, _Vector]
"""A node, and the vectors of words and picture that its own is composed of."""


class Composer:
    """Keeps a channel's collection what the parts' collections make of it.

    It holds every node of the two, under the same id, but for words of pictures: these
    are in their picture's vector, or in no text. A picture's vector is composed of
    the picture and its caption, or else the first text of its entity in document order;
    that of a text, or of a picture without either, is of this part alone.

    The parts' vectors are read from their collections, and so encoded once for both;
    captions, which no other collection holds as texts, are encoded here.

    Args:
        composed: The channel, with its composition.
        text: The channel of texts.
        image: The channel of pictures.
    """

    def __init__(self, composed: Channel, *, text: Channel, image: Channel) -> None:
        assert composed.composition is not None, composed.name
        self.channel = composed
        self._rule: Composition = composed.composition
        self._parts = {TEXT: text, IMAGE: image}

    def update(
        self,
        touched: Iterable[BaseNode],
        *,
        gone: Gone,
        note: Note,
        donors: Sequence[str] = (),
    ) -> None:
        """Compose anew what depends on nodes that were written or are to be removed.

        Call it after writing to the parts' collections and before removing from them:
        what is interrupted in between is made good by repeating it.

        Args:
            touched: The nodes, as they are wanted and, where that differs, as they
                were; their vectors are not looked at.
            gone: The nodes among them that are to be removed.
            note: Told of captions that cannot be encoded.
            donors: Ids of nodes that may be composed of the same.
        """
        listed = [node for node in touched if not words_of(node.metadata)]
        texts = self._present(TEXT, listed, gone)
        pictures = self._present(IMAGE, listed, gone)
        pictures |= self._dependent_pictures(listed, gone)
        known = texts | pictures
        there = self.channel.collection.nodes(known, with_vectors=True)
        stored = {node.node_id: node for node in there}
        captioned = [
            node
            for node_id, node in pictures.items()
            if isinstance(node, ImageNode)
            and not _lacks_caption(node)
            and not (node_id in stored and holds(stored[node_id], node))
        ]
        left: Sequence[BaseNode] = captioned
        if donors:
            taken, left = take_over(self.channel, captioned, donors)
            self.channel.collection.add(taken)
        encoded = encode_good(self._parts[TEXT], left, encode_words, note)
        rows: list[_Row] = [(node, node.embedding, None) for node in texts.values()]
        for words in encoded:
            picture = pictures[words.node_id]
            rows.append((picture, words.embedding, picture.embedding))
        rows += self._without_caption(pictures.values(), gone)
        self._write(rows, stored)
        lost = {node.node_id for node in left}
        lost -= {node.node_id for node in encoded}
        removed = {node_id for ids in gone.values() for node_id in ids} - known.keys()
        self.channel.collection.remove(sorted(removed | (lost & stored.keys())))

    def _present(
        self, modality: str, touched: Iterable[BaseNode], gone: Gone
    ) -> dict[str, BaseNode]:
        wanted = {n.node_id for n in touched if modality_of(n) == modality}
        wanted -= set(gone.get(modality, ()))
        collection = self._parts[modality].collection
        return {n.node_id: n for n in collection.nodes(wanted, with_vectors=True)}

    def _dependent_pictures(
        self, touched: Iterable[BaseNode], gone: Gone
    ) -> dict[str, BaseNode]:
        """Return the pictures without a caption of which a text came or went."""
        entities = {entity_of(n) for n in touched if modality_of(n) == TEXT}
        found = self._parts[IMAGE].of_entities(sorted(entities), with_vectors=True)
        return {
            node.node_id: node
            for node in found
            if _lacks_caption(node) and node.node_id not in gone.get(IMAGE, ())
        }

    def _without_caption(
        self, pictures: Collection[BaseNode], gone: Gone
    ) -> Iterator[_Row]:
        """Yield pictures with the first text of their entity that stays."""
        entities = {entity_of(node) for node in pictures if _lacks_caption(node)}
        found = self._parts[TEXT].of_entities(sorted(entities), with_vectors=True)
        kept = [
            node
            for node in found
            if node.node_id not in gone.get(TEXT, ()) and not words_of(node.metadata)
        ]
        kept.sort(key=lambda n: (n.metadata.get(POSITION_KEY, 0), n.node_id))
        first: dict[str, BaseNode] = {}
        for node in kept:
            first.setdefault(entity_of(node), node)
        for node in pictures:
            if not isinstance(node, ImageNode):  # a text that somebody put there
                yield node, None, node.embedding
            elif _lacks_caption(node):
                text = first.get(entity_of(node))
                yield node, text.embedding if text else None, node.embedding

    def _write(self, rows: Sequence[_Row], stored: Mapping[str, BaseNode]) -> None:
        if not rows:
            return
        vectors = self._rule.compose(
            self._matrix(TEXT, [words for _, words, _ in rows]),
            self._matrix(IMAGE, [picture for _, _, picture in rows]),
        )
        changed = []
        for (node, _, _), vector in zip(rows, vectors, strict=True):
            there = stored.get(node.node_id)
            if there is None or not _is(there, node, vector):
                update = {"embedding": vector.tolist()}
                changed.append(node.model_copy(update=update))
        self.channel.collection.add(changed)

    def _matrix(
        self, modality: str, vectors: Sequence[_Vector]
    ) -> npt.NDArray[np.float64]:
        dim = next((len(v) for v in vectors if v is not None), 0)
        dim = dim or dimension_of(self._parts[modality].embed_model)
        matrix = np.zeros((len(vectors), dim))
        for row, vector in enumerate(vectors):
            if vector is not None:
                matrix[row] = vector
        return matrix


def _lacks_caption(node: BaseNode) -> bool:
    return isinstance(node, ImageNode) and not node.text.strip()


def _is(stored: BaseNode, wanted: BaseNode, vector: npt.NDArray[np.float64]) -> bool:
    if stored.embedding is None:
        return False
    known = np.array(stored.embedding)
    is_halved = np.array_equal(known, known.astype(np.float16))
    same = np.abs(known - vector).max() <= (_SAME_HALVED if is_halved else _SAME)
    return bool(same) and holds(stored, wanted)
