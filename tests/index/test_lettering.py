"""Pictures that are read: what they say is stored beside them, and read once."""

from __future__ import annotations

import hashlib
import pickle
import shutil
from pathlib import Path

import pytest
from llama_index.core import Document
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import (
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    TextNode,
)
from qdrant_client import QdrantClient

from llama_index_mmrag import Blend, MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.index.repairing import repair_store
from llama_index_mmrag.ingestion import ReadSettings
from llama_index_mmrag.lettering import Line
from llama_index_mmrag.stores import QdrantEdgeVectorStore, migrate
from llama_index_mmrag.stores.checking import check_store
from llama_index_mmrag.stores.manifest import entries_in

from ..support.indexes import COLOURS, KINDS, all_of, contents, inline, painted
from ..support.killing import killed_at
from ..support.lettering import BOX, ColourReader


@pytest.fixture
def reader():
    return ColourReader()


def lettering(index):
    """Return the channel of lettering."""
    return next(c for c in index.channels if c.name == "lettering")


def read_in(index):
    return sorted(node.get_content() for node in all_of(lettering(index)))


@KINDS
def test_lettering_is_a_text_beside_the_picture(kind, open_index, folder, reader):
    index = open_index(kind, read_pictures=reader)
    report = index.insert_directory(folder)
    assert report.problems == []
    pictures = {node.node_id: node for node in all_of(index.channels[1])}
    found = all_of(lettering(index))
    assert [c.name for c in index.channels] == ["text", "image", "lettering"]
    assert sorted(n.get_content() for n in found) == ["blue v1\n8 px", "red v1\n8 px"]
    for node in found:
        picture = pictures[node.metadata["words_of"]]
        own = {"kind": "lettering", "modality": "lettering", "read_by": "colours 1"}
        colour = node.get_content().partition(" ")[0]
        lines = [
            {"text": f"{colour} v1", "box": [*BOX], "confidence": 0.9},
            {"text": "8 px", "box": [*BOX], "confidence": 0.75},
        ]
        assert node.ref_doc_id == picture.ref_doc_id
        its = {k: v for k, v in picture.metadata.items() if k != "image_file"}
        hashed = {"content_hash": node.metadata["content_hash"]}
        said = {"words_of": picture.node_id, "lines": lines}
        assert node.metadata == its | hashed | own | said
        assert node.get_content(metadata_mode="embed") == node.get_content()


FORMS = {
    "ImageNode": lambda data, path: ImageNode(id_="p", image=data),
    "ImageNode with a caption": lambda data, path: ImageNode(
        id_="p", image_path=path, text="the caption"
    ),
    "ImageDocument": lambda data, path: ImageDocument(id_="p", image_path=path),
    "Document": lambda data, path: Document(
        id_="p", text="words", image_resource=MediaResource(path=Path(path))
    ),
    "Node": lambda data, path: Node(
        id_="p",
        text_resource=MediaResource(text="words"),
        image_resource=MediaResource(data=data.encode()),
    ),
}


@pytest.mark.parametrize(
    ("form", "way"),
    [
        (form, way)
        for form in FORMS
        for way in ("insert", "insert_nodes", "pipeline")
        if not ("Document" in form and way == "insert_nodes")  # which it refuses
    ],
)
def test_pictures_of_every_form_are_read(form, way, open_index, tmp_path, reader):
    node = FORMS[form](inline("red"), str(painted(tmp_path, "red")))
    index = open_index(read_pictures=reader)
    if way == "pipeline":
        steps = [index.as_transformation()]
        store = index.as_vector_store()
        IngestionPipeline(transformations=steps, vector_store=store).run(nodes=[node])
    else:
        getattr(index, way)([node])
    (found,) = all_of(lettering(index))
    (picture,) = all_of(index.channels[1])
    assert found.get_content() == "red v1\n8 px"
    assert found.metadata["entity_id"] == picture.metadata["entity_id"]
    assert found.metadata["words_of"] == picture.node_id
    # Mixed into no caption, and no text.
    assert not any(
        "v1" in n.get_content() for c in index.channels[:2] for n in all_of(c)
    )


