"""Child process: read all points of the shard whose folder is the argument.

A damaged file may make the engine ask for more memory than there is, or read beyond a
file's end: both end the process that it is in. Run by path and by itself, so that the
child imports nothing but the engine.
"""

import sys

import qdrant_edge as qe


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
    opened = qe.EdgeShard.load(sys.argv[1])
    read_all(opened)
    opened.close()
