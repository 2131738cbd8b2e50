"""CLIP in an index: LlamaIndex's encoder and ours, in the offline encoder's places.

The checkpoint is real and tiny, its weights random: what is found means nothing, but
every line of the real loading and encoding code runs.
"""

from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import Document, QueryBundle

from llama_index_mmrag import MultiModalQdrantIndex, provenance_of
from llama_index_mmrag.embeddings import BatchedClipEmbedding
from llama_index_mmrag.embeddings.colour import ColourEncoder
from llama_index_mmrag.errors import CollectionMismatch
from llama_index_mmrag.nodes.node import modality_of

# torch: clip.load first tries an archive of TorchScript.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.load:DeprecationWarning")

COLOURS = ("red", "green", "blue")


@pytest.fixture
def library(tmp_path, paint) -> Path:
    for colour in COLOURS:
        paint(colour)
    (tmp_path / "store").mkdir()
    return tmp_path


@pytest.fixture(params=["ClipEmbedding", "BatchedClipEmbedding"])
def encoder(request, clip_checkpoint) -> Any:
    if request.param == "ClipEmbedding":
        return request.getfixturevalue("clip_encoder")
    return BatchedClipEmbedding(model_name=clip_checkpoint)


def test_clip_encodes_texts_and_pictures_of_an_index(library, encoder):
    with MultiModalQdrantIndex.open(library / "store", embed_model=encoder) as index:
        report = index.insert_directory(library, recursive=False)
        index.insert([Document(text="A red square.", doc_id="note")])
        assert (report.n_added, report.problems) == (3, [])
        retriever = index.as_retriever(top_k=10)
        # The same picture has the same vector, whatever the weights.
        seen = retriever.retrieve(
            QueryBundle("", image_path=str(library / "green.png"))
        )
        assert seen[0].node.image_path == str(library / "green.png")
        assert provenance_of(seen[0]).contributions[0].raw_score == pytest.approx(
            1.0, abs=1e-5
        )
        said = retriever.retrieve("A red square.")
        routes = {c.route for r in said for c in provenance_of(r).contributions}
        assert routes == {"text→text", "text→image"}


def test_clip_for_pictures_beside_another_encoder_for_texts(library, encoder):
    # Passages are longer than CLIP's 77 tokens: they need an encoder of their own.
    long = Document(text="red " * 150, doc_id="long")
    with MultiModalQdrantIndex.open(
        library / "store", embed_model=ColourEncoder(), image_embed_model=encoder
    ) as index:
        index.insert_directory(library, recursive=False)
        assert index.insert([long]).problems == []
        found = index.as_retriever().retrieve("red")
        assert {modality_of(r.node) for r in found} == {"text", "image"}


def test_store_filled_by_clip_is_refused_to_another_encoder(
    library, encoder, three_layers
):
    MultiModalQdrantIndex.open(library / "store", embed_model=encoder).close()
    for other in (ColourEncoder(), BatchedClipEmbedding(model_name=three_layers)):
        with pytest.raises(CollectionMismatch, match="was filled by"):
            MultiModalQdrantIndex.open(library / "store", embed_model=other)
