"""Results as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from llama_index.core.schema import NodeWithScore
from rich.table import Table
from rich.text import Text

from llama_index_mmrag.provenance import quoted
from llama_index_mmrag.report.plain import plain_line
from llama_index_mmrag.report.results import Hit, ResultCard

_SNIPPET_LENGTH = 160


def ranking_table(results: Sequence[NodeWithScore]) -> Table:
    """Return the results as a table: what was found, and what each hit added.

    Args:
        results: Best first; an entity's nodes stand together under one rank.
    """
    table = Table()
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("modality", no_wrap=True)
    table.add_column("found", ratio=3, overflow="fold")
    table.add_column("why", ratio=2, overflow="fold")
    previous = None
    rank = 0
    for result in map(ResultCard.of, results):
        is_kin = result.entity_id == previous
        if not is_kin:
            rank += 1
            table.add_section()
        previous = result.entity_id
        score = "" if result.score is None else f"{result.score:.4f}"
        why = "\n".join(map(_why, result.contributions))
        table.add_row(
            "" if is_kin else str(rank),
            "" if is_kin else score,
            Text(plain_line(result.modality)),
            Text(_found(result)),
            Text(why or ("linked to the result above" if is_kin else "")),
        )
    return table


def _found(result: ResultCard) -> str:
    source, text = plain_line(result.source), plain_line(result.text)
    if len(text) > _SNIPPET_LENGTH:
        text = text[: _SNIPPET_LENGTH - 1].rstrip() + "…"
    lettering = plain_line(quoted([line.text for line in result.lettering]))
    read = f"\nread in it: {lettering}" if lettering else ""
    return (f"{source}\n{text}" if text else source) + read


def _why(hit: Hit) -> str:
    return (
        f"+{hit.amount:.4f} {plain_line(hit.told)} "
        f"(rank {hit.rank}, similarity {hit.raw_score:.3f})"
    )
