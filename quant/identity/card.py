"""The card: the same prompt, and the same calibration unless further training is recorded."""

from __future__ import annotations

import hashlib
from typing import Any

from gen_rerank.checkpoints.card import Calibration, ScoreMap
from gen_rerank.prompting.prompt import FIELDS, PromptSpec, template_sha256
from quant.identity.sides import Fault, Side, same_alignment, same_training

_TEMPERATURE = "the temperature"
_MAP = "the map of scores"


def check_template(reference: Side, candidate: Side) -> str:
    """Require the same prompt, and return what it is.

    Raises:
        Fault: another template, length, budget or instruction.
    """
    ours, theirs = _prompt_fields(reference.card.prompt), _prompt_fields(candidate.card.prompt)
    for field, value in ours.items():
        if theirs[field] != value:
            raise Fault(f"another prompt: {field} is {theirs[field]!r}, in the reference {value!r}")
    return f"the same prompt: template {ours['template']}, at most {ours['max_length']} tokens"


def _prompt_fields(spec: PromptSpec) -> dict[str, Any]:
    """Return what a prompt is made of, with all that a card may leave out filled in."""
    return {
        "template": spec.template,
        "sha256": spec.sha256 or template_sha256(spec.template),
        "max_length": spec.max_length,
        **{f"the budget of {field}": spec.budget(field) for field in FIELDS},
        "instruction": spec.instruction,
    }


def check_calibration(reference: Side, candidate: Side) -> str:
    """Require the same temperature, map and thresholds, and return what they are.

    Raises:
        Fault: the card changes them without recording training or a calibration of the copy itself, or has lost the
            thresholds.
    """
    ours, theirs = reference.card.calibration, candidate.card.calibration
    tiers = ", ".join(f"{tier} {threshold:g}" for tier, threshold in ours.thresholds.items())
    if ours.thresholds and not theirs.thresholds:
        raise Fault(f"the card has no thresholds (the reference's are {tiers}): what it serves has no tiers")
    before, after = _settings(ours), _settings(theirs)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if not changed:
        mapped = "" if ours.score_map is None else f"{_called(ours.score_map)}, "
        return (
            f"the same: temperature {ours.temperature:g}, {mapped}{f'thresholds {tiers}' if tiers else 'no thresholds'}"
        )
    changes = ", and ".join(
        f"{name} is {after.get(name, 'not set')}, in the reference {before.get(name, 'not set')}" for name in changed
    )
    if _calibrated_itself(candidate):
        return f"its own, as the card records a calibration of this copy: {changes}"
    if ours.source is not None and ours.source != theirs.source and same_alignment(reference, candidate):
        changes += "; the reference was calibrated after it was copied: quantize it again, or calibrate the copy"
    # Re-alignment finds a temperature of its own, needs no map and keeps the thresholds: tier flips are counted at the
    # reference's.
    only_realigned = {*changed} <= {_TEMPERATURE, _MAP} and not same_alignment(reference, candidate)
    if same_training(reference, candidate) and not only_realigned:
        raise Fault(changes)
    return f"its own, as the card records further training: {changes}"


def _calibrated_itself(candidate: Side) -> bool:
    """Return whether the copy's calibration was found with its own weights, and not with those that were quantized."""
    source = candidate.card.calibration.source
    return source is not None and source.model not in (None, candidate.quantization.parent_fingerprint)


def _called(score_map: ScoreMap) -> str:
    """Return a name that two maps share where they are alike to six digits, and else do not."""
    rows = " ".join(f"{value:g}" for value in (*score_map.scores, *score_map.relevances))
    return f"a map with {len(score_map.scores)} points ({hashlib.sha256(rows.encode()).hexdigest()[:8]})"


def _settings(calibration: Calibration) -> dict[str, str]:
    """Return what a card says about calibration, as people read it: to six digits."""
    mapped = {} if calibration.score_map is None else {_MAP: _called(calibration.score_map)}
    return {
        _TEMPERATURE: f"{calibration.temperature:g}",
        **mapped,
        **{f"the threshold of {tier}": f"{threshold:g}" for tier, threshold in calibration.thresholds.items()},
    }
