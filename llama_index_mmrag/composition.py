"""Composition: one vector of a text's and a picture's, for early fusion."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from llama_index_mmrag.checks import number, whole
from llama_index_mmrag.errors import InvalidSetting, InvalidVector
from llama_index_mmrag.vectors import WideVectors, wide_unit_rows

_CANCELLED = 1e-6
"""A sum of unit vectors shorter than this points where rounding says."""


@runtime_checkable
class Composition(Protocol):
    """A rule that makes one vector of a text's and a picture's. Pure.

    Learned compositions fit here as well: what they compute is told by `space_id`,
    which a store remembers, and nothing else of this package knows of it.
    """

    @property
    def space_id(self) -> str:
        """Name of the rule with all its constants: equal names, equal vectors."""
        ...

    @property
    def needs_one_space(self) -> bool:
        """Whether texts and pictures must be vectors of one space."""
        ...

    def out_dim(self, text_dim: int, image_dim: int) -> int:
        """Return the length of the composed vectors.

        Raises:
            InvalidSetting: Vectors of these lengths cannot be composed.
        """
        ...

    def compose(self, texts: npt.ArrayLike, pictures: npt.ArrayLike) -> WideVectors:
        """Return the composed vectors, of unit length, row by row.

        Args:
            texts: Vectors of any length but 0, shape (n, text_dim); a row of zeros is
                a text that is missing.
            pictures: The same of the pictures, shape (n, image_dim).

        Raises:
            InvalidVector: The shapes do not fit, a number is not finite, or a row has
                neither text nor picture.
        """
        ...

    def weighted(self, text: float, image: float) -> Composition:
        """Return the rule for a query whose parts have these weights, both above 0."""
        ...


@dataclass(frozen=True, slots=True)
class Blend:
    """Weighted mean: unit(α · unit(text) + (1 - α) · unit(image)).

    For vectors of one space, CLIP's for example; the result is of that space too. So a
    blended query can be put to a collection that nobody made for it: its cosine with a
    unit vector d is (α · cos(text, d) + (1 - α) · cos(image, d)) / length of the sum.
    Baldrati et al. (2022, https://arxiv.org/abs/2203.14598) call the sum the baseline
    that learned compositions have to beat.

    A missing part leaves the other one as it is, whatever α says. Parts that point in
    opposite directions and cancel each other (α = ½) have no mean direction: the text's
    is taken.

    Args:
        alpha: Share of the text, from 0 (the picture alone, exactly) to 1 (the text
            alone, exactly).

    Raises:
        InvalidSetting: `alpha` is out of its range.

    Example:
        >>> Blend(0.5).compose([[1, 0]], [[0, 3]]).round(4).tolist()
        [[0.7071, 0.7071]]
        >>> Blend(0.5).compose([[0, 0]], [[0, 3]]).tolist()  # no text
        [[0.0, 1.0]]
    """

    alpha: float = 0.5

    needs_one_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", _share(self.alpha, "Blend"))

    @property
    def space_id(self) -> str:
        """The rule's name, such as "blend-v1(alpha=0.5)"."""
        return f"blend-v1(alpha={self.alpha!r})"

    def out_dim(self, text_dim: int, image_dim: int) -> int:
        """Return the parts' common length."""
        if text_dim != image_dim:
            raise InvalidSetting(
                f"Blend got texts of {text_dim!r} numbers and pictures of "
                f"{image_dim!r}; expected one space, and so one length. Use one "
                f"encoder for both, or Concatenate, which takes any two."
            )
        return text_dim

    def compose(self, texts: npt.ArrayLike, pictures: npt.ArrayLike) -> WideVectors:
        """Return the means, shape (n, dim)."""
        text, image = _unit_sides(texts, pictures)
        self.out_dim(text.shape[1], image.shape[1])
        has_text, has_image = _present(text), _present(image)
        if self.alpha in (0.0, 1.0):
            # Not even rounding may tell these from the single part.
            heavy, light = (text, image) if self.alpha else (image, text)
            return np.where(_present(heavy), heavy, light)
        mixed = self.alpha * text + (1.0 - self.alpha) * image
        cancelled = np.linalg.norm(mixed, axis=1, keepdims=True) < _CANCELLED  # (n, 1)
        mean = wide_unit_rows(mixed)
        mean = np.where(has_text & ~has_image | cancelled, text, mean)
        return np.where(has_image & ~has_text, image, mean)

    def weighted(self, text: float, image: float) -> Blend:
        """Return the blend with α · text : (1 - α) · image as its shares."""
        return replace(self, alpha=_shifted(self.alpha, text, image))


@dataclass(frozen=True, slots=True)
class Concatenate:
    """Weighted concatenation: [√α · unit(text), √(1 - α) · unit(image)].

    The dot product of two such vectors is α · cos(texts) + (1 - α) · cos(pictures):
    text is compared with text and picture with picture, so that any two encoders do.
    What words say of a picture, and the reverse, is not compared: a query by picture
    alone finds pictures, one by words alone texts and what is composed with a text.

    Where a part is missing the other fills the vector, [unit(text), 0] or
    [0, unit(image)], whatever α says: vectors have unit length, and a text's cosine is
    the single one with texts alone, and √α times that with what has both parts.

    Args:
        alpha: Share of the texts in the cosine, from 0 to 1.

    Raises:
        InvalidSetting: `alpha` is out of its range.

    Example:
        >>> vectors = Concatenate(0.36).compose([[1, 0], [1, 0]], [[2], [0]])
        >>> vectors.tolist()  # the second has no picture
        [[0.6, 0.0, 0.8], [1.0, 0.0, 0.0]]
    """

    alpha: float = 0.5

    needs_one_space: ClassVar[bool] = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", _share(self.alpha, "Concatenate"))

    @property
    def space_id(self) -> str:
        """The rule's name, such as "concatenate-v1(alpha=0.5)"."""
        return f"concatenate-v1(alpha={self.alpha!r})"

    def out_dim(self, text_dim: int, image_dim: int) -> int:
        """Return the sum of the lengths."""
        return whole(text_dim, "text_dim", at_least=1) + whole(
            image_dim, "image_dim", at_least=1
        )

    def compose(self, texts: npt.ArrayLike, pictures: npt.ArrayLike) -> WideVectors:
        """Return the concatenations, shape (n, text_dim + image_dim)."""
        text, image = _unit_sides(texts, pictures)
        both = _present(text) & _present(image)
        # Rows of zeros stay what they are.
        text_share = np.where(both, np.sqrt(self.alpha), 1.0)
        image_share = np.where(both, np.sqrt(1.0 - self.alpha), 1.0)
        return np.hstack([text_share * text, image_share * image])

    def weighted(self, text: float, image: float) -> Concatenate:
        """Return the concatenation with α · text : (1 - α) · image as its shares."""
        return replace(self, alpha=_shifted(self.alpha, text, image))


_KNOWN: dict[str, type[Blend] | type[Concatenate]] = {
    "blend": Blend,
    "concatenate": Concatenate,
}
_SPACE_ID = re.compile(
    r"(?P<name>[a-z]+)-v1\(alpha=(?P<alpha>\d+(\.\d+)?(e-?\d+)?)\)", re.ASCII
)


def composition_of(space_id: str) -> Composition:
    """Return the composition that a `space_id` names.

    Raises:
        InvalidSetting: It is none of this package's.

    Example:
        >>> composition_of(Blend(0.25).space_id)
        Blend(alpha=0.25)
    """
    named = _SPACE_ID.fullmatch(space_id)
    if named is None or named["name"] not in _KNOWN:
        raise InvalidSetting(
            f"No composition is called {space_id!r}; expected one of {sorted(_KNOWN)}, "
            f"such as {Blend().space_id!r}. Open the store from Python, with the "
            f"composition that filled it as composition."
        )
    return _KNOWN[named["name"]](float(named["alpha"]))


def _share(alpha: float, name: str) -> float:
    advice = "0 is pictures alone, 1 is texts alone."
    return number(alpha, f"{name}: alpha", at_least=0, at_most=1, advice=advice)


def _shifted(alpha: float, text: float, image: float) -> float:
    texts = alpha * number(text, "The text's weight", at_least=0)
    images = (1.0 - alpha) * number(image, "The picture's weight", at_least=0)
    return texts / (texts + images)


def _unit_sides(
    texts: npt.ArrayLike, pictures: npt.ArrayLike
) -> tuple[WideVectors, WideVectors]:
    try:
        sides = np.asarray(texts, np.float64), np.asarray(pictures, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidVector(
            f"The vectors to compose are no arrays of numbers ({error}); expected two "
            f"of as many rows. Check the encoders' output."
        ) from error
    shapes = [side.shape for side in sides]
    if [len(shape) for shape in shapes] != [2, 2] or shapes[0][0] != shapes[1][0]:
        raise InvalidVector(
            f"A composition got texts of shape {shapes[0]} and pictures of "
            f"{shapes[1]}; expected (n, text_dim) and (n, image_dim). Give a row of "
            f"zeros for a part that is missing."
        )
    if not all(np.isfinite(side).all() for side in sides):
        raise InvalidVector(
            "A composition got a vector with NaN or infinity; expected finite numbers. "
            "Check the encoder's output for this input."
        )
    text, image = map(wide_unit_rows, sides)
    empty = np.flatnonzero(~(_present(text) | _present(image)))
    if len(empty):
        raise InvalidVector(
            f"A composition got neither text nor picture in row {int(empty[0])!r}; "
            f"expected one of them. Leave the row out."
        )
    return text, image


def _present(rows: WideVectors) -> npt.NDArray[np.bool_]:
    return np.asarray(rows.any(axis=1, keepdims=True), dtype=np.bool_)  # (n, 1)
