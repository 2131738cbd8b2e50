"""Queries: text, pictures, or both; LlamaIndex's `QueryBundle` as it is, or ours."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Literal

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import QueryBundle
from PIL import Image

from llama_index_mmrag.concurrency.threads import athread, resolve
from llama_index_mmrag.errors import ImageUnreadable, InvalidQuery, InvalidSetting
from llama_index_mmrag.nodes.images import (
    ImageSource,
    check_image,
    image_bytes,
    load_image,
)

PartKind = Literal["text", "image", "composed"]


@dataclass
class MultiModalQuery(QueryBundle):
    """A query bundle with any number of pictures and a weight for each part.

    Works wherever LlamaIndex takes a `QueryBundle`.

    Args:
        query_str: The words; empty for a query by picture alone.
        images: Paths, encoded bytes or PIL images; `image_path` counts as one more.
        part_weights: Factor of the routes of a part, by its name: "text", "image" (the
            first picture), "image#2" and so on. Parts that are not named have 1.

    >>> MultiModalQuery("red shoes", images=["shoe.jpg"]).query_str
    'red shoes'
    """

    query_str: str = ""
    images: Sequence[ImageSource] = ()
    part_weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueryPart:
    """One thing to search for: the words, one picture, or all of them as one."""

    kind: PartKind
    name: str
    texts: tuple[str, ...] = ()
    """What is encoded: the words, or what a query transform made of them."""
    words: str = ""
    """The words as they were asked, for searches by term."""
    image: str | bytes | None = None
    """A picture's path, or its file's bytes."""
    weight: float = 1.0
    parts: tuple[QueryPart, ...] = ()
    """Of a composed part: what it is made of."""

    def encode(self, embed_model: BaseEmbedding) -> list[float]:
        """Return the part's vector, shape (dim,), in the encoder's query space."""
        if self.parts:
            msg = (
                f"The query part {self.name!r} is of several, and no encoder takes "
                f"that. Give the channel a composition, such as Blend(0.5)."
            )
            raise InvalidSetting(msg)
        if self.image is None and len(self.texts) == 1:
            return embed_model.get_query_embedding(self.texts[0])
        if self.image is None:
            # LlamaIndex's own rule: several strings (HyDE) are averaged.
            return embed_model.get_agg_embedding_from_queries(list(self.texts))
        if not isinstance(embed_model, MultiModalEmbedding):
            msg = (
                f"{embed_model.class_name()} cannot encode a picture; expected a "
                f"MultiModalEmbedding. Give the channel one, or accepts={{'text'}}."
            )
            raise InvalidSetting(msg)
        # A stream of its own for each encoder, which may read it to its end.
        picture = self.image if isinstance(self.image, str) else BytesIO(self.image)
        return embed_model.get_image_embedding(picture)


class QueryAtFault(Exception):  # noqa: N818 - carries an error, is not one to catch
    """The query part itself cannot be encoded; `args[0]` says why.

    Told apart from the same error raised by a store or a retriever, which costs that
    route its answer and not the query.
    """


def _encoded(part: QueryPart, embed_model: BaseEmbedding) -> list[float]:
    try:
        return part.encode(embed_model)
    except (ImageUnreadable, InvalidQuery) as error:
        raise QueryAtFault(error) from error


@dataclass(slots=True)
class Encodings:
    """The vectors of one query: each part is encoded once for each encoder."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _vectors: dict[tuple[int, str], Future[list[float]]] = field(default_factory=dict)

    def of(self, part: QueryPart, embed_model: BaseEmbedding) -> list[float]:
        """Return the part's vector; a second caller waits for the first one's."""
        future, is_first = self._claimed(part, embed_model)
        if is_first:
            resolve(future, lambda: _encoded(part, embed_model))
        return future.result()

    async def aof(self, part: QueryPart, embed_model: BaseEmbedding) -> list[float]:
        """Return what `of` does; only the first caller takes a thread."""
        future, is_first = self._claimed(part, embed_model)
        if not is_first:
            return await asyncio.wrap_future(future)
        await athread(lambda: resolve(future, lambda: _encoded(part, embed_model)))
        return future.result()

    def _claimed(
        self, part: QueryPart, embed_model: BaseEmbedding
    ) -> tuple[Future[list[float]], bool]:
        key = (id(embed_model), part.name)
        with self._lock:
            if known := self._vectors.get(key):
                return known, False
            future = self._vectors[key] = Future()
        # Else a second caller that is cancelled would cancel it for all.
        future.set_running_or_notify_cancel()
        return future, True


