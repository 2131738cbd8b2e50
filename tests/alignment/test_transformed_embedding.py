"""Two encoders, three transforms, one space: exact vectors, refusals, async."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import ImageNode, TextNode

from llama_index_mmrag import MultiModalQdrantIndex, TransformedEmbedding
from llama_index_mmrag.alignment import (
    Alignment,
    Center,
    Chain,
    Normalize,
    Project,
    Truncate,
)
from llama_index_mmrag.alignment.transformed import space_of
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting, InvalidVector

GAP = ColourEncoder(modality_gap=0.75)
CLOSE_THE_GAP = Chain((Center([0, 0, 0, 0.6]), Normalize()))
FLIP = Project([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], [0] * 4)
BOTH = {"text_transform": FLIP, "image_transform": CLOSE_THE_GAP}


class Unsized(BaseEmbedding):
    """A text encoder as other packages write them: it does not tell its length."""

    calls: int = 0

    @classmethod
    def class_name(cls) -> str:
        return "Unsized"

    def _get_text_embedding(self, text: str) -> list[float]:
        self.calls += 1
        return [float(len(text)), 1.0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return [float(len(query)), -1.0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)


class Slow(ColourEncoder):
    """Blocks in its own async methods, as LlamaIndex's default does."""

    def _get_text_embedding(self, text: str) -> list[float]:
        time.sleep(0.3)
        return super()._get_text_embedding(text)


def test_each_side_goes_through_its_own_transform(paint):
    encoder = TransformedEmbedding(
        GAP, query_transform=FLIP, image_transform=CLOSE_THE_GAP
    )
    assert encoder.get_text_embedding("red") == [1, 0, 0, 0]
    assert encoder.get_query_embedding("red") == [0, 1, 0, 0]
    assert encoder.get_image_embedding(str(paint("red"))) == [1, 0, 0, 0]


def test_query_goes_through_the_text_transform_unless_told_otherwise():
    encoder = TransformedEmbedding(GAP, text_transform=FLIP)
    assert encoder.get_query_embedding("red") == [0, 1, 0, 0]


def test_without_transforms_it_is_its_encoder(paint):
    blue = str(paint("blue"))
    found, plain = (
        [
            encoder.get_text_embedding("red"),
            encoder.get_query_embedding("orange"),
            encoder.get_image_embedding(blue),
        ]
        for encoder in (TransformedEmbedding(GAP), GAP)
    )
    np.testing.assert_allclose(found, plain, rtol=1e-7)


def test_batches_equal_single_calls_in_order(paint):
    encoder = TransformedEmbedding(GAP, **BOTH, embed_batch_size=2)
    words = ["red", "green", "blue", "cyan", "orange"]
    alone = [encoder.get_text_embedding(word) for word in words]
    batch = encoder.get_text_embedding_batch(words)
    assert np.array(batch) == pytest.approx(np.array(alone), abs=1e-6)
    assert encoder.get_text_embedding_batch([]) == []
    paths = [str(paint(word)) for word in words]
    alone = [encoder.get_image_embedding(path) for path in paths]
    batch = encoder.get_image_embedding_batch(paths)
    assert np.array(batch) == pytest.approx(np.array(alone), abs=1e-6)


async def test_async_gives_what_sync_gives(paint):
    encoder, path = TransformedEmbedding(GAP, **BOTH), str(paint("cyan"))
    for name, given in (
        ("text_embedding", "red"),
        ("query_embedding", "r"),
        ("image_embedding", path),
        ("text_embedding_batch", ["blue", "red"]),
        ("image_embedding_batch", [path, path]),
    ):
        awaited = await getattr(encoder, f"aget_{name}")(given)
        assert awaited == getattr(encoder, f"get_{name}")(given), name


async def test_event_loop_is_free_while_a_blocking_encoder_works():
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            ticks.append(threading.get_ident())
            await asyncio.sleep(0.02)

    ticking = asyncio.create_task(tick())
    await TransformedEmbedding(Slow()).aget_text_embedding("red")
    ticking.cancel()
    assert len(ticks) >= 3


def test_dimension_is_the_last_transforms_and_costs_no_encoding_where_known():
    unsized = Unsized()
    known = TransformedEmbedding(
        unsized,
        GAP,
        text_transform=Project(np.ones((3, 2)), np.zeros(3)),
        image_transform=Truncate(3),
    )
    assert known.dimension == 3
    assert unsized.calls == 0
    assert TransformedEmbedding(GAP).dimension == 4
    # The image side's length is known and what the text side ends in must equal it.
    shortened = TransformedEmbedding(unsized, GAP, image_transform=Truncate(2))
    assert shortened.dimension == 2


