"""Tiny models of the CLIP family, random weights, and 64 pictures with their words.

Also run as a program: `python tiny_models.py SCRIPT` runs a script of a test in a
process of its own, torchvision importable there too.
"""

from __future__ import annotations

import contextlib
import json
import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageColor

COLOURS = ("red", "green", "blue", "yellow", "black", "white", "purple", "orange")
THINGS = ("cup", "hat", "leaf", "boat", "drum", "fish", "kite", "moon")
"""Each is a stripe of its own colour beside the colour that is named."""
END, START = "<|endoftext|>", "<|startoftext|>"
SIDE = 32


def near(expected: Any) -> Any:
    """Return what compares vectors of unit length with what a model gives itself.

    A GPU computes in half precision: on an H200 numbers were up to .0008 apart.
    """
    import torch

    tolerance = 2e-3 if torch.cuda.is_available() else 1e-5
    return pytest.approx(np.asarray(expected), abs=tolerance)


def write_pairs(folder: Path, n: int = 64) -> list[tuple[str, str]]:
    """Write `n` pictures; return each one's path and text."""
    pairs = []
    rgb = [ImageColor.getrgb(colour) for colour in COLOURS]
    for thing, stripe in zip(THINGS, rgb, strict=True):
        for colour, named in zip(COLOURS, rgb, strict=True):
            pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
            is_stripe = np.arange(SIDE) % 8 < 4  # half of each patch
            pixels[:, is_stripe], pixels[:, ~is_stripe] = stripe, named
            path = folder / f"{colour}-{thing}.png"
            Image.fromarray(pixels).save(path)
            pairs.append((str(path), f"{colour} {thing}"))
    # Every ninth differs in both.
    return pairs if n == 64 else [pairs[9 * i % 64] for i in range(n)]


def write_tokenizer(folder: Path, max_tokens: int) -> int:
    """Write a tokenizer of CLIP's kind that knows few words; return its size."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[str] = []
    for word in (*COLOURS, *THINGS):
        parts = [*word[:-1], f"{word[-1]}</w>"]
        start = parts[0]
        for part in parts[1:]:
            if f"{start} {part}" not in merges:
                merges.append(f"{start} {part}")
                vocabulary.append(start + part)
            start += part
    vocabulary = [*dict.fromkeys(vocabulary), START, END]
    numbers = {token: number for number, token in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(numbers))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": max_tokens})
    )
    return len(vocabulary)


def write_word_pieces(folder: Path, max_tokens: int) -> int:
    """Write a tokenizer of BERT's kind that knows letters and some Chinese."""
    import transformers

    signs = [*"abcdefghijklmnopqrstuvwxyz", *"红色的杯子猫狗在花园里"]
    pieces = [*signs, *(f"##{sign}" for sign in signs), *COLOURS, *THINGS]
    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {piece: number for number, piece in enumerate([*marks, *pieces])}
    transformers.BertTokenizer(
        vocab=vocabulary, model_max_length=max_tokens
    ).save_pretrained(folder)
    return len(vocabulary)


def write_unigrams(folder: Path, max_tokens: int) -> int:
    """Write a tokenizer of SentencePiece's kind that knows letters of four scripts."""
    import transformers

    cyrillic = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
    signs = f"abcdefghijklmnopqrstuvwxyz{cyrillic}红色的杯子猫狗在花园里เมวแ"
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    words = [f"▁{word}" for word in (*COLOURS, *THINGS, "красная", "кошка")]
    pieces = [*marks, "▁", *dict.fromkeys(signs), *words]
    scores = [(piece, -float(len(piece) < 3)) for piece in pieces]
    transformers.XLMRobertaTokenizer(
        vocab=[*scores, ("<mask>", 0.0)], model_max_length=max_tokens
    ).save_pretrained(folder)
    return len(scores) + 1


def write_bytes(folder: Path, max_tokens: int) -> int:
    """Write a tokenizer of RoBERTa's kind that takes all apart to bytes."""
    import transformers
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), "<mask>"]
    transformers.RobertaTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=[],
        model_max_length=max_tokens,
    ).save_pretrained(folder)
    return len(tokens)


