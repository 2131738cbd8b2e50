"""Markdown: a page of passages, each under its headings, from a parser's tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import yaml
from llama_index.core.schema import Document
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.ingestion.html import TagReader, read_html
from llama_index_mmrag.ingestion.identity import plain
from llama_index_mmrag.ingestion.linked import FILE_NAME_KEY
from llama_index_mmrag.ingestion.links import captions_of
from llama_index_mmrag.nodes.images import MAX_PIXELS
from llama_index_mmrag.nodes.node import FILE_PATH_KEY
from llama_index_mmrag.readers.page import LINE, Page, PictureLink, Section

MARKDOWN_SUFFIXES = (".md", ".markdown", ".mdx")
_TYPES = frozenset({"text/markdown", "text/x-markdown"})
_NAME_KEYS = (FILE_PATH_KEY, FILE_NAME_KEY, "filename", "source")

MAX_NESTING = 50
"""Block levels read, two for each list in a list; the parser drops what is deeper."""

_FENCES = ("---", "...")


def is_markdown(document: Document) -> bool:
    """Return whether a document says so, by its type or a name of it."""
    resource = document.text_resource
    declared = (document.metadata.get("file_type"), resource and resource.mimetype)
    if not _TYPES.isdisjoint(map(str, declared)):
        return True
    names = (str(document.metadata.get(key, "")) for key in _NAME_KEYS)
    return any(PurePath(name).suffix.lower() in MARKDOWN_SUFFIXES for name in names)


@dataclass(frozen=True, slots=True)
class Passage:
    """What stands between one heading and the next."""

    headings: tuple[str, ...]
    """The page's title and the headings above, outermost first."""

    ordinal: int
    """How many earlier passages have the same headings."""

    text: str
    """Plain text; each picture is replaced by its alt text."""

    pictures: tuple[PictureLink, ...]


@dataclass(frozen=True, slots=True)
class Markdown:
    """A Markdown text, parsed; its pictures are not looked for."""

    front_matter: Mapping[str, Any]
    passages: tuple[Passage, ...]
    front_matter_error: str | None = None


def markdown_page(
    text: str,
    *,
    folder: Path | None,
    root: Path | None,
    pixels: int = MAX_PIXELS,
) -> Page:
    """Return the page that a Markdown text describes; a passage is one entity.

    An entity's name follows from its headings and from how many earlier passages have
    the same ones: editing a text, or adding a passage elsewhere, leaves it as it is.

    Args:
        text: Markdown.
        folder: Where relative links start; None if that is not known.
        root: Where links that begin with "/" start.
        pixels: Most that a picture may have.

    Raises:
        DocumentUnreadable: Markup is nested thousands deep.
    """
    parsed = parse_markdown(text)
    problems = []
    if parsed.front_matter_error is not None:
        problems.append(
            f"The front matter is broken and was left out: "
            f"{parsed.front_matter_error}. The text went in; correct the lines between "
            f"the two '---'."
        )
    sections = []
    for passage in parsed.passages:
        pictures = captions_of(
            passage.pictures,
            passage.headings,
            folder=folder,
            root=root,
            problems=problems,
            pixels=pixels,
        )
        entity = ("section", passage.headings, passage.ordinal)
        sections.append(Section(passage.text, pictures, passage.headings, entity, LINE))
    return Page(tuple(sections), parsed.front_matter, tuple(problems))


def parse_markdown(text: str) -> Markdown:
    r"""Return front matter and passages of a Markdown text.

    Pictures are `![alt](src "title")`, reference-style pictures and HTML `<img>`; what
    looks like one in code or in a comment is none. Headings inside lists and quotes
    are text. Passages that hold neither text nor picture are left out, unless their
    heading is the last one of its path: no other passage says it.

    Raises:
        DocumentUnreadable: Markup is nested thousands deep.

    Example:
        >>> parsed = parse_markdown("# Pie\n![A pie](pie.png)\n## Crust\nFlour.")
        >>> [(p.headings, p.text) for p in parsed.passages]
        [(('Pie',), 'A pie'), (('Pie', 'Crust'), 'Flour.')]
        >>> [(link.src, link.alt) for link in parsed.passages[0].pictures]
        [('pie.png', 'A pie')]
    """
    front_matter, body, wrong = split_front_matter(text)
    title = front_matter.get("title")
    title = "" if title is None or isinstance(title, list) else _one_line(str(title))
    try:
        return Markdown(front_matter, _passages(body, title), wrong)
    except RecursionError as error:
        raise DocumentUnreadable(
            "The Markdown nests emphasis or brackets thousands deep and cannot be "
            "parsed. Correct it, or name the file .txt."
        ) from error


