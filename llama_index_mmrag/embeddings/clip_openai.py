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
from llama_index_mmrag.embeddings.clip_torch import (
    DTypeName,
    choose_device,
    choose_dtype,
    computing,
    first_line,
    lower_precision,
    padded,
    splits_by_thread,
    to_numpy,
    weights_sha8,
)
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable
from llama_index_mmrag.vectors import Vectors

if TYPE_CHECKING:
    import torch

# OpenAI CLIP's own, in clip/clip.py.
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
_STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
_SCALE = ((np.arange(256, dtype=np.float32) / 255)[:, None] - _MEAN).T / _STD[:, None]
"""What the tower sees of each of a channel's 256 values, shape (3, 256)."""


def load_openai(
    name: str, *, device: str, dtype: DTypeName, needed_for: str
) -> OpenAIClip:
    """Return a CLIP by OpenAI's name of it ("ViT-B/32"), or from a file.

    Args:
        name: One of `clip.available_models()`, downloaded at first use, or the path of
            a file: a state dict saved by torch, or OpenAI's own archive.
        device: A torch device, or "auto".
        dtype: Precision of matrix products.
        needed_for: Who asks, for the message when a package is missing.

    Raises:
        CheckpointUnusable: No such model or file, or the file holds no CLIP.
        MissingExtra: A package of the extra `clip` is missing.
        InvalidSetting: The device cannot be used.
    """
    clip = clip_package(needed_for)
    place = choose_device(device)
    model = _read(clip, name).float().to(place)
    return OpenAIClip(clip, model, dtype=choose_dtype(dtype, place))


def clip_package(needed_for: str) -> Any:
    """Return the package `clip`, imported.

    Raises:
        MissingExtra: It, or what it needs, is not installed.
    """
    with warnings.catch_warnings():
        # clip-anytorch imports pkg_resources, which setuptools deprecates.
        warnings.filterwarnings("ignore", message=".*pkg_resources")
        return needs("clip", extra="clip", for_=needed_for)


class OpenAIClip:
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
        self._model = model
        self._device: torch.device = model.positional_embedding.device
        self._side = int(model.visual.input_resolution)
        self.dimension = int(model.text_projection.shape[1])
        self.splits = splits_by_thread(self._device)
        self.max_tokens = int(model.context_length)
        self.sha8 = weights_sha8(model, "openai", self._side)
        self._dtype = dtype or torch.float32
        lower_precision(model, self._dtype)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's tokens with start and end marks, however many."""
        marks = self._tokenizer.encoder
        start, end = marks["<|startoftext|>"], marks["<|endoftext|>"]
        return [[start, *self._tokenizer.encode(text), end] for text in texts]

    def text_vectors(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        """Return one vector for each row, `(n, dim)`.

        What `encode_text` computes, on as many positions as the longest row has: the
        attention is causal, so what comes after a text's end never reached its vector.
        `encode_text` itself takes full rows only, for the sake of its stored mask.
        """
        import torch

        model = self._model
        with computing(self._device, self._dtype):
            ids = padded(token_ids, device=self._device)  # (n, tokens)
            n_tokens = ids.shape[1]
            x = model.token_embedding(ids).type(model.dtype)
            x = x + model.positional_embedding[:n_tokens].type(model.dtype)
            for block in model.transformer.resblocks:
                x = _after_block(x, block, is_causal=True)
            x = model.ln_final(x)
            # The end mark is the highest id: argmax finds the first one.
            ends = x[torch.arange(len(ids), device=self._device), ids.argmax(dim=-1)]
            return to_numpy(
                ends.type(model.text_projection.dtype) @ model.text_projection
            )

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

    def picture_vectors(self, pixels: Vectors) -> Vectors:
        """Return one vector for each picture: `(n, 3, side, side)` to `(n, dim)`."""
        import torch

        with computing(self._device, self._dtype):
            values = torch.from_numpy(pixels).to(self._device)
            visual = self._model.visual
            if hasattr(visual, "transformer"):
                return to_numpy(_seen(values, visual))
            return to_numpy(self._model.encode_image(values))  # a ResNet


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
            msg = (
                f"There is no CLIP model {name!r}: expected the path of a file, or one "
                f"of {', '.join(clip.available_models())}. Check model_name, or choose "
                f"another backend."
            )
            raise CheckpointUnusable(msg)
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
