"""The command line, as it is run: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import TextNode
from PIL import Image

from llama_index_mmrag import MultiModalQdrantIndex, __version__
from llama_index_mmrag.alignment import TrainSettings
from llama_index_mmrag.alignment.finetuning import FinetuneSettings
from llama_index_mmrag.cli.align import align_command
from llama_index_mmrag.cli.compress import compress
from llama_index_mmrag.cli.finetune import finetune_command
from llama_index_mmrag.compression import CompressSettings
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.stores import QdrantEdgeVectorStore

from ..support import command_line
from ..support.command_line import Run, needs_offline, refused, run_process

PAGE = """\
# Kitchen

Green tea is steeped for two minutes at eighty degrees.

![A red teapot](teapot.png)

# Garage

The bicycle's chain is oiled every spring.
"""


@pytest.fixture
def docs(tmp_path) -> Path:
    """Return a folder with a page, its picture, and a file that is no picture."""
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "house.md").write_text(PAGE, encoding="utf-8")
    Image.new("RGB", (32, 32), "red").save(folder / "teapot.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def run(monkeypatch) -> Run:
    """Return `command_line.run`, whose default encoder is the small one."""
    opened = MultiModalQdrantIndex.open

    def in_colours(*places: Any, **settings: Any) -> MultiModalQdrantIndex:
        if settings.get("embed_model") is None:
            settings["embed_model"] = ColourEncoder(modality_gap=0.75)
        return opened(*places, **settings)

    monkeypatch.setattr(MultiModalQdrantIndex, "open", in_colours)
    return command_line.run


# As a user runs it, with the encoder that is shipped


@needs_offline
def test_folder_is_indexed_searched_and_answers(docs, tmp_path):
    store = tmp_path / "store"
    indexed = run_process("index", docs, "--store", store, COLUMNS="100")
    report = "1 document: 3 nodes added, 0 unchanged, 0 removed, 1 skipped\n"
    assert (indexed.returncode, indexed.stdout[: len(report)]) == (0, report)
    assert indexed.stdout[len(report) :].startswith("1 picture may have lettering")
    (line,) = indexed.stderr.splitlines()
    assert line.startswith(f"Skipped {docs / 'broken.png'}: Cannot read the picture")

    question = "How long is green tea steeped?"
    found = run_process("search", question, "--store", store, "--json")
    assert (found.returncode, found.stderr) == (0, "")
    rows = json.loads(found.stdout)
    assert [row["source"] for row in rows[:2]] == ["house.md", "teapot.png"]
    assert "two minutes" in rows[0]["text"]

    answered = run_process("ask", question, "--store", store, COLUMNS="100")
    assert (answered.returncode, answered.stderr) == (0, "")
    assert "steeped for two minutes" in answered.stdout
    assert "[1] text house.md" in answered.stdout


def test_error_is_one_sentence_without_a_traceback(tmp_path):
    said = run_process("search", "tea", "--store", tmp_path / "none")
    assert (said.returncode, said.stdout) == (2, "")
    (line,) = said.stderr.splitlines()
    assert line.startswith("Error: There is no store in")
    assert line.endswith(f"mmrag index DIR --store {tmp_path / 'none'}")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupt_ends_with_130_and_a_word(docs, tmp_path):
    code = """
import os, signal, sys
from llama_index_mmrag import cli
from llama_index_mmrag.index.index import MultiModalQdrantIndex
# What a shell has started in the background ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
def interrupted(*_, **__):
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
MultiModalQdrantIndex.open = interrupted
cli.main()
"""
    ended = run_process("index", docs, "-s", tmp_path / "s", code=code)
    assert (ended.returncode, ended.stdout) == (128 + signal.SIGINT, "")
    assert ended.stderr == "Interrupted. What was written stays.\n"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["search", "--help"]])
def test_help_and_version_load_no_library_of_the_work(arguments):
    code = """
