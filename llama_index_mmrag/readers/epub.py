"""Books: EPUB as its spine has it, each part of it a web page under its titles."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urldefrag

from selectolax.lexbor import LexborHTMLParser, LexborNode

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.archives import Archive
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.page import Page, PictureLink, Section
from llama_index_mmrag.readers.parts import MOST_HEADING
from llama_index_mmrag.readers.web.document import decoded, page_of_part, time_for
from llama_index_mmrag.readers.web.parts import (
    Held,
    is_navigation,
    with_bytes,
)
from llama_index_mmrag.readers.writing import one_line

_CONTAINER = "META-INF/container.xml"
_TOLD = {"title": "title", "creator": "author", "language": "language"}
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d)?)?)?)?")
_MOST_TITLES = 8
"""Deeper ones of a table of contents are left out; it may nest any number."""

Titles: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Book:
    """What a book says of itself."""

    metadata: Mapping[str, str]
    spine: tuple[str, ...]
    """Its parts' files in the order of reading."""
    cover: str | None
    titles: dict[str, dict[str, Titles]] = field(default_factory=dict)
    """By file and fragment: what stands above from there on."""


def read(file: Path, how: How) -> Page:
    """Return the page of a book.

    A part of it that cannot be read is a problem, and the others are read.

    Raises:
        DocumentUnreadable: It is no zip within the limits or no book, or all of it is
            locked (DRM).
    """
    archive = Archive(file, how)
    problems: list[str] = []
    locked = {unquote(name) for name in archive.locked()}
    book = _book(archive, how, problems)
    if locked.issuperset(book.spine):
        raise archive.unreadable(
            "it is locked (DRM), or holds no page", "Ask its seller for an open one"
        )
    return Page(
        _sections(archive, how, book, locked, problems), book.metadata, problems
    )


def _sections(
    archive: Archive, how: How, book: _Book, locked: set[str], problems: list[str]
) -> Iterator[Section]:
    seen: Counter[Titles] = Counter()
    title = tuple(filter(None, [book.metadata.get("title", "")]))
    above, cover = title, book.cover
    with archive:
        for name in book.spine:
            starts = book.titles.get(name, {})
            # A book's first part may be called as the book is.
            titles = {at: tuple(dict.fromkeys((*title, *starts[at]))) for at in starts}
            above = titles.pop("", above)
            held = Held(_named(archive, name), is_navigation, above, titles)
            try:
                if name in locked:
                    raise archive.unreadable(f"{name!r} in it is locked (DRM)")
                text = decoded(archive.read(name), how.encoding)
                page = page_of_part(text, how, held, seen)
            except (DocumentUnreadable, ValueError) as error:
                problems.append(f"{name}: {error}")
                continue
            problems += [f"{name}: {problem}" for problem in page.problems]
            above = [above, *titles.values()][-1]
            sections = page.sections
            if cover is not None:
                links = (link for one in sections for link in one.pictures)
                if cover not in {getattr(link, "src", "") for link in links}:
                    its = (PictureLink(cover),)
                    first = Section("", its, title, ("section", "cover"))
                    sections = (first, *sections)
                cover = None
            for one in sections:
                yield with_bytes(one, archive.read, problems)


def _named(archive: Archive, name: str) -> Any:
    """Return what finds a picture by a link of a part."""
    names = {*archive.names}

    def named(src: str) -> str | None:
        at = _joined(name, src)[0]
        return at if at in names else None

    return named


def _joined(name: str, href: str) -> tuple[str, str]:
    """Return the file and the fragment that a link in a file means."""
    path, fragment = urldefrag(href)
    below = posixpath.join(posixpath.dirname(name), unquote(path))
    return (posixpath.normpath(below) if path else name), unquote(fragment)


