"""Contrastive losses over a batch of pairs, for torch tensors.

torch is not imported with this module: whoever has tensors has torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def info_nce(
    texts: Tensor, images: Tensor, groups: Tensor, log_scale: Tensor
) -> Tensor:
    """Return the symmetric InfoNCE loss: each side must find its partner in the batch.

    `s = exp(log_scale) texts images^T`;
    `loss = mean_i(logsumexp_j s_ij - s_ii) / 2 + mean_i(logsumexp_j s_ji - s_ii) / 2`
    (https://arxiv.org/abs/1807.03748, symmetric as in CLIP). Vectors that are all the
    same give `log B`; B orthonormal pairs give `log(1 + (B - 1) exp(-exp(log_scale)))`.

    Args:
        texts: Unit rows, `(B, d)`.
        images: Row i belongs to row i of `texts`, `(B, d)`.
        groups: Which thing each pair is about, `(B,)`: pairs of one group, such as two
            texts of a picture, count neither as right nor as wrong for each other.
        log_scale: Logarithm of 1 / temperature; a scalar, may be learned.

    Returns:
        A scalar, at least 0.
    """
    scores = log_scale.exp() * texts @ images.T  # (B, B)
    own = scores.diagonal()
    scores = scores.masked_fill(_false_negatives(groups), -float("inf"))
    from_texts = (scores.logsumexp(dim=1) - own).mean()
    from_images = (scores.logsumexp(dim=0) - own).mean()
    return (from_texts + from_images) / 2


def sigmoid(
    texts: Tensor, images: Tensor, groups: Tensor, log_scale: Tensor, bias: Tensor
) -> Tensor:
    """Return the sigmoid loss: each text and picture are told to belong or not.

    `s = exp(log_scale) texts images^T + bias`;
    `loss = -1/B sum_ij log sigmoid(z_ij s_ij)`, `z` 1 for pairs and -1 for others
    (SigLIP, https://arxiv.org/abs/2303.15343). Scores that are all zero give
    `B log 2`.

    Args:
        texts: Unit rows, `(B, d)`.
        images: Row i belongs to row i of `texts`, `(B, d)`.
        groups: Pairs of one group are no negatives of each other, `(B,)`.
        log_scale: Logarithm of 1 / temperature; one number, may be learned.
        bias: Added to all scores; one number, may be learned.

    Returns:
        A scalar, at least 0.
    """
    from torch.nn.functional import logsigmoid

    scores = log_scale.exp() * texts @ images.T + bias  # (B, B)
    signs = -scores.new_ones(scores.shape)
    signs.fill_diagonal_(1.0)
    each = logsigmoid(signs * scores).masked_fill(_false_negatives(groups), 0.0)
    return -each.sum() / len(texts)


def triplet(texts: Tensor, images: Tensor, groups: Tensor, *, margin: float) -> Tensor:
    """Return the triplet loss with the hardest negative of the batch, symmetric.

    `mean_i(max(0, margin - s_ii + max_(j ≠ i) s_ij))`, the mean of both directions,
    with cosines s (VSE++, https://arxiv.org/abs/1707.05612). Vectors that are all the
    same give `margin`.

    Args:
        texts: Unit rows, `(B, d)`.
        images: Row i belongs to row i of `texts`, `(B, d)`.
        groups: Pairs of one group are no negatives of each other, `(B,)`.
        margin: How much nearer the partner must be than any other, in (0, 2].

    Returns:
        A scalar, at least 0; 0 for pairs without any negative.
    """
    scores = texts @ images.T  # (B, B)
    own = scores.diagonal()
    wrong = _false_negatives(groups)
    wrong.fill_diagonal_(fill_value=True)
    scores = scores.masked_fill(wrong, -float("inf"))
    from_texts = (margin - own + scores.amax(dim=1)).clamp(min=0).mean()
    from_images = (margin - own + scores.amax(dim=0)).clamp(min=0).mean()
    return (from_texts + from_images) / 2


def _false_negatives(groups: Tensor) -> Tensor:
    same = groups[:, None] == groups[None, :]  # (B, B)
    same.fill_diagonal_(fill_value=False)
    return same
