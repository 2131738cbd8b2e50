"""Every Python block of the README and the docs runs, in order, as a reader would."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import ImageNode, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.llms.openai_like import OpenAILike
from llama_index.vector_stores.qdrant import QdrantVectorStore
from markdown_it import MarkdownIt
from PIL import Image
from qdrant_client import QdrantClient

pytest.importorskip("onnxruntime", reason="needs the extra offline")

from llama_index_mmrag import OfflineMultiModalEmbedding  # noqa: E402

from .support.openai_server import OpenAIServer, Reply, ToolCall, clients_of  # noqa: E402

ROOT = Path(__file__).parents[1]


def python_blocks(page: Path) -> list[tuple[int, str]]:
    tokens = MarkdownIt().parse(page.read_text(encoding="utf-8"))
    return [
        (token.map[0] + 2 if token.map else 0, token.content)
        for token in tokens
        if token.type == "fence" and token.info.split()[:1] == ["python"]
    ]


PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if python_blocks(page)
]


class Cook(OpenAIServer):
    """A chat model that knows the docs' questions; asked for an object, it fills it."""

    def take(self, path: str, request: dict[str, Any]) -> Reply:
        super().take(path, request)
        if "tools" not in request:
            return "As fine as table salt [1], and no finer [9]."
        recipe = {"title": "Coffee", "steps": ["Grind [1].", "Brew [1][9]."]}
        return ToolCall(request["tools"][0]["function"]["name"], recipe)


@pytest.fixture
async def chat_llm() -> AsyncIterator[OpenAILike]:
    server = Cook()
    async with clients_of(server) as make:
        yield make(is_function_calling_model=True)
    server.close()


@pytest.fixture
def reader(tmp_path, monkeypatch, chat_llm, no_network) -> Iterator[dict[str, Any]]:
    """What the pages say a reader has: two collections, encoders, a folder, a model."""
    handbook = tmp_path / "handbook"
    shutil.copytree(ROOT / "examples" / "data" / "handbook", handbook)
    photos = handbook / "photos"
    photos.mkdir()
    for name, colour in (("coffee", "brown"), ("horse", "black")):
        Image.new("RGB", (64, 64), colour).save(photos / f"{name}.png")
    monkeypatch.chdir(tmp_path)
    encoder = OfflineMultiModalEmbedding()
    client = QdrantClient(":memory:")
    text = TextNode(text="Descale the espresso machine with citric acid every month.")
    text.embedding = encoder.get_text_embedding(text.text)
    picture = ImageNode(image_path=str(photos / "coffee.png"), text="A cup")
    picture.embedding = encoder.get_image_embedding(picture.image_path or "")
    vector = encoder.get_query_embedding("How do I descale the machine?")
    QdrantVectorStore("articles", client=client).add([text])
    QdrantVectorStore("photos", client=client).add([picture])
    yield {
        "client": client,
        "text_encoder": encoder,
        "image_encoder": encoder,
        "llm": None,
        "chat_llm": chat_llm,
        "nodes": [text],
        "query": VectorStoreQuery(query_embedding=vector, similarity_top_k=1),
    }
    client.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_of_the_docs_run(page, reader):
    for line, block in python_blocks(page):
        # Padded so that a traceback names the page's own line.
        code = compile("\n" * (line - 1) + block, str(page), "exec")
        exec(code, reader)


def test_readme_answers_its_own_question(reader, capsys):
    for _, block in python_blocks(ROOT / "README.md"):
        exec(compile(block, "README.md", "exec"), reader)
    shown = capsys.readouterr().out
    assert "Descale the espresso machine with citric acid every month." in shown
    assert "[1]" in shown
    assert "This answer used" in shown
    assert reader["by_picture"][0].node.image_path.endswith("coffee.png")


def test_every_file_that_the_readme_links_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tokens = [t for top in MarkdownIt().parse(text) for t in top.children or ()]
    links = [str(t.attrs["href"]) for t in tokens if t.type == "link_open"]
    assert links
    missing = [x for x in links if "://" not in x and not (ROOT / x).exists()]
    assert not missing


def test_the_page_on_answers_shows_what_it_says(reader, capsys):
    for _, block in python_blocks(ROOT / "docs" / "answers.md"):
        exec(compile(block, "answers.md", "exec"), reader)
    shown = capsys.readouterr().out
    assert shown.startswith(
        "As fine as table salt [1], and no finer.\n1 text kitchen.md"
    )
    assert "['Grind [1].', 'Brew [1].'] {'9': 1}\n" in shown
    assert "[1] text from kitchen.md:" in reader["output"].content
    assert reader["output"].is_error is False
