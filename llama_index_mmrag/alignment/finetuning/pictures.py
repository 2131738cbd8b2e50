"""Pictures of pairs as pixels, decoded in threads ahead of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from llama_index_mmrag.embeddings.clip_towers import ahead
from llama_index_mmrag.embeddings.clip_transformers import TransformersClip
from llama_index_mmrag.nodes.images import load_image
from llama_index_mmrag.vectors import Vectors

_MOST_CUT_OFF = 0.1


def read_pictures(
    clip: TransformersClip,
    paths: Sequence[str],
    *,
    num_threads: int,
    augment_seed: int | None,
    n_ahead: int,
) -> Iterator[Vectors]:
    """Yield each picture's pixels, `(3, h, w)`, in order.

    Read as `BatchedClipEmbedding` reads them: upright, in RGB, on white.

    Args:
        clip: The model whose image processor prepares them.
        paths: The pictures' files.
        num_threads: Threads that decode.
        augment_seed: Decides what is cut off each; None: nothing.
        n_ahead: Most pictures that wait to be taken.

    Raises:
        ImageUnreadable: A picture cannot be read; it is named.
    """

    def prepared(position: int) -> Vectors:
        picture = load_image(paths[position])
        if augment_seed is not None:
            # Counted from the end: the same after going on within an epoch.
            left = len(paths) - position
            picture = trimmed(picture, np.random.default_rng((augment_seed, left)))
        return clip.pixels(picture)

    positions = range(len(paths))
    return ahead(prepared, positions, n_threads=num_threads, n_ahead=n_ahead)


def trimmed(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the picture with up to a tenth cut off each side."""
    left, top, right, bottom = rng.uniform(0, _MOST_CUT_OFF, 4)
    width, height = picture.size
    box = (
        int(left * width),
        int(top * height),
        width - int(right * width),
        height - int(bottom * height),
    )
    return picture.crop(box)
