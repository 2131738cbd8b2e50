"""The catalogue: what it keeps, and that nothing which befalls it is an error."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from llama_index_mmrag.stores.catalogue import CATALOGUE, Catalogue, FileRow

from ..support import damage

INDEX = "b1946ac92492d234"


def row(path: str = "a.md", root: str = "docs", **fields: object) -> FileRow:
    known = FileRow(
        root=root,
        path=path,
        size=12,
        mtime_ns=1_700_000_000_123_456_789,
        inode="7",
        sha256=f"hash of {path}",
        read_as="default",
        document=f"{root}/{path}",
        ids={"text": ["t1", "t2"], "image": ["p"]},
        shows=["a.png"],
    )
    return known._replace(**fields)


def catalogue(path: Path | None, index_id: str = INDEX) -> Catalogue:
    return Catalogue(path, index_id)


def use(path: Path | None, index_id: str = INDEX) -> Catalogue:
    """Call all that there is, as a run does; nothing may be raised."""
    it = catalogue(path, index_id)
    it.roots()
    it.set_root("docs", Path("/srv/docs"))
    it.set_device("docs", "66")
    it.files("docs")
    it.with_hashes(["hash of a.md"])
    it.forget(["docs/a.md"])
    it.remember([row()])
    assert it.roots() == {"docs": Path("/srv/docs")}
    return it


def whole(path: Path) -> bool:
    """Return whether the file is a catalogue with what `use` writes."""
    it = catalogue(path)
    return (it.files("docs"), it.roots(), it.device("docs")) == (
        {"a.md": row()},
        {"docs": Path("/srv/docs")},
        "66",
    )


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / CATALOGUE


def said(caplog) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]


# What it keeps


def test_what_is_written_is_there_in_the_next_session(file, caplog):
    first = catalogue(file)
    other = row("a.md", "other", mtime_ns=None, document=None, ids={}, shows=[])
    first.set_root("docs", Path("/srv/docs"))
    first.set_root("other", Path("/srv/other"))
    first.set_root("docs", Path("/mnt/docs"))
    first.remember([row(), row("b.md"), other])
    first.remember([row(size=13)])
    second = catalogue(file)
    assert second.roots() == {"docs": Path("/mnt/docs"), "other": Path("/srv/other")}
    assert second.files("docs") == {"a.md": row(size=13), "b.md": row("b.md")}
    assert second.files("other") == {"a.md": other}
    assert second.files("none") == {}
    assert said(caplog) == []


def test_files_are_found_by_their_content_in_any_root(file):
    copies = [row(sha256="x"), row("b.md", sha256="y"), row(root="other", sha256="x")]
    catalogue(file).remember(copies)
    found = catalogue(file).with_hashes(["x", "unknown", 'quoted "'])
    assert sorted(found) == sorted([copies[0], copies[2]])
    assert catalogue(file).with_hashes([]) == []


def test_forgotten_documents_leave_the_others(file):
    it = catalogue(file)
    it.remember([row("a.md"), row("b.md"), row("a.png", document=None)])
    it.forget(["docs/a.md", "never there"])
    assert it.files("docs").keys() == {"b.md", "a.png"}


def test_device_stays_when_a_root_moves_until_it_is_set(file):
    it = catalogue(file)
    assert it.device("docs") is None
    it.set_root("docs", Path("/a"))
    it.set_device("docs", "66")
    it.set_root("docs", Path("/b"))
    assert (catalogue(file).device("docs"), it.device("docs")) == ("66", "66")


def test_reading_makes_no_file_and_nor_does_forgetting(file):
    it = catalogue(file)
    assert (it.roots(), it.files("docs"), it.with_hashes(["x"])) == ({}, {}, [])
    it.forget(["docs/a.md"])
    assert not file.exists()


def test_table_of_derived_texts_waits(file):
    use(file)
    with closing(sqlite3.connect(file)) as db:
        names = [d[0] for d in db.execute("SELECT * FROM derived_texts").description]
        assert names == ["content_hash", "kind", "maker", "version", "text"]


def test_without_a_file_roots_are_known_for_the_session():
    it = use(None)
    assert it.files("docs") == {}
    assert catalogue(None).roots() == {}


def test_index_on_a_server_has_its_file_in_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LLAMA_INDEX_CACHE_DIR", str(tmp_path / "cache"))
    Catalogue.in_cache(INDEX).remember([row()])
    assert whole_files(tmp_path) == [f"cache/mmrag/{INDEX}.sqlite"]
    assert Catalogue.in_cache(INDEX).files("docs") == {"a.md": row()}


def test_no_cache_folder_is_no_error(tmp_path, monkeypatch, caplog):
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("LLAMA_INDEX_CACHE_DIR", str(tmp_path / "cache"))
    it = Catalogue.in_cache(INDEX)
    it.remember([row()])
    assert it.files("docs") == {}
    assert len(said(caplog)) == 1


def whole_files(folder: Path) -> list[str]:
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]


# What befalls it


def truncate(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 + 100)


def zero_the_start(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.write(bytes(4096))


def zero_all_but_the_start(file: Path) -> None:
    n_bytes = file.stat().st_size
    with file.open("r+b") as opened:
        opened.seek(4096)
        opened.write(bytes(n_bytes - 4096))


def scribble(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.seek(100)
        opened.write(b"\xa5" * 3000)


def change(statement: str):  # noqa: ANN201
    def changed(file: Path) -> None:
        with closing(sqlite3.connect(file)) as db, db:
            db.execute(statement)

    changed.__name__ = statement
    return changed


def put_another_database(file: Path) -> None:
    file.unlink()
    change("CREATE TABLE notes (text)")(file)


REPLACED = [
    *(truncate, zero_the_start, zero_all_but_the_start, scribble),
    *(damage.nest_deeply, damage.make_huge),
    put_another_database,
    change("PRAGMA user_version = 3"),
    change("UPDATE about SET index_id = 'another'"),
    change("DROP TABLE files"),
    change("UPDATE files SET ids = 'no JSON'"),
    change("UPDATE files SET ids = '[7]'"),
    change("UPDATE files SET shows = '{}'"),
    change("UPDATE files SET path = x'ff'"),
]


@pytest.mark.parametrize("harm", REPLACED, ids=lambda harm: harm.__name__)
def test_what_is_no_catalogue_of_this_index_is_renamed_and_made_anew(
    harm, file, caplog
):
    use(file)
    harm(file)
    before = None if harm is damage.make_huge else file.read_bytes()
    use(file)
    assert len(said(caplog)) == 1
    use(file)  # by the next run at the latest
    assert whole(file)
    assert len(said(caplog)) == 1
    assert "\n" not in said(caplog)[0]
    assert str(file) in said(caplog)[0]
    aside = file.with_name(f"{CATALOGUE}.aside")
    assert before in (None, aside.read_bytes())


@pytest.mark.parametrize("harm", [Path.unlink, damage.make_empty, damage.make_a_number])
def test_what_is_gone_is_made_anew_without_a_word(harm, file, caplog):
    it = use(file)
    harm(file)
    assert it.files("docs") == {}
    it.remember([row()])
    assert it.files("docs") == {"a.md": row()}
    use(file)
    assert whole(file)
    assert said(caplog) == []


@pytest.mark.parametrize(
    "harm",
    [damage.make_a_folder, damage.make_a_pipe, damage.make_a_device],
    ids=lambda harm: harm.__name__,
)
def test_what_is_no_file_stays_and_the_session_goes_on_without(harm, file, caplog):
    use(file)
    harm(file)
    kind = file.lstat()
    it = use(file)
    assert it.files("docs") == {}
    assert file.lstat() == kind
    assert len(said(caplog)) == 1


def test_place_where_nothing_can_be_made_is_no_error(caplog):
    it = use(Path("/proc/none/catalogue.sqlite"))
    assert it.files("docs") == {}
    assert len(said(caplog)) == 1


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    resource = pytest.importorskip("resource")  # a file that cannot grow: a full disk
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("n_bytes", [0, 10_000, 100_000])
def test_full_disk_is_no_error(n_bytes, file, caplog):
    it = catalogue(file)
    with files_of_at_most(n_bytes):
        it.set_root("docs", Path("/srv/docs"))
        for n in range(20):
            it.remember([row(f"{n} {m}.md") for m in range(200)])
    assert (it.files("docs"), it.roots()) == ({}, {"docs": Path("/srv/docs")})
    assert len(said(caplog)) == 1
    assert "goes on without" in said(caplog)[0]
    use(file)  # there is room again
    assert catalogue(file).files("docs")["a.md"] == row()


LOCKING = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_file_that_another_process_keeps_locked_is_left_alone(
    file, caplog, monkeypatch
):
    monkeypatch.setattr("llama_index_mmrag.stores.catalogue._WAIT_S", 0.2)
    use(file)
    before = file.read_bytes()
    other = subprocess.Popen(
        [sys.executable, "-c", LOCKING, file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        it = use(file)
        assert it.files("docs") == {}
    finally:
        other.communicate(timeout=60)
    assert len(said(caplog)) == 1
    assert "locked" in said(caplog)[0]
    assert file.read_bytes() == before
    assert whole(file)


def test_threads_and_processes_share_one_file(file):
    code = (
        "import sys\nfrom tests.stores.test_catalogue import *\n"
        "it = catalogue(Path(sys.argv[1]))\n"
        "for n in range(30): it.remember([row(f'{sys.argv[2]} {n}')])"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, file, name],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in "ab"
    ]
    it = catalogue(file)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: it.remember([row(f"t {n}")]), range(30)))
    assert [process.communicate(timeout=120)[1] for process in processes] == ["", ""]
    assert it.files("docs").keys() == {f"{w} {n}" for w in "abt" for n in range(30)}


def test_log_has_one_line_for_a_session(file, caplog):
    damage.make_a_folder(use(file)._path)
    it = catalogue(file)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            it.remember([row()])
            it.files("docs")
    assert len(said(caplog)) == 1


@pytest.mark.parametrize(
    ("name", "place"),
    [
        *(("..", "'/srv'"), ("a/b", "'/srv'"), ("", "'/srv'"), ("a\n", "'/srv'")),
        *(("docs", "'srv'"), ("docs", "zeroblob(5)"), ("docs", "7")),
    ],
)
def test_root_that_cannot_be_one_is_damage(name, place, file, caplog):
    use(file)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute(f"INSERT OR REPLACE INTO roots VALUES (?, {place}, '')", (name,))
    caplog.clear()
    assert catalogue(file).roots() == {}
    assert "made anew" in said(caplog)[0]
    assert file.with_name(f"{file.name}.aside").exists()
