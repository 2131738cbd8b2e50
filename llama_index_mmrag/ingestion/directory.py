"""Folders: which files there are, and the records of all of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from llama_index.core.schema import ImageNode

from llama_index_mmrag.checks import instance, truth
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import MmragError
from llama_index_mmrag.ingestion.files import READERS, read_found, reader_of
from llama_index_mmrag.ingestion.paths import (
    check_inside,
    printable,
    real_file,
    real_path,
)
from llama_index_mmrag.ingestion.records import (
    DocumentUnreadable,
    Problem,
    ReadSettings,
    SourceRecord,
    Survey,
)
from llama_index_mmrag.nodes.images import IMAGE_SUFFIXES


@checked
def discover(path: str | Path, *, recursive: bool = True) -> list[Path]:
    """Return the files that `read_directory` reads, sorted; see `survey`."""
    return list(survey(path, recursive=recursive).files)


def survey(path: str | Path, *, recursive: bool = True) -> Survey:
    """Return what a folder (or a single file) holds, without opening any file.

    Hidden files and folders (".git") are passed over. Symlinks are followed within the
    folder, each folder and file once, under its real path. What points out of the
    folder is a problem and is not read: nobody asked for what lies there, and a
    refresh of this folder could not tell when it goes. So is a pipe or a device.

    Raises:
        DocumentUnreadable: `path` does not exist, or is a file of another kind.
    """
    if not isinstance(path, (str, Path)) or not isinstance(recursive, bool):
        # Only then, for a page's walk passes by.
        instance(path, "survey: path", str, Path)
        truth(recursive, "survey: recursive")
    start = real_path(path, READERS)
    root = start if start.is_dir() else None
    if root is None:
        reader_of(start)
    problems: list[Problem] = []
    found = [start] if root is None else list(_walk(root, recursive, problems))
    files: dict[Path, None] = {}
    ignored: Counter[str] = Counter()
    for file in found:
        if (suffix := file.suffix.lower()) not in READERS:
            ignored[suffix] += 1
            continue
        try:
            files[real_file(file, root, READERS)] = None
        except DocumentUnreadable as error:
            problems.append(Problem(printable(file), str(error)))
    ordered = sorted(files, key=lambda file: file.as_posix())
    problems.sort(key=lambda problem: problem.source)
    return Survey(tuple(ordered), dict(sorted(ignored.items())), tuple(problems), root)


@checked
def read_directory(
    path: str | Path, *, recursive: bool = True, settings: ReadSettings | None = None
) -> Iterator[SourceRecord | Problem]:
    """Yield one record or problem for each file, texts first, each kind sorted.

    A picture that a Markdown file of the folder shows is not indexed a second time:
    its own record has no nodes. Nothing depends on time, on the order in which the
    system lists files, or on what was read before.

    Args:
        path: A folder, or one file.
        recursive: Whether folders in the folder are read too.
        settings: Chunk size, encoding; None for the defaults.

    Yields:
        As many items as `discover` lists, and before them a problem for each folder
        or name that could not even be listed.

    Raises:
        DocumentUnreadable: As `survey`; by the call, not while iterating.
    """
    found = survey(path, recursive=recursive)
    return read_surveyed(found, settings or ReadSettings())


def read_surveyed(
    found: Survey, settings: ReadSettings
) -> Iterator[SourceRecord | Problem]:
    """Yield what `read_directory` does of a folder that was surveyed already."""
    yield from found.problems
    shown: set[str] = set()
    # Texts first: only they tell which pictures are theirs.
    for file in sorted(
        found.files, key=lambda file: file.suffix.lower() in IMAGE_SUFFIXES
    ):
        if file.as_posix() in shown:
            yield SourceRecord(file.as_posix(), (), whole=True)
            continue
        try:
            record = read_found(file, root=found.root, settings=settings)
        except MmragError as error:
            yield Problem(file.as_posix(), str(error))
            continue
        except Exception as error:  # noqa: BLE001 - one file must not stop the others
            reason = (
                f"Cannot read it: {error!r}. This file shows a fault of the program; "
                f"please report it."
            )
            yield Problem(file.as_posix(), reason)
            continue
        shown.update(
            node.image_path
            for node in record.nodes
            if isinstance(node, ImageNode) and node.image_path
        )
        yield record


def _walk(start: Path, recursive: bool, problems: list[Problem]) -> Iterator[Path]:
    def report(error: OSError) -> None:
        folder = Path(error.filename)
        reason = f"Cannot list the folder: {error.strerror}. Check its permissions."
        problems.append(Problem(printable(folder), reason))

    seen = {start}
    for folder, subfolders, names in os.walk(start, onerror=report, followlinks=True):
        here = Path(folder)
        inside = []
        for name in sorted(subfolders):
            real = (here / name).resolve()
            if not recursive or name.startswith(".") or real in seen:
                continue
            seen.add(real)
            try:
                check_inside(real, start)
                inside.append(name)
            except DocumentUnreadable as error:
                problems.append(Problem(printable(here / name), str(error)))
        subfolders[:] = inside  # os.walk goes only where this list says
        yield from (here / name for name in names if not name.startswith("."))


def is_gone(ref_doc_id: str) -> bool:
    """Return whether a document was a file, which is not there under this name now.

    What it was is told from the id's looks. Readers of other packages name parts of
    files too, as in "/docs/a.pdf_part_0"; those are theirs.
    """
    path = Path(ref_doc_id)
    if not path.is_absolute() or path.suffix.lower() not in READERS:
        return False
    try:
        real = real_path(ref_doc_id, READERS)
    except DocumentUnreadable:
        return True
    return not real.is_file() or real.as_posix() != ref_doc_id
