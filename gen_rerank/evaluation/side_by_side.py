"""The systems of one run of `evaluate` beside each other: what is compared with what, verdicts, JSON, tables.

How a system is scored, `measuring` knows; one system alone is an `Evaluation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

from rich.console import RenderableType

from gen_rerank.evaluation.evaluation import HEADLINE, QUERY_MEASURES, Evaluation, difference
from gen_rerank.evaluation.significance import Difference, differences
from gen_rerank.evaluation.tables import (
    difference_table,
    gate_table,
    ranking_table,
    reliabilities_table,
    reliability_table,
    significance_table,
    slices_table,
)
from gen_rerank.evaluation.verdicts import Verdict

# Of so many models every pair is compared; of more, each with the first, or with the baseline.
_FEW = 3


@dataclass(frozen=True)
class SideBySide:
    """Evaluations of one split under the names of the tables.

    Attributes:
        floors: random order and BM25.
        baseline: one that was saved earlier; it is what the models are compared with first.
        models: in the order given.
        verdicts: one a gate.
    """

    floors: tuple[Evaluation, ...]
    baseline: Evaluation | None
    models: tuple[Evaluation, ...]
    verdicts: tuple[Verdict, ...] = ()

    @property
    def compared(self) -> tuple[Evaluation, ...]:
        """The systems between which differences are tested: the baseline, where there is one, and the models."""
        return (*([] if self.baseline is None else [self.baseline]), *self.models)

    @property
    def systems(self) -> dict[str, Evaluation]:
        """All systems by name, in the order of the tables."""
        return {one.name: one for one in (*self.floors, *self.compared)}

    @property
    def passed(self) -> bool:
        """Whether every gate holds; so it is where there is none."""
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """Which is compared with which, the later system first.

        Each model with the baseline, where there is one, and of up to three models every pair. Of more models each is
        compared with the baseline alone, or without one with the first model.
        """
        first, *others = (one.name for one in self.compared)
        with_first = [(other, first) for other in others]
        if len(self.models) > _FEW:
            return with_first
        rest = others if self.baseline else [first, *others]
        pairs = [(later, earlier) for earlier, later in combinations(rest, 2)]
        return [*with_first, *pairs] if self.baseline else pairs

    @cached_property
    def differences(self) -> dict[str, dict[tuple[str, str], Difference]]:
        """By measure, each comparison; Holm's correction runs over the comparisons of a measure."""
        found = {}
        for measure in QUERY_MEASURES:
            rows = differences(self.systems, self.comparisons, [measure])
            if rows:
                found[measure] = {pair: row[measure] for pair, row in rows.items()}
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what is saved: of one model its evaluation, and differences and gates where there are some.

        That of one model can be read by `Evaluation.load`.
        """
        more = {
            **({"differences": self._difference_rows()} if len(self.compared) > 1 else {}),
            **({"gates": [verdict.model_dump() for verdict in self.verdicts]} if self.verdicts else {}),
        }
        if len(self.models) == 1:
            return self.models[0].to_json() | more
        evaluations = [one.to_json() for one in self.systems.values()]
        return {"models": [one.name for one in self.models], "evaluations": evaluations} | {"gates": []} | more

    def shown(self) -> Iterator[RenderableType]:
        """Yield what people see: tables, and lines in between."""
        systems, first = list(self.systems.values()), self.models[0]
        yield ranking_table(systems)
        remark = first.unranked.sentence(first.queries)
        if remark:
            yield remark
        if len(self.models) == 1:
            yield difference_table({f"{first.name} - {floor.name}": difference(first, floor) for floor in self.floors})
        if len(self.compared) > 1:
            yield significance_table(
                {
                    measure: {f"{a} - {b}": row for (a, b), row in rows.items()}
                    for measure, rows in self.differences.items()
                }
            )
        if first.slices:
            yield slices_table(systems, HEADLINE)
        yield reliability_table(first) if len(self.compared) == 1 else reliabilities_table(self.compared)
        if self.verdicts:
            yield gate_table(self.verdicts)

    def _difference_rows(self) -> list[dict[str, Any]]:
        return [
            {"measure": measure, "first": first, "second": second, **row.to_json()}
            for measure, rows in self.differences.items()
            for (first, second), row in rows.items()
        ]
