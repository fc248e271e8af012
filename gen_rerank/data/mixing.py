"""What `gen-rerank mix` does: one data folder out of several, to train on several shops' judgments; or a sample of one.

Queries are taken whole, and drawn by the seeded hash of `importing.splitting`, so that the order of a file does not
matter. What nobody judged is left out. Rows stay as they are but for their ids, which get the folder's name before
them. How a folder is read and checked is `dataset`'s.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gen_rerank.data import values
from gen_rerank.data.dataset import Dataset, require_judged
from gen_rerank.data.importing.existing import InformationNeed, needs_of
from gen_rerank.data.importing.splitting import SPLITS, SplitPlan, folded
from gen_rerank.data.reading import write_rows
from gen_rerank.data.records import BadRow, Query, Split
from gen_rerank.data.values import BadValue
from gen_rerank.errors import BadInput
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.tables import TextTable
from gen_rerank.system.publishing import folder_appearing, refuse_taken, require_room

_TRAIN: Split = "train"
_TOTAL = "all"
_SHOWN_TEXTS = 3


@dataclass(frozen=True)
class MixPlan:
    """What of the folders is taken.

    Attributes:
        only: the splits whose queries are taken.
        hold_out: the share of the training queries that becomes the validation split, in (0, 1); the validation and
            test queries that came are left out. None keeps the splits.
        pairs: the most training judgments; None takes all.
        seed: of what is drawn.
        all_products: products that nobody judged are taken too.
        skip_bad_rows: leave bad rows out.

    Raises:
        BadInput: a share that is none, or options that contradict each other.
    """

    only: tuple[Split, ...] = SPLITS
    hold_out: float | None = None
    pairs: int | None = None
    seed: int = 0
    all_products: bool = False
    skip_bad_rows: bool = False

    def __post_init__(self) -> None:
        """Check the options together."""
        if self.hold_out is not None and not 0 < self.hold_out < 1:
            raise BadInput(f"--hold-out {self.hold_out:g}: a share between 0 and 1 is needed, as in 0.2")
        if self.hold_out is not None and set(self.only) != set(SPLITS):
            raise BadInput("--hold-out takes the training queries alone, so that --only has nothing to say; remove one")
        if self.pairs is not None and _TRAIN not in self.only:
            raise BadInput("--pairs says how many training judgments are taken, and --only takes none; remove one")

    @property
    def read(self) -> tuple[Split, ...]:
        """The splits that are read: to hold queries out, those to train on alone."""
        return self.only if self.hold_out is None else (_TRAIN,)


def read_splits(written: str | None, option: str = "--only") -> tuple[Split, ...]:
    """Return the splits that people wrote with an option, all where they wrote none.

    Raises:
        BadInput: one that there is not.

    Example:
        >>> read_splits("validation, train")
        ('train', 'validation')
    """
    if written is None:
        return SPLITS
    names = [name.strip() for name in written.split(",")]
    for name in names:
        if name not in SPLITS:
            raise BadInput(f"{option} {written}: there is no split {name!r}; choose of {', '.join(SPLITS)}")
    return tuple(split for split in SPLITS if split in names)


@dataclass(frozen=True)
class MixedFolder:
    """What one folder gave.

    Attributes:
        name: before its ids.
        folder: where it lies.
        data: what was taken of it, with the ids and splits of the result.
        needs: the written information needs of its queries.
        left_out: how many of its judgments were not taken.
        bad_rows: those of the folder, which were left out.
    """

    name: str
    folder: Path
    data: Dataset
    needs: tuple[InformationNeed, ...] = ()
    left_out: int = 0
    bad_rows: tuple[BadRow, ...] = ()

    def counts(self) -> dict[Split, tuple[int, int]]:
        """Return how many queries and pairs each split has."""
        parts = {split: self.data.of(split) for split in SPLITS}
        return {split: (len(part.queries), len(part.judgments)) for split, part in parts.items()}

    def with_queries(self, queries: Mapping[str, Query]) -> MixedFolder:
        """Return the folder with some of its queries alone, as they are given, and what is judged for them."""
        judgments = tuple(row for row in self.data.judgments if row.query_id in queries)
        left_out = self.left_out + len(self.data.judgments) - len(judgments)
        return replace(self, data=Dataset(self.data.products, dict(queries), judgments), left_out=left_out)


@dataclass(frozen=True)
class MixReport:
    """What came from where.

    Attributes:
        folders: in the order given.
        torn: texts of queries that are in several splits, as they came.
    """

    folders: tuple[MixedFolder, ...]
    torn: tuple[str, ...]

    @property
    def bad_rows(self) -> tuple[BadRow, ...]:
        """The rows that were left out."""
        return tuple(row for one in self.folders for row in one.bad_rows)

    def table(self) -> TextTable:
        """Return one row a folder, and one for all where there are several."""
        table = TextTable(caption=f"judged queries / pairs{self._torn_said()}")
        for name in ("Folder", *SPLITS, "products", "pairs left out"):
            table.add_column(name, justify="left" if name == "Folder" else "right")
        rows = [(one.name, one.counts(), len(one.data.products), one.left_out) for one in self.folders]
        if len(rows) > 1:
            totals = {split: _sums(counts[split] for _, counts, _, _ in rows) for split in SPLITS}
            rows.append((_TOTAL, totals, sum(row[2] for row in rows), sum(row[3] for row in rows)))
        for name, counts, products, left_out in rows:
            cells = (f"{queries:,} / {pairs:,}" for queries, pairs in counts.values())
            table.add_row(name, *cells, f"{products:,}", f"{left_out:,}")
        return table

    def to_json(self) -> dict[str, Any]:
        """Return the figures of the table."""
        return {
            "folders": [
                {
                    "name": one.name,
                    "folder": str(one.folder),
                    "splits": {
                        split: {"queries": queries, "pairs": pairs} for split, (queries, pairs) in one.counts().items()
                    },
                    "products": len(one.data.products),
                    "pairs_left_out": one.left_out,
                    "bad_rows": len(one.bad_rows),
                }
                for one in self.folders
            ],
            "in_several_splits": list(self.torn),
        }

    def _torn_said(self) -> str:
        if not self.torn:
            return ""
        more = ", …" if len(self.torn) > _SHOWN_TEXTS else ""
        texts = ", ".join(self.torn[:_SHOWN_TEXTS])
        return f"; in several splits, as they came: {counted(len(self.torn), 'query text')} ({texts}{more})"


def mix(folders: Sequence[Path], out: Path, plan: MixPlan) -> MixReport:
    """Write one data folder of what is taken of several.

    Args:
        folders: data folders, each with judgments; their names come before the ids.
        out: the result; nothing may lie there.
        plan: what is taken.

    Raises:
        BadInput: `out` is taken, two folders have one name, a folder cannot be read, or nothing of one is taken.

    Example:
        >>> mix([Path("shop")], Path("sample"), MixPlan(hold_out=0.2, pairs=4000))  # doctest: +SKIP
    """
    require_room(out)
    refuse_taken(out)
    opened = [_opened(name, folder, plan) for name, folder in _named(folders).items()]
    if plan.hold_out is not None:
        opened = _held_out(opened, SplitPlan((1 - plan.hold_out, plan.hold_out, 0.0), plan.seed))
    if plan.pairs is not None:
        opened = _sampled(opened, plan.pairs, SplitPlan(seed=plan.seed))
    taken = tuple(_renamed(one, all_products=plan.all_products) for one in opened)
    mixed = Dataset(
        {key: row for one in taken for key, row in one.data.products.items()},
        {key: row for one in taken for key, row in one.data.queries.items()},
        tuple(row for one in taken for row in one.data.judgments),
    )
    needs = [need for one in taken for need in one.needs]
    with folder_appearing(out) as made:
        mixed.save(made)
        if needs:
            write_rows(made / "needs.jsonl", needs)
    return MixReport(taken, _torn(mixed.queries.values()))


def _named(folders: Sequence[Path]) -> dict[str, Path]:
    """Return the folders by their names.

    Raises:
        BadInput: two have one name.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        try:
            # That of a link is its own; `.` and `..` have none.
            name = values.identifier(folder.name if folder.name.strip(".") else folder.resolve().name)
        except BadValue as error:
            raise BadInput(f"{folder}: the folder's name comes before the ids, and it {error}; rename it") from error
        if name in found:
            raise BadInput(
                f"{found[name]} and {folder} are both called {name!r}, and the name comes before the ids; rename one, "
                "or give a link to it with another name"
            )
        found[name] = folder
    return found


