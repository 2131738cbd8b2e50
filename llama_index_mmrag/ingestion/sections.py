"""Sections: a parsed Markdown page into a record; a section is one entity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.ingestion.entities import Caption, Entity, Origin, nodes_of
from llama_index_mmrag.ingestion.html import PictureLink
from llama_index_mmrag.ingestion.identity import derived_id
from llama_index_mmrag.ingestion.links import resolve_link
from llama_index_mmrag.ingestion.markdown import Page, Section
from llama_index_mmrag.ingestion.metadata import user_metadata
from llama_index_mmrag.ingestion.pictures import (
    Picture,
    inline_picture,
    read_picture,
)
from llama_index_mmrag.ingestion.records import Problem, ReadSettings, SourceRecord
from llama_index_mmrag.ingestion.splitting import LINE
from llama_index_mmrag.nodes.shown import from_base64


def markdown_record(
    page: Page,
    origin: Origin,
    settings: ReadSettings,
    *,
    folder: Path | None,
    root: Path | None,
) -> SourceRecord:
    """Return what a Markdown page contributes.

    A section's `entity_id` follows from the document, its headings and how many
    earlier sections have the same ones: editing a text, or adding a section elsewhere,
    leaves it as it is. Front matter becomes metadata that is neither embedded nor
    shown to an LLM (its title stands before every text already).

    Args:
        page: The parsed text.
        origin: The document; its own metadata wins over the front matter's.
        settings: Chunk size and the folder for inline pictures.
        folder: Where relative links start; None if that is not known.
        root: Where links that begin with "/" start.
    """
    source = origin.ref_doc_id
    problems: list[Problem] = []
    if page.front_matter_error is not None:
        reason = (
            f"The front matter is broken and was left out: {page.front_matter_error}. "
            f"The text went in; correct the lines between the two '---'."
        )
        problems.append(Problem(source, reason))
    front_matter = user_metadata(page.front_matter)
    origin = replace(
        origin,
        metadata={**front_matter, **origin.metadata},
        hidden_from_embedding=(*origin.hidden_from_embedding, *front_matter),
        hidden_from_llm=(*origin.hidden_from_llm, *front_matter),
    )
    entities = []
    for section in page.sections:
        captions: dict[str, Caption] = {}
        for link, opened in _open_all(section, source, folder, root):
            if isinstance(opened, Problem):
                problems.append(opened)
                continue
            caption = link.caption or (section.headings or ("",))[-1]
            # Shown twice in one section, a picture would count twice for its entity.
            captions.setdefault(str(opened.path or link.src), Caption(opened, caption))
        id_ = derived_id("section", source, section.headings, section.ordinal)
        entities.append(
            Entity(id_, section.text, LINE, section.headings, tuple(captions.values()))
        )
    nodes = nodes_of(entities, origin, settings)
    return SourceRecord(source, nodes, whole=True, problems=tuple(problems))


def _open_all(
    section: Section, source: str, folder: Path | None, root: Path | None
) -> Iterator[tuple[PictureLink, Picture | Problem]]:
    for link in section.pictures:
        try:
            yield link, _open(link, source, folder, root)
        except ImageUnreadable as error:
            yield link, Problem(source, str(error))


def _open(
    link: PictureLink, source: str, folder: Path | None, root: Path | None
) -> Picture:
    if link.src.startswith("data:"):
        data = from_base64(link.src, name=repr(source))
        return inline_picture(data, repr(source))
    return read_picture(resolve_link(link.src, folder=folder, root=root))
