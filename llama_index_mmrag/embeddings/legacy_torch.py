"""Torch's legacy checkpoint format, read without torch and without running its pickles.

The file is five pickles one after another (magic number, protocol version, system
information, the state dict, the list of storage keys) and then, for each key, the
number of elements as int64 and the raw values. Layout from `torch/serialization.py`
(`_legacy_load`) of torch 2.13.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001

_STORAGE_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


@dataclass(frozen=True, slots=True)
class _Storage:
    """A flat run of values in the file, named before it is read."""

    key: str
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class _View:
    """A tensor: where it starts in its storage, its shape, its strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_state_dict(data: bytes) -> dict[str, NDArray[Any]]:
    """Return a checkpoint's tensors by name, as contiguous arrays.

    Only what a plain state dict needs is unpickled: an ordered dict, tensors, float
    and long storages. Anything else in the file is refused, not executed.

    Args:
        data: The whole file, as `torch.save(..., _use_new_zipfile_serialization=False)`
            writes it.

    Raises:
        ValueError: The file is of another format, or a tensor reaches outside of its
            storage.
        pickle.UnpicklingError: The file names a class that a state dict does not need.
    """
    try:
        return _state_dict(BytesIO(data))
    except (ValueError, pickle.UnpicklingError):
        raise
    except Exception as error:  # whatever unpickling what is none comes to
        raise ValueError(
            f"The checkpoint is damaged ({type(error).__name__}: {error})."
        ) from error


def _state_dict(stream: BytesIO) -> dict[str, NDArray[Any]]:
    magic = _load(stream)
    if magic != MAGIC_NUMBER:
        raise ValueError(
            f"Read {magic!r} at the start, expected torch's magic number "
            f"{MAGIC_NUMBER:#x}: this is no checkpoint in the legacy format."
        )
    version = _load(stream)
    if version != PROTOCOL_VERSION:
        raise ValueError(
            f"Protocol version is {version!r}, expected {PROTOCOL_VERSION}."
        )
    if not _load(stream).get("little_endian", True):
        raise ValueError(
            "The checkpoint is big-endian; only little-endian ones are read."
        )
    views = _load(stream)
    values = _read_storages(stream, views, keys=_load(stream))
    return {name: _resolve(name, view, values) for name, view in views.items()}


def _read_storages(
    stream: BytesIO, views: dict[str, _View], *, keys: list[str]
) -> dict[str, NDArray[Any]]:
    dtypes = {view.storage.key: view.storage.dtype for view in views.values()}
    values: dict[str, NDArray[Any]] = {}
    for key in keys:
        n_elements = int.from_bytes(stream.read(8), "little", signed=True)
        dtype = dtypes[key]
        raw = stream.read(n_elements * dtype.itemsize)
        if n_elements < 0 or len(raw) != n_elements * dtype.itemsize:
            raise ValueError(
                f"The file ends inside of storage {key!r}: it is truncated."
            )
        values[key] = np.frombuffer(raw, dtype=dtype)
    return values


def _resolve(name: str, view: _View, values: dict[str, NDArray[Any]]) -> NDArray[Any]:
    storage = values[view.storage.key]
    extent = sum(
        (n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True)
    )
    in_bounds = (
        min((view.offset, *view.shape, *view.strides)) >= 0
        and view.offset + extent < storage.size
        # A stride of 0 would make terabytes of one number.
        and math.prod(view.shape) <= storage.size
    )
    if not in_bounds:
        raise ValueError(
            f"Tensor {name!r} reaches outside of its storage: the file is damaged."
        )
    # Weights exported from TensorFlow are transposed views: reading the storage in
    # order would give the right shapes and the wrong values, without any error.
    strided = np.lib.stride_tricks.as_strided(
        storage[view.offset :],
        shape=view.shape,
        strides=tuple(stride * storage.itemsize for stride in view.strides),
        writeable=False,
    )
    return np.ascontiguousarray(strided).reshape(view.shape)


def _load(stream: BytesIO) -> Any:
    return _StateDictUnpickler(stream).load()


class _StateDictUnpickler(pickle.Unpickler):
    """Unpickles state dicts and nothing else."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module_name, global_name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _View(
                storage, offset, tuple(shape), tuple(strides)
            )
        if module_name == "torch" and global_name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[global_name]
        raise pickle.UnpicklingError(
            f"The checkpoint asks for {module_name}.{global_name}; only ordered dicts "
            f"and float or long tensors are read. Use the file the package ships."
        )

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, *_ = pid  # kind, type, key, device, number of elements, view
        return _Storage(key=key, dtype=dtype)
