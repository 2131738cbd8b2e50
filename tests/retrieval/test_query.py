"""Query parts: words, pictures, weights, and what is refused."""

from __future__ import annotations

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core.base.llms.types import ImageBlock
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.schema import ImageDocument, ImageNode, QueryBundle
from PIL import ExifTags, Image

from llama_index_mmrag import MultiModalQuery, MultiModalSynthesizer
from llama_index_mmrag.answers.query_engine import MultiModalQueryEngine
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import ImageUnreadable, InvalidQuery, InvalidSetting
from llama_index_mmrag.nodes.images import load_image
from llama_index_mmrag.retrieval.encodings import encode
from llama_index_mmrag.retrieval.query import parts_of, pictures_of

from ..support.colours import channel, ids_of, image_node, retriever_of


def shape(query: str | QueryBundle) -> list[tuple[str, str, float]]:
    return [(part.kind, part.name, part.weight) for part in parts_of(query)]


def test_string_is_one_part_of_text():
    assert shape("red") == [("text", "text", 1.0)]
    assert parts_of("red")[0].texts == ("red",)


def test_words_come_first_then_pictures_in_order(paint):
    bundle = MultiModalQuery(
        "red", image_path=str(paint("red")), images=[paint("blue"), paint("green")]
    )
    assert shape(bundle) == [
        ("text", "text", 1.0),
        ("image", "image", 1.0),
        ("image", "image#2", 1.0),
        ("image", "image#3", 1.0),
    ]
    pictures = [part.image for part in parts_of(bundle)[1:]]
    assert pictures == [str(paint(colour)) for colour in ("red", "blue", "green")]
    assert list(map(str, pictures_of(bundle))) == pictures


def test_picture_alone_has_no_part_of_text(paint):
    assert shape(QueryBundle("", image_path=str(paint("red")))) == [
        ("image", "image", 1.0)
    ]


def test_custom_embedding_strings_replace_the_words_as_llamaindex_has_it():
    bundle = QueryBundle("a question", custom_embedding_strs=["red", " ", "green"])
    (part,) = parts_of(bundle)
    assert part.texts == ("red", "green")
    # Their mean, as in HyDE: not normalised by LlamaIndex.
    assert encode(part, ColourEncoder()) == [0.5, 0.5, 0.0, 0.0]


def test_weights_go_by_the_names_of_parts(paint):
    query = MultiModalQuery(
        "red",
        images=[paint("red"), paint("blue")],
        part_weights={"text": 0.0, "image#2": 2},
    )
    assert [weight for _, _, weight in shape(query)] == [0.0, 1.0, 2.0]


@pytest.mark.parametrize("name", ["image", "image#2", "words"])
def test_weight_of_no_part_is_refused_with_the_parts_there_are(name):
    with pytest.raises(InvalidQuery, match=rf"{name}.*\['text'\]"):
        parts_of(MultiModalQuery("red", part_weights={name: 1.0}))


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), None, "1", True])
def test_weight_out_of_range_is_refused(weight):
    with pytest.raises(InvalidQuery, match="'text'"):
        parts_of(MultiModalQuery("red", part_weights={"text": weight}))


@pytest.mark.parametrize(
    "query", ["", " \t", QueryBundle(""), QueryBundle("x", custom_embedding_strs=[" "])]
)
def test_nothing_to_search_for_is_refused(query):
    with pytest.raises(InvalidQuery, match="Give a text, an image_path"):
        parts_of(query)


@pytest.mark.parametrize("bad", [b"", b"words", io.BytesIO(b""), "missing.png"])
def test_picture_that_cannot_be_read_is_refused(bad):
    with pytest.raises(ImageUnreadable):
        parts_of(MultiModalQuery("red", images=[bad]))


@pytest.mark.parametrize("bare", ["red.png", Path("red.png"), b"red", io.BytesIO()])
def test_picture_that_stands_in_no_list_is_refused(bare):
    with pytest.raises(InvalidQuery, match="expected a list of str or Path"):
        parts_of(MultiModalQuery("red", images=bare))


