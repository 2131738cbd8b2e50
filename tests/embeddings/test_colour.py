"""The encoder of colours: every vector and every cosine worked out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from llama_index.core.embeddings import MultiModalEmbedding
from PIL import Image

from llama_index_mmrag.embeddings.colour import COLOURS, ColourEncoder
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting

GREY = [1 / math.sqrt(3)] * 3 + [0.0]


@pytest.fixture
def picture(tmp_path) -> Path:
    """Return a picture whose left half is red and whose right half is yellow."""
    image = Image.new("RGB", (10, 4), "red")
    image.paste("yellow", (5, 0, 10, 4))
    image.save(tmp_path / "halves.png")
    return tmp_path / "halves.png"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red", [1.0, 0.0, 0.0, 0.0]),
        ("A Red, red chair!", [1.0, 0.0, 0.0, 0.0]),
        ("red and blue", [math.sqrt(0.5), 0.0, math.sqrt(0.5), 0.0]),
        ("yellow", [math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0]),
        # The mean of red, red and green is (2/3, 1/3, 0).
        ("red red green", [2 / math.sqrt(5), 1 / math.sqrt(5), 0.0, 0.0]),
        ("reddish", GREY),
        ("black", GREY),
        ("", GREY),
    ],
)
def test_text_is_the_direction_of_its_mean_colour(text, expected):
    assert ColourEncoder().get_text_embedding(text) == pytest.approx(expected)
    assert ColourEncoder().get_query_embedding(text) == pytest.approx(expected)


def test_picture_is_the_direction_of_its_mean_pixel(picture):
    # Half red and half yellow: (1, 1/2, 0).
    expected = [2 / math.sqrt(5), 1 / math.sqrt(5), 0.0, 0.0]
    assert ColourEncoder().get_image_embedding(str(picture)) == pytest.approx(expected)


def test_gap_moves_pictures_away_from_texts_alone(picture):
    plain, apart = ColourEncoder(), ColourEncoder(modality_gap=0.75)
    assert apart.get_text_embedding("red") == plain.get_text_embedding("red")
    near = np.dot(plain.get_text_embedding("red"), plain.get_image_embedding(picture))
    far = np.dot(apart.get_text_embedding("red"), apart.get_image_embedding(picture))
    assert near == pytest.approx(2 / math.sqrt(5))
    assert far == pytest.approx(near / math.sqrt(1 + 0.75**2))
    assert plain.space_id != apart.space_id


@pytest.mark.parametrize("gap", [0.0, 0.5, 3.0])
def test_all_vectors_have_length_one_and_the_stated_dimension(gap, picture):
    encoder = ColourEncoder(modality_gap=gap)
    vectors = encoder.get_text_embedding_batch([*COLOURS, "none"])
    vectors += encoder.get_image_embedding_batch([str(picture)])
    assert {len(vector) for vector in vectors} == {encoder.dimension}
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0)


async def test_awaited_vectors_are_the_same(picture):
    encoder = ColourEncoder(modality_gap=0.5)
    words, paths = ["red", "blue"], [str(picture)]
    query = encoder.get_query_embedding("red")
    assert await encoder.aget_query_embedding("red") == query
    texts = encoder.get_text_embedding_batch(words)
    assert await encoder.aget_text_embedding_batch(words) == texts
    pictures = encoder.get_image_embedding_batch(paths)
    assert await encoder.aget_image_embedding_batch(paths) == pictures


def test_broken_picture_is_refused(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageUnreadable, match=r"broken\.png"):
        ColourEncoder().get_image_embedding(str(tmp_path / "broken.png"))


@pytest.mark.parametrize("gap", [-0.1, float("nan"), float("inf")])
def test_gap_out_of_range_is_refused(gap):
    with pytest.raises(InvalidSetting):
        ColourEncoder(modality_gap=gap)


def test_encoder_is_a_component_of_llamaindex():
    encoder = ColourEncoder(modality_gap=0.5)
    again = ColourEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert isinstance(again, MultiModalEmbedding)
    assert again.modality_gap == 0.5
    assert again.class_name() == "ColourEncoder"
