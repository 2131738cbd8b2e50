"""The state of a fine-tuning between two steps: safetensors with a card, no pickle."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from llama_index_mmrag.alignment.finetuning.report import FinetuneEpoch
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.files.reading import check_regular, parsed_json
from llama_index_mmrag.files.writing import sync_folder

if TYPE_CHECKING:
    from torch import Tensor

Tensors: TypeAlias = "dict[str, Tensor]"

_FORMAT = "llama-index-mmrag fine-tuning 1"
_SIDES = ("weights", "moments", "best")


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """All that the next step depends on: order and dropout follow its number.

    Attributes:
        weights: What learns, by name.
        moments: AdamW's state, by the name of the weight and of the moment.
        best: The weights of the best epoch so far.
        best_epoch: Its number.
        history: The epochs so far, with epoch 0.
        n_steps: Steps so far; within an epoch too.
        sums: Each task's loss in the steps of the epoch under way, times their pairs.
        scaler: State of float16's gradient scaling; empty without.
    """

    weights: Tensors
    moments: Tensors
    best: Tensors
    best_epoch: int
    history: tuple[FinetuneEpoch, ...]
    n_steps: int
    sums: dict[str, float] = field(default_factory=dict)
    scaler: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Origin:
    """What decides a fine-tuning's outcome, and so what a checkpoint belongs to."""

    model: str
    """The base model's weights, by the space of its vectors."""
    pairs: str
    """SHA-256 of the pairs, those that judge among them."""
    settings: dict[str, Any]
    """`FinetuneSettings`, as JSON holds them."""

    def difference(self, other: dict[str, Any]) -> str:
        """Return in words what differs from a card's origin; nothing: empty."""
        for part, named in {"model": "another model", "pairs": "other pairs"}.items():
            mine, theirs = getattr(self, part), other.get(part)
            if mine != theirs:
                return f"{named} ({theirs!r}, not {mine!r})"
        theirs = other.get("settings", {})
        changed = [
            f"{name}={theirs.get(name)!r}, not {value!r}"
            for name, value in self.settings.items()
            if theirs.get(name) != value
        ]
        return f"other settings ({'; '.join(changed)})" if changed else ""


def read_tensors(path: Path) -> tuple[dict[str, Any], Tensors]:
    """Return the card and the tensors of a file, by name.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no such file, or has no card.
    """
    from safetensors import SafetensorError, safe_open

    check_regular(path)
    try:
        with safe_open(path, framework="pt") as file:
            card = parsed_json((file.metadata() or {})["card"])
            names = file.keys()
            return card, {name: file.get_tensor(name) for name in names}
    except (KeyError, SafetensorError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def write_checkpoint(path: Path, state: State, origin: Origin) -> None:
    """Write the state; a kill at any moment leaves the old file or the new one.

    Raises:
        OSError: The file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # The best weights are often the last ones: written once.
    sides = _SIDES[:2] if state.best is state.weights else _SIDES
    tensors = {
        f"{side}/{name}": tensor
        for side in sides
        for name, tensor in getattr(state, side).items()
    }
    card = {
        "format": _FORMAT,
        "origin": dataclasses.asdict(origin),
        "best_epoch": state.best_epoch,
        "n_steps": state.n_steps,
        "sums": state.sums,
        "scaler": state.scaler,
        "history": [dataclasses.asdict(epoch) for epoch in state.history],
    }
    partial = path.with_name(path.name + ".partial")
    try:
        save_file(tensors, partial, metadata={"card": json.dumps(card)})
    except SafetensorError as error:  # a full disk, for example
        raise OSError(
            f"Cannot write the checkpoint {str(partial)!r}: {error}"
        ) from error
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


def read_checkpoint(path: Path, origin: Origin, like: Tensors) -> State | None:
    """Return the state that was written for the same fine-tuning; None without a file.

    Args:
        path: The file.
        origin: Of the fine-tuning that wants to go on.
        like: Its weights by name: what must be in the file, with these shapes.

    Raises:
        InvalidSetting: The file is of another fine-tuning, or it is damaged.
    """
    if not path.exists():
        return None
    sides: dict[str, Tensors] = {side: {} for side in _SIDES}
    try:
        card, tensors = read_tensors(path)
        for key, tensor in tensors.items():
            side, _, name = key.partition("/")
            sides[side][name] = tensor
        if card["format"] != _FORMAT:
            raise _unusable(path, f"its format is {card['format']!r}")
        difference = origin.difference(card["origin"])
        if difference:
            raise _unusable(path, f"it is of a fine-tuning with {difference}")
        history = tuple(FinetuneEpoch(**epoch) for epoch in card["history"])
        sides["best"] = sides["best"] or sides["weights"]
        state = State(
            **sides,
            best_epoch=card["best_epoch"],
            history=history,
            n_steps=card["n_steps"],
            sums=card["sums"],
            scaler=card["scaler"],
        )
    except InvalidSetting:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        reason = f"it cannot be read ({type(error).__name__}: {error})"
        raise _unusable(path, reason) from error
    shapes = {name: tuple(weight.shape) for name, weight in like.items()}
    for part in (state.weights, state.best):
        if {name: tuple(weight.shape) for name, weight in part.items()} != shapes:
            raise _unusable(path, "its weights have other names or shapes")
    return state


def _unusable(path: Path, reason: str) -> InvalidSetting:
    return InvalidSetting(
        f"The checkpoint {str(path)!r} cannot be gone on from: {reason}. Expected one "
        f"of this model, these pairs and these settings. Give another folder, or "
        f"delete the file to start over."
    )
