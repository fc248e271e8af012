"""In which range the numbers of a recipe must lie: found before any work, in words, and not in the midst of a library.

Every number is finite, not negative and at most a thousand million, unless the table says otherwise. What the numbers
mean is said where they are declared: `recipe` for the sections, TRL and transformers for the trainers' arguments.
"""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

from pydantic import Field

from gen_rerank.errors import BadInput

Count = Annotated[int, Field(ge=1, le=1_000_000)]
"""A size of which there must be one at least."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A share of a whole."""
Positive = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
"""A width or a scale that is not 0."""

Vocabulary = Annotated[int, Field(ge=280, le=1_000_000)]
"""Of a new tokenizer: a token for each byte, and the control and bin tokens."""

_MOST_PARAMETERS = 10**9


class Range(NamedTuple):
    """Where a number must lie; `above` leaves out the least one, `below` the most; `off` means that there is none."""

    least: float = 0.0
    most: float = 1e9
    above: bool = False
    below: bool = False
    off: float | None = None

    def holds(self, value: float) -> bool:
        """Return whether a number lies in it; NaN lies nowhere."""
        high_enough = value > self.least if self.above else value >= self.least
        return value == self.off or (high_enough and (value < self.most if self.below else value <= self.most))

    def __str__(self) -> str:
        """Return it in words."""
        least = f"{'more than' if self.above else 'at least'} {self.least:g}"
        off = "" if self.off is None else f", or {self.off:g} for none"
        return f"{least} and {'less than' if self.below else 'at most'} {self.most:,.10g}{off}"


_COUNTED = Range(least=1)
_POSITIVE = Range(above=True)
_SHARE = Range(most=1)
_MOMENTUM = Range(most=1, below=True)
_SEED = Range(most=2**32 - 1)
_USUAL = Range()

_RANGES = {
    **dict.fromkeys(
        (
            "row_tokens", "batch_tokens", "patience", "save_total_limit", "gradient_accumulation_steps",
            "per_device_train_batch_size", "per_device_eval_batch_size", "eval_accumulation_steps",
            "torch_empty_cache_steps", "dataloader_prefetch_factor", "dataset_num_proc", "ddp_bucket_cap_mb",
            "ddp_timeout", "pad_to_multiple_of",
        ),
        _COUNTED,
    ),
    **dict.fromkeys(("eval_steps", "save_steps", "logging_steps"), _POSITIVE),
    **dict.fromkeys(("adam_beta1", "adam_beta2"), _MOMENTUM),
    **dict.fromkeys(("label_smoothing_factor", "warmup_ratio", "label_weight"), _SHARE),
    **dict.fromkeys(("seed", "data_seed"), _SEED),
    "folds": Range(least=2, most=1000),
    "num_train_epochs": Range(most=1e6, above=True),
    "max_steps": Range(least=1, off=-1),
    "local_rank": Range(off=-1),
    "dataloader_num_workers": Range(most=1024),
}  # fmt: skip


def require_in_range(name: str, value: float) -> None:
    """Require that a trainer's argument lies where it makes sense.

    Raises:
        BadInput: it does not.

    Example:
        >>> require_in_range("adam_beta1", 1)
        Traceback (most recent call last):
        gen_rerank.errors.BadInput: the recipe: adam_beta1: 1 is out of range; it must be at least 0 and less than 1
    """
    allowed = _RANGES.get(name, _USUAL)
    if not math.isfinite(value) or not allowed.holds(value):
        raise BadInput(f"the recipe: {name}: {value} is out of range; it must be {allowed}")


def require_model(hidden: int, layers: int, mlp: int, heads: int, vocabulary: int) -> None:
    """Require that the sizes of a new base fit together, and that it is no larger than can be learned from nothing.

    Raises:
        BadInput: the heads do not divide the width evenly, or it would have too many parameters.

    Example:
        >>> require_model(hidden=64, layers=2, mlp=128, heads=3, vocabulary=512)
        Traceback (most recent call last):
        gen_rerank.errors.BadInput: heads: 3 heads of an even width do not fill hidden: 64; choose another number
    """
    if heads < 1 or hidden % (2 * heads):
        raise BadInput(f"heads: {heads} heads of an even width do not fill hidden: {hidden}; choose another number")
    parameters = vocabulary * hidden + layers * (4 * hidden**2 + 3 * hidden * mlp)
    if parameters > _MOST_PARAMETERS:
        raise BadInput(
            f"a new base of this shape has {parameters / 1e6:,.0f} million parameters; at most "
            f"{_MOST_PARAMETERS / 1e6:,.0f} million can be learned from nothing"
        )
