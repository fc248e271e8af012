"""What a candidate must share with its reference, read from their files: base, tokenizer, template, readout and more.

Scores say that something is wrong, files say what: each check gives one sentence that names the place. No model is
built, so a candidate that cannot be opened is still looked at. A check that cannot be made says why, and does not hold.

How exact a check is follows from the candidate's card. One whose provenance is the reference's (but for the
quantization) claims to be the same training, so whatever is not quantized must be the same to the last bit; one that
was trained further, or re-aligned, must only be recognisable.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gen_rerank.checkpoints.card import CARD, Calibration, Card, Quantization, Readout, read_card
from gen_rerank.checkpoints.checkpoint import Checkpoint
from gen_rerank.checkpoints.folders import read_tokenizer, resolve_folder
from gen_rerank.checkpoints.weights import Weights, reads_out
from gen_rerank.errors import BadInput
from gen_rerank.prompting.prompt import FIELDS, PromptSpec, template_sha256
from quant.comparison import Check, LayerError
from gen_rerank.checkpoints.schemes import SCHEMES
from quant.recipes import smoothed_norms

# What two models of one base cannot differ in.
_SHAPE = (
    "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
    "intermediate_size", "vocab_size", "rope_parameters", "rms_norm_eps", "hidden_act",
)  # fmt: skip

# In the order in which a text goes through them.
_TOKENIZER_PARTS = ("normalizer", "pre_tokenizer", "model", "added_tokens", "post_processor")

_TEMPERATURE = "the temperature"

# Unrelated matrices have a cosine of 0, fine-tuned ones above 0.9.
_SAME_BASE = 0.5
_SAME_LAYER = 0.8
_WRONG_SCALE = 0.1
# The largest ‖W' − W‖ / ‖W‖ that a scheme explains. Of 8 bits: float rounding is 0.026 whatever the weights are, that of
# integers 0.01, more where a row has outliers. Of 4 bits: rounding is 0.1 to 0.13, and GPTQ, which makes errors larger so
# that they cancel on the calibration data, reaches 0.25. Of 16 bits: bfloat16 is 0.002.
_EIGHT_BITS, _FOUR_BITS, _UNQUANTIZED = 0.05, 0.4, 0.01
_LAYERS_KEPT = 10
_SAMPLED_ROWS = 20_000

# Another order of the rows must explain them this much better than their own before they count as permuted.
_BETTER_ORDER = 0.5
# What bfloat16 rounding of a value and of its row's largest one can do to their ratio.
_ROUNDING = 2.0**-7
# That a row lies on a grid by chance is less probable than this.
_CHANCE = 1e-9


class _Fault(Exception):
    """What a check found wrong, in one sentence."""


@dataclass(frozen=True)
class _Side:
    """The files of the reference or of a candidate; each is read when a check first needs it."""

    name: str | Path

    @cached_property
    def folder(self) -> Path:
        return resolve_folder(self.name)

    @cached_property
    def card(self) -> Card:
        # Without a card of their own only public rerankers open, by their names.
        return read_card(self.folder, Card) if (self.folder / CARD).is_file() else Checkpoint.open(self.name).card

    @cached_property
    def weights(self) -> Weights:
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


def identity(reference: str | Path, candidate: str | Path) -> tuple[list[Check], list[LayerError]]:
    """Compare the files of a candidate with those of the reference.

    Args:
        reference: a folder or hub name, quantized or not.
        candidate: a folder or hub name that should have been made from it.

    Returns:
        the checks `base`, `tokenizer`, `template`, `readout`, `calibration` and `layers`, and the ten largest errors of
        layers, largest first.

    Example:
        >>> checks, _ = identity("runs/demo/model", "runs/demo/model-int8")  # doctest: +SKIP
        >>> [check.name for check in checks if not check.held]  # doctest: +SKIP
        []
    """
    before, after = _Side(reference), _Side(candidate)
    errors: list[LayerError] = []
    checks = [
        _check("base", lambda: _base(before, after)),
        _check("tokenizer", lambda: _tokenizer(before, after)),
        _check("template", lambda: _template(before, after)),
        _check("readout", lambda: _readout(before, after)),
        _check("calibration", lambda: _calibration(before, after)),
        _check("layers", lambda: _layers(before, after, errors)),
    ]
    errors.sort(key=lambda error: -error.relative_error)
    return checks, errors[:_LAYERS_KEPT]


def _check(name: str, find: Callable[[], str]) -> Check:
    try:
        return Check(name=name, held=True, finding=find())
    except _Fault as fault:
        return Check(name=name, held=False, finding=str(fault))
    except Exception as error:  # whatever a broken file makes the libraries raise
        return Check(name=name, held=False, finding=f"could not be checked: {' '.join(str(error).split())}")


def _same_training(reference: _Side, candidate: _Side) -> bool:
    """Return whether the candidate's card claims the reference's training and no more."""
    return candidate.training == reference.training


def _same_alignment(reference: _Side, candidate: _Side) -> bool:
    """Return whether the card claims, too, that the readout was not aligned again."""
    ours, theirs = (side.quantization.realigned for side in (reference, candidate))
    return _same_training(reference, candidate) and ours == theirs


def _base(reference: _Side, candidate: _Side) -> str:
    ours, theirs = reference.weights.config, candidate.weights.config
    for field in _SHAPE:
        if field in ours and field in theirs and ours[field] != theirs[field]:
            raise _Fault(
                f"made from another base: config.json says {field} {theirs[field]}, the reference's says {ours[field]}"
            )
    for module in reference.embeddings:
        cosine = _embedding_cosine(reference, candidate, module)
        if not cosine >= _SAME_BASE:
            raise _Fault(
                f"made from another base: {module} has little in common with the reference's (cosine {cosine:.2f})"
            )
    changed = _changed_tensors(reference, candidate)
    if changed and _same_training(reference, candidate):
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise _Fault(
            f"{next(iter(changed.values()))}{more}, although the card records no training beyond the reference's"
        )
    if changed:
        return (
            f"of the reference's base, trained differently: {len(changed)} embeddings and norms are not the reference's"
        )
    others = [f"{name}, quantized" for name in reference.embeddings if candidate.weights.stored_as(name)]
    if smoothed := set(_smoothed(reference, candidate).values()):
        others.append(f"{len(smoothed)} smoothed norms, judged with the layers that read them")
    but = f", but for {' and '.join(others)}," if others else ""
    return f"embeddings and norms{but} are the reference's{_parent_note(reference, candidate)}"


def _smoothed(reference: _Side, candidate: _Side) -> dict[str, str]:
    """Return the norm of each layer of which only the product with it can be compared, by the layer."""
    return {**reference.smoothed, **candidate.smoothed}


def _parent_note(reference: _Side, candidate: _Side) -> str:
    """Say that the card names another parent: the contents, which are equal, are what counts."""
    recorded = candidate.quantization.parent_fingerprint
    if recorded is None or recorded == Checkpoint.open(reference.name).fingerprint:
        return ""
    return f" (the card names a parent with other files, fingerprint {recorded}, but these are equal in content)"


def _embedding_cosine(reference: _Side, candidate: _Side, module: str) -> float:
    """Return the cosine of two centred embedding matrices, over rows that are spread evenly."""
    ours, theirs = _same_shape(module, reference.weights.weight(module), candidate.weights.weight(module))
    rows = torch.arange(0, len(ours), -(-len(ours) // _SAMPLED_ROWS))
    if torch.equal(ours[rows], theirs[rows]):
        return 1.0
    ours, theirs = (side[rows] - side[rows].mean(dim=0) for side in (ours, theirs))
    return float((ours * theirs).sum() / (ours.norm() * theirs.norm()))


def _changed_tensors(reference: _Side, candidate: _Side) -> dict[str, str]:
    """Return a clause for each tensor that quantization leaves alone and that is not the reference's.

    Left out: readout rows and linear layers, which have checks of their own, and smoothed norms, which are judged with the
    layers that read them. A quantized embedding is not the reference's; that it is near was seen before.
    """
    judged = {
        *reference.linear(),
        *(name for name in reference.readout_modules if name not in reference.embeddings),
        *_smoothed(reference, candidate).values(),
    }
    found = {}
    for name in reference.weights.files:
        module, _, leaf = name.rpartition(".")
        quantized = any(
            side.weights.stored_as(module) for side in (reference, candidate) if module in side.weights.modules
        )
        if leaf != "bias" and (module in judged or quantized):
            continue
        ours, theirs = _same_shape(name, reference.weights.tensor(name), candidate.weights.tensor(name))
        unlike = _unlike(ours, theirs).reshape(len(ours), -1).any(dim=1)
        if module in reference.readout_modules:
            unlike[list(reference.card.readout.token_ids)] = False
        if unlike.any():
            found[name] = f"{name} is not the reference's in {int(unlike.sum()):,} of {len(unlike):,} rows"
    return found


def _tokenizer(reference: _Side, candidate: _Side) -> str:
    ours, theirs = reference.tokenizer, candidate.tokenizer
    for part in _TOKENIZER_PARTS:
        if ours.get(part) != theirs.get(part):
            raise _Fault(f"another tokenizer: {_tokenizer_difference(part, ours.get(part), theirs.get(part))}")
    return f"the same in content: {len(ours['model']['vocab']):,} entries, the same merges, added tokens and rules"


def _tokenizer_difference(part: str, ours: Any, theirs: Any) -> str:
    if part == "added_tokens":
        before, after = ({token["content"]: token["id"] for token in tokens} for tokens in (ours, theirs))
        return _mapping_difference("the added token", before, after) or "added tokens have other flags"
    if part != "model":
        return f"the {part.replace('_', '-')} is not the reference's"
    vocabularies = ours.get("vocab"), theirs.get("vocab")
    if all(isinstance(vocabulary, dict) for vocabulary in vocabularies):
        difference = _mapping_difference("the token", *vocabularies)
        if difference:
            return difference
    for number, (a, b) in enumerate(zip(ours.get("merges", ()), theirs.get("merges", ()), strict=False)):
        if a != b:
            return f"merge {number} is {'+'.join(b)}, in the reference {'+'.join(a)}"
    field = next(key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key))
    return f"the model's {field} is not the reference's"


def _mapping_difference(what: str, ours: Mapping[str, int], theirs: Mapping[str, int]) -> str:
    """Name the first token, by its id in the reference, that has another id."""
    for token, number in sorted(ours.items(), key=lambda item: item[1]):
        if token not in theirs:
            return f"{what} {token!r} is missing"
        if theirs[token] != number:
            return f"{what} {token!r} has the id {theirs[token]}, in the reference {number}"
    extra = [token for token in theirs if token not in ours]
    return f"{what} {extra[0]!r} is not in the reference" if extra else ""


def _template(reference: _Side, candidate: _Side) -> str:
    ours, theirs = _prompt_fields(reference.card.prompt), _prompt_fields(candidate.card.prompt)
    for field, value in ours.items():
        if theirs[field] != value:
            raise _Fault(f"another prompt: {field} is {theirs[field]!r}, in the reference {value!r}")
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


def _readout(reference: _Side, candidate: _Side) -> str:
    readout = reference.card.readout
    _same_readout(readout, candidate.card.readout)
    for module in candidate.readout_modules:
        if stored := candidate.weights.stored_as(module):
            raise _Fault(f"the readout is quantized: the weights of {module} are stored {_as(stored)}")
    if readout.kind != "classifier" and candidate.weights.is_to_be_quantized("lm_head"):
        raise _Fault("the readout is quantized: config.json does not leave lm_head out of the quantization")
    names = _row_names(readout)
    ours, theirs = _rows(reference), _rows(candidate)
    _same_shape("the readout", ours, theirs)
    _sound_rows(names, ours, theirs)
    exact = _same_alignment(reference, candidate)
    grid = _grid(theirs) if _grid(ours) is None else None
    if exact and _unlike(ours, theirs).any():
        apart = float((theirs.float() - ours.float()).norm() / ours.float().norm())
        reason = (
            f"lie on a grid of {grid}: they were quantized"
            if grid
            else "the card records no training that changed them"
        )
        raise _Fault(f"the rows of the readout differ from the reference's by {apart:.2%}, and {reason}")
    if grid:
        raise _Fault(f"the rows of the readout lie on a grid of {grid}: they were quantized")
    if exact:
        _same_head(reference, candidate)
    state = "the reference's" if exact else "finite, none is zero, in the reference's order"
    return f"the same {readout.kind} readout, in high precision; its {len(names)} rows are {state}"


def _as(stored: str) -> str:
    return stored if stored.startswith(("packed", "with")) else f"as {stored}"


def _same_readout(ours: Readout, theirs: Readout) -> None:
    if ours.kind != theirs.kind:
        raise _Fault(f"another readout: the card says {theirs.kind}, the reference's says {ours.kind}")
    if ours.tokens != theirs.tokens:
        raise _Fault(
            f"another readout: its tokens are {', '.join(theirs.tokens)}, in the reference {', '.join(ours.tokens)}"
        )
    names = _row_names(ours)
    for field in ("token_ids", "values"):
        before, after = getattr(ours, field), getattr(theirs, field)
        if len(before) != len(after):
            raise _Fault(f"another readout: the card has {len(after)} {field}, the reference's has {len(before)}")
        moved = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        if moved:
            swapped = len(moved) == 2 and sorted(before) == sorted(after)
            both = f"; it is swapped with that of {names[moved[1]]}" if swapped else ""
            what = "id" if field == "token_ids" else "value"
            first = moved[0]
            raise _Fault(
                f"the {what} of {names[first]} is {after[first]} in the card, in the reference {before[first]}{both}"
            )


def _row_names(readout: Readout) -> list[str]:
    return list(readout.tokens) or [f"the label worth {value}" for value in readout.values]


def _rows(side: _Side) -> Tensor:
    """Return the rows that are read, `[k, hidden]`, as stored."""
    if side.card.readout.kind == "classifier":
        return side.weights.tensor("classifier.weight")
    modules = side.readout_modules
    if not modules:
        raise BadInput(f"{side.folder}: the weights have no output matrix")
    return side.weights.tensor(f"{modules[-1]}.weight")[list(side.card.readout.token_ids)]


def _sound_rows(names: Sequence[str], ours: Tensor, theirs: Tensor) -> None:
    before, after = ours.double(), theirs.double()
    for state, bad in (
        ("not finite", ~after.isfinite().all(dim=1)),
        ("zero", (after == 0).all(dim=1) & (before != 0).any(dim=1)),
    ):
        if bad.any():
            raise _Fault(
                f"{_listed('the row of', 'the rows of', [names[i] for i in bad.nonzero().flatten().tolist()])} {state}"
            )
    # The order that explains the rows best; independent of where they were moved to together.
    distance = torch.cdist(after, before).square().numpy()
    _, nearest = linear_sum_assignment(distance)
    moved = [i for i, j in enumerate(nearest.tolist()) if i != j]
    own = distance.trace()
    if moved and distance[range(len(nearest)), nearest].sum() < _BETTER_ORDER * own:
        if len(moved) == 2:
            raise _Fault(f"the rows of {names[moved[0]]} and {names[moved[1]]} are swapped")
        first = moved[0]
        raise _Fault(
            f"{len(moved)} rows of the readout are permuted: that of {names[first]} is the reference's of {names[nearest[first]]}"
        )


def _listed(one: str, several: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{one} {names[0]} is"
    return f"{several} {', '.join(names[:-1])} and {names[-1]} are"


def _same_head(reference: _Side, candidate: _Side) -> None:
    """Require the layers in front of an encoder's rows, and all biases of the readout, to be the reference's."""
    read = set(reference.readout_modules) - set(reference.embeddings)
    for name in (name for name in reference.weights.files if name.rpartition(".")[0] in read - {"lm_head"}):
        ours, theirs = _same_shape(name, reference.weights.tensor(name), candidate.weights.tensor(name))
        if _unlike(ours, theirs).any():
            raise _Fault(
                f"{name} of the readout is not the reference's, although the card records no training that changed it"
            )


def _grid(rows: Tensor) -> str | None:
    """Return the grid that all rows lie on, each scaled by its largest value, or None.

    Quantized and decoded again, a row has few distinct ratios to its largest value: k / 127 for 8-bit integers.
    Rounding to bfloat16 blurs them by a known amount, so each value that is near a grid point counts by how improbable
    that is for a value that knows of no grid.
    """
    values = rows.double()
    ratios = (values / values.abs().amax(dim=1, keepdim=True)).abs()
    fp8 = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).double()
    grids = {
        "4-bit integers": [torch.arange(0, top + 1) / top for top in (7, 8)],
        "8-bit integers": [torch.arange(0, top + 1) / top for top in (127, 128)],
        "8-bit floats": [fp8[fp8.isfinite() & (fp8 >= 0)].unique() / 448],
    }
    for name, points in grids.items():
        if all(any(_lies_on(row, grid.double()) for grid in points) for row in ratios):
            return name
    return None


def _lies_on(ratios: Tensor, grid: Tensor) -> bool:
    """Return whether `ratios`, in [0, 1], lie on sorted `grid` points and are too many to do so by chance."""
    inner = ratios[(ratios > 0) & (ratios < 1)]
    above = torch.searchsorted(grid, inner).clamp(1, len(grid) - 1)
    low, high = grid[above - 1], grid[above]
    point = torch.where(inner - low < high - inner, low, high)
    tolerance = point * _ROUNDING
    chance = (2 * tolerance / (high - low)).clamp(max=1.0)
    near = (inner - point).abs() <= tolerance
    return bool(near.all()) and float(chance.log().sum()) < math.log(_CHANCE)


def _calibration(reference: _Side, candidate: _Side) -> str:
    ours, theirs = reference.card.calibration, candidate.card.calibration
    tiers = ", ".join(f"{tier} {threshold:g}" for tier, threshold in ours.thresholds.items())
    if ours.thresholds and not theirs.thresholds:
        raise _Fault(f"the card has no thresholds (the reference's are {tiers}): what it serves has no tiers")
    before, after = _settings(ours), _settings(theirs)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if not changed:
        return f"the same: temperature {ours.temperature:g}, {f'thresholds {tiers}' if tiers else 'no thresholds'}"
    changes = ", and ".join(
        f"{name} is {after.get(name, 'not set')}, in the reference {before.get(name, 'not set')}" for name in changed
    )
    # Re-alignment finds a temperature of its own and keeps the thresholds: tier flips are counted at the reference's.
    only_realigned = changed == [_TEMPERATURE] and not _same_alignment(reference, candidate)
    if _same_training(reference, candidate) and not only_realigned:
        raise _Fault(changes)
    return f"its own, as the card records further training: {changes}"


def _settings(calibration: Calibration) -> dict[str, str]:
    """Return what a card says about calibration, as people read it: to six digits."""
    return {
        _TEMPERATURE: f"{calibration.temperature:g}",
        **{f"the threshold of {tier}": f"{threshold:g}" for tier, threshold in calibration.thresholds.items()},
    }


def _layers(reference: _Side, candidate: _Side, errors: list[LayerError]) -> str:
    """Compare every linear layer, and put its error into `errors`."""
    names = reference.linear()
    smoothed = _smoothed(reference, candidate)
    unlike: list[tuple[str, float]] = []
    scaled: list[LayerError] = []
    unexplained: list[LayerError] = []
    for name in names:
        norm = smoothed.get(name)
        ours, theirs = _same_shape(name, *(_product(side.weights, name, norm) for side in (reference, candidate)))
        if not theirs.isfinite().all():
            raise _Fault(f"{name} holds values that are not finite")
        error, cosine = _layer_error(name, ours, theirs)
        errors.append(error)
        if cosine < _SAME_LAYER:
            unlike.append((name, cosine))
        elif abs(error.scale - 1) > _WRONG_SCALE:
            scaled.append(error)
        elif error.relative_error > max(_explained(side, name) for side in (reference, candidate)):
            unexplained.append(error)
    if scaled:
        more = f" (and {len(scaled) - 1} more layers)" if len(scaled) > 1 else ""
        raise _Fault(f"{scaled[0].layer} is scaled by {scaled[0].scale:.2f}: a wrong scale{more}")
    if unlike:
        name, cosine = unlike[0]
        raise _Fault(
            f"{name} has little in common with the reference's (cosine {cosine:.2f}); so have {len(unlike)} of {len(names)} layers"
        )
    if unexplained and _same_training(reference, candidate):
        worst = max(unexplained, key=lambda error: error.relative_error)
        more = f" (and {len(unexplained) - 1} more layers)" if len(unexplained) > 1 else ""
        raise _Fault(
            f"{worst.layer} is {worst.relative_error:.2%} from the reference's{more}: more than rounding explains"
        )
    worst = max(errors, key=lambda error: error.relative_error)
    return f"{len(names)} layers agree with the reference's; the largest relative error is {worst.relative_error:.2%}, of {worst.layer}"


def _product(weights: Weights, layer: str, norm: str | None) -> Tensor:
    """Return a layer's weight, `[out, in]` float32, times that of the norm, if there is one."""
    weight = weights.weight(layer)
    return weight if norm is None else weight * weights.tensor(f"{norm}.weight").float()


