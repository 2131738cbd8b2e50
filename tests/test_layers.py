"""The house: its floors, and what no file in it does.

Every import points down, those in functions and for type checkers included; rooms of
one floor do not know each other. `test_layers_are_held.py` shows that each rule bites.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import llama_index_mmrag

from .support import layers

PACKAGE = Path(llama_index_mmrag.__file__).parent

FLOORS = [
    {"cli"},
    {"__init__"},  # so that only the command line imports the public names from there
    {"index"},
    {"agents"},
    {"answers"},
    {"ingestion", "compression"},
    {"retrieval"},
    {"stores", "alignment"},
    {"embeddings", "lettering"},
    {"concurrency", "report"},
    {"fusion", "citations", "events", "nodes"},
    # Files at the top: six with __init__, and a seventh belongs into a folder.
    {"composition"},
    {"readers"},
    {"checks", "provenance", "files"},
    {"vectors"},
    {"errors"},
]

PURE = re.compile(
    r"errors|vectors|provenance|composition|(checks|fusion|citations)(\..+)?"
    r"|alignment\.(chain|diagnose|fitting|found|pairs|recall|running_mean|settings"
    r"|transforms)|compression\.recall|embeddings\.conse|report\.plain"
)
"""Numpy, the standard library and pure code alone, and of these none of `NOT_PURE`."""

NOT_PURE = {
    "asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "shutil",
    "socket", "subprocess", "tempfile", "threading", "urllib",
}  # fmt: skip

HEAVY = {
    "av", "clip", "cv2", "onnx", "onnxruntime", "openai", "peft", "pypdf",
    "ranx", "rapidocr", "skimage", "tokenizers", "torch", "torchvision", "transformers",
}  # fmt: skip
"""Optional, or slow to import: only in the functions that use them."""

KINDS_OF_STORE = {
    "QdrantEdgeVectorStore", "QdrantLocal", "QdrantVectorStore", "SimpleVectorStore",
}  # fmt: skip
LOCKS = {"has_async_client", "search_lock"}
"""What a kind of store can do is known in stores/ alone, behind `collection.py`."""

MOST_LINES = 350
LONG: dict[str, str] = {}
"""Files of more than `MOST_LINES`, each with its reason."""

WATCHED = f"""
import json, sys
seen = []  # urllib3 binds to ::1 on import to see whether there is IPv6: left out
def watch(event, args):
    if event in {{"socket.connect", "socket.getaddrinfo",
                 "socket.sendto", "subprocess.Popen", "os.system"}}:
        seen.append(event)
sys.addaudithook(watch)
from llama_index_mmrag import *
print(json.dumps([seen, sorted({HEAVY!r} & set(sys.modules))]))
"""


def test_imports_point_down():
    assert not layers.imports_that_do_not_point_down(PACKAGE, FLOORS)


def test_no_files_import_each_other_in_a_circle():
    assert not layers.circles(PACKAGE)


def test_every_room_is_in_the_table_and_six_of_them_are_files():
    assert {layers.room_of(name) for name in layers.trees(PACKAGE)} == set.union(
        *FLOORS
    )
    assert len(list(PACKAGE.glob("*.py"))) <= 6


def test_only_stores_ask_what_kind_a_store_is():
    assert not layers.questions_about_kinds(
        PACKAGE, KINDS_OF_STORE, LOCKS, but_in="stores"
    )


def test_pure_code_is_numpy_and_the_standard_library():
    assert not layers.impure_imports(PACKAGE, PURE, NOT_PURE)


def test_heavy_packages_are_imported_where_they_are_used():
    assert not layers.imports_at_once(PACKAGE, HEAVY)


def test_importing_what_is_public_connects_to_nothing_and_loads_no_model_library():
    done = subprocess.run(
        [sys.executable, "-c", WATCHED], capture_output=True, check=True, timeout=120
    )
    assert json.loads(done.stdout) == [[], []]
    assert done.stderr == b""


def test_files_are_short_or_have_a_reason_and_name_no_folder_of_a_machine():
    texts = {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
    }
    long = {name for name, text in texts.items() if text.count("\n") > MOST_LINES}
    assert long == set(LONG), "list a long file with its reason, or unlist a short one"
    named = [
        n for n, t in texts.items() if re.search(r"['\"]/(work|root|home|tmp)/", t)
    ]
    assert not named