def _passages(body: str, title: str) -> tuple[Passage, ...]:
    stack: list[tuple[int, str]] = [(0, title)] if title else []
    drafts: list[tuple[tuple[str, ...], list[SyntaxTreeNode]]] = [(_path(stack), [])]
    for block in SyntaxTreeNode(_parser().parse(body)).children:
        if block.type == "heading":
            level = int(block.tag[1:])
            while stack and stack[-1][0] >= level:
                stack.pop()
            writer = _Writer()
            stack.append((level, _one_line(writer.blocks([block]))))
            drafts.append((_path(stack), [block] if writer.pictures else []))
        else:
            drafts[-1][1].append(block)
    seen: Counter[tuple[str, ...]] = Counter()
    passages = []
    after = [*(headings for headings, _ in drafts[1:]), ()]
    for (headings, blocks), following in zip(drafts, after, strict=True):
        writer = _Writer()
        text = writer.blocks(blocks)
        # A heading with nothing below it is said nowhere else.
        is_last_word = bool(headings) and following[: len(headings)] != headings
        if text or writer.pictures or is_last_word:
            pictures = tuple(writer.pictures)
            passages.append(Passage(headings, seen[headings], text, pictures))
            seen[headings] += 1
    return tuple(passages)


def split_front_matter(text: str) -> tuple[dict[str, Any], str, str | None]:
    """Return the YAML front matter's values, the rest, and what is wrong with it.

    Values that are neither scalars nor lists of scalars are left out. Broken front
    matter gives no values; the text after it is whole.
    """
    lines = text.splitlines(keepends=True)
    if not lines or lines[0].rstrip() != _FENCES[0]:
        return {}, text, None
    ends = [i for i, line in enumerate(lines[1:], 1) if line.rstrip() in _FENCES]
    if not ends:
        return {}, text, None
    body = "".join(lines[ends[0] + 1 :])
    try:
        values = yaml.safe_load("".join(lines[1 : ends[0]]))
        if values is None:
            return {}, body, None
        if not isinstance(values, dict):
            return {}, body, f"it is a {type(values).__name__}, not key: value lines"
        flat = {str(key): plain(item) for key, item in values.items() if _is_flat(item)}
    # ValueError: the 31st of February; InvalidSetting, which is one, of plain(): NaN
    except (yaml.YAMLError, ValueError) as error:
        return {}, body, _one_line(str(error))
    return flat, body, None


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"maxNesting": MAX_NESTING})
    return parser.enable(["table", "strikethrough"])


def _path(stack: list[tuple[int, str]]) -> tuple[str, ...]:
    # Front matter and first heading often both hold the title.
    titles: list[str] = []
    for _, title in stack:
        if title and titles[-1:] != [title]:
            titles.append(title)
    return tuple(titles)


def _is_flat(value: object) -> bool:
    items = value if isinstance(value, list) else [value]
    return not any(isinstance(item, (dict, list, set, bytes, tuple)) for item in items)


class _Writer:
    """Plain text of a syntax tree; the pictures met on the way are collected."""

    def __init__(self) -> None:
        self.pictures: list[PictureLink] = []
        self._tags: TagReader | None = None

    def blocks(self, nodes: list[SyntaxTreeNode]) -> str:
        parts = [self.block(node) for node in nodes]
        return "\n\n".join(part for part in parts if part.strip())

    def block(self, node: SyntaxTreeNode) -> str:
        if node.type in ("fence", "code_block"):
            return node.content.rstrip()
        if node.type == "html_block":
            return self.html(node.content)
        if node.type in ("bullet_list", "ordered_list"):
            return self.items(node)
        if node.type == "table":
            rows = [row for part in node.children for row in part.children]
            return "\n".join(
                " | ".join(self.blocks(cell.children) for cell in row.children)
                for row in rows
            )
        if node.type == "inline":
            return self.inline(node.children).strip()
        return self.blocks(node.children)

    def items(self, node: SyntaxTreeNode) -> str:
        number = int(node.attrs.get("start", 1)) if node.type == "ordered_list" else 0
        lines = []
        for offset, item in enumerate(node.children):
            marker = f"{number + offset}. " if node.type == "ordered_list" else "- "
            # Inside an item, one line break is enough: blank lines are for paragraphs.
            parts = [self.block(child) for child in item.children]
            text = "\n".join(part for part in parts if part.strip())
            lines.append(marker + text.replace("\n", "\n" + " " * len(marker)))
        return "\n".join(lines)

    def inline(self, nodes: list[SyntaxTreeNode]) -> str:
        return "".join(self.span(node) for node in nodes)

    def span(self, node: SyntaxTreeNode) -> str:
        if node.type in ("text", "code_inline"):
            return node.content
        if node.type == "softbreak":
            return " "  # so that a line break always means something
        if node.type == "hardbreak":
            return "\n"
        if node.type == "image":
            alt = _one_line(_Writer().inline(node.children))
            title = _one_line(str(node.attrs.get("title", "")))
            self.pictures.append(PictureLink(str(node.attrs["src"]), alt, title))
            return alt
        if node.type == "html_inline":
            return self.html(node.content, strip=False)
        return self.inline(node.children)

    def html(self, source: str, *, strip: bool = True) -> str:
        self._tags = self._tags or TagReader(self.pictures)
        text, _ = read_html(source, self._tags)
        if not strip:
            return text
        lines = (_one_line(line) for line in text.splitlines())
        return "\n".join(line for line in lines if line)


def _one_line(text: str) -> str:
    return " ".join(text.split())
