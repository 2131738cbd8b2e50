"""Words of pictures: whichever form brings them, they find the picture."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    MediaResource,
    Node,
    TextNode,
)

from llama_index_mmrag import MultiModalQdrantIndex
from llama_index_mmrag.composition import Blend
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.ingestion import ReadSettings
from llama_index_mmrag.nodes.node import KIND_KEY, WORDS_KEY, WORDS_OF_KEY, words_of

from ..support.indexes import (
    KINDS,
    all_of,
    contents,
    painted,
    pictures,
    texts,
)

ID = "5f0c8f5e-3b1c-5d0a-9a55-3f1f6f8f0a11"
Form = Callable[[Path, str], BaseNode]


def encoded(picture: Path) -> str:
    return base64.b64encode(picture.read_bytes()).decode()


def resource(picture: Path) -> MediaResource:
    return MediaResource(path=picture)


NODES: dict[str, tuple[str, Form]] = {
    "path": ("caption", lambda p, w: ImageNode(id_=ID, text=w, image_path=str(p))),
    "base64": ("caption", lambda p, w: ImageNode(id_=ID, text=w, image=encoded(p))),
    "data:": (
        "caption",
        lambda p, w: ImageNode(
            id_=ID, text=w, image_url=f"data:image/png;base64,{encoded(p)}"
        ),
    ),
    "node": (
        "",
        lambda p, w: Node(
            id_=ID,
            text_resource=MediaResource(text=w),
            image_resource=resource(p),
        ),
    ),
    **{
        f"metadata {key}": (
            what,
            lambda p, w, key=key: ImageNode(
                id_=ID, image_path=str(p), metadata={key: w, "page": 7}
            ),
        )
        for key, what in {
            "caption": "caption",
            "description": "description",
            "alt": "alt",
            "alt_text": "alt",
            "title": "title",
        }.items()
    },
    "metadata of a node without text": (
        "caption",
        lambda p, w: Node(id_=ID, image_resource=resource(p), metadata={"caption": w}),
    ),
}
DOCUMENTS: dict[str, tuple[str, Form]] = {
    "image document": (
        "",
        lambda p, w: ImageDocument(id_=ID, text=w, image_path=str(p)),
    ),
    "document": ("", lambda p, w: Document(id_=ID, text=w, image_resource=resource(p))),
    "image document's metadata": (
        "title",
        lambda p, w: ImageDocument(id_=ID, image_path=str(p), metadata={"title": w}),
    ),
}


def insert(index: MultiModalQdrantIndex, item: BaseNode) -> None:
    index.insert(item)


def insert_nodes(index: MultiModalQdrantIndex, item: BaseNode) -> None:
    index.insert_nodes([item])


def pipeline(index: MultiModalQdrantIndex, item: BaseNode) -> None:
    store = index.as_vector_store()
    steps = [index.as_transformation()]
    IngestionPipeline(transformations=steps, vector_store=store).run(nodes=[item])


PAGES = {
    "inline": ("title", "![a thing]({}.png '{}')"),
    "reference": ("title", "![a thing][it]\n\n[it]: {}.png '{}'"),
    "among others": ("title", "![one](grey.png) ![a thing]({}.png '{}')"),
    "twice": ("title", "![a thing]({0}.png) and ![it]({0}.png '{1}')"),
    "html": ("title", "Words <img src={}.png alt='a thing' title='{}'> words."),
    "figure": (
        "",
        "<figure><img src={}.png alt='a thing'><figcaption>{}</figcaption></figure>",
    ),
    "figure of Markdown": (
        "",
        "<figure>\n\n![a thing]({}.png)\n\n<figcaption>{}</figcaption>\n</figure>",
    ),
    "alt": ("", "Some text.\n\n![{1}]({0}.png)"),
}


def check_found(index: MultiModalQdrantIndex, what: str, wanted: str) -> None:
    """Check that a colour's words find the red picture, once, with its caption."""
    results = index.as_retriever().retrieve(wanted)
    assert not any(words_of(r.node.metadata) for r in results)
    red = [
        r
        for r in results
        if isinstance(r.node, ImageNode) and f"a {wanted} kite" in r.node.text
    ]
    assert len(red) == 1
    hits = red[0].provenance.contributions
    assert [c.words for c in hits if c.channel == "text"] == [what]
    assert (f"text→text, by its {what}" in red[0].provenance.explain()) is bool(what)
    found_by = [c for c in red[0].provenance.of_node(red[0].node.node_id) if c.words]
    assert [c.words for c in found_by] == ([what] if what else [])


