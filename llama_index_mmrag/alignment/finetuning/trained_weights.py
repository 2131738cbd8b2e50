"""Which weights of both encoders are trained: low-rank additions, last blocks, all."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from llama_index_mmrag.alignment.finetuning.settings import FinetuneSettings
from llama_index_mmrag.checks import needs

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import AdamW

# The matrices of both towers' blocks and what projects from them. Not the
# nn.MultiheadAttention of SigLIP's pooling: it reads its matrices past any addition.
_TARGETS = (
    r"(text_model|vision_model)\.encoder\.layers\.\d+\."
    r"(self_attn\.(q_proj|k_proj|v_proj|out_proj)|mlp\.(fc1|fc2))"
    r"|vision_model\.head\.mlp\.(fc1|fc2)"
    r"|text_model\.head|visual_projection|text_projection"
)

_LAST = (
    "visual_projection", "text_projection", "text_model.head", "vision_model.head",
    "text_model.final_layer_norm", "vision_model.post_layernorm",
)  # fmt: skip
"""What comes after the blocks, in CLIP or in SigLIP."""

_TEMPERATURES = ("logit_scale", "logit_bias")


def choose_trained(model: Any, settings: FinetuneSettings) -> Any:
    """Let the chosen weights of a model learn, freeze the others; change it in place.

    Low-rank additions start at zero: the model's vectors are as before.

    Args:
        model: A `CLIPModel` or `SiglipModel`.
        settings: The method, and its size.

    Returns:
        The `PeftModel` around the model with "lora", else None.

    Raises:
        MissingExtra: peft is not installed.
    """
    wrapped = None
    if settings.method == "lora":
        peft = needs("peft", extra="finetune", for_="method='lora'")
        config = peft.LoraConfig(
            r=settings.lora_rank,
            lora_alpha=settings.lora_alpha,
            lora_dropout=settings.lora_dropout,
            target_modules=_TARGETS,
        )
        with warnings.catch_warnings():
            # peft 0.21.2 asks transformers 5.23 by a name that goes with version 6.
            warnings.filterwarnings("ignore", message="`is_gradient_checkpointing`")
            wrapped = peft.get_peft_model(model, config)
    else:
        model.requires_grad_(settings.method == "full")
    if settings.method == "last_blocks":
        for tower in (model.text_model, model.vision_model):
            tower.encoder.layers[-settings.n_blocks :].requires_grad_(True)
        for name, module in model.named_modules():
            if name in _LAST:
                module.requires_grad_(True)
    for name in _TEMPERATURES:
        if hasattr(model, name):
            getattr(model, name).requires_grad_(True)
    return wrapped


def new_optimizer(trained: dict[str, Tensor], settings: FinetuneSettings) -> AdamW:
    """Return AdamW over named weights, `head.` ones with the rate of the head.

    Decay pulls on matrices alone. Each group's highest rate is its `peak`.
    """
    import torch

    rates = {False: settings.encoder_learning_rate, True: settings.head_learning_rate}
    groups = [
        {"params": weights, "weight_decay": decay, "peak": peak, "lr": 0.0}
        for of_head, peak in rates.items()
        for is_matrix, decay in ((True, settings.weight_decay), (False, 0.0))
        if (
            weights := [
                weight
                for name, weight in trained.items()
                if name.startswith("head.") == of_head
                and (weight.ndim >= 2) == is_matrix
            ]
        )
    ]
    return torch.optim.AdamW(groups)
