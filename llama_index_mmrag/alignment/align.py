"""From encoded pairs to an alignment: fitted, mixed, and judged on unseen pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from llama_index.core.embeddings import MultiModalEmbedding

from llama_index_mmrag.alignment.chain import Chain, Columns, Mix
from llama_index_mmrag.alignment.encoded_pairs import EncodedPairs
from llama_index_mmrag.alignment.fitting import fit_procrustes, fit_ridge
from llama_index_mmrag.alignment.found import FoundBothWays, found_both_ways
from llama_index_mmrag.alignment.heads import Head, Scaling
from llama_index_mmrag.alignment.pairs import Pairs, drawn_groups
from llama_index_mmrag.alignment.settings import TrainSettings
from llama_index_mmrag.alignment.train import TrainedHeads, train_heads
from llama_index_mmrag.alignment.transforms import Normalize, Project, Transform
from llama_index_mmrag.checks import number, one_of, whole
from llama_index_mmrag.checks.arguments import checked, checked_fields
from llama_index_mmrag.errors import InvalidSetting, InvalidVector
from llama_index_mmrag.vectors import unit_rows

MIX_WEIGHT = 0.5
"""Of the head beside the encoder's own vectors, as in the shipped encoder."""

RIDGE_PENALTY = 1000.0
"""On standardised features; one value that benchmarks/alignment.py measured."""

MethodName = Literal["trained", "ridge", "procrustes"]


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class PictureParts:
    """What a picture's vector consists of."""

    plain: Transform | None
    """The part that lies in the texts' space already; None: there is none."""
    features: Transform
    """The part that heads learn from."""

    @classmethod
    @checked
    def of(
        cls, encoder: MultiModalEmbedding, *, text_dim: int, image_dim: int
    ) -> PictureParts:
        """Return the parts of an encoder's pictures.

        They are `plain_columns` and `feature_columns` where the encoder has them, as
        `OfflineFeaturesEmbedding` does; else both are the whole vector.

        Args:
            encoder: Of the pictures.
            text_dim: Length of its texts' vectors.
            image_dim: Length of its pictures' vectors.
        """
        whole(text_dim, "text_dim", at_least=1)
        whole(image_dim, "image_dim", at_least=1)
        plain = getattr(encoder, "plain_columns", None)
        features = getattr(encoder, "feature_columns", None)
        if plain is not None and features is not None:
            return cls(plain=Columns(*plain), features=Columns(*features))
        return cls(plain=Chain() if text_dim == image_dim else None, features=Chain())


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How a head is fitted, and what becomes of it.

    Attributes:
        method: "trained" as `head` and `settings` say; or a closed form that takes no
            training and suits a few hundred pairs, "ridge" or "procrustes".
        head: The shape of what is trained.
        settings: Of the training; its seed also draws the pairs to judge by.
        mix_weight: Share of the head in `unit(plain + mix_weight * head)`; None: the
            head alone.
        ridge_penalty: Of "ridge", on standardised features.
        held_out: Share of the things that nothing is learned from, to judge by; of no
            use where pairs to judge by are given.

    Raises:
        InvalidSetting: A value is out of its range.
    """

    method: MethodName = "trained"
    head: Head = field(default_factory=Head)
    settings: TrainSettings = field(default_factory=TrainSettings)
    mix_weight: float | None = MIX_WEIGHT
    ridge_penalty: float = RIDGE_PENALTY
    held_out: float = 0.1

    def __post_init__(self) -> None:
        one_of(self.method, "method", get_args(MethodName))
        if self.mix_weight is not None:
            number(self.mix_weight, "mix_weight", more_than=0)
        number(self.ridge_penalty, "ridge_penalty", more_than=0)
        number(self.held_out, "held_out", more_than=0, less_than=1)


@dataclass(frozen=True, slots=True)
class Aligned:
    """Fitted transforms, and what pairs find of each other before and after."""

    text: Transform
    """What texts go through: length 1 only, so that indexed texts stay as they are."""
    image: Transform
    """What pictures go through: the head, mixed with the plain vectors if asked for."""
    before: Mapping[str, FoundBothWays]
    """By name: how the encoder's pictures are found without a head."""
    after: FoundBothWays
    """How pictures are found with it, on the same pairs."""
    trained: TrainedHeads | None
    """How the training went; None for closed forms."""
    n_fitted: int
    """Pairs that were learned from, those included that a training watched."""
    n_judged: int
    """Pairs that were judged by: nothing was learned or chosen from them."""
    n_seen: int = 0
    """Of those, pairs whose picture was learned from too: they flatter the figures."""


