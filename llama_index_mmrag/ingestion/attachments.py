"""Attachments: files that came in another one, each a document of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from llama_index_mmrag.errors import MmragError, ReaderUnusable, StoreFull
from llama_index_mmrag.ingestion.linked import FILE_NAME_KEY, Origin
from llama_index_mmrag.ingestion.pages import page_record
from llama_index_mmrag.ingestion.records import Problem, ReadSettings, SourceRecord
from llama_index_mmrag.ingestion.roots import holders_of
from llama_index_mmrag.nodes.node import FILE_PATH_KEY
from llama_index_mmrag.readers.kinds import advice_of
from llama_index_mmrag.readers.page import (
    MOST_ATTACHMENTS,
    Attachment,
    Caption,
    Page,
    Section,
)
from llama_index_mmrag.retrieval.channel import Channel

MOST_LEVELS = 2
"""A mail's attachments, and those of a mail that is one."""


def with_attached(
    record: SourceRecord,
    page: Page,
    origin: Origin,
    settings: ReadSettings,
    read: Callable[[Path], Page | None],
) -> SourceRecord:
    """Return a record with the nodes of its attachments, which go with it.

    Each is the document "ID#NAME", with the metadata of the page that it came in
    beside its own. One that cannot be read is a problem.

    Args:
        record: Of the page.
        page: What holds them.
        origin: Its document.
        settings: How files become nodes.
        read: Returns the page of a file; None: it is of a kind that is not read.
    """
    nodes, problems, attached = [*record.nodes], [*record.problems], []
    stays: set[str] = set()
    todo, n_left = [(page, origin, 1)], MOST_ATTACHMENTS
    while todo:
        page, origin, level = todo.pop(0)
        unread, left_out = [], []
        for one in page.attachments:
            if level > MOST_LEVELS or not n_left:
                left_out.append(one.name)
                stays.add(f"{origin.ref_doc_id}#{one.name}")
                continue
            n_left -= 1
            its = _origin(origin, one.name)
            assert its.ref_doc_id
            stays.add(its.ref_doc_id)
            named = its.metadata[FILE_PATH_KEY]
            try:
                inner = _read(one, named, read)
            except (StoreFull, ReaderUnusable):
                raise  # no matter of the attachment's
            except (MmragError, OSError) as error:
                problems.append(Problem(named, str(error)))
                continue
            if inner is None:
                unread.append(one.name)
                continue
            inner = replace(inner, metadata={**page.metadata, **inner.metadata})
            made = page_record(inner, its, settings)
            nodes += made.nodes
            problems += made.problems
            attached.append(made.ref_doc_id)
            stays.remove(made.ref_doc_id)
            todo.append((inner, its, level + 1))
        said = origin.metadata[FILE_PATH_KEY]
        if unread:
            advice = advice_of(Path(unread[0]).suffix.lower())
            why = "of kinds that are not read"
            problems.append(Problem(said, _counted(unread, why, advice)))
        if left_out:
            why = (
                f"left out: more than {MOST_ATTACHMENTS} in a mail, or in a mail in a "
                f"mail in a mail"
            )
            problems.append(Problem(said, _counted(left_out, why, "")))
    return replace(
        record,
        nodes=tuple(nodes),
        problems=tuple(problems),
        attached=tuple(attached),
        stays=frozenset(stays),
    )


@dataclass(slots=True)
class Former:
    """The attachments that are stored, by the mail that they came in."""

    channels: Mapping[str, Channel]
    """Where they are stored."""
    known: dict[str, list[str]] | None = None
    """None: nobody asked yet."""

    def added_to(self, record: SourceRecord) -> SourceRecord:
        """Return a record with the attachments that are stored of it and are no more.

        Those that cannot be read now stay, with what came in them.
        """
        if record.broke:  # before what it holds
            return record
        if self.known is None:
            found = (one.collection.document_ids() for one in self.channels.values())
            self.known = {}
            for each in set().union(*found):
                for mail in holders_of(each)[:1]:
                    self.known.setdefault(mail, []).append(each)
        former = sorted(
            each
            for each in self.known.get(record.ref_doc_id, ())
            if record.stays.isdisjoint((each, *holders_of(each)))
        )
        attached = dict.fromkeys((*record.attached, *former))
        return replace(record, attached=tuple(attached))


def _origin(origin: Origin, name: str) -> Origin:
    metadata = {
        key: f"{value}#{name}" if key in (FILE_NAME_KEY, FILE_PATH_KEY) else value
        for key, value in origin.metadata.items()
    }
    ref_doc_id = f"{origin.ref_doc_id}#{name}"
    return replace(origin, ref_doc_id=ref_doc_id, metadata=metadata)


def _read(
    one: Attachment, named: str, read: Callable[[Path], Page | None]
) -> Page | None:
    """Return an attachment's page, whose pictures are on no disk.

    Raises:
        MmragError: It cannot be read.
        OSError: There is no room for it.
    """
    with tempfile.TemporaryDirectory(prefix="mmrag-") as folder:
        # Links lead nowhere: neither beside this folder, nor into it.
        file = Path(folder).resolve() / "in" / f"attachment{Path(one.name).suffix}"
        file.parent.mkdir()
        file.write_bytes(one.data)
        try:
            page = read(file)
        except MmragError as error:
            raise type(error)(str(error).replace(str(file), named)) from error
    if page is None:
        return None
    problems = [problem.replace(str(file), named) for problem in page.problems]
    return replace(page, sections=[*map(_inline, page.sections)], problems=problems)


def _inline(section: Section) -> Section:
    pictures = (
        replace(each, picture=replace(each.picture, path=None))
        if isinstance(each, Caption)
        else each
        for each in section.pictures
    )
    return replace(section, pictures=tuple(pictures))


def _counted(names: list[str], why: str, advice: str) -> str:
    n = len(names)
    are = f"{n} attachment{'s are' if n > 1 else ' is'} {why}, such as {names[0]!r}."
    return f"{are} {advice or 'Save them as files beside it.'}"
