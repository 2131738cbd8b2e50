"""Scans: read where they are asked for, once, page by page, after everything else."""

from __future__ import annotations

import pickle
import time
from email.message import EmailMessage
from pathlib import Path

import pytest
from llama_index.core.schema import Document

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidSetting
from llama_index_mmrag.ingestion import ReadSettings

from ..support.indexes import KINDS, all_of, contents, texts
from ..support.lettering import ColourReader
from ..support.scanned import BOX, UNREADABLE, GreyReader, scanned


@pytest.fixture
def reader() -> GreyReader:
    return GreyReader()


@pytest.fixture
def docs(tmp_path) -> Path:
    """Return a folder: a text, and a scan of three pages in a folder of it."""
    scanned(tmp_path / "docs" / "old" / "pump_7.pdf", 10, 20, 30)
    (tmp_path / "docs" / "grass.txt").write_text("green grass")
    return tmp_path / "docs"


def scans(index):
    """Return the texts of scans, by page."""
    found = [n for n in all_of(index.channels[0]) if n.metadata.get("kind") == "scan"]
    return sorted(found, key=lambda node: node.metadata["page"])


def said(grey: int, version: str = "1") -> str:
    this = f"this one is {grey}, or so greys {version} said."
    return f"Of all the greys that there are {this}"


def settings(tmp_path, **how) -> ReadSettings:
    return ReadSettings(media_dir=tmp_path / "media", **how)


def test_unread_scan_is_found_by_what_it_is_called_and_its_first_page(open_index, docs):
    index = open_index()
    report = index.insert_directory(docs)
    assert (report.n_pages_unread, report.n_pages_read) == (3, 0)
    assert str(report).endswith("3 pages of scans not read")
    (node,) = scans(index)
    assert node.get_content() == "pump 7.pdf\ndocs old"
    told = {k: node.metadata.get(k) for k in ("page", "page_end", "read_by", "box")}
    assert told == {"page": 1, "page_end": 3, "read_by": None, "box": None}
    (picture,) = all_of(index.channels[1])
    assert picture.metadata["entity_id"] == node.metadata["entity_id"]
    assert (picture.metadata["kind"], picture.metadata["page"]) == ("scan", 1)
    assert picture.image_path.endswith(".webp")
    # It is told of as long as it is so.
    again = index.insert_directory(docs)
    assert (again.n_added, again.n_pages_unread) == (0, 3)


def test_title_stands_above_and_nobody_s_words_are_a_page_s(open_index, tmp_path):
    docs = scanned(tmp_path / "docs" / "a.pdf", 10, 20, title="Pumps of old").parent
    index = open_index()
    index.insert_directory(docs)
    assert texts(index) == ["Pumps of old\n\na.pdf\ndocs"]
    (picture,) = all_of(index.channels[1])
    assert "page_end" not in picture.metadata
    index = open_index(read_scans=GreyReader())
    assert index.insert_directory(docs).n_pages_unread == 0
    assert texts(index) == [f"Pumps of old\n\n{said(grey)}" for grey in (10, 20)]


def test_scan_that_came_in_a_mail_is_read(open_index, tmp_path, reader):
    mail = EmailMessage()
    mail["Subject"] = "The pump"
    mail.set_content("See the scan.")
    data = scanned(tmp_path / "a.pdf", 10, 20).read_bytes()
    mail.add_attachment(data, "application", "pdf", filename="a.pdf")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "m.eml").write_bytes(mail.as_bytes())
    index = open_index()
    assert index.insert_directory(tmp_path / "docs").n_pages_unread == 2
    index = open_index(read_scans=reader)
    report = index.insert_directory(tmp_path / "docs")
    assert (report.n_pages_read, report.n_pages_unread) == (2, 0)
    assert {n.ref_doc_id for n in scans(index)} == {"docs/m.eml#a.pdf"}
    pages = zip(scans(index), (10, 20), strict=True)
    assert all(node.get_content().endswith(said(grey)) for node, grey in pages)
    assert index.insert_directory(tmp_path / "docs").n_added == 0
    assert reader.taken() == [10, 20]


