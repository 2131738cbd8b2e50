"""Whatever was inserted, deleted or interrupted: a fresh build of what is left."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_mmrag import Blend, Concatenate, MultiModalQdrantIndex
from llama_index_mmrag.composition import Composition
from llama_index_mmrag.ingestion import ReadSettings
from llama_index_mmrag.nodes.node import words_of

from ..support.indexes import (
    COLOURS,
    CountingEncoder,
    all_of,
    contents,
    end,
    inline,
    painted,
    start_child,
    texts,
)
from ..support.lettering import ColourReader

OF_D = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d")}
T, P = (str(uuid.uuid5(uuid.NAMESPACE_URL, name)) for name in "tp")
LONG = ". ".join(f"sentence {n} is {COLOURS[n % 6]}" for n in range(80))


def pool(media: Path) -> dict[str, list[BaseNode]]:
    """Return versions of documents and nodes, some of shared entities, by their ids."""
    red, blue, cyan = (str(painted(media, c)) for c in ("red", "blue", "cyan"))
    one, two = {"entity_id": "one"}, {"entity_id": "two"}
    page = {"file_name": "page.md", "file_path": str(media / "page.md")}
    illustrated = "# One\n\nred\n\n![](blue.png)\n\n# Two\n\n![cyan](red.png)"
    return {
        "a": [
            Document(text="red", id_="a", metadata=one),
            Document(text="green", id_="a", metadata=two),
            Document(text="green", id_="a", metadata={"price": 1}),
            Document(text=LONG, id_="a"),
        ],
        "b": [
            ImageDocument(image_path=red, id_="b", metadata=one),
            ImageDocument(text="green", image_path=red, id_="b", metadata=one),
            ImageDocument(image_path=blue, id_="b", metadata=two),
            Document(text="no picture any more", id_="b"),
        ],
        "c": [
            Document(text=illustrated, id_="c", metadata=page),
            Document(text="# One\n\n![](blue.png)", id_="c", metadata=page),
        ],
        "d": [
            TextNode(text="part", id_="part", relationships=OF_D),
            ImageNode(id_="part", text="part", image=inline("red"), relationships=OF_D),
        ],
        T: [
            TextNode(text="green", id_=T, metadata=two),
            TextNode(text="cyan", id_=T, metadata={**one, "n": [1, 2]}),
            ImageNode(id_=T, image_path=cyan, metadata=two),
        ],
        P: [
            ImageNode(id_=P, image=inline("red"), metadata=two),
            ImageNode(id_=P, image=inline("red"), metadata=one),
            ImageNode(id_=P, image=inline("blue"), text="magenta"),
            # The picture of a text that is an entity of its own.
            ImageNode(id_=P, image=inline("red"), metadata={"entity_id": T}),
        ],
    }


NAMES = st.sampled_from(["a", "b", "c", "d", T, P])
INSERTS = st.lists(st.tuples(NAMES, st.integers(0, 3)), min_size=1, max_size=5)
STEPS = st.lists(st.one_of(INSERTS, NAMES), min_size=1, max_size=6)
"""A name is deleted; of names with numbers, these versions are inserted."""


def composed(index: MultiModalQdrantIndex, rule: Composition) -> dict[str, Any]:
    """Return what the collection of composed vectors must hold, the slow way."""
    found, pictures = (all_of(channel) for channel in index.channels[:2])
    texts = [node for node in found if not words_of(node.metadata)]
    encoder, nothing = index.channels[1].embed_model, np.zeros(4)
    wanted = {n.node_id: rule.compose([n.embedding], [nothing])[0] for n in texts}
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
    return wanted


@pytest.mark.parametrize(
    ("rule", "how"),
    [
        (None, {}),
        (None, {"read_pictures": ColourReader(), "hybrid": True}),
        (Blend(0.5), {"read_pictures": ColourReader()}),
        (Concatenate(0.36), {}),
    ],
)
@pytest.mark.parametrize(
    ("kind", "n_examples"), [("edge", 6), ("local", 25), ("server", 10)]
)
def test_any_inserts_and_deletes_equal_a_fresh_build_of_what_is_left(
    kind, n_examples, rule, how, open_index, tmp_path, encoder
):
    media = tmp_path / "media"
    read = ReadSettings(chunk_size=60, chunk_overlap=0, media_dir=media)

    @settings(
        max_examples=n_examples,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(steps=STEPS)
    def check(steps):
        items = pool(media)
        index, fresh = (
            open_index(kind, settings=read, composition=rule, **how) for _ in range(2)
        )
        left: dict[str, BaseNode] = {}
        for step in steps:
            if isinstance(step, str):
                index.delete_ref_doc(step)
                left.pop(step, None)
            else:
                batch = [(name, items[name][n % len(items[name])]) for name, n in step]
                index.insert([node for _, node in batch])
                left |= batch
            if rule is not None:
                wanted = composed(index, rule)
                held = {n.node_id: n.embedding for n in all_of(index.channels[-1])}
                assert held.keys() == wanted.keys()
                for node_id, vector in held.items():
                    np.testing.assert_allclose(vector, wanted[node_id], atol=1e-4)
        fresh.insert(left[name] for name in sorted(left))
        assert contents(index) == contents(fresh)
        assert index.ref_doc_ids() == fresh.ref_doc_ids() == sorted(left)
        encoder.taken()
        assert index.insert(list(left.values())).n_added == 0
        assert encoder.taken() == (0, 0), "captions are not encoded again either"
        assert contents(index) == contents(fresh)
        index.close()
        fresh.close()

    check()


def many() -> list[Document]:
    return [Document(text=f"{COLOURS[n % 6]} {n}", id_=f"doc-{n}") for n in range(600)]


def test_interrupted_insert_goes_on_where_it_was(open_index, tmp_path, encoder):
    class Interrupted(CountingEncoder):
        def _get_text_embedding(self, text: str) -> list[float]:
            if self._n_texts == 400:
                raise KeyboardInterrupt
            return super()._get_text_embedding(text)

    interrupted = Interrupted(modality_gap=0.75)
    with open_index(path=tmp_path / "store", embed_model=interrupted) as index:
        with pytest.raises(KeyboardInterrupt):
            index.insert(many())
        assert len(texts(index)) == 256, "the first write is there"
        interrupted.taken()
        report = index.insert(many()[:300])
        assert (report.n_unchanged, report.n_added) == (256, 44)
    with open_index(path=tmp_path / "store") as index:
        encoder.taken()
        report = index.insert(many())
        assert (report.n_unchanged, report.n_added) == (300, 300)
        assert encoder.taken() == (300, 0)
        fresh = open_index()
        fresh.insert(reversed(many()))
        assert contents(index) == contents(fresh)


def test_killed_insert_goes_on_where_it_was(open_index, tmp_path):
    insert = (
        'index.insert(Document(text=f"red {n}", id_=f"doc-{n}") for n in range(3000))'
    )
    child = start_child(insert, tmp_path / "store")
    for _ in range(2):
        assert child.stdout.readline() == "encoded\n"
    end(child)
    items = [Document(text=f"red {n}", id_=f"doc-{n}") for n in range(600)]
    index = open_index(path=tmp_path / "store")
    report = index.insert(items)
    assert report.n_unchanged >= 256, "what the child wrote is there"
    assert report.n_unchanged + report.n_added == 600
    for ref_doc_id in set(index.ref_doc_ids()) - {item.id_ for item in items}:
        index.delete_ref_doc(ref_doc_id)
    fresh = open_index()
    fresh.insert(items)
    assert contents(index) == contents(fresh)
