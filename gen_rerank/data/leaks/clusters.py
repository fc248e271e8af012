"""What `gen-rerank split` does: queries that are alike stay on one side, and each slice keeps its share of each side.

Clusters are dealt out largest first, each to the split that still lacks most of its slices (Sechidis, Tsoumakas and
Vlahavas 2011, "On the stratification of multi-label data"); a seeded hash decides between equals.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.importing.existing import needs_of
from gen_rerank.data.importing.splitting import SPLITS, SplitPlan, folded
from gen_rerank.data.leaks.matching import Encode, Likeness, Thresholds, alike
from gen_rerank.data.reading import write_rows
from gen_rerank.data.records import BadRow, Query, Split
from gen_rerank.errors import BadInput
from gen_rerank.reporting.numbers import counted
from gen_rerank.reporting.tables import TextTable
from gen_rerank.system.publishing import folder_appearing, refuse_taken, require_room

_ALL = "all queries"


@dataclass(frozen=True)
class ClusterReport:
    """What a split has.

    Attributes:
        data: with the new splits.
        clusters: how many groups of queries that are alike there are, single queries not among them.
        together: how many queries are in them.
        out: the result.
        bad_rows: rows that were left out.
    """

    data: Dataset
    clusters: int
    together: int
    out: Path
    bad_rows: tuple[BadRow, ...] = ()

    def counts(self) -> dict[str, dict[Split, int]]:
        """Return how many queries of each slice each split has."""
        found: dict[str, Counter[Split]] = defaultdict(Counter)
        for query in self.data.queries.values():
            for tag in (_ALL, *query.tags):
                found[tag][query.split] += 1
        order = sorted(found, key=lambda tag: (tag != _ALL, tag))
        return {tag: {split: found[tag][split] for split in SPLITS} for tag in order}

    def to_json(self) -> dict[str, Any]:
        """Return all counts."""
        return {"queries": self.counts(), "clusters": self.clusters, "together": self.together, "out": str(self.out)}

    def shown(self) -> Iterator[Any]:
        """Yield a table of the slices, and a line about clusters."""
        table = TextTable("Queries")
        for name in ("Slice", *SPLITS):
            table.add_column(name, justify="left" if name == "Slice" else "right")
        for tag, splits in self.counts().items():
            total = sum(splits.values())
            table.add_row(tag, *(f"{number:,} ({number / total:.0%})" for number in splits.values()))
        yield table
        yield (
            f"{self.out}: {counted(self.together, 'query', 'queries')} in {counted(self.clusters, 'cluster')} of alike "
            "queries, each on one side"
        )


def split_by_clusters(
    data: Path,
    out: Path,
    plan: SplitPlan,
    thresholds: Thresholds,
    encode: Encode | None = None,
    *,
    skip_bad_rows: bool = False,
) -> ClusterReport:
    """Write a data folder with new splits.

    Args:
        data: a folder with queries.
        out: the result; nothing may lie there.
        plan: shares and seed.
        thresholds: from where on queries are alike.
        encode: gives vectors of queries; None leaves meaning out.
        skip_bad_rows: leave bad rows out.

    Raises:
        BadInput: the folder cannot be read or has no queries, or `out` is taken.
    """
    require_room(out)
    refuse_taken(out)
    whole = Dataset.load(data, skip_bad_rows=skip_bad_rows)
    if not whole.queries:
        raise BadInput(f"{data}: has no queries to split")
    texts = {key: query.text for key, query in whole.queries.items()}
    clusters = clusters_of(texts, alike(texts, texts, thresholds, encode))
    splits = dealt(clusters, whole.queries, plan)
    queries = {key: row.model_copy(update={"split": splits[key]}) for key, row in whole.queries.items()}
    made = Dataset(whole.products, queries, whole.judgments)
    with folder_appearing(out) as folder:
        made.save(folder)
        if needs := needs_of(data):
            write_rows(folder / "needs.jsonl", needs)
    several = [one for one in clusters if len(one) > 1]
    return ClusterReport(made, len(several), sum(map(len, several)), out, whole.bad_rows)


def clusters_of(ids: Iterable[str], likenesses: Iterable[Likeness]) -> list[list[str]]:
    """Return groups of queries that are alike, directly or by others; each query is in one.

    Example:
        >>> clusters_of("abcd", [Likeness("a", "b", "slip"), Likeness("b", "d", "near")])
        [['a', 'b', 'd'], ['c']]
    """
    leader = {key: key for key in ids}

    def lead(key: str) -> str:
        while leader[key] != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    for one in likenesses:
        leader[lead(one.two)] = lead(one.one)
    groups: dict[str, list[str]] = defaultdict(list)
    for key in leader:
        groups[lead(key)].append(key)
    return list(groups.values())


def dealt(clusters: Sequence[Sequence[str]], queries: Mapping[str, Query], plan: SplitPlan) -> dict[str, Split]:
    """Return the split of each query: whole clusters, each slice in the shares of the plan as near as can be.

    Args:
        clusters: ids of queries.
        queries: by id.
        plan: shares and seed.
    """
    sizes = Counter(tag for query in queries.values() for tag in (_ALL, *query.tags))
    wanted = {
        split: {tag: share * size for tag, size in sizes.items()}
        for split, share in zip(SPLITS, plan.shares, strict=True)
        if share > 0
    }
    lacking = {split: dict(numbers) for split, numbers in wanted.items()}
    places = {key: plan.place(folded(query.text)) for key, query in queries.items()}
    found: dict[str, Split] = {}
    for cluster in sorted(clusters, key=lambda one: (-len(one), min(places[key] for key in one))):
        tags = Counter(tag for key in cluster for tag in (_ALL, *queries[key].tags))

        def missed(split: Split, tags: Counter[str] = tags) -> float:
            return sum(number * lacking[split][tag] / wanted[split][tag] for tag, number in tags.items())

        chosen = max(lacking, key=missed)
        for tag, number in tags.items():
            lacking[chosen][tag] -= number
        found |= dict.fromkeys(cluster, chosen)
    return found
