"""What a CLIP-family model must offer, and how it is kept busy.

Texts are sorted by length, so that a batch is only as wide as its longest text. On a
CPU each thread decodes and computes batches of its own; on a GPU threads decode ahead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image

from llama_index_mmrag.embeddings.batches import batches_by_length, cut
from llama_index_mmrag.embeddings.clip_torch import (
    computing,
    lower_precision,
    padded,
    single_threads,
    splits_by_thread,
    to_numpy,
    weights_sha8,
)
from llama_index_mmrag.embeddings.unread import share_of_bytes, share_of_tokens
from llama_index_mmrag.errors import InvalidVector, MmragError
from llama_index_mmrag.nodes.images import ImageSource, load_image
from llama_index_mmrag.vectors import Vectors, has_direction, unit_rows

if TYPE_CHECKING:
    import torch

Source = TypeVar("Source")
Result = TypeVar("Result")

# Smaller batches read all the weights for too little work.
_FEWEST_PICTURES = 4
_FEWEST_TOKENS = 512


class CheckpointUnusable(MmragError, ValueError):
    """A checkpoint is missing, unreadable, or of another kind of model."""


class ClipTowers(ABC):
    """The text tower and the picture tower of one loaded model; thread-safe.

    Vectors need not have unit length. A backend gives tokens, pixels, and what the two
    towers compute of them.

    Args:
        model: The model. Its weights are changed if `dtype` is not float32.
        max_tokens: Most tokens of a text, its start and end marks among them.
        recipe: What decides the vectors beside the weights.
        dtype: Precision of matrix products.
    """

    fill: int = 0
    """What pads the rows of a batch."""
    width: int | None = None
    """How many tokens every batch has; None: as many as its longest text."""
    tokenizer: Any = None
    """One of transformers; None: a byte-pair tokenizer of the model's own."""

    def __init__(
        self,
        model: Any,
        *,
        max_tokens: int,
        recipe: tuple[object, ...],
        dtype: torch.dtype,
    ) -> None:
        self.model = model
        self.max_tokens = max_tokens
        self.device: torch.device = next(model.parameters()).device
        self.splits = splits_by_thread(self.device)
        """Whether several threads may compute at once, each on one CPU."""
        self.sha8 = weights_sha8(model, *recipe)
        """What tells this model's vectors from others': 8 hexadecimal digits."""
        self._dtype = dtype
        lower_precision(model, dtype)
        self.dimension: int = self.text_vectors(self.token_ids(["a"])).shape[1]
        """Length of the vectors of both towers."""

    def text_vectors(self, token_ids: Sequence[Sequence[int]]) -> Vectors:
        """Return one vector for each row of at most `max_tokens`, `(n, dim)`."""
        with computing(self.device, self._dtype):
            ids = padded(
                token_ids, device=self.device, fill=self.fill, width=self.width
            )
            return to_numpy(self._text_features(ids))

    def picture_vectors(self, pixels: Vectors) -> Vectors:
        """Return one vector for each picture: `(n, 3, h, w)` to `(n, dim)`."""
        import torch

        with computing(self.device, self._dtype):
            values = torch.from_numpy(pixels).to(self.device)
            return to_numpy(self._picture_features(values))

    @abstractmethod
    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return each text's tokens with start and end marks, however many."""

    def unread(self, words: str) -> float:
        """Return the share of words that the tokenizer takes apart, in [0, 1]."""
        own = self.tokenizer
        if own is None:
            (marked,) = self.token_ids([words])
            return share_of_bytes(len(marked) - 2, words)
        ids = own(words, add_special_tokens=False, verbose=False)["input_ids"]
        if self._takes_apart_to_bytes:
            return share_of_bytes(len(ids), words)
        # Through their numbers: `tokenize` shows the text of what is unknown.
        return share_of_tokens(own.convert_ids_to_tokens(ids), own.unk_token, whole=1)

    @cached_property
    def _takes_apart_to_bytes(self) -> bool:
        # Whether there is a token for what is unknown says nothing: RoBERTa's has one.
        return "ByteLevel" in repr(getattr(self.tokenizer, "backend_tokenizer", None))

    @abstractmethod
    def pixels(self, picture: Image.Image) -> Vectors:
        """Return an RGB picture as the picture tower takes it, `(3, h, w)`."""

    @abstractmethod
    def _text_features(self, ids: torch.Tensor) -> torch.Tensor: ...

    @abstractmethod
    def _picture_features(self, pixels: torch.Tensor) -> torch.Tensor: ...


