"""EfficientNet-Lite0: an ImageNet classifier as an ONNX graph, built in memory.

Tan & Le, https://arxiv.org/abs/1905.11946; the Lite variants drop squeeze-and-excite
and use ReLU6: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from llama_index_mmrag.vectors import Vectors

IMAGE_SIDE = 224
"""Side of the square input in pixels."""

N_FEATURES = 1280
N_CLASSES = 1000

# TensorFlow's batch normalisation epsilon for these weights; PyTorch's own is 1e-5.
_BN_EPSILON = 1e-3

# Which of the 16 blocks halve the resolution: the first of stages 2, 3, 4 and 6.
_STRIDED_BLOCKS = frozenset({1, 3, 5, 11})
_N_BLOCKS = 16

# Opset 17 and its IR version: read by every onnxruntime since 1.13, while the newest
# onnx package would write a version that older runtimes refuse.
_OPSET = 17
_IR_VERSION = 8


def pixels(picture: Image.Image) -> Vectors:
    """Return a picture as network input, `(3, 224, 224)` in about [-1, 1].

    Squashed, not cropped, so that nothing at the edges is lost. (x - 127) / 128 is the
    scaling the weights were trained with; the ImageNet mean and deviation that the
    weights' package recommends cost 9 points of top-1 accuracy.

    Args:
        picture: RGB, any size.
    """
    squashed = picture.resize((IMAGE_SIDE, IMAGE_SIDE), Image.Resampling.BICUBIC)
    channels_last = np.asarray(squashed, dtype=np.float32)  # (224, 224, 3)
    return np.ascontiguousarray((channels_last.transpose(2, 0, 1) - 127.0) / 128.0)


def lite0_graph(state: Mapping[str, NDArray[Any]]) -> bytes:
    """Return EfficientNet-Lite0 as a serialised ONNX model.

    Input `pixels` is `(n, 3, 224, 224)`; outputs are `features`, the pooled
    `(n, 1280)`, and `logits`, `(n, 1000)`. Batch normalisation is folded into the
    convolutions.

    Args:
        state: The PyTorch state dict, by parameter name.

    Raises:
        KeyError: A parameter is missing.
    """
    from onnx import TensorProto, helper

    graph = _Graph(state)
    x = graph.conv("pixels", "_conv_stem", "_bn0", stride=2, relu6=True)
    for index in range(_N_BLOCKS):
        x = graph.block(x, index, stride=2 if index in _STRIDED_BLOCKS else 1)
    x = graph.conv(x, "_conv_head", "_bn1", relu6=True)
    x = graph.add("GlobalAveragePool", [x])
    graph.add("Flatten", [x], output="features")
    weight = graph.constant("_fc.weight", state["_fc.weight"])
    bias = graph.constant("_fc.bias", state["_fc.bias"])
    graph.add("Gemm", ["features", weight, bias], output="logits", transB=1)
    side = IMAGE_SIDE
    shapes: dict[str, list[str | int | None]] = {
        "pixels": ["n", 3, side, side],
        "features": ["n", N_FEATURES],
        "logits": ["n", N_CLASSES],
    }
    ports = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    }
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet_lite0",
            [ports["pixels"]],
            [ports["features"], ports["logits"]],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR_VERSION,
    )
    return bytes(model.SerializeToString())


class _Graph:
    """Nodes and constants of the graph as it grows."""

    def __init__(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._state = state
        self._bounds = [
            self.constant("relu6_min", np.float32(0)),
            self.constant("relu6_max", np.float32(6)),
        ]

    def add(
        self,
        kind: str,
        inputs: list[str],
        *,
        output: str | None = None,
        **settings: Any,
    ) -> str:
        """Append a node and return its output's name."""
        from onnx import helper

        name = output or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **settings))
        return name

    def constant(self, name: str, value: NDArray[Any] | np.float32) -> str:
        """Add a constant tensor and return its name."""
        from onnx import numpy_helper

        self.constants.append(
            numpy_helper.from_array(np.asarray(value, dtype=np.float32), name)
        )
        return name

    def conv(
        self, x: str, conv: str, bn: str, *, stride: int = 1, relu6: bool = False
    ) -> str:
        """Append convolution, folded normalisation and, if asked, ReLU6.

        w' = w s and b' = beta - mean s, with s = gamma / sqrt(variance + eps).
        """
        weight = self._state[f"{conv}.weight"]
        scale = self._state[f"{bn}.weight"] / np.sqrt(
            self._state[f"{bn}.running_var"] + _BN_EPSILON
        )
        bias = self._state[f"{bn}.bias"] - self._state[f"{bn}.running_mean"] * scale
        inputs = [
            x,
            self.constant(f"{conv}.weight", weight * scale[:, None, None, None]),
            self.constant(f"{conv}.bias", bias),
        ]
        is_depthwise = conv.endswith("_depthwise_conv")
        y = self.add(
            "Conv",
            inputs,
            # TensorFlow's SAME: the odd pixel of padding goes to the right and bottom.
            auto_pad="SAME_UPPER",
            strides=[stride, stride],
            group=weight.shape[0] if is_depthwise else 1,
        )
        return self.add("Clip", [y, *self._bounds]) if relu6 else y

    def block(self, x: str, index: int, *, stride: int) -> str:
        """Append an inverted residual block: expand, filter depthwise, project."""
        prefix = f"_blocks.{index}."
        y, n_in = x, self._state[f"{prefix}_depthwise_conv.weight"].shape[0]
        if f"{prefix}_expand_conv.weight" in self._state:
            n_in = self._state[f"{prefix}_expand_conv.weight"].shape[1]
            y = self.conv(y, f"{prefix}_expand_conv", f"{prefix}_bn0", relu6=True)
        y = self.conv(
            y, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride=stride, relu6=True
        )
        y = self.conv(y, f"{prefix}_project_conv", f"{prefix}_bn2")
        n_out = self._state[f"{prefix}_project_conv.weight"].shape[0]
        return self.add("Add", [x, y]) if stride == 1 and n_in == n_out else y
