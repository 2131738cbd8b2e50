"""Pairs as they are trained on: looked through, told apart by content, grouped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from llama_index_mmrag.alignment.finetuning.report import SkippedPair
from llama_index_mmrag.alignment.pair_files import PairsRead, PictureText
from llama_index_mmrag.alignment.pairs import Groups, drawn_groups
from llama_index_mmrag.errors import ImageUnreadable, MmragError
from llama_index_mmrag.nodes.images import check_whole, image_bytes

PairLike: TypeAlias = "PictureText | tuple[str | Path, str]"
"""A pair as `read_pairs` gives it, or a picture's path and a text."""


class TooFewPairs(MmragError, ValueError):
    """There are not enough pairs that can be used to learn from and to judge by."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Pairs that can be used."""

    pairs: tuple[PictureText, ...]
    """In the order given."""
    groups: Groups
    """Which thing each pair is about, `(n,)`."""
    picture_shas: tuple[str, ...]
    """SHA-256 of each pair's picture file."""

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    @property
    def sha256(self) -> str:
        """SHA-256 of pictures' bytes, texts and groups, in order; not of paths."""
        digest = hashlib.sha256()
        for pair, group, sha in zip(
            self.pairs, self.groups, self.picture_shas, strict=True
        ):
            digest.update(f"{sha}{group}:{len(pair.text)}:{pair.text}".encode())
        return digest.hexdigest()

    def where(self, rows: Sequence[int]) -> Examples:
        """Return the pairs at some positions; groups keep their numbers."""
        return Examples(
            tuple(self.pairs[row] for row in rows),
            self.groups[list(rows)],
            tuple(self.picture_shas[row] for row in rows),
        )

    def split(self, held_out: float, *, seed: int) -> tuple[Examples, Examples]:
        """Return pairs to learn from and to judge by, without a thing in both.

        Args:
            held_out: Share of the things that judge, in [0, 1); 0: the second part is
                empty.
            seed: Of the draw.

        Raises:
            TooFewPairs: Fewer than 2 things to learn from, or none to judge by.
        """
        things = np.unique(self.groups)
        n_judged = max(round(held_out * len(things)), 1) if held_out > 0 else 0
        if len(things) - n_judged < 2:
            raise TooFewPairs(
                f"{len(self)} pairs about {len(things)} thing(s) can be used, of which "
                f"{n_judged} would judge; expected at least 2 to learn from: a text "
                f"must be told from another picture's. Give more pairs."
            )
        judged = np.zeros(len(self), dtype=np.bool_)
        if n_judged:
            judged = drawn_groups(self.groups, held_out, seed=seed)
        return (
            self.where(np.flatnonzero(~judged).tolist()),
            self.where(np.flatnonzero(judged).tolist()),
        )


def checked(
    pairs: Sequence[PairLike], *, num_threads: int = 1
) -> tuple[Examples, tuple[SkippedPair, ...]]:
    """Return the pairs that can be used, and why the others cannot.

    Each picture is read once: to see that it is whole, and for its SHA-256.
    """
    known = [
        pair
        if isinstance(pair, PictureText)
        else PictureText(str(Path(pair[0]).absolute()), pair[1])
        for pair in pairs
    ]
    paths = list(dict.fromkeys(pair.image for pair in known))
    with ThreadPoolExecutor(num_threads, thread_name_prefix="check") as threads:
        looked = dict(zip(paths, threads.map(_looked_at, paths), strict=True))
    usable, shas, skipped = [], [], []
    for index, pair in enumerate(known):
        sha, reason = looked[pair.image]
        if not reason and not pair.text.strip():
            reason = "The text is empty. Write what the picture shows."
        if reason:
            skipped.append(SkippedPair(index, pair.image, reason))
        else:
            usable.append(pair)
            shas.append(sha)
    # By content: one picture under two names is no negative of itself.
    known = [replace(pair, image=sha) for pair, sha in zip(usable, shas, strict=True)]
    groups = PairsRead(tuple(known), ()).groups()
    return Examples(tuple(usable), groups, tuple(shas)), tuple(skipped)


def _looked_at(path: str) -> tuple[str, str]:
    """Return a picture's SHA-256 and why it cannot be used; one of them is empty."""
    try:
        data = image_bytes(path)
        check_whole(data, name=repr(path))
    except ImageUnreadable as error:
        return "", str(error)
    return hashlib.sha256(data).hexdigest(), ""
