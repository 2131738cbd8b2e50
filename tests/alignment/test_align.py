"""From encoded pairs to an alignment: planted truths are found, unseen pairs judge."""

from __future__ import annotations

import numpy as np
import pytest

from llama_index_mmrag.alignment import (
    Aligned,
    Chain,
    Columns,
    EncodedPairs,
    Fit,
    Head,
    Normalize,
    PictureParts,
    TrainSettings,
    align,
    fit_ridge,
)
from llama_index_mmrag.alignment.heads import Scaling
from llama_index_mmrag.alignment.pairs import drawn_groups
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.embeddings.offline_features import OfflineFeaturesEmbedding
from llama_index_mmrag.errors import InvalidSetting, InvalidVector
from llama_index_mmrag.vectors import unit_rows

N, DIM = 120, 8
WHOLE = PictureParts(plain=Chain(), features=Chain())
QUICK = Fit(
    head=Head(dropout=0.0),
    settings=TrainSettings(epochs=4, batch_size=32, learning_rate=0.03),
)


def turned(n: int = N, *, seed: int = 0, noise: float = 0.02) -> EncodedPairs:
    """Return pictures that are their texts, turned: found by chance before, not after.

    The turn is always the same; the seed draws the texts.
    """
    random = np.random.default_rng(seed)
    turn = np.linalg.qr(np.random.default_rng(99).normal(size=(DIM, DIM)))[0]
    texts = unit_rows(random.normal(size=(n, DIM)).astype(np.float32))
    images = texts @ turn + noise * random.normal(size=(n, DIM))
    numbers = np.arange(n)
    return EncodedPairs(texts, images.astype(np.float32), numbers, numbers)


def need_torch_for(method: str) -> None:
    if method == "trained":
        pytest.importorskip("torch", reason="install extra 'train'")


@pytest.mark.parametrize("method", ["procrustes", "ridge", "trained"])
def test_planted_turn_is_found_on_unseen_pairs(method):
    need_torch_for(method)
    fit = Fit(
        method=method,
        head=Head(dropout=0.0),
        settings=TrainSettings(epochs=20, batch_size=32, learning_rate=0.03),
        mix_weight=None,
        ridge_penalty=0.1,
    )
    aligned = align(turned(), parts=WHOLE, fit=fit, judged=turned(60, seed=1))
    before = aligned.before["without a head"]
    assert before.text_to_image.mrr < 0.3
    assert aligned.after.text_to_image.recall_at_1 > 0.9
    assert aligned.after.image_to_text.recall_at_1 > 0.9
    assert (aligned.n_fitted, aligned.n_judged) == (N, 60)
    assert (aligned.trained is None) == (method != "trained")


def test_judged_share_is_whole_groups_that_nothing_was_learned_from():
    pairs = turned(20)
    groups = np.repeat(np.arange(10), 2)
    fit = Fit(method="procrustes", held_out=0.3)

    def aligned_with(texts: np.ndarray) -> Aligned:
        encoded = EncodedPairs(texts, pairs.images, groups, np.arange(20))
        return align(encoded, parts=WHOLE, fit=fit)

    aligned = aligned_with(pairs.texts)
    assert (aligned.n_fitted, aligned.n_judged) == (14, 6)
    # Any vectors of the judged pairs give the same head.
    changed = pairs.texts.copy()
    judged = drawn_groups(groups, 0.3, seed=0)
    changed[judged] = np.roll(changed[judged], 1, axis=0)
    other = aligned_with(changed)
    assert other.image == aligned.image
    assert other.after != aligned.after


def test_mixture_is_the_formula():
    pairs = turned()
    fit = Fit(method="ridge", mix_weight=0.25)
    mixed = align(pairs, parts=WHOLE, fit=fit).image.apply(pairs.images)
    alone = align(pairs, parts=WHOLE, fit=Fit(method="ridge", mix_weight=None))
    head = alone.image.apply(pairs.images)
    expected = unit_rows(unit_rows(pairs.images) + np.float32(0.25) * head)
    np.testing.assert_allclose(mixed, expected, atol=1e-6)


def test_ridge_is_that_of_the_benchmark():
    pairs, judged = turned(), turned(30, seed=1)
    fit = Fit(method="ridge", mix_weight=None, ridge_penalty=7.0)
    aligned = align(pairs, parts=WHOLE, fit=fit, judged=judged)
    scaling = Scaling.of(pairs.images)
    fitted = fit_ridge(scaling.apply(pairs.images), pairs.texts, penalty=7.0)
    expected = Normalize().apply(fitted.apply(scaling.apply(judged.images)))
    np.testing.assert_allclose(aligned.image.apply(judged.images), expected, atol=1e-5)


def test_head_learns_from_the_feature_columns_and_mixes_the_plain_ones():
    pairs = turned()
    noise = np.random.default_rng(5).normal(size=(N, DIM)).astype(np.float32)
    side_by_side = EncodedPairs(
        pairs.texts, np.hstack([noise, pairs.images]), pairs.groups, pairs.pictures
    )
    parts = PictureParts(plain=Columns(0, DIM), features=Columns(DIM, 2 * DIM))
    fit = Fit(method="procrustes", mix_weight=None)
    split = align(side_by_side, parts=parts, fit=fit)
    plain = align(pairs, parts=WHOLE, fit=fit)
    assert split.after == plain.after
    mixed = align(side_by_side, parts=parts, fit=Fit(method="procrustes"))
    assert mixed.before["without a head"] != plain.before["without a head"]
    assert mixed.after.text_to_image.mrr < split.after.text_to_image.mrr