import sys
from llama_index_mmrag import cli
try:
    cli.main()
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""
    said = run_process(*arguments, code=code)
    assert said.returncode == 0
    loaded = set(said.stderr.split())
    assert "typer" in loaded
    assert not loaded & {"llama_index", "llama_index_instrumentation", "numpy"}
    assert not loaded & {"PIL", "pydantic", "qdrant_client", "qdrant_edge", "torch"}


def test_without_a_command_the_help_lists_them():
    said = run_process(COLUMNS="80")
    for command in ("index", "search", "ask"):
        assert f"│ {command} " in said.stdout + said.stderr


def test_defaults_of_the_commands_are_the_settings_own():
    # Written twice, because --help must not import what has the settings.
    def defaults(command: Callable[..., None]) -> dict[str, Any]:
        return {n: p.default for n, p in signature(command).parameters.items()}

    def shared(given: dict[str, Any], *settings: object) -> int:
        own = {k: v for each in settings for k, v in asdict(each).items()}
        same = {name for name in given if name in own and given[name] is not None}
        assert {n: given[n] for n in same} == {n: own[n] for n in same}
        return len(same)

    tuned = defaults(finetune_command)
    assert shared(tuned, FinetuneSettings()) == 9
    tasks = {task: tuned[task] for task in ("contrastive", "captioning")}
    assert tasks == FinetuneSettings().tasks
    assert tuned["blocks"] == FinetuneSettings().n_blocks
    fitted = defaults(align_command)
    assert fitted.pop("method") == "infonce"
    assert shared(fitted, TrainSettings()) == 6
    squeezed = defaults(compress)
    assert shared(squeezed, CompressSettings()) == 4


# index


def test_index_reports_what_it_skipped_and_strict_makes_it_an_error(
    run, docs, tmp_path
):
    arguments = ("index", docs, "--store", tmp_path / "store")
    first = run(*arguments)
    counts, advice = first.stdout.splitlines()
    assert (first.exit_code, "3 nodes added" in counts) == (0, True)
    assert advice.startswith("1 picture may have lettering")
    assert first.stderr.startswith("Skipped ")
    again = run(*arguments, "--strict")
    assert again.exit_code == 1
    assert "0 nodes added, 3 unchanged" in again.stdout
    (docs / "broken.png").unlink()
    assert run(*arguments, "--strict").exit_code == 0


def test_file_that_is_gone_is_told_until_a_refresh_removes_it(run, docs, tmp_path):
    (docs / "gone.txt").write_text("Soon gone.")
    index = ("index", docs, "--store", tmp_path / "store")
    assert "Stale:" not in run(*index).stderr
    (docs / "gone.txt").unlink()
    again = run(*index)
    assert (again.exit_code, "0 removed" in again.stdout) == (0, True)
    (line,) = [x for x in again.stderr.splitlines() if x.startswith("Stale:")]
    assert line.startswith("Stale: 1 file is gone and still in the store, such as ")
    assert "gone.txt; --refresh removes what is gone." in line
    refreshed = run(*index, "--refresh")
    assert "1 removed" in refreshed.stdout
    assert "Stale:" not in refreshed.stderr + run(*index).stderr


def test_folder_that_may_not_be_mounted_removes_nothing_and_exits_with_3(
    run, docs, tmp_path
):
    index = ("index", docs, "--store", tmp_path / "store")
    run(*index)
    shutil.rmtree(docs)
    assert run(*index).exit_code == 2, "nobody asked to remove anything"
    refreshed = run(*index, "--refresh")
    assert refreshed.exit_code == 3
    assert "0 removed" in refreshed.stdout
    assert "Not removed: The folder" in refreshed.stderr
    assert "--allow-gone" in refreshed.stderr
    as_json = run(*index, "--refresh", "--json")
    assert (as_json.exit_code, len(json.loads(as_json.stdout)["stale"])) == (3, 1)
    allowed = run(*index, "--refresh", "--allow-gone")
    assert (allowed.exit_code, "3 removed" in allowed.stdout) == (0, True)
    refused(run(*index, "--allow-gone"), "--allow-gone is for --refresh")


