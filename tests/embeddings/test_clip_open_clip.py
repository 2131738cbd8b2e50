"""CLIP through open_clip: a tiny random model of its own, saved and loaded again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llama_index_mmrag.embeddings import BatchedClipEmbedding
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable

TEXTS = ["cat", "A bowl of soup with leeks and cream", "", "two words", "cat"]
LONG = "one two three " * 40

# open_clip and timm use torch.jit.script and other parts that torch deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning"
)


@pytest.fixture(scope="module")
def open_clip(clip_module) -> Any:
    # After clip_module, which makes torchvision importable beside a CPU build.
    return pytest.importorskip("open_clip", reason="install extra 'open-clip'")


@pytest.fixture(scope="module", params=["causal", "both-ways"])
def name(request, open_clip, tmp_path_factory) -> str:
    """Return an architecture and the file of its weights."""
    import torch

    folder = tmp_path_factory.mktemp("open_clip")
    architecture = f"tiny-{request.param}"
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2}
    if request.param == "both-ways":
        text |= {"context_length": 20, "no_causal_mask": True, "pool_type": "last"}
    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32, "layers": 2, "width": 32, "head_width": 16,
            "patch_size": 8,
        },
        "text_cfg": {**text, "layers": 2},
    }  # fmt: skip
    (folder / f"{architecture}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model(architecture)
    torch.save(model.state_dict(), folder / "weights.pt")
    return f"{architecture}:{folder / 'weights.pt'}"


@pytest.fixture(scope="module")
def own(name, open_clip) -> Any:
    architecture, weights = name.split(":")
    model, _, preprocess = open_clip.create_model_and_transforms(
        architecture, pretrained=weights
    )
    return model.eval(), preprocess, open_clip.get_tokenizer(architecture)


@pytest.fixture(scope="module")
def encoder(name) -> BatchedClipEmbedding:
    return BatchedClipEmbedding(
        model_name=name, picture_batch_size=2, text_batch_tokens=25
    )


def unit(vectors: Any) -> Any:
    rows = np.asarray(vectors, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_texts_equal_the_models_own_at_full_width(encoder, own, caplog):
    import torch

    model, _, tokenize = own
    with torch.no_grad():
        theirs = model.encode_text(tokenize([*TEXTS, LONG])).numpy()
    ours = encoder.encode_texts([*TEXTS, LONG])
    assert ours == pytest.approx(unit(theirs), abs=1e-5)
    assert ours[0] == pytest.approx(ours[4], abs=1e-6)
    assert "1 of 6 texts were longer" in caplog.text


def test_pictures_equal_the_models_own_one_by_one(encoder, own):
    import torch

    model, preprocess, _ = own
    rng = np.random.default_rng(0)
    pictures = [
        Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
        for h, w in [(32, 32), (60, 45), (31, 80), (100, 90), (45, 64)]
    ]
    with torch.no_grad():
        theirs = [model.encode_image(preprocess(p)[None])[0].numpy() for p in pictures]
    assert encoder.encode_images(pictures) == pytest.approx(unit(theirs), abs=1e-5)
    assert encoder.space_id.endswith(":16:unit")


def test_bfloat16_gives_the_same_directions_nearly(encoder, name):
    low = BatchedClipEmbedding(model_name=name, dtype="bfloat16")
    picture = [Image.new("RGB", (40, 50), "orange")]
    for one, other in (
        (low.encode_texts(TEXTS), encoder.encode_texts(TEXTS)),
        (low.encode_images(picture), encoder.encode_images(picture)),
    ):
        assert (one * other).sum(axis=1).min() > 0.999
    assert low.space_id == encoder.space_id


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("tiny-causal:no-such-tag", "no-such-tag"),
        ("no-such-model:tag", "no-such-model"),
        ("no-such-model", "names no weights"),
    ],
)
def test_unknown_architecture_and_weights_are_refused(name, wrong, reason):
    with pytest.raises(CheckpointUnusable, match=reason):
        _ = BatchedClipEmbedding(model_name=wrong, backend="open_clip").dimension


def test_file_of_another_model_is_refused(name, tmp_path):
    import torch

    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    architecture = name.partition(":")[0]
    with pytest.raises(CheckpointUnusable, match="Expected an architecture"):
        _ = BatchedClipEmbedding(
            model_name=f"{architecture}:{tmp_path / 'other.pt'}"
        ).dimension