def test_baselines_are_judged_on_the_same_pairs():
    fit, baselines = Fit(method="procrustes"), {"itself": Normalize()}
    aligned = align(turned(), parts=WHOLE, fit=fit, baselines=baselines)
    assert list(aligned.before) == ["without a head", "itself"]
    assert aligned.before["itself"] == aligned.before["without a head"]


def test_killed_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="install extra 'train'")
    from llama_index_mmrag.alignment.training import Training

    whole = align(turned(), parts=WHOLE, fit=QUICK)
    epoch = Training.epoch

    def killed(self: Training, number: int) -> float | None:
        if number == 3:
            raise KeyboardInterrupt
        return epoch(self, number)

    monkeypatch.setattr(Training, "epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        align(turned(), parts=WHOLE, fit=QUICK, checkpoint=tmp_path / "run.npz")
    monkeypatch.setattr(Training, "epoch", epoch)
    resumed = align(turned(), parts=WHOLE, fit=QUICK, checkpoint=tmp_path / "run.npz")
    assert resumed.image == whole.image
    assert resumed.after == whole.after


def test_parts_of_encoders():
    offline = PictureParts.of(OfflineFeaturesEmbedding(), text_dim=384, image_dim=1_664)
    assert (offline.plain, offline.features) == (Columns(0, 384), Columns(384, 1664))
    same = PictureParts.of(ColourEncoder(), text_dim=4, image_dim=4)
    assert (same.plain, same.features) == (Chain(), Chain())
    apart = PictureParts.of(ColourEncoder(), text_dim=4, image_dim=6)
    assert (apart.plain, apart.features) == (None, Chain())


def test_nothing_to_mix_with_is_refused_before_anything_is_fitted():
    parts = PictureParts(plain=None, features=Chain())
    with pytest.raises(InvalidSetting, match="mix_weight=0.5.*the head alone"):
        align(turned(), parts=parts)
    alone = align(turned(), parts=parts, fit=Fit(method="procrustes", mix_weight=None))
    assert alone.before == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "magic"}, {"mix_weight": 0.0}, {"mix_weight": -1.0},
        {"mix_weight": float("nan")}, {"mix_weight": float("inf")}, {"held_out": 0.0},
        {"held_out": 1.0}, {"held_out": float("nan")},
    ],
    ids=str,
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InvalidSetting, match=f"{next(iter(wrong))} is .*; expected"):
        Fit(**wrong)


@pytest.mark.parametrize(("method", "n"), [("ridge", 1), ("trained", 2)])
def test_too_few_things_are_told(method, n):
    with pytest.raises(InvalidVector, match=f"{n} pairs about {n} different pictures"):
        align(turned(n), parts=WHOLE, fit=Fit(method=method))


@pytest.mark.parametrize(("method", "n"), [("ridge", 2), ("trained", 3)])
def test_fewest_things_are_enough(method, n):
    need_torch_for(method)
    fit = Fit(method=method, settings=QUICK.settings)
    aligned = align(turned(n), parts=WHOLE, fit=fit)
    assert (aligned.n_fitted, aligned.n_judged) == (n - 1, 1)


def test_share_that_leaves_too_few_is_refused():
    with pytest.raises(InvalidSetting, match="held_out=0.9 of 10 things"):
        align(turned(10), parts=WHOLE, fit=Fit(held_out=0.9))


def test_device_that_there_is_not_is_named():
    pytest.importorskip("torch", reason="install extra 'train'")
    with pytest.raises(InvalidSetting, match="'gpu0' cannot be used.*'cpu'"):
        align(turned(), parts=WHOLE, fit=QUICK, device="gpu0")


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_device_learns_what_the_cpu_learns(device):
    torch = pytest.importorskip("torch", reason="install extra 'train'")
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[device]:
        pytest.skip(f"no {device} here")
    on_cpu = align(turned(), parts=WHOLE, fit=QUICK).image.apply(turned().images)
    first, second = (
        align(turned(), parts=WHOLE, fit=QUICK, device=device) for _ in range(2)
    )
    assert first.image == second.image
    np.testing.assert_allclose(first.image.apply(turned().images), on_cpu, atol=1e-3)


def test_judged_pairs_whose_pictures_were_learned_from_are_counted():
    pairs, fit = turned(40), Fit(method="ridge", mix_weight=None)
    apart = align(pairs, parts=WHOLE, fit=fit)
    assert (apart.n_fitted + apart.n_judged, apart.n_seen) == (40, 0)
    ten = pairs.where(pairs.groups < 10)
    flattered = align(pairs, parts=WHOLE, fit=fit, judged=ten)
    assert (flattered.n_fitted, flattered.n_judged, flattered.n_seen) == (40, 10, 10)
