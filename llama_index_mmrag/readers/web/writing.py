"""Writing a web page: its elements as lines of text, its pictures beside them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import urljoin

from selectolax.lexbor import LexborNode

from llama_index_mmrag.readers.page import PictureLink
from llama_index_mmrag.readers.parts import MOST_HEADING, Outline, Part
from llama_index_mmrag.readers.web.parts import (
    BLOCKS,
    UNSHOWN,
    Held,
    is_hidden,
    with_captions,
)
from llama_index_mmrag.readers.web.pictures import by_size, data_of, is_ours
from llama_index_mmrag.readers.web.tables import cells_of, is_of_data, placed
from llama_index_mmrag.readers.writing import alt_of, one_line, shown, table_text

_SMALL = re.compile(r"([0-9]|[12][0-9]|3[01])(px)?")
"""Pixels of a side: such a one is a mark, a bullet or counts visitors."""

_DEEPEST_LIST = 10
"""Lists deeper than this stand under the margin of such a one."""

_SHORT = 100
_RUN = re.compile(rf"(\S)\1{{{_SHORT},99999}}")
"""A rule drawn with characters: 1 MB of "<" would be 5,000 chunks that say nothing. A
match takes 60 bytes a character, and so has an end."""

_LISTS = frozenset({"ul", "ol", "menu", "dl"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LAZY = ("data-src", "data-original", "data-lazy-src", "data-url")
_SETS = ("srcset", "data-srcset", "data-lazy-srcset")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:|//", re.IGNORECASE)
_WEB = re.compile(r"https?:|//", re.IGNORECASE)


class Writer:
    """Text and pictures of elements, in parts by their headings.

    No call goes deeper where elements do: they may stand thousands deep.

    Args:
        base: What links start from, as the page says.
        held: What holds it; None: it is a file.
        notes: Footnotes by their ids: each stands behind the block that names it.
    """

    def __init__(
        self,
        base: str = "",
        held: Held | None = None,
        notes: Mapping[str, LexborNode] | None = None,
    ) -> None:
        self.base = base
        above = held.above if held else ()
        self.parts = [Part(above, 0, above)]
        self.on_web: list[str] = []
        self.lost: list[str] = []
        self._held = held
        self._notes = dict(notes or {})
        self._named_notes: list[LexborNode] = []
        self._said_notes: set[str] = set()
        self.n_unread = 0
        self._line: list[str] = []
        self._outline = Outline()
        self._lists: list[int | None] = []
        self._marker = ""
        self._after_alt = -1
        self._n_pre = self._n_noscript = 0
        self._figures: list[tuple[Part, int, list[str]]] = []
        self._caption_from: tuple[Part, int] | None = None

    def write(
        self, root: LexborNode, *, leave_out: Callable[[LexborNode], bool] | None = None
    ) -> None:
        """Write an element and all in it, but for what is to be left out."""
        todo = [(root, False)]
        while todo:
            node, is_end = todo.pop()
            tag = node.tag or ""
            if tag == "-text":
                self._say(node.text_content or "")
            elif is_end:
                self._end(tag)
                if tag in BLOCKS:
                    for note in reversed(self._named_notes):
                        todo += [(note, True), *_inner(note)]
                    self._named_notes = []
            elif (
                tag in UNSHOWN
                or is_hidden(node)
                or (leave_out and leave_out(node))
                or self._is_said(node)
            ):
                continue
            elif tag in ("img", "image"):
                self._show(node)
            elif tag == "br":
                self._line.append("\n")
            elif tag == "table" and is_of_data(node):
                self._flush()
                self._table(node)
            else:
                self._begin(node, tag)
                todo.append((node, True))
                todo += _inner(node)
        self._flush()

    def entitle(self, title: str) -> None:
        """Put a title above all headings."""
        for part in self.parts:
            if part.headings[:1] != (title,):
                part.headings = (title, *part.headings)

    def problems(self) -> Iterator[str]:
        """Yield what of the page is left out, a sentence a kind."""
        if self.on_web:
            n = len(self.on_web)
            yield (
                f"{n} {'picture is' if n == 1 else 'pictures are'} on the web, such as "
                f"{self.on_web[0][:200]!r}, and not fetched. Save the page with its "
                f"pictures."
            )
        if self.lost:
            n = len(self.lost)
            yield (
                f"{n} {'picture is' if n == 1 else 'pictures are'} not in it, such as "
                f"{self.lost[0][:200]!r}. Save it anew, with its pictures."
            )
        if self.n_unread:
            n = self.n_unread
            yield (
                f"{n} {'picture' if n == 1 else 'pictures'} in the page itself cannot "
                f"be read (SVG, or broken). Save as PNG or JPEG beside it."
            )

    def _say(self, text: str) -> None:
        if not self._n_noscript:  # "Switch JavaScript on": its pictures alone are taken
            self._line.append(text if self._n_pre else re.sub(r"\s+", " ", text))

    def _flush(self) -> str:
        """Write the line that was begun; return it."""
        said, self._line = shown("".join(self._line)), []
        if len(said) > _SHORT:
            for _ in range(2):  # of 100,000 and more, 100 are left each time
                said = _RUN.sub(lambda run: run[0][:_SHORT], said)
        if self._n_pre:
            text = said.strip("\n").rstrip()
        else:
            lines = (one_line(line) for line in said.split("\n"))
            text = "\n".join(line for line in lines if line)
        if not text:
            return ""
        is_item = bool(self._lists)
        if is_item:
            inner = "  " * min(len(self._lists) - 1, _DEEPEST_LIST)
            blank = inner + " " * (len(self._marker) if self._marker else 2)
            marked = inner + self._marker if self._marker else blank
            self._marker = ""
            written = marked + text.replace("\n", f"\n{blank}")
        else:
            written = text
        self.parts[-1].blocks.append((written, is_item))
        return text

    def _is_said(self, node: LexborNode) -> bool:
        """Return whether it is a note that stands above; begin a part at an anchor."""
        if self._held is None:
            return False
        said = node.attributes
        id_ = said.get("id") or ""
        if id_ in self._said_notes:
            return True
        self._notes.pop(id_, None)  # it stands here, before it is named
        if node.tag == "a":
            at = (said.get("href") or "").rpartition("#")[2]
            if (note := self._notes.pop(at, None)) is not None:
                self._named_notes.append(note)
                self._said_notes.add(at)
        elif above := self._held.anchors.get(id_):
            self._flush()
            self.parts.append(Part(above, 0, above))
        return False

    def _begin(self, node: LexborNode, tag: str) -> None:
        if tag in BLOCKS:
            self._flush()
        if tag in _HEADINGS:
            self.parts.append(Part((), _HEADINGS[tag], self.parts[-1].above))
        elif tag in _LISTS:
            start = node.attributes.get("start") or "1"
            is_number = tag == "ol" and start.lstrip("-").isdecimal() and len(start) < 9
            self._lists.append(
                int(start) if is_number else (1 if tag == "ol" else None)
            )
        elif tag in ("li", "dt"):
            self._mark_item()
        elif tag == "rt":  # of <ruby>: how what stands before it is said
            self._line.append("(")
        elif tag == "pre":
            self._n_pre += 1
        elif tag == "noscript":
            self._n_noscript += 1
        elif tag == "figure":
            self._figures.append((self.parts[-1], len(self.parts[-1].links), []))
        elif tag == "figcaption":
            self._caption_from = self.parts[-1], len(self.parts[-1].blocks)

    def _mark_item(self) -> None:
        if not self._lists:
            return
        at = self._lists[-1]
        self._marker = "- " if at is None else f"{at}. "
        if at is not None:
            self._lists[-1] = at + 1

    def _end(self, tag: str) -> None:
        if tag in _HEADINGS:
            self._end_heading(_HEADINGS[tag])
            return
        if tag in BLOCKS:
            self._flush()
        if tag in _LISTS and self._lists:
            self._lists.pop()
            self._marker = ""
        elif tag == "rt":
            self._line.append(")")
        elif tag == "pre":
            self._n_pre -= 1
        elif tag == "noscript":
            self._n_noscript -= 1
        elif tag == "figcaption" and self._caption_from and self._figures:
            part, start = self._caption_from
            said = " ".join(text for text, _ in part.blocks[start:])
            self._figures[-1][2].append(one_line(said))
        elif tag == "figure" and self._figures:
            part, start, captions = self._figures.pop()
            # Two pictures under one caption both have it, and it may stand above them.
            its = [with_captions(link, captions) for link in part.links[start:]]
            part.links[start:] = its

    def _end_heading(self, level: int) -> None:
        title = one_line("".join(self._line))
        self._line = []
        if len(title) > MOST_HEADING:
            self.parts[-1].blocks.append((title, False))
        elif title:
            self._outline.add(level, title)
        self.parts[-1].headings = self._outline.headings(self.parts[-1].above)

    def _show(self, node: LexborNode) -> None:
        said = {key: one_line(value or "") for key, value in node.attributes.items()}
        is_mark = any(_SMALL.fullmatch(said.get(s, "")) for s in ("width", "height"))
        alt = alt_of(said.get("alt", ""))
        if not self._n_noscript and alt:
            self._line += [" "] * (len(self._line) == self._after_alt) + [alt]
            self._after_alt = len(self._line)
        if is_mark:
            return
        src = self._source(node, said)
        if src is None:
            return
        link = PictureLink(src, alt, said.get("title", ""))
        if src.lower().startswith("data:"):
            data = data_of(src)
            if data is None:
                self.n_unread += 1
                return
            link = replace(link, src="", data=data)
        self.parts[-1].show(link)

    def _source(self, node: LexborNode, said: dict[str, str]) -> str | None:
        """Return where a picture is, if that is not on the web: the largest of some."""
        lazy = [said[name] for name in _LAZY if said.get(name)]
        sets = [said[name] for name in _SETS if said.get(name)]
        if (above := node.parent) is not None and above.tag == "picture":
            others = (child.attributes for child in above.css("source"))
            sets += [o.get(name) or "" for o in others for name in _SETS]
        drawn = said.get("href") or said.get("xlink:href")  # within SVG
        own = [src] if (src := said.get("src") or drawn) else []
        listed = [*own, *lazy] if own and not own[0].startswith("data:") else lazy
        listed += [src for one in sets for src in by_size(one)]
        listed += [src for src in own if src not in listed]
        found = [self._joined(src) for src in listed]
        for src in found:
            if self._held and not src.lower().startswith("data:"):
                if (name := self._held.named(src)) is not None:
                    return name
            elif not _SCHEME.match(src) or is_ours(src):
                return src
        if found and not self._n_noscript:
            is_lost = self._held and not _WEB.match(found[0])
            (self.lost if is_lost else self.on_web).append(found[0])
        return None

    def _joined(self, src: str) -> str:
        if not self.base or src.lower().startswith("data:"):
            return src
        try:
            return urljoin(self.base, src)
        except ValueError:  # "http://["
            return src

    def _table(self, table: LexborNode) -> None:
        """Write a table as GitHub's Markdown; what spans cells is said in the first."""
        caption = table.css_first("caption")
        if caption is not None:
            self._line.append(caption.text())
            self._flush()
        rows = [cells_of(row) for row in table.css("tr") if not is_hidden(row)]
        grid = placed(rows)
        width = max((at + 1 for row in grid for at in row), default=0)
        cells = [
            [self._cell(row[c]) if c in row else "" for c in range(width)]
            for row in grid
        ]
        self.parts[-1].blocks.append((table_text(cells), False))

    def _cell(self, node: LexborNode) -> str:
        inner = Writer(self.base, self._held and replace(self._held, anchors={}))
        inner._n_noscript = self._n_noscript
        inner.write(node)
        (part,) = inner.parts  # a table of data holds no headings
        self.parts[-1].show(*part.links)
        self.on_web += inner.on_web
        self.lost += inner.lost
        self.n_unread += inner.n_unread
        return part.text()


def _inner(node: LexborNode) -> list[tuple[LexborNode, bool]]:
    """Return what stands in an element, the last first: of a drawing its pictures."""
    inner = node.css("image") if node.tag == "svg" else node.iter(include_text=True)
    return [(child, False) for child in inner][::-1]