@KINDS
def test_words_of_a_scan_are_the_page_s_text(kind, open_index, docs, reader):
    index = open_index(kind, read_scans=reader, read_pictures=ColourReader())
    report = index.insert_directory(docs)
    assert (report.problems, report.n_pages_read) == ([], 3)
    assert report.n_pages_unread == 0
    assert reader.taken() == [10, 20, 30]
    assert [n.get_content() for n in scans(index)] == [said(g) for g in (10, 20, 30)]
    for page, node in enumerate(scans(index), start=1):
        keys = ("modality", "page", "page_label", "read_by")
        its = [node.metadata[key] for key in keys]
        assert its == ["text", page, str(page), "greys 1"]
        assert node.metadata["box"] == pytest.approx([*BOX[:3], 0.295])
    # A page's picture is no figure with letters in it, and nobody has read it.
    lettering = next(c for c in index.channels if c.name == "lettering")
    assert all_of(lettering) == []
    (picture,) = all_of(index.channels[1])
    assert "read_by" not in picture.metadata
    first = scans(index)[0].metadata
    assert picture.metadata["entity_id"] == first["entity_id"]
    assert len({n.metadata["entity_id"] for n in scans(index)}) == 3


def test_scans_come_after_everything_else(open_index, docs, reader):
    scanned(docs / "a.pdf", 40)
    seen = []
    index = open_index(read_scans=reader)
    reader.before = lambda: seen.append(texts(index))
    index.insert_directory(docs)
    unread = ["a.pdf\ndocs", "green grass", "pump 7.pdf\ndocs old"]
    assert seen[0] == unread
    assert len(seen) == 4


def test_what_is_gone_is_removed_before_scans_are_read(open_index, docs, reader):
    index = open_index()
    index.insert_directory(docs)
    index = open_index(read_scans=reader)
    index.insert_directory(docs)
    scanned(docs / "new.pdf", 50)
    (docs / "grass.txt").unlink()
    seen = []
    reader.before = lambda: seen.append("green grass" in texts(index))
    report = index.refresh(docs)
    assert seen == [False]
    assert report.n_pages_read == 1


class Killed(BaseException):
    """What no handler of errors takes."""


def test_killed_at_a_page_it_goes_on_there(open_index, tmp_path, encoder):
    greys = range(100, 112)
    docs = scanned(tmp_path / "docs" / "long.pdf", *greys).parent
    n_read = 0

    def die() -> None:
        nonlocal n_read
        n_read += 1
        if n_read == 7:
            raise Killed

    store = tmp_path / "s"
    killed = GreyReader(before=die)
    with (
        pytest.raises(Killed),
        MultiModalQdrantIndex.open(
            store, embed_model=encoder, read_scans=killed
        ) as index,
    ):
        index.insert_directory(docs)
    reader = GreyReader()
    index = open_index("edge", store, read_scans=reader)
    assert index.insert_directory(docs).n_pages_read == 6
    assert killed.taken() == []  # it was closed
    assert reader.taken() == [*greys][6:]
    fresh = open_index(read_scans=GreyReader())
    fresh.insert_directory(docs)
    assert contents(index) == contents(fresh)


def test_a_run_reads_within_its_minutes_and_the_next_goes_on(open_index, tmp_path):
    docs = scanned(tmp_path / "docs" / "a.pdf", *range(100, 106)).parent
    scanned(docs / "b.pdf", 200)
    reader = GreyReader(before=lambda: time.sleep(0.2))
    store, limit_s = tmp_path / "s", 0.5
    within = settings(tmp_path, scan_minutes=limit_s / 60)
    index = open_index("edge", store, read_scans=reader, settings=within)
    report = index.insert_directory(docs)
    read = reader.taken()
    # None was begun after it.
    assert 1 <= len(read) == report.n_pages_read < 7
    assert reader.began[-1] - reader.began[0] <= limit_s
    assert report.n_pages_unread == 7 - len(read)
    assert "a minute)" in str(report)
    assert f"{report.n_pages_unread} pages of scans not read, about" in str(report)
    index.close()
    rest = open_index("edge", store, settings=settings(tmp_path), read_scans=reader)
    report = rest.insert_directory(docs)
    assert sorted(read + reader.taken()) == [*range(100, 106), 200]
    fresh = open_index(read_scans=GreyReader(), settings=settings(tmp_path))
    fresh.insert_directory(docs)
    assert contents(rest) == contents(fresh)


def test_later_sessions_read_on_with_what_the_store_says(open_index, tmp_path, docs):
    store, reader = tmp_path / "s", GreyReader()
    index = open_index("edge", store, read_scans=reader)
    index.insert_directory(docs)
    index.close()
    # Of what is known no engine is asked.
    index = open_index("edge", store)
    report = index.insert_directory(docs)
    assert (report.n_added, report.n_pages_unread) == (0, 0)
    scanned(docs / "new.pdf", 99)
    with pytest.raises(InvalidSetting, match=r"scans were read by greys 1 \(en\), an"):
        index.insert_directory(docs)
    assert "new.pdf\ndocs" in texts(index)
    index.close()
    for other in (GreyReader("others"), GreyReader(version="2")):
        with pytest.raises(CollectionMismatch, match=r"scans.*greys 1.*reread='scans'"):
            open_index("edge", store, read_scans=other)


