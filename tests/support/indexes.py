"""A colour encoder that counts, and what an index holds, as plain data."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, ImageNode
from PIL import Image

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.ingestion.identity import without_volatile
from llama_index_mmrag.retrieval.channel import Channel

Open = Callable[..., MultiModalQdrantIndex]
COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan")


class CountingEncoder(ColourEncoder):
    """The colour encoder, which also knows how much it was asked to encode."""

    _n_texts: int = PrivateAttr(default=0)
    _n_pictures: int = PrivateAttr(default=0)

    def _get_text_embedding(self, text: str) -> list[float]:
        self._n_texts += 1
        return super()._get_text_embedding(text)

    def _get_image_embedding(self, img_file_path: Any) -> list[float]:
        self._n_pictures += 1
        return super()._get_image_embedding(img_file_path)

    def taken(self) -> tuple[int, int]:
        """Return how many texts and pictures were encoded since the last call."""
        counts = self._n_texts, self._n_pictures
        self._n_texts = self._n_pictures = 0
        return counts


KINDS = pytest.mark.parametrize("kind", ["edge", "local", "server"])


def painted(
    folder: Path, colour: str, *, name: str | None = None, side: int = 8
) -> Path:
    path = folder / (name or f"{colour}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side), colour).save(path, format="PNG")
    return path


def contents(index: MultiModalQdrantIndex) -> dict[str, dict[str, Any]]:
    """Return all that is stored, by channel and node: vector, text, metadata, links."""
    return {
        channel.name: {node.node_id: described(node) for node in all_of(channel)}
        for channel in index.channels
    }


def all_of(channel: Channel) -> list[BaseNode]:
    return channel.vector_store.get_nodes()


def described(node: BaseNode) -> dict[str, Any]:
    return {
        "vector": [round(value, 6) for value in node.embedding],
        "text": node.get_content(),
        "metadata": without_volatile(node.metadata),
        "document": node.ref_doc_id,
        "class": node.class_name(),
        "picture": getattr(node, "image_path", None) or getattr(node, "image", None),
        "hidden": sorted(node.excluded_embed_metadata_keys),
    }


def texts(index: MultiModalQdrantIndex) -> list[str]:
    return sorted(node.get_content() for node in all_of(index.channels[0]))


def pictures(index: MultiModalQdrantIndex) -> list[str]:
    return sorted(
        Path(node.image_path or "inline").name
        for node in all_of(index.channels[1])
        if isinstance(node, ImageNode)
    )


def inline(colour: str) -> str:
    buffer = BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode("ascii")


CHILD = """
import sys
from pathlib import Path
from llama_index.core import Document
from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder

class Telling(ColourEncoder):
    def _get_text_embeddings(self, texts):
        print("encoded", flush=True)
        return super()._get_text_embeddings(texts)

encoder = Telling(modality_gap=0.75, embed_batch_size=256)
index = MultiModalQdrantIndex.open(sys.argv[1], embed_model=encoder)
"""


def run_code(code: str, *arguments: object, **environment: str) -> str:
    """Return what a Python process prints."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def start_child(
    code: str, *arguments: object, before: str = CHILD
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", before + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def end(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate(timeout=30)
