"""Children: files read in a process of its own, within time and memory.

A child reads many files, and another takes its place after 500, when it has grown, and
when it died.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import BinaryIO

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.files.child_process import GRACE_S, ChildProcess
from llama_index_mmrag.readers.cpu import ENDED
from llama_index_mmrag.readers.frames import (
    MOST_JSON,
    end_in,
    head_in,
    section_in,
    send,
    sized,
)
from llama_index_mmrag.readers.how import How
from llama_index_mmrag.readers.page import Page, Section

_SCRIPT = Path(__file__).with_name("child.py")

MOST_FILES = 500
"""So many are read by one child: whatever a library leaks goes with it."""


class Child:
    """A reader in another process, started when there is something to read.

    Args:
        file_s: Seconds after which a file is given up.
        memory_bytes: Most bytes of address space, where the system can refuse more; a
            child that had half of it in memory reads no other file.
        file_bytes: Most bytes of the pictures that a file holds.
    """

    def __init__(self, *, file_s: float, memory_bytes: int, file_bytes: int) -> None:
        self._file_s = file_s
        self._memory_bytes = memory_bytes
        self._file_bytes = file_bytes
        self._process: ChildProcess | None = None
        self._n_files = 0

    def page(self, file: Path, module: str, how: How) -> Page:
        """Return a file's page, or what came of it before it could not be read.

        Args:
            file: The file.
            module: What reads it, see `ChildReader`.
            how: What it keeps to.

        Raises:
            DocumentUnreadable: It cannot be read, or not within the limits, or the
                child died of it, before its first section came.
        """
        page = Page(())
        sections: list[Section] = []
        try:
            for part in self._parts(file, module, how):
                if isinstance(part, Section):
                    sections.append(part)
                else:
                    page = part
        except DocumentUnreadable as error:
            if not sections:
                raise
            said = f"{error} What comes before it in the file went in."
            is_its = not isinstance(error.__cause__, OSError)
            page = replace(
                page, problems=(said,), broke="file" if is_its else "process"
            )
        return replace(page, sections=tuple(sections))

    def _parts(self, file: Path, module: str, how: How) -> Iterator[Section | Page]:
        """Yield a page without sections, each section, and the page with problems."""
        process = self._running()
        wanted = {"module": module, "file": str(file), "how": asdict(how)}
        is_late = None
        try:
            with process.within(self._file_s) as is_late:
                send(process.asked, wanted)
                yield from self._answered(process.answers, file)
        except DocumentUnreadable:
            raise
        except (EOFError, OSError, ValueError) as error:
            self.close(at_once=True)
            if is_late and is_late.is_set():
                why = f"it took longer than {self._file_s:g} s and was given up"
                advice = "raise it with ReadLimits(file_s=...)"
            elif isinstance(error, ValueError):
                why, advice = f"what its reader says is refused: {error}", "replace it"
            elif process.returncode == ENDED:
                why = (
                    "it takes far more time than others of its size: elements that "
                    "stand thousands deep in each other or have as many attributes, "
                    "or a page that draws without end"
                )
                advice = "correct it, or raise file_s and page_s of ReadLimits"
            else:
                why = f"its reader ended with {process.returncode}"
                error = ChildProcessError(why)  # perhaps no matter of the file's
                advice = (
                    f"it may need more than the {self._memory_bytes >> 20} MB of "
                    f"ReadLimits.memory_bytes"
                )
            raise DocumentUnreadable(
                f"Cannot read {str(file)!r}: {why}. Leave the file out, or {advice}."
            ) from error
        finally:
            if is_late and is_late.is_set():
                self.close(at_once=True)

    def _answered(self, stream: BinaryIO, file: Path) -> Iterator[Section | Page]:
        page, left, n_words = Page(()), self._file_bytes, MOST_JSON
        while True:
            said, n_bytes = sized(stream, n_words)
            n_words -= n_bytes
            if not isinstance(said, dict):
                raise ValueError(f"expected a page, got {type(said).__name__}")  # noqa: TRY004
            if "unreadable" in said:
                raise DocumentUnreadable(str(said["unreadable"]))
            if "failed" in said:
                self.close(at_once=True)  # nobody knows what it has left behind
                raise DocumentUnreadable(
                    f"Cannot read {str(file)!r}: {said['failed']}. Replace it or leave "
                    f"it out."
                )
            if "problems" in said:
                yield end_in(page, said, stream, left)
                break
            if "metadata" in said:
                page = head_in(said)
                yield page
                continue
            section = section_in(said, stream, left)
            left -= sum(said["blobs"])
            yield section
        taken = said.get("n_bytes")
        if type(taken) is not int or taken > self._memory_bytes // 2:
            self.close()

    def _running(self) -> ChildProcess:
        """Return a child that reads: the one there is, or a new one."""
        process = self._process
        if process is None or process.poll() is not None or self._n_files >= MOST_FILES:
            self.close()
            # One whose parent has died ends some time after the deadline.
            its = (str(self._memory_bytes), str(self._file_s + GRACE_S))
            try:
                process = ChildProcess(_SCRIPT, *its)
            except OSError as error:
                raise DocumentUnreadable(
                    f"Cannot start a process to read files in: {error}. Check memory "
                    f"and how many processes there may be."
                ) from error
            self._process, self._n_files = process, 0
        self._n_files += 1
        return process

    def close(self, *, at_once: bool = False) -> None:
        """End the process; see `ChildProcess.end`."""
        process, self._process = self._process, None
        if process is not None:
            process.end(at_once=at_once)
