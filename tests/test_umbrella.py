"""README's first example in LlamaIndex's own house: its CLIP, its store, its OpenAI."""

from typing import Any

import httpx
import pytest
from llama_index.core.schema import ImageNode, TextNode
from llama_index.llms.openai import OpenAI
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from llama_index_mmrag import OfflineTextEmbedding

from .test_docs import ROOT, python_blocks

pytest.importorskip(
    "llama_index.embeddings.openai", reason="install extra 'llama-index'"
)

ADVICE = "Descale the espresso machine with citric acid every month."


# clip first tries to read an archive of TorchScript.
@pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")
def test_first_example_of_the_readme_runs_beside_the_umbrella_package(
    clip_encoder, server, paint, capsys
):
    server.script("With citric acid [1], never with salt [7].")
    texts = OfflineTextEmbedding()
    client = QdrantClient(":memory:")
    text = TextNode(text=ADVICE, embedding=texts.get_text_embedding(ADVICE))
    path = str(paint("red"))
    vector = clip_encoder.get_image_embedding(path)
    QdrantVectorStore("articles", client=client).add([text])
    QdrantVectorStore("photos", client=client).add(
        [ImageNode(image_path=path, embedding=vector)]
    )
    with httpx.Client(trust_env=False) as http:
        reader: dict[str, Any] = {
            "client": client,
            "text_encoder": texts,
            "image_encoder": clip_encoder,
            "llm": OpenAI(api_base=server.api_base, api_key="none", http_client=http),
        }
        _, first = python_blocks(ROOT / "README.md")[0]
        exec(compile(first, "README.md", "exec"), reader)
    client.close()
    shown = capsys.readouterr().out
    assert shown.startswith("With citric acid [1], never with salt. {'1': {")
    nodes = [each.node for each in reader["response"].source_nodes]
    assert nodes[0].get_content() == ADVICE
    assert isinstance(nodes[1], ImageNode)
    assert server.shown[2] == "<image/png, 16 x 12>"
