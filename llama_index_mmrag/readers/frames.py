"""Frames: what goes between a reader and whoever wants its page.

A frame is eight bytes, its length, and so many more. A page is a frame of JSON that
says what it is, one for each section, which says how many bytes each of its pictures
has, these, and one that says what was left out. What comes is a stranger's: the file
that was read may have made its reader say anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from llama_index_mmrag.readers.page import (
    ABOUT,
    LINE,
    MOST_ATTACHMENTS,
    NO_NAME,
    PARAGRAPH,
    Attachment,
    Box,
    Page,
    PictureLink,
    Place,
    Section,
)

MOST_JSON = 64 << 20
"""Most bytes of a page's words; a novel's are half a million."""

_MOST_HEADINGS = 64
_FILE = re.compile(rf"(?!\.{{1,2}}\Z)[^/\\{NO_NAME}]{{1,200}}")


def send(stream: BinaryIO, message: Mapping[str, Any], *more: bytes) -> None:
    """Write a message and the bytes that belong to it."""
    for frame in (json.dumps(message).encode(), *more):
        stream.write(len(frame).to_bytes(8, "big"))
        stream.write(frame)
    stream.flush()


def receive(stream: BinaryIO, most_bytes: int = MOST_JSON) -> Any:
    """Return the message that comes next.

    Raises:
        EOFError: There is none, or not all of it.
        ValueError: It is longer than that, no JSON, or nested too deep.
    """
    return sized(stream, most_bytes)[0]


def sized(stream: BinaryIO, most_bytes: int) -> tuple[Any, int]:
    """Return the message that comes next, and how many bytes it has; see `receive`."""
    data = _frame(stream, most_bytes)
    try:
        return json.loads(data), len(data)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def send_page(
    stream: BinaryIO, page: Page, n_bytes: Callable[[], int] = lambda: 0
) -> None:
    """Write a page: what it says of itself, each section, and how it ended.

    Args:
        stream: Where it goes.
        page: Its sections are made as they are written.
        n_bytes: What tells how much memory was taken, at the end.

    Raises:
        ValueError: Its words have more bytes than are taken.
    """
    left = MOST_JSON

    def fits(message: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal left
        left -= len(json.dumps(message))
        if left < 0:
            raise ValueError(f"its words have more than {MOST_JSON:,} bytes")
        return message

    head = {"metadata": dict(page.metadata), "labels": [*page.labels]}
    send(stream, fits(head))
    for section in page.sections:
        links = [each for each in section.pictures if isinstance(each, PictureLink)]
        blobs = [link.data for link in links if link.data is not None]
        message = {
            "blobs": [len(blob) for blob in blobs],
            "text": section.text,
            "pictures": [
                [link.src, link.alt, link.title, link.figcaption]
                + [link.data is not None, dict(link.about)]
                for link in links
            ],
            "headings": [*section.headings],
            "name": section.name and [*section.name],
            "separator": section.separator,
            "places": [[one.start, one.page, one.box] for one in section.places],
            "about": dict(section.about),
        }
        send(stream, fits(message), *blobs)
    files = [(one.name, len(one.data)) for one in page.attachments]
    end = {"problems": [*page.problems], "attachments": files, "n_bytes": n_bytes()}
    send(stream, fits(end), *(one.data for one in page.attachments))


def head_in(message: Any) -> Page:
    """Return the page that a message says, without its sections.

    Raises:
        ValueError: It says none.
    """
    try:
        metadata, labels = message["metadata"], message["labels"]
        said = {_text(key): _text(value) for key, value in metadata.items()}
        return Page((), said, labels=tuple(map(_text, labels)))
    except (AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"it is no page: {error!r}") from error


def section_in(message: Any, stream: BinaryIO, most_bytes: int) -> Section:
    """Return the section that a message says; its pictures are read from the stream.

    Args:
        message: As received.
        stream: Where its pictures follow.
        most_bytes: Most of all its pictures.

    Raises:
        ValueError: It says none, or pictures of more bytes than that.
        EOFError: Not all of it comes.
    """
    try:
        sizes = message["blobs"]
        if not all(type(n) is int and n >= 0 for n in sizes) or sum(sizes) > most_bytes:
            raise ValueError(f"its pictures have more than {most_bytes:,} bytes")  # noqa: TRY301
        blobs = [_frame(stream, size) for size in sizes][::-1]
        if message["separator"] not in (LINE, PARAGRAPH):
            raise TypeError("a separator")  # noqa: TRY301
        if len(message["headings"]) > _MOST_HEADINGS:
            raise TypeError("headings")  # noqa: TRY301
        name = message["name"]
        return Section(
            _text(message["text"]),
            tuple(
                PictureLink(
                    *(_text(src), _text(alt), _text(title), _text(figcaption)),
                    data=blobs.pop() if holds_data else None,
                    about=_about(about),
                )
                for src, alt, title, figcaption, holds_data, about in message[
                    "pictures"
                ]
            ),
            tuple(map(_text, message["headings"])),
            None if name is None else tuple(map(_named, name)),
            message["separator"],
            tuple(
                Place(_whole(start), _whole(page), None if box is None else _box(box))
                for start, page, box in message["places"]
            ),
            _about(message["about"]),
        )
    except (AttributeError, LookupError, OverflowError, TypeError) as error:
        raise ValueError(f"it is no section: {error!r}") from error


def end_in(page: Page, message: Any, stream: BinaryIO, most_bytes: int) -> Page:
    """Return a page with what its end says: problems, and attachments that follow.

    Args:
        page: As its head says it.
        message: As received.
        stream: Where its attachments follow.
        most_bytes: Most of all of them.

    Raises:
        ValueError: It says no problems, or attachments that are too many, too large or
            are not named like files.
        EOFError: Not all of it comes.
    """
    try:
        problems = tuple(map(_text, message["problems"]))
        files = [(str(name), _whole(size)) for name, size in message["attachments"]]
        names = {name for name, _ in files if _FILE.fullmatch(name)}
        if not len(names) == len(files) <= MOST_ATTACHMENTS:
            raise TypeError("its attachments' names")  # noqa: TRY301
        if sum(size for _, size in files) > most_bytes:
            raise TypeError("its attachments' sizes")  # noqa: TRY301
        its = tuple(Attachment(name, _frame(stream, size)) for name, size in files)
        return replace(page, problems=problems, attachments=its)
    except (LookupError, TypeError) as error:
        raise ValueError(f"it is no end of a page: {error!r}") from error


def _about(said: Any) -> dict[str, Any]:
    return {key: _READ[ABOUT[key]](value) for key, value in said.items()}


def _box(said: Any) -> Box:
    x0, y0, x1, y1 = (float(share) for share in said)
    if not (0 <= x0 <= x1 <= 1 and 0 <= y0 <= y1 <= 1):
        raise TypeError(f"expected shares of a page, got {said!r}")
    return x0, y0, x1, y1


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise TypeError(f"expected a count, got {value!r}")
    return value


def _named(part: Any) -> object:
    if type(part) is int:
        return part
    return tuple(map(_text, part)) if type(part) is list else _text(part)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"expected a text, got {type(value).__name__}")
    value.encode()  # UnicodeEncodeError, which is a ValueError: half a character
    return value


def _frame(stream: BinaryIO, most_bytes: int) -> bytes:
    length = int.from_bytes(_exactly(stream, 8), "big")
    if length > most_bytes:
        raise ValueError(f"it has {length:,} bytes; at most {most_bytes:,} are taken")
    return _exactly(stream, length)


def _exactly(stream: BinaryIO, n_bytes: int) -> bytes:
    data = stream.read(n_bytes)
    if len(data) < n_bytes:
        raise EOFError(f"expected {n_bytes} bytes, got {len(data)}")
    return data


_READ: dict[type, Callable[[Any], Any]] = {
    str: _text,
    int: _whole,
    list: lambda box: [*_box(box)],
}
