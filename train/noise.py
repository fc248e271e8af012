"""How much annotators disagree, and where: the width of the targets estimated from repeated labels.

`fit_noise` estimates σ_min, and σ_max and δ of each transition, from pairs that several annotators labelled;
`target_noise` says which σ(y) a run's targets get; `disagreement` gives the raw spread of labels by level of relevance,
to hold the estimate against. What a width does to a target is left to `train.targets`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Judgment
from gen_rerank.data.sigma import TRANSITIONS, sigma
from gen_rerank.errors import BadInput
from train.targets import Noise, Variance

Doubles = npt.NDArray[np.float64]

_MINIMUM_PAIRS = 50
_GRID = np.linspace(0.0, 1.0, 41)  # the values that the unknown relevance of a pair may have
# A width above one half is as good as no opinion, so widths are ½ · sigmoid(x) and the slip is sigmoid(x).
_WIDEST = 0.5
_USUAL_SLIP = 0.02
# How far the parameters may be expected from the published constants, as standard deviations of x. For small values x
# is the logarithm: a width is within a factor of two, a slip of five.
_WIDTH_SPREAD, _SLIP_SPREAD = math.log(2), math.log(5)
_WEIGHT_SPREAD = 3.0
_SAYS_LITTLE = 0.9


class Parameter(BaseModel):
    """One estimated number, in units of relevance (the slip: a probability).

    Attributes:
        name: `sigma_min`, `sigma_max at 0.2`, `delta at 0.2`, …, `slip`.
        estimate: its value.
        standard_error: of the estimate.
        published: the constant that it is drawn to where the labels say nothing.
        from_labels: False where the labels say next to nothing, so that the estimate stays near `published`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    estimate: float
    standard_error: float
    published: float
    from_labels: bool


class FittedNoise(BaseModel):
    """What `fit_noise` found; `model_dump` and `model_validate` carry it into and out of a checkpoint's provenance.

    Attributes:
        noise: the width as a function of relevance.
        slip: the probability that an annotator errs altogether and gives any grade. Without it σ_min would be too
            large. It is no part of the targets: it would draw their mean, the score, towards ½ and gains next to
            nothing in RPS.
        parameters: each estimate with its standard error.
        grades: how many grades the annotators choose from, equally spaced from 0 to 1.
        pairs: how many pairs had two labels or more.
        labels: how many labels these pairs had.
        log_likelihood: of all labels, natural logarithm, without the priors.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    noise: Noise
    slip: float
    parameters: tuple[Parameter, ...]
    grades: int
    pairs: int
    labels: int
    log_likelihood: float

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each parameter that the labels say next to nothing about."""
        return tuple(
            f"the labels say next to nothing about {row.name}; it stays near the published {row.published:g}"
            for row in self.parameters
            if not row.from_labels
        )

    def label_std(self, relevance: npt.ArrayLike) -> Doubles:
        """Return the standard deviation of one label, `[n]`, of pairs with this relevance `[n]`.

        It is what `disagreement` measures: σ(y), changed by rounding to grades, by the ends of the scale and by slips.
        """
        given = np.asarray(relevance, dtype=np.float64)
        width = torch.from_numpy(self.noise.sigma(given))
        slip = torch.tensor(self.slip, dtype=torch.float64)
        chance = grade_probabilities(torch.from_numpy(given), width, slip, self.grades).numpy()
        grade = np.linspace(0.0, 1.0, self.grades)
        return np.sqrt(np.maximum(chance @ grade**2 - (chance @ grade) ** 2, 0.0))


