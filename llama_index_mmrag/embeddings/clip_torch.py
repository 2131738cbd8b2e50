"""What the CLIP backends share of torch: device, precision, and a model's identity."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from llama_index_mmrag.errors import InvalidSetting
from llama_index_mmrag.vectors import Vectors

if TYPE_CHECKING:
    import torch

DTypeName = Literal["auto", "float32", "bfloat16", "float16"]


def first_line(error: BaseException) -> str:
    """Return an error's kind and the beginning of what it says."""
    said = str(error).strip().split("\n", maxsplit=1)[0][:200]
    return f"{type(error).__name__}: {said}"


def choose_device(name: str) -> torch.device:
    """Return the device of this name; "auto" is CUDA where there is one, else the CPU.

    Raises:
        InvalidSetting: No device of this name can be used.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InvalidSetting(
            f"The device {name!r} cannot be used: {first_line(error)}. Expected "
            f"'auto', 'cpu', 'cuda', 'cuda:0' or another device of this torch."
        ) from error
    return device


def choose_dtype(
    name: DTypeName, device: torch.device, *, learns: bool = False
) -> torch.dtype:
    """Return the precision of this name.

    "auto" is float32 on a CPU and float16 elsewhere. For what learns it is lower on
    CUDA alone, and there bfloat16, which does not overflow, where the GPU has it.
    """
    import torch

    if name == "auto":
        name = "float32" if device.type == "cpu" else "float16"
        if learns and device.type != "cuda":
            name = "float32"
        elif learns and torch.cuda.is_bf16_supported():
            name = "bfloat16"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def splits_by_thread(device: torch.device) -> bool:
    """Return whether several threads may compute at once, each on one CPU."""
    import torch

    # Other builds count threads for the whole process.
    openmp: bool = torch.backends.openmp.is_available()  # type: ignore[no-untyped-call]
    return device.type == "cpu" and openmp


@contextlib.contextmanager
def single_threads(n: int) -> Iterator[ThreadPoolExecutor]:
    """Give n threads in which torch computes without threads of its own.

    Torch splits each operation over all CPUs, and waits for the slowest part of each:
    whole batches by thread wait for nothing. After an error what has not begun is
    dropped.
    """
    import torch

    everywhere = torch.get_num_threads()
    # The caller is the last one, and starts nothing before all have begun.
    begun = Barrier(n + 1)

    def begin() -> None:
        # For this thread; but also for threads that do not exist yet.
        torch.set_num_threads(1)
        begun.wait()

    with ThreadPoolExecutor(n, thread_name_prefix="encode") as threads:
        try:
            for _ in range(n):
                threads.submit(begin)
            begun.wait()
            torch.set_num_threads(everywhere)
            yield threads
        except BaseException:
            begun.abort()  # a thread that could not be started is waited for by others
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def weights_sha8(model: torch.nn.Module, *recipe: object) -> str:
    """Return 8 hexadecimal digits that tell a model's vectors from others'.

    SHA-256 over the trained weights by name, as float32, and over `recipe`: whatever
    else moves the vectors. The file's format, name and place do not matter.
    """
    import torch

    digest = hashlib.sha256(repr(recipe).encode())
    for name, tensor in sorted(model.named_parameters()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        values = tensor.detach().to("cpu", torch.float32).contiguous()
        digest.update(values.numpy().reshape(-1).data)
    return digest.hexdigest()[:8]


def lower_precision(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Store the weights of matrix products in `dtype`; sums and norms stay float32.

    `computing` does the rest. Stored once, the weights are not converted at each call.
    """
    import torch

    if dtype == torch.float32:
        return
    for part in model.modules():
        if isinstance(part, torch.nn.Linear | torch.nn.MultiheadAttention):
            part.to(dtype)


@contextlib.contextmanager
def computing(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Compute without gradients, matrix products in `dtype`."""
    import torch

    lower = dtype != torch.float32
    with torch.inference_mode(), torch.autocast(device.type, dtype, enabled=lower):
        yield


def to_numpy(vectors: torch.Tensor) -> Vectors:
    """Return a tensor's values as float32."""
    array: Vectors = vectors.float().cpu().numpy().astype(np.float32, copy=False)
    return array


def padded(
    rows: Any, *, device: torch.device, fill: int = 0, width: int | None = None
) -> torch.Tensor:
    """Return rows of token ids as one matrix as wide as the longest, or as `width`."""
    import torch

    matrix = np.full((len(rows), width or max(map(len, rows))), fill, dtype=np.int64)
    for row, ids in enumerate(rows):
        matrix[row, : len(ids)] = ids
    return torch.from_numpy(matrix).to(device)
