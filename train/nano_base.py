"""How the packaged nano base was made: `python -m train.nano_base --out runs/nano-base`.

In the minutes that a demo has, a model from nothing learns to match words but not to meet brands and phrasings that it
never saw. This longer run teaches a base on other shops: the training splits of samples with other seeds, without any
product or query of the demo's test split. It has two stages: matching first, then products that lack fields.
`gen-rerank train` then starts from it with `base: nano`. It is run by hand; nothing else imports it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Judgment, Product
from gen_rerank.data.sample import make_sample
from gen_rerank.system.publishing import refuse_taken, require_room
from train.distributional import train_distributional
from train.recipe import Recipe

DEMO_SEED = 0


def shops(seeds: Sequence[int]) -> Dataset:
    """Return the training splits of several shops as one, with the demo's validation split to watch.

    Left out is every product that is a candidate in the demo's test split, and every query of it.
    """
    with ProcessPoolExecutor() as pool:
        demo, *others = pool.map(make_sample, [DEMO_SEED, *seeds])
    test = demo.of("test")
    texts = {query.text for query in test.queries.values()}
    products = {visible_text(test.products[row.product_id]) for row in test.judgments}
    watched = demo.of("validation")
    parts = [watched, *(_named(shop.of("train"), f"s{seed}-") for seed, shop in zip(seeds, others, strict=True))]
    merged = Dataset(
        {key: product for part in parts for key, product in part.products.items()},
        {key: query for part in parts for key, query in part.queries.items()},
        tuple(row for part in parts for row in part.judgments),
    )

    def is_new(row: Judgment) -> bool:
        query, product = merged.queries[row.query_id], merged.products[row.product_id]
        return query.split == "validation" or (visible_text(product) not in products and query.text not in texts)

    kept = tuple(filter(is_new, merged.judgments))
    return Dataset(merged.products, merged.queries, kept)


def visible_text(product: Product) -> str:
    """Return what makes two products the same to a model: all that its prompt shows, in lower case."""
    return product.model_dump_json(exclude={"product_id", "price", "available", "description"}).lower()


def _named(shop: Dataset, prefix: str) -> Dataset:
    """Return the shop with ids that no other shop has."""
    products = {prefix + k: p.model_copy(update={"product_id": prefix + k}) for k, p in shop.products.items()}
    queries = {prefix + k: q.model_copy(update={"query_id": prefix + k}) for k, q in shop.queries.items()}
    judgments = tuple(
        row.model_copy(update={"query_id": prefix + row.query_id, "product_id": prefix + row.product_id})
        for row in shop.judgments
    )
    return Dataset(products, queries, judgments)


def main() -> None:
    """Make the shops and train."""
    parser = argparse.ArgumentParser(description="Train the nano base on shops with other seeds than the demo's.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shops", type=int, default=8)
    given = parser.parse_args()
    refuse_taken(given.out)  # before the first of two trainings
    require_room(given.out)
    with TemporaryDirectory() as folder:
        shops(range(1, given.shops + 1)).save(folder)
        matching = train_distributional(Recipe.load("nano-base"), folder, Path(folder) / "matching").folder
        gaps = Recipe.load("nano-base-gaps").model_copy(update={"base": str(matching)})
        train_distributional(gaps, folder, given.out)


if __name__ == "__main__":
    main()