def fit_noise(labels: Sequence[Sequence[float]], *, transitions: tuple[float, ...] = TRANSITIONS) -> FittedNoise:
    """Estimate annotation noise from repeated labels, by penalised maximum likelihood.

    The model: an annotator's opinion of a pair with relevance y is Gaussian around y with the width σ(y) of `Noise`;
    the label is the nearest grade, beyond the ends the last one; with a small probability, the slip, it is any grade.
    The relevance itself is not an input, since it is most often the mean of the very labels, around which they spread
    too little. It is integrated out, with its own distribution over 41 values estimated too (nonparametric maximum
    likelihood: Kiefer & Wolfowitz, Annals of Mathematical Statistics 1956; Laird, JASA 1978).

    Where labels are scarce, the penalty decides: independent Gaussian priors on the logits of the parameters, with
    medians at the published constants and a factor of two as standard deviation (slip: 0.02, a factor of five).
    The 41 weights have one too, on their logarithms, of standard deviation 3. Standard errors are from the inverse of
    the observed information, penalty included, of parameters and weights together, by the delta method.

    Args:
        labels: the single grades of each pair, on equally spaced grades from 0 to 1 (tenths, thirds, …; the spacing is
            the smallest gap between two labels, a hundredth at least). Pairs with fewer than two are left out.
        transitions: where people disagree more.

    Raises:
        BadInput: fewer than 50 pairs have two labels or more, a label is outside [0, 1] or off the grid, there are
            fewer than three grades, or no pair's annotators disagree.

    Example:
        >>> fit_noise([row.labels for row in train.judgments]).noise.sigma_min  # doctest: +SKIP
        0.0485
    """
    repeated = [[round(float(label), 2) for label in grades] for grades in labels if len(grades) > 1]
    if len(repeated) < _MINIMUM_PAIRS:
        raise BadInput(
            f"{len(repeated)} pairs have two labels or more; fitting the noise needs {_MINIMUM_PAIRS}: "
            "use variance: fixed"
        )
    if all(len(set(grades)) == 1 for grades in repeated):
        raise BadInput("the annotators never disagree, so there is no noise to fit; use variance: fixed")
    rows, copies = np.unique(_grade_counts(repeated), axis=0, return_counts=True)
    problem = _Problem(torch.from_numpy(rows), torch.from_numpy(copies.astype(np.float64)), _published(transitions))
    found = problem.solve()
    return _report(problem, found, pairs=len(repeated), labels=sum(map(len, repeated)))


def target_noise(variance: Variance, train: Dataset) -> tuple[Noise | None, FittedNoise | None]:
    """Return the σ(y) of the targets and, if it is estimated from the training labels, the estimate.

    Args:
        variance: as in `train.targets.targets_of`; `empirical` targets need no σ(y).
        train: what is learned from.

    Raises:
        BadInput: `fitted`, and the labels do not determine the noise.
    """
    if variance == "fixed":
        return Noise(), None
    if variance == "empirical":
        return None, None
    fitted = fit_noise([row.labels for row in train.judgments])
    return fitted.noise, fitted


class Disagreement(NamedTuple):
    """How far the labels of pairs of one level of relevance lie apart.

    Attributes:
        level: of relevance, the middle of its bin.
        pairs: with two labels or more.
        std: the pooled standard deviation of labels within a pair, unbiased in its square, in units of relevance.
        standard_error: of `std`, from the differences between pairs.
    """

    level: float
    pairs: int
    std: float
    standard_error: float


def disagreement(judgments: Sequence[Judgment], *, bins: int = 20) -> list[Disagreement]:
    """Return the raw disagreement of annotators by level of relevance, the lowest level first.

    Args:
        judgments: those with fewer than two labels are left out.
        bins: steps from 0 to 1; a judgment belongs to the nearest one. Levels with fewer than two pairs are left out.

    Example:
        >>> pair = dict(query_id="q", relevance=0.5, labels=(0.4, 0.6))
        >>> rows = [Judgment(product_id="a", **pair), Judgment(product_id="b", **pair)]
        >>> disagreement(rows)[0].std.__round__(4)
        0.1414
    """
    repeated = [row for row in judgments if len(row.labels) > 1]
    place = np.rint(np.array([row.relevance for row in repeated]) * bins).astype(int)
    freedom = np.array([len(row.labels) - 1 for row in repeated], dtype=np.float64)
    squares = np.array([np.var(row.labels, ddof=1) for row in repeated]) * freedom
    levels = [(step, place == step) for step in np.unique(place).tolist()]
    return [_spread(step / bins, squares[here], freedom[here]) for step, here in levels if here.sum() > 1]


