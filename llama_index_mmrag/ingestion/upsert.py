"""Upsert: records into channels, encoding only what is new, removing what is stale."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from llama_index.core.schema import BaseNode

from llama_index_mmrag.ingestion.batches import BatchEncoder, source_of
from llama_index_mmrag.ingestion.composing import Composer
from llama_index_mmrag.ingestion.encoding import encode_nodes
from llama_index_mmrag.ingestion.records import Problem, SourceRecord
from llama_index_mmrag.ingestion.stored import (
    holds,
    remove_nodes,
    stored_nodes,
    write_nodes,
)
from llama_index_mmrag.nodes.node import modality_of
from llama_index_mmrag.retrieval.channel import Channel

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
    ignored: Mapping[str, int] = field(default_factory=dict)
    """Files of a folder that are of other kinds: how many, by lower-case suffix."""

    def __str__(self) -> str:
        """Return a sentence with the counts."""
        parts = [
            f"{self.n_documents} documents: {self.n_added} nodes added",
            f"{self.n_unchanged} unchanged",
            f"{self.n_removed} removed",
        ]
        n_parts = sum(problem.is_part for problem in self.problems)
        if n_skipped := len(self.problems) - n_parts:
            parts.append(f"{n_skipped} skipped")
        if n_parts:
            parts.append(f"{n_parts} parts left out")
        if self.ignored:
            kinds = sorted(self.ignored.items(), key=lambda kind: (-kind[1], kind[0]))
            named = ", ".join(f"{suffix or 'no suffix'} {n}" for suffix, n in kinds)
            parts.append(
                f"{sum(self.ignored.values())} of other kinds ignored: {named}"
            )
        return ", ".join(parts)


class Upserter:
    """Writes records to the channel of each node's modality, in large batches.

    Repeating an interrupted run is safe and cheap: ids come from content, a node is
    removed as stale only after its successor is written, and nothing else is kept.

    Args:
        channels: By modality.
        composer: Keeps the collection of early fusion; None where there is none.
        nodes_per_write: Nodes collected before they are encoded and written.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel],
        *,
        composer: Composer | None = None,
        nodes_per_write: int = NODES_PER_WRITE,
    ) -> None:
        self.report = UpsertReport()
        self.n_done = 0
        """Records that are written, and problems that are noted."""
        self._channels = dict(channels)
        self._composer = composer
        self._encoder = BatchEncoder(self._note)
        self._nodes_per_write = nodes_per_write
        self._pending: list[SourceRecord] = []
        self._n_pending = 0
        self._documents: dict[str, bool] = {}  # whether a record of it had nodes

    def take(self, item: SourceRecord | Problem) -> None:
        """Take one record, or note one problem; writes when enough has come."""
        if isinstance(item, Problem):
            self._note(item)
            self.n_done += 1
            return
        for problem in item.problems:
            self._note(replace(problem, is_part=True))
        if item.ref_doc_id not in self._documents:
            self.report.ref_doc_ids.append(item.ref_doc_id)
        had_nodes = self._documents.get(item.ref_doc_id, False)
        self.report.n_documents += bool(item.nodes) and not had_nodes
        self._documents[item.ref_doc_id] = had_nodes or bool(item.nodes)
        self._pending.append(item)
        self._n_pending += max(1, len(item.nodes))
        if self._n_pending >= self._nodes_per_write:
            self.flush()

    def flush(self) -> None:
        """Encode and write what is pending, then remove what it makes stale."""
        records, self._pending, self._n_pending = self._pending, [], 0
        if not records:
            return
        wanted: dict[str, dict[str, BaseNode]] = {m: {} for m in self._channels}
        for node in _latest(records):
            if (modality := modality_of(node)) in wanted:
                wanted[modality][node.node_id] = node
            else:
                self._note(Problem(source_of(node), self._no_channel(modality)))
        loose = {n.node_id for r in records if not r.whole for n in r.nodes}
        before = [
            node
            for modality, nodes in wanted.items()
            for node in self._write(self._channels[modality], nodes, loose)
        ]
        replaced = [r.ref_doc_id for r in records if r.whole]
        written = {node_id for nodes in wanted.values() for node_id in nodes}
        stale = {
            modality: _stale(
                self._channels[modality],
                replaced,
                moved=(loose & written) - nodes.keys(),
                wanted=nodes,
            )
            for modality, nodes in wanted.items()
        }
        if self._composer is not None:
            touched = [node for nodes in wanted.values() for node in nodes.values()]
            for modality, node_ids in stale.items():
                before += stored_nodes(self._channels[modality], node_ids)
            self._composer.update(
                [*touched, *before], gone=stale, encoder=self._encoder
            )
        for modality, node_ids in stale.items():
            remove_nodes(self._channels[modality], node_ids)
            self.report.n_removed += len(node_ids)
        self.n_done += len(records)

    def _no_channel(self, modality: str) -> str:
        return (
            f"The node has the modality {modality!r}; this index has channels for "
            f"{sorted(self._channels)}. Set its metadata 'modality' to one of them."
        )

    def _write(
        self, channel: Channel, wanted: Mapping[str, BaseNode], loose: set[str]
    ) -> list[BaseNode]:
        """Encode and write what is not there as it is wanted; return what was there."""
        stored = stored_nodes(channel, wanted)
        # A document's node ids hold its content, so that being there is enough; a node
        # that came with an id of its own is compared.
        known = {
            node.node_id
            for node in stored
            if node.node_id not in loose or holds(node, wanted[node.node_id])
        }
        new = [node for node_id, node in wanted.items() if node_id not in known]
        self.report.n_unchanged += len(wanted) - len(new)
        encoded = self._encoder.encoded(channel, new, encode_nodes)
        write_nodes(
            channel,
            [node.model_copy(update={"embedding": vector}) for node, vector in encoded],
        )
        self.report.n_added += len(encoded)
        return [node for node in stored if node.node_id not in known]

    def _note(self, problem: Problem) -> None:
        what = "Left out of" if problem.is_part else "Skipped"
        logger.warning("%s %s: %s", what, problem.source, problem.reason)
        self.report.problems.append(problem)


def _latest(records: Iterable[SourceRecord]) -> list[BaseNode]:
    """Return the nodes that would stay were the records written one by one."""
    wanted: dict[str, BaseNode] = {}
    of_document: dict[str, set[str]] = {}
    for record in records:
        mine = of_document.setdefault(record.ref_doc_id, set())
        if record.whole:
            for node_id in mine & wanted.keys():
                if wanted[node_id].ref_doc_id == record.ref_doc_id:
                    del wanted[node_id]
            mine.clear()
        for node in record.nodes:
            wanted[node.node_id] = node
            mine.add(node.node_id)
    return list(wanted.values())


def _stale(
    channel: Channel,
    ref_doc_ids: list[str],
    *,
    moved: Collection[str],
    wanted: Mapping[str, BaseNode],
) -> list[str]:
    """Return the nodes of the documents, and those that moved, that are not wanted."""
    stored = channel.collection.ids_of_documents(ref_doc_ids)
    stale = [node_id for node_id in stored if node_id not in wanted]
    return stale + [
        n.node_id for n in stored_nodes(channel, moved) if n.node_id not in stale
    ]


def upsert(
    items: Iterable[SourceRecord | Problem], *, channels: Mapping[str, Channel]
) -> UpsertReport:
    """Write all records to their channels; return what was done."""
    upserter = Upserter(channels)
    for item in items:
        upserter.take(item)
    upserter.flush()
    return upserter.report
