"""CLIP through OpenAI's `clip`, which llama-index-embeddings-clip uses too."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
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

# OpenAI CLIP's own, in clip/clip.py.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
_SCALE = ((np.arange(256, dtype=np.float32) / 255)[:, None] - _MEAN).T / _STD[:, None]
"""What the tower sees of each of a channel's 256 values, shape (3, 256)."""


def load_openai(
    name: str, place: torch.device, dtype: torch.dtype, *, needed_for: str
) -> OpenAIClip:
    """Return a CLIP by OpenAI's name of it ("ViT-B/32"), or from a file.

    Args:
        name: One of `clip.available_models()`, downloaded at first use, or the path of
            a file: a state dict saved by torch, or OpenAI's own archive.
        place: Where it is to run.
        dtype: Precision of matrix products.
        needed_for: Who asks, for the message when a package is missing.

    Raises:
        CheckpointUnusable: No such model or file, or the file holds no CLIP.
        MissingExtra: A package of the extra `clip` is missing.
    """
    clip = clip_package(needed_for)
    return OpenAIClip(clip, _read(clip, name).float().to(place), dtype=dtype)


def clip_package(needed_for: str) -> Any:
    """Return the package `clip`, imported.

    Raises:
        MissingExtra: It, or what it needs, is not installed.
    """
    with warnings.catch_warnings():
        # clip-anytorch imports pkg_resources, which setuptools deprecates.
        warnings.filterwarnings("ignore", message=".*pkg_resources")
        return needs("clip", extra="clip", for_=needed_for)


class OpenAIClip(ClipTowers):
    """A loaded `clip.model.CLIP`.

    Args:
        clip: The package `clip`.
        model: The model. Its weights are changed if `dtype` is not float32.
        dtype: Precision of matrix products; None leaves the model as it is.
    """

    def __init__(
        self, clip: Any, model: Any, *, dtype: torch.dtype | None = None
    ) -> None:
        import torch

        self._tokenizer = clip.simple_tokenizer.SimpleTokenizer()
        self._side = int(model.visual.input_resolution)
        super().__init__(
            model,
            max_tokens=int(model.context_length),
            recipe=("openai", self._side),
            dtype=dtype or torch.float32,
        )

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's tokens with start and end marks, however many."""
        marks = self._tokenizer.encoder
        start, end = marks["<|startoftext|>"], marks["<|endoftext|>"]
        return [[start, *self._tokenizer.encode(text), end] for text in texts]

    def pixels(self, picture: Image.Image) -> Vectors:
        """Return an RGB picture as the picture tower takes it, `(3, side, side)`.

        Shortest side to the model's, bicubic; its centre cut out; then scaled. With
        numpy, because torch would start threads of its own in each decoding thread.
        """
        side = self._side
        width, height = picture.size
        # Rounded as torchvision's Resize and CenterCrop do.
        if width <= height:
            size = side, int(side * height / width)
        else:
            size = int(side * width / height), side
        left, top = (round((length - side) / 2.0) for length in size)
        resized = picture.resize(size, Image.Resampling.BICUBIC)
        cut = resized.crop((left, top, left + side, top + side))
        planes = np.asarray(cut).transpose(2, 0, 1)  # (3, side, side)
        return np.stack(
            [scale[plane] for scale, plane in zip(_SCALE, planes, strict=True)]
        )

    def _text_features(self, ids: torch.Tensor) -> torch.Tensor:
        """Return what `encode_text` computes, on as many positions as `ids` has.

        The attention is causal, so what comes after a text's end never reached its
        vector. `encode_text` itself takes full rows only, for its stored mask's sake.
        """
        import torch

        model = self.model
        x = model.token_embedding(ids).type(model.dtype)  # (n, tokens, width)
        x = x + model.positional_embedding[: ids.shape[1]].type(model.dtype)
        for block in model.transformer.resblocks:
            x = _after_block(x, block, is_causal=True)
        x = model.ln_final(x)
        # The end mark is the highest id: argmax finds the first one.
        ends = x[torch.arange(len(ids), device=self.device), ids.argmax(dim=-1)]
        projection = model.text_projection
        projected: torch.Tensor = ends.type(projection.dtype) @ projection
        return projected

    def _picture_features(self, pixels: torch.Tensor) -> torch.Tensor:
        visual = self.model.visual
        if hasattr(visual, "transformer"):
            return _seen(pixels, visual)
        features: torch.Tensor = self.model.encode_image(pixels)  # a ResNet
        return features


