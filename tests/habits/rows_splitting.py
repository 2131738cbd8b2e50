"""What people set in LlamaIndex's Settings for how documents are split."""

from __future__ import annotations

_INDEX = "MultiModalQdrantIndex.from_documents(docs).close()"
_PARSERS = "from llama_index.core.node_parser import SentenceSplitter; "
_SETTINGS = f"from llama_index.core import Settings; {_PARSERS}"

ROWS: list[tuple[str, str, str]] = [
    (
        f"{_SETTINGS}Settings.chunk_size = 256; {_INDEX}",
        "runs",
        "Documents, and texts of files, are split at this size; pictures pass.",
    ),
    (
        f"{_SETTINGS}Settings.chunk_overlap = 10; {_INDEX}",
        "runs",
        "As chunk_size: it is set on the same splitter.",
    ),
    (
        f"{_SETTINGS}Settings.node_parser = SentenceSplitter(chunk_size=256); {_INDEX}",
        "runs",
        "Splits documents, and the texts of files.",
    ),
    (
        f"{_SETTINGS}Settings.text_splitter = SentenceSplitter(chunk_size=256); "
        f"{_INDEX}",
        "runs",
        "LlamaIndex's other name of node_parser.",
    ),
    (
        f"{_SETTINGS}Settings.transformations = [SentenceSplitter(chunk_size=256)]; "
        f"{_INDEX}",
        "runs",
        "Splits documents, and the texts of files; an encoder among them is not used, "
        "which the log says.",
    ),
    (
        f"{_PARSERS}MultiModalQdrantIndex.from_documents(docs, "
        "transformations=[SentenceSplitter(chunk_size=256)]).close()",
        "runs",
        "The same for this index, whatever Settings say.",
    ),
]
"""Of each line: what is typed, "runs" or our error, and what it means here."""
