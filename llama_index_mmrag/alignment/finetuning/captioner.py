"""A fine-tuned model that writes texts for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llama_index_mmrag.alignment.finetuning.caption_head import (
    HeadShape,
    new_head,
    written,
)
from llama_index_mmrag.alignment.finetuning.checkpoint import read_tensors
from llama_index_mmrag.alignment.finetuning.folder import HEAD
from llama_index_mmrag.checks import needs, whole
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.embeddings.clip_torch import choose_device, computing
from llama_index_mmrag.embeddings.clip_towers import CheckpointUnusable
from llama_index_mmrag.embeddings.clip_transformers import (
    TransformersClip,
    load_transformers,
)
from llama_index_mmrag.nodes.images import ImageSource, load_image


class Captioner:
    """Writes what the captioning head makes of pictures: greedily, the likeliest token.

    It was trained beside retrieval on the pairs given to `finetune`, and writes texts
    of their kind.

    Args:
        clip: The model whose picture tower is read.
        head: Its captioning head.
        shape: The head's shape.

    Example:
        captioner = Captioner.load("fine-tuned")
        captioner.captions(["photo.jpg"])
    """

    def __init__(self, clip: TransformersClip, head: Any, shape: HeadShape) -> None:
        self._clip = clip
        self._head = head
        self._shape = shape

    @classmethod
    @checked
    def load(cls, folder: str | Path, *, device: str = "auto") -> Captioner:
        """Return the captioner of a folder that `finetune` wrote.

        Args:
            folder: With the model and `captioner.safetensors`.
            device: A torch device; auto: CUDA if there is one.

        Raises:
            CheckpointUnusable: The folder has no captioning head, or one of another
                model.
            MissingExtra: transformers is not installed.
            InvalidSetting: The device cannot be used.
        """
        needs("safetensors", extra="finetune", for_=cls.__name__)
        import torch

        place = choose_device(device)
        path = Path(folder) / HEAD
        head, shape, sha8 = _read_head(path)
        clip = load_transformers(
            str(folder), place, torch.float32, needed_for=cls.__name__
        )
        if clip.sha8 != sha8:
            raise CheckpointUnusable(
                f"{str(path)!r} was trained with the model {sha8!r}; the folder holds "
                f"{clip.sha8!r}. Use the files that one fine-tuning wrote."
            )
        return cls(clip, head.to(place), shape)

    @checked
    def captions(
        self,
        pictures: Sequence[ImageSource],
        *,
        max_tokens: int = 64,
        batch_size: int = 8,
    ) -> list[str]:
        """Return a text for each picture, in the pictures' order.

        Args:
            pictures: Paths, files' bytes, or PIL images.
            max_tokens: Most tokens of a text.
            batch_size: Pictures that the model takes at once.

        Raises:
            ImageUnreadable: A picture cannot be read.
            InvalidSetting: `max_tokens` or `batch_size` is below 1.
        """
        import torch

        whole(max_tokens, "max_tokens", at_least=1)
        whole(batch_size, "batch_size", at_least=1)
        clip, texts = self._clip, list[str]()
        for start in range(0, len(pictures), batch_size):
            pixels = np.stack(
                [clip.pixels(load_image(p)) for p in pictures[start:][:batch_size]]
            )
            with computing(clip.device, torch.float32):
                patches = clip.model.vision_model(
                    pixel_values=torch.from_numpy(pixels).to(clip.device)
                ).last_hidden_state
                rows = written(self._head, self._shape, patches, max_tokens=max_tokens)
            texts += [
                clip.tokenizer.decode(ids, skip_special_tokens=True).strip()
                for ids in rows
            ]
        return texts


def _read_head(path: Path) -> tuple[Any, HeadShape, str]:
    import torch

    try:
        card, weights = read_tensors(path)
        shape = HeadShape(**card["shape"])
        with torch.random.fork_rng():  # drawn, then overwritten
            head = new_head(shape)
        head.load_state_dict(weights)
        sha8: str = card["model"]
    except (KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
        raise CheckpointUnusable(
            f"Cannot read the captioning head {str(path)!r} "
            f"({type(error).__name__}: {error}). Expected a folder that finetune wrote "
            f"with captioning among its tasks."
        ) from error
    return head.eval(), shape, sha8
