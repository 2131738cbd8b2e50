"""Roots: the folders of an index, each under a name that its documents' ids begin with.

What a path is called, and which folder is which root: a known one, a part of one, one
that has moved, or a new one.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unicodedata import normalize

from llama_index_mmrag.checks import instance
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion.records import Survey
from llama_index_mmrag.nodes.node import FILE_PATH_KEY, ROOT_KEY
from llama_index_mmrag.nodes.places import ROOT_NAME, Places, here, named, places_of

logger = logging.getLogger(__name__)

MEDIA = "media"
"""The root of pictures that came as bytes."""

STORE_FILES = frozenset({"mmrag.json", "mmrag.copy.json"})
"""One names a folder that is a store, and no folder of documents."""

MOST_BYTES = 200
"""Of a root's name, in UTF-8: an id of such a name and a path is still a key."""

HOLDS_FILES = ".eml"
"""The end of the name of a document that others may have come in."""

_ATTACHED = re.compile(rf"(?<={re.escape(HOLDS_FILES)})#", re.IGNORECASE)
_PATH_KEYS = (FILE_PATH_KEY, "file_name", "source")
"""Metadata keys under which readers of LlamaIndex put paths."""


@dataclass(frozen=True, slots=True)
class Root:
    """A folder and its name."""

    name: str
    folder: Path
    """Absolute, symlinks resolved."""
    moved_from: str | None = None
    """Where it was, if it was found to have moved just now."""

    @classmethod
    def of(cls, folder: Path) -> Root:
        """Return the root that a folder is if nobody names it."""
        return cls(normalize("NFC", folder.name), folder)

    def id_of(self, path: Path) -> str:
        """Return "NAME/path/below/it": composed characters, POSIX separators."""
        below = os.path.relpath(path, self.folder)
        if below == ".":
            return self.name
        return f"{self.name}/{normalize('NFC', Path(below).as_posix())}"

    def ids_of(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Return the paths' ids, by path."""
        return {path: self.id_of(path) for path in paths}


def holders_of(ref_doc_id: str) -> list[str]:
    """Return the mails that a document came in, the file first; [] of a file.

    Example:
        >>> holders_of("docs/a.eml#b.eml#c.pdf")
        ['docs/a.eml', 'docs/a.eml#b.eml']
    """
    return [ref_doc_id[: found.start()] for found in _ATTACHED.finditer(ref_doc_id)]


class Roots:
    """The roots of one index, and where they lie on this machine.

    Args:
        known: Where roots were last seen, by name.
        store: The index's own folder, if it has one.
        media: The folder of pictures that came as bytes; None: there is none.

    Attributes:
        places: Where they lie, as `nodes.places` takes it; kept up to date.
        store: The index's own folder, symlinks resolved.
        media: The folder of pictures that came as bytes.
    """

    def __init__(
        self,
        known: Mapping[str, Path] | None = None,
        *,
        store: Path | None,
        media: Path | None,
    ) -> None:
        self.store = None if store is None else store.resolve()
        self.media = media
        self.places = places_of(known or {})
        if media is not None:
            self.places |= places_of({MEDIA: media})

    def lost(self, stored: Iterable[str]) -> set[str]:
        """Return the names of roots, these among them, whose folders are not there."""
        places = self.places.items()
        gone = {name for name, place in places if not os.path.isdir(place or "/")}
        return (gone | ({*stored} - self.places.keys())) - {MEDIA}

    def holding(self, path: Path) -> Root | None:
        """Return the known root that a path lies in, or is."""
        holding = [r for r in self._known() if path.is_relative_to(r.folder)]
        return max(holding, key=lambda root: len(root.folder.parts), default=None)

    def root_of(self, found: Survey, name: str | None, *, moved: bool = False) -> Root:
        """Return the root that a surveyed folder or file belongs to.

        Args:
            found: What it holds.
            name: The root's, as it was given; None: the one that holds it, else the
                folder's own.
            moved: Whether a known root's folder may be another one from now on.

        Raises:
            InvalidSetting: The name is none, or the root's place is another one and
                still there, or the folder holds a root or a store, or lies in one.
        """
        start = found.start
        folder = start if found.root is not None else start.parent
        self._check_store(folder)
        if found.root is not None:
            self._check_around(folder, name)
        inside = self.holding(start)
        if inside is not None and name in {None, inside.name}:
            return inside
        root = Root.of(folder)
        if name is not None:
            root = Root(normalize("NFC", name), folder)
        check_name(root.name, "root")
        if inside is not None:
            raise InvalidSetting(
                f"root is {name!r}, and {str(start)!r} lies in the root "
                f"{inside.name!r}, {str(inside.folder)!r}. Leave root out: it is read "
                f"as a part of that one."
            )
        before = self._check_place(root, is_file=found.root is None, moved=moved)
        self.places[root.name] = folder.as_posix().rstrip("/")
        return replace(root, moved_from=before)

    def _known(self) -> list[Root]:
        return [
            Root(name, Path(place or "/"))
            for name, place in self.places.items()
            if name != MEDIA
        ]

    def _check_around(self, folder: Path, name: str | None) -> None:
        for known in self._known():
            is_it = known.folder == folder or known.name == (name or folder.name)
            if not is_it and known.folder.is_relative_to(folder):
                raise InvalidSetting(
                    f"The folder {str(folder)!r} holds the root {known.name!r}, "
                    f"{str(known.folder)!r}, whose files would be in the index twice. "
                    f"Insert its other folders one by one, or make a new store of the "
                    f"whole."
                )

    def _check_store(self, folder: Path) -> None:
        inside = self.store is not None and folder.is_relative_to(self.store)
        if inside or any((folder / name).exists() for name in STORE_FILES):
            raise InvalidSetting(
                f"The folder {str(folder)!r} is a store, or lies in this index's own; "
                f"expected a folder of documents. Give that one."
            )

    def _check_place(self, root: Root, *, is_file: bool, moved: bool) -> str | None:
        """Return where the root was, if that is another place."""
        place = self.places.get(root.name)
        if place is None:
            return None
        before, told = Path(place or "/"), f"The root {root.name!r}"
        is_there = before.is_dir()
        if is_there and before.samefile(root.folder):
            return None
        if is_file or (is_there and not moved):
            raise InvalidSetting(
                f"{told} is {place!r}, and not {str(root.folder)!r}. Give this folder "
                f"another name with root=NAME (--root NAME); or, if it is the same one "
                f"and has moved, insert it with moved=True (--moved)."
            )
        logger.warning("%s moved: %s -> %s", told, place, root.folder)
        return place


def known_as(path: str, places: Places) -> str:
    """Return "NAME/path/below/it" of a path below a root, by whichever way it leads.

    Any other text is returned as it is.
    """
    if not places or not os.path.isabs(path):
        return path
    with suppress(ValueError):  # a NUL, or half a character
        for way in (os.path.normpath, os.path.realpath):
            if (id_ := named(way(path), places)) is not None:
                return id_
    return path


def located(metadata: Mapping[str, Any], places: Places) -> dict[str, Any]:
    """Return metadata whose absolute paths below roots are said by the roots.

    `root` is that of the `file_path`, which stays absolute, as files' are; other paths
    are relative to it.
    """
    changed = dict(metadata)
    root: str | None = None
    for key in _PATH_KEYS:
        path = metadata.get(key)
        if not isinstance(path, str) or (id_ := known_as(path, places)) == path:
            continue
        name, _, below = id_.partition("/")
        root = root or name
        if key == FILE_PATH_KEY:
            changed[key] = here(places[name], below)
        else:
            changed[key] = below if name == root else id_
    return {**changed, ROOT_KEY: root} if root else changed


def check_name(name: str, of: str) -> None:
    """Do nothing if a root can have this name.

    Args:
        name: It.
        of: What it was given as.

    Raises:
        InvalidSetting: It is empty, "." or "..", longer than 200 bytes, kept for
            pictures that came as bytes, or has a separator, a colon, a line break,
            another control character or half a character.
    """
    n_bytes = len(name.encode("utf-8", "surrogatepass"))
    if not ROOT_NAME.fullmatch(name) or name == MEDIA or n_bytes > MOST_BYTES:
        raise InvalidSetting(
            f"{of} is {name!r}; expected a name of at most {MOST_BYTES} bytes without "
            f"'/', '\\', ':' and line breaks, which is none of '.', '..' and "
            f"{MEDIA!r}. Give the folder another name with root=NAME."
        )


def checked_roots(roots: Mapping[str, str | Path]) -> dict[str, Path]:
    """Return the folders, absolute and with symlinks resolved, by their roots' names.

    Raises:
        InvalidSetting: A name is none that a root can have, or a folder is none.
    """
    known: dict[str, Path] = {}
    for name, folder in instance(roots, "roots", Mapping).items():
        if name != MEDIA:
            check_name(instance(name, "roots: a name", str), "roots: a name")
        place = Path(instance(folder, f"roots[{name!r}]", str, Path))
        if not place.is_dir():
            raise InvalidSetting(
                f"roots[{name!r}] is {str(folder)!r}, and there is no such folder. "
                f"Mount it, or leave it out: captions are shown without their pictures."
            )
        known[normalize("NFC", name)] = place.resolve()
    return known
