"""Which package runs a model, and what is said where it is not installed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from llama_index_mmrag.embeddings.clip_loading import choose_backend


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("ViT-B/32", "openai"),
        ("ViT-L/14@336px", "openai"),
        ("RN50", "openai"),
        ("openai/clip-vit-base-patch32", "transformers"),
        ("google/siglip-base-patch16-224", "transformers"),
        ("ViT-B-32:laion2b_s34b_b79k", "open_clip"),
        ("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "open_clip"),
    ],
)
def test_backend_follows_from_the_name(name, backend):
    assert choose_backend(name) == backend


def test_backend_follows_from_what_a_path_is(tmp_path):
    (tmp_path / "model.pt").touch()
    assert choose_backend(str(tmp_path / "model.pt")) == "openai"
    assert choose_backend(str(tmp_path)) == "transformers"
    (tmp_path / "open_clip_config.json").touch()
    assert choose_backend(str(tmp_path)) == "open_clip"
    assert choose_backend(f"ViT-B-32:{tmp_path / 'model.pt'}") == "open_clip"


MODELS = {
    "torch": ("ViT-B/32", "clip"),
    "transformers": ("owner/model", "transformers"),
    "open_clip": ("ViT-B-32:tag", "open-clip"),
}

PROGRAM = f"""
import json, sys
from llama_index_mmrag import BatchedClipEmbedding
from llama_index_mmrag.errors import MissingExtra
said = {{}}
for package, (model, _) in {MODELS!r}.items():
    sys.modules[package] = None  # as if it were not installed
    try:
        BatchedClipEmbedding(model_name=model).get_text_embedding("cat")
    except MissingExtra as error:
        said[package] = str(error)
    del sys.modules[package]
sys.stdout.write(json.dumps(said))
"""


def test_missing_package_is_named_with_its_extra():
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True,
        timeout=120,
    )  # fmt: skip
    assert json.loads(done.stdout) == {
        package: f"BatchedClipEmbedding needs the package {package!r}, which is not "
        f'installed. Install it with: pip install "llama-index-mmrag[{extra}]" (in a '
        f'clone: pip install ".[{extra}]")'
        for package, (_, extra) in MODELS.items()
    }
