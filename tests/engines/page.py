"""The page on compatibility: its table is written from what the cells showed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from .claims import FATAL, Claim
from .engines import ENGINES, Engine, Note
from .world import ASKED, WAYS, Asked, Way

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
START, END = "<!-- matrix -->", "<!-- end of the matrix -->"

Cell: TypeAlias = tuple[str, Asked, Way]
"""An engine's name, the kind of query, the way of asking."""
Marks: TypeAlias = Mapping[Cell, tuple[Note, ...] | None]
"""The notes to each cell that ran; None where the engine does not stream."""

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LOWERED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")


def notes_for(engine: Engine, asked: Asked, way: Way, broken: set[Claim]) -> list[Note]:
    """Return the footnotes that say why claims do not hold in a cell.

    Raises:
        AssertionError: A claim is broken and no note says why, or a note says that it
            is and it holds: LlamaIndex has changed, or we have.
    """
    notes = engine.notes(asked, way)
    unexplained = broken - {note.claim for note in notes}
    assert not unexplained, f"does not hold: {[c.value for c in unexplained]}"
    mended = [note.reason for note in notes if note.claim not in broken]
    assert not mended, f"no longer so, remove the note: {mended}"
    return list(notes)


def render(marks: Marks) -> str:
    """Return the table and its footnotes."""
    numbers = _numbers(marks)
    lines = [
        "| Engine | Query by text | by picture | by both |",
        "| --- | --- | --- | --- |",
    ]
    for engine in ENGINES:
        cells = [
            " ".join(_mark(marks[engine.name, asked, way], numbers) for way in WAYS)
            for asked in ASKED
        ]
        lines.append(f"| {engine.name} | {' | '.join(cells)} |")
    lines.append("")
    lines += [f"{number}. {note.reason}" for note, number in numbers.items()]
    return "\n".join(lines)


def parse(table: str) -> Marks:
    """Return the marks of a table that `render` wrote."""
    reasons = dict(re.findall(r"^(\d+)\. (.+)$", table, flags=re.MULTILINE))
    notes = {note.reason: note for note in Note}
    unknown = sorted(set(reasons.values()) - set(notes))
    assert not unknown, (
        f"write the page anew (test_conformance.py says how); stale: {unknown}"
    )
    numbered = {number: notes[reason] for number, reason in reasons.items()}
    marks: dict[Cell, tuple[Note, ...] | None] = {}
    for line in table.splitlines()[2:]:
        if not line.startswith("| "):
            continue
        name, *cells = line.strip("| ").split(" | ")
        for asked, cell in zip(ASKED, cells, strict=True):
            for way, mark in zip(WAYS, cell.split(), strict=True):
                numbers = mark[1:].translate(_LOWERED).split("·")
                marks[name, asked, way] = (
                    None if mark == "–" else tuple(numbered[n] for n in numbers if n)
                )
    return marks


def written() -> str:
    """Return the table as the page has it."""
    _, table = PAGE.read_text(encoding="utf-8").split(START)
    return table.split(END)[0].strip()


def write(marks: Marks) -> None:
    """Put the table of `marks` into the page."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    after = rest.split(END)[1]
    table = f"{before}{START}\n{render(marks)}\n{END}{after}"
    PAGE.write_text(table, encoding="utf-8")


def _numbers(marks: Marks) -> dict[Note, int]:
    used = {note for notes in marks.values() for note in notes or ()}
    return {note: n for n, note in enumerate((n for n in Note if n in used), 1)}


def _mark(notes: tuple[Note, ...] | None, numbers: Mapping[Note, int]) -> str:
    if notes is None:
        return "–"
    wrong = any(note.claim in FATAL for note in notes)
    raised = "·".join(str(numbers[note]).translate(_RAISED) for note in notes)
    return ("✗" if wrong else "✓") + raised
