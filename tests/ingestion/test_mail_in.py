"""Mail in a folder: its attachments are documents that come, change and go with it."""

from __future__ import annotations

import os
from email.message import EmailMessage

import pytest

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.errors import MissingExtra
from llama_index_mmrag.ingestion import attachments, read_file
from llama_index_mmrag.readers import kinds
from tests.support.indexes import CountingEncoder


def mail(
    text: str = "A red kite.", subject: str = "Kites", **files: str | bytes
) -> EmailMessage:
    """Make a mail with files, whose names have "_" for "."."""
    made = EmailMessage()
    made["subject"], made["from"] = subject, "Ada <a@x.org>"
    made.set_content(text)
    for name, said in files.items():
        data = said if isinstance(said, bytes) else said.encode()
        file = name.replace("_", ".")
        made.add_attachment(data, "application", "octet-stream", filename=file)
    return made


@pytest.fixture
def encoder():
    return CountingEncoder()


@pytest.fixture
def opened(tmp_path_factory, encoder):
    place = tmp_path_factory.mktemp("store")
    with MultiModalQdrantIndex.open(place, embed_model=encoder) as index:
        yield index


def documents(index) -> dict[str, list[str]]:
    found = {}
    for one in (channel.collection for channel in index.channels):
        for node in one.nodes(one.ids_of_documents(sorted(one.document_ids()))):
            found.setdefault(node.ref_doc_id.partition("/")[2], []).append(node.text)
    return dict(sorted(found.items()))


def test_attachments_are_read_by_their_kinds_two_mails_deep(write, picture):
    second = mail("Second.", "Hills", c_txt="C")
    second.add_attachment(mail("Third.", d_txt="D"), filename="deep.eml")
    first = mail(
        a_txt="A blue boat.",
        b_html="<h1>B</h1><img src=../../a.png>",
        p_png=picture(side=40),
        z_zip=b"PK\x03\x04",
        x_txt=b"\xff",
    )
    first.add_attachment(second, filename="i.eml")
    file = write("a.eml", bytes(first))
    write("a.png", picture(side=40))
    record = read_file(file)
    root = file.parent.name
    said = {}
    for node in record.nodes:
        said.setdefault(node.ref_doc_id.removeprefix(f"{root}/"), []).append(node)
    assert [*said] == [
        "a.eml", "a.eml#a.txt", "a.eml#b.html", "a.eml#p.png", "a.eml#i.eml",
        "a.eml#i.eml#c.txt", "a.eml#i.eml#deep.eml",
    ]  # fmt: skip
    assert record.attached == tuple(f"{root}/{each}" for each in [*said][1:])
    assert [node.text for node in said["a.eml"]] == ["Kites\n\nA red kite."]
    ours, text, image = (said[f"a.eml{end}"][0] for end in ("", "#a.txt", "#p.png"))
    assert ours.metadata["kind"] == "mail"
    assert text.metadata["file_name"] == "a.eml#a.txt"
    assert text.metadata["file_path"] == f"{file}#a.txt"
    assert text.metadata["subject"] == "Kites"
    assert said["a.eml#i.eml#c.txt"][0].metadata["subject"] == "Hills"
    assert image.image_path is None
    assert image.image
    told = {p.source.removeprefix(str(file)): p.reason for p in record.problems}
    assert "'../../a.png' was not found" in told["#b.html"]
    assert f"{str(file) + '#x.txt'!r} as utf-8" in told["#x.txt"]
    assert "'z.zip'. Unpack them" in told[""]
    assert "'d.txt'" in told["#i.eml#deep.eml"]


def test_attachments_come_change_and_go_with_their_mail(write, opened, tmp_path):
    file = write("a.eml", bytes(mail(a_txt="A blue boat.", b_txt="A white swan.")))
    write("b.txt", "A yellow door.")
    report = opened.insert_directory(tmp_path)
    assert (report.n_documents, report.n_added) == (4, 4)
    os.utime(file, (1, 1))
    opened.insert_directory(tmp_path)
    assert opened.insert_directory(tmp_path).n_unchanged == 4
    # One changes, one goes, and one comes; nobody asked what is gone.
    file.write_bytes(
        bytes(mail("A red kite!", a_txt="A blue boat.", c_txt="A black cat."))
    )
    report = opened.insert_directory(tmp_path)
    assert (report.n_added, report.n_removed, report.n_unchanged) == (2, 2, 2)
    assert documents(opened) == {
        "a.eml": ["Kites\n\nA red kite!"],
        "a.eml#a.txt": ["A blue boat."],
        "a.eml#c.txt": ["A black cat."],
        "b.txt": ["A yellow door."],
    }
    assert opened.refresh(tmp_path).n_removed == 0
    assert opened.refresh(file).n_removed == 0
    file.unlink()
    assert opened.refresh(tmp_path).n_removed == 3
    assert [*documents(opened)] == ["b.txt"]


