"""An answer as a table for people."""

from __future__ import annotations

from gen_rerank.reporting.numbers import bars
from gen_rerank.reporting.tables import TextTable
from gen_rerank.search.search import SearchAnswer


def answer_table(answer: SearchAnswer) -> TextTable:
    """Return one row a product: its score, and where the lists had it.

    Example:
        >>> answer_table(SearchAnswer("oak desk", (), (), {}, 0)).row_count
        0
    """
    ranked = any(hit.score is not None for hit in answer.results)
    tiers = any(hit.tier is not None for hit in answer.results)
    lists = dict.fromkeys(name for hit in answer.results for name in hit.ranks)
    table = TextTable(
        f"{answer.query}: {len(answer.results):,} of {answer.candidates:,} candidates",
        "found: the place in the lists " + ", ".join(lists),
    )
    table.add_column("Rank", justify="right")
    table.add_column("Product")
    table.add_column("Title", ratio=1)
    if ranked:
        table.add_column("Score", justify="right", no_wrap=True)
        table.add_column("Spread", justify="right", no_wrap=True)
    if tiers:
        table.add_column("Tier", no_wrap=True)
    if ranked:
        table.add_column("0         1", no_wrap=True)
    table.add_column("Found", justify="right", no_wrap=True)
    for place, hit in enumerate(answer.results, start=1):
        cells = [str(place), hit.product.product_id, " ".join(hit.product.title.split())]
        if hit.score is not None and hit.std is not None and hit.distribution is not None:
            tier = [str(hit.tier)] if tiers else []
            cells += [f"{hit.score:.3f}", f"{hit.std:.3f}", *tier, bars(list(hit.distribution))]
        cells.append(", ".join(str(hit.ranks.get(name, "–")) for name in lists))
        table.add_row(*cells)
    return table


def stages(answer: SearchAnswer) -> str:
    """Return what each stage took, in one line.

    Example:
        >>> stages(SearchAnswer("oak desk", (), (), {"retrieve": 0.0018, "rerank": 0.25}, 0))
        'retrieve 1.8 ms, rerank 250.0 ms'
    """
    return ", ".join(f"{stage} {1000 * taken:,.1f} ms" for stage, taken in answer.seconds.items())
