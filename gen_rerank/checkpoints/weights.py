"""The weights of a model folder, read tensor by tensor and, where they are quantized, decoded.

A model is never built: a folder that transformers cannot load can still be looked at, and a large one is looked at
layer by layer. compressed-tensors decodes; this module finds what belongs to a layer and which scheme it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from gen_rerank.checkpoints.folders import read_json
from gen_rerank.errors import BadInput

READOUT_MODULES: tuple[str, ...] = ("lm_head", "score", "classifier", "head", "pooler")
"""Parts of a layer's name by which it is known to read the last hidden state or the pooled one."""

# What a layer's weights are stored under: plain or quantized element by element, or several in one byte or word.
_STORED = ("weight", "weight_packed")
_SCALE = "weight_scale"
_HIGH_PRECISION = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Weights:
    """The tensors of a folder.

    Attributes:
        folder: which.
        config: its `config.json`.
        files: the file that each tensor is in, by the tensor's name.

    Example:
        >>> Weights.open("runs/demo/model-int8").weight("model.layers.0.mlp.up_proj").dtype  # doctest: +SKIP
        torch.float32
    """

    folder: Path
    config: dict[str, Any]
    files: dict[str, Path]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Read the names of all tensors.

        Raises:
            BadInput: `config.json` or a safetensors file cannot be read, or there are no weights.
        """
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise BadInput(f"{folder}: config.json is missing")
        files: dict[str, Path] = {}
        for path in sorted(folder.glob("*.safetensors")):
            try:
                with safe_open(path, framework="pt") as file:
                    files.update(dict.fromkeys(file.keys(), path))
            except (SafetensorError, OSError) as error:
                raise BadInput(f"{path}: not a readable safetensors file ({error})") from error
        if not files:
            raise BadInput(f"{folder}: it has no *.safetensors weights")
        return cls(folder, read_json(folder / "config.json"), files)

    @cached_property
    def modules(self) -> tuple[str, ...]:
        """The names of what has a weight: layers, embeddings and norms."""
        owners = (name.rpartition(".") for name in self.files)
        return tuple(dict.fromkeys(owner for owner, _, leaf in owners if leaf in _STORED))

    @cached_property
    def scaled(self) -> frozenset[str]:
        """The names of the modules whose weights have scales: those that were quantized."""
        owners = (name.rpartition(".") for name in self.files)
        return frozenset(owner for owner, _, leaf in owners if leaf == _SCALE)

    def tensor(self, name: str) -> Tensor:
        """Return a tensor as it is stored.

        Raises:
            BadInput: there is none of this name.
        """
        with self._file_of(name) as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor

    def stored_as(self, module: str) -> str | None:
        """Return how a module's weight is quantized, in words, or None when it is stored in high precision."""
        if f"{module}.weight_packed" in self.files:
            return "packed"
        dtype = self._dtype(f"{module}.weight")
        if dtype not in _HIGH_PRECISION:
            return str(dtype).removeprefix("torch.")
        return "with scales" if module in self.scaled else None

    def shape(self, module: str) -> tuple[int, int]:
        """Return the shape `[outputs, inputs]` of a quantized layer's decoded weight; the weight itself is not read."""
        if f"{module}.weight_shape" in self.files:
            rows, columns = self.tensor(f"{module}.weight_shape").tolist()
        elif f"{module}.weight_packed" in self.files:
            rows, columns = self._stored_shape(f"{module}.weight_packed")
            columns *= 2  # two 4-bit floats in a byte
        else:
            rows, columns = self._stored_shape(f"{module}.weight")
        return rows, columns

    def is_to_be_quantized(self, module: str) -> bool:
        """Return whether `config.json` says that a linear layer of this name is quantized."""
        return self._scheme(module) is not None

    def weight(self, module: str) -> Tensor:
        """Return a module's weight, decoded, in float32.

        Raises:
            BadInput: it or a part of it is missing, or `config.json` does not say how it is encoded.
        """
        if self.stored_as(module) is None:
            return self.tensor(f"{module}.weight").float()
        scheme = self._scheme(module) or self._only_scheme()
        if scheme is None:
            raise BadInput(f"{self.folder}: config.json does not say how {module} is quantized")
        from compressed_tensors.compressors import BaseCompressor
        from compressed_tensors.compressors.format import infer_module_format

        form = scheme.format or infer_module_format(nn.Linear, scheme).value
        prefix = f"{module}."
        local = {
            name.removeprefix(prefix): self.tensor(name) for name in self.files if name.rpartition(".")[0] == module
        }
        try:
            decoded: Tensor = BaseCompressor.get_value_from_registry(form).decompress(local, scheme)["weight"]
        except KeyError as missing:
            raise BadInput(
                f"{self.folder}: config.json says that {module} is quantized as {form}, but the weights have no "
                f"{module}.{missing.args[0]}"
            ) from missing
        return decoded.float()

    def _file_of(self, name: str) -> Any:
        if name not in self.files:
            raise BadInput(f"{self.folder}: the weights have no {name}")
        return safe_open(self.files[name], framework="pt")

    def _dtype(self, name: str) -> torch.dtype:
        with self._file_of(name) as file:
            dtype: torch.dtype = file.get_slice(name)[:0].dtype  # none of its rows is read
            return dtype

    def _stored_shape(self, name: str) -> list[int]:
        with self._file_of(name) as file:
            shape: list[int] = file.get_slice(name).get_shape()
            return shape

    @cached_property
    def _quantization(self) -> Any:
        """The `quantization_config`, or None."""
        stored = self.config.get("quantization_config")
        if not stored:
            return None
        from compressed_tensors.quantization import QuantizationConfig

        try:
            return QuantizationConfig.model_validate(stored)
        except ValueError as error:
            raise BadInput(f"{self.folder}/config.json: quantization_config is not compressed-tensors' own") from error

    def _scheme(self, module: str) -> Any:
        """Return the scheme of a linear layer of this name, or None."""
        if self._quantization is None:
            return None
        from compressed_tensors.utils import match_targets

        layer = nn.Linear(1, 1, device="meta")
        if match_targets(module, layer, self._quantization.ignore):
            return None
        schemes = {target: scheme for scheme in self._quantization.config_groups.values() for target in scheme.targets}
        # The most specific first: a name, a pattern of names, the class of all the rest.
        targets = match_targets(module, layer, schemes)
        return schemes[targets[0]] if targets else None

    def _only_scheme(self) -> Any:
        """Return the scheme of the model when it has one: a layer with scales that it names nowhere is encoded so."""
        groups = [] if self._quantization is None else list(self._quantization.config_groups.values())
        return groups[0] if len(groups) == 1 else None


def reads_out(name: str) -> bool:
    """Return whether a layer, or a tensor of it, belongs to the readout, which no scheme may quantize.

    Example:
        >>> reads_out("bert.pooler.dense"), reads_out("model.layers.0.mlp.up_proj")
        (True, False)
    """
    return not set(READOUT_MODULES).isdisjoint(name.split("."))
