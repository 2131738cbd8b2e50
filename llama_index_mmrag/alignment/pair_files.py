"""Files of pictures and the texts that belong to them, in JSON Lines, each checked.

One line, one picture: `{"image": "photos/cat.jpg", "text": "A cat asleep."}`. The path
is relative to the file's folder or absolute; `text` may be a list of texts; `group`
names what several pictures show together, so that no split puts it on both sides.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from llama_index_mmrag.alignment.pairs import Groups
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.errors import ImageUnreadable, MmragError
from llama_index_mmrag.nodes.images import check_whole, image_bytes


class PairsUnreadable(MmragError, ValueError):
    """A file of pairs is missing, not permitted, or holds no pair that can be used."""


@dataclass(frozen=True, slots=True)
class PictureText:
    """A picture and a text that belongs to it."""

    image: str
    """Absolute path of the picture, links resolved."""
    text: str
    """Not empty; as it stands in the file."""
    group: str | None = None
    """What the picture shows, where the file says so; None: the picture itself."""
    line: int = field(default=0, compare=False)
    """Number of the line that says so, from 1; 0: no file does."""


@dataclass(frozen=True, slots=True)
class PairProblem:
    """Something of a file of pairs that was skipped, and why; the rest went on."""

    line: int
    """Number of the line, from 1."""
    source: str
    """The picture's path as the line gives it, or the file where there is none."""
    reason: str
    """A sentence that a user can act on."""


@dataclass(frozen=True, slots=True)
class PairsRead:
    """What a file of pairs holds."""

    pairs: tuple[PictureText, ...]
    """In the file's order; a picture with two texts is there twice."""
    problems: tuple[PairProblem, ...]
    """In the file's order."""

    def groups(self) -> Groups:
        """Return which thing each pair is about, `(n,)`, counted from 0 as they appear.

        Pairs of one picture share a number, and so do pairs of one named group; a
        picture that is in two groups makes them one.
        """
        parents: dict[str, str] = {}

        def root(key: str) -> str:
            while parents.setdefault(key, key) != key:
                parents[key] = key = parents[parents[key]]
            return key

        for pair in self.pairs:
            if pair.group is not None:
                parents[root(_picture(pair))] = root(f"group {pair.group}")
        numbers: dict[str, int] = {}
        return np.array(
            [numbers.setdefault(root(_picture(p)), len(numbers)) for p in self.pairs],
            dtype=np.int64,
        )


@checked
def read_pairs(path: str | Path, *, show_progress: bool = False) -> PairsRead:
    r"""Return the pairs of a JSON Lines file, and what was skipped.

    Pictures are opened and looked through, so that a truncated one is known before
    anything is encoded. Empty lines are nothing; keys that are not known are ignored;
    a pair that is there twice counts twice.

    Args:
        path: The file, in UTF-8, with or without a byte order mark.
        show_progress: Show a progress bar.

    Raises:
        PairsUnreadable: The file is missing or not permitted, or no line of it can be
            used.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (8, 8), "red").save(folder / "red.png")
        >>> file = folder / "pairs.jsonl"
        >>> _ = file.write_text('{"image": "red.png", "text": "red"}\n{"text": "blue"}')
        >>> read = read_pairs(file)
        >>> [(Path(pair.image).name, pair.text) for pair in read.pairs]
        [('red.png', 'red')]
        >>> [(problem.line, problem.reason[:29]) for problem in read.problems]
        [(2, "'image' is missing; expected ")]
    """
    file = Path(path)
    try:
        lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except (OSError, ValueError) as error:
        # ValueError: a null byte in the path.
        reason = getattr(error, "strerror", None) or str(error)
        raise PairsUnreadable(
            f"Cannot read the pairs in {str(path)!r}: {reason}. Give a JSON Lines file "
            f'with a line {{"image": "path", "text": "…"}} for each picture.'
        ) from error
    reader = _Reader(file)
    pairs: list[PictureText] = []
    progress = tqdm(lines, desc="Reading pairs", disable=not show_progress)
    for number, line in enumerate(progress, start=1):
        pairs.extend(reader.read(line, number))
    if not pairs:
        first = "".join(f" Line {p.line}: {p.reason}" for p in reader.problems[:1])
        raise PairsUnreadable(
            f"{str(path)!r} has no pair that can be used; expected a line "
            f'{{"image": "path", "text": "…"}} for each picture.{first}'
        )
    return PairsRead(tuple(pairs), tuple(reader.problems))


