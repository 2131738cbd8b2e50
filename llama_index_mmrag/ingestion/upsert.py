"""Upsert: records into channels, encoding only what is new, removing what is stale."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from llama_index.core.embeddings import MultiModalEmbedding
from llama_index.core.schema import BaseNode, ImageNode, MetadataMode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
)

from llama_index_mmrag.channels import Channel
from llama_index_mmrag.errors import InvalidSetting, MissingExtra
from llama_index_mmrag.images import describe_source, node_image
from llama_index_mmrag.ingestion.records import Problem, SourceRecord
from llama_index_mmrag.nodes import modality_of
from llama_index_mmrag.stores import search_lock

logger = logging.getLogger(__name__)

NODES_PER_WRITE = 256
"""An embedded store syncs its files once a write (61 ms): smaller writes are slower."""


@dataclass(slots=True)
class UpsertReport:
    """What an insert did."""

    n_documents: int = 0
    n_added: int = 0
    """Nodes encoded and written."""
    n_unchanged: int = 0
    """Nodes that were there already; they were not encoded again."""
    n_removed: int = 0
    """Stale nodes: of documents that changed or went away."""
    ref_doc_ids: list[str] = field(default_factory=list)
    """The documents, in the order they were read; `delete_ref_doc` takes them."""
    problems: list[Problem] = field(default_factory=list)
    """What was skipped, and why."""

    def __str__(self) -> str:
        """Return a sentence with the counts."""
        skipped = f", {len(self.problems)} skipped" if self.problems else ""
        return (
            f"{self.n_documents} documents: {self.n_added} nodes added, "
            f"{self.n_unchanged} unchanged, {self.n_removed} removed{skipped}"
        )


class Upserter:
    """Writes records to the channel of each node's modality, in large batches.

    Repeating an interrupted run is safe and cheap: ids come from content, a node is
    removed as stale only after its successor is written, and nothing else is kept.

    Args:
        channels: By modality.
        nodes_per_write: Nodes collected before they are encoded and written.
    """

    def __init__(
        self, channels: Mapping[str, Channel], *, nodes_per_write: int = NODES_PER_WRITE
    ) -> None:
        self.report = UpsertReport()
        self._channels = dict(channels)
        self._nodes_per_write = nodes_per_write
        self._pending: list[SourceRecord] = []
        self._n_pending = 0

    def take(self, item: SourceRecord | Problem) -> None:
        """Take one record, or note one problem; writes when enough has come."""
        if isinstance(item, Problem):
            self._note(item)
            return
        for problem in item.problems:
            self._note(problem)
        self.report.n_documents += bool(item.nodes)
        self.report.ref_doc_ids.append(item.ref_doc_id)
        self._pending.append(item)
        self._n_pending += len(item.nodes)
        if self._n_pending >= self._nodes_per_write:
            self.flush()

    def flush(self) -> None:
        """Encode and write what is pending, then remove what it makes stale."""
        records, self._pending, self._n_pending = self._pending, [], 0
        if not records:
            return
        # The last of two records of one document is the one that counts.
        latest = {r.ref_doc_id: r for r in records if r.whole}
        nodes = chain.from_iterable(
            r.nodes for r in records if not r.whole or latest[r.ref_doc_id] is r
        )
        by_modality: dict[str, dict[str, BaseNode]] = {m: {} for m in self._channels}
        for node in nodes:
            self._channel(node)
            by_modality[modality_of(node)][node.node_id] = node
        loose = {n.node_id for r in records if not r.whole for n in r.nodes}
        for modality, wanted in by_modality.items():
            self._write(self._channels[modality], wanted, loose)
        for modality, wanted in by_modality.items():
            self._remove_stale(self._channels[modality], list(latest), wanted)

    def _channel(self, node: BaseNode) -> Channel:
        modality = modality_of(node)
        if modality not in self._channels:
            msg = (
                f"Node {node.node_id!r} has the modality {modality!r}; this index has "
                f"channels for {sorted(self._channels)}. Set its metadata "
                f"'modality' to one of them."
            )
            raise InvalidSetting(msg)
        return self._channels[modality]

    def _write(
        self, channel: Channel, wanted: Mapping[str, BaseNode], loose: set[str]
    ) -> None:
        known = _existing(channel, wanted, compare=loose)
        new = [node for node_id, node in wanted.items() if node_id not in known]
        self.report.n_unchanged += len(wanted) - len(new)
        encoded, failed = self._encoded(channel, new)
        if len(failed) > 1 and not encoded:
            # Not a bad node but a broken encoder: saying so once beats n problems.
            raise failed[0][1]
        for node, error in failed:
            self._note(Problem(_source_of(node), str(error)))
        if encoded:
            with search_lock(channel.vector_store):
                channel.vector_store.add(encoded)
            channel.sample.forget()
        self.report.n_added += len(encoded)

    def _encoded(
        self, channel: Channel, nodes: Sequence[BaseNode]
    ) -> tuple[list[BaseNode], list[tuple[BaseNode, Exception]]]:
        """Return the nodes with their vectors, and those that cannot have one."""
        if not nodes:
            return [], []
        try:
            vectors = encode_nodes(channel, nodes)
        except MissingExtra:
            raise
        except Exception as error:  # noqa: BLE001 - one node must not lose the others
            if len(nodes) == 1:
                return [], [(nodes[0], error)]
            # Halving finds the bad nodes and keeps most of the batch batched.
            half = len(nodes) // 2
            first, first_failed = self._encoded(channel, nodes[:half])
            second, second_failed = self._encoded(channel, nodes[half:])
            return first + second, first_failed + second_failed
        return [
            node.model_copy(update={"embedding": vector})
            for node, vector in zip(nodes, vectors, strict=True)
        ], []

    def _remove_stale(
        self, channel: Channel, ref_doc_ids: list[str], wanted: Mapping[str, BaseNode]
    ) -> None:
        stored = ids_of_documents(channel, ref_doc_ids)
        stale = [node_id for node_id in stored if node_id not in wanted]
        if stale:
            with search_lock(channel.vector_store):
                channel.vector_store.delete_nodes(node_ids=stale)
            channel.sample.forget()
        self.report.n_removed += len(stale)

    def _note(self, problem: Problem) -> None:
        logger.warning("Skipped %s: %s", problem.source, problem.reason)
        self.report.problems.append(problem)


def encode_nodes(channel: Channel, nodes: Sequence[BaseNode]) -> list[list[float]]:
    """Return the nodes' vectors by the channel's encoder, shape (n, dim).

    Raises:
        InvalidSetting: There are pictures, and the encoder cannot encode them.
        ImageUnreadable: A picture cannot be read.
    """
    if not any(isinstance(node, ImageNode) for node in nodes):
        texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        return channel.embed_model.get_text_embedding_batch(texts)
    if not isinstance(channel.embed_model, MultiModalEmbedding):
        msg = (
            f"Channel {channel.name!r} got pictures, but its encoder "
            f"{channel.embed_model.class_name()} cannot encode them. Open the index "
            f"with a MultiModalEmbedding for pictures."
        )
        raise InvalidSetting(msg)
    pictures = [node_image(node) for node in nodes if isinstance(node, ImageNode)]
    return channel.embed_model.get_image_embedding_batch(pictures)


def ids_of_documents(channel: Channel, ref_doc_ids: Sequence[str]) -> list[str]:
    """Return the ids of a channel's nodes that come from the documents."""
    if not ref_doc_ids:
        return []
    condition = MetadataFilter(
        key="doc_id", value=list(ref_doc_ids), operator=FilterOperator.IN
    )
    return list(_ids_where(channel, MetadataFilters(filters=[condition])))


