"""Arguments and options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import typer
from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import QueryBundle

from llama_index_mmrag.composition import Blend, Composition, Concatenate
from llama_index_mmrag.errors import (
    CollectionMismatch,
    InvalidSetting,
    StoreUnusable,
)
from llama_index_mmrag.index.early_fusion import FusionStage
from llama_index_mmrag.index.index import MultiModalQdrantIndex
from llama_index_mmrag.stores.manifest import stored_composition


def place(given: str) -> Path:
    """Return a path that was given, which must not be empty."""
    if not given.strip():
        raise typer.BadParameter("the path is empty; name a folder.")
    return Path(given)


Store = Annotated[
    Path,
    typer.Option(
        "--store",
        "-s",
        parser=place,
        metavar="DIR",
        help="Folder of the embedded store.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
TopK = Annotated[int, typer.Option("--top-k", "-k", min=1, help="Results at most.")]
Text = Annotated[str, typer.Argument(help="Words; may be left out with --image.")]
# Typer evaluates annotations, and Python 3.10 has no `Path | None` in Annotated there.
Picture = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--image", "-i", help="A picture to search by."),
]


class Stage(str, Enum):
    """Where a query's parts meet those of the store."""

    LATE = "late"
    EARLY = "early"
    BOTH = "both"


class Rule(str, Enum):
    """How a text and a picture become one vector."""

    BLEND = "blend"
    CONCAT = "concat"


Fusion = Annotated[
    Optional[Stage],  # noqa: UP045
    typer.Option(
        "--fusion",
        "-f",
        help="late: fuse the rankings of texts and pictures. early: search the one "
        "vector of words and picture (a store made with --early-fusion). both: all of "
        "it. Default: all that the store has.",
    ),
]
EarlyFusion = Annotated[
    Optional[Rule],  # noqa: UP045
    typer.Option(
        "--early-fusion",
        help="Also keep one vector for a picture with its text, for --fusion early. "
        "blend: the weighted mean of the two. concat: one behind the other, each "
        "compared with its like. Chosen when the store is made; it remembers.",
    ),
]
Alpha = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        min=0.0,
        max=1.0,
        help="Share of the text under --early-fusion; the picture has the rest. "
        "Default: 0.5.",
    ),
]


def composition_for(
    store: Path, rule: Rule | None, alpha: float | None
) -> Composition | None:
    """Return what a store is to be filled with: what is asked, else what it has.

    Raises:
        InvalidSetting: There is an alpha and no rule that it belongs to, or the store
            was made with another rule, or without one.
    """
    if rule is None and alpha is not None:
        msg = f"--alpha {alpha} needs --early-fusion blend or concat. Add it."
        raise InvalidSetting(msg)
    known = stored_composition(store)
    if rule is None:
        return known
    kind = Blend if rule is Rule.BLEND else Concatenate
    asked = kind() if alpha is None else kind(alpha)
    if known != asked and (store / "mmrag.json").exists():
        made = "without --early-fusion" if known is None else f"for {known!r}"
        msg = (
            f"The store {str(store)!r} was made {made}; asked for was {asked!r}. Leave "
            f"--early-fusion out to go on as it is, or give another --store."
        )
        raise InvalidSetting(msg)
    return asked


def stage_for(store: Path, fusion: Stage | None) -> FusionStage | None:
    """Return where the parts of a query meet; None for all that the store has.

    Raises:
        InvalidSetting: The store has no vectors for that.
    """
    if fusion is None:
        return None
    if fusion is not Stage.LATE and stored_composition(store) is None:
        msg = (
            f"--fusion {fusion.value} needs vectors that {str(store)!r} does not have. "
            f"Make a new store with: mmrag index DIR --store NEW --early-fusion blend"
        )
        raise InvalidSetting(msg)
    stages: dict[Stage, FusionStage] = {
        Stage.LATE: "late",
        Stage.EARLY: "early",
        Stage.BOTH: "both",
    }
    return stages[fusion]


def existing(
    store: Path, *, embed_model: MultiModalEmbedding | None = None
) -> MultiModalQdrantIndex:
    """Return the index of a folder, which must hold one already.

    Raises:
        StoreUnusable: It does not.
        CollectionMismatch: It was filled by another encoder.
    """
    check_exists(store)
    composition = stored_composition(store)
    return opened(store, embed_model, early_fusion=composition)


def opened(
    store: Path,
    embed_model: MultiModalEmbedding | None,
    *,
    early_fusion: Composition | None,
) -> MultiModalQdrantIndex:
    """Return the index of a folder, with an encoder where one was asked for.

    Raises:
        CollectionMismatch: It was filled by another encoder.
    """
    try:
        return MultiModalQdrantIndex.open(
            store, embed_model=embed_model, early_fusion=early_fusion
        )
    except CollectionMismatch as error:
        msg = (
            f"{error} On the command line: give --encoder and --alignment as they were "
            f"given to mmrag index."
        )
        raise CollectionMismatch(msg) from error


def check_exists(store: Path) -> None:
    """Do nothing if a folder holds a store.

    Raises:
        StoreUnusable: It does not.
    """
    if not (store / "mmrag.json").exists():
        msg = (
            f"There is no store in {str(store)!r}. Make one with: "
            f"mmrag index DIR --store {store}"
        )
        raise StoreUnusable(msg)


def query_of(text: str, image: Path | None) -> QueryBundle:
    """Return the query that words and a picture make."""
    return QueryBundle(text, image_path=None if image is None else str(image))
