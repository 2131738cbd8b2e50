from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ...support.tiny_models import write_model, write_pairs

Pair = tuple[str, str]


@pytest.fixture(scope="session")
def packages(torchvision_operators) -> None:
    """Skip where the extra is not installed; after torchvision can be imported."""
    for package in ("torch", "transformers", "peft"):
        pytest.importorskip(package, reason="install extra 'finetune'")


@pytest.fixture(autouse=True, scope="session")
def one_thread(packages) -> Iterator[None]:
    """Tiny products are slower on several threads, much slower on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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

    def run(model: str, pairs: Any, **settings: Any) -> Any:
        arguments = {
            name: settings.pop(name) for name in ("held_out_pairs",) if name in settings
        }
        out = settings.pop("out", tmp_path / "out")
        known = {
            "epochs": 2,
            "batch_size": 8,
            "held_out": 0.0,
            "head_width": 32,
            "head_layers": 1,
            "learning_rate": 1e-3,
            "patience": 100,
            **settings,
        }
        return finetune(
            model,
            pairs,
            out=out,
            settings=FinetuneSettings(**known),
            held_out=arguments.get("held_out_pairs"),
            num_threads=2,
            show_progress=False,
        )

    return run
