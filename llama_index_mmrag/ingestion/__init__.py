"""Ingestion: files and documents into linked nodes, before anything is encoded."""

from llama_index_mmrag.ingestion.directory import discover, read_directory, survey
from llama_index_mmrag.ingestion.documents import (
    document_id,
    read_document,
    read_documents,
)
from llama_index_mmrag.ingestion.files import read_file
from llama_index_mmrag.ingestion.records import (
    DocumentUnreadable,
    Problem,
    ReadSettings,
    SourceRecord,
    Survey,
)

__all__ = [
    "DocumentUnreadable",
    "Problem",
    "ReadSettings",
    "SourceRecord",
    "Survey",
    "discover",
    "document_id",
    "read_directory",
    "read_document",
    "read_documents",
    "read_file",
    "survey",
]
