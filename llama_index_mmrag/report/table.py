"""Results as a table for a terminal, and as rows for machines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.schema import NodeWithScore
from rich.table import Table
from rich.text import Text

from llama_index_mmrag.nodes.node import modality_of, provenance_of
from llama_index_mmrag.nodes.shown import name_of

_SNIPPET_LENGTH = 160


def ranking_table(results: Sequence[NodeWithScore], *, title: str = "") -> Table:
    """Return the results as a table: what was found, and what each hit added.

    Args:
        results: Best first; an entity's nodes stand together under one rank.
        title: Above the table; none if empty.
    """
    table = Table(title=title or None, title_justify="left")
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("modality", no_wrap=True)
    table.add_column("found", ratio=3, overflow="fold")
    table.add_column("why", ratio=2, overflow="fold")
    previous = None
    rank = 0
    for row in ranking_rows(results):
        is_kin = row["entity_id"] == previous
        if not is_kin:
            rank += 1
            table.add_section()
        previous = row["entity_id"]
        score = "" if row["score"] is None else f"{row['score']:.4f}"
        why = "\n".join(map(_why, row["contributions"]))
        table.add_row(
            "" if is_kin else str(rank),
            "" if is_kin else score,
            Text(plain_line(row["modality"])),
            Text(_found(row)),
            Text(why or ("linked to the result above" if is_kin else "")),
        )
    return table


def ranking_rows(results: Sequence[NodeWithScore]) -> list[dict[str, Any]]:
    """Return a plain row for each result, best first, that JSON can hold."""
    return [_row(result) for result in results]


def plain_line(text: str) -> str:
    r"""Return the text in one line, with nothing in it that could steer a terminal.

    >>> plain_line("tea\n\tand \x1b[31mcake")
    'tea and �[31mcake'
    """
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in " ".join(text.split())
    )


def plain_text(text: str) -> str:
    """Return the text as `plain_line` does, line by line."""
    return "\n".join(map(plain_line, text.splitlines()))


def _row(result: NodeWithScore) -> dict[str, Any]:
    node = result.node
    provenance = provenance_of(result)
    added = provenance.of_node(node.node_id) if provenance else ()
    return {
        "node_id": node.node_id,
        "entity_id": provenance.entity_id if provenance else node.node_id,
        "modality": modality_of(node),
        "score": result.score,
        "source": name_of(node),
        "image_path": getattr(node, "image_path", None),
        "text": node.get_content(),
        "contributions": [
            {
                "route": c.route,
                "rank": c.rank,
                "raw_score": c.raw_score,
                "weight": c.weight,
                "amount": c.amount,
            }
            for c in added
        ],
        "degraded": [
            {"route": d.route, "kind": d.kind, "reason": d.reason}
            for d in (provenance.degraded if provenance else ())
        ],
    }


def _found(row: dict[str, Any]) -> str:
    source, text = plain_line(str(row["source"])), plain_line(str(row["text"]))
    if len(text) > _SNIPPET_LENGTH:
        text = text[: _SNIPPET_LENGTH - 1].rstrip() + "…"
    return f"{source}\n{text}" if text else source


def _why(contribution: dict[str, Any]) -> str:
    return (
        f"+{contribution['amount']:.4f} {plain_line(contribution['route'])} "
        f"(rank {contribution['rank']}, similarity {contribution['raw_score']:.3f})"
    )