def write_model(folder: Path, kind: str = "clip", *, seed: int = 0) -> str:
    """Write a checkpoint as `save_pretrained` does; return its folder.

    Args:
        folder: Where.
        kind: "clip", "siglip", or "chinese_clip", "altclip" and "siglip-multilingual",
            which read other scripts too.
        seed: Of the weights.
    """
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    max_tokens = 16
    write = write_tokenizer
    if kind in ("altclip", "siglip-multilingual"):
        write = write_unigrams
    elif kind == "chinese_clip":
        write = write_word_pieces
    size = write(folder, max_tokens)
    torch.manual_seed(seed)
    tower = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {
        **tower,
        "vocab_size": size,
        "max_position_embeddings": max_tokens,
        "bos_token_id": size - 2,
        "eos_token_id": size - 1,
        "pad_token_id": size - 1,
    }
    vision = {**tower, "image_size": SIDE, "patch_size": 8}
    model: Any
    processor: Any
    if kind == "clip":
        model = transformers.CLIPModel(
            transformers.CLIPConfig(
                text_config=text, vision_config=vision, projection_dim=32
            )
        )
        processor = transformers.CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        )
    elif kind in ("chinese_clip", "altclip"):
        name = {"chinese_clip": "ChineseCLIP", "altclip": "AltCLIP"}[kind]
        more = {"max_position_embeddings": 40, "hidden_dropout_prob": 0.1}
        more["pad_token_id"] = 1 if kind == "altclip" else 0
        config = getattr(transformers, f"{name}Config")(
            text_config={**text, **more, "project_dim": 64},
            vision_config=vision,
            projection_dim=32,
        )
        model = getattr(transformers, f"{name}Model")(config)
        processor = transformers.CLIPImageProcessor(
            size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
        )
    else:
        model = transformers.SiglipModel(
            transformers.SiglipConfig(text_config=text, vision_config=vision)
        )
        # Where the paper starts from; transformers leaves both at 0.
        model.logit_scale.data.fill_(math.log(10))
        model.logit_bias.data.fill_(-10)
        processor = transformers.SiglipImageProcessor(
            size={"height": SIDE, "width": SIDE}
        )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def write_open_clip(folder: Path, kind: str) -> str:
    """Write a "causal", "both-ways", "multilingual" or "roberta" model; its name."""
    import open_clip
    import torch

    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2}
    text |= {"layers": 2}
    if kind == "both-ways":
        text |= {"context_length": 20, "no_causal_mask": True, "pool_type": "last"}
    elif kind != "causal":
        write = write_bytes if kind == "roberta" else write_unigrams
        text = {"context_length": 20, **write_text_tower(folder / "text", write)}
    vision = {"image_size": SIDE, "layers": 2, "width": 32, "head_width": 16}
    config = {
        "embed_dim": 16,
        "vision_cfg": {**vision, "patch_size": 8},
        "text_cfg": text,
    }
    (folder / f"tiny-{kind}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model(f"tiny-{kind}", pretrained_text=False)
    torch.save(model.state_dict(), folder / "weights.pt")
    return f"tiny-{kind}:{folder / 'weights.pt'}"


def write_text_tower(folder: Path, write: Callable[..., int]) -> dict[str, Any]:
    """Write a text tower of transformers; return how open_clip's config names it."""
    import transformers

    transformers.XLMRobertaConfig(
        vocab_size=write(folder, 512),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=40,
        pad_token_id=1,
    ).save_pretrained(folder)
    return {
        "hf_model_name": str(folder),
        "hf_tokenizer_name": str(folder),
        "hf_model_pretrained": False,
        "hf_pooler_type": "mean_pooler",
    }


def make_torchvision_importable() -> Any:
    """Return what must stay alive for torchvision to be importable beside CPU torch.

    PyPI's torchvision is built for CUDA and looks for two operators on import, which it
    does not find beside a CPU build of torch (0.28 and 2.13).
    """
    import torch

    operators = torch.library.Library("torchvision", "DEF")
    with contextlib.suppress(RuntimeError):  # a fitting torchvision has them already
        operators.define("nms(Tensor dets, Tensor scores, float threshold) -> Tensor")
        operators.define("qnms(Tensor dets, Tensor scores, float threshold) -> Tensor")
    return operators


if __name__ == "__main__":
    kept_alive = make_torchvision_importable()
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
