"""Writes the docs pages that list the rows: `python -m tests.habits.pages`."""

from __future__ import annotations

from pathlib import Path

from .rows import PAGES, Row, rows_of
from .rows_foreign import SHOWN

FOLDER = Path(__file__).parents[2] / "docs"

_TITLES = {
    "from-llamaindex": "# What you type by habit, from LlamaIndex\n\n"
    "An index is a drop-in for `MultiModalVectorStoreIndex`.",
    "from-qdrant": "# What you type by habit, from Qdrant\n\n"
    "`index` is an embedded one, `on_client` one over a `QdrantClient`.",
}
_RULE = (
    " Each line below means here what it means there, or raises an error that names "
    "our word for it; nothing is accepted and ignored. The table is generated from "
    "`tests/habits/`, where every line is typed in each run of the tests.\n\n"
    "`docs` are two texts and two pictures, `photo` is a picture's path and `path` a "
    "folder's, `encoder` encodes texts and pictures, `llm` is a model, `client` a "
    "`QdrantClient`, and `models` are `qdrant_client.models`."
)


def page_of(page: str) -> str:
    """Return a page as it should be."""
    lines = [
        _TITLES[page] + _RULE,
        "",
        "| you type | it | which means here |",
        "|---|---|---|",
        *map(_line, rows_of(page)),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    typed = row.typed.rpartition(SHOWN)[2].replace(", **shop", ', collection="shop"')
    typed = typed.replace(", **docs_only", ', collection="docs"')
    typed = typed.replace("|", "\\|").replace("`", "'").replace("\n", "; ")
    is_error = row.outcome != "runs"
    outcome = f"raises `{row.outcome}`" if is_error else "runs"
    return f"| `{typed}` | {outcome} | {row.means} |"


if __name__ == "__main__":
    for name in PAGES:
        (FOLDER / f"{name}.md").write_text(page_of(name), encoding="utf-8")