@checked
def align(
    encoded: EncodedPairs,
    *,
    parts: PictureParts,
    fit: Fit | None = None,
    judged: EncodedPairs | None = None,
    baselines: Mapping[str, Transform] | None = None,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
    show_progress: bool = False,
) -> Aligned:
    """Return transforms that bring pictures to their texts, and what they reached.

    Three shares: learned from, watched by a training to stop in time (`held_out` of its
    settings), and judged by. The last decides nothing, so its figures are what new
    pairs of the same kind may expect.

    Args:
        encoded: Pairs to learn from.
        parts: What the pictures' vectors consist of.
        fit: None: `Fit()`.
        judged: Pairs to judge by; None: a share of `encoded`, without a thing in both.
        baselines: Other transforms of pictures to compare with, by name.
        checkpoint: As for `train_heads`.
        device: As for `train_heads`.
        show_progress: A bar over a training's epochs.

    Raises:
        InvalidSetting: There is nothing to mix with; or as for `train_heads`.
        InvalidVector: Too few things.
        MissingExtra: torch is not installed, and "trained" was asked for.
    """
    fit = Fit() if fit is None else fit
    if fit.mix_weight is not None and parts.plain is None:
        raise InvalidSetting(
            f"mix_weight={fit.mix_weight!r}, but the encoder's pictures and texts are "
            f"of different lengths, so there is nothing to mix the head with. Use the "
            f"head alone."
        )
    if judged is None:
        encoded, judged = _split(encoded, fit)
    pairs = Pairs.of(
        encoded.texts, parts.features.apply(encoded.images), encoded.groups
    )
    trained = None
    if fit.method == "trained":
        trained = train_heads(
            pairs,
            image_head=fit.head,
            settings=fit.settings,
            checkpoint=checkpoint,
            device=device,
            show_progress=show_progress,
        )
    head = _closed(fit, pairs) if trained is None else trained.image
    image: Transform = Chain((parts.features, head))
    if fit.mix_weight is not None and parts.plain is not None:
        image = Mix((parts.plain, image), (1.0, fit.mix_weight))
    compared = {} if parts.plain is None else {"without a head": parts.plain}
    compared |= baselines or {}
    learned = {row.tobytes() for row in encoded.images}
    return Aligned(
        text=Normalize() if trained is None else trained.text,
        image=image,
        before={name: _found(judged, other) for name, other in compared.items()},
        after=_found(judged, image),
        trained=trained,
        n_fitted=len(encoded),
        n_judged=len(judged),
        n_seen=sum(row.tobytes() in learned for row in judged.images),
    )


def _split(encoded: EncodedPairs, fit: Fit) -> tuple[EncodedPairs, EncodedPairs]:
    n_things = len(np.unique(encoded.groups))
    n_needed = 3 if fit.method == "trained" else 2
    if n_things < n_needed:
        raise InvalidVector(
            f"Got {len(encoded)} pairs about {n_things} different pictures or groups; "
            f"expected at least {n_needed}: to learn from, to judge by"
            f"{', to stop in time' if n_needed > 2 else ''}. Give more pairs; a few "
            f"hundred are the least that helps."
        )
    is_judged = drawn_groups(encoded.groups, fit.held_out, seed=fit.settings.seed)
    # A share that leaves one thing to learn from leaves none to stop by.
    if len(np.unique(encoded.groups[~is_judged])) < n_needed - 1:
        raise InvalidSetting(
            f"held_out={fit.held_out!r} of {n_things} things leaves too few to learn "
            f"from. Give a smaller share, or more pairs."
        )
    return encoded.where(~is_judged), encoded.where(is_judged)


def _closed(fit: Fit, pairs: Pairs) -> Transform:
    targets = unit_rows(pairs.texts)
    if fit.method == "procrustes":
        turned = fit_procrustes(unit_rows(pairs.images), targets)
        return Chain((Normalize(), turned, Normalize()))
    scaling = Scaling.of(pairs.images)
    scaled = scaling.apply(pairs.images)
    fitted = fit_ridge(scaled, targets, penalty=fit.ridge_penalty)
    weight, bias = fitted.weight.astype(float), fitted.bias.astype(float)
    return Chain((Project(*scaling.folded(weight, bias)), Normalize()))


def _found(judged: EncodedPairs, image: Transform) -> FoundBothWays:
    placed = image.apply(judged.images)
    return found_both_ways(judged.texts, placed, judged.groups, judged.pictures)
