"""The autoencoder: at least PCA, better on a bent surface, numpy when applied."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train")

from llama_index_mmrag.alignment import (  # noqa: E402
    Alignment,
    AutoencoderSettings,
    TrainedAutoencoder,
    fit_autoencoder,
    fit_directions,
)
from llama_index_mmrag.errors import InvalidSetting, InvalidVector  # noqa: E402
from llama_index_mmrag.vectors import unit_rows  # noqa: E402


def bent(n: int, seed: int) -> np.ndarray:
    """Return points of a closed curve in 12 dimensions.

    Its largest two directions go round three times, so that points far apart on the
    curve look alike in them.
    """
    angles = np.random.default_rng(seed).uniform(0, 2 * np.pi, n)
    sizes = {3: 1.0, 1: 0.8, 2: 0.5}
    waves = [a * f(k * angles) for k, a in sizes.items() for f in (np.cos, np.sin)]
    turned, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(12, 12)))
    rows: np.ndarray = np.stack(waves, axis=1) @ turned.T[: len(waves)]
    return unit_rows(rows.astype(np.float32))


def fitted(rows: np.ndarray, dim: int, **settings: Any) -> TrainedAutoencoder:
    return fit_autoencoder(rows, dim, settings=AutoencoderSettings(**settings))


def neighbours(rows: np.ndarray) -> list[set[int]]:
    scores = rows @ rows.T
    np.fill_diagonal(scores, -np.inf)
    return [set(best) for best in np.argsort(-scores, axis=1)[:, :10].tolist()]


def recall(found: np.ndarray, exact: np.ndarray) -> float:
    pairs = zip(neighbours(found), neighbours(exact), strict=True)
    return float(np.mean([len(one & other) / 10 for one, other in pairs]))


def test_bent_curve_is_unrolled_where_pca_folds_it():
    learned, judged = bent(1500, 1), bent(400, 2)
    trained = fitted(
        learned, 2, hidden=64, epochs=40, learning_rate=1e-2, similarity_weight=0
    )
    codes = trained.encoder.apply(judged)
    by_pca = unit_rows(fit_directions(learned, 2).apply(judged))
    assert recall(by_pca, judged) < 0.4
    assert recall(codes, judged) > 0.7
    assert codes.shape == (400, 2)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-5)
    assert trained.losses[trained.best_epoch] == min(trained.losses) < trained.losses[0]
    assert (trained.stopped, len(trained.losses)) == ("finished", 41)


def test_linear_codes_keep_more_neighbours_than_pca_of_the_same_length():
    learned, judged = bent(1500, 1), bent(400, 2)
    trained = fitted(learned, 3, epochs=40, learning_rate=1e-2)
    codes = trained.encoder.apply(judged)
    by_pca = unit_rows(fit_directions(learned, 3).apply(judged))
    assert recall(codes, judged) > recall(by_pca, judged) + 0.01


def test_before_training_it_is_pca_whatever_the_shape():
    rows = bent(200, 1)
    by_pca = unit_rows(fit_directions(rows, 3).apply(rows))
    for hidden in (None, 6, 9):
        trained = fitted(rows, 3, hidden=hidden, epochs=1, learning_rate=1e-12)
        codes = trained.encoder.apply(rows)
        # PCA of nine tenths: the held-out tenth is not looked at.
        assert recall(codes, by_pca) > 0.9


def test_arguments_decide_and_torch_s_random_state_stays():
    rows = bent(100, 1)
    before = torch.get_rng_state()
    one = fitted(rows, 4, hidden=12, epochs=3, seed=5)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert one == fitted(rows.copy(), 4, hidden=12, epochs=3, seed=5)
    assert one.encoder != fitted(rows, 4, hidden=12, epochs=3, seed=6).encoder


def test_loss_that_is_no_number_ends_with_the_last_good_encoder(caplog):
    rows = bent(100, 1)
    trained = fitted(rows, 4, epochs=20, batch_size=10, learning_rate=1e30)
    assert trained.stopped == "not finite"
    assert "the encoder of epoch 0 is kept" in caplog.text
    assert trained.best_epoch == 0
    assert np.isfinite(trained.encoder.apply(rows)).all()


def test_encoder_is_saved_as_any_transform(tmp_path):
    encoder = fitted(bent(60, 1), 4, hidden=8, epochs=1).encoder
    spaces = {"text_space": "a", "image_space": "b", "fitted_on": "a bent surface"}
    Alignment(text=encoder, image=encoder, **spaces).save(tmp_path / "codes.npz")
    assert Alignment.load(tmp_path / "codes.npz").text == encoder


@pytest.mark.parametrize(
    ("rows", "dim", "settings", "error", "said"),
    [
        (bent(19, 1), 3, {}, InvalidVector, "19 vectors; expected at least 20"),
        (np.zeros((30, 4)), 3, {}, InvalidVector, "30 vectors of zeros"),
        (np.full((30, 4), np.nan), 3, {}, InvalidVector, "not finite"),
        (bent(30, 1), 0, {}, InvalidSetting, "at least 1 and at most 11"),
        (bent(30, 1), 12, {}, InvalidSetting, "at least 1 and at most 11"),
        (np.ones((30, 1)), 1, {}, InvalidSetting, "at least 1 and at most 0"),
        (bent(30, 1), 3, {"hidden": 5}, InvalidSetting, "at least 6"),
        (bent(30, 1), 3, {"epochs": 0}, InvalidSetting, "epochs is 0"),
        (bent(30, 1), 3, {"batch_size": 1}, InvalidSetting, "batch_size"),
        (bent(30, 1), 3, {"seed": -1}, InvalidSetting, "seed is -1"),
    ],
)
def test_bad_input_is_refused(rows, dim, settings, error, said):
    with pytest.raises(error, match=said):
        fitted(rows, dim, **settings)
