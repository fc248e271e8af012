"""An import of judgments: votes of any format become a data folder, which appears whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from gen_rerank.data.dataset import Dataset
from gen_rerank.data.importing.existing import DataThere, refuse_unfit
from gen_rerank.data.importing.gathering import Gathering, votes_a_pair
from gen_rerank.data.importing.grading import Scale
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.splitting import SplitPlan
from gen_rerank.data.importing.votes import Vote
from gen_rerank.data.reading import ENDINGS, write_rows
from gen_rerank.data.records import Record
from gen_rerank.errors import BadInput
from gen_rerank.system.publishing import folder_appearing, opened_before_named

UNGRADED_PAIR = "pairs that nobody graded: no judgment, their query and product are kept"

Needs = Literal["beside", "tags"]


@dataclass(frozen=True)
class JudgmentOptions:
    """What people say about a list of judgments that the list does not say itself.

    Attributes:
        scale: of its grades; None where the format says it.
        plan: how queries without a split are divided.
        needs: written information needs lie beside in `needs.jsonl`, or become tags of their queries.
        columns: names of columns, by what they hold, where they are not the usual ones.
        keep_rest: fields of a product that nobody knows become attributes.
        replace: judgments that are in the folder are replaced.
    """

    scale: Scale | None = None
    plan: SplitPlan = field(default_factory=SplitPlan)
    needs: Needs = "beside"
    columns: Mapping[str, str] = field(default_factory=dict)
    keep_rest: bool = False
    replace: bool = False


@dataclass(frozen=True)
class VoteSource:
    """A source that was opened.

    Attributes:
        votes: what stands in it, read once.
        scale: of its grades, where the format says it.
        if_repeated: what people can do where a pair comes twice; empty where the format leaves nothing to say.
    """

    votes: Iterator[Vote]
    scale: Scale | None = None
    if_repeated: str = ""


Opener = Callable[[Path, JudgmentOptions, ImportReport], VoteSource]


def import_judgments(source: Path, out: Path, name: str, opener: Opener, options: JudgmentOptions) -> ImportReport:
    """Make a data folder of a list of judgments, or add it to one that has a catalog.

    Args:
        source: a file or a folder of the format.
        out: the folder; a catalog and queries in it are used and stay, and so does whatever else lies there.
        name: of the format.
        opener: opens a source of the format.
        options: what people say about it.

    Returns:
        What was read, kept and refused.

    Raises:
        BadInput: the source or `out` cannot be used, the scale is not known, or no judgment is left.

    Example:
        >>> import_judgments(Path("book.json"), Path("shop"), "quepid", open_quepid, options)  # doctest: +SKIP
    """
    report = ImportReport(str(source), name)
    there = DataThere.look(out, replace=options.replace)
    opened = opener(source, options, report)
    scale = options.scale or opened.scale
    if scale is None:
        raise BadInput(
            f"{source}: nothing in it says which grade is the worst and which the best; say it with --scale, as in "
            "--scale 0-3"
        )
    report.found["scale"] = str(scale)
    gathered = Gathering(there, scale, report, opened.if_repeated)
    for vote in opened.votes:
        gathered.add(vote)
    judgments = list(gathered.judgments())
    if not judgments:
        first = f" ({report.first_refused[0]})" if report.first_refused else ""
        raise BadInput(f"{source}: no usable judgments{first}")
    if without := len(gathered.pairs) - len(judgments):
        report.leave_open(UNGRADED_PAIR, without)
    report.found["raters"] = votes_a_pair(judgments)
    as_tags = options.needs == "tags"
    files: dict[str, Iterable[Record]] = {
        "products": gathered.products.values(),
        "queries": gathered.split_queries(options.plan, needs_as_tags=as_tags),
        "judgments": judgments,
        "needs": [] if as_tags else gathered.needs(),
    }
    _write(out, {name: list(rows) for name, rows in files.items()}, report, replace=options.replace)
    return report


def _write(out: Path, files: Mapping[str, list[Record]], report: ImportReport, *, replace: bool) -> None:
    """Write the files that have rows; all else that lies in `out` stays as it is."""
    written = {name: rows for name, rows in files.items() if rows}
    replaced = {f"{name}{ending}" for name in written for ending in ENDINGS}
    with folder_appearing(out, partial(refuse_unfit, replace=replace)) as made:
        if out.exists():
            shutil.copytree(out, made, dirs_exist_ok=True, ignore=lambda folder, names: _top(folder, out, replaced))
        for name, rows in written.items():
            write_rows(made / f"{name}.jsonl", rows)
            report.keep(name, len(rows))
        opened_before_named(Dataset.load, made, out)


def _top(folder: str, out: Path, names: set[str]) -> set[str]:
    """Return names where a folder is `out` itself, and none for folders in it."""
    return names if Path(folder) == out else set()
