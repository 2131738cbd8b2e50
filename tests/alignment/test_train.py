"""Trained heads: planted maps are found, interruptions change no bit, NaN stops."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="install extra 'train'")

from llama_index_mmrag.alignment import (  # noqa: E402
    IDENTITY,
    Head,
    Normalize,
    Pairs,
    TrainSettings,
    train_heads,
)
from llama_index_mmrag.alignment.found import recall_at_k  # noqa: E402
from llama_index_mmrag.alignment.training import Training  # noqa: E402
from llama_index_mmrag.errors import InvalidSetting, InvalidVector  # noqa: E402

LINEAR = Head(dropout=0.0)
QUICK = TrainSettings(
    epochs=8, batch_size=64, learning_rate=1e-2, weight_decay=0.0, top_k=1
)


def planted(
    n: int = 200, *, seed: int = 0, noise: float = 0.3, offset: float = 40.0
) -> Pairs:
    """Pictures that are texts through an unknown map, with noise."""
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(n, 8))
    map_ = np.random.default_rng(99).normal(size=(8, 12))
    images = texts @ map_ * 5.0 + rng.normal(size=(n, 12)) * noise + offset
    return Pairs.of(texts, images)


def quick(pairs: Pairs | None = None, **settings):
    keys = ("text_head", "image_head", "dim", "held_out", "checkpoint")
    given = {key: settings.pop(key) for key in keys if key in settings}
    known = {
        name: getattr(QUICK, name) for name in QUICK.__slots__ if name not in settings
    }
    return train_heads(
        planted() if pairs is None else pairs,
        **{"image_head": LINEAR, **given},
        settings=TrainSettings(**known, **settings),
        show_progress=False,
    )


def found(trained, pairs: Pairs) -> float:
    texts, images = trained.text.apply(pairs.texts), trained.image.apply(pairs.images)
    return recall_at_k(texts, images, pairs.groups, pairs.groups, k=1)


@pytest.mark.parametrize("loss", ["info_nce", "triplet"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_planted_map_is_learned_and_holds_for_new_pairs(loss, kind):
    fresh = planted(200, seed=1)
    head = Head(kind=kind, hidden=64, dropout=0.0)
    trained = quick(loss=loss, image_head=head, epochs=25)
    assert trained.stopped in {"finished", "early"}
    assert trained.history[0].recall < 0.2
    assert max(epoch.recall for epoch in trained.history) > 0.85
    assert found(trained, fresh) > 0.7  # by chance 0.005
    assert trained.text == Normalize()


@pytest.mark.parametrize(
    ("heads", "dims"),
    [
        ({"text_head": LINEAR, "image_head": IDENTITY}, (12, 12)),
        ({"text_head": LINEAR, "image_head": LINEAR}, (8, 8)),
        ({"text_head": LINEAR, "image_head": LINEAR, "dim": 7}, (7, 7)),
    ],
)
def test_text_side_or_both_sides_can_learn(heads, dims):
    # No offset: a frozen side keeps its own.
    trained = quick(planted(offset=0.0), epochs=25, **heads)
    assert (trained.text.out_dim(8), trained.image.out_dim(12)) == dims
    assert found(trained, planted(200, seed=1, offset=0.0)) > 0.5  # by chance 0.005


@pytest.mark.parametrize("start", ["ridge", "procrustes"])
def test_closed_form_start_is_better_than_chance_before_the_first_step(start):
    trained = quick(start=start, epochs=1)
    assert trained.history[0].recall > quick(epochs=1).history[0].recall + 0.3


def test_weights_that_are_applied_are_the_best_epochs():
    pairs = planted(noise=4.0)
    train, judged = pairs.split(0.1, seed=0)
    trained = quick(train, held_out=judged)
    texts, images = trained.text.apply(judged.texts), trained.image.apply(judged.images)
    there = recall_at_k(texts, images, judged.groups, judged.groups, k=1)
    back = recall_at_k(images, texts, judged.groups, judged.groups, k=1)
    best = max(epoch.recall for epoch in trained.history)
    assert (there + back) / 2 == pytest.approx(best)
    assert trained.history[trained.best_epoch].recall == best


def test_vectors_have_length_one():
    images = quick(epochs=1).image.apply(planted(5, seed=4).images)
    np.testing.assert_allclose(np.linalg.norm(images, axis=1), 1.0, rtol=1e-5)


def test_same_arguments_give_the_same_bits_and_leave_torchs_randomness_alone():
    state = torch.get_rng_state()
    settings = {"image_head": Head(dropout=0.3), "epochs": 3}
    one, same = quick(**settings), quick(**settings)
    assert one == same
    assert one.image != quick(**settings, seed=1).image
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("after", [1, 3])
def test_resumed_training_ends_with_the_same_bits(kind, after, tmp_path, monkeypatch):
    head = Head(kind=kind, hidden=32, dropout=0.4)
    straight = quick(image_head=head, epochs=5)
    path = tmp_path / "kept" / "run.npz"
    one_epoch = Training.epoch

    def killed(self: Training, number: int) -> float | None:
        if number > after:
            raise KeyboardInterrupt
        return one_epoch(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            quick(image_head=head, epochs=5, checkpoint=path)
    assert quick(image_head=head, epochs=5, checkpoint=path) == straight
    # Finished: asking again trains no more and says the same.
    assert quick(image_head=head, epochs=5, checkpoint=path) == straight


def test_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    quick(epochs=1, checkpoint=path)
    for other in (
        {"pairs": planted(seed=5)},
        {"seed": 1},
        {"image_head": Head(dropout=0.1)},
    ):
        with pytest.raises(InvalidSetting, match="other pairs, heads or settings"):
            quick(**{"epochs": 1, "checkpoint": path, **other})


def test_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InvalidSetting, match="cannot be read"):
        quick(checkpoint=path)


def test_loss_that_is_no_number_stops_and_keeps_the_best_heads(
    tmp_path, monkeypatch, caplog
):
    path = tmp_path / "run.npz"
    good = quick(epochs=6, checkpoint=None)
    one_epoch = Training.epoch

    def poisoned(self: Training, number: int) -> float | None:
        if number == 3:
            weight = self._weights["image.weight"]
            weight.data[0, 0] = float("nan")
        return one_epoch(self, number)

    monkeypatch.setattr(Training, "epoch", poisoned)
    with caplog.at_level(logging.WARNING):
        stopped = quick(epochs=6, checkpoint=path)
    assert stopped.stopped == "not finite"
    assert stopped.history == good.history[:3]
    assert np.isfinite(stopped.image.apply(planted(3).images)).all()
    assert "not finite in epoch 3" in caplog.text
    # The checkpoint is that of the last good epoch: training can go on from it.
    monkeypatch.undo()
    assert quick(epochs=6, checkpoint=path) == good


def test_loss_that_is_no_number_in_the_first_epoch_is_an_error():
    with pytest.raises(InvalidSetting, match=r"epoch 1 with learning_rate=1e\+38"):
        quick(learning_rate=1e38)


def test_training_stops_early_when_recall_stands_still():
    rng = np.random.default_rng(0)
    noise = Pairs.of(rng.normal(size=(60, 4)), rng.normal(size=(60, 4)))
    trained = quick(noise, epochs=250, patience=3)
    assert trained.stopped == "early"
    assert len(trained.history) < 100


def test_no_group_is_both_learned_from_and_judged_by():
    groups = np.repeat(np.arange(20), 3)
    pairs = Pairs.of(np.ones((60, 2)), np.ones((60, 2)), groups)
    train, judged = pairs.split(0.25, seed=3)
    assert len(np.unique(judged.groups)) == 5
    assert not set(train.groups) & set(judged.groups)
    assert len(train) + len(judged) == 60


def test_one_pair_is_refused_with_what_to_do():
    with pytest.raises(InvalidVector, match="1 pairs about 1 thing.*fit_procrustes"):
        quick(Pairs.of([[1.0, 2.0]], [[3.0]]))


def test_two_pairs_train():
    trained = quick(Pairs.of(np.eye(2), np.eye(2)), epochs=2)
    assert (trained.n_trained, trained.n_held_out) == (1, 1)


@pytest.mark.parametrize(
    ("texts", "images", "groups", "says"),
    [
        (np.eye(2), np.eye(3), None, "2 texts, 3 images"),
        (np.eye(2), np.eye(2), [1], "1 groups"),
        (np.empty((0, 2)), np.empty((0, 2)), None, "at least one"),
        ([[np.nan]], [[1.0]], None, "texts have.*not finite"),
    ],
)
def test_pairs_that_are_none_are_refused(texts, images, groups, says):
    with pytest.raises(InvalidVector, match=says):
        Pairs.of(texts, images, groups)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"image_head": IDENTITY}, "Both heads are the identity"),
        ({"dim": 5}, "dim is 5; expected 8"),
        ({"start": "ridge", "text_head": LINEAR}, "one linear head"),
        ({"start": "ridge", "image_head": Head(kind="mlp")}, "one linear head"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, says):
    with pytest.raises(InvalidSetting, match=says):
        quick(**settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1}, {"seed": 2**63}, {"epochs": 2.0}, {"epochs": True},
        {"loss": "mse"}, {"start": "warm"}, {"epochs": 0}, {"batch_size": 1},
        {"learning_rate": 0.0}, {"learning_rate": float("nan")}, {"held_out": 1.0},
        {"margin": 0.0}, {"patience": 0}, {"ridge_penalty": 0.0}, {"top_k": 0},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InvalidSetting, match=next(iter(wrong))):
        TrainSettings(**wrong)


@pytest.mark.parametrize("wrong", [{"kind": "cnn"}, {"hidden": 0}, {"dropout": 1.0}])
def test_heads_out_of_range_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(InvalidSetting, match=f"head's {name} is .*; expected"):
        Head(**wrong)


def test_counts_of_numpy_are_counts():
    settings = TrainSettings(epochs=np.int64(2))
    assert type(settings.epochs) is int
    assert settings == TrainSettings(epochs=2)


def test_progress_shows_loss_and_recall(capsys):
    train_heads(planted(50), settings=TrainSettings(epochs=1), show_progress=True)
    shown = capsys.readouterr().err
    assert all(part in shown for part in ("Training heads", "loss=", "recall="))


def test_without_torch_the_error_says_what_to_install():
    program = """
import sys
sys.modules["torch"] = None
import numpy as np
from llama_index_mmrag.alignment import Pairs, train_heads
train_heads(Pairs.of(np.eye(3), np.eye(3)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    said = done.stderr.splitlines()[-1]
    assert "MissingExtra" in said
    assert "llama-index-mmrag[train]" in said


def test_training_block_of_the_page_runs(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "alignment.md"
    blocks = re.findall(r"```py\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    monkeypatch.chdir(tmp_path)
    pairs = planted(100)
    names = {"texts": pairs.texts, "images": pairs.images}
    exec(compile(blocks[0], str(page), "exec"), names)
    assert names["trained"].n_held_out == 10
    assert Path("heads.run.npz").exists()
