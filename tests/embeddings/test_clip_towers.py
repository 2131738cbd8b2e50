"""What every backend gives: its model's own vectors at unit length, in batches too.

All models are tiny, random and real: they are saved and loaded again as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from llama_index_mmrag.embeddings import BatchedClipEmbedding
from llama_index_mmrag.vectors import wide_unit_rows

from ..support.tiny_models import near, write_model, write_open_clip

torch = pytest.importorskip("torch", reason="install extra 'clip'")

TEXTS = ["cat", "A bowl of soup with leeks and cream", "", "two words", "cat"]
OTHERS = ["红色的杯子", "красная кошка", "แมวในสวน", "a red 猫 и кошка", "猫"]
OF_TRANSFORMERS = ("clip", "siglip", "siglip-multilingual", "chinese_clip", "altclip")
LONG = "one two three " * 40

# open_clip and timm use torch.jit.script and other parts that torch deprecates.
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning"
)


class Own(NamedTuple):
    """A model as its own package runs it: texts at full width, pictures one by one."""

    name: str
    texts: Callable[[list[str]], Any]
    picture: Callable[[Image.Image], Any]


def of_openai(checkpoint: str, clip: Any) -> Own:
    model, preprocess = clip.load(checkpoint, device="cpu")
    return Own(
        checkpoint,
        lambda texts: model.encode_text(clip.tokenize(texts, truncate=True)),
        lambda picture: model.encode_image(preprocess(picture)[None]),
    )


def of_transformers(folder: Path, kind: str) -> Own:
    package = pytest.importorskip("transformers", reason="install extra 'transformers'")
    name = write_model(folder, kind)
    model = package.AutoModel.from_pretrained(name)
    tokenizer = package.AutoTokenizer.from_pretrained(name)
    processor = package.AutoImageProcessor.from_pretrained(name)
    full = {"padding": "max_length", "truncation": True, "return_tensors": "pt"}
    full["max_length"] = tokenizer.model_max_length
    masked = ("chinese_clip", "altclip")
    inputs = ("input_ids", "attention_mask") if kind in masked else ("input_ids",)

    def features(output: Any) -> Any:
        return getattr(output, "pooler_output", output)

    return Own(
        name,
        lambda texts: features(
            model.get_text_features(
                **{name: tokenizer(texts, **full)[name] for name in inputs}
            )
        ),
        lambda picture: features(
            model.get_image_features(**processor(images=picture, return_tensors="pt"))
        ),
    )


def of_open_clip(folder: Path, kind: str) -> Own:
    package = pytest.importorskip("open_clip", reason="install extra 'open-clip'")
    name = write_open_clip(folder, kind)
    architecture, weights = name.split(":")
    model, _, preprocess = package.create_model_and_transforms(
        architecture, pretrained=weights
    )
    model.eval()
    tokenize = package.get_tokenizer(architecture)
    return Own(
        name,
        lambda texts: model.encode_text(tokenize(texts)),
        lambda picture: model.encode_image(preprocess(picture)[None]),
    )


@pytest.fixture(
    scope="module",
    params=[
        *("openai", *OF_TRANSFORMERS),
        *("causal", "both-ways", "multilingual"),
    ],
)
def own(request, clip_module, three_layers, tmp_path_factory) -> Own:
    if request.param == "openai":
        return of_openai(three_layers, clip_module)
    make = of_transformers if request.param in OF_TRANSFORMERS else of_open_clip
    return make(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def encoder(own) -> BatchedClipEmbedding:
    return BatchedClipEmbedding(
        model_name=own.name, picture_batch_size=2, text_batch_tokens=25
    )


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8))
        for h, w in [(32, 32), (60, 45), (31, 80), (100, 90), (45, 64)]
    ]


def test_texts_equal_the_models_own_at_full_width(encoder, own):
    with torch.no_grad():
        theirs = own.texts([*TEXTS, *OTHERS, LONG])
    ours = encoder.encode_texts([*TEXTS, *OTHERS, LONG])
    assert ours == near(wide_unit_rows(theirs.numpy()))
    assert ours[0] == pytest.approx(ours[4], abs=1e-6)
    assert not np.allclose(ours[0], ours[3])


def test_pictures_equal_the_models_own_one_by_one(encoder, own, pictures):
    with torch.no_grad():
        theirs = torch.cat([own.picture(picture) for picture in pictures])
    ours = encoder.encode_images(pictures)
    assert ours == near(wide_unit_rows(theirs.numpy()))


def test_dimension_space_and_unit_length(encoder, pictures):
    rows = np.vstack([encoder.encode_images(pictures), encoder.encode_texts(TEXTS)])
    assert rows.shape == (10, encoder.dimension)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1.0] * 10, abs=1e-6)
    assert encoder.space_id.endswith(f":{encoder.dimension}:unit")


@pytest.mark.parametrize(
    ("own", "reads"),
    [
        ("chinese_clip", {"红色的猫": True, "красная кошка": False}),
        ("altclip", {"红色的猫": True, "красная кошка": True, "قطة حمراء": False}),
        ("multilingual", {"红色的猫": True, "красная кошка": True, "חתול": False}),
        ("roberta", {"красная кошка": False, "猫": False, "a purple boat": True}),
        ("clip", {"красная кошка": False, "a purple boat": True}),
    ],
    indirect=["own"],
)
def test_scripts_that_a_tokenizer_lacks_are_unread(encoder, reads):
    shares = encoder.unread([*reads])
    assert [share <= 0.7 for share in shares] == [*reads.values()]


def test_long_text_is_cut_and_counted(encoder, caplog):
    encoder.encode_texts(["short", LONG])
    assert "1 of 2 texts were longer" in caplog.text


def test_bfloat16_gives_the_same_directions_nearly(encoder, own, pictures):
    low = BatchedClipEmbedding(model_name=own.name, dtype="bfloat16")
    for one, other in (
        (low.encode_texts(TEXTS), encoder.encode_texts(TEXTS)),
        (low.encode_images(pictures), encoder.encode_images(pictures)),
    ):
        assert (one * other).sum(axis=1).min() > 0.999
        assert np.linalg.norm(one, axis=1) == pytest.approx([1.0] * 5, abs=1e-6)
    assert low.space_id == encoder.space_id
