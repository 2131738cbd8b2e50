"""Lines that people type over collections that LlamaIndex did not write."""

from __future__ import annotations

SHOWN = "# What is typed:\n"
"""Ends what a line is typed over, which no page shows."""

_LOADED = """
photos = [
    models.PointStruct(
        id=n,
        vector={
            "text": index.embed_model.get_text_embedding("a red kite"),
            "image": index.image_embed_model.get_image_embedding(str(photo)),
        },
        payload={"caption": "a red kite", "file": {"path": str(photo)}, "url": "http://a/b"},
    )
    for n in range(3)
]
size = models.VectorParams(size=len(photos[0].vector["text"]), distance="Cosine")
seen = models.VectorParams(size=len(photos[0].vector["image"]), distance="Cosine")
if client.collection_exists("shop"):
    client.delete_collection("shop")
client.create_collection("shop", {"text": size, "image": seen})
client.upsert("shop", photos)
shop = {"collection": "shop", "embed_model": index.embed_model,
        "image_embed_model": index.image_embed_model}
"""
_TEXTS = """
if client.collection_exists("docs"):
    client.delete_collection("docs")
client.create_collection("docs", size)
kite = photos[0].vector["text"]
client.upsert("docs", [models.PointStruct(id=1, vector=kite, payload=P)])
docs_only = {"collection": "docs", "embed_model": index.embed_model}
"""


def _shop(line: str) -> str:
    return f"{_LOADED}{SHOWN}{line}"


def _docs(payload: str, line: str) -> str:
    return f"{_LOADED}P = {payload}{_TEXTS}{SHOWN}{line}"


_BOTH = 'text_vector="text", image_vector="image", text_key="caption"'
_FROM = "MultiModalFusionRetriever.from_qdrant"
_SHOP = f'{_FROM}(client, {_BOTH}, image_path_key="file.path"'

ROWS: list[tuple[str, str, str]] = [
    (
        _shop(f'{_SHOP}, **shop).retrieve("kite")'),
        "runs",
        "one collection, two vectors: a point is a text and a picture",
    ),
    (
        _shop(
            f'{_FROM}(client, {_BOTH}, image_url_key="url", **shop).retrieve("kite")'
        ),
        "runs",
        "a URL is kept, and never fetched",
    ),
    (
        _shop(f'{_FROM}(client, {_BOTH}, image_path_key="path", **shop)'),
        "CollectionMismatch",
        "none of ten points has the key; those that they have are listed",
    ),
    (
        _shop(f'{_FROM}(client, image_path_key="file.path", **shop)'),
        "CollectionMismatch",
        "of several vectors one is named: image_vector=",
    ),
    (
        _shop(f'{_SHOP}, using="text", **shop)'),
        "InvalidSetting",
        "using is text_vector= or image_vector=",
    ),
    (
        _shop(
            f'{_FROM}(client, {_BOTH}, image_path_key="file.path", '
            f"query_filter=models.Filter(must=[models.HasIdCondition(has_id=[1])]), "
            f'**shop).retrieve("kite")'
        ),
        "runs",
        "Qdrant's filters hold over any payload",
    ),
    (
        _shop(
            "from llama_index.vector_stores.qdrant import QdrantVectorStore\n"
            'Channel("image", vector_store=QdrantVectorStore("shop", client=client, '
            'dense_vector_name="image"), embed_model=index.image_embed_model, '
            'image_path_key="file.path", text_key="caption", score_threshold=0.3)'
        ),
        "runs",
        "the same keys of a channel",
    ),
    (
        _docs(
            '{"page_content": "a red kite", "metadata": {"source": "kites.md"}}',
            f'{_FROM}(client, text_key="page_content", '
            f'filters={{"metadata.source": "kites.md"}}, **docs_only).retrieve("kite")',
        ),
        "runs",
        "LangChain's texts, and filters by its metadata",
    ),
    (
        _docs(
            '{"content": "a red kite", "meta": {}, "blob": None}',
            f'{_FROM}(client, text_key="content", **docs_only).retrieve("kite")',
        ),
        "runs",
        "Haystack's texts",
    ),
    (
        _docs(
            '{"document": "a red kite"}',
            f'{_FROM}(client, text_key="document", **docs_only).retrieve("kite")',
        ),
        "runs",
        "fastembed's texts",
    ),
    (
        _docs('{"page_content": "a red kite"}', f"{_FROM}(client, **docs_only)"),
        "CollectionMismatch",
        'there is no "text"; the fields that there are are listed',
    ),
    (
        _docs(
            '{"page_content": "a red kite"}',
            f'{_FROM}(client, content_payload_key="page_content", **docs_only)',
        ),
        "InvalidSetting",
        "it is called text_key here",
    ),
    (
        f'{_FROM}(client, collection_name="shop", embed_model=index.embed_model)',
        "InvalidSetting",
        "it is called collection here",
    ),
    (
        f'{_FROM}("http://localhost:6333", collection="shop", embed_model="offline")',
        "InvalidSetting",
        "a client is given: QdrantClient(url=...)",
    ),
    (
        'Channel("text", vector_store=index.vector_store, '
        'embed_model=index.embed_model, text_key="caption")',
        "InvalidSetting",
        "an embedded store holds LlamaIndex's nodes: keys are a QdrantVectorStore's",
    ),
    (
        f'{_FROM}(client, collection="nowhere", embed_model=index.embed_model)',
        "CollectionMismatch",
        "the collections that there are are listed",
    ),
]
