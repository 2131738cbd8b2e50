"""An index with early fusion: opened, searched at each stage, remembered, refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import Document, ImageNode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters
from qdrant_client import QdrantClient

from llama_index_mmrag import (
    RRF,
    Blend,
    Concatenate,
    MultiModalQdrantIndex,
    MultiModalQuery,
    provenance_of,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import CollectionMismatch, InvalidQuery, InvalidSetting
from llama_index_mmrag.ingestion import ReadSettings
from llama_index_mmrag.retrieval.channel import Channel

from ..support.indexes import KINDS, CountingEncoder, all_of, contents, inline, painted

STAGES = ("parts", "composed", "both")

PAGE = """\
# Red fruit

A ripe one.

![](pix/green.png)

# Water

A blue one.

![a cyan wave](pix/red.png)

# Sun

A yellow one.
"""
"""Three sections: a picture that its heading is the caption of, one with, and none."""


@pytest.fixture
def page(tmp_path) -> Path:
    root = tmp_path / "docs"
    painted(root / "pix", "red")
    # Pillow's lime is our green.
    painted(root / "pix", "lime", name="green.png")
    (root / "page.md").write_text(PAGE)
    return root


@pytest.fixture
def open_page(open_index, page):
    """Return a function that opens an index with early fusion, of that page."""

    def opened(kind="edge", rule=Blend(0.5)) -> MultiModalQdrantIndex:  # noqa: B008
        index = open_index(kind, composition=rule)
        index.insert_directory(page)
        return index

    return opened


def found(results: list[NodeWithScore]) -> list[str]:
    """Return each result's text, or its picture's file."""
    return [
        Path(r.node.image_path or "").name
        if isinstance(r.node, ImageNode)
        else r.node.get_content().split("\n")[0]
        for r in results
    ]


def routes(results: list[NodeWithScore]) -> set[str]:
    return {route for r in results for route in provenance_of(r).requested}


def by_modality(index: MultiModalQdrantIndex) -> dict[str, Channel]:
    return {channel.modality: channel for channel in index.channels}


# What is found


@KINDS
def test_each_stage_asks_its_routes(kind, open_page, page):
    index = open_page(kind)
    query = QueryBundle("red", image_path=str(page / "pix" / "green.png"))
    late = {"text→text", "text→image", "image→image"}
    early = {"composed→composed"}
    expected = {
        "parts": late,
        "composed": early,
        "both": late | early,
        None: late | early,
    }
    for stage, wanted in expected.items():
        results = index.as_retriever(search=stage).retrieve(query)
        assert routes(results) == wanted
        assert found(results)[0] in {"Red fruit", "green.png"}


@KINDS
@pytest.mark.parametrize("rule", [Blend(0.5), Concatenate(0.5)])
def test_early_fusion_alone_finds_by_words_by_picture_and_by_both(
    kind, rule, open_page, page
):
    index = open_page(kind, rule)
    retriever = index.as_retriever(search="composed", top_k=1)
    green = str(page / "pix" / "green.png")
    assert found(retriever.retrieve("yellow")) == ["Sun"]
    assert set(found(retriever.retrieve("blue"))) == {"Water", "red.png"}
    by_picture = retriever.retrieve(QueryBundle("", image_path=green))
    assert found(by_picture) == ["green.png", "Red fruit"], (
        "and the section comes along"
    )
    assert routes(by_picture) == {"image→composed"}
    by_both = retriever.retrieve(QueryBundle("red", image_path=green))
    assert found(by_both) == ["green.png", "Red fruit"]
    assert routes(by_both) == {"composed→composed"}
    (amount,) = provenance_of(by_both[0]).contributions
    # The query is what the picture was composed of: its caption is the heading.
    assert (amount.rank, amount.raw_score) == (1, pytest.approx(1.0, abs=1e-5))


def test_early_results_are_the_nodes_of_the_parts(open_page):
    index = open_page()
    parts = by_modality(index)
    whole = {
        node.node_id: node
        for modality in ("text", "image")
        for node in all_of(parts[modality])
    }
    for node in all_of(parts["composed"]):
        without = {"embedding": None}
        assert node.model_copy(update=without) == whole[node.node_id].model_copy(
            update=without
        )
    for stage in STAGES:
        results = index.as_retriever(search=stage).retrieve("blue")
        assert all(r.node.node_id in whole for r in results)
        assert {r.node.metadata["modality"] for r in results} == {"text", "image"}


def test_pictures_are_composed_with_their_caption_or_else_with_their_entitys_text(
    open_index, page
):
    """Red heading, green picture; cyan caption, red picture; blue text, lime one."""
    index = open_index(composition=Blend(0.5), embed_model=CountingEncoder())
    index.insert_directory(page)
    entity = {"entity_id": "pair"}
    alone = painted(page, "lime", name="alone.png")
    index.insert(
        [
            ImageNode(image_path=str(alone), metadata=entity),
            Document(text="blue", metadata=entity),
        ]
    )
    half = math.sqrt(0.5)
    vectors = {
        Path(node.image_path or "").name: node.embedding
        for node in all_of(by_modality(index)["composed"])
        if isinstance(node, ImageNode)
    }
    assert vectors["green.png"] == pytest.approx([half, half, 0, 0], abs=1e-6)
    assert vectors["alone.png"] == pytest.approx([0, half, half, 0], abs=1e-6)
    cyan_red = [half, 0.5, 0.5, 0]
    assert vectors["red.png"] == pytest.approx(cyan_red, abs=1e-6)


@KINDS
async def test_sync_and_async_give_the_same_at_every_stage(kind, open_page, page):
    index = open_page(kind, Concatenate(0.3))
    query = QueryBundle("red", image_path=str(page / "pix" / "green.png"))
    for stage in STAGES:
        retriever = index.as_retriever(search=stage)
        ours, theirs = retriever.retrieve(query), await retriever.aretrieve(query)
        assert found(ours) == found(theirs)
        assert [r.provenance for r in ours] == [r.provenance for r in theirs]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("fusion", [RRF(), None])
def test_provenance_adds_up_at_every_stage(stage, fusion, open_page, page):
    index = open_page()
    settings = {} if fusion is None else {"fusion": fusion}
    results = index.as_retriever(search=stage, **settings).retrieve(
        MultiModalQuery("red", images=[str(page / "pix" / "green.png")])
    )
    assert results
    for result in results:
        why = provenance_of(result)
        total = math.fsum(c.amount for c in why.contributions)
        assert why.score == pytest.approx(total, abs=1e-9)
        assert {c.route for c in why.contributions} <= set(why.requested)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@KINDS
def test_alpha_at_its_ends_ranks_as_the_single_channel(kind, alpha, open_index, page):
    """Documents of a text and a picture each; queries of both."""
    index = open_index(kind, composition=Blend(alpha))
    colours = ("red", "blue", "yellow", "cyan", "magenta", "white")
    index.insert(
        ImageNode(
            text=f"{colour} and {other}",
            image=inline(other if other != "green" else "lime"),
            metadata={"number": n},
        )
        for n, (colour, other) in enumerate(zip(colours, colours[::-1], strict=True))
    )
    query = QueryBundle("red and a little blue", image_path=str(painted(page, "cyan")))
    early = index.as_retriever(search="composed", fusion=RRF()).retrieve(query)
    encoder = index.channels[0].embed_model
    pictures = all_of(by_modality(index)["image"])
    if alpha:
        wanted = encoder.get_query_embedding("red and a little blue")
        vectors = [encoder.get_text_embedding(n.get_content()) for n in pictures]
    else:
        wanted = encoder.get_image_embedding(str(page / "cyan.png"))
        vectors = [node.embedding for node in pictures]
    ids = [node.node_id for node in pictures]
    cosines = dict(zip(ids, np.array(vectors) @ wanted, strict=True))
    scores = [provenance_of(r).contributions[0].raw_score for r in early]
    assert scores == pytest.approx(sorted(cosines.values(), reverse=True), abs=1e-6)
    assert [cosines[r.node.node_id] for r in early] == pytest.approx(scores, abs=1e-6)


def test_filters_hold_at_every_stage(open_index):
    index = open_index(composition=Blend(0.5))
    index.insert(
        [
            Document(text="red", id_="a", metadata={"shelf": 1}),
            Document(text="red", id_="b", metadata={"shelf": 2}),
            ImageNode(text="red", image=inline("red"), metadata={"shelf": 2}),
        ]
    )
    filters = MetadataFilters(filters=[MetadataFilter(key="shelf", value=2)])
    for stage in STAGES:
        retriever = index.as_retriever(search=stage, filters=filters)
        results = retriever.retrieve("red")
        assert {r.node.metadata["shelf"] for r in results} == {2}
        assert len(results) == 2


def test_engine_and_tool_pass_the_stage_on(open_page):
    index = open_page()
    answer = index.as_query_engine(search="composed").query("What is yellow?")
    assert routes(answer.source_nodes) == {"text→composed"}
    output = index.as_tool(search="composed").call(query="yellow", top_k=20)
    assert routes(output.raw_output) == {"text→composed"}
    output = index.as_tool().call(query="yellow")
    assert routes(output.raw_output) == {"text→text", "text→image", "text→composed"}


@KINDS
def test_deeper_retriever_keeps_its_stage(kind, open_page):
    index = open_page(kind)
    few = index.as_retriever(search="composed", top_k=1)
    assert found(few.retrieve("yellow")) == ["Sun"]
    many = few.with_top_k(12).retrieve("yellow")
    assert found(many)[0] == "Sun"
    assert routes(many) == {"text→composed"}
    assert len(many) == 5, "every section, with its picture"


# What is written


@KINDS
def test_removed_text_leaves_its_picture_alone(kind, open_index, tmp_path):
    index = open_index(kind, composition=Blend(0.5))
    entity = {"entity_id": "pair"}
    index.insert(
        [
            ImageNode(image=inline("red"), metadata=entity),
            Document(text="green", id_="words", metadata=entity),
        ]
    )
    composed, alone = by_modality(index)["composed"], by_modality(index)["image"]

    def vector() -> list[float]:
        (node,) = (n for n in all_of(composed) if isinstance(n, ImageNode))
        return list(node.embedding or ())

    (picture,) = all_of(alone)
    assert vector() != pytest.approx(picture.embedding, abs=1e-3)
    assert index.delete_ref_doc("words") == 1, "what was counted is a node, not a copy"
    assert vector() == pytest.approx(picture.embedding, abs=1e-6)
    index.insert(Document(text="green", id_="words", metadata=entity))
    assert vector() != pytest.approx(picture.embedding, abs=1e-3)


def test_parts_are_encoded_once_for_all_collections(open_index, page, encoder):
    index = open_index(composition=Blend(0.5))
    report = index.insert_directory(page)
    assert (report.n_added, len(all_of(index.channels[0]))) == (5, 3)
    assert encoder.taken() == (3 + 2, 2), "three texts, two captions, two pictures"
    assert index.refresh(page).n_unchanged == 5
    assert encoder.taken() == (0, 0)


def test_refreshed_folder_equals_a_fresh_one(open_page, page, open_index):
    index = open_page(rule=Concatenate(0.5))
    (page / "page.md").write_text(PAGE.replace("A ripe one.", "A magenta one."))
    (page / "more.txt").write_text("white")
    index.refresh(page)
    fresh = open_index(composition=Concatenate(0.5))
    fresh.insert_directory(page)
    assert contents(index) == contents(fresh)
    (page / "page.md").unlink()
    index.refresh(page)
    assert [len(all_of(c)) for c in index.channels] == [1, 2, 3], "the pictures stay"


class Interrupted(CountingEncoder):
    """The colour encoder, which is interrupted at a caption that it encodes again."""

    _n_captions: int = PrivateAttr(default=0)

    def _get_text_embedding(self, text: str) -> list[float]:
        self._n_captions += "caption" in text
        if self._n_captions > 1:  # the first are the picture's words
            raise KeyboardInterrupt
        return super()._get_text_embedding(text)


def test_insert_that_was_interrupted_before_composing_is_made_good(
    open_index, tmp_path
):
    items = [
        Document(text="green", id_="words"),
        ImageNode(text="red caption", image=inline("red")),
    ]
    broken = Interrupted(modality_gap=0.75)
    path = tmp_path / "store"
    settings = {
        "composition": Blend(0.5),
        "settings": ReadSettings(media_dir=tmp_path / "media"),
    }
    with open_index(path=path, embed_model=broken, **settings) as index:
        with pytest.raises(KeyboardInterrupt):
            index.insert(items)
        assert [len(all_of(c)) for c in index.channels] == [2, 1, 0]
    with open_index(path=path, **settings) as index:
        report = index.insert(items)
        assert (report.n_added, report.n_unchanged) == (0, 3)
        fresh = open_index(**settings)
        fresh.insert(items)
        assert contents(index) == contents(fresh)


class Choosy(CountingEncoder):
    """The colour encoder, which cannot encode some captions."""

    def _get_text_embedding(self, text: str) -> list[float]:
        if "unsayable" in text:
            raise ValueError(text)
        return super()._get_text_embedding(text)


def test_caption_that_cannot_be_encoded_is_told_and_the_rest_goes_in(
    open_index, tmp_path
):
    items = [
        ImageNode(text="unsayable", image=inline("red")),
        ImageNode(text="blue", image=inline("blue")),
    ]
    path, rule = tmp_path / "store", Blend(0.5)
    choosy = Choosy(modality_gap=0.75)
    with open_index(path=path, composition=rule, embed_model=choosy) as index:
        report = index.insert(items)
        assert {problem.reason for problem in report.problems} == {"unsayable"}
        assert [len(all_of(c)) for c in index.channels] == [1, 2, 1]
    with open_index(path=path, composition=rule) as index:
        index.insert(items)
        assert [len(all_of(c)) for c in index.channels] == [2, 2, 2], "the next time"


# What is remembered


def test_store_remembers_its_composition(open_index, tmp_path, page):
    path = tmp_path / "store"
    open_index(path=path, composition=Blend(0.25)).close()
    collections = json.loads((path / "mmrag.json").read_text())["collections"]
    assert collections["composed"]["composition"] == "blend-v1(alpha=0.25)"
    for other, said in (
        (Blend(0.5), r"of blend-v1\(alpha=0\.25\); composition is blend-v1\(alpha=0"),
        (Concatenate(0.25), r"Open it with composition=Blend\(alpha=0\.25\)"),
        (None, r"no composition was given.*composition=Blend\(alpha=0\.25\)"),
    ):
        with pytest.raises(CollectionMismatch, match=said):
            open_index(path=path, composition=other)
    with open_index(path=path, composition=Blend(0.25)) as index:
        assert [c.name for c in index.channels] == ["text", "image", "composed"]


def test_store_without_composed_vectors_is_not_opened_for_early_fusion(
    open_index, tmp_path
):
    open_index(path=tmp_path / "store").close()
    with pytest.raises(CollectionMismatch, match="no composed vectors.*new store"):
        open_index(path=tmp_path / "store", composition=Blend(0.5))
    assert not (tmp_path / "store" / "composed").exists()
    open_index(path=tmp_path / "store")


def test_server_remembers_its_composition(encoder):
    client = QdrantClient(":memory:")

    def opened(rule: Any) -> MultiModalQdrantIndex:
        return MultiModalQdrantIndex.open(
            client=client, embed_model=encoder, composition=rule
        )

    opened(Blend(0.25)).insert(Document(text="red"))
    assert client.count("mmrag-composed").count == 1
    assert [c.name for c in opened(Blend(0.25)).channels][-1] == "composed"
    for other, said in (
        (Blend(0.5), r"'mmrag-text' are of blend-v1\(alpha=0\.25\)"),
        (None, r"no composition was given.*Blend\(alpha=0\.25\)"),
    ):
        with pytest.raises(CollectionMismatch, match=said):
            opened(other)
    client.close()


def test_server_collections_without_composed_vectors_are_not_opened_for_them(encoder):
    client = QdrantClient(":memory:")
    plain = MultiModalQdrantIndex.open(client=client, embed_model=encoder)
    MultiModalQdrantIndex.open(
        client=client, embed_model=encoder, collection="x", composition=Blend()
    )
    plain.insert(Document(text="red"))
    with pytest.raises(CollectionMismatch, match="no composed vectors"):
        MultiModalQdrantIndex.open(
            client=client, embed_model=encoder, composition=Blend()
        )
    assert not client.collection_exists("mmrag-composed")
    client.close()


# What is refused


def test_index_without_composed_vectors_has_no_early_stage(open_index):
    index = open_index()
    assert routes(index.as_retriever().retrieve("red")) == set()
    for stage in ("composed", "both"):
        with pytest.raises(InvalidSetting, match=f"{stage!r}.*no composed vectors"):
            index.as_retriever(search=stage)
    assert len(index.as_retriever(search="parts").channels) == 2
    with pytest.raises(InvalidSetting, match="'earlier'; expected 'parts', 'composed'"):
        index.as_retriever(search="earlier")


def test_early_stage_searches_no_part_apart_and_says_so(open_index):
    index = open_index(composition=Blend(0.5))
    index.insert(Document(text="red"))
    with pytest.raises(InvalidQuery, match=r"'text': \[\].*'parts' or 'both'"):
        index.as_retriever(search="composed").text_retrieve("red")
    (hit,) = index.as_retriever().text_retrieve("red")
    assert routes([hit]) == {"text→text"}


def test_blend_of_two_encoders_is_refused_before_anything_is_made(tmp_path, encoder):
    for texts in (MockEmbedding(embed_dim=3), ColourEncoder()):
        with pytest.raises(InvalidSetting, match="one space.*Concatenate"):
            MultiModalQdrantIndex.open(
                tmp_path / "store",
                embed_model=texts,
                image_embed_model=encoder,
                composition=Blend(0.5),
            )
    assert not (tmp_path / "store").exists()


def test_concatenation_takes_two_encoders(open_index, encoder):
    index = open_index(
        embed_model=MockEmbedding(embed_dim=3),
        image_embed_model=encoder,
        composition=Concatenate(0.5),
    )
    index.insert([Document(text="red"), ImageNode(text="red", image=inline("red"))])
    assert {len(n.embedding or ()) for n in all_of(index.channels[-1])} == {7}
    results = index.as_retriever(search="composed").retrieve("red")
    assert len(results) == 2


def test_two_composed_channels_are_refused(open_index):
    channels = open_index(composition=Blend(0.5)).channels
    with pytest.raises(InvalidSetting, match="one for each modality"):
        MultiModalQdrantIndex([*channels, channels[-1]])
    assert MultiModalQdrantIndex(channels).channels == channels
