"""What each rule costs: nDCG@10 of judged queries with it and without it, by itself and beside the others.

Every pair was scored once; the rules then work on the scores, as in a search that retrieves as many candidates. A rule
that takes away a relevant product pays for it, because the ideal order is that of all judged products. So a price is no
verdict: what may not be sold must go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gen_rerank.evaluation.intervals import Interval, bootstrap, paired
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.evaluation.retrieval_measures import judged_only, ndcg_of_found
from gen_rerank.evaluation.verdicts import signed_interval
from gen_rerank.reporting.tables import WideTable
from gen_rerank.search.candidates import ProductCandidate, Receipt
from gen_rerank.search.headroom import FIRST
from gen_rerank.search.hits import Hit
from gen_rerank.search.rules.asked import Asked
from gen_rerank.search.rules.file import Rules
from gen_rerank.search.rules.hard import hard_rules_or_fewer
from gen_rerank.search.rules.soft import VectorsOf, soft_rules

_NO_RULES, _ALL = "no rules", "all rules"
_ALONE, _BUT = "alone", "all but"


@dataclass(frozen=True, eq=False)
class JudgedSearch:
    """A query whose candidates were scored and are judged.

    Attributes:
        query: its text.
        found: the candidates, in the order in which they were found.
        ranked: the same, by their scores.
        relevance: of all judged products of the query, by id.
    """

    query: str
    found: tuple[ProductCandidate, ...]
    ranked: tuple[Hit, ...]
    relevance: Mapping[str, float]

    def under(self, rules: Rules, vectors_of: VectorsOf) -> tuple[tuple[Hit, ...], tuple[Receipt, ...]]:
        """Return what is left, best first, and the receipts."""
        asked = Asked(self.query, FIRST)
        left = hard_rules_or_fewer(rules, asked, self.found)
        ids = {one.product.product_id for one in left.kept}
        done = soft_rules(rules, asked, [hit for hit in self.ranked if hit.product.product_id in ids], vectors_of)
        return done.kept, (*left.receipts, *done.receipts)


@dataclass(frozen=True, eq=False)
class RulePrice:
    """What a rule did and what that is worth.

    Attributes:
        rule: its name.
        removed: how many products it removed, over all queries, with the other rules beside it.
        moved: how many it moved.
        queries: in how many queries it did either.
        alone: nDCG@10 with this rule alone minus that without rules.
        judged_only: the same without unjudged products.
        beside: nDCG@10 with all rules minus that with all but this one.
    """

    rule: str
    removed: int
    moved: int
    queries: int
    alone: Interval
    judged_only: Interval
    beside: Interval


@dataclass
class PriceList:
    """Takes judged searches one by one and says at the end what each rule costs.

    Attributes:
        rules: of the shop.
        vectors_of: the index's vectors of some products.

    Example:
        >>> prices = PriceList(Rules.read("rules.yaml"), index.vectors_of)  # doctest: +SKIP
    """

    rules: Rules
    vectors_of: VectorsOf
    _values: dict[tuple[str, str, bool], list[float]] = field(default_factory=dict)
    _removed: Counter[str] = field(default_factory=Counter)
    _moved: Counter[str] = field(default_factory=Counter)
    _queries: Counter[str] = field(default_factory=Counter)

    def add(self, one: JudgedSearch) -> None:
        """Search one query under no rule, all rules, each alone, and all but each."""
        cases = {(_NO_RULES, ""): Rules(), (_ALL, ""): self.rules}
        cases |= {(_ALONE, name): self.rules.only(name) for name in self.rules.used}
        cases |= {(_BUT, name): self.rules.without(name) for name in self.rules.used}
        judged = np.array(list(one.relevance.values()), dtype=np.float64)
        for (case, name), rules in cases.items():
            hits, receipts = one.under(rules, self.vectors_of)
            order = np.array([one.relevance.get(hit.product.product_id, np.nan) for hit in hits], dtype=np.float64)
            for condensed in (False, True):
                ranking = judged_only(order) if condensed else order
                row = self._values.setdefault((case, name, condensed), [])
                row.append(ndcg_of_found(ranking, judged, FIRST))
            if case == _ALL:
                self._count(receipts)

    def _count(self, receipts: tuple[Receipt, ...]) -> None:
        for receipt in receipts:
            (self._removed if receipt.after is None else self._moved)[receipt.rule] += 1
        self._queries.update({receipt.rule for receipt in receipts})

    def prices(self) -> tuple[RulePrice, ...]:
        """Return one price a rule, in their order."""
        return tuple(
            RulePrice(
                name,
                self._removed[name],
                self._moved[name],
                self._queries[name],
                paired(self._of(_ALONE, name), self._of(_NO_RULES)),
                paired(self._of(_ALONE, name, condensed=True), self._of(_NO_RULES, condensed=True)),
                paired(self._of(_ALL), self._of(_BUT, name)),
            )
            for name in self.rules.used
        )

    def together(self) -> tuple[Interval, Interval, Interval]:
        """Return nDCG@10 without rules, and all rules minus none, with unjudged products and without them."""
        judged = paired(self._of(_ALL, condensed=True), self._of(_NO_RULES, condensed=True))
        return bootstrap(self._of(_NO_RULES)), paired(self._of(_ALL), self._of(_NO_RULES)), judged

    def table(self) -> WideTable:
        """Return one row a rule, and one for all of them."""
        without, change, judged = self.together()
        table = WideTable(
            f"What the rules cost: nDCG@{FIRST}, {without} without rules",
            "paired differences [95% bootstrap interval over queries]; below 0 the rule costs; a removed product may "
            "have been relevant, and that it had to go is not weighed",
            "Rule",
            ("Removed", "Moved", "Queries", "alone - none", "judged only", "all - all but it"),
        )
        for one in self.prices():
            counts = [f"{number:,}" for number in (one.removed, one.moved, one.queries)]
            table.add_row(one.rule, [*counts, *map(signed_interval, (one.alone, one.judged_only, one.beside))])
        table.add_section()
        totals = [f"{counter.total():,}" for counter in (self._removed, self._moved)]
        table.add_row(_ALL, [*totals, "", signed_interval(change), signed_interval(judged), ""])
        return table

    def to_json(self) -> dict[str, Any]:
        """Return all figures; a difference as `[mean, low, high]`."""
        without, change, judged = self.together()
        return {
            "measure": f"nDCG@{FIRST}; alone: this rule minus no rule; judged only: the same without unjudged "
            "products; beside: all rules minus all but this one",
            "without": _figures(without),
            "all": {"alone": _figures(change), "judged only": _figures(judged)},
            "rules": {
                one.rule: {
                    "removed": one.removed,
                    "moved": one.moved,
                    "queries": one.queries,
                    "alone": _figures(one.alone),
                    "judged only": _figures(one.judged_only),
                    "beside": _figures(one.beside),
                }
                for one in self.prices()
            },
        }

    def _of(self, case: str, name: str = "", *, condensed: bool = False) -> Doubles:
        return np.array(self._values[case, name, condensed])


def _figures(interval: Interval) -> list[float]:
    return [round(value, 6) for value in interval.to_json()]
