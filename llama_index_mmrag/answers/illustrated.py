"""Answers that hold their pictures: as Markdown, as a page, as LlamaIndex's blocks."""

from __future__ import annotations

import logging
import re
from collections import defaultdict, deque
from dataclasses import dataclass, field
from html import escape
from operator import itemgetter
from pathlib import Path
from textwrap import indent
from urllib.parse import quote

from llama_index.core.base.llms.types import ContentBlock, TextBlock
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)

from llama_index_mmrag.answers.figures import Figure, cited_answer
from llama_index_mmrag.answers.placing import Block, Page
from llama_index_mmrag.checks import no_address
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting
from llama_index_mmrag.ingestion.pictures import save_inline
from llama_index_mmrag.nodes.encoded_picture import EncodedPicture, encode_picture
from llama_index_mmrag.nodes.images import check_image
from llama_index_mmrag.nodes.shown import picture_of
from llama_index_mmrag.readers.page import Picture

logger = logging.getLogger(__name__)

_MARKUP = re.compile(r"[\\`*_\[\]<>&~|!$#]")
"""What may begin markup inside a line of Markdown."""

_NO_TEXT = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
"""Characters that HTML must not hold, and halves of some, which UTF-8 cannot."""

_HEAD = """\
<!DOCTYPE html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
img-src data:; style-src 'unsafe-inline'">
<title>Answer</title>
<style>
body { max-width: 46em; margin: 2em auto; padding: 0 1em; line-height: 1.5;
  font-family: system-ui, sans-serif; overflow-wrap: break-word; }
figure { margin: 1em 0; }
img { max-width: 100%; height: auto; }
figcaption, section { color: #555; font-size: 90%; }
table { border-collapse: collapse; }
th, td { border: 1px solid #bbb; padding: 0.2em 0.6em; }
pre { background: #f4f4f4; padding: 0.6em; overflow-x: auto; }
blockquote { margin-left: 0; padding-left: 1em; border-left: 3px solid #bbb; }
</style>
</head>
<body dir="auto">
"""


@checked
def to_markdown(response: RESPONSE_TYPE, pictures: str | Path = "link") -> str:
    """Return an answer as Markdown with its pictures and its sources.

    Each picture that is cited stands once, after the paragraph that cites it first, in
    a list inside the item; after a table, a quotation or code as a whole. Its labels
    and its caption are under it. The answer itself is in there byte for byte; code or
    HTML that it leaves open is closed before a picture or the sources follow.

    Args:
        response: Of `MultiModalSynthesizer`; a stream is read to its end, and of an
            object it is the JSON.
        pictures: "link" links each picture's own file, and puts one that has no file
            into the text; "inline" puts all into the text, as `data:` addresses; else a
            folder that the pictures are written to, and linked as it is given. Written
            and inline pictures are as large as the model was shown them.

    Raises:
        InvalidSetting: The response is another synthesizer's, or an asynchronous stream
            that must be awaited; or `pictures` is empty or an address.
        StoreUnusable: The folder cannot be made or written.
    """
    name = "to_markdown: pictures"
    advice = "Or say 'link' or 'inline'."
    if not no_address(str(pictures), name, advice=advice).strip():
        raise InvalidSetting(f"{name} is {pictures!r}; expected a folder. {advice}")
    answer = cited_answer(response)
    page = Page(answer.text, html=True)
    added: dict[int, str] = {}

    def add(lines: str, block: Block) -> None:
        space = " " * block.column
        if block.end not in added:
            ended = answer.text[: block.end].endswith(("\n", "\r"))
            closed = f"{space}{block.unclosed}\n" if block.unclosed else ""
            added[block.end] = ("" if ended else "\n") + closed
        added[block.end] += "\n" + indent(lines, space)

    for figure in answer.figures:
        lines = _figure_in_markdown(figure, pictures, answer.max_side)
        add(lines, page.block_at(figure.start))
    if answer.sources:
        listed = "".join(f"- {_escaped(source)}\n" for source in answer.sources)
        add(f"**Sources**\n\n{listed}", page.end)
    written = answer.text
    for place, lines in sorted(added.items(), reverse=True):
        rest = written[place:]
        gap = "" if rest[:1] in {"", "\n", "\r"} else "\n"
        written = written[:place] + lines + gap + rest
    return written


