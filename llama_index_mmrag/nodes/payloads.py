"""Points that LlamaIndex did not write: which fields of a payload make a node."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from llama_index.core.schema import BaseNode, ImageNode, TextNode

from llama_index_mmrag.checks import instance
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.nodes.node import MODALITY_KEY

Payload: TypeAlias = Mapping[str, Any]

WRITTEN_KEY = "_node_content"
"""LlamaIndex's payload field: a point that has it is read as LlamaIndex wrote it."""

_FIELDS = {
    "image_path_key": "image_path",
    "image_url_key": "image_url",
    "image_base64_key": "image",
}
"""By the key of a picture: the field of an `ImageNode` that its value is."""

_LISTED = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadKeys:
    """Which fields of a payload hold what a point shows; None: none does.

    "a.b" reaches into objects.

    Attributes:
        text_key: Its text, or its picture's caption, which may be missing.
        image_path_key: The path of its picture.
        image_url_key: The URL of its picture, which is kept and never fetched.
        image_base64_key: Its picture's file in base64, or a `data:` URI of it.
        image_root: Folder that relative paths stand below, and that they cannot leave;
            without it they stand below the working directory.
    """

    text_key: str | None = None
    image_path_key: str | None = None
    image_url_key: str | None = None
    image_base64_key: str | None = None
    image_root: str | Path | None = None

    def given(self) -> dict[str, Any]:
        """Return those that are not None, by their names."""
        named = {f.name: getattr(self, f.name) for f in fields(PayloadKeys)}
        return {name: value for name, value in named.items() if value is not None}

    def of_pictures(self) -> dict[str, str]:
        """Return the keys of a picture that are given, by their names."""
        return {name: key for name, key in self.given().items() if name in _FIELDS}


class Unread(TextNode):
    """A point without what its channel shows; its metadata say what it lacks."""

    @classmethod
    def lacking(cls, point_id: str, what: str) -> Unread:
        """Return the node of a point that lacks `what`."""
        return cls(id_=point_id, metadata={"lacks": what})


def checked_keys(given: PayloadKeys, of: str, modality: str) -> PayloadKeys | None:
    """Return the keys that a channel was given, alone; None if there are none.

    Args:
        given: What has them.
        of: What the channel is called.
        modality: Of the channel.

    Raises:
        InvalidSetting: One is no text, or empty; a channel of texts has one of a
            picture; or the root is no folder, or has no paths to stand below it.
    """
    named = given.given()
    root = named.pop("image_root", None)
    for name, key in named.items():
        if not instance(key, f"{of}: {name}", str):
            raise InvalidSetting(
                f"{of}: {name} is empty; expected a field of the payload. Leave it out "
                f"if there is none."
            )
    if modality == "text" and (pictures := given.of_pictures()):
        raise InvalidSetting(
            f"{of} is one of texts, and has {next(iter(pictures))}. Give it to a "
            f"channel with modality='image'."
        )
    if root is not None:
        folder = Path(instance(root, f"{of}: image_root", str, Path))
        if "image_path_key" not in named or not folder.is_dir():
            raise InvalidSetting(
                f"{of}: image_root is {str(root)!r}; expected a folder that is there, "
                f"beside image_path_key=, whose relative paths stand below it."
            )
        named["image_root"] = os.path.abspath(folder)
    return PayloadKeys(**named) if named else None


def check_found(
    keys: PayloadKeys, payloads: Sequence[Payload], *, pictures: bool, of: str
) -> None:
    """Do nothing if each key is in one of the payloads; none is none to be looked at.

    Raises:
        CollectionMismatch: A key is in none, or nothing says where pictures are.
    """
    if not payloads:
        return
    names = sorted({name for payload in payloads for name in _names(payload)})
    has = f"they have {names[:_LISTED]}"
    if pictures and not keys.of_pictures():
        raise CollectionMismatch(
            f"{of} has points that LlamaIndex did not write, and nothing says where "
            f"their pictures are; {has}. Name one of these as image_path_key=, "
            f"image_url_key= or image_base64_key=."
        )
    for name, key in keys.given().items():
        if name == "image_root" or any(value_at(p, key) is not None for p in payloads):
            continue
        raise CollectionMismatch(
            f"{of} has no {key!r}, its {name}, in any of the {len(payloads)} points "
            f"that were looked at; {has}. Give {name}= one of these."
        )


