"""The gradient of a batch in parts is the whole batch's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from llama_index_mmrag.alignment.finetuning import FinetuneSettings
from llama_index_mmrag.alignment.finetuning.gradients import accumulate_gradients
from llama_index_mmrag.alignment.finetuning.joint import Batch, JointModel
from llama_index_mmrag.embeddings.clip_transformers import TransformersClip, load_parts
from llama_index_mmrag.nodes.images import load_image

torch = pytest.importorskip("torch", reason="install extra 'finetune'")

BOTH = {"contrastive": 1.0, "captioning": 0.5}


def joint(folder: str, **settings: Any) -> JointModel:
    torch.manual_seed(3)
    clip = TransformersClip(
        *load_parts(folder, needed_for="a test"), dtype=torch.float32
    )
    known = {"method": "full", "tasks": BOTH, "head_width": 32, **settings}
    model = JointModel(clip, FinetuneSettings(**known))
    model.train(True)
    return model


def batch_of(model: JointModel, pairs: list[tuple[str, str]], groups: Any) -> Batch:
    return Batch(
        [model.clip.pixels(load_image(image)) for image, _ in pairs],
        model.clip.token_ids([text for _, text in pairs]),
        np.asarray(groups),
    )


def gradients(
    model: JointModel, batch: Batch, size: int | None
) -> tuple[dict[str, Any], dict[str, float]]:
    for weight in model.trained().values():
        weight.grad = None
    losses = accumulate_gradients(model, batch, micro_batch_size=size, seed=5)
    found = {
        name: weight.grad.numpy().copy()
        for name, weight in model.trained().items()
        if weight.grad is not None
    }
    return found, losses


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize("size", [3, 4, 1])
def test_parts_add_up_to_the_whole_batch(kind, size, request, few_pairs):
    model = joint(request.getfixturevalue(f"tiny_{kind}"))
    # Two texts of a picture far from each other: in different parts.
    groups = [0, 1, 2, 3, 4, 5, 6, 7, 8, 0]
    batch = batch_of(model, few_pairs[:10], groups)
    whole, whole_losses = gradients(model, batch, None)
    parts, part_losses = gradients(model, batch, size)
    assert part_losses == pytest.approx(whole_losses, rel=1e-5)
    assert whole.keys() == parts.keys() == model.trained().keys()
    for name, gradient in whole.items():
        scale = max(float(np.abs(gradient).max()), 1e-4)
        assert parts[name] == pytest.approx(gradient, abs=1e-4 * scale + 1e-6), name
    assert any(float(np.abs(g).max()) > 0.01 for g in whole.values())


def test_parts_draw_the_same_dropout_both_times(tiny_clip, few_pairs):
    model = joint(tiny_clip, method="lora", lora_dropout=0.5, tasks={"contrastive": 1})
    batch = batch_of(model, few_pairs[:8], range(8))
    # The additions must do something for their dropout to matter.
    for name, weight in model.trained().items():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    cached, _ = gradients(model, batch, 4)
    # By hand: both parts with their seeds, one graph, one loss.
    for weight in model.trained().values():
        weight.grad = None
    outputs = []
    for number, part in enumerate(batch.parts(4)):
        torch.manual_seed(5 + number)
        outputs.append(model.outputs(part, vectors=True, captioning=False))
    texts, images = (torch.cat([o[side] for o in outputs]) for side in (0, 1))
    model.contrastive(texts, images, batch.groups).backward()
    for name, weight in model.trained().items():
        assert weight.grad.numpy() == pytest.approx(cached[name], abs=1e-5), name


def test_contrastive_loss_of_parts_has_the_whole_batchs_negatives(tiny_clip, few_pairs):
    model = joint(tiny_clip, tasks={"contrastive": 1.0})
    batch = batch_of(model, few_pairs, range(16))
    _, losses = gradients(model, batch, 2)
    # Random weights: hardly better or worse than guessing among 16, not among 2.
    assert losses == {"contrastive": pytest.approx(np.log(16), abs=1.2)}
    assert losses["contrastive"] > 2 * np.log(2)


@pytest.mark.parametrize(
    ("task", "idle"), [("contrastive", "head."), ("captioning", "model.text_model")]
)
def test_task_of_weight_0_is_not_run(tiny_clip, few_pairs, task, idle):
    model = joint(tiny_clip, tasks={**dict.fromkeys(BOTH, 0.0), task: 1.0})
    batch = batch_of(model, few_pairs[:4], range(4))
    found, losses = gradients(model, batch, None)
    assert set(losses) == {task}
    assert not [name for name in found if name.startswith(idle)]
    assert any(name.startswith("model.vision_model") for name in found)


def test_weights_of_tasks_scale_their_gradients(tiny_clip, few_pairs):
    found = {}
    for weights in [(1.0, 0.0), (0.0, 1.0), (2.0, 3.0)]:
        tasks = dict(zip(("contrastive", "captioning"), weights, strict=True))
        model = joint(tiny_clip, tasks=tasks)
        batch = batch_of(model, few_pairs[:6], range(6))
        found[weights], _ = gradients(model, batch, None)
    name = "model.vision_model.encoder.layers.0.mlp.fc1.weight"
    expected = 2 * found[1.0, 0.0][name] + 3 * found[0.0, 1.0][name]
    assert found[2.0, 3.0][name] == pytest.approx(expected, abs=1e-5)


def test_captioning_loss_of_an_untrained_head_is_that_of_guessing(tiny_clip, few_pairs):
    model = joint(tiny_clip)
    assert model.shape is not None
    batch = batch_of(model, few_pairs, range(16))
    _, losses = gradients(model, batch, None)
    guess = np.log(model.shape.vocabulary + 1)
    assert losses["captioning"] == pytest.approx(guess, abs=0.2)


@pytest.mark.parametrize(
    ("method", "learning", "frozen"),
    [
        ("lora", "lora_A", "base_layer"),
        ("last_blocks", "encoder.layers.1", "encoder.layers.0"),
        ("full", "embeddings", "nothing"),
    ],
)
def test_method_decides_what_learns(tiny_clip, method, learning, frozen):
    names = joint(tiny_clip, method=method, n_blocks=1).trained()
    assert [n for n in names if learning in n and "text_model" in n]
    assert [n for n in names if learning in n and "vision_model" in n]
    assert not [n for n in names if frozen in n and not n.startswith("head.")]
    assert "model.logit_scale" in names


def test_low_rank_additions_reach_no_matrix_that_is_read_past_them(
    tiny_siglip, few_pairs
):
    model = joint(tiny_siglip, method="lora")
    found, _ = gradients(model, batch_of(model, few_pairs[:4], range(4)), None)
    assert found.keys() == model.trained().keys()
    assert not [name for name in found if "vision_model.head.attention" in name]
