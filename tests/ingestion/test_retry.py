"""What cannot be read is told in each run, and tried again when something changed."""

from __future__ import annotations

import os
from email.message import EmailMessage
from io import BytesIO
from pathlib import Path

import pytest
from reportlab.pdfgen.canvas import Canvas

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.ingestion import ReadLimits, ReadSettings
from llama_index_mmrag.readers.children import Child
from llama_index_mmrag.report.results import Skipped

OLD = 1_500_000_000
BROKEN = b"%PDF-1.7 and no more than that, whatever it was meant to be."


def pdf(*words: str) -> bytes:
    file = BytesIO()
    canvas = Canvas(file)
    for said in words:
        canvas.drawString(72, 700, said)
        canvas.showPage()
    canvas.save()
    return file.getvalue()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "docs").mkdir()
    return tmp_path / "docs"


def put(folder: Path, name: str, data: bytes, *, at: int = OLD) -> None:
    (folder / name).write_bytes(data)
    os.utime(folder / name, (at, at))


@pytest.fixture
def asked(monkeypatch):
    """The files that a child was asked for."""
    files, page = [], Child.page

    def noting(self, file, *rest):
        files.append(file.name)
        return page(self, file, *rest)

    monkeypatch.setattr(Child, "page", noting)
    return files


@pytest.fixture
def run(tmp_path, folder):
    def insert(**settings):
        with MultiModalQdrantIndex.open(
            tmp_path / "store",
            embed_model=ColourEncoder(),
            settings=ReadSettings(**settings),
        ) as index:
            report = index.insert_directory(folder)
            found = index.as_retriever().retrieve("kite")
            return report, [result.node.text for result in found]

    return insert


def test_broken_file_is_told_each_time_and_opened_once(run, folder, asked):
    put(folder, "a.pdf", BROKEN)
    put(folder, "b.pdf", pdf("A red kite."))
    first, _ = run()
    (problem,) = first.problems
    assert (problem.code, problem.is_outdated) == ("document_unreadable", False)
    assert sorted(asked) == ["a.pdf", "b.pdf"]
    second, found = run()
    assert second.problems == first.problems
    assert len(asked) == 2
    assert len(found) == 1
    assert Skipped.model_validate(problem).code == "document_unreadable"


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: put(folder, "a.pdf", BROKEN, at=OLD + 1),
        lambda folder: put(folder, "a.pdf", BROKEN + b"!"),
        lambda _: {"retry": True},
        lambda _: {"limits": ReadLimits(file_s=200)},
    ],
    ids=["touched", "changed", "retry", "limits"],
)
def test_it_is_tried_again_when_something_changed(run, folder, asked, change):
    put(folder, "a.pdf", BROKEN)
    run()
    settings = change(folder) or {}
    report, _ = run(**settings)
    # Touched, its content is compared, and that is all.
    is_same = not settings and (folder / "a.pdf").read_bytes() == BROKEN
    assert len(asked) == (1 if is_same else 2)
    assert len(report.problems) == 1


def test_last_good_content_stays_and_is_told_to_be_outdated(run, folder, asked):
    put(folder, "a.pdf", pdf("A red kite."))
    run()
    put(folder, "a.pdf", BROKEN)
    for _ in range(2):
        report, found = run()
        assert [problem.is_outdated for problem in report.problems] == [True]
        assert len(found) == 1
    assert len(asked) == 2
    put(folder, "a.pdf", pdf("A red kite.", "A blue kite."), at=OLD + 9)
    report, found = run()
    assert (report.problems, found) == ([], ["A red kite.\n\nA blue kite."])


def test_parts_that_are_left_out_are_told_again_and_the_file_not_opened(
    run, folder, asked
):
    put(folder, "a.pdf", pdf("One kite.", "Two kites.", "Three kites."))
    limits = ReadLimits(pages=2)
    first, found = run(limits=limits)
    assert found == ["One kite.\n\nTwo kites."]
    assert [problem.is_part for problem in first.problems] == [True]
    second, _ = run(limits=limits)
    assert second.problems == first.problems
    assert (second.n_unchanged, len(asked)) == (1, 1)
    third, found = run()
    assert (third.problems, len(asked)) == ([], 2)
    assert sorted(found) == ["One kite.\n\nTwo kites.", "Three kites."]


def test_reader_that_dies_is_no_fault_of_the_file(run, folder, monkeypatch, tmp_path):
    put(folder, "a.pdf", pdf("A red kite."))
    dying = tmp_path / "dying.py"
    dying.write_text("raise SystemExit(3)")
    with monkeypatch.context() as patch:
        patch.setattr("llama_index_mmrag.readers.children._SCRIPT", dying)
        report, _ = run()
    assert "ended with 3" in report.problems[0].reason
    assert run()[0].problems == []


DYING = """
import os, sys
from llama_index_mmrag.readers.frames import send_page
from llama_index_mmrag.readers.page import Page, Section
def sections():
    yield Section("A kite.")
    sys.stdout.flush()
    os._exit(9)
send_page(sys.stdout.buffer, Page(sections()))
"""


def test_part_that_a_dying_reader_left_is_not_taken_for_the_file(
    run, folder, monkeypatch, tmp_path
):
    put(folder, "a.pdf", pdf("A red kite."))
    dying = tmp_path / "dying.py"
    dying.write_text(DYING)
    with monkeypatch.context() as patch:
        patch.setattr("llama_index_mmrag.readers.children._SCRIPT", dying)
        report, found = run()
    assert "ended with 9" in report.problems[0].reason
    assert found == ["A kite."]
    report, found = run()
    assert (report.problems, found) == ([], ["A red kite."])


def test_mail_whose_reader_dies_keeps_its_attachments(
    run, folder, monkeypatch, tmp_path
):
    mail = EmailMessage()
    mail["Subject"] = "Kites"
    mail.set_content("A red kite.")
    mail.add_attachment("A blue kite.", filename="b.txt")
    put(folder, "m.eml", mail.as_bytes())
    _, found = run()
    assert len(found) == 2
    put(folder, "m.eml", mail.as_bytes() + b"\n")
    dying = tmp_path / "dying.py"
    dying.write_text(DYING)
    with monkeypatch.context() as patch:
        patch.setattr("llama_index_mmrag.readers.children._SCRIPT", dying)
        _, found = run()
    assert sum("blue" in text for text in found) == 1


def test_what_is_told_names_the_file_where_it_is_now(tmp_path, folder):
    put(folder, "a.pdf", BROKEN)
    encoder, moved = ColourEncoder(), tmp_path / "elsewhere" / "docs"
    with MultiModalQdrantIndex.open(tmp_path / "store", embed_model=encoder) as index:
        index.insert_directory(folder)
        moved.parent.mkdir()
        folder.rename(moved)
        (problem,) = index.insert_directory(moved).problems
    assert problem.source == (moved / "a.pdf").as_posix()
    assert str(moved) in problem.reason
    assert str(folder) not in problem.reason
