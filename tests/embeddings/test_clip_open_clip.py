"""CLIP through open_clip: what it cannot load."""

from __future__ import annotations

import pytest

from llama_index_mmrag.embeddings import BatchedClipEmbedding
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable

from ..support.tiny_models import write_open_clip

torch = pytest.importorskip("torch", reason="install extra 'clip'")

# open_clip and timm use torch.jit.script and other parts that torch deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning"
)


@pytest.fixture
def architecture(clip_module, tmp_path) -> str:
    # After clip_module, which makes torchvision importable beside a CPU build.
    pytest.importorskip("open_clip", reason="install extra 'open-clip'")
    return write_open_clip(tmp_path, "causal").partition(":")[0]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("tiny-causal:no-such-tag", "no-such-tag"),
        ("no-such-model:tag", "no-such-model"),
        ("no-such-model", "names no weights"),
    ],
)
def test_unknown_architecture_and_weights_are_refused(architecture, wrong, reason):
    with pytest.raises(CheckpointUnusable, match=reason):
        _ = BatchedClipEmbedding(model_name=wrong, backend="open_clip").dimension


def test_file_of_another_model_is_refused(architecture, tmp_path):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    other = BatchedClipEmbedding(model_name=f"{architecture}:{tmp_path / 'other.pt'}")
    with pytest.raises(CheckpointUnusable, match="Expected an architecture"):
        _ = other.dimension
