from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from llama_index.core.schema import ImageNode

from llama_index_mmrag.ingestion import (
    DocumentUnreadable,
    Problem,
    SourceRecord,
    discover,
    read_directory,
    read_file,
    survey,
)
from llama_index_mmrag.ingestion.files import READERS
from llama_index_mmrag.ingestion.pages import Page, Section

from ..support.indexes import run_code

RECIPES = Path(__file__).parents[2].parent / "shared" / "data" / "based_cooking"


def names(paths, root):
    return [path.relative_to(root).as_posix() for path in paths]


def by_name(items, root):
    return {
        item.ref_doc_id.removeprefix(f"{root.name}/"): item
        for item in items
        if isinstance(item, SourceRecord)
    }


def test_files_are_found_sorted_and_others_counted(write, tmp_path, picture):
    for name in ["b/Ü.md", "b/a.TXT", "a.md", ".git/x.md", ".hidden.md", "c.odt", "d"]:
        write(name, "text")
    write("z/p.JPG", picture(format="JPEG"))
    found = survey(tmp_path)
    assert names(found.files, tmp_path) == ["a.md", "b/a.TXT", "b/Ü.md", "z/p.JPG"]
    assert found.ignored == {"": 1, ".odt": 1}
    assert found.problems == ()
    assert names(discover(tmp_path, recursive=False), tmp_path) == ["a.md"]


def test_single_file_is_a_folder_of_one(write):
    path = write("a.txt", "one")
    assert discover(path) == [path]
    (record,) = read_directory(path)
    assert record.ref_doc_id == f"{path.parent.name}/a.txt"


def test_missing_folder_is_an_error_at_once(tmp_path):
    with pytest.raises(DocumentUnreadable, match="no file or folder"):
        read_directory(tmp_path / "nowhere")


def test_picture_shown_by_a_text_is_not_indexed_again(write, tmp_path, picture):
    write("z.md", "![x](img/p.png)")
    write("img/p.png", picture("red"))
    write("img/q.png", picture("blue"))
    records = by_name(read_directory(tmp_path), tmp_path)
    assert {name: len(record.nodes) for name, record in records.items()} == {
        "z.md": 2,
        "img/p.png": 0,
        "img/q.png": 1,
    }
    assert records["img/p.png"].whole


def test_one_item_for_each_file_found(write, tmp_path, picture):
    write("a.md", "![x](p.png)")
    write("p.png", picture())
    write("broken.png", b"x")
    write("c.txt", b"\xff")
    assert len(list(read_directory(tmp_path))) == len(discover(tmp_path)) == 4


def test_bad_files_are_reported_and_the_rest_is_read(write, tmp_path, picture):
    write("a.txt", "fine")
    write("b.txt", "Käse".encode("latin-1"))
    write("c.jpg", picture(format="JPEG", side=300)[:-60])
    write("d.png")
    write("e.md", "---\ntitle: [\n---\nfine too")
    (tmp_path / "f.md").mkdir()
    (tmp_path / "g.md").symlink_to(tmp_path / "nothing.md")
    (tmp_path / "h.md").symlink_to(tmp_path / "h.md")
    items = list(read_directory(tmp_path))
    problems = [item for item in items if isinstance(item, Problem)]
    bad = sorted(Path(problem.source).name for problem in problems)
    assert bad == ["b.txt", "c.jpg", "d.png", "g.md", "h.md"]
    records = by_name(items, tmp_path)
    assert [len(records[name].nodes) for name in ("a.txt", "e.md")] == [1, 1]
    assert len(records["e.md"].problems) == 1


def test_reader_that_fails_in_an_unheard_of_way_costs_its_file_only(
    write, tmp_path, monkeypatch
):
    write("a.new", "one")
    write("b.txt", "two")

    def stops(file, settings, root):
        raise AssertionError("unheard of")

    monkeypatch.setitem(READERS, ".new", stops)
    problem, record = read_directory(tmp_path)
    assert "unheard of" in problem.reason
    assert record.nodes[0].text == "two"


def test_new_format_is_a_reader_in_the_table(write, tmp_path, monkeypatch):
    write("a.csv", "red,blue")

    def read_csv(file, settings, root):
        cells = file.read_text().split(",")
        return Page(tuple(Section(cell, name=("cell", cell)) for cell in cells))

    monkeypatch.setitem(READERS, ".csv", read_csv)
    (record,) = read_directory(tmp_path)
    assert [node.text for node in record.nodes] == ["red", "blue"]
    assert len({node.metadata["entity_id"] for node in record.nodes}) == 2
    assert record.nodes[0].metadata["file_name"] == "a.csv"


