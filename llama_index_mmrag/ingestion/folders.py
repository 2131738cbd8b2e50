"""Folders: the records of all files of one, which nothing is known of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.ingestion.directory import survey
from llama_index_mmrag.ingestion.files import kinds_of
from llama_index_mmrag.ingestion.reading import read_surveyed
from llama_index_mmrag.ingestion.records import Problem, ReadSettings, SourceRecord
from llama_index_mmrag.ingestion.roots import Root


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
    how = settings or ReadSettings()
    found = survey(path, recursive=recursive, kinds=kinds_of(how))
    root = Root.of(found.root or found.start.parent)
    items = read_surveyed(
        found,
        root.ids_of(found.files),
        root,
        links_from=found.root,
        settings=how,
    )
    return cast("Iterator[SourceRecord | Problem]", items)  # where nothing is known
