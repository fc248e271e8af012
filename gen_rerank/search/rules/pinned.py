"""Which products are pinned for a query, and those of them that retrieval did not find."""

from __future__ import annotations

from collections.abc import Sequence

from gen_rerank.search.candidates import ProductCandidate, Stockroom
from gen_rerank.search.rules.file import Rules
from gen_rerank.search.rules.matching import plain_words


def pinned_ids(rules: Rules, query: str) -> list[str]:
    """Return the products that are pinned for a query, in their order, each once.

    Example:
        >>> pinned_ids(Rules(pins=[{"queries": ["oak desk"], "ids": ["p2", "p1"]}]), "Oak desk!")
        ['p2', 'p1']
    """
    words = plain_words(query)
    meant = [pin for pin in rules.pins if any(plain_words(one) == words for one in pin.queries)]
    return list(dict.fromkeys(product_id for pin in meant for product_id in pin.ids))


def pinned_candidates(
    rules: Rules, query: str, found: Sequence[ProductCandidate], stockroom: Stockroom | None
) -> list[ProductCandidate]:
    """Return the pinned products that were not found.

    Args:
        rules: of the shop.
        query: as text.
        found: what was retrieved.
        stockroom: has the others; None where nothing does.
    """
    there = {one.product.product_id for one in found}
    wanted = [product_id for product_id in pinned_ids(rules, query) if product_id not in there]
    products = stockroom.products(wanted) if stockroom is not None and wanted else []
    return [ProductCandidate(product, {"pinned": place}) for place, product in enumerate(products, start=1)]