@KINDS
def test_turned_on_later_it_reads_what_is_there(kind, open_index, docs, reader):
    client_kinds = {"local", "server"}
    index = open_index(kind)
    index.insert_directory(docs)
    if kind in client_kinds:
        how = {"client": index.client, "embed_model": index.embed_model}
        name = index.vector_store.collection_name.removesuffix("-text")
        again = MultiModalQdrantIndex.open(
            collection=name, catalogue=False, read_scans=reader, **how
        )
    else:
        index.close()
        again = open_index(kind, index._root, read_scans=reader)
    assert again.insert_directory(docs).n_pages_read == 3
    assert [n.get_content() for n in scans(again)] == [said(g) for g in (10, 20, 30)]


def test_reread_reads_all_anew_and_goes_on_where_it_stopped(open_index, tmp_path, docs):
    store = tmp_path / "s"
    index = open_index("edge", store, read_scans=GreyReader())
    index.insert_directory(docs)
    index.close()
    scanned(docs / "z.pdf", 40, 50)
    newer = GreyReader(version="2", before=lambda: None)

    def die() -> None:
        if len(newer.read_pages) == 4:
            raise Killed

    newer.before = die
    index = open_index("edge", store, read_scans=newer, reread="scans")
    with pytest.raises(Killed):
        index.insert_directory(docs)
    assert newer.taken() == [10, 20, 30, 40]
    index.close()
    index = open_index("edge", store, read_scans=newer)
    newer.before = lambda: None
    assert index.insert_directory(docs).n_pages_read == 1
    assert newer.taken() == [50]
    assert {n.metadata["read_by"] for n in scans(index)} == {"greys 2"}
    index.close()
    index = open_index("edge", store, read_scans=newer, reread="scans")
    index.insert_directory(docs)
    assert newer.taken() == [10, 20, 30, 40, 50]


def test_copies_and_renamed_files_are_read_once(open_index, docs, reader):
    index = open_index(read_scans=reader)
    index.insert_directory(docs)
    assert reader.taken() == [10, 20, 30]
    (docs / "old" / "pump_7.pdf").rename(docs / "b.pdf")
    scanned(docs / "longer.pdf", 20, 30, 40)
    index.refresh(docs)
    assert reader.taken() == [40]
    assert len(scans(index)) == 6


def test_what_was_read_stays_where_the_catalogue_is_lost(open_index, tmp_path, docs):
    store, reader = tmp_path / "s", GreyReader()
    index = open_index("edge", store, read_scans=reader)
    index.insert_directory(docs)
    before = contents(index)
    index.close()
    reader.taken()
    (store / "catalogue.sqlite").unlink()

    def die() -> None:
        assert contents(index) == before
        if len(reader.read_pages) == 2:
            raise Killed

    reader.before = die
    index = open_index("edge", store, read_scans=reader)
    with pytest.raises(Killed):
        index.insert_directory(docs)
    assert contents(index) == before
    index.close()
    reader.before = lambda: None
    index = open_index("edge", store, read_scans=reader)
    report = index.insert_directory(docs)
    assert (report.problems, report.n_added, report.n_removed) == ([], 0, 0)
    assert reader.taken() == [30]
    assert contents(index) == before


def test_changed_scan_keeps_its_words_until_it_is_read(open_index, tmp_path, docs):
    store, reader = tmp_path / "s", GreyReader()
    index = open_index("edge", store, read_scans=reader)
    index.insert_directory(docs)
    index.close()
    reader.taken()
    scanned(docs / "old" / "pump_7.pdf", 10, 21, 31, 40)
    how = settings(tmp_path, scan_minutes=1e-9)
    index = open_index("edge", store, read_scans=reader, settings=how)
    report = index.insert_directory(docs)
    (problem,) = report.problems
    assert problem.source == str(docs / "old" / "pump_7.pdf")
    assert "2 of its pages are scans that were not read yet" in problem.reason
    assert said(20) in texts(index)
    assert reader.taken() == [21]
    index.close()
    index = open_index("edge", store, read_scans=reader, settings=settings(tmp_path))
    assert index.insert_directory(docs).problems == []
    assert reader.taken() == [31, 40]
    assert [n.get_content() for n in scans(index)] == [
        said(g) for g in (10, 21, 31, 40)
    ]


