"""Fewer layers: leave out those that change the least on the catalog's own text, or the highest ones.

A decoder layer that returns nearly the direction that it was given has little influence. `layer_importance` measures
it, `prune_layers` leaves layers out, `keep_most_important` does one after the other. `keep_lowest` leaves out the top,
whose part is the next word rather than what the text says. A pruned model has to be healed by training; that, and
loading, is done elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from gen_rerank.errors import BadInput

_TEXTS = 128
_TEXT_TOKENS = 256


def keep_most_important(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], count: int
) -> list[int]:
    """Prune `model` to its `count` most important layers and return which they are, in order.

    Importance is measured on 128 texts from all over the list, 256 tokens of each at most; the same texts give the
    same layers. A model that has `count` layers already is left alone.

    Args:
        model: a causal language model; changed in place.
        tokenizer: the model's.
        texts: what the model will read; at least one that is not empty.
        count: how many layers stay.

    Raises:
        BadInput: the model has fewer layers, or there is no text to measure on.
    """
    layers = _at_least(model, count, "keep_layers")
    if layers == count:
        return list(range(layers))
    encoded = [tokenizer(text, add_special_tokens=False)["input_ids"][:_TEXT_TOKENS] for text in _spread(texts)]
    batches = [torch.tensor([ids], dtype=torch.long) for ids in encoded if ids]
    if not batches:
        raise BadInput("keep_layers: there is no text by which the layers' importance could be measured")
    importance = layer_importance(model, batches)
    keep = sorted(sorted(range(layers), key=lambda layer: -importance[layer])[:count])
    prune_layers(model, keep)
    return keep


def keep_lowest(model: PreTrainedModel, count: int) -> None:
    """Prune `model` to its `count` lowest layers; one that has no more is left alone.

    Args:
        model: a causal language model; changed in place.
        count: how many layers stay.

    Raises:
        BadInput: the model has fewer layers.

    Example:
        >>> keep_lowest(model, 16)  # doctest: +SKIP
    """
    if _at_least(model, count, "keep_lowest_layers") > count:
        prune_layers(model, range(count))


@torch.inference_mode()
def layer_importance(model: PreTrainedModel, batches: Iterable[Tensor]) -> list[float]:
    """Return each layer's block influence: 1 − cosine(hidden in, hidden out), averaged over all tokens.

    Men et al., "ShortGPT: Layers in Large Language Models are More Redundant Than You Expect", 2024, arXiv 2403.03853.

    Args:
        model: a causal language model.
        batches: token ids `[b, t]`, without padding.

    Returns:
        One number in [0, 2] a layer; 0 means that the layer turns nothing.

    Example:
        >>> layer_importance(model, [torch.tensor([[5, 7, 11]])])  # doctest: +SKIP
        [0.41, 0.08, 0.19]
    """
    layers = decoder_layers(model)
    totals = torch.zeros(len(layers), dtype=torch.float64)
    tokens = 0
    handles = [layer.register_forward_hook(_add_influence(totals, index)) for index, layer in enumerate(layers)]
    try:
        for batch in batches:
            model.get_decoder()(input_ids=batch.to(model.device), use_cache=False)
            tokens += batch.numel()
    finally:
        for handle in handles:
            handle.remove()
    return (totals / tokens).tolist()


def prune_layers(model: PreTrainedModel, keep: Sequence[int]) -> None:
    """Leave only the layers `keep`, in place; the configuration and the layers' numbers in the cache follow.

    Args:
        model: a causal language model.
        keep: numbers of layers, ascending, each once.

    Raises:
        BadInput: `keep` is empty, not ascending, or names a layer that the model does not have.
    """
    layers = decoder_layers(model)
    if not keep or list(keep) != sorted(set(keep)) or keep[0] < 0 or keep[-1] >= len(layers):
        raise BadInput(f"the layers to keep must ascend from 0 to {len(layers) - 1} at most, not {list(keep)}")
    decoder, config = model.get_decoder(), model.config
    decoder.layers = nn.ModuleList(layers[number] for number in keep)
    for index, layer in enumerate(decoder.layers):
        for module in layer.modules():
            if "layer_idx" in vars(module):
                module.layer_idx = index
    kinds = getattr(config, "layer_types", None)  # only configurations of some architectures name each layer's kind
    config.num_hidden_layers = len(keep)
    if kinds is not None:
        config.layer_types = [kinds[number] for number in keep]


def decoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the layers of a decoder.

    Raises:
        BadInput: its architecture does not call them `layers`, as all in the line of Llama do.
    """
    try:
        return model.get_decoder().layers
    except AttributeError as error:
        raise BadInput(f"keep_layers: the architecture {type(model).__name__} has no list `layers` to prune") from error


def _add_influence(totals: Tensor, index: int) -> Any:
    def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor | tuple[Tensor, ...]) -> None:
        after = output[0] if isinstance(output, tuple) else output
        cosine = F.cosine_similarity(inputs[0].float(), after.float(), dim=-1)
        totals[index] += (1 - cosine).double().sum().cpu()

    return hook


def _at_least(model: PreTrainedModel, count: int, key: str) -> int:
    """Return how many layers a model has, if it is not fewer than a recipe's key keeps."""
    layers = len(decoder_layers(model))
    if layers < count:
        raise BadInput(f"{key}: {count} is more than the {layers} layers of this base; choose at most {layers}")
    return layers


def _spread(texts: Sequence[str]) -> Sequence[str]:
    """Return at most 128 texts at equal distances."""
    step = max(1, len(texts) // _TEXTS)
    return texts[::step][:_TEXTS]
