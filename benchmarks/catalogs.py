"""Two shops beside the embedded sample, as data set folders in this project's format.

`chorus` reads real judgments: the electronics shop of Chorus (github.com/querqy/chorus, Apache-2.0; products by Icecat
under its Open Content License), from a folder that the user has. Nothing of it is kept here. `strict_shop` is made up:
the sample's generator with another seed, judged by people of other habits. What is done with either is left to
results.py.

Run: python benchmarks/catalogs.py chorus --source path/to/chorus --out runs/chorus
     python benchmarks/catalogs.py strict --out runs/strict
"""

from __future__ import annotations

import gzip
import json
import random
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Judgment, Product, Query
from gen_rerank.data.sample import make_sample
from gen_rerank.data.sample.shop import UNBRANDED
from gen_rerank.errors import BadInput
from harness.command import new_app, run_app

PAIRS = "pairs.jsonl.gz"
TOP_GRADE = 3

# The strict shop: products and queries that are generated, then (queries, judgments of each) that a split keeps.
PRODUCTS, QUERIES = 800, 900
KEPT = {"train": (50, 8), "validation": (30, 8), "test": (120, 99)}
CHEAP_LINES = ("Everyday", "Classic")
ANNOTATORS, SIGMA, SLIP = 3, 0.3, 0.03

app = new_app()
Out = Annotated[Path, typer.Option("--out", help="the folder to write")]


def chorus(folder: str | Path) -> Dataset:
    """Return the judged pairs of the Chorus electronics shop.

    Grades and the raters' single grades, 0 to 3, become relevance and labels in thirds; a pair without single grades
    has no labels. Prices, in cents there, become units of the currency. Splits are those of the file.

    Args:
        folder: holds `pairs.jsonl.gz`.

    Raises:
        BadInput: no such file, a row without what is needed, or two rows that contradict each other.

    Example:
        >>> len(chorus("path/to/chorus").queries)  # doctest: +SKIP
        85
    """
    file = Path(folder) / PAIRS
    products: dict[str, Product] = {}
    queries: dict[str, Query] = {}
    judgments: dict[tuple[str, str], Judgment] = {}
    for line, row in _rows(file):
        try:
            product = _product(row)
            query = Query(query_id=f"c{len(queries):03d}", text=row["query"], split=row["split"])
            query = queries.setdefault(query.text, query)
            raters = tuple(int(grade) / TOP_GRADE for grade in row["raters"] or ())
            judgment = Judgment(
                query_id=query.query_id,
                product_id=product.product_id,
                relevance=row["grade"] / TOP_GRADE,
                labels=raters,
            )
        except (KeyError, TypeError, ValueError) as error:  # pydantic's ValidationError is a ValueError
            raise BadInput(f"{file}:{line}: not a judged pair of Chorus ({' '.join(str(error).split())})") from error
        if products.setdefault(product.product_id, product) != product:
            raise BadInput(
                f"{file}:{line}: product {product.product_id} differs from its earlier row; keep one of them"
            )
        if query.split != row["split"]:
            raise BadInput(f"{file}:{line}: the query {query.text!r} is in two splits; give it one")
        if judgments.setdefault((query.query_id, product.product_id), judgment) is not judgment:
            raise BadInput(
                f"{file}:{line}: the query {query.text!r} and product {product.product_id} were judged before"
            )
    if not judgments:
        raise BadInput(f"{file}: no judged pairs")
    return Dataset(products, {query.query_id: query for query in queries.values()}, tuple(judgments.values()))


def strict_shop(seed: int = 1) -> Dataset:
    """Return a second synthetic shop, whose people judge by other habits than the sample's.

    - They know four grades, 0, 1/3, 2/3 and 1, where the sample's people know eleven.
    - Half a match is worth little: the sample's relevance r is worth 3r² grades, rounded. A substitute (0.5 there) gets
      1/3, an accessory (0.15) nothing, and 1 is kept for what is right in all that was asked for.
    - They distrust what looks cheap, which the sample's people do not care about: a product without a brand, or of an
      "Everyday" or "Classic" line, gets one grade less. A query about avoiding a brand is exempt.

    `relevance` is the grade by these rules. The labels are three people's: the unrounded worth plus normal noise of 0.3
    grades, to the nearest grade; 3 of 100 labels are slips.

    There are 50 training queries and 30 validation queries with 8 judgments each, and 120 test queries with all theirs,
    which name brands and use phrasings that the other splits never show.

    Args:
        seed: of products, queries and people; 0 is the sample's own.

    Raises:
        BadInput: the seed is 0, whose products and queries are the sample's.

    Example:
        >>> sorted({round(3 * judgment.relevance) for judgment in strict_shop().judgments})
        [0, 1, 2, 3]
    """
    if seed == 0:
        raise BadInput("seed 0 makes the sample's own products and queries; choose another seed for a second shop")
    shop = make_sample(seed, PRODUCTS, QUERIES)
    rng = random.Random(f"{seed} strict")
    queries: dict[str, Query] = {}
    judgments: list[Judgment] = []
    for query_id, rows in _kept(shop, rng).items():
        queries[query_id] = shop.queries[query_id]
        judgments += (_strict(row, queries[query_id], shop.products[row.product_id], rng) for row in rows)
    return Dataset(shop.products, queries, tuple(judgments))


