"""Ingestion: files and documents into linked nodes, encoded and stored.

In go folders, files, LlamaIndex documents and nodes; out come nodes in the channel of
their modality, and a report of what was added, kept, removed and skipped. Every format
makes a page, whose reader is a row in `files.py`, or in `readers/kinds.py` if a child
process reads it; `pages.py` makes nodes of it, and `linked.py` finishes them. Start at
`sources.py`; `writer.py` encodes and stores what is new.
"""

from llama_index_mmrag.errors import DocumentUnreadable
from llama_index_mmrag.ingestion.directory import discover, survey
from llama_index_mmrag.ingestion.documents import (
    document_id,
    read_document,
    read_documents,
)
from llama_index_mmrag.ingestion.files import read_file
from llama_index_mmrag.ingestion.folders import read_directory
from llama_index_mmrag.ingestion.limits import ReadLimits
from llama_index_mmrag.ingestion.records import (
    Problem,
    ReadSettings,
    SourceRecord,
    Survey,
)
from llama_index_mmrag.readers.page import (
    Caption,
    Page,
    Picture,
    PictureLink,
    Place,
    Section,
)

__all__ = [
    "Caption",
    "DocumentUnreadable",
    "Page",
    "Picture",
    "PictureLink",
    "Place",
    "Problem",
    "ReadLimits",
    "ReadSettings",
    "Section",
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
