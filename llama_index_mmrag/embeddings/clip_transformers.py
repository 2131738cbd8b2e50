"""CLIP, SigLIP, Chinese-CLIP and AltCLIP through transformers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from llama_index_mmrag.checks import needs
from llama_index_mmrag.embeddings.clip_torch import first_line
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable, ClipTowers
from llama_index_mmrag.vectors import Vectors

if TYPE_CHECKING:
    import torch

_MASKED = ("chinese_clip", "altclip")
"""Their text towers look in both directions, and must not see what pads a row."""
_KINDS = ("clip", "siglip", *_MASKED)


def load_transformers(
    name: str, place: torch.device, dtype: torch.dtype, *, needed_for: str
) -> TransformersClip:
    """Return a model from a folder, or by its name on the model hub.

    Args:
        name: A folder with config.json, weights, tokenizer and image processor; or a
            name such as "google/siglip-base-patch16-224", downloaded at first use.
        place: Where it is to run.
        dtype: Precision of matrix products.
        needed_for: Who asks, for the message when a package is missing.

    Raises:
        CheckpointUnusable: No such model, another kind of model, or parts missing.
        MissingExtra: transformers is not installed.
    """
    parts = load_parts(name, needed_for=needed_for)
    parts.model.to(place)
    return TransformersClip(*parts, dtype=dtype)


class Parts(NamedTuple):
    """What a folder of `save_pretrained` holds."""

    model: Any
    """A `CLIPModel`, `SiglipModel` or one of the others, in float32 on the CPU."""
    tokenizer: Any
    """Its tokenizer."""
    processor: Any
    """Its image processor."""


def load_parts(name: str, *, needed_for: str) -> Parts:
    """Return a model with its tokenizer and image processor.

    Raises:
        CheckpointUnusable: No such model, another kind of model, or parts missing.
        MissingExtra: transformers is not installed.
    """
    package = needs("transformers", extra="transformers", for_=needed_for)
    only_local = {"local_files_only": Path(name).is_dir()}
    try:
        kind = package.AutoConfig.from_pretrained(name, **only_local).model_type
        _check_kind(name, kind)
        model, info = package.AutoModel.from_pretrained(
            name, output_loading_info=True, **only_local
        )
        tokenizer = package.AutoTokenizer.from_pretrained(name, **only_local)
        processor = package.AutoImageProcessor.from_pretrained(name, **only_local)
    except CheckpointUnusable:
        raise
    except Exception as error:
        # OSError for what is missing, but KeyError and JSONDecodeError too, and the
        # network's.
        raise _unusable(name, first_line(error)) from error
    if info["missing_keys"]:
        # transformers would go on with random numbers in their place.
        missing = sorted(info["missing_keys"])
        raise _unusable(name, f"it lacks {len(missing)} weights, {missing[0]!r} first")
    return Parts(model.eval().float(), tokenizer, processor)


class TransformersClip(ClipTowers):
    """A loaded `CLIPModel`, `SiglipModel`, `ChineseCLIPModel` or `AltCLIPModel`.

    CLIP needs no mask: what pads a row comes after its first end mark, and the
    attention is causal. SigLIP was trained without one.

    Args:
        model: The model. Its weights are changed if `dtype` is not float32.
        tokenizer: Its tokenizer.
        processor: Its image processor.
        dtype: Precision of matrix products.
    """

    def __init__(
        self, model: Any, tokenizer: Any, processor: Any, *, dtype: torch.dtype
    ) -> None:
        self.tokenizer = tokenizer
        self.processor = processor
        self.fill = tokenizer.pad_token_id
        text = model.config.text_config
        max_tokens = int(text.max_position_embeddings)
        self._is_masked = model.config.model_type in _MASKED
        if self._is_masked:
            if model.config.model_type == "altclip":
                # Of XLM-RoBERTa's kind: positions are counted from the padding's on.
                max_tokens -= int(text.pad_token_id) + 1
            # The positions are BERT's; trained on were fewer, which the tokenizer says.
            max_tokens = min(max_tokens, tokenizer.model_max_length)
        # SigLIP's text tower looks in both directions and reads its vector off the
        # last position: it was trained on, and needs, full width.
        self.width = max_tokens if model.config.model_type == "siglip" else None
        colours = (list(processor.image_mean), list(processor.image_std))
        recipe = ("transformers", colours)
        super().__init__(model, max_tokens=max_tokens, recipe=recipe, dtype=dtype)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's tokens with start and end marks, however many."""
        ids: list[list[int]] = self.tokenizer(
            list(texts), padding=False, truncation=False, verbose=False
        )["input_ids"]
        return ids

    def pixels(self, picture: Image.Image) -> Vectors:
        """Return an RGB picture as the model's image processor prepares it."""
        prepared = self.processor(images=picture, return_tensors="np")
        return np.asarray(prepared["pixel_values"][0], dtype=np.float32)

    def _text_features(self, ids: torch.Tensor) -> torch.Tensor:
        mask = {"attention_mask": (ids != self.fill).long()} if self._is_masked else {}
        return pooled(self.model.get_text_features(input_ids=ids, **mask))

    def _picture_features(self, pixels: torch.Tensor) -> torch.Tensor:
        return pooled(self.model.get_image_features(pixel_values=pixels))


def _check_kind(name: str, kind: str) -> None:
    if kind not in _KINDS:
        raise _unusable(name, f"it is a model of type {kind!r}")


def pooled(output: Any) -> torch.Tensor:
    """Return the vectors that a tower gives, `(n, dim)`."""
    # transformers 5 returns an object, 4 the tensor.
    vectors: torch.Tensor = getattr(output, "pooler_output", output)
    return vectors


def _unusable(name: str, reason: str) -> CheckpointUnusable:
    return CheckpointUnusable(
        f"Cannot load {name!r} with transformers: {reason}. Expected a CLIP, SigLIP, "
        f"Chinese-CLIP or AltCLIP (a folder with config.json, weights, tokenizer and "
        f"image processor, or its name on the model hub). Check model_name, or choose "
        f"another backend."
    )
