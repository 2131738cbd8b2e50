"""Lines that people who know LlamaIndex type, and what comes of each here.

A row: the line; "runs", or the error of ours that it raises; what it means here. The
first block is what the README's readers typed, the second forty lines that were written
by somebody who had read neither our code nor our docs.
"""

from __future__ import annotations

_NAMES = "LlamaIndex's name"
_PROMPTS = "our prompts are instructions= and question="

ROWS: list[tuple[str, str, str]] = [
    # Making and opening
    ("MultiModalQdrantIndex.from_documents(docs)", "runs", "an index in a temporary folder, which close() removes"),
    ("MultiModalQdrantIndex.from_documents(docs, path=path)", "runs", "an index in a folder"),
    ("from llama_index.core.node_parser import SentenceSplitter; MultiModalQdrantIndex.from_documents(docs, transformations=[SentenceSplitter(chunk_size=256, chunk_overlap=20)], show_progress=True)", "runs", "texts are split so; pictures stay whole"),
    ("from llama_index.core import StorageContext; from llama_index.vector_stores.qdrant import QdrantVectorStore; sc = StorageContext.from_defaults(vector_store=QdrantVectorStore(client=client, collection_name='t'), image_store=QdrantVectorStore(client=client, collection_name='i')); MultiModalQdrantIndex.from_documents(docs, storage_context=sc)", "runs", "an index over your two collections"),
    ("from llama_index.vector_stores.qdrant import QdrantVectorStore; MultiModalQdrantIndex.from_vector_store(QdrantVectorStore(client=client, collection_name='t'), image_vector_store=QdrantVectorStore(client=client, collection_name='i'))", "runs", "an index over your stores, which close() leaves open"),
    ("MultiModalQdrantIndex.open(':memory:')", "runs", "a temporary store"),
    ("MultiModalQdrantIndex.open(path, embed_model=encoder, image_embed_model=encoder)", "runs", _NAMES),
    ("MultiModalQdrantIndex.open(path, text_embed_model=encoder)", "InvalidSetting", "it is embed_model="),
    ("MultiModalQdrantIndex.open('https://example.com:6333')", "InvalidSetting", "a server's address is url="),
    ("MultiModalQdrantIndex(docs)", "InvalidSetting", "from_documents makes an index of documents"),
    # Verbs
    ("index.insert(docs[0])", "runs", "a document; what is stored already is not encoded again"),
    ("index.insert_nodes([TextNode(text='hello'), ImageNode(image_path=photo, text='a photo')])", "runs", "each into its collection; the picture is found by its text too"),
    ("index.insert(ImageNode(image_path=photo, metadata={'caption': 'a photo'}))", "runs", "found by its caption; the keys are ReadSettings(word_keys=[...])"),
    ("assert index.refresh_ref_docs(docs) == [False] * len(docs)", "runs", "which documents had changed"),
    ("index.update_ref_doc(docs[0])", "runs", "the document replaces what it was"),
    ("index.delete_ref_doc(docs[0].doc_id, delete_from_docstore=True)", "runs", "its nodes are gone from both collections"),
    ("import asyncio; asyncio.run(index.adelete_ref_doc(docs[0].doc_id))", "runs", "the same for an event loop"),
    ("index.delete_nodes([index.as_retriever().retrieve('car')[0].node_id])", "runs", "nodes by id"),
    ("assert len(index.ref_doc_info) == len(docs)", "runs", "RefDocInfo by document"),
    ("index.vector_store, index.image_vector_store, index.embed_model, index.image_embed_model, index.index_id", "runs", _NAMES),
    ("index.docstore", "AttributeError", "the collections hold the nodes; ref_doc_info has the documents"),
    ("index.storage_context.persist(persist_dir=path)", "AttributeError", "all is written already; open(path) brings it back"),
    ("index.index_struct", "AttributeError", "nothing is kept beside the collections"),
    ("index.summary", "AttributeError", "ref_doc_info lists the documents"),
    ("index.set_index_id('mine')", "AttributeError", "an index's id is its store's"),
    # Retrievers
    ("assert len(index.as_retriever(similarity_top_k=1).retrieve('red car')) >= 1", "runs", "similarity_top_k is top_k; an entity brings its picture and its text"),
    ("found = index.as_retriever(similarity_top_k=3, image_similarity_top_k=3, complete_entities=False).retrieve('red car'); assert len(found) <= 6", "runs", "at most 3 texts and 3 pictures, in one ranking"),
    ("retriever = index.as_retriever(); retriever.similarity_top_k = 1; assert retriever.similarity_top_k == 1", "runs", "a property to read and set"),
    ("pictures = index.as_retriever(image_similarity_top_k=4).text_to_image_retrieve('a red square'); assert all(p.node.image_path for p in pictures) and pictures", "runs", "pictures alone, for words"),
    ("assert index.as_retriever(image_similarity_top_k=2).image_to_image_retrieve(photo)[0].node.image_path.endswith('photo.png')", "runs", "pictures that are like one"),
    ("from llama_index.core.schema import ImageDocument; index.as_retriever().image_to_image_retrieve(ImageDocument(image_path=photo))", "runs", "the same for an ImageDocument"),
    ("assert len(index.as_retriever(similarity_top_k=2).text_retrieve('invoice total')) == 2", "runs", "texts alone"),
    ("import asyncio; asyncio.run(index.as_retriever(similarity_top_k=4).aretrieve('blue house'))", "runs", "the same for an event loop"),
    ("from llama_index.core.schema import QueryBundle; index.as_retriever().retrieve(QueryBundle(query_str='similar things', image_path=photo))", "runs", "by words and picture"),
    ("index.as_retriever().retrieve(ImageNode(image_path=photo))", "runs", "a picture is a query"),
    ("from PIL import Image; index.as_retriever().retrieve(Image.open(photo))", "runs", "a picture is a query"),
    ("index.as_retriever().retrieve(MultiModalQuery('but in blue', images=[photo]))", "runs", "any number of pictures beside words"),
    ("MultiModalQuery(text='red', image=photo)", "InvalidSetting", "the words are query_str=, the pictures images="),
    ("q = MultiModalQuery('red', images=[photo]); assert MultiModalQuery.from_dict(q.to_dict()) == q", "runs", "a round trip as JSON"),
    ("from llama_index.core.vector_stores import MetadataFilters, ExactMatchFilter; found = index.as_retriever(filters=MetadataFilters(filters=[ExactMatchFilter(key='category', value='animals')])).retrieve('cat'); assert {n.metadata['category'] for n in found} == {'animals'}", "runs", "holds in both collections, and for what comes along"),
    ("from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, FilterOperator; f = MetadataFilters(filters=[MetadataFilter(key='year', value=2020, operator=FilterOperator.GTE), MetadataFilter(key='lang', value=['en', 'de'], operator=FilterOperator.IN)]); assert index.as_query_engine(None, filters=f).query('report').source_nodes", "runs", "every operator that Qdrant can compare by"),
    ("assert [n.text for n in index.as_retriever(doc_ids=[docs[0].doc_id]).retrieve('car')] == ['A red car.']", "runs", "documents, by stored id or the one they came with"),
    ("wanted = index.as_retriever().retrieve('car')[0].node_id; assert index.as_retriever(node_ids=[wanted]).retrieve('car')[0].node_id == wanted", "runs", "nodes, by stored id in any spelling"),
    ("index.as_retriever(vector_store_query_mode='hybrid', sparse_top_k=10, alpha=0.5)", "InvalidSetting", "words are kept by a store that was made with hybrid=True"),
    ("found = MultiModalQdrantIndex.from_documents(docs, hybrid=True, embed_model=encoder).as_retriever(vector_store_query_mode='hybrid', sparse_top_k=10, alpha=0.5).retrieve('car')", "runs", "by words and by vector"),
    ("found = MultiModalQdrantIndex.from_documents(docs, hybrid=True, embed_model=encoder).as_retriever(vector_store_query_mode='text_search').retrieve('car')", "runs", "by words, as 'sparse' is"),
    ("index.as_retriever(vector_store_query_mode='mmr', mmr_threshold=0.3).retrieve('car')", "runs", "here the threshold is an argument"),
    ("index.as_retriever(vector_store_query_mode='semantic_hybrid')", "InvalidSetting", "Qdrant has none"),
    ("index.as_retriever(similarity_topk=3)", "InvalidSetting", "a misspelt keyword is answered with the nearest"),
    ("index.as_retriever().retrieve('red', top_k=2)", "InvalidSetting", "depth is the retriever's: with_top_k(2)"),
    ("index.as_query_engine(llm=llm).query('red', similarity_top_k=2)", "InvalidSetting", "the same of an engine"),
    ("MultiModalFusionRetriever(index, similarity_top_k=5)", "InvalidSetting", "an index makes one: as_retriever(similarity_top_k=5)"),
    ("MultiModalFusionRetriever([index.as_retriever()], mode='relative_score')", "InvalidSetting", "the rule is fusion=; a retriever is a RetrieverChannel"),
    # Engines
    ("response = index.as_query_engine(llm=llm, similarity_top_k=3).query('What is red?'); print(response, response.source_nodes[0].get_content(), response.source_nodes[0].score)", "runs", "an answer with checked citations"),
    ("assert '> Source' in index.as_query_engine(llm=llm).query('red car').get_formatted_sources(length=200)", "runs", "LlamaIndex's own list of sources"),
    ("index.as_query_engine(llm=llm, streaming=True).query('Summarize the documents').print_response_stream()", "runs", "streamed, its citations checked on the way"),
    ("import asyncio; print(asyncio.run(index.as_query_engine(llm=llm).aquery('a dog')).metadata)", "runs", "the same for an event loop; metadata says what was searched"),
    ("assert index.as_query_engine(llm=llm).image_query(photo, 'What is it?').source_nodes", "runs", "answered from pictures that are like one"),
    ("index.as_query_engine(llm=llm, text_qa_template=None)", "InvalidSetting", _PROMPTS),
    ("index.as_query_engine(llm=llm).update_prompts({'text_qa_template': None})", "InvalidSetting", _PROMPTS),
    ("index.as_query_engine(llm=llm, response_mode='compact')", "InvalidSetting", "another synthesizer is response_synthesizer="),
    ("from llama_index.core import get_response_synthesizer; index.as_query_engine(response_synthesizer=get_response_synthesizer(llm=llm)).query('What is red?')", "runs", "LlamaIndex's own synthesizer over our results"),
    ("from llama_index.core.query_engine import RetrieverQueryEngine; from llama_index.core import get_response_synthesizer; RetrieverQueryEngine(retriever=index.as_retriever(similarity_top_k=4), response_synthesizer=get_response_synthesizer(llm=llm, response_mode='tree_summarize')).query('What happened?')", "runs", "our retriever in LlamaIndex's engine"),
    ("from llama_index.core.query_engine import CitationQueryEngine; CitationQueryEngine.from_args(index, llm=llm, similarity_top_k=3).query('What is red?')", "runs", "our index in LlamaIndex's engine"),
    ("from llama_index.core.postprocessor import SimilarityPostprocessor; index.as_query_engine(llm=llm, node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=0.2)]).query('cat')", "runs", "cuts the fused scores"),
    ("from llama_index.core.postprocessor import LLMRerank, MetadataReplacementPostProcessor; index.as_query_engine(llm=llm, similarity_top_k=10, node_postprocessors=[MetadataReplacementPostProcessor(target_metadata_key='window'), LLMRerank(llm=llm, top_n=3)]).query('dog')", "runs", "LlamaIndex's postprocessors, over pictures too"),
    # Composition
    ("from llama_index.core.retrievers import QueryFusionRetriever; assert len(QueryFusionRetriever([index.as_retriever(similarity_top_k=3), index.as_retriever(similarity_top_k=5)], llm=llm, num_queries=1, similarity_top_k=4, mode='reciprocal_rerank', use_async=False).retrieve('cat')) == 4", "runs", "our retrievers in LlamaIndex's fusion"),
    ("from llama_index.core.query_engine import RouterQueryEngine; from llama_index.core.selectors import LLMSingleSelector; from llama_index.core.tools import QueryEngineTool; RouterQueryEngine(selector=LLMSingleSelector.from_defaults(llm=llm), query_engine_tools=[QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), description='pictures and text')], llm=llm)", "runs", "our engine as a route"),
    ("from llama_index.core.retrievers import VectorIndexAutoRetriever; from llama_index.core.vector_stores import VectorStoreInfo; VectorIndexAutoRetriever(index, vector_store_info=VectorStoreInfo(content_info='photos', metadata_info=[]), llm=llm)", "AttributeError", "it searches one store of texts; as_tool(filter_keys={...}) lets a model set filters"),
    ("import asyncio; from llama_index.core.evaluation import RetrieverEvaluator; r = index.as_retriever(similarity_top_k=2); print(asyncio.run(RetrieverEvaluator.from_metric_names(['mrr', 'hit_rate'], retriever=r).aevaluate(query='cat', expected_ids=[r.retrieve('cat')[0].node_id])))", "runs", "LlamaIndex's evaluation"),
    ("import copy; copy.deepcopy(index.as_query_engine(llm=llm)).query('What is red?')", "runs", "a copy shares the open store"),
    # Chat, tools, agents
    ("chat = index.as_chat_engine(chat_mode='condense_plus_context', llm=llm); chat.chat('What is red?'); assert chat.chat('And blue?').source_nodes; chat.reset()", "runs", "LlamaIndex's chat engine over our retriever"),
    ("assert ''.join(index.as_chat_engine(chat_mode='context', llm=llm, system_prompt='You talk of photos.').stream_chat('hello').response_gen)", "runs", "streamed"),
    ("from llama_index.core.memory import ChatMemoryBuffer; index.as_chat_engine(llm=llm, memory=ChatMemoryBuffer.from_defaults(token_limit=3900)).chat('What is red?')", "runs", "with a memory of yours"),
    ("index.as_chat_engine(chat_mode='react', llm=llm)", "InvalidSetting", "give an agent as_tool() and as_query_engine_tool()"),
    ("index.as_chat_engine()", "InvalidSetting", "a chat needs a model: llm= or Settings.llm"),
    ("assert 'red' in index.as_tool(top_k=1).call(query='a red car').content", "runs", "numbered sources for an agent, pictures among them"),
    ("index.as_query_engine_tool(llm, name='kb', description='knowledge base').call(query='What is red?')", "runs", "checked answers for an agent"),
    ("from llama_index.core.tools import QueryEngineTool, RetrieverTool; QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), name='photos', description='Texts and photos').call('cat'); RetrieverTool.from_defaults(index.as_retriever()).call('cat')", "runs", "LlamaIndex's tools, with texts alone"),
    ("from llama_index.core.agent.workflow import FunctionAgent; FunctionAgent(tools=[index.as_tool(), index.as_query_engine_tool(llm)], llm=llm)", "runs", "both tools for an agent"),
    ("index.query('What is red?')", "AttributeError", "as_query_engine().query(...), or as_retriever().retrieve(...)"),
    ("index.retrieve('What is red?')", "AttributeError", "as_retriever().retrieve(...)"),
]  # fmt: skip