def test_catalogue_lies_where_it_is_told(run, docs, tmp_path):
    place = tmp_path / "elsewhere.sqlite"
    store = tmp_path / "store"
    index = ("index", docs, "--store", store, "--catalogue", place)
    for options in ((), ("--checksum",)):
        assert run(*index, *options).exit_code == 0
    assert place.exists()
    assert not (store / "catalogue.sqlite").exists()
    assert run("search", "x", "--store", store, "--catalogue", place).exit_code == 0


def test_index_as_json_prints_json_and_nothing_else(run, docs, tmp_path):
    said = run("index", docs, "--store", tmp_path / "store", "--json")
    report = json.loads(said.stdout)
    (skipped,) = report.pop("skipped")
    counts = {"documents": 1, "added": 3, "unchanged": 0, "removed": 0, "unread": 0}
    counts |= {"pages_read": 0, "pages_unread": 0}
    assert report == {**counts, "stale": [], "not_removed": "", "ignored": {}}
    assert skipped["is_part"] is False
    assert skipped["source"] == str(docs / "broken.png")


def test_folders_below_are_read_unless_told_otherwise(run, docs, tmp_path):
    (docs / "below").mkdir()
    (docs / "below" / "deep.txt").write_text("blue")
    flat = run("index", docs, "--store", tmp_path / "store", "--no-recursive")
    assert "3 nodes added" in flat.stdout
    deep = run("index", docs, "--store", tmp_path / "store")
    assert "1 node added, 3 unchanged" in deep.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("{docs} -s new --refresh --no-recursive", "leave out --no-recursive"),
        ("none -s new", "Error: There is no file or folder"),
        ("{docs}/a.odt -s new", "the suffix '.odt' is not read"),
        ("{docs} -s http://h:6333", "is given as --url http://h:6333"),
        ("{docs} -s https://h", "is given as --url https://h"),
        ("grpc://h -s new", "expected a folder"),
        ("{docs} -s ", "the path is empty"),
        (" -s new", "the path is empty"),
        ("{docs} -s {docs}", "is no store"),
        ("{docs} -s {docs}/a.odt", "Error: The store folder"),
    ],
)
def test_what_cannot_be_indexed_is_a_sentence_and_a_wrong_folder_leaves_no_store(
    arguments, said, run, docs, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (docs / "a.odt").write_bytes(b"x")
    refused(run("index", *arguments.format(docs=docs).split(" ")), said)
    assert list(tmp_path.iterdir()) == [docs]


def test_files_of_other_kinds_are_counted_and_one_file_can_be_indexed(
    run, docs, tmp_path
):
    for name in ("a.odt", "b.msg", "c.odt"):
        (docs / name).write_bytes(b"x")
    said = run("index", docs, "--store", tmp_path / "store")
    assert "3 of other kinds (.odt 2, .msg 1) ignored" in said.stdout
    alone = run("index", docs / "house.md", "--store", tmp_path / "other")
    assert (alone.exit_code, "3 nodes added" in alone.stdout) == (0, True)


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_strict_counts_files_of_other_kinds_as_skipped_and_names_them(
    as_json, run, tmp_path
):
    folder = tmp_path / "papers"
    folder.mkdir()
    (folder / "a.odt").write_bytes(b"x")
    index = ("index", folder, "--store", tmp_path / "store", *as_json)
    assert (run(*index).exit_code, run(*index).stderr) == (0, "")
    strict = run(*index, "--strict")
    assert strict.exit_code == 1
    assert f"Skipped {folder}: 1 of other kinds (.odt 1)." in strict.stderr


def test_missing_picture_of_a_page_does_not_say_that_the_page_was_skipped(
    run, docs, tmp_path
):
    (docs / "broken.png").unlink()
    (docs / "teapot.png").unlink()
    said = run("index", docs, "--store", tmp_path / "store")
    assert "2 nodes added" in said.stdout
    assert "1 part left out" in said.stdout
    assert said.stderr.startswith(f"Left out of {docs / 'house.md'}: The picture")
    assert "Skipped" not in said.stderr


def test_version_is_said(run):
    said = run("--version")
    assert (said.exit_code, said.stdout) == (0, f"{__version__}\n")


# search and ask


@pytest.fixture
def store(run, docs, tmp_path) -> Path:
    path = tmp_path / "store"
    assert run("index", docs, "--store", path).exit_code == 0
    return path


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_search_shows_why_and_nothing_is_wider_than_the_terminal(columns, run, store):
    for command, shown in (("search", "teapot.png"), ("ask", "house.md")):
        said = run(command, "red", "--store", store, columns=columns)
        assert (said.exit_code, said.stderr) == (0, "")
        assert max(map(len, said.stdout.splitlines())) <= columns
        assert shown in said.stdout
    why = run("search", "red", "--store", store).stdout
    assert "text→image (rank 1" in why


@pytest.mark.parametrize("suffix", [".md", ".html", ".HTML"])
def test_answer_is_written_with_its_pictures(suffix, run, docs, store, tmp_path):
    file = tmp_path / f"answer{suffix}"
    file.write_text("old")
    picture = ("--image", docs / "teapot.png")
    said = run("ask", *picture, "--store", store, "--out", file)
    assert (said.exit_code, said.stderr) == (0, "")
    assert f"Written to {file}" in said.stdout
    page = file.read_text(encoding="utf-8")
    picture = "/docs/teapot.png)" if suffix == ".md" else '<img src="data:image/'
    assert page.count(picture) == 1
    assert "A red teapot" in page
    written = [path.name for path in tmp_path.iterdir()]
    assert sorted(written) == [file.name, "docs", "store"]


@pytest.mark.parametrize("name", ["", "answer", "answer.txt", "none/answer.md"])
def test_answer_that_cannot_be_written_is_not_asked_for(name, run, store, tmp_path):
    ended = run("ask", "red", "--store", store, "--out", name and tmp_path / name)
    refused(ended, "make it first" if "/" in name else "neither FILE.md nor FILE.html")


def rows_of(said: Any) -> list[dict[str, Any]]:
    """Return what a search printed for machines."""
    rows: list[dict[str, Any]] = json.loads(said.stdout)
    return rows


def routes_of(rows: list[dict[str, Any]]) -> set[str]:
    return {hit["route"] for row in rows for hit in row["contributions"]}


def test_store_that_keeps_words_is_searched_by_them(run, docs, store, tmp_path):
    kept = tmp_path / "kept"
    assert run("index", docs, "--store", kept, "--hybrid").exit_code == 0
    by_words = run("search", "bicycles", "--store", kept, "--mode", "sparse", "--json")
    assert "bicycle" in json.loads(by_words.stdout)[0]["text"]
    both = ("search", "bicycle", "--store", kept, "--mode", "hybrid", "--alpha", 0.2)
    assert run(*both).exit_code == 0
    anew = "mmrag index DIR --store NEW --hybrid"
    refused(run("search", "bicycle", "--store", store, "--mode", "sparse"), anew)
    refused(run("index", docs, "--store", store, "--hybrid"), anew)
    refused(run("search", "it", "--store", kept, "--alpha", 0.2), "Add --mode hybrid")
    german = ("--hybrid", "--language", "german")
    refused(run("index", docs, "--store", kept, *german), "english")
    refused(run("index", docs, "--store", kept, *german[1:]), "--hybrid keeps. Add")
    refused(run("index", docs, "--store", tmp_path / "k", *german[:2], "x"), "german")
    for n, name in enumerate(("german", "none")):
        made = tmp_path / f"made-{n}"
        how = ("--store", made, "--hybrid", "--language", name)
        assert run("index", docs, *how).exit_code == 0
        stored = json.loads((made / "text" / "words.json").read_text())
        assert stored["language"] == (None if name == "none" else name)


def test_picture_and_words_are_searched_for_together(run, store, docs):
    picture = ("--image", docs / "teapot.png", "--store", store, "--json")
    both = rows_of(run("search", "tea", *picture))
    assert routes_of(both) == {"text→text", "text→image", "image→image"}
    assert rows_of(run("search", *picture))[0]["source"] == "teapot.png"
    unread = run("search", *picture, "--read-query")
    refused(unread, "Open it with read_pictures=True")
    refused(run("search", "tea", "--store", store, "--read-query"), "Add --image FILE")


def test_top_k_counts_entities_and_rows_are_nodes_of_the_store(run, store):
    rows = rows_of(run("search", "tea", "--store", store, "-k", "1", "--json"))
    assert len({row["entity_id"] for row in rows}) == 1
    rows = rows_of(run("search", "red", "--store", store, "--json"))
    with MultiModalQdrantIndex.open(store) as index:
        known = {
            node.node_id
            for channel in index.channels
            for node in channel.vector_store.get_nodes()
            if isinstance(node, TextNode)
        }
    assert {row["node_id"] for row in rows} <= known


def test_fifty_are_found_where_fifty_were_asked_for(run, tmp_path):
    for n in range(60):
        (tmp_path / f"{n}.md").write_text(f"# Tea {n}\n\nA pot of red tea, no. {n}.")
    store = tmp_path / "many"
    run("index", tmp_path, "--store", store)
    rows = rows_of(run("search", "red tea", "--store", store, "-k", "50", "--json"))
    assert len({row["entity_id"] for row in rows}) == 50


def test_answer_lists_the_sources_it_cites_alone(run, store):
    question = ("ask", "How long is green tea steeped?", "--store", store)
    answer = json.loads(run(*question, "--json").stdout)
    assert set(answer) == {"answer", "cited", "citations", "degraded", "warnings"}
    assert answer["degraded"] == answer["warnings"] == []
    assert answer["citations"]["1"]["found_by"][0]["rank"] == 1
    assert len(answer["citations"]) > len(answer["cited"]) > 0
    listed = [x for x in run(*question).stdout.splitlines() if x.startswith("[")]
    assert [line[1 : line.index("]")] for line in listed] == list(answer["cited"])


@needs_offline
def test_texts_and_questions_in_a_script_that_the_encoder_does_not_read_are_told_of(
    tmp_path,
):
    (tmp_path / "tea.md").write_text("Зелёный чай заваривают три минуты.")
    store = ("--store", tmp_path / "new")
    counted = run_process("index", tmp_path, *store, "--json")
    assert json.loads(counted.stdout)["unread"] == 1
    for command in ("search", "ask"):
        found = run_process(command, "Как заваривать чай?", *store)
        assert found.stderr.count("does not read Cyrillic") == 1


@pytest.mark.parametrize("command", ["search", "ask"])
def test_route_that_gives_no_answer_is_a_line_on_stderr(
    command, run, store, monkeypatch
):
    found = QdrantEdgeVectorStore.query_ids

    def query_ids(store: QdrantEdgeVectorStore, *given: Any, **settings: Any) -> Any:
        if Path(store.path).name == "image":
            raise RuntimeError("disk on fire")
        return found(store, *given, **settings)

    monkeypatch.setattr(QdrantEdgeVectorStore, "query_ids", query_ids)
    said = run(command, "red", "--store", store)
    assert "No answer from text→image: RuntimeError: disk on fire\n" in said.stderr


def test_nothing_found_is_exit_code_one(run, tmp_path):
    (tmp_path / "empty").mkdir()
    run("index", tmp_path / "empty", "--store", tmp_path / "store")
    search = ("search", "red", "--store", tmp_path / "store")
    said = run(*search)
    assert (said.exit_code, said.stdout) == (1, "")
    assert said.stderr == "Nothing was found.\n"
    as_json = run(*search, "--json")
    assert (as_json.exit_code, rows_of(as_json)) == (1, [])
    assert run("ask", "red", "--store", tmp_path / "store").exit_code == 1


@pytest.mark.parametrize("command", ["search", "ask"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "neither words nor a picture"),
        (["  "], "neither words nor a picture"),
        (["--image", "none.png"], "none.png"),
        (["--image", "{docs}/broken.png"], "no known picture format"),
        (["--image", "{docs}"], "Is a directory"),
    ],
)
def test_query_that_cannot_be_asked_is_a_sentence(
    command, arguments, said, run, store, docs
):
    given = [argument.format(docs=docs) for argument in arguments]
    ended = run(command, *given, "--store", store)
    refused(ended, said)
    assert ended.stdout == ""
    assert ended.stderr.startswith("Error: ")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", [["-k", "0"], ["--nonsense"], ["-k", "many"]])
