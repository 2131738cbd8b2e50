"""CLIP and SigLIP through transformers: tiny random models, saved and loaded again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llama_index_mmrag.embeddings import BatchedClipEmbedding
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable

TEXTS = ["cat", "A bowl of soup with leeks and cream", "", "two words", "cat"]
LONG = "one two three " * 40


@pytest.fixture(scope="module")
def transformers(clip_module) -> Any:
    # After clip_module, which makes torchvision importable beside a CPU build.
    return pytest.importorskip("transformers", reason="install extra 'transformers'")


def write_tokenizer(folder: Path, clip_module: Any) -> None:
    """Write CLIP's vocabulary, as OpenAI's package ships it, in transformers' files."""
    packed = Path(clip_module.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(packed.read_bytes()).decode().split("\n")
    merges = lines[1 : 49152 - 256 - 2 + 1]
    encoder = clip_module.simple_tokenizer.SimpleTokenizer().encoder
    (folder / "vocab.json").write_text(json.dumps(encoder))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    )


def write_model(folder: Path, kind: str, transformers: Any, clip_module: Any) -> str:
    import torch

    torch.manual_seed(0)
    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {**tower, "vocab_size": 49408, "eos_token_id": 49407, "bos_token_id": 49406}
    vision = {**tower, "image_size": 32, "patch_size": 8}
    if kind == "clip":
        config = transformers.CLIPConfig(
            text_config={**text, "max_position_embeddings": 77},
            vision_config=vision,
            projection_dim=16,
        )
        model = transformers.CLIPModel(config)
        processor = transformers.CLIPImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )
    else:
        config = transformers.SiglipConfig(
            text_config={**text, "max_position_embeddings": 16}, vision_config=vision
        )
        model = transformers.SiglipModel(config)
        processor = transformers.SiglipImageProcessor(size={"height": 32, "width": 32})
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    write_tokenizer(folder, clip_module)
    return str(folder)


@pytest.fixture(scope="module", params=["clip", "siglip"])
def folder(request, transformers, clip_module, tmp_path_factory) -> str:
    place = tmp_path_factory.mktemp(request.param)
    return write_model(place, request.param, transformers, clip_module)


@pytest.fixture(scope="module")
def encoder(folder) -> BatchedClipEmbedding:
    return BatchedClipEmbedding(
        model_name=folder, picture_batch_size=2, text_batch_tokens=25
    )


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
        for h, w in [(32, 32), (60, 45), (31, 80), (100, 90), (45, 64)]
    ]


def unit(vectors: Any) -> Any:
    rows = np.asarray(vectors, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def features(output: Any) -> Any:
    return getattr(output, "pooler_output", output).numpy()


def test_texts_equal_the_models_own_padded_to_full_width(encoder, folder, transformers):
    import torch

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder)
    width = model.config.text_config.max_position_embeddings
    ids = tokenizer(
        [*TEXTS, LONG],
        padding="max_length",
        truncation=True,
        max_length=width,
        return_tensors="pt",
    )["input_ids"]
    assert ids.shape == (6, width)
    with torch.no_grad():
        full = unit(features(model.get_text_features(input_ids=ids)))
    ours = encoder.encode_texts([*TEXTS, LONG])
    assert ours == pytest.approx(full, abs=1e-5)
    assert ours[0] == pytest.approx(ours[4], abs=1e-6)


def test_pictures_equal_the_models_own_one_by_one(
    encoder, folder, transformers, pictures
):
    import torch

    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder)
    with torch.no_grad():
        theirs = [
            features(
                model.get_image_features(**processor(images=p, return_tensors="pt"))
            )[0]
            for p in pictures
        ]
    assert encoder.encode_images(pictures) == pytest.approx(unit(theirs), abs=1e-5)


def test_dimension_space_and_unit_length(encoder, pictures):
    rows = np.vstack([encoder.encode_images(pictures), encoder.encode_texts(TEXTS)])
    assert rows.shape == (10, encoder.dimension)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1.0] * 10, abs=1e-6)
    assert encoder.space_id.endswith(f":{encoder.dimension}:unit")


def test_long_text_is_cut_and_counted(encoder, caplog):
    encoder.encode_texts(["short", LONG])
    assert "1 of 2 texts were longer" in caplog.text


def test_bfloat16_gives_the_same_directions_nearly(encoder, folder, pictures):
    low = BatchedClipEmbedding(model_name=folder, dtype="bfloat16")
    for one, other in (
        (low.encode_texts(TEXTS), encoder.encode_texts(TEXTS)),
        (low.encode_images(pictures), encoder.encode_images(pictures)),
    ):
        assert (one * other).sum(axis=1).min() > 0.999
    assert low.space_id == encoder.space_id


def test_folder_of_another_kind_of_model_is_refused(tmp_path, transformers):
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(CheckpointUnusable, match="model of type 'bert'"):
        _ = BatchedClipEmbedding(model_name=str(tmp_path)).dimension


def test_empty_folder_and_missing_weights_are_refused(tmp_path, transformers, folder):
    with pytest.raises(CheckpointUnusable, match="Expected a CLIP or SigLIP"):
        _ = BatchedClipEmbedding(model_name=str(tmp_path)).dimension
    from safetensors.torch import load_file, save_file

    half = tmp_path / "half"
    half.mkdir()
    for file in Path(folder).iterdir():
        (half / file.name).write_bytes(file.read_bytes())
    weights = load_file(half / "model.safetensors")
    kept = {k: v for k, v in weights.items() if not k.startswith("vision_model")}
    save_file(kept, half / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointUnusable, match=r"lacks \d+ weights"):
        _ = BatchedClipEmbedding(model_name=str(half)).dimension
