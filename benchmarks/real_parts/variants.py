"""The choices that the screening compares: one at a time, each a change of the preset or of what is trained on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import yaml

from gen_rerank.errors import BadInput
from real_parts.folders import SCREEN_TRAIN
from train import defaults
from train.recipe import Recipe
from train.trainers import DistributionalConfig

Changes = Mapping[str, Any]

OURS = ("gen-rerank", "train", "distributional")
PEER = ("real.py", "sft")  # TRL's SFTTrainer


@dataclass(frozen=True)
class Variant:
    """One choice.

    Attributes:
        name: for tables and `--only`.
        changes: of the preset's keys, and of the keys of its sections, where None takes one away.
        data: the mix that it is trained on.
        against: the variant from which it differs in this one choice; the first has none.
        command: that trains it.
    """

    name: str
    changes: Changes = field(default_factory=dict)
    data: str = SCREEN_TRAIN
    against: str | None = "reference"
    command: tuple[str, ...] = OURS


def _phase1(name: str, **changes: Any) -> Variant:
    return Variant(name, {"distributional": changes})


def _targets(variance: Literal["fitted", "empirical"]) -> Variant:
    # Home Depot publishes means, so that single grades are Chorus' alone.
    return Variant(f"chorus-{variance}", {"distributional": {"variance": variance}}, "screen-chorus", "chorus")


_LORA: Mapping[str, Any] = {"r": 16, "alpha": 32, "target_modules": "all-linear"}

VARIANTS: tuple[Variant, ...] = (
    Variant("reference", against=None),
    _phase1("lambda-0", mse_weight=0.0),
    _phase1("lambda-10", mse_weight=10.0),
    _phase1("ranknet", relative_loss="ranknet", relative_weight=1.0),
    _phase1("margin-mse", relative_loss="margin_mse", relative_weight=10.0),
    _phase1("listwise", relative_loss="listwise", relative_weight=1.0),
    _phase1("batch-512", batch_tokens=512),
    _phase1("batch-2048", batch_tokens=2048),
    _phase1("rate-5e-5", learning_rate=5e-5),
    _phase1("rate-1e-4", learning_rate=1e-4),
    _phase1("rate-2e-4", learning_rate=2e-4),
    _phase1("rate-4e-4", learning_rate=4e-4),
    _phase1("readout-1e-4", readout_learning_rate=1e-4),
    _phase1("epochs-1", num_train_epochs=1, max_steps=None),
    _phase1("epochs-2", num_train_epochs=2, max_steps=None),
    Variant("lora", {"lora": _LORA, "distributional": {"learning_rate": 5e-4}}),
    Variant("warm-start", {"warm_start": ["No", "Yes"]}),
    Variant("query-first", {"prompt": {"template": "query_first"}}),
    Variant("product-first", {"prompt": {"template": "product_first"}}),
    Variant("esci", data="screen-esci"),
    Variant("chorus", data="screen-chorus"),
    Variant("quepid", data="screen-quepid"),
    Variant("all", data="screen-all"),
    _targets("fitted"),
    _targets("empirical"),
    Variant("sft", command=PEER),
)


def chosen(names: Sequence[str] | None) -> list[Variant]:
    """Return the variants of these names, and those that they are compared with; all where none are named.

    Raises:
        BadInput: there is no such variant.

    Example:
        >>> [one.name for one in chosen(["chorus-fitted"])]
        ['reference', 'chorus', 'chorus-fitted']
    """
    known = {one.name: one for one in VARIANTS}
    wanted = set(known if names is None else names)
    for name in sorted(wanted):
        if name not in known:
            raise BadInput(f"--only {name}: there is no such variant; choose of {', '.join(known)}")
    found = {VARIANTS[0].name}
    for name in wanted:
        each: str | None = name
        while each is not None:
            found.add(each)
            each = known[each].against
    return [one for one in VARIANTS if one.name in found]


def recipe_of(preset: str, changes: Changes) -> dict[str, Any]:
    """Return a preset with other values, as YAML has it.

    Args:
        preset: a name, or a file.
        changes: of the recipe's own keys, and of a section's keys.
    """
    content = Recipe.load(preset).model_dump(mode="json", exclude_none=True)
    for key, changed in changes.items():
        if not isinstance(changed, Mapping):
            content[key] = changed
            continue
        merged = {**content.get(key, {}), **changed}
        content[key] = {name: value for name, value in merged.items() if value is not None}
    return content


def unlike(variants: Sequence[Variant], preset: str) -> list[Variant]:
    """Return the variants without those that a preset is already: they would train the same once more.

    Example:
        >>> [one.name for one in unlike(chosen(["product-first", "lambda-0", "lambda-10"]), "nano")]
        ['reference', 'lambda-10']
    """
    first, *others = variants
    same = (first.data, first.command, _whole(preset, first.changes))
    return [first, *(one for one in others if (one.data, one.command, _whole(preset, one.changes)) != same)]


def recipe_name(variant: str, seed: int, content: Mapping[str, Any]) -> str:
    """Return a name for a training: another recipe has another one, so that nothing old is taken for it."""
    digest = hashlib.sha256(yaml.safe_dump(dict(content)).encode()).hexdigest()[:8]
    return f"{variant}-{seed}-{digest}"


def _whole(preset: str, changes: Changes) -> dict[str, Any]:
    """Return a recipe with all that phase 1 gets where it says nothing."""
    content = recipe_of(preset, changes)
    declared = {entry.name: entry.default for entry in fields(DistributionalConfig)}
    usual = defaults.DISTRIBUTIONAL if content.get("lora") is None else defaults.DISTRIBUTIONAL_LORA
    return {**content, "distributional": {**declared, **usual, **content.get("distributional", {})}}