def test_wrong_use_is_exit_code_two(option, run, store):
    assert run("search", "red", "--store", store, *option).exit_code == 2


def test_store_in_use_is_told_with_its_owner(run, store, docs):
    with MultiModalQdrantIndex.open(store):
        for arguments in (("search", "red"), ("ask", "red"), ("index", docs)):
            ended = run(*arguments, "--store", store)
            refused(ended, f"already open in this process (pid {os.getpid()})")


def test_error_of_the_system_is_a_sentence(run, docs, tmp_path, monkeypatch):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path))

    monkeypatch.setattr(MultiModalQdrantIndex, "insert_directory", full)
    ended = run("index", docs, "--store", tmp_path / "store")
    refused(ended, "No space left on device")


@pytest.fixture
def hostile(tmp_path) -> Path:
    name = "[red]x[bold] :smile: \N{SNOWMAN}\n\x1b[31m東京.txt"
    folder = tmp_path / "hostile"
    folder.mkdir()
    try:
        (folder / name).write_text("red [bold]text[/bold] \x1b[0m[/]", encoding="utf-8")
        (folder / f"{name}.png").write_bytes(b"")
    except OSError:
        pytest.skip("this file system does not take such names")
    return folder


def test_hostile_names_are_printed_as_they_are(hostile, run, tmp_path):
    indexed = run("index", hostile, "--store", tmp_path / "store", columns=300)
    searched = run("search", "red", "--store", tmp_path / "store", columns=300)
    asked = run("ask", "red", "--store", tmp_path / "store", columns=300)
    shown = "[red]x[bold] :smile: \N{SNOWMAN}"
    for output in (indexed.stderr, searched.stdout, asked.stdout):
        assert shown in output
        assert "\x1b" not in output
    assert "red [bold]text[/bold]" in searched.stdout
    as_json = run("search", "red", "--store", tmp_path / "store", "--json")
    assert rows_of(as_json)[0]["text"].startswith("red [bold]text[/bold] \x1b")
    assert "\x1b" not in as_json.stdout, "JSON escapes it"


