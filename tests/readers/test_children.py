"""Files read in a process of its own: what it hands over, and how it may end."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import pytest

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers import children, frames
from llama_index_mmrag.readers.children import Child
from llama_index_mmrag.readers.frames import (
    end_in,
    head_in,
    receive,
    section_in,
    send,
    send_page,
)
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.kinds import CHILD_READERS
from llama_index_mmrag.readers.page import (
    Attachment,
    Page,
    PictureLink,
    Place,
    Section,
)

SCRIPT = Path(children.__file__).with_name("child.py")
PAGE = Page(
    (
        Section(
            "ä\n| a |",
            (
                PictureLink("", "A", data=b"\0\xff", about={"box": [0, 0.5, 1, 1]}),
                PictureLink("b.png", figcaption="B"),
            ),
            ("T", "H"),
            ("section", ("T", "H"), 1),
            "\n",
            (Place(0, 3, (0.0, 0.1, 0.9, 1.0)), Place(2, 4)),
            {"page": 3, "kind": "table"},
        ),
        Section("b"),
    ),
    {"title": "T"},
    ("One is left out.",),
    ("i", ""),
    (Attachment("a b.txt", b"\0a"), Attachment("#.eml", b"")),
)
NO_SECTION = {
    "blobs": [], "text": "", "pictures": [], "headings": [], "name": None,
    "separator": "\n", "places": [], "about": {},
}  # fmt: skip


@pytest.fixture
def child():
    one = Child(file_s=30, memory_bytes=768 << 20, file_bytes=1 << 20)
    yield one
    one.close()


def read(child: Child, file: Path) -> Page:
    return child.page(file, "web.document", How(most_bytes=1 << 20))


def pid_of(child: Child) -> int:
    assert child._process is not None
    return child._process.pid


def through(page: Page) -> Page:
    stream = BytesIO()
    send_page(stream, page)
    stream.seek(0)
    head, sections = head_in(receive(stream)), []
    while "problems" not in (said := receive(stream)):
        sections.append(section_in(said, stream, 1 << 20))
    return replace(end_in(head, said, stream, 1 << 20), sections=tuple(sections))


def test_page_comes_as_it_was_sent():
    assert through(PAGE) == PAGE


@pytest.mark.parametrize(
    "said",
    [
        [],
        {},
        {"metadata": [], "labels": []},
        {"metadata": {"a": 1}, "labels": []},
        {"metadata": {}, "labels": [1]},
        {"metadata": {}, "labels": None},
    ],
)
def test_what_is_no_page_is_refused(said):
    with pytest.raises(ValueError, match="no page"):
        head_in(said)
    with pytest.raises(ValueError, match="no end of a page"):
        end_in(PAGE, said, BytesIO(), 1)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"name": None},
        {"separator": "?"},
        {"text": 1},
        {"text": "\ud800"},
        {"pictures": [["", "", "", "", True, {}]]},
        {"pictures": [["", "", "", ""]]},
        {"headings": ["h"] * 65},
        {"blobs": [1 << 21]},
        {"blobs": [-1]},
        {"blobs": None},
        {"places": [[0, 1, [0, 0, 1, 2]]]},
        {"places": [[0, 1, [0, 0, 1, float("nan")]]]},
        {"places": [[0, 1, [0, 0, 1]]]},
        {"places": [[-1, 1, None]]},
        {"places": [[0, 1.5, None]]},
        {"about": {"page": "1"}},
        {"about": {"ignored_by": "us"}},
        {"about": {"box": [1, 0, 0, 1]}},
    ],
)
def test_what_is_no_section_is_refused(said):
    whole = NO_SECTION | said if len(said) == 1 and "name" not in said else said
    with pytest.raises(ValueError, match=r"no section|more than|surrogates|unpack"):
        section_in(whole, BytesIO(), 1 << 20)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", EOFError),
        (b"\0\0", EOFError),
        ((9).to_bytes(8, "big") + b"{}", EOFError),
        ((1 << 60).to_bytes(8, "big"), ValueError),
        ((2).to_bytes(8, "big") + b"x{", ValueError),
        ((200_000).to_bytes(8, "big") + b"[" * 200_000, ValueError),
    ],
)
def test_what_is_no_message_is_refused(data, error):
    with pytest.raises(error):
        receive(BytesIO(data))


def test_page_of_too_many_words_is_not_sent(monkeypatch):
    monkeypatch.setattr(frames, "MOST_JSON", 100)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        send_page(BytesIO(), PAGE)


def test_one_child_reads_many_files_and_another_follows_after_so_many(
    child, tmp_path, monkeypatch
):
    monkeypatch.setattr(children, "MOST_FILES", 3)
    pids = []
    for n in range(4):
        file = tmp_path / f"{n}.html"
        file.write_text(f"<h1>{n}</h1>ä{n}", encoding="utf-8")
        assert read(child, file).sections[0].text == f"ä{n}"
        pids.append(pid_of(child))
    assert [pid == pids[0] for pid in pids] == [True, True, True, False]


def test_file_that_is_refused_costs_no_child(child, tmp_path):
    (tmp_path / "a.html").write_bytes(b"\xe4")
    (tmp_path / "b.html").write_text("b")
    (tmp_path / "c.html").write_text("c" * (1 << 20) + "c")
    read(child, tmp_path / "b.html")
    before = pid_of(child)
    for name, said in {
        "a": "not utf-8",
        "c": "1,048,576 bytes",
        "d": "No such",
    }.items():
        with pytest.raises(DocumentUnreadable, match=rf"{name}\.html.*{said}"):
            read(child, tmp_path / f"{name}.html")
    assert read(child, tmp_path / "b.html").sections[0].text == "b"
    assert pid_of(child) == before


def test_child_killed_from_outside_costs_its_file_at_most(child, tmp_path):
    (tmp_path / "b.html").write_text("b")
    read(child, tmp_path / "b.html")
    process = child._process
    process.kill()
    process.wait()
    assert read(child, tmp_path / "b.html").sections[0].text == "b"
    assert child._process is not process


def test_reader_that_hangs_is_given_up_and_the_next_file_is_read(tmp_path, monkeypatch):
    slow = tmp_path / "slow.py"
    slow.write_text("import sys, time\ntime.sleep(60)\n")
    (tmp_path / "b.html").write_text("b")
    child = Child(file_s=0.5, memory_bytes=768 << 20, file_bytes=1 << 20)
    with monkeypatch.context() as patch:
        patch.setattr(children, "_SCRIPT", slow)
        with pytest.raises(DocumentUnreadable, match=r"longer than 0\.5 s"):
            read(child, tmp_path / "b.html")
    child._file_s = 30
    assert read(child, tmp_path / "b.html").sections[0].text == "b"
    child.close()


def test_reader_that_lies_is_refused(tmp_path, monkeypatch):
    liar = tmp_path / "liar.py"
    liar.write_text("import sys\nsys.stdout.buffer.write(b'\\xff' * 9)\n")
    (tmp_path / "b.html").write_text("b")
    monkeypatch.setattr(children, "_SCRIPT", liar)
    child = Child(file_s=30, memory_bytes=768 << 20, file_bytes=1 << 20)
    with pytest.raises(DocumentUnreadable, match="refused: it has 18,446"):
        read(child, tmp_path / "b.html")
    child.close()


BROKEN = """
import os, sys
from llama_index_mmrag.readers.frames import send, send_page
from llama_index_mmrag.readers.page import Page, Section
out = sys.stdout.buffer
def sections():
    yield Section("a")
    sys.stdout.flush()
    END