def test_url_is_refused_not_fetched():
    with pytest.raises(ImageUnreadable, match="URLs are not fetched"):
        parts_of(QueryBundle("", image_path="https://example.org/cat.png"))


def test_query_is_not_written_to(paint):
    query = MultiModalQuery("red", images=[str(paint("red"))], part_weights={"text": 2})
    before = deepcopy(query)
    for part in parts_of(query):
        encode(part, ColourEncoder())
    assert query == before


FORMS = [
    *("path", "str", "bytes", "stream", "pil", "node", "node of base64", "document"),
    *("block", "block of bytes", "block of a path", "base64", "data"),
]


@pytest.mark.parametrize("form", [*FORMS, "file"])
def test_picture_in_every_form_has_the_same_vector(form, paint):
    path: Path = paint("orange")
    encoded = base64.b64encode(path.read_bytes()).decode()
    with path.open("rb") as file:
        query = MultiModalQuery(
            images=[file if form == "file" else picture_as(form, path, encoded)]
        )
    (part,) = parts_of(query)
    expected = ColourEncoder().get_image_embedding(str(path))
    assert encode(part, ColourEncoder()) == expected
    # A stream is read from its start each time.
    assert encode(part, ColourEncoder()) == expected


@pytest.mark.parametrize("form", FORMS)
def test_query_is_written_as_json_and_read(form, paint):
    path: Path = paint("orange")
    encoded = base64.b64encode(path.read_bytes()).decode()
    query = MultiModalQuery(
        "red", images=[picture_as(form, path, encoded)], part_weights={"text": 2.0}
    )
    for again in (
        MultiModalQuery.from_dict(json.loads(json.dumps(query.to_dict()))),
        MultiModalQuery.from_json(query.to_json()),
    ):
        assert (again.query_str, again.part_weights) == ("red", {"text": 2.0})
        text, image = parts_of(again)
        expected = ColourEncoder().get_image_embedding(str(path))
        assert encode(image, ColourEncoder()) == expected
        assert text.weight == 2.0


def test_keyword_that_a_query_does_not_take_is_answered():
    with pytest.raises(InvalidSetting, match="takes no 'image'. Use images="):
        MultiModalQuery("red", image="red.png")


def test_query_is_written_where_its_pictures_are_not():
    query = MultiModalQuery("red", images=["gone.png", Path("away/gone.png")])
    assert query.to_dict()["images"] == ["gone.png", str(Path("away/gone.png"))]


@pytest.mark.parametrize("form", ["path", "pil", "node", "document", "block"])
async def test_picture_is_a_query(form, paint, open_store):
    path: Path = paint("orange")
    nodes = [image_node(path), image_node(paint("blue"))]
    retriever = retriever_of(channel("image", open_store("edge", nodes)))
    asked = picture_as(form, path, "")
    expected = ids_of(retriever.retrieve(MultiModalQuery(images=[path])))
    assert ids_of(retriever.retrieve(asked)) == expected
    assert ids_of(await retriever.aretrieve(asked)) == expected
    engine = MultiModalQueryEngine(
        retriever, response_synthesizer=MultiModalSynthesizer(None)
    )
    assert ids_of(engine.query(asked).source_nodes) == expected
    assert ids_of((await engine.aquery(asked)).source_nodes) == expected


@pytest.mark.parametrize(
    "given",
    [
        "https://example.org/cat.png",
        ImageNode(image_url="https://example.org/cat.png"),
        ImageBlock(url="https://example.org/cat.png"),
        "data:image/png;base64,????",
        ImageNode(),
    ],
)
def test_picture_that_is_none_is_refused_where_it_is_given(given):
    with pytest.raises(ImageUnreadable):
        MultiModalQuery(images=[given])


