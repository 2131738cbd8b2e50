"""Readers of the user's own: what they make of a file, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from llama_index_mmrag.concurrency.threads import in_thread
from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.ingestion.records import ReadSettings
from llama_index_mmrag.readers.page import Page


def own_page(
    file: Path, reader: Callable[[Path], Page], settings: ReadSettings
) -> Page:
    """Return what a reader of the user's makes of a file.

    Raises:
        DocumentUnreadable: It fails, takes too long, or returns something else.
    """
    file_s = settings.limits.file_s
    try:
        page = in_thread(partial(reader, file)).result(timeout=file_s)
    except TimeoutError as error:
        why = f"your reader took longer than {file_s:g} s (ReadLimits.file_s)"
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: {why}. Leave the file out."
        ) from error
    except Exception as error:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: your reader raised {error!r}. Correct it, or "
            f"leave the file out."
        ) from error
    if not isinstance(page, Page):
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: your reader returned {type(page).__name__}; "
            f"expected a Page (from llama_index_mmrag.ingestion import Page)."
        )
    return page
