"""What `gen-rerank decontaminate` does: a data folder without the training queries that are test queries elsewhere.

Whole queries go with their judgments. Of the others, single pairs go: the same product, for a query that shares most
words with a test query. Everything that went is in `leaks.json`, side by side with why.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.importing.existing import needs_of
from gen_rerank.data.importing.splitting import folded
from gen_rerank.data.leaks.matching import Encode, Likeness, Thresholds, alike
from gen_rerank.data.leaks.wording import numbers_of, words_of_query
from gen_rerank.data.reading import write_rows
from gen_rerank.data.records import BadRow, Split, product_text
from gen_rerank.errors import BadInput
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.tables import TextTable
from gen_rerank.system.publishing import folder_appearing, refuse_taken, require_room, write_text_whole

LEAKS = "leaks.json"
# Of the words of two queries about one and the same product.
PAIR_SHARE = 0.5
_SHOWN = 20


@dataclass(frozen=True)
class LeakPlan:
    """What is compared with what.

    Attributes:
        splits: of the folder that is cleaned; queries of other splits stay as they are.
        against: splits of the other folder.
        thresholds: from where on queries are alike.
        skip_bad_rows: leave bad rows out.
    """

    splits: tuple[Split, ...] = ("train",)
    against: tuple[Split, ...] = ("test",)
    thresholds: Thresholds = field(default_factory=Thresholds)
    skip_bad_rows: bool = False


@dataclass(frozen=True)
class LeakReport:
    """What was taken out.

    Attributes:
        likenesses: of training queries with test queries.
        pairs: single pairs of other queries: query id, product id, id of the test query.
        train: the folder that was cleaned.
        test: the folder that it was compared with.
        plan: what was compared.
        by_meaning: the model whose vectors were compared; None where that step was left out.
        out: the result.
        bad_rows: rows that were left out.
    """

    likenesses: tuple[Likeness, ...]
    pairs: tuple[tuple[str, str, str], ...]
    train: Dataset
    test: Dataset
    plan: LeakPlan
    by_meaning: str | None
    out: Path
    bad_rows: tuple[BadRow, ...] = ()

    @property
    def leaked(self) -> frozenset[str]:
        """The training queries that went."""
        return frozenset(one.one for one in self.likenesses)

    def to_json(self) -> dict[str, Any]:
        """Return all of it: `leaks` side by side, and the ids of the test queries that have any."""
        train, test = self.train.queries, self.test.queries
        return {
            "compared": {"splits": list(self.plan.splits), "against": list(self.plan.against)},
            "thresholds": {**vars(self.plan.thresholds), "pair": PAIR_SHARE, "by_meaning": self.by_meaning},
            "queries_removed": len(self.leaked),
            "pairs_removed": len(self.pairs),
            "kinds": dict(Counter(one.kind for one in self.likenesses)),
            "leaks": [
                {
                    "train_query_id": one.one,
                    "train": train[one.one].text,
                    "test_query_id": one.two,
                    "test": test[one.two].text,
                    "why": one.kind,
                    "value": round(one.value, 4),
                }
                for one in self.likenesses
            ],
            "leaked_pairs": [
                {
                    "train_query_id": query,
                    "train": train[query].text,
                    "product_id": product,
                    "test_query_id": other,
                    "test": test[other].text,
                }
                for query, product, other in self.pairs
            ],
            "test_queries_leaked": sorted({one.two for one in self.likenesses}),
            "out": str(self.out),
        }

    def shown(self) -> Iterator[Any]:
        """Yield the first leaks side by side, and a line that counts."""
        if self.likenesses:
            rest = len(self.likenesses) - _SHOWN
            table = TextTable("Leaks", f"and {rest:,} more, in {self.out / LEAKS}" if rest > 0 else "")
            for name in ("Training query", "Test query", "why", "value"):
                table.add_column(name, justify="right" if name == "value" else "left")
            for one in self.likenesses[:_SHOWN]:
                texts = self.train.queries[one.one].text, self.test.queries[one.two].text
                table.add_row(*texts, one.kind, f"{one.value:.2f}")
            yield table
        went = (
            f"{counted(len(self.leaked), 'training query', 'training queries')} and {counted(len(self.pairs), 'pair')}"
        )
        step = "" if self.by_meaning else "; meaning was not compared, --vectors names a model for it"
        yield f"{self.out}: without {went} that leak{step}"


def decontaminate(
    train: Path, test: Path, out: Path, plan: LeakPlan, encode: Encode | None = None, by_meaning: str | None = None
) -> LeakReport:
    """Write a data folder without what leaks, and `leaks.json` in it.

    Args:
        train: the folder that is cleaned.
        test: the folder whose queries must not be trained on.
        out: the result; nothing may lie there.
        plan: what is compared.
        encode: gives vectors of queries; None leaves meaning out.
        by_meaning: the name of its model.

    Raises:
        BadInput: a folder cannot be read, has no such queries, nothing would be left, or `out` is taken.
    """
    require_room(out)
    refuse_taken(out)
    whole = Dataset.load(train, skip_bad_rows=plan.skip_bad_rows)
    judged = Dataset.load(test, skip_bad_rows=plan.skip_bad_rows).of(*plan.against)
    looked_at = whole.of(*plan.splits)
    for folder, found, splits in ((train, looked_at, plan.splits), (test, judged, plan.against)):
        if not found.queries:
            raise BadInput(f"{folder}: has no query of the split {' or '.join(map(repr, splits))}")
    likenesses = tuple(alike(_texts(looked_at), _texts(judged), plan.thresholds, encode))
    leaked = {one.one for one in likenesses}
    pairs = tuple(_same_product(looked_at, judged, leaked))
    gone = {(query, product) for query, product, _ in pairs}
    kept = tuple(
        row for row in whole.judgments if row.query_id not in leaked and (row.query_id, row.product_id) not in gone
    )
    queries = {key: query for key, query in whole.queries.items() if key not in leaked}
    if not queries or (whole.judgments and not kept):
        raise BadInput(f"{train}: every query leaks; is {test} made of the same queries?")
    report = LeakReport(likenesses, pairs, whole, judged, plan, by_meaning, out, whole.bad_rows)
    with folder_appearing(out) as folder:
        Dataset(whole.products, queries, kept).save(folder)
        needs = [need for need in needs_of(train) if need.query_id in queries]
        if needs:
            write_rows(folder / "needs.jsonl", needs)
        write_text_whole(folder / LEAKS, json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n")
    return report


def _texts(data: Dataset) -> dict[str, str]:
    return {key: query.text for key, query in data.queries.items()}


def _same_product(train: Dataset, test: Dataset, leaked: set[str]) -> Iterator[tuple[str, str, str]]:
    """Yield pairs of queries that stay: their product is judged for a test query that shares most of their words."""
    asked: Mapping[str, Sequence[str]] = _queries_by_product(test)
    words = [{key: words_of_query(row.text) for key, row in side.queries.items()} for side in (train, test)]
    for row in train.judgments:
        if row.query_id in leaked:
            continue
        own = words[0][row.query_id]
        for other in asked.get(folded(product_text(train.products[row.product_id])), ()):
            theirs = words[1][other]
            both, either = set(own) & set(theirs), set(own) | set(theirs)
            if either and len(both) / len(either) >= PAIR_SHARE and numbers_of(own) == numbers_of(theirs):
                yield row.query_id, row.product_id, other
                break


def _queries_by_product(data: Dataset) -> dict[str, list[str]]:
    """Return the queries for which a product is judged, by all that the product says."""
    found = defaultdict(list)
    for row in data.judgments:
        found[folded(product_text(data.products[row.product_id]))].append(row.query_id)
    return found
