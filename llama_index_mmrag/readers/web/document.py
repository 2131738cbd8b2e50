"""Web pages: HTML as what it shows, sections under their headings."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from selectolax.lexbor import LexborHTMLParser, LexborNode

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.files.reading import check_regular
from llama_index_mmrag.readers.cpu import at_most
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.page import Page
from llama_index_mmrag.readers.parts import MOST_HEADING, sections_of
from llama_index_mmrag.readers.web.parts import (
    Held,
    captioned,
    is_hidden,
    is_navigation,
)
from llama_index_mmrag.readers.web.writing import Writer
from llama_index_mmrag.readers.writing import one_line

_CPU_SHARE = 1 / 150
"""Of a file's seconds, in processor time, for a megabyte of HTML and once more: 2 s of
300. The densest page takes 1.4 s a megabyte. The parser's time grows with the square of
elements in each other (200,000 `<div>`: over a minute) and of an element's attributes
(a million: over ten minutes), and which ones nest is told by its own rules alone."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# Where a browser looks for it, and what an XML declaration says.
_CHARSET = re.compile(
    rb"""<meta[^>]{0,500}?charset\s*=\s*["']?\s*([\w:.-]+)|<\?xml[^>]{0,500}?encoding"""
    rb"""\s*=\s*["']([\w:.-]+)""",
    re.IGNORECASE,
)
_LOOKED_AT = 4096

# By the rules of the web, whatever says one of these means the other.
_MEANT = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254",
    "gb2312": "gb18030", "gbk": "gb18030",
    "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs", "tis-620": "cp874",
    "utf-16": "utf-8", "utf-16-le": "utf-8", "utf-16-be": "utf-8",
}  # fmt: skip
_NOT_OF_THE_WEB = re.compile(
    r"utf-7|utf-32.*|idna|punycode|undefined|.*escape|hex|base64|quopri|uu|bz2|zlib|rot-13"
)

_NO_CONTENT = re.compile(
    r"<(title|script|style|iframe|textarea|noscript|[abipq]|div|span|h[1-6]|li|t[dhr]|em)"
    r"\b([^<>]*)/>",
    re.IGNORECASE,
)
"""Elements of XHTML that end where they begin, which HTML knows nothing of."""

_NOTES = ", ".join(
    f'[{said}~="{kind}"]'
    for said, prefix in (("epub\\:type", ""), ("role", "doc-"))
    for kind in (f"{prefix}footnote", f"{prefix}endnote", f"{prefix}rearnote")
)

_NOT_CONTENT = frozenset({"nav", "header", "footer", "aside"})
_NOT_CONTENT_ROLES = frozenset(
    {"navigation", "banner", "contentinfo", "complementary", "search"}
)
_SECTIONING = frozenset({"article", "section", "main"})


def read(file: Path, how: How) -> Page:
    """Return the page in a file of HTML or XHTML.

    Raises:
        DocumentUnreadable: Missing, too large, or not in its encoding.
    """
    data = content(file, how)
    try:
        return page_within(decoded(data, how.encoding), how)
    except ValueError as error:
        raise DocumentUnreadable(f"Cannot read {str(file)!r}: {error}") from error


def content(file: Path, how: How) -> bytes:
    """Return what a file of text holds.

    Raises:
        DocumentUnreadable: Missing, or too large.
    """
    try:
        check_regular(file)
        with file.open("rb") as opened:
            data = opened.read(how.most_bytes + 1)
    except (OSError, ValueError) as error:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: {error}. Check the file."
        ) from error
    if len(data) > how.most_bytes:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: it has more than {how.most_bytes:,} bytes. "
            f"Split it, or raise ReadLimits.text_bytes."
        )
    return data


def page_within(text: str, how: How) -> Page:
    """Return what `web_page` does; what takes far too long ends this process."""
    with time_for(len(text), how):
        return web_page(text)


def page_of_part(
    text: str, how: How, held: Held, seen: Counter[tuple[str, ...]] | None = None
) -> Page:
    """Return the page that HTML in a book or a mail shows: all of its body.

    Its pictures are links to what `held` names. Footnotes stand behind the paragraphs
    that name them.

    Args:
        text: HTML or XHTML.
        how: As for `read`.
        held: What holds it.
        seen: How many sections there were under each heading; counted on.
    """
    with time_for(len(text), how):
        tree = LexborHTMLParser(_NO_CONTENT.sub(r"<\1\2></\1>", text))
        notes = {node.attributes.get("id") or "": node for node in tree.css(_NOTES)}
        written = Writer(held=held, notes=notes)
        if tree.body is not None:
            written.write(tree.body, leave_out=held.leave_out)
        sections = tuple(sections_of(map(captioned, written.parts), seen))
        return Page(sections, _said_of(tree), tuple(written.problems()))


