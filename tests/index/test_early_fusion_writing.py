"""The collection of composed vectors: always what the parts' collections make of it."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    TextNode,
)

from llama_index_mmrag import Blend, Concatenate, MultiModalQdrantIndex
from llama_index_mmrag.composition import Composition
from llama_index_mmrag.ingestion import ReadSettings
from llama_index_mmrag.retrieval.channel import Channel

from ..support.indexes import (
    Open,
    Step,
    all_of,
    contents,
    inline,
    painted,
    take_step,
    try_steps,
)

RULES = pytest.mark.parametrize("rule", [Blend(0.5), Concatenate(0.36)])


def by_name(index: MultiModalQdrantIndex) -> dict[str, Channel]:
    return {channel.name: channel for channel in index.channels}


def expected(index: MultiModalQdrantIndex, rule: Composition) -> dict[str, Any]:
    """Return what the composed collection must hold, worked out the slow way."""
    parts = by_name(index)
    texts, pictures = all_of(parts["text"]), all_of(parts["image"])
    encoder = parts["image"].embed_model
    nothing = np.zeros(4)
    wanted = {}
    for node in texts:
        wanted[node.node_id] = rule.compose([node.embedding], [nothing])[0]
    for node in pictures:
        kin = sorted(
            (t.metadata["position"], t.node_id, t.embedding)
            for t in texts
            if t.metadata["entity_id"] == node.metadata["entity_id"]
        )
        words = kin[0][2] if kin else nothing
        if node.get_content():
            words = encoder.get_text_embedding(node.get_content())
        wanted[node.node_id] = rule.compose([words], [node.embedding])[0]
    return {key: [round(float(v), 4) for v in row] for key, row in wanted.items()}


def held(index: MultiModalQdrantIndex) -> dict[str, Any]:
    nodes = all_of(by_name(index)["composed"])
    return {n.node_id: [round(v, 4) for v in n.embedding or ()] for n in nodes}


def pool(media: Path) -> dict[str, list[BaseNode]]:
    """Return versions of documents and nodes that share entities, by their ids."""
    ids = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in ("t", "p")}
    one, two = {"entity_id": "one"}, {"entity_id": "two"}
    page = {"file_name": "page.md", "file_path": str(media / "page.md")}
    return {
        "a": [
            Document(text="red", id_="a", metadata=one),
            Document(text="green", id_="a", metadata=two),
            Document(text="blue", id_="a"),
        ],
        "b": [
            ImageDocument(image_path=str(media / "red.png"), id_="b", metadata=one),
            ImageDocument(
                text="green", image_path=str(media / "red.png"), id_="b", metadata=one
            ),
            ImageDocument(image_path=str(media / "blue.png"), id_="b", metadata=two),
        ],
        "c": [
            Document(
                text="# One\n\nred\n\n![](blue.png)\n\n# Two\n\n![cyan](red.png)",
                id_="c",
                metadata=page,
            ),
            Document(text="# One\n\n![](blue.png)", id_="c", metadata=page),
        ],
        ids["t"]: [
            TextNode(text="green", id_=ids["t"], metadata=two),
            TextNode(text="cyan", id_=ids["t"], metadata=one),
            ImageNode(id_=ids["t"], image_path=str(media / "cyan.png"), metadata=two),
        ],
        ids["p"]: [
            ImageNode(id_=ids["p"], image=inline("red"), metadata=two),
            ImageNode(id_=ids["p"], image=inline("red"), metadata=one),
            ImageNode(id_=ids["p"], image=inline("blue"), text="magenta"),
            # The picture of a text that is an entity of its own.
            ImageNode(
                id_=ids["p"], image=inline("red"), metadata={"entity_id": ids["t"]}
            ),
        ],
    }


NAMES = ("a", "b", "c", *(str(uuid.uuid5(uuid.NAMESPACE_URL, n)) for n in "tp"))


def check_steps(
    steps: list[Step], kind: str, open_index: Open, media: Path, rule: Composition
) -> None:
    items = pool(media)
    read = ReadSettings(media_dir=media)
    index = open_index(kind, settings=read, early_fusion=rule)
    left: dict[str, BaseNode] = {}
    for step in steps:
        take_step(index, step, items, left)
        nodes = [n for c in ("text", "image") for n in all_of(by_name(index)[c])]
        assert {n.node_id for n in nodes} == held(index).keys()
        close(held(index), expected(index, rule))
    fresh = open_index(kind, settings=read, early_fusion=rule)
    fresh.insert(left[name] for name in sorted(left))
    assert contents(index) == contents(fresh)
    encoder = by_name(index)["image"].embed_model
    encoder.taken()
    assert index.insert(list(left.values())).n_added == 0
    assert encoder.taken() == (0, 0), "captions are not encoded again either"
    assert contents(index) == contents(fresh)
    index.close()
    fresh.close()


def close(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for key, row in one.items():
        np.testing.assert_allclose(row, other[key], atol=2e-4)


@RULES
@pytest.mark.parametrize(
    ("kind", "n_examples"), [("edge", 4), ("local", 20), ("server", 10)]
)
def test_any_inserts_and_deletes_equal_a_fresh_build_of_what_is_left(
    kind, n_examples, rule, open_index, tmp_path
):
    media = tmp_path / "media"
    for colour in ("red", "blue", "cyan"):
        painted(media, colour)

    def check(steps: list[Step]) -> None:
        check_steps(steps, kind, open_index, media, rule)

    try_steps(NAMES, n_examples, check)