def _opened(name: str, folder: Path, plan: MixPlan) -> MixedFolder:
    """Return what a folder has in the splits that are read.

    Raises:
        BadInput: it cannot be read, or nothing is judged in these splits.
    """
    data = Dataset.load(folder, skip_bad_rows=plan.skip_bad_rows, judged_only=not plan.all_products)
    require_judged(data, folder)
    whole = MixedFolder(name, folder, data, needs_of(folder), bad_rows=data.bad_rows)
    judged = {row.query_id for row in data.judgments}
    taken = whole.with_queries({key: row for key, row in data.of(*plan.read).queries.items() if key in judged})
    if not taken.data.judgments:
        names = " or ".join(map(repr, plan.read))
        raise BadInput(f"{folder}: no query of the split {names} has a judgment; {data.judged_splits()}")
    return taken


def _held_out(folders: Sequence[MixedFolder], plan: SplitPlan) -> list[MixedFolder]:
    """Return the folders with their training queries divided, one folder after the other.

    A text that another folder has too goes where it went there: who trains on it must not be measured on it.

    Raises:
        BadInput: there is one query, of which none can be held out.
    """
    drawn: dict[str, Split] = {}
    divided = []
    for one in folders:
        drawn = plan.draw((row.text for row in one.data.queries.values()), drawn)
        split_of = {key: drawn[folded(row.text)] for key, row in one.data.queries.items()}
        queries = {key: row.model_copy(update={"split": split_of[key]}) for key, row in one.data.queries.items()}
        divided.append(one.with_queries(queries))
    if set(drawn.values()) == {_TRAIN}:
        raise BadInput("--hold-out: of 1 training query none can be held out; two are needed")
    return divided


