"""Picture links: from what a text says to a picture on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from llama_index_mmrag.errors import ImageUnreadable
from llama_index_mmrag.ingestion.paths import known_as, printable
from llama_index_mmrag.ingestion.pictures import inline_picture, read_picture
from llama_index_mmrag.ingestion.words import TITLE
from llama_index_mmrag.nodes.images import IMAGE_SUFFIXES, MAX_PIXELS, shortest_side
from llama_index_mmrag.nodes.shown import from_base64
from llama_index_mmrag.readers.page import Caption, Picture, PictureLink

SITE_FOLDERS = ("", "static", "public", "assets")
"""Where "/pix/a.webp" may be below a site's root; Hugo has it in "static"."""

MAX_LEVELS_UP = 3
"""Folders above a file that are tried as site root when no root is given."""


def caption_of(links: Iterable[PictureLink]) -> str:
    """Return all that the links say of one picture, each once."""
    said = (part for one in links for part in (one.alt, one.title, one.figcaption))
    return ". ".join(dict.fromkeys(part for part in said if part))


def captions_of(  # noqa: PLR0913 - what is shown, and where it may lie
    links: Iterable[PictureLink],
    headings: Sequence[str],
    *,
    folder: Path | None,
    root: Path | None,
    problems: list[str],
    pixels: int = MAX_PIXELS,
    least_pixels: int = 1,
) -> tuple[Caption, ...]:
    """Return the pictures of one section, each once, with what is said of it.

    Args:
        links: Its links, in order.
        headings: Above it; the last stands for a picture of which nothing is said.
        folder: As for `open_link`, and so is `root`.
        root: Where links that begin with "/" start.
        problems: Those that cannot be shown; more are added.
        pixels: Most that a picture may have.
        least_pixels: Least of its shorter side: smaller ones are left out.
    """
    shown: dict[str, Picture] = {}
    said: dict[str, list[PictureLink]] = {}

    @cache  # an icon may stand there a thousand times
    def opened(src: str, data: bytes | None) -> Picture:
        if data is None:
            return open_link(src, folder=folder, root=root, pixels=pixels)
        return inline_picture(data, "the page", pixels=pixels)

    for link in links:
        try:
            picture = opened(link.src, link.data)
            if least_pixels > 1 and shortest_side(picture.data) < least_pixels:
                continue
        except ImageUnreadable as error:
            problems.append(str(error))
            continue
        # Shown twice in one section, a picture would count twice for its entity.
        name = str(picture.path or link.src or hash(picture.data))
        shown[name] = picture
        said.setdefault(name, []).append(link)
    above = (headings or ("",))[-1]
    return tuple(
        Caption(
            picture,
            caption_of(said[name]) or above,
            tuple((TITLE, link.title) for link in said[name] if link.title),
            said[name][0].about,
        )
        for name, picture in shown.items()
    )


def open_link(
    src: str, *, folder: Path | None, root: Path | None, pixels: int = MAX_PIXELS
) -> Picture:
    """Return the picture that `src` names, or holds: "data:image/png;base64,...".

    Args:
        src: The link as written, percent-encoded or not, with or without "?raw=true".
        folder: Folder of the Markdown file; relative links start here, and are tried
            below the root after that. None if the text comes from no file: then
            nothing is found without `root`.
        root: What "/pix/a.webp" starts from: `root`, its `static`, `public` or
            `assets` folder; then the same of the folders between `root` and `folder`,
            and of the one above `root`, as a site's pages are often one level down.
            None tries `folder` and the three above.
        pixels: Most that the picture may have.

    With a root, the file must lie below it, or in a site's `static`, `public` or
    `assets` folder beside it, symlinks resolved: a text must not fetch pictures that
    nobody gave to the index. Without one, a single file was named on purpose, and what
    it links to below the highest folder tried is its own.

    Raises:
        ImageUnreadable: It is a web address, no picture format, not there, outside, or
            broken.
    """
    if src.startswith("data:"):
        name = "the text"
        return inline_picture(from_base64(src, name=name), name, pixels=pixels)
    if src.lower().startswith("file:"):
        raise ImageUnreadable(
            f"The picture {src!r} is named by its place on a machine and was not read. "
            f"Put a copy beside the text and link to that."
        )
    return read_picture(_resolved(src, folder, root), pixels=pixels)


def _resolved(src: str, folder: Path | None, root: Path | None) -> Path:
    if src.lower().startswith(("http:", "https:", "//")):
        raise ImageUnreadable(
            f"The picture {src!r} is on the web and was not fetched. Save it beside "
            f"the text and link to the file."
        )
    allowed = _allowed(folder, root)
    outside: Path | None = None
    for name in _names(src):
        for base in _bases(name, folder, root):
            path = base / name.lstrip("/")
            if not _is_file(path):
                continue
            target = path.resolve()
            if not any(target.is_relative_to(each) for each in allowed):
                outside = outside or target
            elif path.suffix.lower() in IMAGE_SUFFIXES:
                if target.name == path.name and str(target).isascii():  # nearly always
                    return target
                return known_as(path, target, IMAGE_SUFFIXES)
            else:
                expected = ", ".join(sorted(IMAGE_SUFFIXES))
                raise ImageUnreadable(
                    f"The picture {src!r} has the suffix {path.suffix!r}; expected one "
                    f"of {expected}. Convert it."
                )
    if outside is not None:
        raise ImageUnreadable(
            f"The picture {src!r} points outside of {printable(allowed[0])!r}, to "
            f"{printable(outside)!r}, and was not read. Index a folder that holds "
            f"both, or put a copy beside the text."
        )
    if folder is None:
        where = "(the document names no file: set its metadata 'file_path')"
    else:
        where = f"from {str(folder)!r}"
    raise ImageUnreadable(
        f"The picture {src!r} was not found {where}. Add it, or correct the link."
    )


def _names(src: str) -> Iterator[str]:
    # "a%20b.png" is mostly "a b.png", but may be the file's own name; "#" and "?" too.
    bare = src.partition("#")[0].partition("?")[0]
    names = [unquote(src), src, unquote(bare), bare]
    yield from dict.fromkeys(
        spelled for name in names for spelled in (name, name.replace("\\", "/"))
    )


def _bases(name: str, folder: Path | None, root: Path | None) -> list[Path]:
    above = [folder, *folder.parents] if folder is not None else []
    if root is None:
        roots = above[: MAX_LEVELS_UP + 1]
    else:
        # A folder of several sites: each has its root between `root` and the page.
        between = above[: above.index(root)] if root in above else []
        roots = [root, *reversed(between), root.parent]
    bases = [base / below for base in roots for below in SITE_FOLDERS]
    # "pix/a.webp" from a page that a site serves at its root means the same.
    return bases if name.startswith("/") or folder is None else [folder, *bases]


def _allowed(folder: Path | None, root: Path | None) -> list[Path]:
    """Return the folders that pictures may lie in, resolved."""
    if root is not None:
        beside = [root.parent / name for name in SITE_FOLDERS if name]
        return [each.resolve() for each in (root, *beside)]
    if folder is None:
        return []
    return [[folder, *folder.parents][: MAX_LEVELS_UP + 1][-1].resolve()]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False
