"""Pairs of pictures and texts as vectors: each picture and each text encoded once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from llama_index.core.embeddings import MultiModalEmbedding
from numpy.typing import NDArray
from tqdm.auto import tqdm

from llama_index_mmrag.alignment.pair_files import PairProblem, PairsRead
from llama_index_mmrag.alignment.pairs import Groups, Pairs
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.embeddings.space import space_of
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting, InvalidVector
from llama_index_mmrag.files.npz import DAMAGED, Arrays, read_npz, write_npz
from llama_index_mmrag.vectors import Vectors, has_direction

_AT_ONCE = 256
_SAVED_EVERY_S = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class EncodedPairs:
    """Row i of each array belongs to pair i."""

    texts: Vectors
    """Shape `(n, dt)`."""
    images: Vectors
    """Shape `(n, di)`; a picture with two texts is there twice."""
    groups: Groups
    """Which thing each pair is about, `(n,)`."""
    pictures: Groups
    """Which picture each pair has, `(n,)`."""
    problems: tuple[PairProblem, ...] = ()
    """Pairs whose picture or text has no vector; they are left out."""

    @property
    def pairs(self) -> Pairs:
        """The pairs as heads are fitted on."""
        return Pairs.of(self.texts, self.images, self.groups)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.texts)

    @checked
    def where(self, rows: NDArray[np.bool_]) -> EncodedPairs:
        """Return the pairs of some rows."""
        return EncodedPairs(
            self.texts[rows], self.images[rows], self.groups[rows], self.pictures[rows]
        )


@checked
def encode_pairs(
    read: PairsRead,
    encoder: MultiModalEmbedding,
    *,
    kept: str | Path | None = None,
    show_progress: bool = False,
) -> EncodedPairs:
    """Return the vectors of pairs, in their order.

    A picture that cannot be decoded after all, or a vector that has no direction, costs
    its pairs only: they are reported in `problems`.

    Args:
        read: What `read_pairs` returned.
        encoder: Of both sides; their lengths may differ.
        kept: An `.npz` file that vectors are kept in, each minute and at the end. What
            it holds of this encoder is not encoded again, so that an interrupted run
            goes on, and a file of pairs that grew costs what is new.
        show_progress: Show progress bars.

    Raises:
        InvalidSetting: `kept` is a file of something else.
        InvalidVector: No pair has both vectors, or vectors of one side differ in
            length.
    """
    keeper = _Keeper(None if kept is None else Path(kept), space_of(encoder))
    paths = {_picture_key(pair.image): pair.image for pair in read.pairs}
    texts = {_key(pair.text): pair.text for pair in read.pairs}
    picture_of = {path: key for key, path in paths.items()}
    reasons: dict[str, str] = {}

    def pictures_of(some: Sequence[str]) -> list[Any]:
        return encoder.get_image_embedding_batch(list(some))

    try:
        for name, inputs, encode in (
            ("texts", texts, encoder.get_text_embedding_batch),
            ("pictures", paths, pictures_of),
        ):
            missing = [key for key in inputs if key not in keeper.rows[name]]
            with tqdm(
                total=len(missing), desc=f"Encoding {name}", disable=not show_progress
            ) as bar:
                for start in range(0, len(missing), _AT_ONCE):
                    keys = missing[start : start + _AT_ONCE]
                    given = [inputs[key] for key in keys]
                    for key, row in zip(keys, _encoded(given, encode), strict=True):
                        keeper.take(name, key, row, reasons)
                    bar.update(len(keys))
                    if time.monotonic() - keeper.saved_at > _SAVED_EVERY_S:
                        keeper.save()
    finally:
        keeper.save()
    return _rows_of(read, keeper.rows, picture_of, reasons)


def _encoded(given: list[str], encode: Callable[[list[str]], list[Any]]) -> list[Any]:
    """Return a vector for each input, or the error that it has instead."""
    try:
        rows = encode(given)
    except (ImageUnreadable, InvalidVector) as error:
        if len(given) == 1:
            return [error]
        return [_encoded([one], encode)[0] for one in given]
    if len(rows) != len(given):
        raise InvalidVector(
            f"The encoder made {len(rows)} vectors of {len(given)} inputs; expected "
            f"one each. Check its batching."
        )
    return list(rows)


def _rows_of(
    read: PairsRead,
    rows: dict[str, Arrays],
    picture_of: dict[str, str],
    reasons: dict[str, str],
) -> EncodedPairs:
    texts, images, pictures, chosen, problems = [], [], [], [], []
    numbers: dict[str, int] = {}
    for position, pair in enumerate(read.pairs):
        text, picture = _key(pair.text), picture_of[pair.image]
        reason = reasons.get(picture) or reasons.get(text)
        if reason:
            problems.append(PairProblem(pair.line, pair.image, reason))
            continue
        texts.append(rows["texts"][text])
        images.append(rows["pictures"][picture])
        pictures.append(numbers.setdefault(pair.image, len(numbers)))
        chosen.append(position)
    if not chosen:
        raise InvalidVector(
            f"None of {len(read.pairs)} pairs has a vector on both sides; the first: "
            f"{problems[0].source!r}: {problems[0].reason} Look at the pictures and "
            f"at the encoder."
        )
    return EncodedPairs(
        _stacked(texts, "texts"),
        _stacked(images, "pictures"),
        read.groups()[chosen],
        np.array(pictures, dtype=np.int64),
        tuple(problems),
    )


def _stacked(rows: list[Vectors], name: str) -> Vectors:
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise InvalidVector(
            f"The encoder's vectors of {name} have the lengths {lengths!r}; expected "
            f"one. Look at its settings."
        )
    return np.stack(rows)


class _Keeper:
    """Vectors by the key of what they are of, in memory and, if asked for, on disk."""

    def __init__(self, path: Path | None, space: str) -> None:
        self._path, self._space = path, space
        self._is_saved, self.saved_at = True, time.monotonic()
        self.rows: dict[str, Arrays] = {"texts": {}, "pictures": {}}
        if path is not None and path.exists():
            self._read(path)

    def take(self, name: str, key: str, row: Any, reasons: dict[str, str]) -> None:
        """Keep a vector, or the reason why there is none."""
        if isinstance(row, (ImageUnreadable, InvalidVector)):
            reasons[key] = str(row)
            return
        vector = np.asarray(row, dtype=np.float32)
        if not has_direction(vector[None])[0]:
            reasons[key] = (
                "The encoder gave a vector without a direction: all zeros, NaN or "
                "infinite. Look at what it says about this input."
            )
            return
        self.rows[name][key] = vector
        self._is_saved = False

    def save(self) -> None:
        if self._path is None or self._is_saved:
            return
        arrays: dict[str, Any] = {"space": np.array(self._space)}
        for name, rows in self.rows.items():
            if rows:
                arrays[f"{name}/keys"] = np.array(list(rows))
                arrays[name] = _stacked(list(rows.values()), name)
        write_npz(self._path, arrays)
        self._is_saved, self.saved_at = True, time.monotonic()

    def _read(self, path: Path) -> None:
        try:
            arrays = read_npz(path)
            space = str(arrays.pop("space"))
        except DAMAGED as error:
            raise InvalidSetting(
                f"{str(path)!r} cannot be read as vectors that were kept: {error}. "
                f"Expected what encoding pairs wrote; delete it to encode again."
            ) from error
        if space != self._space:
            return  # of another encoder: written over
        for name, rows in self.rows.items():
            if name in arrays:
                keys = arrays[f"{name}/keys"].tolist()
                rows.update(zip(keys, arrays[name], strict=True))


def _picture_key(path: str) -> str:
    # A picture that was replaced under its name is another one.
    known = Path(path).stat()
    return _key(f"{path}\0{known.st_size}\0{known.st_mtime_ns}")


def _key(content: str) -> str:
    return hashlib.sha256(content.encode(errors="surrogateescape")).hexdigest()