@KINDS
def test_lettering_goes_and_changes_with_its_picture(kind, open_index, reader):
    index = open_index(kind, read_pictures=reader)
    nodes = [
        ImageNode(id_="one", image=inline("red"), text="a caption"),
        ImageNode(id_="two", image=inline("blue")),
        ImageNode(id_="three", image=inline("cyan")),
    ]
    index.insert_nodes(nodes)
    assert read_in(index) == ["blue v1\n8 px", "cyan v1\n8 px", "red v1\n8 px"]
    index.insert_nodes([ImageNode(id_="one", image=inline("green"), text="a caption")])
    assert read_in(index) == ["blue v1\n8 px", "cyan v1\n8 px", "green v1\n8 px"]
    index.delete_nodes(["one"])
    assert read_in(index) == ["blue v1\n8 px", "cyan v1\n8 px"]
    index.delete_ref_doc("two")
    assert read_in(index) == ["cyan v1\n8 px"]
    # A text in its place, and a picture that says nothing.
    index.insert_nodes([TextNode(id_="three", text="no picture any more")])
    assert read_in(index) == []
    index.insert_nodes([ImageNode(id_="four", image=inline("red"))])
    index.insert_nodes([ImageNode(id_="four", image=inline("white"))])
    assert read_in(index) == []
    assert len(all_of(index.channels[1])) == 1


def test_folder_is_followed(open_index, folder, reader):
    index = open_index(read_pictures=reader)
    index.insert_directory(folder)
    painted(folder, "green", name="sky.png", side=9)
    index.refresh(folder)
    assert read_in(index) == ["green v1\n9 px", "red v1\n8 px"]
    (folder / "fruit.md").write_text("# Fruit\n\nNo picture.")
    (folder / "pix" / "apple.png").unlink()
    index.refresh(folder)
    assert read_in(index) == ["green v1\n9 px"]


def test_what_holds_no_three_letters_has_no_text(open_index, reader):
    index = open_index(read_pictures=reader)
    index.insert_nodes([ImageNode(image=inline(c)) for c in ("black", "white")])
    assert reader.taken() == 2
    assert read_in(index) == []
    assert len(all_of(index.channels[1])) == 2


def test_long_lettering_is_cut_between_lines(open_index, reader, monkeypatch):
    lines = [Line(f"{colour} word" * 9, BOX, 0.9) for colour in ("red", "blue")]
    monkeypatch.setattr(reader, "read", lambda _: lines)
    short = ReadSettings(chunk_size=16, chunk_overlap=0)
    index = open_index(read_pictures=reader, settings=short)
    index.insert_nodes([ImageNode(image=inline("red"))])
    found = {n.get_content(): n.metadata["lines"] for n in all_of(lettering(index))}
    assert found == {
        line.text: [{"text": line.text, "box": [*BOX], "confidence": 0.9}]
        for line in lines
    }


def test_picture_that_cannot_be_read_is_in_without_its_lettering(
    open_index, folder, reader
):
    painted(folder, "yellow", name="wide.png", side=13)
    index = open_index(read_pictures=reader)
    report = index.insert_directory(folder)
    (problem,) = report.problems
    assert problem.is_part
    assert problem.source == str(folder / "wide.png")
    assert "did not end within 60 s" in problem.reason
    assert len(all_of(index.channels[1])) == 3
    assert len(read_in(index)) == 2
    # It is told again, and nothing else is read.
    reader.taken()
    assert index.insert_directory(folder).problems == [problem]
    assert reader.taken() == 1


