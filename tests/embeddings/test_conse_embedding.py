"""Any text encoder's picture side: ConSE over what it makes of the class names."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.schema import ImageNode

from llama_index_mmrag import ConseEmbedding, MultiModalQdrantIndex
from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding
from llama_index_mmrag.embeddings.encoder import TextEncoder
from llama_index_mmrag.embeddings.picture_tower import class_vectors, class_wordings
from llama_index_mmrag.errors import InvalidVector
from llama_index_mmrag.vectors import Vectors, unit_rows


class Counting(BaseEmbedding):
    """Another's words in vectors of 64 numbers, far from the origin; queries apart."""

    model_name: str = "counting"
    shift: float = 5.0
    asked: list[str] = []
    offline: Any

    def _get_text_embedding(self, text: str) -> Embedding:
        self.asked.append(text)
        return (self.offline.encode_texts([text])[0] + self.shift).tolist()

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        self.asked.extend(texts)
        return (self.offline.encode_texts(texts) + self.shift).tolist()

    def _get_query_embedding(self, query: str) -> Embedding:
        return (self.offline.encode_texts([query])[0] - self.shift).tolist()

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return self._get_query_embedding(query)


class Packaged(TextEncoder):
    """Another's words, but of the classes what is known: the other would take long."""

    model_name: str = "packaged"
    text_encoder: BaseEmbedding
    known: dict[str, Any]

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        inner = self.text_encoder
        return np.float32(
            [
                self.known[text]
                if text in self.known
                else inner.get_text_embedding(text)
                for text in texts
            ]
        )


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_INDEX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mmrag"


@pytest.fixture
def over(encoder) -> ConseEmbedding:
    """Over MiniLM."""
    known = zip(*class_wordings(), class_vectors() + summed(encoder, 1000), strict=True)
    vectors = {text: vector for *three, vector in known for text in three}
    return ConseEmbedding(Packaged(text_encoder=encoder, known=vectors))


def summed(encoder: Any, step: int) -> Vectors:
    """What MiniLM's sums of every so-manieth class have that the packaged lack."""
    sums = sum(encoder.encode_texts(some[::step]) for some in class_wordings())
    return unit_rows(sums) - class_vectors()[::step]


@pytest.fixture
def few_classes(monkeypatch):
    """Let the text encoder off with eight of the classes; the classifier has all."""
    from llama_index_mmrag.embeddings import conse_embedding

    wordings = type(class_wordings())(*(some[:8] for some in class_wordings()))
    monkeypatch.setattr(conse_embedding, "class_wordings", lambda: wordings)
    return wordings


def test_wordings_are_those_of_the_classifier_in_its_order():
    names, photographs, definitions = class_wordings()
    assert len(names) == len(photographs) == len(definitions) == 1000
    assert (names[0], names[281]) == ("tench", "tabby cat")
    assert photographs[281] == "a photo of a tabby cat"
    assert "cat" in definitions[281]


def test_packaged_vectors_are_those_of_the_wordings(encoder):
    # What is packaged is centred, and rounded to float16.
    means = summed(encoder, 20)
    assert means == pytest.approx(np.tile(means[0], (50, 1)), abs=1e-3)


def test_pictures_over_minilm_are_those_of_the_offline_encoder_without_a_head(
    over, photographs
):
    ours = over.encode_images([*photographs.values()])
    theirs = OfflineMultiModalEmbedding(head_weight=0.0).encode_images(
        [*photographs.values()]
    )
    # Two classes are called "missile", which the rocket is: here they share a vector.
    assert (ours * theirs).sum(axis=1) == pytest.approx([1.0] * 4, abs=2e-3)
    asked = [over.get_query_embedding(what) for what in photographs]
    assert (np.array(asked) @ ours.T).argmax(axis=1).tolist() == [0, 1, 2, 3]


