"""Packed weights to plain ones: a quantized checkpoint becomes a bfloat16 Hugging Face folder that everything can open.

The weights are decoded by compressed-tensors, layer by layer from the files; no model is built. The plain folder has the packed
one's tokenizer and card and scores as the packed **weights** do under 16-bit activations, which is how vLLM's weight-only kernels
(Marlin on Hopper GPUs) serve MXFP4 too. Schemes that also round what goes into a layer (fp8, int8, mxfp4, nvfp4) lose
that rounding here, so their scores differ a little from those of a native kernel.

How exact bfloat16 is depends on the scheme. MXFP4 (with 16-bit activations or without) is exact: its values have two
significant bits and its scales are powers of two. Everywhere else a value times its scale has more bits than bfloat16's
eight and is rounded once, by at most one part in 256: fp8, int8, nvfp4, and 4-bit integers, which vLLM's own kernels round likewise.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from gen_rerank.checkpoint import CARD, Checkpoint
from gen_rerank.errors import BadInput

_METHOD = "compressed-tensors"
_PLAIN = torch.bfloat16
_SCALE = ".weight_scale"
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
        folder: where the copy goes; made when it is not there.

    Raises:
        BadInput: not quantized, or not by compressed-tensors; or too little disk space.

    Example:
        >>> dequantize(Checkpoint.open("runs/mxfp4"), Path("runs/plain")).checkpoint.config["dtype"]  # doctest: +SKIP
        'bfloat16'
    """
    start = time.perf_counter()
    check_packed(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    with _open_weights(checkpoint.folder) as weights:
        size = weights.plain_bytes()
        free = shutil.disk_usage(folder).free
        if free < size:
            raise BadInput(
                f"{checkpoint.folder}: its plain weights take {megabytes(size)}, and {folder} has {megabytes(free)} left; "
                "free some space, or set TMPDIR to a folder that has it"
            )
        _write_weights(weights, checkpoint.config["quantization_config"], folder)
    _write_rest(checkpoint, folder)
    written = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    packed = sum(file.stat().st_size for file in checkpoint.folder.glob("*.safetensors"))
    return Dequantized(Checkpoint.open(folder), packed, written, time.perf_counter() - start)


def check_packed(checkpoint: Checkpoint) -> None:
    """Check that there are packed weights that can be decoded.

    Raises:
        BadInput: there are none, or another library packed them.
    """
    stored = checkpoint.config.get("quantization_config")
    if stored is None:
        raise BadInput(f"{checkpoint.folder}: not quantized, so there is nothing to dequantize; leave --dequantize out")
    method = stored.get("quant_method")
    if method != _METHOD:
        raise BadInput(f"{checkpoint.folder}: quantized by {method}; only {_METHOD} checkpoints can be dequantized")
    if stored.get("transform_config"):
        raise BadInput(f"{checkpoint.folder}: its weights are rotated (transform_config) and cannot be dequantized")


def packed_layers(checkpoint: Checkpoint) -> list[PackedLayer]:
    """Return the quantized layers of a checkpoint, in the order of their names; reads no weights.

    Example:
        >>> packed_layers(Checkpoint.open("runs/demo/model-int8"))[0]  # doctest: +SKIP
        PackedLayer(name='model.layers.0.mlp.down_proj', inputs=384, outputs=128)
    """
    with _open_weights(checkpoint.folder) as weights:
        return [PackedLayer(name, *reversed(weights.shape(name))) for name in sorted(weights.layers)]


def scheme_of(checkpoint: Checkpoint) -> str:
    """Return what people call the scheme of a quantized checkpoint: our name, or else the format of its files."""
    made = _quantization(checkpoint)
    return str(made.get("scheme") or checkpoint.config["quantization_config"].get("format"))


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


class _Weights:
    """The tensors of a folder's safetensors files, by name, wherever they lie."""

    def __init__(self, files: dict[str, Any]) -> None:
        self.files = files
        self._home = {name: file for file, opened in files.items() for name in opened.keys()}  # noqa: SIM118
        self.layers = {name.removesuffix(_SCALE) for name in self._home if name.endswith(_SCALE)}

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor."""
        tensor: torch.Tensor = self.files[self._home[name]].get_tensor(name)
        return tensor

    def parts(self, layer: str) -> dict[str, torch.Tensor]:
        """Return what a quantized layer is stored as, by the names that compressed-tensors gives the parts."""
        names = [name for name in self._home if name.rpartition(".")[0] == layer and not name.endswith(".bias")]
        return {name.rpartition(".")[2]: self.read(name) for name in names}

    def owner(self, name: str) -> str | None:
        """Return the quantized layer that a tensor is a part of; None for a tensor that was left alone."""
        layer, _, part = name.rpartition(".")
        return layer if layer in self.layers and part != "bias" else None

    def shape(self, layer: str) -> tuple[int, int]:
        """Return the shape `[outputs, inputs]` of a quantized layer's plain weights."""
        if f"{layer}.weight_shape" in self._home:
            rows, columns = self.read(f"{layer}.weight_shape").tolist()
        elif f"{layer}.weight_packed" in self._home:
            rows, columns = self._stored_shape(f"{layer}.weight_packed")
            columns *= 2  # two 4-bit floats in a byte
        else:
            rows, columns = self._stored_shape(f"{layer}.weight")
        return rows, columns

    def plain_bytes(self) -> int:
        """Return the size of the plain weights."""
        alone = [self.read(name).nbytes for name in self._home if self.owner(name) is None]
        return sum(alone) + sum(rows * columns * _PLAIN.itemsize for rows, columns in map(self.shape, self.layers))

    def _stored_shape(self, name: str) -> list[int]:
        shape: list[int] = self.files[self._home[name]].get_slice(name).get_shape()
        return shape


@contextmanager
def _open_weights(folder: Path) -> Iterator[_Weights]:
    with ExitStack() as stack:
        paths = sorted(folder.glob("*.safetensors"))
        yield _Weights({path.name: stack.enter_context(safe_open(path, framework="pt")) for path in paths})


def _write_weights(weights: _Weights, stored: dict[str, Any], folder: Path) -> None:
    """Write one plain file for each packed one, and the index where there are several."""
    from compressed_tensors.quantization import QuantizationConfig

    config = QuantizationConfig.model_validate(stored)
    places: dict[str, str] = {}
    for file, opened in weights.files.items():
        plain = {}
        for name in opened.keys():  # noqa: SIM118 - the library's own kind of file
            layer = weights.owner(name)
            if layer is None:
                plain[name] = weights.read(name)
            elif name.endswith((".weight", ".weight_packed")):  # the other parts go into it
                plain[f"{layer}.weight"] = _decoded(layer, weights.parts(layer), config)
        save_file(plain, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(plain, file)
    if len(weights.files) > 1:
        index = {"metadata": {"total_size": weights.plain_bytes()}, "weight_map": places}
        (folder / _INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _decoded(layer: str, parts: dict[str, torch.Tensor], config: Any) -> torch.Tensor:
    """Return the plain weights `[outputs, inputs]`, bfloat16, of one layer."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.compressors.format import infer_module_format
    from compressed_tensors.config import CompressionFormat
    from compressed_tensors.utils.match import match_name

    schemes = config.config_groups.values()
    named = [scheme for scheme in schemes if any(match_name(layer, target) for target in scheme.targets)]
    # A target is a layer's name, a pattern of names, or the class of all the rest.
    scheme = (named or [scheme for scheme in schemes if "Linear" in scheme.targets])[0]
    kind = CompressionFormat(scheme.format or infer_module_format(torch.nn.Linear, scheme))
    compressor: Any = BaseCompressor.get_value_from_registry(kind.value)
    weight: torch.Tensor = compressor.decompress(parts, scheme)["weight"]
    return weight.to(_PLAIN).contiguous()


def _write_rest(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the configuration without the quantization, the card that says so, and the other files as they are."""
    for file in checkpoint.folder.iterdir():
        if file.is_file() and file.suffix != ".safetensors" and file.name not in _MADE_ANEW:
            shutil.copyfile(file, folder / file.name)
    config = {name: value for name, value in checkpoint.config.items() if name != "quantization_config"}
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}, indent=2) + "\n", encoding="utf-8")
    made = _quantization(checkpoint) | {"dequantized": True}
    provenance = checkpoint.card.provenance.model_copy(update={"quantization": made})
    checkpoint.card.model_copy(update={"provenance": provenance}).save(folder)


def _quantization(checkpoint: Checkpoint) -> dict[str, Any]:
    return checkpoint.card.provenance.model_dump().get("quantization") or {}
