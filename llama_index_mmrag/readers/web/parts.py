"""Parts of a web page: what stands under a heading, and which elements are which."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from selectolax.lexbor import LexborNode

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.captions import captioned_by
from llama_index_mmrag.readers.page import Caption, PictureLink, Section
from llama_index_mmrag.readers.parts import Part
from llama_index_mmrag.readers.writing import one_line

UNSHOWN = frozenset({
    "script", "style", "template", "head", "iframe", "object", "embed",
    "audio", "video", "canvas", "map", "select", "button", "input", "textarea",
    "datalist", "dialog", "rp", "annotation", "annotation-xml", "noframes", "-comment",
})  # fmt: skip
BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "body", "dd", "details", "div",
    "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "header",
    "hgroup", "hr", "legend", "li", "main", "nav", "ol", "p", "pre", "section",
    "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
    "caption", "center", "h1", "h2", "h3", "h4", "h5", "h6",
})  # fmt: skip
_DISPLAY_NONE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def is_hidden(node: LexborNode) -> bool:
    """Return whether an element says that it is not shown."""
    said = node.attributes
    return (
        "hidden" in said
        or said.get("aria-hidden") == "true"
        or bool(_DISPLAY_NONE.search(said.get("style") or ""))
    )


def is_navigation(node: LexborNode) -> bool:
    """Return whether an element leads elsewhere, and is no content."""
    return node.tag == "nav" or node.attributes.get("role") == "navigation"


@dataclass(frozen=True, slots=True)
class Held:
    """What a book or a mail knows of HTML that it holds."""

    named: Callable[[str], str | None]
    """Returns the name, in what holds it, of the picture that a link means; None: it
    holds none."""
    leave_out: Callable[[LexborNode], bool]
    above: tuple[str, ...] = ()
    """Titles that stand above all headings."""
    anchors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Those that stand above from an element on, by its id."""


def captioned(part: Part) -> Part:
    """Return a part whose pictures have captions that are paragraphs beside them.

    One below is that of all pictures with nothing but their alt texts between.
    """
    alts: dict[int, list[str]] = {}
    for at, link in zip(part.at, part.links, strict=True):
        alts.setdefault(at, []).extend(link.alt.split())
    below: dict[int, int] = {}
    said: dict[int, str] = {}
    for at in sorted(alts, reverse=True):
        words = part.blocks[at][0].split() if at < len(part.blocks) else []
        is_alt = words[: len(alts[at])] == alts[at]
        said[at] = " ".join(words[len(alts[at]) :] if is_alt else words)
        below[at] = at if said[at] else below.get(at + 1, at + 1)

    theirs = {link.figcaption for link in part.links}  # of figures

    def caption(at: int) -> str:
        if not 0 <= at < len(part.blocks):
            return ""
        text = said.get(at, one_line(part.blocks[at][0]))
        is_free = text not in theirs and captioned_by(text) == "figure"
        return text if is_free else ""

    taken = {at for at in below.values() if caption(at)}
    found = {
        at: caption(below[at]) or ("" if at - 1 in taken else caption(at - 1))
        for at in alts
    }
    links = [
        replace(link, figcaption=link.figcaption or found[at])
        for at, link in zip(part.at, part.links, strict=True)
    ]
    return replace(part, links=links)


def with_captions(link: PictureLink, captions: Iterable[str]) -> PictureLink:
    """Return a picture with the captions of a figure around it."""
    said = filter(None, (link.figcaption, *captions))
    return replace(link, figcaption=". ".join(dict.fromkeys(said)))


def with_bytes(
    section: Section, read: Callable[[str], bytes], problems: list[str]
) -> Section:
    """Return a section with its pictures' bytes.

    Args:
        section: Its links name pictures as `Held` does.
        read: Returns a picture by its name, or raises DocumentUnreadable.
        problems: More are added.
    """
    links: list[Caption | PictureLink] = []
    for link in section.pictures:
        try:
            if isinstance(link, PictureLink) and link.data is None:
                links.append(replace(link, data=read(link.src)))
            else:
                links.append(link)
        except DocumentUnreadable as error:
            problems.append(str(error))
    return replace(section, pictures=tuple(links))
