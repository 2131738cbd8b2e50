"""A package that stands in for the engine, and pictures with letters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

ENGINE = """
import os, time, numpy as np
from types import SimpleNamespace
class RapidOCR:
    def __init__(self, params):
        {begin}
    def __call__(self, image, use_cls=None):
        said = "begun"
        if image.shape != (64, 256, 3):
            height, width, _ = image.shape
            {read}
        return SimpleNamespace(
            txts=(said,),
            boxes=np.array([[[2, 3], [7, 3], [7, 9], [2, 9]]]),
            scores=(1.0,),
        )
"""
"""RapidOCR's interface, which says what is asked for in one line."""


@pytest.fixture
def engine(tmp_path, monkeypatch) -> Callable[..., None]:
    """Return a function that puts an engine of a few lines in RapidOCR's place."""

    def placed(read: str, begin: str = "pass") -> None:
        package = tmp_path / "site" / "rapidocr"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(ENGINE.format(read=read, begin=begin))
        monkeypatch.syspath_prepend(package.parent)

    return placed


@pytest.fixture
def lettered(tmp_path) -> Callable[..., Path]:
    """Return a function that draws words on white, and saves the picture."""

    def drawn(
        words: str = "STIGMA and STYLE",
        *,
        size: tuple[int, int] = (480, 200),
        at: tuple[int, int] = (240, 50),
        name: str = "lettered.png",
        **saved: object,
    ) -> Path:
        picture = Image.new("RGB", size, "white")
        font = ImageFont.load_default(size=24)
        ImageDraw.Draw(picture).text(at, words, "black", font=font)
        picture.save(tmp_path / name, **saved)
        return tmp_path / name

    return drawn
