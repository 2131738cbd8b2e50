"""What splits documents in place of our own reader: given, or LlamaIndex's Settings."""

from __future__ import annotations

from collections.abc import Iterable

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.schema import TransformComponent

from llama_index_mmrag.errors import InvalidSetting


def without_encoders(
    steps: Iterable[TransformComponent], name: str
) -> tuple[TransformComponent, ...]:
    """Return the steps, if all that is stored is encoded by the index's encoders alone.

    Args:
        steps: LlamaIndex's transformations.
        name: What they are called where they were given.

    Raises:
        InvalidSetting: One is an encoder.
    """
    steps = tuple(steps)
    for step in steps:
        if isinstance(step, BaseEmbedding):
            raise InvalidSetting(
                f"{name} has the encoder {step.class_name()}; expected what splits and "
                f"enriches documents. Give it as embed_model= or image_embed_model= "
                f"of the index: all that is stored is encoded by these."
            )
    return steps
