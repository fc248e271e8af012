"""What training starts from: a model that has the eleven bin tokens.

`open_base` opens the base that a recipe asks for: quantized or not, with fewer layers or all, its bin rows warm or not.
`open_checkpoint` opens what is already a reranker, as it scores. A base from nothing is `nano`'s, one in a GGUF file
`gguf_bases`', one with a short name `smollm2`'s; which layers go is `prune`'s, what warm rows are `warm_start`'s;
training itself is elsewhere.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import torch
from peft import prepare_model_for_kbit_training
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from gen_rerank.bins import BIN_TOKENS
from gen_rerank.checkpoints.bitsandbytes import LoadedAs, limit_packed_kernel, loading_settings
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_json, read_tokenizer, resolve_folder
from gen_rerank.errors import BadInput
from gen_rerank.scorers.transformers import load_model
from train.defaults import fast_dtype
from train.gguf_bases import SUFFIX, FoundBase, gguf_base
from train.prune import keep_lowest, keep_most_important
from train.recipe import Recipe
from train.smollm2 import SMOLLM2, smollm2_base
from train.warm_start import start_between

logger = logging.getLogger(__name__)


def open_base(
    recipe: Recipe, name: str | Path, texts: Sequence[str]
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return the model that a recipe trains, and its tokenizer, both with the eleven bin tokens.

    In this order: load (a base under a LoRA quantized or in this machine's `fast_dtype`, one that is trained itself in
    the recipe's `weights`), leave out layers, add the bin tokens, start their rows. A base that already has the bin
    tokens keeps its rows.

    Args:
        recipe: its `lora`, `quantize_base`, `weights`, which layers it keeps, and `warm_start` are read.
        name: as for `find_base`; usually `recipe.base`.
        texts: of the catalog, by which the layers' importance is measured; read only if the recipe has `keep_layers`.

    Raises:
        BadInput: no such base, a quantized one, too few layers, no such yes or no token, or bitsandbytes cannot run
            here.

    Example:
        >>> model, tokenizer = open_base(Recipe.load("0.6b"), "Qwen/Qwen3-Reranker-0.6B", [])  # doctest: +SKIP
    """
    folder = base_folder(name)
    quantization = read_json(folder / "config.json").get("quantization_config") or {}
    if quantization.get("quant_method") == "compressed-tensors":
        raise BadInput(
            f"{name}: quantized, so that its layers do not learn; train the checkpoint that it was made from"
        )
    tokenizer = _open_tokenizer(folder)
    dtype = fast_dtype() if recipe.lora else getattr(torch, recipe.weights)
    model = _open_model(folder, dtype, recipe.quantize_base)
    if recipe.keep_layers is not None:
        kept = keep_most_important(model, tokenizer, texts, recipe.keep_layers)
        logger.info("%s: kept the layers %s", name, ", ".join(map(str, kept)))
    if recipe.keep_lowest_layers is not None:
        keep_lowest(model, recipe.keep_lowest_layers)
    if not add_bin_tokens(model, tokenizer):
        logger.info("%s: has the bin tokens; their rows stay as they are", name)
    elif recipe.warm_start is not None:
        start_between(model, tokenizer.backend_tokenizer, *recipe.warm_start)
    if recipe.quantize_base is not None:
        # Norms, embeddings and the output matrix become float32; the trainer decides on gradient checkpointing.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    return model, tokenizer


def open_checkpoint(
    checkpoint: Checkpoint, dtype: torch.dtype = torch.float32
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Return the model of a checkpoint as it scores, to be kept frozen, and its tokenizer.

    Args:
        checkpoint: plain, or quantized; then the layers have decoded weights and round their input to the scheme's
            grid, through which no gradient flows.
        dtype: of the weights.

    Raises:
        BadInput: transformers cannot load it.

    Example:
        >>> model, tokenizer = open_checkpoint(Checkpoint.open("runs/model-mxfp4"))  # doctest: +SKIP
    """
    return load_model(AutoModelForCausalLM, checkpoint, dtype), _open_tokenizer(checkpoint.folder)


def find_base(name: str | Path) -> FoundBase:
    """Return a base on this machine, where it is downloaded or converted if need be.

    Args:
        name: a folder, a packaged base (`nano`), `smollm2-135m`, a GGUF file or a hub name.

    Raises:
        BadInput: there is no such base.

    Example:
        >>> find_base("nano").folder.name
        'nano'
    """
    if Path(name).is_dir():
        return FoundBase(Path(name))
    if str(name) == SMOLLM2:
        return smollm2_base()
    if Path(name).suffix.lower() == SUFFIX:
        return gguf_base(Path(name))
    packaged = Path(str(files("train"))) / "bases" / name
    return FoundBase(packaged if packaged.is_dir() else resolve_folder(name))


def base_folder(name: str | Path) -> Path:
    """Return the local folder of a base, whose name is one for `find_base`.

    Raises:
        BadInput: there is no such base.
    """
    return find_base(name).folder


def lacks_bin_tokens(name: str | Path) -> bool:
    """Return whether a base's tokenizer lacks a bin token.

    Raises:
        BadInput: there is no such base.
    """
    tokenizer = read_tokenizer(base_folder(name))
    return any(tokenizer.token_to_id(token) is None for token in BIN_TOKENS)


def add_bin_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> bool:
    """Give both the eleven bin tokens, whose output rows start at the mean of the vocabulary's.

    Returns:
        False if the tokenizer had them already; then nothing is changed.
    """
    if not tokenizer.add_special_tokens({"additional_special_tokens": list(BIN_TOKENS)}):
        return False
    ids = tokenizer.convert_tokens_to_ids(list(BIN_TOKENS))
    if max(ids) >= model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(max(ids) + 1, pad_to_multiple_of=64, mean_resizing=False)
    with torch.no_grad():
        rows = model.get_output_embeddings().weight
        rows[ids] = rows.mean(dim=0)
    return True


def _open_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    read_tokenizer(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _open_model(folder: Path, dtype: torch.dtype, loaded_as: LoadedAs | None) -> PreTrainedModel:
    if loaded_as is not None:
        return _open_quantized(folder, loaded_as)
    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    except (ValueError, KeyError, OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{folder}: transformers cannot load a causal language model from it ({reason})") from error


def _open_quantized(folder: Path, loaded_as: LoadedAs) -> PreTrainedModel:
    dtype = fast_dtype()
    settings = loading_settings(loaded_as, dtype)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, quantization_config=settings)
    except (ImportError, NotImplementedError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"quantize_base: {loaded_as}: bitsandbytes cannot load {folder} here ({reason})") from error
    limit_packed_kernel(model)
    return model
