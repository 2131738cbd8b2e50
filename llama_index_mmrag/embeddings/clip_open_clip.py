"""CLIP models through open_clip: LAION's, DataComp's, and one's own trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from llama_index_mmrag.checks import needs
from llama_index_mmrag.embeddings.clip_torch import first_line
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable, ClipTowers
from llama_index_mmrag.vectors import Vectors

if TYPE_CHECKING:
    import torch


def load_open_clip(
    name: str, place: torch.device, dtype: torch.dtype, *, needed_for: str
) -> OpenClip:
    """Return a model of open_clip.

    Args:
        name: An architecture and its weights with a colon between: "ViT-B-32:" and a
            tag of `open_clip.list_pretrained()` (downloaded at first use) or a file; or
            "hf-hub:owner/model"; or a folder with open_clip_config.json.
        place: Where it is to run.
        dtype: Precision of matrix products.
        needed_for: Who asks, for the message when a package is missing.

    Raises:
        CheckpointUnusable: No such architecture or weights, or they do not fit.
        MissingExtra: open_clip is not installed.
    """
    package = needs("open_clip", extra="open-clip", for_=needed_for)
    architecture, weights = _parts(name)
    try:
        model, _, preprocess = package.create_model_and_transforms(
            architecture, pretrained=weights, device="cpu"
        )
        tokenizer = package.get_tokenizer(architecture)
    except Exception as error:
        # RuntimeError for names, what torch.load raises for files, the network's.
        raise _unusable(name, first_line(error)) from error
    model = model.eval().float().to(place)
    return OpenClip(model, tokenizer, preprocess, dtype=dtype)


class OpenClip(ClipTowers):
    """A loaded model of open_clip.

    OpenAI's kind of text tower is causal, and transformers' have a mask: they run on as
    many positions as the longest text of a batch has. Others run at full width, because
    they look in both directions or read their vector off the last position.

    Args:
        model: The model. Its weights are changed if `dtype` is not float32.
        tokenizer: Its tokenizer.
        preprocess: What turns a picture into its input.
        dtype: Precision of matrix products.
    """

    def __init__(
        self, model: Any, tokenizer: Any, preprocess: Any, *, dtype: torch.dtype
    ) -> None:
        self._tokenizer = tokenizer
        self.tokenizer = getattr(tokenizer, "tokenizer", None)
        self._preprocess = preprocess
        self._is_causal = (
            getattr(model, "attn_mask", None) is not None
            and getattr(model, "text_pool_type", None) == "argmax"
            # A layer here, not a matrix, where the text tower has an extra bias.
            and type(model.text_projection).__name__ == "Parameter"
        )
        # A text tower of transformers has more positions than it was trained on, or
        # takes: what is read is its tokenizer's to say.
        max_tokens = int(tokenizer.context_length or model.context_length)
        self._is_masked = (
            hasattr(getattr(model, "text", None), "pooler")
            and getattr(self.tokenizer, "padding_side", None) == "right"
            and not (tokenizer.tokenizer_mode or tokenizer.strip_sep_token)
        )
        if self._is_masked:
            self.fill = int(model.text.config.pad_token_id)
        is_short = self._is_causal or self._is_masked
        self.width = None if is_short else max_tokens
        colours = (tuple(model.visual.image_mean), tuple(model.visual.image_std))
        recipe = ("open_clip", colours)
        super().__init__(model, max_tokens=max_tokens, recipe=recipe, dtype=dtype)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's tokens with start and end marks, however many."""
        own = self._tokenizer
        rows: list[list[int]]
        if self._is_masked:
            clean = [own.clean_fn(text) for text in texts]
            rows = self.tokenizer(clean, verbose=False)["input_ids"]
            return rows
        if not hasattr(own, "sot_token_id"):
            # Tokenizers of other families cut by themselves, and cannot be counted.
            rows = own(list(texts), self.max_tokens).tolist()
            return rows
        return [
            [own.sot_token_id, *own.encode(text), own.eot_token_id] for text in texts
        ]

    def pixels(self, picture: Image.Image) -> Vectors:
        """Return an RGB picture as the model's own transform prepares it."""
        return np.asarray(self._preprocess(picture).numpy(), dtype=np.float32)

    def _text_features(self, ids: torch.Tensor) -> torch.Tensor:
        if self._is_causal:
            return _short_text(self.model, ids)
        features: torch.Tensor = self.model.encode_text(ids)
        return features

    def _picture_features(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.model.encode_image(pixels)
        return features


def _short_text(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """Return what `encode_text` does, on as many positions as `ids` has."""
    import torch

    n, n_tokens = ids.shape
    x = model.token_embedding(ids) + model.positional_embedding[:n_tokens]
    x = model.transformer(x, attn_mask=model.attn_mask[:n_tokens, :n_tokens])
    x = model.ln_final(x)
    # The end mark is the highest id: argmax finds the first one.
    ends: torch.Tensor = x[torch.arange(n, device=ids.device), ids.argmax(dim=-1)]
    projection: torch.Tensor = model.text_projection
    return ends.type(projection.dtype) @ projection


def _parts(name: str) -> tuple[str, str | None]:
    if name.startswith("hf-hub:"):
        return name, None
    if Path(name).is_dir():
        return f"local-dir:{name}", None
    architecture, _, weights = name.partition(":")
    if not weights:
        raise _unusable(name, "it names no weights")
    return architecture, weights


def _unusable(name: str, reason: str) -> CheckpointUnusable:
    return CheckpointUnusable(
        f"Cannot load {name!r} with open_clip: {reason}. Expected an architecture and "
        f"its weights such as 'ViT-B-32:laion2b_s34b_b79k' or 'ViT-B-32:weights.pt', "
        f"or 'hf-hub:owner/model'. Check model_name, or choose another backend."
    )
