"""The figures that docs and card claim, measured again where the data is there."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from llama_index_mmrag.embeddings import OfflineMultiModalEmbedding
from llama_index_mmrag.embeddings.picture_tower import class_vectors, open_head

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
CARD = json.loads(
    (files("llama_index_mmrag.embeddings") / "data/open_head.json").read_text("utf-8")
)


@pytest.fixture(scope="module")
def offline_sets() -> ModuleType:
    if not DATA.exists():
        pytest.skip("the benchmarks' data is not beside the repository")
    path = ROOT / "benchmarks" / "offline_sets.py"
    spec = importlib.util.spec_from_file_location("offline_sets", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def mrr(one: object, offline_sets: ModuleType, *, head_weight: float) -> float:
    encoder = OfflineMultiModalEmbedding(head_weight=head_weight)
    pictures = encoder.encode_images(one.pictures)
    queries = encoder.encode_texts(one.queries)
    return offline_sets.quality(queries, pictures, one.relevant).mrr


def test_quality_of_a_worked_example(offline_sets):
    # Ranks of the first right picture: 1, 3, and 1.5 for a tie with one wrong picture.
    queries = np.eye(3, dtype=np.float32)
    pictures = np.float32([[0.9, 0.8, 0.5], [0.1, 0.7, 0.5], [0.0, 0.6, 0.2]])
    relevant = [frozenset({0, 1}), frozenset({2}), frozenset({0})]
    found = offline_sets.quality(queries, pictures, relevant)
    assert found.mrr == pytest.approx((1 + 1 / 3 + 1 / 1.5) / 3)
    assert found.recall_at_1 == pytest.approx(1 / 3)
    assert found.recall_at_5 == 1.0


def test_card_describes_the_head_that_ships():
    assert CARD["sha256"].startswith(open_head().sha8)
    trained_on = {source["book"] for source in CARD["trained_on"]}
    assert CARD["held_out"]["book"] not in trained_on
    assert CARD["n_figures"] == sum(book["n_figures"] for book in CARD["trained_on"])
    assert all(len(book["sources"]) == 1 for book in CARD["trained_on"])


def test_card_claims_a_quarter_more_on_the_book_never_seen():
    gains = {
        name: figures["with_head"]["mrr"] / figures["training_free"]["mrr"]
        for name, figures in CARD["on_the_held_out_book"].items()
    }
    assert set(gains) == {"psychology, alt", "psychology, caption"}
    assert min(gains.values()) >= 1.25


def test_packaged_arrays_have_the_documented_shapes():
    assert class_vectors().shape == (1000, 384)
    assert abs(class_vectors().mean(axis=0)).max() < 1e-3
    head = open_head()
    assert (head.weight.shape, head.bias.shape) == ((384, 1280), (384,))


@pytest.mark.parametrize(
    ("position", "expected"),
    # Measured before, by another implementation, on the same pictures.
    [(0, 0.193), (1, 0.189)],
    ids=["description", "name"],
)
def test_training_free_groceries_reach_the_mrr_of_another_implementation(
    position, expected, encoder, offline_sets
):
    one = offline_sets.grocery_sets(DATA)[position]
    assert mrr(one, offline_sets, head_weight=0.0) == pytest.approx(expected, abs=0.01)


def test_training_free_recipes_reach_the_mrr_of_another_implementation(
    encoder, offline_sets
):
    recipes = offline_sets.recipe_set(DATA)
    assert (len(recipes.queries), len(recipes.pictures)) == (115, 136)
    assert mrr(recipes, offline_sets, head_weight=0.0) == pytest.approx(0.158, abs=0.01)


def test_head_raises_mrr_by_a_quarter_on_a_book_it_never_saw(encoder, offline_sets):
    (alt,) = (s for s in offline_sets.book_sets(DATA) if s.name == "psychology, alt")
    figures = CARD["on_the_held_out_book"][alt.name]
    with_head = mrr(alt, offline_sets, head_weight=CARD["head_weight"])
    assert with_head == pytest.approx(figures["with_head"]["mrr"], abs=0.005)
    assert with_head >= 1.25 * figures["training_free"]["mrr"]
