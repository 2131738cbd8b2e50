"""Answers as models write them: generated Markdown that cites, and its response."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from llama_index.core.base.response.schema import Response
from llama_index.core.schema import BaseNode

from llama_index_mmrag.answers.draft import Draft
from llama_index_mmrag.answers.evidence import PictureBudget, gather_evidence

from .colours import ranked

N_SOURCES = 6
SCRIPT = "<script>document.documentElement.dataset.ran = 1</script>"

_SENTENCES = (
    "The door opens inwards{}.",
    "**It is red{}, and heavy.**",
    "Is it `a[0]`{}?",
    "门是红色的{}。",
    "打开门。{}它很重。",
    "הדלת אדומה{}.",
    "الباب أحمر{}؟",
    "See [the page](https://example.org){}!",
    "It is shut.{}",
    f"{SCRIPT} is said{{}}.",
    '<img src=x onerror="document.documentElement.dataset.ran = 1">{}',
    "![a picture of its own](https://example.org/a.png){}",
    "[a](javascript:alert(1)) & &lt;b&gt; &#60;i>{}",
    "Two lines{}\nof a paragraph  \nwith a break.",
    "A *start. Of{}. Something* long.",
)


def generated(rng: Random) -> str:
    """Return an answer of one to six blocks; some are nested, some left open."""
    blocks = [_block(rng, depth=0) for _ in range(rng.randint(1, 6))]
    if rng.random() < 0.15:
        opened = (
            "```python\nx = 1",
            "~~~~\n~~~",
            "<!-- a",
            "<pre>\na\n\nb",
            SCRIPT[:8],
        )
        blocks.append(f"{rng.choice(opened)} {_labels(rng)}")
    text = "\n\n".join(blocks) + rng.choice(("", "\n", "\n\n \n"))
    return text.replace("\n", rng.choice(("\n", "\n", "\n", "\r\n")))


def respond(
    answer: str, nodes: list[BaseNode], *, max_side: int = 64, max_images: int = 6
) -> Response:
    """Return the response around what an LLM wrote, its citations checked."""
    budget = PictureBudget(max_images, max_side)
    draft = Draft(gather_evidence(ranked(*nodes), budget=budget), [])
    response = draft.respond(draft.checked(answer))
    assert isinstance(response, Response)
    return response


def _labels(rng: Random) -> str:
    # Label 9 names no source.
    labels = rng.choices(
        [*range(1, N_SOURCES + 1), 9], k=rng.choice((0, 0, 1, 1, 2, 3))
    )
    return rng.choice((" ", "")) + "".join(f"[{label}]" for label in labels)


def _paragraph(rng: Random, _depth: int = 0) -> str:
    said = rng.choices(_SENTENCES, k=rng.randint(1, 3))
    return " ".join(sentence.format(_labels(rng)) for sentence in said)


def _heading(rng: Random, _depth: int) -> str:
    return rng.choice(("# A heading{}", "A heading{}\n===")).format(_labels(rng))


def _list(rng: Random, depth: int) -> str:
    items = []
    for number in range(rng.randint(1, 3)):
        marker = rng.choice(("- ", "* ", "-   ", f"{number + 9}. ", f"{number + 1})  "))
        parts = [_paragraph(rng)]
        if depth < 3 and rng.random() < 0.4:
            parts.append(_block(rng, depth + 1))
        body = rng.choice(("\n", "\n\n")).join(parts)
        items.append(marker + body.replace("\n", "\n" + " " * len(marker)))
    return rng.choice(("\n", "\n\n")).join(items)


def _table(rng: Random, _depth: int) -> str:
    rows = "".join(f"\n| a{_labels(rng)} | {SCRIPT}{_labels(rng)} |" for _ in "ab")
    return f"| one{_labels(rng)} | two |\n|---|:-:|{rows}"


def _code(rng: Random, _depth: int) -> str:
    kind = rng.choice(("```python\nx = a{}\n\n# y\n```", "    x = a{}\n\n    y"))
    return kind.format(_labels(rng))


def _html(rng: Random, _depth: int) -> str:
    kind = rng.choice(
        ("<div>\nText{}\n</div>", "<!-- a{}\n\nb -->", "<pre>\n\n{}</pre>")
    )
    return kind.format(_labels(rng))


def _quotation(rng: Random, depth: int) -> str:
    inner = _block(rng, depth + 1) if depth < 3 else _paragraph(rng)
    return "> " + inner.replace("\n", "\n> ")


def _block(rng: Random, depth: int) -> str:
    kinds: list[Callable[[Random, int], str]] = [
        *(_paragraph, _paragraph, _list, _list, _list),
        *(_heading, _table, _code, _html, _quotation),
    ]
    return rng.choice(kinds)(rng, depth)
