"""A LoRA adapter: a PEFT folder plus its own `gen_rerank.json`, opened beside the base that it was trained on.

The card names the base by its fingerprint, because an adapter on another base gives wrong scores and no error, and
holds the calibration that replaces the base's. An adapter is low-rank matrices on linear layers of a decoder and
nothing else, so that vLLM can swap it between requests; the readout rows stay the base's. Applying the matrices is left
to the scorers.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from gen_rerank.checkpoints.card import CARD, Calibration, Provenance, read_card
from gen_rerank.checkpoints.checkpoint import ADAPTER_CONFIG, Checkpoint
from gen_rerank.checkpoints.folders import read_json, resolve_folder
from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import write_text_whole

WEIGHTS = "adapter_model.safetensors"


class AdapterBase(BaseModel):
    """The checkpoint that an adapter belongs to.

    Attributes:
        name: what it was called when the adapter was trained, for people.
        fingerprint: its `Checkpoint.fingerprint`, which is compared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    fingerprint: str


class AdapterCard(BaseModel):
    """The content of an adapter's `gen_rerank.json`.

    Example:
        >>> base = AdapterBase(name="runs/model", fingerprint="0123456789abcdef")
        >>> AdapterCard(base=base, calibration=Calibration(temperature=1.2)).kind
        'adapter'
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    kind: Literal["adapter"] = "adapter"
    base: AdapterBase
    calibration: Calibration = Calibration()
    provenance: Provenance = Provenance()

    def save(self, folder: str | Path) -> None:
        """Write `gen_rerank.json` into `folder`; whoever reads it meanwhile meets the old card or this one."""
        write_text_whole(Path(folder) / CARD, self.model_dump_json(indent=2) + "\n")


@dataclass(frozen=True)
class Adapter:
    """An opened adapter folder, which fits the base that it was opened with.

    Attributes:
        folder: what PEFT and vLLM load.
        card: base, calibration and provenance.
        rank: the largest rank of its matrices.

    Example:
        >>> base = Checkpoint.open("runs/model")  # doctest: +SKIP
        >>> TransformersScorer(base, Adapter.open("runs/adapter", base)).score(pairs)  # doctest: +SKIP
    """

    folder: Path
    card: AdapterCard
    rank: int

    @classmethod
    def open(cls, name: str | Path, base: Checkpoint) -> Adapter:
        """Open a folder, or a hub name, and check it against `base`, whose weights are read once for it.

        Raises:
            BadInput: not an adapter: a missing file, a card that does not parse, something other than LoRA on
                linear layers; or one of another base, or for a model that takes none. One sentence says which.
        """
        folder = resolve_folder(name)
        if not (folder / ADAPTER_CONFIG).is_file() and (folder / "config.json").is_file():
            raise BadInput(f"{folder}: this is a model, not an adapter; pass it as the model, without --adapter")
        for needed in (ADAPTER_CONFIG, WEIGHTS, CARD):
            if not (folder / needed).is_file():
                raise BadInput(f"{folder}: not an adapter, {needed} is missing")
        if base.card.readout.kind == "classifier":
            raise BadInput(f"{folder}: an adapter needs a decoder, {base.folder} is an encoder with a classifier")
        card = read_card(folder, AdapterCard)
        config = read_json(folder / ADAPTER_CONFIG)
        _check_lora(folder, config)
        if card.base.fingerprint != base.fingerprint:
            raise BadInput(
                f"{folder}: this adapter belongs to {card.base.name} (fingerprint {card.base.fingerprint}), the model "
                f"is {base.folder} (fingerprint {base.fingerprint}); pass the adapter's own base, or train it again "
                "on this one"
            )
        return cls(folder, card, max([config["r"], *(config.get("rank_pattern") or {}).values()]))

    def applied(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the base with this adapter's calibration in its card; the weights are the base's."""
        return replace(checkpoint, card=checkpoint.card.model_copy(update={"calibration": self.card.calibration}))

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256, 16 hexadecimal digits, over its matrices and how they are scaled."""
        files = (self.folder / WEIGHTS, self.folder / ADAPTER_CONFIG)
        return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _check_lora(folder: Path, config: dict[str, Any]) -> None:
    """Refuse what is not, or not only, LoRA on the linear layers of the backbone."""
    from safetensors import SafetensorError, safe_open

    from gen_rerank.checkpoints.weights import reads_out

    if config.get("peft_type") != "LORA" or not isinstance(config.get("r"), int):
        raise BadInput(f"{folder}: only LoRA adapters can be used, this one is {config.get('peft_type')!r}")
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as tensors:
            names = list(tensors.keys())
    except SafetensorError as error:
        raise BadInput(f"{folder / WEIGHTS}: not a safetensors file ({error})") from error
    if not names:
        raise BadInput(f"{folder / WEIGHTS}: it holds no matrices")
    for name in names:
        layer = name.removesuffix(".lora_A.weight").removesuffix(".lora_B.weight")
        if layer == name or reads_out(layer) or layer.endswith(".embed_tokens"):
            raise BadInput(
                f"{folder}: it changes {name.removeprefix('base_model.model.')!r}, but an adapter is LoRA on the "
                "linear layers of the backbone only; train it without modules_to_save, trainable tokens, biases, DoRA "
                "and the output matrix"
            )
