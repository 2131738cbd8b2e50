"""CLIP-family models as a LlamaIndex encoder: batched, unit length, off the event loop.

Three packages can run the model: OpenAI's `clip` (what llama-index-embeddings-clip
uses), transformers, and open_clip. Nothing is loaded before the first use.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.embeddings import MultiModalEmbedding

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.concurrency.threads import usable_cpus
from llama_index_mmrag.embeddings.clip_loading import BackendName, load_towers
from llama_index_mmrag.embeddings.clip_torch import DTypeName
from llama_index_mmrag.embeddings.clip_towers import (
    ClipTowers,
    encode_pictures,
    encode_texts,
)
from llama_index_mmrag.embeddings.encoder import PictureEncoder
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.nodes.images import ImageSource
from llama_index_mmrag.vectors import Vectors

_log = logging.getLogger(__name__)

# Of the module, so that encoders can be pickled; two models never load at once.
_LOADING = Lock()


class BatchedClipEmbedding(PictureEncoder):
    """Texts and pictures as vectors of length 1 in the space of a CLIP-family model.

    The model is loaded at the first use, by one thread; after that the encoder may be
    used from several. Texts are encoded in batches of similar length, and cut where
    they are longer than the model reads (77 tokens for CLIP): how many is logged.
    On a CPU each thread decodes and computes batches of its own; on a GPU threads
    decode ahead of it. Only matrix products use `dtype`; norms and sums stay float32.

    A file of OpenAI's format, or a name such as "ViT-B/32", goes to `clip`; a folder,
    or a name with its owner such as "openai/clip-vit-base-patch32", to transformers;
    an architecture with its weights such as "ViT-B-32:laion2b_s34b_b79k" or
    "ViT-B-32:weights.bin" to open_clip. Names other than paths are downloaded by those
    packages at the first use.

    See docs/clip.md.
    """

    model_name: str = Field(
        default="ViT-B/32", description="A model's name, or a local path."
    )
    backend: BackendName = Field(
        default="auto", description="The package that runs the model."
    )
    device: str = Field(
        default="auto", description="A torch device; auto: CUDA if there is one."
    )
    dtype: DTypeName = Field(
        default="auto",
        description="Precision of matrix products; auto: float32 on a CPU, else "
        "float16.",
    )
    embed_batch_size: int = Field(
        default=128,
        gt=0,
        le=2048,
        description="Texts or pictures that LlamaIndex hands over at once.",
    )
    picture_batch_size: int = Field(
        default=16,
        gt=0,
        description="Pictures that the model takes at once: more help on a GPU only.",
    )
    text_batch_tokens: int = Field(
        default=2048,
        gt=0,
        description="Most tokens that the model takes at once, padding among them.",
    )
    num_threads: int | None = Field(
        default=None,
        ge=1,
        description="Threads that decode pictures, and compute on a CPU; None: one for "
        "each usable CPU.",
    )

    _towers: ClipTowers | None = PrivateAttr(default=None)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "BatchedClipEmbedding"

    @classmethod
    @checked
    def from_clip_embedding(
        cls, encoder: MultiModalEmbedding, **settings: Any
    ) -> BatchedClipEmbedding:
        """Return an encoder that shares the loaded model of LlamaIndex's ClipEmbedding.

        Vectors have the same directions as the given encoder's, and length 1. Its
        model, device and precision are kept, and it may be used as before.

        Args:
            encoder: A `llama_index.embeddings.clip.ClipEmbedding`.
            settings: Other fields, such as `picture_batch_size`.

        Raises:
            InvalidSetting: `encoder` holds no CLIP model, or `settings` would change
                the model that is shared.
        """
        from llama_index_mmrag.embeddings.clip_openai import OpenAIClip, clip_package

        fixed = {"model_name", "backend", "device", "dtype"} & settings.keys()
        if fixed:
            raise InvalidSetting(
                f"{', '.join(sorted(fixed))} cannot be set: the model of the given "
                f"ClipEmbedding is shared as it is. Leave them out, or make a "
                f"{cls.__name__} of its own."
            )
        model: Any = getattr(encoder, "_model", None)
        if not hasattr(model, "encode_text") or not hasattr(model, "visual"):
            raise InvalidSetting(
                f"Cannot wrap {type(encoder).__name__}: expected a ClipEmbedding of "
                f"llama-index-embeddings-clip with its model loaded. Give model_name "
                f"to {cls.__name__} instead."
            )
        wrapped = cls(
            model_name=encoder.model_name,
            backend="openai",
            device=str(model.positional_embedding.device),
            **settings,
        )
        wrapped._towers = OpenAIClip(clip_package(cls.class_name()), model)
        return wrapped

    @property
    def dimension(self) -> int:
        """Length of the vectors; loads the model."""
        return self._loaded().dimension

    @property
    def space_id(self) -> str:
        """Name of the vector space: vectors of different spaces must not be compared.

        It names the weights by their SHA-256, not by their file's name: a copy of a
        checkpoint has the same space, another training of it has not. Loads the model.
        """
        towers = self._loaded()
        return f"clip:{towers.sha8}:{towers.dimension}:unit"

    @checked
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector for each text, `(n, dim)`, in the texts' order.

        Raises:
            CheckpointUnusable: The model cannot be loaded.
            MissingExtra: A package that runs the model is not installed.
        """
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        towers = self._loaded()
        vectors, n_cut = encode_texts(
            towers,
            texts,
            batch_tokens=self.text_batch_tokens,
            n_threads=self.num_threads or usable_cpus(),
        )
        if n_cut:
            _log.warning(
                "%d of %d texts were longer than the %d tokens that %s reads: their "
                "ends were not encoded. Split passages, or use another text encoder.",
                n_cut, len(texts), towers.max_tokens, self.model_name,
            )  # fmt: skip
        return vectors

    def _unread(self, words: str) -> float:
        return self._loaded().unread(words)

    @checked
    def encode_images(self, pictures: Sequence[ImageSource]) -> Vectors:
        """Return one unit vector for each picture, `(n, dim)`, in the pictures' order.

        Args:
            pictures: Paths, files' bytes, or PIL images.

        Raises:
            ImageUnreadable: A picture cannot be read; the first one in order is named.
            CheckpointUnusable: The model cannot be loaded.
            MissingExtra: A package that runs the model is not installed.
        """
        if not pictures:
            return np.empty((0, self.dimension), dtype=np.float32)
        return encode_pictures(
            self._loaded(),
            pictures,
            batch_size=self.picture_batch_size,
            n_threads=self.num_threads or usable_cpus(),
        )

    def _loaded(self) -> ClipTowers:
        if self._towers is None:
            with _LOADING:  # two threads at their first call must not load twice
                if self._towers is None:
                    self._towers = load_towers(
                        self.model_name,
                        backend=self.backend,
                        device=self.device,
                        dtype=self.dtype,
                        needed_for=self.class_name(),
                    )
        return self._towers

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the loaded model, which the copy loads itself."""
        state = super().__getstate__()
        private = state.get("__pydantic_private__") or {}
        return {**state, "__pydantic_private__": {**private, "_towers": None}}
