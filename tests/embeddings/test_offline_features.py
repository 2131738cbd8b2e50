"""The offline encoder's features: nothing lost, and the shipped head can be rebuilt."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from llama_index_mmrag import MultiModalQdrantIndex, TransformedEmbedding
from llama_index_mmrag.alignment import Alignment, Columns, Normalize
from llama_index_mmrag.alignment.shipped import shipped_head
from llama_index_mmrag.embeddings import (
    OfflineFeaturesEmbedding,
    OfflineMultiModalEmbedding,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.embeddings.dimension import dimension_of, known_image_dimension
from llama_index_mmrag.embeddings.space import space_of
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting

# A fixture that skips where the extra is not installed.
needs_offline = pytest.mark.usefixtures("encoder")

PICTURES = [Image.new("RGB", (64, 48), colour) for colour in ("orange", "navy")]


def alignment(image: Any, encoder: Any = None) -> Alignment:
    space = space_of(OfflineFeaturesEmbedding() if encoder is None else encoder)
    return Alignment(
        text=Normalize(),
        image=image,
        fitted_on="nothing",
        text_space=space,
        image_space=space,
    )


def test_lengths_are_known_before_anything_is_loaded():
    encoder = OfflineFeaturesEmbedding()
    assert dimension_of(encoder) == 384
    assert known_image_dimension(encoder) == 1_664
    assert known_image_dimension(OfflineMultiModalEmbedding()) == 384
    assert encoder.plain_columns == (0, 384)
    assert encoder.feature_columns == (384, 1_664)


def test_index_refuses_pictures_and_texts_of_two_lengths(tmp_path):
    with pytest.raises(InvalidSetting, match="texts of 384 numbers and pictures of 16"):
        MultiModalQdrantIndex.open(
            tmp_path / "store", embed_model=OfflineFeaturesEmbedding()
        )
    assert not (tmp_path / "store").exists()


def test_alignment_that_takes_columns_which_are_not_there_is_refused():
    with pytest.raises(InvalidSetting, match="1664 numbers; expected at least 1700"):
        TransformedEmbedding.from_alignment(alignment(Columns(0, 1_700)))


def test_alignment_alone_names_its_offline_encoder():
    aligned = TransformedEmbedding.from_alignment(alignment(Columns(0, 384)))
    assert isinstance(aligned.text_encoder, OfflineFeaturesEmbedding)
    assert aligned.image_encoder is aligned.text_encoder
    assert aligned.dimension == 384
    for encoder in (
        OfflineMultiModalEmbedding(),
        OfflineMultiModalEmbedding(head_weight=0.0),
    ):
        plain = alignment(Normalize(), encoder)
        found = TransformedEmbedding.from_alignment(plain).text_encoder
        assert type(found) is type(encoder)
        assert space_of(found) == encoder.space_id


def test_alignment_of_an_encoder_that_is_not_ours_needs_it():
    with pytest.raises(InvalidSetting, match="Give that encoder: text_encoder="):
        TransformedEmbedding.from_alignment(alignment(Normalize(), ColourEncoder()))


@needs_offline
def test_columns_are_conse_and_features():
    encoder = OfflineFeaturesEmbedding()
    rows = np.array(encoder.get_image_embedding_batch(PICTURES))  # type: ignore[arg-type]
    assert rows.shape == (2, 1_664)
    plain = OfflineMultiModalEmbedding(head_weight=0.0).encode_images(PICTURES)
    np.testing.assert_array_equal(rows[:, :384].astype(np.float32), plain)
    assert (rows[:, 384:] >= -1.0).all()
    assert rows[:, 384:].std() > 0
    text = encoder.get_text_embedding("a boat")
    assert text == OfflineMultiModalEmbedding().get_text_embedding("a boat")


@needs_offline
def test_shipped_head_as_a_transform_is_the_default_encoder():
    rebuilt = TransformedEmbedding.from_alignment(alignment(shipped_head()))  # type: ignore[arg-type]
    expected = OfflineMultiModalEmbedding().encode_images(PICTURES)
    found = rebuilt.get_image_embedding_batch(PICTURES)  # type: ignore[arg-type]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@needs_offline
def test_saved_alignment_opens_an_index_and_finds(tmp_path):
    alignment(shipped_head()).save(tmp_path / "head.npz")  # type: ignore[arg-type]
    Image.new("RGB", (64, 48), "orange").save(tmp_path / "orange.png")
    for _ in range(2):  # the second opening knows its encoder
        aligned = TransformedEmbedding.from_alignment(tmp_path / "head.npz")
        with MultiModalQdrantIndex.open(
            tmp_path / "store", embed_model=aligned
        ) as index:
            index.insert_directory(tmp_path / "orange.png")
            hits = index.as_retriever().retrieve("an orange")
    assert [Path(hit.node.image_path).name for hit in hits] == ["orange.png"]


@needs_offline
def test_unreadable_picture_is_named(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(ImageUnreadable, match=r"bad\.png"):
        OfflineFeaturesEmbedding().get_image_embedding(str(tmp_path / "bad.png"))


def test_encoder_survives_pickling():
    again = pickle.loads(pickle.dumps(OfflineFeaturesEmbedding()))  # noqa: S301 - ours
    assert again.space_id == OfflineFeaturesEmbedding().space_id
    assert again.to_dict()["class_name"] == "OfflineFeaturesEmbedding"
