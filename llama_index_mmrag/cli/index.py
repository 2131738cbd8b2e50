"""mmrag index: files into a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from llama_index_mmrag.cli import options
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.encoders import chosen_encoder
from llama_index_mmrag.cli.output import Output
from llama_index_mmrag.cli.place import Place, placed
from llama_index_mmrag.cli.store import opened
from llama_index_mmrag.errors import InvalidSetting

if TYPE_CHECKING:
    from llama_index_mmrag.composition import Composition
    from llama_index_mmrag.ingestion.records import UpsertReport


class IndexCommand(TyperCommand):
    """A command with an option that may have a value, which Typer (0.29) has not."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give --read-pictures its default where no engine follows it."""
        given = [*args, ""]
        if "--read-pictures" in given:
            at = given.index("--read-pictures") + 1
            if given[at] not in ("rapidocr", "tesseract"):
                given.insert(at, "rapidocr")
        return super().parse_args(ctx, given[:-1])


@app.command("index", cls=IndexCommand)
@placed
def index_command(  # noqa: PLR0913, PLR0917 - each argument is an option of the command
    directory: Annotated[
        Path,
        typer.Argument(
            parser=options.place, metavar="DIR", help="A folder, or one file."
        ),
    ],
    place: Place,
    recursive: Annotated[bool, typer.Option(help="Read its folders too.")] = True,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Also remove files that are gone.")
    ] = False,
    root: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the folder is called in the store. Default: its own name.",
        ),
    ] = None,
    moved: Annotated[
        bool,
        typer.Option(
            "--moved",
            help="The folder of this name in the store is this one from now on, though "
            "the other is still there.",
        ),
    ] = False,
    checksum: Annotated[
        bool,
        typer.Option(
            "--checksum",
            help="Compare the content of all files; otherwise those are not opened "
            "whose size and time are as they were.",
        ),
    ] = False,
    allow_gone: Annotated[
        bool,
        typer.Option(
            "--allow-gone",
            help="Under --refresh, remove what is gone even where it is so much that "
            "the folder may not be mounted.",
        ),
    ] = False,
    composition: Annotated[
        Literal["blend", "concat"] | None,
        typer.Option(
            help="Also keep one vector for a picture with its text, for --search "
            "composed. blend: the weighted mean of the two. concat: one behind the "
            "other, each compared with its like. Chosen when the store is made, which "
            "remembers.",
        ),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the text under --composition; the picture has the rest. "
            "Default: 0.5.",
        ),
    ] = None,
    hybrid: Annotated[
        bool | None,
        typer.Option(
            "--hybrid/--no-hybrid",
            help="Of a new store: keep the words of texts as they are written too, and "
            "search by both. Default: as the store is; a new one keeps none.",
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of the words that --hybrid keeps, such as german: whose stop words "
            "are left out and whose endings are cut; none: nobody's. Default: english.",
        ),
    ] = None,
    limit: options.Limits = None,
    read_pictures: Annotated[
        Literal["rapidocr", "tesseract"] | None,
        typer.Option(
            "--read-pictures",
            metavar="[ENGINE]",
            help="Read the lettering of pictures, and search it too: by rapidocr "
            "(extra ocr), or tesseract. The store remembers. Default: as the store is; "
            "a new one reads none.",
        ),
    ] = None,
    read_scans: Annotated[
        Literal["rapidocr", "tesseract"] | None,
        typer.Option(
            help="Read the pages of PDF files that are pictures, after all else: 10 s "
            "of a core each by rapidocr (extra ocr), 4 by tesseract. The store "
            "remembers. Default: as the store is; a new one reads none.",
        ),
    ] = None,
    scan_minutes: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Read scans for so long, to the end of a page; the next run goes on. "
            "Default: until all are read.",
        ),
    ] = None,
    page_pictures: Annotated[
        Literal["first", "all", "none"] | None,
        typer.Option(
            help="Of which scanned pages pictures are kept, some 100 kB each. Default: "
            "the first of a document.",
        ),
    ] = None,
    reread: Annotated[
        Literal["lettering", "scans"] | None,
        typer.Option(
            help="Read all pictures, or scans, anew, by another engine or version too."
        ),
    ] = None,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry",
            help="Try again what could not be read; otherwise it is told again, and "
            "waits for its file to change.",
        ),
    ] = False,
    strict: options.Strict = False,
    encoder: options.Encoder = None,
    alignment: options.AlignmentFile = None,
    catalogue: options.Catalogue = None,
    as_json: options.AsJson = False,
) -> None:
    """Put a folder's documents and pictures into a store; again to update it.

    Texts, Markdown and pictures; with the extra documents PDF, Word files, slides, web
    pages, books and mail too.
    """
    if refresh and not recursive:
        raise InvalidSetting(
            "--refresh reads a folder's folders too; leave out --no-recursive."
        )
    if allow_gone and not refresh:
        raise InvalidSetting(
            "--allow-gone is for --refresh, which removes what is gone. Add that."
        )
    if language is not None and not hybrid:
        raise InvalidSetting(
            f"--language {language} is of the words that --hybrid keeps. Add that."
        )
    from llama_index_mmrag.embeddings.bm25 import Bm25Encoder
    from llama_index_mmrag.index.lettering import advice_on_lettering
    from llama_index_mmrag.ingestion.directory import discover
    from llama_index_mmrag.report.results import InsertReport, Skipped

    output = Output(as_json=as_json)
    # What cannot be read must not leave an empty store behind; what is gone is the
    # store's affair.
    if not (refresh and place.exists()):
        discover(directory, recursive=False)
    rule = _composition_for(place, composition, alpha)
    embed_model = chosen_encoder(encoder, alignment)
    words = Bm25Encoder(None) if language == "none" else language or hybrid
    reading = {"scan_minutes": scan_minutes, "page_pictures": page_pictures}
    reading["retry"] = retry or None
    with opened(
        place,
        embed_model,
        composition=rule,
        hybrid=words,
        read_pictures=read_pictures,
        read_scans=read_scans,
        reread=reread,
        catalogue=catalogue,
        limits=dict(map(_limit_of, limit or ())),
        reading={name: of for name, of in reading.items() if of is not None},
    ) as index:
        how: dict[str, Any] = {"root": root, "moved": moved, "checksum": checksum}
        how["show_progress"] = output.shows_progress
        if refresh:
            report = index.refresh(directory, allow_gone=allow_gone, **how)
        else:
            report = index.insert_directory(directory, recursive=recursive, **how)
        stale = index.gone(directory, report)
        advice = "" if as_json else advice_on_lettering(index)
    if report.moved_from is not None:
        output.tell("Moved:", f"{report.moved_from} is now {directory}.")
    for problem in report.problems:
        heading = "Left out of" if problem.is_part else "Skipped"
        output.skip(problem.source, problem.reason, heading=heading)
    if strict:
        _skip_all(output, directory, report)
    output.json(
        InsertReport(
            documents=report.n_documents,
            added=report.n_added,
            unchanged=report.n_unchanged,
            removed=report.n_removed,
            unread=report.n_unread,
            pages_read=report.n_pages_read,
            pages_unread=report.n_pages_unread,
            stale=stale,
            not_removed=report.not_removed,
            skipped=[Skipped.model_validate(each) for each in report.problems],
            ignored=dict(report.ignored),
        )
    )
    _show(output, report, advice)
    _tell_gone(output, report.not_removed, stale)
    if strict and output.has_skipped:
        raise typer.Exit(1)


