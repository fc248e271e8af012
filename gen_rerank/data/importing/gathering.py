"""Votes become queries, products and judgments: one row a pair, each rater's grade kept, the mean as the relevance.

What is in the folder already is used: its catalog decides which products there are, its queries keep their ids and
splits. A vote that cannot be used is refused with its line and the reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from statistics import fmean
from typing import Any, TypeVar

from pydantic import ValidationError

from gen_rerank.data import values
from gen_rerank.data.importing.existing import DataThere, InformationNeed
from gen_rerank.data.importing.grading import Scale
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.splitting import SPLITS, SplitPlan, folded, read_split
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.importing.whole_ids import WHOLE_ID, whole_id
from gen_rerank.data.missing import is_nothing
from gen_rerank.data.records import Judgment, Product, Query, Split, row_fault
from gen_rerank.data.values import BadValue, shown

Value = TypeVar("Value")

# Nobody judges a product by them, and a list of judgments may have them in any form.
_DISPENSABLE = ("price", "available")
BLANK_GRADE = "blank grades: no vote is made of them"
VOTED_TWICE = "rater voted twice"
_DIGITS = re.compile(r"(\d+)")


class Unusable(ValueError):
    """A vote that cannot be used: the kind of reason, by which votes are counted, and the reason itself."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


@dataclass
class GatheredQuery:
    """A query while its votes come in."""

    text: str
    split: Split | None = None
    is_there: bool = False
    tags: dict[str, None] = field(default_factory=dict)
    needs: dict[str, None] = field(default_factory=dict)


@dataclass
class GatheredPair:
    """The grades of a query and a product so far, in [0, 1]: of raters, with their names, or the pair's own.

    Attributes:
        file: where the pair was first met.
        line: from 1.
        own: what the pair is worth.
        grade: the same as it stands in the source.
        votes: of raters.
    """

    file: str
    line: int
    own: float | None = None
    grade: Any = None
    votes: list[tuple[str, float]] = field(default_factory=list)

    def add(self, vote: Vote, relevance: float, if_repeated: str) -> None:
        """Add a grade.

        Args:
            vote: whose grade it is.
            relevance: what it is worth.
            if_repeated: as `Gathering` has it.

        Raises:
            Unusable: the pair has one already, or one of this rater.
        """
        if vote.rater is None:
            if self.own is not None:
                other = f" with the grade {shown(self.grade)}, here {shown(vote.grade)}"
                again = "" if self.own == relevance else other
                advice = f"; {if_repeated}" if if_repeated else ""
                place = f"{self.file}:{self.line}"
                raise Unusable(
                    "pair given twice", f"the pair was already given in {place}{again}; that is kept{advice}"
                )
            self.own, self.grade = relevance, vote.grade
        elif vote.rater and any(rater == vote.rater for rater, _ in self.votes):
            raise Unusable(VOTED_TWICE, f"{vote.rater!r} already graded this pair")
        else:
            self.votes.append((vote.rater, relevance))

    def labels(self) -> tuple[float, ...]:
        """Return the raters' grades in the order of their names; those without a name are last."""
        return tuple(grade for _, grade in sorted(self.votes, key=lambda vote: (not vote[0], _natural(vote[0]))))


