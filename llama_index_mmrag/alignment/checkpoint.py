"""The state of a training between two epochs, as npz without pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llama_index_mmrag.alignment.heads import Head, of_side
from llama_index_mmrag.alignment.pairs import Pairs
from llama_index_mmrag.alignment.settings import Epoch, TrainSettings
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.files.npz import DAMAGED, Arrays, read_npz, write_npz
from llama_index_mmrag.files.reading import parsed_json

_SIDES = ("weights", "moments", "best")


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Everything that the next epoch depends on: dropout and order follow its number.

    Attributes:
        weights: What is learned, by name.
        moments: AdamW's state, by the name of the weight and of the moment.
        best: The weights of the best epoch so far.
        best_epoch: Its number.
        history: The epochs so far, with epoch 0.
        n_steps: Optimiser steps so far.
    """

    weights: Arrays
    moments: Arrays
    best: Arrays
    best_epoch: int
    history: tuple[Epoch, ...]
    n_steps: int


def fingerprint(
    pairs: Sequence[Pairs], heads: Sequence[Head], dim: int, settings: TrainSettings
) -> str:
    """Return the SHA-256 of all that decides a training's outcome."""
    digest = hashlib.sha256()
    plain = [dim, dataclasses.asdict(settings), *map(dataclasses.asdict, heads)]
    digest.update(json.dumps(plain, default=float).encode())
    for part in pairs:
        for array in (part.texts, part.images, part.groups):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write_checkpoint(path: Path, state: State, of: str) -> None:
    """Write the state; a kill at any moment leaves the old file or the new one."""
    arrays: dict[str, Any] = {
        f"{side}/{name}": array
        for side in _SIDES
        for name, array in getattr(state, side).items()
    }
    card = {
        "fingerprint": of,
        "best_epoch": state.best_epoch,
        "n_steps": state.n_steps,
        "history": [dataclasses.asdict(epoch) for epoch in state.history],
    }
    write_npz(path, arrays | {"card": np.array(json.dumps(card))})


def read_checkpoint(path: Path, of: str) -> State | None:
    """Return the state that was written for the same training; None without a file.

    Raises:
        InvalidSetting: The file is of another training, or it is damaged.
    """
    try:
        arrays = read_npz(path)
        card = parsed_json(str(arrays.pop("card")))
        history = tuple(Epoch(**epoch) for epoch in card["history"])
    except FileNotFoundError:
        return None
    except DAMAGED as error:
        raise InvalidSetting(
            f"The checkpoint {str(path)!r} cannot be read: {error}. Expected what "
            f"training wrote; delete it to start over."
        ) from error
    if card["fingerprint"] != of:
        raise InvalidSetting(
            f"The checkpoint {str(path)!r} is of a training with other pairs, heads or "
            f"settings; expected the same. Give another path, or delete it to start "
            f"over."
        )
    return State(
        **{side: of_side(arrays, side, "/") for side in _SIDES},
        best_epoch=card["best_epoch"],
        history=history,
        n_steps=card["n_steps"],
    )
