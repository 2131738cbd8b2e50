"""Encoding in batches, of which the bad nodes are found, noted and left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from llama_index.core.schema import BaseNode, ImageNode

from llama_index_mmrag.errors import ImageUnreadable, MissingExtra
from llama_index_mmrag.ingestion.records import Problem
from llama_index_mmrag.retrieval.channel import Channel

FAILURES_OF_AN_ENCODER = 8
"""Nodes that fail one after the other before the encoder is taken to be broken."""

Encode: TypeAlias = Callable[[Channel, Sequence[BaseNode]], list[list[float]]]
"""Returns the nodes' vectors by a channel's encoder, in order."""


class BatchEncoder:
    """Encodes nodes in large batches; those that cannot be are told and left out.

    Args:
        note: Takes the problems.
    """

    def __init__(self, note: Callable[[Problem], None]) -> None:
        self._note = note
        self._proven: set[str] = set()  # channels whose encoder has worked

    def encoded(
        self, channel: Channel, nodes: Sequence[BaseNode], encode: Encode
    ) -> list[tuple[BaseNode, list[float]]]:
        """Return the nodes with their vectors; those that cannot have one are noted.

        Raises:
            Exception: What the encoder raises, if it is the encoder that is broken:
                saying so once beats a problem for each node.
        """
        encoded: list[tuple[BaseNode, list[float]]] = []
        failed: list[tuple[BaseNode, Exception]] = []
        batches = [nodes] if nodes else []
        while batches:
            batch = batches.pop()
            try:
                vectors = encode(channel, batch)
            except MissingExtra:
                raise
            except Exception as error:
                if len(batch) > 1:
                    # Halving finds the bad nodes and keeps most of the batch batched.
                    half = len(batch) // 2
                    batches += [batch[half:], batch[:half]]
                    continue
                failed.append((batch[0], error))
                if not encoded and _n_unexplained(failed) >= FAILURES_OF_AN_ENCODER:
                    raise
            else:
                encoded += zip(batch, vectors, strict=True)
        if encoded:
            self._proven.add(channel.name)
        elif _n_unexplained(failed) > 1 and channel.name not in self._proven:
            raise failed[-1][1]
        for node, reason in failed:
            self._note(Problem(source_of(node), str(reason) or repr(reason)))
        return encoded


def source_of(node: BaseNode) -> str:
    """Return what a problem calls a node's source: its file, else its document."""
    picture = node.image_path if isinstance(node, ImageNode) else None
    file = picture or node.metadata.get("file_path")
    return str(file or node.ref_doc_id or node.node_id)


def _n_unexplained(failed: Sequence[tuple[BaseNode, Exception]]) -> int:
    return sum(not isinstance(error, ImageUnreadable) for _, error in failed)
