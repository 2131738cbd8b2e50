"""Files: one text, Markdown file or picture into one record."""

from __future__ import annotations

import codecs
from pathlib import Path

from llama_index_mmrag.ingestion.entities import (
    FILE_NAME_KEY,
    FILE_PATH_KEY,
    Caption,
    Entity,
    Origin,
    nodes_of,
)
from llama_index_mmrag.ingestion.markdown import parse_markdown
from llama_index_mmrag.ingestion.paths import real_path
from llama_index_mmrag.ingestion.pictures import read_picture
from llama_index_mmrag.ingestion.records import (
    READABLE_SUFFIXES,
    TEXT_SUFFIXES,
    DocumentUnreadable,
    ReadSettings,
    SourceRecord,
)
from llama_index_mmrag.ingestion.sections import markdown_record
from llama_index_mmrag.nodes.images import IMAGE_SUFFIXES

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


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
        root: Folder that links such as "/pix/a.webp" start from.
        settings: Chunk size, encoding; None for the defaults.

    Raises:
        DocumentUnreadable: Text that is missing, not permitted or not in the encoding.
        ImageUnreadable: A picture that is missing, empty, truncated or too large.
    """
    settings = settings or ReadSettings()
    file = real_path(path)
    suffix = file.suffix.lower()
    check_suffix(file)
    if suffix in IMAGE_SUFFIXES:
        shown = Entity(None, pictures=(Caption(read_picture(file), ""),))
        return _record(shown, file, settings)
    text = read_text(file, settings.encoding)
    if suffix in TEXT_SUFFIXES:
        return _record(Entity(None, text), file, settings)
    return markdown_record(
        parse_markdown(text),
        file_origin(file),
        settings,
        folder=file.parent,
        root=real_path(root) if root is not None else None,
    )


def check_suffix(file: Path) -> None:
    """Raise DocumentUnreadable if the file is of no kind that is read."""
    if file.suffix.lower() not in READABLE_SUFFIXES:
        msg = (
            f"Cannot read {str(file)!r}: the suffix {file.suffix!r} is unknown. "
            f"Expected one of {', '.join(sorted(READABLE_SUFFIXES))}. Convert the "
            f"file, or load it with a LlamaIndex reader and insert its documents."
        )
        raise DocumentUnreadable(msg)


def _record(entity: Entity, file: Path, settings: ReadSettings) -> SourceRecord:
    origin = file_origin(file)
    return SourceRecord(
        origin.ref_doc_id, nodes_of([entity], origin, settings), whole=True
    )


def file_origin(file: Path) -> Origin:
    """Return what a file's nodes share: its path as document id, and its name."""
    metadata = {FILE_NAME_KEY: file.name, FILE_PATH_KEY: file.as_posix()}
    return Origin(file.as_posix(), metadata)


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
        msg = f"Cannot read {str(file)!r}: {error.strerror}. Check the file."
        raise DocumentUnreadable(msg) from error
    for mark, marked_encoding in _MARKS:
        if data.startswith(mark):
            encoding = marked_encoding
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        msg = (
            f"Cannot read {str(file)!r} as {encoding}: byte {error.start} is "
            f"{data[error.start]:#04x}. Save it as UTF-8, or name its encoding: "
            f'ReadSettings(encoding="cp1252").'
        )
        raise DocumentUnreadable(msg) from error
    if "\0" in text:
        msg = (
            f"Cannot read {str(file)!r}: it holds NUL characters, so it is binary or "
            f"in another encoding. Save it as UTF-8 text or leave it out."
        )
        raise DocumentUnreadable(msg)
    return text.replace("\r\n", "\n").replace("\r", "\n")