def test_json_is_ascii_where_the_output_is():
    code = """
import sys
from llama_index_mmrag.cli.output import Output
Output(as_json=True).json({"route": "text→image", "emoji": "🍵"})
"""
    printed = run_process(code=code, PYTHONIOENCODING="ascii").stdout
    assert printed.isascii()
    assert json.loads(printed) == {"route": "text→image", "emoji": "🍵"}


def test_log_lines_do_not_double_what_is_printed(docs, tmp_path):
    code = """
import sys
from llama_index_mmrag import cli
from llama_index_mmrag.index.index import MultiModalQdrantIndex
from llama_index_mmrag.embeddings.colour import ColourEncoder
opened = MultiModalQdrantIndex.open
MultiModalQdrantIndex.open = lambda *a, **k: opened(
    *a, **(k | {"embed_model": ColourEncoder()})
)
cli.main()
"""
    said = run_process("index", docs, "-s", tmp_path / "s", code=code)
    assert said.stderr.count("broken.png: ") == 1


# Early fusion


def test_store_made_with_early_fusion_is_searched_by_words_and_picture_at_once(
    run, docs, tmp_path
):
    store = tmp_path / "store"
    made = run("index", docs, "-s", store, "--composition", "blend", "--alpha", 0.25)
    assert made.exit_code == 0, made.output
    collections = json.loads((store / "mmrag.json").read_text())["collections"]
    assert collections["composed"]["composition"] == "blend-v1(alpha=0.25)"
    again = run("index", docs, "-s", store)
    assert "0 nodes added, 3 unchanged" in again.output, "it remembers"

    query = ("red", "--image", docs / "teapot.png", "--store", store, "--json")
    expected = {
        "parts": {"text→text", "text→image", "image→image"},
        "composed": {"composed→composed"},
    }
    expected["both"] = expected["parts"] | expected["composed"]
    for stage, routes in expected.items():
        rows = rows_of(run("search", *query, "--search", stage))
        assert routes_of(rows)
        assert routes_of(rows) <= routes
        assert rows[0]["source"] in {"teapot.png", "house.md"}
    assert (
        run("search", *query).stdout == run("search", *query, "--search", "both").stdout
    )
    answered = run("ask", "What is red?", "-s", store, "--search", "composed")
    assert answered.exit_code == 0
    assert "(text→composed rank" in answered.output


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        ("", "--composition blend", "made without --composition"),
        (
            "--composition concat",
            "--composition blend",
            "made for Concatenate(alpha=0.5); asked for was Blend(alpha=0.5)",
        ),
        (
            "--composition blend",
            "--composition blend --alpha 0.25",
            "Leave --composition out to go on as it is",
        ),
        ("", "--alpha 0.25", "--alpha 0.25 needs --composition"),
    ],
)
def test_store_made_otherwise_is_not_filled(first, then, said, run, docs, tmp_path):
    index = ("index", docs, "-s", tmp_path / "store")
    assert run(*index, *first.split()).exit_code == 0
    refused(run(*index, *then.split()), said)
    assert run(*index).exit_code == 0


