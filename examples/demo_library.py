"""The demo's library and questions: texts of our own, photographs of a PyPI package."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from llama_index.core.schema import QueryBundle
from PIL import Image, ImageOps
from rich.text import Text

DATA = Path(__file__).parent / "data"

SHOWN_IN_HANDBOOK = (
    "astronaut.png",
    "brick.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "horse.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
)
LOOSE = ("camera.png", "cell.png", "gravel.png", "text.png")
"""Photographs that no text speaks of: they are found by what they show, or never."""


@dataclass(frozen=True, slots=True)
class Question:
    """A line of questions.jsonl."""

    expected: tuple[str, str | None]
    """(file name, heading); no heading for a loose picture."""
    text: str = ""
    picture: str | None = None
    """A photograph of scikit-image, or one of the handbook's illustrations."""
    edits: tuple[str, ...] = ()
    """What makes the picture asked with another one than the picture indexed."""
    shown: bool = False

    @property
    def kind(self) -> str:
        """What is asked with."""
        return " + ".join(name for name in ("text", "picture") if getattr(self, name))

    def describe(self) -> Text:
        """Return the question as it is printed."""
        edits = f" ({', '.join(self.edits)})" if self.edits else ""
        picture = f"picture {self.picture}{edits}" if self.picture else ""
        lead = f"{self.text} + " if self.text and picture else self.text
        return Text.assemble(lead, (picture, "dim"))


def photograph_folder() -> Path:
    """Return the folder of scikit-image's photographs, without importing it.

    Raises:
        FileNotFoundError: scikit-image is not installed.
    """
    package = find_spec("skimage")
    if package is None or package.origin is None:
        msg = (
            "Its photographs are those of scikit-image, which is not installed. "
            "Install it: pip install scikit-image"
        )
        raise FileNotFoundError(msg)
    return Path(package.origin).parent / "data"


def assemble_library(library: Path, photographs: Path) -> Path:
    """Return the folder `library`, filled with our texts and others' photographs."""
    shutil.copytree(DATA / "handbook", library / "handbook")
    for folder, names in (("handbook/photos", SHOWN_IN_HANDBOOK), ("album", LOOSE)):
        (library / folder).mkdir()
        for name in names:
            shutil.copyfile(photographs / name, library / folder / name)
    return library


def read_questions() -> list[Question]:
    """Return the built-in questions; they are the same in each run."""
    lines = (DATA / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = []
    for values in map(json.loads, lines):
        values["expected"] = tuple(values["expected"])
        values["edits"] = tuple(values.get("edits", ()))
        questions.append(Question(**values))
    return questions


def bundle(question: Question, photographs: Path, queries: Path) -> QueryBundle:
    """Return what the retriever is asked; the edited picture is written to a file."""
    if question.picture is None:
        return QueryBundle(question.text)
    folder = DATA / "handbook" if "/" in question.picture else photographs
    with Image.open(folder / question.picture) as image:
        picture = image.convert("RGB")
    for edit in question.edits:
        picture = edited(picture, edit)
    quality = [int(e.split()[1]) for e in question.edits if e.startswith("jpeg")]
    queries.mkdir(exist_ok=True)
    path = queries / f"{Path(question.picture).stem}.jpg"
    picture.save(path, quality=quality[-1] if quality else 90)
    return QueryBundle(question.text, image_path=str(path))


def edited(picture: Image.Image, edit: str) -> Image.Image:
    """Return the picture after one edit, such as "crop 0 0 0.5 1" or "mirror"."""
    name, *words = edit.split()
    numbers = [float(word) for word in words]
    if name == "crop":
        sides = (picture.width, picture.height) * 2
        box_ = [round(n * side) for n, side in zip(numbers, sides, strict=True)]
        return picture.crop((box_[0], box_[1], box_[2], box_[3]))
    if name == "rotate":
        return picture.rotate(numbers[0], expand=True, fillcolor="white")
    if name == "shrink":
        return ImageOps.contain(picture, (int(numbers[0]), int(numbers[0])))
    plain = {"mirror": ImageOps.mirror, "grey": ImageOps.grayscale}
    return plain[name](picture).convert("RGB") if name in plain else picture
