"""Mail: what one says, its pictures in place, and its attachments beside it."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timezone
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.mail_quotes import Quotes, is_forwarded, unquoted
from llama_index_mmrag.readers.page import (
    MOST_ATTACHMENTS,
    NO_NAME,
    Attachment,
    Page,
    PictureLink,
    Section,
)
from llama_index_mmrag.readers.parts import MOST_HEADING
from llama_index_mmrag.readers.web.document import (
    content,
    decoded,
    page_of_part,
    time_for,
)
from llama_index_mmrag.readers.web.parts import Held, with_bytes
from llama_index_mmrag.readers.writing import one_line

_AS_THEY_ARE = default.clone(refold_source="none")
_HEADERS = ("subject", "from", "to", "date")
_MOST_HEADER = 10_000
"""Most characters of a header that are parsed: time grows with the square."""

_SIGNATURES = ("pgp-signature", "pkcs7-signature", "x-pkcs7-signature")
_UNSAFE = re.compile(f"[{NO_NAME}]")


@dataclass(slots=True)
class _Found:
    """What a mail holds."""

    texts: list[Any] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)
    """By what HTML calls them."""
    also: dict[str, str] = field(default_factory=dict)
    """Those that are attachments, and their names as such."""
    attachments: list[Attachment] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    n_more: int = 0


def read(file: Path, how: How) -> Page:
    """Return the page of a mail: its sections are one entity.

    Its HTML is read, or else its text, without what it quotes of others; one that was
    forwarded, or says nothing else, is read with that. Signatures stay: they are
    nowhere else.

    Raises:
        DocumentUnreadable: Missing, too large, or nested too deep.
    """
    data = content(file, how)
    found = _Found()
    try:
        with time_for(len(data), how):
            message: Any = message_from_bytes(data, policy=_AS_THEY_ARE)
            metadata = _metadata(message)
            for part, is_shown in _leaves(message):
                try:
                    _take(part, found, is_shown=is_shown)
                except Exception as error:  # noqa: BLE001 - broken ones raise many things
                    why = f"A part of it cannot be read: {error!r:.200}. Leave it out."
                    found.problems.append(why)
    except RecursionError as error:
        raise DocumentUnreadable(
            f"Cannot read {str(file)!r}: its parts stand too deep in each other. Save "
            f"them by themselves."
        ) from error
    if found.n_more:
        found.problems.append(
            f"It has {found.n_more} attachments more than {MOST_ATTACHMENTS}, which "
            f"are left out. Save them beside it."
        )
    sections = [
        replace(one, name=("mail",), about={**one.about, "kind": "mail"})
        for one in _sections(found, metadata.get("subject", ""), how)
    ]
    return Page(
        tuple(sections),
        metadata,
        tuple(found.problems),
        attachments=tuple(found.attachments),
    )


def _metadata(message: Any) -> dict[str, str]:
    said = {}
    for name, value in message.raw_items():
        key = name.lower()
        if key not in _HEADERS or key in said:
            continue
        text = str(value)[:_MOST_HEADER]
        # What headers of strangers make its parser raise is many things.
        with suppress(Exception):
            parsed: Any = default.header_fetch_parse(name, text)
            text = str(parsed)
            if key == "date" and (at := parsed.datetime) is not None:
                key = "sent_at"
                text = (
                    at if at.tzinfo else at.replace(tzinfo=timezone.utc)
                ).isoformat()
        if text := _UNSAFE.sub(" ", one_line(text))[:MOST_HEADING].strip():
            said[key] = text
    said.pop("date", None)
    return said


def _leaves(message: Any) -> Iterator[tuple[Any, bool]]:
    """Yield parts that have no parts, and whether each stands for what is shown."""
    todo = [(message, False)]
    while todo:
        part, is_shown = todo.pop()
        kind = part.get_content_type()
        if not part.is_multipart() or kind.startswith("message/"):
            yield part, is_shown
            continue
        inner = part.get_payload()
        if kind == "multipart/alternative":
            inner = [_best(inner)] if inner else []
        is_related = is_shown or kind == "multipart/related"
        todo += [(each, is_related) for each in reversed(inner)]


def _best(parts: list[Any]) -> Any:
    """Return the one of several that says it in HTML, or else in words."""
    for wanted in ("text/html", "text/plain"):
        for part in reversed(parts):
            if any(each.get_content_type() == wanted for each in part.walk()):
                return part
    return parts[-1]


def _take(part: Any, found: _Found, *, is_shown: bool) -> None:
    """Add a part to what was found: a text, a picture or an attachment."""
    kind, name = part.get_content_type(), part.get_filename()
    disposition = part.get_content_disposition()
    is_file = bool(name) or disposition == "attachment"
    if kind.startswith("multipart/"):
        found.problems.append("Its parts are not told from each other: no boundary.")
        found.texts.append(part)
    elif kind in ("text/html", "text/plain") and not is_file:
        found.texts.append(part)
    elif (
        kind.startswith("image/")
        and disposition != "attachment"
        and (is_shown or disposition)
    ):
        found.pictures[_key(part, found)] = part.get_payload(decode=True) or b""
    elif kind.partition("/")[2] not in _SIGNATURES:
        if len(found.attachments) >= MOST_ATTACHMENTS:
            found.n_more += 1
            return
        taken = {one.name for one in found.attachments}
        named = _name(str(name or ""), kind, taken, len(found.attachments) + 1)
        found.attachments.append(Attachment(named, _bytes(part, kind)))
        if kind.startswith("image/"):  # which HTML may show all the same
            key = _key(part, found)
            found.pictures[key], found.also[key] = found.attachments[-1].data, named


def _key(part: Any, found: _Found) -> str:
    """Return what HTML calls a picture."""
    said = str(part.get("content-id") or part.get("content-location") or "")
    return said.strip().strip("<>") or f"picture {len(found.pictures) + 1}"


def _name(said: str, kind: str, taken: set[str], nth: int) -> str:
    """Return what an attachment is called: a file's name, and no other's."""
    name = _UNSAFE.sub("", re.split(r"[/\\]", said)[-1]).strip(". ")
    suffix = ".eml" if kind == "message/rfc822" else mimetypes.guess_extension(kind)
    name = name or f"attachment-{nth}"
    if (path := Path(name)).suffix.lower() != suffix == ".eml" or not path.suffix:
        path = Path(f"{name}{suffix or ''}")
    stem, end = path.stem[:100], path.suffix[:20]
    number = 1
    while (name := f"{stem}{f'-{number}' if number > 1 else ''}{end}") in taken:
        number += 1
    return name


def _bytes(part: Any, kind: str) -> bytes:
    if kind.startswith("message/"):
        inner = part.get_payload()
        if not inner or isinstance(inner, str):
            return (inner or "").encode("utf-8", "surrogateescape")
        try:
            return inner[0].as_bytes()  # type: ignore[no-any-return]
        except UnicodeError:  # parts without boundary, with bytes that are no ASCII
            return inner[0].as_string().encode("utf-8", "surrogateescape")  # type: ignore[no-any-return]
    data: bytes = part.get_payload(decode=True) or b""
    if kind.startswith("text/") and (said := part.get_content_charset()):
        with suppress(ValueError):  # as it is, where that is not so
            return decoded(data, said=said).encode("utf-8-sig")
    return data


def _sections(found: _Found, subject: str, how: How) -> Iterator[Section]:
    above = tuple(filter(None, [subject]))
    shown: set[str] = set()

    def named(src: str) -> str | None:
        key = unquote(src[4:]) if src.lower().startswith("cid:") else src
        shown.update({key} & found.pictures.keys())
        return key if key in found.pictures else None

    for is_whole in (is_forwarded(subject), True):
        problems: list[str] = []
        sections: list[Section] = []
        for part in found.texts:
            held = Held(named, (lambda _: False) if is_whole else Quotes(), above)
            page = _page(part, how, held)
            problems += page.problems
            sections += page.sections
        if any(one.text or one.pictures for one in sections):
            break
    found.problems += problems
    for one in sections:
        yield with_bytes(one, found.pictures.__getitem__, found.problems)
    its = {found.also.get(each) for each in shown}
    found.attachments = [one for one in found.attachments if one.name not in its]
    left = [each for each in found.pictures if each not in {*shown, *found.also}]
    links = tuple(PictureLink(each, data=found.pictures[each]) for each in left)
    if links or (above and not sections):
        yield Section("", links, above)


def _page(part: Any, how: How, held: Held) -> Page:
    """Return the page of one text of a mail."""
    data = part.get_payload(decode=True) or b""
    is_html = part.get_content_type() == "text/html"
    problems = []
    try:
        text = decoded(data, how.encoding, str(part.get_content_charset() or ""))
    except ValueError as error:
        problems.append(f"Its text is shown as far as it can be: {error}")
        text = data.decode("utf-8", "replace").replace("\0", "")
    if is_html:
        page = page_of_part(text, how, held)
        return replace(page, problems=(*problems, *page.problems))
    text = text.replace("\r\n", "\n")
    said = unquoted(text) if isinstance(held.leave_out, Quotes) else text
    sections = (Section(said.strip(), (), held.above),) if said.strip() else ()
    return Page(sections, problems=problems)
