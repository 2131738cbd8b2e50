"""Which package runs a CLIP-family model, by what the model is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from llama_index_mmrag.checks import needs
from llama_index_mmrag.embeddings.clip_torch import (
    DTypeName,
    choose_device,
    choose_dtype,
)
from llama_index_mmrag.embeddings.clip_towers import ClipTowers

BackendName = Literal["auto", "openai", "transformers", "open_clip"]


def choose_backend(name: str) -> BackendName:
    """Return the backend for a model's name or path.

    Example:
        >>> choose_backend("ViT-B/32")
        'openai'
        >>> choose_backend("openai/clip-vit-base-patch32")
        'transformers'
        >>> choose_backend("ViT-B-32:laion2b_s34b_b79k")
        'open_clip'
    """
    path = Path(name)
    if path.is_dir():
        own = (path / "open_clip_config.json").is_file()
        return "open_clip" if own else "transformers"
    if path.is_file():
        return "openai"
    if ":" in name[2:]:  # not the colon of C:, a drive
        return "open_clip"
    # OpenAI's names are ViT-B/32, ViT-L/14@336px, RN50: no owner before the slash.
    if name.startswith(("ViT-", "RN")):
        return "openai"
    return "transformers" if "/" in name else "openai"


def load_towers(
    name: str, *, backend: BackendName, device: str, dtype: DTypeName, needed_for: str
) -> ClipTowers:
    """Return a loaded model.

    Args:
        name: A model's name, or a path.
        backend: The package that runs it; "auto" goes by the name.
        device: A torch device, or "auto".
        dtype: Precision of matrix products.
        needed_for: Who asks, for the message when a package is missing.

    Raises:
        CheckpointUnusable: No such model, or the checkpoint is of another kind.
        MissingExtra: A package that runs the model is missing.
        InvalidSetting: The device cannot be used.
    """
    chosen = choose_backend(name) if backend == "auto" else backend
    needs("torch", extra="clip", for_=needed_for)
    place = choose_device(device)
    precision = choose_dtype(dtype, place)
    return _loader(chosen)(name, place, precision, needed_for=needed_for)


def _loader(backend: BackendName) -> Callable[..., ClipTowers]:
    if backend == "transformers":
        from llama_index_mmrag.embeddings.clip_transformers import load_transformers

        return load_transformers
    if backend == "open_clip":
        from llama_index_mmrag.embeddings.clip_open_clip import load_open_clip

        return load_open_clip
    from llama_index_mmrag.embeddings.clip_openai import load_openai

    return load_openai
