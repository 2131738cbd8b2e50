from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from llama_index_mmrag.embeddings.efficientnet_lite import lite0_graph, pixels
from llama_index_mmrag.embeddings.picture_tower import PictureTower
from llama_index_mmrag.embeddings.weights import EFFICIENTNET_LITE0, read_weights


def test_pixels_are_channels_first_and_scaled_by_127_and_128():
    picture = Image.new("RGB", (300, 100), (255, 127, 0))
    prepared = pixels(picture)
    assert (prepared.shape, prepared.dtype) == ((3, 224, 224), np.float32)
    assert prepared[0] == pytest.approx(np.full((224, 224), (255 - 127) / 128))
    assert prepared[1] == pytest.approx(np.zeros((224, 224)))
    assert prepared[2] == pytest.approx(np.full((224, 224), -127 / 128))


def test_pixels_squash_so_that_edges_stay():
    wide = Image.new("RGB", (896, 224), "black")
    wide.paste((255, 255, 255), (0, 0, 40, 224))
    assert pixels(wide)[0, 112, 0] == pytest.approx(1.0)


def test_missing_parameter_is_named():
    with pytest.raises(KeyError, match=r"_conv_stem\.weight"):
        lite0_graph({})


def test_onnx_graph_computes_what_torch_computes(encoder, photographs):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    functional = torch.nn.functional
    data = read_weights(EFFICIENTNET_LITE0, needed_for="This test")
    state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # kernel, stride, expansion, input and output channels of the 16 blocks: Table 1 of
    # the EfficientNet paper, repeated as it says.
    stages = [
        (1, 3, 1, 1, 32, 16),
        (2, 3, 2, 6, 16, 24),
        (2, 5, 2, 6, 24, 40),
        (3, 3, 2, 6, 40, 80),
        (3, 5, 1, 6, 80, 112),
        (4, 5, 2, 6, 112, 192),
        (1, 3, 1, 6, 192, 320),
    ]

    def conv(x, name, stride=1, groups=1):
        weight = state[f"{name}.weight"]
        kernel = weight.shape[-1]
        total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
        before, after = total // 2, total - total // 2
        x = functional.pad(x, (before, after, before, after))
        return functional.conv2d(x, weight, stride=stride, groups=groups)

    def norm(x, name):
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(
            x, *(state[f"{name}.{p}"] for p in parts), eps=1e-3
        )

    def forward(x):
        x = functional.relu6(norm(conv(x, "_conv_stem", 2), "_bn0"))
        index = 0
        for repeats, kernel, first_stride, expansion, _, n_out in stages:
            for repeat in range(repeats):
                block = f"_blocks.{index}."
                stride = first_stride if repeat == 0 else 1
                before, y = x, x
                if expansion > 1:
                    y = conv(y, f"{block}_expand_conv")
                    y = functional.relu6(norm(y, f"{block}_bn0"))
                assert state[f"{block}_depthwise_conv.weight"].shape[-1] == kernel
                y = conv(y, f"{block}_depthwise_conv", stride, y.shape[1])
                y = functional.relu6(norm(y, f"{block}_bn1"))
                y = norm(conv(y, f"{block}_project_conv"), f"{block}_bn2")
                x = before + y if repeat > 0 else y
                assert x.shape[1] == n_out
                index += 1
        x = functional.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))
        return x, functional.linear(x, state["_fc.weight"], state["_fc.bias"])

    pictures = [Image.open(path).convert("RGB") for path in photographs.values()]
    batch = torch.from_numpy(np.stack([pixels(picture) for picture in pictures]))
    with torch.no_grad():
        features, logits = forward(batch)
    seen = PictureTower(needed_for="This test").features(pictures, n_threads=2)
    assert seen.features == pytest.approx(features.numpy(), abs=1e-4)
    assert seen.logits == pytest.approx(logits.numpy(), abs=1e-4)
