"""Packed weights to plain ones: a quantized checkpoint becomes a bfloat16 Hugging Face folder that everything can open.

The weights are decoded layer by layer (`weights`); no model is built. The plain folder has the packed
one's tokenizer and card and scores as the packed **weights** do under 16-bit activations, which is how vLLM's
weight-only kernels (Marlin on Hopper GPUs) serve MXFP4 too. Schemes that also round what goes into a layer (fp8, int8,
mxfp4, nvfp4) lose that rounding here, so their scores differ a little from those of a native kernel.

How exact bfloat16 is depends on the scheme. MXFP4 (with 16-bit activations or without) is exact: its values have two
significant bits and its scales are powers of two. Everywhere else a value times its scale has more bits than bfloat16's
eight and is rounded once, by at most one part in 256: fp8, int8, nvfp4, and 4-bit integers, which vLLM's own kernels
round likewise.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from gen_rerank.checkpoints.card import CARD, Quantization
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.weights import Weights
from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import folder_appearing, opened_before_named

_METHOD = "compressed-tensors"
_PLAIN = torch.bfloat16
_INDEX = "model.safetensors.index.json"
_MADE_ANEW = ("config.json", CARD, _INDEX)


@dataclass(frozen=True)
class Dequantized:
    """A plain copy and what it took.

    Attributes:
        checkpoint: the plain folder, opened.
        packed_bytes: the size of the packed weights.
        plain_bytes: the size of the plain weights.
        seconds: how long unpacking took.
    """

    checkpoint: Checkpoint
    packed_bytes: int
    plain_bytes: int
    seconds: float


@dataclass(frozen=True)
class PackedLayer:
    """One quantized linear layer: its name, as in the files, and the sizes of its input and output."""

    name: str
    inputs: int
    outputs: int


def dequantize(checkpoint: Checkpoint, folder: Path) -> Dequantized:
    """Write the plain bfloat16 copy of a quantized checkpoint.

    At most one file of weights is held in memory. What was not quantized is copied as it is, and the card's
    `provenance.quantization` gets `"dequantized": true`.

    Args:
        checkpoint: quantized by compressed-tensors (llm-compressor, `gen-rerank quantize`).
        folder: where the copy goes; it appears whole, and nothing may lie there but an empty folder.

    Raises:
        BadInput: not quantized, or not by compressed-tensors; a layer that `config.json` does not say how to decode; a
            `folder` that holds something; too little disk space; or a copy that does not open.

    Example:
        >>> dequantize(Checkpoint.open("runs/mxfp4"), Path("runs/plain")).checkpoint.config["dtype"]  # doctest: +SKIP
        'bfloat16'
    """
    start = time.perf_counter()
    weights = check_packed(checkpoint)
    with folder_appearing(folder) as plain:
        size = _plain_bytes(weights)
        free = shutil.disk_usage(plain).free
        if free < size:
            raise BadInput(
                f"{checkpoint.folder}: its plain weights take {megabytes(size)}, and {folder} has {megabytes(free)} "
                "left; free some space, or set TMPDIR to a folder that has it"
            )
        _write_weights(weights, plain)
        _write_rest(checkpoint, plain)
        opened_before_named(Checkpoint.open, plain, folder)
    written = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    packed = sum(file.stat().st_size for file in checkpoint.folder.glob("*.safetensors"))
    return Dequantized(Checkpoint.open(folder), packed, written, time.perf_counter() - start)


def check_packed(checkpoint: Checkpoint) -> Weights:
    """Return the packed weights, which can be decoded.

    Raises:
        BadInput: there are none, or another library packed them.
    """
    if not checkpoint.is_quantized:
        raise BadInput(f"{checkpoint.folder}: not quantized, so there is nothing to dequantize; leave --dequantize out")
    stored = checkpoint.config["quantization_config"]
    method = stored.get("quant_method")
    if method != _METHOD:
        raise BadInput(f"{checkpoint.folder}: quantized by {method}; only {_METHOD} checkpoints can be dequantized")
    if stored.get("transform_config"):
        raise BadInput(f"{checkpoint.folder}: its weights are rotated (transform_config) and cannot be dequantized")
    return _packed_weights(checkpoint)


def packed_layers(checkpoint: Checkpoint) -> list[PackedLayer]:
    """Return the quantized layers of a checkpoint, in the order of their names; reads no weights.

    Raises:
        BadInput: no layer is quantized, whatever the configuration says.

    Example:
        >>> packed_layers(Checkpoint.open("runs/demo/model-int8"))[0]  # doctest: +SKIP
        PackedLayer(name='model.layers.0.mlp.down_proj', inputs=384, outputs=128)
    """
    weights = _packed_weights(checkpoint)
    return [PackedLayer(name, *reversed(weights.shape(name))) for name in sorted(weights.scaled)]


def scheme_of(checkpoint: Checkpoint) -> str:
    """Return what people call the scheme of a quantized checkpoint: our name, or else the format of its files."""
    made = checkpoint.card.provenance.quantization or Quantization()
    return made.scheme or str(checkpoint.config["quantization_config"].get("format"))


def rounds_activations(checkpoint: Checkpoint) -> bool:
    """Return whether a quantized checkpoint asks for rounded activations, which its plain copy does not have."""
    groups = checkpoint.config["quantization_config"].get("config_groups", {})
    return any(group.get("input_activations") for group in groups.values())


def megabytes(size: int) -> str:
    """Return a size for people.

    Example:
        >>> megabytes(3_400_000)
        '3.4 MB'
    """
    return f"{size / 1e6:,.1f} MB"


def _packed_weights(checkpoint: Checkpoint) -> Weights:
    weights = Weights.open(checkpoint.folder)
    if not weights.scaled:
        raise BadInput(
            f"{checkpoint.folder}: config.json has a quantization_config, but no layer of the weights has scales; "
            "if they are plain, remove it"
        )
    return weights


def _is_part(weights: Weights, name: str) -> bool:
    """Return whether a tensor is a part of a quantized weight, and was not left alone."""
    module, _, leaf = name.rpartition(".")
    return module in weights.scaled and leaf != "bias"


def _plain_bytes(weights: Weights) -> int:
    """Return the size of the plain weights."""
    alone = sum(weights.tensor(name).nbytes for name in weights.files if not _is_part(weights, name))
    return alone + sum(math.prod(weights.shape(module)) * _PLAIN.itemsize for module in weights.scaled)


def _write_weights(weights: Weights, folder: Path) -> None:
    """Write one plain file for each packed one, and the index where there are several."""
    places: dict[str, str] = {}
    paths = sorted(set(weights.files.values()))
    for path in paths:
        plain = {}
        for name in (name for name, home in weights.files.items() if home == path):
            module = name.rpartition(".")[0]
            if not _is_part(weights, name):
                plain[name] = weights.tensor(name)
            elif name.endswith((".weight", ".weight_packed")):  # the other parts go into it
                plain[f"{module}.weight"] = weights.weight(module).to(_PLAIN).contiguous()
        save_file(plain, folder / path.name, metadata={"format": "pt"})
        places |= dict.fromkeys(plain, path.name)
    if len(paths) > 1:
        index = {"metadata": {"total_size": _plain_bytes(weights)}, "weight_map": places}
        (folder / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _write_rest(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the configuration without the quantization, the card that says so, and the other files as they are."""
    for file in checkpoint.folder.iterdir():
        if file.is_file() and file.suffix != ".safetensors" and file.name not in _MADE_ANEW:
            shutil.copyfile(file, folder / file.name)
    config = {name: value for name, value in checkpoint.config.items() if name != "quantization_config"}
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}, indent=2) + "\n", encoding="utf-8")
    provenance = checkpoint.card.provenance
    made = (provenance.quantization or Quantization()).model_copy(update={"dequantized": True})
    provenance = provenance.model_copy(update={"quantization": made})
    checkpoint.card.model_copy(update={"provenance": provenance}).save(folder)
