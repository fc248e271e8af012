"""The linear layers: each one's decoded weights are as near the reference's as its scheme explains."""

from __future__ import annotations

from torch import Tensor

from gen_rerank.checkpoints.weights import Weights
from quant.comparison import LayerError
from quant.identity.sides import Fault, Side, same_shape, same_training, smoothed_by_either

# Unrelated matrices have a cosine of 0, fine-tuned ones above 0.9.
_SAME_LAYER = 0.8
_WRONG_SCALE = 0.1
# The largest ‖W' − W‖ / ‖W‖ that a scheme explains. Of 8 bits: float rounding is 0.026 whatever the weights are, that
# of integers 0.01, more where a row has outliers. Of 4 bits: rounding is 0.1 to 0.13, and GPTQ, which makes errors
# larger so that they cancel on the example pairs, reaches 0.25. Of 16 bits: bfloat16 is 0.002.
_EIGHT_BITS, _FOUR_BITS, _UNQUANTIZED = 0.05, 0.4, 0.01


def check_layers(reference: Side, candidate: Side, errors: list[LayerError]) -> str:
    """Require that every linear layer is the reference's but for rounding; return the largest error.

    Args:
        reference: whose layers are compared.
        candidate: that must have the same ones.
        errors: gets the error of each layer, also of those before a fault.

    Raises:
        Fault: a layer that is not finite, wrongly scaled, unrelated, or further away than its scheme explains.
    """
    names = reference.linear()
    smoothed = smoothed_by_either(reference, candidate)
    unlike: list[tuple[str, float]] = []
    scaled: list[LayerError] = []
    unexplained: list[LayerError] = []
    for name in names:
        norm = smoothed.get(name)
        ours, theirs = same_shape(name, *(_product(side.weights, name, norm) for side in (reference, candidate)))
        if not theirs.isfinite().all():
            raise Fault(f"{name} holds values that are not finite")
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
        raise Fault(f"{scaled[0].layer} is scaled by {scaled[0].scale:.2f}: a wrong scale{more}")
    if unlike:
        name, cosine = unlike[0]
        raise Fault(
            f"{name} has little in common with the reference's (cosine {cosine:.2f}); so have {len(unlike)} of "
            f"{len(names)} layers"
        )
    if unexplained and same_training(reference, candidate):
        worst = max(unexplained, key=lambda error: error.relative_error)
        more = f" (and {len(unexplained) - 1} more layers)" if len(unexplained) > 1 else ""
        raise Fault(
            f"{worst.layer} is {worst.relative_error:.2%} from the reference's{more}: more than rounding explains"
        )
    worst = max(errors, key=lambda error: error.relative_error)
    return (
        f"{len(names)} layers agree with the reference's; the largest relative error is {worst.relative_error:.2%}, of "
        f"{worst.layer}"
    )


def _product(weights: Weights, layer: str, norm: str | None) -> Tensor:
    """Return a layer's weight, `[out, in]` float32, times that of the norm, if there is one."""
    weight = weights.weight(layer)
    return weight if norm is None else weight * weights.tensor(f"{norm}.weight").float()


def _explained(side: Side, layer: str) -> float:
    """Return how far rounding can take a layer from what it was, by what it is stored as, or was before decoding."""
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