@pytest.mark.parametrize("given", [[("red", BOX, 0.9)], 5, RuntimeError("no ink")])
def test_engine_of_ones_own_that_misbehaves_costs_its_picture_alone(
    given, open_index, reader
):
    class Other(ColourReader):
        def read(self, picture, **how):
            if isinstance(given, Exception):
                raise given
            return given

    index = open_index(read_pictures=Other())
    report = index.insert([ImageDocument(image=inline("red")), Document(text="ink")])
    assert report.n_added == 2
    (problem,) = report.problems
    assert problem.is_part
    assert "Its lettering was not read: Other failed: " in problem.reason


@KINDS
def test_second_run_reads_encodes_and_writes_nothing(
    kind, open_index, folder, reader, encoder
):
    index = open_index(kind, read_pictures=reader, composition=Blend(0.5))
    index.insert_directory(folder)
    before = contents(index)
    assert reader.taken() == 2
    encoder.taken()
    report = index.insert_directory(folder)
    n_read = reader.taken()
    # Without a catalogue, as in Qdrant's local mode, it is read again.
    assert n_read == (2 if kind == "local" else 0)
    assert encoder.taken() == (0, 0)
    assert (report.n_added, report.n_removed) == (0, 0)
    assert contents(index) == before


def test_copies_repeats_and_renames_are_read_once(open_index, folder, reader, encoder):
    index = open_index(read_pictures=reader)
    index.insert_directory(folder)
    assert reader.taken() == 2
    encoder.taken()
    shutil.copy(folder / "sky.png", folder / "copy.png")
    (folder / "pix" / "apple.png").rename(folder / "pear.png")
    (folder / "fruit.md").write_text("# Fruit\n\n![a](pear.png) ![b](sky.png)")
    index.refresh(folder)
    index.insert_nodes([ImageNode(image_path=str(folder / "sky.png"))])
    assert reader.taken() == 0
    assert read_in(index) == ["blue v1\n8 px"] * 3 + ["red v1\n8 px"]


@pytest.mark.parametrize("catalogue", [None, False])
def test_later_sessions_read_on_with_what_the_store_says(
    catalogue, tmp_path, folder, encoder, reader
):
    how = {"embed_model": encoder, "catalogue": catalogue}
    with MultiModalQdrantIndex.open(tmp_path / "s", read_pictures=reader, **how) as one:
        one.insert_directory(folder)
    assert reader.n_closed == 1
    reader.taken()
    with MultiModalQdrantIndex.open(tmp_path / "s", **how) as two:
        assert len(read_in(two)) == 2
        # Of what is known, no engine is asked; no installed one is of that name.
        if catalogue is None:
            assert two.insert_directory(folder).n_added == 0
        with pytest.raises(InvalidSetting, match=r"by colours 1 \(en\), an engine of"):
            two.insert([ImageNode(image=inline("cyan"))])
    with pytest.raises(InvalidSetting, match=r"by colours 1 \(en\), an engine of"):
        MultiModalQdrantIndex.open(tmp_path / "s", reread="lettering", **how)
    with MultiModalQdrantIndex.open(
        tmp_path / "s", read_pictures=reader, **how
    ) as three:
        three.insert([ImageNode(image=inline("cyan"))])
        assert reader.taken() == 1


def test_another_engine_is_refused_with_both_named(tmp_path, folder, encoder, reader):
    store = tmp_path / "s"
    with MultiModalQdrantIndex.open(
        store, embed_model=encoder, read_pictures=reader
    ) as index:
        index.insert_directory(folder)
        before = contents(index)
    for other in (ColourReader("2"), ColourReader("1", "others")):
        with pytest.raises(CollectionMismatch, match=r"colours 1 \(en\).*reread") as e:
            MultiModalQdrantIndex.open(store, embed_model=encoder, read_pictures=other)
        assert f"{other.name} {other.version} (en)" in str(e.value)
    with MultiModalQdrantIndex.open(store, embed_model=encoder) as index:
        assert contents(index) == before


