"""The weights of a model folder, read tensor by tensor and, where they are quantized, decoded.

A model is never built: a candidate that transformers cannot load can still be looked at, and a large one is looked at
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

from gen_rerank.checkpoint import read_json
from gen_rerank.errors import BadInput

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

    def tensor(self, name: str) -> Tensor:
        """Return a tensor as it is stored.

        Raises:
            BadInput: there is none of this name.
        """
        if name not in self.files:
            raise BadInput(f"{self.folder}: the weights have no {name}")
        with safe_open(self.files[name], framework="pt") as file:
            tensor: Tensor = file.get_tensor(name)
            return tensor

    def stored_as(self, module: str) -> str | None:
        """Return how a module's weight is quantized, in words, or None when it is stored in high precision."""
        if f"{module}.weight_packed" in self.files:
            return "packed"
        dtype = self.tensor(f"{module}.weight").dtype
        if dtype not in _HIGH_PRECISION:
            return str(dtype).removeprefix("torch.")
        return "with scales" if f"{module}.{_SCALE}" in self.files else None

    def is_to_be_quantized(self, module: str) -> bool:
        """Return whether `config.json` says that a linear layer of this name is quantized."""
        return self._scheme(module) is not None

    def weight(self, module: str) -> Tensor:
        """Return a module's weight, decoded, in float32.

        Raises:
            BadInput: it is missing, or `config.json` does not say how it is encoded.
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
        decoded: Tensor = BaseCompressor.get_value_from_registry(form).decompress(local, scheme)["weight"]
        return decoded.float()

    @cached_property
    def _quantization(self) -> Any:
        """The `quantization_config`, or None."""
        stored = self.config.get("quantization_config")
        if stored is None:
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
        from compressed_tensors.utils import is_match

        layer = nn.Linear(1, 1, device="meta")
        for scheme in self._quantization.config_groups.values():
            if is_match(module, layer, scheme.targets, self._quantization.ignore or ()):
                return scheme
        return None

    def _only_scheme(self) -> Any:
        """Return the scheme of the model when it has one: a layer that it names nowhere but that has scales is encoded so."""
        groups = [] if self._quantization is None else list(self._quantization.config_groups.values())
        return groups[0] if len(groups) == 1 else None
