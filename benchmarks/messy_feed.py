"""A shop's feed with faults at known places: what is planted, what the import counts, and what a million rows cost.

Each fault is one that shops' exports have: NaN, attributes in other forms, a byte order mark, invisible characters,
null and booleans, prices and availability in words, pandas' index, ids as fractions, repeated ids, HTML. A row has one
at most, so the import's counts must equal the planted ones. What is written depends on the rows, the form and the seed
alone. All data is made up.

Run: python benchmarks/messy_feed.py write runs/messy.csv
     python benchmarks/messy_feed.py change runs/messy.csv runs/later.csv
     python benchmarks/messy_feed.py compare runs/messy.csv report.json
     python benchmarks/messy_feed.py check --form csv
     python benchmarks/messy_feed.py stream --rows 1000000
"""

from __future__ import annotations

import csv
import io
import json
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console

from gen_rerank.data.feeds import availability, prices, products
from gen_rerank.data.feeds.catalog import ADDED, CHANGED, GONE
from gen_rerank.data.feeds.importing import import_feed
from gen_rerank.data.importing.whole_ids import WHOLE_ID
from gen_rerank.errors import BadInput
from harness.command import new_app, run_app
from harness.own_process import in_own_process
from harness.tables import FigureTable, wide_console
from harness.this_run import ThisRun

PACKAGES = ("pydantic", "price-parser", "charset-normalizer")
Row = dict[str, Any]
# Of so many rows one has a certain fault.
_APART = 200
_FEWEST = 2000
_WRONG_TITLE = "no title"
_WRONG_ATTRIBUTES = "attributes that cannot be read"
_REPEATED = "repeated id"
KINDS = ("desk", "lamp", "sofa", "kettle", "shelf", "chair")
COLOURS = ("red", "blue", "green", "black", "white")
BRANDS = ("Nordlys", "Ancora", "Hartwell")


class MessyForm(StrEnum):
    """In which form the feed is written."""

    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"


@dataclass(frozen=True)
class PlantedFault:
    """One fault.

    Attributes:
        name: in words.
        plant: changes a good row.
        change: the kind of change that the import must count; None where it counts none.
        refused: the kind of reason for which the import must refuse the row; None where it is kept.
        field: of the product, to be looked at in what was kept.
        right: what it must be.
    """

    name: str
    plant: Callable[[Row], object]
    change: str | None = None
    refused: str | None = None
    field: str | None = None
    right: Any = None


@dataclass(frozen=True)
class Planted:
    """What was written.

    Attributes:
        rows: how many.
        changes: by kind, how often the import must count it.
        refused: by kind of reason, how many rows it must refuse.
        places: by fault, the numbers of its rows, from 0.
        first_line: the line of row 0.
        compared: how many products the import must find added, changed and gone since the feed before.
    """

    rows: int
    changes: dict[str, int]
    refused: dict[str, int]
    places: dict[str, list[int]]
    first_line: int
    compared: dict[str, int] = field(default_factory=dict)

    @property
    def kept(self) -> int:
        """How many products the import must keep."""
        return self.rows - sum(self.refused.values())


def _set(name: str, value: Any) -> Callable[[Row], object]:
    return lambda row: row.update({name: value})


def _attribute(value: Any) -> Callable[[Row], object]:
    return lambda row: row["attributes"].update({"size": value})


def _price(written: str, change: str, right: float | None) -> PlantedFault:
    return PlantedFault(f"price {written!r}", _set("price", written), change, field="price", right=right)


def _stock(written: str, change: str, right: bool | None) -> PlantedFault:
    return PlantedFault(
        f"availability {written!r}", _set("availability", written), change, field="available", right=right
    )


def _records(row: Row) -> None:
    row["attributes"] = [{"key": name, "value": value} for name, value in row["attributes"].items()]


