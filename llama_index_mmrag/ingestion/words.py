"""Words of pictures: whatever came with one becomes linked texts, in one place.

Whoever reads a picture hands in what came with it, as (what it is, text). Each is a
text of the picture's entity and document, by which the picture is found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    MetadataMode,
    NodeRelationship,
    RelatedNodeInfo,
    TextNode,
)

from llama_index_mmrag.ingestion.identity import ORIGINAL, derived_id
from llama_index_mmrag.ingestion.linked import TEXT, content_hash
from llama_index_mmrag.ingestion.records import RecordNode
from llama_index_mmrag.nodes.node import (
    CONTENT_HASH_KEY,
    IMAGE_FILE_KEY,
    KIND_KEY,
    MODALITY_KEY,
    WORDS,
    WORDS_KEY,
    WORDS_OF_KEY,
    entity_of,
    words_of,
)
from llama_index_mmrag.readers.page import Said

CAPTION = "caption"
ALT = "alt"
TITLE = "title"

_WHAT = {"alt_text": ALT}
"""By a metadata key: what its words are, if they are called otherwise."""


def words_in(
    metadata: Mapping[str, Any], keys: Iterable[str], hidden: Collection[str] = ()
) -> Said:
    """Return the words that metadata hold of a picture, in the order of the keys.

    Texts and numbers are words, also those in lists and mappings; nothing else is.

    Args:
        metadata: The picture's.
        keys: Under which words are looked for.
        hidden: Keys that a user hides from encoders.

    Example:
        >>> words_in({"alt_text": ["A kite", None], "page": 7}, ["alt_text"])
        (('alt', 'A kite'),)
    """
    return tuple(
        (_WHAT.get(key, key), text)
        for key in keys
        if key not in hidden
        for text in _texts(metadata.get(key))
    )


def words_of_picture(
    picture: RecordNode,
    said: Iterable[tuple[str, str]],
    *,
    held: Iterable[str],
    cut: Callable[[str], Iterable[TextNode]],
) -> list[TextNode]:
    """Return the texts that a picture is found by, none of what is said already.

    Args:
        picture: Finished: with the id that it is stored under, and its metadata.
        said: What came with it.
        held: Texts of its entity. Words that one of them has, whatever the case and
            the marks between them, make no text; nor do blank ones.
        cut: Cuts a long text, as any other.
    """
    known = [f" {_plain(text)} " for text in held]
    texts: list[TextNode] = []
    for what, text in said:
        plain = _plain(text)
        if not plain or any(f" {plain} " in other for other in known):
            continue
        known.append(f" {plain} ")
        chunks = enumerate(chunk.text for chunk in cut(text))
        for at, chunk in chunks:
            about = {KIND_KEY: WORDS, WORDS_KEY: what, WORDS_OF_KEY: picture.node_id}
            id_ = derived_id(WORDS, picture.node_id, what, at, chunk)
            texts.append(text_beside(picture, chunk, about, id_=id_))
    return texts


def repeated(texts: Sequence[BaseNode]) -> set[str]:
    """Return the ids of words that a text of their entity has, which is no words."""
    by_entity: dict[str, list[BaseNode]] = {}
    for node in texts:
        by_entity.setdefault(entity_of(node), []).append(node)
    told: set[str] = set()
    for nodes in by_entity.values():
        words = [node for node in nodes if words_of(node.metadata)]
        if not words:
            continue
        known = [
            f" {_plain(node.get_content(MetadataMode.EMBED))} "
            for node in nodes
            if not words_of(node.metadata)
        ]
        for node in words:
            plain = f" {_plain(node.get_content())} "
            if any(plain in other for other in known):
                told.add(node.node_id)
    return told


def text_beside(
    picture: BaseNode,
    text: str,
    about: Mapping[str, Any],
    *,
    id_: str,
    modality: str = TEXT,
) -> TextNode:
    """Return a text of a picture's entity and document, with the picture's metadata.

    Args:
        picture: Finished: with the id that it is stored under, and its metadata.
        text: What is searched, and alone embedded.
        about: Metadata of the text's own; the picture's under these keys are kept under
            "original_" and the key.
        id_: The text's id.
        modality: The text's.
    """
    its = picture.metadata.items()
    metadata = {
        **{(ORIGINAL + key if key in about else key): value for key, value in its},
        MODALITY_KEY: modality,
        CONTENT_HASH_KEY: content_hash(text, None),
        **about,
    }
    metadata.pop(IMAGE_FILE_KEY, None)  # says which document shows the picture
    source = RelatedNodeInfo(node_id=picture.ref_doc_id or picture.node_id)
    return TextNode(
        id_=id_,
        text=text,
        metadata=metadata,
        relationships={NodeRelationship.SOURCE: source},
        # The words alone are searched, not what else is known of the picture.
        excluded_embed_metadata_keys=[*metadata],
        excluded_llm_metadata_keys=[*picture.excluded_llm_metadata_keys, *about],
    )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, Mapping | list):
        inner = value.values() if isinstance(value, Mapping) else value
        yield from (text for each in inner for text in _texts(each))


def _plain(text: str) -> str:
    """Return words in one spelling, one blank between them; marks, if that is all."""
    shown = unicodedata.normalize("NFKC", text).casefold()
    words = " ".join(re.findall(r"\w+", shown))
    return words or "".join(
        # What has no width is nothing: blanks, and marks of direction.
        c
        for c in shown
        if not c.isspace() and unicodedata.category(c) != "Cf"
    )
