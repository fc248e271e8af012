"""The first products are made unlike one another by pyversity: on vectors, or on what products say in their fields."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pyversity import diversify

from gen_rerank.data.records import Product
from gen_rerank.evaluation.metrics import Doubles
from gen_rerank.search.rules.file import Diversity
from gen_rerank.search.rules.matching import folded_value


def diverse_order(rule: Diversity, keys: Doubles, likeness: npt.NDArray[np.float32]) -> list[int]:
    """Return the places of a list in its new order: the first ones chosen for being good and unlike, then the rest.

    Args:
        rule: method, strength, how many places are filled, from how many.
        keys: how good each is, `[n]`, best first; they never rise.
        likeness: a vector of each, `[n, m]`; two are alike as the cosine between them.

    Example:
        >>> two_alike = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
        >>> diverse_order(Diversity(strength=0.5), np.array([0.9, 0.8, 0.7]), two_alike)
        [0, 2, 1]
    """
    among = min(rule.among, len(keys))
    chosen = diversify(likeness[:among], keys[:among], rule.first, strategy=rule.method, diversity=rule.strength)
    first = [int(place) for place in chosen.indices]
    return [*first, *(place for place in range(len(keys)) if place not in set(first))]


def field_vectors(products: Sequence[Product], fields: Sequence[str] = ()) -> npt.NDArray[np.float32]:
    """Return a vector of each product, `[n, m]`, with a 1 for each value that it has in a field.

    Args:
        products: in their order.
        fields: that count; none means brand, category and all attributes.

    Example:
        >>> field_vectors([Product(product_id=i, title="x", brand=i) for i in "ab"]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    columns: dict[tuple[str, str], int] = {}
    rows = []
    for product in products:
        names = fields or ("brand", "category", *product.attributes)
        said = [(name.casefold(), value) for name in names if (value := folded_value(product, name)) is not None]
        rows.append([columns.setdefault(one, len(columns)) for one in said])
    vectors = np.zeros((len(products), max(1, len(columns))), dtype=np.float32)
    for place, row in enumerate(rows):
        vectors[place, row] = 1.0
    return vectors
