"""HTML in Markdown: its text and its pictures, in time linear in its length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser

from llama_index_mmrag.ingestion.links import PictureLink

_UNSHOWN_TAGS = frozenset({"script", "style", "svg", "template"})

_HIDDEN = (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<!", ">"), ("<?", ">"))
"""What begins and ends markup that shows nothing; of several, the first that fits."""

_TAG = re.compile(
    r"""</?[a-zA-Z](?:[^<>"']|"[^"]*"|'[^']*')*>"""  # ">" and "<" may be quoted
    r"""|</?[a-zA-Z][^<>]*>"""  # an unpaired quote, as in title=it's
)


def read_html(source: str) -> tuple[str, list[PictureLink]]:
    """Return the text of a piece of HTML, and the pictures it shows.

    Comments and scripts hold neither. Markup that does not end is text: it was
    probably meant as such.

    Example:
        >>> read_html('<b>1 &lt; 2</b> <img src="a.png" alt="A pie">')
        ('1 < 2 A pie', [PictureLink(src='a.png', alt='A pie', title='')])
    """
    reader = _TagReader()
    text: list[str] = []
    for piece, is_tag in _pieces(source):
        if is_tag:
            text.append(reader.read(piece))
        elif not reader.n_unshown:
            text.append(unescape(piece))
    return "".join(text), reader.pictures


def _pieces(source: str) -> Iterator[tuple[str, bool]]:
    """Yield texts (False) and whole tags (True), and leave out what shows nothing.

    The standard library's parser (Python 3.11) searches the rest of the text for each
    "<" that nothing ends, so that time grows with the square, and stops at some "<!["
    with an AssertionError: it gets single, whole tags.
    """
    endless: set[str] = set()  # ends that do not come any more: searched for once
    begin = position = 0
    last = source.rfind(">")
    while 0 <= (position := source.find("<", position)) < last:
        tag = _TAG.match(source, position)
        end = tag.end() if tag else _end_of_hidden(source, position, endless)
        if end is None:
            position += 1
            continue
        yield source[begin:position], False
        if tag:
            yield tag.group(), True
        begin = position = end
    yield source[begin:], False


def _end_of_hidden(source: str, position: int, endless: set[str]) -> int | None:
    for opening, closing in _HIDDEN:
        if source.startswith(opening, position) and closing not in endless:
            end = source.find(closing, position + len(opening))
            if end >= 0:
                return end + len(closing)
            endless.add(closing)
    return None


class _TagReader(HTMLParser):
    """What single tags show: pictures are collected, their texts returned."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pictures: list[PictureLink] = []
        self.n_unshown = 0
        self._shown = ""

    def read(self, tag: str) -> str:
        """Return what stands for one whole tag in the text."""
        self.reset()
        self._shown = ""
        self.feed(tag)
        return self._shown

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSHOWN_TAGS:
            self.n_unshown += 1
        if tag == "br":
            self._shown = "\n"
        if tag != "img" or self.n_unshown:
            return
        values = {key: " ".join((value or "").split()) for key, value in attrs}
        alt, src = values.get("alt", ""), values.get("src", "")
        if src:
            self.pictures.append(PictureLink(src, alt, values.get("title", "")))
        self._shown = alt

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _UNSHOWN_TAGS:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSHOWN_TAGS and self.n_unshown:
            self.n_unshown -= 1
