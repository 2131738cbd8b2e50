"""Tesseract, the program: begun for each picture, and ended by its deadline."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from io import BytesIO
from pathlib import Path
from statistics import fmean
from typing import Literal

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import ReaderUnusable
from llama_index_mmrag.lettering.lines import line_of
from llama_index_mmrag.lettering.pictures import not_read, prepared
from llama_index_mmrag.lettering.reader import TIMEOUT_S, timeout
from llama_index_mmrag.provenance import Line

SPARSE = "11"
"""`--psm`: find as much text as possible, in no order: a figure is no page."""

IN_ORDER = "3"
"""`--psm`: a page's columns, paragraphs and lines, in the order in which it is read."""

_ASKED_S = 30.0
_INSTALL = "Install it, on Debian: apt install tesseract-ocr; or read with 'rapidocr'."


class TesseractReader:
    """Tesseract as a reader of pictures; see `PictureReader`.

    It needs the program on the PATH. A line's confidence is the mean of its words'.

    Args:
        language: Its own names, such as "eng" or "deu+fra"; None is English.
        of_pages: As for `reader_of`.

    Raises:
        ReaderUnusable: The program, or a language, is not installed.
    """

    name: Literal["tesseract"] = "tesseract"

    @checked
    def __init__(self, language: str | None = None, *, of_pages: bool = False) -> None:
        self._of_pages = of_pages
        self.language = "eng" if language is None else language
        told = _asked("--version")
        found = re.search(r"tesseract v?(\S+)", told)
        listed = _asked("--list-langs")
        folder = re.search(r'"(.+)"', listed)
        if not found or not folder:
            raise ReaderUnusable(
                f"The program 'tesseract' says {told[:80]!r} and {listed[:80]!r}; "
                f"expected its version and languages. {_INSTALL}"
            )
        known = [name for name in listed.split("\n")[1:] if name]
        models = []
        for name in self.language.split("+"):
            if name not in known:
                raise ReaderUnusable(
                    f"tesseract has no language {name!r}; expected some of "
                    f"{', '.join(known)}, joined by '+'. Install it, on "
                    f"Debian: apt install tesseract-ocr-{name}."
                )
            try:
                model = Path(folder[1], f"{name}.traineddata").read_bytes()
            except OSError as error:
                raise ReaderUnusable(
                    f"Cannot read tesseract's model of {name!r}: {error}. {_INSTALL}"
                ) from error
            models.append(f"{name} {hashlib.sha256(model).hexdigest()[:8]}")
        self.version = f"{found[1]} ({', '.join(models)})"

    @checked
    def read(
        self, picture: str | Path | bytes, *, timeout_s: float = TIMEOUT_S
    ) -> list[Line]:
        """Return the lines of a picture; see `PictureReader.read`."""
        within_s = timeout(timeout_s)
        laid, size = prepared(picture, of_page=self._of_pages)
        file = BytesIO()
        # In colours a page takes it a fourth longer, and it reads no more.
        (laid.convert("L") if self._of_pages else laid).save(file, format="PPM")
        order = IN_ORDER if self._of_pages else SPARSE
        command = ["-", "-", "--psm", order, "-l", self.language, "tsv"]
        try:
            done = _run(command, within_s, file.getvalue())
        except subprocess.TimeoutExpired as error:
            late = f"took longer than {within_s:g} s and was ended"
            raise not_read(picture, self.name, late) from error
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace")[-500:]
            raise not_read(picture, self.name, f"says {said!r}")
        return _lines(done.stdout.decode(errors="replace"), size)

    def close(self) -> None:
        """Do nothing: no process outlives its picture."""


def _run(
    arguments: list[str], within_s: float, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(  # noqa: S603
            ["tesseract", *arguments],  # noqa: S607 - wherever it is installed
            input=given,
            capture_output=True,
            check=False,
            timeout=within_s,
            # Else four threads, which spend more than they gain on pictures.
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},
        )
    except OSError as error:
        raise ReaderUnusable(
            f"Cannot run the program 'tesseract': {error.strerror}. Expected it on the "
            f"PATH. {_INSTALL}"
        ) from error


def _asked(about: str) -> str:
    try:
        done = _run([about], _ASKED_S)
    except subprocess.TimeoutExpired as error:
        raise ReaderUnusable(
            f"The program 'tesseract' does not answer {about} within {_ASKED_S:g} s. "
            f"Expected its answer. {_INSTALL}"
        ) from error
    # Before 4.1 it said so on the other one.
    return (done.stdout + done.stderr).decode(errors="replace")


def _lines(table: str, size: tuple[int, int]) -> list[Line]:
    """Return the lines of Tesseract's table, whose rows of level 5 are words."""
    words: dict[tuple[str, ...], list[list[str]]] = {}
    for row in table.splitlines()[1:]:
        cells = row.split("\t", 11)
        if cells[0] == "5" and cells[11].strip():
            words.setdefault(tuple(cells[1:5]), []).append(cells)
    lines = []
    for of_line in words.values():
        corners = [
            corner
            for left, top, width, height in ([int(n) for n in c[6:10]] for c in of_line)
            for corner in ((left, top), (left + width, top + height))
        ]
        confidence = fmean(float(cells[10]) for cells in of_line) / 100
        text = " ".join(cells[11].strip() for cells in of_line)
        if line := line_of(text, corners, size, confidence):
            lines.append(line)
    return lines