def test_texts_and_queries_are_centred_each_by_its_own_mean(encoder, few_classes):
    over = ConseEmbedding(Counting(offline=encoder))
    names = few_classes.names
    as_texts = [unit_rows(encoder.encode_texts(some) + 5.0) for some in few_classes]
    mean = unit_rows(sum(as_texts)).mean(axis=0)
    text = unit_rows(encoder.encode_texts(["soup"]) + 5.0)
    assert over.encode_texts(["soup"]) == pytest.approx(
        unit_rows(text - mean), abs=1e-5
    )
    query = unit_rows(encoder.encode_texts(["soup"]) - 5.0)
    as_queries = unit_rows(encoder.encode_texts(names) - 5.0)
    assert over.get_query_embedding("soup") == pytest.approx(
        unit_rows(query - as_queries.mean(axis=0))[0], abs=1e-5
    )
    assert over.encode_texts([]).shape == (0, 384)


def test_what_all_classes_of_a_wording_share_is_no_part_of_them(encoder, few_classes):
    over = ConseEmbedding(Counting(offline=encoder))
    as_texts = [unit_rows(encoder.encode_texts(some) + 5.0) for some in few_classes]
    apart = unit_rows(sum(w - w.mean(axis=0) for w in as_texts))
    expected = apart - apart.mean(axis=0)
    assert over._encoded().centred == pytest.approx(expected, abs=1e-4)


def test_classes_are_encoded_once_and_kept_for_the_next_process(
    encoder, few_classes, cache
):
    inner = Counting(offline=encoder, asked=[])
    over = ConseEmbedding(inner)
    first = over.encode_texts(["soup"])
    assert len(inner.asked) == 24 + 1 + 1  # the classes, the probe, the text
    again = Counting(offline=encoder, asked=[])
    copy = pickle.loads(pickle.dumps(ConseEmbedding(again)))  # noqa: S301 - ours
    assert copy.encode_texts(["soup"]) == pytest.approx(first, abs=1e-6)
    assert copy.text_encoder.asked[-1] == few_classes.names[0]
    assert len(copy.text_encoder.asked) == 2
    assert [path.suffix for path in cache.iterdir()] == [".npz"]


def test_another_encoder_of_that_name_does_not_get_them(encoder, few_classes):
    ConseEmbedding(Counting(offline=encoder)).encode_texts(["soup"])
    other = ConseEmbedding(Counting(offline=encoder, shift=0.0))
    mean = unit_rows(sum(map(encoder.encode_texts, few_classes))).mean(axis=0)
    expected = unit_rows(encoder.encode_texts(["soup"]) - mean)
    assert other.encode_texts(["soup"]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive"])
def test_damaged_file_is_made_anew(damage, encoder, few_classes, cache, caplog):
    over = ConseEmbedding(Counting(offline=encoder))
    first = over.encode_texts(["soup"])
    (kept,) = cache.iterdir()
    kept.write_bytes(damage)
    again = ConseEmbedding(Counting(offline=encoder))
    assert again.encode_texts(["soup"]) == pytest.approx(first, abs=1e-6)
    assert "cannot be read again" in caplog.text
    assert kept.stat().st_size > len(damage)


def test_cache_that_cannot_be_written_costs_a_line(encoder, few_classes, cache, caplog):
    cache.parent.mkdir()
    cache.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert ConseEmbedding(Counting(offline=encoder)).encode_texts(["a"]).any()
    assert "are not kept" in caplog.text


def test_vector_without_direction_is_refused(encoder, few_classes):
    class Nothing(Counting):
        def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
            return [[0.0] * 384 for _ in texts]

    with pytest.raises(InvalidVector, match="all zeros"):
        ConseEmbedding(Nothing(offline=encoder)).encode_texts(["soup"])


def test_index_over_it_finds_pictures_and_texts_and_keeps_its_space(
    encoder, over, photographs, tmp_path
):
    nodes = [ImageNode(image_path=path) for path in photographs.values()]
    with MultiModalQdrantIndex.open(tmp_path / "store", embed_model=over) as index:
        assert index.insert(nodes).n_added == 4
        found = index.as_retriever(top_k=1).retrieve("a cat")
        assert found[0].node.image_path == photographs["cat"]
    assert over.space_id != encoder.space_id
    assert over.space_id == ConseEmbedding(over.text_encoder).space_id
    assert over.unread(["красный"]) == [1.0]
