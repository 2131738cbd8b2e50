"""Office files: what their parts are related to, say of themselves, and lose."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from itertools import zip_longest
from typing import Any

from llama_index_mmrag.readers.archives import Archive
from llama_index_mmrag.readers.parts import MOST_HEADING
from llama_index_mmrag.readers.writing import one_line

_DRAWN = (
    *(b"\xd7\xcd\xc6\x9a", b"\1\0\x09\0", b"\1\0\0\0", b"\x1f\x8b"),
    *(b"<?xml", b"<svg", b"\xef\xbb\xbf<"),
)
"""Windows' drawings (WMF with and without its own head, EMF, packed), and SVG."""

OFF = ("0", "false", "off")
_NO_TITLE = re.compile(
    r"(microsoft (office )?)?(word|powerpoint)\b.*|.*\bpowerpoint|untitled.*"
    r"|.*\.(docx?|dotx?|odt|pptx?|odp)",
    re.IGNORECASE,
)
"""What programs give as a title that has none."""
_MOST_POINTS = 10_000
_MOST_TIMES = 20
"""A picture or a chart that stands more often is an ornament, or there to attack."""

_SAID = {
    "title": "title",
    "creator": "author",
    "language": "language",
    "created": "created_at",
}
_QUARTERS = {90: 4, 180: 3, 270: 2}
"""Pillow's transpositions, which turn the other way round."""


@dataclass(frozen=True, slots=True)
class Relation:
    """What a part refers to by an id."""

    kind: str
    """The last word of its type, such as "footnotes"."""
    target: str
    """A part's name, or where it is outside."""
    is_outside: bool


def local(element: Any) -> str:
    """Return an element's name without its namespace, of which there are two sets."""
    return str(element.tag).rpartition("}")[2]


def said(element: Any, name: str, default: str = "") -> str:
    """Return an attribute by its name without its namespace."""
    if element is None:
        return default
    for key, value in element.attrib.items():
        if key.rpartition("}")[2] == name:
            return str(value)
    return default


def first(element: Any, *names: str) -> Any:
    """Return the first element of such names, one in the other; None: there is none."""
    for name in names:
        if element is None:
            return None
        element = next(element.iterchildren(f"{{*}}{name}"), None)
    return element


def is_on(element: Any, name: str) -> bool:
    """Return whether an attribute is there and says yes."""
    return said(element, name, OFF[0]) not in OFF


def relations_of(archive: Archive, name: str = "") -> dict[str, Relation]:
    """Return what a part, or "" for the whole file, refers to, by id."""
    folder, base = posixpath.split(name)
    rels = posixpath.join(folder, "_rels", f"{base}.rels")
    if name and rels not in archive.names:
        return {}
    found = {}
    for one in archive.xml(rels):
        is_outside = one.get("TargetMode") == "External"
        target = one.get("Target", "")
        if not is_outside:
            target = posixpath.normpath(posixpath.join("/", folder, target))[1:]
        kind = one.get("Type", "").rpartition("/")[2]
        found[one.get("Id", "")] = Relation(kind, target, is_outside)
    return found


def part_of(relations: dict[str, Relation], kind: str) -> str | None:
    """Return the name of the part of a kind; None: there is none."""
    its = (one.target for one in relations.values() if one.kind == kind)
    return next(its, None)


def metadata_of(archive: Archive) -> dict[str, str]:
    """Return what a file says of itself: title, author, language, created_at."""
    core = part_of(relations_of(archive), "core-properties")
    if core not in archive.names:
        return {}
    told = {
        _SAID[local(one)]: one_line(one.text or "")
        for one in archive.xml(core)
        if local(one) in _SAID
    }
    try:
        datetime.fromisoformat(told.get("created_at", "").replace("Z", "+00:00"))
    except ValueError:
        told.pop("created_at", None)
    return {key: it for key, it in told.items() if 0 < len(it) <= MOST_HEADING}


def words_of_art(archive: Archive, name: str) -> list[str]:
    """Return the texts of a diagram (SmartArt), from the part with its data."""
    said_by_it = (
        one_line("".join(it.text or "" for it in paragraph.iter("{*}t")))
        for paragraph in archive.xml(name).iter("{*}p")
    )
    return [text for text in said_by_it if text]


def title_of(metadata: Mapping[str, str]) -> str:
    """Return the title that a file says, if somebody gave it that; else ""."""
    title = metadata.get("title", "")
    return "" if _NO_TITLE.fullmatch(title) else title