def _existing(
    channel: Channel, wanted: Mapping[str, BaseNode], *, compare: set[str]
) -> set[str]:
    """Return which nodes are stored as they are wanted.

    A document's node ids hold its content, so that being there is enough; a node that
    came with an id of its own is compared.
    """
    if not wanted:
        return set()
    with search_lock(channel.vector_store):
        stored = channel.vector_store.get_nodes(node_ids=list(wanted))
    return {
        node.node_id
        for node in stored
        if node.node_id not in compare or _equal(node, wanted[node.node_id])
    }


def _equal(stored: BaseNode, wanted: BaseNode) -> bool:
    same_text = stored.get_content() == wanted.get_content()
    return same_text and stored.metadata == wanted.metadata


def _ids_where(channel: Channel, filters: MetadataFilters) -> Iterator[str]:
    light = getattr(channel.vector_store, "ids_where", None)
    with search_lock(channel.vector_store):
        if light is not None:
            return iter(light(filters))
        return (n.node_id for n in channel.vector_store.get_nodes(filters=filters))


def _source_of(node: BaseNode) -> str:
    if isinstance(node, ImageNode):
        return describe_source(node.image_path or f"node {node.node_id}")
    return str(node.metadata.get("file_path") or node.ref_doc_id or node.node_id)


def upsert(
    items: Iterable[SourceRecord | Problem], *, channels: Mapping[str, Channel]
) -> UpsertReport:
    """Write all records to their channels; return what was done."""
    upserter = Upserter(channels)
    for item in items:
        upserter.take(item)
    upserter.flush()
    return upserter.report
