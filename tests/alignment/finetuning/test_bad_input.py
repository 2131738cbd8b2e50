"""What cannot be used is named; what was good is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from llama_index_mmrag import BatchedClipEmbedding
from llama_index_mmrag.alignment.finetuning import (
    Captioner,
    FinetuneSettings,
    TooFewPairs,
)
from llama_index_mmrag.alignment.finetuning import run as run_module
from llama_index_mmrag.alignment.finetuning.checkpoint import read_tensors
from llama_index_mmrag.alignment.pair_files import PictureText
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting, MmragError

from ...support.tiny_models import write_model


def test_missing_broken_and_empty_are_reported_and_skipped(
    quick, tiny_clip, few_pairs, tmp_path
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(few_pairs[0][0]).read_bytes()[:60])
    given = [
        (tmp_path / "gone.png", "gone"),
        *few_pairs[:4],
        (broken, "broken"),
        (few_pairs[4][0], "  "),
        *few_pairs[5:8],
    ]
    report = quick(tiny_clip, given)
    assert [(s.index, Path(s.image).name) for s in report.skipped] == [
        (0, "gone.png"),
        (5, "broken.png"),
        (6, Path(few_pairs[4][0]).name),
    ]
    assert "No such file" in report.skipped[0].reason
    assert "text is empty" in report.skipped[2].reason
    assert report.n_trained == 7
    card = json.loads((report.folder / "finetune.json").read_text())
    assert [s["index"] for s in card["report"]["skipped"]] == [0, 5, 6]


@pytest.mark.parametrize("n", [0, 1])
def test_one_pair_or_none_is_too_few(quick, tiny_clip, few_pairs, n, tmp_path):
    with pytest.raises(TooFewPairs, match=rf"{n} pairs .* expected at least 2"):
        quick(tiny_clip, few_pairs[:n])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["same.png", "twin.png"])
def test_one_picture_with_two_texts_or_names_is_one_thing(
    quick, tiny_clip, few_pairs, tmp_path, name
):
    picture = tmp_path / "same.png"
    shutil.copy(few_pairs[0][0], picture)
    twin = tmp_path / name
    twin.write_bytes(picture.read_bytes())
    with pytest.raises(TooFewPairs, match=r"2 pairs about 1 thing"):
        quick(tiny_clip, [(picture, "a cup"), (twin, "red")])


def test_folder_of_something_else_is_left_as_it_is(
    quick, tiny_clip, few_pairs, tmp_path
):
    kept = tmp_path / "out" / "adapter" / "mine.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("not yours")
    with pytest.raises(InvalidSetting, match="'adapter', which fine-tuning would"):
        quick(tiny_clip, few_pairs, epochs=1)
    assert kept.read_text() == "not yours"


def test_checkpoint_that_cannot_be_written_is_an_error_of_the_system(
    quick, tiny_clip, few_pairs, tmp_path
):
    # As a full disk: safetensors has an error of its own for it.
    (tmp_path / "out" / "checkpoint.safetensors.partial").mkdir(parents=True)
    with pytest.raises(OSError, match=r"checkpoint\.safetensors.*directory"):
        quick(tiny_clip, few_pairs, epochs=1)


def test_things_are_held_out_whole(quick, tiny_clip, few_pairs):
    given = [
        PictureText(image, text, group=text.split()[0]) for image, text in few_pairs
    ]
    report = quick(tiny_clip, given, held_out=0.25, epochs=1)
    # 8 colours with two pictures each: 2 colours judge.
    assert (report.n_trained, report.n_held_out) == (12, 4)


def test_held_out_pairs_of_ones_own_judge(quick, tiny_clip, few_pairs):
    report = quick(tiny_clip, few_pairs[:10], held_out_pairs=few_pairs[10:], epochs=1)
    assert (report.n_trained, report.n_held_out) == (10, 6)
    with pytest.raises(TooFewPairs, match="None of the 1 held-out pairs"):
        quick(tiny_clip, few_pairs, held_out_pairs=[("gone.png", "gone")])


def test_huge_rate_stops_with_the_last_good_weights(
    quick, tiny_clip, few_pairs, caplog
):
    report = quick(tiny_clip, few_pairs, method="full", learning_rate=1e25)
    assert report.stopped == "not finite"
    assert "in epoch 1 with a learning rate of 1e+25" in report.not_finite
    assert "Lower the learning rate" in caplog.text
    assert report.best_epoch == 0
    # The base model as it was: the same space.
    kept = BatchedClipEmbedding(model_name=str(report.folder))
    assert kept.space_id == BatchedClipEmbedding(model_name=tiny_clip).space_id


def test_loss_that_breaks_later_keeps_the_epoch_before(
    quick, tiny_clip, few_pairs, tmp_path, monkeypatch
):
    good = quick(tiny_clip, few_pairs, epochs=3, method="full")
    wrote, made = run_module.write_checkpoint, run_module.Training
    seen = []
    weights: dict[str, Any] = {}

    def then_broken(path: Path, state: Any, origin: Any) -> None:
        wrote(path, state, origin)
        seen.append(len(state.history))
        if len(state.history) == 3:  # after epoch 2
            weights["model.logit_scale"].data.fill_(float("nan"))

    def watched(*arguments: Any, **options: Any) -> Any:
        training = made(*arguments, **options)
        weights.update(training.weights)
        return training

    monkeypatch.setattr(run_module, "write_checkpoint", then_broken)
    monkeypatch.setattr(run_module, "Training", watched)
    out = tmp_path / "broken"
    report = quick(tiny_clip, few_pairs, epochs=3, method="full", out=out)
    assert seen == [2, 3]
    assert report.stopped == "not finite"
    assert "the contrastive loss became nan in epoch 3" in report.not_finite
    assert report.history == good.history[:3]
    assert report.best_epoch in (1, 2)


def test_weights_that_are_no_numbers_are_refused_at_the_start(
    quick, tiny_clip, few_pairs, tmp_path
):
    import transformers

    folder = Path(write_model(tmp_path / "nan"))
    model = transformers.CLIPModel.from_pretrained(folder)
    model.visual_projection.weight.data[0, 0] = float("nan")
    model.save_pretrained(folder)
    said = r"visual_projection\.weight. of .* no numbers"
    with pytest.raises(MmragError, match=said):
        quick(str(folder), few_pairs)


@pytest.fixture
def interrupted(quick, tiny_clip, few_pairs, tmp_path, monkeypatch) -> Path:
    """Return a folder with a checkpoint and no card."""
    wrote = run_module.write_checkpoint

    def then_stopped(*arguments: Any) -> None:
        wrote(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "write_checkpoint", then_stopped)
        with pytest.raises(KeyboardInterrupt):
            quick(tiny_clip, few_pairs)
    return tmp_path / "out"


def test_checkpoint_of_another_model_pairs_or_settings_is_refused(
    quick, tiny_clip, few_pairs, interrupted, tmp_path
):
    other = write_model(tmp_path / "other", seed=1)
    with pytest.raises(InvalidSetting, match=r"another model \('clip:\w{8}:32', not"):
        quick(other, few_pairs)
    with pytest.raises(InvalidSetting, match="with other pairs"):
        quick(tiny_clip, few_pairs[:-1])
    with pytest.raises(InvalidSetting, match=r"settings \(epochs=2, not 3\)"):
        quick(tiny_clip, few_pairs, epochs=3)
    assert quick(tiny_clip, few_pairs).stopped == "finished"


def test_pairs_are_told_by_content_not_by_place(
    quick, tiny_clip, few_pairs, interrupted, tmp_path
):
    moved = []
    for image, text in few_pairs:
        moved.append((shutil.copy(image, tmp_path), text))
    assert quick(tiny_clip, moved).stopped == "finished"


def test_damaged_checkpoint_is_refused(quick, tiny_clip, few_pairs, interrupted):
    path = interrupted / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InvalidSetting, match="cannot be read"):
        quick(tiny_clip, few_pairs)


def test_checkpoint_with_weights_of_other_shapes_is_refused(
    quick, tiny_clip, few_pairs, interrupted
):
    from safetensors.torch import save_file

    path = interrupted / "checkpoint.safetensors"
    card, tensors = read_tensors(path)
    name = next(name for name in tensors if name.startswith("weights/head.picture."))
    tensors[name] = tensors[name][:1].clone()
    save_file(tensors, path, {"card": json.dumps(card)})
    with pytest.raises(InvalidSetting, match="other names or shapes"):
        quick(tiny_clip, few_pairs)


def test_folder_of_another_fine_tuning_or_of_a_model_is_refused(
    quick, tiny_clip, few_pairs, tmp_path
):
    quick(tiny_clip, few_pairs)
    with pytest.raises(InvalidSetting, match=r"settings \(seed=0, not 1\)"):
        quick(tiny_clip, few_pairs, seed=1)
    before = (Path(tiny_clip) / "model.safetensors").read_bytes()
    with pytest.raises(InvalidSetting, match="not made by fine-tuning"):
        quick(tiny_clip, few_pairs, out=tiny_clip)
    assert (Path(tiny_clip) / "model.safetensors").read_bytes() == before


def test_towers_of_different_lengths_are_refused(quick, few_pairs, tmp_path):
    import torch
    import transformers

    folder = Path(write_model(tmp_path / "siglip", "siglip"))
    config = transformers.SiglipConfig.from_pretrained(folder)
    config.text_config.projection_size = 48
    torch.manual_seed(0)
    transformers.SiglipModel(config).save_pretrained(folder)
    with pytest.raises(CheckpointUnusable, match="of 48 numbers and pictures .* of 64"):
        quick(str(folder), few_pairs)


def test_kinds_of_model_that_are_encoded_with_alone_are_refused(
    quick, few_pairs, tmp_path
):
    chinese = write_model(tmp_path / "chinese", "chinese_clip")
    with pytest.raises(CheckpointUnusable, match="'chinese_clip'; expected a CLIP or"):
        quick(chinese, few_pairs)


def test_weights_that_do_not_fit_the_configuration_are_refused(
    quick, few_pairs, tmp_path
):
    folder = Path(write_model(tmp_path / "clip"))
    config = json.loads((folder / "config.json").read_text())
    config["projection_dim"] = 24
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointUnusable, match="Cannot load"):
        quick(str(folder), few_pairs)


def test_picture_that_goes_away_during_training_is_named_and_can_come_back(
    quick, tiny_clip, few_pairs, tmp_path, monkeypatch
):
    picture = tmp_path / "fleeting.png"
    data = Path(few_pairs[0][0]).read_bytes()
    picture.write_bytes(data)
    given = [(picture, few_pairs[0][1]), *few_pairs[1:]]
    wrote = run_module.write_checkpoint

    def then_gone(*arguments: Any) -> None:
        wrote(*arguments)
        picture.unlink(missing_ok=True)

    with monkeypatch.context() as patched:
        patched.setattr(run_module, "write_checkpoint", then_gone)
        with pytest.raises(ImageUnreadable, match=r"fleeting\.png"):
            quick(tiny_clip, given)
    picture.write_bytes(data)
    assert quick(tiny_clip, given).stopped == "finished"


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1}, {"seed": 2**63}, {"method": "prompt"}, {"tasks": {}},
        {"tasks": {"contrastive": 0.0}}, {"tasks": {"translation": 1.0}},
        {"tasks": {"contrastive": -1.0, "captioning": 1.0}}, {"batch_size": 1},
        {"micro_batch_size": 0}, {"learning_rate": float("nan")}, {"held_out": 1.0},
        {"head_width": 40}, {"precision": "int8"},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_named(wrong):
    with pytest.raises(InvalidSetting, match=next(iter(wrong))):
        FinetuneSettings(**wrong)


def test_captioner_of_a_folder_without_one_is_refused(quick, tiny_clip, few_pairs):
    report = quick(tiny_clip, few_pairs, tasks={"contrastive": 1.0})
    assert report.best.captioning_loss is None
    with pytest.raises(CheckpointUnusable, match="captioning among its tasks"):
        Captioner.load(report.folder)


def test_captioner_beside_another_model_is_refused(
    quick, tiny_clip, few_pairs, tmp_path
):
    report = quick(tiny_clip, few_pairs, epochs=1)
    shutil.copy(Path(tiny_clip) / "model.safetensors", report.folder)
    with pytest.raises(CheckpointUnusable, match="Use the files that one fine-tuning"):
        Captioner.load(report.folder)


def test_card_that_is_nested_deeply_and_a_folder_are_no_checkpoint(tmp_path):
    import torch
    from safetensors.torch import save_file

    file = tmp_path / "checkpoint.safetensors"
    save_file({"a": torch.zeros(1)}, file, metadata={"card": "[" * 1_000_000})
    with pytest.raises(ValueError, match="nested too deep"):
        read_tensors(file)
    with pytest.raises(ValueError, match="no regular file"):
        read_tensors(tmp_path)
