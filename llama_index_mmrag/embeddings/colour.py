"""A small, real encoder for tests and demonstrations: texts and pictures by colour."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.bridge.pydantic import Field
from llama_index.core.embeddings import MultiModalEmbedding

from llama_index_mmrag.checks.components import CheckedComponent
from llama_index_mmrag.embeddings.encoder import InProcess
from llama_index_mmrag.nodes.images import ImageSource, load_image

COLOURS: Mapping[str, tuple[float, float, float]] = {
    "red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0), "blue": (0.0, 0.0, 1.0),
    "yellow": (1.0, 1.0, 0.0), "magenta": (1.0, 0.0, 1.0), "cyan": (0.0, 1.0, 1.0),
    "orange": (1.0, 0.5, 0.0), "white": (1.0, 1.0, 1.0), "grey": (0.5, 0.5, 0.5),
    "gray": (0.5, 0.5, 0.5), "black": (0.0, 0.0, 0.0),
}  # fmt: skip
"""The words that are understood, as red, green and blue in [0, 1]."""


class ColourEncoder(CheckedComponent, InProcess, MultiModalEmbedding):
    """Texts and pictures as 4 numbers of length 1: where their mean colour points.

    A text is the mean of its colour words, a picture the mean of its pixels, so that
    every score can be worked out by hand: "red" and a red picture have cosine 1, "red"
    and a yellow one 1/√2. What has no colour (black, no colour word) counts as grey.
    It needs no weights and no other package, and tells whether an application's parts
    are wired up rightly; it is no encoder for real questions.

    The fourth number is 0 for texts and grows with `modality_gap` for pictures, which
    then lie apart from texts as CLIP's do (Liang et al. 2022,
    https://arxiv.org/abs/2203.02053): a text and a picture have their colours' cosine
    divided by √(1 + gap²).

    Example:
        >>> from PIL import Image
        >>> encoder = ColourEncoder(modality_gap=0.75)
        >>> encoder.get_text_embedding("a Red cube")
        [1.0, 0.0, 0.0, 0.0]
        >>> encoder.get_image_embedding(Image.new("RGB", (8, 8), "red"))
        [0.8, 0.0, 0.0, 0.6]
    """

    model_name: str = "colour"
    modality_gap: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Offset of pictures from texts, before they get length 1.",
    )

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "ColourEncoder"

    @property
    def dimension(self) -> int:
        """Length of the vectors: 4."""
        return 4

    @property
    def space_id(self) -> str:
        """Name of the vector space; vectors of different spaces do not compare."""
        return f"colour-v1-gap{self.modality_gap:g}"

    def _get_text_embedding(self, text: str) -> Embedding:
        words = re.findall(r"[a-z]+", text.lower())
        colours = [COLOURS[word] for word in words if word in COLOURS]
        mean = np.mean(colours, axis=0) if colours else np.zeros(3)
        return _direction(mean, gap=0.0)

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._get_text_embedding(query)

    def _get_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        pixels = np.asarray(load_image(img_file_path), dtype=np.float64)  # (h, w, 3)
        return _direction(pixels.mean(axis=(0, 1)) / 255.0, gap=self.modality_gap)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embedding(text)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self._get_text_embedding(query)

    async def _aget_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)


def _direction(colour: npt.NDArray[np.float64], *, gap: float) -> Embedding:
    if not colour.any():
        colour = np.ones(3)
    unit = colour / np.linalg.norm(colour)
    vector: Embedding = (np.append(unit, gap) / np.hypot(1.0, gap)).tolist()
    return vector
