"""The image side of the offline encoder: pictures to the text encoder's space."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llama_index_mmrag.checks import needs
from llama_index_mmrag.embeddings.batches import in_threads
from llama_index_mmrag.embeddings.conse import conse, linear_head, with_head
from llama_index_mmrag.embeddings.efficientnet_lite import (
    IMAGE_SIDE,
    N_CLASSES,
    N_FEATURES,
    lite0_graph,
    pixels,
)
from llama_index_mmrag.embeddings.legacy_torch import read_state_dict
from llama_index_mmrag.embeddings.weights import (
    EFFICIENTNET_LITE0,
    onnx_session,
    read_weights,
)
from llama_index_mmrag.nodes.images import ImageSource, load_image
from llama_index_mmrag.vectors import Vectors

_DATA = files("llama_index_mmrag.embeddings").joinpath("data")

# Decoded at most this large before the squash: a panorama of 4 : 1 keeps all the pixels
# the network can use, and a camera's JPEG is decoded at a fraction of its size.
_DECODE_SIDE = 4 * IMAGE_SIDE


class ImageFeatures(NamedTuple):
    """What the classifier says about n pictures."""

    features: Vectors
    """Pooled features, `(n, 1280)`."""
    logits: Vectors
    """Class scores before softmax, `(n, 1000)`."""


class OpenHead(NamedTuple):
    """The shipped linear head; see docs/model-card-open-head.md."""

    weight: Vectors
    """Shape `(384, 1280)`; the features' scaling is folded in."""
    bias: Vectors
    """Shape `(384,)`."""
    sha8: str
    """First 8 hexadecimal digits of the SHA-256 over weight and bias as stored."""


class ClassWordings(NamedTuple):
    """What the classifier's 1,000 classes are called, each in three ways, in order."""

    names: list[str]
    photographs: list[str]
    """"a photo of a" name."""
    definitions: list[str]
    """WordNet's."""


class PictureTower:
    """The image classifier, loaded; thread-safe."""

    def __init__(self, *, needed_for: str) -> None:
        needs("onnx", extra="offline", for_=needed_for)
        weights = read_weights(EFFICIENTNET_LITE0, needed_for=needed_for)
        graph = lite0_graph(read_state_dict(weights))
        self._session = onnx_session(graph, needed_for=needed_for)

    def features(
        self, pictures: Sequence[ImageSource], *, n_threads: int = 1
    ) -> ImageFeatures:
        """Return the classifier's outputs, in the pictures' order.

        Each thread decodes a picture and runs the network on it, so decoding and
        computing overlap, and a picture's vector does not depend on its neighbours.

        Args:
            pictures: What `load_image` reads.
            n_threads: Threads that decode and run the model.

        Raises:
            ImageUnreadable: A picture cannot be read; the first one in order is named.
        """
        out = ImageFeatures(
            np.empty((len(pictures), N_FEATURES), dtype=np.float32),
            np.empty((len(pictures), N_CLASSES), dtype=np.float32),
        )

        def fill(row: int) -> None:
            picture = load_image(pictures[row], max_side=_DECODE_SIDE)
            out.features[row], out.logits[row] = (
                array[0]
                for array in self._session.run(
                    ["features", "logits"], {"pixels": pixels(picture)[None]}
                )
            )

        in_threads(fill, range(len(pictures)), n_threads=n_threads)
        return out


def in_text_space(seen: ImageFeatures, *, head_weight: float) -> Vectors:
    """Return unit vectors in the text encoder's space, `(n, 384)`.

    `unit(conse(logits) + head_weight * head(features))`; with `head_weight=0` nothing
    that was learned from pairs of pictures and texts takes part.
    """
    vectors = conse(seen.logits, class_vectors())
    if head_weight == 0:
        return vectors
    head = open_head()
    projected = linear_head(seen.features, head.weight, head.bias)
    return with_head(vectors, projected, head_weight=head_weight)


@cache
def class_wordings() -> ClassWordings:
    """Return the English texts that class vectors are made of."""
    table = _DATA.joinpath("imagenet_classes.tsv").read_text(encoding="utf-8")
    names, definitions = zip(
        *(line.split("\t") for line in table.splitlines()), strict=True
    )
    photographs = [f"a photo of a {name}" for name in names]
    return ClassWordings([*names], photographs, [*definitions])


@cache
def class_vectors() -> Vectors:
    """Return the centred text vectors of the 1,000 classes, `(1000, 384)`."""
    return np.asarray(_packaged("conse_classes.npz")["class_emb"], dtype=np.float32)


@cache
def open_head() -> OpenHead:
    """Return the shipped head."""
    arrays = _packaged("open_head.npz")
    weight, bias = arrays["head_W"], arrays["head_b"]
    digest = hashlib.sha256(weight.tobytes() + bias.tobytes()).hexdigest()
    return OpenHead(
        np.asarray(weight, dtype=np.float32),
        np.asarray(bias, dtype=np.float32),
        digest[:8],
    )


def _packaged(name: str) -> dict[str, NDArray[Any]]:
    with (
        _DATA.joinpath(name).open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return dict(arrays)
