"""What makes an embedded store's vectors of words: kept beside its shard."""

from __future__ import annotations

import json
from pathlib import Path

from llama_index_mmrag.embeddings.bm25 import Bm25Encoder, made_by
from llama_index_mmrag.errors import StoreUnusable
from llama_index_mmrag.files.reading import read_json
from llama_index_mmrag.files.writing import replacing
from llama_index_mmrag.stores.edge_layout import WORDS


def write_words(folder: Path, words: bool | Bm25Encoder | None) -> None:
    """Put beside a new store's shard what makes its vectors of words; none: nothing."""
    file = folder / WORDS
    if not words:
        file.unlink(missing_ok=True)
        return
    maker = Bm25Encoder() if words is True else words
    with replacing(file, by=WORDS + ".new") as unfinished:
        unfinished.write((json.dumps(maker.card()) + "\n").encode())


def read_words(folder: Path, asked: bool | Bm25Encoder | None) -> Bm25Encoder:
    """Return what makes a store's vectors of words, of which it has some.

    Args:
        folder: The store's.
        asked: What is to make them; True and None take what does.

    Raises:
        CollectionMismatch: It is another, or none that there is here.
        StoreUnusable: Its card cannot be read.
    """
    file = folder / WORDS
    expected = asked if isinstance(asked, Bm25Encoder) else None
    try:
        card = dict(read_json(file))
    except FileNotFoundError:  # as one was made before there was a choice
        card = Bm25Encoder().card()
    except (OSError, ValueError, TypeError) as error:
        raise StoreUnusable(
            f"The file {str(file)!r} cannot be read: {error}. Restore it from a "
            "backup, or insert again into another folder."
        ) from error
    return made_by(card, expected, f"the store in {str(folder)!r}")
