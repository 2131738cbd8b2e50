"""The manifest's file and its copy: read whole, sealed, and replaced in one step."""

from __future__ import annotations

import contextlib
from pathlib import Path

from pydantic import ValidationError

from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.files.sealing import sealed, unsealed
from llama_index_mmrag.files.writing import raise_if_full, replacing
from llama_index_mmrag.stores.format import Manifest, check_format

STORE_FILES = MANIFEST, COPY = "mmrag.json", "mmrag.copy.json"
UNFINISHED = "mmrag.part"


def lost_manifest(root: Path) -> StoreUnusable:
    """Return the error of a store without its manifest."""
    return _damaged(root / MANIFEST, "it is gone")


def read_manifest(file: Path) -> Manifest | None:
    """Return a store's manifest, or its copy; None of a new store.

    None too of a path whose store will say what is wrong with it.
    """
    try:
        stored = read_json(file)
        if isinstance(stored, dict):
            # Asked first: another version's file may be of another shape altogether.
            anew = "into a new store: mmrag index DIR --store NEW"
            where = f"The store {str(file.parent)!r}"
            try:
                check_format(stored.get("format"), where, anew=anew)
            except StoreUnusable:
                unsealed(stored)  # else a bit of the number may have flipped
                raise
        return Manifest.model_validate(unsealed(stored))
    except StoreUnusable:
        raise
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise _damaged(file, f"{place}: {first['msg']}") from error
    except ValueError as error:
        raise _damaged(file, error) from error
    except OSError as error:
        raise StoreUnusable(
            f"Cannot read {str(file)!r}: {error.strerror}. Make it readable, or "
            f"restore it."
        ) from error


class _Damaged(StoreUnusable):
    """What is written is not what was."""


def whole_manifest(file: Path) -> Manifest | None:
    """Return what a manifest or a copy says, if it is there and not damaged."""
    with contextlib.suppress(_Damaged):
        return read_manifest(file)
    return None


def _damaged(file: Path, reason: object) -> _Damaged:
    root, has_copy = file.parent, False
    with contextlib.suppress(StoreUnusable):
        has_copy = file.name == COPY or read_manifest(root / COPY) is not None
    restored = f"from the other one: mmrag repair --store {root}"
    return _Damaged(
        f"Cannot read {str(file)!r}: {reason}. Restore the file "
        f"{restored if has_copy else 'from a backup'}, or index into another folder."
    )


def write_file(root: Path, content: Manifest) -> None:
    """Put a store's manifest on disk.

    Raises:
        StoreFull: There is no room.
        StoreUnusable: It cannot be written.
    """
    manifest = root / MANIFEST
    try:
        # Half a manifest would lock the store's owner out.
        _replace(manifest, content)
    except OSError as error:
        raise_if_full(error, root, len(_json(content)), for_="The manifest")
        raise StoreUnusable(
            f"Cannot write {str(manifest)!r}: {error.strerror}. Choose another folder."
        ) from error


def write_copy(root: Path, content: Manifest) -> None:
    """Put its copy on disk, or have none where that cannot be written."""
    copy = root / COPY
    try:
        _replace(copy, content)
    except OSError:
        # No room, say. None is safer than an older one; it is made at an opening.
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)


def _replace(file: Path, content: Manifest) -> None:
    with replacing(file, by=UNFINISHED) as unfinished:
        unfinished.write(_json(content))


def _json(content: Manifest) -> bytes:
    return sealed(content.model_dump(exclude_unset=True))
