"""How far texts and pictures lie apart, and what centering would change. Pure numpy."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from llama_index_mmrag.alignment.running_mean import checked_rows
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import InvalidVector
from llama_index_mmrag.vectors import WideVectors, has_direction, wide_unit_rows


@dataclass(frozen=True, slots=True)
class Gap:
    """Two clouds of unit vectors, seen from each other."""

    distance: float
    """Modality gap: length of the difference of the two means, in [0, 2]."""
    angle_degrees: float
    """Between the two means, in [0, 180]; NaN where a mean is the origin."""
    text_text: float
    """Mean cosine of two different texts, in [-1, 1]; NaN for one text."""
    image_image: float
    """Mean cosine of two different pictures, in [-1, 1]; NaN for one picture."""
    text_image: float
    """Mean cosine of a text and a picture, in [-1, 1]."""
    pairs: float | None
    """Mean cosine of a text and its own picture; None without pairs."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The gap as it is, and as it would be with each modality's mean subtracted."""

    n_texts: int
    n_images: int
    dim: int
    before: Gap
    after: Gap

    def __str__(self) -> str:
        """Return a table for a terminal."""
        labels = {
            "distance": "gap: distance of the means",
            "angle_degrees": "angle of the means, degrees",
            "text_text": "mean cosine, text and text",
            "image_image": "mean cosine, image and image",
            "text_image": "mean cosine, text and image",
            "pairs": "mean cosine, text and its image",
        }
        before, after = asdict(self.before), asdict(self.after)
        lines = [
            f"{self.n_texts} texts and {self.n_images} images, {self.dim} numbers each",
            f"{'':34}{'as it is':>10}{'centred':>10}",
        ]
        lines += [
            f"{label:34}{before[name]:>10.3f}{after[name]:>10.3f}"
            for name, label in labels.items()
            if before[name] is not None
        ]
        return "\n".join(lines)


@checked
def diagnose(texts: ArrayLike, images: ArrayLike, *, paired: bool = False) -> Diagnosis:
    """Return how far apart the modalities lie, before and after centering.

    It only measures. Whether centering helps is for labelled queries to say: it
    assumes that the gap is about the same for all vectors. Liang et al. 2022,
    https://arxiv.org/abs/2203.02053, define the gap `|mean(texts) - mean(images)|`.

    Args:
        texts: Shape `(n, d)`; scaled to length 1 here.
        images: Shape `(m, d)`; scaled to length 1 here.
        paired: Row i of both belong together: their mean cosine is reported too.

    Raises:
        InvalidVector: Empty, of different lengths, of length 0 or not finite.

    Example:
        >>> seen = diagnose([[4, 0, 3], [0, 4, 3]], [[4, 0, -3], [0, 4, -3]])
        >>> round(seen.before.distance, 3), round(seen.after.distance, 3)
        (1.2, 0.0)
        >>> print(seen)
        2 texts and 2 images, 3 numbers each
                                            as it is   centred
        gap: distance of the means             1.200     0.000
        angle of the means, degrees           93.372       nan
        mean cosine, text and text             0.360    -1.000
        mean cosine, image and image           0.360    -1.000
        mean cosine, text and image           -0.040     0.000
    """
    text_rows = _unit(texts, "texts")
    image_rows = _unit(images, "images")
    same_length = text_rows.shape[1] == image_rows.shape[1]
    if not same_length or (paired and len(text_rows) != len(image_rows)):
        expected = "the same shape" if paired else "vectors of the same length"
        raise InvalidVector(
            f"Got texts of shape {text_rows.shape!r} and images of shape "
            f"{image_rows.shape!r}; expected {expected}. Use one encoder for both, or "
            f"project one side first."
        )
    return Diagnosis(
        n_texts=len(text_rows),
        n_images=len(image_rows),
        dim=text_rows.shape[1],
        before=_gap(text_rows, image_rows, paired),
        after=_gap(_recentred(text_rows), _recentred(image_rows), paired),
    )


def _gap(texts: WideVectors, images: WideVectors, paired: bool) -> Gap:
    text_mean, image_mean = texts.mean(axis=0), images.mean(axis=0)
    between = float(text_mean @ image_mean)
    return Gap(
        distance=float(np.linalg.norm(text_mean - image_mean)),
        angle_degrees=_angle(text_mean, image_mean),
        text_text=_mean_of_different(texts),
        image_image=_mean_of_different(images),
        text_image=between,
        pairs=float((texts * images).sum(axis=1).mean()) if paired else None,
    )


def _angle(left: WideVectors, right: WideVectors) -> float:
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    # Means of centred rows are rounding errors, which point nowhere.
    if lengths < 1e-12:
        return float("nan")
    return float(np.degrees(np.arccos(np.clip(left @ right / lengths, -1.0, 1.0))))


def _mean_of_different(rows: WideVectors) -> float:
    """Return `(|Σ u|² - Σ |u_i|²) / (n (n - 1))`: the mean of `u_i u_j`, i ≠ j."""
    n = len(rows)
    if n < 2:
        return float("nan")
    total = rows.sum(axis=0)
    return float((total @ total - (rows**2).sum()) / (n * (n - 1)))


def _recentred(rows: WideVectors) -> WideVectors:
    centred = rows - rows.mean(axis=0)
    # A row that is the mean has no direction left: it stays the origin.
    points = np.linalg.norm(centred, axis=1, keepdims=True) > 1e-12
    return wide_unit_rows(np.where(points, centred, 0.0))


def _unit(vectors: ArrayLike, name: str) -> WideVectors:
    rows = checked_rows(vectors, name)
    if not len(rows) or not has_direction(rows).all():
        what = "a vector of length 0" if len(rows) else "no vectors"
        raise InvalidVector(
            f"{name} has {what}; expected at least one vector, none all zero. Leave "
            f"out what the encoder could not read."
        )
    return wide_unit_rows(rows)