@pytest.mark.parametrize("stage", ["composed", "both"])
def test_store_made_without_early_fusion_says_how_to_make_one_with_it(
    stage, run, store
):
    ended = run("search", "red", "-s", store, "--search", stage)
    refused(ended, f"--search {stage} needs vectors")
    refused(ended, "mmrag index DIR --store NEW --composition blend")
    assert run("search", "red", "-s", store, "--search", "parts").exit_code == 0


def test_root_has_a_name_and_its_pictures_are_shown_from_where_it_is_said_to_be(
    run, docs, tmp_path
):
    store = tmp_path / "store"
    indexed = run("index", docs, "--store", store, "--root", "house", "--refresh")
    assert indexed.exit_code == 0
    there = docs.rename(tmp_path / "there")
    (store / "catalogue.sqlite").unlink()  # as on another machine
    for roots, shown in (((), "teapot.png"), (("--root", f"house={there}"), None)):
        found = run("search", "red", "--store", store, "--json", *roots)
        assert found.exit_code == 0, found.output
        paths = [card["image_path"] for card in json.loads(found.stdout)]
        expected = shown or str(there / "teapot.png")
        assert [path for path in paths if path] == [expected]
        assert run("ask", "red", "--store", store, *roots).exit_code == 0


def test_root_that_is_none_is_refused(run, docs, store):
    refused(run("index", docs, "--store", store, "--root", "a/b"), "expected a name")
    other = docs.rename(docs.parent / "others")
    docs.mkdir()
    refused(run("index", other, "--store", store, "--root", ""), "expected a name")
    for root in ("house", "=there", "house="):
        refused(run("search", "red", "--store", store, "--root", root), "NAME=FOLDER")
    missing = f"docs={docs / 'missing'}"
    refused(run("ask", "red", "--store", store, "--root", missing), "no such folder")


def test_limits_and_what_to_do_with_files_that_are_not_read(run, docs, tmp_path):
    (docs / "a.zip").write_bytes(b"x")
    index = ("index", docs, "--store", tmp_path / "store")
    said = run(*index, "--limit", "text_bytes=3", "--limit", "page_s=9.5")
    assert said.exit_code == 0
    assert "it has more than 3 bytes" in said.stderr
    assert "Not read: .zip 1: Unpack them into the folder." in said.stdout
    for wrong in ("text_bytes", "text_bytes=many", "sheets=3", "pixels=1.5"):
        refused(run(*index, "--limit", wrong), f"--limit is '{wrong}'; expected NAME=")