send_page(out, Page(sections(), {"title": "T"}, [], ["i"]))
"""


@pytest.mark.parametrize("end", ["os._exit(3)", "raise SystemExit", "while True: 1"])
def test_what_came_before_a_reader_broke_is_kept(tmp_path, monkeypatch, end):
    script = tmp_path / "broken.py"
    script.write_text(BROKEN.replace("END", end))
    monkeypatch.setattr(children, "_SCRIPT", script)
    child = Child(file_s=2, memory_bytes=768 << 20, file_bytes=1 << 20)
    page = read(child, tmp_path / "b.html")
    child.close()
    assert [section.text for section in page.sections] == ["a"]
    assert (page.metadata, page.labels) == ({"title": "T"}, ("i",))
    assert "b.html" in page.problems[0]
    assert page.problems[0].endswith("What comes before it in the file went in.")


def test_sections_without_end_are_refused(tmp_path, monkeypatch):
    script = tmp_path / "endless.py"
    script.write_text(BROKEN.replace("END", "yield from iter(lambda: Section(), 1)"))
    monkeypatch.setattr(children, "_SCRIPT", script)
    monkeypatch.setattr(children, "MOST_JSON", 1 << 12)
    child = Child(file_s=30, memory_bytes=768 << 20, file_bytes=1 << 20)
    page = read(child, tmp_path / "b.html")
    child.close()
    assert "is refused" in page.problems[0]


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs Linux: address space is limited"
)
def test_file_that_needs_more_memory_is_told_and_the_next_is_read(tmp_path):
    (tmp_path / "a.html").write_bytes(b"<p>a" * (8 << 20))
    (tmp_path / "b.html").write_text("b")
    child = Child(file_s=60, memory_bytes=128 << 20, file_bytes=1 << 20)
    with pytest.raises(DocumentUnreadable, match=r"a\.html"):
        child.page(tmp_path / "a.html", "web.document", How(most_bytes=64 << 20))
    assert read(child, tmp_path / "b.html").sections[0].text == "b"
    child.close()


def test_child_ends_with_whoever_started_it(tmp_path):
    (tmp_path / "b.html").write_text("b")
    code = f"""
