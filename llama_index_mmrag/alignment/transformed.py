"""LlamaIndex encoders followed by fitted transforms: of texts, and of pictures too."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr, field_serializer
from llama_index.core.embeddings import MultiModalEmbedding

from llama_index_mmrag.alignment.artefact import Alignment
from llama_index_mmrag.alignment.chain import Chain
from llama_index_mmrag.alignment.transforms import Transform
from llama_index_mmrag.checks import rows
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.embeddings.dimension import dimension_of, known_image_dimension
from llama_index_mmrag.embeddings.encoder import PictureEncoder, TextEncoder
from llama_index_mmrag.embeddings.offline import OfflineMultiModalEmbedding
from llama_index_mmrag.embeddings.offline_features import OfflineFeaturesEmbedding
from llama_index_mmrag.embeddings.space import space_of
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.images import ImageSource
from llama_index_mmrag.vectors import Vectors


class TransformedTextEmbedding(TextEncoder):
    """What `TransformedEmbedding` is, for an encoder that has no pictures.

    Args:
        text_encoder: Any LlamaIndex embedding.
        text_transform: What vectors of texts and of queries go through.
    """

    model_name: str = "transformed-text"
    embed_batch_size: int = Field(default=64, gt=0, le=2048)
    text_encoder: BaseEmbedding
    text_transform: Transform
    _dimension: int | None = PrivateAttr(default=None)

    def __init__(
        self, text_encoder: BaseEmbedding, text_transform: Transform, **kwargs: Any
    ) -> None:
        super().__init__(
            text_encoder=text_encoder, text_transform=text_transform, **kwargs
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "TransformedTextEmbedding"

    @field_serializer(
        "text_transform", "image_transform", "query_transform", check_fields=False
    )
    def _name_of(self, transform: Transform) -> str:
        return f"{transform.kind}:{transform.sha[:16]}"

    @property
    def dimension(self) -> int:
        """Length of the vectors; encodes one word if nothing says it before."""
        if self._dimension is None:
            # Chain, projections and the like all know it once the input is known.
            inner = dimension_of(self.text_encoder)
            self._dimension = self.text_transform.out_dim(inner)
        return int(self._dimension or 0)

    @property
    def space_id(self) -> str:
        """Name of the vector space: a hash of the encoder's and the transform's."""
        parts = (space_of(self.text_encoder), self.text_transform.sha)
        return f"transformed-text-v1:{_hash(parts)}"

    @checked
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Return one transformed vector for each text, `(n, dim)`.

        Raises:
            InvalidVector: A vector is not finite, or of another length than the others.
        """
        vectors = self.text_encoder.get_text_embedding_batch(list(texts))
        return self._finished(vectors, self.text_transform, "texts")

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._query_through(self.text_transform, query)

    def _query_through(self, transform: Transform, query: str) -> Embedding:
        vector = self.text_encoder.get_query_embedding(query)
        row: Embedding = self._finished([vector], transform, "queries")[0].tolist()
        return row

    def _finished(
        self, vectors: list[Embedding], transform: Transform, what: str
    ) -> Vectors:
        if not vectors:
            return np.empty((0, 0), dtype=np.float32)
        return rows(
            transform.apply(vectors),
            f"The vectors of {what}",
            dim=self.dimension,
            advice="Project texts and pictures to one length; look at what their "
            "encoder says about them.",
        )


