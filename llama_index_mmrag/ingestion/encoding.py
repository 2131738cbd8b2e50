"""Encoding: nodes into vectors, texts and pictures each in one batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode

from llama_index_mmrag.errors import InvalidSetting, InvalidVector
from llama_index_mmrag.nodes.images import node_image
from llama_index_mmrag.retrieval.channel import Channel


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
    vectors = dict(
        (
            *_paired(texts, _text_vectors(channel, texts), channel),
            *_paired(pictures, _picture_vectors(channel, pictures), channel),
        )
    )
    return [vectors[node.node_id] for node in nodes]


def encode_words(channel: Channel, nodes: Sequence[BaseNode]) -> list[list[float]]:
    """Return the vectors of the nodes' texts, shape (n, dim); pictures' are captions.

    Raises:
        InvalidVector: As `encode_nodes` does.
    """
    paired = _paired(nodes, _text_vectors(channel, nodes), channel)
    return [vector for _, vector in paired]


def _text_vectors(channel: Channel, nodes: Sequence[BaseNode]) -> list[list[float]]:
    if not nodes:
        return []
    texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
    return channel.embed_model.get_text_embedding_batch(texts)


def _picture_vectors(channel: Channel, nodes: Sequence[ImageNode]) -> list[list[float]]:
    if not nodes:
        return []
    if not isinstance(channel.embed_model, MultiModalEmbedding):
        msg = (
            f"Channel {channel.name!r} got pictures, but its encoder "
            f"{channel.embed_model.class_name()} cannot encode them. Open the index "
            f"with a MultiModalEmbedding for pictures."
        )
        raise InvalidSetting(msg)
    return channel.embed_model.get_image_embedding_batch(list(map(node_image, nodes)))


def _paired(
    nodes: Sequence[BaseNode], vectors: Sequence[list[float]], channel: Channel
) -> list[tuple[str, list[float]]]:
    encoder = channel.embed_model.class_name()
    if len(vectors) != len(nodes):
        msg = (
            f"The encoder {encoder} made {len(vectors)} vectors of {len(nodes)} "
            f"inputs. Expected one each; check its batching."
        )
        raise InvalidVector(msg)
    for node, vector in zip(nodes, vectors, strict=True):
        # One such vector would cost the whole batch: stores refuse them all at once.
        if not (np.isfinite(vector).all() and np.any(vector)):
            msg = (
                f"The encoder {encoder} gave node {node.node_id!r} a vector without a "
                f"direction: all zeros, NaN or infinite. Check its input and output."
            )
            raise InvalidVector(msg)
    return [(node.node_id, vec) for node, vec in zip(nodes, vectors, strict=True)]
