"""Results as JSON: the keys that scripts read, and the figures under them."""

from __future__ import annotations

import json

from llama_index.core.schema import TextNode

from llama_index_mmrag.report.results import ResultCard, SourceCard

from ..support.colours import ranked
from .world import results

FIRST_HIT = {"route": "text→text", "rank": 1, "raw_score": 0.5}
FIRST_HIT |= {"weight": 1.0, "amount": 0.5, "words": ""}
LATE = {"channel": "video", "route": "text→video"}
LATE |= {"kind": "deadline", "reason": "late"}


def test_result_says_what_was_found_and_why():
    first, second, *_ = (ResultCard.of(result).model_dump() for result in results())
    assert first == {
        "channel": None,
        "node_id": "t1",
        "entity_id": "tea",
        "modality": "text",
        "score": 0.75,
        "source": "tea.md",
        "image_path": None,
        "text": "Tea\nis steeped.",
        "contributions": [FIRST_HIT],
        "lettering": [],
        "about": {},
        "degraded": [LATE],
    }
    assert second["image_path"] == "/photos/pot.png"
    assert json.loads(json.dumps(first)) == first


def test_hits_of_an_entitys_nodes_add_up_to_its_score_and_kin_have_none():
    rows = [ResultCard.of(result) for result in results()]
    amounts = [[hit.amount for hit in row.contributions] for row in rows]
    assert amounts == [[0.5], [0.25], [0.125], []]
    assert [row.score for row in rows] == [0.75, 0.75, 0.125, 0.125]


def test_source_says_the_same_under_its_own_keys():
    assert SourceCard.of(results()[0]).model_dump() == {
        "channel": None,
        "node_id": "t1",
        "modality": "text",
        "name": "tea.md",
        "score": 0.75,
        "entity_id": "tea",
        "found_by": [FIRST_HIT],
        "lettering": [],
        "about": {},
    }


def test_plain_result_of_llamaindex_has_no_hits():
    (plain,) = ranked(TextNode(id_="n", text="plain"), score=None)
    row, source = ResultCard.of(plain), SourceCard.of(plain)
    assert (row.entity_id, row.contributions, row.degraded) == ("n", [], [])
    assert (source.entity_id, source.found_by, source.score) == (None, [], None)
