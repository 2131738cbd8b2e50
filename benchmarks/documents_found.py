"""Is a figure found as it is in the Markdown of the same book?

Each kind of file is indexed by itself, with the offline encoder, and asked by captions
and alternative texts: whether the entity that comes first has the figure that they are
of. Captions are asked without "Figure 1.2:". Where a file has no alternative texts, the
Markdown beside it has none.
"""

from __future__ import annotations

import re
import tempfile
from io import BytesIO
from typing import Any

import numpy as np
from documents_book import Made
from documents_judge import matched, small_of
from llama_index.core.schema import ImageNode
from page import share, table
from PIL import Image
from words_pictures import Remembering, entities

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.nodes.images import image_bytes
from llama_index_mmrag.nodes.node import entity_of
from llama_index_mmrag.nodes.shown import picture_of

N_RESAMPLED = 10_000
_NUMBER = re.compile(r"Figure [\d.]+:? ")


def is_first(made: Made, encoder: Remembering) -> dict[tuple[str, int], float]:
    """Return whether a figure's entity comes first, by what is asked and its number.

    Its number is that among the figures with captions; of drawings nothing is said.
    """
    with (
        tempfile.TemporaryDirectory() as store,
        MultiModalQdrantIndex.open(store, embed_model=encoder) as index,
    ):
        report = index.insert_directory(made.file)
        if report.problems:
            print(f"  {made.file.name}: {report.problems[0]}", flush=True)
        nodes = [
            node
            for node in index.channels[1].collection.nodes_where(None)
            if isinstance(node, ImageNode)
        ]
        pictures = (BytesIO(image_bytes(picture_of(node))) for node in nodes)
        small = [small_of(Image.open(picture)) for picture in pictures]
        wanted = [figure for figure in made.figures if figure.caption]
        own_small = [f.file and small_of(Image.open(f.file)) for f in wanted]
        pairs = matched(own_small, small)
        found = entities(index)
        own: dict[tuple[str, int], float] = {}
        for n, figure in enumerate(wanted):
            entity = entity_of(nodes[pairs[n]]) if n in pairs else None
            for kind, text in (("caption", figure.caption), ("alt", figure.alt)):
                if figure.file is not None:
                    first = found(_NUMBER.sub("", text))[:1]
                    own[kind, n] = float(first == [entity])
    return own


def compared(
    own: dict[tuple[str, int], float], other: dict[tuple[str, int], float], seed: int
) -> list[dict[str, Any]]:
    """Return a row for captions and one for alternative texts, paired by figure."""
    rows = []
    rng = np.random.default_rng(seed)
    for kind in ("caption", "alt"):
        keys = [key for key in own if key[0] == kind]
        values = np.array([[own[key], other[key]] for key in keys])
        more = values[:, 0] - values[:, 1]
        drawn = more[rng.integers(len(more), size=(N_RESAMPLED, len(more)))].mean(1)
        low, high = np.quantile(drawn, (0.025, 0.975))
        rows.append(
            {
                "asked by": kind,
                "queries": len(keys),
                "first": float(values[:, 0].mean()),
                "first in Markdown": float(values[:, 1].mean()),
                "more": float(more.mean()),
                "more_95": (float(low), float(high)),
            }
        )
    return rows


def page(rows: list[dict[str, Any]]) -> list[str]:
    """Return the rows as a table; what is significantly less often first is bold."""
    return [
        "## Figures found",
        "",
        "Asked by caption or alternative text: how often the entity with its figure",
        "comes first; paired with Markdown, 95 % by bootstrap over figures.",
        "",
        *table(
            ["kind", "asked by", "queries", "first", "in Markdown", "more"],
            (
                [
                    *(row["kind"], row["asked by"], row["queries"]),
                    *(f"{row[key]:.3f}" for key in ("first", "first in Markdown")),
                    _more(row),
                ]
                for row in rows
            ),
        ),
        "",
    ]


def _more(row: dict[str, Any]) -> str:
    said = share(row["more"], row["more_95"], "+.3f")
    return f"**{said}**" if row["more_95"][1] < 0 else said
