"""Where a node stands in its document: pages, boxes, tables, and who is told."""

from __future__ import annotations

import json

import pytest
from llama_index.core.schema import ImageNode, MetadataMode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from llama_index_mmrag import MultiModalQdrantIndex, describe_sources
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.ingestion import (
    Page,
    PictureLink,
    Place,
    ReadSettings,
    Section,
    read_file,
)
from llama_index_mmrag.ingestion.pages import split
from llama_index_mmrag.nodes.shown import name_of
from llama_index_mmrag.report.results import ResultCard, SourceCard

WORDS = [f"Sentence number {n} tells of a red kite." for n in range(60)]
TEXT = " ".join(WORDS)


def places():
    """Thirty sentences on the fourth page, thirty on the fifth: each a line."""
    start = 0
    for n, sentence in enumerate(WORDS):
        top = (n % 30) / 30
        yield Place(start, 4 + n // 30, (0.1, top, 0.5 + n / 1000, top + 0.02))
        start += len(sentence) + 1


@pytest.fixture
def read(write, picture):
    def read_section(*sections, media=None, labels=(), **metadata):
        settings = ReadSettings(
            media_dir=media,
            file_extractor={".pdf": lambda _: Page(sections, metadata, labels=labels)},
        )
        return read_file(write("manual.pdf", "%PDF"), settings=settings).nodes

    return read_section


def test_chunk_is_told_its_pages_and_the_box_of_its_lines_on_the_first(read):
    labels = ["i", "ii", "iii", "iv"]
    nodes = read(Section(TEXT, places=tuple(places())), labels=labels)
    assert len(nodes) > 2
    for node in nodes:
        said, its = node.metadata, [n for n in range(60) if WORDS[n] in node.text]
        first = [n for n in its if n // 30 == its[0] // 30]
        assert said["page"] == 4 + its[0] // 30
        assert said["page_end"] == 4 + its[-1] // 30
        assert said["page_label"] == ("iv" if its[0] < 30 else "5")
        bottom = (first[-1] % 30) / 30 + 0.02
        right = 0.5 + first[-1] / 1000
        assert said["box"] == pytest.approx(
            [0.1, (first[0] % 30) / 30, right, bottom], abs=1e-4
        )
    ends = {(node.metadata["page"], node.metadata["page_end"]) for node in nodes}
    assert ends >= {(4, 4), (4, 5), (5, 5)}


def test_places_are_searched_by_and_never_embedded(read, picture, tmp_path):
    link = PictureLink(
        "", "A kite", data=picture(side=40), about={"page": 2, "box": [0, 0, 0.5, 1]}
    )
    section = Section(
        "A kite.", (link,), ("Birds",), ("s", 1), places=(Place(0, 2),),
        about={"kind": "figure", "slide": 3},
    )  # fmt: skip
    text, image = read(section, labels=["", "A-3"], media=tmp_path / "media")
    assert {"page": 2, "page_label": "A-3", "kind": "figure"}.items() <= (
        image.metadata.items()
    )
    assert image.metadata["box"] == [0, 0, 0.5, 1]
    for node in (text, image):
        embedded = node.get_content(MetadataMode.EMBED)
        assert "A-3" not in embedded
        assert "kite" in embedded
        shown = node.get_content(MetadataMode.LLM)
        assert "page_label: A-3" in shown
        assert "box" not in shown
        assert "page:" not in shown


def test_node_of_a_document_goes_by_it_and_its_page(read, picture, tmp_path):
    link = PictureLink("", "", data=picture(side=40), about={"page": 1})
    of_slide, of_scan = {"slide": 7}, {"read_by": "tesseract 5.3 (eng 1)", "page": 9}
    nodes = read(
        Section("", (link,)),
        Section("a", about=of_slide),
        Section("b", about=of_scan),
        Section("c"),
        labels=["iv"],
        media=tmp_path / "media",
    )
    assert [name_of(node) for node in nodes] == [
        "manual.pdf, p. iv",
        "manual.pdf, slide 7",
        "manual.pdf, p. 9, read by tesseract 5.3",
        "manual.pdf",
    ]


HEAD = "| Part | Torque |\n|---|---|"
ROWS = [f"| Bolt {n} of the housing | {n} newton metres |" for n in range(40)]
TABLE = "\n".join([HEAD, *ROWS])


def test_rows_of_a_table_are_whole_and_stand_under_its_head():
    text = f"{TEXT}\n\nThe bolts.\n\n{TABLE}\n\n{TEXT}"
    chunks = split(text, "", ReadSettings())
    with_rows = [chunk for chunk in chunks if "|" in chunk]
    assert len(with_rows) > 2
    rows = []
    for chunk in with_rows:
        _, found, below = chunk.partition(HEAD + "\n")
        assert found
        assert chunk.count(HEAD) == 1
        rows += [row for row in below.split("\n") if row.startswith("|")]
    assert rows == ROWS
    assert all(any(sentence in chunk for chunk in chunks) for sentence in WORDS)


def test_small_table_stays_beside_its_text_and_a_large_row_is_cut():
    small = "\n".join([HEAD, *ROWS[:2]])
    assert split(f"The bolts.\n\n{small}", "", ReadSettings()) == [
        f"The bolts.\n\n{small}"
    ]
    wide = f"{HEAD}\n| {TEXT} | 1 |\n{ROWS[0]}"
    chunks = split(wide, "", ReadSettings())
    assert all(any(word in chunk for chunk in chunks) for word in WORDS)
    assert chunks[-1].endswith(ROWS[0])


def test_part_of_a_table_has_its_kind_and_place(read):
    text = f"{TABLE}\n"
    starts = [text.index(row) for row in ROWS]
    lines = tuple(
        Place(start, 1, (0, n / 50, 1, n / 50 + 0.01)) for n, start in enumerate(starts)
    )
    nodes = read(Section(text, places=lines))
    assert len(nodes) > 2
    assert {node.metadata["kind"] for node in nodes} == {"table"}
    tops = [node.metadata["box"][1] for node in nodes]
    firsts = [
        next(n for n, row in enumerate(ROWS) if row in node.text) / 50 for node in nodes
    ]
    assert tops == pytest.approx(firsts, abs=1e-4)


def test_page_is_in_payload_filters_cards_and_answers(write, picture, tmp_path):
    def read_pages(_):
        yield_ = [
            Section(f"The {colour} kite.", about={"page": n}, name=("page", n))
            for n, colour in enumerate(("red", "green", "blue"), 1)
        ]
        link = PictureLink("", "", data=picture("red", side=40), about={"page": 1})
        return Page((*yield_, Section("", (link,), name=("page", 1))), labels=["iv"])

    write("docs/manual.pdf")
    settings = ReadSettings(file_extractor={".pdf": read_pages})
    encoder = ColourEncoder()
    with MultiModalQdrantIndex.open(
        tmp_path / "store", embed_model=encoder, settings=settings
    ) as index:
        report = index.insert_directory(tmp_path / "docs")
        assert (report.n_added, report.problems) == (4, [])
        third = MetadataFilters(filters=[MetadataFilter(key="page", value=3)])
        (found,) = index.as_retriever(filters=third).retrieve("red")
        assert found.node.text == "The blue kite."
        results = index.as_retriever().retrieve("red")
        card = next(
            ResultCard.of(one) for one in results if isinstance(one.node, ImageNode)
        )
        assert card.source == "manual.pdf, p. iv"
        assert card.about == {"page": 1, "page_label": "iv"}
        assert json.loads(card.model_dump_json())["about"]["page"] == 1
        source = SourceCard.of(results[0])
        assert source.name == "manual.pdf, p. iv"
        answer = index.as_query_engine().query("The red kite")
        assert "manual.pdf, p. iv [1]" in describe_sources(answer)