def stored_words(index: MultiModalQdrantIndex) -> list[str]:
    return [n.text for n in all_of(index.channels[0]) if words_of(n.metadata)]


@pytest.mark.parametrize(
    ("way", "form"),
    [
        *((way, form) for way in (insert, insert_nodes, pipeline) for form in NODES),
        *((way, form) for way in (insert, pipeline) for form in DOCUMENTS),
    ],
)
def test_words_find_their_picture_change_with_it_and_go_with_it(
    way, form, open_index, tmp_path
):
    what, made = {**NODES, **DOCUMENTS}[form]
    picture, path = painted(tmp_path, "red"), tmp_path / "store"
    with open_index(path=path) as index:
        way(index, made(picture, "a green kite"))
        before = pictures(index)
        check_found(index, what, "green")
        way(index, made(picture, "a green kite"))
        assert len(all_of(index.channels[0])) == 1
    with open_index(path=path) as index:  # as another process
        way(index, made(picture, "a blue kite"))
        check_found(index, what, "blue")
        assert len(all_of(index.channels[0])) == len(pictures(index)) == 1
        assert texts(index) == ["a blue kite"]
        assert len(before) == 1
    with open_index(path=path) as index:
        index.delete_ref_doc(ID) or index.delete_nodes([ID])
        assert (all_of(index.channels[0]), pictures(index)) == ([], [])


@pytest.mark.parametrize("page", PAGES)
def test_words_on_a_page_find_their_picture_change_and_go(page, open_index, tmp_path):
    what, markdown = PAGES[page]
    docs, path = tmp_path / "docs", tmp_path / "store"
    for colour in ("red", "grey"):
        painted(docs, colour)
    file = docs / "page.md"

    def written(colour: str) -> None:
        file.write_text("# A page\n\n" + markdown.format("red", f"a {colour} kite"))

    with open_index(path=path) as index:
        written("green")
        index.insert_directory(docs)
        check_found(index, what, "green")
        assert index.refresh(docs).n_added == 0
    with open_index(path=path) as index:
        written("blue")
        index.refresh(docs)
        check_found(index, what, "blue")
        assert not any("green" in text for text in texts(index))
        assert len(stored_words(index)) == bool(what)
    with open_index(path=path) as index:
        file.unlink()
        index.refresh(docs)
        assert texts(index) == []


@KINDS
def test_words_are_linked_texts_in_every_kind_of_store(kind, open_index, tmp_path):
    index = open_index(kind)
    picture = painted(tmp_path, "red")
    node = ImageNode(
        text="a green kite", image_path=str(picture), metadata={"kind": "photo"}
    )
    index.insert(node)
    (text,), (image,) = (all_of(channel) for channel in index.channels)
    assert text.metadata[KIND_KEY] == "words"
    assert text.metadata[WORDS_KEY] == "caption"
    assert text.metadata[WORDS_OF_KEY] == image.node_id
    assert image.metadata[KIND_KEY] == text.metadata["original_kind"] == "photo"
    for key in ("entity_id", "position", "original_id"):
        assert text.metadata[key] == image.metadata[key]
    assert text.ref_doc_id == image.ref_doc_id
    check_found(index, "caption", "green")
    assert index.delete_nodes([image.node_id]) == 2
    assert all_of(index.channels[0]) == []