def time_for(n_bytes: int, how: How) -> AbstractContextManager[None]:
    """End this process where parsing so much takes far more time than it should."""
    return at_most(how.file_s * _CPU_SHARE * (1 + n_bytes / 1e6))


def decoded(data: bytes, encoding: str = "utf-8", said: str = "") -> str:
    """Return HTML's text: by its mark, what it says itself, or else in `encoding`.

    What came with it in `said`, as in a mail's header, wins over what it says.

    Raises:
        ValueError: It is in none that a page may be in.
    """
    named = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if not said and (found := _CHARSET.search(data[:_LOOKED_AT])):
        said = (found[1] or found[2]).decode("ascii")
    if named is None and said:
        try:
            named = codecs.lookup(said).name
        except LookupError:
            named = "unknown"
        if named == "unknown" or _NOT_OF_THE_WEB.fullmatch(named):
            raise ValueError(
                f"it says that its encoding is {said!r}, which no page may be in. Save "
                f"it as UTF-8."
            )
        named = _MEANT.get(named, named)
    try:
        text = data.decode(named or encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start} is {data[error.start]:#04x}, which is not "
            f"{named or encoding}. Save it as UTF-8, let it say its encoding, or name "
            f'that: ReadSettings(encoding="cp1252").'
        ) from error
    if "\0" in text:
        raise ValueError(
            "it holds NUL characters, so it is binary or in another encoding. Save it "
            "as UTF-8 or leave it out."
        )
    return text


def web_page(text: str) -> Page:
    """Return the page that HTML shows; what stands under a heading is one entity.

    Of `<main>`, else of each `<article>`, else of the body without `<nav>`, `<header>`,
    `<footer>` and `<aside>`; never of what is hidden, and of no script. Pictures on the
    web are counted, and not fetched.

    Example:
        >>> page = web_page("<h1>Pie</h1><nav>Home</nav><p>Flour, <b>salt</b>.")
        >>> [(section.headings, section.text) for section in page.sections]
        [(('Pie',), 'Flour, salt.')]
    """
    tree = LexborHTMLParser(text)
    head = tree.css_first("title")
    title = one_line(head.text()) if head is not None else ""
    base = tree.css_first("base[href]")
    written = Writer((base and base.attributes.get("href")) or "")
    for roots, is_all in _contents(tree):
        written = Writer(written.base)
        for root in roots:
            written.write(root, leave_out=_frame if is_all else is_navigation)
        if any(part.blocks or part.links for part in written.parts):
            break
    said = {"title": title, **_said_of(tree)}
    metadata = {key: it for key, it in said.items() if 0 < len(it) <= MOST_HEADING}
    is_headed = any(part.headings and part.level == 1 for part in written.parts)
    if "title" in metadata and not is_headed:
        written.entitle(title)
    sections = tuple(sections_of(map(captioned, written.parts)))
    return Page(sections, metadata, tuple(written.problems()))


def _contents(tree: LexborHTMLParser) -> Iterator[tuple[list[LexborNode], bool]]:
    """Yield what may be a page's content, and whether it is all there is."""
    for kind, selector in (("main", "main, [role=main]"), ("article", "article")):
        found = [node for node in tree.css(selector) if not _is_within(node, kind)]
        if found:
            yield found, False
    if tree.body is not None:
        yield [tree.body], True


def _is_within(node: LexborNode, kind: str) -> bool:
    """Return whether an element stands in such another one, or in a hidden one."""
    if is_hidden(node):
        return True
    above = node.parent
    while above is not None and above.tag not in (None, "-undef", "-document"):
        if is_hidden(above) or kind in (above.tag, above.attributes.get("role")):
            return True
        above = above.parent
    return False


def _frame(node: LexborNode) -> bool:
    """Return whether an element is around a page's content, and not of it."""
    if node.attributes.get("role") in _NOT_CONTENT_ROLES or node.tag == "nav":
        return True
    if node.tag not in _NOT_CONTENT:
        return False
    above = node.parent
    while above is not None and above.tag not in _SECTIONING:
        above = above.parent
    # The header of a section is its heading; an aside is one wherever it stands.
    return above is None or node.tag == "aside"


def _said_of(tree: LexborHTMLParser) -> dict[str, str]:
    root, author = tree.css_first("html"), tree.css_first("meta[name=author]")
    return {
        "language": one_line((root and root.attributes.get("lang")) or ""),
        "author": one_line((author and author.attributes.get("content")) or ""),
    }
