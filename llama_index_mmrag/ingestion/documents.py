"""Documents: LlamaIndex documents, split and linked; nodes are read in loose_nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

from llama_index.core.schema import BaseNode, Document, Node, TextNode

from llama_index_mmrag.errors import ImageUnreadable, InvalidSetting, MmragError
from llama_index_mmrag.ingestion.entities import (
    FILE_NAME_KEY,
    FILE_PATH_KEY,
    Caption,
    Entity,
    Origin,
    nodes_of,
)
from llama_index_mmrag.ingestion.identity import (
    checked_text,
    content_hash,
    derived_id,
    is_random,
    without_volatile,
)
from llama_index_mmrag.ingestion.loose_nodes import read_node
from llama_index_mmrag.ingestion.markdown import parse_markdown
from llama_index_mmrag.ingestion.metadata import stored_key, user_metadata
from llama_index_mmrag.ingestion.parts import templates_of
from llama_index_mmrag.ingestion.pictures import Picture, opened_picture
from llama_index_mmrag.ingestion.records import (
    MARKDOWN_SUFFIXES,
    Problem,
    ReadSettings,
    SourceRecord,
)
from llama_index_mmrag.ingestion.sections import markdown_record
from llama_index_mmrag.ingestion.splitting import split
from llama_index_mmrag.nodes.shown import has_picture

_NAME_KEYS = (FILE_PATH_KEY, FILE_NAME_KEY, "filename", "source")
_MARKDOWN_TYPES = frozenset({"text/markdown", "text/x-markdown"})


def read_documents(
    documents: Iterable[BaseNode], *, settings: ReadSettings | None = None
) -> Iterator[SourceRecord | Problem]:
    """Yield one record or problem for each document or node, in the order given."""
    for document in documents:
        try:
            yield read_document(document, settings=settings)
        except MmragError as error:
            source = document.id_ if isinstance(document, BaseNode) else repr(document)
            yield Problem(source, str(error))


def read_document(
    document: BaseNode, *, settings: ReadSettings | None = None
) -> SourceRecord:
    """Return what one LlamaIndex document or node contributes; it is not changed.

    A `Document` is split, by sections if its file name or type says Markdown; with a
    picture, all its nodes are one entity. An `entity_id` in its metadata links it to
    everything else that has the same. Nodes are kept whole, see `read_node`.

    Args:
        document: Document, ImageDocument, Node, TextNode or ImageNode.
        settings: Chunk size, folder for inline pictures; None for the defaults.

    Raises:
        ImageUnreadable: Its picture is broken or only a URL, and there is no text.
        InvalidSetting: It is no node, or its text or metadata cannot be stored.
    """
    settings = settings or ReadSettings()
    if isinstance(document, Document):
        return _read_whole(document, settings)
    if isinstance(document, (TextNode, Node)):
        return read_node(document, settings)
    msg = (
        f"Cannot index {document!r} of type {type(document).__name__}. Expected a "
        f"LlamaIndex Document, ImageDocument, Node, TextNode or ImageNode."
    )
    raise InvalidSetting(msg)


def document_id(document: Document, *, keep_uuid4: bool = False) -> str:
    """Return the id under which `document` is stored, and can be deleted.

    That is its own id, unless it is a version-4 UUID: LlamaIndex makes such an id anew
    in every run, so the uuid5 over text, picture and metadata takes its place, and a
    repeated insert changes nothing. Dates that SimpleDirectoryReader takes from the
    file system do not count.

    Raises:
        ImageUnreadable: The id depends on a picture that cannot be read.
        InvalidSetting: The id depends on text or metadata that cannot be stored.
    """
    if keep_uuid4 or not is_random(document.id_):
        return document.id_
    picture = opened_picture(document) if has_picture(document) else None
    return _derived(document, picture)


def _derived(document: Document, picture: Picture | None) -> str:
    return derived_id(
        "document",
        content_hash(checked_text(document.text), picture.data if picture else b""),
        picture.path if picture else None,
        without_volatile(user_metadata(document.metadata)),
    )


def _read_whole(document: Document, settings: ReadSettings) -> SourceRecord:
    text = checked_text(document.text)
    picture, reason = None, None
    try:
        picture = opened_picture(document) if has_picture(document) else None
    except ImageUnreadable as error:
        if not text.strip():
            raise
        reason = f"{error} The text went in."
    is_own = settings.keep_uuid4 or not is_random(document.id_)
    origin = Origin(
        ref_doc_id=document.id_ if is_own else _derived(document, picture),
        metadata=user_metadata(document.metadata),
        hidden_from_embedding=tuple(
            map(stored_key, document.excluded_embed_metadata_keys)
        ),
        hidden_from_llm=tuple(map(stored_key, document.excluded_llm_metadata_keys)),
        templates=templates_of(document),
    )
    source = origin.ref_doc_id
    problems = () if reason is None else (Problem(source, reason),)
    if document.image_resource is None and _is_markdown(document):
        page = parse_markdown(text)
        folder = _folder(document)
        return markdown_record(page, origin, settings, folder=folder, root=None)
    if picture is None:
        entity = Entity(None, text)
    else:
        # A text of several chunks is no caption; the picture is linked to them.
        caption = text.strip() if len(split(text, "", settings)) == 1 else ""
        shown = (Caption(picture, caption),)
        entity = Entity(derived_id("document", source), text, pictures=shown)
    nodes = nodes_of([entity], origin, settings)
    return SourceRecord(source, nodes, whole=True, problems=problems)


def _is_markdown(document: Document) -> bool:
    resource = document.text_resource
    declared = (document.metadata.get("file_type"), resource and resource.mimetype)
    if not _MARKDOWN_TYPES.isdisjoint(map(str, declared)):
        return True
    names = (str(document.metadata.get(key, "")) for key in _NAME_KEYS)
    return any(PurePath(name).suffix.lower() in MARKDOWN_SUFFIXES for name in names)


def _folder(document: Document) -> Path | None:
    path = document.metadata.get(FILE_PATH_KEY)
    return Path(str(path)).absolute().parent if path else None
