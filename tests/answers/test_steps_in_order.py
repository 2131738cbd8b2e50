"""A manual of ten steps, a picture each: told in order, whatever the ranking says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.llms.openai_like import OpenAILike
from PIL import Image

from llama_index_mmrag import (
    MultiModalQdrantIndex,
    MultiModalRetrieverTool,
    MultiModalSynthesizer,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder

from ..support.colours import ids_of
from ..support.openai_server import OpenAIServer, picture_of

STEPS = list(range(1, 11))
REDNESS = [4, 9, 1, 7, 10, 2, 8, 3, 6, 5]
"""Of each step, in tenths: the ranking of the question "red" is this, largest first."""

RANKED = sorted(STEPS, key=lambda step: -REDNESS[step - 1])


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MultiModalQdrantIndex]:
    folder = tmp_path_factory.mktemp("manuals")
    sections = []
    for step, red in zip(STEPS, REDNESS, strict=True):
        shade = Image.new("RGB", (20 + step, 10), (red * 25, 0, 250 - red * 25))
        shade.save(folder / f"{step}.png")
        colours = "red " * red + "blue " * (10 - red)
        sections.append(
            f"## Step {step}\n\n![Figure {step}]({step}.png)\n\n"
            f"Do {colours}as in figure {step}.\n"
        )
    (folder / "manual.md").write_text("# Assembly\n\n" + "\n".join(sections))
    store = tmp_path_factory.mktemp("store")
    with MultiModalQdrantIndex.open(store, embed_model=ColourEncoder()) as index:
        index.insert_directory(folder / "manual.md")
        yield index


def engine_of(index: MultiModalQdrantIndex, llm: OpenAILike | None, order: str):
    return RetrieverQueryEngine(
        index.as_retriever(top_k=10),
        response_synthesizer=MultiModalSynthesizer(
            llm, max_images=10, evidence_order=order
        ),
    )


def told(server: OpenAIServer) -> list[tuple[int, str, int]]:
    """Return (label, "text" or "image", step) of each source, as the model saw it."""
    found = []
    for block in server.blocks:
        if block["type"] == "text":
            for label, kind, words in re.findall(
                r"\[(\d+)\] (text|image) from [^\n]+\n([^[]+)", block["text"]
            ):
                (step,) = set(re.findall(r"[Ff]igure (\d+)", words))
                found.append((int(label), kind, int(step)))
        else:
            # The pictures' widths are their steps: 20 + n pixels.
            assert picture_of(block)[1].width == 20 + found[-1][2]
    return found


@pytest.mark.parametrize(
    ("order", "steps"), [("document", STEPS), ("ranking", RANKED)], ids=str
)
async def test_steps_and_their_figures_reach_the_model_in_order(
    index, server, llm, order, steps
):
    server.script("First [1][2], last [19][20].")
    engine = engine_of(index, llm, order)
    for response in (engine.query("red"), await engine.aquery("red")):
        sources = told(server)
        assert [label for label, _, _ in sources] == list(range(1, 21))
        assert [step for _, _, step in sources] == [n for n in steps for _ in range(2)]
        if order == "document":
            # A text and its figure are equally good: as ranked, either may be first.
            assert [kind for _, kind, _ in sources] == ["text", "image"] * 10
        cards = list(response.metadata["citations"].values())
        figures = [card["name"] for card in cards if card["modality"] == "image"]
        assert figures == [f"{step}.png" for step in steps]
        assert ids_of(response.source_nodes) == [card["node_id"] for card in cards]
        assert response.metadata["cited"] == {"1": 1, "2": 1, "19": 1, "20": 1}


def test_where_not_all_fit_the_best_are_shown_in_the_documents_order(index, llm):
    synthesizer = MultiModalSynthesizer(llm, max_images=3, evidence_order="document")
    found = index.as_retriever(top_k=10).retrieve("red")
    response = synthesizer.synthesize("red", found)
    cards = response.metadata["citations"].values()
    shown = [card["name"] for card in cards if card["modality"] == "image"]
    assert shown == [f"{step}.png" for step in sorted(RANKED[:3])]
    assert response.metadata["shown"]["n_images"] == 3
    assert len(response.metadata["left_out"]) == 7


@pytest.mark.parametrize("order", ["document", "ranking"])
def test_without_an_llm_the_closest_sentences_are_the_same_and_in_order(index, order):
    answer = str(engine_of(index, None, order).query("red"))
    quoted = [int(step) for step in re.findall(r"as in figure (\d+)\.", answer)]
    best = RANKED[: len(quoted)]
    assert quoted == (sorted(best) if order == "document" else best)
    assert len(quoted) > 1


def test_an_agents_tool_tells_them_in_order_too(index):
    tool = MultiModalRetrieverTool(
        index.as_retriever(), evidence_order="document", max_images=10
    )
    output = tool.call(query="red", top_k=10)
    assert re.findall(r"as in figure (\d+)", output.content) == [str(s) for s in STEPS]
