"""Roots: a folder is known by a name, wherever it lies, and travels with its index."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from llama_index.core import SimpleDirectoryReader
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode, Document, ImageNode, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from qdrant_client import QdrantClient

from llama_index_mmrag import MultiModalQdrantIndex, resolve_pictures
from llama_index_mmrag.answers.evidence import PictureBudget, gather_evidence
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion import ReadSettings, document_id
from llama_index_mmrag.stores.catalogue import CATALOGUE

from ..support.indexes import KINDS, all_of, contents, inline, painted, pictures, texts

BUDGET = PictureBudget(max_images=10, max_side=64)


def build(place: Path) -> Path:
    """Make a folder in which pictures are linked, held and shared in every way."""
    root = place / "docs"
    painted(root / "pix", "red", name="apple.png")
    painted(root, "blue", name="sky.png")
    painted(root / "deep" / "er", "green")
    painted(place / "static", "cyan")
    data = f"data:image/png;base64,{inline('magenta')}"
    pages = {
        "fruit.md": "# Fruit\n\nA red one.\n\n![an apple](pix/apple.png)",
        "grass.txt": "green grass",
        "beside.md": "# Beside\n\nA cyan one.\n\n![cyan](/cyan.png)",
        "held.md": f"# Held\n\nA magenta one.\n\n![magenta]({data})",
        "deep/er/up.md": "# Up\n\nAn apple again.\n\n![red](../../pix/apple.png)",
        f"{normalize('NFD', 'Käse')}/{normalize('NFD', 'süß')}.md": "yellow cheese",
    }
    for name, text in pages.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    painted(root / normalize("NFD", "Käse"), "yellow", name="gelb.png")
    (root / "prices.csv").write_text("green,blue\n1,2")
    return root


def others_of(root: Path) -> list[BaseNode]:
    """Return what other readers make of the folder, and nodes of a user's own."""
    reader = SimpleDirectoryReader(
        str(root), required_exts=[".csv"], filename_as_id=True
    )
    read = reader.load_data()
    anonymous = [
        Document(
            text=f"blue {n} " * 100,
            metadata={"source": str(root / "a.pdf"), "file_name": str(root / "a.pdf")},
        )
        for n in range(2)
    ]
    named = Document(
        text="white " * 150, id_="own", metadata={"file_path": str(root / "b.txt")}
    )
    parts = SentenceSplitter(chunk_size=120, chunk_overlap=0)
    split = parts.get_nodes_from_documents([*anonymous, named])
    assert len(split) > 4
    return [
        *read,
        *anonymous,
        *split,
        ImageNode(image_path=str(root / "sky.png"), id_=str(root / "sky.png#1")),
        ImageNode(image=inline("yellow"), text="a yellow one"),
        TextNode(text="red", id_="mine", metadata={"file_path": str(root / "c.txt")}),
    ]


def points(index: MultiModalQdrantIndex) -> dict[str, dict[str, Any]]:
    """Return all payloads and vectors as the engine has them, by channel and id."""
    found = {}
    for channel in index.channels:
        store: Any = channel.vector_store
        if hasattr(store, "collection_name"):
            name = store.collection_name
            pages = [
                store.client.scroll(
                    name, limit=1000, with_payload=True, with_vectors=True
                )[0]
            ]
        else:
            pages = store.client.scroll(None, payload=True, vector=True)
        found[channel.name] = {
            str(point.id): (point.payload, point.vector)
            for page in pages
            for point in page
        }
    return found


