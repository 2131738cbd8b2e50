"""The vectors of one query: each part is encoded once for each encoder."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError, Future
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.embeddings import MultiModalEmbedding

from llama_index_mmrag.concurrency.jobs import AskerAtFault, Unrepeatable, still_busy
from llama_index_mmrag.concurrency.threads import working_for
from llama_index_mmrag.concurrency.turns import ENCODING, MOST_OF_AN_ENCODER, in_turn
from llama_index_mmrag.embeddings.encoder import computes_here
from llama_index_mmrag.embeddings.unread import warn_of_unread
from llama_index_mmrag.errors import ImageUnreadable, InvalidQuery, InvalidSetting
from llama_index_mmrag.retrieval.query import QueryPart


@dataclass(slots=True)
class Encodings:
    """Vectors by part and encoder, made at first use by whoever is first."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _vectors: dict[tuple[int, str], Future[list[float]]] = field(default_factory=dict)

    def of(
        self, part: QueryPart, embed_model: BaseEmbedding, *, is_here: bool = False
    ) -> list[float]:
        """Return the part's vector; a second caller waits for the first one's.

        A thread that is left behind meanwhile is the encoder's and not the store's,
        unless the encoder computes here: `is_here` spares the question.
        """
        hangs = not (is_here or computes_here(embed_model))
        with working_for(embed_model) if hangs else nullcontext():
            while True:
                future, is_first = self._claimed(part, embed_model)
                if is_first:
                    _fill(future, part, embed_model, hangs)
                with suppress(CancelledError):  # whoever was to fill it will not
                    return future.result()

    async def aof(self, part: QueryPart, embed_model: BaseEmbedding) -> list[float]:
        """Return what `of` does; only the first caller takes a thread."""
        while True:
            future, is_first = self._claimed(part, embed_model)
            if is_first:
                await self._filled(future, part, embed_model)
                return future.result()
            waiting = asyncio.wrap_future(future)
            # Waited for beside, since to cancel it would cancel it for all; and looked
            # at, since an error that nobody asks for is a warning.
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.wait({waiting})
            if not waiting.cancelled():
                return waiting.result()

    async def _filled(
        self, future: Future[list[float]], part: QueryPart, embed_model: BaseEmbedding
    ) -> None:
        lane = ENCODING if computes_here(embed_model) else None
        fill = partial(_fill, future, part, embed_model, lane is None)
        try:
            with working_for(None):  # its lane's threads are all that it can hold
                await in_turn(fill, embed_model, lane=lane, most=MOST_OF_AN_ENCODER)
        except BaseException:
            with self._lock:
                if future.cancel():  # it had no turn: the next caller is the first
                    del self._vectors[id(embed_model), part.name]
            raise

    def _claimed(
        self, part: QueryPart, embed_model: BaseEmbedding
    ) -> tuple[Future[list[float]], bool]:
        key = (id(embed_model), part.name)
        with self._lock:
            if known := self._vectors.get(key):
                return known, False
            future = self._vectors[key] = Future()
        return future, True


def encode(part: QueryPart, embed_model: BaseEmbedding) -> list[float]:
    """Return the part's vector, shape (dim,), in the encoder's query space."""
    if part.parts:
        raise InvalidSetting(
            f"The query part {part.name!r} is of several, and no encoder takes "
            f"that. Give the channel a composition, such as Blend(0.5)."
        )
    if part.image is None and len(part.texts) == 1:
        return embed_model.get_query_embedding(part.texts[0])
    if part.image is None:
        # LlamaIndex's own rule: several strings (HyDE) are averaged.
        return embed_model.get_agg_embedding_from_queries(list(part.texts))
    if not isinstance(embed_model, MultiModalEmbedding):
        raise InvalidSetting(
            f"{embed_model.class_name()} cannot encode a picture; expected a "
            f"MultiModalEmbedding. Give the channel one, or accepts={{'text'}}."
        )
    # A stream of its own for each encoder, which may read it to its end.
    picture = part.image if isinstance(part.image, str) else BytesIO(part.image)
    return embed_model.get_image_embedding(picture)


def _fill(
    future: Future[list[float]],
    part: QueryPart,
    embed_model: BaseEmbedding,
    hangs: bool,
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        who = f"{type(embed_model).__name__} is"
        if hangs and (busy := still_busy(embed_model, who)):
            raise busy  # noqa: TRY301 - kept as any other error is
        future.set_result(encode(part, embed_model))
        if not all(map(str.isascii, part.texts)):
            warn_of_unread(embed_model, part.texts)
    except (ImageUnreadable, InvalidQuery) as error:
        future.set_exception(Unrepeatable(AskerAtFault(error)))
    except BaseException as error:  # noqa: BLE001 - handed to whoever waits
        # Kept like a vector, so that a second attempt would only wait and fail again.
        is_failure = isinstance(error, Exception)
        future.set_exception(Unrepeatable(error) if is_failure else error)
