"""Whatever was inserted, deleted or interrupted: a fresh build of what is left."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_mmrag.ingestion import ReadSettings

from ..support.indexes import (
    COLOURS,
    CountingEncoder,
    Open,
    Step,
    contents,
    end,
    inline,
    painted,
    start_child,
    take_step,
    texts,
    try_steps,
)

PAGE = {"file_name": "page.md"}
OF_D = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="d")}


def pool(media: Path) -> dict[str, list[BaseNode]]:
    """Return versions of documents and nodes, by the id that deletes them."""
    long = ". ".join(f"sentence {n} is {COLOURS[n % 6]}" for n in range(80))
    uid = str(uuid.uuid5(uuid.NAMESPACE_URL, "loose"))
    return {
        "a": [
            Document(text="red", id_="a"),
            Document(text="red", id_="a", metadata={"price": 1}),
            Document(text=long, id_="a"),
        ],
        "b": [
            ImageDocument(text="a fruit", image_path=str(media / "red.png"), id_="b"),
            ImageDocument(text="a fruit", image_path=str(media / "blue.png"), id_="b"),
            Document(text="no picture any more", id_="b"),
        ],
        "c": [
            Document(text="# One\n\nred\n\n# Two\n\nblue", id_="c", metadata=PAGE),
            Document(text="# One\n\nred", id_="c", metadata=PAGE),
        ],
        uid: [
            TextNode(text="green", id_=uid),
            TextNode(text="cyan", id_=uid, metadata={"n": [1, 2]}),
            ImageNode(id_=uid, image_path=str(media / "cyan.png")),
        ],
        "d": [
            TextNode(text="part", id_="part", relationships=OF_D),
            ImageNode(id_="part", text="part", image=inline("red"), relationships=OF_D),
        ],
    }


NAMES = ("a", "b", "c", str(uuid.uuid5(uuid.NAMESPACE_URL, "loose")), "d")


def check_steps(
    steps: list[Step],
    kind: str,
    open_index: Open,
    media: Path,
    encoder: CountingEncoder,
) -> None:
    for colour in ("red", "blue", "cyan"):
        painted(media, colour)
    items = pool(media)
    read = ReadSettings(chunk_size=60, chunk_overlap=0, media_dir=media)
    index = open_index(kind, settings=read)
    left: dict[str, BaseNode] = {}
    for step in steps:
        take_step(index, step, items, left)
    fresh = open_index(kind, settings=read)
    fresh.insert(left[name] for name in sorted(left))
    assert contents(index) == contents(fresh)
    assert index.ref_doc_ids() == fresh.ref_doc_ids() == sorted(left)
    encoder.taken()
    assert index.insert(list(left.values())).n_added == 0
    assert encoder.taken() == (0, 0)
    index.close()
    fresh.close()


@pytest.mark.parametrize(
    ("kind", "n_examples"), [("edge", 8), ("local", 25), ("server", 10)]
)
def test_any_inserts_and_deletes_equal_a_fresh_build_of_what_is_left(
    kind, n_examples, open_index, tmp_path, encoder
):
    def check(steps: list[Step]) -> None:
        check_steps(steps, kind, open_index, tmp_path / "media", encoder)

    try_steps(NAMES, n_examples, check)


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
        assert (report.n_unchanged, report.n_added, encoder.taken()[0]) == (
            300,
            300,
            300,
        )
        fresh = open_index()
        fresh.insert(reversed(many()))
        assert contents(index) == contents(fresh)


def test_killed_insert_goes_on_where_it_was(open_index, tmp_path):
    child = start_child(
        """
        index.insert(Document(text=f"red {n}", id_=f"doc-{n}") for n in range(3000))
        """,
        tmp_path / "store",
    )
    assert child.stdout is not None
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
