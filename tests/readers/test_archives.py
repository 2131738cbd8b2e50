"""Zips of strangers: refused before they are unpacked, and bounded while they are."""

from __future__ import annotations

import random
import struct
import tracemalloc
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZipFile, ZipInfo

import pytest

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.readers.archives import Archive
from llama_index_mmrag.readers.how import How

LAUGHS = b"".join(b'<!ENTITY b%d "%s">' % (i + 1, b"&b%d;" % i * 10) for i in range(9))


@pytest.fixture
def zipped(tmp_path):
    def zip_of(*files, method=ZIP_DEFLATED):
        with ZipFile(tmp_path / "a.zip", "w", method) as made:
            for name, data in files:
                made.writestr(ZipInfo(name), data, method)
        return tmp_path / "a.zip"

    return zip_of


def lying(file, size):
    """Make a zip's only file say that it is of another size."""
    data = bytearray(file.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\1\2") + 24, size)
    file.write_bytes(data)
    return file


def test_what_it_holds_is_read(zipped):
    with Archive(zipped(("a/b.xml", b"<a>1<b/></a>"), ("c", b"")), How()) as archive:
        assert archive.names == ("a/b.xml", "c")
        assert archive.read("c") == b""
        assert archive.xml("a/b.xml").text == "1"
        assert [one.tag for one in archive.elements("a/b.xml", "b", "a")] == ["b", "a"]
        assert archive.mark("c") == (0, 0)
        assert archive.mark("a/b.xml")[1] == 12
        with pytest.raises(DocumentUnreadable, match="holds no 'd'"):
            archive.read("d")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["../a"], "leads out of it"), (["a/../../b"], "leads out of it"),
        (["/a"], "leads out of it"), (["\\a"], "leads out of it"),
        (["C:/a"], "leads out of it"), (["a\\..\\b"], "leads out of it"),
        (["a", "b", "a"], "'a' twice"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_lead_out_or_stand_twice_are_refused(names, told, zipped):
    with pytest.raises(DocumentUnreadable, match=told):
        Archive(zipped(*((name, b"x") for name in names)), How())


def test_what_cannot_be_packed_makes_no_room_for_what_can(zipped):
    noise = ("noise.bin", random.Random(0).randbytes(100_000))
    file = zipped(noise, ("a.xml", bytes(9 << 20)))
    with pytest.raises(DocumentUnreadable, match="unpacks to 9,437,184 bytes"):
        Archive(file, How())
    Archive(zipped(noise, ("blank.bmp", bytes(9 << 20))), How()).close()


def test_what_unpacks_to_more_than_the_limits_is_refused_unopened(zipped):
    file = zipped(("a", bytes(1 << 20)))
    with pytest.raises(DocumentUnreadable, match="unpacks to 1,048,576 bytes"):
        Archive(file, How())
    with pytest.raises(DocumentUnreadable, match="at most 9 are taken"):
        Archive(file, How(unpacked_bytes=9, unpacked_ratio=5000))
    with pytest.raises(DocumentUnreadable, match="more than 9 bytes"):
        Archive(file, How(most_bytes=9, unpacked_ratio=5000))
    assert len(Archive(file, How(unpacked_ratio=5000)).read("a")) == 1 << 20
    with pytest.raises(DocumentUnreadable, match="another way"):
        Archive(zipped(("a", b"x"), method=ZIP_BZIP2), How())


@pytest.mark.parametrize("size", [9, 2000])
def test_a_size_that_lies_is_kept_to(size, zipped):
    file = lying(zipped(("a.xml", b"<a>" + bytes(100 << 20))), size)
    tracemalloc.start()
    with Archive(file, How()) as archive:
        for read in (archive.read, archive.xml, archive.root):
            with pytest.raises(DocumentUnreadable, match="'a.xml' in it is broken"):
                read("a.xml")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 << 20


@pytest.mark.parametrize(
    "head",
    [
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>',
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><a>&b;</a>',
        b"<!DOCTYPE a [" + LAUGHS + b']><a x="&b9;"/>',
        b"<!DOCTYPE a [" + LAUGHS + b"]><a>&b9;</a>",
        b"<a>&b;</a>", b"<a" * 9, b"", b"<a>" * 300 + b"</a>" * 300,
    ],
)  # fmt: skip
def test_xml_declares_and_fetches_nothing(head, zipped):
    with Archive(zipped(("a.xml", head)), How()) as archive:
        for doctype in (False, "SYSTEM" in str(head) and "ENTITY" not in str(head)):
            if not doctype:
                with pytest.raises(DocumentUnreadable, match=r"broken|document type"):
                    archive.xml("a.xml")
            else:
                assert archive.xml("a.xml", doctype=True).tag == "a"


@pytest.mark.parametrize(
    "data", [b"", b"PK\3\4", b"<html>", b"PK\5\6" + b"\xff" * 18, None]
)
def test_what_is_no_zip_is_told(data, zipped, tmp_path):
    file = zipped(("a", b"x" * 99))
    file.write_bytes(file.read_bytes()[:60] if data is None else data)
    with pytest.raises(DocumentUnreadable, match=r"no whole zip.*[Ss]ave it anew"):
        Archive(file, How())
    with pytest.raises(DocumentUnreadable, match="no whole zip"):
        Archive(tmp_path, How())


def test_what_is_encrypted_is_told(zipped):
    file = zipped(("a", b"x"))
    data = bytearray(file.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    file.write_bytes(data)
    with pytest.raises(DocumentUnreadable, match="encrypted. Save it without"):
        Archive(file, How())


def test_a_book_says_what_is_locked(zipped):
    one = (
        '<enc:EncryptedData xmlns:enc="http://www.w3.org/2001/04/xmlenc#">'
        '<enc:EncryptionMethod Algorithm="{}"/><enc:CipherData><enc:CipherReference '
        'URI="{}"/></enc:CipherData></enc:EncryptedData>'
    )
    font = one.format("http://www.idpf.org/2008/embedding", "f.otf")
    chapter = one.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc", "c.xhtml")
    said = f"<encryption>{font}{chapter}</encryption>".encode()
    with Archive(zipped(("META-INF/encryption.xml", said)), How()) as archive:
        assert archive.locked() == {"c.xhtml"}
    assert not Archive(zipped(("a", b"x")), How()).locked()
