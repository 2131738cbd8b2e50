"""Pairs as vectors: each input encoded once, kept, and no bad one costs another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import Embedding
from llama_index.core.bridge.pydantic import PrivateAttr
from PIL import Image

from llama_index_mmrag.alignment import PairsRead, PictureText, encode_pairs
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import InvalidSetting, InvalidVector

COLOURS = ("red", "green", "blue")


class Counting(ColourEncoder):
    """Counts what it encodes; texts and files of some names go wrong."""

    _texts: list[str] = PrivateAttr(default_factory=list)
    _images: list[str] = PrivateAttr(default_factory=list)
    _interrupted_at: str = PrivateAttr(default="")

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        self._texts += texts
        rows = super()._get_text_embeddings(texts)
        return [
            [float("nan")] * 4 if t == "nan" else [0.0] * 4 if t == "zero" else row
            for t, row in zip(texts, rows, strict=True)
        ]

    def _get_image_embeddings(self, img_file_paths: Any) -> list[Embedding]:
        if self._interrupted_at in map(str, img_file_paths):
            raise KeyboardInterrupt
        self._images += img_file_paths
        return super()._get_image_embeddings(img_file_paths)


@pytest.fixture
def pairs(tmp_path) -> PairsRead:
    """Return three pictures, the red one with two texts."""
    for colour in COLOURS:
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{colour}.png")
    texts = [*((c, f"a {c} thing") for c in COLOURS), ("red", "red again")]
    return PairsRead(
        tuple(
            PictureText(str(tmp_path / f"{c}.png"), text, None, line)
            for line, (c, text) in enumerate(texts, start=1)
        ),
        (),
    )


@pytest.fixture
def kept(tmp_path) -> Path:
    return tmp_path / "v.npz"


def test_rows_are_the_encoders_and_each_input_is_encoded_once(pairs):
    encoder, plain = Counting(), ColourEncoder()
    encoded = encode_pairs(pairs, encoder)
    assert (len(encoder._images), len(encoder._texts)) == (3, 4)
    texts = plain.get_text_embedding_batch([p.text for p in pairs.pairs])
    images = plain.get_image_embedding_batch([p.image for p in pairs.pairs])
    np.testing.assert_allclose(encoded.texts, texts, rtol=1e-6)
    np.testing.assert_allclose(encoded.images, images, rtol=1e-6)
    assert encoded.pictures.tolist() == encoded.groups.tolist() == [0, 1, 2, 0]
    assert encoded.problems == ()
    assert len(encoded.pairs) == len(encoded) == 4


def test_kept_vectors_are_not_encoded_again(pairs, kept):
    first = encode_pairs(pairs, Counting(), kept=kept)
    again = Counting()
    grown = PairsRead(
        (*pairs.pairs, PictureText(pairs.pairs[1].image, "grass is green", None)), ()
    )
    second = encode_pairs(grown, again, kept=kept)
    assert (again._images, again._texts) == ([], ["grass is green"])
    assert second.texts[:4].tobytes() == first.texts.tobytes()
    assert second.images[:4].tobytes() == first.images.tobytes()


def test_replaced_picture_is_encoded_again(pairs, tmp_path, kept):
    encode_pairs(pairs, Counting(), kept=kept)
    Image.new("RGB", (9, 9), "yellow").save(tmp_path / "red.png")
    again = Counting()
    encoded = encode_pairs(pairs, again, kept=kept)
    assert again._images == [str(tmp_path / "red.png")]
    assert encoded.images[0].tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0])


def test_interrupted_encoding_keeps_what_it_had(pairs, tmp_path, kept, monkeypatch):
    monkeypatch.setattr("llama_index_mmrag.alignment.encoded_pairs._AT_ONCE", 1)
    killed = Counting()
    killed._interrupted_at = str(tmp_path / "blue.png")
    with pytest.raises(KeyboardInterrupt):
        encode_pairs(pairs, killed, kept=kept)
    again = Counting()
    encoded = encode_pairs(pairs, again, kept=kept)
    assert (again._texts, again._images) == ([], [str(tmp_path / "blue.png")])
    assert encoded.images.tobytes() == encode_pairs(pairs, Counting()).images.tobytes()


def test_vectors_of_another_encoder_are_not_taken(pairs, kept):
    encode_pairs(pairs, Counting(), kept=kept)
    other = Counting(modality_gap=0.75)
    encoded = encode_pairs(pairs, other, kept=kept)
    assert len(other._images) == 3
    assert encoded.images[0].tolist() == pytest.approx([0.8, 0, 0, 0.6])


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_kept_file_of_something_else_is_refused(pairs, kept, content):
    kept.write_bytes(content)
    with pytest.raises(InvalidSetting, match=r"v\.npz.*delete it to encode again"):
        encode_pairs(pairs, Counting(), kept=kept)
    assert kept.read_bytes() == content


@pytest.mark.parametrize("text", ["nan", "zero"])
def test_vector_without_a_direction_costs_its_pair_only(pairs, tmp_path, kept, text):
    bad = PictureText(str(tmp_path / "green.png"), text, None, 9)
    read = PairsRead((pairs.pairs[0], bad, pairs.pairs[2]), ())
    encoded = encode_pairs(read, Counting(), kept=kept)
    assert len(encoded) == 2
    assert encoded.groups.tolist() == [0, 2]
    [problem] = encoded.problems
    assert (problem.line, problem.source) == (9, bad.image)
    assert "without a direction" in problem.reason


def test_picture_that_cannot_be_decoded_costs_its_pairs_only(pairs, tmp_path):
    (tmp_path / "green.png").write_bytes(b"broken since it was looked through")
    encoded = encode_pairs(pairs, Counting())
    assert encoded.pictures.tolist() == [0, 1, 0]  # red, blue, red
    [problem] = encoded.problems
    assert (problem.line, problem.source) == (2, str(tmp_path / "green.png"))
    assert "Cannot read the picture" in problem.reason


def test_batch_that_an_encoder_refuses_for_one_vector_costs_its_pair_only(pairs):
    class Refusing(ColourEncoder):
        """Raises where a vector is no number, as CLIP and transforms do."""

        def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
            if "a green thing" in texts:
                msg = "text 1 is not finite"
                raise InvalidVector(msg)
            return super()._get_text_embeddings(texts)

    encoded = encode_pairs(pairs, Refusing())
    assert [(p.line, p.reason) for p in encoded.problems] == [
        (2, "text 1 is not finite")
    ]
    assert encoded.pictures.tolist() == [0, 1, 0]


def test_no_usable_pair_is_an_error_with_the_first_reason(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "red.png")
    read = PairsRead((PictureText(str(tmp_path / "red.png"), "nan", None),), ())
    with pytest.raises(InvalidVector, match="None of 1 pairs.*without a direction"):
        encode_pairs(read, Counting())


def test_vectors_of_different_lengths_are_refused(pairs):
    class Ragged(Counting):
        def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
            return [[1.0] * (4 + i % 2) for i in range(len(texts))]

    with pytest.raises(InvalidVector, match=r"texts have the lengths \[4, 5\]"):
        encode_pairs(pairs, Ragged())


def test_some_rows_keep_their_places(pairs):
    encoded = encode_pairs(pairs, Counting())
    some = encoded.where(np.array([True, False, False, True]))
    assert some.pictures.tolist() == [0, 0]
    assert some.texts.tobytes() == encoded.texts[[0, 3]].tobytes()
