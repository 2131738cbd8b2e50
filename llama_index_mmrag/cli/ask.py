"""mmrag ask: an answer with citations."""

from __future__ import annotations

import typer

from llama_index_mmrag.cli import options
from llama_index_mmrag.cli.app import app
from llama_index_mmrag.cli.output import Output
from llama_index_mmrag.cli.place import Place, placed
from llama_index_mmrag.cli.store import existing, query_of
from llama_index_mmrag.report.plain import plain_line, plain_text


@app.command()
@placed
def ask(  # noqa: PLR0913, PLR0917 - each argument is an option of the command
    place: Place,
    text: options.Text = "",
    image: options.Picture = None,
    top_k: options.TopK = 5,
    search: options.Search = None,
    root: options.Roots = None,
    catalogue: options.Catalogue = None,
    encoder: options.Encoder = None,
    alignment: options.AlignmentFile = None,
    out: options.Out = None,
    as_json: options.AsJson = False,
) -> None:
    """Answer from the store's own sentences and pictures, with citations."""
    from llama_index_mmrag import describe_sources
    from llama_index_mmrag.answers.illustrated import to_html, to_markdown
    from llama_index_mmrag.files.writing import replacing
    from llama_index_mmrag.report.results import Answer

    output = Output(as_json=as_json)
    with existing(
        place,
        encoder=encoder,
        alignment=alignment,
        search=search,
        roots=root,
        catalogue=catalogue,
    ) as index:
        engine = index.as_query_engine(top_k=top_k, search=search)
        response = engine.query(query_of(text, image))
    metadata = response.metadata or {}
    answer = Answer.model_validate({**metadata, "answer": str(response)})
    for lost in answer.degraded:
        output.tell("No answer from", f"{lost.route}: {lost.reason}")
    for said in answer.warnings:
        output.tell("Warning:", said)
    output.json(answer)
    output.show(plain_text(answer.answer))
    output.show("")
    output.show(plain_text(describe_sources(response)), style="dim")
    for label in answer.cited:
        source = answer.citations[label]
        routes = ", ".join(f"{hit.told} rank {hit.rank}" for hit in source.found_by)
        said = f"[{label}] {source.modality} {source.name} ({routes or 'linked'})"
        output.show(plain_line(said), style="dim")
    if out is not None:
        page = (to_html if out.suffix.lower() == ".html" else to_markdown)(response)
        with replacing(out, by=f".{out.name}.part") as file:
            file.write(page.encode(errors="replace"))
        output.show(plain_line(f"Written to {out}"), style="dim")
    if not answer.citations:
        raise typer.Exit(1)
