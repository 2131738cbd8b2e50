"""A tiny house keeps the layer test's rules; one thing wrong, and its rule says so."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from .support import layers
from .test_layers import FLOORS, HEAVY, KINDS_OF_STORE, LOCKS, NOT_PURE, PURE

TINY = {
    "__init__.py": "from tiny.index.index import open\n",
    "cli/main.py": "import tiny\nfrom tiny.nodes.node import name\n",
    "index/index.py": "def open():\n    from tiny.stores.edge import Edge\n",
    "retrieval/query.py": "from tiny.retrieval.search import ask\n",
    "retrieval/search.py": "from tiny.fusion import RRF\nask = RRF\n",
    "stores/__init__.py": "from tiny.stores.locks import search_lock\n",
    "stores/edge.py": "from tiny.stores.locks import search_lock\n",
    "stores/locks.py": "def search_lock(store):\n    isinstance(store, QdrantLocal)\n",
    "alignment/chain.py": "import numpy as np\nfrom tiny.vectors import rows\n",
    "embeddings/clip.py": "def load():\n    import torch\n",
    "fusion/__init__.py": "from tiny.fusion.rrf import RRF\n",
    "fusion/rrf.py": "import math\nfrom tiny.errors import Wrong\nRRF = math.e\n",
    "nodes/node.py": "from pathlib import Path\nname = Path.name\n",
    "checks.py": "from tiny.vectors import rows\n",
    "provenance.py": "from tiny.errors import Wrong\n",
    "vectors.py": "from tiny.errors import Wrong\nrows = Wrong\n",
    "errors.py": "class Wrong(ValueError): ...\n",
}

RULES: dict[str, Callable[[Path], list[str]]] = {
    "down": lambda tiny: layers.imports_that_do_not_point_down(tiny, FLOORS),
    "circles": layers.circles,
    "kinds": lambda tiny: layers.questions_about_kinds(
        tiny, KINDS_OF_STORE, LOCKS, but_in="stores"
    ),
    "pure": lambda tiny: layers.impure_imports(tiny, PURE, NOT_PURE),
    "heavy": lambda tiny: layers.imports_at_once(tiny, HEAVY),
}


def built(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "tiny"


def test_a_house_in_order_breaks_no_rule(tmp_path):
    tiny = built(tmp_path, TINY)
    assert {name: rule(tiny) for name, rule in RULES.items()} == dict.fromkeys(
        RULES, []
    )


FOR_TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


@pytest.mark.parametrize(
    ("files", "rule", "said"),
    [
        ({"nodes/node.py": "from tiny.retrieval.query import Query"}, "down",
         "nodes.node imports retrieval.query"),
        ({"nodes/node.py": "def f():\n    import tiny.index.index"}, "down",
         "nodes.node imports index.index"),
        ({"nodes/node.py": FOR_TYPES + "from tiny.stores import edge"}, "down",
         "nodes.node imports stores.edge"),
        ({"nodes/node.py": "from tiny.fusion import RRF"}, "down",
         "nodes.node imports fusion"),
        ({"retrieval/query.py": "from tiny import open"}, "down",
         "retrieval.query imports __init__"),
        ({"provenance.py": "from tiny.checks import rows"}, "down",
         "provenance imports checks"),
        ({"nodes/node.py": "from ..retrieval import query"}, "down",
         "nodes.node imports ..retrieval.query"),
        ({"retrieval/search.py": FOR_TYPES + "from tiny.retrieval.rank import rank",
          "retrieval/rank.py": "def f():\n    from tiny.retrieval import query"},
         "circles", ".*retrieval.rank imports retrieval.query.*"),
        ({"retrieval/query.py": "isinstance(s, (int, QdrantLocal))"}, "kinds",
         r"retrieval.query: isinstance\(s, \(int, QdrantLocal\)\)"),
        ({"retrieval/query.py": "isinstance(a.store, edge.QdrantEdgeVectorStore)"},
         "kinds", r"retrieval.query: .*QdrantEdgeVectorStore\)"),
        ({"retrieval/query.py": "def f():\n    from tiny.stores import search_lock"},
         "kinds", "retrieval.query: import tiny.stores.search_lock"),
        ({"fusion/rrf.py": "def f():\n    import threading"}, "pure",
         "fusion.rrf imports threading"),
        ({"alignment/chain.py": "import scipy.linalg"}, "pure",
         "alignment.chain imports scipy.linalg"),
        ({"alignment/chain.py": "from tiny.embeddings import clip"}, "pure",
         "alignment.chain imports embeddings.clip"),
        ({"embeddings/clip.py": "class Clip:\n    import torch.nn"}, "heavy",
         "embeddings.clip imports torch.nn"),
    ],
)  # fmt: skip
def test_one_thing_wrong_breaks_its_rule_and_no_other(tmp_path, files, rule, said):
    tiny = built(tmp_path, TINY | files)
    broken = {name: found for name in RULES if (found := RULES[name](tiny))}
    assert list(broken) == [rule]
    assert len(broken[rule]) == 1
    assert re.fullmatch(said, broken[rule][0])
