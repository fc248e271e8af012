"""What `gen-rerank import` does: a source in the format that was named becomes a data folder, with a report.

Each format is read by the module that knows it; which options a format has, and what they mean by default, is here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gen_rerank.data.feeds.importing import FeedOptions, import_feed
from gen_rerank.data.formats.judgment_table import open_judgment_table
from gen_rerank.data.formats.opensearch import open_opensearch
from gen_rerank.data.formats.pairs import open_pairs
from gen_rerank.data.formats.quepid import open_quepid
from gen_rerank.data.formats.trec import open_trec
from gen_rerank.data.importing.download import download
from gen_rerank.data.importing.grading import read_scale
from gen_rerank.data.importing.judging import JudgmentOptions, Needs, Opener, import_judgments
from gen_rerank.data.importing.report import ImportReport
from gen_rerank.data.importing.splitting import SplitPlan
from gen_rerank.data.public_sets.importing import PUBLIC_SETS, import_public_set
from gen_rerank.errors import BadInput

FEED = "feed"
JUDGMENTS: Mapping[str, Opener] = {
    "judgments": open_judgment_table,
    "trec": open_trec,
    "quepid": open_quepid,
    "opensearch": open_opensearch,
    "pairs": open_pairs,
}
FORMATS = (FEED, *JUDGMENTS, *PUBLIC_SETS)

_JUDGMENT_OPTIONS = ("--scale", "--split", "--seed", "--needs", "--map", "--keep-rest", "--replace")
_SET_OPTIONS = ("--scale", "--split", "--seed", "--keep-rest", "--replace")


@dataclass(frozen=True)
class ImportOptions:
    """What people said, as they wrote it; None or empty where they said nothing."""

    scale: str | None = None
    split: str | None = None
    seed: int | None = None
    needs: str | None = None
    columns: str | None = None
    keep_rest: bool = False
    locale: str | None = None
    encoding: str | None = None
    replace: bool = False

    @property
    def given(self) -> dict[str, object]:
        """The options that were given, by their names in the shell."""
        names = {"columns": "--map"}
        values = {names.get(name, f"--{name.replace('_', '-')}"): value for name, value in vars(self).items()}
        return {name: value for name, value in values.items() if value is not None and value is not False}


def import_source(source: Path, out: Path, name: str, options: ImportOptions, repository: str | None) -> ImportReport:
    """Make a data folder of a source, or add to one.

    Args:
        source: a file or a folder; with `repository` the folder into which it is fetched.
        out: the data folder.
        name: of the format, one of `FORMATS`.
        options: what people said about the source.
        repository: a data set on the hub that is fetched first.

    Raises:
        BadInput: there is no such format, it has no such option, or the source or `out` cannot be used.

    Example:
        >>> import_source(Path("book.json"), Path("shop"), "quepid", ImportOptions(scale="0-3"), None)  # doctest: +SKIP
    """
    if name not in FORMATS:
        raise BadInput(f"there is no format {name!r}; choose one of {', '.join(FORMATS)}")
    allowed = _allowed(name)
    for option in options.given:
        if option not in allowed:
            raise BadInput(f"{option} says nothing about the format {name}; it has {', '.join(allowed)}")
    if repository is not None:
        download(repository, source)
    if not source.exists():
        raise BadInput(f"{source}: no such file or folder")
    columns = read_columns(options.columns)
    if name == FEED:
        return import_feed(source, out, FeedOptions(columns, options.keep_rest, options.locale, options.encoding))
    judged = JudgmentOptions(
        scale=read_scale(options.scale) if options.scale else None,
        plan=read_plan(options.split, options.seed),
        needs=_read_needs(options.needs),
        columns=columns,
        keep_rest=options.keep_rest,
        replace=options.replace,
    )
    if name in PUBLIC_SETS:
        return import_public_set(name, source, out, judged, locale=options.locale or "us")
    return import_judgments(source, out, name, JUDGMENTS[name], judged)


def _allowed(name: str) -> tuple[str, ...]:
    """Return the options that a format has."""
    match name:
        case "feed":
            return ("--map", "--keep-rest", "--locale", "--encoding")
        case "amazebay-catalog":
            return ("--keep-rest",)
        case "esci":
            return (*_SET_OPTIONS, "--locale")
    return _SET_OPTIONS if name in PUBLIC_SETS else _JUDGMENT_OPTIONS


def read_columns(written: str | None) -> dict[str, str]:
    """Return which column holds what, as people wrote it.

    Raises:
        BadInput: a part is no name, an equals sign and a column.

    Example:
        >>> read_columns("title=Name, brand=Vendor")
        {'title': 'Name', 'brand': 'Vendor'}
    """
    columns: dict[str, str] = {}
    for part in (written or "").split(",") if written else []:
        what, sign, column = (piece.strip() for piece in part.partition("="))
        if not (what and sign and column) or what in columns:
            raise BadInput(f"--map {written}: write what a column holds and its name, each once, as in title=Name")
        columns[what] = column
    return columns


def read_plan(shares: str | None, seed: int | None) -> SplitPlan:
    """Return how queries are divided, as people wrote it.

    Raises:
        BadInput: the shares are none.
    """
    return SplitPlan.read(shares, seed or 0) if shares else SplitPlan(seed=seed or 0)


def _read_needs(written: str | None) -> Needs:
    match written:
        case None | "beside":
            return "beside"
        case "tags":
            return "tags"
    raise BadInput(f"--needs {written}: say beside or tags")
