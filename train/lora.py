"""Low-rank adapters (LoRA): their settings in a recipe, how a model gets one, and the way back to a plain model.

Which model gets one, and what is trained beside it, is the caller's. PEFT does the work.
"""

from __future__ import annotations

from typing import Annotated

import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedModel

from train.ranges import Count


class Lora(BaseModel):
    """What PEFT's LoRA gets (Hu et al. 2021, arXiv 2106.09685); in phase 1 the eleven bin rows are trained beside it.

    Example:
        >>> Lora(r=8).alpha
        32
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    r: Count = 16
    alpha: Count = 32
    dropout: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.0
    target_modules: str | tuple[str, ...] = "all-linear"


def with_lora(model: PreTrainedModel, lora: Lora, *, seed: int, beside: tuple[str, ...] = ()) -> PeftModel:
    """Return the model under a LoRA whose weights are float32.

    Args:
        model: it becomes the frozen base.
        lora: rank, scale and layers.
        seed: of the matrices that start at random.
        beside: names of modules that are trained and saved with the LoRA.
    """
    modules = lora.target_modules if isinstance(lora.target_modules, str) else list(lora.target_modules)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=modules,
        modules_to_save=list(beside) or None,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(seed)
    return get_peft_model(model, config)


def merge_into_plain(model: PeftModel) -> PreTrainedModel:
    """Return a LoRA and its base as one float32 model of ordinary modules, which scores as the two do.

    A quantized base is dequantized first: those are the weights that the LoRA was trained on, and whose rounding it has
    partly learned to undo. PEFT's own merge would round the sum to the base's four bits again and lose much of the
    LoRA; merging into the weights from before quantization would give a model that was never measured. A bfloat16 base
    becomes float32 for the sum, so that it is rounded once, when it is written.

    Args:
        model: a LoRA, with trainable tokens or without; it is used up.

    Example:
        >>> merge_into_plain(trainer.model).to(torch.bfloat16).save_pretrained("model")  # doctest: +SKIP
    """
    base = model.get_base_model()
    if getattr(base.config, "quantization_config", None) is None:
        return model.float().merge_and_unload()
    config = model.peft_config["default"]
    learned = get_peft_model_state_dict(model, save_embedding_layers=False)
    plain = model.unload().dequantize(dtype=torch.float32)
    again = get_peft_model(plain, config)
    set_peft_model_state_dict(again, learned)
    return again.merge_and_unload()
