"""Ranked lists for the fusion tests: by hand, at random, or by hypothesis."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

from llama_index_mmrag.fusion import FusedEntity, RankedList

MODEST_SCORES = st.floats(-1e6, 1e6, allow_nan=False, width=32)


def ranked(
    channel: str,
    scores: Mapping[str, float],
    *,
    entities: Mapping[str, str] | None = None,
    weight: float = 1.0,
) -> RankedList:
    """Return a list of nodes by score; each node its own entity unless told."""
    known = entities or {}
    return RankedList.from_scores(
        [(node, known.get(node, node), score) for node, score in scores.items()],
        channel=channel,
        weight=weight,
    )


def scores_of(fused: Sequence[FusedEntity]) -> dict[str, float]:
    return {entity.entity_id: entity.score for entity in fused}


def random_runs(
    rng: random.Random, *, n_lists: int, n_nodes: int, least: int = 2
) -> list[dict[str, float]]:
    """Return dicts of node → distinct score, which overlap in part."""
    # Ids of one length: ranx is compiled anew for each.
    names = [f"d{number:02d}" for number in range(n_nodes)]
    runs = []
    for _ in range(n_lists):
        chosen = rng.sample(names, rng.randint(least, n_nodes))
        values = rng.sample(range(-1000, 1000), len(chosen))
        runs.append({n: v / 128 for n, v in zip(chosen, values, strict=True)})
    return runs


@st.composite
def ranked_lists(draw: st.DrawFn, max_lists: int = 4) -> list[RankedList]:
    """Lists over few entities, so that they overlap, tie and repeat an entity."""
    n_lists = draw(st.integers(0, max_lists))
    lists = []
    for index in range(n_lists):
        hits = draw(
            st.lists(
                st.tuples(
                    st.integers(0, 9),
                    st.one_of(MODEST_SCORES, st.sampled_from([0.0, 0.5, 1.0])),
                ),
                max_size=8,
            )
        )
        lists.append(
            RankedList.from_scores(
                [(f"n{n}", f"e{n % 5}", score) for n, score in hits],
                channel=f"c{index}",
                weight=draw(st.sampled_from([0.0, 0.5, 1.0, 3.0])),
            )
        )
    return lists
