"""Pages: what every format becomes, sections of words and pictures in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

PARAGRAPH = "\n\n"
LINE = "\n"

Said: TypeAlias = "tuple[tuple[str, str], ...]"
"""Words that came with a picture: what they are, such as "title", and the text."""

Box: TypeAlias = "tuple[float, float, float, float]"
"""x0, y0, x1, y1: shares of the page as it is displayed, from its top left."""

ABOUT: Mapping[str, type] = {
    "page": int,
    "page_end": int,
    "page_label": str,
    "box": list,
    "slide": int,
    "kind": str,
    "language": str,
    "read_by": str,
}
"""What a reader may say of where a node stands and what it is: metadata keys, and the
types of their values. `box` is a `Box`, as a list."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture that can be opened."""

    data: bytes
    """The file's bytes."""

    mimetype: str
    """From the content, not from the file's name."""

    path: Path | None
    """Absolute path, None for inline pictures."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A picture and the words that stand for it."""

    picture: Picture
    text: str
    words: Said = ()
    """What else came with it and may stand in no text."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of its node, see `ABOUT`."""


@dataclass(frozen=True, slots=True)
class PictureLink:
    """A picture as a text names it."""

    src: str
    alt: str = ""
    title: str = ""
    figcaption: str = ""
    """Of the figure that it stands in."""
    data: bytes | None = None
    """Its file's bytes, where the text holds them itself."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of its node, see `ABOUT`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a section's text stands on paper, from one character to the next place."""

    start: int
    """The first character, counted in the section's text."""
    page: int
    """From 1."""
    box: Box | None = None
    """Of the line or lines that begin there."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a page whose words and pictures show one thing."""

    text: str = ""
    pictures: tuple[Caption | PictureLink, ...] = ()
    """Links are opened as a Markdown text's are: below the folder that is read."""
    headings: tuple[str, ...] = ()
    """The page's title and the headings above, outermost first."""
    name: tuple[object, ...] | None = None
    """Its kind, and what tells it from the page's other sections: its nodes are one
    entity, which is named by this and the document. None makes each node an entity of
    its own: chunks of a plain text, which nothing but their file holds together."""
    separator: str = PARAGRAPH
    """What stands between the text's paragraphs, see `split`."""
    places: tuple[Place, ...] = ()
    """Of its text, in order of `start`: a chunk is told its pages and box by them."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Metadata of its nodes, see `ABOUT`."""


MOST_ATTACHMENTS = 100
"""Of a mail, and of those in it."""

NO_NAME = r"\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029"
"""What no file's name has, in a regular expression."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that came in another one, and is a document of its own."""

    name: str
    """A file's name, and no other attachment's."""
    data: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """What a reader makes of a file or a document."""

    sections: Iterable[Section]
    """In a child process they may be made one after another, while they are sent: what
    comes before a page that cannot be read is kept."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the page says of itself: neither embedded nor shown to an LLM, since its
    title stands before every text already."""
    problems: Sequence[str] = ()
    """What was left out, and why; complete when the last section was made."""
    labels: Sequence[str] = ()
    """What is printed on its pages, "iv" or "A-3", the first page first; "" is the
    page's number, and so is what is not there."""
    attachments: Sequence[Attachment] = ()
    """Files that it holds; complete when the last section was made."""
    broke: Literal["", "file", "process"] = ""
    """Where it ends before its file does: whether the file or, perhaps for no fault of
    the file's, what read it."""
