"""An index in LlamaIndex's ingestion pipelines: filled, and kept up to date."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import HierarchicalNodeParser, SentenceSplitter
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    NodeRelationship,
    TextNode,
    TransformComponent,
)
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import (
    MetadataFilters,
    VectorStoreQuery,
)

from llama_index_mmrag import MultiModalQdrantIndex, QdrantEdgeVectorStore
from llama_index_mmrag.errors import ImageUnreadable, InvalidQuery, InvalidSetting
from llama_index_mmrag.ingestion import DocumentUnreadable, ReadSettings

from ..support.indexes import (
    COLOURS,
    all_of,
    contents,
    inline,
    painted,
    pictures,
    texts,
)

SPLITTER = SentenceSplitter(chunk_size=60, chunk_overlap=0)
"""Seven sentences of `long` a chunk: LlamaIndex prints a line for fewer tokens."""


N_RUNS = {"local": 30, "edge": 4}
"""Of each pipeline; a new store for each run is slow to make in a folder."""


def long(colour: str, n_sentences: int = 20) -> str:
    return " ".join(f"The {colour} one is number {n}." for n in range(n_sentences))


def pipeline(
    index: MultiModalQdrantIndex, *steps: Any, **settings: Any
) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[*steps] or [SPLITTER, index.as_transformation()],
        vector_store=index.as_vector_store(),
        **settings,
    )


def shown(node: BaseNode) -> tuple[object, ...]:
    """Return a node without its id: what a fresh build has, too."""
    picture = getattr(node, "image_path", None) or getattr(node, "image", None)
    vector = [round(value, 5) for value in node.embedding or ()]
    return node.ref_doc_id, node.get_content(), picture, node.class_name(), vector


def held(index: MultiModalQdrantIndex) -> list[list[tuple[object, ...]]]:
    return [sorted(map(shown, all_of(channel)), key=repr) for channel in index.channels]


def nodes_in(index: MultiModalQdrantIndex) -> set[str]:
    """Return nodes by all that they say, also of their neighbours."""
    return {node.model_dump_json() for c in index.channels for node in all_of(c)}


# What is stored


@pytest.mark.parametrize("where", ["outside", "inside"])
def test_texts_and_pictures_go_into_their_collections_each_encoded_once(
    where, open_index, encoder, tmp_path
):
    index = open_index()
    steps = {
        "outside": (SPLITTER, index.as_transformation()),
        "inside": (index.as_transformation(SPLITTER),),
    }[where]
    given = [
        Document(text=long("red"), id_="red"),
        ImageDocument(image_path=str(painted(tmp_path, "blue")), id_="blue"),
        ImageDocument(image=inline("green"), text="a green one", id_="green"),
    ]
    run = pipeline(index, *steps).run(documents=given)
    n_texts, n_pictures = (len(all_of(channel)) for channel in index.channels)
    assert n_texts > 2
    assert len(run) == n_texts + n_pictures - 1  # a picture and its words are one
    assert encoder.taken() == (n_texts, n_pictures)
    assert len(pictures(index)) == 2
    assert {node.ref_doc_id for c in index.channels for node in all_of(c)} == {
        *("red", "blue", "green")
    }


def test_an_embedding_in_the_list_is_not_looked_at(open_index, encoder):
    index = open_index()
    given = [Document(text="red one"), ImageDocument(image=inline("blue"))]
    steps = (SPLITTER, MockEmbedding(3), index.as_transformation(), MockEmbedding(7))
    run = pipeline(index, *steps).run(documents=given)
    assert encoder.taken() == (1, 1)
    for channel in index.channels:
        (node,) = all_of(channel)
        assert len(node.embedding) == 4
    assert len(run) == 2


def test_nodes_are_stored_under_the_ids_that_a_run_returns(open_index):
    index = open_index()
    parser = HierarchicalNodeParser.from_defaults(chunk_sizes=[256, 60])
    step = index.as_transformation(parser)
    run = pipeline(index, step).run(documents=[Document(text=long("red", 40))])
    stored = {node.node_id: node for node in all_of(index.channels[0])}
    assert stored.keys() == {node.node_id for node in run}
    children = [
        n for n in stored.values() if NodeRelationship.PARENT in n.relationships
    ]
    assert children
    assert all(node.parent_node.node_id in stored for node in children)
    again = pipeline(index, step).run(documents=[Document(text="green")])
    assert len(stored) + len(again) == len(all_of(index.channels[0]))


def test_a_run_that_is_repeated_encodes_nothing_again(open_index, encoder):
    index = open_index()
    given = [Document(text=long("red"), id_="a"), ImageDocument(image=inline("blue"))]
    for _ in range(2):
        pipeline(index, index.as_transformation(SPLITTER)).run(documents=given)
    taken = encoder.taken()
    assert taken == (len(texts(index)), 1)


def test_documents_that_nobody_split_are_read_as_by_insert(
    open_index, tmp_path, encoder
):
    page = "# Fruit\n\nA red one.\n\n![an apple](apple.png)"
    path = painted(tmp_path, "red", name="apple.png").parent / "fruit.md"
    given = Document(text=page, metadata={"file_path": str(path)}, id_="fruit")
    index, other = open_index(), open_index()
    pipeline(index, index.as_transformation()).run(documents=[given])
    assert encoder.taken() == (1, 1)
    other.insert(given)
    assert contents(index) == contents(other)


def test_a_picture_with_a_long_text_is_one_picture(open_index, encoder):
    index = open_index()
    given = ImageDocument(image=inline("blue"), text=long("blue"), id_="sky")
    pipeline(index).run(documents=[given])
    n_texts, n_pictures = (len(all_of(channel)) for channel in index.channels)
    assert n_texts > 2
    assert n_pictures == 1
    assert encoder.taken() == (n_texts, 1)
    entities = {n.metadata["entity_id"] for c in index.channels for n in all_of(c)}
    assert len(entities) == 1
    (found,) = {n.node.ref_doc_id for n in index.as_retriever(top_k=1).retrieve("blue")}
    assert found == "sky"


# Pictures that LlamaIndex loses


def test_pictures_pass_a_splitter_that_is_given_to_the_step(open_index, encoder):
    index = open_index()
    given = [
        ImageNode(image=inline("red")),
        ImageNode(image=inline("blue"), text="sky"),
    ]
    pipeline(index, index.as_transformation(SPLITTER)).run(documents=given)
    assert (texts(index), len(pictures(index))) == (["sky"], 2), "its words"


def test_a_picture_that_a_splitter_made_a_text_of_is_refused(open_index, encoder):
    index = open_index()
    given = [TextNode(text="red"), ImageNode(image=inline("blue"), id_="sky")]
    with pytest.raises(DocumentUnreadable, match=r"'sky'.*as_transformation\(Sentence"):
        pipeline(index).run(nodes=given)
    assert texts(index) == ["red"]


def test_a_bare_edge_store_refuses_it_too(tmp_path):
    with QdrantEdgeVectorStore.open(tmp_path / "bare", dim=3) as store:
        made = IngestionPipeline(
            transformations=[SPLITTER, MockEmbedding(3)],
            vector_store=store,
            disable_cache=True,
        )
        with pytest.raises(ImageUnreadable, match="as_transformation"):
            made.run(nodes=[TextNode(text="red"), ImageNode(image=inline("blue"))])
        assert store.count() == 0
        made.run(documents=[Document(text="red"), ImageDocument(image=inline("blue"))])
        assert store.count() == 2


def test_a_captioned_picture_that_became_a_text_is_told_of(open_index, caplog):
    index = open_index()
    pipeline(index).run(documents=[ImageNode(image=inline("red"), text="a red one")])
    assert texts(index) == ["a red one"]
    assert "as_transformation(SentenceSplitter())" in caplog.text


def test_the_cache_gives_no_picture_anothers_nodes(open_index):
    index = open_index()
    made = pipeline(index, index.as_transformation(SPLITTER))
    for colour in ("red", "blue"):
        made.run(documents=[ImageDocument(image=inline(colour), id_=colour)])
    assert {node.ref_doc_id for node in all_of(index.channels[1])} == {"red", "blue"}


# Strategies


def _documents(rng: random.Random, folder: Path, ids: list[str]) -> list[Document]:
    """Return some of the documents, each in one of several versions."""
    made: list[Document] = []
    for id_ in rng.sample(ids, rng.randrange(1, len(ids))):
        colour, size = rng.choice(COLOURS), rng.choice((1, 8, 20))
        kind = rng.randrange(4)
        if kind < 2:
            made.append(Document(text=long(colour, size), id_=id_))
        elif kind == 2:
            path = str(painted(folder, colour))
            made.append(ImageDocument(image_path=path, id_=id_))
        else:
            words = long(colour, size)
            made.append(ImageDocument(image=inline(colour), text=words, id_=id_))
    return made


class Told(SimpleDocumentStore):
    """A docstore that remembers, as they came, the documents that it was told of.

    LlamaIndex's (0.14.25) own cannot say: it drops the bytes of pictures.
    """

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Document] = []

    def add_documents(self, nodes: Any, *args: Any, **kwargs: Any) -> None:
        self.told += nodes
        super().add_documents(nodes, *args, **kwargs)

    async def async_add_documents(self, nodes: Any, *args: Any, **kwargs: Any) -> None:
        self.told += nodes
        await super().async_add_documents(nodes, *args, **kwargs)


@pytest.mark.parametrize("strategy", list(DocstoreStrategy))
@pytest.mark.parametrize(
    ("store", "where"),
    [("local", "outside"), ("local", "inside"), ("edge", "outside")],
)
def test_after_any_of_random_runs_both_collections_are_a_fresh_build(  # noqa: PLR0913 - a pipeline's settings
    store, where, strategy, open_index, encoder, tmp_path
):
    rng = random.Random(f"{strategy} {where}")
    ids = [f"page {n}" for n in range(5)]
    # As LlamaIndex makes them: its docstore keeps those too.
    ids += [Document(text="").id_ for _ in range(4)]
    index, beside, docstore = open_index(store), open_index(store), Told()
    only_adds = strategy == DocstoreStrategy.DUPLICATES_ONLY

    def steps(of: MultiModalQdrantIndex) -> list[Any]:
        inside = [of.as_transformation(SPLITTER)]
        return inside if where == "inside" else [SPLITTER, of.as_transformation()]

    for n_run in range(N_RUNS[store]):
        how = {"docstore": docstore, "docstore_strategy": strategy}
        made = pipeline(index, *steps(index), **how)
        before, n_told = nodes_in(index), len(docstore.told)
        given = _documents(rng, tmp_path, ids)
        encoder.taken()
        if n_run % 2:
            asyncio.run(made.arun(documents=given))
        else:
            made.run(documents=given)
        run = {document.id_ for document in docstore.told[n_told:]}
        anew = [n for c in index.channels for n in all_of(c) if n.ref_doc_id in run]
        n_new = len(nodes_in(index) - before) if only_adds else len(anew)
        assert sum(encoder.taken()) == n_new
        if only_adds:  # both versions of a document, one after the other
            for document in docstore.told[n_told:]:
                pipeline(beside, *steps(beside)).run(documents=[document])
            assert held(index) == held(beside), n_run
            continue
        latest = {document.id_: document for document in docstore.told}
        there = [latest[id_] for id_ in docstore.docs]
        fresh = open_index(store)
        pipeline(fresh, *steps(fresh)).run(documents=there)
        assert held(index) == held(fresh), n_run
        fresh.close()


def test_two_workers_split_what_the_store_encodes(open_index, encoder):
    index = open_index()
    given = [Document(text=long("red"), id_="red"), ImageDocument(image=inline("blue"))]
    made = pipeline(index, index.as_transformation(SPLITTER))
    run = made.run(documents=given, num_workers=2)
    assert len(run) == sum(encoder.taken()) > 2
    assert len(pictures(index)) == 1


# Failures


def test_what_cannot_be_read_is_named_and_the_next_run_encodes_it_alone(
    open_index, encoder, tmp_path
):
    index, docstore = open_index(), SimpleDocumentStore()
    late = painted(tmp_path, "blue")
    sky = ImageDocument(image_path=str(late), id_="sky")
    late.write_bytes(b"no picture")
    given = [Document(text=long("red"), id_="red"), sky]
    made = pipeline(index, index.as_transformation(SPLITTER), docstore=docstore)
    with pytest.raises(DocumentUnreadable, match=r"1 of 5 nodes.*sky"):
        made.run(documents=given)
    assert docstore.docs == {}
    assert encoder.taken() == (4, 0)
    painted(tmp_path, "blue")
    made.run(documents=given)
    assert encoder.taken() == (0, 1)
    assert docstore.docs.keys() == {"red", "sky"}


# What one changes, the other finds


def test_a_random_id_is_one_document_of_a_pipeline_and_of_insert(open_index):
    index, document = open_index(), Document(text="red one")
    pipeline(index).run(documents=[document])
    index._stored_ids.clear()  # as in another process
    index.insert(Document(text="blue one", id_=document.id_))
    assert texts(index) == ["blue one"]
    assert index.as_vector_store().delete(document.id_) is None
    assert texts(index) == []


def test_nodes_are_read_and_deleted_in_both_collections(open_index):
    index = open_index()
    store = index.as_vector_store()
    kinds = [
        TextNode(text="red", id_="not a uuid", metadata={"kind": "a"}),
        TextNode(text="green", metadata={"kind": "b"}),
        ImageNode(image=inline("blue"), metadata={"kind": "a"}),
    ]
    assert store.add(kinds) == [node.node_id for node in kinds]
    is_a = MetadataFilters.from_dicts([{"key": "kind", "value": "a"}])
    assert len(store.get_nodes()) == 3
    assert len(asyncio.run(store.aget_nodes(filters=is_a))) == 2
    assert [n.text for n in store.get_nodes(["not a uuid"])] == ["red"]
    store.delete_nodes(["not a uuid", kinds[1].node_id], is_a)
    assert texts(index) == ["green"]
    asyncio.run(store.adelete_nodes(filters=is_a))
    assert len(store.get_nodes()) == 1
    with pytest.raises(InvalidSetting, match="clear"):
        store.delete_nodes()
    of_no_document = TextNode(text="blue", embedding=[0.0, 0.0, 1.0, 0.0])
    index.vector_store.add([of_no_document])  # as LlamaIndex alone would
    asyncio.run(store.aclear())
    assert store.get_nodes() == []


def test_a_vector_store_is_not_asked_and_says_what_is(open_index):
    store = open_index().as_vector_store()
    query = VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0, 0.0])
    with pytest.raises(InvalidQuery, match="as_retriever"):
        store.query(query)
    with pytest.raises(InvalidQuery, match="as_retriever"):
        asyncio.run(store.aquery(query))


@pytest.mark.parametrize("step", ["split", MockEmbedding(3)])
def test_a_step_that_splits_nothing_is_refused(step, open_index):
    with pytest.raises(InvalidSetting, match="steps"):
        open_index().as_transformation(step)


def test_pictures_that_were_read_as_text_are_pictures_before_they_are_split(
    open_index, tmp_path
):
    path = painted(tmp_path, "red")
    kind = {"file_type": "image/png", "file_path": str(path)}
    undecoded = Document(text="\x89PNG\r\n\x1a\n\0\0", metadata=kind)
    index = open_index()
    pipeline(index, index.as_transformation(SPLITTER)).run(documents=[undecoded])
    assert len(pictures(index)) == 1
    assert texts(index) == []


class TooLong(TransformComponent):
    """A splitter whose pattern takes too long for some texts, as NLTK's."""

    def __call__(self, nodes: Any, **kwargs: Any) -> Any:
        if any("endless" in node.text for node in nodes):
            raise TimeoutError("regular-expression match exceeded its time limit")
        return nodes


def test_a_text_that_takes_a_splitter_too_long_costs_itself(open_index):
    index = open_index(settings=ReadSettings(transformations=[TooLong()]))
    report = index.insert([Document(text=t) for t in ("red", "endless", "blue")])
    assert texts(index) == ["blue", "red"]
    (problem,) = report.problems
    assert "exceeded its time limit" in problem.reason


def test_a_misspelt_argument_of_a_step_names_the_index(open_index):
    with pytest.raises(
        InvalidSetting, match=r"MultiModalQdrantIndex.as_transformation\(\) takes no"
    ):
        open_index().as_transformation(splitter=SPLITTER)
