"""Parts of a web page: what stands under a heading, and which elements are which."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from selectolax.lexbor import LexborNode

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.page import Caption, PictureLink, Section

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
