"""Fine-tuning by its parts: both families, tasks, precisions, early stopping."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llama_index_mmrag import BatchedClipEmbedding
from llama_index_mmrag.alignment.finetuning import Captioner, FinetuneEpoch
from llama_index_mmrag.alignment.finetuning.captioner import CheckpointUnusable
from llama_index_mmrag.alignment.finetuning.examples import checked
from llama_index_mmrag.alignment.finetuning.pictures import trimmed
from llama_index_mmrag.alignment.finetuning.settings import FinetuneSettings
from llama_index_mmrag.alignment.finetuning.trained_weights import new_optimizer
from llama_index_mmrag.alignment.finetuning.training import warmup_cosine
from llama_index_mmrag.nodes.images import load_image


@pytest.mark.parametrize("method", ["lora", "full", "last_blocks"])
def test_siglip_learns_with_its_own_loss(quick, tiny_siglip, few_pairs, method):
    report = quick(
        tiny_siglip, few_pairs, method=method, epochs=12, learning_rate=3e-3,
        head_learning_rate=3e-3,
    )  # fmt: skip
    first, last = report.history[1], report.history[-1]
    assert last.losses["contrastive"] < 0.6 * first.losses["contrastive"]
    assert last.losses["captioning"] < 0.8 * first.losses["captioning"]
    tuned = BatchedClipEmbedding(model_name=str(report.folder))
    assert tuned.space_id != BatchedClipEmbedding(model_name=tiny_siglip).space_id


def test_captioning_alone_is_judged_by_its_loss(quick, tiny_clip, few_pairs):
    report = quick(
        tiny_clip, few_pairs, tasks={"captioning": 1.0}, epochs=4, held_out=0.2
    )
    losses = [epoch.captioning_loss for epoch in report.history]
    assert report.best_epoch == int(np.argmin(losses)) > 0
    assert set(report.history[1].losses) == {"captioning"}


def test_retrieval_alone_writes_no_head(quick, tiny_clip, few_pairs):
    report = quick(tiny_clip, few_pairs, tasks={"contrastive": 1.0}, epochs=1)
    assert not (report.folder / "captioner.safetensors").exists()
    assert set(report.history[1].losses) == {"contrastive"}
    assert report.history[1].captioning_loss is None


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_follows_float32(
    quick, tiny_clip, few_pairs, precision, tmp_path
):
    exact = quick(tiny_clip, few_pairs, epochs=3, out=tmp_path / "exact")
    mixed = quick(tiny_clip, few_pairs, epochs=3, precision=precision)
    for one, other in zip(exact.history[1:], mixed.history[1:], strict=True):
        assert other.losses == pytest.approx(one.losses, rel=0.03)
    # Weights stay float32.
    from safetensors.torch import load_file

    weights = load_file(mixed.folder / "model.safetensors")
    assert {str(weight.dtype) for weight in weights.values()} == {"torch.float32"}


def test_float16_leaves_out_a_step_that_overflows_and_goes_on(
    quick, tiny_clip, few_pairs
):
    # GradScaler begins at 65536, which the first steps' gradients may not stand.
    report = quick(
        tiny_clip, few_pairs, precision="float16", method="full", epochs=12,
        tasks={"contrastive": 1000.0},
    )  # fmt: skip
    assert report.stopped == "finished"
    losses = [epoch.losses["contrastive"] for epoch in report.history[1:]]
    assert losses[-1] < losses[0]


def test_training_stops_early_and_keeps_the_best(quick, tiny_clip, pairs):
    # Words that say nothing about their pictures cannot help held-out ones for long.
    shuffled = [(image, pairs[(7 * i) % 64][1]) for i, (image, _) in enumerate(pairs)]
    report = quick(
        tiny_clip, shuffled, tasks={"contrastive": 1.0}, held_out=0.5, epochs=60,
        patience=2, learning_rate=3e-3,
    )  # fmt: skip
    assert report.stopped == "early"
    recalls = [epoch.recall for epoch in report.history]
    assert report.best.recall == max(recalls)
    assert len(recalls) - 1 - recalls.index(max(recalls)) == 2
    assert "Stopped early" in str(report)


def test_base_model_is_not_changed(quick, tiny_clip, few_pairs):
    before = {p: p.read_bytes() for p in Path(tiny_clip).iterdir()}
    quick(tiny_clip, few_pairs, epochs=1, method="full")
    assert {p: p.read_bytes() for p in Path(tiny_clip).iterdir()} == before


def test_fine_tuned_model_is_fine_tuned_further(quick, tiny_clip, few_pairs, tmp_path):
    first = quick(tiny_clip, few_pairs, epochs=1)
    second = quick(str(first.folder), few_pairs, epochs=1, out=tmp_path / "second")
    cards = [
        json.loads((r.folder / "finetune.json").read_text()) for r in (first, second)
    ]
    assert cards[1]["origin"]["model"] == cards[0]["space"].removesuffix(":unit")


def test_captions_of_no_pictures_and_of_any_source(quick, tiny_clip, few_pairs):
    captioner = Captioner.load(quick(tiny_clip, few_pairs, epochs=6).folder)
    assert captioner.captions([]) == []
    paths = [image for image, _ in few_pairs]
    opened = [load_image(image) for image in paths]
    data = [Path(image).read_bytes() for image in paths]
    by_path = captioner.captions(paths, batch_size=5)
    assert len(by_path) == 16
    assert by_path == captioner.captions(opened) == captioner.captions(data)
    assert all(len(t.split()) <= 1 for t in captioner.captions(paths, max_tokens=1))


def test_captioner_of_no_folder_is_refused(tmp_path, packages):
    with pytest.raises(CheckpointUnusable, match="Cannot read the captioning head"):
        Captioner.load(tmp_path)


def test_sideways_photograph_is_trained_on_upright(
    quick, tiny_clip, few_pairs, tmp_path
):
    # Each picture turned, and marked as turned: EXIF orientation 6.
    turned = []
    for image, text in few_pairs:
        picture = Image.open(image).transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[0x0112] = 6
        path = tmp_path / Path(image).name
        picture.save(path, exif=exif)
        turned.append((path, text))
    upright = quick(tiny_clip, few_pairs, epochs=1, out=tmp_path / "a")
    sideways = quick(tiny_clip, turned, epochs=1, out=tmp_path / "b")
    assert sideways.history == upright.history


def test_pairs_of_one_group_do_not_push_each_other_away(
    quick, tiny_clip, few_pairs, tmp_path
):
    # One picture with two texts, and another: only two things to tell apart.
    picture, other = few_pairs[0][0], few_pairs[1][0]
    given = [(picture, "red cup"), (picture, "a cup"), (other, "green hat")]
    report = quick(tiny_clip, given, tasks={"contrastive": 1.0}, epochs=15)
    assert report.history[-1].losses["contrastive"] < 0.1
    assert report.best.recall == 1.0


def test_trimming_cuts_at_most_a_tenth_off_each_side():
    picture = Image.new("RGB", (100, 50))
    sizes = {trimmed(picture, np.random.default_rng(seed)).size for seed in range(50)}
    assert len(sizes) > 10
    assert all(80 <= width <= 100 and 40 <= height <= 50 for width, height in sizes)


def test_pairs_of_same_content_have_the_same_sha(few_pairs, tmp_path):
    one, _ = checked(few_pairs)
    other, _ = checked([(Path(image), text) for image, text in few_pairs])
    assert one.sha256 == other.sha256
    assert checked(few_pairs[::-1])[0].sha256 != one.sha256
    changed = [(image, f"{text}s") for image, text in few_pairs]
    assert checked(changed)[0].sha256 != one.sha256


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.99])
def test_rate_rises_then_falls_and_is_never_0(warmup):
    rates = [warmup_cosine(s, 20, warmup=warmup) for s in range(20)]
    peak = rates.index(max(rates))
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert max(rates) == 1.0
    assert min(rates) > 0


def test_decay_pulls_on_matrices_alone(packages):
    import torch

    weights = {
        "model.fc1.weight": torch.ones(2, 2),
        "model.fc1.bias": torch.ones(2),
        "model.logit_scale": torch.ones(()),
        "head.token.weight": torch.ones(3, 2),
        "head.norm.weight": torch.ones(2),
    }
    settings = FinetuneSettings(learning_rate=0.5, head_learning_rate=0.25)
    found = [
        (group["peak"], group["weight_decay"], [w.ndim for w in group["params"]])
        for group in new_optimizer(weights, settings).param_groups
    ]
    assert found == [
        (0.5, 0.05, [2]), (0.5, 0.0, [1, 0]), (0.25, 0.05, [2]), (0.25, 0.0, [1])
    ]  # fmt: skip


def test_recall_is_the_mean_of_both_ways():
    assert FinetuneEpoch(1, {}, 0.5, 1.0, None).recall == 0.75
