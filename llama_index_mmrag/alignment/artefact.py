"""Fitted transforms on disk: arrays as npz, what they are as a JSON card; no pickle."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from llama_index_mmrag.alignment.chain import Chain, Columns, Mix, Truncate
from llama_index_mmrag.alignment.transforms import (
    PCA,
    Center,
    Normalize,
    Perceptron,
    Project,
    Transform,
)
from llama_index_mmrag.checks.arguments import checked, checked_fields
from llama_index_mmrag.errors import InvalidSetting, MmragError
from llama_index_mmrag.files.npz import DAMAGED, Arrays, read_npz, write_npz
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.files.writing import replacing

_FORMAT = "llama-index-mmrag alignment 1"
_UNUSABLE: tuple[type[Exception], ...] = (*DAMAGED, OSError)
_TOLD = ("date", "fitted_on", "text_space", "image_space")
_SIDES = ("query", "text", "image")
_KINDS: Mapping[str, type[Transform]] = {
    kind.kind: kind
    for kind in (
        Center, Chain, Columns, Mix, Normalize, PCA, Perceptron, Project, Truncate
    )
}  # fmt: skip


@checked_fields
@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Transforms of two encoders' vectors into one space, and where they come from.

    Attributes:
        query: What query texts go through; None: the same as documents' texts.
        text: What documents' texts go through.
        image: What pictures go through.
        fitted_on: In words: which data, how many pairs, their licence.
        text_space: Name of the text encoder's space, see `space_of`.
        image_space: Name of the image encoder's space.
        figures: What it reached, by name: recall, settings, seconds.
        date: Day of the fit, ISO 8601; today unless given.
    """

    text: Transform
    image: Transform
    query: Transform | None = None
    fitted_on: str
    text_space: str
    image_space: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    date: str = field(
        default_factory=lambda: datetime.now(timezone.utc).date().isoformat()
    )

    @checked
    def save(self, path: str | Path) -> None:
        """Write `path` (npz) and, beside it, the card with the suffix `.json`.

        Both are written under other names first, the card last: a killed save leaves
        the old pair or a pair that does not load, never a wrong one.

        Raises:
            InvalidSetting: The path does not end in `.npz`.
            OSError: The folder cannot be written.
        """
        npz = _npz(path)
        arrays: Arrays = {}
        sides = {
            side: _described(transform, side, arrays)
            for side in _SIDES
            if (transform := getattr(self, side)) is not None
        }
        card = {
            "format": _FORMAT,
            "package_version": version("llama-index-mmrag"),
            **{name: getattr(self, name) for name in _TOLD},
            "dim": self.text.out_dim(None) or self.image.out_dim(None),
            "sha256": {side: getattr(self, side).sha for side in sides},
            "figures": dict(self.figures),
            "transforms": sides,
        }
        as_json = json.dumps(card, indent=2, ensure_ascii=False) + "\n"
        npz.parent.mkdir(parents=True, exist_ok=True)
        card_file, unfinished = npz.with_suffix(".json"), npz.name + ".card.partial"
        with replacing(card_file, by=unfinished) as file:
            file.write(as_json.encode())
            write_npz(npz, arrays)

    @classmethod
    @checked
    def load(cls, path: str | Path) -> Alignment:
        """Return what `save` wrote, checked against its card.

        Raises:
            FileNotFoundError: The arrays or the card are missing.
            InvalidSetting: Not such a file, or arrays and card do not belong together.
        """
        npz = _npz(path)
        try:
            card = read_json(npz.with_suffix(".json"))
            if card["format"] != _FORMAT:
                raise _unusable(npz, f"its format is {card['format']!r}")
            arrays = read_npz(npz)
            sides = {
                side: _restored(spec, arrays)
                for side, spec in card["transforms"].items()
            }
            shas = {side: transform.sha for side, transform in sides.items()}
            loaded = cls(
                query=sides.get("query"),
                text=sides["text"],
                image=sides["image"],
                figures=card["figures"],
                **{name: card[name] for name in _TOLD},
            )
            expected = card["sha256"]
        except FileNotFoundError:
            raise
        except _UNUSABLE as error:
            if isinstance(error, MmragError) and str(npz) in str(error):
                raise
            raise _unusable(npz, f"{type(error).__name__}: {error}") from error
        if shas != expected:
            raise _unusable(npz, "its arrays are not those that its card describes")
        return loaded

    @checked
    def check_encoders(self, *, text_space: str, image_space: str) -> None:
        """Do nothing if the encoders are those that this was fitted with.

        Raises:
            InvalidSetting: One of them has another space.
        """
        for side, given, expected in (
            ("text", text_space, self.text_space),
            ("image", image_space, self.image_space),
        ):
            if given != expected:
                raise InvalidSetting(
                    f"The {side} encoder's space is {given!r}; this alignment was "
                    f"fitted on {expected!r}. Use that encoder, or fit anew."
                )


def _npz(path: str | Path) -> Path:
    npz = Path(path)
    if npz.suffix != ".npz":
        raise InvalidSetting(
            f"{str(npz)!r} does not end in '.npz'. Give a name such as 'heads.npz'."
        )
    return npz


def _unusable(npz: Path, reason: str) -> InvalidSetting:
    return InvalidSetting(
        f"{str(npz)!r} and its card cannot be used: {reason}. Expected what "
        f"Alignment.save writes, both files unchanged. Fit and save it again."
    )


def _described(value: Any, key: str, arrays: Arrays) -> Any:
    """Return the JSON form of a transform or of one of its fields."""
    if isinstance(value, Transform):
        spec: dict[str, Any] = {"kind": value.kind}
        for one in dataclasses.fields(value):  # type: ignore[arg-type]
            part = getattr(value, one.name)
            spec[one.name] = _described(part, f"{key}.{one.name}", arrays)
        return spec
    if isinstance(value, np.ndarray):
        arrays[key] = value
        return {"array": key, "shape": list(value.shape)}
    if isinstance(value, tuple):
        return [_described(v, f"{key}.{i}", arrays) for i, v in enumerate(value)]
    return value


def _restored(spec: Any, arrays: Arrays) -> Any:
    if isinstance(spec, list):
        return tuple(_restored(part, arrays) for part in spec)
    if not isinstance(spec, dict):
        return spec
    if "array" in spec:
        array = arrays[spec["array"]]
        if list(array.shape) != spec["shape"]:
            raise ValueError(
                f"{spec['array']} has shape {array.shape}, not {spec['shape']}"
            )
        return array
    fields = {
        name: _restored(part, arrays) for name, part in spec.items() if name != "kind"
    }
    return _KINDS[spec["kind"]](**fields)