FAULTS = (
    PlantedFault("brand is NaN", _set("brand", float("nan")), products.MISSING, field="brand"),
    PlantedFault("title is NaN", _set("title", float("nan")), refused=_WRONG_TITLE),
    PlantedFault("attribute is NaN", _attribute(float("nan")), products.MISSING),
    PlantedFault("attributes as records of key and value", _records, products.RECORDS),
    PlantedFault("attributes as tags of two letters", _set("attributes", ["XL", "EU"]), refused=_WRONG_ATTRIBUTES),
    PlantedFault("attributes as a number", _set("attributes", 5), refused=_WRONG_ATTRIBUTES),
    PlantedFault("attributes as JSON text", lambda row: row.update(attributes=json.dumps(row["attributes"]))),
    PlantedFault("soft hyphen", _set("title", "Lap\u00adtop"), products.INVISIBLE, field="title", right="Laptop"),
    PlantedFault("zero-width space", _set("brand", "An\u200bcora"), products.INVISIBLE, field="brand", right="Ancora"),
    PlantedFault("title of nothing visible", _set("title", "\u200b\u200d\ufeff"), refused=_WRONG_TITLE),
    PlantedFault("title is NUL", _set("title", "\0"), refused=_WRONG_TITLE),
    PlantedFault("attribute is null", _attribute(None)),
    PlantedFault("attribute is empty", _attribute("")),
    PlantedFault("attribute is true", _attribute(True), products.BOOLEAN),
    PlantedFault("attribute is a list", _attribute(["S", "M"]), products.ONE_TEXT),
    _price("19.99 USD", prices.CURRENCY, 19.99),
    _price("1,299.00", prices.GROUPS, 1299.0),
    _price("19,99", prices.COMMA_READ, 19.99),
    _price("1.299", prices.AMBIGUOUS, None),
    _price("-5", prices.NEGATIVE, None),
    _price("free", prices.FREE, 0.0),
    _price("call us", prices.NO_NUMBER, None),
    _price("2 for 19.99", prices.SEVERAL, None),
    PlantedFault("price is empty", _set("price", ""), field="price"),
    _stock("in stock", availability.STOCK, True),
    _stock("sold out", availability.STOCK, False),
    _stock("on the moon", availability.NOT_STOCK, None),
    PlantedFault("id as a fraction", lambda row: row.update(id=float(row["id"])), WHOLE_ID),
    PlantedFault("repeated id", lambda row: row.update(id=row["id"] % _APART + 1), refused=_REPEATED),
    PlantedFault("HTML in a title", _set("title", "<b>Lap</b>top &amp; bag"), products.MARKUP, field="title",
          right="Laptop & bag"),
    PlantedFault("HTML in a description", _set("description", "Oak<br>desk"), products.MARKUP, field="description",
          right="Oak desk"),
    PlantedFault("broken character", _set("title", "Caf\udce9"), products.MENDED, field="title", right="Caf?"),
)  # fmt: skip


def good_row(number: int, draw: random.Random) -> Row:
    """Return a row without a fault; its id is its number, from 1."""
    kind, colour = draw.choice(KINDS), draw.choice(COLOURS)
    return {
        "id": number + 1,
        "title": f"{colour.capitalize()} {kind} {number + 1}",
        "description": f"A {kind} in {colour} for every room",
        "brand": draw.choice(BRANDS),
        "category": f"Home, {kind}",
        "price": f"{draw.randrange(1, 900)}.{draw.randrange(10, 100)}",
        "availability": True,
        "attributes": {"colour": colour, "width": f"{draw.randrange(20, 200)} cm"},
        "warehouse": "A7",
    }


def write_messy(path: Path, rows: int, form: MessyForm, seed: int = 0) -> Planted:
    """Write a feed with a byte order mark, pandas' index and every fault, and return what was planted.

    Raises:
        BadInput: there are too few rows for each fault to have its own.
    """
    if rows < _FEWEST:
        raise BadInput(f"--rows {rows}: at least {_FEWEST} are needed, so that every fault has rows of its own")
    draw = random.Random(seed)
    times = rows // _APART
    # Rows before the first one stay good: their ids come again.
    free = draw.sample(range(_APART, rows), times * len(FAULTS))
    places = {fault.name: sorted(free[i * times : (i + 1) * times]) for i, fault in enumerate(FAULTS)}
    fault_of = {number: fault for fault in FAULTS for number in places[fault.name]}
    made = []
    for number in range(rows):
        row = good_row(number, draw)
        if number in fault_of:
            fault_of[number].plant(row)
        made.append(row)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "\ufeff" + _written(made, form)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    changes = Counter({fault.change: 0 for fault in FAULTS if fault.change})
    refused = Counter({fault.refused: 0 for fault in FAULTS if fault.refused})
    for fault in FAULTS:
        if fault.change:
            changes[fault.change] += times
        if fault.refused:
            refused[fault.refused] += times
    return Planted(rows, dict(changes), dict(refused), places, 1 if form is MessyForm.JSONL else 2)


