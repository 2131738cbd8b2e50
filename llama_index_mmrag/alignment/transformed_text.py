"""A LlamaIndex encoder of texts alone, followed by a fitted transform."""

from __future__ import annotations

import asyncio
import hashlib

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr, field_serializer

from llama_index_mmrag.alignment.transforms import Transform
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.embeddings.space import space_of
from llama_index_mmrag.errors import InvalidVector


class TransformedTextEmbedding(BaseEmbedding):
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

    def __init__(self, text_encoder: BaseEmbedding, text_transform: Transform) -> None:
        super().__init__(text_encoder=text_encoder, text_transform=text_transform)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "TransformedTextEmbedding"

    @field_serializer("text_transform")
    def _name_of(self, transform: Transform) -> str:
        return f"{transform.kind}:{transform.sha[:16]}"

    @property
    def dimension(self) -> int:
        """Length of the vectors; encodes one word if nothing says it before."""
        if self._dimension is None:
            inner = dimension_of(self.text_encoder)
            self._dimension = self.text_transform.out_dim(inner)
        return int(self._dimension or 0)

    @property
    def space_id(self) -> str:
        """Name of the vector space: a hash of the encoder's and the transform's."""
        parts = (space_of(self.text_encoder), self.text_transform.sha)
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return f"transformed-text-v1:{digest[:16]}"

    def _finished(self, rows: list[Embedding]) -> list[Embedding]:
        if not rows:
            return []
        vectors = self.text_transform.apply(np.asarray(rows, dtype=np.float32))
        if not np.isfinite(vectors).all():
            msg = (
                f"A vector of a batch of {len(rows)!r} texts is not finite; expected "
                f"finite numbers. Look at what the encoder says about them."
            )
            raise InvalidVector(msg)
        finished: list[Embedding] = vectors.tolist()
        return finished

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._finished(self.text_encoder.get_text_embedding_batch(texts))

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._finished([self.text_encoder.get_query_embedding(query)])[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)