def test_metadata_are_no_words_but_under_the_keys(open_index, tmp_path):
    picture = str(painted(tmp_path, "red"))
    said = {"legend": "a green kite", "title": "a blue kite"}
    settings = ReadSettings(word_keys=["legend"])
    index = open_index(settings=settings)
    index.insert(ImageNode(image_path=picture, metadata=said))
    assert texts(index) == ["a green kite"]
    check_found(index, "legend", "green")
    other = open_index(settings=ReadSettings(word_keys=()))
    other.insert(ImageNode(image_path=picture, metadata=said))
    assert texts(other) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, []),
        (True, []),
        ("", []),
        (" \u200b\u200e\n", []),
        (1984, ["1984"]),
        (["a kite", None, 3], ["a kite", "3"]),
        ({"en": "a kite", "de": ["ein Drachen"]}, ["a kite", "ein Drachen"]),
        ("עפיפון \u200fאדום", ["עפיפון \u200fאדום"]),
        ("🪁", ["🪁"]),
    ],
)
def test_values_of_a_word_key(value, expected, open_index, tmp_path):
    index, picture = open_index(), str(painted(tmp_path, "red"))
    index.insert(ImageNode(image_path=picture, metadata={"caption": value}))
    assert sorted(texts(index)) == sorted(expected)
    assert len(pictures(index)) == 1


@pytest.mark.parametrize("where", ["text", "metadata"])
def test_half_a_character_is_told_and_names_the_node(where, open_index, tmp_path):
    index, picture = open_index(), str(painted(tmp_path, "red"))
    given = {"text": "\ud800"} if where == "text" else {"metadata": {"alt": "\ud800"}}
    report = index.insert(ImageNode(id_="fig-1", image_path=picture, **given))
    (problem,) = report.problems
    assert problem.source == "fig-1"
    assert "half a character (U+D800)" in problem.reason
    assert (texts(index), pictures(index)) == ([], [])


def test_words_that_are_in_themselves_are_told_and_the_rest_goes_in(
    open_index, tmp_path
):
    index, picture = open_index(), str(painted(tmp_path, "red"))
    endless: list[Any] = ["a kite"]
    endless.append(endless)
    report = index.insert(
        [
            ImageNode(id_="fig-1", image_path=picture, metadata={"caption": endless}),
            ImageNode(id_="fig-2", image_path=picture, metadata={"caption": "a kite"}),
        ]
    )
    (problem,) = report.problems
    assert problem.source == "fig-1"
    assert "'caption': The value is in itself" in problem.reason
    assert texts(index) == ["a kite"]


def test_long_words_are_split_as_any_text(open_index, tmp_path):
    index, picture = open_index(), str(painted(tmp_path, "red"))
    caption = " ".join(f"It is number {n}." for n in range(11_000))
    assert len(caption) > 200_000
    item = ImageNode(id_=ID, text=f"{caption} A green one.", image_path=picture)
    index.insert(item)
    parts = stored_words(index)
    assert len(parts) > 100
    assert len(set(parts)) == len(parts)
    first = index.as_retriever().retrieve("green")[0]
    assert isinstance(first.node, ImageNode)
    assert index.insert(item).n_added == 0
    index.delete_nodes([ID])
    assert all_of(index.channels[0]) == []


def test_two_pictures_of_the_same_words_are_found_each(open_index, tmp_path):
    index = open_index()
    index.insert(
        [
            ImageNode(text="a green kite", image_path=str(painted(tmp_path, colour)))
            for colour in ("red", "magenta")
        ]
    )
    results = index.as_retriever().retrieve("green")
    assert len(results) == 2
    assert all(isinstance(result.node, ImageNode) for result in results)


def test_words_that_the_text_has_make_no_node(open_index, tmp_path):
    index, picture = open_index(), painted(tmp_path, "red")
    words = {"caption": "A  GREEN kite!", "title": "green kit"}
    path = str(picture)
    text = "Look: a green kite."
    index.insert(ImageDocument(text=text, image_path=path, metadata=words))
    assert stored_words(index) == []  # metadata are embedded before the text
    index.insert(ImageNode(text="a red kite", image_path=path, metadata=words))
    assert sorted(stored_words(index)) == ["A  GREEN kite!", "a red kite", "green kit"]