def _written(rows: list[Row], form: MessyForm) -> str:
    if form is MessyForm.CSV:
        file = io.StringIO(newline="")
        writer = csv.writer(file, delimiter=";", lineterminator="\n")
        writer.writerow(["", *rows[0]])
        writer.writerows([i, *map(_cell, row.values())] for i, row in enumerate(rows))
        return file.getvalue()
    lines = [json.dumps({**row, "__index_level_0__": i}) for i, row in enumerate(rows)]
    return "\n".join(lines) + "\n" if form is MessyForm.JSONL else "[\n" + ",\n".join(lines) + "\n]\n"


def _cell(value: Any) -> Any:
    """Return a value as Python's exports write it into a cell."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def change_feed(feed: Path, out: Path, planted: Planted, added: int, changed: int, gone: int) -> Planted:
    """Write a table that `write_messy` wrote as the shop exports it later, and return what is planted in that.

    Only rows without a fault change (their price) or go, and the new ones, which come last, have none.

    Args:
        feed: in CSV.
        out: the later one.
        planted: in the feed.
        added: how many rows are new.
        changed: how many have another price.
        gone: how many are left out.

    Raises:
        BadInput: the feed is no such table, or has too few good rows.
    """
    with feed.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        header, *rows = csv.reader(file, delimiter=";")
    good = sorted({*range(_APART, len(rows))} - {row for places in planted.places.values() for row in places})
    if "price" not in header or len(rows) != planted.rows or len(good) < changed + gone:
        raise BadInput(f"{feed}: a table of `write` with {changed + gone:,} rows without a fault is needed")
    draw = random.Random(len(rows))
    drawn = draw.sample(good, changed + gone)
    for number in drawn[:changed]:
        rows[number][header.index("price")] = "950.00"  # no other costs so much
    left = [number for number in range(len(rows)) if number not in set(drawn[changed:])]
    later = [rows[number] for number in left]
    for number in range(planted.rows, planted.rows + added):
        later.append([str(number), *map(_text_cell, good_row(number, draw).values())])
    with out.open("w", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        csv.writer(file, delimiter=";", lineterminator="\n").writerows([header, *later])
    now = {before: after for after, before in enumerate(left)}
    places = {fault: [now[row] for row in rows_of] for fault, rows_of in planted.places.items()}
    compared = {kind: times for kind, times in ((ADDED, added), (CHANGED, changed), (GONE, gone)) if times}
    return replace(planted, rows=len(later), places=places, compared=compared)


def _text_cell(value: Any) -> str:
    return str(_cell(value))


def comparison(planted: Planted, report: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Return by kind what was planted and what was counted, with whatever was counted and not planted.

    Args:
        planted: in the feed.
        report: of the import, as `--report` writes it.
    """
    found = [
        ("rows read", planted.rows, report["read"]["rows"]),
        ("products kept", planted.kept, report["kept"]["products"]),
    ]
    counts = {name: {kind: one["count"] for kind, one in report[name].items()} for name in ("changes", "compared")}
    for sign, wanted, got in (
        ("", planted.changes, counts["changes"]),
        ("refused: ", planted.refused, report["refused"]),
        ("since the last import: ", planted.compared, counts["compared"]),
    ):
        found += [(f"{sign}{kind}", wanted.get(kind, 0), got.get(kind, 0)) for kind in {**wanted, **got}]
    return found


def large_feed(rows: int, seed: int = 0) -> Iterator[list[str]]:
    """Yield the cells of a large table: its header and rows, one price in three with a currency."""
    draw = random.Random(seed)
    yield ["id", "title", "description", "brand", "category", "price", "availability", "color"]
    for number in range(rows):
        row = good_row(number, draw)
        price = f"{row['price']} EUR" if number % 3 == 0 else row["price"]
        text = f"<p>{row['description']}</p>" if number % 10 == 0 else row["description"]
        stock = "in stock" if number % 5 else "out of stock"
        yield [
            str(number),
            row["title"],
            text,
            row["brand"],
            row["category"],
            price,
            stock,
            row["attributes"]["colour"],
        ]


