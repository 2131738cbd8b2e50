"""What people type to reach a server, and what it means here."""

from __future__ import annotations

_OPEN = "MultiModalQdrantIndex.open"
_DEAD = "url='https://127.0.0.1:9'"

ROWS: list[tuple[str, str, str]] = [
    (
        f"{_OPEN}({_DEAD}, api_key='k', timeout=3)",
        "StoreUnusable",
        "A server by its address and key; this one does not answer.",
    ),
    (
        f"{_OPEN}({_DEAD}, prefer_grpc=True, client_kwargs={{'grpc_port': 9}})",
        "StoreUnusable",
        "The server is asked over gRPC.",
    ),
    (
        f"{_OPEN}(location='127.0.0.1:9')",
        "StoreUnusable",
        "The same as url=, as for Qdrant's client; this server does not answer.",
    ),
    (
        f"{_OPEN}('http://localhost:6333')",
        "InvalidSetting",
        "The first argument is a folder; an address is url=.",
    ),
    (
        f"{_OPEN}('localhost:6333')",
        "InvalidSetting",
        "That is no folder's name either.",
    ),
    (
        f"{_OPEN}(path, url='http://localhost:6333')",
        "InvalidSetting",
        "One place: path, url, location or client.",
    ),
    (
        f"{_OPEN}(host='localhost', port=6333)",
        "InvalidSetting",
        "host and port go into client_kwargs.",
    ),
    (
        f"{_OPEN}(client_kwargs={{'host': '127.0.0.1', 'port': 9}})",
        "StoreUnusable",
        "What else a QdrantClient takes; this server does not answer.",
    ),
    (
        f"{_OPEN}({_DEAD}, client_kwargs={{'api_key': 'k'}})",
        "InvalidSetting",
        "What has an argument of its own is given there: api_key=.",
    ),
    (
        f"{_OPEN}({_DEAD}, api_key='k\\n')",
        "InvalidSetting",
        "A key read with the end of its line is refused, and not shown.",
    ),
    (
        f"{_OPEN}(client=client, collection_name='docs')",
        "InvalidSetting",
        "It is called collection here: what the collections' names begin with.",
    ),
    (
        f"{_OPEN}(client=client, collection='handbook', catalogue=False)",
        "runs",
        "The collections are handbook-text and handbook-image.",
    ),
    (
        f"{_OPEN}(client=client, catalogue=False, "
        "collection={'text': 'docs', 'image': 'photos'})",
        "runs",
        "Collections by the names that were given.",
    ),
    (
        f"{_OPEN}(client=client, collection={{'image': 'photos'}})",
        "InvalidSetting",
        "The texts' collection is named, too: others are called after it.",
    ),
    (
        f"{_OPEN}(client=client, api_key='k')",
        "InvalidSetting",
        "A client has its key already.",
    ),
    (
        f"{_OPEN}(path, api_key='k')",
        "InvalidSetting",
        "A folder needs no key.",
    ),
    (
        f"{_OPEN}(path, collection='docs')",
        "InvalidSetting",
        "A folder is one index; collection= names those on a server.",
    ),
    (
        "from qdrant_client import AsyncQdrantClient; "
        f"{_OPEN}(aclient=AsyncQdrantClient(':memory:'))",
        "InvalidSetting",
        "Beside aclient= a synchronous client, or url=, makes and fills collections.",
    ),
    (
        f"MultiModalQdrantIndex.from_documents(docs, {_DEAD}, api_key='k')",
        "StoreUnusable",
        "Documents go to a server; this one does not answer.",
    ),
    (
        "MultiModalQdrantIndex.from_documents(docs, client=client, "
        "collection='articles', catalogue=False)",
        "runs",
        "The collections are articles-text and articles-image.",
    ),
]
