"""Which engine reads pictures: by name."""

from __future__ import annotations

from typing import Literal, get_args

from llama_index_mmrag.checks import one_of
from llama_index_mmrag.lettering.rapid import RapidReader
from llama_index_mmrag.lettering.reader import Engine, PictureReader
from llama_index_mmrag.lettering.tesseract import TesseractReader


def reader_of(
    read_pictures: Literal[True, "rapidocr", "tesseract"],
    language: str | None = None,
    *,
    of_pages: bool = False,
) -> PictureReader:
    """Return the reader of a name; True is rapidocr, and Tesseract is named.

    Args:
        read_pictures: Which engine.
        language: In the engine's own words; None is what it reads by default.
        of_pages: Whether it is given whole pages that stand upright, and not figures
            with a few words in them.

    Raises:
        InvalidSetting: No such engine, or a language that rapidocr does not read.
        MissingExtra: The extra `ocr` is not installed.
        ReaderUnusable: Tesseract, or its language, is not installed.
    """
    named = one_of(read_pictures, "read_pictures", (True, *get_args(Engine)))
    engine = TesseractReader if named == "tesseract" else RapidReader
    return engine(language, of_pages=of_pages)