def _seen(pixels: torch.Tensor, visual: Any) -> torch.Tensor:
    """Return what `VisionTransformer.forward` does, batch first: `(n, dim)`."""
    import torch

    patches = visual.conv1(pixels.type(visual.conv1.weight.dtype))
    x = patches.flatten(2).transpose(1, 2)  # (n, patches, width)
    whole = visual.class_embedding.type(x.dtype).expand(len(x), 1, -1)
    x = torch.cat([whole, x], dim=1) + visual.positional_embedding.type(x.dtype)
    x = visual.ln_pre(x)
    for block in visual.transformer.resblocks:
        x = _after_block(x, block, is_causal=False)
    x = visual.ln_post(x[:, 0])
    projected: torch.Tensor = x.type(visual.proj.dtype) @ visual.proj
    return projected


def _after_block(x: torch.Tensor, block: Any, *, is_causal: bool) -> torch.Tensor:
    """Return what a `ResidualAttentionBlock` does, batch first: `(n, tokens, width)`.

    OpenAI's own takes the batch as the second axis, which costs copies, and walks over
    the widest values three times for x · sigmoid(1.702 x). That is silu(1.702 x) /
    1.702, and the products before and after it scale for nothing.
    """
    import torch
    from torch.nn import functional as F  # noqa: N812 - torch's own name for it

    attention = block.attn
    n, n_tokens, width = x.shape
    heads = attention.num_heads
    mixed = F.linear(
        block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias
    ).view(n, n_tokens, 3, heads, width // heads)
    query, key, value = mixed.permute(
        2, 0, 3, 1, 4
    )  # (n, heads, tokens, width / heads)
    seen = F.scaled_dot_product_attention(query, key, value, is_causal=is_causal)
    x = x + attention.out_proj(seen.transpose(1, 2).reshape(n, n_tokens, width))
    into, out = block.mlp.c_fc, block.mlp.c_proj
    rows = block.ln_2(x).view(-1, width)
    wide = torch.addmm(
        into.bias, rows, into.weight.t(), beta=_GELU, alpha=_GELU
    )  # (n * tokens, 4 * width)
    wide = F.silu(wide, inplace=True)
    added = torch.addmm(out.bias, wide, out.weight.t(), alpha=1 / _GELU)
    return x + added.view_as(x)


_GELU = 1.702
"""Of CLIP's QuickGELU (Hendrycks and Gimpel 2016, https://arxiv.org/abs/1606.08415)."""


def _read(clip: Any, name: str) -> Any:
    import torch

    if not Path(name).is_file():
        if name not in clip.available_models():
            raise CheckpointUnusable(
                f"There is no CLIP model {name!r}: expected the path of a file, or one "
                f"of {', '.join(clip.available_models())}. Check model_name, or choose "
                f"another backend."
            )
        with _reading(name):
            return clip.load(name, device="cpu")[0]
    try:
        # Not clip.load, which unpickles whatever a file holds where torch is old.
        weights = torch.load(name, map_location="cpu", weights_only=True)
    except Exception as error:
        # torch raises what the file's bytes lead it to: EOFError, UnpicklingError, …
        if "TorchScript" not in str(error):
            reason = f"torch cannot read it ({first_line(error)})"
            raise _no_clip(name, reason) from error
        with _reading(name):
            weights = torch.jit.load(name, map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    with _reading(name):
        return clip.model.build_model(weights)


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # torch.jit.load is deprecated; OpenAI publishes its weights for it.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    except Exception as error:
        # The network, the archive's reader; a missing key, sizes that do not fit.
        raise _no_clip(name, first_line(error)) from error


def _no_clip(name: str, reason: str) -> CheckpointUnusable:
    return CheckpointUnusable(
        f"Cannot load {name!r} as OpenAI's CLIP: {reason}. Expected a state dict of "
        f"clip.model.CLIP saved by torch, or one of OpenAI's files. Choose the backend "
        f"that wrote it, or another file."
    )
