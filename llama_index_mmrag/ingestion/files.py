"""Files: a reader for each format, and what one file contributes."""

from __future__ import annotations

import codecs
import logging
from collections import ChainMap
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.ingestion.attachments import with_attached
from llama_index_mmrag.ingestion.limits import LIMITS
from llama_index_mmrag.ingestion.linked import FILE_NAME_KEY, Origin
from llama_index_mmrag.ingestion.links import captions_of
from llama_index_mmrag.ingestion.markdown import MARKDOWN_SUFFIXES, markdown_page
from llama_index_mmrag.ingestion.own_reader import own_page
from llama_index_mmrag.ingestion.pages import page_record
from llama_index_mmrag.ingestion.paths import real_path
from llama_index_mmrag.ingestion.pictures import pages_of, read_picture
from llama_index_mmrag.ingestion.records import (
    ReadSettings,
    SourceRecord,
)
from llama_index_mmrag.ingestion.roots import MEDIA, Root
from llama_index_mmrag.ingestion.scans import Scans, drawn, is_scan, with_scans
from llama_index_mmrag.nodes.images import IMAGE_SUFFIXES
from llama_index_mmrag.nodes.node import FILE_PATH_KEY, ROOT_KEY
from llama_index_mmrag.readers.children import Child
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.kinds import (
    CHILD_READERS,
    NAMED_OTHERWISE,
    ChildReader,
    advice_of,
    content_of,
    mistaken,
)
from llama_index_mmrag.readers.page import Caption, Page, PictureLink, Section

logger = logging.getLogger(__name__)

_KEPT_TO = [each.name for each in fields(How) if each.name in LIMITS]
"""Limits that a reader keeps to itself."""

_LEAST_PIXELS = 32
"""Of a side: a smaller one on a web page is a mark, a bullet or counts visitors."""

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
        path: A file of one of the kinds in docs/documents.md, or of `file_extractor`.
        root: Folder that links such as "/pix/a.webp" start from, and whose name ids
            begin with; None for the file's own.
        settings: Chunk size, encoding; None for the defaults.

    Raises:
        DocumentUnreadable: Text that is missing, not permitted or not in the encoding,
            or beyond a limit.
        MissingExtra: What reads it is not installed.
        ImageUnreadable: A picture that is missing, empty, truncated or too large.
    """
    found = settings or ReadSettings()
    file = real_path(path, kinds_of(found))
    start = None if root is None else real_path(root)
    folder = start if start and file.is_relative_to(start) else file.parent
    root_, children = Root.of(folder), []  # type: ignore[var-annotated]
    try:
        return read_found(file, root_.id_of(file), root_, start, found, children)
    finally:
        for child in children:
            child.close()


def read_found(  # noqa: PLR0913, PLR0917 - the file, and all that its page follows from
    file: Path,
    ref_doc_id: str,
    root: Root,
    links_from: Path | None,
    settings: ReadSettings,
    children: list[Child],
    scans: Scans | None = None,
) -> SourceRecord:
    """Return what `read_file` does, for a file and folders under their real paths.

    Args:
        file: The file.
        ref_doc_id: Its id.
        root: Where it lies.
        links_from: Where links such as "/pix/a.webp" start.
        settings: How it is read.
        children: Processes that read; one is added when it is needed. The caller
            closes them.
        scans: What reads pages that are pictures; None: nothing does.
    """
    page = _page_of(file, ref_doc_id, settings, links_from, children, scans)
    metadata = {
        ROOT_KEY: root.name,
        FILE_NAME_KEY: ref_doc_id.rpartition("/")[2],
        FILE_PATH_KEY: file.as_posix(),
    }
    places = {root.name: root.folder.as_posix().rstrip("/")}
    if settings.media_dir is not None:
        places[MEDIA] = settings.media_dir.absolute().as_posix()
    origin = Origin(ref_doc_id, metadata, places=places, root=root)
    record = page_record(page, origin, settings)
    if not page.attachments:
        return record

    def read(attached: Path) -> Page | None:
        if not reads(attached, kinds_of(settings)):
            return None
        name, folder = attached.name, attached.parent
        return _page_of(attached, name, settings, folder, children, scans)

    return with_attached(record, page, origin, settings, read)


def _page_of(  # noqa: PLR0913, PLR0917 - as of `read_found`
    file: Path,
    name: str,
    settings: ReadSettings,
    root: Path | None,
    children: list[Child],
    scans: Scans | None,
) -> Page:
    suffix = file.suffix.lower()
    if own := settings.file_extractor.get(suffix):
        return _shown(own_page(file, own, settings), file, settings, root)
    if suffix in READERS:
        return READERS[suffix](file, settings, root)
    check_kind(file, KINDS)
    page = _child_page(file, settings, root, children)
    if any(map(is_scan, page.sections)):
        draw = partial(drawn, file, _child(settings, children), settings)
        page = with_scans(page, name, scans, draw)
    return page


Reader: TypeAlias = Callable[[Path, ReadSettings, Path | None], Page]
"""Makes a page of a file; links such as "/pix/a.webp" start from the last argument."""


def _text_file(file: Path, settings: ReadSettings, _root: Path | None) -> Page:
    limit = settings.limits.text_bytes
    return Page((Section(read_text(file, settings.encoding, limit)),))


def _markdown_file(file: Path, settings: ReadSettings, root: Path | None) -> Page:
    limits = settings.limits
    text = read_text(file, settings.encoding, limits.text_bytes)
    return markdown_page(text, folder=file.parent, root=root, pixels=limits.pixels)


def _picture_file(file: Path, settings: ReadSettings, _root: Path | None) -> Page:
    limits = settings.limits
    if file.stat().st_size > limits.file_bytes:
        raise _too_large(file, limits.file_bytes, "file_bytes")
    picture = read_picture(file, pixels=limits.pixels)
    pages, problems = pages_of(picture, pixels=limits.pixels)
    shown = [
        Caption(page, "", about={"page": n} if page is not picture else {})
        for n, page in enumerate(pages, 1)
    ]
    return Page(tuple(Section(pictures=(one,)) for one in shown), problems=problems)


READERS: dict[str, Reader] = {
    **dict.fromkeys((".txt", ".text", ".rst", ".adoc", ".org", ".tex"), _text_file),
    **dict.fromkeys(MARKDOWN_SUFFIXES, _markdown_file),
    **dict.fromkeys(sorted(IMAGE_SUFFIXES), _picture_file),
}
"""What reads a file in this process, which is faster for these: a picture is decoded
here anyway, and a text costs less than what goes to a child and back."""

KINDS = ChainMap[str, object](READERS, CHILD_READERS)  # type: ignore[arg-type]
"""What is read, by suffix in lower case."""


def kinds_of(settings: ReadSettings) -> Collection[str]:
    """Return the suffixes that are read, and by what: the user's own come first."""
    if not settings.file_extractor:
        return KINDS
    return ChainMap[str, object](dict(settings.file_extractor), *KINDS.maps)