def _spread(level: float, squares: Doubles, freedom: Doubles) -> Disagreement:
    variance = float(squares.sum() / freedom.sum())
    residual = squares - freedom * variance  # of a ratio of sums over pairs: slips make the normal formula too narrow
    error = math.sqrt((residual**2).sum() * len(squares) / (len(squares) - 1)) / float(freedom.sum())
    std = math.sqrt(variance)
    return Disagreement(level, len(squares), std, error / (2 * std) if std else 0.0)


def _grade_counts(labels: Sequence[Sequence[float]]) -> Doubles:
    """Return how often each grade was given to each pair, `[pairs, grades]`."""
    sizes = [len(grades) for grades in labels]
    flat = np.concatenate([np.asarray(grades, dtype=np.float64) for grades in labels])
    if not ((flat >= 0) & (flat <= 1)).all():
        raise BadInput("labels must be between 0 and 1")
    steps = round(1 / np.diff(np.unique(flat)).min())
    grade = np.rint(flat * steps).astype(int)
    off = np.abs(flat * steps - grade) > 0.1
    if off.any():  # thirds are written as 0.33 and 0.67, so a little is let pass
        raise BadInput(
            f"the label {flat[off][0]:g} is not one of {steps + 1} equally spaced grades; use variance: fixed"
        )
    if steps < 2:
        raise BadInput("labels of two grades only do not tell noise from relevance; use variance: fixed")
    counts = np.zeros((len(labels), steps + 1))
    np.add.at(counts, (np.repeat(np.arange(len(labels)), sizes), grade), 1.0)
    return counts


def _published(transitions: tuple[float, ...]) -> Noise:
    """Return the published constants, each transition with those of the nearest published one."""
    default = Noise()
    nearest = [int(np.abs(np.array(default.transitions) - place).argmin()) for place in transitions]
    return Noise(
        sigma_min=default.sigma_min,
        transitions=transitions,
        sigma_max=tuple(default.sigma_max[i] for i in nearest),
        delta=tuple(default.delta[i] for i in nearest),
    )


def grade_probabilities(relevance: Tensor, width: Tensor, slip: Tensor, grades: int) -> Tensor:
    """Return the probability of each grade, `[n, grades]`.

    Args:
        relevance: `[n]` float64.
        width: σ of each opinion, `[n]` float64.
        slip: the probability of any grade, a scalar.
        grades: how many there are, equally spaced from 0 to 1.

    Example:
        >>> pair, sure = torch.tensor([0.5], dtype=torch.float64), torch.tensor([0.1], dtype=torch.float64)
        >>> grade_probabilities(pair, sure, torch.tensor(0.0), 3).round(decimals=2).tolist()
        [[0.01, 0.99, 0.01]]
    """
    cuts = (torch.arange(grades - 1, dtype=torch.float64) + 0.5) / (grades - 1)
    below = torch.special.ndtr((cuts[None, :] - relevance[:, None]) / width[:, None])
    ends = torch.zeros(len(relevance), 1, dtype=torch.float64), torch.ones(len(relevance), 1, dtype=torch.float64)
    opinion = torch.cat([ends[0], below, ends[1]], dim=1).diff(dim=1)
    return (1 - slip) * opinion + slip / grades


