"""Queries: text, pictures, or both; LlamaIndex's `QueryBundle` as it is, or ours."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.schema import ImageDocument, ImageNode, QueryBundle
from PIL import Image

from llama_index_mmrag.checks import listed, numbers
from llama_index_mmrag.checks.keywords import answered
from llama_index_mmrag.concurrency.deadlines import Deadline
from llama_index_mmrag.concurrency.jobs import AskerAtFault, Job, Steps
from llama_index_mmrag.errors import AllRoutesFailed, ImageUnreadable, InvalidQuery
from llama_index_mmrag.events.spans import Span
from llama_index_mmrag.nodes.images import (
    IMAGE_SUFFIXES,
    ImageSource,
    check_image,
    describe_source,
    image_bytes,
    load_image,
)
from llama_index_mmrag.nodes.shown import picture_in

logger = logging.getLogger(__name__)

PICTURES = (Path, Image.Image, ImageBlock, ImageNode, ImageDocument)
"""What is a query by itself: a picture to search by."""

_SUFFIXES = tuple(IMAGE_SUFFIXES)

PartKind = Literal["text", "image", "composed"]
_DATA = "data:application/octet-stream;base64,"


@answered({"text": "The words are query_str.", "texts": "The words are query_str."})
@dataclass
class MultiModalQuery(QueryBundle):
    """A query bundle with any number of pictures and a weight for each part.

    Works wherever LlamaIndex takes a `QueryBundle`.

    Args:
        query_str: The words; empty for a query by picture alone.
        images: Paths, encoded bytes, open files, PIL images, LlamaIndex's image nodes,
            documents and blocks, base64 or `data:` URIs; `image_path` counts as one
            more. They are kept as paths, bytes and PIL images. URLs are not fetched.
        part_weights: Factor of the routes of a part, by its name: "text", "image" (the
            first picture), "image#2" and so on. Parts that are not named have 1.

    >>> MultiModalQuery("red shoes", images=["shoe.jpg"]).query_str
    'red shoes'
    """

    query_str: str = ""
    images: Sequence[ImageSource] = ()
    part_weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.images, (list, tuple)):
            self.images = [picture_in(picture) for picture in self.images]
        pictures_of(self)
        self.checked_weights()

    def to_dict(self, encode_json: bool = False) -> dict[str, Any]:  # noqa: ARG002, FBT001, FBT002 - LlamaIndex's
        """Return the query as JSON data: pictures as paths or `data:` URIs."""
        return {
            "query_str": self.query_str,
            "custom_embedding_strs": self.custom_embedding_strs,
            "embedding": self.embedding,
            "image_path": self.image_path and str(self.image_path),
            "images": [*map(_as_text, self.images)],
            "part_weights": dict(self.part_weights),
        }

    @classmethod
    def from_dict(cls, kvs: Any, *, infer_missing: bool = False) -> MultiModalQuery:  # noqa: ARG003 - LlamaIndex's
        """Return the query that `to_dict` wrote."""
        return cls(**kvs)

    def checked_weights(self) -> dict[str, float]:
        """Return the weights, which may have been changed since they were given."""
        weights, advice = self.part_weights, 'Such as {"text": 2.0}.'
        return numbers(
            weights, "part_weights", at_least=0, advice=advice, error=InvalidQuery
        )


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
    unread = pictures_of(bundle)
    texts = tuple(text for text in bundle.embedding_strs if text.strip())
    weights: Mapping[str, float] = {}
    if isinstance(bundle, MultiModalQuery):
        weights = bundle.checked_weights()
    pictures = [_as_file(picture) for picture in unread]
    names = [f"image#{n}" if n > 1 else "image" for n in range(1, len(pictures) + 1)]
    if not texts and not pictures:
        raise InvalidQuery(
            f"The query {bundle.query_str!r} has neither words nor a picture. Give a "
            f"text, an image_path, or MultiModalQuery(images=[...])."
        )
    unknown = set(weights) - {"text", *names}
    if unknown:
        raise InvalidQuery(
            f"part_weights names {sorted(unknown)!r}; this query's parts are "
            f"{(['text'] if texts else []) + names!r}."
        )
    words = bundle.query_str.strip() or "\n".join(texts)
    if words.lower().endswith(_SUFFIXES) and not pictures and os.path.isfile(words):
        logger.warning(
            "The query %r is searched for as words, and is the path of a picture, too. "
            "Path(...) or MultiModalQuery(images=[...]) asks with the picture.",
            words,
        )
    parts = [QueryPart("text", "text", texts=texts, words=words)] if texts else []
    parts += [
        QueryPart("image", name, image=picture)
        for name, picture in zip(names, pictures, strict=True)
    ]
    return tuple(replace(part, weight=weights.get(part.name, 1.0)) for part in parts)


def _check_bundle(query: QueryBundle) -> None:
    """Raise `InvalidQuery` unless a query has words and a path, as it should.

    Written out: a query's walk passes here, and no other file is needed for it.
    """
    if not isinstance(query, QueryBundle):
        raise InvalidQuery(
            f"The query is {query!r}; expected a text or a QueryBundle, such as a "
            f"MultiModalQuery."
        )
    custom, path = query.custom_embedding_strs, query.image_path
    known = {
        "query_str": (isinstance(query.query_str, str), "a text"),
        "image_path": (path is None or isinstance(path, (str, Path)), "a path"),
        "custom_embedding_strs": (
            custom is None
            or (
                isinstance(custom, (list, tuple))
                and all(isinstance(t, str) for t in custom)
            ),
            "a list of texts",
        ),
    }
    for name, (is_right, expected) in known.items():
        if not is_right:
            raise InvalidQuery(
                f"The query's {name} is {getattr(query, name)!r}; expected {expected}."
            )
    try:
        "".join([query.query_str, *(custom or ())]).encode()
    except UnicodeEncodeError as error:
        raise InvalidQuery(
            f"The query's query_str or custom_embedding_strs are no Unicode ({error}); "
            f"expected a text without lone surrogates. Decode it as what it is."
        ) from error


def parts_in_time(
    query: str | QueryBundle, source: object, deadline: Deadline | None
) -> Steps[tuple[QueryPart, ...]]:
    """Return what `parts_of` does, by a deadline: a walk of its own, before the others.

    Args:
        query: One with pictures, whose files may lie on a disk that hangs.
        source: What threads that hang are counted to.
        deadline: Of the whole query.

    Raises:
        AllRoutesFailed: The pictures were not read in time.
        ImageUnreadable: As `parts_of`.
        InvalidQuery: Likewise.
    """

    def read() -> tuple[QueryPart, ...]:
        try:
            return parts_of(query)
        except (ImageUnreadable, InvalidQuery) as error:
            raise AskerAtFault(error) from error

    name = "read pictures"
    how: dict[str, Any] = {"span": Span(name, {}), "way": "here"}  # a decoder is
    job = Job(name, "", read, source=source, deadline=deadline, **how)
    parts, lost = yield [job]
    if lost:
        told = ", ".join(map(describe_source, pictures_of(query)))
        raise AllRoutesFailed(
            f"The query's pictures {told} were not read: {lost[0].reason}. Check where "
            f"they lie, or give timeout_s more seconds."
        )
    (read_parts,) = parts
    return tuple(read_parts)


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
    """Return a query's pictures in order, unread.

    Raises:
        InvalidQuery: It is no query, or has other things than texts and pictures.
    """
    if isinstance(query, str):
        return []
    _check_bundle(query)
    first: list[ImageSource] = [query.image_path] if query.image_path else []
    if not isinstance(query, MultiModalQuery):
        return first
    kinds = get_args(ImageSource)
    return [*first, *listed(query.images, "images", *kinds, error=InvalidQuery)]


def _as_text(picture: ImageSource) -> str:
    """Return a picture's path, unread, or its file as a `data:` URI."""
    if isinstance(picture, (str, Path)):
        return str(picture)
    data = image_bytes(_as_file(picture))
    return _DATA + base64.b64encode(data).decode()


def _as_file(picture: ImageSource) -> str | bytes:
    """Return a picture as a path or a file's bytes, which any thread may read at once.

    A PIL image is decoded at its first use and by one thread at a time; and it may be
    of a mode that no file has, or lie on its side.
    """
    if isinstance(picture, Image.Image):
        return image_bytes(load_image(picture))
    check_image(picture)
    return str(picture) if isinstance(picture, (str, Path)) else image_bytes(picture)
