"""How an index grows: seconds to make it, its size, the most memory, and how long a retrieval takes, by products.

Products are made up: some thousand words drawn by Zipf's law, as real catalogs have them, with numbers, units and
attributes. Each size is indexed and searched in a process of its own, so that its memory is nobody else's. No model is
used: the seconds are those before the reranker.

Run: python benchmarks/search_scale.py --sizes 10000,30000,100000,300000,1000000 --plot docs/search-scale.svg
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from matplotlib.figure import Figure

from gen_rerank.data.records import Product
from gen_rerank.errors import BadInput
from gen_rerank.search.building import build_index
from gen_rerank.search.index import ProductIndex
from gen_rerank.search.settings import IndexSettings
from gen_rerank.system.publishing import require_writable_file
from harness.command import run
from harness.own_process import in_own_process
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun
from harness.timing import percentiles

PACKAGES = ("tantivy", "pydantic")
CANDIDATES = 256
HEADER = ("products", "index, s", "products/s", "on disk, MB", "peak memory, MB", "p50, ms", "p95, ms", "found a query")
_WORDS, _ALPHA = 30_000, 1.1
_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu", "sh")
_UNITS = ("inch", "cm", "gb", "kg", "w", "pack")
_AT_ONCE = 1000


@dataclass(frozen=True)
class ScaleFigures:
    """What one size took.

    Attributes:
        products: in the index.
        seconds: to make it.
        disk: its bytes.
        memory: the most bytes that the process held.
        latencies: seconds of each retrieval.
        found: candidates of a query, on average.
    """

    products: int
    seconds: float
    disk: int
    memory: int
    latencies: tuple[float, ...]
    found: float

    def row(self) -> list[str]:
        """Return its cells, under `HEADER`."""
        median, slow, _ = percentiles(self.latencies)
        return [
            f"{self.products:,}",
            f"{self.seconds:,.1f}",
            f"{self.products / self.seconds:,.0f}",
            f"{self.disk / 1e6:,.1f}",
            f"{self.memory / 1e6:,.0f}",
            f"{1000 * median:.2f}",
            f"{1000 * slow:.2f}",
            f"{self.found:.0f}",
        ]


class MadeUpCatalog:
    """Products and queries that depend on the seed alone.

    Example:
        >>> MadeUpCatalog(0).queries(1) == MadeUpCatalog(0).queries(1)
        True
    """

    def __init__(self, seed: int = 0) -> None:
        """Draw the order of the words; each is three to five syllables that say its number."""
        self._draw = np.random.default_rng(seed)
        shares = 1.0 / np.arange(1, _WORDS + 1) ** _ALPHA
        self._shares = shares / shares.sum()

    def products(self, count: int) -> Iterator[Product]:
        """Yield products: a title of four to nine words, a brand, two attributes, a description of twenty words."""
        for first in range(0, count, _AT_ONCE):
            size = min(_AT_ONCE, count - first)
            words = self._words((size, 32))
            numbers = self._draw.integers(1, 500, (size, 3))
            for i in range(size):
                row, (length, width, weight) = words[i], numbers[i].tolist()
                yield Product(
                    product_id=f"p{first + i}",
                    title=" ".join(row[: 4 + length % 6]) + f" {width} {_UNITS[width % len(_UNITS)]}",
                    brand=row[9].capitalize(),
                    attributes={"material": row[10], "weight": f"{weight} g"},
                    description=" ".join(row[12:]),
                )

    def queries(self, count: int) -> list[str]:
        """Return queries of two to four words, one in four with a number and its unit."""
        words, numbers = self._words((count, 4)), self._draw.integers(1, 500, count).tolist()
        return [
            " ".join(row[: 2 + number % 3]) + (f" {number}{_UNITS[number % len(_UNITS)]}" if number % 4 == 0 else "")
            for row, number in zip(words, numbers, strict=True)
        ]

    def _words(self, shape: tuple[int, int]) -> list[list[str]]:
        drawn = self._draw.choice(_WORDS, shape, p=self._shares)
        return [[_word(number) for number in row] for row in drawn.tolist()]


def _word(number: int) -> str:
    """Return the word of a number: the more usual, the shorter."""
    syllables = []
    while True:
        number, rest = divmod(number, len(_SYLLABLES))
        syllables.append(_SYLLABLES[rest])
        if not number:
            return "".join(syllables) + "n"


def write_catalog(file: Path, products: int, seed: int) -> None:
    """Write products as JSON Lines."""
    with file.open("w", encoding="utf-8") as lines:
        for product in MadeUpCatalog(seed).products(products):
            lines.write(product.model_dump_json(exclude_none=True) + "\n")


def measure(file: Path, out: Path, queries: Sequence[str]) -> ScaleFigures:
    """Index a file and search the index; call it in a process of its own."""
    began = time.perf_counter()
    products = build_index(file, out, IndexSettings()).products
    seconds = time.perf_counter() - began
    index = ProductIndex.open(out)
    latencies, found = [], 0
    for query in queries:
        began = time.perf_counter()
        found += len(index.candidates(query, CANDIDATES))
        latencies.append(time.perf_counter() - began)
    disk = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return ScaleFigures(products, seconds, disk, memory, tuple(latencies), found / len(queries))


def draw(figures: Sequence[ScaleFigures], file: Path) -> None:
    """Write the growth as SVG: indexing, disk and memory, retrieval."""
    sizes = [each.products for each in figures]
    figure = Figure(figsize=(10, 3), layout="constrained")
    indexing, room, retrieval = figure.subplots(1, 3)
    indexing.plot(sizes, [each.seconds for each in figures], marker="o")
    indexing.set(ylabel="seconds to index", yscale="log")
    room.plot(sizes, [each.disk / 1e6 for each in figures], marker="o", label="on disk")
    room.plot(sizes, [each.memory / 1e6 for each in figures], marker="o", label="peak memory")
    room.set(ylabel="MB", yscale="log")
    room.legend(frameon=False)
    for place, name in enumerate(("p50", "p95")):
        values = [1000 * percentiles(each.latencies)[place] for each in figures]
        retrieval.plot(sizes, values, marker="o", label=name)
    retrieval.set(ylabel=f"ms for {CANDIDATES} candidates", ylim=(0, None))
    retrieval.legend(frameon=False)
    for panel in (indexing, room, retrieval):
        panel.set(xlabel="products", xscale="log")
        panel.set_xticks(sizes)
        panel.xaxis.set_major_formatter("{x:,.0f}")
        panel.yaxis.set_major_formatter("{x:g}")
        panel.xaxis.minorticks_off()
        panel.tick_params("x", labelrotation=30)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, format="svg", metadata={"Date": None})


def numbers(given: str) -> list[int]:
    """Return the sizes in a list with commas between.

    Raises:
        BadInput: there is something else in it.
    """
    if not all(part.strip().isdecimal() and int(part) for part in given.split(",")):
        raise BadInput(f"--sizes {given}: sizes are numbers above 0 with commas between, such as 10000,100000")
    return sorted({int(part) for part in given.split(",")})


def main(
    sizes: Annotated[str, typer.Option(help="How many products, with commas between.")] = (
        "10000,30000,100000,300000,1000000"
    ),
    queries: Annotated[int, typer.Option(min=1, help="How many queries are timed.")] = 400,
    seed: Annotated[int, typer.Option(help="The same seed makes the same products and queries.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Where the growth is drawn, as SVG.")] = None,
) -> None:
    """Print a table, a row for each size."""
    counts = numbers(sizes)
    if plot is not None:
        require_writable_file(plot)
    this_run = in_own_process(ThisRun.now, PACKAGES)
    console, figures = wide_console(130), []
    asked = MadeUpCatalog(seed + 1).queries(queries)
    for count in counts:
        with TemporaryDirectory() as made:
            file = Path(made) / "products.jsonl"
            write_catalog(file, count, seed)
            figures.append(in_own_process(measure, file, Path(made) / "index", asked))
        console.print(f"{count:,} products: done", style="dim")
    caption = f"{this_run.line()}, {this_run.versions}; {queries:,} queries, {CANDIDATES} candidates, one process."
    print(FigureTable("Growth", HEADER, [each.row() for each in figures], caption).document())
    if plot is not None:
        draw(figures, plot)


if __name__ == "__main__":
    run(main)