class Pictures:
    """Pictures of an Office file, and what of it is left out."""

    def __init__(self, archive: Archive, most_pixels: int) -> None:
        self._archive = archive
        self._most_pixels = most_pixels
        self.ornaments: set[str] = set()
        self._times: Counter[str] = Counter()
        self._left_out: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def leave_out(self, kind: str, name: str) -> None:
        """Note that a part of a kind, see `problems`, is left out."""
        self._left_out[kind] += 1
        self._first.setdefault(kind, name)

    def told(self) -> Counter[str]:
        """Return how many parts are left out so far."""
        return self._left_out.copy()

    def tell_no_more_than(self, told: Counter[str]) -> None:
        """Forget what was left out since: there is another in its place."""
        self._left_out = told

    def takes(self, relation: Relation) -> bool:
        """Return whether a part is taken once more; an ornament is not."""
        name = relation.target
        self._times[name] += 1
        return self._times[name] <= _MOST_TIMES and name not in self.ornaments

    def data_of(self, relation: Relation) -> bytes | None:
        """Return a picture's bytes; None: it is told as left out."""
        name = relation.target
        if relation.is_outside:
            self.leave_out("linked", name)
        elif name not in self._archive.names:
            self.leave_out("missing", name)
        elif (data := self._archive.read(name)).startswith(_DRAWN):
            self.leave_out("drawn", name)
        else:
            return data
        return None

    def shown(self, data: bytes, crop: Any, turned: str = "") -> bytes:
        """Return a picture as it is displayed.

        Args:
            data: Its bytes.
            crop: Its `srcRect`; None: there is none.
            turned: Its `rot`, in 60,000ths of a degree.
        """
        sides = [_share(said(crop, side, "0")) for side in "ltrb"]
        if not any(sides):
            return data
        from PIL import Image

        try:
            with Image.open(BytesIO(data)) as whole:
                if whole.width * whole.height > self._most_pixels:
                    return data  # which is refused, and told, by who opens it
                kind, (width, height) = whole.format, whole.size
                left, top, right, bottom = sides
                x0, y0 = round(left * width), round(top * height)
                x1, y1 = round((1 - right) * width), round((1 - bottom) * height)
                if x1 <= x0 or y1 <= y0:
                    return data
                part = whole.crop((x0, y0, x1, y1))
            if turn := _QUARTERS.get(round(number(turned) / 60_000) % 360):
                part = part.transpose(Image.Transpose(turn))
            made = BytesIO()
            is_photo = kind == "JPEG"
            part.save(made, "JPEG" if is_photo else "PNG", quality=90)
        except (OSError, SyntaxError, ValueError):
            return data  # likewise
        return made.getvalue()

    def problems(self) -> Iterator[str]:
        """Yield what of the file is left out, a sentence a kind."""
        for kind, n in self._left_out.items():
            what, advice = _LEFT_OUT[kind]
            one = what.replace("(s)", "" if n == 1 else "s")
            one = one.replace("(is)", "is" if n == 1 else "are")
            yield f"{n} {one}, such as {self._first[kind][:200]!r}. {advice}"


_LEFT_OUT = {
    "linked": (
        "picture(s) (is) linked and not in the file, and not fetched",
        "Insert them into it.",
    ),
    "missing": ("picture(s) (is) missing in the file", "Insert them anew."),
    "drawn": (
        "picture(s) (is) EMF, WMF or SVG, which cannot be shown",
        "Insert them as PNG or JPEG.",
    ),
    "embedded": (
        "object(s) of other programs (OLE) (is) not read",
        "Save them as files of their own.",
    ),
    "chunk": (
        "document(s) within it (is) not read",
        "Open it in Word and save it, which makes them its text.",
    ),
    "played": ("video(s) (is) shown by a picture and not read", "Save them beside it."),
}


def whole(value: str) -> int:
    """Return a count; 0 of what is none."""
    return int(value) if value.isdecimal() and len(value) < 7 else 0


def _share(value: str) -> float:
    """Return a side of a crop: thousandths of a percent, or with "%"."""
    share = number(value.rstrip("%")) / (100 if value.endswith("%") else 100_000)
    return min(max(share, 0.0), 1.0)


def number(value: str) -> float:
    """Return a number; 0 of what is none."""
    try:
        return float(value or 0)
    except ValueError:
        return 0.0


def chart_of(archive: Archive, name: str) -> tuple[str, list[list[str]]]:
    """Return a chart's title, and its rows: categories by series.

    Args:
        archive: Whose part it is.
        name: The part.
    """
    root = archive.xml(name)
    title = first(root, "chart", "title")
    heard = [] if title is None else [it.text or "" for it in title.iter("{*}t")]
    names, columns, across = [], [], list[str]()
    for series in root.iter("{*}ser"):
        names.append(" ".join(_points(series, "tx")))
        columns.append(_points(series, "val", "yVal"))
        across = max(across, _points(series, "cat", "xVal"), key=len)
    rows = zip_longest(across, *columns, fillvalue="")
    called = one_line("".join(heard))
    called = "" if called in names else called
    return called, [["", *names], *map(list, rows)] if names else []


def _points(series: Any, *names: str) -> list[str]:
    """Return the values of the first of such elements, as they were last shown."""
    held = next(
        (one for name in names for one in series.iterchildren(f"{{*}}{name}")), ()
    )
    at: dict[int, str] = {}
    for level in held:
        # Of categories in levels the innermost comes first.
        level = next(level.iter("{*}lvl"), level)  # noqa: PLW2901
        for point in level.iter("{*}pt"):
            index = int(number(point.get("idx", "")))
            at[index] = _shownnumber("".join(it.text or "" for it in point))
        if local(level) == "v":
            at[0] = level.text or ""
    return [at.get(n, "") for n in range(min(max(at, default=-1) + 1, _MOST_POINTS))]


def _shownnumber(value: str) -> str:
    """Return a number without what a computer adds to it: 4.2999999999999998."""
    return f"{number(value):.12g}" if len(value) > 15 and number(value) else value


def main_part(archive: Archive, root: str, what: str) -> str:
    """Return the name of the part that a file is about.

    Args:
        archive: The file.
        root: Its root element.
        what: It is called, for a user.

    Raises:
        DocumentUnreadable: It has none.
    """
    name = None
    if "_rels/.rels" in archive.names:
        name = part_of(relations_of(archive), "officeDocument")
    if name not in archive.names or local(archive.root(name)) != root:
        archive.close()
        raise archive.unreadable(f"it is a zip, and no {what}")
    return name
