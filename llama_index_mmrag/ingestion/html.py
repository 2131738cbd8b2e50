"""HTML in Markdown: its text and its pictures, in time linear in its length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

from llama_index_mmrag.readers.page import PictureLink

_UNSHOWN_TAGS = frozenset({"script", "style", "svg", "template"})

_LINES = frozenset({"br", "figure", "figcaption"})
"""Tags that stand between lines."""

_HIDDEN = (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<!", ">"), ("<?", ">"))
"""What begins and ends markup that shows nothing; of several, the first that fits."""

_TAG = re.compile(
    r"""</?[a-zA-Z](?:[^<>"']|"[^"]*"|'[^']*')*>"""  # ">" and "<" may be quoted
    r"""|</?[a-zA-Z][^<>]*>"""  # an unpaired quote, as in title=it's
)


def read_html(
    source: str, reader: TagReader | None = None
) -> tuple[str, list[PictureLink]]:
    """Return the text of a piece of HTML, and the pictures it shows.

    Comments and scripts hold neither. Markup that does not end is text: it was
    probably meant as such.

    Args:
        source: HTML.
        reader: What read the pieces before it, of whose figures it may be a part.

    Example:
        >>> text, pictures = read_html('<b>1 &lt; 2</b> <img src="a.png" alt="A pie">')
        >>> text, [picture.alt for picture in pictures]
        ('1 < 2 A pie', ['A pie'])
    """
    reader = reader or TagReader([])
    reader.n_unshown = 0
    pieces = _pieces(source)
    text = [reader.read(it) if is_tag else reader.say(it) for it, is_tag in pieces]
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


class TagReader(HTMLParser):
    """What single tags show: pictures are collected, their texts returned.

    The caption of a figure is that of each picture in it.

    Args:
        pictures: Those before; more are added.
    """

    def __init__(self, pictures: list[PictureLink]) -> None:
        super().__init__(convert_charrefs=True)
        self.pictures = pictures
        self.n_unshown = 0
        self._shown = ""
        self._figure = 0  # where its pictures begin
        self._captions: list[str] = []
        self._is_caption = False

    def say(self, text: str) -> str:
        """Return what a text between tags shows."""
        if self.n_unshown:
            return ""
        if self._is_caption:
            self._captions.append(unescape(text))
        return unescape(text)

    def read(self, tag: str) -> str:
        """Return what stands for one whole tag in the text."""
        self.reset()
        self._shown = ""
        self.feed(tag)
        return self._shown

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a picture, or the beginning of what holds some."""
        if tag in _UNSHOWN_TAGS:
            self.n_unshown += 1
        if tag in _LINES:
            self._shown = "\n"
        if tag == "figure":
            self._figure, self._captions = len(self.pictures), []
        if tag in ("figure", "figcaption"):
            self._is_caption = tag == "figcaption"
        if tag != "img" or self.n_unshown:
            return
        values = {key: " ".join((value or "").split()) for key, value in attrs}
        alt, src = values.get("alt", ""), values.get("src", "")
        if src:
            self.pictures.append(PictureLink(src, alt, values.get("title", "")))
        self._shown = alt

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what begins and ends at once."""
        if tag not in _UNSHOWN_TAGS:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        """Take an end: a figure's pictures have its caption."""
        if tag in _LINES:
            self._is_caption, self._shown = False, "\n"
        if tag == "figure" and (said := " ".join("".join(self._captions).split())):
            its = self.pictures[self._figure :]
            self.pictures[self._figure :] = [replace(p, figcaption=said) for p in its]
            self._captions = []
        if tag in _UNSHOWN_TAGS and self.n_unshown:
            self.n_unshown -= 1
