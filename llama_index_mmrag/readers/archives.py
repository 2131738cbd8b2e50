"""Archives: the zips that Office files and books are, opened as a stranger's.

What they say of their sizes is checked before anything is unpacked, and kept to while
it is. XML is parsed without what it might declare or fetch.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from lxml import etree

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.files.reading import check_regular
from llama_index_mmrag.readers.how import How

_LEADS_OUT = re.compile(r"[/\\]|[a-zA-Z]:|(.*[/\\])?\.\.([/\\]|$)", re.DOTALL)
_SMALL = 8 << 20
_PICTURES = (".bmp", ".gif", ".png", ".tif", ".tiff", ".emf", ".wmf")
"""What may be blank, and then packs to a thousandth."""
_IS_ENCRYPTED = 1
_BROKEN = (
    *(BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError, ValueError),
    *(etree.XMLSyntaxError, zlib.error),
)
# Deeper than 256 elements, longer than 10 MB in one text: lxml refuses by itself.
_SAFELY = {
    "resolve_entities": False,
    "load_dtd": False,
    "no_network": True,
    "remove_comments": True,
    "remove_pis": True,
}
_ENCRYPTION = "META-INF/encryption.xml"
_XMLENC = "{http://www.w3.org/2001/04/xmlenc#}"
_OF_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")


class Archive:
    """A zip, open for reading until it is closed.

    Args:
        file: The zip.
        how: Its `most_bytes`, `unpacked_bytes` and `unpacked_ratio` are kept to.

    Raises:
        DocumentUnreadable: It is no zip, or broken, encrypted, beyond a limit, or has
            names that lead out of it or stand twice. So raises each method, of what it
            was to read.
    """

    def __init__(self, file: Path, how: How) -> None:
        self.file = file
        try:
            check_regular(file)
            n_bytes = file.stat().st_size
            self._zip = ZipFile(file)
        except _BROKEN as error:
            raise self.unreadable(f"it is no whole zip ({error})") from error
        entries = self._zip.infolist()
        self.names = tuple(entry.filename for entry in entries)
        why, advice = self._wrong_with(entries, n_bytes, how)
        if why:
            self.close()
            raise self.unreadable(why, advice)

    def _wrong_with(
        self, entries: list[ZipInfo], n_bytes: int, how: How
    ) -> tuple[str, str]:
        """Return why a zip is refused by what it says, and what to do; or "", ""."""
        unpacked = sum(entry.file_size for entry in entries)
        most = min(how.unpacked_bytes, how.unpacked_ratio * n_bytes)
        for one in entries:
            # Of each, or what cannot be packed would make room for what can.
            its = max(_SMALL, how.unpacked_ratio * one.compress_size)
            if one.file_size > its and not one.filename.endswith(_PICTURES):
                unpacked, most = one.file_size, its
        why = advice = ""
        if n_bytes > how.most_bytes:
            why = f"it has more than {how.most_bytes:,} bytes"
            advice = "Split it, or raise ReadLimits.file_bytes"
        elif unpacked > most:
            why = f"it unpacks to {unpacked:,} bytes; at most {most:,} are taken"
            advice = "Raise ReadLimits.unpacked_bytes and unpacked_ratio"
        elif wrong := [name for name in self.names if _LEADS_OUT.match(name)]:
            why = f"it holds {wrong[0][:200]!r}, a name that leads out of it"
        elif twice := [name for name, n in Counter(self.names).items() if n > 1]:
            why = f"it holds {twice[0][:200]!r} twice"
        elif any(entry.flag_bits & _IS_ENCRYPTED for entry in entries):
            why, advice = "it is encrypted", "Save it without a password"
        elif {one.compress_type for one in entries} - {ZIP_STORED, ZIP_DEFLATED}:
            why = "it is compressed in another way than such files are"
        return why, advice

    def __enter__(self) -> Archive:  # noqa: PYI034 - typing.Self needs Python 3.11
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()

    def unreadable(self, why: str, advice: str = "") -> DocumentUnreadable:
        """Return the error that says why, and what to do, without full stops."""
        advice = advice or "Save it anew or leave it out"
        return DocumentUnreadable(f"Cannot read {str(self.file)!r}: {why}. {advice}.")

    def mark(self, name: str) -> tuple[int, int]:
        """Return what tells a file in it from others, by what it says: sum and size."""
        its = self._zip.getinfo(name)
        return its.CRC, its.file_size

    def read(self, name: str) -> bytes:
        """Return what a file in it holds."""
        with self._opened(name) as stream:
            # So many and no more: what lies of its size would be unpacked whole.
            data = stream.read(self._zip.getinfo(name).file_size)
            stream.read(1)  # the end, where its checksum is compared
            return data

    def xml(self, name: str, *, doctype: bool = False) -> Any:
        """Return the root of an XML file's tree.

        Args:
            name: The file.
            doctype: Whether it may name a document type, which is not fetched. No file
                may declare entities.
        """
        self.root(name, doctype=doctype)
        with self._opened(name) as stream:
            return etree.parse(stream, etree.XMLParser(**_SAFELY)).getroot()

    def root(self, name: str, *, doctype: bool = False) -> Any:
        """Return an XML file's root as it begins, and nothing in it; else as `xml`."""
        with self._opened(name) as stream:
            _, root = next(etree.iterparse(stream, ("start",), **_SAFELY))
            declared = root.getroottree().docinfo.internalDTD
            if declared is not None and (not doctype or any(declared.iterentities())):
                raise self.unreadable(
                    f"{name!r} in it has a document type (DTD), which may declare and "
                    f"fetch anything"
                )
            return root

    def elements(self, name: str, *tags: str) -> Iterator[Any]:
        """Yield an XML file's elements of these tags, each when it was read.

        Whoever takes them clears those that it has done with.
        """
        self.root(name)
        with self._opened(name) as stream:
            for _, element in etree.iterparse(stream, ("end",), tag=tags, **_SAFELY):
                yield element

    def locked(self) -> frozenset[str]:
        """Return which files of a book are encrypted (DRM); fonts may be."""
        if _ENCRYPTION not in self.names:
            return frozenset()
        return frozenset(
            reference.get("URI", "")
            for data in self.xml(_ENCRYPTION).iter(f"{_XMLENC}EncryptedData")
            if not any(
                method.get("Algorithm") in _OF_FONTS
                for method in data.iter(f"{_XMLENC}EncryptionMethod")
            )
            for reference in data.iter(f"{_XMLENC}CipherReference")
        )

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file in it; what is wrong with it is told."""
        try:
            with self._zip.open(name) as stream:
                yield stream
        except DocumentUnreadable:
            raise
        except KeyError as error:
            raise self.unreadable(f"it holds no {name!r}") from error
        except _BROKEN as error:
            raise self.unreadable(f"{name!r} in it is broken ({error})") from error
