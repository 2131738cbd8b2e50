"""The offline encoder with all that it sees in a picture: what heads are learned on."""

from __future__ import annotations

import numpy as np

from llama_index_mmrag.embeddings.conse import conse
from llama_index_mmrag.embeddings.efficientnet_lite import N_FEATURES
from llama_index_mmrag.embeddings.minilm import DIMENSION
from llama_index_mmrag.embeddings.offline import (
    ClassifiedPictures,
    OfflineTextEmbedding,
)
from llama_index_mmrag.embeddings.picture_tower import ImageFeatures, class_vectors
from llama_index_mmrag.vectors import Vectors

FEATURES_SPACE = "offline-minilm-conse-features-v1"
"""Name of the vector space: a text's 384 numbers, a picture's 1,664."""


class OfflineFeaturesEmbedding(OfflineTextEmbedding, ClassifiedPictures):
    """Texts as 384 numbers, pictures as 1,664: their ConSE vector and their features.

    The ConSE part has length 1; the features are as the classifier gives them.

    Not for an index by itself: pictures and texts are of different lengths. It is the
    encoder of a `TransformedEmbedding`, whose picture transform makes 384 numbers of
    the 1,664: `mmrag align` fits one, and `TransformedEmbedding.from_alignment` with
    the file alone puts the two together.

    Example:
        >>> from PIL import Image
        >>> encoder = OfflineFeaturesEmbedding()
        >>> encoder.encode_images([Image.new("RGB", (64, 48), "orange")]).shape
        (1, 1664)
    """

    model_name: str = "all-MiniLM-L6-v2-int8+efficientnet-lite0-features"

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "OfflineFeaturesEmbedding"

    @property
    def image_dimension(self) -> int:
        """Length of a picture's vector: 1664."""
        return DIMENSION + N_FEATURES

    @property
    def plain_columns(self) -> tuple[int, int]:
        """Columns of a picture's vector that lie in the texts' space: ConSE."""
        return (0, DIMENSION)

    @property
    def feature_columns(self) -> tuple[int, int]:
        """Columns of a picture's vector that heads learn from: the classifier's."""
        return (DIMENSION, DIMENSION + N_FEATURES)

    @property
    def space_id(self) -> str:
        """Name of the vector space: vectors of different spaces must not be compared.

        No learned head takes part, so there is one only.
        """
        return FEATURES_SPACE

    def _placed(self, seen: ImageFeatures) -> Vectors:
        placed = conse(seen.logits, class_vectors())
        return np.concatenate([placed, seen.features], axis=1)
