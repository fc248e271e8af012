"""An answer as a table for people."""

from __future__ import annotations

from gen_rerank.calibration.tiers import NO_GOOD_MATCH
from gen_rerank.reporting.numbers import bars
from gen_rerank.reporting.tables import WideTable
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.search import SearchAnswer
from gen_rerank.search.words import NO_LANGUAGE, analyzer, words_of


def answer_table(answer: SearchAnswer) -> WideTable:
    """Return one row a product: its score, and where the lists had it.

    Example:
        >>> answer_table(SearchAnswer("oak desk", (), (), {}, 0)).title
        'oak desk: 0 of 0 candidates'
    """
    ranked = any(hit.score is not None for hit in answer.results)
    tiers = ranked and any(hit.tier is not None for hit in answer.results)
    lists = dict.fromkeys(name for hit in answer.results for name in hit.ranks)
    bins = "0         1"
    table = WideTable(
        f"{answer.query}: {len(answer.results):,} of {answer.candidates:,} candidates",
        "found: the place in the lists " + ", ".join(lists),
        ("Rank", "Product", "Title"),
        (*(["Score", "Spread"] if ranked else []), *(["Tier"] if tiers else []), *([bins] if ranked else []), "Found"),
        {"Rank": "right", "Tier": "left", bins: "left"},
    )
    for place, hit in enumerate(answer.results, start=1):
        cells = []
        if hit.score is not None and hit.std is not None and hit.distribution is not None:
            tier = [str(hit.tier)] if tiers else []
            cells += [f"{hit.score:.3f}", f"{hit.std:.3f}", *tier, bars(list(hit.distribution))]
        cells.append(", ".join(str(hit.ranks.get(name, "–")) for name in lists))
        table.add_row((str(place), hit.product.product_id, " ".join(hit.product.title.split())), cells)
    return table


def nothing_found(answer: SearchAnswer, index: ProductIndex) -> str:
    """Return why an answer has no products.

    Args:
        answer: without any.
        index: that was searched.
    """
    if answer.below:
        return NO_GOOD_MATCH if answer.no_good_match else "no product reaches the tier that was asked for"
    if answer.candidates:
        return "all products that were found have been deleted from the index during the search"
    if not len(index):
        return "the index holds no products"
    if index.words(answer.query):
        return "no product has a word of this query"
    if words_of(answer.query, analyzer(NO_LANGUAGE)):
        return f"the query has only stop words ({index.settings.language}), which are not looked for"
    return "the query has no words that could be looked for, only signs"


def stages(answer: SearchAnswer) -> str:
    """Return what each stage took, in one line.

    Example:
        >>> stages(SearchAnswer("oak desk", (), (), {"retrieve": 0.0018, "rerank": 0.25}, 0))
        'retrieve 1.8 ms, rerank 250.0 ms'
    """
    return ", ".join(f"{stage} {1000 * taken:,.1f} ms" for stage, taken in answer.seconds.items())
