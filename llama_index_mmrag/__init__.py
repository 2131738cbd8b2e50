"""Text and image retrieval for LlamaIndex on Qdrant, in one honest ranking."""
