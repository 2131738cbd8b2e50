"""Of eighty lines that two strangers typed, those that no other row types.

Forty by somebody who knows LlamaIndex, forty by somebody who knows Qdrant, written
before either had read our docs. What was typed of a client is typed over `on_client`:
an embedded index has none, which is a row of its own.
"""

from __future__ import annotations

_READ = (
    "from llama_index.core import SimpleDirectoryReader; "
    "read = SimpleDirectoryReader(input_files=[photo]).load_data(); "
)
_PLAIN = "from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage; "
_NAMED = "texts = on_client.vector_store.collection_name; pictures = on_client.image_vector_store.collection_name; "
_QUERY = "on_client.embed_model.get_query_embedding"

LLAMAINDEX: list[tuple[str, str, str]] = [
    ("r = index.as_query_engine(llm=llm, similarity_top_k=3, image_similarity_top_k=2).query('cat'); assert len(r.metadata['text_nodes']) + len(r.metadata['image_nodes']) == len(r.source_nodes)", "runs", "the nodes by kind, as SimpleMultiModalQueryEngine's"),
    ("from llama_index.core.schema import QueryBundle; assert index.as_retriever(similarity_top_k=5).retrieve(QueryBundle('sunset over mountains'))", "runs", "texts and pictures, best first"),
    (f"{_READ}index.insert(read); found = index.as_retriever(image_similarity_top_k=2).image_to_image_retrieve(photo); assert photo in {{n.metadata.get('file_path') for n in found}}", "runs", "file_path is what a reader said; every picture has its node.image_path"),
    (f"{_READ}idx = MultiModalQdrantIndex.from_documents(read); assert idx.as_retriever().retrieve('picture')[0].metadata['file_name'] == 'photo.png'", "runs", "pictures that SimpleDirectoryReader read are pictures"),
    ("q = MultiModalQuery(query_str='the same but in red', image_path=photo); assert index.as_retriever(similarity_top_k=5).retrieve(q)[0].get_content()", "runs", "a QueryBundle's picture"),
    ("from llama_index.core.agent.workflow import FunctionAgent; from llama_index.core.tools import QueryEngineTool; FunctionAgent(tools=[QueryEngineTool.from_defaults(query_engine=index.as_query_engine(llm=llm), name='kb', description='knowledge base')], llm=llm)", "runs", "our engine as a tool of LlamaIndex's"),
    ("from llama_index.core.schema import ImageDocument; index.insert(Document(text='A zebra stands in the grass', doc_id='zebra', metadata={'category': 'animals'})); index.insert(ImageDocument(image_path=photo, metadata={'category': 'photos'})); assert 'zebra' in index.ref_doc_info", "runs", "a text and a picture, by the same verb"),
    ("index.insert_nodes([TextNode(text='hello world', id_='6f1c2b9e-0d0b-4f0e-9d55-0123456789ab')]); assert index.delete_nodes(['6f1c2b9e-0d0b-4f0e-9d55-0123456789ab']) == 1", "runs", "the id that a node came with finds it"),
    (f"{_PLAIN}plain = VectorStoreIndex.from_vector_store(index.vector_store, embed_model=encoder); assert plain.as_retriever(vector_store_kwargs={{'qdrant_filters': models.Filter(must=[models.FieldCondition(key='year', match=models.MatchValue(value=1999))])}}).retrieve('red') == []", "runs", "our store in LlamaIndex's index, with a filter of Qdrant's"),
    (f"{_PLAIN}sc = StorageContext.from_defaults(vector_store=index.vector_store); VectorStoreIndex([], storage_context=sc, embed_model=encoder).storage_context.persist(path); sc = StorageContext.from_defaults(persist_dir=path, vector_store=index.vector_store); assert load_index_from_storage(sc, embed_model=encoder).as_retriever().retrieve('red')", "runs", "LlamaIndex's index over our store, persisted and loaded"),
    ("from llama_index.core.indices import MultiModalVectorStoreIndex; theirs = MultiModalVectorStoreIndex.from_vector_store(index.vector_store, image_vector_store=index.image_vector_store, embed_model=encoder, image_embed_model=encoder); assert len(theirs.as_retriever().retrieve('red')) == 4", "runs", "our stores in LlamaIndex's multimodal index, which does not fuse"),
    ("from llama_index.core.retrievers import RecursiveRetriever; assert RecursiveRetriever('root', retriever_dict={'root': index.as_retriever()}).retrieve('cat')", "runs", "our retriever in LlamaIndex's recursive one"),
]  # fmt: skip

