"""Lines that people who know Qdrant type, and what comes of each here.

As `rows_llamaindex`; most of them were written by somebody who had read neither our
code nor our docs. `on_client` is an index over a `QdrantClient`, `index` an embedded one.
"""

from __future__ import annotations

_CLIENTS = (
    "raw points are the client's, of an index on a server; embedded there is none"
)
_DEPTH = "the number of results is top_k="
_MADE = "from_vector_store() takes collections that are made as you say"
_IS_RED = "models.Filter(must=[models.FieldCondition(key='category', match=models.MatchValue(value='animals'))])"

ROWS: list[tuple[str, str, str]] = [
    # The client and its collections
    ("MultiModalQdrantIndex(client=client, text_collection='texts', image_collection='images')", "InvalidSetting", "open(client=...) makes an index there"),
    ("assert on_client.client is client", "runs", "the client of an index on a server"),
    ("name = on_client.vector_store.collection_name; assert client.count(name).count", "runs", "a collection is its store's"),
    ("on_client.client.scroll(on_client.image_vector_store.collection_name, limit=10, with_payload=True)", "runs", "payloads are those of LlamaIndex's QdrantVectorStore"),
    ("found = on_client.as_retriever().text_retrieve('car'); assert client.retrieve(on_client.vector_store.collection_name, ids=[n.node_id for n in found], with_vectors=True)", "runs", "a node's id is its point's"),
    ("vector = on_client.embed_model.get_query_embedding('red car'); assert client.query_points(on_client.vector_store.collection_name, query=vector, limit=5, score_threshold=0.3).points", "runs", "raw scored points"),
    ("client.set_payload(on_client.vector_store.collection_name, payload={'tenant': 'acme'}, points=models.Filter()); found = on_client.as_retriever(filters={'tenant': 'acme'}).retrieve('cat'); assert found", "runs", "a payload field that others set is a filter"),
    ("import asyncio; from qdrant_client import AsyncQdrantClient; idx = MultiModalQdrantIndex.from_documents(docs, client=client, collection='more', aclient=AsyncQdrantClient(':memory:')); assert asyncio.run(idx.as_retriever().aretrieve('cat'))", "runs", "async searches"),
    ("index.client.get_collections()", "AttributeError", _CLIENTS),
    ("index.count()", "AttributeError", _CLIENTS),
    ("index.scroll(limit=5, with_vectors=True)", "AttributeError", _CLIENTS),
    ("index.create_payload_index('category', models.PayloadSchemaType.KEYWORD)", "AttributeError", _CLIENTS),
    ("index.text_collection", "AttributeError", "the name is vector_store.collection_name"),
    ("index.embed_text('red car')", "AttributeError", "the encoders are embed_model and image_embed_model"),
    ("index.query_points('red car', limit=5, with_payload=True)", "AttributeError", "as_retriever().retrieve(...)"),
    ("index.search(image=photo, limit=3)", "AttributeError", "as_retriever().retrieve(...)"),
    ("index.delete(filter=models.Filter())", "AttributeError", "documents go by delete_ref_doc, nodes by delete_nodes"),
    # Making
    ("MultiModalQdrantIndex.from_documents(docs, location=':memory:', collection_name='demo')", "InvalidSetting", "the prefix of the collections is collection="),
    ("assert client.collection_exists('demo-text') or MultiModalQdrantIndex.from_documents(docs, client=client, collection='demo')", "runs", "collections demo-text and demo-image"),
    ("MultiModalQdrantIndex.from_documents(docs, client=client, text_collection_name='t', image_collection_name='i')", "InvalidSetting", "open(collection=...) names both"),
    ("MultiModalQdrantIndex.from_documents(docs, client=client, shard_number=2, replication_factor=2)", "InvalidSetting", _MADE),
    ("MultiModalQdrantIndex.from_documents(docs, path=path, vectors_config=models.VectorParams(size=512, distance=models.Distance.COSINE), on_disk_payload=True)", "InvalidSetting", _MADE),
    ("MultiModalQdrantIndex.from_documents(docs, client=client, enable_hybrid=True, fastembed_sparse_model='Qdrant/bm25')", "InvalidSetting", _MADE),
    # Searching
    (f"found = index.as_retriever(query_filter={_IS_RED}).retrieve('cat'); assert {{n.metadata['category'] for n in found}} == {{'animals'}}", "runs", "a filter of Qdrant's holds in both collections"),
    (f"assert index.as_retriever(filters={_IS_RED}).retrieve('cat')", "runs", "the same"),
    ("assert index.as_retriever(filters={'year': 2020}).retrieve('cat')", "runs", "equal values"),
    ("index.as_retriever(filters={'yeer': 2020}).retrieve('cat')", "runs", "nothing: no node has the field"),
    ("index.as_retriever(vector_store_kwargs={'qdrant_filters': models.Filter(must_not=[models.FieldCondition(key='lang', match=models.MatchAny(any=['fr', 'es']))])}).retrieve('house')", "runs", "joined with all other filters"),
    ("f = models.Filter(must=[models.FieldCondition(key='year', range=models.Range(gte=2019, lt=2024)), models.IsEmptyCondition(is_empty=models.PayloadField(key='deleted'))]); assert index.as_retriever(filters=f).retrieve('report')", "runs", "every condition that Edge has"),
    ("index.as_retriever(limit=3)", "InvalidSetting", _DEPTH),
    ("index.as_retriever(top_k=3, offset=3)", "InvalidSetting", "there are no pages; ask for more"),
    ("index.as_retriever(with_vectors=True)", "InvalidSetting", "results are whole nodes"),
    ("index.as_retriever(score_threshold=0.25)", "InvalidSetting", "raw scores are a channel's; fused ones are cut by SimilarityPostprocessor"),
    ("index.as_retriever(search_params=models.SearchParams(hnsw_ef=256, exact=True))", "InvalidSetting", "they are a channel's: Channel(search_params=)"),
    ("index.as_retriever(group_by='ref_doc_id', group_size=1)", "InvalidSetting", "results are entities: linked_by="),
    ("index.as_retriever(using='image')", "InvalidSetting", "a vector's name is its store's"),
    ("index.as_retriever(prefetch=[])", "InvalidSetting", "a retriever fuses channels"),
    ("index.as_retriever(weights=[0.7, 0.3])", "InvalidSetting", "weights are the rule's: RRF(weights={...})"),
    ("MultiModalFusionRetriever(index.channels, fusion=models.Fusion.RRF)", "InvalidSetting", "our rules are RRF() and others"),
    ("from dataclasses import replace; text, image = index.channels; found = MultiModalFusionRetriever([replace(text, score_threshold=0.5, search_params=models.SearchParams(exact=True)), image]).retrieve('red car'); assert found", "runs", "a channel's own scores and search parameters"),
    ("from llama_index_mmrag import RRF; assert MultiModalFusionRetriever(index.channels, fusion=RRF(weights={'text': 0.7, 'image': 0.3}), top_k=5).retrieve('cat')", "runs", "weighted ranks"),
    ("Channel(name='text', collection='texts', vector_name='dense', weight=1.0, limit=20)", "InvalidSetting", "a channel is over a vector_store="),
    ("Channel(name='text', vector_store=client, embed_model=encoder)", "InvalidSetting", "a QdrantVectorStore over the client"),
]  # fmt: skip