app = new_app()
Rows = Annotated[int, typer.Option("--rows", help="How many rows the feed has.")]
Form = Annotated[MessyForm, typer.Option("--form", help="csv, json (an array) or jsonl.")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed writes the same bytes.")]


@app.command()
def write(
    out: Annotated[Path, typer.Argument(help="The feed; what was planted goes beside it, as .planted.json.")],
    rows: Rows = 10_000,
    form: Form = MessyForm.CSV,
    seed: Seed = 0,
) -> None:
    """Write the feed, and what was planted in it."""
    planted = write_messy(out, rows, form, seed)
    faults = sum(map(len, planted.places.values()))
    beside = _keep(out, planted)
    print(f"{out}: {rows:,} rows, {faults:,} of them with a fault of {len(FAULTS)} kinds; {beside} says where")


@app.command()
def change(
    feed: Annotated[Path, typer.Argument(help="A feed that `write` wrote as CSV.")],
    out: Annotated[Path, typer.Argument(help="The later feed; what is planted goes beside it too.")],
    added: Annotated[int, typer.Option(min=0, help="New products.")] = 40,
    changed: Annotated[int, typer.Option(min=0, help="Products with another price.")] = 30,
    gone: Annotated[int, typer.Option(min=0, help="Products that are left out.")] = 20,
) -> None:
    """Write the feed as the shop exports it later."""
    planted = change_feed(feed, out, _planted_in(feed), added, changed, gone)
    beside = _keep(out, planted)
    print(f"{out}: {added:,} products added, {changed:,} changed, {gone:,} gone; {beside} says it too")


@app.command()
def compare(
    feed: Annotated[Path, typer.Argument(help="A feed of `write` or `change`.")],
    report: Annotated[Path, typer.Argument(help="What `gen-rerank import FEED … --report` wrote of it.")],
) -> None:
    """Put the counts of an import's report beside the planted ones; exit with 1 where they differ."""
    _show_comparison(feed.name, _planted_in(feed), _read_json(report))


@app.command()
def check(rows: Rows = 10_000, form: Form = MessyForm.CSV, seed: Seed = 0) -> None:
    """Import the feed and put its counts beside the planted ones; exit with 1 where they differ."""
    with TemporaryDirectory() as made:
        feed = Path(made) / f"messy.{form}"
        planted = write_messy(feed, rows, form, seed)
        report = import_feed(feed, Path(made) / "shop")
    for name, said in report.found.items():
        print(f"{name}: {said}")
    _show_comparison(f"messy.{form}, seed {seed}", planted, report.to_json())


def _beside(feed: Path) -> Path:
    return feed.with_name(f"{feed.name}.planted.json")


def _keep(feed: Path, planted: Planted) -> Path:
    _beside(feed).write_text(json.dumps(asdict(planted), indent=1) + "\n", encoding="utf-8")
    return _beside(feed)


def _planted_in(feed: Path) -> Planted:
    return Planted(**_read_json(_beside(feed)))


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: cannot be read as JSON ({error})") from error


def _show_comparison(title: str, planted: Planted, report: Mapping[str, Any]) -> None:
    """Print the table, and end with exit code 1 where two counts differ."""
    compared = comparison(planted, report)
    cells = [(kind, f"{wanted:,}", f"{got:,}", "" if wanted == got else "differs") for kind, wanted, got in compared]
    FigureTable(title, ("What", "Planted", "Counted", ""), cells).show(wide_console(100))
    if any(wanted != got for _, wanted, got in compared):
        sys.exit(1)


@app.command()
def stream(rows: Rows = 1_000_000, seed: Seed = 0) -> None:
    """Import a large table and print how long that took, and the most memory that the process held."""
    this_run = in_own_process(ThisRun.now, PACKAGES)  # it opens torch, whose memory is not the import's
    with TemporaryDirectory() as made:
        feed = Path(made) / "large.csv"
        with feed.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(large_feed(rows, seed))
        size, before = feed.stat().st_size / 1e6, _peak_memory()
        began, worked = time.perf_counter(), time.process_time()
        report = import_feed(feed, Path(made) / "shop")
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
    kept = report.kept["products"]
    Console(soft_wrap=True).print(f"{this_run.date}, {this_run.machine}, {this_run.versions}, load {this_run.load}")
    print(
        f"{rows:,} rows ({size:,.0f} MB) in {seconds:,.0f} s, of which one core worked {worked:,.0f} s "
        f"({rows / worked:,.0f} rows a second); {kept:,} products; peak memory {_peak_memory():,.0f} MB, "
        f"{before:,.0f} MB of it before the import"
    )


def _peak_memory() -> float:
    """Return the most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    run_app(app)