def encode_texts(
    towers: ClipTowers, texts: Sequence[str], *, batch_tokens: int, n_threads: int = 1
) -> tuple[Vectors, int]:
    """Return one unit vector for each text, in their order, and how many were cut.

    Texts longer than the model reads lose their end; the end mark stays.

    Args:
        towers: The loaded model.
        texts: Any number of texts, the empty one too.
        batch_tokens: Most tokens of a batch, padding among them.
        n_threads: Threads that compute, each its own batch, where there are several.

    Raises:
        InvalidVector: A vector is not finite, or has no length.
    """
    whole = towers.token_ids(texts)
    most = towers.max_tokens
    rows = [cut(ids, most) for ids in whole]
    vectors = np.empty((len(rows), towers.dimension), dtype=np.float32)

    def fill(batch: list[int]) -> None:
        vectors[batch] = towers.text_vectors([rows[i] for i in batch])

    lengths = [len(ids) for ids in rows]
    even = _even(sum(lengths), batch_tokens, n_threads=n_threads, fewest=_FEWEST_TOKENS)
    batches = batches_by_length(lengths, n_tokens=even)
    if towers.splits and n_threads > 1 and len(batches) > 1:
        with single_threads(min(n_threads, len(batches))) as threads:
            # Consumed, so that an error in a thread is raised here.
            list(threads.map(fill, batches))
    else:
        for batch in batches_by_length(lengths, n_tokens=batch_tokens):
            fill(batch)
    n_cut = sum(len(ids) > most for ids in whole)
    return _unit(vectors, "text"), n_cut


def encode_pictures(
    towers: ClipTowers,
    pictures: Sequence[ImageSource],
    *,
    batch_size: int,
    n_threads: int,
) -> Vectors:
    """Return one unit vector for each picture, `(n, dim)`, in the pictures' order.

    Args:
        towers: The loaded model.
        pictures: What `load_image` reads.
        batch_size: Pictures that the model takes at once.
        n_threads: Threads that decode and compute, each its own batch; on a GPU they
            decode alone, at most two batches ahead of it.

    Raises:
        ImageUnreadable: A picture cannot be read; the first one in order is named.
        InvalidVector: A vector is not finite, or has no length.
    """
    vectors = np.empty((len(pictures), towers.dimension), dtype=np.float32)

    def prepared(source: ImageSource) -> Vectors:
        return towers.pixels(load_image(source))

    def fill(start: int) -> None:
        batch = [prepared(source) for source in pictures[start : start + size]]
        vectors[start : start + len(batch)] = towers.picture_vectors(np.stack(batch))

    n = len(pictures)
    size = _even(n, batch_size, n_threads=n_threads, fewest=_FEWEST_PICTURES)
    if towers.splits and n_threads > 1 and size < n:
        starts = range(0, n, size)
        with single_threads(min(n_threads, len(starts))) as threads:
            list(threads.map(fill, starts))
    else:
        rows = ahead(prepared, pictures, n_threads=n_threads, n_ahead=2 * batch_size)
        for start in range(0, n, batch_size):
            batch = list(islice(rows, batch_size))
            vectors[start : start + len(batch)] = towers.picture_vectors(
                np.stack(batch)
            )
    return _unit(vectors, "picture")


def _even(n: int, most: int, *, n_threads: int, fewest: int) -> int:
    """Return a batch's size, at most `most`, that gives all threads as many batches."""
    n_turns = -(-n // (most * n_threads))
    return min(most, max(-(-n // (n_turns * n_threads)), fewest))


def ahead(
    function: Callable[[Source], Result],
    sources: Sequence[Source],
    *,
    n_threads: int,
    n_ahead: int,
) -> Iterator[Result]:
    """Yield the results in order; at most `n_ahead` wait to be taken."""
    if len(sources) < 2:
        yield from map(function, sources)
        return
    with ThreadPoolExecutor(n_threads, thread_name_prefix="decode") as threads:
        waiting: deque[Future[Result]] = deque()
        try:
            for source in sources:
                waiting.append(threads.submit(function, source))
                if len(waiting) > n_ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # After an error nobody wants the rest.
            threads.shutdown(wait=False, cancel_futures=True)


def _unit(vectors: Vectors, what: str) -> Vectors:
    usable = has_direction(vectors)
    if not usable.all():
        row = int(np.argmin(usable))
        raise InvalidVector(
            f"The model gave {what} {row} of {len(vectors)} a vector that is not "
            f"finite or is all zeros. Use dtype='float32', or another "
            f"checkpoint."
        )
    return unit_rows(vectors)
