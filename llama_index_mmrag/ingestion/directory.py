"""Folders: which files there are, and the records of all of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType
from unicodedata import normalize

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
from llama_index_mmrag.ingestion.roots import STORE_FILE, Root
from llama_index_mmrag.nodes.images import IMAGE_SUFFIXES
from llama_index_mmrag.nodes.node import IMAGE_FILE_KEY
from llama_index_mmrag.nodes.places import here


@checked
def discover(path: str | Path, *, recursive: bool = True) -> list[Path]:
    """Return the files that `read_directory` reads, sorted; see `survey`."""
    return list(survey(path, recursive=recursive).files)


def survey(
    path: str | Path, *, recursive: bool = True, media: Path | None = None
) -> Survey:
    """Return what a folder (or a single file) holds, without opening any file.

    Hidden files and folders (".git") are passed over, and so are folders in it that are
    stores, and `media`, a store's pictures. Symlinks are followed within the
    folder, each folder and file once, under its real path. What points out of the
    folder is a problem and is not read: nobody asked for what lies there, and a
    refresh of this folder could not tell when it goes. So is a pipe or a device.

    Raises:
        DocumentUnreadable: `path` does not exist, or is a file of another kind.
    """
    if (
        not isinstance(path, (str, Path))
        or not isinstance(recursive, bool)
        or not isinstance(media, (Path, NoneType))
    ):  # Only then, for a page's walk passes by.
        instance(media, "survey: media", Path, or_none=True)
        instance(path, "survey: path", str, Path)
        truth(recursive, "survey: recursive")
    start = real_path(path, READERS)
    root = start if start.is_dir() else None
    if root is None:
        reader_of(start)
    problems: list[Problem] = []
    passed = None if media is None else media.resolve()
    found = [start] if root is None else list(_walk(root, recursive, passed, problems))
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
    root = Root.of(found.root or found.start.parent)
    return read_surveyed(found, root, settings=settings or ReadSettings())


def read_surveyed(
    found: Survey, root: Root, *, settings: ReadSettings, shown: Iterable[str] = ()
) -> Iterator[SourceRecord | Problem]:
    """Yield what `read_directory` does of a folder that was surveyed already.

    Of a part of a root, pictures elsewhere in it that this part shows get a record
    without nodes too.

    Args:
        found: What the folder holds.
        root: The root that it is, or is a part of.
        settings: Chunk size, encoding.
        shown: Ids of pictures that pages show which are not read now.
    """
    yield from found.problems
    shown = dict.fromkeys(shown)
    ids = root.ids_of(found.files)
    # A single file was named on purpose, and links to what is around it.
    is_alone = found.root is None and found.start.parent == root.folder
    links_from = None if is_alone else root.folder
    # Texts first: only they tell which pictures are theirs.
    for file in sorted(
        found.files, key=lambda file: file.suffix.lower() in IMAGE_SUFFIXES
    ):
        if ids[file] in shown:
            yield SourceRecord(ids[file], (), whole=True)
            continue
        try:
            record = read_found(file, ids[file], root, links_from, settings)
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
        pictures = [node for node in record.nodes if isinstance(node, ImageNode)]
        for picture in pictures:
            shown.setdefault(picture.metadata.get(IMAGE_FILE_KEY, ""))
        yield record
    if found.start != root.folder:
        for name in shown.keys() - ids.values():
            if name.startswith(f"{root.name}/"):
                yield SourceRecord(name, (), whole=True)


def batches(
    items: Iterable[SourceRecord | Problem], n_nodes: int
) -> Iterator[list[SourceRecord | Problem]]:
    """Yield the items in lists of `n_nodes` nodes or a little more."""
    batch: list[SourceRecord | Problem] = []
    n_pending = 0
    for item in items:
        batch.append(item)
        n_pending += max(1, len(getattr(item, "nodes", ())))
        if n_pending >= n_nodes:
            yield batch
            batch, n_pending = [], 0
    if batch:
        yield batch


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
        if this == passed or (this != start and STORE_FILE in names):
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


def is_gone(ref_doc_id: str, root: Root) -> bool:
    """Return whether a document of a root was a file that is not there now.

    What it was is told from the id's looks. Readers of other packages name parts of
    files too, as in "docs/a.pdf_part_0"; those are theirs.
    """
    below = ref_doc_id.removeprefix(f"{root.name}/")
    if Path(below).suffix.lower() not in READERS:
        return False
    try:
        real = real_path(here(root.folder.as_posix(), below), READERS)
    except DocumentUnreadable:
        return True
    return not real.is_file() or root.id_of(real) != ref_doc_id