class Gathering:
    """What the votes of one source come to.

    Args:
        there: what the folder holds already.
        scale: of the grades.
        report: is told what is refused.
        if_repeated: what people can do where a pair comes twice, for the sentence.
    """

    def __init__(self, there: DataThere, scale: Scale, report: ImportReport, if_repeated: str = "") -> None:
        self.there = there
        self.scale = scale
        self.report = report
        self.if_repeated = if_repeated
        self.products: dict[str, Product] = {}
        self.queries = {
            row.query_id: GatheredQuery(row.text, row.split, True, dict.fromkeys(row.tags)) for row in there.queries
        }
        self.pairs: dict[tuple[str, str], GatheredPair] = {}
        self._query_ids_there = frozenset(self.queries)
        self._refused = ("", 0, "", "")
        self._ids = {collapsed(row.text): row.query_id for row in reversed(there.queries)}

    def add(self, vote: Vote) -> None:
        """Take one vote in, or refuse it; a row with several votes is refused once for what all of them have."""
        # "None" may be a word of the scale, and is else how programs write that there is no grade.
        blank = vote.grade is None or (is_nothing(vote.grade) and not self.scale.has_word(vote.grade))
        try:
            relevance = None if blank else _checked("grade", self.scale.relevance, vote.grade)
        except Unusable as error:
            self.report.refuse(error.kind, vote.file, vote.line, str(error))
            return
        try:
            self._add(vote, relevance)
        except Unusable as error:
            refused = (vote.file, vote.line, error.kind, str(error))
            of_row = (vote.rater is not None or blank) and error.kind != VOTED_TWICE
            if not of_row or refused != self._refused:
                self._refused = refused
                self.report.refuse(error.kind, vote.file, vote.line, str(error))
            return
        if blank and vote.blanks:
            self.report.leave_open(BLANK_GRADE, vote.blanks)

    def _add(self, vote: Vote, relevance: float | None) -> None:
        product_id = _product_id(vote, self.there.product_ids or ())
        product = self._product(product_id, vote)
        query_id, query = self._query(vote)
        split = _checked("split", read_split, vote.split)
        need = (_checked("information need", values.text, vote.need) or "").strip()
        if split and query.split and split != query.split and not query.is_there:
            raise Unusable(
                "split", f"the query {query_id!r} was given the split {query.split!r} before, here {split!r}"
            )
        pair = self.pairs.get((query_id, product_id)) or GatheredPair(vote.file, vote.line)
        if relevance is not None:
            pair.add(vote, relevance, self.if_repeated)
        self.pairs[query_id, product_id] = pair
        self.queries[query_id] = query
        self._ids.setdefault(collapsed(query.text), query_id)
        query.split = query.split or split
        query.tags.update(dict.fromkeys(vote.tags))
        if need:
            query.needs[need] = None
        if product is not None:
            self.products[product_id] = product
        for given, kept in ((vote.product_id, product_id), (vote.query_id, query_id)):
            if isinstance(given, str) and given.strip() != kept == whole_id(given.strip()):
                self.report.change(WHOLE_ID, f"{vote.file}:{vote.line}", given, kept)

    def _product(self, product_id: str, vote: Vote) -> Product | None:
        """Return the product that a vote brings; None where it is known."""
        if self.there.product_ids is not None:
            if product_id not in self.there.product_ids:
                raise Unusable("unknown product", f"product_id {product_id!r} is not among the folder's products")
            return None
        if product_id in self.products:
            return None
        if not vote.product:
            raise Unusable(
                "product without text",
                f"product_id {product_id!r} has no text here; import the catalog into the folder first",
            )
        fields = {"title": None, **vote.product, "product_id": product_id}
        while True:
            try:
                return Product.model_validate(fields)
            except ValidationError as error:
                fault = row_fault(error)
                if fault.field not in _DISPENSABLE:
                    raise Unusable("product", f"{fault.field} of product {product_id!r}{fault.clause}") from error
                place = f"{vote.file}:{vote.line} {fault.field}"
                self.report.change(f"{fault.field} left out", place, fields.pop(fault.field), "")

    def _query(self, vote: Vote) -> tuple[str, GatheredQuery]:
        text = " ".join((_checked("query", values.text, vote.query) or "").split())
        given = None if vote.query_id is None else _id("query id", vote.query_id, self._query_ids_there)
        if given is None and not text:
            raise Unusable("query", "the query has no text")
        query_id = given or self._ids.get(text) or query_id_of(text)
        known = self.queries.get(query_id)
        if known is None and not text:
            raise Unusable("unknown query", f"query_id {query_id!r} is not among the queries")
        if known and text and collapsed(known.text) != text:
            raise Unusable("query with two texts", f"the query {query_id!r} is {known.text!r} before, here {text!r}")
        return query_id, known or GatheredQuery(text)

    def judgments(self) -> Iterator[Judgment]:
        """Yield a judgment for each graded pair, in the order of the first votes."""
        for (query_id, product_id), pair in self.pairs.items():
            labels = pair.labels()
            relevance = fmean(labels) if labels else pair.own
            if relevance is not None:
                yield Judgment(query_id=query_id, product_id=product_id, relevance=relevance, labels=labels)

    def split_queries(self, plan: SplitPlan, *, needs_as_tags: bool) -> list[Query]:
        """Return all queries: those of the folder first, as they were; the others with a split, given or drawn."""
        named: dict[str, set[Split]] = defaultdict(set)
        for query in self.queries.values():
            if query.split:
                named[folded(query.text)].add(query.split)
        known = {text: min(splits, key=SPLITS.index) for text, splits in named.items()}
        drawn = plan.draw((query.text for query in self.queries.values()), known)
        rows = [
            Query(
                query_id=query_id,
                text=query.text,
                split=query.split or drawn[folded(query.text)],
                tags=tuple(query.tags | query.needs) if needs_as_tags else tuple(query.tags),
            )
            for query_id, query in self.queries.items()
        ]
        self._report_splits(rows, named, plan)
        return rows

    def needs(self) -> list[InformationNeed]:
        """Return the written information needs: those of the folder first, each once."""
        found = [
            InformationNeed(query_id=key, need=need) for key, query in self.queries.items() for need in query.needs
        ]
        return list(dict.fromkeys([*self.there.needs, *found]))

    def _report_splits(self, rows: list[Query], named: dict[str, set[Split]], plan: SplitPlan) -> None:
        numbers = Counter(row.split for row in rows)
        drawn = sum(query.split is None for query in self.queries.values())
        how = f"{drawn:,} drawn by {', '.join(f'{share:g}' for share in plan.shares)}, seed {plan.seed}"
        self.report.found["splits"] = (
            f"{', '.join(f'{split} {numbers[split]:,}' for split in SPLITS)} ({how if drawn else 'as given'})"
        )
        if torn := [text for text, splits in named.items() if len(splits) > 1]:
            self.report.found["in several splits"] = f"{len(torn):,} query texts, as given: {', '.join(torn[:3])}"


