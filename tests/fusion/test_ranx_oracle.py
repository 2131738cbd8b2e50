"""The same fusion computed by ranx, an independent implementation.

Where the two define different things the tests say so: a list whose scores are all
equal gets 1 from our min-max and 0 from ranx's; ranx's max norm divides by the largest
score, ours by the largest magnitude, which is the same where a score is positive and
the largest in magnitude; ranx refuses to fuse a single list.
"""

from __future__ import annotations

import random

import pytest

from llama_index_mmrag.fusion import RRF, WeightedSum

from ..support.runs import random_runs, ranked, scores_of

ranx = pytest.importorskip("ranx", reason="the oracle is ranx: install extra 'test'")

pytestmark = [
    # numba, while it compiles ranx: about ranx's own integer types.
    pytest.mark.filterwarnings("ignore:.*unsafe cast from uint64"),
]

NAMES = {"min_max": "min-max", "z_score": "zmuv", "max_scaled": "max"}
"""Our names of normalisers and ranx's."""


def fused_by_ranx(
    runs: list[dict[str, float]], *, method: str, norm: str | None, **params: object
) -> dict[str, float]:
    fused = ranx.fuse(
        runs=[ranx.Run({"q": run}) for run in runs],
        norm=norm,
        method=method,
        params=params,
    )
    return dict(fused["q"])


@pytest.mark.parametrize("k", [1, 10, 60, 1000])
def test_rrf_scores_equal_those_of_ranx(k):
    rng = random.Random(k)
    for n_lists in (2, 3, 5):
        runs = random_runs(rng, n_lists=n_lists, n_nodes=30)
        ours = RRF(k=k).fuse([ranked(f"c{i}", run) for i, run in enumerate(runs)])
        oracle = fused_by_ranx(runs, method="rrf", norm="min-max", k=k)
        assert scores_of(ours) == pytest.approx(oracle, abs=1e-12)


@pytest.mark.parametrize("normalizer", NAMES)
def test_weighted_sums_equal_those_of_ranx(normalizer):
    rng = random.Random(7)
    for n_lists in (2, 3):
        runs = random_runs(rng, n_lists=n_lists, n_nodes=30)
        if normalizer == "max_scaled":
            runs = [{node: abs(s) + 0.5 for node, s in run.items()} for run in runs]
        weights = [rng.randint(1, 8) / 8 for _ in runs]
        fusion = WeightedSum(
            weights={f"c{i}": weight for i, weight in enumerate(weights)},
            normalizer=normalizer,
        )
        ours = fusion.fuse([ranked(f"c{i}", run) for i, run in enumerate(runs)])
        oracle = fused_by_ranx(
            runs, method="wsum", norm=NAMES[normalizer], weights=weights
        )
        assert scores_of(ours) == pytest.approx(oracle, abs=1e-12)


def test_list_of_one_hit_differs_from_ranx_on_purpose():
    # It was found, and nothing in its list is worse: 1 and not 0.
    runs = [{"d01": 0.4}, {"d02": 0.9, "d03": 0.1}]
    ours = WeightedSum().fuse([ranked("t", runs[0]), ranked("i", runs[1])])
    oracle = fused_by_ranx(runs, method="wsum", norm="min-max", weights=[1.0, 1.0])
    assert scores_of(ours) == {"d01": 1.0, "d02": 1.0, "d03": 0.0}
    assert oracle == {"d01": 0.0, "d02": 1.0, "d03": 0.0}
