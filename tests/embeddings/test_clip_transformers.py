"""CLIP and SigLIP through transformers: what it cannot load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llama_index_mmrag.embeddings import BatchedClipEmbedding
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable

from ..support.tiny_models import write_model


@pytest.fixture
def transformers(torchvision_operators) -> Any:
    return pytest.importorskip("transformers", reason="install extra 'transformers'")


def test_folder_of_another_kind_of_model_is_refused(tmp_path, transformers):
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(CheckpointUnusable, match="model of type 'bert'"):
        _ = BatchedClipEmbedding(model_name=str(tmp_path)).dimension


def test_empty_folder_is_refused(tmp_path, transformers):
    with pytest.raises(CheckpointUnusable, match="Expected a CLIP, SigLIP"):
        _ = BatchedClipEmbedding(model_name=str(tmp_path)).dimension


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_missing_weights_are_refused(kind, tmp_path, transformers):
    from safetensors.torch import load_file, save_file

    file = Path(write_model(tmp_path, kind)) / "model.safetensors"
    kept = {k: v for k, v in load_file(file).items() if not k.startswith("vision")}
    save_file(kept, file, {"format": "pt"})
    with pytest.raises(CheckpointUnusable, match=r"lacks \d+ weights"):
        _ = BatchedClipEmbedding(model_name=str(tmp_path)).dimension
