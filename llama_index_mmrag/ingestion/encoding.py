"""Encoding: nodes into vectors, texts and pictures each in one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import TypeAlias

import numpy as np
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode

from llama_index_mmrag.embeddings.unread import warn_of_unread
from llama_index_mmrag.errors import (
    ImageUnreadable,
    InvalidSetting,
    InvalidVector,
    MissingExtra,
)
from llama_index_mmrag.ingestion.records import Problem
from llama_index_mmrag.nodes.node import text_of_picture
from llama_index_mmrag.nodes.shown import picture_of, source_of
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.vectors import has_direction

FAILURES_OF_AN_ENCODER = 8
"""Nodes that fail one after the other before the encoder is taken to be broken."""

Encode: TypeAlias = Callable[[Channel, Sequence[BaseNode]], list[list[float]]]
"""Returns the nodes' vectors by a channel's encoder, in order."""

Note: TypeAlias = Callable[[Problem], None]
"""Takes a problem."""


def encode_good(
    channel: Channel, nodes: Sequence[BaseNode], encode: Encode, note: Note
) -> list[BaseNode]:
    """Return copies with their vectors; nodes that cannot have one are noted.

    Raises:
        Exception: What the encoder raises, if it is the encoder that is broken: saying
            so once beats a problem for each node.
    """
    encoded: list[BaseNode] = []
    failed: list[tuple[BaseNode, Exception]] = []
    batches = [nodes] if nodes else []
    while batches:
        batch = batches.pop()
        try:
            vectors = encode(channel, batch)
            encoded += [
                node.model_copy(update={"embedding": vector})
                for node, vector in zip(batch, vectors, strict=True)
            ]
        except MissingExtra:
            raise
        except Exception as error:
            if len(batch) > 1:
                # Halving finds the bad nodes and keeps most of the batch batched.
                half = len(batch) // 2
                batches += [batch[half:], batch[:half]]
                continue
            failed.append((batch[0], error))
            unexplained = [e for _, e in failed if not isinstance(e, ImageUnreadable)]
            if not encoded and len(unexplained) >= FAILURES_OF_AN_ENCODER:
                raise
    for node, reason in failed:
        # Without its words, a picture is in.
        is_part = bool(text_of_picture(node.metadata))
        note(Problem(source_of(node), str(reason) or repr(reason), is_part))
    return encoded


def encode_nodes(channel: Channel, nodes: Sequence[BaseNode]) -> list[list[float]]:
    """Return the nodes' vectors by the channel's encoder, shape (n, dim), in order.

    Raises:
        InvalidSetting: There are pictures, and the encoder cannot encode them.
        InvalidVector: The encoder made too few or too many vectors, or one that has no
            direction: all zeros, NaN or infinite.
        ImageUnreadable: A picture cannot be read.
    """
    pictures = [node for node in nodes if isinstance(node, ImageNode)]
    texts = [node for node in nodes if not isinstance(node, ImageNode)]
    vectors = [*encode_words(channel, texts), *_encode_pictures(channel, pictures)]
    by_id = dict(zip((n.node_id for n in (*texts, *pictures)), vectors, strict=True))
    return [by_id[node.node_id] for node in nodes]


def encode_words(channel: Channel, nodes: Sequence[BaseNode]) -> list[list[float]]:
    """Return the vectors of the nodes' texts, shape (n, dim); pictures' are captions.

    Raises:
        InvalidVector: As `encode_nodes` does.
    """
    if not nodes:
        return []
    texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
    vectors = channel.embed_model.get_text_embedding_batch(texts)
    return _checked(vectors, nodes, channel)


def n_unread(channel: Channel, nodes: Sequence[BaseNode]) -> int:
    """Return how many texts the channel's encoder does not read; warn of them."""
    texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
    return warn_of_unread(channel.embed_model, texts)


def _encode_pictures(channel: Channel, nodes: Sequence[ImageNode]) -> list[list[float]]:
    if not nodes:
        return []
    if not isinstance(channel.embed_model, MultiModalEmbedding):
        raise InvalidSetting(
            f"Channel {channel.name!r} got pictures, but its encoder "
            f"{channel.embed_model.class_name()} cannot encode them. Open the index "
            f"with a MultiModalEmbedding for pictures."
        )
    found = map(picture_of, nodes)
    pictures = [BytesIO(p) if isinstance(p, bytes) else p for p in found]
    vectors = channel.embed_model.get_image_embedding_batch(pictures)
    return _checked(vectors, nodes, channel)


def _checked(
    vectors: list[list[float]], nodes: Sequence[BaseNode], channel: Channel
) -> list[list[float]]:
    if len(vectors) != len(nodes):
        raise InvalidVector(
            f"The encoder {channel.embed_model.class_name()} made {len(vectors)} "
            f"vectors of {len(nodes)} inputs. Expected one each; check its batching."
        )
    # Those of several lengths the store refuses, which knows the right one.
    if len(set(map(len, vectors))) == 1 and not has_direction(np.array(vectors)).all():
        # One such vector would cost the whole batch: stores refuse them all at once.
        raise InvalidVector(
            f"The encoder {channel.embed_model.class_name()} made a vector without a "
            f"direction: all zeros, NaN or infinite. Check its input and output."
        )
    return vectors