def _explained(side: _Side, layer: str) -> float:
    """Return how far rounding to what a layer is stored as, or was before it was decoded, can take it from what it was."""
    stored = side.weights.stored_as(layer)
    if stored in ("int8", "float8_e4m3fn"):
        return _EIGHT_BITS
    return _FOUR_BITS if stored or side.quantization.dequantized else _UNQUANTIZED


def _layer_error(name: str, ours: Tensor, theirs: Tensor) -> tuple[LayerError, float]:
    """Return the error of a layer, and the cosine of its weights with the reference's."""
    size, product = float(ours.square().sum()), float((ours * theirs).sum())
    if size == 0:  # a residual branch that is still silent
        same = not theirs.any()
        return LayerError(layer=name, relative_error=0.0 if same else 1.0, scale=1.0), float(same)
    apart = float((theirs - ours).square().sum())
    cosine = product / max(1e-30, (size * float(theirs.square().sum())) ** 0.5)
    return LayerError(layer=name, relative_error=(apart / size) ** 0.5, scale=product / size), cosine


def _same_shape(name: str, ours: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    if ours.shape != theirs.shape:
        raise _Fault(
            f"made from another base: {name} has the shape {list(theirs.shape)}, in the reference {list(ours.shape)}"
        )
    return ours, theirs


def _unlike(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return where neither value is the other one rounded to its own dtype: a copy in bfloat16 was rounded to it."""
    return (ours.to(theirs.dtype) != theirs) & (theirs.to(ours.dtype) != ours)