QDRANT: list[tuple[str, str, str]] = [
    ("from qdrant_client import QdrantClient; idx = MultiModalQdrantIndex.from_documents(docs, client=QdrantClient(':memory:')); assert [c.name for c in idx.client.get_collections().collections] == ['mmrag-text', 'mmrag-image']", "runs", "a collection of texts and one of pictures"),
    ("MultiModalQdrantIndex.from_existing_collection(client=client, text_collection_name='texts', image_collection_name='images')", "AttributeError", "collections of others are searched by MultiModalFusionRetriever.from_qdrant()"),
    (f"{_NAMED}assert client.get_collection(pictures).points_count == client.count(pictures, exact=True).count == 2", "runs", "one point a picture"),
    ("f = models.Filter(must=[models.FieldCondition(key='year', range=models.Range(gte=2019, lt=2024))], should=[models.HasIdCondition(has_id=[1, 2, 3])]); assert index.as_retriever(filters=f).retrieve('report') == []", "runs", "nothing: no node has one of the ids"),
    ("MultiModalFusionRetriever(index.channels, limit=10, search_params=models.SearchParams(hnsw_ef=256, exact=True))", "InvalidSetting", "limit is top_k; search_params= are a channel's"),
    (f"{_NAMED}assert client.query_points_groups(texts, query={_QUERY}('cat'), group_by='doc_id', limit=4, group_size=2).groups", "runs", "a point's doc_id is its document's"),
    ("MultiModalFusionRetriever(channels=[Channel.TEXT, Channel.IMAGE], top_k=5)", "AttributeError", "a channel is made over a store: Channel('text', vector_store=, embed_model=)"),
    (f"{_NAMED}assert client.query_points(pictures, prefetch=[models.Prefetch(query=on_client.image_embed_model.get_image_embedding(photo), limit=20), models.Prefetch(query={_QUERY}('cat'), limit=20)], query=models.FusionQuery(fusion=models.Fusion.RRF), limit=5).points", "runs", "raw points, fused by Qdrant"),
    (f"{_NAMED}client.upsert(texts, [models.PointStruct(id=1001, vector={_QUERY}('an orange fox'), payload={{'text': 'an orange fox', 'category': 'animals'}})]); assert 'an orange fox' in [n.text for n in on_client.as_retriever().retrieve('an orange fox')]", "runs", "a point that others wrote is read"),
    (f"{_NAMED}client.delete(pictures, models.FilterSelector(filter=models.Filter(must=[models.FieldCondition(key='modality', match=models.MatchValue(value='image'))]))); assert not client.count(pictures).count", "runs", "what a client deletes is gone"),
    (f"{_NAMED}client.create_payload_index(texts, field_name='tenant_id', field_schema=models.KeywordIndexParams(type='keyword', is_tenant=True))", "runs", "a payload's index is the client's to make"),
    (f"{_NAMED}client.update_collection_aliases([models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=texts, alias_name='prod')), models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=pictures, alias_name='prod-image'))]); assert MultiModalQdrantIndex.open(client=client, collection={{'text': 'prod', 'image': 'prod-image'}}).as_retriever().retrieve('cat')", "runs", "an alias is a collection's name"),
    ("index.close(); index.as_retriever().retrieve('cat')", "AllRoutesFailed", "closed; MultiModalQdrantIndex.open(path) opens it again"),
]  # fmt: skip
