"""Both encoders and the captioning head as one model that learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from llama_index_mmrag.alignment.finetuning.caption_head import (
    HeadShape,
    loss_sum,
    new_head,
    target_ids,
)
from llama_index_mmrag.alignment.finetuning.settings import FinetuneSettings
from llama_index_mmrag.alignment.finetuning.trained_weights import choose_trained
from llama_index_mmrag.alignment.losses import info_nce, sigmoid
from llama_index_mmrag.alignment.pairs import Groups
from llama_index_mmrag.embeddings.batches import cut
from llama_index_mmrag.embeddings.clip_torch import choose_dtype, padded
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable
from llama_index_mmrag.embeddings.clip_transformers import TransformersClip, pooled
from llama_index_mmrag.vectors import Vectors

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pairs as the model takes them."""

    pixels: Sequence[Vectors]
    """Each picture, `(3, h, w)`."""
    ids: Sequence[list[int]]
    """Each text's tokens, cut to what the model reads."""
    groups: Groups
    """Which thing each pair is about, `(n,)`."""

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.groups)

    def parts(self, size: int | None) -> list[Batch]:
        """Return the batch in parts of at most `size` pairs; None: in one."""
        size = size or len(self)
        slices = [slice(i, i + size) for i in range(0, len(self), size)]
        return [Batch(self.pixels[s], self.ids[s], self.groups[s]) for s in slices]


class Outputs(NamedTuple):
    """What the model makes of some pairs."""

    texts: Tensor | None
    """Unit rows, `(n, dim)`; None if they were not asked for."""
    images: Tensor | None
    """Unit rows, `(n, dim)`; None if they were not asked for."""
    captioning: Tensor | None
    """Cross-entropy of all the texts' tokens, summed; None without that task."""


class JointModel:
    """Both encoders and, where captioning is a task, the head that writes.

    Weights are drawn from torch's global random state.

    Args:
        clip: The loaded model; which of its weights learn is changed in place.
        settings: What is trained, and how precisely.

    Raises:
        CheckpointUnusable: Texts and pictures get vectors of different lengths, or the
            tokenizer has no end mark.
        MissingExtra: peft is needed and not installed.
    """

    def __init__(self, clip: TransformersClip, settings: FinetuneSettings) -> None:
        self.clip = clip
        self.tasks = settings.tasks
        self.contrasts = settings.weight("contrastive") > 0
        self.dtype = choose_dtype(settings.precision, clip.device, learns=True)
        config = clip.model.config
        self._is_siglip = config.model_type == "siglip"
        _check_dims(clip, config)
        self.peft_model = choose_trained(clip.model, settings)
        self.head: Module | None = None
        self.shape: HeadShape | None = None
        if settings.weight("captioning") > 0:
            self.shape = _head_shape(clip, settings)
            self.head = new_head(self.shape).to(clip.device)

    def trained(self) -> dict[str, Tensor]:
        """Return the weights that learn by name, the head's beginning with `head.`."""
        modules = {"model": self.clip.model, "head": self.head}
        return {
            f"{side}.{name}": weight
            for side, module in modules.items()
            if module is not None
            for name, weight in module.named_parameters()
            if weight.requires_grad
        }

    def train(self, learns: bool) -> None:
        """Turn dropout on or off."""
        self.clip.model.train(learns)
        if self.head is not None:
            self.head.train(learns)

    def token_count(self, batch: Batch) -> int:
        """Return how many tokens the captioning head has to guess."""
        return sum(map(len, self._targets(batch)))

    def outputs(self, batch: Batch, *, vectors: bool, captioning: bool) -> Outputs:
        """Return vectors and the captioning loss of some pairs, with gradients."""
        import torch

        model = self.clip.model
        pixels = torch.from_numpy(np.stack(batch.pixels)).to(self.clip.device)
        texts = images = loss = None
        lower = self.dtype != torch.float32
        with torch.autocast(self.clip.device.type, self.dtype, enabled=lower):
            vision = model.vision_model(pixel_values=pixels)
            if vectors:
                images = vision.pooler_output
                if not self._is_siglip:
                    images = model.visual_projection(images)
                rows = padded(
                    batch.ids,
                    device=self.clip.device,
                    fill=self.clip.tokenizer.pad_token_id,
                    width=self.clip.width,
                )
                texts = pooled(model.get_text_features(input_ids=rows))
            if captioning and self.shape is not None:
                patches = vision.last_hidden_state
                loss = loss_sum(self.head, self.shape, patches, self._targets(batch))
        return Outputs(_unit(texts), _unit(images), loss)

    def contrastive(self, texts: Tensor, images: Tensor, groups: Groups) -> Tensor:
        """Return the loss that the model was made with: InfoNCE, or SigLIP's sigmoid.

        The temperature, and SigLIP's bias, are the model's own.
        """
        import torch

        model = self.clip.model
        things = torch.from_numpy(groups).to(texts.device)
        if self._is_siglip:
            return sigmoid(texts, images, things, model.logit_scale, model.logit_bias)
        return info_nce(texts, images, things, model.logit_scale)

    def _targets(self, batch: Batch) -> list[list[int]]:
        tokenizer = self.clip.tokenizer
        start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
        return [
            cut(target_ids(ids, start=start, end=end), self.clip.max_tokens)
            for ids in batch.ids
        ]


def _unit(rows: Tensor | None) -> Tensor | None:
    from torch.nn.functional import normalize

    return None if rows is None else normalize(rows.float(), dim=1)


def _check_dims(clip: TransformersClip, config: Any) -> None:
    import torch

    vision = config.vision_config
    side = int(vision.image_size)
    with torch.no_grad():
        blank = np.zeros((1, int(vision.num_channels), side, side), dtype=np.float32)
        pictures = clip.picture_vectors(blank).shape[1]
    if clip.dimension != pictures:
        raise CheckpointUnusable(
            f"The model gives texts vectors of {clip.dimension} numbers and pictures "
            f"vectors of {pictures}; expected the same. Choose another checkpoint."
        )


def _head_shape(clip: TransformersClip, settings: FinetuneSettings) -> HeadShape:
    config, end = clip.model.config, clip.tokenizer.eos_token_id
    if end is None:
        raise CheckpointUnusable(
            "The model's tokenizer has no end mark, and captions need one. Leave "
            "captioning out of the tasks, or choose another checkpoint."
        )
    return HeadShape(
        picture_width=int(config.vision_config.hidden_size),
        vocabulary=max(int(config.text_config.vocab_size), len(clip.tokenizer)),
        end=int(end),
        max_tokens=clip.max_tokens,
        width=settings.head_width,
        layers=settings.head_layers,
    )