def votes_a_pair(judgments: list[Judgment]) -> str:
    """Return how many raters graded how many pairs, in words.

    Example:
        >>> votes_a_pair([Judgment(query_id="q", product_id="p", relevance=1, labels=(1, 1))])
        '1 pair with 2'
        >>> votes_a_pair([Judgment(query_id="q", product_id="p", relevance=1)])
        '1 pair with none'
    """
    counts = Counter(len(row.labels) for row in judgments)
    return ", ".join(
        f"{number:,} pair{'s' if number > 1 else ''} with {votes or 'none'}" for votes, number in sorted(counts.items())
    )


def collapsed(text: str) -> str:
    r"""Return a text with single spaces: what formats without query ids tell queries apart by.

    Example:
        >>> collapsed(" oak\n desk")
        'oak desk'
    """
    return " ".join(text.split())


def query_id_of(text: str) -> str:
    """Return the id of a query that came without one: the same text has the same id in every import.

    Example:
        >>> query_id_of("oak desk")
        'q14c3a4195e4267a6'
    """
    return "q" + blake2b(collapsed(text).encode(), digest_size=8).hexdigest()


def _id(kind: str, given: Any, there: Container[str]) -> str:
    """Return an id as it stands where the folder has it so, else without the fraction that a spreadsheet made of it."""
    found = _checked(kind, values.identifier, given)
    return found if found in there else whole_id(found)


def _product_id(vote: Vote, there: Container[str]) -> str:
    """Return the id of a product; where the source has none, one that the same text has in every import."""
    if vote.product and not (_checked("product id", values.text, vote.product_id) or "").strip():
        text = json.dumps(vote.product, sort_keys=True, default=str)
        return "p" + blake2b(text.encode(errors="replace"), digest_size=8).hexdigest()
    return _id("product id", vote.product_id, there)


def _checked(kind: str, read: Callable[[Any], Value], given: Any) -> Value:
    try:
        return read(given)
    except BadValue as error:
        raise Unusable(kind, f"{kind}: {error}" if kind not in str(error) else str(error)) from error


def _natural(name: str) -> list[str | int]:
    """Return a key by which rater2 stands before rater10."""
    return [int(part) if part.isdecimal() else part for part in _DIGITS.split(name)]
