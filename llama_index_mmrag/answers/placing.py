"""Placing: where in an answer's Markdown a picture may stand, by a parser's tokens."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml
from markdown_it.rules_block import StateBlock
from markdown_it.token import Token

from llama_index_mmrag.citations.positions import after_labels
from llama_index_mmrag.ingestion.sentences import sentences

MAX_NESTING = 100
"""Block levels read, two for each list in a list; the parser drops what is deeper."""

_LISTS = ("bullet_list_open", "ordered_list_open", "list_item_open")
_PROSE = ("paragraph_open", "heading_open")

_LINE_END = re.compile(r"\r\n?|\n")
"""As the parser counts lines; `str.splitlines` knows more ends than these."""

_STOP = r"[。！？؟۔।][\"'”’」』）)]*"
"""Ends of sentences that no space need follow: LlamaIndex's splitter passes them."""

_FULL_STOP, _STOPPED = re.compile(_STOP), re.compile(rf"{_STOP}\Z")

_HTML_ENDS = {
    **{f"<{tag}": f"</{tag}>" for tag in ("script", "pre", "style", "textarea")},
    **{"<!--": "-->", "<?": "?>", "<![cdata[": "]]>", "<!": ">"},
}
"""What ends HTML that goes on over blank lines (CommonMark 0.31, section 4.6)."""


@dataclass(frozen=True, slots=True)
class Block:
    """A paragraph or a heading; a table, a quotation or code as a whole."""

    start: int
    """Where in the text its first line begins."""
    end: int
    """Where the line after it begins, or the text's end."""
    closing: int
    """Which of the page's tokens ends it."""
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
        starts = [0, *(found.end() for found in _LINE_END.finditer(text))]
        self._starts = [*starts, len(text)]
        self._parser = _parser(html)
        self._env: dict[str, Any] = {}
        # With its last line ended, the lines of code that is left open can be counted.
        whole = text if starts[-1] == len(text) else f"{text}\n"
        try:
            tokens = self._parser.parse(whole, self._env)
        except RecursionError:
            tokens = []  # brackets nested thousands deep
        is_whole = all(token.level < MAX_NESTING - 1 for token in tokens)
        self._tokens: Sequence[Token] = tokens if is_whole else ()

    def block_at(self, offset: int) -> Block | None:
        """Return the outermost block around a place, lists and their items apart.

        None in the definition of a link, and for a text nested too deep to be read.
        """
        line = bisect_right(self._starts, offset, hi=len(self._starts) - 1) - 1
        for index, token in enumerate(self._tokens):
            if token.map and token.type not in _LISTS:
                first, last = token.map
                if first <= line < last:
                    return self._block(index)
        return None

    def last_block(self) -> Block | None:
        """Return the block that the text ends with; None if there is none, or a list.

        What a list leaves open ends with the list.
        """
        openers = (i for i, t in enumerate(self._tokens) if not t.level and t.map)
        last = max(openers, default=None)
        if last is None or self._tokens[last].type in _LISTS:
            return None
        return self._block(last)

    def sentence_end(self, block: Block, start: int, end: int) -> int:
        """Return where the sentence ends that has a label from `start` to `end`.

        Labels after a full stop belong to the sentence before them. If the sentence
        ends inside of emphasis, code or a link, it is the end of the block.
        """
        text = self._text
        end = after_labels(text, end)
        first = last = block.start
        for sentence in sentences(text[block.start : block.end]):
            first, last = last, last + len(sentence)
            if start < last:
                break
        before = text[block.start : start].rstrip()
        if before and (start == first or _STOPPED.search(before[-4:])):
            last = end
        elif found := _FULL_STOP.search(text, end, last):
            last = after_labels(text, found.end())
        last = block.start + len(text[block.start : last].rstrip())
        halves = text[block.start : last], text[last : block.end]
        apart = "".join(map(self._parser.renderInline, halves))
        is_between = apart == self._parser.renderInline("".join(halves))
        return last if is_between else block.end

    def render(self, figures: Mapping[int | None, str]) -> str:
        """Return the text as HTML.

        Args:
            figures: HTML by the token that it follows; by None at the end.
        """
        tokens: list[Token] = []
        for index, token in enumerate(self._tokens):
            tokens.append(token)
            if index in figures:
                tokens.append(Token("html_block", "", 0, content=figures[index]))
        if tokens or not self._text.strip():
            parser = self._parser
            body = str(parser.renderer.render(tokens, parser.options, self._env))
        else:
            body = f'<p style="white-space: pre-wrap">{escapeHtml(self._text)}</p>\n'
        return body + figures.get(None, "")

    def _block(self, index: int) -> Block:
        token = self._tokens[index]
        first, last = token.map or (0, 0)
        closing = index
        if token.nesting == 1:
            level = token.level
            later = enumerate(self._tokens[index:], start=index)
            closing = next(i for i, t in later if t.nesting < 0 and t.level == level)
        return Block(
            start=self._starts[first],
            end=self._starts[last],
            closing=closing,
            column=self._env["columns"][first, token.level],
            unclosed=self._unclosed(token, n_lines=last - first),
            is_prose=token.type in _PROSE,
        )

    def _unclosed(self, token: Token, *, n_lines: int) -> str:
        if token.type == "fence" and n_lines == 1 + token.content.count("\n"):
            return token.markup
        if token.type == "html_block":
            followed = self._parser.parse(f"{token.content}\n\nA paragraph.")
            if len(followed) == 1:
                content = token.content.lstrip().lower()
                kinds = (kind for kind in _HTML_ENDS if content.startswith(kind))
                return _HTML_ENDS[next(kinds)]
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
