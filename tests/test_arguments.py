"""Every public argument is checked: what is wrong is one of our errors, at once.

Of each public constructor and method one argument at a time is replaced by each of six
values. A value that the annotation names has a documented meaning: it may be taken or
refused. All others must be refused, and nothing but our own errors may be raised.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.llms import MockLLM
from llama_index.core.schema import Document, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from PIL import Image
from qdrant_client import models

import llama_index_mmrag as mmrag
from llama_index_mmrag import (
    alignment,
    citations,
    compression,
    embeddings,
    events,
    fusion,
    ingestion,
    lettering,
    nodes,
    stores,
)
from llama_index_mmrag.alignment import finetuning
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import InvalidSetting, MmragError
from llama_index_mmrag.ingestion.sources import Sources
from llama_index_mmrag.stores import rescoring

from .support.called import ALIGNMENT, COMPONENTS, ENCODERS, Given, new, of
from .support.colours import ENCODER, text_node, uid
from .support.stores import open_client

WRONG = {
    "NaN": math.nan,
    "True": True,
    "'x'": "x",
    "None": None,
    "[]": [],
    "object()": object(),
}
NAMED = {
    "True": r"\bbool\b",
    "'x'": r"(?<!Sequence\[)(?<!Iterable\[)(?<!List\[)\b(str|Path|Query\w*Type)\b",
    "None": r"\b(None|Optional)\b",
    "[]": r"(Sequence|list|List|Iterable|tuple|frozenset|ArrayLike|Collection)\b",
}
"""Which words of an annotation name a value. NaN and a bare object are never meant."""

MEANT = {
    ("MultiModalQuery", "embedding"): "is left aside: channels have other encoders",
    ("MultiModalQdrantIndex.compress", "on_step"): "is called, where there are steps",
    ("Channel", "accepts"): "None takes what suits",
    ("reader_of", "read_pictures"): "True is the engine that is so by default",
    **{
        (name, field): "LlamaIndex's own field, which it takes as it comes"
        for name in COMPONENTS
        for field in ("callback_manager", "rate_limiter", "client_kwargs")
    },
    **{
        ("RescoringVectorStore", f"{kind}_vector_name"): "None is the vector unnamed"
        for kind in ("dense", "sparse")
    },
}
"""By argument: why more values are taken than its annotation names."""

NOT_CALLED = {
    "Composition Fusion": "protocols",
    "Caption Page Picture PictureLink Place Section": "what a reader returns: whoever"
    " asked it checks that it is a Page, and each picture when it is opened",
    "Contribution Degradation FusedNode Provenance Hit FusedEntity Background Problem"
    " SourceRecord Survey Compression IndexCompression ServerCompression Row"
    " RouteDegradedEvent": "what comes out: nobody makes one to put it in",
    "BatchedClipEmbedding.from_clip_embedding BatchedClipEmbedding.encode_texts"
    " BatchedClipEmbedding.encode_images OfflineTextEmbedding.encode_texts"
    " OfflineMultiModalEmbedding.encode_images OfflineFeaturesEmbedding.encode_images"
    " BatchedClipEmbedding.unread OfflineTextEmbedding.unread ConseEmbedding.unread"
    " ConseEmbedding.encode_texts ConseEmbedding.encode_images"
    " finetune Captioner FinetuneSettings.weight": "need a model's files, or are"
    " asked by what has them: decorated as TransformedEmbedding's",
    "RescoringVectorStore.query RescoringVectorStore.aquery": "LlamaIndex's arguments:"
    " tested with the class",
    "Transform Center.out_dim Chain.out_dim Columns.out_dim Mix.out_dim PCA.out_dim"
    " Perceptron.out_dim Project.out_dim Truncate.out_dim": "asked with the lengths of"
    " arrays, in each call of `apply`",
    "IDENTITY Aligned Diagnosis EncodedPairs Epoch Found FoundBothWays Gap PairProblem"
    " PairsRead PictureText TrainedAutoencoder TrainedHeads FinetuneEpoch"
    " FinetuneReport SkippedPair": "what comes out",
    "CaptionedImageNode ExplainedTextNode": "LlamaIndex's nodes: pydantic checks them",
    "entity_id_of entity_of hide_bookkeeping modality_of name_of stored_as"
    " with_provenance report": "called for each node, with what a walk has made",
    "collect_routes MultiModalQuery.to_dict MultiModalQuery.from_dict"
    " QdrantEdgeVectorStore.clear": "takes nothing, or what it wrote",
    "collect_degradations describe_sources provenance_of": "ask, and take any result",
    "Line PictureReader": "what comes out, and a protocol",
    "confident words_in": "called for each picture, with what was read",
    "RankedList": "channels make them, of what their stores found: scores are checked",
    "Channel.answer Channel.aanswer RetrieverChannel.answer RetrieverChannel.aanswer"
    " Channel.of_entities Channel.aof_entities RetrieverChannel.of_entities"
    " RetrieverChannel.aof_entities RRF.fuse WeightedSum.fuse CalibratedSum.fuse"
    " MultiModalSynthesizer.get_response MultiModalSynthesizer.aget_response"
    " MultiModalQdrantIndex.compress compress"
    " Candidates.transforms Candidates.lengths Candidates.n_tests": "called by the"
    " walk, with what it has made and checked",
    "compress_collection migrate": "need a server's client: tested there",
    "search_lock has_async_client": "ask, and take any store",
    "DocumentUnreadable InvalidNodeId TooFewPairs UnsupportedQuery": "errors",
}
"""What is left out, with the reason."""


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A small index and what is made of it."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "red.md").write_text("A red kite.")
    picture = folder / "red.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    place = tmp_path_factory.mktemp("index")
    with (
        pytest.MonkeyPatch.context() as patch,
        mmrag.MultiModalQdrantIndex.open(place, embed_model=ColourEncoder()) as index,
        mmrag.QdrantEdgeVectorStore.open(place / "alone", dim=4) as store,
        open_client("local") as client,
    ):
        patch.chdir(tmp_path_factory.mktemp("here"))  # "x" is a folder's name too
        report = index.insert_directory(folder)
        store.add([text_node("red")])
        size = models.VectorParams(size=4, distance=models.Distance.COSINE)
        client.create_collection("photos", vectors_config=size)
        client.upsert(
            "photos",
            [
                models.PointStruct(
                    id=0, vector=[1.0] * 4, payload={"path": "red.png", "x": "x"}
                )
            ],
        )
        retriever = index.as_retriever()
        yield SimpleNamespace(
            index=index,
            report=report,
            store=store,
            retriever=retriever,
            engine=index.as_query_engine(),
            results=retriever.retrieve("a red kite"),
            channel=mmrag.Channel("text", vector_store=store, embed_model=ENCODER),
            folder=folder,
            picture=str(picture),
            place=place,
            client=client,
        )


VECTORS = [[1.0, 0.0]]
ASKED = VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0, 0.0])
BLEND, JOINED = mmrag.Blend(), mmrag.Concatenate()
CHECKER = citations.CitationChecker(1)
QUOTING = mmrag.MultiModalSynthesizer(None, embed_model=ENCODER)
NODES = {"node_ids": [uid("text red")]}

VALID: dict[str, Given] = {
    **{
        made.__name__: new(made)
        for made in (
            *(fusion.RRF, fusion.WeightedSum, fusion.CalibratedSum),
            *(mmrag.Blend, mmrag.Concatenate, mmrag.MultiModalSynthesizer),
            *(compression.Candidates, compression.CompressSettings),
            ingestion.ReadSettings,
        )
    },
    **{
        f"{type(rule).__name__}.{method}": new(getattr(rule, method), **given)
        for rule in (BLEND, JOINED)
        for method, given in {
            "out_dim": {"text_dim": 2, "image_dim": 2},
            "compose": {"texts": VECTORS, "pictures": VECTORS},
            "weighted": {"text": 1.0, "image": 2.0},
        }.items()
    },
    "Channel": new(
        mmrag.Channel,
        name="text",
        vector_store=lambda w: w.store,
        embed_model=lambda _: ENCODER,
    ),
    "RetrieverChannel": new(
        mmrag.RetrieverChannel, name="a", retriever=lambda w: w.retriever
    ),
    "MultiModalQuery": new(mmrag.MultiModalQuery, query_str="red"),
    "KeepPicture": new(
        mmrag.KeepPicture, transform=lambda _: HyDEQueryTransform(llm=MockLLM())
    ),
    "MultiModalFusionRetriever": new(
        mmrag.MultiModalFusionRetriever, channels=lambda w: [w.channel]
    ),
    "MultiModalFusionRetriever.from_vector_stores": new(
        mmrag.MultiModalFusionRetriever.from_vector_stores,
        text_store=lambda w: w.store,
        image_store=lambda w: w.store,
        embed_model=lambda _: ENCODER,
        image_embed_model=lambda _: ENCODER,
    ),
    "MultiModalFusionRetriever.from_qdrant": new(
        mmrag.MultiModalFusionRetriever.from_qdrant,
        client=lambda w: w.client,
        collection="photos",
        image_path_key="path",
        image_root=lambda w: w.folder,
        embed_model=lambda _: ENCODER,
    ),
    "MultiModalFusionRetriever.with_top_k": of("retriever", "with_top_k", top_k=1),
    "MultiModalFusionRetriever.with_filters": of(
        "retriever", "with_filters", filters=None
    ),
    **{
        f"MultiModalFusionRetriever.{method}": of(
            "retriever",
            method,
            str_or_query_bundle=(lambda w: mmrag.MultiModalQuery(image_path=w.picture))
            if "image_to" in method
            else "red",
        )
        for route in ("", "text_", "text_to_image_", "image_to_image_")
        for method in (f"{route}retrieve", f"a{route}retrieve")
    },
    "MultiModalQdrantIndex": new(
        mmrag.MultiModalQdrantIndex, channels=lambda w: w.index.channels
    ),
    "MultiModalQdrantIndex.open": new(
        mmrag.MultiModalQdrantIndex.open,
        path=lambda w: w.place / "none" / "such",
        embed_model=lambda _: ENCODER,
    ),
    "MultiModalQdrantIndex.insert": of(
        "index", "insert", items=lambda _: [Document(text="Blue.")]
    ),
    "MultiModalQdrantIndex.ainsert": of("index", "ainsert", items=lambda _: []),
    "MultiModalQdrantIndex.insert_directory": of(
        "index", "insert_directory", path=lambda w: w.folder
    ),
    "MultiModalQdrantIndex.ainsert_directory": of(
        "index", "ainsert_directory", path=lambda w: w.folder
    ),
    "MultiModalQdrantIndex.refresh": of("index", "refresh", source=lambda w: w.folder),
    "MultiModalQdrantIndex.gone": of(
        "index", "gone", path=lambda w: w.folder, report=lambda w: w.report
    ),
    "MultiModalQdrantIndex.delete_ref_doc": of(
        "index", "delete_ref_doc", ref_doc_id="none"
    ),
    "MultiModalQdrantIndex.as_retriever": of("index", "as_retriever"),
    "MultiModalQdrantIndex.as_query_engine": of("index", "as_query_engine"),
    "MultiModalQdrantIndex.as_tool": of("index", "as_tool"),
    "MultiModalRetrieverTool": new(
        mmrag.MultiModalRetrieverTool, retriever=lambda w: w.retriever
    ),
    "MultiModalQueryEngineTool": new(
        mmrag.MultiModalQueryEngineTool, query_engine=lambda w: w.engine
    ),
    **{
        f"MultiModalSynthesizer.{method}": new(
            getattr(QUOTING, method), query="red", nodes=lambda w: w.results
        )
        for method in ("synthesize", "asynthesize")
    },
    "QdrantEdgeVectorStore.open": new(
        mmrag.QdrantEdgeVectorStore.open, path=lambda w: w.place / "alone2", dim=4
    ),
    "QdrantEdgeVectorStore.add": of("store", "add", nodes=lambda _: [text_node("b")]),
    "QdrantEdgeVectorStore.delete": of("store", "delete", ref_doc_id="none"),
    "QdrantEdgeVectorStore.delete_nodes": of(
        "store", "delete_nodes", node_ids=lambda _: [uid("none")]
    ),
    "QdrantEdgeVectorStore.build_index": of("store", "build_index"),
    "QdrantEdgeVectorStore.query": of("store", "query", query=lambda _: ASKED),
    "QdrantEdgeVectorStore.query_ids": of("store", "query_ids", query=lambda _: ASKED),
    "QdrantEdgeVectorStore.get_nodes": of("store", "get_nodes", **NODES),
    "QdrantEdgeVectorStore.sample_vectors": of("store", "sample_vectors", n_vectors=2),
    "QdrantEdgeVectorStore.payload_values": of(
        "store", "payload_values", key="mmrag_entity", **NODES
    ),
    "QdrantEdgeVectorStore.existing": of("store", "existing", **NODES),
    "QdrantEdgeVectorStore.ids_where": of("store", "ids_where"),
    "QdrantEdgeVectorStore.count": of("store", "count"),
    "CitationChecker": new(citations.CitationChecker, n_sources=2),
    "CitationChecker.feed": new(CHECKER.feed, piece="a"),
    "CitationChecker.check": new(CHECKER.check, answer="a"),
    "CitationChecker.check_stream": new(CHECKER.check_stream, pieces=["a"]),
    "resolve_pictures": new(
        mmrag.resolve_pictures,
        nodes=lambda w: [TextNode(text="red", metadata={"root": "docs"})],
        roots=lambda w: {"docs": w.folder},
    ),
    "discover": new(ingestion.discover, path=lambda w: w.folder),
    "ReadLimits": new(ingestion.ReadLimits),
    "survey": new(ingestion.survey, path=lambda w: w.folder),
    "document_id": new(ingestion.document_id, document=lambda _: Document(text="a")),
    "read_directory": new(ingestion.read_directory, path=lambda w: w.folder),
    "read_document": new(
        ingestion.read_document, document=lambda _: Document(text="a")
    ),
    "read_documents": new(
        ingestion.read_documents, documents=lambda _: [Document(text="a")]
    ),
    "read_file": new(ingestion.read_file, path=lambda w: w.folder / "red.md"),
    "Quantisation": new(stores.Quantisation, scheme="int8"),
    "Quantisation.from_dict": new(
        stores.Quantisation.from_dict, settings={"scheme": "int8"}
    ),
    "reader_of": new(lettering.reader_of, read_pictures="rapidocr"),
    **ALIGNMENT,
    **COMPONENTS,
    **ENCODERS,
}
"""By public name: what is called, and arguments that it takes."""

ROOMS = (
    *(mmrag, fusion, stores, ingestion, citations, compression),
    *(alignment, finetuning, embeddings, events, lettering, nodes, rescoring),
)


def public_callables() -> Iterator[str]:
    for room in ROOMS:
        for name in getattr(room, "__all__", ["RescoringVectorStore"]):
            found = getattr(room, name)
            if not callable(found) or inspect.ismodule(found):
                continue
            yield name
            members = vars(found) if isinstance(found, type) else {}
            if found is mmrag.MultiModalQdrantIndex:
                members = {**vars(Sources), **members}  # its part
            for method, member in members.items():
                function = getattr(member, "__func__", member)
                if (
                    not method.startswith(("_", "model_"))
                    and inspect.isfunction(function)
                    and len(inspect.signature(function).parameters) > 1
                ):
                    yield f"{name}.{method}"


def outcome(made: Callable[..., Any], given: dict[str, Any]) -> None:
    """Call, await, read through and close."""
    result = made(**given)
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    if inspect.isgenerator(result):
        list(result)
    if getattr(made, "__name__", "") == "open":
        result.close()


def faults_of(name: str, world: SimpleNamespace) -> Iterator[str]:
    made, given = VALID[name](world)
    for argument, parameter in inspect.signature(made).parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue

        def call(wrong: Any, argument: str = argument) -> None:
            outcome(made, {**given, argument: wrong})

        if (name, argument) in MEANT:
            yield from faults_in(call, argument, None)
        else:
            yield from faults_in(call, argument, str(parameter.annotation))


def faults_in(
    call: Callable[[Any], None], argument: str, hint: str | None
) -> Iterator[str]:
    """Yield what is wrong with a call that gets each value; hint None: all may pass."""
    for label, wrong in WRONG.items():
        try:
            call(wrong)
        except (MmragError, ImportError):  # fastembed: says what to install
            continue
        except Exception as error:  # noqa: BLE001 - what is looked for
            yield f"{argument}={label}: {type(error).__name__}: {error}"[:150]
            continue
        if hint is not None and not re.search(NAMED.get(label, "(?!)"), hint):
            yield f"{argument}={label} is taken, and is no {hint}"[:150]


def test_every_public_callable_is_called_or_left_out_for_a_reason():
    left_out = {name for names in NOT_CALLED for name in names.split()}
    found = set(public_callables())
    of_left_out = {name for name in found if name.partition(".")[0] in left_out}
    assert sorted(found - set(VALID) - left_out - of_left_out) == []


@pytest.mark.parametrize("name", VALID)
def test_what_is_wrong_is_one_of_our_errors(name, world):
    made, given = VALID[name](world)
    outcome(made, given)  # or nothing would be shown by what follows
    assert list(faults_of(name, world)) == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_what_is_assigned_to_a_component_is_checked(name, world):
    made, given = VALID[name](world)
    component = made(**given)
    faults = []
    for field, about in type(component).model_fields.items():

        def assign(wrong: Any, field: str = field) -> None:
            before = getattr(component, field)
            setattr(component, field, wrong)
            setattr(component, field, before)

        hint = None if (name, field) in MEANT else str(about.annotation)
        faults += faults_in(assign, field, hint)
    assert faults == []


@pytest.mark.parametrize("name", COMPONENTS)
def test_keyword_that_a_component_does_not_know_is_refused(name, world):
    made, given = VALID[name](world)
    with pytest.raises(InvalidSetting, match="colour"):
        made(**given, colour="red")