def worth(relevance: float, query: Query, product: Product) -> float:
    """Return what a product is worth to the strict shop's people, in [0, 3] grades.

    Args:
        relevance: in [0, 1], what the sample's people would say.
        query: its tags say whether it is about avoiding a brand.
        product: its brand and title say whether it looks cheap.

    Example:
        >>> query = Query(query_id="q", text="sofa", split="test")
        >>> worth(1.0, query, Product(product_id="p", title="Lindvik Everyday Sofa", brand="Lindvik"))
        2.0
    """
    cheap = product.brand == UNBRANDED or any(line in product.title.split() for line in CHEAP_LINES)
    penalty = 1.0 if cheap and "brand_excluded" not in query.tags else 0.0
    return max(TOP_GRADE * relevance**2 - penalty, 0.0)


@app.command("chorus")
def write_chorus(
    source: Annotated[Path, typer.Option("--source", help=f"the folder that holds {PAIRS}")], out: Out
) -> None:
    """Write the Chorus electronics shop in this project's format."""
    _write(chorus(source), out)


@app.command("strict")
def write_strict(out: Out, seed: Annotated[int, typer.Option("--seed", help="any but 0")] = 1) -> None:
    """Write the synthetic shop with strict people."""
    _write(strict_shop(seed), out)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not file.is_file():
        raise BadInput(f"{file}: no such file; give the folder that holds it")
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                yield number, json.loads(line)
    except (OSError, EOFError, ValueError) as error:
        raise BadInput(f"{file}: not readable as gzipped JSON Lines ({error})") from error


def _product(row: Mapping[str, Any]) -> Product:
    return Product(
        product_id=row["product_id"],
        title=row["title"],
        brand=row.get("brand") or None,
        description=row.get("description") or None,
        price=row["price"] / 100,
        attributes=_attributes(row["attributes"]),
    )


def _attributes(given: Mapping[str, Any]) -> dict[str, str]:
    """Return typed attributes as people read them; two of one name (a yes and the details, say) are joined."""
    found: dict[str, str] = {}
    for key, value in given.items():
        name = re.sub(r"^attr_[a-z]_", "", key).replace("_", " ").strip()
        name, text = " ".join(name.split()), _text(value)
        if text and text not in found.get(name, ""):
            found[name] = f"{found[name]}, {text}" if name in found else text
    return found


def _text(value: Any) -> str:
    """Return a value in words; an absent or undefined one is empty."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.12g}"  # 15.0 is written 15
    return " ".join(str(value).replace("\\n", " ").split())


def _kept(shop: Dataset, rng: random.Random) -> dict[str, list[Judgment]]:
    """Return the judgments that are kept, by query: the first queries of each split, and some judgments of each."""
    groups, kept = shop.by_query(), {}
    for split, (queries, most) in KEPT.items():
        ids = [query_id for query_id, query in shop.queries.items() if query.split == split][:queries]
        for query_id in ids:
            rows = groups[query_id]
            kept[query_id] = [rows[i] for i in sorted(rng.sample(range(len(rows)), min(most, len(rows))))]
    return kept


def _strict(row: Judgment, query: Query, product: Product, rng: random.Random) -> Judgment:
    value = worth(row.relevance, query, product)
    labels = tuple(_label(value, rng) for _ in range(ANNOTATORS))
    return row.model_copy(update={"relevance": _grade(value), "labels": labels})


def _label(value: float, rng: random.Random) -> float:
    if rng.random() < SLIP:
        return rng.randint(0, TOP_GRADE) / TOP_GRADE
    return _grade(rng.gauss(value, SIGMA))


def _grade(value: float) -> float:
    return min(max(round(value), 0), TOP_GRADE) / TOP_GRADE


def _write(dataset: Dataset, out: Path) -> None:
    dataset.save(out)
    counts = (
        f"{len(dataset.products):,} products, {len(dataset.queries):,} queries, {len(dataset.judgments):,} judgments"
    )
    print(f"{out}: {counts}, fingerprint {dataset.fingerprint}")


if __name__ == "__main__":
    run_app(app)
