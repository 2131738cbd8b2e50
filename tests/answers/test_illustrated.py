"""Answers with their pictures: each once, in its place, and the answer as it was."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import pickle
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from random import Random
from urllib.parse import unquote

import pytest
from llama_index.core.base.llms.types import ImageBlock, TextBlock
from llama_index.core.base.response.schema import Response
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.instrumentation.events.synthesis import SynthesizeEndEvent
from llama_index.core.schema import BaseNode, ImageNode, TextNode
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from PIL import Image

from llama_index_mmrag import MultiModalSynthesizer
from llama_index_mmrag.answers.draft import Draft
from llama_index_mmrag.answers.evidence import PictureBudget, gather_evidence
from llama_index_mmrag.answers.illustrated import to_blocks, to_html, to_markdown
from llama_index_mmrag.citations.positions import first_citations
from llama_index_mmrag.errors import InvalidSetting, StoreUnusable

from ..support.colours import Paint, ranked
from ..support.written_answers import N_SOURCES, SCRIPT, generated, respond

READER = MarkdownIt("commonmark", {"maxNesting": 200}).enable("table")
PICTURES = (2, 3, 5, 6)
"""Labels of the sources that are pictures; the others are texts."""

CASES = 500


@pytest.fixture
def sources(paint: Paint) -> list[BaseNode]:
    """Six sources; the captions try to be markup."""
    captions = {
        2: "A red door",
        3: f'"<b>" {SCRIPT} & `[2]` *x* ![y](z)',
        5: "",
        6: "A line\n\n# and another \\",
    }
    colours = {2: "red", 3: "blue", 5: "green", 6: "yellow"}
    return [
        ImageNode(
            image_path=str(paint(colours[label], size=(80, 40))),
            text=captions[label],
            metadata={"section": "House > Door"},
        )
        if label in PICTURES
        else TextNode(
            text=f"Text {label}",
            metadata={"file_path": f"/h/{label}.md", "section": "House <i>"},
        )
        for label in range(1, N_SOURCES + 1)
    ]


def cited_pictures(response: Response) -> list[int]:
    cited = first_citations(response.response or "", N_SOURCES)
    return [label for label in cited if label in PICTURES]


def ancestors(node: SyntaxTreeNode) -> list[SyntaxTreeNode]:
    return [] if node.parent is None else [node.parent, *ancestors(node.parent)]


def label_of(node: SyntaxTreeNode, sources: list[BaseNode]) -> int | None:
    """Return the label of a paragraph that is a figure of ours."""
    if node.type != "paragraph" or not node.children[0].children:
        return None
    first = node.children[0].children[0]
    names = {Path(sources[n - 1].image_path).name: n for n in PICTURES}
    return names.get(Path(str(first.attrs.get("src"))).name)


class Checker(HTMLParser):
    """Reads a page strictly: elements nest, and nothing is run or loaded."""

    VOID = frozenset({"br", "hr", "img", "meta"})
    KNOWN = {
        *VOID,
        *("html", "head", "title", "style", "body", "section", "figure", "figcaption"),
        *("h1", "h2", "p", "ul", "ol", "li", "blockquote", "pre", "code"),
        *("em", "strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td"),
    }

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        assert tag in self.KNOWN
        for name, value in attrs:
            assert not name.startswith("on")
            if name == "src":
                assert tag == "img"
                assert value.startswith("data:image/")
                self.pictures.append(value)
            if name == "href":
                assert value.startswith("https:")
        assert tag not in {"figure", "table", "ul", "ol"} or self.open[-1] != "p"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    @classmethod
    def read(cls, page: str) -> Checker:
        page.encode()  # no halves of characters
        checker = cls()
        checker.feed(page)
        checker.close()
        assert not checker.open
        return checker


class TestGeneratedAnswers:
    """500 of them, in each of the three forms."""

    @pytest.fixture(params=range(10))
    def responses(self, request, sources) -> list[Response]:
        rng = Random(request.param)
        return [respond(generated(rng), sources) for _ in range(CASES // 10)]

    def test_markdown_is_the_answer_and_each_cited_picture_once_in_its_place(
        self, responses, sources
    ):
        assert sum(map(len, map(cited_pictures, responses))) > 50
        for response in responses:
            written = response.to_markdown()
            assert_only_lines_are_added(response.response, written)
            assert outline(written, sources) == outline(response.response, sources)
            lines = written.split("\n")
            found = []
            for node in SyntaxTreeNode(READER.parse(written)).walk():
                if (label := label_of(node, sources)) is None:
                    continue
                found.append(label)
                lists = {"root", "bullet_list", "ordered_list", "list_item"}
                assert {each.type for each in ancestors(node)} <= lists
                before = node.previous_sibling
                while label_of(before, sources) is not None:
                    before = before.previous_sibling
                assert f"[{label}]" in "\n".join(lines[slice(*before.map)])
            assert sorted(found) == sorted(cited_pictures(response))

    def test_page_is_well_formed_and_holds_each_picture_once(self, responses):
        for response in responses:
            page = Checker.read(response.to_html())
            cited = cited_pictures(response)
            assert len(page.pictures) == len(set(page.pictures)) == len(cited)

    def test_blocks_are_the_answer_and_each_picture_after_its_label(self, responses):
        for response in responses:
            blocks = response.to_blocks()
            cited = cited_pictures(response)
            assert sum(isinstance(block, ImageBlock) for block in blocks) == len(cited)
            said = ""
            for before, block in zip([None, *blocks], blocks, strict=False):
                if isinstance(before, ImageBlock):  # this is its caption
                    (label, *_) = first_citations(block.text, N_SOURCES)
                    assert f"[{label}]" in said
                elif isinstance(block, TextBlock) and "\n\nSources:" not in block.text:
                    said += block.text
            assert said == response.response


def outline(text: str, sources: list[BaseNode]) -> list[tuple[str, str]]:
    """Return what a Markdown text consists of, without figures and list of sources."""
    text = text.rpartition("**Sources**\n\n- ")[0] or text
    kinds = []
    for node in SyntaxTreeNode(READER.parse(text)).walk():
        if any(label_of(each, sources) for each in (node, *ancestors(node))):
            continue
        content = node.content if node.type in {"text", "fence", "code_block"} else ""
        kinds.append((node.type, content.rstrip()))
    return kinds


def assert_only_lines_are_added(answer: str, written: str) -> None:
    left = iter(written.split("\n"))
    assert all(line in left for line in answer.split("\n"))


class TestPlaces:
    def written(self, answer: str, sources: list[BaseNode]) -> str:
        """Return the Markdown with pictures by label, and without sources."""
        text = respond(answer, sources).to_markdown()
        for label in PICTURES:
            path = Path(sources[label - 1].image_path).as_posix()
            lines = text.splitlines(keepends=True)
            for line in [line for line in lines if f"({path})" in line]:
                legend = lines[lines.index(line) + 1]
                space = line[: len(line) - len(line.lstrip())]
                text = text.replace(line + legend, f"{space}<{label}>\n")
        return text.partition("\n**Sources**")[0]

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ("Red [2]. Blue [3][2].", "Red [2]. Blue [3][2].\n\n<2>\n\n<3>\n"),
            ("# Red [2]\nText", "# Red [2]\n\n<2>\n\nText\n"),
            ("- red [2]\n- blue", "- red [2]\n\n  <2>\n\n- blue\n"),
            (
                "1. a\n   - red [2]\n     more\n\n2. b",
                "1. a\n   - red [2]\n     more\n\n     <2>\n\n2. b\n",
            ),
            ("-\tred [2]", "-\tred [2]\n\n    <2>\n"),
            (
                "| a |\n|---|\n| [2] |\n\nb",
                "| a |\n|---|\n| [2] |\n\n<2>\n\nb\n",
            ),
            ("> a [2]\nlazy\n> > b", "> a [2]\nlazy\n> > b\n\n<2>\n"),
            ("- > a [2]\n- b", "- > a [2]\n\n  <2>\n\n- b\n"),
            ("```\na[2]\n```\nb", "```\na[2]\n```\n\n<2>\n\nb\n"),
            ("```\na[2]", "```\na[2]\n```\n\n<2>\n"),
            ("- a\n  ~~~\n  [2]\n\nb", "- a\n  ~~~\n  [2]\n\n  ~~~\n\n  <2>\n\nb\n"),
            ("Red [2]\n```\nopen", "Red [2]\n\n<2>\n\n```\nopen\n```\n"),
            ("<!-- [2]", "<!-- [2]\n-->\n\n<2>\n"),
            ("[2]: a.md\n\nb", "[2]: a.md\n\nb\n\n<2>\n"),
            ("[2]: a.md\n\n<pre>", "[2]: a.md\n\n<pre>\n</pre>\n\n<2>\n"),
            ("Red [2].\r\n\r\nBlue", "Red [2].\r\n\n<2>\n\r\nBlue\n"),
        ],
    )
    def test_in_markdown(self, answer, expected, sources):
        assert self.written(answer, sources) == expected

    @pytest.mark.parametrize(
        ("answer", "texts"),
        [
            ("A [2]. B.", ["A [2].", " B."]),
            ("A. [2] B.", ["A. [2]", " B."]),
            ("A. [2] [1] B.", ["A. [2] [1]", " B."]),
            ("[2] says so. B.", ["[2] says so.", " B."]),
            ("1. [2] says so. B.", ["1. [2] says so.", " B."]),
            ("门[2]。红色。", ["门[2]。", "红色。"]),
            ("门。[2]红色。", ["门。[2]", "红色。"]),
            ("“门。”[2]红色。", ["“门。”[2]", "红色。"]),
            ("- a [2]. b\n- c", ["- a [2].", " b\n- c"]),
            ("**A [2]. B** c. D\n\nE", ["**A [2]. B** c. D\n", "\nE"]),
            (
                "| a |\n|---|\n| [2] b. c |\n\nd",
                ["| a |\n|---|\n| [2] b. c |\n", "\nd"],
            ),
        ],
    )
    def test_in_blocks(self, answer, texts, sources):
        blocks = respond(answer, sources).to_blocks()
        assert isinstance(blocks[1], ImageBlock)
        assert [blocks[0].text, blocks[3].text] == texts

    def test_in_a_page_a_picture_stands_in_its_list_item(self, sources):
        page = respond("- red [2]\n- blue", sources).to_html()
        inner = page[page.index("<ul>") : page.index("</ul>")]
        assert inner.startswith("<ul>\n<li>red [2]<figure>")
        assert inner.endswith("</figure>\n</li>\n<li>blue</li>\n")

    @pytest.mark.parametrize("mark", [">", "- ", "[", "**a "])
    def test_text_nested_too_deep_to_be_read_is_whole_and_has_its_pictures(
        self, mark, sources
    ):
        answer = mark * 3000 + "red [2]"
        response = respond(answer, sources)
        assert response.to_markdown().startswith(answer)
        assert "red.png" in response.to_markdown()
        page = Checker.read(response.to_html())
        assert len(page.pictures) == 1
        assert "red [2]" in page.text
        assert len(response.to_blocks()) == 4


class TestWhatIsShown:
    def test_caption_labels_and_list_of_sources(self, sources):
        response = respond("Red [2]. Text [1]. Blue [3]. [5]", sources)
        text = MarkdownIt().render(response.to_markdown())
        assert "[2] A red door</p>" in text
        assert "[3] &quot;&lt;b&gt;&quot; &lt;script&gt;" in text
        assert "[5] green.png</p>" in text
        assert "<li>[1] 1.md, House &lt;i&gt;</li>" in text
        assert "<li>[2] red.png, House &gt; Door</li>" in text
        assert "[4]" not in text
        assert response.to_blocks()[-1].text.splitlines()[2:] == [
            "Sources:",
            "[1] 1.md, House <i>",
            "[2] red.png, House > Door",
            "[3] blue.png, House > Door",
            "[5] green.png, House > Door",
        ]

    def test_pictures_are_as_large_as_the_model_was_shown_them(self, sources):
        response = respond("Red [2].", sources, max_side=50)
        assert 'width="50" height="25"' in response.to_html()
        (block,) = [b for b in response.to_blocks() if isinstance(b, ImageBlock)]
        picture = Image.open(BytesIO(base64.b64decode(block.image)))
        assert picture.size == (50, 25)

    def test_pictures_of_captions_alone_are_shown(self, sources):
        response = respond("Red [2].", sources, max_images=0)
        assert response.to_html().count("<img") == 1

    def test_two_sources_of_one_picture_have_one_figure(self, sources):
        again = ImageNode(image_path=sources[1].image_path, text="The same")
        response = respond("Red [2], and red [7].", [*sources, again])
        assert response.to_markdown().count("![") == 1
        assert "\\[2\\]\\[7\\] A red door" in response.to_markdown()
        assert "<li>[7] red.png</li>" in response.to_html()

    def test_nothing_is_added_where_nothing_is_cited(self, sources):
        response = respond("I do not know.", sources)
        assert response.to_markdown() == "I do not know."
        assert [block.text for block in response.to_blocks()] == ["I do not know."]
        assert "Sources" not in response.to_html()

    def test_inline_pictures_are_in_the_text(self, sources):
        (image,) = images_of(respond("Red [2].", sources).to_markdown("inline"))
        assert image.startswith("data:image/png;base64,")

    def test_picture_without_a_file_is_in_the_text_where_others_are_linked(self):
        buffer = BytesIO()
        Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
        node = ImageNode(image=base64.b64encode(buffer.getvalue()).decode())
        (image,) = images_of(respond("Red [1].", [node]).to_markdown())
        assert image.startswith("data:image/png;base64,")

    @pytest.mark.parametrize("folder", ["my pictures", Path("a/b (1)")])
    def test_folder_gets_the_pictures_once(
        self, folder, sources, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        response = respond("Red [2]. Blue [3].", sources)
        written = response.to_markdown(folder)
        assert response.to_markdown(folder) == written
        assert len(os.listdir(folder)) == 2
        for address in images_of(written):
            with Image.open(tmp_path / unquote(address)) as picture:
                assert picture.size == (64, 32)

    def test_picture_that_is_gone_leaves_its_caption_and_the_reason(
        self, sources, caplog
    ):
        response = respond("Red [2]. Blue [3].", sources)
        Path(sources[1].image_path).unlink()
        with caplog.at_level(logging.WARNING):
            written = response.to_markdown()
        assert len(images_of(written)) == 1
        assert "\\[2\\] A red door (Cannot read the picture" in written
        assert "red.png" in caplog.text
        page = response.to_html()
        assert page.count("<img") == 1
        assert "<p>[2] A red door (Cannot read the picture" in page
        assert "[2] A red door (Cannot" in response.to_blocks()[1].text

    def test_characters_that_no_page_may_hold_are_replaced(self, sources):
        answer = "a\x00b\x1b[31m\ud800 [2] &#1;"
        page = Checker.read(respond(answer, sources).to_html())
        assert "a�b�[31m� [2] �" in page.text


def images_of(text: str) -> list[str]:
    return [
        str(node.attrs["src"])
        for node in SyntaxTreeNode(READER.parse(text)).walk()
        if node.type == "image"
    ]


class TestResponses:
    @pytest.fixture
    def red(self, paint: Paint) -> list:
        return ranked(
            ImageNode(image_path=str(paint("red")), text="A red door"),
            TextNode(text="The door is red."),
        )

    @pytest.mark.parametrize("n_read", [0, 2, 1000])
    def test_stream_is_whole_however_much_of_it_was_read(self, n_read, red):
        synthesizer = MultiModalSynthesizer(streaming=True)
        whole = "".join(synthesizer.synthesize("door?", red).response_gen)
        response = synthesizer.synthesize("door?", red)
        for _, _piece in zip(range(n_read), response.response_gen, strict=False):
            pass
        assert_only_lines_are_added(whole, response.to_markdown())
        assert response.to_markdown().count("![") == 1
        assert str(response) == whole

    @pytest.mark.parametrize("n_read", [0, 1, 1000])
    async def test_asynchronous_stream_says_that_it_must_be_awaited(self, n_read, red):
        synthesizer = MultiModalSynthesizer(streaming=True)
        response = await synthesizer.asynthesize("door?", red)
        read = 0
        async for _ in response.response_gen:
            read += 1
            if read >= n_read:
                break
        with pytest.raises(InvalidSetting, match="await response.get_response"):
            response.to_html()
        whole = await response.get_response()
        assert whole.response.count("[") == 2
        assert whole.to_markdown().count("![") == 1

    def test_asynchronous_stream_is_read_where_nothing_runs(self, red):
        synthesizer = MultiModalSynthesizer(streaming=True)
        response = asyncio.run(synthesizer.asynthesize("door?", red))
        assert response.to_html().count("<img") == 1

    def test_object_is_its_json(self, sources):
        class Steps(BaseModel):
            steps: list[str]

        evidence = gather_evidence(ranked(*sources), budget=PictureBudget(6, 64))
        draft = Draft(evidence, [])
        response = draft.respond(draft.checked_object(Steps(steps=["Red [2].", "[9]"])))
        assert response.to_markdown().startswith('{"steps":["Red [2]."]}\n\n![')
        assert response.steps == ["Red [2]."]

    def test_functions_take_plain_responses_too(self, sources):
        ours = respond("Red [2].", sources)
        plain = Response(ours.response, ours.source_nodes, ours.metadata)
        assert to_markdown(plain) == ours.to_markdown()
        assert to_html(plain) == ours.to_html()
        assert to_blocks(plain) == ours.to_blocks()

    def test_response_of_another_synthesizer_is_refused(self):
        with pytest.raises(InvalidSetting, match="MultiModalSynthesizer"):
            to_html(Response("Red [1]."))

    @pytest.mark.parametrize("write", [to_markdown, to_html, to_blocks])
    @pytest.mark.parametrize("wrong", ["Red [1].", None, 3])
    def test_what_is_no_response_is_refused(self, write, wrong):
        with pytest.raises(InvalidSetting, match="response is"):
            write(wrong)

    def test_responses_are_those_of_llamaindex_in_its_events_too(self, sources):
        ours = respond("Red [2].", sources)
        event = SynthesizeEndEvent(query="red?", response=ours)
        assert event.response is ours
        assert event.model_dump()["response"]["response"] == "Red [2]."
        assert pickle.loads(pickle.dumps(ours)).to_html() == ours.to_html()

    @pytest.mark.parametrize("wrong", ["", " ", "https://a.b/c", 3, None])
    def test_what_is_no_folder_is_refused(self, wrong, sources):
        with pytest.raises(InvalidSetting, match="to_markdown: pictures"):
            respond("Red [2].", sources).to_markdown(wrong)

    def test_folder_that_cannot_be_written_is_said(self, sources, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(StoreUnusable, match="file"):
            respond("Red [2].", sources).to_markdown(tmp_path / "file")
