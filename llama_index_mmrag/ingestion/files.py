"""Files: a reader for each format, and what one file contributes."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.ingestion.linked import FILE_NAME_KEY, Origin
from llama_index_mmrag.ingestion.markdown import MARKDOWN_SUFFIXES, markdown_page
from llama_index_mmrag.ingestion.pages import Page, Section, page_record
from llama_index_mmrag.ingestion.paths import real_path
from llama_index_mmrag.ingestion.pictures import Caption, read_picture
from llama_index_mmrag.ingestion.records import (
    DocumentUnreadable,
    ReadSettings,
    SourceRecord,
)
from llama_index_mmrag.ingestion.roots import MEDIA, Root
from llama_index_mmrag.nodes.images import IMAGE_SUFFIXES
from llama_index_mmrag.nodes.node import FILE_PATH_KEY, ROOT_KEY

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@checked
def read_file(
    path: str | Path,
    *,
    root: str | Path | None = None,
    settings: ReadSettings | None = None,
) -> SourceRecord:
    """Return what one file contributes.

    Text is split into chunks, each its own entity. A Markdown section is one entity
    with its pictures; pictures that are missing, on the web or broken are listed in
    `problems`. A picture is one image node without caption.

    Args:
        path: A .txt, .text, .rst, .md, .markdown, .jpg, .jpeg, .png, .webp, .gif, .bmp,
            .tif or .tiff.
        root: Folder that links such as "/pix/a.webp" start from, and whose name ids
            begin with; None for the file's own.
        settings: Chunk size, encoding; None for the defaults.

    Raises:
        DocumentUnreadable: Text that is missing, not permitted or not in the encoding.
        ImageUnreadable: A picture that is missing, empty, truncated or too large.
    """
    file = real_path(path, READERS)
    start = None if root is None else real_path(root)
    folder = start if start and file.is_relative_to(start) else file.parent
    found = settings or ReadSettings()
    root_ = Root.of(folder)
    return read_found(file, root_.id_of(file), root_, start, found)


def read_found(
    file: Path,
    ref_doc_id: str,
    root: Root,
    links_from: Path | None,
    settings: ReadSettings,
) -> SourceRecord:
    """Return what `read_file` does, for a file and folders under their real paths."""
    page = reader_of(file)(file, settings, links_from)
    metadata = {
        ROOT_KEY: root.name,
        FILE_NAME_KEY: ref_doc_id.rpartition("/")[2],
        FILE_PATH_KEY: file.as_posix(),
    }
    places = {root.name: root.folder.as_posix().rstrip("/")}
    if settings.media_dir is not None:
        places[MEDIA] = settings.media_dir.absolute().as_posix()
    origin = Origin(ref_doc_id, metadata, places=places, root=root)
    return page_record(page, origin, settings)


Reader: TypeAlias = Callable[[Path, ReadSettings, Path | None], Page]
"""Makes a page of a file; links such as "/pix/a.webp" start from the last argument."""


def _text_file(file: Path, settings: ReadSettings, _root: Path | None) -> Page:
    return Page((Section(read_text(file, settings.encoding)),))


def _markdown_file(file: Path, settings: ReadSettings, root: Path | None) -> Page:
    text = read_text(file, settings.encoding)
    return markdown_page(text, folder=file.parent, root=root)


def _picture_file(file: Path, _settings: ReadSettings, _root: Path | None) -> Page:
    return Page((Section(pictures=(Caption(read_picture(file), ""),)),))


READERS: dict[str, Reader] = {
    **dict.fromkeys((".txt", ".text", ".rst"), _text_file),
    **dict.fromkeys(MARKDOWN_SUFFIXES, _markdown_file),
    **dict.fromkeys(sorted(IMAGE_SUFFIXES), _picture_file),
}
"""What reads a file, by its suffix in lower case: a new format is a row here."""


def reader_of(file: Path) -> Reader:
    """Return what reads the file.

    Raises:
        DocumentUnreadable: It is of no kind that is read.
    """
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: the suffix {file.suffix!r} is unknown. "
            f"Expected one of {', '.join(sorted(READERS))}. Convert the file, or load "
            f"it with a LlamaIndex reader and insert its documents."
        )
    return reader


def read_text(file: Path, encoding: str) -> str:
    r"""Return a text file's content with "\n" line ends and no byte order mark.

    A byte order mark wins over `encoding`. No other encoding is guessed: a wrong guess
    would store nonsense that nobody sees.

    Raises:
        DocumentUnreadable: Missing, not permitted, not in the encoding, or binary.
    """
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: {error.strerror}. Check the file."
        ) from error
    for mark, marked_encoding in _MARKS:
        if data.startswith(mark):
            encoding = marked_encoding
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r} as {encoding}: byte {error.start} is "
            f"{data[error.start]:#04x}. Save it as UTF-8, or name its encoding: "
            f'ReadSettings(encoding="cp1252").'
        ) from error
    if "\0" in text:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: it holds NUL characters, so it is binary or "
            f"in another encoding. Save it as UTF-8 text or leave it out."
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")
