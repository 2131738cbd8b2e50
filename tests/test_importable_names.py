"""What a user may import, and from where: the promise that a moved file keeps."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

import llama_index_mmrag as mmrag

ROOT = Path(__file__).parents[1]

PUBLIC = {
    "llama_index_mmrag": """
        BatchedClipEmbedding Blend CalibratedSum CaptionsAsText Channel
        Composition Concatenate ConseEmbedding Contribution Degradation FusedNode
        KeepPicture MultiModalFusionRetriever MultiModalQdrantIndex MultiModalQuery
        MultiModalQueryEngineTool MultiModalRetrieverTool MultiModalSynthesizer
        OfflineMultiModalEmbedding OfflineTextEmbedding Provenance
        QdrantEdgeVectorStore RRF RRFPostprocessor RetrieverChannel
        RouteDegradedEvent TransformedEmbedding WeightedSum collect_degradations
        describe_sources provenance_of resolve_pictures
    """,
    "llama_index_mmrag.alignment": """
        Aligned Alignment AutoencoderSettings Center Chain Columns Diagnosis
        EncodedPairs Epoch Fit Found FoundBothWays Gap Head IDENTITY Mix
        Normalize PCA PairProblem Pairs PairsRead Perceptron PictureParts
        PictureText Project RunningMean TrainSettings TrainedAutoencoder
        TrainedHeads Transform Truncate align diagnose encode_pairs
        fit_autoencoder fit_center fit_directions fit_pca fit_pca_randomised
        fit_procrustes fit_ridge found_both_ways read_pairs train_heads
    """,
    "llama_index_mmrag.alignment.finetuning": """
        Captioner FinetuneEpoch FinetuneReport FinetuneSettings SkippedPair
        TooFewPairs finetune
    """,
    "llama_index_mmrag.alignment.pair_files": """
        read_pairs
    """,
    "llama_index_mmrag.answers.illustrated": """
        to_blocks to_html to_markdown
    """,
    "llama_index_mmrag.citations": """
        CitationChecker
    """,
    "llama_index_mmrag.cli": """
        app main
    """,
    "llama_index_mmrag.compression": """
        Candidates CompressSettings Compression IndexCompression Row
        ServerCompression compress compress_collection
    """,
    "llama_index_mmrag.embeddings": """
        BatchedClipEmbedding Bm25Encoder ConseEmbedding OfflineFeaturesEmbedding
        OfflineMultiModalEmbedding OfflineTextEmbedding
    """,
    "llama_index_mmrag.embeddings.colour": """
        ColourEncoder
    """,
    "llama_index_mmrag.errors": """
        AllRoutesFailed CollectionMismatch DocumentUnreadable ImageUnreadable
        InvalidQuery
        InvalidSetting InvalidVector MissingExtra MmragError PromiseNotKept
        RouteFailed StoreClosed StoreInUse StoreUnusable
    """,
    "llama_index_mmrag.events": """
        RouteDegradedEvent collect_degradations collect_routes report
    """,
    "llama_index_mmrag.fusion": """
        Background CalibratedSum FusedEntity Fusion Hit RRF RankedList
        WeightedSum
    """,
    "llama_index_mmrag.ingestion": """
        Caption DocumentUnreadable Page Picture PictureLink Place Problem ReadLimits
        ReadSettings Section SourceRecord Survey discover document_id
        read_directory read_document read_documents read_file survey
    """,
    "llama_index_mmrag.lettering": """
        Line PictureReader confident reader_of words_in
    """,
    "llama_index_mmrag.nodes": """
        BOOKKEEPING_KEYS CONTENT_HASH_KEY CaptionedImageNode ENTITY_KEY
        ExplainedTextNode FusedNode MODALITY_KEY POSITION_KEY PROVENANCE_KEY
        STORED_ID_KEY entity_id_of entity_of hide_bookkeeping modality_of name_of
        provenance_of stored_as with_provenance
    """,
    "llama_index_mmrag.stores": """
        InvalidNodeId QdrantEdgeVectorStore Quantisation UnsupportedQuery
        has_async_client migrate search_lock
    """,
    "llama_index_mmrag.stores.rescoring": """
        RescoringVectorStore
    """,
}
"""By module: all that a folder's `__all__`, README, docs or examples let one import."""


def shown_code() -> Iterator[str]:
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
            if token.type == "fence" and token.info.split()[:1] in (["py"], ["python"]):
                yield token.content
    for example in sorted((ROOT / "examples").glob("*.py")):
        yield example.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", PUBLIC)
def test_what_was_public_can_be_imported_and_what_a_module_says_is_listed(module):
    found, listed = import_module(module), PUBLIC[module].split()
    assert [name for name in listed if not hasattr(found, name)] == []
    assert set(getattr(found, "__all__", ())) <= set(listed)


def test_what_pages_and_examples_import_is_listed():
    shown = {
        (node.module, alias.name)
        for code in shown_code()
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("llama_index_mmrag")
        for alias in node.names
    }
    listed = {(module, name) for module in PUBLIC for name in PUBLIC[module].split()}
    assert len(shown) > 40
    assert not shown - listed


STARTING = f"""
import json, sys, time
before, started = set(sys.modules), time.process_time()
import {mmrag.__name__}
spent = time.process_time() - started
new = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(json.dumps([spent, sorted(new - sys.stdlib_module_names)]))
"""


def imports_for_type_checkers() -> dict[str, str]:
    """Return name → module of the imports that run under a type checker alone."""
    tree = ast.parse(Path(mmrag.__file__).read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    return {
        alias.name: f"{statement.module}"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def test_type_checkers_and_programs_find_the_same_names():
    assert sorted(imports_for_type_checkers()) == sorted(mmrag.__all__)


@pytest.mark.parametrize(("name", "module"), imports_for_type_checkers().items())
def test_name_is_what_type_checkers_take_it_for(name, module):
    assert getattr(mmrag, name) is getattr(import_module(module), name)
    assert name in dir(mmrag)


def test_star_takes_all_of_them():
    taken: dict[str, object] = {}
    exec(f"from {mmrag.__name__} import *", taken)
    assert set(mmrag.__all__) <= set(taken)


def test_modules_are_attributes_and_what_is_unknown_is_not():
    assert mmrag.errors is sys.modules["llama_index_mmrag.errors"]
    assert not hasattr(mmrag, "nonsense")
    with pytest.raises(ImportError, match="nonsense"):
        from llama_index_mmrag import nonsense  # noqa: F401


def test_importing_the_package_loads_nothing_and_takes_no_time():
    told = subprocess.run(
        [sys.executable, "-c", STARTING],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    spent_s, loaded = json.loads(told.stdout)
    assert loaded == [mmrag.__name__]
    assert spent_s < 0.1