def _child_reader(suffix: str, kinds: Collection[str]) -> ChildReader | None:
    row = (kinds if isinstance(kinds, Mapping) else KINDS).get(suffix)
    return row if isinstance(row, ChildReader) else None


def reads(file: Path, kinds: Collection[str]) -> bool:
    """Return whether a file is read.

    What needs a package that is not installed is not, nor is a page of a name that only
    servers give it, where it is none.
    """
    suffix = file.suffix.lower()
    row = _child_reader(suffix, kinds)
    if suffix not in kinds or row is None:
        return suffix in kinds
    if suffix in NAMED_OTHERWISE:
        try:
            if content_of(file) != "html":
                return False
        except DocumentUnreadable:
            return False
    return row.missing(suffix) is None


def check_kind(file: Path, kinds: Collection[str]) -> None:
    """Do nothing if a file is of a kind that is read.

    Raises:
        DocumentUnreadable: It is not.
        MissingExtra: It would be, with a package that is not installed.
    """
    suffix = file.suffix.lower()
    row = _child_reader(suffix, kinds)
    if row is not None and (missing := row.missing(suffix)):
        raise missing
    if reads(file, kinds):
        return
    advice = advice_of(suffix) or (
        "Convert the file, or load it with a LlamaIndex reader and insert its "
        "documents; or give a reader of yours: ReadSettings(file_extractor=...)."
    )
    listed = ", ".join(sorted({*kinds} - NAMED_OTHERWISE))
    raise DocumentUnreadable(
        f"Cannot read {str(file)!r}: the suffix {file.suffix!r} is not read. Expected "
        f"one of {listed}. {advice}"
    )


def _child_page(
    file: Path, settings: ReadSettings, root: Path | None, children: list[Child]
) -> Page:
    suffix, limits = file.suffix.lower(), settings.limits
    row = CHILD_READERS[suffix]
    content = content_of(file)
    if content == "picture":
        logger.warning("%s is a picture, whatever its name, and read as one.", file)
        return _picture_file(file, settings, root)
    if content not in ("", row.content):
        raise mistaken(file, content)
    if suffix in NAMED_OTHERWISE:
        logger.warning("%s is HTML, whatever its name, and read as that.", file)
    most_bytes = limits.text_bytes if row.is_text else limits.file_bytes
    kept = {name: getattr(limits, name) for name in _KEPT_TO}
    of_pages = settings.page_pictures
    how = How(settings.encoding, most_bytes, **kept, page_pictures=of_pages)
    page = _child(settings, children).page(file, row.module, how)
    return _shown(page, file, settings, root)


def _child(settings: ReadSettings, children: list[Child]) -> Child:
    limits = settings.limits
    if not children:
        bounds = {
            n: getattr(limits, n) for n in ("file_s", "memory_bytes", "file_bytes")
        }
        children.append(Child(**bounds))
    return children[0]


def _shown(page: Page, file: Path, settings: ReadSettings, root: Path | None) -> Page:
    """Return a page with its links opened, as those of a Markdown text are."""
    problems, sections = [*page.problems], []
    for section in page.sections:
        links = [one for one in section.pictures if isinstance(one, PictureLink)]
        opened = captions_of(
            links,
            section.headings,
            folder=file.parent,
            root=root,
            problems=problems,
            pixels=settings.limits.pixels,
            least_pixels=_LEAST_PIXELS,
        )
        held = [one for one in section.pictures if isinstance(one, Caption)]
        sections.append(replace(section, pictures=(*held, *opened)))
    return replace(page, sections=tuple(sections), problems=tuple(problems))


def _too_large(file: Path, most_bytes: int, limit: str) -> DocumentUnreadable:
    return DocumentUnreadable(
        f"Cannot read {str(file)!r}: it has more than {most_bytes:,} bytes. Split it "
        f"or leave it out, or raise ReadLimits.{limit}."
    )


def read_text(file: Path, encoding: str, most_bytes: int) -> str:
    r"""Return a text file's content with "\n" line ends and no byte order mark.

    A byte order mark wins over `encoding`. No other encoding is guessed: a wrong guess
    would store nonsense that nobody sees.

    Raises:
        DocumentUnreadable: Missing, not permitted, too large, not in the encoding, or
            binary.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(most_bytes + 1)
    except OSError as error:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: {error.strerror}. Check the file."
        ) from error
    if len(data) > most_bytes:
        raise _too_large(file, most_bytes, "text_bytes")
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