class TransformedEmbedding(TransformedTextEmbedding, PictureEncoder):
    """A text encoder and an image encoder, each followed by fitted transforms.

    Making the object encodes nothing. Async methods run in a thread, whatever the
    encoders do, and give what the sync ones give.

    Args:
        text_encoder: Any LlamaIndex embedding.
        image_encoder: Any LlamaIndex multimodal embedding; None: `text_encoder`, which
            then must be one.
        text_transform: What vectors of documents' texts go through; None: nothing.
        image_transform: What vectors of pictures go through; None: nothing.
        query_transform: What vectors of query texts go through; None: the same as
            `text_transform`. Centering has a mean for each of the three.

    Raises:
        InvalidSetting: `image_encoder` has no pictures, a transform does not fit its
            encoder, or the sides end in different lengths; as far as lengths are known
            before anything is encoded, otherwise `InvalidVector` at the first use.

    Example:
        >>> from llama_index_mmrag.alignment import Center, Chain, Normalize
        >>> from llama_index_mmrag.embeddings.colour import ColourEncoder
        >>> from PIL import Image
        >>> closed = TransformedEmbedding(
        ...     text_encoder=ColourEncoder(modality_gap=0.75),
        ...     image_transform=Chain((Center(mean=[0, 0, 0, 0.6]), Normalize())),
        ... )
        >>> closed.get_image_embedding(Image.new("RGB", (8, 8), "red"))
        [1.0, 0.0, 0.0, 0.0]
    """

    model_name: str = "transformed"
    image_encoder: MultiModalEmbedding
    image_transform: Transform
    query_transform: Transform

    def __init__(
        self,
        text_encoder: BaseEmbedding,
        image_encoder: BaseEmbedding | None = None,
        *,
        text_transform: Transform | None = None,
        image_transform: Transform | None = None,
        query_transform: Transform | None = None,
        **kwargs: Any,
    ) -> None:
        image_encoder = text_encoder if image_encoder is None else image_encoder
        if not isinstance(image_encoder, MultiModalEmbedding):
            raise InvalidSetting(
                f"The image side got {type(image_encoder).__name__!r}, which has texts "
                f"only; expected a MultiModalEmbedding. Give image_encoder=."
            )
        text_transform = Chain() if text_transform is None else text_transform
        super().__init__(
            text_encoder,
            text_transform,
            image_encoder=image_encoder,
            image_transform=Chain() if image_transform is None else image_transform,
            query_transform=(
                text_transform if query_transform is None else query_transform
            ),
            **kwargs,
        )
        self._dimension = self._known_dimension()

    @classmethod
    @checked
    def from_alignment(
        cls,
        alignment: Alignment | str | Path,
        *,
        text_encoder: BaseEmbedding | None = None,
        image_encoder: BaseEmbedding | None = None,
        **kwargs: Any,
    ) -> TransformedEmbedding:
        """Return the encoders with a fitted or saved alignment's transforms.

        Args:
            alignment: The object, or the file that `Alignment.save` wrote.
            text_encoder: The one it was fitted with; None: the offline encoder that
                the alignment names.
            image_encoder: The one it was fitted with; None: `text_encoder`.
            kwargs: Other settings of the class.

        Raises:
            FileNotFoundError: There is no such file.
            InvalidSetting: The file is damaged, the encoders are others, or none is
                given and it was not fitted with one of the offline encoders.
        """
        if not isinstance(alignment, Alignment):
            alignment = Alignment.load(alignment)
        if text_encoder is None:
            text_encoder = _offline_encoder(alignment.text_space)
        alignment.check_encoders(
            text_space=space_of(text_encoder),
            image_space=space_of(image_encoder or text_encoder),
        )
        return cls(
            text_encoder,
            image_encoder,
            text_transform=alignment.text,
            image_transform=alignment.image,
            query_transform=alignment.query,
            **kwargs,
        )

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "TransformedEmbedding"

    @property
    def space_id(self) -> str:
        """Name of the vector space: vectors of different spaces must not be compared.

        A hash of both encoders' spaces and of all transforms' content: any other
        encoder, weight or mean gives another name.
        """
        parts = (
            space_of(self.text_encoder),
            space_of(self.image_encoder),
            self.query_transform.sha,
            self.text_transform.sha,
            self.image_transform.sha,
        )
        return f"transformed-v1:{_hash(parts)}"

    def _known_dimension(self) -> int | None:
        text_dim = getattr(self.text_encoder, "dimension", None)
        image_dim = known_image_dimension(self.image_encoder)
        ends = {
            "query_transform": self.query_transform.out_dim(text_dim),
            "text_transform": self.text_transform.out_dim(text_dim),
            "image_transform": self.image_transform.out_dim(image_dim),
        }
        known = {name: dim for name, dim in ends.items() if dim is not None}
        if len(set(known.values())) > 1:
            raise InvalidSetting(
                f"The sides end in vectors of different lengths: {known!r}; expected "
                f"one length. Project one side to the other's, or truncate both."
            )
        return next(iter(known.values()), None)

    @checked
    def encode_images(self, pictures: Sequence[ImageSource]) -> Vectors:
        """Return one transformed vector for each picture, `(n, dim)`.

        Raises:
            InvalidVector: A vector is not finite, or of another length than the texts'.
        """
        vectors = self.image_encoder.get_image_embedding_batch(list(pictures))  # type: ignore[arg-type]
        return self._finished(vectors, self.image_transform, "pictures")

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._query_through(self.query_transform, query)


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _offline_encoder(space: str) -> MultiModalEmbedding:
    known: tuple[OfflineMultiModalEmbedding | OfflineFeaturesEmbedding, ...] = (
        OfflineFeaturesEmbedding(),
        OfflineMultiModalEmbedding(),
        OfflineMultiModalEmbedding(head_weight=0.0),
    )
    for encoder in known:
        if encoder.space_id == space:
            return encoder
    raise InvalidSetting(
        f"The alignment was fitted with an encoder of the space {space!r}; only the "
        f"offline encoders are known by theirs. Give that encoder: text_encoder=."
    )
