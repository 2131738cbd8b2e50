"""What people type to fill an index through LlamaIndex's ingestion pipelines."""

from __future__ import annotations

from .rows_foreign import SHOWN

_MADE = (
    "from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline; "
    "from llama_index.core.node_parser import SentenceSplitter; "
    "from llama_index.core.storage.docstore import SimpleDocumentStore; "
)
_MADE += SHOWN
_STORE = "vector_store=index.as_vector_store()"

ROWS: list[tuple[str, str, str]] = [
    (
        f"{_MADE}IngestionPipeline(transformations=[SentenceSplitter(), "
        f"index.as_transformation()], {_STORE}).run(documents=docs)",
        "runs",
        "Texts and pictures go into their collections, each encoded once by the "
        "index's encoders.",
    ),
    (
        f"{_MADE}IngestionPipeline(transformations=[index.as_transformation("
        f"SentenceSplitter())], {_STORE}).run(documents=docs)",
        "runs",
        "Texts are split and pictures pass, also an ImageNode; no picture is taken "
        "for another by the pipeline's cache.",
    ),
    (
        f"{_MADE}IngestionPipeline(transformations=[index.as_transformation()], "
        f"{_STORE}).run(documents=docs)",
        "runs",
        "Documents that nobody has split are read as by insert().",
    ),
    *(
        (
            f"{_MADE}IngestionPipeline(transformations=[index.as_transformation("
            f"SentenceSplitter())], {_STORE}, docstore=SimpleDocumentStore(), "
            f"docstore_strategy=DocstoreStrategy.{strategy}).run(documents=docs)",
            "runs",
            "What the docstore says is what both collections hold.",
        )
        for strategy in ("UPSERTS", "DUPLICATES_ONLY", "UPSERTS_AND_DELETE")
    ),
    (
        f"{_MADE}import asyncio; asyncio.run(IngestionPipeline(transformations=["
        f"index.as_transformation(SentenceSplitter())], {_STORE})"
        ".arun(documents=docs))",
        "runs",
        "The same, without blocking the event loop.",
    ),
    (
        "from llama_index.core.embeddings import MockEmbedding; "
        "index.as_transformation(MockEmbedding(embed_dim=8))",
        "InvalidSetting",
        "All that is stored is encoded by the index's encoders.",
    ),
    ("index.as_vector_store().get_nodes()", "runs", "The nodes of both collections."),
    (
        "index.as_vector_store().delete('an unknown document')",
        "runs",
        "Removes a document's nodes from both collections; of this one there is none.",
    ),
    (
        "index.as_vector_store().delete_nodes()",
        "InvalidSetting",
        "Names no nodes; clear() removes everything.",
    ),
    (
        "from llama_index.core.vector_stores import VectorStoreQuery; "
        "index.as_vector_store().query(VectorStoreQuery(query_embedding=[1.0]))",
        "InvalidQuery",
        "One vector cannot ask two collections: as_retriever() does.",
    ),
    (
        "from llama_index.core import VectorStoreIndex; "
        "from llama_index.core.embeddings import MockEmbedding; "
        "VectorStoreIndex.from_vector_store(index.as_vector_store(), "
        "embed_model=MockEmbedding(embed_dim=4)).as_retriever().retrieve('red')",
        "InvalidQuery",
        "Search with index.as_retriever().",
    ),
]
"""Of each line: what is typed, "runs" or our error, and what it means here."""
