"""Placing: where in an answer's Markdown a picture may stand, by a parser's tokens."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.rules_block import StateBlock
from markdown_it.rules_block.html_block import HTML_SEQUENCES
from markdown_it.token import Token

from llama_index_mmrag.citations.positions import after_labels
from llama_index_mmrag.ingestion.sentences import sentences

MAX_NESTING = 100
"""Block levels read, two for each list in a list; the parser drops what is deeper."""

_LISTS = ("bullet_list_open", "ordered_list_open", "list_item_open")
_PROSE = ("paragraph_open", "heading_open")

_LINE_END = re.compile(r"\r\n?|\n")
"""As the parser counts lines; `str.splitlines` knows more ends than these."""

_FULL_STOP = re.compile(r"[。！？؟۔।][\"'”’」』）)]*")
"""Ends of sentences that no space need follow: LlamaIndex's splitter passes them."""

_HTML_ENDS = ("", "-->", "?>", ">", "]]>")
"""What ends the kinds of HTML that go on over blank lines, as the parser lists them.

The first is a script or the like, which its own tag ends.
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph or a heading; a table, a quotation or code as a whole; or the end."""

    start: int
    """Where in the text its first line begins."""
    end: int
    """Where the line after it begins, or the text's end."""
    closing: int
    """Which of the page's tokens ends it, from 0."""
    column: int
    """How far its list item's content is indented; 0 outside of lists."""
    unclosed: str
    """The line that would end code or HTML which the text leaves open; else empty."""
    is_prose: bool


class Page:
    """A Markdown text, parsed.

    Args:
        text: Markdown.
        html: Whether HTML in it is HTML, as readers of Markdown take it, or text. Where
            it is, "[1]: kitchen.md" defines a link as well; where not, it is text too,
            so that it is shown and no later [1] becomes a link.
    """

    def __init__(self, text: str, *, html: bool) -> None:
        self._text = text
        self._parser = _parser(html)
        self._env: dict[str, Any] = {}
        # With its last line ended, the lines of code that is left open can be counted.
        whole = text if text.endswith(("\n", "\r")) else f"{text}\n"
        try:
            self._tokens = self._parser.parse(whole, self._env)
            is_whole = all(token.level < MAX_NESTING - 1 for token in self._tokens)
        except RecursionError:  # brackets nested thousands deep
            is_whole = False
        if not is_whole:
            shown = f'<p style="white-space: pre-wrap">{escapeHtml(text)}</p>\n'
            self._tokens = [Token("html_block", "", 0, content=shown)]
        self._blocks = list(self._read_blocks())
        last = self._blocks[-1] if self._blocks else None
        self.end = Block(
            start=len(text),
            end=len(text),
            closing=len(self._tokens) - 1,
            column=0,
            # What a list leaves open ends with the list.
            unclosed=last.unclosed if last and not last.column else "",
            is_prose=False,
        )
        """Where the text ends."""

    def _read_blocks(self) -> Iterator[Block]:
        text = self._text
        starts = [0, *(found.end() for found in _LINE_END.finditer(text)), len(text)]
        opening: Token | None = None
        for index, token in enumerate(self._tokens):
            if opening is None and token.map and token.type not in _LISTS:
                opening = token
            if opening is None or token.level != opening.level or token.nesting > 0:
                continue
            first, last = opening.map or (0, 0)
            yield Block(
                start=starts[first],
                end=starts[last],
                closing=index,
                column=self._env["columns"][first, opening.level],
                unclosed=_unclosed(opening, n_lines=last - first),
                is_prose=opening.type in _PROSE,
            )
            opening = None

    def block_at(self, offset: int) -> Block:
        """Return the outermost block around a place, lists and their items apart.

        It is the end in the definition of a link, and for a text nested too deep to be
        read.
        """
        around = (block for block in self._blocks if block.start <= offset < block.end)
        return next(around, self.end)

    def sentence_end(self, block: Block, start: int, end: int) -> int:
        """Return where the sentence ends that has a label from `start` to `end`.

        Labels after a full stop belong to the sentence before them. If the sentence
        ends inside of emphasis, code or a link, it is the end of the block.
        """
        text = self._text[block.start : block.end]
        start, end = start - block.start, after_labels(text, end - block.start)
        ends = {found.end() for found in _FULL_STOP.finditer(text)}
        ends.update(accumulate(map(len, sentences(text))))
        before = text[:start].rstrip()
        is_after = start in ends or len(before) in ends
        # "1." is the number of an item, and no sentence.
        if not (is_after and any(map(str.isalpha, before))):
            end = after_labels(text, min(stop for stop in ends if stop >= end))
        end = len(text[:end].rstrip())
        apart = map(self._parser.renderInline, (text[:end], text[end:]))
        is_between = "".join(apart) == self._parser.renderInline(text)
        return block.start + end if is_between else block.end

    def render(self, figures: Mapping[int, str]) -> str:
        """Return the text as HTML.

        Args:
            figures: HTML by the token that it follows, as blocks say in `closing`.
        """
        tokens: list[Token] = []
        for index, token in enumerate(self._tokens):
            tokens.append(token)
            if index in figures:
                tokens.append(Token("html_block", "", 0, content=figures[index]))
        parser = self._parser
        return str(parser.renderer.render(tokens, parser.options, self._env))


def _unclosed(token: Token, *, n_lines: int) -> str:
    """Return the line that ends code or HTML which is left open; else nothing."""
    if token.type == "fence" and n_lines == 1 + token.content.count("\n"):
        return token.markup
    if token.type == "html_block":
        content = token.content.lstrip()
        for (begins, ends, _), end in zip(HTML_SEQUENCES, _HTML_ENDS, strict=False):
            if found := begins.search(content):
                return "" if ends.search(content) else end or f"</{found[1]}>"
    return ""


@lru_cache(maxsize=2)
def _parser(html: bool) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": html, "maxNesting": MAX_NESTING})
    parser.enable(["table", "strikethrough"])
    if not html:
        parser.disable("reference")
    parser.block.ruler.before("table", "column", _note_column)
    parser.add_render_rule("image", _as_text)
    return parser


def _note_column(state: StateBlock, line: int, _end: int, _silent: bool) -> bool:
    """Note how far each block must be indented, which no token says; parse nothing."""
    state.env.setdefault("columns", {})[line, state.level] = state.blkIndent
    return False


def _as_text(_: Any, tokens: Sequence[Token], index: int, *__: Any) -> str:
    """Return a picture that the model wrote as its words: it may lie anywhere."""
    token = tokens[index]
    return escapeHtml(token.content or str(token.attrs.get("src", "")))
