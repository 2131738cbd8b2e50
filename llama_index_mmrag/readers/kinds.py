"""Kinds of files: what reads them in a child, and of what is not read, what to do.

A kind is known by its suffix, and where the first bytes say otherwise, by those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from llama_index_mmrag.checks.packages import found
from llama_index_mmrag.errors import DocumentUnreadable, MissingExtra
from llama_index_mmrag.files.reading import check_regular

find_spec = lru_cache(found)  # asked for each file of a folder


@dataclass(frozen=True, slots=True)
class ChildReader:
    """A format that is read in a child process.

    Its module is one of this folder, with `read(file: Path, how: How) -> Page`.
    """

    module: str
    package: str
    """What it needs."""
    extra: str
    """What installs that."""
    is_text: bool = True
    """Whether `ReadLimits.text_bytes` is for it."""
    content: str = "html"
    """What its first bytes are, see `content_of`, where they are known."""

    def missing(self, suffix: str) -> MissingExtra | None:
        """Return the error that says what to install; None: it is installed."""
        if find_spec(self.package) is not None:
            return None
        needed_for = f"Reading {suffix} files"
        return MissingExtra.of(self.package, extra=self.extra, needed_for=needed_for)


_WEB = ChildReader("web.document", "selectolax", "documents")

_DOCX, _PPTX = (
    ChildReader(module, "lxml", "documents", False, "zip archive")
    for module in ("docx.document", "pptx.document")
)

CHILD_READERS: dict[str, ChildReader] = {
    **dict.fromkeys((".html", ".htm", ".xhtml"), _WEB),
    **dict.fromkeys((".doc", ".xls"), _WEB),
    ".eml": ChildReader("mail", "selectolax", "documents", content=""),
    ".pdf": ChildReader("pdf.document", "pypdfium2", "documents", False, "PDF"),
    ".epub": ChildReader("epub", "selectolax", "documents", False, "zip archive"),
    **dict.fromkeys((".docx", ".docm"), _DOCX),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx"), _PPTX),
}
"""By suffix in lower case: a new format is a row here and its module."""

ALONE = frozenset(CHILD_READERS) - {
    *(".html", ".htm", ".xhtml", ".doc", ".xls", ".eml")
}
"""Suffixes of files that hold all that they show: what of them cannot be read, no other
file mends, and no package."""

NAMED_OTHERWISE = frozenset({".doc", ".xls"})
"""Suffixes of pages that servers give to HTML, for an office program to open it: read
only where they hold that."""

_LLAMAINDEX = "Load them with a LlamaIndex reader and insert() its documents."
_CONVERT = (
    "Convert them: soffice --headless --convert-to {} FILE (or load them with a "
    "LlamaIndex reader and insert() its documents)."
)
_AS_PICTURE = "Export them as PNG or JPEG."
_ADVICE = {
    ".doc .rtf .odt": _CONVERT.format("docx"),
    ".ppt .odp": _CONVERT.format("pptx"),
    ".msg .mbox": "Save each mail as EML.",
    ".csv .tsv .jsonl .xls .xlsx .ods .ipynb": _LLAMAINDEX,
    ".heic .heif": str(
        MissingExtra.of("pi_heif", extra="photos", needed_for="Reading them")
    ),
    ".svg .psd .dng .cr2 .cr3 .nef .arw .orf .rw2 .raf": _AS_PICTURE,
    ".zip .tar .gz .tgz .bz2 .xz .7z .rar": "Unpack them into the folder.",
    ".mp4 .mkv .mov .avi .webm .m4v .mp3 .wav .m4a .ogg .flac": "Put a text of what is "
    "said and shown beside them.",
}
ADVICE = {
    suffix: advice
    for suffixes, advice in _ADVICE.items()
    for suffix in suffixes.split()
}
"""What to do with files that are not read, by suffix in lower case."""

_OLE = "document of Office before 2007, or one with a password"
_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "picture",
    b"\xff\xd8\xff": "picture",
    b"GIF8": "picture",
    b"II*\0": "picture",
    b"MM\0*": "picture",
    b"%PDF-": "PDF",
    b"PK\x03\x04": "zip archive",
    b"\xd0\xcf\x11\xe0": _OLE,
}
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body", b"<!--")
_BLANKS = b"\xef\xbb\xbf \t\r\n"


def content_of(file: Path) -> str:
    """Return what a file's first bytes are: "html", "picture", "PDF", ...; "" is any.

    Raises:
        DocumentUnreadable: It cannot be read.
    """
    try:
        check_regular(file)
        with file.open("rb") as opened:
            start = opened.read(512)
    except (OSError, ValueError) as error:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: {error}. Check the file."
        ) from error
    text = start.lstrip(_BLANKS).lower()
    # Word and Excel of 2003 write XML that is no page.
    if text.startswith(_HTML) or (text.startswith(b"<?xml") and b"<html" in text):
        return "html"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "picture"
    return next((kind for mark, kind in _MAGIC.items() if start.startswith(mark)), "")


def mistaken(file: Path, content: str) -> DocumentUnreadable:
    """Return the error that says what a file is that is named as something else."""
    advice = "Name it as what it is."
    if content == "html":
        content = "web page (HTML)"
    if content == _OLE:
        advice = "Save it without one, or convert it: soffice --headless --convert-to "
        advice += "docx FILE (or pptx)."
    return DocumentUnreadable(
        f"Cannot read {str(file)!r}: it is a {content}, whatever its name. {advice}"
    )


def advice_for(ignored: Mapping[str, int]) -> list[str]:
    """Return a line for each kind of files that were not read, with what to do.

    Args:
        ignored: How many there are, by suffix in lower case.

    Example:
        >>> advice_for({".zip": 2, ".gz": 1, ".xyz": 1})
        ['.gz 1, .zip 2: Unpack them into the folder.']
    """
    lines: dict[str, list[str]] = {}
    for suffix, n_files in sorted(ignored.items()):
        if advice := advice_of(suffix):
            lines.setdefault(advice, []).append(f"{suffix} {n_files}")
    return [f"{', '.join(kinds)}: {advice}" for advice, kinds in lines.items()]


def advice_of(suffix: str) -> str:
    """Return what to do with files that are not read; "" where nothing is known."""
    row = None if suffix in NAMED_OTHERWISE else CHILD_READERS.get(suffix)
    missing = row and row.missing("such")
    return str(missing) if missing else ADVICE.get(suffix, "")
