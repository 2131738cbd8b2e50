"""Ingestion: files and documents into linked nodes, before anything is encoded."""

from llama_index_mmrag.ingestion.directory import discover, read_directory, survey
from llama_index_mmrag.ingestion.files import read_file
from llama_index_mmrag.ingestion.records import (
    FileUnreadable,
    Problem,
    ReadSettings,
    SourceRecord,
    Survey,
)

__all__ = [
    "FileUnreadable",
    "Problem",
    "ReadSettings",
    "SourceRecord",
    "Survey",
    "discover",
    "read_directory",
    "read_file",
    "survey",
]
