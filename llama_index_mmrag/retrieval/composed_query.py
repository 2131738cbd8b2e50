"""A query's parts as one vector, for the channels of early fusion."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding

from llama_index_mmrag.composition import Composition
from llama_index_mmrag.concurrency.turns import ENCODING, in_turn
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.embeddings.space import space_of
from llama_index_mmrag.errors import InvalidSetting, InvalidVector
from llama_index_mmrag.retrieval.encodings import Encodings
from llama_index_mmrag.retrieval.query import PartKind, QueryPart
from llama_index_mmrag.vectors import WideVectors, has_direction


def check_accepts(
    of: str,
    accepts: frozenset[PartKind],
    image_model: BaseEmbedding,
    composition: Composition | None,
    given: BaseEmbedding | None,
) -> None:
    """Do nothing if a channel can encode what it accepts.

    Args:
        of: What the channel is called.
        accepts: What it accepts.
        image_model: What encodes its pictures.
        composition: Its composition.
        given: Its encoder of pictures, where it got one of its own.

    Raises:
        InvalidSetting: It cannot.
    """
    if accepts & {"image", "composed"} and not isinstance(
        image_model, MultiModalEmbedding
    ):
        raise InvalidSetting(
            f"{of} accepts pictures, but its encoder {image_model.class_name()} is no "
            f"MultiModalEmbedding. Give it one, or leave 'image' out of accepts."
        )
    if composition is None and ("composed" in accepts or given is not None):
        raise InvalidSetting(
            f"{of} has no composition, and accepts 'composed' or has an "
            f"image_embed_model. Give it one such as Blend(0.5), or leave them out."
        )


class QueryComposer:
    """Composes query parts; each is encoded once, whoever else needs its vector.

    Args:
        composition: The rule that the collection was filled by.
        text_model: Encodes words.
        image_model: Encodes pictures.

    Raises:
        InvalidSetting: The composition needs one space, and the encoders have two.
    """

    def __init__(
        self,
        composition: Composition,
        *,
        text_model: BaseEmbedding,
        image_model: BaseEmbedding,
    ) -> None:
        check_spaces(composition, text_model=text_model, image_model=image_model)
        self._composition = composition
        self._models = {"text": text_model, "image": image_model}
        self._dims: dict[str, int] = {}

    def vector(self, part: QueryPart, encodings: Encodings) -> list[float]:
        """Return the vector of a part, composed or alone, shape (out_dim,).

        Of several pictures the weighted mean of their unit vectors is composed. Part
        weights are factors of the parts' shares in the composition.

        Raises:
            InvalidVector: An encoder gave a vector without a direction.
        """
        members = part.parts or (part,)
        sides = {
            kind: [member for member in members if member.kind == kind]
            for kind in self._models
        }
        rows = {
            kind: self._mean(kind, side, encodings)
            for kind, side in sides.items()
            if side
        }
        rule = self._composition
        if len(rows) == 2:
            shares = {kind: _mean_weight(side) for kind, side in sides.items()}
            if all(share > 0 for share in shares.values()):
                rule = rule.weighted(shares["text"], shares["image"])
        texts, pictures = (
            rows[kind] if kind in rows else np.zeros((1, self._dim(kind, rows)))
            for kind in ("text", "image")
        )
        vector: list[float] = rule.compose(texts, pictures)[0].tolist()
        return vector

    async def avector(self, part: QueryPart, encodings: Encodings) -> list[float]:
        """Return what `vector` does, without blocking the event loop."""
        members = part.parts or (part,)
        encoding = [encodings.aof(one, self._models[one.kind]) for one in members]
        await asyncio.gather(*encoding)
        work = partial(self.vector, part, encodings)
        return await in_turn(work, self, lane=ENCODING)

    def _mean(
        self, kind: str, members: Sequence[QueryPart], encodings: Encodings
    ) -> WideVectors:
        model = self._models[kind]
        rows = np.array([encodings.of(member, model) for member in members])
        if not has_direction(rows).all():
            raise InvalidVector(
                f"The encoder {model.class_name()} gave the query's {kind} a vector "
                f"without a direction: all zeros, NaN or infinite. Check its output."
            )
        if len(rows) == 1:
            return rows
        weights = np.array([member.weight for member in members])
        weights = weights if weights.any() else np.ones(len(rows))
        mean = (weights / np.linalg.norm(rows, axis=1)) @ rows  # (dim,)
        # Pictures that cancel each other have no mean; the first stands for them.
        is_mean = np.linalg.norm(mean) > 1e-6 * weights.sum()
        return np.asarray(mean if is_mean else rows[0]).reshape(1, -1)

    def _dim(self, kind: str, known: dict[str, WideVectors]) -> int:
        if self._composition.needs_one_space:
            return int(next(iter(known.values())).shape[1])
        if kind not in self._dims:
            # Kept: an encoder that does not say it encodes a word.
            self._dims[kind] = dimension_of(self._models[kind])
        return self._dims[kind]


def check_spaces(
    composition: Composition, *, text_model: BaseEmbedding, image_model: BaseEmbedding
) -> None:
    """Do nothing if vectors of these encoders can be composed.

    Raises:
        InvalidSetting: The composition needs one space, and the encoders have two.
    """
    if not composition.needs_one_space or text_model is image_model:
        return
    spaces = [space_of(model) for model in (text_model, image_model)]
    dims = [getattr(model, "dimension", None) for model in (text_model, image_model)]
    if spaces[0] != spaces[1] or dims[0] != dims[1]:
        raise InvalidSetting(
            f"{composition!r} got texts of the space {spaces[0]!r} ({dims[0]} numbers) "
            f"and pictures of {spaces[1]!r} ({dims[1]} numbers); expected one space. "
            f"Use one encoder for both (leave image_embed_model out, or bring the two "
            f"together with TransformedEmbedding), or Concatenate."
        )


def _mean_weight(members: Sequence[QueryPart]) -> float:
    return sum(member.weight for member in members) / len(members)
