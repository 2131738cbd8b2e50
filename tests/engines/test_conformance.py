"""Our retriever and synthesizer in every engine of LlamaIndex that they fit into.

Each cell is one engine, one kind of query, one way of asking. All claims hold in it but
those that a footnote of the table lays at LlamaIndex's door; and those must not hold,
so that the day on which LlamaIndex mends them is noticed here.

What the cells showed is written to the page when asked to, all in one process:

    MMRAG_WRITE_COMPATIBILITY=1 python -m pytest tests/engines/test_conformance.py
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Iterator

import pytest

from . import page
from .asking import ask
from .claims import Claim, broken_claims
from .engines import CELLS, ENGINES, Engine, Note
from .world import ASKED, WAYS, Asked, Way, open_world


@pytest.fixture(scope="session")
def is_writing() -> bool:
    """Whether the page is about to be written, and so not to be compared with."""
    return bool(os.environ.get("MMRAG_WRITE_COMPATIBILITY"))


@pytest.fixture(scope="session")
def shown(is_writing) -> Iterator[dict[page.Cell, tuple[page.Note, ...] | None]]:
    """Return where each cell writes its notes."""
    marks: dict[page.Cell, tuple[page.Note, ...] | None] = {}
    yield marks
    if is_writing:
        missing = len(CELLS) - len(marks)
        assert not missing, f"{missing} cells failed or did not run; page left as it is"
        unstreamed = {
            (engine.name, asked, way): None
            for engine in ENGINES
            for asked in ASKED
            for way in WAYS
            if way not in engine.ways
        }
        page.write({**marks, **unstreamed})


def cell_id(engine: Engine, asked: Asked, way: Way) -> str:
    name = re.sub(r"[^A-Za-z]+", "_", engine.name).strip("_")
    return f"{name}-{asked}-{way.replace(' ', '_')}"


@pytest.mark.parametrize(
    ("engine", "asked", "way"), [pytest.param(*c, id=cell_id(*c)) for c in CELLS]
)
async def test_cell_shows_what_the_table_says(
    engine, asked, way, tmp_path, shown, is_writing
):
    with open_world(tmp_path, way) as world:
        query = world.query(asked)
        before = copy.deepcopy(query)
        try:
            answered = await ask(engine, world, query)
        except Exception:
            if Claim.ANSWERS not in {note.claim for note in engine.notes(asked, way)}:
                raise
            broken = {Claim.ANSWERS}
        else:
            broken = broken_claims(asked, world, answered, before, query)

    notes = tuple(page.notes_for(engine, asked, way, broken))
    shown[engine.name, asked, way] = notes
    if not is_writing:
        committed = page.parse(page.written())
        assert committed[engine.name, asked, way] == notes


def test_page_is_as_the_cells_write_it(is_writing):
    if is_writing:
        pytest.skip("the page is being written")
    marks = page.parse(page.written())
    assert page.render(marks) == page.written()
    assert list(marks) == [(e.name, a, w) for e in ENGINES for a in ASKED for w in WAYS]
    unstreamed = {cell for cell, notes in marks.items() if notes is None}
    ran = {(engine.name, asked, way) for engine, asked, way in CELLS}
    assert unstreamed == set(marks) - ran


def test_every_claim_is_on_the_page_and_every_note_is_used(is_writing):
    text = " ".join(page.PAGE.read_text(encoding="utf-8").split())
    for claim in Claim:
        assert claim.value in text
    used = {n for e in ENGINES for a in ASKED for w in e.ways for n in e.notes(a, w)}
    assert used == set(Note)


def test_broken_claim_without_a_note_or_note_whose_claim_holds_fails_the_cell():
    with pytest.raises(AssertionError, match="the captions found reach the LLM"):
        page.notes_for(ENGINES[0], "text", "sync", {Claim.CAPTIONS})
    chat = next(e for e in ENGINES if Note.CHAT_CAPTIONS in e.limits)
    with pytest.raises(AssertionError, match="no longer so, remove the note"):
        page.notes_for(chat, "text", "sync", set())