def test_mail_that_is_as_it_was_is_not_opened(write, opened, tmp_path):
    file = write("a.eml", bytes(mail(a_txt="A blue boat.")))
    os.utime(file, (1, 1))
    opened.insert_directory(tmp_path)
    file.write_bytes(b"?" * file.stat().st_size)
    os.utime(file, (1, 1))
    report = opened.insert_directory(tmp_path)
    assert (report.n_documents, report.n_unchanged, report.problems) == (2, 2, [])
    assert opened.delete_ref_doc(f"{tmp_path.name}/a.eml#a.txt") == 1
    file.write_bytes(bytes(mail(a_txt="A blue boat.")))
    os.utime(file, (1, 1))
    assert opened.insert_directory(tmp_path).n_added == 1  # it was not as it was left


def test_deleting_a_mail_takes_its_attachments(write, opened, tmp_path):
    made = mail(a_txt="A red fox.")
    made.add_attachment(mail(c_txt="A blue boat."), filename="i.eml")
    file = write("a.eml", bytes(made))
    opened.insert_directory(tmp_path)
    assert opened.delete_ref_doc(f"{tmp_path.name}/a.eml#i.eml") == 2
    assert opened.delete_ref_doc(str(file)) == 2
    assert documents(opened) == {}


def test_what_cannot_be_read_any_more_stays(write, opened, tmp_path):
    file = write("a.eml", bytes(mail(a_txt="A blue boat.", b_txt="A white swan.")))
    opened.insert_directory(tmp_path)
    file.write_bytes(bytes(mail(a_txt="A blue boat.", b_txt=b"\xff")))
    (problem,) = opened.refresh(tmp_path).problems
    assert problem.source == f"{file}#b.txt"
    assert problem.is_part
    assert [*documents(opened)] == ["a.eml", "a.eml#a.txt", "a.eml#b.txt"]
    parts = b'Content-Type: multipart/mixed; boundary="%d"\n\n--%d\n'
    file.write_bytes(b"".join(parts % (n, n) for n in range(5_000)))
    (problem,) = opened.refresh(tmp_path).problems
    assert "too deep" in problem.reason
    assert [*documents(opened)] == ["a.eml", "a.eml#a.txt", "a.eml#b.txt"]


def test_what_needs_a_package_that_is_gone_stays(write, opened, tmp_path, monkeypatch):
    def made(text: str) -> bytes:
        one = mail(text, a_html="<p>A blue boat.</p>")
        one.add_attachment(mail("In it.", c_txt="A black cat."), filename="i.eml")
        return bytes(one)

    file = write("a.txt.eml", made("A red kite."))
    opened.insert_directory(tmp_path)
    before = [*documents(opened)]
    assert len(before) == 4
    file.write_bytes(made("A red kite!"))
    # Of an attachment alone: the mail itself is read.
    as_found, n_levels = kinds.ChildReader.missing, attachments.MOST_LEVELS
    gone = MissingExtra.of("x", extra="documents", needed_for="Reading it")
    monkeypatch.setattr(
        kinds.ChildReader,
        "missing",
        lambda row, suffix: gone if suffix == ".html" else as_found(row, suffix),
    )
    monkeypatch.setattr(attachments, "MOST_LEVELS", n_levels - 1)
    assert len(opened.insert_directory(tmp_path).problems) == 2
    assert [*documents(opened)] == before
    monkeypatch.undo()
    report = opened.insert_directory(tmp_path)
    assert (report.problems, report.n_added, report.n_removed) == ([], 0, 0)


def test_what_came_in_a_mail_that_cannot_be_read_stays(write, opened, tmp_path):
    made = mail("Outer.")
    made.add_attachment(mail("In it.", c_txt="A black cat."), filename="i.eml")
    file = write("a.eml", bytes(made))
    opened.insert_directory(tmp_path)
    before = [*documents(opened)]
    assert before[2:] == ["a.eml#i.eml#c.txt"]
    file.write_bytes(bytes(mail("Outer.", i_eml=b"%PDF-1.7")))
    (problem,) = opened.insert_directory(tmp_path).problems
    assert problem.source == f"{file}#i.eml"
    assert [*documents(opened)] == before


def test_mail_that_moves_is_not_encoded_again(write, opened, tmp_path, encoder):
    file = write("a.eml", bytes(mail(a_txt="A blue boat.")))
    opened.insert_directory(tmp_path)
    (tmp_path / "in").mkdir()
    file.rename(tmp_path / "in/b.eml")
    assert encoder.taken() == (2, 0)
    report = opened.refresh(tmp_path)
    assert (report.n_added, report.n_removed, encoder.taken()) == (2, 2, (0, 0))
    assert [*documents(opened)] == ["in/b.eml", "in/b.eml#a.txt"]
