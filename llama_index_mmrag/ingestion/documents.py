"""Documents: LlamaIndex's, split and linked like files, and nodes, kept whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_index.core.ingestion import run_transformations
from llama_index.core.schema import (
    BaseNode,
    Document,
    MetadataMode,
    Node,
    TextNode,
)

from llama_index_mmrag.checks import instance, listed
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.checks.shown import shown
from llama_index_mmrag.errors import (
    ImageUnreadable,
    InvalidSetting,
    MmragError,
    StoreFull,
)
from llama_index_mmrag.ingestion.identity import (
    checked_text,
    derived_id,
    is_random,
    stored_key,
    user_metadata,
)
from llama_index_mmrag.ingestion.linked import (
    IMAGE,
    ORIGINAL_ID_KEY,
    TEXT,
    Draft,
    Origin,
    content_hash,
    linked,
    templates_of,
)
from llama_index_mmrag.ingestion.markdown import is_markdown, markdown_page
from llama_index_mmrag.ingestion.pages import (
    as_texts,
    chunked,
    page_record,
)
from llama_index_mmrag.ingestion.pictures import (
    image_node,
    opened_picture,
    undecoded,
)
from llama_index_mmrag.ingestion.records import Problem, ReadSettings, SourceRecord
from llama_index_mmrag.ingestion.relations import (
    document_of,
    is_own,
    lasting_metadata,
    relations_of,
    stored_id,
)
from llama_index_mmrag.ingestion.roots import MEDIA, known_as, located
from llama_index_mmrag.ingestion.words import CAPTION, words_in
from llama_index_mmrag.nodes.node import (
    CONTENT_HASH_KEY,
    ENTITY_KEY,
    FILE_PATH_KEY,
    MODALITY_KEY,
    POSITION_KEY,
)
from llama_index_mmrag.nodes.places import (
    Places,
    places_of,
    stored_metadata,
)
from llama_index_mmrag.nodes.shown import has_picture, lost_picture, name_of, source_of
from llama_index_mmrag.readers.page import Caption, Page, Picture, Section


@checked
def read_documents(
    documents: Iterable[BaseNode],
    *,
    settings: ReadSettings | None = None,
    roots: Mapping[str, str | Path] | None = None,
) -> Iterator[SourceRecord | Problem]:
    """Yield one record or problem for each document or node, in the order given."""
    for n, document in enumerate(documents, 1):
        try:
            record = read_document(document, settings=settings, roots=roots)
            named = [replace(p, source=_name_of(document, n)) for p in record.problems]
            yield replace(record, problems=tuple(named))
        except StoreFull:
            raise  # says nothing of the document
        except (MmragError, TimeoutError) as error:
            yield Problem(_name_of(document, n), str(error))


def _name_of(document: object, n: int) -> str:
    """Return what the n-th document is called in a report: no id that nobody chose."""
    if not isinstance(document, BaseNode):
        return shown(document)
    source = source_of(document) if is_random(document.id_) else document.id_
    return f"item {n}, {name_of(document)}" if is_random(source) else source


def read_document(
    document: BaseNode,
    *,
    settings: ReadSettings | None = None,
    roots: Mapping[str, str | Path] | None = None,
) -> SourceRecord:
    """Return what one LlamaIndex document or node contributes; it is not changed.

    A `Document` is split, by sections if its file name or type says Markdown; with a
    picture, all its nodes are one entity. An `entity_id` in its metadata links it to
    everything else that has the same.

    A node is kept whole: TextNode and ImageNode (its text is the caption) stay one, a
    `Node` with text and picture becomes a text node and an image node of one entity.
    Metadata's `entity_id` and `modality` are the user's word.

    Ids of nodes: a UUID that is not of version 4 stays; a version-4 one, which
    LlamaIndex made, becomes the uuid5 over the content, and any other its own uuid5;
    both are kept as metadata `original_id`. A document's or source's version-4 id is
    kept as `given_id`. Relationships follow; those to version-4 ids are dropped, as
    nothing is stored under them.

    Ids, pictures, `file_path`, `file_name` and `source` that are absolute paths below a
    root are named by it: "docs/a.pdf", whatever folder of this machine that is.

    Args:
        document: Document, ImageDocument, Node, TextNode or ImageNode.
        settings: Chunk size, folder for inline pictures; None for the defaults.
        roots: Folders by name that paths are named by; None for none.

    Raises:
        ImageUnreadable: Its picture is broken or only a URL, and there is no text.
        InvalidSetting: It is no node, or its text or metadata cannot be stored.
    """
    settings = ReadSettings() if settings is None else settings
    instance(settings, "settings", ReadSettings)
    places = {} if roots is None else places_of(instance(roots, "roots", Mapping))
    if settings.media_dir is not None:
        places |= places_of({MEDIA: settings.media_dir})
    if isinstance(document, Document):
        return _read_document(undecoded(document), settings, places)
    if isinstance(document, (TextNode, Node)):
        return _read_node(document, settings, places)
    raise InvalidSetting(
        f"Cannot index {document!r} of type {type(document).__name__}. Expected a "
        f"LlamaIndex Document, ImageDocument, Node, TextNode or ImageNode."
    )


@checked
def document_id(
    document: Document,
    *,
    keep_uuid4: bool = False,
    roots: Mapping[str, str | Path] | None = None,
) -> str:
    """Return the id under which `document` is stored, and can be deleted.

    That is its own id, unless it is a version-4 UUID: LlamaIndex makes such an id anew
    in every run, so the uuid5 over text, picture and metadata takes its place, and a
    repeated insert changes nothing. Dates that SimpleDirectoryReader takes from the
    file system do not count. Paths below `roots`, folders by name, are named by them.

    Raises:
        ImageUnreadable: The id depends on a picture that cannot be read.
        InvalidSetting: The id depends on text or metadata that cannot be stored.
    """
    places = places_of(roots or {})
    if keep_uuid4 or not is_random(document.id_):
        return known_as(document.id_, places)
    document = undecoded(document)
    picture = opened_picture(document) if has_picture(document) else None
    return _document_id(document, picture, places)


def _document_id(document: Document, picture: Picture | None, places: Places) -> str:
    path = str(picture.path) if picture and picture.path else None
    return derived_id(
        "document",
        content_hash(checked_text(document.text), picture),
        path and known_as(path, places),
        lasting_metadata(user_metadata(document.metadata), places),
    )


def _read_document(
    document: Document, settings: ReadSettings, places: Places
) -> SourceRecord:
    text = checked_text(document.text)
    picture, problems = _picture(document, has_text=bool(text.strip()))
    ref_doc_id, random_id = _ids(document, picture, settings, places)
    origin = Origin(
        ref_doc_id,
        random_id=random_id,
        metadata=located(user_metadata(document.metadata), places),
        hidden_from_embedding=_hidden(document.excluded_embed_metadata_keys),
        hidden_from_llm=_hidden(document.excluded_llm_metadata_keys),
        templates=templates_of(document),
        places=places,
    )
    if document.image_resource is None and is_markdown(document):
        path = document.metadata.get(FILE_PATH_KEY)
        folder = Path(str(path)).absolute().parent if path else None
        page = markdown_page(text, folder=folder, root=None)
    elif picture is None:
        page = Page((Section(text),), problems=problems)
    else:
        # A text of several chunks is no caption; the picture is linked to them.
        caption = text.strip() if len(chunked(text, "", settings)) == 1 else ""
        keys, hidden = settings.word_keys, origin.hidden_from_embedding
        words = words_in(origin.metadata, keys, hidden)
        shown = (Caption(picture, caption, words),)
        page = Page((Section(text, shown, name=("document",)),))
    shows = [caption for section in page.sections for caption in section.pictures]
    if settings.transformations and not shows and not page.problems:
        return _transformed(document, settings, places)
    return page_record(page, origin, settings)


def _ids(
    document: Document, picture: Picture | None, settings: ReadSettings, places: Places
) -> tuple[str, str | None]:
    """Return the id that a document is stored under, and the one that was made up."""
    if is_own(document.id_, settings):
        return known_as(document.id_, places), None
    return _document_id(document, picture, places), document.id_


def _transformed(
    document: Document, settings: ReadSettings, places: Places
) -> SourceRecord:
    ids = _ids(document, None, settings, places)
    made = run_transformations([document], settings.transformations)
    parts: Any = listed(made, "What transformations return", TextNode, Node)
    records = [
        _read_node(part, settings, places, ids, at=position)
        for position, part in enumerate(parts)
    ]
    nodes = tuple(node for record in records for node in record.nodes)
    problems = tuple(problem for record in records for problem in record.problems)
    return SourceRecord(ids[0], nodes, True, problems, random_id=ids[1])


def _read_node(
    node: Node | TextNode,
    settings: ReadSettings,
    places: Places,
    ids: tuple[str, str | None] | None = None,
    *,
    at: int | None = None,
) -> SourceRecord:
    """Return a node's record; `ids` are its document's, stored and made up."""
    text = checked_text(node.get_content())
    has_text = bool(text.strip())
    is_two = isinstance(node, Node) and has_picture(node) and has_text
    picture, problems = _picture(node, has_text=is_two)
    if lost := lost_picture(node):
        if not has_text:
            raise ImageUnreadable(lost)
        problems = (f"{lost} The text went in.",)
    elif not has_text and picture is None:
        problems = ("The node has neither text nor picture. Leave it out.",)
    parts: list[tuple[TextNode, Picture | None]] = []
    if has_text and (is_two or not has_picture(node)):
        part = node.model_copy() if isinstance(node, TextNode) else TextNode(text=text)
        parts.append((part, None))
    if picture is not None:
        image = image_node(node, text, picture, settings.media_dir)
        parts.append((image, picture))
    # Here, unlike for documents, a modality is the user's word and not renamed.
    metadata = located(
        user_metadata(
            {key: node.metadata[key] for key in node.metadata if key != MODALITY_KEY}
        ),
        places,
    )
    ref_doc_id, random_id = ids or document_of(node, settings, places)
    given = known_as(node.id_, places) if is_own(node.id_, settings) else None
    if is_two:
        said = stored_metadata(metadata, places)
        about = [given] if given else [ref_doc_id, content_hash(text, picture), said]
        metadata.setdefault(ENTITY_KEY, derived_id("node", *about))
    origin = Origin(
        ref_doc_id or given,
        metadata=metadata,
        hidden_from_embedding=(
            *_hidden(node.excluded_embed_metadata_keys),
            ORIGINAL_ID_KEY,
            FILE_PATH_KEY,
        ),
        hidden_from_llm=(*_hidden(node.excluded_llm_metadata_keys), ORIGINAL_ID_KEY),
        templates=templates_of(node),
        random_id=random_id,
        node_id=given or node.id_,
        related=relations_of(node, settings, places),
        places=places,
    )
    drafts = []
    for part, opened in parts:
        modality, id_ = node.metadata.get(MODALITY_KEY), given and stored_id(given)
        if is_two:
            modality = TEXT if opened is None else IMAGE
            id_ = given and derived_id("node", given, modality)
        word = str(modality) if modality else None
        position = _position(node) if at is None else at
        drafts.append(Draft(part, position, opened, modality=word, id_=id_))
    nodes = linked(drafts, origin)
    if picture is not None:
        held = [nodes[0].get_content(MetadataMode.EMBED)] if is_two else []
        words = words_in(metadata, settings.word_keys, origin.hidden_from_embedding)
        words = words if is_two else ((CAPTION, text), *words)
        nodes += as_texts(nodes[-1], words, held, settings)
    source = (nodes[0].ref_doc_id if nodes else ref_doc_id) or node.id_
    noted = tuple(Problem(source, reason) for reason in problems)
    return SourceRecord(source, nodes, whole=False, problems=noted)


def _picture(
    node: BaseNode, *, has_text: bool
) -> tuple[Picture | None, tuple[str, ...]]:
    """Return a node's picture, and what is said where only its text goes in."""
    try:
        return (opened_picture(node) if has_picture(node) else None), ()
    except ImageUnreadable as error:
        if not has_text:
            raise
        return None, (f"{error} The text went in.",)


def _hidden(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(stored_key, keys))


def _position(node: Node | TextNode) -> int:
    # Only beside a content hash is it the position that we wrote; see user_metadata.
    position: Any = node.metadata.get(POSITION_KEY)
    is_ours = CONTENT_HASH_KEY in node.metadata and isinstance(position, int)
    return position if is_ours else 0
