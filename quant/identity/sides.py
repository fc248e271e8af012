"""The files of a reference and of a candidate, and what every check asks of the two: same training, shape, values.

A side reads a file when a check first needs it, so a broken file fails the checks that read it and no other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from gen_rerank.checkpoints.card import CARD, Card, Quantization, read_card
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer, resolve_folder
from gen_rerank.checkpoints.schemes import SCHEMES
from gen_rerank.checkpoints.weights import Weights, reads_out
from quant.recipes import smoothed_norms


class Fault(Exception):
    """What a check found wrong, in one sentence."""


@dataclass(frozen=True)
class Side:
    """The files of the reference or of a candidate; each is read when a check first needs it."""

    name: str | Path

    @cached_property
    def folder(self) -> Path:
        """On this machine."""
        return resolve_folder(self.name)

    @cached_property
    def card(self) -> Card:
        """Its own, or the one that a public reranker gets by its name."""
        return read_card(self.folder, Card) if (self.folder / CARD).is_file() else Checkpoint.open(self.name).card

    @cached_property
    def weights(self) -> Weights:
        """Read tensor by tensor."""
        return Weights.open(self.folder)

    @cached_property
    def tokenizer(self) -> dict[str, Any]:
        """The tokenizer as the library writes it, whichever version wrote the file."""
        return json.loads(read_tokenizer(self.folder).to_str())

    @property
    def quantization(self) -> Quantization:
        """What the card records about the quantization; nothing for a checkpoint in full precision."""
        return self.card.provenance.quantization or Quantization()

    @property
    def training(self) -> dict[str, Any]:
        """What the card records about the training, without the measures, which re-alignment takes anew."""
        return self.card.provenance.model_dump(exclude={"quantization", "metrics", "commit"})

    @property
    def readout_modules(self) -> list[str]:
        """The modules that are read; of a decoder the last one holds the rows."""
        stored = [name for name in self.weights.modules if reads_out(name)]
        if self.card.readout.kind == "classifier" or not self.weights.config.get("tie_word_embeddings"):
            return stored
        return [*(name for name in self.weights.modules if name.endswith("embed_tokens")), *stored]

    @property
    def embeddings(self) -> list[str]:
        """The modules that turn tokens into states."""
        return [name for name in self.weights.modules if "embed" in name.rpartition(".")[2]]

    def linear(self) -> list[str]:
        """The names of the layers that a scheme may quantize."""
        left = {*self.readout_modules, *self.embeddings}
        return [
            name
            for name in self.weights.modules
            if name not in left
            and (self.weights.stored_as(name) is not None or self.weights.tensor(f"{name}.weight").ndim == 2)
        ]

    @cached_property
    def smoothed(self) -> dict[str, str]:
        """The norm from which the recorded scheme has moved scale into a layer, by that layer."""
        applied = [scheme for scheme in SCHEMES if scheme.name == self.quantization.scheme]
        return smoothed_norms(self.weights.modules, applied)


def same_training(reference: Side, candidate: Side) -> bool:
    """Return whether the candidate's card claims the reference's training and no more."""
    return candidate.training == reference.training


def same_alignment(reference: Side, candidate: Side) -> bool:
    """Return whether the card claims, too, that the readout was not aligned again."""
    ours, theirs = (side.quantization.realigned for side in (reference, candidate))
    return same_training(reference, candidate) and ours == theirs


def smoothed_by_either(reference: Side, candidate: Side) -> dict[str, str]:
    """Return the norm of each layer of which only the product with it can be compared, by the layer."""
    return {**reference.smoothed, **candidate.smoothed}


def same_shape(name: str, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    """Return two tensors of one name.

    Raises:
        Fault: their shapes differ.
    """
    if ours.shape != theirs.shape:
        raise Fault(
            f"made from another base: {name} has the shape {list(theirs.shape)}, in the reference {list(ours.shape)}"
        )
    return ours, theirs


def unlike(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return where neither value is the other one rounded to its own dtype: a copy in bfloat16 was rounded to it."""
    return (ours.to(theirs.dtype) != theirs) & (theirs.to(ours.dtype) != ours)
