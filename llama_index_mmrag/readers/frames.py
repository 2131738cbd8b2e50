"""Frames: what goes between a reader and whoever wants its page.

A frame is eight bytes, its length, and so many more. A page is a frame of JSON that
says how many bytes each of its pictures has, and these. What comes is a stranger's:
the file that was read may have made its reader say anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from llama_index_mmrag.readers.page import LINE, PARAGRAPH, Page, PictureLink, Section

MOST_JSON = 64 << 20
"""Most bytes of a page's words; a novel's are half a million."""

_MOST_HEADINGS = 64


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
    try:
        return json.loads(_frame(stream, most_bytes))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def send_page(stream: BinaryIO, page: Page, **more: Any) -> None:
    """Write a page.

    Raises:
        ValueError: Its words have more bytes than are taken.
    """
    blobs: list[bytes] = []
    sections = []
    for section in page.sections:
        links = [each for each in section.pictures if isinstance(each, PictureLink)]
        pictures = []
        for link in links:
            at = None if link.data is None else len(blobs)
            if link.data is not None:
                blobs.append(link.data)
            pictures.append([link.src, link.alt, link.title, link.figcaption, at])
        name = section.name and [*section.name]
        one = [section.text, pictures, [*section.headings], name, section.separator]
        sections.append(one)
    message = {
        "sections": sections,
        "metadata": dict(page.metadata),
        "problems": page.problems,
        "blobs": [len(blob) for blob in blobs],
        **more,
    }
    n_bytes = len(json.dumps(message))
    if n_bytes > MOST_JSON:
        raise ValueError(
            f"its words have {n_bytes:,} bytes; at most {MOST_JSON:,} are taken"
        )
    send(stream, message, *blobs)


def page_in(message: Any, stream: BinaryIO, most_bytes: int) -> Page:
    """Return the page that a message says; its pictures are read from the stream.

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
        blobs = [_frame(stream, size) for size in sizes]
        return Page(
            tuple(_section(one, blobs) for one in message["sections"]),
            {_text(key): _text(value) for key, value in message["metadata"].items()},
            tuple(map(_text, message["problems"])),
        )
    except (AttributeError, LookupError, OverflowError, TypeError) as error:
        raise ValueError(f"it is no page: {error!r}") from error


def _section(said: Sequence[Any], blobs: Sequence[bytes]) -> Section:
    text, pictures, headings, name, separator = said
    if separator not in (LINE, PARAGRAPH) or len(headings) > _MOST_HEADINGS:
        raise TypeError("a section")
    links = [
        PictureLink(
            *(_text(src), _text(alt), _text(title), _text(figcaption)),
            data=None if at is None else blobs[int(at)],
        )
        for src, alt, title, figcaption, at in pictures
    ]
    named = None if name is None else tuple(map(_named, name))
    return Section(
        _text(text), tuple(links), tuple(map(_text, headings)), named, separator
    )


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