@checked
def to_html(response: RESPONSE_TYPE) -> str:
    """Return an answer as a page of HTML with its pictures and its sources.

    Pictures stand as in `to_markdown`, as large as the model was shown them, and are in
    the page itself. It loads nothing, and runs nothing: what looks like HTML in the
    answer is shown as text, and of pictures that the model wrote their words.

    Args:
        response: As for `to_markdown`.

    Raises:
        InvalidSetting: As for `to_markdown`.
    """
    answer = cited_answer(response)
    page = Page(_NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", answer.text), html=False)
    figures: defaultdict[int, str] = defaultdict(str)
    for figure in answer.figures:
        shown = _figure_in_html(figure, answer.max_side)
        figures[page.block_at(figure.start).closing] += shown
    listed = "".join(f"<li>{escape(source)}</li>\n" for source in answer.sources)
    sources = f"<section>\n<h2>Sources</h2>\n<ul>\n{listed}</ul>\n</section>\n"
    body = page.render(figures) + (sources if listed else "")
    whole = f"{_HEAD}{body}</body>\n</html>\n"
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", whole)


@checked
def to_blocks(response: RESPONSE_TYPE) -> list[ContentBlock]:
    """Return an answer as LlamaIndex's blocks of text and pictures.

    Each picture that is cited stands once, right after the sentence that cites it
    first, and its labels and caption follow as a text; a table, a quotation and code
    are not torn apart. The last block lists the sources. Texts without those are the
    answer.

    Args:
        response: As for `to_markdown`.

    Raises:
        InvalidSetting: As for `to_markdown`.
    """
    answer = cited_answer(response)
    text = answer.text
    page = Page(text, html=True)
    cuts = []
    for figure in answer.figures:
        block = page.block_at(figure.start)
        cut = block.end
        if block.is_prose:
            cut = page.sentence_end(block, figure.start, figure.end)
        cuts.append((cut, figure))
    blocks: list[ContentBlock] = []
    at = 0
    for cut, figure in sorted(cuts, key=itemgetter(0)):
        if cut > at:
            blocks.append(TextBlock(text=text[at:cut]))
            at = cut
        picture = _encoded(figure, answer.max_side)
        if isinstance(picture, str):
            blocks.append(TextBlock(text=f"\n{figure.legend} ({picture})\n"))
        else:
            legend = TextBlock(text=f"\n{figure.legend}\n")
            blocks += [picture.block(), legend]
    if text[at:]:
        blocks.append(TextBlock(text=text[at:]))
    if answer.sources:
        blocks.append(TextBlock(text="\n".join(["\n\nSources:", *answer.sources])))
    return blocks


class _Illustrated:
    """The functions above as methods of a response."""

    to_markdown = to_markdown
    to_html = to_html
    to_blocks = to_blocks


class MultiModalResponse(_Illustrated, Response):
    """An answer of `MultiModalSynthesizer`."""


class MultiModalPydanticResponse(_Illustrated, PydanticResponse):
    """An object of `MultiModalSynthesizer`."""


@dataclass
class MultiModalStreamingResponse(_Illustrated, StreamingResponse):
    """A stream of `MultiModalSynthesizer`, which knows what was read of it already."""

    said: list[str] = field(default_factory=list, repr=False)
    """The pieces that were read; `Draft` fills it."""

    def get_response(self) -> Response:
        """Return the whole answer; what is left of the stream is read."""
        deque(self.response_gen, maxlen=0)
        self.response_txt = "".join(self.said)
        return MultiModalResponse(self.response_txt, self.source_nodes, self.metadata)


@dataclass
class AsyncMultiModalStreamingResponse(_Illustrated, AsyncStreamingResponse):
    """An asynchronous stream, which knows what was read of it already."""

    said: list[str] = field(default_factory=list, repr=False)
    """As of `MultiModalStreamingResponse`."""

    async def get_response(self) -> Response:
        """Return the whole answer; what is left of the stream is read."""
        async for _ in self.response_gen:
            pass
        self.response_txt = "".join(self.said)
        return MultiModalResponse(self.response_txt, self.source_nodes, self.metadata)


def _figure_in_markdown(figure: Figure, pictures: str | Path, max_side: int) -> str:
    legend = _escaped(figure.legend)
    try:
        address = _address(figure, pictures, max_side)
    except ImageUnreadable as error:
        return f"{legend} ({_escaped(_told(error))})\n"
    # In one paragraph: the backslash breaks the line.
    return f"![{_escaped(figure.alt)}]({address})\\\n{legend}\n"


def _address(figure: Figure, pictures: str | Path, max_side: int) -> str:
    source = picture_of(figure.node)
    if pictures == "link" and isinstance(source, str):
        check_image(source)
        return quote(Path(source).as_posix(), safe="/:")
    encoded = encode_picture(source, max_side=max_side)
    if pictures in ("link", "inline"):
        return _data_url(encoded)
    file = save_inline(Picture(encoded.data, encoded.mimetype, None), Path(pictures))
    return quote(Path(pictures, file.name).as_posix(), safe="/:")


def _figure_in_html(figure: Figure, max_side: int) -> str:
    picture = _encoded(figure, max_side)
    if isinstance(picture, str):
        return f"<p>{escape(figure.legend)} ({escape(picture)})</p>\n"
    return (
        f'<figure>\n<img src="{_data_url(picture)}" alt="{escape(figure.alt)}" '
        f'width="{picture.width}" height="{picture.height}">\n'
        f"<figcaption>{escape(figure.legend)}</figcaption>\n</figure>\n"
    )


def _encoded(figure: Figure, max_side: int) -> EncodedPicture | str:
    """Return a picture as the model was shown it, or why it is shown no more."""
    try:
        return encode_picture(picture_of(figure.node), max_side=max_side)
    except ImageUnreadable as error:
        return _told(error)


def _told(error: ImageUnreadable) -> str:
    logger.warning("An answer is shown without a picture that it cites: %s", error)
    return str(error)


def _data_url(picture: EncodedPicture) -> str:
    return str(picture.block().inline_url())


def _escaped(text: str) -> str:
    """Return a line of text as Markdown that shows it."""
    return _MARKUP.sub(r"\\\g<0>", text)