def _skip_all(output: Output, directory: Path, report: UpsertReport) -> None:
    """Count what was not read as skipped."""
    if report.ignored:
        advice = "Convert them, or keep them elsewhere."
        output.skip(str(directory), f"{report.other_kinds}. {advice}")
    if report.n_pages_unread:
        output.skip(str(directory), f"{report.scans}. {READS_SCANS}")


def _show(output: Output, report: UpsertReport, of_pictures: str) -> None:
    """Print the counts, and what to do with pictures and files that are not read."""
    output.show(str(report))
    if of_pictures:
        output.show(of_pictures)
    if report.n_pages_unread:
        output.show(f"Scans: {READS_SCANS}")
    for advice in report.advice:
        output.show(f"Not read: {advice}")


READS_SCANS = (
    "Unread, they are found by what their document is called; --read-scans tesseract, "
    "or rapidocr, reads them, as long as --scan-minutes says, and goes on in the next "
    "run."
)


def _limit_of(given: str) -> tuple[str, float]:
    """Return a limit's name and number, as `ReadLimits` has them."""
    from llama_index_mmrag.ingestion.limits import LIMITS

    name, _, value = given.partition("=")
    kind = LIMITS.get(name)
    is_whole = kind is int and value.isdecimal()
    if not is_whole and not (kind is float and value.replace(".", "", 1).isdecimal()):
        raise InvalidSetting(
            f"--limit is {given!r}; expected NAME=NUMBER, with a name of "
            f"{', '.join(LIMITS)}, such as file_s=60."
        )
    return name, kind(value)  # type: ignore[misc]


def _tell_gone(output: Output, not_removed: str, stale: list[str]) -> None:
    """Say which documents are stored whose files are gone, and why.

    Raises:
        Exit: They were to be removed, and were not.
    """
    if not_removed:
        output.tell("Not removed:", not_removed, style="red")
        raise typer.Exit(3)
    if stale and not output.as_json:
        n = f"{len(stale)} file is" if len(stale) == 1 else f"{len(stale)} files are"
        said = f"{n} gone and still in the store, such as {stale[0]}; --refresh removes"
        output.tell("Stale:", f"{said} what is gone.")


def _composition_for(
    place: Place, rule: Literal["blend", "concat"] | None, alpha: float | None
) -> Composition | None:
    """Return what a store is to be filled with: what is asked, else what it has.

    Raises:
        InvalidSetting: There is an alpha and no rule that it belongs to, or the store
            was made with another rule, or without one.
    """
    from llama_index_mmrag import Blend, Concatenate

    if rule is None and alpha is not None:
        raise InvalidSetting(
            f"--alpha {alpha} needs --composition blend or concat. Add it."
        )
    known = place.composition()
    if rule is None:
        return known
    kind = Blend if rule == "blend" else Concatenate
    asked = kind() if alpha is None else kind(alpha)
    if known != asked and place.exists():
        made = "without --composition" if known is None else f"for {known!r}"
        raise InvalidSetting(
            f"The store of {place} was made {made}; asked for was {asked!r}. Leave "
            f"--composition out to go on as it is, or give another place."
        )
    return asked
