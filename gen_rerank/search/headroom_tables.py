"""The headroom as tables for people; printing is left to the command."""

from __future__ import annotations

from gen_rerank.evaluation.intervals import Interval
from gen_rerank.evaluation.verdicts import signed_interval
from gen_rerank.reporting.numbers import figure
from gen_rerank.reporting.tables import WideTable
from gen_rerank.search.headroom import CONDENSED, FIRST, ORACLE, RANDOM, RERANKED, RETRIEVED, Headroom
from gen_rerank.search.recall import DEPTHS


def headroom_table(found: Headroom, name: str) -> WideTable:
    """Return nDCG@10 of each order, the paired differences, and the orders without unjudged products.

    Args:
        found: what was measured.
        name: of the model.
    """
    table = WideTable(
        f"Headroom, nDCG@{FIRST}: {len(found.query_ids):,} queries, {found.candidates:,} candidates",
        "mean [95% bootstrap interval over queries], differences are paired; the ideal is that of all judged products; "
        "unjudged ones count as not relevant: a lower bound; 'judged only' leaves them out",
        "Order",
        [f"first {depth}" for depth in DEPTHS],
    )
    model = f"reranked by {name}"
    rows = {RANDOM: "random order", RETRIEVED: "as retrieved", RERANKED: model, ORACLE: "oracle"}
    for row, title in rows.items():
        table.add_row(title, [str(found.interval(row, k)) for k in DEPTHS])
    gains: dict[str, list[Interval]] = {
        f"{name} − as retrieved": [found.gain(RERANKED, RETRIEVED, k) for k in DEPTHS],
        f"oracle − {name}": [found.gain(ORACLE, RERANKED, k) for k in DEPTHS],
        "1 − oracle": [found.missed(k) for k in DEPTHS],
    }
    for title, intervals in gains.items():
        table.add_row(title, [*map(signed_interval, intervals)])
    for row, condensed in CONDENSED.items():
        table.add_row(f"{rows[row]}, judged only", [str(found.interval(condensed, k)) for k in DEPTHS])
    return table


def unjudged_table(found: Headroom, name: str) -> WideTable:
    """Return the share of unjudged products among the first ten of each order, and among all candidates.

    Args:
        found: what was measured.
        name: of the model.
    """
    table = WideTable(
        "Share of unjudged products", "they count as not relevant", "Among", [f"first {depth}" for depth in DEPTHS]
    )
    rows = {
        RETRIEVED: f"first {FIRST}, as retrieved",
        RERANKED: f"first {FIRST}, reranked by {name}",
        ORACLE: f"first {FIRST}, oracle",
        RANDOM: "all candidates",
    }
    for order, title in rows.items():
        table.add_row(title, [figure(found.unjudged[order][k], ".0%") for k in DEPTHS])
    return table