def _book(archive: Archive, how: How, problems: list[str]) -> _Book:
    container = archive.xml(_CONTAINER)
    opf = next((one.get("full-path", "") for one in _all(container, "rootfile")), "")
    package = archive.xml(opf, doctype=True)
    items = {one.get("id", ""): one for one in _all(package, "item")}
    files = {key: _joined(opf, one.get("href", ""))[0] for key, one in items.items()}
    said = {one.get("name"): one.get("content", "") for one in _all(package, "meta")}
    kinds = {key: one.get("properties", "").split() for key, one in items.items()}
    covers = [key for key, its in kinds.items() if "cover-image" in its]
    covers += [key for key in (said.get("cover"),) if key in items]
    refs = [one.get("idref", "") for one in _all(package, "itemref")]
    spine = dict.fromkeys(files[ref] for ref in refs if ref in files)
    book = _Book(_metadata(package), tuple(spine), files[covers[0]] if covers else None)
    navs = [files[key] for key, its in kinds.items() if "nav" in its]
    toc = next((one.get("toc") for one in _all(package, "spine")), None)
    try:
        if navs:
            text = decoded(archive.read(navs[0]), how.encoding)
            with time_for(len(text), how):
                entries = iter([*_of_nav(text, navs[0])])
        elif toc in files:
            entries = _of_ncx(archive.xml(files[toc], doctype=True), files[toc])
        else:
            entries = iter(())
        for (name, fragment), titles in entries:
            book.titles.setdefault(name, {}).setdefault(fragment, titles)
    except (DocumentUnreadable, ValueError) as error:
        problems.append(f"Its table of contents is not read: {error}")
    return book


def _metadata(package: Any) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for one in next(_all(package, "metadata"), ()):
        tag, text = _tag(one), one_line("".join(one.itertext()))
        if tag == "date" and one.get("{http://www.idpf.org/2007/opf}event") not in (
            *(None, "publication", "original-publication"),
        ):
            continue
        key = "created_at" if tag == "date" else _TOLD.get(tag)
        if key and text and (tag != "date" or _DATE.fullmatch(text)):
            found.setdefault(key, []).append(text)
    said = {k: ", ".join(its) if k == "author" else its[0] for k, its in found.items()}
    return {key: text[:MOST_HEADING] for key, text in said.items()}


def _of_nav(text: str, name: str) -> Iterator[tuple[tuple[str, str], Titles]]:
    """Yield where the entries of a nav.xhtml lead, and the titles down to each."""
    tree = LexborHTMLParser(text)
    navs = tree.css('nav[epub\\:type~="toc"], nav[role="doc-toc"]') or tree.css("nav")
    todo: list[tuple[LexborNode, Titles]] = [(nav, ()) for nav in navs[:1]]
    while todo:
        node, above = todo.pop()
        titles, inner = above, []
        for child in node.iter():
            if child.tag in ("a", "span") and titles is above:
                said = one_line(child.text())[:MOST_HEADING]
                titles = (*above, said)[:_MOST_TITLES] if said else above
                if said and (href := child.attributes.get("href")):
                    yield _joined(name, href), titles
            elif child.tag in ("ol", "ul", "li"):
                inner.append(child)
        todo += [(child, titles) for child in reversed(inner)]


def _of_ncx(root: Any, name: str) -> Iterator[tuple[tuple[str, str], Titles]]:
    """Yield the same of an older book's table of contents."""
    above: dict[Any, Titles] = {}
    for point in _all(root, "navPoint"):
        label = next((one for one in point if _tag(one) == "navLabel"), None)
        said = "" if label is None else one_line("".join(label.itertext()))
        titles = (*above.get(point.getparent(), ()), said[:MOST_HEADING])
        above[point] = titles = tuple(filter(None, titles))[:_MOST_TITLES]
        leads = (one.get("src") for one in point if _tag(one) == "content")
        yield from ((_joined(name, src), titles) for src in leads if src and titles)


def _all(root: Any, tag: str) -> Iterator[Any]:
    yield from root.iter(f"{{*}}{tag}")


def _tag(node: Any) -> str:
    return str(node.tag).rpartition("}")[2]