def parts_of(query: str | QueryBundle) -> tuple[QueryPart, ...]:
    """Return the parts of a query: the words first, then the pictures in order.

    A precomputed `QueryBundle.embedding` is left aside: one vector cannot be right for
    channels with different encoders.

    Raises:
        InvalidQuery: There are neither words nor pictures, or a part weight names no
            part, is negative or not finite.
        ImageUnreadable: A picture is missing, empty or of no known format.
    """
    bundle = QueryBundle(query) if isinstance(query, str) else query
    texts = tuple(text for text in bundle.embedding_strs if text.strip())
    weights: Mapping[str, float] = {}
    if isinstance(bundle, MultiModalQuery):
        if isinstance(bundle.images, (str, bytes)) or not isinstance(
            bundle.images, Sequence
        ):
            msg = (
                f"images is {bundle.images!r}; expected a list of pictures. Use [...]."
            )
            raise InvalidQuery(msg)
        weights = bundle.part_weights
    pictures = [_as_file(picture) for picture in pictures_of(bundle)]
    names = [f"image#{n}" if n > 1 else "image" for n in range(1, len(pictures) + 1)]
    if not texts and not pictures:
        msg = (
            f"The query {bundle.query_str!r} has neither words nor a picture. Give a "
            f"text, an image_path, or MultiModalQuery(images=[...])."
        )
        raise InvalidQuery(msg)
    unknown = set(weights) - {"text", *names}
    if unknown:
        msg = (
            f"part_weights names {sorted(unknown)!r}; this query's parts are "
            f"{(['text'] if texts else []) + names!r}."
        )
        raise InvalidQuery(msg)
    for name, weight in weights.items():
        if not (math.isfinite(weight) and weight >= 0):
            msg = (
                f"part_weights has {weight!r} for {name!r}; expected a finite number "
                f"of at least 0."
            )
            raise InvalidQuery(msg)
    words = bundle.query_str.strip() or "\n".join(texts)
    parts = [QueryPart("text", "text", texts=texts, words=words)] if texts else []
    parts += [
        QueryPart("image", name, image=picture)
        for name, picture in zip(names, pictures, strict=True)
    ]
    return tuple(
        replace(part, weight=float(weights.get(part.name, 1.0))) for part in parts
    )


def composed_of(parts: Sequence[QueryPart]) -> QueryPart | None:
    """Return what a channel for composed parts is asked; None for no parts.

    Several parts become one; a part that is alone stays what it is. Parts of weight 0
    are left out, unless all are.
    """
    counted = tuple(part for part in parts if part.weight > 0)
    members = counted or tuple(parts)
    if len(members) < 2:
        return members[0] if members else None
    words = "\n".join(part.words for part in members if part.words)
    weight = 1.0 if counted else 0.0
    return QueryPart("composed", "composed", words=words, weight=weight, parts=members)


def pictures_of(query: str | QueryBundle) -> list[ImageSource]:
    """Return a query's pictures in order, unread."""
    if isinstance(query, str):
        return []
    first: list[ImageSource] = [query.image_path] if query.image_path else []
    more = list(query.images) if isinstance(query, MultiModalQuery) else []
    return first + more


def _as_file(picture: ImageSource) -> str | bytes:
    """Return a picture as a path or a file's bytes, which any thread may read at once.

    A PIL image is decoded at its first use and by one thread at a time; and it may be
    of a mode that no file has, or lie on its side.
    """
    if isinstance(picture, Image.Image):
        return image_bytes(load_image(picture))
    check_image(picture)
    return str(picture) if isinstance(picture, (str, Path)) else image_bytes(picture)
