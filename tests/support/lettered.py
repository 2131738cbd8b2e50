"""Lettering as it is stored: a text of its picture's entity, with its lines."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from llama_index.core.schema import ImageNode, TextNode

from llama_index_mmrag.lettering import Line as ReadLine
from llama_index_mmrag.nodes.node import (
    KIND_KEY,
    LETTERING,
    LINES_KEY,
    READ_BY_KEY,
    WORDS_OF_KEY,
)
from llama_index_mmrag.provenance import Line

from .colours import text_node


def lines_of(*texts: str) -> list[Line]:
    """Return lines one below the other, each as high as a tenth of the picture."""
    return [
        Line(text, (0.1, row / 10, 0.9, (row + 1) / 10), 0.9)
        for row, text in enumerate(texts)
    ]


def lettering_of(picture: ImageNode, *texts: str) -> TextNode:
    """Return what was read in a picture, a line each, encoded."""
    known = {
        **picture.metadata,
        "modality": LETTERING,
        KIND_KEY: LETTERING,
        WORDS_OF_KEY: picture.node_id,
        READ_BY_KEY: "rapidocr 3.10.0",
        LINES_KEY: [
            {**line._asdict(), "box": [*line.box]} for line in lines_of(*texts)
        ],
    }
    known.setdefault("entity_id", picture.node_id)
    return text_node("\n".join(texts), name=f"lettering {picture.node_id}", **known)


class ToldReader:
    """Reads in a picture, by its file's name without suffix, what it was told.

    What is an error is raised, and an event is waited for.
    """

    name: Any = "told"
    version, language = "1", "en"

    def __init__(self, **told: str | Exception | threading.Event) -> None:
        self.told = told
        self.timeouts: list[float | None] = []

    def read(
        self, picture: str | Path | bytes, *, timeout_s: float | None = None
    ) -> list[ReadLine]:
        self.timeouts.append(timeout_s)
        assert not isinstance(picture, bytes)
        said = self.told.get(Path(picture).stem, "")
        if isinstance(said, threading.Event):
            said.wait()
            said = ""
        if isinstance(said, Exception):
            raise said
        return [ReadLine(*line) for line in lines_of(*said.splitlines())]

    def close(self) -> None:
        self.told = {}
