"""Child process: build the search graph of the shard whose folder is the argument.

Run by path and by itself, so that the child imports nothing but the engine.
"""

import ctypes
import signal
import sys

from qdrant_edge import EdgeShard

_PR_SET_PDEATHSIG = 1  # Linux's prctl(2)

if __name__ == "__main__":
    if sys.platform == "linux":
        # Its parent killed, it would write on into what the next opening removes.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    shard = EdgeShard.load(sys.argv[1])
    shard.optimize()
    # Replaced segments stay on disk, and are searched, until a flush.
    shard.flush()
    shard.close()
