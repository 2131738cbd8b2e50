"""The gradient of a whole batch, computed in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

from llama_index_mmrag.alignment.finetuning.joint import Batch, JointModel

if TYPE_CHECKING:
    from torch import Tensor
    from torch.amp import GradScaler


class NotFinite(Exception):
    """A loss, a gradient or a weight is no number; ends a training, reaches no user."""


def accumulate_gradients(
    model: JointModel,
    batch: Batch,
    *,
    micro_batch_size: int | None,
    seed: int,
    scaler: GradScaler | None = None,
) -> dict[str, float]:
    """Add the gradient of the whole batch's loss to the weights.

    A contrastive loss looks at all pairs of the batch at once, so that adding up the
    losses of its parts would be another loss, with fewer negatives. As in GradCache
    (https://arxiv.org/abs/2101.06983) all parts are encoded without gradients first,
    the loss gives its gradient at the vectors, and then each part is encoded again to
    carry it to the weights. Each part draws the same dropout both times. Captioning is
    the mean over the tokens of the whole batch.

    Args:
        model: What learns; in training mode.
        batch: The pairs of a step.
        micro_batch_size: Pairs that are computed at once; None: all, in one go.
        seed: Of the dropout.
        scaler: Of float16's gradients.

    Returns:
        The mean loss of each task, not weighted.

    Raises:
        NotFinite: A loss is no number; gradients are then incomplete.
    """
    import torch

    parts = batch.parts(micro_batch_size)
    losses: dict[str, float] = {}
    contrastive, captioning = (
        float(model.tasks.get(task, 0.0)) for task in ("contrastive", "captioning")
    )
    n_tokens = model.token_count(batch) if captioning else 0
    at_vectors: list[tuple[Tensor, Tensor]] = []
    if contrastive and len(parts) > 1:
        at_vectors, losses["contrastive"] = _cached(
            model, batch, parts, contrastive, seed, scaler
        )
    for number, part in enumerate(parts):
        torch.manual_seed(seed + number)
        texts, images, nats = model.outputs(
            part, vectors=contrastive > 0, captioning=captioning > 0
        )
        terms: list[Tensor] = []
        if texts is not None and images is not None:
            if at_vectors:
                for_texts, for_images = at_vectors[number]
                terms.append((texts * for_texts).sum() + (images * for_images).sum())
            else:
                loss = model.contrastive(texts, images, part.groups)
                losses["contrastive"] = float(loss.detach())
                terms.append(_scaled(contrastive * loss, scaler))
        if nats is not None:
            mean = nats / n_tokens
            losses["captioning"] = losses.get("captioning", 0.0) + float(mean.detach())
            terms.append(_scaled(captioning * mean, scaler))
        check_finite(losses)
        torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]
    return losses


def check_finite(losses: Mapping[str, float]) -> None:
    """Do nothing if all losses are numbers.

    Raises:
        NotFinite: One is not.
    """
    for task, loss in losses.items():
        if not isfinite(loss):
            raise NotFinite(f"the {task} loss became {loss}")


def _cached(
    model: JointModel,
    batch: Batch,
    parts: list[Batch],
    weight: float,
    seed: int,
    scaler: GradScaler | None,
) -> tuple[list[tuple[Tensor, Tensor]], float]:
    """Return the loss's gradient at each part's vectors, and the loss.

    The temperature's own gradient is added to it here.
    """
    import torch

    rows: tuple[list[Tensor], list[Tensor]] = ([], [])
    with torch.no_grad():
        for number, part in enumerate(parts):
            torch.manual_seed(seed + number)
            texts, images, _ = model.outputs(part, vectors=True, captioning=False)
            for side, vectors in zip(rows, (texts, images), strict=True):
                if vectors is not None:
                    side.append(vectors)
    all_texts, all_images = (torch.cat(side).requires_grad_() for side in rows)
    loss = model.contrastive(all_texts, all_images, batch.groups)
    check_finite({"contrastive": float(loss.detach())})
    _scaled(weight * loss, scaler).backward()  # type: ignore[no-untyped-call]
    sizes = [len(part) for part in parts]
    for_texts, for_images = (
        torch.split(torch.zeros_like(side) if side.grad is None else side.grad, sizes)
        for side in (all_texts, all_images)
    )
    return list(zip(for_texts, for_images, strict=True)), float(loss.detach())


def _scaled(loss: Tensor, scaler: GradScaler | None) -> Tensor:
    return loss if scaler is None else scaler.scale(loss)
