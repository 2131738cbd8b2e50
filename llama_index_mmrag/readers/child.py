"""Child process: reads one file after another, until nobody wants more.

Run by its path, and so without whatever `__main__` its parent has. The arguments are
the most bytes of address space, and the seconds after which a file is given up even if
the parent has ended.
"""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path


def main(memory_bytes: int, file_s: float) -> None:
    """Answer requests from standard input on standard output."""
    from llama_index_mmrag.errors import DocumentUnreadable
    from llama_index_mmrag.readers.frames import receive, send, send_page
    from llama_index_mmrag.readers.how import How

    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # whatever a library prints must not be taken for an answer
        while True:
            try:
                wanted = receive(sys.stdin.buffer)
            except EOFError:
                return
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, file_s)
            try:
                module = import_module(f"llama_index_mmrag.readers.{wanted['module']}")
                page = module.read(Path(wanted["file"]), How(**wanted["how"]))
                send_page(answers, page, _bytes_taken)
            except DocumentUnreadable as error:
                send(answers, {"unreadable": str(error)})
            except MemoryError:
                told = f"it takes more than {memory_bytes >> 20} MB of memory"
                send(answers, {"failed": told})
                return
            except Exception as error:  # noqa: BLE001 - one file must not stop the others
                send(answers, {"failed": repr(error)})
            if hasattr(signal, "setitimer"):
                signal.setitimer(signal.ITIMER_REAL, 0)


def _limit(memory_bytes: int) -> None:
    """Have the system refuse more memory, where it can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        memory_bytes = min(memory_bytes, most)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, most))


def _bytes_taken() -> int:
    """Return the memory that this process has now; 0 where the system does not say.

    Not `ru_maxrss`, which on Linux begins with that of the parent.
    """
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


if __name__ == "__main__":
    # Not this folder, whose files would be taken for the standard library's.
    sys.path[0] = str(Path(__file__).parents[2])
    _limit(int(sys.argv[1]))
    main(int(sys.argv[1]), float(sys.argv[2]))
