"""Contrastive losses against closed forms, by hand, and by finite differences."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="install extra 'train'")

from llama_index_mmrag.alignment.losses import info_nce, sigmoid, triplet  # noqa: E402

Loss = Callable[..., Any]
DOUBLE = {"dtype": torch.float64}
SCALE = torch.tensor(log(10.0), **DOUBLE)


def nce(texts: Any, images: Any, groups: Any) -> Any:
    return info_nce(texts, images, groups, SCALE)


def hardest(texts: Any, images: Any, groups: Any) -> Any:
    return triplet(texts, images, groups, margin=0.2)


def unit(n: int, dim: int, seed: int) -> Any:
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, dim, generator=random, **DOUBLE)
    return torch.nn.functional.normalize(rows, dim=1)


def sigmoid_of(texts: Any, images: Any, groups: Any, *, bias: float = -2.0) -> Any:
    return sigmoid(texts, images, groups, SCALE, torch.tensor(bias, **DOUBLE))


@pytest.mark.parametrize("n", [1, 2, 7])
def test_losses_of_zeros_have_their_closed_forms(n):
    zeros, groups = torch.zeros(n, 3, **DOUBLE), torch.arange(n)
    assert nce(zeros, zeros, groups).item() == pytest.approx(log(n))
    of_sigmoid = sigmoid_of(zeros, zeros, groups, bias=0.0)
    assert of_sigmoid.item() == pytest.approx(n * log(2))


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_info_nce_of_orthonormal_pairs_has_its_closed_form(scale):
    rows, log_scale = torch.eye(5, **DOUBLE), torch.tensor(log(scale), **DOUBLE)
    loss = info_nce(rows, rows, torch.arange(5), log_scale)
    assert loss.item() == pytest.approx(log(1 + 4 * exp(-scale)))


def test_info_nce_of_two_pairs_by_hand():
    texts = torch.tensor([[1.0, 0.0], [0.6, 0.8]], **DOUBLE)
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0]], **DOUBLE)
    # Cosines: 1, 0 in the first row; 0.6, 0.8 in the second.
    rows = log(1 + exp(-1)) + log(1 + exp(0.6 - 0.8))
    columns = log(1 + exp(0.6 - 1)) + log(1 + exp(0 - 0.8))
    loss = info_nce(texts, images, torch.arange(2), torch.tensor(0.0, **DOUBLE))
    assert loss.item() == pytest.approx((rows / 2 + columns / 2) / 2)


def test_pairs_of_one_group_are_no_negatives_of_each_other():
    texts, images = unit(3, 4, 0), unit(3, 4, 1)
    together = nce(texts, images, torch.tensor([5, 5, 5]))
    assert together.item() == pytest.approx(0.0)
    assert hardest(texts, images, torch.tensor([5, 5, 5])).item() == 0.0
    # Two texts of one picture, and another: by hand over the allowed ones.
    cosines = (10 * texts @ images.T).tolist()
    mixed = nce(texts, images, torch.tensor([5, 5, 6])).item()
    total = 0.0
    for i, allowed in enumerate([[0, 2], [1, 2], [0, 1, 2]]):
        total += log(sum(exp(cosines[i][j]) for j in allowed)) - cosines[i][i]
        total += log(sum(exp(cosines[j][i]) for j in allowed)) - cosines[i][i]
    assert mixed == pytest.approx(total / 6)


def test_triplet_takes_the_hardest_negative_by_hand():
    texts = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], **DOUBLE)
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.8, 0.6]], **DOUBLE)
    # Cosines: (1, 0, .8), (0, 1, .6), (.6, .8, .96); margin 0.2.
    from_texts = max(0, 0.2 - 1 + 0.8) + max(0, 0.2 - 1 + 0.6) + (0.2 - 0.96 + 0.8)
    from_images = max(0, 0.2 - 1 + 0.6) + max(0, 0.2 - 1 + 0.8) + (0.2 - 0.96 + 0.8)
    loss = hardest(texts, images, torch.arange(3)).item()
    assert loss == pytest.approx((from_texts / 3 + from_images / 3) / 2)


@pytest.mark.parametrize("rows", [torch.zeros(4, 3), torch.eye(4)], ids=["0", "apart"])
def test_triplet_is_the_margin_for_zeros_and_0_for_pairs_further_apart(rows):
    expected = 0.0 if rows.any() else 0.2
    assert hardest(rows, rows, torch.arange(4)).item() == pytest.approx(expected)


EACH = pytest.mark.parametrize("loss", [nce, hardest, sigmoid_of])


@EACH
def test_order_of_the_batch_changes_nothing(loss):
    texts, images = unit(6, 4, 0), unit(6, 4, 1)
    groups = torch.tensor([0, 1, 1, 2, 3, 4])
    order = torch.tensor([3, 0, 5, 2, 4, 1])
    before = loss(texts, images, groups).item()
    after = loss(texts[order], images[order], groups[order]).item()
    assert after == pytest.approx(before, rel=1e-12)


@EACH
def test_sides_can_be_exchanged(loss):
    texts, images, groups = unit(6, 4, 0), unit(6, 4, 1), torch.arange(6)
    there = loss(texts, images, groups).item()
    assert loss(images, texts, groups).item() == pytest.approx(there, rel=1e-12)


@EACH
def test_gradient_equals_finite_differences(loss):
    sides = unit(5, 3, 0).requires_grad_(), unit(5, 3, 1).requires_grad_()
    groups = torch.tensor([0, 1, 2, 0, 3])
    assert torch.autograd.gradcheck(lambda t, i: loss(t, i, groups), sides)


def test_temperature_has_a_gradient():
    scale = torch.tensor(0.5, requires_grad=True, **DOUBLE)
    batch = (unit(5, 4, 0), unit(5, 4, 1), torch.arange(5))
    assert torch.autograd.gradcheck(lambda s: info_nce(*batch, s), (scale,))


@pytest.mark.parametrize(
    ("groups", "n_wrong"), [([0, 1, 2, 3], 12), ([5, 6, 5, 7], 10)], ids=str
)
def test_sigmoid_of_orthonormal_pairs_leaves_out_what_shares_a_group(groups, n_wrong):
    rows = torch.eye(4, **DOUBLE)
    # Pairs score 10 - 2, others -2.
    expected = log(1 + exp(-8)) + n_wrong / 4 * log(1 + exp(-2))
    loss = sigmoid_of(rows, rows, torch.tensor(groups))
    assert loss.item() == pytest.approx(expected)
