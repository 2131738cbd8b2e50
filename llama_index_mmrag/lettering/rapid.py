"""RapidOCR in a process of its own, with the weights of its wheel."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import weakref
from base64 import urlsafe_b64encode
from importlib.metadata import PackagePath, files, version
from pathlib import Path
from threading import RLock
from typing import Any, Literal

from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.checks.packages import found
from llama_index_mmrag.errors import (
    InvalidSetting,
    MissingExtra,
    ReaderUnusable,
)
from llama_index_mmrag.files.child_process import ChildProcess
from llama_index_mmrag.lettering.lines import line_of
from llama_index_mmrag.lettering.pictures import not_read, prepared
from llama_index_mmrag.lettering.reader import TIMEOUT_S, timeout
from llama_index_mmrag.provenance import Line

MULTILINGUAL = "multilingual"
"""What its packaged weights read: Chinese, Japanese and languages in Latin script."""

N_THREADS = 1
"""Of the engine. With two a picture took 1.7 times the CPU on two busy cores, and was
read no sooner."""

BEGIN_S = 300.0
"""Longest time to load packages and weights: a hundred times what it takes."""

_SCRIPT = Path(__file__).with_name("rapid_child.py")
_REINSTALL = 'Reinstall it: pip install --force-reinstall --no-deps "rapidocr>=3.10,<4"'


class RapidReader:
    """RapidOCR as a reader of pictures; see `PictureReader`.

    All readers of a process share one engine, a child process with one thread, which
    is begun by the first picture and ended when the last reader is closed or gone.
    Nothing is downloaded: the child is refused the network.

    Args:
        language: `MULTILINGUAL`, or None for it: the wheel has no other weights.
        of_pages: As for `reader_of`.

    Raises:
        MissingExtra: rapidocr or onnxruntime is not installed.
        InvalidSetting: Another language.
    """

    name: Literal["rapidocr"] = "rapidocr"
    language = MULTILINGUAL

    @checked
    def __init__(self, language: str | None = None, *, of_pages: bool = False) -> None:
        self._of_pages = of_pages
        if language not in (None, MULTILINGUAL):
            raise InvalidSetting(
                f"language is {language!r}; expected {MULTILINGUAL!r}: rapidocr reads "
                "Chinese, Japanese and languages in Latin script with the weights that "
                "come with it. Leave the language out, or read with 'tesseract'."
            )
        for package in ("rapidocr", "onnxruntime"):
            if found(package) is None:
                needed_for = "Reading pictures with rapidocr"
                raise MissingExtra.of(package, extra="ocr", needed_for=needed_for)
        models = ", ".join(sorted(file.stem for file in _weights()))
        self.version = f"{version('rapidocr')} ({models})"
        weakref.finalize(self, _end_if_forgotten)

    @checked
    def read(
        self, picture: str | Path | bytes, *, timeout_s: float = TIMEOUT_S
    ) -> list[Line]:
        """Return the lines of a picture; see `PictureReader.read`."""
        within_s = timeout(timeout_s)
        laid, size = prepared(picture)
        # On pages, what tells turned lines costs words: .88 to .96 were right with it,
        # .99 without.
        header = {"width": laid.width, "height": laid.height}
        header["turns"] = not self._of_pages
        said = json.dumps(header).encode() + b"\n" + laid.tobytes()
        try:
            with _LOCK:
                _readers.add(self)
                read = _answer(_begun(), within_s, said)
        except _Failed as error:
            raise not_read(picture, self.name, f"{error}") from error
        if isinstance(read, dict):
            raise not_read(picture, self.name, f"says {read['error']!r}")
        return [
            line
            for text, corners, confidence in read
            if (line := line_of(text, corners, size, confidence))
        ]

    def close(self) -> None:
        """End the engine, unless another reader of this process has it in use."""
        with _LOCK:
            _readers.discard(self)
            _end_if_unused()


_LOCK = RLock()  # a reader may be found to be gone by the thread that holds it
_readers: weakref.WeakSet[RapidReader] = weakref.WeakSet()
_engine: list[ChildProcess] = []


class _Failed(Exception):
    """The engine's process died, or was ended at its deadline; it says which."""


def _answer(child: ChildProcess, within_s: float, to: bytes = b"") -> Any:
    """Return the engine's next answer, a line of JSON, after sending it `to`.

    Raises:
        _Failed: There is none; the process is ended.
    """
    with child.within(within_s) as late:
        try:
            child.asked.write(to)
            child.asked.flush()
            line = child.answers.readline()
        except OSError:  # it is gone, and its pipe with it
            line = b""
    if late.is_set() or not line.endswith(b"\n"):
        child.end(at_once=True)
        raise _Failed(
            f"took longer than {within_s:g} s and was ended"
            if late.is_set()
            else f"died with the exit status {child.returncode}"
        )
    return json.loads(line)


def _begun() -> ChildProcess:
    """Return the one engine of this process, begun if it is not running."""
    if _engine and _engine[0].poll() is None:
        return _engine[0]
    _end()
    for file in _weights():
        _check(file)
    try:
        child = ChildProcess(_SCRIPT, str(N_THREADS))
        said = _answer(child, BEGIN_S)
        if "error" in said:
            child.end(at_once=True)
    except (_Failed, OSError) as error:  # OSError: there is no process to be had
        said = {"error": f"its process {error}"}
    if "error" in said:
        raise ReaderUnusable(
            f"rapidocr cannot be begun: {said['error']}. Expected its weights and "
            f"packages as pip installed them. {_REINSTALL}"
        )
    _engine.append(child)
    return child


def _end_if_unused() -> None:
    with _LOCK:
        # Those that are gone are not in the list, but may still be counted.
        if not list(_readers):
            _end()


def _end_if_forgotten() -> None:
    """End the engine that a reader which is gone was the last to use.

    Whichever thread finds that it is gone does not wait for a picture that another one
    has read: whoever reads it has the engine in use.
    """
    if _LOCK.acquire(blocking=False):
        try:
            _end_if_unused()
        finally:
            _LOCK.release()


def _end() -> None:
    while _engine:
        _engine.pop().end(at_once=True)


# An engine without anybody to send a picture ends by itself, but for one that hangs.
atexit.register(_end)


def _forget() -> None:
    """Leave the engine to the process that was forked: its answers are not for us."""
    global _LOCK  # noqa: PLW0603
    _LOCK = RLock()
    _engine.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _weights() -> list[PackagePath]:
    """Return what the wheel says that it brings: not what was downloaded since."""
    return [file for file in files("rapidocr") or [] if file.suffix == ".onnx"]


def _check(file: PackagePath) -> None:
    try:
        with Path(str(file.locate())).open("rb") as model:
            digest = hashlib.sha256(model.read()).digest()
    except OSError as error:
        raise ReaderUnusable(
            f"Cannot read rapidocr's weights {file.name!r}: {error.strerror}. "
            f"{_REINSTALL}"
        ) from error
    found = urlsafe_b64encode(digest).rstrip(b"=").decode()
    if file.hash is not None and file.hash.value != found:
        raise ReaderUnusable(
            f"rapidocr's weights {file.name!r} have the SHA-256 {found}, expected "
            f"{file.hash.value}: they were damaged or replaced. {_REINSTALL}"
        )
