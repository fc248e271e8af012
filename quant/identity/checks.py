"""What a candidate must share with its reference, read from their files: the checks, in order.

Scores say that something is wrong, files say what: each check gives one sentence that names the place. No model is
built, so a candidate that cannot be opened is still looked at. A check that cannot be made says why, and does not hold.

How exact a check is follows from the candidate's card. One whose provenance is the reference's (but for the
quantization) claims to be the same training, so whatever is not quantized must be the same to the last bit; one that
was trained further, or re-aligned, must only be recognisable.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from quant.comparison import Check, LayerError
from quant.identity.base import check_base
from quant.identity.card import check_calibration, check_template
from quant.identity.layers import check_layers
from quant.identity.readout import check_readout
from quant.identity.sides import Fault, Side
from quant.identity.tokenizer import check_tokenizer

_LAYERS_KEPT = 10


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
    before, after = Side(reference), Side(candidate)
    errors: list[LayerError] = []
    checks = [
        _check("base", lambda: check_base(before, after)),
        _check("tokenizer", lambda: check_tokenizer(before, after)),
        _check("template", lambda: check_template(before, after)),
        _check("readout", lambda: check_readout(before, after)),
        _check("calibration", lambda: check_calibration(before, after)),
        _check("layers", lambda: check_layers(before, after, errors)),
    ]
    errors.sort(key=lambda error: -error.relative_error)
    return checks, errors[:_LAYERS_KEPT]


def _check(name: str, find: Callable[[], str]) -> Check:
    try:
        return Check(name=name, held=True, finding=find())
    except Fault as fault:
        return Check(name=name, held=False, finding=str(fault))
    except Exception as error:  # whatever a broken file makes the libraries raise
        return Check(name=name, held=False, finding=f"could not be checked: {' '.join(str(error).split())}")
