"""A captioning head: writes a picture's text token by token, reading its patches.

A small causal transformer that attends to all vectors of the picture tower's last
layer, as the decoders of CoCa (https://arxiv.org/abs/2205.01917) and CapPa
(https://arxiv.org/abs/2306.07915) do. Unlike CoCa's it does not build on the text
tower: SigLIP's looks in both directions, and would see the token that it must guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_HEAD_DIM = 32
_IGNORED = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadShape:
    """What a captioning head looks like."""

    picture_width: int
    """Length of the picture tower's patch vectors."""
    vocabulary: int
    """Tokens of the model's tokenizer; the start mark is one more."""
    end: int
    """The token that ends a text."""
    max_tokens: int
    """Most tokens of a text, the end mark among them."""
    width: int
    """Of the head, a multiple of 32: one attention head for each."""
    layers: int
    """Blocks of the head."""


def new_head(shape: HeadShape) -> Module:
    """Return a head with random weights, drawn from torch's global state."""
    from torch import nn

    def block() -> Module:
        return nn.TransformerDecoderLayer(
            shape.width,
            max(shape.width // _HEAD_DIM, 1),
            dim_feedforward=4 * shape.width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )

    head = nn.ModuleDict(
        {
            "picture": nn.Linear(shape.picture_width, shape.width),
            "picture_norm": nn.LayerNorm(shape.width),
            "token": nn.Embedding(shape.vocabulary + 1, shape.width),
            "position": nn.Embedding(shape.max_tokens, shape.width),
            # Each drawn for itself: nn.TransformerDecoder would copy one.
            "blocks": nn.ModuleList(block() for _ in range(shape.layers)),
            "norm": nn.LayerNorm(shape.width),
        }
    )
    for table in (head["token"], head["position"]):
        # GPT-2's: the token table is the output's too, where torch's 1.0 is too much.
        nn.init.normal_(cast("Tensor", table.weight), std=0.02)
    return head


def loss_sum(
    head: Any, shape: HeadShape, patches: Tensor, texts: Sequence[Sequence[int]]
) -> Tensor:
    """Return the cross-entropy of all tokens of the texts, summed, in nats.

    Args:
        head: From `new_head`.
        shape: Its shape.
        patches: The picture tower's last layer, `(n, patches, picture_width)`.
        texts: Each picture's text from `target_ids`.
    """
    import torch
    from torch.nn.functional import cross_entropy

    width = max(map(len, texts))
    inputs = torch.full((len(texts), width), shape.end)
    targets = torch.full((len(texts), width), _IGNORED)
    for row, ids in enumerate(texts):
        inputs[row, : len(ids)] = torch.tensor([shape.vocabulary, *ids[:-1]])
        targets[row, : len(ids)] = torch.tensor(ids)
    inputs, targets = inputs.to(patches.device), targets.to(patches.device)
    hidden = _hidden(head, inputs, patches)
    # Real tokens alone: a vocabulary's width for each padding would fill the memory.
    real = targets != _IGNORED
    scores = hidden[real] @ head["token"].weight.T
    return cross_entropy(scores.float(), targets[real], reduction="sum")


def target_ids(ids: Sequence[int], *, start: int | None, end: int) -> list[int]:
    """Return a text's tokens without the start mark and with the end mark.

    Example:
        >>> target_ids([49406, 320, 49407], start=49406, end=49407)
        [320, 49407]
    """
    own = list(ids)
    if own and own[0] == start:
        own = own[1:]
    return own if own and own[-1] == end else [*own, end]


def written(
    head: Any, shape: HeadShape, patches: Tensor, *, max_tokens: int
) -> list[list[int]]:
    """Return the likeliest next token, again and again, without the end mark.

    Args:
        head: From `new_head`.
        shape: Its shape.
        patches: The picture tower's last layer, `(n, patches, picture_width)`.
        max_tokens: Most tokens of a text.
    """
    import torch

    tokens = torch.full((len(patches), 1), shape.vocabulary, device=patches.device)
    ended = torch.zeros(len(patches), dtype=torch.bool, device=patches.device)
    for _ in range(min(max_tokens, shape.max_tokens)):
        scores = _hidden(head, tokens, patches)[:, -1] @ head["token"].weight.T
        scores[:, shape.vocabulary] = -torch.inf  # the start mark is no token
        following = scores.argmax(dim=1).masked_fill(ended, shape.end)
        tokens = torch.cat([tokens, following[:, None]], dim=1)
        ended |= following == shape.end
        if bool(ended.all()):
            break
    return [
        row[: row.index(shape.end)] if shape.end in row else row
        for row in tokens[:, 1:].tolist()
    ]


def _hidden(head: Any, tokens: Tensor, patches: Tensor) -> Tensor:
    import torch

    n = tokens.shape[1]
    pictures = head["picture_norm"](head["picture"](patches))
    rows = head["token"](tokens) + head["position"].weight[:n]
    later = torch.ones(n, n, dtype=torch.bool, device=tokens.device).triu(1)
    for block in head["blocks"]:
        rows = block(rows, pictures, tgt_mask=later)
    hidden: Tensor = head["norm"](rows)
    return hidden
