"""Known files: what the collections hold of a root, beside what is read of it now."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

from llama_index.core.schema import BaseNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion.directory import is_file_id, is_gone
from llama_index_mmrag.ingestion.linked import IMAGE
from llama_index_mmrag.ingestion.records import UpsertReport
from llama_index_mmrag.ingestion.roots import Root, Roots, holders_of, known_as
from llama_index_mmrag.nodes.images import IMAGE_SUFFIXES
from llama_index_mmrag.nodes.node import FILE_PATH_KEY, IMAGE_FILE_KEY, ROOT_KEY
from llama_index_mmrag.nodes.places import Places, places_of
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue, FileRow, device_of

logger = logging.getLogger(__name__)

_ASKED_AT_ONCE = 4096
"""Documents whose ids a collection is asked for in one call."""

_FEW = 20
"""So many files may be gone at once, however few there were."""


def recognise(
    roots: Roots, folder: Path, name: str | None, lost: set[str], stored: Iterable[str]
) -> None:
    """Find the root whose place is forgotten or gone, and is this folder or around.

    Its files say so: those of a root of which most are there.

    Args:
        roots: Those that are known.
        folder: The folder that is inserted.
        name: What it is called; None: nobody said.
        lost: Names of roots that may be meant.
        stored: Documents of the index.

    Raises:
        InvalidSetting: It has the name of a root that it is not.
    """
    if roots.holding(folder) is not None:
        return
    around = [] if name else [Root.of(each) for each in folder.parents]
    for root in [Root(normalize("NFC", name or folder.name), folder), *around]:
        if root.name not in lost:
            continue
        within = f"{root.name}/"
        files = [i for i in stored if i.startswith(within) and is_file_id(i)]
        n_lacking = sum(is_gone(each, root) for each in files)
        is_it = n_lacking * 2 <= len(files)
        if root.folder == folder and not is_it:
            raise InvalidSetting(
                f"The index holds {len(files)} documents of a root {root.name!r}, "
                f"and {str(folder)!r} lacks {n_lacking} of their files. Give this "
                f"folder another name with root=NAME (--root NAME); or, if it is "
                f"the same one, insert it with moved=True (--moved)."
            )
        if root.folder != folder and is_it and files:
            roots.places.update(places_of({root.name: root.folder}))
            return


def shown_elsewhere(
    channels: Mapping[str, Channel], ids: Mapping[Path, str]
) -> set[str]:
    """Return the ids of a part's pictures that pages in the rest of the root show.

    Args:
        channels: By modality.
        ids: Of the part's files.
    """
    pictures = [id_ for f, id_ in ids.items() if f.suffix.lower() in IMAGE_SUFFIXES]
    if not pictures:
        return set()
    is_one = MetadataFilter(
        key=IMAGE_FILE_KEY, value=pictures, operator=FilterOperator.IN
    )
    stored = channels[IMAGE].collection.nodes_where(MetadataFilters(filters=[is_one]))
    read = set(ids.values())
    return {n.metadata[IMAGE_FILE_KEY] for n in stored if n.ref_doc_id not in read}


def tell_of_twins(
    channels: Mapping[str, Channel], items: Iterable[object], places: Places
) -> None:
    """Log that documents of other readers are of files which are in the index already.

    Args:
        channels: By modality.
        items: What is about to be inserted.
        places: Where roots lie.
    """
    nodes = [item for item in items if isinstance(item, BaseNode)]
    paths = {str(node.metadata.get(FILE_PATH_KEY)) for node in nodes}
    own = {known_as(node.ref_doc_id or node.node_id, places) for node in nodes}
    files = [*{known_as(path, places) for path in paths} - paths - own]
    stored = files and {
        node.ref_doc_id
        for one in (channel.collection for channel in channels.values())
        for node in one.nodes(one.ids_of_documents(files))
    }
    if stored:
        logger.warning(
            "%d of the files that these documents are of are in the index already, "
            "such as %r: what they say is there twice. delete_ref_doc removes it; a "
            "document whose id is its file's path takes its place.",
            len(stored),
            min(map(str, stored)),
        )


def gone_of(
    channels: Mapping[str, Channel],
    root: Root | None,
    start: Path,
    report: UpsertReport,
    kinds: Collection[str],
) -> list[str]:
    """Return the documents of a root, or of a part, whose files are gone since.

    Args:
        channels: By modality.
        root: The root; None: none is known, and nothing of it.
        start: The part's folder, or a file; the root's own for all of it.
        report: What inserting it returned.
        kinds: Suffixes that are read.
    """
    if root is None:
        return []
    collections = [channel.collection for channel in channels.values()]
    within = f"{root.id_of(start)}/"
    # What cannot be read now is not gone, nor is what lies in such a folder.
    unread = [root.id_of(Path(problem.source)) for problem in report.problems]
    present = {*report.ref_doc_ids, *unread}
    folders = tuple(f"{name}/" for name in unread)
    stored = sorted(set().union(*(one.document_ids() for one in collections)))
    gone = [
        ref_doc_id
        for ref_doc_id in stored
        if f"{ref_doc_id}/".startswith(within)
        and ref_doc_id not in present
        and not ref_doc_id.startswith(folders)
        and is_gone(ref_doc_id, root, kinds)
    ]
    # A user's own id may look like a file's.
    files = {
        node.ref_doc_id
        for one in collections
        for node in one.nodes(one.ids_of_documents(gone))
        if node.metadata.get(ROOT_KEY) == root.name
    }
    return [ref_doc_id for ref_doc_id in gone if ref_doc_id in files]


def doubt_of(
    catalogue: Catalogue,
    root: Root,
    start: Path,
    gone: list[str],
    report: UpsertReport,
    before: list[str],
) -> str:
    """Return what speaks against documents being gone, or nothing.

    A share that is not mounted looks like a folder whose files were all deleted.

    Args:
        catalogue: What was known of the root before.
        root: The root.
        start: The part's folder; the root's own for all of it.
        gone: The documents.
        report: What inserting it returned.
        before: The documents of the index before that.
    """
    present = set(report.ref_doc_ids)
    rows = catalogue.files(root.name).values()
    hashes = {row.document: row.sha256 for row in rows}
    mails = {each: mail for each in gone for mail in holders_of(each)[:1]}
    hashes |= {each: hashes[mail] for each, mail in mails.items() if mail in hashes}
    there = {hashes[each] for each in present if each in hashes}
    # What goes by another name now is not gone.
    lost = [each for each in gone if hashes.get(each) not in there]
    n_known = len((present | set(gone)) & set(before))
    device, was_on = device_of(root.folder), catalogue.device(root.name)
    name = repr(str(start))
    if not lost:
        return ""
    if device is None or not start.exists():
        kind = "file" if is_file_id(start.name) else "folder"
        return f"The {kind} {name} is gone"
    if not present and not report.problems:
        return f"The folder {name} is empty"
    if was_on is not None and device != was_on:
        return f"The folder {name} is on another device than before"
    if len(lost) >= _FEW and len(lost) * 2 > n_known:
        return f"The folder {name} lacks {len(lost)} of the {n_known} files known"
    return ""


def as_left(rows: Sequence[FileRow], channels: Mapping[str, Channel]) -> set[str]:
    """Return the paths of those that have the nodes that they say, and no others.

    Where they differ they are halved: a few calls find the one in thousands.
    """
    left: set[str] = set()
    starts = range(0, len(rows), _ASKED_AT_ONCE)
    parts = [rows[start : start + _ASKED_AT_ONCE] for start in starts]
    while parts:
        part = parts.pop()
        documents = [row.document for row in part if row.document]
        documents += [f"{r.root}/{each}" for r in part for each in attached_in(r)]
        if all(
            {node_id for row in part for node_id in row.ids.get(modality, ())}
            == set(channel.collection.ids_of_documents(documents))
            for modality, channel in channels.items()
        ):
            left |= {row.path for row in part}
        elif len(part) > 1:
            half = len(part) // 2
            parts += [part[:half], part[half:]]
    return left


def attached_in(row: FileRow) -> list[str]:
    """Return the paths of what came in a file."""
    return [each for each in row.shows if each.startswith(f"{row.path}#")]


def pictures_in(row: FileRow) -> list[str]:
    """Return the paths of the pictures that a file shows."""
    return [each for each in row.shows if not each.startswith(f"{row.path}#")]