def node_of(
    keys: PayloadKeys, point_id: str, payload: Payload, *, pictures: bool
) -> BaseNode:
    """Return the node that a point is, without its vector.

    Metadata are the payload without its text and without base64; a `modality` of the
    payload's own is called `original_modality`.

    Args:
        keys: What holds text and picture.
        point_id: The point's id, as text.
        payload: The point's.
        pictures: Whether it is to be an `ImageNode`; else it is a `TextNode`.

    Example:
        >>> keys = PayloadKeys(text_key="page.content")
        >>> node_of(keys, "7", {"page": {"content": "A kite."}}, pictures=False).text
        'A kite.'
    """
    metadata = payload
    for key in (keys.text_key, keys.image_base64_key):
        metadata = _without(metadata, key) if key else metadata
    metadata = {name: value for name, value in metadata.items() if value is not None}
    if MODALITY_KEY in metadata:
        metadata[f"original_{MODALITY_KEY}"] = metadata.pop(MODALITY_KEY)
    text = _text(value_at(payload, keys.text_key)) if keys.text_key else ""
    if not pictures:
        if not text.strip():
            return Unread.lacking(point_id, f"a text under {keys.text_key!r}")
        return TextNode(id_=point_id, text=text, metadata=metadata)
    shown = _picture(keys, payload)
    if isinstance(shown, str):
        return Unread.lacking(point_id, shown)
    return ImageNode(id_=point_id, text=text, metadata=metadata, **shown)


def with_picture(keys: PayloadKeys, node: BaseNode, payload: Payload) -> BaseNode:
    """Return a text node that LlamaIndex wrote with the picture its payload names.

    Image nodes stay as they are, and so does a node of whose picture nothing is said.
    """
    if isinstance(node, ImageNode) or not isinstance(node, TextNode):
        return node
    shown = _picture(keys, payload)
    return node if isinstance(shown, str) else ImageNode(**{**dict(node), **shown})


def value_at(data: Mapping[str, Any], key: str) -> Any:
    """Return what is under a key, which may lead into objects; None if nothing is.

    >>> value_at({"file": {"name": "kite.png"}}, "file.name")
    'kite.png'
    """
    if (found := data.get(key)) is not None or "." not in key:
        return found
    first, _, rest = key.partition(".")
    inner = data.get(first)
    return value_at(inner, rest) if isinstance(inner, Mapping) else None


def _without(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    if key in data:
        return {name: value for name, value in data.items() if name != key}
    first, _, rest = key.partition(".")
    inner = data.get(first)
    if not rest or not isinstance(inner, Mapping):
        return data
    return {**data, first: _without(inner, rest)}


def _text(value: object) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number or isinstance(value, str) else ""


def _picture(keys: PayloadKeys, payload: Payload) -> dict[str, str] | str:
    """Return the fields of an image node, or what the point lacks to be one."""
    named = keys.of_pictures()
    shown: dict[str, str] = {}
    left = ""
    for name, key in named.items():
        value = value_at(payload, key)
        if not isinstance(value, str) or not value.strip():
            continue
        if name == "image_path_key":
            root = str(keys.image_root or "")
            path = os.path.abspath(os.path.join(root, value))
            if (
                root
                and not os.path.isabs(value)
                and not path.startswith(os.path.join(root, ""))
            ):
                left = f"a path under {key!r} that stays in image_root"
                continue
            value = path
        shown[_FIELDS[name]] = value
    return shown or left or f"a picture under {' or '.join(map(repr, named.values()))}"


def _names(payload: Payload, above: str = "") -> Iterator[str]:
    for name, value in payload.items():
        yield above + name
        if isinstance(value, Mapping):
            yield from _names(value, f"{above}{name}.")