def _sampled(folders: Sequence[MixedFolder], pairs: int, plan: SplitPlan) -> list[MixedFolder]:
    """Return the folders with at most so many training judgments together, in the shares in which they came.

    Whole queries in the order of the hash, up to the first that does not fit any more: fewer pairs are a part of more.

    Raises:
        BadInput: not one training query of a folder fits.
    """
    had = [len(one.data.of(_TRAIN).judgments) for one in folders]
    if sum(had) <= pairs:
        return list(folders)
    sampled = []
    for one, number in zip(folders, had, strict=True):
        sizes = Counter(row.query_id for row in one.data.judgments)
        queries = {key: row for key, row in one.data.queries.items() if row.split != _TRAIN}
        room = pairs * number // sum(had)
        training = one.data.of(_TRAIN).queries.values()
        for row in sorted(training, key=lambda row: (plan.place(folded(row.text)), row.query_id)):
            room -= sizes[row.query_id]
            if room < 0:
                break
            queries[row.query_id] = row
        if number and not any(row.split == _TRAIN for row in queries.values()):
            raise BadInput(f"--pairs {pairs}: not one whole training query of {one.folder} fits; ask for more pairs")
        sampled.append(one.with_queries({key: queries[key] for key in one.data.queries if key in queries}))
    return sampled


def _renamed(one: MixedFolder, *, all_products: bool) -> MixedFolder:
    """Return a folder with its name before all ids, without the products that nobody judges any more."""

    def new(key: str) -> str:
        return f"{one.name}/{key}"

    data = one.data
    judged = {row.product_id for row in data.judgments}
    products = {
        new(key): row.model_copy(update={"product_id": new(key)})
        for key, row in data.products.items()
        if all_products or key in judged
    }
    queries = {new(key): row.model_copy(update={"query_id": new(key)}) for key, row in data.queries.items()}
    judgments = tuple(
        row.model_copy(update={"query_id": new(row.query_id), "product_id": new(row.product_id)})
        for row in data.judgments
    )
    needs = tuple(
        row.model_copy(update={"query_id": new(row.query_id)}) for row in one.needs if row.query_id in data.queries
    )
    return replace(one, data=Dataset(products, queries, judgments), needs=needs)


def _torn(queries: Iterable[Query]) -> tuple[str, ...]:
    """Return the texts that are in several splits."""
    splits: dict[str, set[Split]] = defaultdict(set)
    for row in queries:
        splits[folded(row.text)].add(row.split)
    return tuple(text for text, found in splits.items() if len(found) > 1)


def _sums(counts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    queries, pairs = zip(*counts, strict=True)
    return sum(queries), sum(pairs)