from pathlib import Path
from llama_index_mmrag.readers.children import Child
from llama_index_mmrag.readers.how import How
child = Child(file_s=30, memory_bytes=768 << 20, file_bytes=1)
child.page(Path({str(tmp_path / "b.html")!r}), "web.document", How(most_bytes=9))
print(child._process.pid, flush=True)
import os
os._exit(0)
"""
    # By standard input: there is no file that could be run again.
    done = subprocess.run(
        [sys.executable, "-"], input=code, capture_output=True, text=True, check=True
    )
    pid = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat")
            if state.exists() and state.read_text().split()[2] == "Z":
                break
        except ProcessLookupError:
            break
        signal.sigtimedwait([], 0.05) if hasattr(signal, "sigtimedwait") else None
    else:
        pytest.fail("the child is still there")


def test_child_imports_neither_llama_index_nor_numpy(tmp_path):
    file = tmp_path / "a.html"
    file.write_text("<h1>a</h1><table><tr><td>1<td>2<tr><td>3<td>4</table>")
    message = BytesIO()
    send(message, {"module": "web.document", "file": str(file), "how": asdict(How())})
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['child.py', {str(768 << 20)!r}, '30']\n"
        f"sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
        "print(sorted(m.partition('.')[0] for m in sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=message.getvalue(),
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    loaded = set(ast.literal_eval(done.stderr.decode()))
    assert "selectolax" in loaded
    heavy = {"llama_index", "numpy", "PIL", "pydantic", "qdrant_client", "torch"}
    assert not heavy & loaded


@pytest.mark.parametrize("module", sorted({r.module for r in CHILD_READERS.values()}))
def test_no_reader_imports_what_takes_long(module):
    code = (
        f"import sys, llama_index_mmrag.readers.{module}\n"
        f"print(*{{'llama_index', 'numpy', 'PIL', 'pydantic'}} & {{*sys.modules}})"
    )
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.stdout.split() == []


def test_a_path_that_is_no_text_is_passed_over_as_python_does(
    child, tmp_path, monkeypatch
):
    monkeypatch.setattr(sys, "path", [tmp_path, *sys.path])
    (tmp_path / "a.html").write_text("<p>a")
    assert read(child, tmp_path / "a.html").sections[0].text == "a"
