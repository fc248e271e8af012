"""The readout: the same outputs, worth the same, in the same order, and in high precision.

Eleven rows decide every score. A row that is zero, swapped or rounded to a grid is found in the rows themselves,
whatever the card says.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gen_rerank.checkpoints.card import Readout
from gen_rerank.errors import BadInput
from quant.identity.grids import grid_of
from quant.identity.sides import Fault, Side, same_alignment, same_shape, unlike

# Another order of the rows must explain them this much better than their own before they count as permuted.
_BETTER_ORDER = 0.5


def check_readout(reference: Side, candidate: Side) -> str:
    """Require the same readout in high precision, and return the state of its rows.

    Raises:
        Fault: another readout, a quantized one, or rows that are broken, moved or changed by no recorded training.
    """
    readout = reference.card.readout
    _same_readout(readout, candidate.card.readout)
    for module in candidate.readout_modules:
        if stored := candidate.weights.stored_as(module):
            raise Fault(f"the readout is quantized: the weights of {module} are stored {_as(stored)}")
    if readout.kind != "classifier" and candidate.weights.is_to_be_quantized("lm_head"):
        raise Fault("the readout is quantized: config.json does not leave lm_head out of the quantization")
    names = _row_names(readout)
    ours, theirs = _rows(reference), _rows(candidate)
    same_shape("the readout", ours, theirs)
    _sound_rows(names, ours, theirs)
    exact = same_alignment(reference, candidate)
    grid = grid_of(theirs) if grid_of(ours) is None else None
    if exact and unlike(ours, theirs).any():
        apart = float((theirs.float() - ours.float()).norm() / ours.float().norm())
        reason = (
            f"lie on a grid of {grid}: they were quantized"
            if grid
            else "the card records no training that changed them"
        )
        raise Fault(f"the rows of the readout differ from the reference's by {apart:.2%}, and {reason}")
    if grid:
        raise Fault(f"the rows of the readout lie on a grid of {grid}: they were quantized")
    if exact:
        _same_head(reference, candidate)
    state = "the reference's" if exact else "finite, none is zero, in the reference's order"
    return f"the same {readout.kind} readout, in high precision; its {len(names)} rows are {state}"


def _as(stored: str) -> str:
    return stored if stored.startswith(("packed", "with")) else f"as {stored}"


def _same_readout(ours: Readout, theirs: Readout) -> None:
    if ours.kind != theirs.kind:
        raise Fault(f"another readout: the card says {theirs.kind}, the reference's says {ours.kind}")
    if ours.tokens != theirs.tokens:
        raise Fault(
            f"another readout: its tokens are {', '.join(theirs.tokens)}, in the reference {', '.join(ours.tokens)}"
        )
    names = _row_names(ours)
    for field in ("token_ids", "values"):
        before, after = getattr(ours, field), getattr(theirs, field)
        if len(before) != len(after):
            raise Fault(f"another readout: the card has {len(after)} {field}, the reference's has {len(before)}")
        moved = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        if moved:
            swapped = len(moved) == 2 and sorted(before) == sorted(after)
            both = f"; it is swapped with that of {names[moved[1]]}" if swapped else ""
            what = "id" if field == "token_ids" else "value"
            first = moved[0]
            raise Fault(
                f"the {what} of {names[first]} is {after[first]} in the card, in the reference {before[first]}{both}"
            )


def _row_names(readout: Readout) -> list[str]:
    return list(readout.tokens) or [f"the label worth {value}" for value in readout.values]


def _rows(side: Side) -> Tensor:
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
            raise Fault(
                f"{_listed('the row of', 'the rows of', [names[i] for i in bad.nonzero().flatten().tolist()])} {state}"
            )
    # The order that explains the rows best; independent of where they were moved to together.
    distance = torch.cdist(after, before).square().numpy()
    _, nearest = linear_sum_assignment(distance)
    moved = [i for i, j in enumerate(nearest.tolist()) if i != j]
    own = distance.trace()
    if moved and distance[range(len(nearest)), nearest].sum() < _BETTER_ORDER * own:
        if len(moved) == 2:
            raise Fault(f"the rows of {names[moved[0]]} and {names[moved[1]]} are swapped")
        first = moved[0]
        raise Fault(
            f"{len(moved)} rows of the readout are permuted: that of {names[first]} is the reference's of "
            f"{names[nearest[first]]}"
        )


def _listed(one: str, several: str, names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"{one} {names[0]} is"
    return f"{several} {', '.join(names[:-1])} and {names[-1]} are"


def _same_head(reference: Side, candidate: Side) -> None:
    """Require the layers in front of an encoder's rows, and all biases of the readout, to be the reference's."""
    read = set(reference.readout_modules) - set(reference.embeddings)
    for name in (name for name in reference.weights.files if name.rpartition(".")[0] in read - {"lm_head"}):
        ours, theirs = same_shape(name, reference.weights.tensor(name), candidate.weights.tensor(name))
        if unlike(ours, theirs).any():
            raise Fault(
                f"{name} of the readout is not the reference's, although the card records no training that changed it"
            )
