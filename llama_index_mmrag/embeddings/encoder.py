"""LlamaIndex's embedding methods, of encoders that take batches and give arrays.

LlamaIndex asks for one or many, now or awaited, a query or a document: ten methods, all
of which are `encode_texts` or `encode_images`. Awaited, they run in a thread.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.embeddings import MultiModalEmbedding

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.checks.components import CheckedComponent
from llama_index_mmrag.embeddings.unread import words_of
from llama_index_mmrag.nodes.images import ImageSource
from llama_index_mmrag.vectors import Vectors


class InProcess:
    """What computes in this process, with all of its cores or the interpreter's lock.

    Of any other encoder nobody knows: it may ask a server, and hang.
    """


def computes_here(embed_model: BaseEmbedding) -> bool:
    """Return whether an encoder, and what it is made of, computes in this process."""
    inner = (getattr(embed_model, f"{of}_encoder", None) for of in ("text", "image"))
    return isinstance(embed_model, InProcess) and all(
        map(computes_here, filter(None, inner))
    )


class TextEncoder(CheckedComponent, InProcess, BaseEmbedding):
    """An encoder of texts, in this process; queries are encoded as documents are."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Return one vector for each text, `(n, dim)`, in the texts' order."""

    @checked
    def unread(self, texts: Sequence[str]) -> list[float]:
        """Return what share of each text the tokenizer takes apart, in [0, 1].

        Into unknown or single characters, of which the model makes no meaning; above
        .7 the text is of a script that the encoder does not read. Of a byte-pair
        tokenizer, such as CLIP's, it is tokens a letter; of an encoder that does not
        know, 0. What is not in ASCII may load the model.

        Raises:
            CheckpointUnusable: A CLIP model cannot be loaded.
            MissingExtra: A package that runs the model is not installed.
        """
        return [
            0.0  # every tokenizer reads ASCII
            if text.isascii() or not (words := words_of(text))
            else self._unread(words)
            for text in texts
        ]

    def _unread(self, words: str) -> float:
        """Return what share of words is taken apart: what an encoder within says."""
        inner = getattr(self, "text_encoder", None)
        return inner._unread(words) if isinstance(inner, TextEncoder) else 0.0

    def _get_text_embedding(self, text: str) -> Embedding:
        return _as_lists(self.encode_texts([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return _as_lists(self.encode_texts(texts))

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._get_text_embedding(query)

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return await asyncio.to_thread(self._get_query_embedding, query)


class PictureEncoder(TextEncoder, MultiModalEmbedding):
    """An encoder of texts and of pictures."""

    @abstractmethod
    def encode_images(self, pictures: Sequence[ImageSource]) -> Vectors:
        """Return one vector for each picture, `(n, dim)`, in the pictures' order."""

    def _get_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        return _as_lists(self.encode_images([img_file_path]))[0]

    def _get_image_embeddings(
        self, img_file_paths: Sequence[ImageSource]
    ) -> list[Embedding]:
        return _as_lists(self.encode_images(img_file_paths))

    async def _aget_image_embedding(self, img_file_path: ImageSource) -> Embedding:
        return await asyncio.to_thread(self._get_image_embedding, img_file_path)

    async def _aget_image_embeddings(
        self, img_file_paths: Sequence[ImageSource]
    ) -> list[Embedding]:
        return await asyncio.to_thread(self._get_image_embeddings, img_file_paths)


def _as_lists(vectors: Vectors) -> list[Embedding]:
    rows: list[Embedding] = vectors.tolist()
    return rows
