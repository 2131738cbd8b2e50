"""A picture side for any text encoder, without training: ConSE over its class names."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.utils import get_cache_dir

from llama_index_mmrag.checks import rows
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.embeddings.conse import centred_classes, conse
from llama_index_mmrag.embeddings.dimension import dimension_of
from llama_index_mmrag.embeddings.offline import ClassifiedPictures
from llama_index_mmrag.embeddings.picture_tower import ImageFeatures, class_wordings
from llama_index_mmrag.embeddings.space import space_of
from llama_index_mmrag.errors import InvalidVector
from llama_index_mmrag.files.npz import DAMAGED, read_npz, write_npz
from llama_index_mmrag.vectors import Vectors, has_direction, unit_rows

_log = logging.getLogger(__name__)

_ENCODING_CLASSES = Lock()  # of the module, so that encoders can be pickled

_SAME = 0.999
"""Least cosine of a text's vectors by one encoder, which batches may move a little."""

_UNREADABLE: tuple[type[Exception], ...] = (OSError, *DAMAGED)


class _Classes(NamedTuple):
    """What an encoder makes of the classifier's 1,000 classes."""

    centred: Vectors
    """One vector each, each wording and their sum centred, `(1000, dim)`."""
    text_mean: Vectors
    """Their mean, `(dim,)`."""
    query_mean: Vectors
    """Mean of the names, encoded as queries, `(dim,)`."""
    probe: Vectors
    """The first name as a text and as a query, `(2, dim)`."""


class ConseEmbedding(ClassifiedPictures):
    """Texts by any text encoder, and pictures in the same space, without training.

    The classifier of the offline encoder says what a picture looks like; the text
    encoder says what the names of these 1,000 things mean (ConSE). So pictures are
    found in every language that the text encoder reads, by the objects they show; as
    with the offline encoder, text in pictures, counts, relations and people are not
    recognised. Where a CLIP of that language can be had, use it.

    Vectors have length 1. All are centred, texts and pictures by the mean of the
    classes, queries by that of their names as queries: encoders whose cosines lie in
    a narrow band, as E5's do, tell things apart much better so. Texts are not those of
    the text encoder alone, and a collection that it filled is not to be searched.

    At the first use the encoder encodes 3,000 short texts and 1,000 queries. What comes
    of it is kept in LlamaIndex's cache folder (`LLAMA_INDEX_CACHE_DIR`), 1.5 MB for an
    encoder of 384 numbers, under the name of the encoder's space; the first class is
    encoded again at each start, to see that the encoder is the same.

    Args:
        text_encoder: Any LlamaIndex embedding.

    Example:
        >>> from llama_index_mmrag.embeddings import OfflineTextEmbedding
        >>> ConseEmbedding(OfflineTextEmbedding()).dimension
        384
    """

    model_name: str = "conse+efficientnet-lite0"
    embed_batch_size: int = Field(default=64, gt=0, le=2048)
    text_encoder: BaseEmbedding
    _classes: _Classes | None = PrivateAttr(default=None)

    def __init__(self, text_encoder: BaseEmbedding, **kwargs: object) -> None:
        super().__init__(text_encoder=text_encoder, **kwargs)

    @classmethod
    def class_name(cls) -> str:
        """Return the name that `to_dict` writes."""
        return "ConseEmbedding"

    @property
    def dimension(self) -> int:
        """Length of the vectors; encodes one word if the encoder does not say it."""
        return dimension_of(self.text_encoder)

    @property
    def space_id(self) -> str:
        """Name of the vector space: vectors of different spaces must not be compared.

        A hash of the encoder's space; of encoders of others no more is known than their
        model's name.
        """
        card = space_of(self.text_encoder).encode()
        return f"conse-v2:{hashlib.sha256(card).hexdigest()[:16]}"

    @checked
    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector for each text, `(n, dim)`, in the texts' order.

        Raises:
            InvalidVector: A vector is not finite or all zeros, or of another length.
        """
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        return unit_rows(self._texts(texts) - self._encoded().text_mean)

    def _get_query_embedding(self, query: str) -> Embedding:
        centred = self._queries([query]) - self._encoded().query_mean
        vector: Embedding = unit_rows(centred)[0].tolist()
        return vector

    def _placed(self, seen: ImageFeatures) -> Vectors:
        return conse(seen.logits, self._encoded().centred)

    def _texts(self, texts: Sequence[str]) -> Vectors:
        return _unit(self.text_encoder.get_text_embedding_batch(list(texts)), "texts")

    def _queries(self, texts: Sequence[str]) -> Vectors:
        vectors = [self.text_encoder.get_query_embedding(text) for text in texts]
        return _unit(vectors, "queries")

    def _encoded(self) -> _Classes:
        with _ENCODING_CLASSES:  # two threads at their first call must not both do it
            if self._classes is None:
                self._classes = self._kept() or self._new()
            return self._classes

    def _new(self) -> _Classes:
        _log.info("%s encodes 3,000 texts, once.", self.text_encoder.class_name())
        names = class_wordings()
        wordings = [self._texts(wording) for wording in names]
        _, mean = centred_classes(*wordings)
        # "A photo of a" is a direction of its own, which all classes share.
        centred, _ = centred_classes(*(w - w.mean(axis=0) for w in wordings))
        queries = self._queries(names.names).mean(axis=0)
        classes = _Classes(centred, mean, queries, self._probe())
        try:
            write_npz(self._place(), classes._asdict())
        except OSError as error:
            _log.warning("The encoded class names are not kept: %s", error)
        return classes

    def _kept(self) -> _Classes | None:
        """Return what was encoded before; None: nothing, or by another encoder."""
        try:
            classes = _Classes(**read_npz(self._place()))
            cosines = (classes.probe * self._probe()).sum(axis=1)
        except FileNotFoundError:
            return None
        except _UNREADABLE as error:
            _log.warning("The encoded class names cannot be read again: %s", error)
            return None
        return classes if cosines.min() > _SAME else None

    def _probe(self) -> Vectors:
        first = class_wordings().names[:1]
        return np.concatenate([self._texts(first), self._queries(first)])

    def _place(self) -> Path:
        # The version in it is that of the classes' wordings, too.
        name = self.space_id.replace(":", "-")
        return Path(get_cache_dir()) / "mmrag" / f"{name}.npz"


def _unit(vectors: list[Embedding], what: str) -> Vectors:
    array = rows(vectors, f"The vectors of {what}")
    if not has_direction(array).all():
        raise InvalidVector(
            f"The vectors of {what} have one that is all zeros; expected a direction. "
            f"Check the encoder's output."
        )
    return unit_rows(array)
