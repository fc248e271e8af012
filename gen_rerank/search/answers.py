"""An answer as a table for people."""

from __future__ import annotations

from gen_rerank.calibration.tiers import NO_GOOD_MATCH
from gen_rerank.reporting.numbers import ABSENT, bars, counted
from gen_rerank.reporting.tables import WideTable
from gen_rerank.search.candidates import Receipt
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.search import DELETED, DUPLICATE, SearchAnswer
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
    if removed := sum(receipt.after is None for receipt in _of_rules(answer)):
        return f"the rules removed all {counted(removed, 'product')} that were found; --explain says why"
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


def receipts_table(answer: SearchAnswer) -> WideTable:
    """Return one row for each product that a rule removed or moved, in the order of the rules.

    Example:
        >>> one = Receipt("p1", "Oak desk", "available", "sold out", 3)
        >>> receipts_table(SearchAnswer("desk", (), (one,), {}, 9)).columns[-1]
        ['After', '–']
    """
    table = WideTable(
        f"Receipts: {rules_line(answer) or 'no rule removed or moved a product'}",
        "before the rerank, places are those in which products were found; behind it, those on the ranked list",
        ("Rule", "Product", "Title", "Why"),
        ("Before", "After"),
    )
    for receipt in answer.receipts:
        after = ABSENT if receipt.after is None else str(receipt.after)
        table.add_row((receipt.rule, receipt.product_id, receipt.title, receipt.why), (str(receipt.before), after))
    return table


def rules_line(answer: SearchAnswer) -> str:
    """Return how many products the rules removed and moved; empty where they did neither.

    Example:
        >>> one = Receipt("p1", "Oak desk", "available", "sold out", 3)
        >>> rules_line(SearchAnswer("desk", (), (one,), {}, 9))
        'the rules removed 1 product and moved none'
    """
    receipts = _of_rules(answer)
    removed = sum(receipt.after is None for receipt in receipts)
    moved = len({receipt.product_id for receipt in receipts if receipt.after is not None})
    if not receipts:
        return ""
    return f"the rules removed {counted(removed, 'product') if removed else 'none'} and moved {moved or 'none'}"


def _of_rules(answer: SearchAnswer) -> list[Receipt]:
    return [receipt for receipt in answer.receipts if receipt.rule not in (DUPLICATE, DELETED)]