class _Unusable(Exception):
    """A line cannot be used; caught where lines are read."""

    def __init__(self, reason: str, source: object = None) -> None:
        super().__init__(reason)
        self.source = source if isinstance(source, str) else ""


class _Reader:
    """Reads lines; each picture is looked through once."""

    def __init__(self, file: Path) -> None:
        self._file = str(file)
        self._folder = file.absolute().parent
        self._seen: dict[str, str] = {}  # path as given → why it cannot be used, or ""
        self.problems: list[PairProblem] = []

    def read(self, line: bytes, number: int) -> Iterator[PictureText]:
        """Yield the line's pairs; what cannot be used is added to `problems`."""
        if not line.strip():
            return
        try:
            given, texts, group = _parsed(line)
            self._check_picture(given)
        except _Unusable as error:
            source = error.source or self._file
            self.problems.append(PairProblem(number, source, str(error)))
            return
        image = os.path.realpath(self._folder / given)
        for text in texts:
            if reason := _why_not_text(text):
                self.problems.append(PairProblem(number, given, f"A text {reason}"))
            else:
                yield PictureText(image, str(text), group, number)

    def _check_picture(self, image: str) -> None:
        if image not in self._seen:
            self._seen[image] = ""
            try:
                check_whole(image_bytes(self._folder / image), name=repr(image))
            except ImageUnreadable as error:
                self._seen[image] = str(error)
        if self._seen[image]:
            raise _Unusable(self._seen[image], image)


def _parsed(line: bytes) -> tuple[str, Sequence[object], str | None]:
    """Return a line's picture, its texts and its group, of the right types."""
    try:
        given = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _Unusable(
            f"The line is not UTF-8 ({error.reason}). Save the file as UTF-8."
        ) from error
    except (ValueError, RecursionError) as error:
        raise _Unusable(
            f"The line is no JSON: {error}. Write one JSON object a line."
        ) from error
    if not isinstance(given, dict):
        kind = type(given).__name__
        raise _Unusable(f"Got a JSON {kind}; expected an object with 'image'.")
    for reason in _problems_of(given):
        raise _Unusable(reason, given.get("image"))
    text, group = given["text"], given.get("group")
    texts = [text] if isinstance(text, str) else text
    return given["image"], texts, None if group is None else str(group)


def _problems_of(given: dict[str, object]) -> Iterator[str]:
    keys = ", ".join(sorted(given)) or "none"
    for key, expected in {"image": "a picture's path", "text": "a text"}.items():
        if key not in given:
            yield f"{key!r} is missing; expected {expected}. The line's keys: {keys}."
    image, text, group = (given.get(key) for key in ("image", "text", "group"))
    if not isinstance(image, str) or not image.strip():
        yield f"'image' is {image!r}; expected the path of a picture."
    elif not _is_utf8(image):
        yield "'image' is no valid text; expected a path."
    if not isinstance(text, (str, list)):
        yield f"'text' is {text!r}; expected a text or a list of texts."
    elif text == []:
        yield "'text' is an empty list; expected at least one text."
    # Numbers are what databases call things; True and False name nothing.
    is_name = isinstance(group, (str, int)) and not isinstance(group, bool)
    if group is not None and (not is_name or group == ""):
        yield f"'group' is {group!r}; expected a name, or leave it out."


def _why_not_text(text: object) -> str:
    if not isinstance(text, str):
        return f"is {text!r}; expected a string."
    if not text.strip():
        return "is empty. Write what the picture shows, or leave the line out."
    return "" if _is_utf8(text) else "holds half a surrogate pair; no encoder reads it."


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _picture(pair: PictureText) -> str:
    return f"picture {pair.image}"
