"""Conditions on figures, for CI: `ndcg@5 of B - A >= -0.005` is judged on the worse end of the 95% interval.

A gate is read, and its names are looked up, before anything is scored. What the systems are called `systems` knows, and
a verdict's form is `verdicts`'.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gen_rerank.errors import BadInput
from gen_rerank.evaluation.evaluation import DISTRIBUTION_MEASURES, ECE, RANKING_MEASURES, Evaluation
from gen_rerank.evaluation.floors import FLOORS
from gen_rerank.evaluation.intervals import Interval, paired
from gen_rerank.evaluation.systems import BASELINE, SystemNames
from gen_rerank.evaluation.verdicts import Verdict, signed_interval, too_few_queries

# A measure's name may hold spaces and signs, MRR(rel>=0.8), and a system's hyphens.
_FORM = re.compile(r"(?P<measure>.+?)\s+of\s+(?P<systems>.+?)\s*(?P<sign>>=|<=)\s*(?P<limit>[^\s<>=]+)", re.IGNORECASE)
_MINUS = re.compile(r"(?<=\s)[-−–](?=\s)")
_TIGHT_MINUS = re.compile(r"[-−–]")
_HOW = '"ndcg@5 of B - A >= -0.005", or "rps of A <= 0.1"'


@dataclass(frozen=True)
class Gate:
    """A limit on a measure of one system, or on the difference of two.

    Attributes:
        text: as it was written.
        measure: its full name.
        system: the name of the system.
        other: the name of what is subtracted, if there is a difference.
        at_least: whether the limit is the least; otherwise it is the most.
        limit: in units of the measure.
    """

    text: str
    measure: str
    system: str
    other: str | None
    at_least: bool
    limit: float

    @classmethod
    def parse(cls, text: str, names: SystemNames, baseline: Evaluation | None = None) -> Gate:
        """Read a gate.

        Measures and systems may be written in upper or lower case, and a measure without what stands in brackets.

        Args:
            text: `MEASURE of SYSTEM >= NUMBER` or `MEASURE of SYSTEM - SYSTEM >= NUMBER`, or with `<=`.
            names: of the systems.
            baseline: the one among them that was measured before.

        Raises:
            BadInput: it has another form, or names a system or a measure that there is not.

        Example:
            >>> gate = Gate.parse("ndcg@5 of B - A >= -0.005", SystemNames(("nano", "small")))
            >>> gate.measure, gate.system, gate.other, gate.limit
            ('nDCG@5', 'small', 'nano', -0.005)
        """
        found = _FORM.fullmatch(text.strip())
        limit = _number(found["limit"]) if found else None
        if found is None or limit is None:
            raise BadInput(f"--gate {text!r}: cannot be read; write it as in {_HOW}")
        try:
            measure = _measure(found["measure"])
            system, *others = _systems(found["systems"], names)
            for name in (system, *others):
                _require(measure, name, baseline)
        except BadInput as error:
            raise BadInput(f"--gate {text!r}: {error}") from error
        if system in others:
            raise BadInput(f"--gate {text!r}: {system} is compared with itself, which is always 0; name two systems")
        if others and measure == ECE:
            raise BadInput(f"--gate {text!r}: {ECE} is one figure for all queries, so it has no paired difference")
        return cls(text.strip(), measure, system, others[0] if others else None, found["sign"] == ">=", limit)

    def judge(self, systems: Mapping[str, Evaluation], deciding: Mapping[str, int]) -> Verdict:
        """Return the verdict on evaluated systems.

        Args:
            systems: by name, all of one split.
            deciding: by ranking measure, how many queries of the split can tell two systems apart, of
                `gen_rerank.evaluation.rankable.deciding_queries`. Where they are too few, the gate is not judged.

        Raises:
            BadInput: the two were not evaluated on the same queries.
        """
        first = systems[self.system]
        if self.other is None:
            interval, queries = _figure(first, self.measure)
            shown = interval.shown(".4f") if interval else ""
        else:
            interval, queries = _difference(first, systems[self.other], self.measure)
            shown = signed_interval(interval) if interval else ""
        limit = f"{'lower end at least' if self.at_least else 'upper end at most'} {self.limit:g}"
        few = too_few_queries(self.measure, min(queries, deciding.get(self.measure, queries)))
        if interval is None or few:
            return Verdict(gate=self.text, passed=None, measured=shown or "not measured", limit=limit, meaning=few)
        passed = self._holds(interval.low if self.at_least else interval.high)
        meaning = f"{'' if self.other is None else 'paired '}95% interval over {queries:,} queries"
        if not passed:
            meaning += "; the mean would pass, so more judged queries may decide" if self._holds(interval.mean) else ""
        return Verdict(gate=self.text, passed=passed, measured=shown, limit=limit, meaning=meaning)

    def _holds(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def _systems(written: str, names: SystemNames) -> tuple[str, ...]:
    """Return the names of the system that is written, or of the two of a difference.

    A folder's name may hold a minus with spaces too, so every minus is tried.

    Raises:
        BadInput: there is no such system, or what is written can be read in two ways.
    """
    differences = _split(_MINUS, written)
    meant = [pair for pair in differences if all(map(names.has, pair))]
    if names.has(written) and not meant:
        return (names.find(written),)
    if len(meant) == 1 and not names.has(written):
        return tuple(map(names.find, meant[0]))
    if meant:
        two = "is the name of a system, and also a difference of two" if names.has(written) else "has two readings"
        raise BadInput(f"{written!r} {two}; call the systems by their places, A, B")
    tight = next((pair for pair in _split(_TIGHT_MINUS, written) if all(map(names.has, pair))), None)
    if tight is not None:
        raise BadInput(
            f"there is no system {written!r}; a minus between two systems has a space on either side: "
            f"{' - '.join(tight)}"
        )
    if len(differences) > 1:
        raise BadInput(f"cannot be read; write it as in {_HOW}")
    return tuple(map(names.find, differences[0] if differences else (written,)))


def _split(minus: re.Pattern[str], written: str) -> list[tuple[str, str]]:
    """Return what stands on both sides of each minus."""
    return [(written[: one.start()].strip(), written[one.end() :].strip()) for one in minus.finditer(written)]


def _number(text: str) -> float | None:
    try:
        value = float(text.replace("−", "-"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _measure(written: str) -> str:
    """Return the full name of a measure.

    Raises:
        BadInput: there is none of this name.
    """
    names = (*RANKING_MEASURES, *DISTRIBUTION_MEASURES)
    known = {name.partition("(")[0].casefold(): name for name in names} | {name.casefold(): name for name in names}
    if written.casefold() not in known:
        raise BadInput(f"there is no measure {written!r}; there are {', '.join(names)}")
    return known[written.casefold()]


def _require(measure: str, system: str, baseline: Evaluation | None) -> None:
    """Refuse a measure that a system cannot have, before anything is scored.

    Raises:
        BadInput: a floor has scores and no distributions, and a baseline what was saved.
    """
    if system in FLOORS and measure in DISTRIBUTION_MEASURES:
        raise BadInput(f"{system} gives scores and no distributions, so it has no {measure}")
    if system == BASELINE and baseline is not None and measure not in {**baseline.ranking, **baseline.calibrated}:
        raise BadInput(f"the baseline was saved without {measure}")


def _figure(system: Evaluation, measure: str) -> tuple[Interval | None, int]:
    """Return the interval of one system, None where it was not measured, and for how many queries it is defined."""
    found = {**system.ranking, **system.calibrated}.get(measure)
    values = system.per_query.get(measure)
    return found, system.queries if values is None else int((~np.isnan(values)).sum())


def _difference(first: Evaluation, second: Evaluation, measure: str) -> tuple[Interval | None, int]:
    a, b = first.per_query[measure], second.per_query[measure]
    queries = int((~np.isnan(a - b)).sum())
    return paired(a, b) if queries else None, queries
