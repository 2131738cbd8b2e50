"""`compress`: the promise is kept by queries that had no part, or refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from llama_index_mmrag.alignment import Chain, Normalize, Truncate
from llama_index_mmrag.compression import Candidates, Compression, compress
from llama_index_mmrag.errors import InvalidSetting, InvalidVector, PromiseNotKept
from llama_index_mmrag.stores.quantisation import Quantisation
from llama_index_mmrag.vectors import unit_rows

QUICK = Candidates(
    reductions=("pca",), dims=(16, 8), quantisations=("int8", "binary"),
    oversamplings=(2.0, 4.0),
)  # fmt: skip


def collection(n: int = 1200, seed: int = 0) -> np.ndarray:
    """Return vectors of 32 numbers, of which 12 directions carry nearly everything."""
    rng = np.random.default_rng(seed)
    falling = np.r_[np.ones(12), np.full(20, 0.02)]
    turned, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(32, 32)))
    rows = rng.normal(size=(n, 32)) * falling
    return unit_rows((rows @ turned).astype(np.float32))


@pytest.fixture(scope="module")
def picked() -> Compression:
    return compress(collection(), min_recall=0.9, candidates=QUICK, n_queries=600)


def test_smallest_that_keeps_the_promise_is_picked(picked):
    assert picked.chosen.name == "PCA 16, int8 x2"
    assert [row.name for row in picked.rows] == [
        "all 32",
        "all 32, int8 x2",
        "all 32, binary x4",
        "PCA 16",
        "PCA 16, int8 x2",
        "PCA 16, binary x4",
        "PCA 8",  # misses by itself, so that codes of it are not tried
    ]
    keeps = [row.name for row in picked.rows if (row.low or 0) >= 0.9]
    assert keeps == ["all 32", "all 32, int8 x2", "PCA 16", "PCA 16, int8 x2"]
    assert picked.held_out >= 0.9
    assert picked.n_queries == (300, 300)


def test_bytes_are_those_of_the_engine_s_files(picked):
    by_name = {row.name: (row.memory, row.disk) for row in picked.rows}
    assert by_name["all 32"] == (32 * 4, 32 * 4)
    memory, disk = by_name["PCA 16, int8 x2"]
    assert disk == pytest.approx(memory + 16 * 4)
    assert 16 + 4 <= memory < 16 + 4 + 1, "a byte each, 4 for the offset, and a header"


def test_measured_recall_is_that_of_exact_search_where_nothing_is_lost(picked):
    assert picked.before.recall == 1.0
    assert all(row.ms is not None and row.ms > 0 for row in picked.rows)


def test_table_and_json_say_the_same(picked):
    table = str(picked).splitlines()
    assert " ".join(table[0].split()) == "setting memory disk recall at least ms"
    assert sum(line.endswith("picked") for line in table) == 1
    assert table[-1].startswith("Picked PCA 16, int8 x2: 128 to 20 bytes a vector")
    said = json.loads(json.dumps(picked.as_dict()))
    assert said["chosen"] == "PCA 16, int8 x2"
    assert len(said["rows"]) == len(picked.rows) == len(table) - 3


def test_seed_decides(picked):
    def figures(found: Compression) -> list[Any]:
        return [found.held_out, *((r.recall, r.low, r.memory) for r in found.rows)]

    asked = {"min_recall": 0.9, "candidates": QUICK, "n_queries": 600}
    assert figures(compress(collection(), **asked)) == figures(picked)
    assert compress(collection(), **asked, seed=1).held_out != picked.held_out


def test_promise_that_nothing_keeps_is_refused_with_the_table():
    only_rough = Candidates(reductions=(), quantisations=("binary",))
    with pytest.raises(PromiseNotKept, match=r"keeps a recall@10 of 0\.97") as caught:
        compress(collection(), min_recall=0.97, candidates=only_rough)
    report = caught.value.compression
    assert report.chosen is None
    assert [row.name for row in report.rows] == ["all 32", "all 32, binary x16"]
    assert "misses" in str(report)


def test_recall_of_one_is_never_promised():
    with pytest.raises(PromiseNotKept):
        compress(collection(300), min_recall=1.0, candidates=QUICK)


def test_by_disk_codes_beside_the_originals_save_nothing():
    asked = {"min_recall": 0.9, "candidates": QUICK, "n_queries": 600}
    found = compress(collection(), **asked, smallest="disk")
    assert found.chosen.name == "PCA 16"


def test_duplicates_make_no_recall_unattainable():
    # Each vector 20 times: any ten of the nineteen others are right.
    rows = np.repeat(collection(40), 20, axis=0)
    found = compress(rows, min_recall=0.9, candidates=QUICK, n_queries=400)
    assert found.before.recall == 1.0
    assert found.held_out >= 0.9


def test_given_queries_are_asked():
    asked = collection(400, seed=5)
    found = compress(collection(), asked, min_recall=0.9, candidates=QUICK)
    assert (found.n_queries, found.queries) == ((200, 200), "400 given")


def test_reduction_that_leaves_a_vector_nothing_is_left_out():
    rows = collection()
    rows[:, 0] += 1.0
    rows[5] = np.eye(32)[31]
    first = Candidates(reductions=("truncate",), dims=(16,), quantisations=("int8",))
    found = compress(rows, min_recall=0.8, candidates=first)
    notes = {row.name: row.note for row in found.rows}
    assert notes["first 16"] == "leaves some vectors nothing"
    assert found.chosen.transform == Chain()


def test_half_floats_are_half_the_bytes():
    half = Candidates(reductions=(), quantisations=("float16",))
    found = compress(collection(), min_recall=0.9, candidates=half)
    assert (found.chosen.memory, found.chosen.disk) == (64, 64)
    assert found.chosen.quantisation == Quantisation("float16")


def test_autoencoder_is_tried_when_it_is_asked_for():
    pytest.importorskip("torch", reason="needs the extra train")
    learned = Candidates(reductions=("autoencoder",), dims=(16,), quantisations=())
    found = compress(collection(), min_recall=0.9, candidates=learned)
    assert (found.chosen.name, found.chosen.dim) == ("autoencoder 16", 16)


def test_one_number_a_vector_has_nothing_to_save():
    rows = np.where(np.arange(200) % 2, 1.0, -1.0)[:, None]
    with pytest.raises(PromiseNotKept):
        compress(rows, candidates=Candidates(quantisations=("int8",)))


@pytest.mark.parametrize(
    ("rows", "settings", "error", "said"),
    [
        (collection(99), {}, InvalidVector, "99 vectors; expected at least 100"),
        (np.full((200, 4), np.nan), {}, InvalidVector, "not finite"),
        (np.zeros((200, 4)), {}, InvalidVector, "200 rows of zeros, first row 0"),
        (collection(), {"min_recall": 0.0}, InvalidSetting, "min_recall is 0"),
        (collection(), {"min_recall": 1.1}, InvalidSetting, "at most 1"),
        (collection(), {"min_recall": np.nan}, InvalidSetting, "min_recall is nan"),
        (collection(), {"top_k": 0}, InvalidSetting, "top_k is 0"),
        (collection(), {"n_queries": 19}, InvalidSetting, "is 19.*at least 20"),
        (collection(), {"confidence": 1.0}, InvalidSetting, "is 1.*less than 1"),
        (collection(), {"smallest": "ram"}, InvalidSetting, "'memory' or 'disk'"),
        (collection(), {"queries": np.ones((30, 5))}, InvalidVector, "30 queries of 5"),
        (collection(), {"queries": np.ones((9, 32))}, InvalidVector, "at least 20"),
    ],
)
def test_bad_input_is_refused(rows, settings, error, said):
    with pytest.raises(error, match=said):
        compress(rows, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"reductions": ("umap",)}, {"quantisations": ("int4",)}, {"oversamplings": ()},
        {"oversamplings": (4.0, 2.0)}, {"oversamplings": (0.5,)}, {"dims": (0,)},
    ],
)  # fmt: skip
def test_unknown_candidates_are_refused(settings):
    with pytest.raises(InvalidSetting, match="expected"):
        Candidates(**settings)


def test_lengths_that_need_more_vectors_than_there_are_are_left_out():
    some = Candidates(reductions=("pca", "truncate"), dims=(40, 16, 8))
    rows = collection(20)
    assert some.lengths(32) == [16, 8]
    tried = list(some.transforms(rows, seed=0))
    assert [name for name, _ in tried] == ["all 32", "PCA 8", "first 16", "first 8"]
    assert tried[2][1] == Truncate(16)
    assert tried[1][1].steps[0] == Normalize()