def test_reread_reads_all_anew(tmp_path, open_index, folder, reader):
    store = tmp_path / "s"
    index = open_index("edge", store, read_pictures=reader)
    index.insert_directory(folder)
    index.close()
    newer = ColourReader("2")
    index = open_index("edge", store, read_pictures=newer, reread="lettering")
    assert newer.taken() == 2
    assert read_in(index) == ["blue v2\n8 px", "red v2\n8 px"]
    assert {n.metadata["read_by"] for n in all_of(lettering(index))} == {"colours 2"}
    assert index.insert_directory(folder).n_added == 0
    assert newer.taken() == 0
    index.close()
    index = open_index("edge", store, read_pictures=newer, reread="lettering")
    assert newer.taken() == 2


@pytest.mark.parametrize("catalogue", [None, False])
def test_turned_on_later_it_reads_what_is_there(
    catalogue, tmp_path, open_index, folder, encoder, reader
):
    def filled(index):
        index.insert_directory(folder)
        index.insert_nodes([ImageNode(id_="n", image=inline("cyan"), text="a caption")])
        return index

    # Without a catalogue, somebody has to say where pictures are.
    roots = None if catalogue is None else {"docs": folder}
    store, how = tmp_path / "s", {"catalogue": catalogue, "roots": roots}
    filled(open_index("edge", store, **how)).close()
    index = open_index("edge", store, read_pictures=reader, **how)
    assert reader.taken() == 3
    fresh = open_index(read_pictures=ColourReader())
    assert contents(index) == contents(filled(fresh))
    encoder.taken()
    report = index.insert_directory(folder)
    assert (report.n_added, report.n_removed) == (0, 0)
    assert reader.taken() == (0 if catalogue is None else 2)
    assert encoder.taken() == (0, 0)


def test_store_says_what_reads_and_keeps_what_it_does_not_know(
    tmp_path, encoder, reader
):
    store = tmp_path / "s"
    MultiModalQdrantIndex.open(store, embed_model=encoder, read_pictures=reader).close()
    entry = entries_in(store)["lettering"]
    said = {"name": "colours", "version": "1", "language": "en", "is_complete": True}
    assert entry.reader.model_dump() == said
    assert check_store(store).n_points == {"text": 0, "image": 0, "lettering": 0}
    assert not (store / "in-flight.json").exists()


def test_lettering_is_hybrid_as_texts_are(tmp_path, encoder, reader, folder):
    for hybrid in (False, True):
        store = tmp_path / str(hybrid)
        how = {"embed_model": encoder, "hybrid": hybrid or None}
        with MultiModalQdrantIndex.open(store, **how) as index:
            index.insert_directory(folder)
        with MultiModalQdrantIndex.open(store, read_pictures=reader, **how) as index:
            assert bool(lettering(index).vector_store.enable_hybrid) is hybrid
            assert len(read_in(index)) == 2
            found = lettering(index).vector_store
            assert isinstance(found, QdrantEdgeVectorStore)


def test_migrated_lettering_is_found_and_its_engine_known(
    tmp_path, encoder, reader, folder
):
    store, client = tmp_path / "s", QdrantClient(":memory:")
    how = {"embed_model": encoder}
    with MultiModalQdrantIndex.open(store, read_pictures=reader, **how) as index:
        index.insert_directory(folder)
        before = contents(index)
    for name in entries_in(store):
        with QdrantEdgeVectorStore.open(store / name) as source:
            migrate(source, client, f"mmrag-{name}", **how)
    reader.taken()
    how |= {"client": client, "catalogue": tmp_path / "known.sqlite"}
    with MultiModalQdrantIndex.open(**how) as moved:
        assert contents(moved) == before
        assert len(read_in(moved)) == 2
    with pytest.raises(CollectionMismatch, match=r"colours 1 \(en\)"):
        MultiModalQdrantIndex.open(read_pictures=ColourReader("2"), **how)
    with MultiModalQdrantIndex.open(read_pictures=reader, **how):
        assert reader.taken() == 0
    client.close()


