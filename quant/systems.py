"""Who is compared: the reference, checkpoints that were made from it, and itself as bitsandbytes loads it.

Each gets a unique name, and what its files say of it. Whether it is any good is for others to find out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from gen_rerank.checkpoints.bitsandbytes import LoadedAs
from gen_rerank.checkpoints.card import CARD, Card, Quantization, read_card
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_json, resolve_folder
from gen_rerank.checkpoints.public_names import yes_no_prompt
from gen_rerank.errors import BadInput
from quant.comparison import Quality, System


@dataclass(frozen=True)
class ComparedSystem:
    """A system that is compared.

    Attributes:
        name: unique in the comparison.
        given: the folder or hub name as it was given.
        folder: on this machine.
        loaded_as: how bitsandbytes quantizes it while it is loaded; None for not at all.
    """

    name: str
    given: str
    folder: Path
    loaded_as: str | None = None

    def described(self, quality: Quality | None) -> System:
        """Return what its files say of it, with what it is worth; None where it could not be scored."""
        scheme, realigned = (self.name, False) if self.loaded_as else _recorded_scheme(self.folder)
        return System(
            name=self.name,
            folder=self.given,
            scheme=scheme,
            realigned=realigned,
            disk_bytes=sum(path.stat().st_size for path in self.folder.glob("*.safetensors")),
            quality=quality,
        )


def compared_systems(
    reference: Checkpoint, given: str, candidates: Sequence[str], load_time: Sequence[str]
) -> list[ComparedSystem]:
    """Return the reference and what is compared with it.

    Args:
        reference: opened.
        given: how it was named.
        candidates: folders or hub names.
        load_time: `nf4`, `int8`: the reference as bitsandbytes quantizes it while it is loaded.

    Raises:
        BadInput: there is nothing to compare, a candidate is no checkpoint or of another kind, no such load-time row.
    """
    if not candidates and not load_time:
        raise BadInput("nothing to compare with the reference; give a candidate folder, or --load-time nf4")
    for kind in load_time:
        if kind not in get_args(LoadedAs):
            raise BadInput(f"there is no load-time row {kind!r}; choose one of {', '.join(get_args(LoadedAs))}")
    if load_time and reference.is_quantized:
        raise BadInput(f"{reference.folder}: already quantized; --load-time needs a reference in full precision")
    folders = [reference.folder, *(_candidate_folder(name, reference) for name in candidates)]
    names = [given, *candidates]
    named = [ComparedSystem(*fields) for fields in zip(distinct_names(names), names, folders, strict=True)]
    rows = [
        ComparedSystem(f"{kind} (bitsandbytes)", given, reference.folder, kind) for kind in dict.fromkeys(load_time)
    ]
    return [*named, *rows]


def distinct_names(given: Sequence[str]) -> list[str]:
    """Return the shortest ends of paths that tell them apart; what is given twice is numbered.

    Example:
        >>> distinct_names(["a/model", "b/model", "b/model"])
        ['a/model', 'b/model', 'b/model (2)']
    """
    parts = [Path(name).resolve().parts for name in given]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(own[-depth:]) for own in parts]
        if len(set(names)) == len(set(parts)):
            break
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        seen[name] += 1
        numbered.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return numbered


def _candidate_folder(name: str, reference: Checkpoint) -> Path:
    folder = resolve_folder(name)
    if not (folder / "config.json").is_file():
        raise BadInput(f"{folder}: not a checkpoint, config.json is missing")
    if not (folder / CARD).is_file():
        if yes_no_prompt(name) is None:
            raise BadInput(f"{folder}: not a gen_rerank checkpoint, {CARD} is missing")
        return folder
    try:
        kind = read_card(folder, Card).readout.kind
    except BadInput:
        return folder  # a card that does not parse is a finding about this candidate
    theirs = reference.card.readout.kind
    if "classifier" in (kind, theirs) and kind != theirs:
        raise BadInput(
            f"{folder}: its readout is {kind}, the reference's is {theirs}; encoders are compared with encoders and "
            "decoders with decoders"
        )
    return folder


def _recorded_scheme(folder: Path) -> tuple[str, bool]:
    """Return the scheme and whether the readout was re-aligned, by the card or by what the weights are stored as."""
    try:
        stored = read_json(folder / "config.json").get("quantization_config") or {}
        recorded = read_card(folder, Card).provenance.quantization if (folder / CARD).is_file() else None
    except BadInput:
        return "unknown", False
    made = recorded or Quantization()
    return made.scheme or str(stored.get("format", "none")), made.realigned is not None
