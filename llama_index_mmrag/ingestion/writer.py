"""The writer: files and documents into channels, encoding only what is new."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from llama_index.core.schema import BaseNode
from tqdm.auto import tqdm

from llama_index_mmrag.ingestion.encoding import (
    encode_good,
    encode_nodes,
    n_unread,
)
from llama_index_mmrag.ingestion.lettering import read_all
from llama_index_mmrag.ingestion.linked import IMAGE, TEXT, holds
from llama_index_mmrag.ingestion.records import (
    Item,
    Kept,
    Problem,
    SourceRecord,
    UpsertReport,
)
from llama_index_mmrag.ingestion.removing import Removing
from llama_index_mmrag.ingestion.taking_over import alike, take_over
from llama_index_mmrag.ingestion.words import repeated
from llama_index_mmrag.nodes.node import (
    GIVEN_ID_KEY,
    LETTERING,
    MODALITY_KEY,
    entity_of,
    text_of_picture,
    words_of,
)
from llama_index_mmrag.nodes.shown import source_of
from llama_index_mmrag.stores.catalogue import FileRow
from llama_index_mmrag.stores.reader_card import note_reader

logger = logging.getLogger(__name__)

NODES_PER_WRITE = 256
"""An embedded store syncs its files once a write (61 ms): smaller writes are slower."""


class Writer(Removing):
    """Writes what is read to the channel of each node's modality, in large batches.

    Repeating an interrupted run is safe and cheap: ids come from content, a node is
    removed as stale only after its successor is written, and nothing else is kept.
    """

    _not_read: Sequence[Problem] = ()
    """Pictures that were to be read since they were stored: the next report's."""
    _stored: Set[str] | None = None
    """The documents, where a run asked for them."""

    def write(
        self,
        items: Iterable[Item],
        n_items: int | None = None,
        *,
        show_progress: bool = False,
        nodes_per_write: int = NODES_PER_WRITE,
    ) -> UpsertReport:
        """Write records, and note problems; return what was done.

        Args:
            items: What was read.
            n_items: How many there are, for the progress bar.
            show_progress: Show one.
            nodes_per_write: Nodes collected before they are encoded and written.
        """
        report, self._stored = UpsertReport(), None
        had_nodes: dict[str, bool] = {}  # by document
        bar = tqdm(total=n_items, desc="Indexing", disable=not show_progress)
        with self.lock, bar:
            if self._in_flight.is_noted:  # a write that failed, as on a full disk
                self.recover()
            self.read_pictures()
            for batch in _batches(items, nodes_per_write):
                records: list[SourceRecord] = []
                rows: list[FileRow] = []
                for item in batch:
                    if isinstance(item, Problem):
                        report.note(self._with_what_stays(item))
                        continue
                    if isinstance(item, Kept):
                        had_nodes[item.ref_doc_id] = item.n_nodes > 0
                        had_nodes.update(dict.fromkeys(item.attached, True))
                        report.n_unchanged += item.n_nodes
                        rows += item.rows
                        report.problems += item.problems
                        continue
                    for problem in item.problems:
                        report.note(replace(problem, is_part=True))
                    known = had_nodes.get(item.ref_doc_id, False)
                    had_nodes[item.ref_doc_id] = known or bool(item.nodes)
                    for name in item.attached:
                        its = (node.ref_doc_id == name for node in item.nodes)
                        had_nodes[name] = any(its)
                    records.append(item)
                if records:
                    self._write_batch(records, report)
                if rows:
                    self._catalogue.remember(rows)
                # Reading is quick: what counts is what is encoded and written.
                bar.update(len(batch))
            told, self._not_read = self._not_read, []
        report.problems += [one for one in told if one not in report.problems]
        report.n_documents = sum(had_nodes.values())
        report.ref_doc_ids = list(had_nodes)
        return report

    def _with_what_stays(self, problem: Problem) -> Problem:
        if not problem.ref_doc_id:
            return problem
        if self._stored is None:  # once a run: thousands may be unreadable
            self._stored = {*self.ref_doc_ids()}
        if problem.ref_doc_id not in self._stored:
            return problem
        reason = f"{problem.reason} What was stored of it before stays."
        return replace(problem, reason=reason, is_outdated=True)

    def read_pictures(self) -> None:
        """Read the pictures that are stored, where they are to be read since then.

        Raises:
            CollectionMismatch, MissingExtra: The engine that is to read is not there.
            ReaderUnusable: It reads no picture.
        """
        lettering = self.lettering
        if lettering is None or lettering.card.is_complete:
            return
        with self.lock:
            pictures, texts = self._channels[IMAGE], self._channels[LETTERING]
            report = UpsertReport()
            read_all(lettering, pictures, texts, self._catalogue, report.note)
            self._not_read = report.problems
            done = lettering.card.model_copy(update={"is_complete": True})
            note_reader(self._folder, texts.collection, done)
            lettering.card = done

    def _write_batch(
        self, records: Sequence[SourceRecord], report: UpsertReport
    ) -> None:
        """Encode and write what is new, then remove what it makes stale.

        A document of which nothing can be encoded stays as it was.
        """
        wanted: dict[str, dict[str, BaseNode]] = {m: {} for m in self._channels}
        for node in _latest(records):
            if (modality := node.metadata[MODALITY_KEY]) in wanted:
                wanted[modality][node.node_id] = node
            else:
                reason = (
                    f"The node has the modality {modality!r}; this index has channels "
                    f"for {sorted(wanted)}. Set its metadata 'modality' to one of them."
                )
                report.note(Problem(source_of(node), reason))
        # By each id that a document has or came with.
        becoming = {
            name: of
            for r in records
            if r.whole
            for name, of in (
                (r.random_id, r.ref_doc_id),
                *((each, each) for each in (r.ref_doc_id, *r.attached)),
            )
            if name
        }
        replaced = [name for name, of in becoming.items() if name == of]
        random = [*(becoming.keys() - replaced)]
        loose = {n.node_id for r in records if not r.whole for n in r.nodes}
        # A document's node ids hold its content, so that being there is enough; a node
        # that came with an id of its own is compared.
        came = {
            m: one.nodes(loose) if loose else [] for m, one in self._collections.items()
        }
        words = {TEXT: self._settled(wanted, loose, came.get(IMAGE, ()))}
        if LETTERING in self._channels:
            words[LETTERING] = self._texts_of(came.get(IMAGE, ()), LETTERING)
        written = {node_id for nodes in wanted.values() for node_id in nodes}
        touched: list[BaseNode] = []
        kept: dict[str, list[BaseNode]] = {}
        new: dict[str, list[BaseNode]] = {}
        stale: dict[str, list[str]] = {}
        stored = {
            modality: one.ids_of_documents([*replaced, *random], random)
            for modality, one in self._collections.items()
        }
        for modality, nodes in wanted.items():
            ids = stored[modality]
            given = {n.node_id: n for n in (*came[modality], *words.get(modality, ()))}
            same = {node_id for node_id in ids if node_id not in loose} | {
                node_id
                for node_id, node in given.items()
                if node_id in nodes and holds(node, nodes[node_id])
            }
            kept[modality] = [n for node_id, n in nodes.items() if node_id in same]
            report.n_unchanged += len(kept[modality])
            new[modality] = [n for node_id, n in nodes.items() if node_id not in same]
            touched += [*nodes.values(), *given.values()]
            stale[modality] = [
                node_id
                for node_id in dict.fromkeys((*ids, *given))
                if node_id not in nodes
            ]
        # Before anything is written: an encoder that is down leaves all as it was.
        copies = [r for r in records if r.is_copy] if any(new.values()) else []
        donors = alike(self._catalogue, copies) if copies else {}
        new = self._encoded(new, donors, report)
        there = {n.node_id for some in (*new.values(), *kept.values()) for n in some}
        # What cannot be replaced is not lost.
        given_up = {n.ref_doc_id or "" for n in touched if n.node_id in written - there}
        given_up -= {n.ref_doc_id or "" for n in touched if n.node_id in there}
        if given_up:
            for modality, ids in stale.items():
                names = [name for name, of in becoming.items() if of in given_up]
                asked = self._collections[modality].ids_of_documents
                left = {*asked([*given_up], names)}
                stale[modality] = [node_id for node_id in ids if node_id not in left]
        going = {name: of for name, of in becoming.items() if of not in given_up}
        with self._in_flight.noted(going, stale, new, kept):
            if any(stale.values()):
                self._catalogue.forget(replaced)
            for modality, encoded in new.items():
                self._collections[modality].add(encoded)
                report.n_added += len(encoded)
            copied = donors.get(IMAGE, ())
            report.n_removed += self._remove(stale, touched, report.note, copied)
        # Only now: what they say is there is on the disk.
        whole = [r for r in records if all(node.node_id in there for node in r.nodes)]
        self._catalogue.remember([row for record in whole for row in record.rows])

    def _settled(
        self,
        wanted: Mapping[str, dict[str, BaseNode]],
        loose: Set[str],
        pictures: Sequence[BaseNode],
    ) -> list[BaseNode]:
        """Take out words that a text of their entity has; return what may be stale.

        Stored words of pictures that come as nodes, and those that a text has now.

        Args:
            wanted: By modality and id; changed.
            loose: Ids of what came as nodes.
            pictures: Those that are stored under these ids.
        """
        # A page says itself what is said already.
        if not loose or TEXT not in self._channels:
            return []
        texts = wanted.get(TEXT, {})
        mine = {node_id: texts[node_id] for node_id in texts.keys() & loose}
        # A text that is an entity of its own has no kin; a picture has its words.
        entities = {entity_of(node) for node in mine.values()} - mine.keys()
        entities |= {entity_of(node) for node in pictures}
        there = self._channels[TEXT].of_entities(sorted(entities)) if entities else ()
        # What is stored under an id that came is about to be replaced.
        stay = {node.node_id: node for node in there if node.node_id not in loose}
        told = repeated([*(stay | mine).values()])
        for node_id in told & texts.keys():
            del texts[node_id]
        before = {node.node_id for node in pictures}
        told |= {n.node_id for n in there if words_of(n.metadata) in before}
        return [node for node in there if node.node_id in told]

    def _encoded(
        self,
        new: Mapping[str, list[BaseNode]],
        donors: Mapping[str, list[str]],
        report: UpsertReport,
    ) -> dict[str, list[BaseNode]]:
        """Return the nodes with their vectors, those of a renamed file with the old."""
        encoded: dict[str, list[BaseNode]] = {}
        for modality, nodes in new.items():
            channel = self._channels[modality]
            taken, others = (
                take_over(channel, nodes, donors[modality])
                if modality in donors
                else ([], nodes)
            )
            others = encode_good(channel, others, encode_nodes, report.note)
            encoded[modality] = taken + others
        texts = encoded.get(TEXT, [])
        if len(encoded.get(IMAGE, ())) < len(new.get(IMAGE, ())):
            # Of a picture that is not there, words would show nothing.
            lost = {node.node_id for node in new[IMAGE]}
            lost -= {node.node_id for node in encoded[IMAGE]}
            for some in (texts, encoded.get(LETTERING, [])):
                some[:] = [n for n in some if text_of_picture(n.metadata) not in lost]
        # In ASCII, every encoder reads them.
        if not all(node.get_content().isascii() for node in texts):
            report.n_unread += n_unread(self._channels[TEXT], texts)
        return encoded


