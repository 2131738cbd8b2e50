"""Our retriever and synthesizer in every engine of LlamaIndex that they fit into.

Each cell is one engine, one kind of query, one way of asking. All claims hold in it but
those that a footnote of the table lays at LlamaIndex's door; and those must not hold,
so that the day on which LlamaIndex mends them is noticed here.
"""

from __future__ import annotations

import copy
import re
from contextlib import ExitStack
from typing import Any

import pytest

from . import page
from .asking import ask
from .claims import Claim, broken_claims
from .engines import CELLS, ENGINES, Engine, Note
from .world import ASKED, WAYS, Asked, Way, build_world


@pytest.fixture
def close_after() -> Any:
    with ExitStack() as stack:
        yield stack.callback


def cell_id(engine: Engine, asked: Asked, way: Way) -> str:
    name = re.sub(r"[^A-Za-z]+", "_", engine.name).strip("_")
    return f"{name}-{asked}-{way.replace(' ', '_')}"


@pytest.mark.parametrize(
    ("engine", "asked", "way"), [pytest.param(*c, id=cell_id(*c)) for c in CELLS]
)
async def test_cell_shows_what_the_table_says(
    engine, asked, way, tmp_path, close_after, shown, is_writing
):
    world = build_world(tmp_path, way, close_after)
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


def test_broken_claim_without_a_note_fails_the_cell():
    engine = ENGINES[0]
    with pytest.raises(AssertionError, match="the captions found reach the LLM"):
        page.notes_for(engine, "text", "sync", {Claim.CAPTIONS})


def test_note_whose_claim_holds_fails_the_cell():
    chat = next(e for e in ENGINES if Note.CHAT_CAPTIONS in e.limits)
    with pytest.raises(AssertionError, match="no longer so, remove the note"):
        page.notes_for(chat, "text", "sync", set())