def test_each_file_is_followed_to_its_real_path_once(write, tmp_path, monkeypatch):
    for n in range(10):
        write(f"{n}.txt", "text")
    followed = []
    realpath = os.path.realpath
    monkeypatch.setattr(
        os.path, "realpath", lambda p, **how: followed.append(p) or realpath(p, **how)
    )
    assert len(list(read_directory(tmp_path))) == 10
    expected = [tmp_path, *(tmp_path / f"{n}.txt" for n in range(10))]
    assert sorted(map(Path, followed)) == expected


def test_symlinked_folders_are_read_once_and_loops_end(write, tmp_path):
    write("a/one.md", "one")
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "again").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "copy.md").symlink_to(tmp_path / "a" / "one.md")
    assert names(discover(tmp_path), tmp_path) == ["a/one.md"]


def test_link_to_a_file_without_suffix_keeps_its_own_name(write, tmp_path, picture):
    blob = write("blobs/0a1b", picture())
    (tmp_path / "p.png").symlink_to(blob)
    (record,) = read_directory(tmp_path)
    assert record.nodes[0].image_path == str(tmp_path / "p.png")


def test_links_out_of_the_folder_are_problems_and_not_read(write, tmp_path, picture):
    inside = tmp_path / "in"
    write("in/a.txt", "one")
    write("in/c.md", "![x](pix/in.png) ![y](out.png)")
    write("in/pix/in.png", picture("blue"))
    secret = write("out/secret.txt", "secret")
    blob = write("out/0a1b", picture())
    (inside / "link.txt").symlink_to(secret)
    (inside / "out.png").symlink_to(blob)
    (inside / "folder").symlink_to(tmp_path / "out", target_is_directory=True)
    (inside / "again.txt").symlink_to(inside / "a.txt")
    found = survey(inside)
    assert names(found.files, inside) == ["a.txt", "c.md", "pix/in.png"]
    bad = [Path(problem.source).name for problem in found.problems]
    assert bad == ["folder", "link.txt", "out.png"]
    assert all("points outside" in problem.reason for problem in found.problems)
    (problem,) = by_name(read_directory(inside), inside)["c.md"].problems
    assert "'out.png' points outside" in problem.reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_a_problem_and_not_waited_for(write, tmp_path):
    write("a.txt", "one")
    os.mkfifo(tmp_path / "p.png")
    for place, n_records in ((tmp_path, 1), (tmp_path / "p.png", 0)):
        problem, *records = read_directory(place)
        assert "no regular file" in problem.reason
        assert Path(problem.source).name == "p.png"
        assert len(records) == n_records


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes only on Linux")
def test_name_that_is_not_utf8_is_a_problem(write, tmp_path):
    write("a.md", "one")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.md")).write_text("two")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    problem, record = read_directory(tmp_path)
    assert isinstance(problem, Problem)
    assert "not UTF-8" in problem.reason
    problem.source.encode("utf-8")
    assert record.ref_doc_id.endswith("a.md")


def test_reading_alone_and_in_a_folder_give_the_same_record(write, tmp_path, picture):
    write("static/p.png", picture())
    path = write("content/a.md", "# A\n\n![x](/p.png)")
    records = by_name(read_directory(tmp_path), tmp_path)
    assert records["content/a.md"] == read_file(path, root=tmp_path)


def test_ids_do_not_depend_on_the_hash_seed(write, tmp_path, picture):
    write("p.png", picture())
    write("a.md", "---\ntags: !!set {x, y, z}\nt: 1\n---\n# A\n\n![x](p.png) one")
    write("b.txt", "two")
    script = (
        "import sys; from llama_index_mmrag.ingestion import read_directory\n"
        "for r in read_directory(sys.argv[1]):\n"
        "    print([(n.id_, n.metadata) for n in r.nodes])"
    )
    one, other = (run_code(script, tmp_path, PYTHONHASHSEED=seed) for seed in "12")
    assert one == other != ""


@pytest.mark.skipif(not RECIPES.exists(), reason="the recipe data set is not here")
def test_recipe_site_gives_every_recipe_and_photograph():
    items = list(read_directory(RECIPES / "content"))
    assert not [item for item in items if isinstance(item, Problem)]
    records = by_name(items, RECIPES.resolve() / "content")
    assert len(records) == 350
    shown = {
        name: [node.image_path for node in record.nodes if isinstance(node, ImageNode)]
        for name, record in records.items()
    }
    assert sum(bool(paths) for paths in shown.values()) == 115
    # 138 links; two photographs are shown in two sections each
    assert sum(len(paths) for paths in shown.values()) == 138
    assert len({path for paths in shown.values() for path in paths}) == 136
    problems = [problem for record in records.values() for problem in record.problems]
    # one photograph is missing there, one front matter has a tab in it
    bad = [Path(problem.source).name for problem in problems]
    assert bad == ["tzatziki.md", "zaatar.md"]
    nodes = [node for record in records.values() for node in record.nodes]
    assert len({node.id_ for node in nodes}) == len(nodes)
    assert all(record.nodes for name, record in records.items())