def picture_as(form: str, path: Path, encoded: str) -> Any:
    return {
        "node": lambda: ImageNode(image_path=str(path)),
        "node of base64": lambda: ImageNode(image=encoded),
        "document": lambda: ImageDocument(image_path=str(path)),
        "block": lambda: ImageBlock(path=path),
        "block of bytes": lambda: ImageBlock(image=path.read_bytes()),
        "block of a path": lambda: ImageBlock(path=str(path)),
        "base64": lambda: encoded,
        "data": lambda: f"data:image/png;base64,{encoded}",
        "path": lambda: path,
        "str": lambda: str(path),
        "bytes": path.read_bytes,
        "stream": lambda: io.BytesIO(path.read_bytes()),
        "pil": lambda: Image.new("RGB", (16, 12), "orange"),
    }[form]()


def test_encoder_without_eyes_is_refused_with_its_name(paint):
    (part,) = parts_of(QueryBundle("", image_path=str(paint("red"))))
    with pytest.raises(InvalidSetting, match="MockEmbedding cannot encode a picture"):
        encode(part, MockEmbedding(embed_dim=4))


MODES = ("CMYK", "YCbCr", "HSV", "LAB", "F", "I", "I;16", "L", "P", "RGBA", "1")


@pytest.mark.parametrize("mode", MODES)
def test_picture_of_any_mode_can_be_asked_with(mode):
    picture = Image.new(mode, (16, 12), "white" if mode in ("RGBA", "P", "L") else 200)
    (part,) = parts_of(MultiModalQuery(images=[picture]))
    assert len(encode(part, ColourEncoder())) == 4
    assert picture.mode == mode


def test_open_picture_is_turned_upright_like_its_file(tmp_path):
    class Corner(ColourEncoder):
        """Sees the upper left corner alone."""

        def _get_image_embedding(self, img_file_path: Any) -> list[float]:
            picture = load_image(img_file_path)
            return [float(part) for part in picture.getpixel((0, 0))]

    lying = Image.new("RGB", (16, 8), "red")
    lying.paste("blue", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3  # upside down
    path = tmp_path / "lying.jpg"
    lying.save(path, exif=exif)
    sources: list[Any] = [path, Image.open(path), path.read_bytes()]
    of_file, of_open, of_bytes = parts_of(MultiModalQuery(images=sources))
    assert Corner().get_image_embedding(str(path))[0] > 200
    assert encode(of_open, Corner()) == encode(of_file, Corner())
    assert encode(of_bytes, Corner()) == encode(of_file, Corner())


def test_open_picture_is_decoded_once_for_all_encoders_at_once(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.png"
    noise = rng.integers(0, 256, (600, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    expected = ColourEncoder().get_image_embedding(str(path))
    for _ in range(5):
        (part,) = parts_of(MultiModalQuery(images=[Image.open(path)]))
        with ThreadPoolExecutor(4) as pool:
            vectors = pool.map(lambda _, one=part: encode(one, ColourEncoder()), "abcd")
        assert list(vectors) == [expected] * 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"part_weights": None},
        {"part_weights": [1.0]},
        {"part_weights": {1: 1.0}},
        {"images": "red.png"},
        {"images": None},
        {"images": [None]},
        {"images": [5]},
        {"query_str": None},
        {"query_str": 5},
        {"image_path": 5},
        {"custom_embedding_strs": "red"},
        {"custom_embedding_strs": ["red", None]},
    ],
)
def test_query_that_is_made_wrong_is_refused_where_it_is_made(wrong):
    with pytest.raises(InvalidQuery, match=next(iter(wrong))):
        MultiModalQuery(**{"query_str": "red", **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"query_str": None},
        {"image_path": 5},
        {"custom_embedding_strs": "red"},
        {"custom_embedding_strs": ["\ud800"]},
    ],
)
def test_bundle_that_was_made_wrong_is_refused_too(wrong):
    with pytest.raises(InvalidQuery, match=next(iter(wrong))):
        parts_of(QueryBundle(**{"query_str": "red", **wrong}))
