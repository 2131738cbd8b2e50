"""Folders: which files there are, and which are gone."""

from __future__ import annotations

import os
import re
from collections import ChainMap, Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from types import NoneType
from unicodedata import normalize

from llama_index_mmrag.checks import instance, listed, truth
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import (
    DocumentUnreadable,
    MmragError,
    ReaderUnusable,
    StoreFull,
)
from llama_index_mmrag.ingestion.files import KINDS, READERS, check_kind, reads
from llama_index_mmrag.ingestion.paths import (
    check_inside,
    printable,
    real_file,
    real_path,
)
from llama_index_mmrag.ingestion.records import (
    Problem,
    Survey,
)
from llama_index_mmrag.ingestion.roots import STORE_FILES, Root, holders_of
from llama_index_mmrag.nodes.places import here


@checked
def discover(path: str | Path, *, recursive: bool = True) -> list[Path]:
    """Return the files that `read_directory` reads, sorted; see `survey`."""
    return list(survey(path, recursive=recursive).files)


def survey(
    path: str | Path,
    *,
    recursive: bool = True,
    media: Path | None = None,
    kinds: Collection[str] = KINDS,
) -> Survey:
    """Return what a folder (or a single file) holds, without reading any file.

    Hidden files and folders (".git") are passed over, and so are folders in it that are
    stores, and `media`, a store's pictures. Symlinks are followed within the
    folder, each folder and file once, under its real path. What points out of the
    folder is a problem and is not read: nobody asked for what lies there, and a
    refresh of this folder could not tell when it goes. So is a pipe or a device.

    `kinds` are the suffixes that are read, in lower case.

    Raises:
        DocumentUnreadable: `path` does not exist, or is a file of another kind.
        MissingExtra: It is a file of which the reader is not installed.
    """
    if (
        not isinstance(path, (str, Path))
        or not isinstance(recursive, bool)
        or not isinstance(media, (Path, NoneType))
    ):  # Only then, for a page's walk passes by.
        instance(media, "survey: media", Path, or_none=True)
        instance(path, "survey: path", str, Path)
        truth(recursive, "survey: recursive")
    if not isinstance(kinds, (ChainMap, set, frozenset)):
        kinds = {*listed(kinds, "survey: kinds", str)}
    start = real_path(path, kinds)
    root = start if start.is_dir() else None
    if root is None:
        check_kind(start, kinds)
    problems: list[Problem] = []
    passed = None if media is None else media.resolve()
    found = [start] if root is None else list(_walk(root, recursive, passed, problems))
    files: dict[Path, None] = {}
    ignored: Counter[str] = Counter()
    for file in found:
        suffix = file.suffix.lower()
        # Most are of ours: only for the others the walk goes on.
        is_read = suffix in kinds and (suffix in READERS or reads(file, kinds))
        if not is_read:
            ignored[suffix] += 1
            continue
        try:
            files[real_file(file, root, kinds)] = None
        except DocumentUnreadable as error:
            problems.append(Problem(printable(file), str(error)))
    names: dict[str, Path] = {}
    for file in sorted(files):
        other = names.setdefault(normalize("NFC", str(file)), file)
        if other != file:
            reason = (
                f"Its name is that of {str(other)!r} in other code points, and both "
                f"would have one id. Rename one of them."
            )
            problems.append(Problem(str(file), reason))
    problems.sort(key=lambda problem: problem.source)
    return Survey(
        tuple(names[name] for name in sorted(names)),
        dict(sorted(ignored.items())),
        tuple(problems),
        start,
        root,
    )


def _walk(
    start: Path, recursive: bool, passed: Path | None, problems: list[Problem]
) -> Iterator[Path]:
    def report(error: OSError) -> None:
        folder = Path(error.filename)
        reason = f"Cannot list the folder: {error.strerror}. Check its permissions."
        problems.append(Problem(printable(folder), reason))

    seen = {start}
    for folder, subfolders, names in os.walk(start, onerror=report, followlinks=True):
        this = Path(folder)
        if this == passed or (this != start and not STORE_FILES.isdisjoint(names)):
            subfolders.clear()
            continue
        inside = []
        for name in sorted(subfolders):
            real = (this / name).resolve()
            if not recursive or name.startswith(".") or real in seen:
                continue
            seen.add(real)
            try:
                check_inside(real, start)
                inside.append(name)
            except DocumentUnreadable as error:
                problems.append(Problem(printable(this / name), str(error)))
        subfolders[:] = inside  # os.walk goes only where this list says
        yield from (this / name for name in names if not name.startswith("."))


def is_file_id(ref_doc_id: str, kinds: Collection[str] = KINDS) -> bool:
    """Return whether a document of a root looks like one of its files."""
    return Path(ref_doc_id).suffix.lower() in kinds


def is_gone(ref_doc_id: str, root: Root, kinds: Collection[str] = KINDS) -> bool:
    """Return whether a document of a root was a file that is not there now.

    What it was is told from the id's looks, and an attachment goes with its mail.
    Readers of other packages name parts of files too, as in "docs/a.pdf_part_0"; those
    are theirs.
    """
    below = ref_doc_id.removeprefix(f"{root.name}/")
    if not is_file_id(below, kinds):
        return False
    try:
        real = real_path(here(root.folder.as_posix(), below), kinds)
    except DocumentUnreadable:
        return all(is_gone(each, root, kinds) for each in holders_of(ref_doc_id)[:1])
    return not real.is_file() or root.id_of(real) != ref_doc_id


def problem_of(file: Path, error: Exception) -> Problem:
    """Return what is told of a file; a full disk is no matter of the file's.

    Nor is an engine that reads nothing.
    """
    if isinstance(error, (StoreFull, ReaderUnusable)):
        raise error
    if isinstance(error, MmragError):
        code = re.sub(r"(?<!^)([A-Z])", r"_\1", type(error).__name__).lower()
        return Problem(file.as_posix(), str(error), code=code)
    reason = (
        f"Cannot read it: {error!r}. This file shows a fault of the program; please "
        f"report it."
    )
    return Problem(file.as_posix(), reason, code="fault")
