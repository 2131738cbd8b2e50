"""The modality gap: by hand, against plain loops, and with a planted one."""

from __future__ import annotations

from itertools import combinations
from math import degrees, isnan, sqrt

import numpy as np
import pytest

from llama_index_mmrag.alignment import diagnose
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import InvalidVector


def test_gap_of_two_texts_and_two_pictures_by_hand():
    # Lengths do not count: both sides are scaled to length 1 first.
    seen = diagnose([[2.0, 0.0, 0.0], [0.0, 5.0, 0.0]], [[0.0, 0.0, 3.0]])
    assert (seen.n_texts, seen.n_images, seen.dim) == (2, 1, 3)
    assert seen.before.distance == pytest.approx(sqrt(0.25 + 0.25 + 1.0))
    assert seen.before.angle_degrees == pytest.approx(90.0)
    assert seen.before.text_text == pytest.approx(0.0)
    assert seen.before.text_image == pytest.approx(0.0)
    assert isnan(seen.before.image_image)
    assert seen.before.pairs is None
    # Centred, the texts are opposites and the one picture is the origin.
    assert seen.after.distance == pytest.approx(0.0)
    assert seen.after.text_text == pytest.approx(-1.0)


def test_mean_cosines_equal_plain_loops():
    rng = np.random.default_rng(3)
    texts, images = rng.normal(1.0, size=(9, 6)), rng.normal(size=(9, 6))
    unit = [rows / np.linalg.norm(rows, axis=1)[:, None] for rows in (texts, images)]
    seen = diagnose(texts, images, paired=True).before
    for found, rows in zip((seen.text_text, seen.image_image), unit, strict=True):
        by_hand = [float(a @ b) for a, b in combinations(rows, 2)]
        assert found == pytest.approx(np.mean(by_hand))
    assert seen.text_image == pytest.approx(np.mean(unit[0] @ unit[1].T))
    assert seen.pairs == pytest.approx(np.mean(np.sum(unit[0] * unit[1], axis=1)))
    means = [rows.mean(axis=0) for rows in unit]
    cosine = means[0] @ means[1] / np.prod([np.linalg.norm(m) for m in means])
    assert seen.angle_degrees == pytest.approx(degrees(np.arccos(cosine)))


def test_centering_brings_planted_pairs_together(paint):
    encoder = ColourEncoder(modality_gap=0.75)
    colours = ["red", "lime", "blue", "yellow", "magenta", "cyan"]
    words = ["red", "green", "blue", "yellow", "magenta", "cyan"]
    texts = [encoder.get_text_embedding(word) for word in words]
    images = [encoder.get_image_embedding(str(paint(colour))) for colour in colours]
    seen = diagnose(texts, images, paired=True)
    assert seen.before.pairs == pytest.approx(0.8)
    assert seen.after.pairs == pytest.approx(1.0)
    # Texts' mean is m; pictures' 0.8 m with 0.6 in the last place.
    mean = np.mean(texts, axis=0)
    planted = sqrt(0.04 * float(mean @ mean) + 0.36)
    assert seen.before.distance == pytest.approx(planted)
    assert seen.after.distance < seen.before.distance / 10


def test_table_has_both_columns_and_pairs_only_where_known():
    rows = np.eye(3)
    assert "text and its image" in str(diagnose(rows, rows[::-1], paired=True))
    page = str(diagnose(rows, rows[::-1]))
    assert "text and its image" not in page
    assert "as it is   centred" in page


def test_input_is_not_changed():
    texts, images = np.array([[3.0, 4.0]]), np.array([[1.0, 1.0]])
    diagnose(texts, images)
    assert texts.tolist() == [[3.0, 4.0]]
    assert images.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("texts", "images", "settings", "says"),
    [
        (np.empty((0, 2)), np.eye(2), {}, "texts has no vectors"),
        (np.eye(2), np.zeros((1, 2)), {}, "images has a vector of length 0"),
        (np.eye(2), np.eye(3), {}, r"\(2, 2\) and images of shape \(3, 3\)"),
        (np.eye(2), [[np.nan, 1.0]], {}, "images have.*not finite"),
        (np.eye(2), np.eye(2)[:1], {"paired": True}, "expected the same shape"),
    ],
)
def test_what_cannot_be_compared_is_refused(texts, images, settings, says):
    with pytest.raises(InvalidVector, match=says):
        diagnose(texts, images, **settings)