def without_random_ids(found: object) -> Any:
    """Return data as of JSON, without what LlamaIndex makes anew in each run."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-4[-0-9a-f]{21}", "", json.dumps(found))
    return json.loads(re.sub(r'("_node_crc32": )\d+', r"\1 0", text))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@KINDS
def test_one_folder_at_two_places_gives_the_same_bytes_and_names_neither(
    kind, open_index, tmp_path
):
    made = []
    for name in ("here", "else"):  # as long: LlamaIndex cuts by it
        place = tmp_path / name
        root = build(place)
        for path in root.rglob("*"):
            os.utime(path, (1, 1))
        settings = ReadSettings(media_dir=place / "store" / "media")
        index = open_index(kind, path=place / "store", settings=settings)
        report = index.insert_directory(root)
        assert report.problems == []
        assert index.insert(others_of(root)).problems == []
        found = points(index)
        made.append((without_random_ids(found), bytes_of(place / "store" / "media")))
        assert str(tmp_path) not in json.dumps(found)
        if results := index.as_retriever(top_k=50).retrieve("red"):
            shown = [r.node for r in results if isinstance(r.node, ImageNode)]
            assert len(shown) == len(found["image"])
            assert all(Path(node.image_path).is_file() for node in shown)
            paths = [r.node.metadata.get("file_path", str(root)) for r in results]
            assert all(path.startswith(str(root)) for path in paths)
        assert {name.partition("/")[0] for name in index.ref_doc_ids()} >= {"docs"}
        if kind == "edge":
            index.close()
            for file, data in bytes_of(place / "store").items():
                if file == CATALOGUE:  # where roots lie is there, and nowhere else
                    continue
                assert str(tmp_path).encode() not in data, file
    assert made[0] == made[1]
    assert all(len(vectors) > 5 for vectors in made[0][0].values())
    assert len(made[0][1]) == 2


def test_stored_paths_begin_at_the_root(open_index, tmp_path):
    root = build(tmp_path)
    index = open_index()
    index.insert_directory(root)
    stored = {n.ref_doc_id: n for c in index.channels for n in all_of(c)}
    assert stored.keys() == {
        "docs/fruit.md",
        "docs/grass.txt",
        "docs/beside.md",
        "docs/held.md",
        "docs/deep/er/up.md",
        "docs/deep/er/green.png",
        "docs/sky.png",
        "docs/Käse/süß.md",
        "docs/Käse/gelb.png",
    }
    (cheese,) = (n for n in all_of(index.channels[0]) if "cheese" in n.get_content())
    where = {key: cheese.metadata[key] for key in ("root", "file_name", "file_path")}
    expected = {"root": "docs", "file_name": "süß.md", "file_path": "Käse/süß.md"}
    assert where == expected
    by_name = {n.ref_doc_id: n.image_path for n in all_of(index.channels[1])}
    assert by_name["docs/deep/er/up.md"] == "pix/apple.png"
    assert by_name["docs/beside.md"] == "../static/cyan.png"
    assert by_name["docs/held.md"].count("/") == 0


def test_plain_reader_of_the_store_gets_relative_paths_and_may_resolve_them(
    open_index, tmp_path
):
    root = build(tmp_path)
    store = tmp_path / "store"
    index = open_index(path=store)
    index.insert_directory(root)
    image = index.channels[1]
    vector = image.embed_model.get_query_embedding("red")
    asked = VectorStoreQuery(query_embedding=vector, similarity_top_k=20)
    nodes = image.vector_store.query(asked).nodes
    assert not [n for n in nodes if Path(n.image_path).is_file()]
    before = [(n.image_path, dict(n.metadata)) for n in nodes]
    resolved = resolve_pictures(nodes, {"docs": root, "media": store / "media"})
    assert all(Path(n.image_path).is_file() for n in resolved)
    assert [(n.image_path, dict(n.metadata)) for n in nodes] == before
    assert resolve_pictures(nodes, {"other": root}) == list(nodes)
    results = index.as_retriever(top_k=20).retrieve("red")
    assert resolve_pictures(results, {"docs": tmp_path})[0].node == results[0].node


@pytest.mark.parametrize(
    "roots", [None, [], {"a": 1}, {"a": None}, {"a": b"x"}, "docs"]
)
def test_what_is_no_place_of_a_root_cannot_resolve_pictures(roots):
    with pytest.raises(InvalidSetting, match="resolve_pictures"):
        resolve_pictures([], roots)


def test_moved_folder_is_the_same_root_and_nothing_is_encoded_again(
    open_index, tmp_path, encoder, caplog
):
    root = build(tmp_path)
    index = open_index()
    index.insert_directory(root)
    index.insert(others_of(root))
    before = points(index)
    (tmp_path / "elsewhere").mkdir()
    there = tmp_path / "elsewhere" / "docs"
    shutil.move(root, there)
    shutil.move(tmp_path / "static", tmp_path / "elsewhere" / "static")
    encoder.taken()
    with caplog.at_level(logging.WARNING):
        report = index.refresh(there)
    assert (report.n_added, report.n_removed, encoder.taken()) == (0, 0, (0, 0))
    (said,) = (r.message for r in caplog.records if "moved" in r.message)
    assert "'docs'" in said
    assert str(there) in said
    assert points(index) == before
    results = index.as_retriever(top_k=50).retrieve("red")
    shown = [r.node.image_path for r in results if isinstance(r.node, ImageNode)]
    assert len(shown) == len(before["image"])
    assert all(Path(path).is_file() for path in shown)
    assert index.refresh(there).n_unchanged == report.n_unchanged


def test_copied_store_and_folder_are_the_same_index_on_another_machine(
    open_index, tmp_path, encoder
):
    root = build(tmp_path / "one")
    with open_index(path=tmp_path / "one" / "store") as index:
        index.insert_directory(root)
        wanted = index.as_retriever(top_k=50).retrieve("red")
        before = points(index)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.rmtree(tmp_path / "one")
    two = tmp_path / "two"
    for roots in ({"docs": two / "docs"}, None):
        with open_index(path=two / "store", roots=roots) as index:
            if roots is None:
                encoder.taken()
                report = index.refresh(two / "docs")
                assert (report.n_added, report.n_removed) == (0, 0)
                assert encoder.taken() == (0, 0)
                assert points(index) == before
            found = index.as_retriever(top_k=50).retrieve("red")
            assert [(r.node_id, r.score) for r in found] == [
                (r.node_id, r.score) for r in wanted
            ]
            for result in found:
                if isinstance(result.node, ImageNode):
                    assert Path(result.node.image_path).is_relative_to(two)
                    assert Path(result.node.image_path).is_file()


def test_where_a_root_is_not_known_captions_are_shown_and_it_is_said(
    open_index, tmp_path
):
    root = build(tmp_path)
    with open_index(path=tmp_path / "store") as index:
        index.insert_directory(root)
    (tmp_path / "store" / CATALOGUE).unlink()
    with open_index(path=tmp_path / "store") as index:
        results = index.as_retriever(top_k=50).retrieve("red")
        evidence = gather_evidence(results, budget=BUDGET)
        captions = [s.text for s in evidence.sources if s.modality == "image"]
        assert {"an apple", "red", "cyan", "magenta"} <= set(captions)
        assert len(evidence.pictures) == 1, "what lies in the store is there"
        reasons = [reason for _, reason in evidence.left_out]
        assert len(reasons) == 6
        assert all(
            "the root 'docs'" in r and "--root docs=FOLDER" in r for r in reasons
        )
    with open_index(path=tmp_path / "store", roots={"docs": root}) as index:
        results = index.as_retriever(top_k=50).retrieve("red")
        evidence = gather_evidence(results, budget=BUDGET)
        assert (len(evidence.pictures), evidence.left_out) == (7, ())


def test_retrieved_node_that_is_inserted_again_is_the_same_node(open_index, tmp_path):
    root = build(tmp_path)
    index = open_index()
    index.insert_directory(root)
    index.insert(others_of(root))
    before = contents(index)
    results = index.as_retriever(top_k=50).retrieve("red")
    assert index.insert([result.node for result in results]).problems == []
    after = contents(index)
    for node in (
        n for held in (before, after) for c in held.values() for n in c.values()
    ):
        del node["hidden"]  # a node's own id is hidden from then on
    assert after == before


def test_root_may_have_a_name_of_its_own(open_index, folder):
    index = open_index()
    report = index.insert_directory(folder, root="Früchte")
    assert set(report.ref_doc_ids) == {
        f"Früchte/{name}"
        for name in ("fruit.md", "grass.txt", "pix/apple.png", "sky.png")
    }
    assert index.refresh(folder).n_added == 0, "it is known by its place"
    assert index.refresh(folder, root="Früchte").n_added == 0
    with pytest.raises(InvalidSetting, match="lies in the root 'Früchte'"):
        index.insert_directory(folder, root="docs")


def test_link_to_a_root_is_the_root(open_index, folder, tmp_path):
    index = open_index()
    index.insert_directory(folder)
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    assert index.refresh(tmp_path / "link").n_added == 0
    assert index.ref_doc_ids() == ["docs/fruit.md", "docs/grass.txt", "docs/sky.png"]


def test_single_file_belongs_to_the_root_that_holds_it_else_to_its_folder(
    open_index, folder
):
    index = open_index()
    report = index.insert_directory(folder / "fruit.md")
    assert report.ref_doc_ids[0] == "docs/fruit.md"
    index.insert_directory(folder)
    before = contents(index)
    for name in ("fruit.md", "sky.png", "pix/apple.png"):
        assert index.insert_directory(folder / name).n_added == 0
    assert contents(index) == before
    (folder / "more").mkdir()
    new = folder / "more" / "new.txt"
    new.write_text("cyan")
    assert index.insert_directory(new).ref_doc_ids == ["docs/more/new.txt"]


@pytest.mark.parametrize("path", ["pix", "pix/apple.png", "deep", "deep/er/up.md"])
def test_part_of_a_root_given_alone_changes_nothing(path, open_index, tmp_path):
    root = build(tmp_path)
    index = open_index()
    index.insert_directory(root)
    before = contents(index)
    report = index.refresh(root / path)
    assert (report.n_added, report.n_removed) == (0, 0)
    assert contents(index) == before


def test_picture_of_a_part_is_there_once_whichever_came_first(open_index, tmp_path):
    root = build(tmp_path)
    index = open_index()
    (root / "first.txt").write_text("red")
    index.insert_directory(root / "first.txt")
    index.insert_directory(root / "pix")
    assert pictures(index) == ["apple.png"]
    index.insert_directory(root / "fruit.md")
    assert pictures(index) == ["apple.png"]
    (root / "fruit.md").write_text("# Fruit\n\nNo picture any more.")
    index.insert_directory(root / "fruit.md")
    assert pictures(index) == []
    index.refresh(root / "pix")
    assert pictures(index) == ["apple.png"]


def test_refresh_of_a_part_leaves_the_rest_alone(open_index, folder):
    index = open_index()
    index.insert_directory(folder)
    (folder / "grass.txt").unlink()
    (folder / "pix" / "one.txt").write_text("white")
    (folder / "pix" / "two.txt").write_text("cyan")
    index.refresh(folder / "pix")
    (folder / "pix" / "two.txt").unlink()
    assert index.refresh(folder / "pix").n_removed == 1
    assert "green grass" in texts(index)
    assert index.refresh(folder).n_removed == 1


def test_folder_around_a_root_is_refused_and_the_root_named(open_index, folder):
    index = open_index()
    index.insert_directory(folder / "pix")
    for settings in ({}, {"root": "all"}):
        with pytest.raises(InvalidSetting, match=r"holds the root 'pix'.*one by one"):
            index.insert_directory(folder, **settings)
    assert index.ref_doc_ids() == ["pix/apple.png"]
    index.insert_directory(folder / "grass.txt")
    assert index.ref_doc_ids() == ["docs/grass.txt", "pix/apple.png"]
    with pytest.raises(InvalidSetting, match="holds the root 'pix'"):
        index.refresh(folder)
    assert index.refresh(folder / "pix").n_unchanged == 1


def test_two_folders_of_one_name_are_two_roots_or_a_move_that_is_asked_for(
    open_index, folder, tmp_path, encoder
):
    other = tmp_path / "other" / "docs"
    shutil.copytree(folder, other)
    (other / "grass.txt").write_text("white")
    index = open_index()
    index.insert_directory(folder)
    before = contents(index)
    for add in (index.insert_directory, index.refresh):
        with pytest.raises(InvalidSetting, match=r"another name.*moved=True"):
            add(other)
    assert contents(index) == before
    index.refresh(other, root="more")
    assert {name.partition("/")[0] for name in index.ref_doc_ids()} == {"docs", "more"}
    held = contents(index)
    assert {**held["text"], **before["text"]} == held["text"]
    (folder / "sky.png").unlink()
    assert index.refresh(folder).n_removed == 1
    assert "more/sky.png" in index.ref_doc_ids()
    third = tmp_path / "third" / "docs"
    shutil.copytree(folder, third)
    encoder.taken()
    assert index.refresh(third, moved=True).n_added == 0
    assert encoder.taken() == (0, 0)
    (third / "grass.txt").unlink()
    assert index.refresh(third).n_removed == 1
    with pytest.raises(InvalidSetting, match=r"another name.*moved=True"):
        index.refresh(folder)


def test_another_folder_of_the_name_is_no_root_whose_place_was_forgotten(
    open_index, folder, tmp_path
):
    store = tmp_path / "store"
    with open_index(path=store) as index:
        index.insert_directory(folder)
        before = contents(index)
    (store / CATALOGUE).unlink()
    other = tmp_path / "elsewhere" / folder.name
    other.mkdir(parents=True)
    (other / "grass.txt").write_text("another's grass")
    with open_index(path=store) as index:
        for insert in (index.insert_directory, index.refresh):
            with pytest.raises(InvalidSetting, match=r"lacks 2 .* moved=True"):
                insert(other)
        assert contents(index) == before
        index.insert_directory(other, root="another")
        report = index.refresh(folder)  # it has its files
        assert (report.n_added, report.n_removed) == (0, 0)


def test_another_folder_of_the_name_is_no_root_whose_place_is_gone(
    open_index, folder, tmp_path
):
    index = open_index()
    index.insert_directory(folder)
    before = contents(index)
    folder.rename(tmp_path / "unmounted")
    other = tmp_path / "elsewhere" / folder.name
    other.mkdir(parents=True)
    (other / "mine.txt").write_text("white")
    for source in (other, other / "mine.txt"):
        for insert in (index.insert_directory, index.refresh):
            with pytest.raises(InvalidSetting, match=r"another name.*moved=True"):
                insert(source)
    assert contents(index) == before
    index.refresh(other, root="another")
    (tmp_path / "unmounted").rename(folder)
    report = index.refresh(folder)
    assert (report.n_added, report.n_removed) == (0, 0)


@pytest.mark.parametrize("how", ["forgotten", "moved"])
@pytest.mark.parametrize("part", ["pix", "pix/apple.png"])
def test_part_of_a_root_whose_place_is_not_known_is_a_part_of_it(
    part, how, open_index, folder, tmp_path
):
    store = tmp_path / "store"
    with open_index(path=store) as index:
        index.insert_directory(folder)
        before = contents(index)
    if how == "forgotten":
        (store / CATALOGUE).unlink()
    else:
        (tmp_path / "y").mkdir()
        folder = folder.rename(tmp_path / "y" / "docs")
    with open_index(path=store) as index:
        report = index.refresh(folder / part)
        assert (report.n_added, report.n_removed) == (0, 0)
        report = index.refresh(folder)
        assert (report.n_added, report.n_removed) == (0, 0)
        held = contents(index)
    assert {m: list(held[m]) for m in held} == {m: list(before[m]) for m in before}


def test_root_that_another_index_of_the_catalogue_brought_is_known(folder, tmp_path):
    client, place = QdrantClient(":memory:"), tmp_path / "catalogue.sqlite"
    one, two = (
        MultiModalQdrantIndex.open(
            client=client, embed_model=ColourEncoder(), catalogue=place
        )
        for _ in range(2)
    )
    one.insert_directory(folder)
    before = one.ref_doc_ids()
    assert two.refresh(folder / "pix").n_added == 0
    assert two.ref_doc_ids() == before
    with pytest.raises(InvalidSetting, match="holds the root 'docs'"):
        two.insert_directory(tmp_path)


def test_two_machines_with_their_own_catalogues_skip_nothing_that_is_gone(
    client, name, folder, tmp_path
):
    one, two = (
        MultiModalQdrantIndex.open(
            client=client,
            collection=name,
            embed_model=ColourEncoder(),
            catalogue=tmp_path / f"{machine}.sqlite",
        )
        for machine in ("one", "two")
    )
    one.insert_directory(folder)
    before = contents(one)
    report = two.refresh(folder)
    assert (report.n_added, report.n_removed) == (0, 0)
    assert two.delete_ref_doc("docs/grass.txt")
    assert "docs/grass.txt" not in one.ref_doc_ids()
    assert one.refresh(folder).n_added == 1, "its catalogue says that it is there"
    assert contents(one) == contents(two) == before
    (folder / "grass.txt").write_text("blue grass")
    assert one.refresh(folder).n_added == 1
    report = two.refresh(folder)
    assert (report.n_added, report.n_removed) == (0, 0)


def test_roots_own_ids_are_not_taken_for_files_that_are_gone(open_index, folder):
    index = open_index()
    index.insert_directory(folder)
    index.insert(Document(text="white", id_="docs/mine.md"))
    assert index.refresh(folder).n_removed == 0
    assert "docs/mine.md" in index.ref_doc_ids()


def test_file_is_deleted_by_any_path_of_it(open_index, folder, monkeypatch, tmp_path):
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    monkeypatch.chdir(folder.parent)
    names = (
        "docs/grass.txt",
        str(folder / "grass.txt"),
        f"{folder}/pix/../grass.txt",
        str(tmp_path / "link" / "grass.txt"),
        "./docs/grass.txt",
    )
    index = open_index()
    for name in names:
        index.insert_directory(folder)
        assert index.delete_ref_doc(name) == 1, name
        assert "docs/grass.txt" not in index.ref_doc_ids()
    index.insert_directory(folder)
    (folder / "grass.txt").unlink()
    assert index.delete_ref_doc(str(folder / "grass.txt")) == 1
    assert index.delete_ref_doc(str(tmp_path / "nothing.txt")) == 0


def test_document_of_another_reader_is_deleted_by_its_own_id_and_by_the_stored_one(
    open_index, folder
):
    index = open_index()
    index.insert_directory(folder)
    path = str(folder / "a.pdf")
    document = Document(text="white", id_=path, metadata={"file_path": path})
    random = Document(text="cyan", metadata={"file_path": path})
    index.insert([document, random])
    assert document_id(document, roots={"docs": folder}) == "docs/a.pdf"
    known = document_id(random, roots={"docs": folder})
    assert {"docs/a.pdf", known} <= set(index.ref_doc_ids())
    assert index.delete_ref_doc(path) == 1
    assert index.delete_ref_doc(known) == 1


@KINDS
def test_store_below_a_root_is_passed_over(kind, open_index, folder, tmp_path):
    media = folder / "mine" / "media"
    settings = ReadSettings(media_dir=media)
    index = open_index(kind, path=folder / "mine", settings=settings)
    (folder / "held.md").write_text(f"![](data:image/png;base64,{inline('cyan')})")
    (folder / "other").mkdir()
    with open_index(path=folder / "other" / "store") as other:
        other.insert(ImageNode(image=inline("white")))
    first = index.insert_directory(folder)
    before = contents(index)
    again = index.refresh(folder)
    assert (again.n_added, again.n_removed, again.ignored) == (0, 0, first.ignored)
    assert again.ignored == {}
    assert contents(index) == before
    assert len(list(media.iterdir())) == 1
    if kind == "edge":
        for store in (folder / "mine", media, folder / "other" / "store"):
            with pytest.raises(InvalidSetting, match="is a store, or lies in"):
                index.insert_directory(store)


def test_result_is_for_llamaindex_the_node_that_a_plain_retriever_finds(
    open_index, tmp_path
):
    root = build(tmp_path)
    index = open_index()
    index.insert_directory(root)
    plain = {node.node_id: node for node in all_of(index.channels[0])}
    results = index.as_retriever(top_k=50).retrieve("red")
    shown = [r.node for r in results if r.node_id in plain]
    assert len(shown) == len(plain)
    assert all(node.hash == plain[node.node_id].hash for node in shown)


def test_names_that_differ_in_code_points_alone_cannot_both_be_indexed(
    open_index, tmp_path
):
    root = tmp_path / "docs"
    root.mkdir()
    for form in ("NFC", "NFD"):
        (root / f"{normalize(form, 'ü')}.txt").write_text(form)
    if len(list(root.iterdir())) == 1:
        pytest.skip("this file system takes the two for one")
    report = open_index().insert_directory(root)
    (problem,) = report.problems
    assert "Rename one" in problem.reason
    assert report.ref_doc_ids == ["docs/ü.txt"]


@pytest.mark.parametrize(
    "name",
    ["", " ", ".", "..", "a/b", "a\\b", "a:b", "a\nb", "a\u2028b", "x" * 201, "ü" * 101]
    + ["media", "\ud800", "a\0b"],
)
def test_name_that_is_none_is_refused_and_nothing_is_indexed(name, open_index, folder):
    index = open_index()
    for add in (index.insert_directory, index.refresh):
        with pytest.raises(InvalidSetting, match=r"root is .* expected a name"):
            add(folder, root=name)
    assert index.ref_doc_ids() == []
    if name != "media":
        with pytest.raises(InvalidSetting, match=r"roots: a name is .* expected"):
            open_index(roots={name: folder})


def test_folder_with_a_name_that_is_none_needs_another(open_index, folder):
    index = open_index()
    for name in ("a:b", "media"):
        named = folder.rename(folder.parent / name)
        with pytest.raises(InvalidSetting, match="root=NAME"):
            index.insert_directory(named)
        folder = named
    assert index.insert_directory(folder, root="docs").n_documents == 3


def test_places_that_cannot_be_roots_are_refused(open_index, folder, tmp_path):
    place = tmp_path / "store"
    index = open_index(path=place)
    index.insert(ImageNode(image=inline("white")))
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused = {
        place: "is a store",
        place / "media": "lies in this index.s own",
        place / "text": "lies in this index's own",
        tmp_path / "loop": "link to nothing",
        tmp_path / "missing": "no file or folder",
    }
    for path, said in refused.items():
        with pytest.raises((InvalidSetting, ValueError), match=said):
            index.insert_directory(path)
    for path in (folder / "grass.txt", tmp_path / "missing", tmp_path / "loop"):
        with pytest.raises(
            InvalidSetting, match=r"roots\['docs'\] is .*no such folder"
        ):
            open_index(roots={"docs": path})
    with pytest.raises(InvalidSetting, match="belong to a folder"):
        index.refresh([Document(text="red")], root="docs")
    assert len(index.ref_doc_ids()) == 1


@pytest.mark.parametrize("name", ["grass.txt", "fruit.md", "sky.png"])
@pytest.mark.parametrize("takes_place", [False, True])
def test_other_readers_document_of_a_file_that_is_there_takes_its_place_or_is_told_of(
    name, takes_place, open_index, tmp_path, caplog
):
    root = build(tmp_path)
    index = open_index()
    index.insert_directory(root)
    documents = index.ref_doc_ids()
    reader = SimpleDirectoryReader(input_files=[root / name])
    (read,) = reader.load_data()
    if takes_place:
        read.id_ = str(root / name)
    for _ in range(2):
        caplog.clear()
        index.insert([read])
        told = [m for m in caplog.messages if f"already, such as 'docs/{name}'" in m]
        assert len(told) == (not takes_place)
        assert len(index.ref_doc_ids()) == len(documents) + (not takes_place)
    caplog.clear()
    index.insert(Document(text="red", metadata={"file_path": str(root / "new.txt")}))
    stored = index.channels[0].collection
    index.insert(stored.nodes(stored.ids_of_documents(["docs/grass.txt"])))
    assert "already, such as" not in caplog.text