def test_page_that_cannot_be_read_is_told_and_not_tried_again(open_index, tmp_path):
    docs = scanned(tmp_path / "docs" / "a.pdf", 10, UNREADABLE, 30).parent
    store, reader = tmp_path / "s", GreyReader()
    index = open_index("edge", store, read_scans=reader)
    for n_tried in (1, 0):
        report = index.insert_directory(docs)
        (problem,) = report.problems
        assert problem.is_part
        assert problem.reason.startswith("p. 2: its words were not read: The engine")
        assert report.n_pages_unread == 1
        assert reader.taken().count(UNREADABLE) == n_tried
        assert [n.get_content() for n in scans(index)][::2] == [said(10), said(30)]
    index.close()
    index = open_index("edge", store, read_scans=reader, reread="scans")
    index.insert_directory(docs)
    assert UNREADABLE in reader.taken()


def test_changed_scan_goes_in_though_a_page_of_it_cannot_be_read(open_index, tmp_path):
    docs = scanned(tmp_path / "docs" / "a.pdf", 10, 20).parent
    index = open_index(read_scans=GreyReader())
    index.insert_directory(docs)
    scanned(docs / "a.pdf", UNREADABLE, 40)
    for _ in range(2):
        (problem,) = index.insert_directory(docs).problems
        assert problem.reason.startswith("p. 1: its words were not read: The engine")
        assert [n.get_content() for n in scans(index)] == ["a.pdf\ndocs", said(40)]


@pytest.mark.parametrize("where", [{}, {"page": "iv"}, {"page": 1, "page_end": "b"}])
def test_users_own_scan_is_none_of_a_folder(where, open_index, docs):
    index = open_index()
    index.insert(Document(text="An X-ray.", metadata={"kind": "scan", **where}))
    assert index.insert_directory(docs).n_pages_unread == 3
    assert index.refresh(docs).n_pages_unread == 3


def test_page_without_words_is_read_and_has_no_text(open_index, tmp_path, reader):
    docs = scanned(tmp_path / "docs" / "a.pdf", 10, 255, 30).parent
    index = open_index(read_scans=reader)
    report = index.insert_directory(docs)
    assert (report.n_pages_read, report.n_pages_unread) == (3, 0)
    assert [n.get_content() for n in scans(index)] == [said(10), said(30)]
    reader.taken()
    index.insert_directory(docs)
    assert reader.taken() == []


@pytest.mark.parametrize(
    ("which", "n_pictures"), [("first", 1), ("all", 3), ("none", 0)]
)
def test_pictures_of_pages_are_kept_as_asked(
    which, n_pictures, open_index, tmp_path, docs, reader
):
    how = settings(tmp_path, page_pictures=which)
    index = open_index(read_scans=reader, settings=how)
    index.insert_directory(docs)
    assert len(all_of(index.channels[1])) == n_pictures
    entities = {n.metadata["entity_id"] for n in scans(index)}
    assert {n.metadata["entity_id"] for n in all_of(index.channels[1])} <= entities
    unread = open_index(settings=how)
    unread.insert_directory(docs)
    assert len(all_of(unread.channels[1])) == n_pictures
    assert len(scans(unread)) == 1


def test_pickled_index_reads_on(open_index, tmp_path, docs):
    with MultiModalQdrantIndex.open(
        tmp_path / "s", embed_model=ColourEncoder(), read_scans=GreyReader()
    ) as index:
        index.insert_directory(docs)
        pickled = pickle.dumps(index)
        before = contents(index)
    with pickle.loads(pickled) as again:
        assert again.insert_directory(docs).n_added == 0
        assert contents(again) == before


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (
            {"read_scans": True},
            "read_scans is True; expected 'rapidocr' or 'tesseract'",
        ),
        ({"read_scans": "easyocr"}, "easyocr"),
        ({"read_scans": 7}, "read_scans"),
        ({"reread": "scans"}, "nothing has read the scans of .*--read-scans rapidocr"),
    ],
)
def test_what_is_no_engine_is_refused(how, told, tmp_path, encoder):
    with pytest.raises(InvalidSetting, match=told):
        MultiModalQdrantIndex.open(tmp_path / "s", embed_model=encoder, **how)
    assert not (tmp_path / "s").exists()