def test_sides_of_different_lengths_are_refused_before_anything_is_encoded():
    with pytest.raises(InvalidSetting, match="'text_transform': 3.*'image_trans.*': 4"):
        TransformedEmbedding(GAP, text_transform=Truncate(3))
    with pytest.raises(InvalidSetting, match="4 numbers, but was fitted on.*2"):
        TransformedEmbedding(GAP, image_transform=Center([1.0, 1.0]))


def test_sides_of_different_lengths_are_refused_at_the_first_use_otherwise():
    encoder = TransformedEmbedding(Unsized(), GAP)
    with pytest.raises(InvalidVector, match=r"shape \(1, 2\); expected any x 4"):
        encoder.get_text_embedding("red")


def test_image_side_without_pictures_is_refused():
    with pytest.raises(InvalidSetting, match="'Unsized', which has texts only"):
        TransformedEmbedding(Unsized())
    with pytest.raises(InvalidSetting, match="'MockEmbedding'"):
        TransformedEmbedding(GAP, MockEmbedding(embed_dim=4))


def test_vector_that_is_not_finite_is_refused_and_named():
    encoder = TransformedEmbedding(
        Unsized(), GAP, text_transform=Project([[3e38, 0]] * 4, [0] * 4)
    )
    with (
        np.errstate(over="ignore"),
        pytest.raises(InvalidVector, match="texts have.*not finite, first in row 1"),
    ):
        encoder.get_text_embedding_batch(["", "long"])


def test_space_changes_with_every_part_and_with_nothing_else():
    def space(**changes) -> str:
        return TransformedEmbedding(
            **{"text_encoder": GAP, "text_transform": FLIP, **changes}
        ).space_id

    different = [
        space(),
        space(text_transform=CLOSE_THE_GAP),
        space(image_transform=FLIP),
        space(query_transform=CLOSE_THE_GAP),
        space(text_encoder=ColourEncoder(modality_gap=0.5)),
        space(image_encoder=ColourEncoder(modality_gap=0.5)),
    ]
    assert len(set(different)) == len(different)
    assert space() == space(embed_batch_size=3, query_transform=FLIP)
    assert space_of(Unsized(model_name="m")) == "Unsized:m"


def test_index_refuses_vectors_of_another_alignment(tmp_path, paint):
    closed = TransformedEmbedding(GAP, image_transform=CLOSE_THE_GAP)
    folder = tmp_path / "index"
    with MultiModalQdrantIndex.open(folder, embed_model=closed) as index:
        index.insert([TextNode(text="red"), ImageNode(image_path=str(paint("red")))])
        found = index.as_retriever().retrieve("red")
        assert len(found) == 2
    with pytest.raises(CollectionMismatch, match="transformed-v1"):
        MultiModalQdrantIndex.open(folder, embed_model=GAP)
    refitted = TransformedEmbedding(GAP, image_transform=Chain())
    with pytest.raises(CollectionMismatch, match=refitted.space_id):
        MultiModalQdrantIndex.open(folder, embed_model=refitted)


def test_saved_alignment_comes_back_with_its_encoders_only(tmp_path, paint):
    spaces = {"text_space": GAP.space_id, "image_space": GAP.space_id}
    fitted = Alignment(text=Chain(), image=CLOSE_THE_GAP, fitted_on="it", **spaces)
    file = tmp_path / "gap.npz"
    fitted.save(file)
    load = TransformedEmbedding.from_alignment
    loaded = load(file, text_encoder=GAP, embed_batch_size=7)
    assert loaded.space_id == load(fitted, text_encoder=GAP).space_id
    assert loaded.embed_batch_size == 7
    assert loaded.get_image_embedding(str(paint("red"))) == [1, 0, 0, 0]
    with pytest.raises(InvalidSetting, match="'colour-v1-gap0'"):
        load(file, text_encoder=GAP, image_encoder=ColourEncoder())


def test_dictionary_names_the_transforms_by_content():
    written = TransformedEmbedding(GAP, text_transform=FLIP).to_dict()
    assert written["class_name"] == "TransformedEmbedding"
    assert written["text_transform"] == f"project:{FLIP.sha[:16]}"
