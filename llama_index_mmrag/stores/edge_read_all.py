"""Child process: read all points of the shard whose folder is the argument.

A damaged file may make the engine ask for more memory than there is, or read beyond a
file's end: both end the process that it is in. Run by path and by itself, so that the
child imports nothing but the engine.

Where payloads lie stands in a tracker. Where that is empty, points are given those that
are found in the pages: each begins a block of the file, with its length unpacked. Of
those in a folder of their own points are made, without vectors.
"""

import itertools
import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import qdrant_edge as qe

LOOSE, PAYLOADS, TRACKER = "loose", "payload_storage", "tracker.dat"
_MOST_WRITES = 1 << 24


def unpacked(data: bytes, at: int) -> tuple[bytes, int]:
    """Return what is packed at a place, and where it ends.

    The length unpacked, in four bytes, and an LZ4 block:
    https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md

    Raises:
        ValueError, IndexError: There is nothing whole.
    """
    n_bytes = int.from_bytes(data[at : at + 4], "little")
    at += 4
    out = bytearray()
    while True:
        token = data[at]
        n_literals, at = _extended(data, at + 1, token >> 4)
        out += data[at : at + n_literals]
        at += n_literals
        if len(out) >= n_bytes:
            break
        back = int.from_bytes(data[at : at + 2], "little")
        n_copied, at = _extended(data, at + 2, token & 15)
        n_copied += 4
        if not 0 < back <= len(out):
            raise ValueError("a copy of what is not there")
        out += (out[-back:] * (n_copied // back + 1))[:n_copied]
    if len(out) != n_bytes:
        raise ValueError("another length than it says")
    return bytes(out), at


def _extended(data: bytes, at: int, length: int) -> tuple[int, int]:
    if length == 15:  # noqa: PLR2004 - more follows, as long as it is 255
        while True:
            length += data[at]
            at += 1
            if data[at - 1] != 255:  # noqa: PLR2004
                break
    return length, at


def payloads_in(storage: Path) -> Iterator[dict[str, Any]]:
    """Yield the payloads that begin in a block in use; what is damaged is left out."""
    size = json.loads((storage / "config.json").read_bytes())["block_size_bytes"]
    in_use = (storage / "bitmask.dat").read_bytes()
    pages = sorted(storage.glob("page_*.dat"), key=lambda page: int(page.stem[5:]))
    begin = end = 0
    for page, following in zip(pages, [*pages[1:], None], strict=True):
        data = page.read_bytes()
        places = range(0, len(data), size)
        data += following.read_bytes() if following else b""  # one may go on there
        for at in places:
            block = (begin + at) // size
            if begin + at < end or not in_use[block // 8] >> block % 8 & 1:
                continue
            try:
                found, after = unpacked(data, at)
                payload = json.loads(found)
            except (ValueError, IndexError):
                continue
            end = begin + after
            if isinstance(payload, dict):
                yield payload
        begin += places.stop


def give_back_payloads(shard: qe.EdgeShard, storage: Path) -> None:
    """Give points that lost their payloads those that name them."""
    # The engine ignores a write to a point of a later version, and a new log counts its
    # writes from 0: they are repeated until they count.
    tries = itertools.repeat(None, _MOST_WRITES)
    is_loose = storage.parent.name == LOOSE
    for payload in payloads_in(storage):
        try:
            said = json.loads(payload["_node_content"])["id_"]
            key = int(said) if len(said) <= 20 else str(uuid.UUID(said))  # noqa: PLR2004
            if is_loose:
                point = qe.Point(key, {}, payload)
                shard.update(qe.UpdateOperation.upsert_points([point]))
                continue
            points = shard.retrieve([key], True, False)
            while points and not points[0].payload:
                next(tries)
                shard.update(qe.UpdateOperation.overwrite_payload([key], payload))
                points = shard.retrieve([key], True, False)
        except Exception:  # noqa: BLE001, S112 - the next one may be whole
            continue


def read_all(shard: qe.EdgeShard) -> None:
    """Read each point with its vector, and without."""
    offset = None
    while True:
        request = qe.ScrollRequest(
            offset=offset, limit=256, with_payload=False, with_vector=False
        )
        page, offset = shard.scroll(request)
        for record in page:
            for with_vector in (True, False):
                try:
                    shard.retrieve([record.id], True, with_vector)
                except Exception:  # noqa: BLE001, S112, PERF203 - asked is what cannot be caught
                    continue
        if offset is None:
            return


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    trackers = folder.glob(f"segments/*/{PAYLOADS}/{TRACKER}")
    lost = [file.parent for file in trackers if not any(file.read_bytes())]
    lost += folder.glob(f"{LOOSE}/*")
    opened = qe.EdgeShard.load(str(folder))
    for storage in lost:
        give_back_payloads(opened, storage)
    opened.flush()
    read_all(opened)
    opened.close()
