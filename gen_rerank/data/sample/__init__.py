"""The embedded sample: a synthetic, seeded shop with 3,000 products and 3,000 judged queries.

It exists so that every command can be tried, and every claim tested, without a download. It is hard in the ways
that product search is hard (see SLICES in intents.py) and honest about being made up: relevance follows rules,
and the annotators are simulated. The same seed gives the same bytes on every machine.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

from gen_rerank.bm25 import BM25
from gen_rerank.data.dataset import Dataset
from gen_rerank.data.records import Judgment, Query, Split, product_text
from gen_rerank.data.sample.annotators import PLANTED, annotate
from gen_rerank.data.sample.candidates import Shelf, choose
from gen_rerank.data.sample.catalog import Item, make_catalog
from gen_rerank.data.sample.intents import SLICES, Aim, draw, put
from gen_rerank.data.sample.shop import load_shop
from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import folder_appearing, opened_before_named, refuse_taken

__all__ = ["make_sample", "write_sample"]

_SPLITS: dict[Split, float] = {"train": 23 / 30, "validation": 3 / 30, "test": 4 / 30}
_UNSEEN_BRAND, _NOVEL_WORDS = 0.7, 0.6  # of the test queries
_ATTEMPTS = 2000
_README, _TITLE = "README.md", "# A synthetic shop"

_Judged = tuple[Query, list[Judgment]]


def make_sample(seed: int = 0, products: int = 3000, queries: int = 3000) -> Dataset:
    """Make the sample data set in memory.

    Args:
        seed: decides everything; the same seed gives the same data.
        products: how many; below about 1,000 some slices find no fitting products.
        queries: how many in all; 23 of 30 train, 3 validate, 4 test.

    Example:
        >>> make_sample(products=1000, queries=30).of("test").queries["q00027"].split
        'test'
    """
    maker = _Maker(make_catalog(load_shop(), products, random.Random(f"{seed} products")), seed)
    judged = [row for split, count in _sizes(queries).items() for row in maker.queries(split, count)]
    return Dataset(
        products={item.product.product_id: item.product for item in maker.items},
        queries={query.query_id: query for query, _ in judged},
        judgments=tuple(judgment for _, rows in judged for judgment in rows),
    )


def write_sample(folder: str | Path, seed: int = 0, products: int = 3000, queries: int = 3000) -> Dataset:
    """Write the sample data set and a README.md about it as `folder`, and return it.

    The folder appears whole, when the data in it can be loaded; it takes the place of an earlier sample.

    Raises:
        BadInput: `folder` holds something else or cannot be written; found before any work. Or too few products.

    Example:
        >>> write_sample("shop")  # doctest: +SKIP
    """
    out = Path(folder)
    with folder_appearing(out, refuse_all_but_a_sample) as made:
        dataset = make_sample(seed, products, queries)
        dataset.save(made)
        (made / _README).write_text(_readme(dataset, seed), encoding="utf-8")
        opened_before_named(Dataset.load, made, out)
    return dataset


def refuse_all_but_a_sample(out: Path) -> None:
    """Refuse a folder in which something else lies than an earlier sample: it may be a shop's own data.

    Raises:
        BadInput: there is a file, or a folder with anything else in it.
    """
    if out.is_dir() and (out / _README).is_file():
        written = {_README, *(f"{kind}.jsonl" for kind in ("products", "queries", "judgments"))}
        head = (out / _README).read_text(encoding="utf-8", errors="replace").splitlines()[:1]
        if head == [_TITLE] and {path.name for path in out.iterdir()} <= written:
            return
    refuse_taken(out)


class _Maker:
    """Makes queries with their judgments from one catalog; no text is used twice."""

    def __init__(self, items: list[Item], seed: int) -> None:
        self.shop = load_shop()
        self.items = items
        self.seed = seed
        self.index = BM25([product_text(item.product) for item in items])
        self.texts: set[str] = set()

    def queries(self, split: Split, count: int) -> Iterator[_Judged]:
        """Yield a split's queries, the slices taking turns."""
        shelf = Shelf(self.shop, self.items, unseen=split == "test")
        rng = random.Random(f"{self.seed} {split}")
        for _, tag in zip(range(count), cycle(SLICES), strict=False):
            yield self._query(shelf, split, tag, rng)

    def _query(self, shelf: Shelf, split: Split, tag: str, rng: random.Random) -> _Judged:
        unseen_brand = split == "test" and rng.random() < _UNSEEN_BRAND
        novel = split == "test" and rng.random() < _NOVEL_WORDS
        for _ in range(_ATTEMPTS):
            drawn = draw(Aim(self.shop, self.items[rng.choice(shelf.places)], unseen_brand, rng), tag)
            text = put(self.shop, drawn, rng, novel=novel) if drawn else ""
            if drawn is None or text in self.texts:
                continue
            chosen = choose(shelf, drawn.intent, partial(self.index.scores, text), rng)
            if chosen:
                self.texts.add(text)
                query = Query(query_id=f"q{len(self.texts):05d}", text=text, split=split, tags=drawn.tags)
                return query, [self._judgment(query, place, grade, rng) for place, grade in chosen]
        raise BadInput(f"no further {tag} query in {len(self.items)} products: make more products or fewer queries")

    def _judgment(self, query: Query, place: int, grade: float, rng: random.Random) -> Judgment:
        product = self.items[place].product
        return Judgment(
            query_id=query.query_id, product_id=product.product_id, relevance=grade, labels=annotate(grade, rng)
        )


def _sizes(queries: int) -> dict[Split, int]:
    train, validation = (round(queries * _SPLITS[split]) for split in ("train", "validation"))
    return {"train": train, "validation": validation, "test": queries - train - validation}


def _readme(dataset: Dataset, seed: int) -> str:
    counts = Counter((tag, query.split) for query in dataset.queries.values() for tag in query.tags)
    rows = [f"| {tag} | " + " | ".join(str(counts[tag, split]) for split in _SPLITS) + " |" for tag in SLICES]
    noise, made = PLANTED, f"seed {seed} (fingerprint `{dataset.fingerprint}`)"
    width = f"{noise.sigma_min} + ({noise.sigma_max} - {noise.sigma_min}) · exp(-d² / (2 · {noise.width}²))"
    return f"""{_TITLE}

Nothing here is real: {len(dataset.products):,} products, {len(dataset.queries):,} queries and
{len(dataset.judgments):,} judgments, made by `gen-rerank sample` with {made}.
Brands and devices are invented. A figure measured here compares systems with each other; it says nothing about
how well any of them would do in a real shop.

**Relevance** (`relevance`) follows rules on what the query was made from, never on its words: a product is worth its
type (the one asked for 1, a substitute 0.5, an accessory 0.15, anything else 0), times a credit for each value asked
for, times one for the brand. Whatever a rule looks at is stated in the product's title, brand, category or attributes.

**Labels** (`labels`) are {noise.annotators} simulated annotators on a grid of 0.1: the relevance plus normal noise of
width {width}, d being the distance to the nearest of
{", ".join(map(str, noise.transitions))}; with probability {noise.slip} an annotator slips and gives any grade.

**Candidates** are the best BM25 hits, products picked for being right, almost right or wrong, and a few strays.

**Splits** are by query, and no text occurs twice. The test split names brands, and uses phrasings, that training and
validation never saw; in no other split does a candidate name one of those brands.

| slice | {" | ".join(_SPLITS)} |
|---|{"---|" * len(_SPLITS)}
{chr(10).join(rows)}

A query may belong to several slices.
"""
