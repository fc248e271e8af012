"""What `gen-rerank rank` does between parsing and printing: one query against a file of products.

Python programs have `gen_rerank.Reranker` for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gen_rerank.bins import Floats
from gen_rerank.calibration.rank_confidence import RankConfidence, rank_confidence
from gen_rerank.calibration.tiers import NO_GOOD_MATCH, Tier, as_tier, best_in_tier, has_tiers, no_good_match, tiers
from gen_rerank.data import values
from gen_rerank.data.reading import RowReader, products_file, refuse_bad_rows
from gen_rerank.data.records import BadRow, Pair, Product
from gen_rerank.errors import BadInput
from gen_rerank.reporting.numbers import bars
from gen_rerank.reporting.progress import WorkProgress
from gen_rerank.reporting.tables import WideTable
from gen_rerank.scorers.opening import prepare_scorer
from gen_rerank.scorers.scoring import score_pairs


@dataclass(frozen=True, eq=False)
class RankedProduct:
    """One product in its place.

    Attributes:
        rank: from 1.
        product: what was scored.
        score: the mean of its distribution, in [0, 1].
        std: the standard deviation, in units of the score.
        tier: None where the checkpoint has no thresholds.
        distribution: the probabilities of the eleven bins, `[11]` float32.
    """

    rank: int
    product: Product
    score: float
    std: float
    tier: Tier | None
    distribution: Floats

    def to_json(self) -> dict[str, Any]:
        """Return it with six decimals, as a scores file has them."""
        return {
            "rank": self.rank,
            "product_id": self.product.product_id,
            "title": self.product.title,
            "score": round(self.score, 6),
            "std": round(self.std, 6),
            "tier": self.tier,
            "probabilities": [round(float(share), 6) for share in self.distribution],
        }


@dataclass(frozen=True)
class QueryAnswer:
    """The best products of one query.

    Attributes:
        query: its text, as the normaliser has it.
        model: as it was named.
        scored_with: backend and number type.
        products: how many were scored.
        ranked: the best of them, best first.
        tiers: whether the checkpoint has thresholds.
        bad_rows: the rows that were left out.
        no_good_match: whether no product at all reaches `close`; None where the checkpoint has no thresholds.
        confidence: how sure the first place is; None where that was not asked, or nothing is shown.
    """

    query: str
    model: str
    scored_with: str
    products: int
    ranked: tuple[RankedProduct, ...]
    tiers: bool
    bad_rows: tuple[BadRow, ...]
    no_good_match: bool | None = None
    confidence: RankConfidence | None = None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is said of the ranking as a whole, in sentences."""
        said = []
        if self.no_good_match:
            said.append(NO_GOOD_MATCH)
        elif not self.ranked:
            said.append("no product reaches the tier that was asked for")
        return tuple(said) if self.confidence is None else (*said, self.confidence.sentence)

    def table(self) -> WideTable:
        """Return one row a product, with its distribution over the eleven bins in blocks."""
        counted = f"{len(self.ranked):,} of {self.products:,} products" if len(self.ranked) < self.products else ""
        bins = "0         1"
        table = WideTable(
            f"{self.query}{': ' if counted else ''}{counted}",
            "spread: standard deviation of the distribution, which is drawn from 0.0 to 1.0",
            ("Rank", "Product", "Title"),
            ("Score", "Spread", *(["Tier"] if self.tiers else []), bins),
            {"Rank": "right", "Tier": "left", bins: "left"},
        )
        for one in self.ranked:
            table.add_row(
                (str(one.rank), one.product.product_id, " ".join(one.product.title.split())),
                (
                    f"{one.score:.3f}",
                    f"{one.std:.3f}",
                    *([str(one.tier)] if self.tiers else []),
                    bars(one.distribution.tolist()),
                ),
            )
        return table

    def to_json(self) -> dict[str, Any]:
        """Return all of it; what was left out as `file:line: reason`."""
        return {
            "query": self.query,
            "model": self.model,
            "scored_with": self.scored_with,
            "products": self.products,
            "no_good_match": self.no_good_match,
            **({} if self.confidence is None else self.confidence.to_json()),
            "left_out": [str(row) for row in self.bad_rows],
            "results": [one.to_json() for one in self.ranked],
        }


def rank_products(
    model: str,
    query: str,
    products: Path,
    *,
    top: int = 10,
    backend: str = "transformers",
    dtype: str = "auto",
    adapter: str | None = None,
    skip_bad_rows: bool = False,
    min_tier: str | None = None,
    confidence: bool = False,
) -> QueryAnswer:
    """Score all products of a file for one query, and return the best.

    Args:
        model: a checkpoint folder or hub name.
        query: what the shopper typed; half characters and bytes that are no text become question marks.
        products: a file of products, `.jsonl`, `.jsonl.gz` or `.parquet`, or a folder that holds one.
        top: how many are returned; equal ones stay in the file's order.
        backend: that computes.
        dtype: `auto`, `float32` or `bfloat16`.
        adapter: on the model.
        skip_bad_rows: leave bad rows out.
        min_tier: leave out what does not reach this tier.
        confidence: whether it is asked how sure the first place is.

    Raises:
        BadInput: a query without text, no such file, a bad row, no products, a refused checkpoint or adapter, or a
            tier that is none, or is asked of a checkpoint without thresholds.

    Example:
        >>> rank_products("runs/model", "oak desk", Path("shop"), top=1).ranked[0].product.title  # doctest: +SKIP
        'Oak writing desk, 120 cm'
    """
    text = _query_text(query)
    found, bad_rows = read_products(products, skip_bad_rows)
    prepared = prepare_scorer(model, backend, adapter, dtype)
    thresholds = prepared.calibration.thresholds
    least = None if min_tier is None else as_tier(min_tier, thresholds)
    with prepared.open() as scorer, WorkProgress(transient=True) as progress:
        scored = score_pairs(scorer, [Pair(text, product) for product in found], progress)
    best = best_in_tier(scored.mean, thresholds, least)[:top]
    rows = scored[np.array(best, dtype=np.intp)]
    columns = zip(best, rows.mean.tolist(), rows.std.tolist(), tiers(rows.mean, thresholds), strict=True)
    ranked = tuple(
        RankedProduct(place + 1, found[index], score, std, tier, rows.probabilities[place])
        for place, (index, score, std, tier) in enumerate(columns)
    )
    nothing = no_good_match(scored.mean, thresholds)
    sure = rank_confidence(rows.probabilities) if confidence else None
    return QueryAnswer(text, model, str(prepared), len(found), ranked, has_tiers(thresholds), bad_rows, nothing, sure)


def _query_text(given: Any) -> str:
    """Return a query as a data set would have it.

    Raises:
        BadInput: it has no text, or is none.
    """
    try:
        return values.required_text(given)
    except values.NoValue as error:
        raise BadInput(f"the query {error}") from error
    except values.BadValue as error:
        raise BadInput(f"the query: {error}") from error


def read_products(path: Path, skip_bad_rows: bool = False) -> tuple[Sequence[Product], tuple[BadRow, ...]]:
    """Return the products of a file or of a data set folder, and the rows that were left out.

    Raises:
        BadInput: no such file, one of another form, a bad row (unless they are left out), or no products.

    Example:
        >>> products, _ = read_products(Path("shop/products.jsonl"))  # doctest: +SKIP
    """
    file = products_file(path)
    reader = RowReader(file, Product)
    products = list(reader.unique(lambda row: row.product_id))
    bad = tuple(reader.bad)
    if not skip_bad_rows:
        refuse_bad_rows(bad)
    if not products:
        raise BadInput(f"{file}: no usable rows")
    return products, bad
