"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def answer_file(given: str) -> Path:
    """Return the path of a page that an answer is to be written to."""
    path = Path(given)
    if path.suffix.lower() not in (".md", ".html"):
        raise typer.BadParameter(
            f"{given!r} is neither FILE.md nor FILE.html; name one of the two."
        )
    if not path.parent.is_dir():
        raise typer.BadParameter(
            f"the folder {str(path.parent)!r} does not exist; make it first."
        )
    return path


def place(given: str) -> Path:
    """Return a path that was given, which must not be empty or a server's address."""
    from llama_index_mmrag.checks import no_address

    if not given.strip():
        raise typer.BadParameter("the path is empty; name a folder.")
    advice = f"The address of a server is given as --url {given}."
    try:
        return Path(no_address(given, "the path", advice=advice))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


Store = Annotated[
    Path | None,
    typer.Option(
        "--store",
        "-s",
        parser=place,
        metavar="DIR",
        help="Folder of the embedded store.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        parser=answer_file,
        metavar="FILE",
        help="Also write the answer with its pictures: FILE.md links them, FILE.html "
        "holds them.",
    ),
]
Roots = Annotated[
    list[str] | None,
    typer.Option(
        "--root",
        metavar="NAME=FOLDER",
        help="Where a folder that was indexed elsewhere lies here. May be repeated.",
    ),
]
Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        help="What a file may take: file_bytes, text_bytes, pixels, pages, file_s "
        "and page_s (seconds), unpacked_bytes and unpacked_ratio (of a zip), "
        "memory_bytes (of a process that reads). May be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 1 if anything was skipped.")
]
TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, help="Results at most.")]
Text = Annotated[str, typer.Argument(help="Words; may be left out with --image.")]
Picture = Annotated[
    Path | None, typer.Option("--image", "-i", help="A picture to search by.")
]
Search = Annotated[
    Literal["parts", "composed", "both"] | None,
    typer.Option(
        "--search",
        help="parts: fuse the rankings of texts and pictures. composed: search the one "
        "vector of words and picture (a store made with --composition). both: all of "
        "it. Default: all that the store has.",
    ),
]
Mode = Annotated[
    Literal["default", "hybrid", "sparse", "mmr"] | None,
    typer.Option(
        "--mode",
        help="How texts are searched. default: by meaning. sparse: by their words, as "
        "they are written. hybrid: by both. mmr: by meaning, unlike ones first. "
        "Default: hybrid where the store was made with --hybrid.",
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        "-e",
        metavar="NAME",
        help="'offline' (default), 'clip', 'clip:NAME', or a CLIP model's folder or "
        "file; or what LlamaIndex's resolve_embed_model takes.",
    ),
]
AlignmentFile = Annotated[
    Path | None,
    typer.Option(
        "--alignment",
        "-a",
        metavar="FILE",
        help="What `mmrag align` wrote: its encoder's vectors go through it.",
    ),
]
Catalogue = Annotated[
    Path | None,
    typer.Option(
        "--catalogue",
        metavar="FILE",
        help="What remembers roots and files. Default: catalogue.sqlite in the store.",
    ),
]
