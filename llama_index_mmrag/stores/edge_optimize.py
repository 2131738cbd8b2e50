"""Child process: build the search graph of the shard whose folder is the argument.

Run by path and by itself, so that the child imports nothing but the engine.
"""

import sys

from qdrant_edge import EdgeShard

if __name__ == "__main__":
    shard = EdgeShard.load(sys.argv[1])
    shard.optimize()
    # Replaced segments stay on disk, and are searched, until a flush.
    shard.flush()
    shard.close()
