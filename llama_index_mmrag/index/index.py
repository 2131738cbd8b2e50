"""The index: collections of texts and of pictures, filled and searched as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llama_index.core.embeddings.utils import EmbedType

from llama_index_mmrag.checks import instance
from llama_index_mmrag.checks.arguments import checked
from llama_index_mmrag.composition import Composition
from llama_index_mmrag.embeddings.bm25 import Bm25Encoder, named
from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.index.catalogues import catalogue_in, catalogue_on
from llama_index_mmrag.index.encoders import encoders_of
from llama_index_mmrag.index.engines import Engines
from llama_index_mmrag.index.lettering import chosen_reader
from llama_index_mmrag.index.making import Made
from llama_index_mmrag.index.opening import (
    channels_in,
    channels_on,
    close_all,
)
from llama_index_mmrag.index.pipelines import Pipelines
from llama_index_mmrag.index.place import MEMORY, check_place, temporary_folder
from llama_index_mmrag.index.splitting import reading
from llama_index_mmrag.index.upkeep import Upkeep
from llama_index_mmrag.ingestion import ReadSettings
from llama_index_mmrag.ingestion.engine import SCANS
from llama_index_mmrag.ingestion.lettering import Lettering
from llama_index_mmrag.ingestion.linked import IMAGE, TEXT
from llama_index_mmrag.ingestion.roots import MEDIA, Roots, checked_roots
from llama_index_mmrag.ingestion.scans import Scans
from llama_index_mmrag.ingestion.writer import Writer
from llama_index_mmrag.lettering import PictureReader
from llama_index_mmrag.nodes.node import LETTERING
from llama_index_mmrag.retrieval.channel import Channel
from llama_index_mmrag.stores.catalogue import Catalogue
from llama_index_mmrag.stores.client import client_at
from llama_index_mmrag.stores.filter_fields import FieldKind, checked_fields_of
from llama_index_mmrag.stores.reader_card import reader_in, reader_on

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, QdrantClient


class MultiModalQdrantIndex(Upkeep, Made, Pipelines, Engines):
    """Texts and pictures in a collection each, opened, filled and searched as one.

    Use `open`. Inserting is incremental: ids come from content, so what is there is
    not encoded again, what changed is replaced, and an interrupted insert can be
    repeated. All methods may be called from any thread.

    Example:
        >>> import tempfile
        >>> from llama_index.core import Document
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with MultiModalQdrantIndex.open(folder) as index:
        ...         report = index.insert([Document(text="Tea is steeped.")])
        ...         hits = index.as_retriever().retrieve("How is tea made?")
        >>> report.n_added, hits[0].node.get_content()
        (1, 'Tea is steeped.')
    """

    @checked
    def __init__(
        self,
        channels: Sequence[Channel],
        *,
        settings: ReadSettings | None = None,
        root: Path | None = None,
        roots: Mapping[str, str | Path] | None = None,
        catalogue: Catalogue | None = None,
        lettering: Lettering | None = None,
        scans: Scans | None = None,
    ) -> None:
        """Keep the channels; `open` makes them.

        Args:
            channels: One for each modality, "text" and "image" among them; and, for
                early fusion, one with a composition, over a collection of its own.
            settings: How files and documents become nodes.
            root: The store's folder, where it is embedded.
            roots: Folders of roots that were indexed elsewhere, by name.
            catalogue: What is known of roots and files; None: nothing outlives this
                object.
            lettering: What reads pictures, beside a channel "lettering" for what it
                reads.
            scans: What reads pages that are pictures.

        Raises:
            InvalidSetting: There is no channel for texts or none for pictures, or two
                for one modality, or two with a composition; or of a channel for
                lettering and what reads it there is one alone.
        """
        composed = [c for c in channels if c.composition is not None]
        parts = {c.modality: c for c in channels if c.composition is None}
        n_expected = len(parts) + min(1, len(composed))
        if not {TEXT, IMAGE} <= parts.keys() or n_expected != len(channels):
            given = [(c.name, c.modality) for c in channels]
            raise InvalidSetting(
                f"An index got the channels {given!r}; expected one for each modality, "
                f"'text' and 'image' among them."
            )
        if (lettering is None) == (LETTERING in parts):
            raise InvalidSetting(
                "An index got a channel for lettering, or what reads it; expected both "
                "or neither. open(read_pictures=True) makes them."
            )
        self._composed = composed[0] if composed else None
        media = settings.media_dir if settings else None
        if media is None and root is not None:
            media = root / MEDIA
        catalogue = catalogue or Catalogue(None, "")
        for name, folder in checked_roots(roots or {}).items():
            catalogue.set_root(name, folder)
        if root is None and media is not None:  # nothing else says where they are
            catalogue.set_root(MEDIA, media.absolute())
        its_roots = Roots(catalogue.roots(), store=root, media=media)
        for channel in channels:
            channel.collection.places = its_roots.places
        super().__init__(
            Writer(
                parts,
                composed=self._composed,
                folder=root,
                catalogue=catalogue,
                lettering=lettering,
            ),
            parts,
            settings=settings or ReadSettings(),
            roots=its_roots,
            catalogue=catalogue,
            scans=scans,
        )
        self._root = root
        self._opened = ExitStack()
        self._owns_stores = True

    @classmethod
    @checked
    def open(  # noqa: PLR0913 - where, and how: each has a default
        cls,
        path: str | Path | None = None,
        *,
        location: str | None = None,
        url: str | None = None,
        client: QdrantClient | None = None,
        aclient: AsyncQdrantClient | None = None,
        api_key: str | None = None,
        prefer_grpc: bool = False,
        timeout: float | None = None,
        client_kwargs: Mapping[str, Any] | None = None,
        collection: str | Mapping[str, str] = "mmrag",
        embed_model: EmbedType | None = None,
        image_embed_model: EmbedType | None = None,
        composition: Composition | None = None,
        hybrid: bool | str | Bm25Encoder | None = None,
        read_pictures: bool | str | PictureReader | None = None,
        read_scans: str | PictureReader | None = None,
        reread: str | None = None,
        filter_fields: Mapping[str, FieldKind] | None = None,
        settings: ReadSettings | None = None,
        roots: Mapping[str, str | Path] | None = None,
        catalogue: str | Path | Literal[False] | None = None,
    ) -> MultiModalQdrantIndex:
        """Return the index in a folder, on a server, or behind a client.

        Args:
            path: A folder for the embedded engine; created if it is missing. With
                ":memory:", a temporary one, which `close` removes.
            location: ":memory:", or a server's address, as a `QdrantClient` takes it.
            url: A Qdrant server, such as "http://localhost:6333".
            client: An existing client of one.
            aclient: An asynchronous client of the same server, for async queries.
            api_key: The server's key. It is in no message, log or pickle of ours.
            prefer_grpc: Whether to ask the server over gRPC.
            timeout: Of each call to the server in seconds, rounded up to whole ones;
                None: the client's own 5. When a query gives up waiting is `timeout_s`
                of `as_retriever`.
            client_kwargs: What else a `QdrantClient` takes, such as `https`, `headers`,
                and `host` and `port` in place of `url`.
            collection: The server's collections are "<this>-text" and "<this>-image".
                Or their names, as {"text": "docs", "image": "photos"}; what is not
                named is "docs-image", after the texts'.
            embed_model: Encodes texts, and pictures too where it is multimodal; or its
                name: "offline", "clip", "clip:ViT-B/32", or what LlamaIndex resolves,
                such as "local:BAAI/bge-small-en". None: `Settings.embed_model` where it
                was set, else the offline encoder (extra `offline`).
            image_embed_model: Encodes pictures, and what asks for them; None:
                `embed_model`, or the offline encoder beside one of texts alone.
            composition: How a text and a picture become one vector, such as
                `Blend(0.5)`; those are kept in a collection of their own, beside the
                others. None for late fusion alone. A store remembers it.
            hybrid: Whether texts are searched by their words too, as they are written,
                beside their vectors. True of a new store keeps vectors of words, which
                it cannot gain later: of English ones, or of "german", or as a
                `Bm25Encoder` makes them, which the store remembers; False leaves them
                alone in searches; None: by words where the store keeps them, and a new
                one keeps none.
            read_pictures: What reads the lettering of pictures, which is then searched
                too: True or "rapidocr" (extra `ocr`), or "tesseract", where that is
                installed. The store keeps it, and reads on with None. Pictures that
                are there already are read now, which takes a second each.
            read_scans: What reads pages of PDF files that are pictures: "rapidocr" or
                "tesseract", kept as that of pictures is. They are read at the end of
                an insert, within `ReadSettings.scan_minutes`.
            reread: "lettering" has all pictures read anew, now, by another engine or
                version too; "scans" the scans of folders that are inserted.
            filter_fields: Keys of metadata that a new index is filtered by, and their
                kinds: {"year": "integer"}. Others are filtered by as well, by looking
                at each node. `page` and the like are declared already.
            settings: How files and documents become nodes.
            roots: Where folders that were indexed elsewhere lie on this machine, by
                their roots' names: their pictures are shown from there.
            catalogue: The file of the catalogue, which remembers roots and files; None:
                beside the store's own, or for a server in the user's cache folder;
                False: there is none.

        Raises:
            InvalidSetting: None or several of path, location, url and client are given,
                or what is not for that place, or `path` is an address, or a root is no
                folder, or `image_embed_model` has no pictures, or pictures and texts of
                two lengths.
            CollectionMismatch: The store was filled by other encoders, or with other
                early fusion, or keeps no words that `hybrid` asks for, or was read by
                another engine. A server's collection that does not say by which is
                opened with a logged warning.
            StoreInUse: The folder is open already, here or in another process.
            StoreUnusable: The folder cannot be created, read or written, or holds
                other files and no store; or the server refuses, or does not answer.
            MissingExtra: What encodes, or what reads, is not installed.
        """
        check_place(
            {"path": path, "location": location, "url": url, "client": client},
            client_kwargs=client_kwargs,
            aclient=aclient,
            collection=None if collection == "mmrag" else collection,
            api_key=api_key,
            prefer_grpc=prefer_grpc or None,
            timeout=timeout,
        )
        if catalogue == "":
            raise InvalidSetting(
                "open() got catalogue=''; expected a file's name. Leave it out for the "
                "usual place, or give False for none."
            )
        if catalogue is not False:
            instance(catalogue, "open(): catalogue", str, Path, or_none=True)
        words, fields = named(hybrid), checked_fields_of(filter_fields)
        encoders = encoders_of(embed_model, image_embed_model)
        is_temporary = MEMORY in (path, location)
        with ExitStack() as opened, ExitStack() as unfinished:
            if is_temporary:
                path = opened.enter_context(temporary_folder())
            if path is not None:
                root = Path(path)
                chosen = chosen_reader(read_pictures, reread, reader_in(root), root)
                stored = reader_in(root, TEXT)
                pages = chosen_reader(read_scans, reread, stored, root, SCANS)
                with encoders.told():
                    channels = channels_in(
                        root, encoders.of, composition, words, chosen.card, fields
                    )
                unfinished.callback(close_all, channels)
                for channel in channels if is_temporary else ():
                    channel.collection.store._is_temporary = True
                known = catalogue_in(root, catalogue)
                settings = reading(settings, media_dir=root / MEDIA)
            else:
                from qdrant_client import AsyncQdrantClient, QdrantClient

                root = None
                instance(client, "open(): client", QdrantClient, or_none=True)
                instance(aclient, "open(): aclient", AsyncQdrantClient, or_none=True)
                if client is None:
                    client = client_at(
                        url or location,
                        api_key=api_key,
                        prefer_grpc=prefer_grpc,
                        timeout=timeout,
                        client_kwargs=client_kwargs,
                    )
                    opened.callback(client.close)
                stored = reader_on(client, collection)
                chosen = chosen_reader(read_pictures, reread, stored, collection)
                stored = reader_on(client, collection, TEXT)
                pages = chosen_reader(read_scans, reread, stored, collection, SCANS)
                with encoders.told():
                    channels = channels_on(
                        client,
                        collection,
                        encoders.of,
                        composition,
                        hybrid=words,
                        reader=chosen.card,
                        filter_fields=fields,
                        aclient=aclient,
                    )
                known = catalogue_on(client, collection, catalogue)
                settings = reading(settings)
            index = cls(
                channels,
                settings=settings,
                root=root,
                roots=roots,
                catalogue=known,
                lettering=chosen.lettering(channels, settings, root, known),
                scans=pages.scans(channels, root, known),
            )
            index._writer.recover(can_wait=True)
            if chosen.reader is not None:
                index._writer.read_pictures()
            unfinished.pop_all()
            index._opened = opened.pop_all()
        return index

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels, texts first and composed vectors last."""
        composed = () if self._composed is None else (self._composed,)
        return (*self._channels.values(), *composed)

    # Writing: what `Verbs`, `Sources` and `Upkeep` do

    # Reading: what `Engines` does

    # Closing

    def close(self) -> None:
        """Close the embedded stores; a client that was given stays as it is.

        An embedded store that was written to notes what its files are, so that damage
        to them is noticed later.
        """
        if self._owns_stores:
            close_all(self.channels, self._root)
            for engine in (self._writer.lettering, self._scans):
                if engine is not None:
                    engine.close()
        self._opened.close()

    def __enter__(self) -> MultiModalQdrantIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
