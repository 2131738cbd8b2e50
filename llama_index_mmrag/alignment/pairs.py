"""Vectors of texts and of pictures that belong together: what heads are fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llama_index_mmrag.alignment.settings import checked_seed
from llama_index_mmrag.checks import number, rows
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import InvalidVector
from llama_index_mmrag.vectors import Vectors

Groups: TypeAlias = "NDArray[np.int64]"


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Row i of each array belongs together.

    Raises:
        InvalidVector: Different numbers of rows, no rows, or values that are not
            finite.
    """

    texts: Vectors
    """Vectors of the texts, `(n, dt)`."""
    images: Vectors
    """Vectors of the pictures, `(n, di)`; a picture with two texts is there twice."""
    groups: Groups
    """Which thing each pair is about, `(n,)`: the same number for the same picture."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "texts", rows(self.texts, "texts"))
        object.__setattr__(self, "images", rows(self.images, "images"))
        object.__setattr__(self, "groups", group_numbers(self.groups, "groups"))
        lengths = (len(self.texts), len(self.images), len(self.groups))
        if len(set(lengths)) > 1 or not lengths[0]:
            raise InvalidVector(
                f"Got {lengths[0]} texts, {lengths[1]} images and {lengths[2]} groups; "
                f"expected as many of each, and at least one. Leave out pairs whose "
                f"picture or text is missing."
            )

    @classmethod
    def of(
        cls, texts: ArrayLike, images: ArrayLike, groups: ArrayLike | None = None
    ) -> Pairs:
        """Return pairs of any arrays; without `groups` each pair is a thing of its own.

        Raises:
            InvalidVector: As for the class.
        """
        text_rows = rows(texts, "texts")
        known = np.arange(len(text_rows)) if groups is None else groups
        return cls(text_rows, rows(images, "images"), group_numbers(known, "groups"))

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.texts)

    @checked
    def where(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Pairs:
        """Return the pairs of some rows."""
        return Pairs(self.texts[rows], self.images[rows], self.groups[rows])

    def split(self, held_out: float, *, seed: int) -> tuple[Pairs, Pairs]:
        """Return pairs to train on and pairs to judge by, without a group in both.

        Args:
            held_out: Share of the groups that are judged by, in (0, 1).
            seed: Of the draw.

        Raises:
            InvalidVector: There is only one group.
        """
        number(held_out, "held_out", more_than=0, less_than=1)
        is_judged = drawn_groups(self.groups, held_out, seed=checked_seed(seed))
        return self.where(~is_judged), self.where(is_judged)


def group_numbers(groups: ArrayLike, name: str) -> Groups:
    """Return which thing, or picture, each pair is about, `(n,)`.

    Raises:
        InvalidVector: They are no list of whole numbers.
    """
    try:
        known = np.asarray(groups)
    except ValueError:  # lists of different lengths
        known = np.empty(())
    if known.ndim != 1 or known.dtype.kind not in "iu":
        raise InvalidVector(
            f"{name} are {groups!r}; expected a whole number for each pair. Number "
            f"what the pairs are about."
        )
    return known.astype(np.int64)


def drawn_groups(groups: Groups, held_out: float, *, seed: int) -> NDArray[np.bool_]:
    """Return which pairs are judged by: those of some groups, drawn at random, `(n,)`.

    Args:
        groups: Which thing each pair is about, `(n,)`.
        held_out: Share of the groups that are judged by, in (0, 1).
        seed: Of the draw.

    Raises:
        InvalidVector: There is only one group.
    """
    things = np.unique(groups)
    if len(things) < 2:
        raise InvalidVector(
            f"Got {len(groups)} pairs about {len(things)} thing; expected at least 2 "
            f"things, one of them to judge by. Give more pairs, or use "
            f"fit_procrustes, which learns from few."
        )
    n_judged = min(max(round(held_out * len(things)), 1), len(things) - 1)
    drawn = np.random.default_rng(seed).permutation(things)[:n_judged]
    return np.isin(groups, drawn)
