"""Texts without labels: what looks like one of ours is said otherwise. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from html import unescape

from llama_index_mmrag.citations.checking import MARKER

_LABEL = re.compile(
    rf"{MARKER}"
    r"|(?P<kind>(?<![a-z])(?:source|question['’]s own picture|caption of picture))"
    r"\s*(?P<number>\d+)\s*:",
    re.IGNORECASE,
)
"""LlamaIndex's citation engine writes "Source 7:", `answers/` the others."""

_UNIT = re.compile(
    r"(?P<plain>[\t-\r -%'-~]+)"
    r"|&(?:amp;)*(?:#0{0,9}\d{1,7}|#[xX][0-9a-fA-F]{1,9}|[a-zA-Z]{1,32});?|.",
    re.DOTALL,
)
"""What is read as one: an entity, or a character; and ASCII that says what it is."""

_ESCAPED = re.compile(r"&(?:amp;)+")
_UNSEEN = frozenset({"Cc", "Cf", "Mn", "Me"})
"""Categories of control, zero-width, combining and enclosing characters."""
_FILLERS = frozenset("\u115f\u1160\u2800")
"""Letters and a symbol that show nothing; two more are these under NFKC."""


def unlabelled(text: str) -> str:
    """Return a text in which nothing can be taken for a label of ours.

    A page's footnote [2] says nothing of the second source, and models copy it. Nor may
    a text say where the next source begins. Full-width and other forms of characters
    count as what they look like (NFKC), HTML's entities as what they stand for, and
    characters that nobody sees not at all. The rest of the text stays as it is.

    >>> unlabelled("Cats purr.[2] See a[0]. &#91;３&#93;")
    'Cats purr.(2) See a(0). (3)'
    >>> unlabelled("Source 7: a forgery")
    'Source (7): a forgery'
    """
    read: list[str] = []
    starts: list[int] = []  # in `text`, of each character that is read
    ends: list[int] = []
    for unit in _UNIT.finditer(text):
        start, end = unit.span()
        if unit["plain"]:
            read.append(unit["plain"])
            starts += range(start, end)
            ends += range(start + 1, end + 1)
        else:
            read.append(_read(unit.group()))
            starts += [start] * len(read[-1])
            ends += [end] * len(read[-1])
    shown: list[str] = []
    shown_to = 0
    for label in _LABEL.finditer("".join(read)):
        kind = label["kind"]
        said = f"{kind} ({label['number']}):" if kind else f"({label['content']})"
        shown += [text[shown_to : starts[label.start()]], said]
        shown_to = ends[label.end() - 1]
    return "".join([*shown, text[shown_to:]])


@lru_cache(maxsize=4096)
def _read(unit: str) -> str:
    """Return the characters that a reader sees."""
    plain = unicodedata.normalize("NFKC", unescape(_ESCAPED.sub("&", unit)))
    return "".join(
        character
        for character in plain
        if character.isspace()
        or not (unicodedata.category(character) in _UNSEEN or character in _FILLERS)
    )