@dataclass(frozen=True)
class _Problem:
    """The penalised likelihood of x: logits of σ_min, each σ_max, each δ and the slip, then of the grid's weights.

    Attributes:
        counts: `[u, grades]` float64, the distinct combinations of labels that a pair received.
        copies: `[u]`, how many pairs received each.
        published: the centre of the priors.
    """

    counts: Tensor
    copies: Tensor
    published: Noise

    def solve(self) -> Tensor:
        """Return the x of the highest penalised likelihood."""
        x = self.centre.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [x],
            max_iter=3000,
            history_size=60,
            tolerance_grad=1e-8,
            tolerance_change=1e-10,
            line_search_fn="strong_wolfe",
        )
        pairs = self.copies.sum()

        def closure() -> Any:
            optimizer.zero_grad()
            loss = self.penalised(x) / pairs
            loss.backward()
            return loss

        optimizer.step(closure)
        return x.detach()

    @property
    def constants(self) -> Tensor:
        """The published constants and the usual slip, in the order of x."""
        noise = self.published
        return torch.tensor([noise.sigma_min, *noise.sigma_max, *noise.delta, _USUAL_SLIP], dtype=torch.float64)

    @property
    def limits(self) -> Tensor:
        """The largest value of each parameter."""
        limits = torch.full_like(self.constants, _WIDEST)
        limits[-1] = 1.0
        return limits

    @property
    def centre(self) -> Tensor:
        """The medians of the priors of x; the grid's weights begin alike."""
        return torch.cat([torch.logit(self.constants / self.limits), torch.zeros(len(_GRID), dtype=torch.float64)])

    @property
    def spread(self) -> Tensor:
        """The standard deviations of the priors of x."""
        spread = torch.full_like(self.centre, _WEIGHT_SPREAD)
        spread[: len(self.constants)] = _WIDTH_SPREAD
        spread[len(self.constants) - 1] = _SLIP_SPREAD
        return spread

    def parameters(self, x: Tensor) -> Tensor:
        """Return the parameters in natural units."""
        return self.limits * torch.sigmoid(x[: len(self.limits)])

    def negative_log_likelihood(self, x: Tensor) -> Tensor:
        """Return −log P(labels), in nats, but for a constant of the labels alone."""
        parameters, grid = self.parameters(x), torch.from_numpy(_GRID)
        places = torch.tensor(self.published.transitions, dtype=torch.float64)
        distance, nearest = (grid[:, None] - places[None, :]).abs().min(dim=1)
        sigma_min, slip = parameters[0], parameters[-1]
        sigma_max, delta = parameters[1:-1].chunk(2)
        width = sigma(distance, sigma_min, sigma_max[nearest], delta[nearest], torch.exp)
        given_relevance = self.counts @ grade_probabilities(grid, width, slip, self.counts.shape[1]).log().T
        weights = x[len(parameters) :].log_softmax(dim=0)
        return -(self.copies * torch.logsumexp(given_relevance + weights, dim=1)).sum()

    def penalised(self, x: Tensor) -> Tensor:
        """Return −log P(labels) − log P(x), in nats, but for a constant."""
        return self.negative_log_likelihood(x) + (((x - self.centre) / self.spread) ** 2).sum() / 2


def _report(problem: _Problem, x: Tensor, *, pairs: int, labels: int) -> FittedNoise:
    information = torch.autograd.functional.hessian(problem.penalised, x)
    factor, failed = torch.linalg.cholesky_ex(information)
    if failed:
        raise BadInput("the labels do not determine the noise; use variance: fixed or empirical")
    covariance = torch.cholesky_inverse(factor)
    estimates, published = problem.parameters(x), problem.constants
    deviation = covariance.diagonal().sqrt()[: len(estimates)]
    errors = estimates * (1 - estimates / problem.limits) * deviation
    informed = deviation < _SAYS_LITTLE * problem.spread[: len(estimates)]
    places = problem.published.transitions
    names = ["sigma_min", *(f"sigma_max at {y:g}" for y in places), *(f"delta at {y:g}" for y in places), "slip"]
    columns = zip(names, estimates.tolist(), errors.tolist(), published.tolist(), informed.tolist(), strict=True)
    sigma_max, delta = estimates[1:-1].chunk(2)
    return FittedNoise(
        noise=Noise(
            sigma_min=float(estimates[0]),
            transitions=places,
            sigma_max=tuple(sigma_max.tolist()),
            delta=tuple(delta.tolist()),
        ),
        slip=float(estimates[-1]),
        parameters=tuple(
            Parameter(name=name, estimate=value, standard_error=error, published=constant, from_labels=known)
            for name, value, error, constant, known in columns
        ),
        grades=problem.counts.shape[1],
        pairs=pairs,
        labels=labels,
        log_likelihood=-float(problem.negative_log_likelihood(x)),
    )