def _batches(items: Iterable[Item], n_nodes: int) -> Iterator[list[Item]]:
    """Yield the items in lists of `n_nodes` nodes or a little more."""
    batch: list[Item] = []
    n_pending = 0
    for item in items:
        batch.append(item)
        n_pending += max(1, len(getattr(item, "nodes", ())))
        if n_pending >= n_nodes:
            yield batch
            batch, n_pending = [], 0
    if batch:
        yield batch


def _latest(records: Iterable[SourceRecord]) -> list[BaseNode]:
    """Return the nodes that would stay were the records written one by one."""
    wanted: dict[str, BaseNode] = {}
    of_document: dict[str, set[str]] = {}
    for record in records:
        names = {record.ref_doc_id, record.random_id, *record.attached} - {None}
        known: dict[str, BaseNode] = {}
        if record.whole:
            mine = set().union(*(of_document.pop(str(name), ()) for name in names))
            for node_id in mine & wanted.keys():
                node = wanted[node_id]
                if names & {node.ref_doc_id, node.metadata.get(GIVEN_ID_KEY)}:
                    known[node_id] = wanted.pop(node_id)
        again = wanted.keys() & {node.node_id for node in record.nodes}
        if again:  # what was said of, or read in, the picture that it was
            for node_id, node in [*wanted.items()]:
                if text_of_picture(node.metadata) in again:
                    del wanted[node_id]
        for node in record.nodes:
            # Of one content under several random ids the first stays.
            wanted[node.node_id] = known.get(node.node_id, node)
            for name in names:
                of_document.setdefault(str(name), set()).add(node.node_id)
    return list(wanted.values())
