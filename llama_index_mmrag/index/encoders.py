"""Which encoders an index has: given, of LlamaIndex's Settings, or the default."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from llama_index.core import Settings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MockEmbedding, MultiModalEmbedding

from llama_index_mmrag.checks import instance
from llama_index_mmrag.embeddings.dimension import check_one_length
from llama_index_mmrag.embeddings.named import OFFLINE, encoder_named
from llama_index_mmrag.errors import CollectionMismatch

_LOG = logging.getLogger(__name__)


class Encoders(NamedTuple):
    """An index's encoders by collection, and where each comes from."""

    of: dict[str, BaseEmbedding]
    whence: dict[str, str]

    @contextmanager
    def told(self) -> Iterator[None]:
        """Say, where a store was filled by others, where these come from."""
        try:
            yield
        except CollectionMismatch as error:
            told = " and ".join(f"of {what} {it}" for what, it in self.whence.items())
            raise CollectionMismatch(f"{error} Here the encoder {told}.") from error


def encoders_of(embed_model: Any, image_embed_model: Any) -> Encoders:
    """Return an index's encoders, checked.

    Texts: `embed_model`, else `Settings.embed_model` where it was set, else
    `image_embed_model`. Pictures: `image_embed_model`, else the former where it is
    multimodal. What is left is for the offline encoder.

    Raises:
        InvalidSetting: One names no encoder, or `image_embed_model` has no pictures, or
            pictures and texts of two lengths.
        MissingExtra: An encoder's packages are not installed.
    """
    texts, of_texts = _texts(embed_model)
    if image_embed_model is not None:
        images = encoder_named(image_embed_model, "image_embed_model")
        of_images = "is the argument image_embed_model"
        instance(
            images,
            "image_embed_model",
            MultiModalEmbedding,
            advice="An encoder of texts alone goes beside it, as embed_model.",
        )
    elif isinstance(texts, MultiModalEmbedding):
        images, of_images = texts, of_texts
    else:
        images, of_images = encoder_named(OFFLINE, "embed_model"), "is the default"
        if texts is not None:
            _LOG.info(
                "%s encodes no pictures: the offline encoder does. Give another as "
                "image_embed_model.",
                texts.class_name(),
            )
    if texts is None:
        texts, of_texts = images, of_images
    check_one_length(images)
    return Encoders(
        {"text": texts, "image": images}, {"texts": of_texts, "pictures": of_images}
    )


def _texts(embed_model: Any) -> tuple[BaseEmbedding | None, str]:
    if embed_model is not None:
        return encoder_named(embed_model, "embed_model"), "is the argument embed_model"
    # Never the property: where nothing was set, it makes a client of OpenAI's.
    chosen = Settings._embed_model  # noqa: SLF001
    if isinstance(chosen, MockEmbedding) and chosen.embed_dim == 1:
        return None, ""  # what `Settings.embed_model = None` leaves
    return chosen, "is Settings.embed_model"
