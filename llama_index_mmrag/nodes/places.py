"""Places: paths as they are stored, relative to a root, and as they are used here.

A root is a folder with a name. Of what lies below it only the name and the path below
it are stored, so that an index travels: where the folder lies is this machine's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from unicodedata import normalize

from llama_index.core.schema import BaseNode, ImageNode, NodeWithScore

from llama_index_mmrag.checks import instance, listed
from llama_index_mmrag.nodes.node import FILE_PATH_KEY, IMAGE_FILE_KEY, ROOT_KEY

Places: TypeAlias = Mapping[str, str]
"""Where roots lie: by name, an absolute POSIX path that does not end in "/"."""

ROOT_NAME = re.compile(
    r"(?!\.{1,2}\Z)(?=.*\S)[^/\\:\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]{1,200}"
)
"""What a root can be called: no separator, colon, control character, half a character
or end of a line; neither "." nor "..", and not blank."""

N = TypeVar("N", bound="BaseNode | NodeWithScore")


def places_of(roots: Mapping[str, str | Path]) -> dict[str, str]:
    """Return where roots lie, of their folders by name."""
    return {
        name: Path(folder).absolute().as_posix().rstrip("/")
        for name, folder in roots.items()
    }


def named(path: str, places: Places) -> str | None:
    """Return "NAME/path/below/it" of an absolute path below a root; None of others.

    Example:
        >>> named("/mnt/docs/pix/b.png", {"docs": "/mnt/docs"})
        'docs/pix/b.png'
    """
    inside = [
        (len(place), name)
        for name, place in list(places.items())  # another thread may learn of a root
        if path.startswith(f"{place}/")
    ]
    if not inside:
        return None
    length, name = max(inside)
    return f"{name}/{normalize('NFC', path[length + 1 :])}"


def named_all(paths: Iterable[str], places: Places) -> list[str | None]:
    """Return what `named` does, of several paths."""
    return [named(path, places) for path in paths]


def here(place: str, below: str) -> str:
    """Return the absolute path of what lies below a root, as the disk spells it.

    Stored names are composed (NFC); those of a folder from a Mac are not.
    """
    path = f"{place}/{below}"
    if not below.isascii():
        path = place
        for part in below.split("/"):
            path = _spelled(path, part)
    return os.path.normpath(path) if ".." in below else path


def _spelled(folder: str, name: str) -> str:
    path = f"{folder}/{name}"
    if name.isascii() or os.path.lexists(path):
        return path
    with suppress(OSError):
        for found in os.listdir(folder):
            if normalize("NFC", found) == name:
                return f"{folder}/{found}"
    return path


def stored_metadata(metadata: Mapping[str, Any], places: Places) -> Mapping[str, Any]:
    """Return metadata as they are stored: with a root, `file_path` starts there."""
    root, path = metadata.get(ROOT_KEY), metadata.get(FILE_PATH_KEY)
    place = places.get(root) if isinstance(root, str) else None
    if place is None or not isinstance(path, str) or not path.startswith(f"{place}/"):
        return metadata
    return {**metadata, FILE_PATH_KEY: normalize("NFC", path[len(place) + 1 :])}


def stored(nodes: Iterable[BaseNode], places: Places) -> list[BaseNode]:
    """Return nodes as they are stored; those given are left as they are."""
    return [_stored(node, places) for node in nodes]


def _stored(node: BaseNode, places: Places) -> BaseNode:
    changed: dict[str, Any] = {}
    metadata = stored_metadata(node.metadata, places)
    if metadata is not node.metadata:
        changed["metadata"] = metadata
    if isinstance(node, ImageNode) and (file := node.metadata.get(IMAGE_FILE_KEY)):
        changed["image_path"] = str(file).partition("/")[2]
    return node.model_copy(update=changed) if changed else node


def place(nodes: list[BaseNode], places: Places) -> list[BaseNode]:
    """Give stored nodes the paths that they have here, where roots are known.

    They are changed: for nodes that nobody else holds. Returns them.
    """
    if places:
        for node in nodes:
            # Assigned, a field would be checked anew: a tenth of reading the node.
            node.__dict__.update(_changed(node, places))
    return nodes


def placed(nodes: Iterable[BaseNode], places: Places) -> list[BaseNode]:
    """Return what `place` does; those given are left as they are."""
    return [
        node.model_copy(update=changed)
        if places and (changed := _changed(node, places))
        else node
        for node in nodes
    ]


def _changed(node: BaseNode, places: Places) -> dict[str, Any]:
    metadata = node.metadata
    changed: dict[str, Any] = {}
    root, path = metadata.get(ROOT_KEY), metadata.get(FILE_PATH_KEY)
    place = places.get(root) if isinstance(root, str) else None
    if place is not None and isinstance(path, str) and not os.path.isabs(path):
        changed["metadata"] = {**metadata, FILE_PATH_KEY: here(place, path)}
    if isinstance(file := metadata.get(IMAGE_FILE_KEY), str):
        name, _, below = file.partition("/")
        if name in places and isinstance(node, ImageNode):
            changed["image_path"] = here(places[name], below)
    return changed


def resolve_pictures(nodes: Iterable[N], roots: Mapping[str, str | Path]) -> list[N]:
    """Return nodes or results with the paths that their pictures and files have here.

    For what comes out of a vector store without an index around it: there, paths are
    relative to the roots. Nodes of other roots, or of none, stay as they are, and so do
    those given.

    Args:
        nodes: Nodes, or results of any retriever.
        roots: Folders by the roots' names; "media" is that of pictures that came as
            bytes.

    Raises:
        InvalidSetting: They are something else.

    Example:
        >>> node = ImageNode(metadata={"image_file": "docs/a.png"}, image_path="a.png")
        >>> resolve_pictures([node], {"docs": "/mnt/docs"})[0].image_path
        '/mnt/docs/a.png'
    """
    given = listed(nodes, "resolve_pictures: nodes", BaseNode, NodeWithScore)
    instance(roots, "resolve_pictures: roots", Mapping)
    for folder in roots.values():
        instance(folder, "resolve_pictures: a root's folder", str, Path)
    places = places_of(roots)
    resolved: list[Any] = [
        each.model_copy(update={"node": placed([each.node], places)[0]})
        if isinstance(each, NodeWithScore)
        else placed([each], places)[0]
        for each in given
    ]
    return resolved
