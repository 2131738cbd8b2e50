from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ...support.tiny_models import write_model, write_pairs

Pair = tuple[str, str]


@pytest.fixture(scope="session")
def packages(torchvision_operators) -> None:
    """Skip where the extra is not installed; after torchvision can be imported."""
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package, reason="install extra 'finetune'")


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory, packages) -> str:
    """Return the folder of a tiny CLIP with random weights."""
    return write_model(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def tiny_siglip(tmp_path_factory, packages) -> str:
    """Return the folder of a tiny SigLIP with random weights."""
    return write_model(tmp_path_factory.mktemp("siglip"), "siglip")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory) -> list[Pair]:
    """Return 64 pictures' paths and their texts, no two the same."""
    return write_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def few_pairs(tmp_path_factory) -> list[Pair]:
    """Return 16 pairs."""
    return write_pairs(tmp_path_factory.mktemp("few"), 16)


@pytest.fixture
def quick(packages, tmp_path) -> Callable[..., Any]:
    """Return `finetune` with settings for seconds, into a folder of the test."""
    from llama_index_mmrag.alignment.finetuning import FinetuneSettings, finetune

    known = {
        "epochs": 2, "batch_size": 8, "held_out": 0.0, "head_width": 32,
        "head_layers": 1, "learning_rate": 1e-3, "patience": 100,
    }  # fmt: skip

    def run(
        model: str,
        pairs: Any,
        *,
        out: Path = tmp_path / "out",
        held_out_pairs: Any = None,
        **settings: Any,
    ) -> Any:
        return finetune(
            model,
            pairs,
            out=out,
            settings=FinetuneSettings(**{**known, **settings}),
            held_out=held_out_pairs,
            num_threads=2,
            show_progress=False,
        )

    return run