def test_pickled_index_reads_on(tmp_path, encoder, reader, folder):
    store = tmp_path / "s"
    how = {"embed_model": encoder, "read_pictures": reader}
    with MultiModalQdrantIndex.open(store, **how) as index:
        index.insert_directory(folder)
        before, pickled = contents(index), pickle.dumps(index)
    with pickle.loads(pickled) as again:
        assert contents(again) == before
        assert again.insert_directory(folder).n_added == 0


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"read_pictures": False}, "read_pictures"),
        ({"read_pictures": "easyocr"}, "easyocr"),
        ({"read_pictures": 7}, "read_pictures"),
        ({"reread": "words"}, "expected 'lettering'"),
        ({"reread": "lettering"}, "read_pictures=True"),
    ],
)
def test_what_is_no_engine_is_refused(how, told, tmp_path, encoder):
    with pytest.raises(InvalidSetting, match=told):
        MultiModalQdrantIndex.open(tmp_path / "s", embed_model=encoder, **how)
    assert not (tmp_path / "s").exists()


def test_lost_lettering_is_read_again_before_the_next_write(
    tmp_path, encoder, reader, folder
):
    store = tmp_path / "s"
    how = {"embed_model": encoder, "read_pictures": reader}
    with MultiModalQdrantIndex.open(store, **how) as index:
        index.insert_directory(folder)
        before = contents(index)
    shutil.rmtree(store / "lettering")
    assert repair_store(store, embed_model=encoder).n_lost == {"lettering": None}
    reader.taken()
    with MultiModalQdrantIndex.open(store, embed_model=encoder) as index:
        assert read_in(index) == []
        index.insert([Document(text="red", id_="d")])
        index.delete_ref_doc("d")
        assert contents(index) == before
    # It was kept in the catalogue.
    assert reader.taken() == 0


def reading(store, folder, log):
    """Fill a store from a folder, and note each picture that is read."""

    class Noting(ColourReader):
        def read(self, picture, **how):
            with log.open("a") as file:
                file.write(f"{hashlib.sha256(picture).hexdigest()}\n")
            return super().read(picture, **how)

    encoder = ColourEncoder(modality_gap=0.75)
    how = {"embed_model": encoder, "read_pictures": Noting()}
    with MultiModalQdrantIndex.open(store, **how) as index:
        index.refresh(folder)


def test_killed_sessions_read_nothing_twice(tmp_path, folder, open_index, reader):
    store, log = tmp_path / "s", tmp_path / "log"
    for n in range(12):
        painted(folder, COLOURS[n % 6], name=f"{n}.png", side=20 + n)
    steps = iter([1, 3, 5, 8, 12, 17, 23])
    n_killed = 0
    while (step := next(steps, None)) is not None:
        if not killed_at(step, reading, store, folder, log):
            break
        n_killed += 1
    assert n_killed >= 3
    reading(store, folder, log)
    read = log.read_text().split()
    assert len(read) == len({*read}) == 14
    with MultiModalQdrantIndex.open(
        store, embed_model=ColourEncoder(modality_gap=0.75)
    ) as index:
        fresh = open_index(read_pictures=reader)
        fresh.insert_directory(folder)
        assert contents(index) == contents(fresh)


def test_picture_that_comes_twice_at_once_has_the_lettering_of_the_last(
    open_index, reader
):
    index = open_index(read_pictures=reader)
    index.insert_nodes(
        [
            ImageNode(id_="p", image=inline("red"), text="a red one"),
            ImageNode(id_="p", image=inline("blue"), text="a blue one"),
            ImageNode(id_="q", image=inline("cyan"), text="a cyan one"),
            TextNode(id_="q", text="no picture any more"),
        ]
    )
    assert read_in(index) == ["blue v1\n8 px"]
    told = sorted(node.get_content() for node in all_of(index.channels[0]))
    assert told == ["a blue one", "no picture any more"]