def test_of_a_section_the_picture_whose_words_were_found_is_shown(open_index, tmp_path):
    docs = tmp_path / "docs"
    for colour in ("red", "grey", "white"):
        painted(docs, colour)
    pages = "![one](grey.png) ![two](white.png) ![three](red.png 'a green kite')"
    (docs / "page.md").write_text("# A page\n\nA text.\n\n" + pages)
    index = open_index()
    index.insert_directory(docs)
    results = index.as_retriever(similarity_top_k=1).retrieve("green")
    shown = [
        Path(r.node.image_path).name for r in results if isinstance(r.node, ImageNode)
    ]
    assert "red.png" in shown
    assert len(shown) == len(set(shown))


def test_a_picture_that_is_not_encoded_leaves_no_words(open_index, tmp_path, encoder):
    index, picture = open_index(), painted(tmp_path, "red")
    picture.write_bytes(b"no picture")
    node = ImageNode(id_="fig-1", text="a green kite", image_path=str(picture))
    assert len(index.insert(node).problems) == 1
    assert texts(index) == []


def test_words_count_as_pictures_of_a_question(open_index, tmp_path):
    index = open_index()
    index.insert(
        [
            ImageNode(text="a green kite", image_path=str(painted(tmp_path, "red"))),
            *(TextNode(text=f"green {n}") for n in range(3)),
        ]
    )
    retriever = index.as_retriever(similarity_top_k=2, image_similarity_top_k=1)
    shown = [isinstance(r.node, ImageNode) for r in retriever.retrieve("green")]
    assert sorted(shown) == [False, False, True]


def test_a_retriever_of_texts_alone_shows_the_words(open_index, tmp_path):
    index = open_index()
    picture = str(painted(tmp_path, "red"))
    index.insert(ImageNode(text="a green kite", image_path=picture))
    (result,) = index.as_retriever().text_retrieve("green")
    assert result.node.get_content() == "a green kite"
    assert not isinstance(result.node, ImageNode)


def test_early_fusion_has_no_copy_of_words(open_index, tmp_path):
    index = open_index(composition=Blend(0.5))
    picture = str(painted(tmp_path, "red"))
    index.insert(ImageNode(id_=ID, text="a green kite", image_path=picture))
    composed = index.channels[-1]
    assert [n.node_id for n in all_of(composed)] == [ID]
    index.delete_nodes([ID])
    assert all_of(composed) == []


def test_word_keys_are_a_list():
    with pytest.raises(InvalidSetting, match="word_keys"):
        ReadSettings(word_keys="caption")


def test_answers_show_a_picture_found_by_its_words_once(open_index, tmp_path):
    index, picture = open_index(), str(painted(tmp_path, "red"))
    index.insert(ImageNode(image_path=picture, metadata={"alt": "a green kite"}))
    answer: Any = index.as_query_engine().query("green")
    assert str(answer) == "Picture: “a green kite” [1]."
    (card,) = answer.metadata["citations"].values()
    assert sorted(hit["words"] for hit in card["found_by"]) == ["", "alt"]


def test_words_that_a_linked_text_has_make_no_node_whichever_came_first(
    open_index, tmp_path
):
    index, linked = open_index(), {"entity_id": "kite"}
    picture = str(painted(tmp_path, "red"))
    image = ImageNode(text="a green kite", image_path=picture, metadata=linked)
    text = TextNode(text="It is a green kite.", metadata=linked)
    index.insert_nodes([image])
    assert texts(index) == ["a green kite"]
    for items in ([text], [image], [image, text]):
        index.insert_nodes(items)
        assert texts(index) == ["It is a green kite."]


def test_a_result_that_is_inserted_again_adds_nothing(open_index, tmp_path):
    docs = tmp_path / "docs"
    painted(docs, "red")
    (docs / "page.md").write_text("# A\n\n![a green kite](red.png 'a blue one')")
    index = open_index()
    index.insert_directory(docs)
    stored = contents(index)
    again = [r.node for r in index.as_retriever().retrieve("green")]
    assert any(isinstance(node, ImageNode) for node in again)
    index.insert_nodes(again)
    assert len(contents(index)["text"]) == len(stored["text"])
