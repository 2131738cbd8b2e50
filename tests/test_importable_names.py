"""What a user may import, and from where: the promise that a moved file keeps."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]

PUBLIC = {
    "llama_index_mmrag": """
        BatchedClipEmbedding Blend CalibratedSum CaptionsAsText Channel
        Composition Concatenate Contribution Degradation FusedNode KeepPicture
        MultiModalFusionRetriever MultiModalQdrantIndex MultiModalQuery
        MultiModalQueryEngineTool MultiModalRetrieverTool MultiModalSynthesizer
        OfflineMultiModalEmbedding OfflineTextEmbedding Provenance
        QdrantEdgeVectorStore RRF RRFPostprocessor RetrieverChannel
        RouteDegradedEvent TransformedEmbedding WeightedSum collect_degradations
        describe_sources provenance_of
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
        BatchedClipEmbedding OfflineFeaturesEmbedding OfflineMultiModalEmbedding
        OfflineTextEmbedding
    """,
    "llama_index_mmrag.embeddings.colour": """
        ColourEncoder
    """,
    "llama_index_mmrag.errors": """
        AllRoutesFailed CollectionMismatch ImageUnreadable InvalidQuery
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
        DocumentUnreadable Problem ReadSettings SourceRecord Survey discover
        document_id read_directory read_document read_documents read_file survey
    """,
    "llama_index_mmrag.nodes": """
        BOOKKEEPING_KEYS CONTENT_HASH_KEY CaptionedImageNode ENTITY_KEY
        ExplainedTextNode FusedNode MODALITY_KEY POSITION_KEY PROVENANCE_KEY
        entity_id_of entity_of hide_bookkeeping modality_of name_of
        provenance_of with_provenance
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
def test_what_was_public_can_be_imported(module):
    found = import_module(module)
    missing = [name for name in PUBLIC[module].split() if not hasattr(found, name)]
    assert not missing


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


@pytest.mark.parametrize("module", PUBLIC)
def test_what_a_module_says_is_public_is_listed(module):
    said = getattr(import_module(module), "__all__", ())
    assert not set(said) - set(PUBLIC[module].split())
